"""Every command that a page tells a reader to type is run as it is printed, or stands here with the reason why it is not."""

import re
import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import checkouts
import nbformat
import numpy as np
import pytest

from helpers.base.paths import ROOT
from helpers.book import chapters, parameters
from helpers.copies import calibration
from helpers.copies.bias import bias
from helpers.sound.profiles import load_profile
from helpers.study import plan

PAGES = [path for pattern in ("*.md", "book/*.md", "notebooks/*.ipynb") for path in sorted(ROOT.glob(pattern))]
FENCE = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAM = r"make|helpers|python3?|papermill|snakemake|jupyter-book|pip|conda|hf|ruff|git|sbatch|\."
COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:{PROGRAM}) .+|lint-imports|--set .+")  # a name alone is no command

NOT_RUN = {  # how a command begins, and why it is not run
    "make test": "it runs these tests",
    "git clone": "the repository has no address of its own",
    "hf download": "fetches gigabytes",
    "pip install .": "fetches packages; test_wheel builds the package and unpacks it",
    "make aisfx": "fetches a package",
    "make cluster": "fetches packages",
    "make book TORCH_ARGS=": "fetches PyTorch; test_repository does it with a Python that only notes what it is asked for",
    "make book PROFILE=tango": "needs AudioCaps and TANGO's weights; test_own_corpus does it with fabricated ones",
    "snakemake --profile profiles/slurm": "needs a cluster",
    "docker ": "needs a daemon",
    "helpers run generation --profile paper": "needs AudioCaps and hours of a GPU",
    'make chapter NAME=06_thresholds SET="labels=': "needs what a listener saved; test_listening runs it with some",
    "make reproduce": "takes hours",
    "hf auth login": "needs an account",
    "pip install torchsde": "fetches a package",
    "make chapter NAME=06_thresholds PROFILE=own": "its clips are the reader's; test_own_corpus reruns a chapter with some",
    "make bench": "takes long; test_benchmarks runs its scripts at a toy size",
}
HOURS = re.compile(r"helpers run .*--profile pocket")  # is asked what it would do
BOOKS = {  # have tests of their own
    "make book": "test_the_book_is_made", "make book PROFILE=smoke": "test_book", "make book PROFILE=own": "test_own_corpus",
}  # fmt: skip
BEGINNINGS = ("helpers audit", "helpers publish")  # stand for a whole command that is printed elsewhere
STANDS_FOR = {  # what a reader puts there: a name of one's own, or what was printed before; and fewer of the same
    "[mel, yours]": "[mel, mel_centred]",
    "[yours]": "[mel]",
    "--generated generated --training training --honest honest": "--generated made --training learned --honest others",
    "run yours": "run duplicates",
    "11_yours": "07_findings",
    "audit …": "audit --generated made --training learned --honest others",
    "chapter …": 'chapter NAME=06_thresholds SET="beta=0.7 k=5"',
    "-p beta 0.7": "-p beta 0.7 -p k 3",  # a notebook's own K needs more background clips than the small profile has
    "--generated made_here": "--generated data/audit/generated",
    "--honest data/audit/honest": "--honest data/audit/honest --set detectors=[mel]",
    "--config shards=4 audit": "--config profile=smoke shards=2 audit",
    "--kills 20": "--kills 1 --longest 3 --stage corpus",
    "UPDATE_GOLDEN=1 make": "PYTEST_ADDOPTS='-k unchanged[corpus]' UPDATE_GOLDEN=1 make",
}


def commands(text: str) -> list[str]:
    """The lines of a Markdown text's blocks for a shell, and what its sentences print as a command."""
    blocks = [block["text"].replace("\\\n", " ") for block in FENCE.finditer(text) if block["kind"] == "bash"]
    lines = [" ".join(re.sub(r"(^|\s)# .*", "", line).split()) for block in blocks for line in block.splitlines()]
    spans = (" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", FENCE.sub("", text)))
    return [line for line in lines if line] + [span for span in spans if COMMAND.fullmatch(span)]


def markdown(path: Path) -> str:
    if path.suffix == ".md":
        return path.read_text()
    return "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")


def with_names(command: str) -> str:
    """The command with what a reader puts there."""
    command = f"helpers audit … {command}" if command.startswith("--set") else command
    for words, meant in STANDS_FOR.items():
        command = command.replace(words, meant)
    return command


PRINTED = list(dict.fromkeys(command for path in PAGES for command in commands(markdown(path))))
TRIED = [command for command in PRINTED if not (command in (*BOOKS, *BEGINNINGS) or command.startswith((*NOT_RUN,)))]
EXERCISES = [command for command in map(with_names, TRIED) if re.match(r"make chapter .*PROFILE=", command)]
RERUN = 'make chapter NAME=06_thresholds SET="beta=0" PROFILE=smoke'
OTHERS = [command for command in TRIED if with_names(command) not in EXERCISES]


def test_commands_are_found_in_blocks_and_in_sentences():
    text = "```bash\nmake a   # why\n\nmake \\\n  b\n```\nType `make\nc` or `X=1 helpers d`, not `helpers` or `d e`.\n```python\nf\n```"
    assert commands(text) == ["make a", "make b", "make c", "X=1 helpers d"]
    assert len(PRINTED) > 50 and len(EXERCISES) > 15
    kinds = {kind for path in PAGES for kind, _ in FENCE.findall(markdown(path)) if not kind.startswith("{")}
    assert kinds == {"bash", "python", "text", "yaml"}, "a block of another kind: are these commands?"


def test_what_is_not_run_is_still_printed():
    for beginning in (*NOT_RUN, *BEGINNINGS, *BOOKS):
        assert any(command.startswith(beginning) for command in PRINTED), beginning
    for words in STANDS_FOR:
        assert any(words in command for command in PRINTED), words
    for beginning in BEGINNINGS:
        assert any(command.startswith(f"{beginning} ") for command in PRINTED), beginning


@pytest.fixture(scope="module")
def folders(small_checkout) -> Path:
    """The checkout, with the folders of audio that an audit is given."""
    for name, first, n in (("made", 0, 5), ("learned", 3, 12), ("others", 100, 110)):
        checkouts.write_clips(small_checkout / name, [f"{number}.wav" for number in range(first, first + n)], first)
    return small_checkout


@pytest.mark.parametrize("command", OTHERS)
def test_it_runs_as_it_is_printed(command, folders, runs_root):
    command = with_names(command)
    if HOURS.match(command):
        command += " --dry-run"
    small = re.search(r"smoke|tiny", command)  # in one store with what other tests compute
    done = checkouts.call(folders, command, **({"HELPERS_RUNS": str(runs_root)} if small else {}))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    if "--generated data/audit/generated" in command:
        assert "all detectors together: flagged 1 of 12 " in done.stdout, "as the page says"
    if "--within data/audit" in command:
        assert done.stdout.startswith("1 clusters of files that share an excerpt, 1 files to drop; "), (
            "as the page says"
        )
    if "make chapter" in command:
        page = Path(done.stdout.strip())
        assert page.is_file() and page.is_relative_to(
            folders / "runs" / "chapters" / "06_thresholds" / "pocket_beta=0.7_k=5"
        )


def test_the_book_is_made(small_checkout):
    """Of the published study, in a folder of any name."""
    done = checkouts.call(small_checkout, "make book")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    page = Path(done.stdout.splitlines()[-1])
    assert page == small_checkout / "book" / "_build" / "html" / "index.html" and page.is_file()
    assert re.search(r"^\d+ stages: \d+ restored, ", done.stdout, re.MULTILINE) and "computing" not in done.stderr


def test_the_lesson_alters_three_of_the_sample_clips(tmp_path, monkeypatch):
    (code,) = (text for kind, text in FENCE.findall(markdown(ROOT / "book" / "teaching.md")) if kind == "python")
    shutil.copytree(ROOT / "data" / "audit" / "generated", tmp_path / "made_here")
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    same = [
        path.read_bytes() == (ROOT / "data/audit/generated" / path.name).read_bytes()
        for path in sorted(tmp_path.glob("made_here/*"))
    ]
    assert same == [False] * 3 + [True] * 9


def settings_of(command: str) -> dict[str, str]:
    """`make chapter NAME=... SET=...` as {"NAME": ..., "SET": ...}."""
    return dict(word.split("=", 1) for word in shlex.split(command) if "=" in word)


def own_profile(folder: Path) -> None:
    """What the last exercise tells to do to a copy of the profile `smoke`."""
    text = (ROOT / "profiles" / "smoke.yml").read_text()
    assert text.count("  updates: 800\n  checkpoints: [800]\n") == 1
    (folder / "mine.yml").write_text(text.replace("800", "200"))


@pytest.mark.parametrize("command", EXERCISES)
def test_an_exercise_takes_the_settings_of_its_profile(command, tmp_path, monkeypatch):
    given = settings_of(command)
    shutil.copytree(ROOT / "profiles", tmp_path, dirs_exist_ok=True)
    own_profile(tmp_path)
    monkeypatch.setattr(parameters, "load_profile", lambda name: load_profile(name, tmp_path))
    monkeypatch.setenv("HELPERS_RUNS", str(tmp_path / "runs"))
    values = parameters.parse_settings(given.get("SET", "").split())
    chapter = parameters.check_parameters(given["NAME"], {"profile": given["PROFILE"], **values})
    assert values.keys() == chapter.changed.keys(), "nothing is exercised"  # of a baseline, nothing is
    missing = plan.estimate_all(plan.missing(chapters.chapter_stages(chapter)))
    # of griffin_lim nothing was measured; test_every_exercise_can_be_done runs it
    assert sum(one.seconds or 0.0 for one in missing) < 600, "minutes, no more"


@pytest.mark.parametrize("name", sorted({settings_of(command)["NAME"] for command in EXERCISES}))
def test_the_exercises_name_their_baseline_and_how_long_it_takes(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HELPERS_RUNS", str(tmp_path))
    text = markdown(ROOT / "notebooks" / f"{name}.ipynb")
    (named,) = re.findall(rf"`make chapter NAME={name} PROFILE=smoke` \(estimated at (\d+) minutes?,", text)
    assert text.index("## Exercises") < text.index(":class: exercise"), "before the first of them"
    missing = plan.missing(chapters.chapter_stages(parameters.check_parameters(name, {"profile": "smoke"})))
    seconds = sum(one.seconds for one in plan.estimate_all(missing))
    assert seconds / 2 <= 60 * int(named) <= 2 * seconds + 60
    said = {"03_training": "**train a model each**", "04_generation": "It trains a small model first."}
    trains = any(one.name == "training" for one in missing)
    assert (said.get(name, "It trains two small models first.") in text) == trains, "none trains unannounced"


@pytest.mark.parametrize("name", chapters.CHAPTERS)
def test_each_chapter_has_a_quiz_that_answers_each_choice(name):
    text = markdown(ROOT / "notebooks" / f"{name}.ipynb")
    (quiz,) = re.findall(
        r"^::::\{admonition\} Quiz\n:class: exercise quiz\n(.*?)^::::$", text, re.MULTILINE | re.DOTALL
    )
    answers = re.findall(r"^:::\{dropdown\} (.+)\n(.+)\n:::$", quiz, re.MULTILINE)
    assert len(answers) == 3 and len({answer for _, answer in answers}) == 3
    right = [answer for _, answer in answers if re.search(r"\bRight\b", answer)]
    assert len(right) == 1 and all(len(answer) > 40 for _, answer in answers), "a wrong choice is told why"


def test_the_five_lines_of_numpy_are_the_rule_itself():
    (block,) = re.findall(
        r"^```python\n(.*?)^```$", markdown(ROOT / "notebooks/06_thresholds.ipynb"), re.MULTILINE | re.DOTALL
    )
    made = {}
    exec(compile(block, "06_thresholds", "exec"), made)
    scores = made["score"] - 0.5 * bias(-np.sort(-made["neighbours"]), 5)
    assert np.allclose(made["normalised"], scores)
    tau = calibration.calibrate_threshold(scores, 0.05)
    assert (made["flagged"] == calibration.flag(scores, tau)).all() and 0 < made["flagged"].sum() <= 0.05 * 201


def test_every_exercise_can_be_done(small_checkout, runs_root):
    """All of them as they are printed, two at a time, with a profile `smoke` as small as `tiny`; the HTML is not built."""
    (small_checkout / "profiles" / "mine.yml").write_text("base: smoke\ntraining: {updates: 200, checkpoints: [200]}\n")
    builder = small_checkout / ".venv" / "bin" / "jupyter-book"
    kept = builder.read_text()
    builder.write_text("#!/bin/sh\n")
    try:
        with ThreadPoolExecutor(2) as pool:
            done = pool.map(
                lambda command: checkouts.call(small_checkout, command, HELPERS_RUNS=str(runs_root)), EXERCISES
            )
            failed = {command: one.stderr[-2000:] for command, one in zip(EXERCISES, done) if one.returncode}
        again = checkouts.call(small_checkout, RERUN, HELPERS_RUNS=str(runs_root))  # now its baseline is there
    finally:
        builder.write_text(kept)
    assert not failed and not again.returncode
    page = Path(again.stdout.strip()).parents[3] / "06_thresholds.ipynb"
    title, opening = nbformat.read(page, as_version=4).cells[0].source.split("\n", 1)
    assert title == "# 6. Thresholds" and opening.lstrip().startswith(
        ":::{admonition} What changed against the baseline"
    )
    assert "**Settings:** `beta` 0.5 → 0." in opening and "tables are as they were" in opening
    assert "the baseline was not run" not in opening
