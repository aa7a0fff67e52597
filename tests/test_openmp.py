"""The order and the settings under which faiss is loaded beside torch; macOS is played by stand-ins."""

import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

import pytest

from helpers.base import openmp


class Noting(MetaPathFinder, Loader):
    """Gives empty modules for torch and faiss, and notes what happens to them, with the setting in force then."""

    def __init__(self):
        self.events = []

    def find_spec(self, fullname, path=None, target=None):
        return ModuleSpec(fullname, self) if fullname in ("torch", "faiss") else None

    def exec_module(self, module):
        self.events.append((module.__name__, os.environ.get("KMP_DUPLICATE_LIB_OK")))
        module.omp_set_num_threads = lambda count: self.events.append(("threads", count))


@pytest.fixture
def noting(monkeypatch):
    finder = Noting()
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    for name in ("torch", "faiss"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setenv("KMP_DUPLICATE_LIB_OK", "")  # noted, so that it is as before after the test
    monkeypatch.delenv("KMP_DUPLICATE_LIB_OK")
    yield finder
    for name in ("torch", "faiss"):
        sys.modules.pop(name, None)


def test_on_macos_torch_comes_first_and_faiss_keeps_to_one_thread(noting, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert openmp.import_faiss().__name__ == "faiss"
    assert noting.events == [("torch", "TRUE"), ("faiss", "TRUE"), ("threads", 1)]


def test_on_macos_a_setting_of_the_user_stays(noting, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("KMP_DUPLICATE_LIB_OK", "FALSE")
    openmp.import_faiss()
    assert noting.events[0] == ("torch", "FALSE")


def test_elsewhere_faiss_is_imported_as_it_is(noting, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    openmp.import_faiss()
    assert noting.events == [("faiss", None)]
