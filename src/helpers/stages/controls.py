"""The controls stage: clips of which it is known whether they copy a training clip, for every training set.

Positives are training clips altered as a copy may be, and what the optimal denoiser of the training set makes, which is
a training clip whatever the noise. Negatives keep a training clip's background under other events. All went through
codec and vocoder, as generated clips do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.mapped import Selection
from helpers.base.parquet_file import write_parquet
from helpers.base.profile import Profile
from helpers.base.progress import progress
from helpers.base.seeds import deal, seed_of
from helpers.models import synthesis
from helpers.models.codec import load_codec
from helpers.models.optimal import nearest_latents, sample_empirical
from helpers.sound import corpus
from helpers.sound.altered_copies import alter, plan_alterations
from helpers.sound.mel import log_mel
from helpers.sound.mixtures import Recipe

COLUMNS = {
    "query_id": "str", "kind": "str", "index": "int64", "clip_id": "str", "caption": "str", "transform": "str",
    "strength": "float64",
}  # fmt: skip


def compute(out: Path, upstream: dict[str, Path], profile: Profile, n_train: int, draw: int) -> None:
    """Writes queries.parquet, audio.npy int16 [N, S] and decoded.npy float32 [N, T, M] of one training set's controls.

    queries.parquet: query_id, kind (altered, same_bed, empirical), index and clip_id (the training clip altered, or
    whose bed is heard, or whose latent is nearest), caption, transform and strength ("" and 0 where none), updates,
    sample_seed (0). A corpus that cannot be mixed anew, and a training set without beds, has no same_bed.
    """
    codec = load_codec(profile.codec.codec_path, profile.codec.codec_sha256)
    training_set = _open_set(upstream, profile, n_train, draw)
    tables, parts = zip(*(make(training_set, codec) for make in (_altered, _same_bed, _empirical)))
    latents, title = np.concatenate(parts), f"controls of n = {n_train}"
    synthesis.decode_and_vocode(out, len(latents), lambda rows: codec.decode(latents[rows]), profile, title)
    table = pd.DataFrame([row for rows in tables for row in rows], columns=list(COLUMNS)).astype(COLUMNS)
    write_parquet(table.assign(updates=0, sample_seed=0), out / "queries.parquet")


@dataclass(frozen=True)
class _TrainingSet:
    """One draw's training clips: `indices` into `train` (rows of clips.parquet) and `latents` [clips, C, h, w]."""

    data: corpus.Corpus
    train: pd.DataFrame
    latents: np.ndarray
    indices: np.ndarray
    profile: Profile
    run: tuple[int, int]

    def key(self, *more: int | str) -> tuple:
        """A seed's key, of this stage and this training set."""
        return (self.profile.controls.seed, "controls", *self.run, *more)

    def row(self, kind: str, number: int, index: int, **changes) -> dict:
        """One row of queries.parquet, number `number` of its kind: unaltered and with the clip's own caption by default."""
        query_id = f"{kind}_{self.profile.key(*self.run)}_{index:05d}_{number}"
        own = self.train.iloc[index][["clip_id", "caption"]]
        return {"query_id": query_id, "kind": kind, "index": index, **own, "transform": "", "strength": 0.0, **changes}

    def encode(self, codec, chunks) -> np.ndarray:
        """Latents [N, C, h, w] of int16 audio that comes a chunk [<=CHUNK, S] at a time."""
        mel, rate_hz = self.profile.mel, self.profile.corpus.sample_rate_hz
        parts = [codec.encode(log_mel(chunk, mel, rate_hz)) for chunk in chunks]
        return np.concatenate([np.empty((0, *self.latents.shape[1:]), np.float32), *parts])


def _open_set(upstream: dict[str, Path], profile: Profile, n_train: int, draw: int) -> _TrainingSet:
    data = corpus.load_corpus(upstream["corpus"])
    train = data.clips[data.clips["split"] == "train"].reset_index(drop=True)
    latents = np.load(upstream["encoding"] / "latents.npy", mmap_mode="r")
    indices = corpus.subset(profile.training_run(n_train, draw), profile.corpus.n_train)
    return _TrainingSet(data, train, latents, indices, profile, (n_train, draw))


def _altered(training_set: _TrainingSet, codec) -> tuple[list[dict], np.ndarray]:
    """Rows and latents of altered training clips."""
    plan = plan_alterations(training_set.profile, *training_set.run)
    rows = [
        training_set.row("altered", number, index, transform=transform, strength=strength)
        for number, (_, index, transform, strength) in enumerate(plan.itertuples(index=False))
    ]
    return rows, training_set.encode(codec, _alter_chunks(training_set, rows))


def _alter_chunks(training_set: _TrainingSet, rows: list[dict]) -> Iterator[np.ndarray]:
    """int16 [<=CHUNK, S]: the clips of `rows` after their transforms."""
    altered = []
    for number, row in enumerate(progress(rows, desc="altering", unit="clip")):
        altered.append(alter(training_set.data, training_set.profile, *training_set.run, number, row))
        if len(altered) == synthesis.CHUNK or number == len(rows) - 1:
            yield np.stack(altered)
            altered = []


def _same_bed(training_set: _TrainingSet, codec) -> tuple[list[dict], np.ndarray]:
    """Rows and latents of clips that share a training clip's bed, and no event with it."""
    config, rows, recipes = training_set.profile.corpus, [], []
    if config.mixed:
        maker = corpus.generator(config, corpus.pools(config)["train"], "train")
        own = {int(i): Recipe.from_json(training_set.train["recipe"][i]) for i in training_set.indices}
        with_bed = np.array([i for i, recipe in own.items() if recipe.layers[-1].role == "bed"], int)
        count = training_set.profile.controls.n_same_bed
        for number, index in enumerate(map(int, deal(with_bed, count, training_set.key("same bed")))):
            # a clip that comes again does so in another round: the events are others then
            recipe = maker.same_bed(own[index], index, seed=number // len(with_bed))
            rows.append(training_set.row("same_bed", number, index, caption=recipe.caption))
            recipes.append(recipe)
    audio = corpus.render_all(recipes, config, desc="mixing same-bed clips") if recipes else ()
    return rows, training_set.encode(codec, audio)


def _empirical(training_set: _TrainingSet, codec) -> tuple[list[dict], np.ndarray]:
    """Rows and latents of what the optimal denoiser of this training set makes, from noise seeds of its own."""
    count = training_set.profile.controls.n_empirical
    if not count:
        return [], training_set.encode(codec, ())
    latents = Selection(training_set.latents, training_set.indices)  # all that were trained on: they stay on the disk
    seeds = [seed_of(*training_set.key("noise", number)) for number in range(count)]
    samples = sample_empirical(latents, seeds, training_set.profile.generation)
    nearest = training_set.indices[nearest_latents(samples, latents)[0]]
    return [training_set.row("empirical", number, int(index)) for number, index in enumerate(nearest)], samples
