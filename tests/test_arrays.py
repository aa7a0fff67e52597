"""Arrays on disk read in parts: the same rows as at once, and pages given back."""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from helpers.base.mapped import Selection, chunks, create, forget, open_stored, write_stored
from helpers.base.settings import TextConfig
from helpers.models import text
from helpers.sound.profiles import load_profile
from helpers.stages import generation


@pytest.fixture
def mapped(tmp_path):
    """A mapped array and the same array in memory."""
    rows = np.random.default_rng(0).normal(size=(23, 2, 5)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    return np.load(tmp_path / "rows.npy", mmap_mode="r"), rows


@pytest.mark.parametrize("numbers", [range(4, 19), [7], [], [3, 1, 22, 1], range(22, -1, -2)])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_chunks_of_a_selection_are_the_chosen_rows_in_order(mapped, numbers, size):
    chosen = Selection(mapped[0], list(numbers))
    assert chosen.shape == (len(numbers), 2, 5) and chosen.ndim == 3 and chosen.dtype == np.float32
    found = np.full(chosen.shape, np.nan, np.float32)
    for part, rows in chunks(chosen, size):
        assert len(rows) <= size
        found[part] = rows
    np.testing.assert_array_equal(found, mapped[1][np.array(numbers, int)])


def test_a_selection_of_a_selection(mapped):
    inner = Selection(Selection(mapped[0], [9, 4, 17, 5]), [3, 0, 0])
    np.testing.assert_array_equal(inner[0:3], mapped[1][[5, 9, 9]])


def test_what_was_forgotten_can_be_read_again(mapped):
    for array in (mapped[0], mapped[0][3:7], Selection(mapped[0], [1, 2]), mapped[1], np.zeros(3)):
        before = np.array(array[0:2])
        forget(array)
        np.testing.assert_array_equal(array[0:2], before)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems keep the pages")
def test_what_was_written_before_it_was_forgotten_is_in_the_file(tmp_path):
    size = 2**24
    written = np.lib.format.open_memmap(tmp_path / "rows.npy", "w+", np.uint8, (4, size))
    for row in range(len(written)):
        written[row] = row + 1
        forget(written)
    assert _resident("rows.npy") < size // 2
    written.flush()
    kept = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert [set(np.unique(row)) for row in kept] == [{1}, {2}, {3}, {4}]


def _resident(name: str) -> int:
    """Bytes of the mapped file of this name that are in memory."""
    return sum(one.rss for one in psutil.Process().memory_maps() if one.path.endswith(name))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems keep the pages")
def test_reading_rows_at_random_or_storing_all_keeps_no_pages(tmp_path):
    """What training draws from its files, and what is put into an .npz, may be larger than memory."""
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).integers(255, size=(64, 2**18), dtype=np.uint8))
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    drawn = Selection(rows, np.random.default_rng(0).permutation(64))
    for start in range(0, 64, 8):
        drawn[np.arange(start, start + 8)]
        assert _resident("rows.npy") < rows.nbytes / 8
    write_stored(tmp_path / "stored.npz", {"rows": rows, "of": np.arange(3)})
    assert _resident("rows.npy") < rows.nbytes / 8
    np.savez(tmp_path / "saved.npz", rows=rows, of=np.arange(3))
    assert (tmp_path / "stored.npz").read_bytes() == (tmp_path / "saved.npz").read_bytes()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems keep the pages")
def test_states_of_many_captions_and_latents_to_be_decoded_stay_on_the_disk(tmp_path, monkeypatch):
    def batches(*_):
        for _ in range(4):
            assert not (tmp_path / "states.npy").exists() or _resident("states.npy") < 2**20
            yield torch.zeros(text.BATCH, 64, 512), torch.ones(text.BATCH, 64, dtype=torch.bool)

    monkeypatch.setattr(text, "_states", batches)
    monkeypatch.setattr(
        text, "load_text_encoder", lambda: (None, SimpleNamespace(config=SimpleNamespace(hidden_size=512)))
    )
    captions = ["rain"] * 4 * text.BATCH
    states, _ = text.encode_captions(
        captions, TextConfig(max_tokens=64), lambda shape, dtype: create(tmp_path / "states.npy", dtype, shape)
    )
    assert states.nbytes == 2**24

    files = [tmp_path / f"latents_{name}.npy" for name in "abc"]
    for file in files:
        np.save(file, np.zeros((8, 2**18), np.float32))

    def decode_all(out, n, decode, *_):
        for start in range(0, n, 4):
            decode(slice(start, start + 4))
            assert sum(map(_resident, (file.name for file in files))) < 2**20
        np.save(out / "audio.npy", np.zeros((n, 4), np.int16))

    monkeypatch.setattr(generation, "compute_shard", lambda *_: (pd.DataFrame(index=range(24)), files))
    monkeypatch.setattr(generation, "load_codec", lambda *_: SimpleNamespace(decode=lambda latents: latents))
    monkeypatch.setattr(generation, "decode_and_vocode", decode_all)
    profile = load_profile("tiny")
    generation.compute(tmp_path, {}, profile, profile.generation, "main")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_an_npz_stay_on_disk_where_they_can(tmp_path, save):
    arrays = {
        "states": np.random.default_rng(0).random((5, 3), np.float32),
        "mask": np.arange(5) < 3,
        "null_state": np.ones(2),
    }
    save(tmp_path / "text.npz", **arrays)
    opened = open_stored(tmp_path / "text.npz")
    assert [*opened] == [*arrays]
    for name, array in arrays.items():
        np.testing.assert_array_equal(opened[name], array)
        assert opened[name].dtype == array.dtype and isinstance(opened[name], np.memmap) == (save is np.savez)
