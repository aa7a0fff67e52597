"""A run that is killed at random moments gives the bytes of an undisturbed one; two runs at once give them too."""

import kills


def test_a_killed_run_gives_the_same_bytes(tmp_path):
    """Of the stages up to one training; `tests/kills.py` does it with all."""
    stage = "training --set n_train=4 draw=0"
    assert kills.survive(tmp_path, stage, kills=3, longest_s=15) == []
    expected = kills.contents(tmp_path / "undisturbed")
    assert len(expected) >= 10 and any(name.endswith(".safetensors") for name in expected)
    both = [kills.start(tmp_path / "both", stage) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert kills.contents(tmp_path / "both") == expected
