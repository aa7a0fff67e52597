"""The command line as one tool: its help, what is there and what is stale, what a plan tells, what verify sees."""

import json
import math
import os
import re
import shlex
import subprocess
import sys
import types
from dataclasses import replace

import nbformat
import pytest
from three_sizes import THREE_SIZES

from helpers import __main__ as program
from helpers.base.paths import ROOT
from helpers.book import chapters, parameters
from helpers.commands import publication as commands_of_publication, stages
from helpers.sound.profiles import load_profile
from helpers.study import entries, input_files, manifest, plan, publication, registry, state, store, work
from helpers.study.stage import Stage
from helpers.study.store import load_or_run

NAMES = [
    "audit",
    "prompt",
    "run",
    "list",
    "plan",
    "verify",
    "chapter",
    "profile",
    "tidy",
    "publish",
    "restore",
    "compare",
]


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Runs a command in this process: its exit code, and the lines of standard output and error. The store is empty."""
    monkeypatch.setenv("HELPERS_RUNS", str(tmp_path / "runs"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["helpers", *map(str, arguments)])
        try:
            code = program.main()
        except SystemExit as exit:
            code = exit.code
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return run


def writing(**files):
    def compute(folder, upstream):
        for name, content in files.items():
            (folder / f"{name}.csv").write_text(content)

    return compute


@pytest.fixture
def chain(monkeypatch):
    """A profile of three stages: a corpus, a training made from it, and light thresholds made from that."""

    def build(n_train=4, updates=2):
        corpus = Stage("corpus", {"n_train": n_train}, writing(clips="a"), published=("clips.csv",))
        training = Stage("training", {"updates": updates}, writing(loss="1"), {"corpus": corpus}, label="n4_d0")
        return [
            corpus,
            training,
            Stage("thresholds", {}, writing(rates="0"), {"training": training}, published=("rates.csv",), light=True),
        ]

    profile = {"stages": build()}
    for module in (stages, commands_of_publication):
        monkeypatch.setattr(module, "all_stages", lambda name: profile["stages"])
    return profile, build


# The help


def test_help_lists_every_command_in_one_line_in_the_order_of_its_groups(call):
    code, out, _ = call("--help")
    listed = [re.match(r"  ([a-z]+) +\w", line) for line in out]
    assert code == 0 and [line.group(1) for line in listed if line] == NAMES
    assert max(map(len, out)) <= 110 and out[0] == "usage: helpers COMMAND ..."


def test_the_program_is_called_as_it_was_started(monkeypatch):
    for started, name in (
        ("/bin/helpers", "helpers"),
        ("helpers.exe", "helpers"),
        ("src/__main__.py", "python -m helpers"),
    ):
        monkeypatch.setattr(sys, "argv", [started])
        assert program.build_parser().prog == name


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_with_an_example_that_it_takes(call, name):
    code, out, _ = call(name, "--help")
    example = next(line for line in out if line.startswith("Example: "))
    assert code == 0 and out[0].startswith(f"usage: helpers {name}")
    arguments = program.build_parser().parse_args(shlex.split(example.removeprefix("Example: helpers ")))
    assert arguments.action is next(group[name][0] for group in program.COMMANDS.values() if name in group)


def test_every_option_is_one_of_a_command():
    taken = {
        option for group in program.COMMANDS.values() for *_, options in group.values() for option in options.split()
    }
    assert taken == set(program.OPTIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("trian",), "invalid choice: 'trian'"),
        (("run",), "the following arguments are required: STAGE"),
        (("run", "corpse", "--profile", "smoke"), "stage: expected one of corpus, "),
        (("plan", "corpse", "--profile", "smoke"), "stage: expected one of corpus, "),
        (("list", "--profile", "smok"), "profile: expected one of "),
        (("verify", "--profile", "smok"), "profile: expected one of "),
        (("plan", "all", "--profile", "smoke", "--set", "betta=1"), "unknown parameter 'betta'"),
        (("plan", "training", "--profile", "smoke", "--label", "n9_d0"), "--label: expected one of n16_d0, n64_d0"),
        (("chapter", "06_thresholds", "--dry-run", "--profile", "smoke", "--set", "beta=7"), "beta: expected"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(call, arguments, message):
    code, out, err = call(*arguments)
    assert code == 2 and not out and len(err) == 1
    assert err[0].startswith("error: ") and message in err[0]


def test_a_reader_that_has_had_enough_is_no_error(repository, tmp_path):
    """As `helpers plan all | head`: the list is longer than what a pipe holds back."""
    call = f"{sys.executable} -m helpers profile pocket | true; echo ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "HELPERS_RUNS": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(["bash", "-c", call], capture_output=True, text=True, cwd=repository, env=environment)
    assert (done.stdout, done.stderr) == ("0\n", "")


# What is there


def test_list_tells_finished_restored_unfinished_and_missing(call, chain):
    corpus, training, thresholds = chain[0]["stages"]
    load_or_run(corpus)
    training.folder().with_suffix(".part").mkdir(parents=True)
    store.place(
        thresholds, {"files": {}, "digest": thresholds.digest, "restored": True}, lambda draft: None, store.runs_root()
    )
    code, out, _ = call("list")
    assert code == 0 and len(out) == 4
    assert re.fullmatch(rf"corpus +{corpus.digest[:16]}  finished \d{{4}}-\d\d-\d\d \d\d:\d\d, \d+\.\d s", out[0])
    assert out[1].endswith("  unfinished") and out[2].endswith("  restored from the published study")
    assert out[3] == "3 stages: 1 finished, 1 restored, 1 unfinished; 1 B"


def test_list_says_what_makes_a_stage_stale(call, chain):
    profile, build = chain
    load_or_run(build()[-1])
    profile["stages"] = build(updates=3)
    code, out, _ = call("list", "--stale")
    old = build()[1:]
    assert code == 0 and out[-1].startswith("3 stages: 1 finished, 2 stale; ")
    assert out[0].endswith(f"STALE: updates is 3 in the profile, 2 in {old[0].digest[:16]}")
    assert out[1].endswith(f"STALE: training n4_d0: updates is 3 in the profile, 2 in {old[1].digest[:16]}")


def test_another_profiles_results_are_not_stale(chain, call):
    _, build = chain
    load_or_run(build()[-1])
    changed, digests = build(n_train=5), {stage.digest for stage in build()}
    assert {one.kind for one in state.states(changed, digests)} == {"missing"}
    assert {one.kind for one in state.states(changed, set())} == {"stale"}


# What would be computed


def computed(stages, root, folder=None):
    """The titles of the stages that `load_or_run` computes for these, in order."""
    order = []

    def recording(stage):
        def compute(out, upstream):
            order.append(stage.title)
            stage.compute(out, upstream)

        return replace(stage, compute=compute, upstream={key: recording(one) for key, one in stage.upstream.items()})

    with publication.use_publication(folder, compute="all"):
        for stage in stages:
            load_or_run(recording(stage), root)
    return order


@pytest.mark.parametrize("policy", ["", "all"])
@pytest.mark.parametrize("there", ["nothing", "corpus", "thresholds", "restored"])
@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("asked", [(2,), (1,), (0, 1, 2)])
def test_a_plan_names_what_is_then_computed(chain, tmp_path, monkeypatch, policy, there, published, asked):
    stages, folder = chain[0]["stages"], None
    runs = tmp_path / "runs"
    load_or_run(stages[-1], tmp_path / "elsewhere")
    publication.publish(stages, tmp_path / "results", tmp_path / "elsewhere")
    if published:
        folder = tmp_path / "results"
    if there == "corpus":
        load_or_run(stages[0], runs)
    elif there == "thresholds":
        load_or_run(stages[2], runs)
    elif there == "restored":
        publication.restore(stages[0], tmp_path / "results", runs)
    monkeypatch.setenv("HELPERS_COMPUTE", policy)
    chosen = [stages[number] for number in asked]
    planned = [stage.title for stage in plan.missing(chosen, folder, runs)]
    assert planned == computed(chosen, runs, folder)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """What was measured for the published study, without what other tests keep in this session's store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELPERS_RUNS", str(tmp_path_factory.mktemp("no_runs")))
        return plan.measured()


@pytest.fixture(scope="module")
def of_the_first_study(records):
    """Its machines did nothing else beside."""
    known = {entry["digest"] for entry in entries.read_entries(publication.RESULTS / "pocket_first").values()}
    return [record for record in records if record.manifest["digest"] in known]


def test_the_published_stages_have_their_recorded_values(records):
    published, stages = (
        entries.read_entries(publication.RESULTS / "pocket"),
        registry.build_all(load_profile("pocket")),
    )
    stages = [stage for stage in stages if not stage.optional or entries.key_of(stage) in published]
    assert len(published) == len(stages)
    for stage in stages:
        entry, told = published[entries.key_of(stage)], plan.estimate(stage, records)
        assert (told.seconds, told.memory_mib) == (entry["wall_s"], entry["peak_memory_mib"])


def test_a_measured_stage_is_estimated_from_the_others_within_a_factor_of_two(of_the_first_study, monkeypatch):
    """Each stage of more than 20 s without its own record, on a machine like the one that it was measured on."""
    records = of_the_first_study
    within, n = {"seconds": 0, "memory_mib": 0}, 0
    for record in records:
        machine, others = record.manifest["machine"], [other for other in records if other is not record]
        monkeypatch.setattr(plan, "vector_extensions", lambda machine=machine: machine["vectors"])
        monkeypatch.setattr(plan, "cores", lambda machine=machine: machine["cores"])
        told = plan.estimate(record.stage, others)
        if record.manifest["wall_s"] < 20 or told.unknown:  # too short, or the only one of its name
            continue
        n += 1
        for name, value in (("seconds", "wall_s"), ("memory_mib", "peak_memory_mib")):
            within[name] += abs(math.log2(getattr(told, name) / record.manifest[value])) <= 1
    assert n > 100 and within["seconds"] >= 0.95 * n and within["memory_mib"] == n, (n, within)


@pytest.mark.parametrize("profile", ["smoke", "tiny", "pilot"])
def test_every_stage_of_a_profile_has_an_estimate(records, profile):
    stages = registry.build_all(load_profile(profile))
    estimates = [plan.estimate(stage, records) for stage in stages]
    assert all(one.seconds > 0 and 100 < one.memory_mib < 5000 and one.disk_bytes >= 0 for one in estimates)
    hours = sum(one.seconds for one in estimates) / 3600
    assert hours < {"smoke": 0.2, "tiny": 0.2, "pilot": 3}[profile]


def test_twice_the_work_takes_twice_as_long(of_the_first_study):
    def seconds(updates, name="training"):
        profile = THREE_SIZES.replace("training", updates=updates, checkpoints=(1,))
        return plan.estimate(registry.build(name, profile, 100, 1)[0], of_the_first_study).seconds

    assert seconds(40_000) / seconds(20_000) == pytest.approx(2, rel=0.02)
    assert seconds(40_000, "generation") == seconds(20_000, "generation")


def test_where_pairs_are_compared_time_grows_with_the_square_and_memory_does_not(of_the_first_study):
    def estimate(n_train):
        profile = THREE_SIZES.replace_in({"corpus": {"n_train": n_train}, "planted": {"n_train": n_train}})
        return plan.estimate(registry.build("duplicates", profile)[0], of_the_first_study)

    one, four = estimate(9_000), estimate(36_000)
    assert four.seconds / one.seconds == pytest.approx(16, rel=0.2)
    assert 1 < four.memory_mib / one.memory_mib < 4


def test_disk_follows_from_the_shapes_of_what_is_written():
    stage = registry.build("generation", load_profile("tiny"), 4, 0)[0]
    load_or_run(stage)
    for one in (stage, *stage.upstream.values()):
        files = manifest.read_manifest(one)["files"]
        assert work.disk(one) == pytest.approx(sum(file["size"] for file in files.values()), rel=0.1), one.title


def test_a_plan_says_what_cannot_be_told_and_what_the_rest_stands_on(call):
    code, out, _ = call("plan", "training", "--profile", "smoke", "--set", "architecture=tango")
    assert code == 0 and "cannot be told: training n16_d0 and 1 more: nothing was measured with tango" in out
    assert re.match(
        r"training n16_d0 +\? +\d\.\d GB +\d", next(line for line in out if line.startswith("training n16_d0"))
    )
    assert any(line.startswith("Estimates, within about a factor of two, from runs on: ") for line in out)


def test_a_dry_run_tells_the_plan_and_computes_nothing(call, tmp_path):
    code, out, _ = call("plan", "quality", "--profile", "smoke", "--set", "n_train=16")
    assert code == 0 and [line.split()[0] for line in out[1:3]] == ["corpus", "roundtrip"]
    again = call("run", "quality", "--profile", "smoke", "--dry-run", "--set", "n_train=16")
    assert again[1][:-1] == out[:-1]  # the last line tells the free disk
    assert not (tmp_path / "runs").exists()


def test_the_plan_of_a_published_chapter_says_what_would_stop_it(call):
    assert call("chapter", "06_thresholds", "--profile", "pocket", "--dry-run", "--set", "beta=0.7")[1][1].startswith(
        "thresholds "
    )
    code, out, _ = call("chapter", "03_training", "--profile", "pocket", "--dry-run", "--set", "learning_rate=0.1")
    told = "training n100_d0: learning_rate is 0.1 in the profile, 0.001 in the published study"
    assert code == 0 and out[-1].startswith(f"Not computed unasked: {told}; to compute it (3 stages, about ")
    code, out, _ = call("plan", "training", "--published", "--profile", "pocket", "--set", "learning_rate=0.1")
    assert code == 0 and out[-1].startswith(
        "Not computed unasked beside a published study: training n4500_d0: learning_rate is 0.1"
    )


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_published_study_that_is_not_there_is_not_computed_instead(call, command):
    code, _, err = call(command, "corpus", "--published", "--profile", "tiny")
    assert code == 2 and "--published: expected a published study of profile tiny in results, found none" in "\n".join(
        err
    )


def test_a_plan_is_told_without_data_or_weights_and_what_is_missing_with_its_remedy(call):
    """By hand, of TANGO's network: 0.81 TFLOP a pass, three a training clip, 48 clips an update, 56,800 updates."""
    code, out, err = call("plan", "--profile", "paper")
    assert code == 0 and not err
    training = next(line for line in out if re.match(r"training n45438_d0 .* GPU h", line))
    operations = 0.809e12 * 3 * 48 * 56_800
    assert float(training.split()[2]) == pytest.approx(operations / 45e12 / 3600, rel=0.02)
    generation = next(line for line in out if re.match(r"generation n45438_d0_main .* GPU h", line))
    assert float(generation.split()[2]) == pytest.approx(0.809e12 * 2 * 200 * 45_438 / 45e12 / 3600, rel=0.02)
    assert "GPU" not in " ".join(call("plan", "all", "--profile", "tiny")[1]), "a study this small needs none"
    told = [line for line in out if line.startswith("missing: ")]
    assert len(told) == 6 and sum("hf download" in line for line in told) == 5
    assert "a folder with train.csv, val.csv, test.csv" in " ".join(told)
    (gigabytes,) = re.findall(r"^training n45438_d0 +\? +([\d.]+) GB", "\n".join(out), re.MULTILINE)
    assert 2 * 4 * 0.866 < float(gigabytes) < 16, "main memory holds the network twice while it is read"
    told = " ".join(line for line in call("plan", "all", "--profile", "tango")[1] if line.startswith("missing: "))
    assert "hf download declare-lab/tango pytorch_model_main.bin" in told and "vae_config.json" in told
    assert "cvssp" not in told, "TANGO's repository has its own copy of AudioLDM's parts"


def test_a_job_is_with_a_network_where_a_stage_that_has_one_is_missing(monkeypatch):
    left = []
    monkeypatch.setattr(plan, "missing", lambda stages: left)
    quality, generation = (registry.build(name, load_profile("tiny"), 16, 0)[0] for name in ("quality", "generation"))
    for left[:], needed in (([], False), ([quality], False), ([quality, generation], True)):
        assert plan.with_network([quality]) == needed


def test_a_job_of_a_stage_that_was_neither_measured_nor_counted_asks_for_a_day(monkeypatch):
    """Too short a job is stopped again at every retry."""
    profile = load_profile("paper")
    with input_files.telling_missing():
        stages = [*registry.build("retrieval", profile, 1000, 0), *registry.build("generation", profile, 1000, 0)[:1]]
    monkeypatch.setattr(plan, "missing", lambda stages: stages)
    assert plan.resources(stages[:1], profile)["runtime"] == 60 + 24 * 60
    assert plan.resources(stages[1:], profile)["runtime"] == pytest.approx(60 + 2 * 120, rel=0.05), (
        "its counted hours, twice"
    )


def test_the_disk_of_audioldms_latents_and_of_training_is_counted_and_compared_with_what_is_free(call, monkeypatch):
    """By hand: means and deviations of 8 x 256 x 16 float32 a clip, its caption's states; three numbers a weight, twice."""
    profile = load_profile("paper")
    with input_files.telling_missing():
        encoding, training = registry.build("encoding", profile)[0], registry.build("training", profile, 1000, 0)[0]
    assert work.disk(encoding) == 45_438 * (2 * 4 * 8 * 256 * 16 + 128 * (2 * 1024 + 1))
    assert work.scratch(training) == pytest.approx(2 * 3 * 4 * 866e6, rel=0.03) and not work.scratch(
        registry.build("findings", load_profile("tiny"))[0]
    )
    for free, said in ((10**9, True), (10**13, False)):
        monkeypatch.setattr(plan.shutil, "disk_usage", lambda _, free=free: types.SimpleNamespace(free=free))
        lines = call("plan", "encoding", "--profile", "paper")[1]
        assert any(line.startswith("Too little is free: expected ") for line in lines) == said


def test_a_stage_that_a_corpus_cannot_have_is_not_planned(call):
    with input_files.telling_missing():
        assert not [stage for stage in registry.build_all(load_profile("paper")) if stage.name == "twins"]
    code, _, err = call("run", "twins", "--profile", "paper")
    assert code == 2 and err == ["error: twins: profile paper has no such stage for any run"]


def test_a_run_for_files_that_are_not_here_is_refused_in_one_line(call):
    code, out, err = call("run", "corpus", "--profile", "paper")
    assert code == 2 and not out and len(err) == 1 and "expected a CSV file, or a folder" in err[0]


@pytest.mark.parametrize("name", parameters.CHAPTERS)
def test_the_stages_of_a_chapter_are_those_that_its_notebook_asks_for(name, repository):
    notebook = nbformat.read(repository / "notebooks" / f"{name}.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    asked = set(re.findall(r"(?:finished|build)\(\s*\"(\w+)\"", text))
    assert asked <= set(chapters.STAGES[name]) and bool(asked) == bool(chapters.STAGES[name])


# What is as recorded


def test_verify_finds_nothing_wrong_with_the_published_study(call):
    code, out, err = call("verify", "--profile", "pocket")
    n_stages = len(entries.read_entries(publication.RESULTS / "pocket"))
    assert code == 0 and not err and re.fullmatch(rf"{n_stages} stages, \d+ files: as recorded", out[0])


def test_verify_tells_each_problem_in_a_line(call, chain, committed, tmp_path):
    profile, build = chain
    load_or_run(profile["stages"][-1])
    results, runs = tmp_path / "results", store.runs_root()
    publication.publish(profile["stages"], results, runs)
    assert call("verify", "--folder", results)[1] == ["6 stages, 9 files: as recorded"]
    (results / "clips.csv").write_text("b")
    (profile["stages"][1].folder() / "loss.csv").write_text("2")
    code, out, err = call("verify", "--folder", results)
    assert code == 2 and err == ["error: 2 problems in 6 stages and 9 files"]
    assert [line.split(": expected sha256")[0].split("/")[-1] for line in out] == ["clips.csv", "loss.csv"]
    profile["stages"] = build(updates=3)[:2]
    code, out, _ = call("verify", "--folder", results)
    assert code == 2 and set(out[1:]) == {
        "training n4_d0: updates is 3 in the profile, 2 in the published study",
        "thresholds: published, but no stage of the profile",
    }


def test_verify_checks_the_frozen_models(call, monkeypatch, tmp_path):
    from helpers.study import verification

    (tmp_path / "models" / "codec").mkdir(parents=True)
    config = {"weights": {"file": "codec.safetensors", "sha256": "0" * 64}}
    (tmp_path / "models" / "codec" / "config.json").write_text(json.dumps(config))
    (tmp_path / "models" / "flan-t5").mkdir()
    (tmp_path / "models" / "flan-t5" / "config.json").write_text(
        '{"model_type": "t5"}'
    )  # of others: it has no such list
    monkeypatch.setattr(verification, "ROOT", tmp_path)
    code, out, _ = call("verify", "--profile", "tiny")
    assert (
        code == 2
        and len(out) == 1
        and out[0].endswith(f"codec.safetensors: expected sha256 {'0' * 12}, the file is missing")
    )


@pytest.mark.parametrize("name", ["generation", "trajectory"])
def test_the_memory_of_what_loads_a_denoiser_grows_with_it(name):
    smoke = load_profile("smoke")
    wide = smoke.replace("training", block_out_channels=tuple(4 * one for one in smoke.training.block_out_channels))
    less, more = (work.memory(registry.build(name, profile)[0]) for profile in (smoke, wide))
    assert more > less


def test_the_estimator_counts_as_the_stages_do():
    """Its numbers stand apart from the modules that decide them, which import torch."""
    from helpers.models import aisfx, text
    from helpers.sound.transforms import TRANSFORMS

    clap = json.loads((ROOT / "models" / "clap" / "config.json").read_text())
    assert len(TRANSFORMS) == work.N_TRANSFORMS
    assert (work.WIDTH["clap"], work.WIDTH["aisfx"]) == (clap["embedding"], aisfx.DIMENSION)
    assert work.WIDTH["minilm"] == text.TEXT_DIM
