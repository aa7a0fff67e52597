"""The stages of the graph by name: looked up, and loaded or computed."""

from collections.abc import Callable
from pathlib import Path

from helpers.base.arms import list_arms
from helpers.base.profile import Profile
from helpers.models import aisfx
from helpers.study.graph import Graph
from helpers.study.manifest import read_manifest
from helpers.study.stage import Stage
from helpers.study.store import Result, load_or_run

# One for all runs, then one a training run; in the order in which they are listed.
SINGLE = {stage.__name__: stage for stage in (
    Graph.corpus, Graph.planted, Graph.duplicates, Graph.encoding, Graph.roundtrip, Graph.denoiser, Graph.trajectory, Graph.blind,
    Graph.references, Graph.alterations, Graph.detection, Graph.scores, Graph.thresholds, Graph.onset, Graph.dose, Graph.dose_onset, Graph.findings,
)}  # fmt: skip
PER_RUN = {stage.__name__: stage for stage in (
    Graph.training, Graph.generation, Graph.twins, Graph.controls, Graph.retrieval, Graph.quality, Graph.clips, Graph.loss_gap,
    Graph.prompts, Graph.data_free, Graph.own_scores, Graph.agreement,
)}  # fmt: skip
PER_VARIANT = ("encoding", "roundtrip", "references")  # what a model on planted duplicates needs of its own
NAMES = (*SINGLE, *PER_RUN)
# The stages that not every study has, and which studies do.
ONLY: dict[str, Callable[[Graph], bool]] = {
    "dose": lambda graph: graph.profile.planted.trained,
    "dose_onset": lambda graph: graph.of_copies,
    "clips": lambda graph: graph.profile.corpus.kind != "planted",  # the book plays the main training sets
    "twins": lambda graph: "twins" in graph.profile.nulls,  # of mixtures alone
    # where all runs are searched in one pool
    **dict.fromkeys(("loss_gap", "data_free", "prompts"), lambda graph: graph.profile.pooled),
    "agreement": lambda graph: bool(graph.profile.intervention),  # the scale of what a change costs
    "own_scores": lambda graph: graph.changed,  # else they are among the scores
}


def exists(name: str, graph: Graph) -> bool:
    """Whether this study, or this variant of it, has stages of this name."""
    return name not in ONLY or ONLY[name](graph)


def build(name: str, profile: Profile | Graph, n_train: int | None = None, draw: int | None = None) -> list[Stage]:
    """The stages called `name`: one, or one per training run; `n_train` and `draw` pick among those.

    With a model trained on planted duplicates, its stages come last; a generation has one stage an arm. Who asks for
    several names gives a `Graph`, whose stages are built once.

    Raises:
        ValueError: an unknown name, no such run in the profile, or a run chosen of a stage that all runs share.
    """
    graph = profile if isinstance(profile, Graph) else Graph(profile)
    if name in SINGLE:
        if (n_train, draw) != (None, None):
            raise ValueError(
                f"{name}: expected no n_train or draw, as all runs share this stage, got {n_train} and {draw}"
            )
        variants = graph.variants if name in PER_VARIANT else (graph,)
        return [SINGLE[name](of) for of in variants] if exists(name, graph) else []
    if name not in PER_RUN:
        raise ValueError(f"stage: expected one of {', '.join(NAMES)}, got {name!r}")
    if n_train is not None and draw is not None:
        for of in graph.variants:
            if (n_train, draw) in of.profile.runs and isinstance(n_train, int):  # 16.0 == 16
                return _of_run(name, of, n_train, draw)
        check_run(graph.profile, n_train, draw)
        return _of_run(name, graph, n_train, draw)  # also one that the profile does not list
    # another draw than the book plays is made where it is asked for
    first = name in ("clips", "prompts") and draw is None
    runs = [
        (of, n, d)
        for of in graph.variants
        for n, d in of.profile.runs
        if n_train in (None, n) and draw in (None, d) and not (first and d)
    ]
    if not runs:
        raise ValueError(
            f"{name}: expected one of the profile's runs {graph.profile.runs}, got n_train={n_train}, draw={draw}"
        )
    return [stage for run in runs for stage in _of_run(name, *run)]


def check_run(profile: Profile, n_train: int, draw: int):
    """Raises ValueError or TypeError for a training run that the profile's corpus cannot have."""
    run = profile.replace("training", n_train=n_train, draw=draw).training
    if run.offsets and draw >= len(run.offsets):
        raise ValueError(
            f"draw: expected 0 to {len(run.offsets) - 1}, as training.offsets has {len(run.offsets)}, got {draw}"
        )
    if profile.arms.n_other_draw and 2 * n_train > profile.corpus.n_train:
        raise ValueError(
            f"n_train: expected at most half of the {profile.corpus.n_train} training clips, as arms.n_other_draw asks for "
            f"those of another draw, got {n_train}"
        )
    if n_train > profile.corpus.n_train:
        raise ValueError(
            f"n_train: expected at most the {profile.corpus.n_train} training clips of profile {profile.name}, got {n_train}"
        )


def build_all(profile: Profile) -> list[Stage]:
    """Every stage of a profile, once, in the order of NAMES. Where the corpus is the planted set, both are one stage."""
    graph = Graph(profile)
    stages = {id(stage): stage for name in NAMES for stage in build(name, graph)}
    return list(stages.values())


def _of_run(name: str, graph: Graph, n_train: int, draw: int) -> list[Stage]:
    if not exists(name, graph):
        return []
    if name == "generation":
        return [graph.generation(n_train, draw, arm) for arm in list_arms(graph.profile, n_train, draw)]
    return [PER_RUN[name](graph, n_train, draw)]


def finished(name: str, profile: Profile, n_train: int | None = None, draw: int | None = None) -> Result:
    """Loads a stage, or computes it and what it needs first. With `n_train` and `draw`: that training run's."""
    return load_or_run(build(name, profile, n_train, draw)[0])


def denoiser_folder(profile: Profile, n_train: int, draw: int) -> Path:
    """The folder with the weights of one denoiser: where it was trained, or the half-precision copy that is published.

    Of a published study only the first denoiser of the smallest set is there; of the others the folder has no weights.
    """
    trained = finished("training", profile, n_train, draw).path
    first = n_train == min(profile.sizes) and draw == 0
    return trained if (trained / "checkpoints").is_dir() or not first else finished("denoiser", profile).path


def with_second_opinion(profile: Profile) -> Stage:
    """The alterations stage that holds the optional detector: the profile's own, or one of that detector alone."""
    if aisfx.NAME not in profile.retrieval.detectors:
        profile = profile.replace("retrieval", detectors=(aisfx.NAME,))
    return Graph(profile).alterations()


def second_opinion(profile: Profile) -> Path | None:
    """The folder of the alterations stage `with_second_opinion`.

    What is installed decides whether there is such a stage, never the digest of one: None where the package is missing
    and nothing was computed with it before.
    """
    stage = with_second_opinion(profile)
    return load_or_run(stage).path if aisfx.installed() or read_manifest(stage) else None


def upstream_folders(
    name: str, profile: Profile, n_train: int | None = None, draw: int | None = None
) -> dict[str, Path]:
    """The finished folders that a stage is made from, by the names its computation knows them by."""
    stage = build(name, profile, n_train, draw)[0]
    return {key: load_or_run(before).path for key, before in stage.upstream.items()}
