"""Arrays on disk, read and written some rows at a time, so that memory does not grow with the number of clips."""

import mmap
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from helpers.base.room import reserve, telling_no_room


def create(path: Path, dtype, shape: tuple[int, ...]) -> np.memmap:
    """A new .npy file, mapped to be written, whose room on the disk is reserved. Raises OSError where there is none."""
    with telling_no_room(path.parent):
        array = open_memmap(path, "w+", dtype, shape)
        reserve(path)
    return array


def open_stored(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz that was written without compression, mapped to be read; those of any other are read."""
    arrays: dict[str, np.ndarray] = {}
    with np.load(path) as file, zipfile.ZipFile(path) as archive, path.open("rb") as raw:
        for name, info in zip(file.files, archive.infolist()):
            raw.seek(info.header_offset + 26)  # a zip's own header ends with two lengths, a name and an extra field
            raw.seek(sum(struct.unpack("<HH", raw.read(4))), 1)
            if info.compress_type != zipfile.ZIP_STORED or np.lib.format.read_magic(raw) != (1, 0):
                arrays[name] = file[name]
                continue
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(raw)
            arrays[name] = np.memmap(path, dtype, "r", raw.tell(), shape, "F" if fortran else "C")
    return arrays


def write_stored(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """C-ordered arrays of one axis or more as an .npz, byte for byte as `np.savez` writes it, some rows at a time; mapped pages
    are given back."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
                for _, rows in chunks(array, 256):
                    file.write(rows.tobytes())


class Selection:
    """Rows of an array by their numbers, read when they are sliced: `Selection(array, rows)[a:b]` is array[rows[a:b]].

    Rows that follow one another come as a view, others as a copy, for which a mapped file's pages are given back; the whole
    is never read at once.
    """

    def __init__(self, array, rows):
        self.array, self.rows = array, np.asarray(rows)
        self.shape, self.ndim, self.dtype = (len(self.rows), *array.shape[1:]), array.ndim, array.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> np.ndarray:
        rows = self.rows[part]
        if len(rows) and (np.diff(rows) == 1).all():
            return self.array[int(rows[0]) : int(rows[-1]) + 1]
        copied = self.array[rows]
        forget(self.array)
        return copied


def chunks(array, size: int) -> Iterator[tuple[slice, np.ndarray]]:
    """An array or selection some rows at a time, each with the slice that it fills; mapped pages are given back."""
    for start in range(0, len(array), size):
        part = slice(start, min(start + size, len(array)))
        yield part, array[part]
        forget(array)


def forget(array) -> None:
    """Gives a mapped file's pages back, so that going through all of it takes no memory.

    They stay in the system's cache; what was written to them reaches the file all the same, as the mapping is shared.
    """
    while isinstance(array, Selection):
        array = array.array
    if isinstance(array, np.memmap) and array.mode in ("r", "r+", "w+") and hasattr(mmap, "MADV_DONTNEED"):
        array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]  # the stubs leave it out
