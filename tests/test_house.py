"""How the package is laid out: floors whose arrows lead downwards, a module for every stage, a graph built once."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

from helpers import stages
from helpers.base.settings import DETECTORS, EMBEDDINGS
from helpers.copies import calibration
from helpers.sound import mel
from helpers.sound.profiles import load_profile
from helpers.study import graph, registry, work


def test_arrows_lead_downwards(repository):
    """The contracts of .importlinter: floors, no drawing below the book, no stage that imports a stage."""
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=repository)
    assert done.returncode == 0 and "3 kept, 0 broken" in done.stdout, done.stdout + done.stderr


def test_the_map_leads_to_what_is_asked_for(repository):
    """CONTRIBUTING.md has a row for each floor, every place that it names is there, and what newcomers ask is in it."""
    text, package = (repository / "CONTRIBUTING.md").read_text(), repository / "src" / "helpers"
    rows = dict(re.findall(r"^\| `(\w+)`.*?\| (.*) \|$", text, re.MULTILINE))
    floors = {path.name for path in package.iterdir() if (path / "__init__.py").is_file()}
    assert floors <= set(rows) and "`stages`. It holds no function" in text  # what a notebook may not import
    for name in re.findall(rf"`((?:{'|'.join(floors)})/\w+\.py)`", text):
        assert name in ("stages/X.py", "stages/yours.py") or (package / name).is_file(), name
    assert "calibration.py` sets τ" in rows["copies"] and callable(calibration.calibrate_threshold)
    assert "mel.py` gives a clip its log-mel" in rows["sound"] and callable(mel.log_mel)


def test_every_stage_is_computed_in_the_module_of_its_name():
    modules = {path.stem for path in Path(stages.__file__).parent.glob("[a-z]*.py")}
    assert modules == set(registry.NAMES) == set(graph.VERSIONS)
    for name in registry.NAMES:
        compute = getattr(stages, name).compute
        assert compute.__module__ == f"helpers.stages.{name}"
        assert list(inspect.signature(compute).parameters)[:2] == ["out", "upstream"]


def test_what_a_detector_takes_can_be_estimated():
    assert set(work.COST) == set(DETECTORS) and set(EMBEDDINGS) <= set(work.WIDTH)


def test_a_graph_builds_each_stage_once(monkeypatch):
    built, real = [], graph.Stage
    monkeypatch.setattr(graph, "Stage", lambda *args, **kwargs: built.append(real(*args, **kwargs)) or built[-1])
    findings = graph.Graph(load_profile("pocket")).findings()
    titles = [stage.title for stage in built]
    assert len(titles) == len(set(titles))
    shared = findings.upstream["thresholds"].upstream["corpus"]
    assert findings.upstream["duplicates"].upstream["corpus"] is shared


def test_importing_the_package_changes_nothing_outside_it():
    """What the process is told to do belongs to the command line, the Makefile and the kernel."""
    code = (
        "import os, sys; before, known = dict(os.environ), set(sys.modules)\n"
        "import helpers, helpers.study.registry, helpers.book.parameters\n"
        "assert dict(os.environ) == before, 'environment'\n"
        "assert not {'torch', 'diffusers', 'IPython', 'matplotlib'} & (set(sys.modules) - known), 'heavy imports'\n"
        "assert None not in sys.modules.values(), 'a module was hidden'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
