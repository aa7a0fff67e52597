"""The pipeline: which stages there are, what each is made from, and what computes it. Data flows one way.

    corpus → encoding → training(n, draw) → generation(n, draw) ┐
       ├───→ roundtrip ─────────────────────────────────────────┼→ retrieval → thresholds → findings
       ├───→ twins(n, draw) ────────────────────────────────────┘
       ├───→ detection
       └───→ planted, duplicates

A stage here is a description (`store.Stage`); nothing is computed before `store.load_or_run`.
"""

import hashlib
from functools import cache
from importlib import import_module
from pathlib import Path

from helpers import aisfx_encoder
from helpers.config import ROOT, SOUND_PACK, CodecConfig, Profile, RetrievalConfig, TextConfig, run_key
from helpers.published import find_clap, find_flan_t5, find_hifigan, find_main, find_vae, is_audioldm, is_laion
from helpers.store import Result, Stage, load_or_run, read_manifest

# Raise a stage's version when the same settings give another output: its old results are then computed again, and its
# golden test asks for new values.
VERSIONS = {
    "corpus": 1, "planted": 1, "duplicates": 1, "encoding": 1, "roundtrip": 1, "twins": 1, "training": 1,
    "generation": 1, "retrieval": 1, "detection": 1, "thresholds": 2, "findings": 1,
}  # fmt: skip


def _stage(name: str, config: dict, function: str, arguments: tuple, **rest) -> Stage:
    """A stage computed by `function` ("module.function") as function(out, upstream, *arguments).

    The module is imported only when there is something to compute: to load a result takes no torch.
    """

    def compute(out, upstream):
        module, _, attribute = function.partition(".")
        getattr(import_module(f"helpers.{module}"), attribute)(out, upstream, *arguments)

    return Stage(name, config, compute, version=VERSIONS[name], **rest)


def _model_files(folder: str) -> tuple[Path, ...]:
    """What decides the results of a model made here; its figures and card may be remade without changing them."""
    files = sorted((ROOT / folder).glob("*.safetensors"))
    return (*files, ROOT / folder / "config.json")


def _codec_files(config: CodecConfig, vocoder: bool = True) -> tuple[Path, ...]:
    """What decides latents and, with `vocoder`, how clips come back as sound."""
    path = config.codec_path
    files = tuple(find_vae(path)[1].values()) if is_audioldm(path) else _model_files(path)
    if vocoder and config.vocoder == "hifigan":
        files += tuple(find_hifigan(config.vocoder_path)[1].values())
    elif vocoder and config.vocoder == "vocos":
        files += _model_files(config.vocoder_path)
    return files


def _text_files(config: TextConfig) -> tuple[Path, ...]:
    return tuple(find_flan_t5(config).values()) if config.encoder == "flan_t5" else ()


def _clap_files(config: RetrievalConfig) -> tuple[Path, ...]:
    return (find_clap(config.clap_path),) if is_laion(config.clap_path) else _model_files(config.clap_path)


def corpus_stage(profile: Profile) -> Stage:
    """Training, held-out and background clips."""
    config, mel = profile.corpus, profile.mel
    audio = {} if config.kind == "pocket" else {"audio": _listing(config.audio_path or config.path)}
    return _stage(
        "corpus",
        {"corpus": config.digest_fields(), "mel": mel.digest_fields()} | audio,
        "corpus.compute",
        (config, mel),
        files=(SOUND_PACK,) if config.kind == "pocket" else _user_files(config),
        seed=config.seed,
    )


def _user_files(config) -> tuple[Path, ...]:
    path = Path(config.path)
    return (path / "metadata.csv" if path.is_dir() else path,)


@cache
def _listing(path: str) -> str:
    """sha256 of names, sizes and times of a user's files: to read thousands of them anew each time would take minutes."""
    files = sorted(p for p in Path(path).rglob("*") if p.is_file())
    stats = [(p.relative_to(path).as_posix(), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()


def planted_stage(profile: Profile) -> Stage:
    """The training set with planted duplicates."""
    return _stage(
        "planted",
        {
            "planted": profile.planted.digest_fields(),
            "corpus": profile.corpus.digest_fields(),
            "mel": profile.mel.digest_fields(),
        },
        "planted.compute",
        (profile.planted, profile.corpus, profile.mel),
        files=(SOUND_PACK,),
        seed=profile.planted.seed,
    )


def duplicates_stage(profile: Profile) -> Stage:
    """Duplicates found by similarity: planted ones, natural ones among clips and among recordings."""
    return _stage(
        "duplicates",
        {"duplicates": profile.duplicates.digest_fields()},
        "natural.compute",
        (profile,),
        upstream={"corpus": corpus_stage(profile), "planted": planted_stage(profile)},
        files=(SOUND_PACK,),
    )


def encoding_stage(profile: Profile) -> Stage:
    """Latents and text states of the training clips, computed once."""
    return _stage(
        "encoding",
        {"codec": profile.codec.codec_path, "text": profile.text.digest_fields()},
        "clips.compute_encoding",
        (profile,),
        upstream={"corpus": corpus_stage(profile)},
        files=_codec_files(profile.codec, vocoder=False) + _text_files(profile.text),
    )


def roundtrip_stage(profile: Profile) -> Stage:
    """Held-out and training clips after codec and vocoder."""
    return _stage(
        "roundtrip",
        {"codec": profile.codec.digest_fields()},
        "clips.compute_roundtrip",
        (profile,),
        upstream={"corpus": corpus_stage(profile)},
        files=_codec_files(profile.codec),
    )


def twins_stage(profile: Profile, n_train: int, draw: int) -> Stage:
    """The twins null of one training set, after codec and vocoder."""
    config = profile.twins.digest_fields() | {"n_train": n_train, "draw": draw, "subset_seed": profile.training.seed}
    return _stage(
        "twins",
        {"twins": config, "codec": profile.codec.digest_fields()},
        "clips.compute_twins",
        (profile, n_train, draw),
        upstream={"corpus": corpus_stage(profile)},
        files=(SOUND_PACK, *_codec_files(profile.codec)),
        seed=profile.corpus.seed,
    )


def training_stage(profile: Profile, n_train: int, draw: int) -> Stage:
    """One denoiser, trained on one draw of n_train clips."""
    config = profile.replace("training", n_train=n_train, draw=draw).training
    return _stage(
        "training",
        config.digest_fields(),
        "clips.compute_training",
        (config, profile.corpus.n_train),
        upstream={"encoding": encoding_stage(profile)},
        files=(find_main(config.checkpoint_path),) if config.checkpoint_path else (),
        seed=config.seed,
        resumable=True,
    )


def generation_stage(profile: Profile, n_train: int, draw: int) -> Stage:
    """Clips generated with the training prompts of one run."""
    config = profile.replace("generation", n_train=n_train, draw=draw).generation
    return _stage(
        "generation",
        {"generation": config.digest_fields(), "codec": profile.codec.digest_fields()},
        "clips.compute_generation",
        (profile, config),
        upstream={
            "training": training_stage(profile, n_train, draw),
            "encoding": encoding_stage(profile),
            "corpus": corpus_stage(profile),
        },
        files=_codec_files(profile.codec),
        seed=config.sample_seed,
    )


def retrieval_stage(profile: Profile) -> Stage:
    """Nearest training and background clips of every query."""
    upstream = {"corpus": corpus_stage(profile), "roundtrip": roundtrip_stage(profile)}
    for n, d in profile.runs:
        upstream[f"generation_{run_key(n, d)}"] = generation_stage(profile, n, d)
        if "twins" in profile.nulls:
            upstream[f"twins_{run_key(n, d)}"] = twins_stage(profile, n, d)
    return _stage(
        "retrieval",
        profile.retrieval.digest_fields() | aisfx_encoder.weights(profile.retrieval.detectors),
        "scores.compute_retrieval",
        (profile,),
        upstream=upstream,
        files=_clap_files(profile.retrieval),
        seed=profile.retrieval.seed,
    )


def detection_stage(profile: Profile) -> Stage:
    """How well each detector finds altered copies."""
    config = profile.retrieval.digest_fields() | aisfx_encoder.weights(profile.retrieval.detectors)
    with_clap = "clap" in profile.retrieval.detectors
    if not with_clap:
        del config["clap_path"]
    limits = {"confidence": profile.thresholds.confidence, "n_bootstrap": profile.thresholds.n_bootstrap}
    return _stage(
        "detection",
        config | limits,
        "scores.compute_detection",
        (profile,),
        upstream={"corpus": corpus_stage(profile)},
        files=_clap_files(profile.retrieval) if with_clap else (),
        seed=profile.retrieval.seed,
    )


def thresholds_stage(profile: Profile) -> Stage:
    """Flagged and near-exact shares."""
    upstream = {f"generation_{run_key(n, d)}": generation_stage(profile, n, d) for n, d in profile.runs}
    return _stage(
        "thresholds",
        profile.thresholds.digest_fields(),
        "verdicts.compute_thresholds",
        (profile,),
        upstream={"retrieval": retrieval_stage(profile), "duplicates": duplicates_stage(profile), **upstream},
        seed=profile.thresholds.seed,
    )


def findings_stage(profile: Profile) -> Stage:
    """The claims ledger and the summary."""
    return _stage(
        "findings",
        {"profile": profile.name},
        "findings.compute",
        (profile,),
        upstream={
            "thresholds": thresholds_stage(profile),
            "detection": detection_stage(profile),
            "duplicates": duplicates_stage(profile),
        },
    )


SINGLE = {
    "corpus": corpus_stage, "planted": planted_stage, "duplicates": duplicates_stage, "encoding": encoding_stage,
    "roundtrip": roundtrip_stage, "retrieval": retrieval_stage, "detection": detection_stage,
    "thresholds": thresholds_stage, "findings": findings_stage,
}  # fmt: skip
PER_RUN = {"training": training_stage, "generation": generation_stage, "twins": twins_stage}
NAMES = tuple(SINGLE) + tuple(PER_RUN)


def build(name: str, profile: Profile, n_train: int | None = None, draw: int | None = None) -> list[Stage]:
    """The stages called `name`: one, or one per training run; `n_train` and `draw` pick among those.

    Raises:
        ValueError: an unknown name, or no such run in the profile.
    """
    if name in SINGLE:
        return [SINGLE[name](profile)]
    if name not in PER_RUN:
        raise ValueError(f"stage: expected one of {', '.join(NAMES)}, got {name!r}")
    if n_train is not None and draw is not None:
        return [PER_RUN[name](profile, n_train, draw)]  # also one that the profile does not list
    runs = [(n, d) for n, d in profile.runs if n_train in (None, n) and draw in (None, d)]
    if not runs:
        raise ValueError(
            f"{name}: expected one of the profile's runs {profile.runs}, got n_train={n_train}, draw={draw}"
        )
    return [PER_RUN[name](profile, n, d) for n, d in runs]


def finished(name: str, profile: Profile, n_train: int | None = None, draw: int | None = None) -> Result:
    """Loads a stage, or computes it and what it needs first. With `n_train` and `draw`: that training run's."""
    (stage,) = build(name, profile, n_train, draw)
    return load_or_run(stage)


def second_opinion(profile: Profile) -> Path | None:
    """The folder of the detection stage that holds the optional detector: the profile's own, or one of that detector alone.

    What is installed decides whether there is such a stage, never the digest of one: None where the package is missing
    and nothing was computed with it before.
    """
    if aisfx_encoder.NAME not in profile.retrieval.detectors:
        profile = profile.replace("retrieval", detectors=(aisfx_encoder.NAME,))
    there = aisfx_encoder.installed() or read_manifest(detection_stage(profile))
    return finished("detection", profile).path if there else None


def upstream_folders(
    name: str, profile: Profile, n_train: int | None = None, draw: int | None = None
) -> dict[str, Path]:
    """The finished folders that a stage is made from, by the names its computation knows them by."""
    (stage,) = build(name, profile, n_train, draw)
    return {key: load_or_run(before).path for key, before in stage.upstream.items()}
