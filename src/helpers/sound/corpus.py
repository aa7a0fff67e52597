"""A corpus: training, held-out and background clips with captions and log-mels, made, written and read.

The default corpus mixes the sound pack's recordings (`mixtures`); a user's own audio comes in through `user_audio`.
Every stage downstream sees the same files and never asks which it was.

Notebook: 01_corpus.
"""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import soxr

from helpers.base.machine import cores
from helpers.base.mapped import Selection, chunks, create, forget
from helpers.base.parquet_file import LEVEL
from helpers.base.paths import SOUND_PACK
from helpers.base.progress import progress
from helpers.base.seeds import seeded
from helpers.base.settings import PACK_RATE_HZ, CorpusConfig, MelConfig, TrainingConfig
from helpers.sound.mel import log_mel, mean_of_bands
from helpers.sound.mixtures import Generator, Recipe, level_recording, render, split_sources, vary
from helpers.sound.pack import decode_sounds, load_soundpack

SPLITS = ("train", "heldout", "background")
CHUNK = 256  # clips rendered, analysed and written at a time: memory stays flat as the corpus grows


@dataclass(frozen=True)
class Corpus:
    """A finished corpus stage. `clips` has a row per clip; `audio` int16 [N, S] and `mels` float32 [N, T, M] stay on disk.

    Of a corpus restored from a published study there are the clips alone: `mels` is None, and `audio[row]` mixes again.
    """

    clips: pd.DataFrame
    audio: "np.ndarray | Mixed"
    mels: np.ndarray | None

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of one split, in order."""
        return np.flatnonzero(self.clips["split"].to_numpy() == split)

    def mel_mean(self) -> np.ndarray:
        """Mean log-mel of the training clips in each band, float32 [M]: what "centred" subtracts."""
        train = Selection(self.mels, self.rows("train"))
        return mean_of_bands(mels for _, mels in chunks(train, CHUNK))

    def clip(self, clip_id: str) -> tuple[np.ndarray, str]:
        """Audio int16 [S] and caption of one clip by its id; IndexError where there is no such clip."""
        row = int(np.flatnonzero(self.clips["clip_id"].to_numpy() == clip_id)[0])
        return np.asarray(self.audio[row]), self.clips["caption"][row]


class Mixed:
    """Audio of mixtures that are not on disk: `audio[row]` is int16 [S], mixed from its recipe, the same as ever.

    A row that holds an altered copy raises ValueError: only what was mixed can be mixed again.
    """

    def __init__(self, clips: pd.DataFrame, config: CorpusConfig):
        self.clips, self.config = clips, config

    def __getitem__(self, row: int) -> np.ndarray:
        clip = self.clips.iloc[int(row)]
        if isinstance(altered := clip.get("alteration"), str) and altered != "none":
            raise ValueError(f"row {row}: expected a clip as it was mixed, got a copy altered by {altered}: not kept")
        return next(iter(render_all([Recipe.from_json(clip["recipe"])], self.config)))[0]


def load_corpus(folder: Path) -> Corpus:
    """Opens a corpus stage's folder without reading the audio."""
    folder = Path(folder)
    clips = pd.read_parquet(folder / "clips.parquet")
    if not (folder / "audio.npy").is_file():
        settings = json.loads((folder / "manifest.json").read_text())["config"]["corpus"]
        return Corpus(clips, Mixed(clips, CorpusConfig.from_digest_fields(settings)), None)
    audio, mels = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("audio", "mels"))
    return Corpus(clips, audio, mels)


def leading_groups(clips: pd.DataFrame) -> pd.Series:
    """The source group of the recording heard first in each clip, by clip_id: the unit that intervals draw anew.

    Clips that have any recording in common would be the stricter unit, but beds chain nearly all clips into one. A
    recording that is not in the pack, as of a user's own corpus, is a group of its own; of clips that were not mixed the pack
    is not asked for.
    """
    first = clips["source_ids"].str[0]
    if not clips["recipe"].astype(bool).any():
        return first.set_axis(clips["clip_id"])
    pack = load_soundpack(SOUND_PACK)
    groups = first.map(dict(zip(pack["id"], pack["source_group"]))).fillna(first)
    return groups.set_axis(clips["clip_id"])


def subset(run: TrainingConfig, n_pool: int) -> np.ndarray:
    """Row numbers, int64 [n_train], of one run's clips among the pool's: nested in n_train.

    With `offsets`, that many clips of one permutation of the pool, from the draw's offset on and round its end. Without,
    draw 0 is simply the first clips, and every further draw has a permutation of its own.

    Raises ValueError for an n_train outside 1..n_pool.
    """
    if not 0 < run.n_train <= n_pool:
        raise ValueError(f"n_train: expected 1 to {n_pool}, the clips there are, got {run.n_train}")
    if run.offsets:
        return np.roll(seeded(run.seed, "pool").permutation(n_pool), -run.offsets[run.draw])[: run.n_train]
    order = np.arange(n_pool) if run.draw == 0 else seeded(run.seed, "subset", run.draw).permutation(n_pool)
    return order[: run.n_train]


def other_subset(run: TrainingConfig, n_pool: int) -> np.ndarray:
    """As many clips of the pool that the run never met, int64 [n_train]: what another model of its size is trained on.

    Those of the next draw; where it shares clips with the run's, those that follow the run's own in the permutation.
    Raises ValueError without `offsets`, as draws then share clips, and where the pool has too few others.
    """
    if not run.offsets or 2 * run.n_train > n_pool:
        raise ValueError(
            f"other_draw: expected training.offsets and twice {run.n_train} clips in the pool, got {n_pool} clips"
        )
    next_draw = replace(run, draw=(run.draw + 1) % len(run.offsets))
    own, other = subset(run, n_pool), subset(next_draw, n_pool)
    if np.isin(own, other).any():
        return subset(replace(run, n_train=2 * run.n_train), n_pool)[run.n_train :]
    return other


def spread(indices: np.ndarray, n: int) -> np.ndarray:
    """`n` of the indices, evenly spaced in their order; all of them where there are no more.

    The first clips of the corpus are simpler than later ones, as all captions differ, so they cannot stand for the rest.
    """
    return indices if n >= len(indices) else indices[np.arange(n) * len(indices) // n]


def pools(config: CorpusConfig) -> dict[str, pd.DataFrame]:
    """The sound pack's recordings by split. A pilot corpus splits the training recordings again, so it touches no others."""
    pack = load_soundpack(SOUND_PACK)
    split = split_sources(pack)
    if config.pilot:
        pack = pack[split == "train"].reset_index(drop=True)
        split = split_sources(pack, seed=1)
    return {name: pack[split == name].reset_index(drop=True) for name in SPLITS}


def generator(config: CorpusConfig, pool: pd.DataFrame, name: str) -> Generator:
    """The recipe generator of one set; `name` separates its random numbers from other sets'."""
    clip_s = config.clip_samples / config.sample_rate_hz
    return Generator(pool, config.seed, name, clip_s, generic=config.captions == "generic")


def render_all(recipes: list[Recipe], config: CorpusConfig, desc: str = "mixing") -> Iterable[np.ndarray]:
    """Mixes recipes in order, CHUNK at a time: yields int16 [<=CHUNK, S]. Each recording is decoded once.

    At another rate than the sound pack's, mixtures are brought to it.
    """
    samples = round(config.clip_samples * PACK_RATE_HZ / config.sample_rate_hz)
    needed = sorted({layer.source_id for recipe in recipes for layer in recipe.layers})
    with ThreadPoolExecutor(cores()) as threads:
        decoded = decode_sounds(SOUND_PACK, needed)
        recordings = dict(zip(decoded, threads.map(level_recording, decoded.values())))
        with progress(total=len(recipes), desc=desc, unit="clip") as bar:
            for start in range(0, len(recipes), CHUNK):
                part = recipes[start : start + CHUNK]
                mixed = np.stack(list(threads.map(lambda r: render(r, recordings, samples), part)))
                yield mixed if config.sample_rate_hz == PACK_RATE_HZ else _at_rate(mixed, config)
                bar.update(len(part))


def _at_rate(mixed: np.ndarray, config: CorpusConfig) -> np.ndarray:
    """Mixtures int16 [N, S] at the sound pack's rate, brought to the corpus' rate and length."""
    resampled = soxr.resample(mixed.T.astype(np.float32), PACK_RATE_HZ, config.sample_rate_hz).T
    resampled = resampled[:, : config.clip_samples]
    padded = np.pad(resampled, [(0, 0), (0, config.clip_samples - resampled.shape[1])])
    return np.clip(np.round(padded), -32767, 32767).astype(np.int16)


def clip_row(clip_id: str, split: str, index: int, recipe: Recipe, sources: dict[str, dict]) -> dict:
    """One row of clips.parquet."""
    heard = [sources[layer.source_id] for layer in recipe.layers]
    return {
        "clip_id": clip_id,
        "split": split,
        "index": index,
        "caption": recipe.caption,
        "source_ids": [s["id"] for s in heard],
        "source_groups": sorted({s["source_group"] for s in heard}),
        "classes": [s["class"] for s in heard],
        "recipe": recipe.to_json(),
    }


def write_clips(
    out: Path, clips: pd.DataFrame, parts: Iterable[np.ndarray], config: CorpusConfig, mel: MelConfig
) -> None:
    """Writes a table of clips beside its audio, which comes in parts int16 [n, S], and log-mels.

    Raises ValueError where the parts do not hold as many clips as the table.
    """
    n, frames = len(clips), config.clip_samples // mel.hop_length
    audio = create(out / "audio.npy", np.int16, (n, config.clip_samples))
    mels = create(out / "mels.npy", np.float32, (n, frames, mel.n_mels))
    row = 0
    for part in parts:
        audio[row : row + len(part)] = part
        mels[row : row + len(part)] = log_mel(part, mel, config.sample_rate_hz)
        row += len(part)
        forget(audio)
        forget(mels)
    if row != n:
        raise ValueError(f"corpus: expected audio for {n} clips, got {row}")
    audio.flush()
    mels.flush()
    # published, in git
    clips.to_parquet(out / "clips.parquet", index=False, compression="zstd", compression_level=LEVEL)


def twin_recipes(
    config: CorpusConfig, clips: pd.DataFrame, indices: np.ndarray, n_twins: int
) -> tuple[pd.DataFrame, list[Recipe]]:
    """Twins of the training clips `indices`: twin j renders clip indices[j % n] anew with seed j // n.

    With fewer twins than clips, those of clips evenly spaced among `indices`.

    Returns:
        A table (query_id, clip_id, index, twin_seed, caption, source_groups) and the recipes in the same order.

    Raises:
        ValueError: a corpus of clips that were not mixed here.
    """
    if not config.mixed:
        raise ValueError(
            f"twins: expected the pocket corpus, whose recordings can be mixed anew, got kind {config.kind!r}"
        )
    maker = generator(config, pools(config)["train"], "train")
    train = clips[clips["split"] == "train"].reset_index(drop=True)
    rows, recipes, indices = [], [], spread(indices, n_twins)
    for j in range(n_twins):
        index, seed = int(indices[j % len(indices)]), j // len(indices)
        recipe = maker.twin(Recipe.from_json(train["recipe"][index]), index, seed)
        groups = sorted({maker.sources[layer.source_id]["source_group"] for layer in recipe.layers})
        clip_id = train["clip_id"][index]
        rows.append((f"twin_{index:05d}_s{seed}", clip_id, index, seed, recipe.caption, groups))
        recipes.append(recipe)
    return pd.DataFrame(
        rows, columns=["query_id", "clip_id", "index", "twin_seed", "caption", "source_groups"]
    ), recipes


def training_mixtures(
    config: CorpusConfig, n: int, seed: int, semitones: float = 0.0, tilt_db: float = 0.0
) -> tuple[np.ndarray, list[str]]:
    """Fresh mixtures of training recordings for the frozen parts to learn from; none of them is a clip of the corpus.

    Each recording's pitch (with its speed) varies by up to `semitones` and its spectrum by up to `tilt_db` per octave,
    either way, beyond what the corpus does: so a model that is to know sounds never hears one twice alike.

    Returns:
        int16 [n, S] and n captions.
    """
    maker = generator(config, pools(config)["train"], f"mixtures {seed}")
    recipes = maker.recipes(n, unique=False)
    if semitones or tilt_db:
        recipes = [vary(r, seeded(config.seed, "vary", seed, i), semitones, tilt_db) for i, r in enumerate(recipes)]
    audio = np.concatenate(list(render_all(recipes, config, desc="mixing for training")))
    return audio, [recipe.caption for recipe in recipes]


def reader_report(folder: Path) -> dict | None:
    """What a reader left out of a user's own data (counts and a list), or None for the pocket corpus."""
    path = Path(folder) / "left_out.json"
    return json.loads(path.read_text()) if path.is_file() else None


def originals(train: pd.DataFrame) -> np.ndarray:
    """Row numbers of the clips that others copy, one a cluster, and after them those without a copy.

    `train` holds the planted training clips in order. Of exact copies under several captions it is one with the first
    caption, which is that of the clip itself.
    """
    own_caption = train["caption"] == train["recipe"].map(lambda recipe: json.loads(recipe)["caption"])
    unaltered = train.reset_index(drop=True)[(own_caption & (train["alteration"] == "none")).to_numpy()]
    first = unaltered.drop_duplicates("cluster_id")
    return first.index[np.argsort(first["copies"].to_numpy() == 1, kind="stable")].to_numpy()
