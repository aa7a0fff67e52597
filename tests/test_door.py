"""The public door: light to import, whole, and shown truly on the book's page."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import helpers

PAGE = "book/instrument.md"
HEAVY = ("torch", "matplotlib", "pandas", "librosa", "sklearn", "transformers", "diffusers", "faiss", "IPython")


def loaded_by(code: str) -> set:
    """Which of the heavy libraries a fresh Python has loaded after `code`."""
    report = f"import json, sys; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("code", "libraries"),
    [
        ("import helpers", set()),
        ("from helpers import load_profile; load_profile('smoke')", set()),
        ("from helpers import bias, normalised_scores", set()),
        ("from helpers import log_mel, apply_transform", {"librosa"}),
        ("from helpers import calibrate_threshold, flag, clustered_rate, kernel_distance", {"pandas", "sklearn"}),
    ],
)
def test_a_name_loads_no_library_that_it_does_not_use(code, libraries):
    assert loaded_by(code) <= libraries


def stub() -> dict:
    """The public names by the module that the stub takes each from."""
    tree = ast.parse(Path(helpers.__file__).with_suffix(".pyi").read_text())
    return {alias.asname: f"helpers.{node.module}" for node in tree.body for alias in node.names}


def test_the_stub_and_the_package_agree():
    assert dir(helpers) == helpers.__all__ == sorted(stub())
    for name, module in stub().items():
        assert getattr(helpers, name) is getattr(sys.modules[module], name)
        assert (Path(helpers.__file__).parent / name).with_suffix(".py").exists() is False, f"{name} hides a module"
    with pytest.raises(AttributeError, match="no_such_name"):
        helpers.no_such_name  # noqa: B018


CHECKS_NOTHING = {"near_exact"}  # a comparison of numbers of any shape


def test_every_public_function_says_what_it_raises():
    for name in helpers.__all__:
        item = getattr(helpers, name)
        if callable(item) and name not in CHECKS_NOTHING:
            assert re.search(r"\b[Rr]aises\b", item.__doc__), name


def blocks(text: str) -> list[str]:
    """The Python of a page, block by block."""
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def run_block(source: str, namespace: dict) -> list[tuple[str, str, str]]:
    """Runs a block; (line, what its remark promises, what it gave) of each line `expression  # value`."""
    lines, results = source.splitlines(), []
    for node in ast.parse(source).body:
        remark = lines[node.end_lineno - 1].partition("  # ")[2]
        if not (isinstance(node, ast.Expr) and remark):
            exec(compile(ast.Module([node], []), PAGE, "exec"), namespace)
            continue
        expression = node.value
        if isinstance(expression, ast.Call) and getattr(expression.func, "id", "") == "print":
            (expression,) = expression.args
            given = str(eval(compile(ast.Expression(expression), PAGE, "eval"), namespace))
        else:
            given = repr(eval(compile(ast.Expression(expression), PAGE, "eval"), namespace))
        results.append((ast.unparse(node), remark, given))
    return results


def test_the_page_is_true_and_shows_every_name(repository, tmp_path, monkeypatch):
    page = (repository / PAGE).read_text()
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    results = [result for block in blocks(page) for result in run_block(block, namespace)]
    assert len(results) >= 20
    assert [line for line in results if line[1] != line[2]] == []
    imported = re.findall(r"^from helpers import (.*)$", page, flags=re.MULTILINE)
    assert sorted(name for names in imported for name in names.split(", ")) == helpers.__all__


def test_a_remark_that_does_not_hold_is_noticed():
    assert run_block("x = 1\nx + 1  # 3\nprint(x)  # 1\n", {}) == [("x + 1", "3", "2"), ("print(x)", "1", "1")]
