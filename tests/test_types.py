"""Types of the rooms that others import from: mypy finds nothing."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_base_sound_and_copies_have_no_type_errors():
    """What is asked for, and what is not, is in pyproject.toml under [tool.mypy]; the cache makes a second run short."""
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(ROOT / ".mypy_cache"), "--no-error-summary"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
