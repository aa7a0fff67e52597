"""What a user sets: refused in one line before a kernel starts, or served, or announced with what it takes."""

import os
import re
import shlex
import subprocess
import sys

import papermill.cli
import pytest
from three_sizes import THREE_SIZES

from helpers import __main__ as program
from helpers.base import plain_yaml
from helpers.base.arms import list_arms
from helpers.base.paths import NOTEBOOKS
from helpers.book import execution, needs, parameters
from helpers.book.chapters import CHAPTERS, chapter_stages
from helpers.models import aisfx
from helpers.sound import profiles
from helpers.study import manifest, plan, publication, registry, store
from helpers.study.store import NotPublished

# profile, chapter, what is set (as a shell hands it over: a blank ends a setting), and what is said
REFUSED = [
    ("pocket", "06_thresholds", "ks=[1000]", "ks: expected at most retrieval.k_max = 10 and the 500 background clips, got 1000"),
    ("pocket", "06_thresholds", "ks=[1,1000]", "ks: expected at most retrieval.k_max = 10 and the 500 background clips, got 1000"),
    ("smoke", "06_thresholds", "ks=[]", "ks: expected at least 1 value, got []"),
    ("smoke", "06_thresholds", "ks=[1,1]", "ks: expected each value once, got [1, 1]"),
    ("smoke", "06_thresholds", "betas=[]", "betas: expected at least 1 value, got []"),
    ("smoke", "06_thresholds", "ks=[1, 3]", "ks: cannot be read as a value: '[1,'; a blank ends a setting, so lists are written without, as ks=[1,3]"),
    ("smoke", "06_thresholds", "k=1:30", "k: expected int, got '1:30' (str)"),
    ("smoke", "06_thresholds", "k=0x5", "k: expected int, got '0x5' (str)"),
    ("smoke", "06_thresholds", "k=1_0", "k: expected int, got '1_0' (str)"),
    ("smoke", "06_thresholds", "seed=99999999999999999999", "seed: expected at most 9223372036854775807, got 99999999999999999999"),
    ("smoke", "06_thresholds", "n_bootstrap=1000000000", "n_bootstrap: expected 100 to 100000 resamples, got 1000000000"),
    ("smoke", "06_thresholds", "n_bootstrap=1e9", "n_bootstrap: expected int, got 1000000000.0 (float)"),
    ("smoke", "06_thresholds", "fpr=1e400", "fpr: expected float, got inf (float)"),
    ("smoke", "05_retrieval", "detectors=[]", "detectors: expected at least 1 value, got []"),
    ("smoke", "05_retrieval", "detectors=[mel,mel]", "detectors: expected each value once, got ['mel', 'mel']"),
    ("smoke", "04_generation", "prompts=clusters", "prompts: expected train for the main clips of this corpus (pocket), got 'clusters'; the arms have the others"),
    ("pocket", "04_generation", "updates=17", "updates: expected a checkpoint, one of 275, 345, 430, 535, 670, 840, 1050, 1310, 1640, 2050, 2400, 2800, or 0, got 17"),
    ("tiny", "04_generation", "weights=raw updates=3", "updates: expected 0 or 6, as raw weights are kept after the last alone, got 3"),
    ("smoke", "03_training", "checkpoints=[]", "checkpoints: expected at least 1 value, got []"),
    ("smoke", "03_training", "block_out_channels=[]", "block_out_channels: expected at least 1 value, got []"),
    ("smoke", "03_training", "block_out_channels=[48]", "attention_head_dim: expected a divisor of each of (48,), got 32"),
    ("smoke", "03_training", "block_out_channels=[8,8,8,8,8] attention_head_dim=8", "block_out_channels: expected so many levels that latents of 32 x 8 can be halved from each to the next, got 5"),
    ("smoke", "04_generation", "prompts=heldout", "prompts: expected train for the main clips of this corpus (pocket), got 'heldout'"),
    ("smoke", "01_corpus", "sample_rate_hz=8000", "sample_rate_hz: expected 16000, that of the sound pack, got 8000"),
    ("pocket", "06_thresholds", "seed=7", 'quality n4500_d0: seed is 7 in the profile, 2024 in the published study; to compute it ('),
    ("pocket", "05_retrieval", "max_shift_s=0", "alterations: max_shift_s is 0 in the profile, 0.5 in the published study; to compute it ("),
    ("pocket", "04_generation", "n_train=500 draw=1", "clips n500_d1 is not part of the published study in results/pocket; to compute it ("),
]  # fmt: skip


@pytest.fixture
def call(monkeypatch, capfd, tmp_path):
    """Runs a command in this process, with an empty store and no kernel: its exit code, its output and its messages."""
    monkeypatch.setenv("HELPERS_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(execution, "_execute", lambda *arguments: pytest.fail("a kernel would have been started"))
    monkeypatch.setattr(aisfx, "installed", lambda: True)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["helpers", *arguments])
        code = program.main()
        said = capfd.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return run


@pytest.mark.parametrize(("profile", "chapter", "given", "message"), REFUSED)
def test_a_setting_is_refused_in_one_line_before_a_kernel_starts(call, profile, chapter, given, message):
    code, out, err = call("chapter", chapter, "--profile", profile, "--set", *given.split())
    assert (code, out, len(err)) == (2, [], 1) and err[0].startswith(f"error: {message}"), err


@pytest.mark.parametrize(
    ("given", "names"), [(["-p", "seed", "7"], "seed is 7"), (["-y", "ks: [1000]"], "ks: expected at most")]
)
def test_bare_papermill_is_refused_by_the_first_cell(given, names, repository, tmp_path):
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "-k", "python3", *given]
    done = subprocess.run(
        [*command, repository / "notebooks" / "06_thresholds.ipynb", tmp_path / "out.ipynb"],
        capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"HELPERS_RUNS": str(tmp_path / "runs")},
    )  # fmt: skip
    assert done.returncode and names in done.stderr.strip().splitlines()[-1]


def test_papermill_hands_numbers_over_as_the_book_says(monkeypatch):
    """By -p as they are meant; by -y as YAML 1.1 has them, where a notebook sees no more of what was written."""
    given = []
    monkeypatch.setattr(papermill.cli, "execute_notebook", lambda **arguments: given.append(arguments["parameters"]))
    for options in (["-p", "k", "010"], ["-p", "k", "1:30"], ["-y", "k: 010"], ["-y", "k: 1:30"]):
        papermill.cli.papermill(["in.ipynb", "out.ipynb", *options], standalone_mode=False)
    assert [parameters["k"] for parameters in given] == [10, "1:30", 8, 90]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10), ("0100", 100), ("-07", -7), ("+5", 5), ("1e-1", 0.1), ("1.5E+2", 150.0), (".5", 0.5), ("5.", 5.0),
        ("1:30", "1:30"), ("0x10", "0x10"), ("0o17", "0o17"), ("1_000", "1_000"), ("0b1", "0b1"), ("2024-01-01", "2024-01-01"),
        ("no", "no"), ("on", "on"), ("y", "y"), ("true", True), ("False", False), ("~", None), ("", None),
        ("[01, 1e-3, no]", [1, 0.001, "no"]), ("{a: 010}", {"a": 10}), ("'10'", "10"), ("nan", "nan"), ("e5", "e5"),
    ],
)  # fmt: skip
def test_numbers_are_decimal_and_words_are_words(text, value):
    assert plain_yaml.parse(text, "it") == value and type(plain_yaml.parse(text, "it")) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "it, line 2: cannot be read as YAML: 'a' is given twice"),
        ("a: {b: 1, b: 1}", "it, line 1: cannot be read as YAML: 'b' is given twice"),
        ("a: [1,\nb: 2", "it, line 2: cannot be read as YAML: "),
        ("a: !!python/name:os.system x", "it, line 1: cannot be read as YAML: could not determine a constructor"),
        ("? [1]\n: 2", "it, line 1: cannot be read as YAML: found unhashable key"),
        ("a: 1\n---\nb: 1", "it, line 2: cannot be read as YAML: "),
        (b"a: \xff", "it: cannot be read as YAML: "),
        (b"a: \x00", "it: cannot be read as YAML: special characters are not allowed"),
        ("[" * 5000, "it: cannot be read as YAML: "),
        ("9" * 5000, "it: cannot be read as YAML: "),
    ],
)
def test_what_is_no_yaml_is_told_in_one_line(text, message):
    with pytest.raises(ValueError) as refused:
        plain_yaml.parse(text, "it")
    assert str(refused.value).startswith(message) and "\n" not in str(refused.value)


PROFILES = [
    ("sizes: 16", "profile own: sizes: expected a list of int, got 16 (int)"),
    ("sizes: [4, 4]\ndraws: [1, 1]", "profile own: sizes: expected each value once, got [4, 4]"),
    ("sizes: []\ndraws: []", "profile own: sizes: expected at least 1 value, got []"),
    ("sizes: [1]", "profile own: sizes: expected at least 2 clips, got 1"),
    ("draws: [0]", "profile own: draws: expected at least 1 draws, got 0"),
    ("- base", "profile own: expected sections, as 'corpus: ...', got list ['base']"),
    ("pocket", "profile own: expected sections, as 'corpus: ...', got str 'pocket'"),
    ("# all of it is to come", "profile own: expected sections, as 'corpus: ...', got an empty file"),
    ("corpus: {n_train: 5", "profile own, line 1: cannot be read as YAML: expected ',' or '}'"),
    ("mel: {}\nmel: {n_mels: 8}", "profile own, line 3: cannot be read as YAML: 'mel' is given twice"),
    ("mel:", "profile own: mel: expected a value, got nothing; delete the line to leave it as it is"),
    ("mel: 3", "profile own: mel: expected MelConfig, got 3 (int)"),
    ("1: {}", "profile own: unknown section 1; expected corpus, "),
    ("thresholds: {seed: 1:30}", "profile own: thresholds.seed: expected int, got '1:30' (str)"),
    ("mel: {fmin_hz: 9000}", "profile own: mel.fmin_hz: expected below fmax_hz = 8000.0, got 9000"),
    ("planted: {n_train: 100}", "profile own: planted.n_train: expected at least the 1800 planted copies, got 100; lower"),
    ("corpus: {clip_samples: 4096}\nmel: {n_fft: 8192}", "profile own: clip_samples: expected at least n_fft = 8192, got 4096"),
    ("corpus: {clip_samples: 12288}", "profile own: max_shift_s: expected less than half of a clip, 48 frames, for mel_aligned, got 0.5 (31 frames)"),
    ("corpus: {n_train: all}", "profile own: n_train: expected a number, as kind pocket has no training split, got 'all'"),
    ("corpus: {kind: audiofolder, path: x, sample_rate_hz: 20000}", "profile own: corpus.sample_rate_hz: expected one of 8000, 11025, "),
    ("retrieval: {detectors: [clap]}", "profile own: detector: expected one that profile own retrieves by (clap), got 'mel'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), PROFILES)
def test_a_wrong_profile_is_told_in_one_line(text, message, tmp_path):
    (tmp_path / "base.yml").write_text("sizes: [4]\ndraws: [1]\n")
    based = "" if text.startswith(("-", "pocket", "#")) else "base: base\n"
    (tmp_path / "own.yml").write_text(based + text)
    line = message if "line 3" in message else message.replace("line 1", "line 2")
    with pytest.raises((ValueError, TypeError)) as refused:
        profiles.load_profile("own", tmp_path)
    assert str(refused.value).startswith(line) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("bases", "message"),
    [
        ({"a": "a"}, "profile a: expected another base, got itself (a -> a)"),
        ({"a": "b", "b": "c", "c": "b"}, "profile b: expected another base, got itself (a -> b -> c -> b)"),
        ({"a": "none"}, "profile: expected one of a, got 'none' (a -> none)"),
        ({"a": "[b]"}, "profile a: base: expected the name of a profile, got ['b']"),
        ({"a": ""}, "profile a: base: expected a value, got nothing; delete the line to leave it as it is"),
    ],
)
def test_a_base_that_leads_nowhere_is_told(bases, message, tmp_path):
    for name, base in bases.items():
        (tmp_path / f"{name}.yml").write_text(f"base: {base}\n")
    with pytest.raises(ValueError) as refused:
        profiles.load_profile("a", tmp_path)
    assert str(refused.value) == message


def test_a_profile_means_what_the_command_line_means(tmp_path):
    (tmp_path / "own.yml").write_text(
        "sizes: [0100]\ndraws: [1]\nthresholds: {fpr: 1e-1, k: 010}\ntraining: {precision: no}\n"
    )
    own = profiles.load_profile("own", tmp_path)
    given = parameters.parse_settings(["fpr=1e-1", "k=010", "precision=no"])
    assert (own.thresholds.fpr, own.thresholds.k, own.training.precision) == tuple(given.values()) == (0.1, 10, "no")
    assert own.sizes == (100,)


def test_settings_of_several_sections_are_checked_together(call):
    """Neither would pass alone, whichever comes first."""
    for given in (["k=20", "retrieval.k_max=20"], ["retrieval.k_max=20", "k=20"]):
        assert call("plan", "thresholds", "--profile", "smoke", "--set", *given)[0] == 0


@pytest.mark.parametrize(
    ("stage", "given", "message"),
    [
        ("training", "mel.n_mels=32", "n_mels: expected the 64 bands that models/codec takes, got 32"),
        (
            "training",
            "corpus.clip_samples=65792",
            "clip_samples: expected a multiple of 2048, as models/codec takes 8 frames",
        ),
        ("roundtrip", "mel.fmin_hz=50", "vocoder: expected settings that models/vocoder was made for (MelConfig("),
        (
            "alterations",
            "corpus.clip_samples=131072",
            "clip_samples: expected the 65536 samples at 16000 Hz that models/clap",
        ),
        (
            "encoding",
            "codec.codec_path=models/clap",
            "codec_path: expected the folder of a model of this kind, got models/clap",
        ),
        (
            "alterations",
            "retrieval.clap_path=models/codec",
            "clap_path: expected the folder of a model of this kind, got models/codec",
        ),
        ("corpus", "corpus.n_heldout=2", "n_heldout: expected at least 3, as a null is split in three, got 2"),
    ],
)
def test_clips_that_a_frozen_model_does_not_take_are_refused_before_anything_runs(call, stage, given, message):
    for command in ("run", "plan"):
        code, out, err = call(command, stage, "--profile", "smoke", "--set", given)
        assert (code, out, len(err)) == (2, [], 1) and err[0].startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("n_train=65 draw=0", "n_train: expected at most the 64 training clips of profile smoke, got 65"),
        ("n_train=16 draw=-1", "draw: expected at least 0 index of the subset and seed, got -1"),
        ("n_train=16.0 draw=0", "n_train: expected int, got 16.0 (float)"),
        ("n_train=64 draw=3 label=1", "unknown parameter 'label'"),
        ("draw=3", "controls: expected one of the profile's runs ((16, 0), (64, 0)), got n_train=None, draw=3"),
    ],
)
def test_a_training_run_that_cannot_be_is_refused(call, given, message):
    """Controls do not train, so nothing else would look at it before the corpus is mixed."""
    code, out, err = call("run", "controls", "--profile", "smoke", "--set", *given.split())
    assert (code, out, len(err)) == (2, [], 1) and err[0].startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("run training --profile pocket --set n_train=100 draw=3", "draw: expected 0 to 2, as training.offsets has 3, got 3"),
        ("run training --profile pocket --set n_train=5000 draw=0", "n_train: expected at most half of the 9000 training clips"),
        ("plan findings --profile pocket --set generation.updates=2050", "updates: expected a checkpoint of the run of 200 clips, one of 600, "),
        ("run training --profile pocket --set updates=500", "updates: expected no other than the schedules of profile pocket, got 500"),
        ("run training --profile smoke --set training.n_train=40", "training.n_train: expected n_train alone, which picks a run"),
        ("run thresholds --profile smoke --set detector=aisfx", "detector: expected one that profile smoke retrieves by (mel, "),
        ("run encoding --profile smoke --published --shard 1/2", "--shard: expected no --published beside it"),
        ("plan corpus --profile smoke --set corpus.path=x_#2", "corpus.path: expected quotes about a value with ' #'"),
        ("verify --folder no/such/study", "--folder: expected a published study, found no manifest.json in no/such/study"),
        ("chapter 06_thresholds --profile smoke --output notebooks/06_thresholds.ipynb", "--output: expected a notebook to write outside notebooks/"),
        ("chapter 06_thresholds --profile smoke --output .", "--output: expected a notebook to write outside notebooks/"),
    ],
)  # fmt: skip
def test_what_would_be_ignored_or_lost_is_refused(call, command, message):
    before = (NOTEBOOKS / "06_thresholds.ipynb").read_bytes()
    code, out, err = call(*(word.replace("_#", " #") for word in command.split()))
    assert (code, out, len(err)) == (2, [], 1) and err[0].startswith(f"error: {message}")
    assert (NOTEBOOKS / "06_thresholds.ipynb").read_bytes() == before


def test_side_arms_take_weights_that_are_kept():
    pocket = profiles.load_profile("pocket")
    arms = list_arms(THREE_SIZES.replace("generation", updates=350), 100, 0)
    assert (arms["raw"].weights, arms["raw"].updates, arms["heldout"].updates) == ("raw", 0, 350)
    arms = list_arms(THREE_SIZES.replace("generation", weights="raw"), 100, 0)
    assert {arm.weights for name, arm in arms.items() if arm.updates} == {"ema"} and arms["main"].weights == "raw"
    arms = list_arms(pocket.replace("generation", weights="raw"), 100, 0)  # it keeps both at every checkpoint
    assert {arm.weights for arm in arms.values()} == {"raw"}


def test_a_codec_that_learned_other_log_mels_is_told_of(call):
    code, _, err = call("plan", "encoding", "--profile", "smoke", "--set", "mel.fmax_hz=4000", "vocoder=griffin_lim")
    assert code == 0 and any(line.startswith("codec: models/codec learned log-mels of MelConfig(") for line in err)


def test_a_run_of_the_planted_set_is_found_by_its_size_and_draw(call):
    tiny = profiles.load_profile("tiny")
    (n_train,) = tiny.with_duplicates().sizes
    assert (n_train, 0) not in tiny.runs
    assert [stage.label for stage in registry.build("training", tiny, n_train=n_train, draw=0)] == [f"dup{n_train}_d0"]


def test_a_set_with_planted_duplicates_may_stand_beside_any_schedule_or_arm():
    law = profiles.load_profile("pocket").replace("planted", trained=True, n_train=9000)
    assert law.with_duplicates().schedules == () and law.with_duplicates().sizes == (9000,)
    with pytest.raises(ValueError, match="planted.trained: expected false for clips that were not mixed here"):
        profiles.load_profile("smoke").replace_in({
            "planted": {"trained": True}, "corpus": {"kind": "audiofolder", "path": "clips"},
        })  # fmt: skip


def test_stages_without_a_frozen_model_take_any_clips(call):
    for stage, given in (("corpus", "mel.n_mels=32"), ("roundtrip", "vocoder=griffin_lim mel.fmin_hz=50"),
                         ("alterations", "corpus.clip_samples=131072 detectors=[mel]")):  # fmt: skip
        assert call("plan", stage, "--profile", "smoke", "--set", *given.split())[0] == 0


# What a published study serves


def chapter_of(name: str, **given) -> needs.Chapter:
    return parameters.check_parameters(name, {"profile": "pocket", **given})


@pytest.fixture
def empty(monkeypatch, tmp_path):
    monkeypatch.setenv("HELPERS_RUNS", str(tmp_path))


@pytest.mark.parametrize("name", [name for name, section in CHAPTERS.items() if section])
def test_what_is_said_to_be_served_is_and_the_rest_is_refused_with_its_command(name, empty):
    chapter = chapter_of(name)
    told, wrong = needs.served(chapter), []
    assert len(told) >= 5 or name == "02_codec"
    for parameter, seconds in told.items():
        for value in needs._other_values(chapter, parameter):
            try:
                other = chapter_of(name, **{parameter: list(value) if isinstance(value, tuple) else value})
                needs.check(other)
                wrong += [parameter] * bool(seconds) * (parameter not in ("draw", "n_train"))
            except NotPublished as refused:
                wrong += [parameter] * (not seconds)
                words = shlex.split(str(refused).split(": ")[-1].removeprefix("make aisfx && "))
                assert words[:4] == ["HELPERS_COMPUTE=missing", "make", "chapter", f"NAME={name}"]
                given = parameters.parse_settings(words[4].removeprefix("SET=").split())
                assert chapter_of(name, **given).config == other.config, "the command is that of this setting"
            except (ValueError, FileNotFoundError):
                continue
    assert not wrong


def test_the_book_says_what_is_served(repository, monkeypatch):
    """`UPDATE_SERVED=1 make test PYTEST_ARGS=tests/test_needs.py` writes the table anew."""
    monkeypatch.setattr(aisfx, "installed", lambda: True)  # what is installed here is not for the book
    path, table = repository / "book" / "running.md", needs.overview(chapter_of)
    text = path.read_text()
    before, start, rest = text.partition("<!-- served -->\n")
    _, end, after = rest.partition("<!-- /served -->")
    if os.environ.get("UPDATE_SERVED"):
        path.write_text(f"{before}{start}{table}\n{end}{after}")
    else:
        assert start and end and rest.startswith(f"{table}\n{end}"), "write the table anew with UPDATE_SERVED=1"


def test_a_page_says_what_is_served(empty, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *notes: shown.extend(note.data for note in notes))
    monkeypatch.setattr(aisfx, "installed", lambda: True)
    parameters.begin("06_thresholds", {"profile": "pocket", "k": 5})
    of_gallery, served = shown
    assert "One search" in of_gallery and "`beta`, `k`, `fpr`" in served and "`seed`" not in served
    assert '`HELPERS_COMPUTE=missing make chapter NAME=06_thresholds SET="k=5 name=value"`.' in served
    parameters.begin("07_findings", {"profile": "pocket"})
    parameters.begin("06_thresholds", {"profile": "smoke"})
    assert "One search" in shown.pop() and len(shown) == 2, (
        "the one has no parameters, and of the other nothing is published"
    )


def test_what_is_asked_for_is_computed_beside_a_published_study(empty, monkeypatch):
    chapter = chapter_of("02_codec", n_roundtrip=16)
    with pytest.raises(NotPublished):
        needs.check(chapter)
    monkeypatch.setenv("HELPERS_COMPUTE", "missing")
    assert [stage.title for stage in needs.check(chapter)] == ["corpus", "roundtrip main"]
    parameters.begin("02_codec", {"profile": "pocket", "n_roundtrip": 16})
    policy = store._active["policy"]
    assert policy.restore and policy.refusal is None
    monkeypatch.setenv("HELPERS_COMPUTE", "some")
    with pytest.raises(ValueError, match="HELPERS_COMPUTE: expected all, missing or nothing, got 'some'"):
        needs.check(chapter)


def test_of_a_damaged_study_no_other_setting_is_offered(empty, monkeypatch, tmp_path):
    results = tmp_path / "results" / "pocket"
    results.mkdir(parents=True)
    (results / manifest.MANIFEST).write_bytes((publication.RESULTS / "pocket" / manifest.MANIFEST).read_bytes())
    monkeypatch.setattr(publication, "RESULTS", results.parent)
    with pytest.raises(NotPublished, match="clip_pairs.csv: expected sha256 .*missing; to compute it: make reproduce"):
        needs.check(chapter_of("01_corpus"))


def test_a_package_that_is_missing_is_told_with_the_command(empty, monkeypatch):
    monkeypatch.setattr(aisfx, "installed", lambda: False)
    with pytest.raises(NotPublished, match="to compute it .*: make aisfx && HELPERS_COMPUTE=missing make chapter"):
        needs.check(chapter_of("05_retrieval", top_k=7))
    monkeypatch.setenv("HELPERS_COMPUTE", "missing")
    with pytest.raises(ModuleNotFoundError, match="make aisfx"):
        needs.check(chapter_of("05_retrieval", top_k=7))
    assert needs.check(chapter_of("06_thresholds", beta=0.7)), "what takes seconds needs no package"


# What takes minutes is announced


LINE = r"\w+: first computes (\d+) stages, about [\d.]+ min, the longest .+; Ctrl-C stops it, .+ --dry-run tells each stage"


@pytest.mark.parametrize(("name", "given"), [("05_retrieval", "max_shift_s=0"), ("06_thresholds", "fpr=0.001")])
def test_a_chapter_announces_what_it_computes_first(name, given, call, capfd):
    chapter = parameters.begin(name, {"profile": "smoke", **parameters.parse_settings([given])})
    (line,) = capfd.readouterr().err.splitlines()
    announced = re.fullmatch(LINE, line)
    assert int(announced.group(1)) == len(plan.missing(chapter_stages(chapter))) > 20
    code, out, _ = call("chapter", name, "--profile", "smoke", "--dry-run", "--set", given)
    assert code == 0 and any(row.startswith(f"{announced.group(1)} stages ") for row in out)


def test_a_stage_announces_what_it_computes_first(call, monkeypatch):
    class Loaded:
        path = "there"

    monkeypatch.setattr(store, "load_or_run", lambda stage: Loaded)
    code, out, err = call("run", "quality", "--profile", "smoke", "--set", "n_train=16")
    assert (code, out) == (0, ["there"]) and len(err) == 1 and re.fullmatch(LINE, err[0])
    assert call("run", "corpus", "--profile", "tiny")[2] == [], "seconds are not announced"


def test_a_second_opinion_is_announced_too(empty, monkeypatch):
    chapter = parameters.check_parameters("05_retrieval", {"profile": "smoke"})
    monkeypatch.setattr(aisfx, "installed", lambda: True)
    both = [stage for stage in chapter_stages(chapter) if stage.name == "alterations"]
    assert both[1].digest == registry.with_second_opinion(chapter.profile).digest != both[0].digest
    assert not plan.estimate_all(both)[1].unknown
    monkeypatch.setattr(aisfx, "installed", lambda: False)
    assert [stage.name for stage in chapter_stages(chapter)].count("alterations") == 1


def test_what_nothing_is_known_of_is_announced(empty):
    stages = registry.build("training", profiles.load_profile("smoke").replace("training", architecture="tango"))
    assert ", and 2 of an unknown time, the longest " in plan.announcement(plan.missing(stages))
    assert plan.announcement([]) == ""


def test_clips_of_another_draw_are_made_where_they_are_asked_for():
    profile = profiles.load_profile("pocket")
    assert [stage.label for stage in registry.build("clips", profile)] == [f"n{n}_d0" for n in profile.sizes]
    assert [stage.label for stage in registry.build("clips", profile, 500, 1)] == ["n500_d1"]
    assert publication.find("pocket") and not registry.build("clips", profiles.load_profile("pocket_dose"), 4500, 0)
