"""Ctrl-C during a call that must not be broken off: it is heard once the call is over, and what the call gives is whole."""

import os
import signal
import threading
import time

import numpy as np
import pytest
import soundfile

from helpers.base.shielded import shielded
from helpers.sound import transforms


def test_an_interrupt_is_raised_when_the_call_is_over():
    done = []

    def call():
        time.sleep(0.3)
        done.append(True)

    threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        shielded(call)
        time.sleep(1)  # in case the signal came late
    assert done == [True]


def test_sounds_are_coded_where_no_interrupt_can_reach_them(monkeypatch):
    """soundfile drops what is raised in its callbacks: in the main thread Ctrl-C would be lost, and the samples wrong."""
    threads, write = [], soundfile.write

    def noted(*args, **kwargs):
        threads.append(threading.current_thread())
        return write(*args, **kwargs)

    monkeypatch.setattr(transforms.soundfile, "write", noted)
    clip = (3000 * np.random.default_rng(0).standard_normal(16_000)).astype(np.int16)
    for name, strength in (("mp3", 32), ("ogg", 1.0)):
        transforms.apply_transform(name, clip, strength, np.random.default_rng(0), sample_rate_hz=16_000)
    assert len(threads) == 2 and threading.main_thread() not in threads
