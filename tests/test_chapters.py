"""The chapters' parameters: what is unknown, mistyped or out of range is refused, by name, before anything runs."""

import dataclasses
import os
import re
import subprocess
import sys

import nbformat
import pytest

from helpers.base.fields import Checked
from helpers.base.settings import DETECTORS
from helpers.book import execution, needs, parameters as chapter_parameters
from helpers.book.pages import list_pages, own_page, page_settings, remove_stale_pages
from helpers.book.parameters import begin, check_parameters, parse_settings
from helpers.models import aisfx
from helpers.sound.profiles import load_profile

# (setting, pattern of the message): each kind of mistake, as it is typed
MISTAKES = [
    ("betta=0.7", r"unknown parameter 'betta' \(did you mean 'beta'\?\); expected one of profile, "),
    ("beta=much", r"beta: expected float, got 'much' \(str\)"),
    ("k=20", r"k: expected at most retrieval.k_max = 10 and the 64 background clips, got 20"),
    ("k=2.5", r"k: expected int, got 2.5 \(float\)"),
    ("beta=7", r"beta: expected 0.0 to 2.0 weight of the bias, got 7"),
    ("detector=ear", rf"detector: expected one of {', '.join(DETECTORS)}, got 'ear'"),
    (
        "detector=aisfx",
        r"detector: expected one that profile smoke retrieves by \(mel, mel_centred, mel_aligned, clap\), got 'aisfx'",
    ),
]


def thresholds_namespace(**values):
    """What a kernel's globals() hold when the second cell of 06_thresholds runs."""
    return {
        "__name__": "__main__",
        "_i1": "profile = ...",
        "In": ["", ""],
        "Out": {},
        "chapters": chapter_parameters,
        "Path": type(execution.NOTEBOOKS),
        "profile": "smoke",
        "beta": 0.5,
        **values,
    }


def test_begin_returns_the_checked_settings():
    chapter = begin("06_thresholds", thresholds_namespace(beta=0.7, ks=[1, 3]))
    smoke = load_profile("smoke")
    assert chapter.config is chapter.profile.thresholds and (chapter.config.beta, chapter.config.ks) == (0.7, (1, 3))
    assert chapter.config.n_bootstrap == smoke.thresholds.n_bootstrap, (
        "what the notebook does not declare: the profile's"
    )
    assert chapter.profile.corpus == smoke.corpus
    assert set(chapter.changed) == {"beta", "ks"} and chapter.changed["beta"] == 0.7


def test_begin_of_a_chapter_that_takes_only_the_profile():
    assert begin("07_findings", {"profile": "smoke"}).config is None
    with pytest.raises(ValueError, match="unknown parameter 'beta'; expected one of profile"):
        begin("07_findings", {"profile": "smoke", "beta": 0.7})


@pytest.mark.parametrize(("setting", "message"), MISTAKES)
def test_begin_refuses(setting, message):
    with pytest.raises((TypeError, ValueError), match=message):
        begin("06_thresholds", thresholds_namespace(**parse_settings([setting])))


def test_cells_can_be_run_again_by_hand():
    namespace = thresholds_namespace()
    namespace["chapter"] = begin("06_thresholds", namespace)
    namespace["table"] = [1, 2, 3]  # left by a later cell
    namespace["beta"] = 0.9
    assert begin("06_thresholds", namespace).config.beta == 0.9
    namespace["beta"] = 9.0
    with pytest.raises(ValueError, match="beta: expected"):
        begin("06_thresholds", namespace)


def test_profile_and_chapter_names():
    with pytest.raises(ValueError, match="profile: expected one of .*smoke.*, got 'smok'"):
        check_parameters("06_thresholds", {"profile": "smok"})
    with pytest.raises(TypeError, match=r"profile: expected the name of a profile, got 3 \(int\)"):
        check_parameters("06_thresholds", {"profile": 3})
    with pytest.raises(ValueError, match="unknown chapter '6_thresholds'; expected one of 01_corpus, "):
        check_parameters("6_thresholds", {"profile": "smoke"})


def test_training_size_beyond_the_corpus_is_refused():
    with pytest.raises(ValueError, match="n_train: expected at most the 64 training clips of profile smoke, got 65"):
        check_parameters("03_training", {"profile": "smoke", "n_train": 65})


def test_settings_are_read_as_yaml_with_its_surprises_removed():
    text = ["beta=0.7", "k=5", "fpr=1e-3", "ks=[1, 3]", "precision=no", "pilot=true", "captions=generic", "path="]
    assert parse_settings(text) == {
        "beta": 0.7,
        "k": 5,
        "fpr": 0.001,
        "ks": [1, 3],
        "precision": "no",
        "pilot": True,
        "captions": "generic",
        "path": None,
    }
    for wrong, message in (("beta", "name=value"), ("=1", "name=value"), ("ks=[1,", "ks: cannot be read")):
        with pytest.raises(ValueError, match=message):
            parse_settings([wrong])
    with pytest.raises(ValueError, match="beta: given twice"):
        parse_settings(["beta=1", "beta=2"])


def notebook_of(*sources, tags=(("parameters",),), caption=None):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    for cell, names in zip(cells, tags):
        cell.metadata["tags"] = list(names)
    if caption:
        cells[-1].metadata["mystnb"] = {"figure": {"caption": caption}}
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def test_parameters_that_papermill_cannot_read(tmp_path):
    path = tmp_path / "a.ipynb"
    source = (
        'profile: str = "a=b"  # x = y\nmode: Literal["u", "v"] = "u"\nn: int | None = None\nks: list[int] = [1, 2]'
    )
    nbformat.write(notebook_of(source), path)
    assert chapter_parameters.read_parameters(path) == {"profile": "a=b", "mode": "u", "n": None, "ks": [1, 2]}
    for source, message in (("n = 1", "line 1"), ("n: int = 2 * m", "n: expected a literal default")):
        nbformat.write(notebook_of(source), path)
        with pytest.raises(ValueError, match=message):
            chapter_parameters.read_parameters(path)
    nbformat.write(notebook_of("n: int = 1", "m: int = 1", tags=(("parameters",), ("parameters",))), path)
    with pytest.raises(ValueError, match="expected one cell tagged 'parameters', got 2"):
        chapter_parameters.read_parameters(path)


@pytest.fixture
def toy_chapter(tmp_path, monkeypatch):
    """Writes a tiny 06_thresholds with the given last cell where chapters are looked for."""
    monkeypatch.setattr(execution, "NOTEBOOKS", tmp_path)

    def write(last_cell):
        parameters = 'profile: str = "pocket"\nbeta: float = 0.5  # weight\nks: list = [1, 3]  # neighbours'
        begin_cell = 'from helpers.book import parameters\n\nchapter = parameters.begin("06_thresholds", globals())'
        book = notebook_of(parameters, begin_cell, last_cell, caption="What the last cell shows.")
        nbformat.write(book, tmp_path / "06_thresholds.ipynb")
        return tmp_path / "out" / "page.ipynb"

    return write


def test_chapter_runs_with_the_profile_and_the_settings_over_it(toy_chapter, tmp_path, capfd):
    output = toy_chapter(
        "import sys\nfrom helpers.base.progress import say\nsay('progress line')\n"
        "print(chapter.profile.name, chapter.config.beta, chapter.config.ks, chapter.config.n_bootstrap, sys.executable)"
    )
    execution.run_chapter("06_thresholds", {"beta": 0.7, "n_bootstrap": 123}, output, "smoke")
    book = nbformat.read(output, as_version=4)
    smoke = load_profile("smoke").thresholds
    (stream,) = book.cells[-1].outputs  # progress is not among the outputs ...
    assert stream.text.strip() == f"smoke 0.7 {smoke.ks} 123 {sys.executable}"
    assert "progress line" in capfd.readouterr().err  # ... but on the terminal
    assert [path.name for path in output.parent.iterdir()] == ["page.ipynb"]
    assert str(tmp_path) not in str(book.metadata)


@pytest.mark.parametrize(
    ("last_cell", "captioned"),
    [
        ("import matplotlib.figure\nfrom helpers.book import theme\ntheme.show(matplotlib.figure.Figure(), 'Nothing.')", True),
        ("from helpers.book import words\nwords.show('There is nothing to draw.')", False),
        ("pass", False),
    ],
)  # fmt: skip
def test_a_caption_stands_under_a_figure_alone(toy_chapter, last_cell, captioned):
    output = toy_chapter(last_cell)
    execution.run_chapter("06_thresholds", {}, output, "smoke")
    assert ("figure" in nbformat.read(output, as_version=4).cells[-1].metadata["mystnb"]) is captioned


def test_kernels_take_no_ports_which_another_could_take_first(toy_chapter):
    output = toy_chapter("print(get_ipython().kernel.parent.transport)")
    execution.run_chapter("06_thresholds", {}, output, "smoke")
    assert nbformat.read(output, as_version=4).cells[-1].outputs[0].text.strip() == "ipc"


@pytest.mark.parametrize("fallback", [True, False])
def test_a_long_path_for_temporary_files_holds_no_socket(toy_chapter, tmp_path, monkeypatch, fallback):
    """Those of clusters are; a socket's path has at most 107 bytes. Sockets lie in /tmp then, or are those of TCP."""
    long = tmp_path / ("y" * 90)
    long.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr(execution.tempfile, "tempdir", str(long))
    if not fallback:
        monkeypatch.setattr(
            execution.tempfile, "TemporaryDirectory", lambda **_: pytest.fail("no folder is short enough")
        )
        monkeypatch.setattr(execution, "LONGEST_SOCKET", 10)
    output = toy_chapter("print(get_ipython().kernel.parent.transport)")
    execution.run_chapter("06_thresholds", {}, output, "smoke")
    transport = nbformat.read(output, as_version=4).cells[-1].outputs[0].text.strip()
    assert transport == ("ipc" if fallback else "tcp") and not list(long.iterdir())


def test_an_error_in_the_kernel_is_not_taken_for_one_of_its_sockets():
    with pytest.raises(OSError, match="of the body"), execution._sockets() as manager:
        assert manager["transport"] == "ipc"
        raise OSError("of the body")


def test_each_setting_of_a_chapter_keeps_its_page(monkeypatch, capsys, runs_root):
    from helpers import __main__

    def place(*settings, chapter="06_thresholds", profile="smoke"):
        command = ["helpers", "chapter", chapter, "--profile", profile, "--set", *settings]
        monkeypatch.setattr(sys, "argv", command)
        monkeypatch.setattr(execution, "run_chapter", lambda name, values, output, profile: output)
        assert __main__.main() == 0
        return os.path.relpath(capsys.readouterr().out.strip(), runs_root / "chapters")

    assert place() == "06_thresholds/smoke/06_thresholds.ipynb"
    own = load_profile("smoke").thresholds.beta
    assert place(f"beta={own}") == place(), "the profile's own value"
    assert place("ks=[1, 3]", "beta=0.7") == place("beta=0.7", "ks=[1, 3]")
    assert place("ks=[1, 3]", "beta=0.7") == "06_thresholds/smoke_beta=0.7_ks=1,3/06_thresholds.ipynb"
    chapter = check_parameters("06_thresholds", {"profile": "smoke"})  # with a text that no file needs to stand behind
    texts = ("/a b", "/a/b", "/a/../b", "/" + 200 * "a", "/" + 201 * "a")
    folders = [own_page(dataclasses.replace(chapter, changed={"path": text})).parent.name for text in texts]
    assert len(set(folders)) == 5 and all(re.fullmatch(r"[\w.,=+-]{1,90}", folder) for folder in folders)
    assert len({place(), place(profile="tiny"), place("beta=0.7"), place("beta=0.8")}) == 4


def test_failing_chapter_leaves_no_page(toy_chapter):
    output = toy_chapter("raise RuntimeError('no such thing\\nmore')")
    output.parent.mkdir()
    output.write_text("an older page")
    with pytest.raises(
        execution.ChapterError, match=r"page: code cell 4 failed with RuntimeError: no such thing; .*failed"
    ):
        execution.run_chapter("06_thresholds", {}, output, "smoke")
    assert [path.name for path in output.parent.iterdir()] == ["page.failed.ipynb"]


def test_an_interrupted_chapter_leaves_the_older_page(toy_chapter, monkeypatch):
    import papermill

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    output = toy_chapter("pass")
    output.parent.mkdir()
    output.write_text("an older page")
    monkeypatch.setattr(papermill, "execute_notebook", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execution.run_chapter("06_thresholds", {}, output, "smoke")
    assert [path.name for path in output.parent.iterdir()] == [output.name] and output.read_text() == "an older page"


@pytest.mark.parametrize(("setting", "message"), MISTAKES)
def test_chapter_is_refused_before_a_kernel_starts(toy_chapter, monkeypatch, setting, message):
    output = toy_chapter("pass")
    monkeypatch.setattr(execution, "_execute", lambda *arguments: pytest.fail("a kernel would have been started"))
    with pytest.raises((TypeError, ValueError), match=message):
        execution.run_chapter("06_thresholds", parse_settings([setting]), output, "smoke")


@pytest.mark.parametrize(("setting", "message"), MISTAKES[:2] + MISTAKES[3:4])
def test_command_line_refuses_in_one_line(setting, message, repository, tmp_path):
    command = [sys.executable, "-m", "helpers", "chapter", "06_thresholds", "--profile", "smoke", "--set", setting]
    done = subprocess.run(
        [*command, "--output", tmp_path / "out.ipynb"], capture_output=True, text=True, cwd=repository
    )
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    assert len(done.stderr.splitlines()) == 1 and re.search(message, done.stderr)


def test_settings_of_a_stage_are_checked_together(repository):
    """Neither of the first two would pass alone; the third is what is refused."""
    settings = ["updates=4", "checkpoints=[4]", "learning_rate=-1"]
    command = [sys.executable, "-m", "helpers", "run", "training", "--profile", "smoke", "--set", *settings]
    done = subprocess.run(command, capture_output=True, text=True, cwd=repository)
    assert done.returncode == 2 and done.stderr.startswith("error: learning_rate: expected")


def test_a_page_tells_of_parts_that_its_text_does_not_describe(capsys, monkeypatch):
    chapter_parameters.begin("01_corpus", {"profile": "smoke"})
    assert not capsys.readouterr().out
    monkeypatch.setattr(needs, "check", lambda chapter: [])  # AudioCaps is not here
    chapter_parameters.begin("01_corpus", {"profile": "paper"})
    assert "IPython.core.display.Markdown" in capsys.readouterr().out
    own = load_profile("smoke").replace("corpus", kind="audiofolder", path="anywhere")
    assert chapter_parameters._other_parts(own) == ["corpus"]
    assert chapter_parameters._other_parts(load_profile("paper")) == [
        "corpus",
        "codec",
        "text encoder",
        "CLAP",
    ]


def test_a_label_picks_one_stage_of_a_name(monkeypatch, capsys):
    from helpers import __main__
    from helpers.study import store

    class Loaded:
        def __init__(self, stage):
            self.path = stage.title

    monkeypatch.setattr(store, "load_or_run", Loaded)
    command = ["helpers", "run", "quality", "--profile", "pocket", "--label"]
    monkeypatch.setattr(aisfx, "installed", lambda: True)  # an optional package that pocket retrieves by
    monkeypatch.setattr(sys, "argv", [*command, "n500_d1"])
    assert __main__.main() == 0 and capsys.readouterr().out == "quality n500_d1\n"
    monkeypatch.setattr(sys, "argv", [*command, "dup100_d0"])
    assert __main__.main() == 2
    assert capsys.readouterr().err.startswith("error: --label: expected one of n100_d0, n100_d1,")


@pytest.mark.parametrize("setting", ["betta 0.7", "beta much", "beta 7"])
def test_bare_papermill_refuses(setting, repository, tmp_path):
    """Papermill itself only warns; the notebook's second cell stops it."""
    name, value = setting.split()
    out = tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "-k", "python3", "-p", "profile", "smoke"]
    command += ["-p", name, value, repository / "notebooks" / "06_thresholds.ipynb", out]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    assert done.returncode != 0 and name in done.stderr.strip().splitlines()[-1]
    ran = [cell for cell in nbformat.read(out, as_version=4).cells if cell.get("execution_count")]
    assert len(ran) == 3, "the parameters, the injected parameters, begin; then nothing"


@pytest.mark.parametrize("name", chapter_parameters.CHAPTERS)
def test_every_notebook_checks_its_parameters_first(name, repository, monkeypatch):
    monkeypatch.setattr(aisfx, "installed", lambda: True)  # an optional package that pocket retrieves by
    book = nbformat.read(repository / "notebooks" / f"{name}.ipynb", as_version=4)
    first, second, *_ = [cell.source for cell in book.cells if cell.cell_type == "code"]
    namespace = {}
    exec(first, namespace)
    declared = chapter_parameters.read_parameters(repository / "notebooks" / f"{name}.ipynb")
    assert {key: namespace[key] for key in declared} == declared
    exec(second, namespace)
    assert namespace["chapter"].name == name and not namespace["chapter"].changed
    with pytest.raises(ValueError, match="unknown parameter 'n_trian'"):
        exec(second, {**{key: value for key, value in namespace.items() if key in declared}, "n_trian": 3})


def test_pages_follow_the_profile():
    profile = load_profile("smoke")
    pages = list_pages(profile)
    assert list(pages)[:4] == ["01_corpus", "02_codec", "03_training_n00016", "03_training_n00064"]
    others = set(chapter_parameters.CHAPTERS) - set(chapter_parameters.PER_SIZE)
    assert len(pages) == len(others) + 2 * len(profile.sizes)
    assert pages["04_generation_n00064"] == ("04_generation", {"n_train": 64, "draw": 0})


def test_every_section_of_the_profile_reaches_a_page():
    """Else a changed setting would leave the book as it was."""
    profile = load_profile("smoke")
    sections = set().union(*(page_settings(profile, page) for page in list_pages(profile)))
    own = {name for name in vars(profile) if isinstance(getattr(profile, name), Checked)}
    assert own <= sections
    changed = profile.replace("thresholds", beta=0.9)
    differing = [p for p in list_pages(profile) if page_settings(profile, p) != page_settings(changed, p)]
    assert differing == ["06_thresholds"]


def test_a_page_is_made_again_where_what_lies_behind_a_path_changes(tmp_path):
    """Grades that are saved under the same name, and weights outside of the folder of models."""
    labels, model = tmp_path / "grades.csv", tmp_path / "clap"
    labels.write_text("a")
    model.mkdir()
    (model / "config.json").write_text("{}")
    profile = load_profile("smoke").replace("thresholds", labels=str(labels)).replace("retrieval", clap_path=str(model))
    before = {page: page_settings(profile, page) for page in ("05_retrieval", "06_thresholds")}
    labels.write_text("b")
    (model / "config.json").write_text("{ }")
    assert all(page_settings(profile, page) != settings for page, settings in before.items())


def test_stale_pages_are_removed(tmp_path):
    for name in ("01_corpus.ipynb", "03_training_n100.ipynb", "06_thresholds.failed.ipynb", "notes.md"):
        (tmp_path / name).write_text("{}")
    removed = remove_stale_pages(load_profile("smoke"), tmp_path)
    assert removed == ["03_training_n100.ipynb", "06_thresholds.failed.ipynb"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["01_corpus.ipynb", "notes.md"]


@pytest.mark.parametrize("name", ["pipe", "labels.csv", f"{'y' * 245}.ipynb"])
def test_a_chapter_takes_the_place_of_no_device_and_of_no_other_file(name, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "labels.csv").touch()
    with pytest.raises(ValueError, match="--output: expected a (name for the notebook|shorter name)"):
        execution.check_output(tmp_path / name)
