"""The pipeline: which stages there are, what each is made from, and what computes it. Data flows one way.

    corpus → encoding → training → generation(arm) ┐      (training → denoiser, for readers)
       ├───→ roundtrip → references ───────────────┼→ retrieval → quality, clips
       ├───→ twins, controls ──────────────────────┘      └→ scores → thresholds → dose, findings
       ├───→ detection
       └───→ planted → duplicates

From training to retrieval, quality and clips there is one stage a training run (n, draw); the rest is one for all runs.

A stage here is a description (`store.Stage`); nothing is computed before `store.load_or_run`. `stages` looks them up by name.
"""

from importlib import import_module

from helpers import aisfx_encoder
from helpers.arms import MAIN, list_arms
from helpers.config import PROFILES, SOUND_PACK, CorpusConfig, Profile
from helpers.inputs import clap_files, codec_files, listing, text_files, user_files
from helpers.published import find_main
from helpers.store import Stage

# Raise a stage's version when the same settings give another output: its old results are then computed again, and its
# golden test asks for new values.
VERSIONS = {
    "corpus": 1, "planted": 2, "duplicates": 2, "encoding": 1, "roundtrip": 2, "twins": 3, "controls": 2, "training": 1,
    "denoiser": 1, "generation": 3, "references": 1, "retrieval": 3, "quality": 2, "clips": 1, "detection": 3, "scores": 2,
    "thresholds": 6, "dose": 3, "findings": 9,
}  # fmt: skip


def _stage(name: str, config: dict, function: str, arguments: tuple, **rest) -> Stage:
    """A stage computed by `function` ("module.function") as function(out, upstream, *arguments).

    The module is imported only when there is something to compute: to load a result takes no torch.
    """

    def compute(out, upstream):
        module, _, attribute = function.partition(".")
        getattr(import_module(f"helpers.{module}"), attribute)(out, upstream, *arguments)

    return Stage(name, config, compute, version=VERSIONS[name], **rest)


def _corpus_fields(config: CorpusConfig) -> dict:
    """A user's files are known by name, size and content, not by where they lie: manifests are published."""
    return config.digest_fields() | {"path": "", "audio_path": ""}


def corpus_stage(profile: Profile) -> Stage:
    """Training, held-out and background clips."""
    config, mel = profile.corpus, profile.mel
    if config.kind == "planted":
        return planted_stage(profile)
    audio = {} if config.kind == "pocket" else {"audio": listing(config.audio_path or config.path)}
    return _stage(
        "corpus",
        {"corpus": _corpus_fields(config), "mel": mel.digest_fields()} | audio,
        "corpus.compute",
        (config, mel),
        files=(SOUND_PACK,) if config.kind == "pocket" else user_files(config),
        seed=config.seed,
        published=("clips.parquet",),  # a clip is mixed again where one is played
    )


def planted_stage(profile: Profile) -> Stage:
    """The training set with planted duplicates, beside the main corpus' held-out and background clips."""
    if profile.corpus.kind == "planted":
        profile = profile.replace("corpus", kind="pocket")
    return _stage(
        "planted",
        {
            "planted": profile.planted.digest_fields(),
            "corpus": _corpus_fields(profile.corpus),
            "mel": profile.mel.digest_fields(),
        },
        "planted.compute",
        (profile.planted, profile.corpus, profile.mel),
        upstream={"corpus": corpus_stage(profile)},
        files=(SOUND_PACK,),
        seed=profile.planted.seed,
        label="main",  # its table has the name of the corpus'
        published=("clips.parquet",),
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
        published=("*.csv",),
    )


def _set_label(profile: Profile) -> str:
    """Which of two stages of one name: that of the main training set, or of the one with planted duplicates."""
    return "duplicates" if profile.corpus.kind == "planted" else "main"


def encoding_stage(profile: Profile) -> Stage:
    """Latents and text states of the training clips, computed once."""
    return _stage(
        "encoding",
        {"codec": profile.codec.codec_path, "text": profile.text.digest_fields()},
        "clips.compute_encoding",
        (profile,),
        upstream={"corpus": corpus_stage(profile)},
        files=codec_files(profile.codec, vocoder=False) + text_files(profile.text),
        label=_set_label(profile),
    )


def roundtrip_stage(profile: Profile) -> Stage:
    """Held-out and training clips after codec and vocoder."""
    return _stage(
        "roundtrip",
        {"codec": profile.codec.digest_fields()},
        "clips.compute_roundtrip",
        (profile,),
        upstream={"corpus": corpus_stage(profile)},
        files=codec_files(profile.codec),
        label=_set_label(profile),
        published=("queries.parquet",),
    )


def twins_stage(profile: Profile, n_train: int, draw: int) -> Stage:
    """The twins null of one training set, after codec and vocoder."""
    config = profile.twins.digest_fields() | {"n_train": n_train, "draw": draw, "subset_seed": profile.training.seed}
    if profile.corpus.kind == "planted":
        config["n_prompts"] = profile.planted.n_prompts
    return _stage(
        "twins",
        {"twins": config, "codec": profile.codec.digest_fields()},
        "clips.compute_twins",
        (profile, n_train, draw),
        upstream={"corpus": corpus_stage(profile)},
        files=(SOUND_PACK, *codec_files(profile.codec)),
        seed=profile.corpus.seed,
        label=profile.key(n_train, draw),
    )


def controls_stage(profile: Profile, n_train: int, draw: int) -> Stage:
    """Clips of known kind for one training set: altered copies, strangers over a known bed, perfect replays."""
    sampler = {name: getattr(profile.generation, name) for name in ("sampler", "steps", "steps_offset")}
    config = {"controls": profile.controls.digest_fields(), "sampler": sampler}
    config |= {"n_train": n_train, "draw": draw, "subset_seed": profile.training.seed}
    return _stage(
        "controls",
        config | {"codec": profile.codec.digest_fields()},
        "controls.compute",
        (profile, n_train, draw),
        upstream={"corpus": corpus_stage(profile), "encoding": encoding_stage(profile)},
        files=(SOUND_PACK, *codec_files(profile.codec)) if profile.corpus.mixed else codec_files(profile.codec),
        seed=profile.controls.seed,
        label=profile.key(n_train, draw),
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
        label=profile.key(n_train, draw),
        published=("loss.csv",),
    )


def denoiser_stage(profile: Profile) -> Stage:
    """The first denoiser of the smallest training set, at half precision: what readers check a published study by."""
    return _stage(
        "denoiser",
        {},
        "training.compute_half",
        (),
        upstream={"training": training_stage(profile, min(profile.sizes), 0)},
        label=profile.key(min(profile.sizes), 0),
        published=("checkpoints/*.safetensors", "unet.json"),
    )


def generation_stage(profile: Profile, n_train: int, draw: int, arm: str = MAIN) -> Stage:
    """The clips of one arm of a run."""
    config = list_arms(profile, n_train, draw)[arm]
    return _stage(
        "generation",
        {"generation": config.digest_fields(), "codec": profile.codec.digest_fields(), "arm": arm},
        "generation.compute",
        (profile, config, arm),
        upstream={
            "training": training_stage(profile, n_train, draw),
            "encoding": encoding_stage(profile),
            "corpus": corpus_stage(profile),
        },
        files=codec_files(profile.codec) + (text_files(profile.text) if config.prompts == "heldout" else ()),
        seed=config.sample_seed,
        label=f"{profile.key(n_train, draw)}_{arm}",
        published=("queries.parquet", "first_latents.npy") if arm == MAIN else (),
    )


def references_stage(profile: Profile) -> Stage:
    """Embeddings of the clips that every run is compared with, and what a perfect replay of each reaches."""
    return _stage(
        "references",
        profile.retrieval.digest_fields() | aisfx_encoder.weights(profile.retrieval.detectors),
        "references.compute",
        (profile,),
        upstream={"corpus": corpus_stage(profile), "roundtrip": roundtrip_stage(profile)},
        files=clap_files(profile.retrieval),
        label=_set_label(profile),
        published=("ceiling.parquet",),
        collected_by="scores",
    )


def retrieval_stage(profile: Profile, n_train: int, draw: int) -> Stage:
    """Nearest training and background clips of everything that belongs to one run."""
    upstream = {name: _stage_of(profile) for name, _stage_of in _COMMON.items()}
    for arm in list_arms(profile, n_train, draw):
        upstream[f"generation_{arm}"] = generation_stage(profile, n_train, draw, arm)
    if "twins" in profile.nulls:
        upstream["twins"] = twins_stage(profile, n_train, draw)
    upstream["controls"] = controls_stage(profile, n_train, draw)
    return _stage(
        "retrieval",
        profile.retrieval.digest_fields()
        | {"n_train": n_train, "draw": draw, "subset_seed": profile.training.seed}
        | aisfx_encoder.weights(profile.retrieval.detectors),
        "neighbours.compute",
        (profile, n_train, draw),
        upstream=upstream,
        files=clap_files(profile.retrieval),
        seed=profile.retrieval.seed,
        label=profile.key(n_train, draw),
        published=("*.parquet",),  # what the scores are collected from: so a study can be made run by run
        collected_by="scores",
    )


_COMMON = {"corpus": corpus_stage, "roundtrip": roundtrip_stage, "references": references_stage}


def quality_stage(profile: Profile, n_train: int, draw: int) -> Stage:
    """How good the clips of every arm of a run are as a set."""
    limits = {name: getattr(profile.thresholds, name) for name in ("confidence", "n_bootstrap", "seed")}
    return _stage(
        "quality",
        limits | {"n_train": n_train, "draw": draw},
        "quality.compute_quality",
        (profile, n_train, draw),
        upstream={"retrieval": retrieval_stage(profile, n_train, draw), "corpus": corpus_stage(profile)},
        label=profile.key(n_train, draw),
        published=("quality.csv",),
        collected_by="scores",
    )


def clips_stage(profile: Profile, n_train: int, draw: int) -> Stage:
    """The clips that the book plays, chosen by rank, never by hand."""
    retrieval = retrieval_stage(profile, n_train, draw)
    return _stage(
        "clips",
        {"n_train": n_train, "draw": draw},
        "gallery.compute",
        (profile, n_train, draw),
        upstream={"retrieval": retrieval, **retrieval.upstream},
        label=profile.key(n_train, draw),
        published=("*.ogg", "gallery.csv"),
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
        "altered.compute",
        (profile,),
        upstream={"corpus": corpus_stage(profile)},
        files=clap_files(profile.retrieval) if with_clap else (),
        seed=profile.retrieval.seed,
        published=("detection.csv", "roc.csv"),
    )


def scores_stage(profile: Profile) -> Stage:
    """The scores and the quality of all runs together: what is published, and what everything after starts from."""
    upstream = {}
    for variant in profile.variants:
        upstream[f"ceiling_{variant.corpus.kind}"] = references_stage(variant)
        for n, d in variant.runs:
            upstream[f"retrieval_{variant.key(n, d)}"] = retrieval_stage(variant, n, d)
            upstream[f"quality_{variant.key(n, d)}"] = quality_stage(variant, n, d)
    files = ("scores.parquet", "null.parquet", "background.parquet", "variants.parquet", "queries.parquet")
    return _stage(
        "scores",
        {},
        "collection.compute",
        (profile,),
        upstream=upstream,
        light=True,
        published=(*files, "ceiling.parquet", "quality.csv"),
    )


def thresholds_stage(profile: Profile) -> Stage:
    """Flagged and near-exact shares."""
    upstream = {
        "scores": scores_stage(profile),
        "duplicates": duplicates_stage(profile),
        "corpus": corpus_stage(profile),
    }
    if profile.planted.trained:
        upstream["planted"] = planted_stage(profile)
    return _stage(
        "thresholds",
        profile.thresholds.digest_fields(),
        "verdicts.compute_thresholds",
        (profile,),
        upstream=upstream,
        seed=profile.thresholds.seed,
        light=True,
        published=("replication.csv", "decisions.parquet", "sensitivity.csv", "choices.csv", "strata.csv"),
    )


def dose_stage(profile: Profile) -> Stage:
    """Replication against the number of copies in the training set; needs a model trained on planted duplicates."""
    limits = {name: getattr(profile.thresholds, name) for name in ("confidence", "n_bootstrap", "seed", "detector")}
    return _stage(
        "dose",
        limits,
        "dose.compute_dose",
        (profile,),
        upstream={"thresholds": thresholds_stage(profile), "planted": planted_stage(profile)},
        light=True,
        published=("dose.csv", "dose_trend.csv"),
    )


def findings_stage(profile: Profile) -> Stage:
    """The claims ledger and the summary."""
    upstream = {
        "scores": scores_stage(profile),
        "thresholds": thresholds_stage(profile),
        "detection": detection_stage(profile),
        "duplicates": duplicates_stage(profile),
    }
    if profile.planted.trained:
        upstream["dose"] = dose_stage(profile)
    return _stage(
        "findings", {"profile": profile.name}, "findings.compute", (profile,), upstream=upstream, light=True,
        files=(PROFILES / "protocol.yml",), published=("claims.csv", "summary.json"),
    )  # fmt: skip
