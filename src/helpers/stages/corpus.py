"""The corpus stage: training, held-out and background clips with captions, and their log-mels.

Notebook: 01_corpus.
"""

from pathlib import Path

import pandas as pd

from helpers.base.settings import CorpusConfig, MelConfig
from helpers.sound import user_audio
from helpers.sound.corpus import clip_row, generator, pools, render_all, write_clips


def compute(out: Path, upstream: dict, config: CorpusConfig, mel: MelConfig) -> None:
    """Writes clips.parquet, audio.npy (int16 [N, S]) and mels.npy (float32 [N, T, M]); rows: train, held-out, background."""
    clips, chunks = _pocket(config) if config.kind == "pocket" else user_audio.read_user_corpus(config, out)
    write_clips(out, clips, chunks, config, mel)


def _pocket(config: CorpusConfig):
    counts = {"train": config.n_train, "heldout": config.n_heldout, "background": config.n_background}
    rows, recipes = [], []
    for split, pool in pools(config).items():
        maker = generator(config, pool, split)
        # only the main training sets promise unique captions
        made = maker.recipes(counts[split], unique=split == "train" and config.captions == "specific")
        rows += [clip_row(f"{split}_{i:05d}", split, i, r, maker.sources) for i, r in enumerate(made)]
        recipes += made
    return pd.DataFrame(rows), render_all(recipes, config, desc="mixing soundscapes")
