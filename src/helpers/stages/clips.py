"""The clips stage: which clips the book plays, chosen by rank and never by hand, and their audio.

Notebooks: 04_generation to 07_findings.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from helpers.base.arms import MAIN, list_arms
from helpers.base.profile import Profile
from helpers.base.seeds import seeded
from helpers.sound.corpus import subset

QUANTILES = (1.0, 0.95, 0.75, 0.5, 0.25, 0.05, 0.0)  # of the best-match score over the main clips
N_FALSE_ALARMS, N_MISSES, N_SEEDS = 2, 3, 3
COLUMNS = ["slot", "kind", "arm", "query_id", "own_id", "ref_id", "random_id", "detector", "score", "caption", "file"]


def compute(out: Path, upstream: dict[str, Path], profile: Profile, n_train: int, draw: int) -> None:
    """Writes gallery.csv (COLUMNS) and each clip as Ogg Vorbis.

    Slots: "quantile 0.95" of the main clips' best-match score; "false alarm twins 1" and the like, the strangers that score
    highest; "miss 1", the altered copies that score lowest; "fooled mel", the clip that shares only a bed with training and
    scores highest by that detector; "arm u00125", what every arm made of the middle prompt; "seed 1"; "perfect replay".
    """
    folder, primary = upstream["retrieval"], profile.retrieval.detectors[0]
    tables = [pd.read_parquet(folder / f"{name}.parquet").query("rank == 1") for name in ("scores", "null")]
    best = pd.concat(tables, ignore_index=True)
    captions = pd.read_parquet(folder / "queries.parquet").set_index("query_id")["caption"]
    audio_of = _audio(upstream)
    ids = pd.read_parquet(upstream["corpus"] / "clips.parquet").query("split == 'train'")["clip_id"].to_numpy()
    members = ids[subset(profile.training_run(n_train, draw), profile.corpus.n_train)]
    rows = []
    prompts = {arm: config.prompts for arm, config in list_arms(profile, n_train, draw).items()}
    for slot, row in _choose(best, primary, prompts):
        number = seeded(profile.retrieval.seed, "another", slot).integers(len(members) - 1)
        file = f"{slot.replace(' ', '_')}.ogg"
        soundfile.write(
            out / file, audio_of(row.query_id), profile.corpus.sample_rate_hz, format="OGG", subtype="VORBIS"
        )
        others = members[members != row.ref_id]
        rows.append(
            (slot, row.kind, row.arm, row.query_id, row.own_id, row.ref_id, others[min(number, len(others) - 1)],
             row.detector, row.score, captions[row.query_id], file)
        )  # fmt: skip
    pd.DataFrame(rows, columns=COLUMNS).to_csv(out / "gallery.csv", index=False)


def _choose(best: pd.DataFrame, primary: str, prompts: dict[str, str]) -> list[tuple[str, tuple]]:
    """Slots and the rows of `best` that fill them."""
    own = best[best["detector"] == primary]
    main = own[own["arm"] == MAIN].sort_values(["score", "query_id"], ascending=False, ignore_index=True)
    examples = [(f"quantile {q:.2f}", main.iloc[round((1 - q) * (len(main) - 1))]) for q in QUANTILES]
    for kind, count in (("twins", N_FALSE_ALARMS), ("same_bed", N_FALSE_ALARMS), ("heldout", 1)):
        highest = own[own["kind"] == kind].nlargest(count, "score")
        examples += [(f"false alarm {kind} {i + 1}", row) for i, (_, row) in enumerate(highest.iterrows())]
    lowest = own[own["kind"] == "altered"].nsmallest(N_MISSES, "score")
    examples += [(f"miss {i + 1}", row) for i, (_, row) in enumerate(lowest.iterrows())]
    for detector, part in best[best["kind"] == "same_bed"].groupby("detector", sort=False):
        examples.append((f"fooled {detector}", part.loc[part["score"].idxmax()]))
    examples += [("perfect replay", row) for _, row in own[own["kind"] == "empirical"].head(1).iterrows()]
    return examples + _same_prompt(own[own["kind"] == "generated"], prompts)


def _same_prompt(generated: pd.DataFrame, prompts: dict[str, str]) -> list[tuple[str, tuple]]:
    """What the arms made of one prompt, the middle one of those that most were asked for; and with other seeds.

    `prompts` by arm: which set its prompts are from.
    """
    arms = {arm: part for arm, part in generated.groupby("arm", sort=False) if prompts[arm] == prompts[MAIN]}
    asked = pd.Series([own for part in arms.values() for own in part["own_id"].unique()]).value_counts()
    common = sorted(asked.index[asked == asked.max()])
    prompt = common[len(common) // 2]
    examples = []
    for arm, part in arms.items():
        rows = part[part["own_id"] == prompt]
        if arm == "seeds":
            examples += [(f"seed {i + 1}", row) for i, (_, row) in enumerate(rows.head(N_SEEDS).iterrows())]
        elif len(rows):
            examples.append((f"arm {arm}", rows.iloc[0]))
    strange = generated[generated["arm"] == "heldout"]
    return examples + ([("arm heldout", strange.iloc[len(strange) // 2])] if len(strange) else [])


def _audio(upstream: dict[str, Path]):
    """A function from a query_id to its audio int16 [S], over all folders that hold queries."""
    where = {}
    for folder in upstream.values():
        if (folder / "audio.npy").is_file() and (folder / "queries.parquet").is_file():
            audio = np.load(folder / "audio.npy", mmap_mode="r")
            for row, query_id in enumerate(pd.read_parquet(folder / "queries.parquet")["query_id"]):
                where[query_id] = (audio, row)
    return lambda query_id: np.asarray(where[query_id][0][where[query_id][1]])
