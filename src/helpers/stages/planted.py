"""The planted stage: a separate training set with known duplicates, so that dose and detection can be measured.

It has the main corpus's size, but part of it is groups of copies of one clip (2, 4, 8 or 16 of them): exact or altered,
under the same caption or another. The truth table says which. The main training sets hold none of this.

Notebook: 01_corpus.
"""

from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.mapped import Selection, chunks
from helpers.base.seeds import seeded
from helpers.base.settings import CorpusConfig, MelConfig, PlantedConfig
from helpers.sound import corpus
from helpers.sound.transforms import TRANSFORMS, apply_transform

ALTERATIONS = ("gain", "shift", "eq", "noise", "ogg", "crop", "mix")
REWORDINGS = ("{} here", "in this recording {}", "one can hear how {}", "again {}", "a recording in which {}")


def plan(config: PlantedConfig) -> pd.DataFrame:
    """The truth table, one row per clip: index, base (the clip it copies), cluster_id, copies, kind, caption_kind.

    Single clips come as clusters of one. Positions are shuffled so that copies are spread over the set.
    """
    rows, base = [], 0
    for copies, groups in config.cells:
        for kind in config.kinds:
            for group in range(groups):
                caption_kind = "same" if group % 2 == 0 else "other"
                rows += [(base, copies, kind, caption_kind, number) for number in range(copies)]
                base += 1
    rows += [(base + i, 1, "single", "same", 0) for i in range(config.n_train - len(rows))]
    table = pd.DataFrame(rows, columns=["base", "copies", "kind", "caption_kind", "number"])
    table = table.iloc[seeded(config.seed, "planted order").permutation(len(table))].reset_index(drop=True)
    return table.assign(cluster_id=[f"planted_{b:05d}" for b in table["base"]], index=range(len(table)))


def compute(out: Path, upstream: dict, config: PlantedConfig, corpus_config: CorpusConfig, mel: MelConfig) -> None:
    """Writes clips.parquet (with the truth table's columns), audio.npy and mels.npy, as a corpus stage does.

    Held-out and background clips are those of the main corpus, so that a model can be trained and judged on this one too.
    """
    truth = plan(config)
    maker = corpus.generator(corpus_config, corpus.pools(corpus_config)["train"], f"planted {config.seed}")
    recipes = maker.recipes(int(truth["base"].max()) + 1)
    bases, n = np.empty((len(recipes), corpus_config.clip_samples), np.int16), 0
    for part in corpus.render_all(recipes, corpus_config, desc="mixing planted clips"):
        bases[n : n + len(part)] = part
        n += len(part)
    rows, audio = [], []
    for row in truth.itertuples():
        recipe = recipes[row.base]
        clip, alteration, strength = _copy(row, bases, config, corpus_config.sample_rate_hz)
        record = corpus.clip_row(f"dup_{row.index:05d}", "train", row.index, recipe, maker.sources)
        caption = recipe.caption
        if row.caption_kind == "other" and row.number > 0:
            caption = REWORDINGS[(row.number - 1) % len(REWORDINGS)].format(caption)
        rows.append({**record, "caption": caption, "cluster_id": row.cluster_id, "copies": row.copies, "kind": row.kind,
                     "caption_kind": row.caption_kind, "alteration": alteration, "strength": strength})  # fmt: skip
        audio.append(clip)
    main = corpus.load_corpus(upstream["corpus"])
    others = np.flatnonzero(main.clips["split"] != "train")
    table = pd.concat([pd.DataFrame(rows), main.clips.iloc[others]], ignore_index=True)
    planted = (np.stack(audio[i : i + corpus.CHUNK]) for i in range(0, len(audio), corpus.CHUNK))
    strangers = (part for _, part in chunks(Selection(main.audio, others), corpus.CHUNK))
    corpus.write_clips(out, table, chain(planted, strangers), corpus_config, mel)


def _copy(row, bases: np.ndarray, config: PlantedConfig, sample_rate_hz: int) -> tuple[np.ndarray, str, float]:
    """The audio of one planted clip, and what was done to it. The first of a group is the clip itself."""
    if row.kind != "altered" or row.number == 0:
        return bases[row.base], "none", 0.0
    rng = seeded(config.seed, "alteration", row.base, row.number)
    name = ALTERATIONS[int(rng.integers(len(ALTERATIONS)))]
    strengths = TRANSFORMS[name].strengths
    strength = float(strengths[int(rng.integers(len(strengths)))])
    other = bases[(row.base + 1) % len(bases)]
    return apply_transform(name, bases[row.base], strength, rng, other, sample_rate_hz), name, strength
