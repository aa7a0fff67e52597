"""The blind stage: clips of known kind for the copy-or-not pairs of the first page, drawn at random, never by their score.

Light: made again from the corpus' recipes, as the stages `controls` and `twins` make them, so their scores are published.

Notebook: 07_findings.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from helpers.base.profile import Profile
from helpers.base.seeds import seeded
from helpers.models.codec import load_codec
from helpers.models.vocoder import load_vocoder
from helpers.sound.altered_copies import alter, plan_alterations
from helpers.sound.corpus import Corpus, load_corpus, render_all, subset, twin_recipes
from helpers.sound.mel import log_mel

N_PAIRS = 5


def compute(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes gallery.csv (slot, n_train, kind, query_id, own_id, caption, file), and each clip as Ogg Vorbis.

    The sizes in turn, first draws; by the toss of a coin an altered copy, where the profile has any, or an honest clip: a
    twin, or where clips cannot be mixed anew a held-out one.
    """
    data, rng = load_corpus(upstream["corpus"]), seeded(profile.retrieval.seed, "blind pairs")
    honest = _twin if "twins" in profile.nulls else _heldout
    makers = (_altered if profile.controls.n_altered else honest, honest)
    rate_hz, sizes, rows, sounds = profile.corpus.sample_rate_hz, sorted(profile.sizes), [], []
    for number in range(N_PAIRS):
        n = sizes[number % len(sizes)]
        kind, query_id, row, sound = makers[int(rng.integers(2))](data, profile, n, rng)
        own_id, caption = data.clips[["clip_id", "caption"]].iloc[row]
        rows.append((f"pair {number + 1}", n, kind, query_id, own_id, caption, f"pair_{number + 1}.ogg"))
        sounds.append(sound)
    codec = load_codec(profile.codec.codec_path, profile.codec.codec_sha256)
    decoded = codec.decode(codec.encode(log_mel(np.stack(sounds), profile.mel, rate_hz)))
    table = pd.DataFrame(rows, columns=["slot", "n_train", "kind", "query_id", "own_id", "caption", "file"])
    for file, audio in zip(table["file"], load_vocoder(profile.codec, profile.mel, rate_hz)(decoded)):
        soundfile.write(out / file, audio, rate_hz, format="OGG", subtype="VORBIS")
    table.to_csv(out / "gallery.csv", index=False)


def _altered(data: Corpus, profile: Profile, n_train: int, rng) -> tuple[str, str, int, np.ndarray]:
    """Kind, query_id, row of the own clip, and int16 [S]."""
    plan = plan_alterations(profile, n_train, 0)
    number = int(rng.integers(len(plan)))
    copy = plan.iloc[number]
    sound = alter(data, profile, n_train, 0, number, copy)
    return "altered", copy["query_id"], data.rows("train")[copy["index"]], sound


def _twin(data: Corpus, profile: Profile, n_train: int, rng) -> tuple[str, str, int, np.ndarray]:
    members = subset(profile.training_run(n_train, 0), profile.corpus.n_train)
    table, recipes = twin_recipes(profile.corpus, data.clips, members, profile.twins.n_twins)
    number = int(rng.integers(len(table)))
    (sound,) = next(iter(render_all([recipes[number]], profile.corpus)))
    return "twins", table["query_id"][number], data.rows("train")[table["index"][number]], sound


def _heldout(data: Corpus, profile: Profile, n_train: int, rng) -> tuple[str, str, int, np.ndarray]:
    row = int(rng.choice(data.rows("heldout")))
    return "heldout", f"roundtrip_{data.clips['clip_id'].iloc[row]}", row, np.asarray(data.audio[row])
