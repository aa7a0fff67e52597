"""Calls that Ctrl-C must not reach in their middle."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def shielded(function: Callable[..., T], *args, **kwargs) -> T:
    """What `function` gives, computed in a thread of its own: Python raises an interrupt in the main thread alone.

    soundfile reads and writes memory through callbacks. An exception that is raised inside one of these is printed and
    dropped (cffi): Ctrl-C would be lost, and the samples would be wrong. Here the interrupt is raised once the call is over.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *args, **kwargs).result()
