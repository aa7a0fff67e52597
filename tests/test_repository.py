"""The repository as a whole: pins, notebooks, style, sizes, licences, and the commands that start everything."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import checkouts
import nbformat
import pytest
import yaml

from helpers.base.paths import PROFILES, ROOT
from helpers.base.protocol import read_protocol
from helpers.book import parameters
from helpers.book.pages import list_pages
from helpers.models import aisfx
from helpers.sound.profiles import load_profile
from helpers.study import registry

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TEXT_SUFFIXES = {
    ".py",
    ".md",
    ".yml",
    ".toml",
    ".cff",
    ".lock",
    ".csv",
    ".json",
    ".ipynb",
    ".css",
    ".bib",
    ".sh",
    ".txt",
    "",
}
LARGEST_MIB = {"data/sounds.parquet": 48}
OTHERWISE_MIB = 40
CODE_FOLDERS = [name for name in ("src/helpers", "tests", "tools", "benchmarks") if (ROOT / name).is_dir()]


@pytest.fixture(scope="module")
def tracked(repository) -> list[Path]:
    """The files that are in the repository, or would be with the next `git add`."""
    return checkouts.files(repository)


def read_pins(path: Path) -> dict[str, tuple[str, str, int]]:
    """A requirements file as {name: (version, marker, number of hashes)}. Raises AssertionError for any other line."""
    pins = {}
    for line in re.sub(r"\\\n", " ", path.read_text()).splitlines():
        if line.strip() and not line.startswith("#"):
            pin = re.fullmatch(r"([A-Za-z0-9._-]+)==([^ ;]+)(?: ; (.+?))?((?: +--hash=sha256:[0-9a-f]{64})*)", line)
            assert pin, f"{path.name}: {line[:100]!r}"
            assert pin[1] not in pins, f"{path.name}: {pin[1]} twice"
            pins[pin[1]] = (pin[2], pin[3] or "", pin[4].count("--hash"))
    return pins


def test_locks_hold_hashes_and_agree(repository):
    locks = {path.name: read_pins(path) for path in repository.glob("requirements*.lock")}
    assert set(locks) == {f"requirements{part}.lock" for part in ("", "-test", "-cluster")}
    seen = {}
    for name, pins in locks.items():
        for package, (version, _, hashes) in pins.items():
            assert hashes, f"{name}: {package} has no hash"
            assert seen.setdefault(package, version) == version, f"{name}: {package}"
    # a compiled package has builds for several Pythons and systems; those of one machine would be two or three
    assert all(locks["requirements.lock"][package][2] > 20 for package in ("numpy", "scipy", "pandas"))
    builds_of_torch = [p for p in seen if re.match(r"torch$|triton$|nvidia-|cuda-", p)]
    assert not builds_of_torch, "these differ by index, so they stand outside"
    assert list(read_pins(repository / "requirements-torch.txt")) == ["torch"]


def test_the_conda_environment_has_the_versions_of_the_lock(repository):
    dependencies = yaml.safe_load((repository / "environment.yml").read_text())["dependencies"]
    assert dependencies[:2] == ["python=3.11", "pip"]
    assert dependencies[2]["pip"] == ["-r requirements.txt", "-r requirements-torch.txt", "-e ."]
    plain, locked = (read_pins(repository / f"requirements.{end}") for end in ("txt", "lock"))
    assert plain == {package: (version, marker, 0) for package, (version, marker, _) in locked.items()}


def test_direct_dependencies_are_locked_at_their_pins(repository):
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    book = read_pins(repository / "requirements.lock") | read_pins(repository / "requirements-torch.txt")
    sets = {"": (project["dependencies"], book)}
    for extra, requirements in project["optional-dependencies"].items():
        sets[extra] = (requirements, read_pins(repository / f"requirements-{extra}.lock"))
    for extra, (requirements, pins) in sets.items():
        for requirement in map(Requirement, requirements):
            name = canonicalize_name(requirement.name)
            assert requirement.specifier.contains(pins[name][0], prereleases=True), requirement
            assert not extra or name not in book, f"{name}: the book needs it, so it is no matter of {extra!r}"


def test_there_is_a_notebook_per_chapter():
    assert [path.stem for path in NOTEBOOKS] == list(parameters.CHAPTERS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_keeps_the_chapter_contract(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code), "outputs are stripped: nbstripout"
    assert len(code) <= 12
    for cell in code:
        assert len(cell.source.splitlines()) <= 15, cell.source
        assert max(map(len, cell.source.splitlines())) <= 100, cell.source
        assert "helpers.stages" not in cell.source, "what a stage computes is read from its folder"
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        assert not any(isinstance(node, kinds) for node in ast.walk(ast.parse(cell.source))), (
            "functions live in src/helpers"
        )
    assert book.cells[0].source.startswith(f"# {int(path.stem[:2])}. "), "chapters are called by their numbers"
    assert code[0].metadata.tags[0] == "parameters"
    assert book.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_defaults_are_those_of_pocket(path, monkeypatch):
    monkeypatch.setattr(aisfx, "installed", lambda: True)  # an optional package that pocket retrieves by
    declared = parameters.read_parameters(path)
    assert declared["profile"] == "pocket"
    assert parameters.check_parameters(path.stem, declared).changed == {}


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=["check", "format"])
def test_ruff_finds_nothing(arguments, repository):
    """Of the whole repository: cells of notebooks and code in pages, too."""
    command = [sys.executable, "-m", "ruff", *arguments, "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=repository)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_says_what_it_is_for(repository):
    for folder in CODE_FOLDERS:
        for path in (repository / folder).rglob("*.py"):
            if path.read_text().strip():
                assert ast.get_docstring(ast.parse(path.read_text())), f"{path.name}: no docstring"


def test_no_file_is_too_large(tracked, repository):
    for path in tracked:
        limit = LARGEST_MIB.get(path.relative_to(repository).as_posix(), OTHERWISE_MIB)
        assert path.stat().st_size <= limit * 2**20, f"{path.name}: over {limit} MiB"


def test_line_ends_are_pinned(tracked, repository):
    """A stage's digest covers the bytes of its input files, and make reads no CRLF: no clone may change them."""
    names = "\0".join(path.relative_to(repository).as_posix() for path in tracked)
    command = ["git", "-C", repository, "check-attr", "-z", "--stdin", "text", "eol"]
    told = subprocess.run(command, input=names, capture_output=True, text=True, check=True).stdout.split("\0")
    values = dict(zip(zip(told[::3], told[1::3]), told[2::3]))
    kept = {name for name, _ in values if values[name, "text"] == "unset"}
    assert all(name in kept or values[name, "eol"] == "lf" for name, _ in values) and len(values) == 2 * len(tracked)
    hashed = {Path(path) for stage in registry.build_all(load_profile("pocket")) for path in stage.files}
    assert len(hashed) > 5 and {path.relative_to(ROOT).as_posix() for path in hashed} <= kept
    assert not [path.name for path in tracked if path.suffix in TEXT_SUFFIXES and b"\r\n" in path.read_bytes()]


def test_nothing_names_a_machine_or_a_package_mirror(tracked, repository):
    # An absolute path of somebody's machine (not a part of a URL), or where somebody's packages come from.
    pattern = re.compile(
        r"(?<![\w.:/~$}*-])/(?:root|home|Users|tmp|work|mnt)/\w|(?:--?(?:extra-)?index-url|find-links)\b|file:///"
    )
    for path in tracked:
        if path.suffix in TEXT_SUFFIXES and "_vendor" not in path.parts and path != Path(__file__):
            text = path.read_text(encoding="utf-8", errors="ignore")
            found = pattern.search(text)
            assert not found, f"{path.relative_to(repository)}: {text[max(found.start() - 40, 0) : found.end() + 40]!r}"


def test_licences_and_citation_are_there(repository):
    assert (repository / "LICENSE").read_text().startswith("MIT License")
    assert "CC BY-SA 4.0" in (repository / "README.md").read_text()
    assert (repository / "data" / "ATTRIBUTION.md").stat().st_size > 10_000, (
        "each recording's author, licence and source"
    )
    citation = yaml.safe_load((repository / "CITATION.cff").read_text())
    assert {"cff-version", "title", "authors", "license", "message"} <= set(citation)


@pytest.fixture
def checkout(repository, tmp_path):
    """A folder that looks like the repository, without results, for commands that write beside the sources."""
    for name in (
        "notebooks",
        "src",
        "profiles",
        "data",
        "models",
        "Snakefile",
        "Makefile",
        "requirements.lock",
        "requirements-torch.txt",
        "requirements-test.lock",
        "pyproject.toml",
    ):
        (tmp_path / name).symlink_to(repository / name)
    return tmp_path


def test_snakemake_orders_the_pages(checkout):
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--nolock", "--cores", "1", "--config", "profile=pocket"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=checkout)
    assert done.returncode == 0, done.stderr
    profile = load_profile("pocket")
    planned = re.findall(r"output: book/chapters/(\w+)\.ipynb", done.stdout + done.stderr)
    assert sorted(planned) == sorted(list_pages(profile))
    order = [list(parameters.CHAPTERS).index(page.split("_n")[0]) for page in planned]
    assert order.index(4) > max(i for i, chapter in enumerate(order) if chapter == 3), (
        "retrieval needs every generation"
    )
    others = sum(d > 0 for _, d in profile.runs)
    # every run's quality, and the training of those that have no page
    assert len(re.findall(r"^rule run:", done.stdout + done.stderr, re.MULTILINE)) == len(profile.runs) + others


def test_snakemake_orders_shards_with_the_memory_and_time_of_the_plan(checkout):
    """What is cut comes in two jobs before the page that needs it; a job asks for no more time than it may, nor for the
    threads of the machine that submits it."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--nolock", "--cores", "9", "--max-threads", "3"]
    command += ["--config", "profile=pocket", "shards=2", "max_runtime=150", "gres=gpu:1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=checkout)
    assert done.returncode == 0, done.stderr
    said, runs = done.stdout + done.stderr, load_profile("pocket").runs
    assert set(re.findall(r"threads: (\d+)", said)) == {"3"}
    assert "workflow.cores" not in (checkout / "Snakefile").read_text(), "of which a cluster's driver has none"
    cluster = yaml.safe_load((PROFILES / "slurm" / "config.yaml").read_text())
    assert "cores" not in cluster and cluster["max-threads"] > 1 and cluster["retries"] and cluster["jobs"]
    made = re.findall(r"output: \S+/(\w+)_shard([12])$", said, re.MULTILINE)
    works = ["encoding", "references", *(f"generation_{n}_{d}" for n, d in runs)]
    assert sorted(made) == sorted((work, k) for work in works for k in "12")
    for work, after in (
        ("generation_100_0", r"book/chapters/04_gen\w+_n00100"),
        ("encoding", r"book/chapters/03_training_n00100"),
        ("references", r"\S+/quality_n100_d0"),
    ):
        assert re.search(rf"input: .*{work}_shard1, \S*{work}_shard2.*\n +output: {after}", said), work
    on_gpu = re.findall(
        r"output: \S+/(\w+?)(?:_n\d+\S*)?(?:\.ipynb)?$.*?resources: [^\n]*gres=(\S*?),? ",
        said,
        re.MULTILINE | re.DOTALL,
    )
    assert {name for name, gres in on_gpu if gres == "gpu:1"} > {"03_training", "quality", "references_shard1"}
    assert {name for name, gres in on_gpu if gres != "gpu:1"} >= {"01_corpus", "10_prevention"}
    asked = [*map(int, re.findall(r"runtime=(\d+)", said))], [*map(int, re.findall(r"mem_mb=(\d+)", said))]
    assert max(asked[0]) == 150 and len(set(asked[0])) > 3 and 900 < min(asked[1]) < max(asked[1]) < 8000


@pytest.mark.parametrize("shards", [0, 2])
def test_snakemake_passes_any_options_on_to_every_part_of_an_audit(checkout, shards):
    """The same command each, so a part knows what the audit will ask for; names may hold what a shell would take apart."""
    given = (
        "--generated 'my clips' --training a&b --keep kept --match-honest --chromaprint --set fpr=0.02 detectors=[mel]"
    )
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--printshellcmds", "--nolock", "--cores", "2", "audit"]
    command += ["--config", "profile=smoke", f"shards={shards}", f"audit={given}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=checkout)
    assert done.returncode == 0, done.stderr
    lines = re.findall(r" -m helpers audit --profile smoke (.*)", done.stdout + done.stderr)
    parts = [[], *(["--shard", f"{k}/{shards}"] for k in range(1, shards + 1))]
    assert sorted(map(shlex.split, lines)) == sorted(shlex.split(given) + part for part in parts)


def test_parts_of_another_audit_do_not_stand_for_this_ones(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("HELPERS_RUNS", str(tmp_path / "runs"))
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--printshellcmds", "--nolock", "--cores", "2", "audit"]
    (tmp_path / "runs" / "stamps" / "smoke").mkdir(parents=True)
    named = []
    for training in ("a", "b"):
        config = ["profile=smoke", "shards=1", f"audit=--generated g --training {training} --keep k"]
        done = subprocess.run([*command, "--config", *config], capture_output=True, text=True, cwd=checkout)
        named += re.findall(r"output: (\S*audit_\w+_shard1)", done.stdout + done.stderr)
        for path in named:
            (checkout / path).touch()  # as a driver that was killed leaves it
    assert len(set(named)) == 2


def test_snakemake_only_shows_what_is_published(checkout, repository):
    """With results there is nothing to train, and no page waits for another."""
    (checkout / "results").symlink_to(repository / "results")
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--nolock", "--cores", "2", "--config", "profile=pocket"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=checkout)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "rule run:" not in said and not re.search(r"^    input: notebooks/.*book/chapters/", said, re.MULTILINE)
    planned = re.findall(r"output: book/chapters/(\w+)\.ipynb", said)
    assert sorted(planned) == sorted(list_pages(load_profile("pocket")))


def test_every_setting_concerns_every_page_of_what_is_published(checkout, repository):
    """No page waits for another there, so each has to follow all sections of the profile by itself."""
    for name in ("src", "profiles"):
        (checkout / name).unlink()
        shutil.copytree(repository / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / "results").symlink_to(repository / "results")
    pages = [checkout / "book" / "chapters" / f"{page}.ipynb" for page in list_pages(load_profile("pocket"))]
    pages[0].parent.mkdir(parents=True)
    for page in pages:
        page.touch()

    def planned(*options) -> list[str]:
        command = [sys.executable, "-m", "snakemake", "--nolock", "--cores", "2", "--config", "profile=pocket"]
        environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
        done = subprocess.run([*command, *options], capture_output=True, text=True, cwd=checkout, env=environment)
        assert done.returncode == 0, done.stderr
        return re.findall(r"output: book/chapters/(\w+)\.ipynb", done.stdout + done.stderr)

    planned("--touch", "--forceall")  # as if every page had been made
    assert planned("--dry-run") == []
    settings = checkout / "profiles" / "pocket.yml"
    settings.write_text(settings.read_text().replace("n_altered: 120", "n_altered: 110"))  # of no chapter in particular
    assert sorted(planned("--dry-run")) == sorted(page.stem for page in pages)


needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


@needs_make
def test_make_refuses_an_unsupported_python_in_one_line(checkout):
    old = checkout / "python3.9"
    old.write_text("#!/bin/sh\necho 3.9\n")
    old.chmod(0o755)
    done = subprocess.run(["make", "book", f"PYTHON={old}"], capture_output=True, text=True, cwd=checkout)
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode != 0 and not (checkout / ".venv").exists()
    assert said == [
        f"error: Python 3.11, 3.12 or 3.13 is needed; found: {old} is 3.9. PYTHON=/path/to/python names one."
    ]


@pytest.fixture
def pretend_make(checkout):
    """A function that runs make with a Python that only notes what it is asked for, and returns (succeeded, notes).

    A file ``fails-SET`` in the checkout lets pip give up on that set, a file ``killed-SET`` ends its shell.
    """
    pretend = checkout / "python3.11"
    pretend.write_text(
        "#!/bin/sh\n"
        'note() { echo $1 >> log; echo "$call" >> calls; [ ! -e killed-$1 ] || kill -9 $PPID; [ ! -e fails-$1 ]; }\n'
        'call="$*"\n'
        'case "$call" in\n'
        "*ensurepip*) echo 3.11 ;;\n"
        '"-c import sys"*) echo 3.11 ;;\n'
        '"-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python; note venv ;;\n'
        "*requirements.lock) note book ;;\n"
        "*requirements-torch.txt) note torch ;;\n"
        "*requirements-test.lock) note test ;;\n"
        "*pytest*) note tests ;;\n"
        "esac\n"
    )
    pretend.chmod(0o755)

    def run(*arguments, **environment) -> tuple[bool, list[str]]:
        (checkout / "log").write_text("")
        outside = {key: value for key, value in os.environ.items() if not re.match("MAKE|PIP_ARGS|TORCH_ARGS", key)}
        command = ["make", f"PYTHON={pretend}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=checkout, env={**outside, **environment})
        run.said = done.stdout
        return done.returncode == 0, (checkout / "log").read_text().split()

    return run


ALL_SETS = ["venv", "book", "torch", "test"]


@needs_make
def test_make_installs_again_after_an_interruption(checkout, pretend_make):
    """pip fails half way in the first run; the stamp is missing, so the second starts the environment afresh."""
    (checkout / "fails-book").touch()
    assert pretend_make("test") == (False, ["venv", "book"])
    (checkout / "fails-book").unlink()
    assert pretend_make("test") == (True, [*ALL_SETS, "tests"])
    assert pretend_make("test") == (True, ["tests"])


@needs_make
def test_make_adds_the_test_set_to_what_the_book_needs(checkout, pretend_make):
    ready = ".venv/.ready"
    assert pretend_make(ready) == (True, ALL_SETS[:-1])
    (checkout / "fails-test").touch()
    assert pretend_make("test") == (False, ["test"])
    assert pretend_make(ready) == (True, []), "a set that could not be fetched leaves the rest as it was"
    (checkout / "fails-test").rename(checkout / "killed-test")
    assert pretend_make("test") == (False, ["test"])
    (checkout / "killed-test").unlink()
    assert pretend_make(ready) == (True, ALL_SETS[:-1]), "a killed pip may leave half a package"
    assert pretend_make("test") == (True, ["test", "tests"])
    assert pretend_make(ready) == (True, [])


@needs_make
def test_options_for_torch_reach_no_other_package(checkout, pretend_make):
    assert pretend_make("test", "TORCH_ARGS=--only-torch", "PIP_ARGS=--all")[0]
    calls = [line for line in (checkout / "calls").read_text().splitlines() if line.startswith("-m pip")]
    assert [line.endswith("requirements-torch.txt") for line in calls] == ["--only-torch" in line for line in calls]
    assert len(calls) == 3 and all("--all" in line for line in calls)
    hashed = [line for line in calls if "--require-hashes" in line and "--no-deps" in line]
    assert len(hashed) == 2, "all but torch"


@needs_make
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's PyTorch brings CUDA")
def test_make_says_beforehand_that_cuda_may_come_where_no_gpu_is(checkout, pretend_make):
    tools = checkout / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\n")
    (tools / "nvidia-smi").chmod(0o755)
    pretend_make(".venv/.ready", PATH=f"{tools}{os.pathsep}{os.environ['PATH']}")
    assert "CUDA" not in pretend_make.said
    shutil.rmtree(checkout / ".venv")
    pretend_make(".venv/.ready", "TORCH_ARGS=--only-torch")
    assert "CUDA" not in pretend_make.said
    if not shutil.which("nvidia-smi"):
        shutil.rmtree(checkout / ".venv")
        pretend_make(".venv/.ready")
        assert "CUDA" in pretend_make.said and "TORCH_ARGS" in pretend_make.said


def test_the_study_follows_its_protocol():
    """What the plan of analysis froze is what the profile computes."""
    pocket, plan = load_profile("pocket"), read_protocol()
    primary, flag, used, made = plan["primary"], plan["flag"], pocket.thresholds, pocket.generation
    assert (used.detector, used.theta) == (primary["detector"], primary["theta"])
    assert {name: getattr(used, name) for name in ("beta", "k", "fpr")} | {"null": pocket.nulls[0]} == flag
    for name in ("guidance", "steps", "weights", "precision"):
        assert getattr(made, name) == primary[name], name
    assert (made.n_prompts, made.updates, pocket.training.precision) == (primary["prompts"], 0, primary["precision"])
    assert pocket.corpus.n_train == plan["corpus"]["pool"] == plan["corpus"]["gallery"] and pocket.pooled


def test_the_container_is_made_from_the_lock(repository):
    """It installs by the Makefile alone, from files that are copied before and not left out, and keeps no work of others."""
    lines = (repository / "Containerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    (base,) = (text for step, text in steps if step == "FROM")
    assert re.fullmatch(r"docker\.io/library/python:3\.1[123]-slim-\w+", base)
    runs = [text for step, text in steps if step == "RUN"]
    assert not [text for text in runs if "pip install" in text or "curl" in text], "what is installed is in the lock"
    (made,) = (text for text in runs if text.startswith("make "))
    target, python = made.split()[1], made.split("PYTHON=")[1].split()[0]
    assert python.removeprefix("python") == base.split(":")[1].split("-")[0]
    makefile = (repository / "Makefile").read_text()
    assert f"READY := {target}\n" in makefile
    needed = re.search(r"^\$\(READY\): (.*)$", makefile, re.MULTILINE)[1].split()
    before = steps[: next(i for i, (_, text) in enumerate(steps) if text == made)]
    copied = {name for step, text in before if step == "COPY" for name in text.split()[:-1]}
    assert {*needed, "Makefile", "setup.py", "src"} <= copied and all((repository / name).exists() for name in copied)
    left_out = (repository / ".dockerignore").read_text().split()
    assert {".git", ".venv", "runs", "book/chapters", "book/_build"} <= {*left_out}
    assert not [
        path for path in checkouts.files(repository) if str(path.relative_to(repository)).split("/")[0] in left_out
    ]
