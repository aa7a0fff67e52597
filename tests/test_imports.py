"""Whatever the repository imports from the package is there: in tools and benchmarks, which no test runs, and in notebooks."""

import ast
import importlib
import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(
    path
    for pattern in ("src/**/*.py", "tests/*.py", "tools/*.py", "benchmarks/*.py", "notebooks/*.ipynb", "Snakefile")
    for path in ROOT.glob(pattern)
)


def imports(path: Path) -> list[tuple[str, str]]:
    """Module and name of every `from helpers... import name`, also within functions."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    elif path.suffix == ".py":
        text = path.read_text()
    else:  # the Snakefile, of which the rules are no Python
        text = "\n".join(re.findall(r"^(?:from|import) .*", path.read_text(), re.MULTILINE))
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom) and not node.level]
    return [
        (node.module, alias.name) for node in nodes if node.module.split(".")[0] == "helpers" for alias in node.names
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imported_names_are_there(path):
    for module, name in imports(path):
        defined = hasattr(importlib.import_module(module), name)
        assert defined or importlib.util.find_spec(f"{module}.{name}"), f"from {module} import {name}"
