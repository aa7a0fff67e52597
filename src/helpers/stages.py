"""The pipeline: which stages there are, what each is made from, and what computes it. Data flows one way.

    corpus → encoding → training(n, draw) → generation(n, draw) ┐
       ├───→ roundtrip ─────────────────────────────────────────┼→ retrieval → thresholds → findings
       ├───→ twins(n, draw) ────────────────────────────────────┘
       ├───→ detection
       └───→ planted, duplicates

A stage here is a description (`store.Stage`); nothing is computed before `store.load_or_run`.
"""

from functools import partial
from pathlib import Path

from helpers import clips, corpus, findings, natural, planted, scores, training, verdicts
from helpers.config import ROOT, Profile
from helpers.scores import run_key
from helpers.store import Result, Stage, load_or_run


def _model_files(folder: str) -> tuple[Path, ...]:
    return tuple(
        sorted(
            p for p in (ROOT / folder).glob("*") if p.suffix in (".safetensors", ".json") and p.name != "metrics.json"
        )
    )


def corpus_stage(profile: Profile) -> Stage:
    """Training, held-out and background clips."""
    config, mel = profile.corpus, profile.mel
    return Stage(
        "corpus",
        {"corpus": config.digest_fields(), "mel": mel.digest_fields()},
        lambda out, _: corpus.compute(out, config, mel),
        files=(corpus.SOUND_PACK,) if config.kind == "pocket" else _user_files(config),
        version=corpus.STAGE_VERSION,
        seed=config.seed,
    )


def _user_files(config) -> tuple[Path, ...]:
    path = Path(config.path)
    return (path / "metadata.csv" if path.is_dir() else path,)


def planted_stage(profile: Profile) -> Stage:
    """The training set with planted duplicates."""
    return Stage(
        "planted",
        {
            "planted": profile.planted.digest_fields(),
            "corpus": profile.corpus.digest_fields(),
            "mel": profile.mel.digest_fields(),
        },
        lambda out, _: planted.compute(out, profile.planted, profile.corpus, profile.mel),
        files=(corpus.SOUND_PACK,),
        version=planted.STAGE_VERSION,
        seed=profile.planted.seed,
    )


def duplicates_stage(profile: Profile) -> Stage:
    """Duplicates found by similarity: planted ones, natural ones among clips and among recordings."""
    return Stage(
        "duplicates",
        {"duplicates": profile.duplicates.digest_fields()},
        lambda out, upstream: natural.compute(out, upstream, profile),
        upstream={"corpus": corpus_stage(profile), "planted": planted_stage(profile)},
        files=(corpus.SOUND_PACK,),
        version=natural.STAGE_VERSION,
    )


def encoding_stage(profile: Profile) -> Stage:
    """Latents and text states of the training clips, computed once."""
    return Stage(
        "encoding",
        {"codec": profile.codec.codec_path, "text": profile.text.digest_fields()},
        lambda out, upstream: clips.compute_encoding(out, upstream, profile),
        upstream={"corpus": corpus_stage(profile)},
        files=_model_files(profile.codec.codec_path),
        version=clips.STAGE_VERSION,
    )


def roundtrip_stage(profile: Profile) -> Stage:
    """Held-out and training clips after codec and vocoder."""
    return Stage(
        "roundtrip",
        {"codec": profile.codec.digest_fields()},
        lambda out, upstream: clips.compute_roundtrip(out, upstream, profile),
        upstream={"corpus": corpus_stage(profile)},
        files=_model_files(profile.codec.codec_path),
        version=clips.STAGE_VERSION,
    )


def twins_stage(profile: Profile, n_train: int, draw: int) -> Stage:
    """The twins null of one training set, after codec and vocoder."""
    config = profile.twins.digest_fields() | {"n_train": n_train, "draw": draw, "subset_seed": profile.training.seed}
    return Stage(
        "twins",
        {"twins": config, "codec": profile.codec.digest_fields()},
        lambda out, upstream: clips.compute_twins(out, upstream, profile, n_train, draw),
        upstream={"corpus": corpus_stage(profile)},
        files=(corpus.SOUND_PACK, *_model_files(profile.codec.codec_path)),
        version=clips.STAGE_VERSION,
        seed=profile.corpus.seed,
    )


def training_stage(profile: Profile, n_train: int, draw: int) -> Stage:
    """One denoiser, trained on one draw of n_train clips."""
    config = profile.replace("training", n_train=n_train, draw=draw).training
    return Stage(
        "training",
        config.digest_fields(),
        lambda out, upstream: clips.compute_training(out, upstream, config, profile.corpus.n_train),
        upstream={"encoding": encoding_stage(profile)},
        version=training.STAGE_VERSION,
        seed=config.seed,
        resumable=True,
    )


def generation_stage(profile: Profile, n_train: int, draw: int) -> Stage:
    """Clips generated with the training prompts of one run."""
    config = profile.replace("generation", n_train=n_train, draw=draw).generation
    return Stage(
        "generation",
        {"generation": config.digest_fields(), "codec": profile.codec.digest_fields()},
        lambda out, upstream: clips.compute_generation(out, upstream, profile, config),
        upstream={
            "training": training_stage(profile, n_train, draw),
            "encoding": encoding_stage(profile),
            "corpus": corpus_stage(profile),
        },
        files=_model_files(profile.codec.codec_path),
        version=clips.STAGE_VERSION,
        seed=config.sample_seed,
    )


def retrieval_stage(profile: Profile) -> Stage:
    """Nearest training and background clips of every query."""
    upstream = {"corpus": corpus_stage(profile), "roundtrip": roundtrip_stage(profile)}
    for n, d in profile.runs:
        upstream[f"generation_{run_key(n, d)}"] = generation_stage(profile, n, d)
        upstream[f"twins_{run_key(n, d)}"] = twins_stage(profile, n, d)
    return Stage(
        "retrieval",
        profile.retrieval.digest_fields(),
        partial(scores.compute_retrieval, profile=profile),
        upstream=upstream,
        files=_model_files(profile.retrieval.clap_path),
        version=scores.STAGE_VERSION,
        seed=profile.retrieval.seed,
    )


def detection_stage(profile: Profile) -> Stage:
    """How well each detector finds altered copies."""
    limits = {"confidence": profile.thresholds.confidence, "n_bootstrap": profile.thresholds.n_bootstrap}
    return Stage(
        "detection",
        profile.retrieval.digest_fields() | limits,
        partial(scores.compute_detection, profile=profile),
        upstream={"corpus": corpus_stage(profile)},
        files=_model_files(profile.retrieval.clap_path),
        version=scores.STAGE_VERSION,
        seed=profile.retrieval.seed,
    )


def thresholds_stage(profile: Profile) -> Stage:
    """Flagged and near-exact shares."""
    upstream = {f"generation_{run_key(n, d)}": generation_stage(profile, n, d) for n, d in profile.runs}
    return Stage(
        "thresholds",
        profile.thresholds.digest_fields(),
        partial(verdicts.compute_thresholds, profile=profile),
        upstream={"retrieval": retrieval_stage(profile), "duplicates": duplicates_stage(profile), **upstream},
        version=verdicts.STAGE_VERSION,
        seed=profile.thresholds.seed,
    )


def findings_stage(profile: Profile) -> Stage:
    """The claims ledger and the summary."""
    return Stage(
        "findings",
        {"profile": profile.name},
        partial(findings.compute, profile=profile),
        upstream={
            "thresholds": thresholds_stage(profile),
            "detection": detection_stage(profile),
            "duplicates": duplicates_stage(profile),
        },
        version=findings.STAGE_VERSION,
    )


SINGLE = {
    "corpus": corpus_stage, "planted": planted_stage, "duplicates": duplicates_stage, "encoding": encoding_stage,
    "roundtrip": roundtrip_stage, "retrieval": retrieval_stage, "detection": detection_stage,
    "thresholds": thresholds_stage, "findings": findings_stage,
}  # fmt: skip
PER_RUN = {"training": training_stage, "generation": generation_stage, "twins": twins_stage}
NAMES = tuple(SINGLE) + tuple(PER_RUN)


def build(name: str, profile: Profile, n_train: int | None = None, draw: int | None = None) -> list[Stage]:
    """The stages called `name`: one, or one per training run; `n_train` and `draw` pick among those.

    Raises:
        ValueError: an unknown name, or no such run in the profile.
    """
    if name in SINGLE:
        return [SINGLE[name](profile)]
    if name not in PER_RUN:
        raise ValueError(f"stage: expected one of {', '.join(NAMES)}, got {name!r}")
    if n_train is not None and draw is not None:
        return [PER_RUN[name](profile, n_train, draw)]  # also one that the profile does not list
    runs = [(n, d) for n, d in profile.runs if n_train in (None, n) and draw in (None, d)]
    if not runs:
        raise ValueError(
            f"{name}: expected one of the profile's runs {profile.runs}, got n_train={n_train}, draw={draw}"
        )
    return [PER_RUN[name](profile, n, d) for n, d in runs]


def finished(name: str, profile: Profile, n_train: int | None = None, draw: int | None = None) -> Result:
    """Loads a stage, or computes it and what it needs first. With `n_train` and `draw`: that training run's."""
    (stage,) = build(name, profile, n_train, draw)
    return load_or_run(stage)


def upstream_folders(
    name: str, profile: Profile, n_train: int | None = None, draw: int | None = None
) -> dict[str, Path]:
    """The finished folders that a stage is made from, by the names its computation knows them by."""
    (stage,) = build(name, profile, n_train, draw)
    return {key: load_or_run(before).path for key, before in stage.upstream.items()}
