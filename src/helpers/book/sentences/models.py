"""What is said of models and detectors: how long they trained, on what, how good they are, which detector leads.

Notebooks: 03_training, 04_generation, 05_retrieval, 07_findings.
"""

import pandas as pd

from helpers.base.profile import Profile
from helpers.base.settings import GenerationConfig, TrainingConfig
from helpers.book.words import limits, listed, share_text, with_interval

TEXT_ENCODERS = {"minilm": "MiniLM", "flan_t5": "FLAN-T5"}
SAMPLERS = {"dpm_solver": "DPM-Solver++", "ddpm": "DDPM's own sampler"}
TANGO_PARAMETERS = 866e6


def of_encoder(profile: Profile) -> str:
    """The text encoder's name."""
    return TEXT_ENCODERS[profile.text.encoder]


def of_sampler(config: GenerationConfig) -> str:
    """The sampler's name."""
    return SAMPLERS[config.sampler]


def of_departures(profile: Profile, run: TrainingConfig, n_parameters: int) -> str:
    """In what this run's settings depart from what the page says of TANGO."""
    if run.checkpoint_path:
        return "Here the weights are not trained but loaded."
    smaller, parts = TANGO_PARAMETERS / n_parameters, []
    if smaller > 1.1:
        parts.append(f"the network is {smaller:,.0f} times smaller")
    if profile.text.encoder != "flan_t5":
        parts.append(f"the text encoder is {of_encoder(profile)}")
    if len(profile.sizes) > 1 and not profile.schedules:
        parts.append("the number of updates is the same at every size")
    if run.ema_decay:
        parts.append("weights are averaged (EMA)")
    if run.caption_dropout:
        parts.append("some captions are dropped, so that the model also learns the empty prompt, which guidance needs")
    if not parts:
        return "Here it is the same."
    return f"Here {' and '.join([', '.join(parts[:-1]), parts[-1]] if parts[1:] else parts)}."


def of_lengths(profile: Profile) -> str:
    """For how long the models of each size are trained, where their weights are kept, and which of these are TANGO's 40 epochs."""
    runs = [profile.training_run(n, 0) for n in profile.sizes]
    kept = {run.n_train: {*run.checkpoints, run.updates} for run in runs}
    alike = len({run.updates for run in runs}) == 1
    if alike:
        text = "Every model gets the same number of updates, and where the profile lists earlier checkpoints, its weights are kept on the way."
    else:
        lengths = listed([f"{run.updates:,} for {run.n_train:,} clips" for run in runs])
        text = (
            f"Each size has its own number of updates, as copying was expected to begin later in a larger set: {lengths}. "
            "Weights are kept on the way, so two sizes can be compared at nearly equal updates, or at nearly equal epochs, where both were kept near such a moment."
        )
    named = {n: 40 * n / profile.training.batch_size for n in kept}
    told = [f"{u:,.0f} updates for {n:,} clips" for n, u in named.items() if u in kept[n]]
    if not told:
        return text
    return f"{text} One checkpoint of {'each' if len(told) == len(kept) else 'a'} size falls on TANGO's 40 epochs: {listed(told)}."


def of_check(check: pd.DataFrame | None, profile: Profile, least_cosine: float) -> str:
    """Whether clips made again are those that were kept, from `regeneration.check_live`; None where no weights are at hand."""
    if check is None:
        text = f"The study publishes one denoiser, that of {min(profile.sizes):,} clips; the check is on its page. "
        return text + "For this one the weights are not at hand."
    agree = "They agree" if check["agrees"].all() else "They do NOT agree: this machine makes other clips"
    return f"{agree}: a cosine of {check['cosine'].min():.6f}, where at least {least_cosine} is asked for."


def of_quality(rows: pd.DataFrame) -> str:
    """How far the largest size's clips of training prompts stand from the training set, beside twins and held-out clips, and
    how many are silent, from rows of quality.csv; says so where there are none."""
    large = rows[(rows["n_train"] == rows["n_train"].max()) & (rows["prompt_set"] == "train")]
    if large.empty:
        return "No detector here is an embedding, so nothing is measured of this sound."
    distances = with_interval(large.round(dict.fromkeys(limits("kid"), 3)), *limits("kid"), percent=False)
    places = []
    for embedding, distance, *marks in zip(large["embedding"], distances, large["twins_kid"], large["floor_kid"]):
        honest = [
            f"{round(mark, 3) + 0:g} for {kind}"
            for kind, mark in zip(("twins", "held-out clips"), marks)
            if pd.notna(mark)
        ]
        places.append(f"{distance} by {embedding}" + (f", beside {listed(honest)}" if honest else ""))
    silent = share_text(*large[list(limits("silent_rate"))].iloc[0])
    n_train = f"{large['n_train'].iloc[0]:,}"
    return f"Kernel distance from the clips of the model of {n_train} clips (first draw) to its training clips: {'; '.join(places)}. Silent clips: {silent}."


def of_negatives(detection: pd.DataFrame) -> list[str]:
    """A sentence a kind of negatives, from detection.csv: at how many sizes mel leads each embedding, each by its own bias."""
    names = {"twins": "twins", "heldout": "held-out clips", "same_bed": "clips that keep only the bed"}
    rows = detection[(detection["transform"] == "all") & (detection["bias"] == "own")]
    sentences = []
    for negatives, part in rows[rows["detector"].isin(["clap", "aisfx"])].groupby("negatives", sort=False):
        found = []
        for detector, of in part.dropna(subset="below_mel").groupby("detector", sort=False):
            leads, behind = int((of["below_mel_low"] > 0).sum()), int((of["below_mel_high"] < 0).sum())
            text = f"{detector} at {leads} of {len(of)} sizes"
            found.append(f"{text} (and is behind at {behind})" if behind else text)
        if found:
            sentences.append(f"Against **{names[negatives]}**, mel leads {' and '.join(found)}.")
    return sentences


def of_machines(manifests: dict[str, dict]) -> str:
    """What each run was trained on, from the manifests of their training stages, and in which number format."""
    kinds = {}
    for run, manifest in manifests.items():
        machine = manifest["machine"]
        automatic = bool(machine["gpu"]) or any(name.endswith("bf16") for name in machine["vectors"])
        half = {"bf16": True, "no": False}.get(manifest["config"]["precision"], automatic)
        kinds.setdefault(f"{machine['gpu'] or machine['cpu']} ({'bfloat16' if half else 'float32'})", []).append(run)
    if len(kinds) == 1:
        return f"All models were trained on one kind of machine: {next(iter(kinds))}."
    parts = "; ".join(f"on {kind} {', '.join(runs)}" for kind, runs in kinds.items())
    return f"Where the models were trained (n is the size, d the draw), and in which number format: {parts}."
