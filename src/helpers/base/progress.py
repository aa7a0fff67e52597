"""Progress of long work, with the time left, on the terminal: never in a notebook's cell outputs.

A Jupyter kernel replaces `sys.stderr` and, since ipykernel 6, watches file descriptor 2 as well; what is written to
either becomes a cell output. Its replacement's `fileno()` is a copy of the descriptor that the kernel was started
with, which is the terminal (or the log) of whoever started Papermill, so that is where bars go.
"""

import functools
import io
import os
import sys

from tqdm import tqdm

LOG_INTERVAL_S = 10.0  # between lines where the output is a file or a pipe


class _Lines(io.TextIOBase):
    """Turns a bar redrawn in place into one line per redraw, for logs."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text: str) -> int:
        line = text.strip("\r\n ")
        if line:
            self._stream.write(line + "\n")
            self._stream.flush()
        return len(text)

    def flush(self):
        self._stream.flush()


def terminal():
    """The standard error stream that this process was started with, as a text file."""
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # replaced by an object without a descriptor, or closed
        descriptor = 2
    return _open(descriptor)


@functools.cache
def _open(descriptor: int):
    # One object per descriptor, so that tqdm.write recognises the stream of the bar that it must clear first.
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)


def say(text: str):
    """Writes one line to the terminal, above any bar."""
    tqdm.write(text, file=terminal())


def progress(iterable=None, *, total=None, initial=0, desc="", unit="it") -> tqdm:
    """A tqdm bar over `iterable`, or to be updated by hand up to `total` (`with progress(total=n) as bar`).

    It shows on the terminal after two seconds, so short loops stay silent; in a log it is a line every ten seconds.
    """
    stream = terminal()
    live = os.isatty(stream.fileno()) and min(os.get_terminal_size(stream.fileno())) > 0  # some report no size: 0 x 0
    return tqdm(
        iterable,
        total=total,
        initial=initial,
        desc=desc,
        unit=unit,
        file=stream if live else _Lines(stream),
        mininterval=0.5 if live else LOG_INTERVAL_S,
        dynamic_ncols=live,
        ascii=None if live else True,
        ncols=None if live else 100,
        leave=not live,  # on a terminal the bar makes way for the next line; a log keeps its last line
        delay=2.0,
    )
