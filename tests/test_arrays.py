"""Arrays on disk read in parts: the same rows as at once, and pages given back."""

import sys

import numpy as np
import psutil
import pytest

from helpers.base.mapped import Selection, chunks, forget, open_stored


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
    of_file = next(m for m in psutil.Process().memory_maps() if m.path.endswith("rows.npy"))
    assert of_file.rss < size // 2
    written.flush()
    kept = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert [set(np.unique(row)) for row in kept] == [{1}, {2}, {3}, {4}]


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
