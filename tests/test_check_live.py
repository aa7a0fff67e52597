"""The check that a reader runs on the published denoiser: the same clips come out again, others are told from them."""

import numpy as np
import pandas as pd
import pytest

from helpers.base.settings import GenerationConfig
from helpers.models import regeneration
from helpers.sound.profiles import load_profile

KEPT = np.random.default_rng(0).normal(size=(4, 16, 32, 8)).astype(np.float32)


@pytest.fixture
def folders(tmp_path):
    """A training folder with a checkpoint, and a generation folder with its first latents."""
    training, made = tmp_path / "training", tmp_path / "generation"
    (training / "checkpoints").mkdir(parents=True)
    (training / "checkpoints" / "ema_000006.safetensors").touch()
    made.mkdir()
    np.save(made / "first_latents.npy", KEPT)
    queries = pd.DataFrame({"query_id": list("abcdef"), "caption": "rain", "noise_seed": range(6)})
    queries.to_parquet(made / "queries.parquet", index=False)
    return training, made


def check(folders, monkeypatch, again, **settings):
    monkeypatch.setattr(regeneration, "regenerate", lambda folder, queries, *rest: again[: len(queries)])
    return regeneration.check_live(*folders, load_profile("tiny"), GenerationConfig(), **settings)


def test_rounding_agrees(folders, monkeypatch):
    table = check(folders, monkeypatch, KEPT * np.float32(1 + 1e-5))
    assert table["query_id"].tolist() == ["a", "b"] and table["agrees"].all()
    assert table["cosine"].to_numpy() == pytest.approx(1) and (table["relative_difference"] < 1e-4).all()


def test_no_more_clips_are_made_than_latents_are_kept(folders, monkeypatch):
    assert len(check(folders, monkeypatch, KEPT, n=6)) == regeneration.N_REFERENCE


def test_another_clip_does_not_agree(folders, monkeypatch):
    table = check(folders, monkeypatch, KEPT[::-1])
    assert not table["agrees"].any() and (table["cosine"].abs() < 0.1).all()


def test_without_the_denoiser_there_is_nothing_to_check(folders, monkeypatch):
    (folders[0] / "checkpoints" / "ema_000006.safetensors").unlink()
    assert check(folders, monkeypatch, KEPT) is None
