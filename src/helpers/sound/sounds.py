"""Sounds of any length, kept one behind another in a file, and the overlapping windows that they are compared by.

Used by `audit`.
"""

from collections.abc import Iterable
from pathlib import Path

import librosa
import numpy as np

from helpers.base.room import telling_no_room
from helpers.sound.silence import GENERATED_PEAK


class Sounds:
    """Sounds int16 [n] each, behind one another in a file: `sounds[i]` reads one. `Sounds(file)` begins an empty one."""

    def __init__(self, file: Path):
        self.file, self.ends = Path(file), [0]
        self.file.touch()

    def extend(self, more: Iterable[np.ndarray]) -> "Sounds":
        """Writes some behind those that there are. Raises OSError where the disk has no room."""
        with telling_no_room(self.file.parent), self.file.open("ab") as stream:
            for sound in more:
                stream.write(np.asarray(sound, np.int16).tobytes())
                self.ends.append(self.ends[-1] + len(sound))
        return self

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, number: int) -> np.ndarray:
        return self.cut(number, 0, self.ends[number + 1] - self.ends[number])

    def cut(self, number: int, start: int, samples: int) -> np.ndarray:
        """As many samples of a sound from `start` on, or as there are: no more is read."""
        first, end = self.ends[number] + start, self.ends[number + 1]
        return np.fromfile(self.file, np.int16, min(samples, end - first), offset=2 * first)


class Windows:
    """Windows int16 [W, size] of some `Sounds`, half of one apart, the last at the end: read when they are sliced.

    A sound that is shorter than a window is padded with silence. Windows in which nothing is heard are left out, but each
    sound keeps its loudest. `owner` int64 [W] numbers the sound of each, as `rows` does, and `start` int64 [W] is its first
    sample there.
    """

    def __init__(self, sounds: Sounds, rows: Iterable[int], size: int):
        self.sounds, self.size, self.dtype, self.ndim = sounds, size, np.dtype(np.int16), 2
        owners, starts = [], []
        for row in rows:
            sound = sounds[row]
            last = max(0, len(sound) - size)
            begins = np.unique([*range(0, last, size // 2), last])
            # from the lowest to the highest sample, as a constant offset is not heard
            swings = np.array([np.ptp(sound[begin : begin + size].astype(np.int32)) for begin in begins])
            heard = begins[swings > min(2 * GENERATED_PEAK, swings.max() - 1)]
            owners += [row] * len(heard)
            starts += heard.tolist()
        self.owner, self.start = np.array(owners, np.int64), np.array(starts, np.int64)
        self.shape = (len(owners), size)

    def __len__(self) -> int:
        return len(self.owner)

    def __getitem__(self, part: slice) -> np.ndarray:
        cut = np.zeros((len(self.owner[part]), self.size), np.int16)
        for place, (row, start) in enumerate(zip(self.owner[part], self.start[part])):
            cut[place] = librosa.util.fix_length(self.sounds.cut(row, start, self.size), size=self.size)
        return cut
