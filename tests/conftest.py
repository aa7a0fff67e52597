"""Shared fixtures. Stage results of the tests go to a temporary place, never to the repository's own runs/."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's top folder."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def runs_root(tmp_path_factory) -> Path:
    """Where stages are kept during this session, for subprocesses and notebook kernels too."""
    root = tmp_path_factory.mktemp("runs")
    os.environ["HELPERS_RUNS"] = str(root)
    return root
