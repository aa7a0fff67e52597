"""The pipeline: which stages there are, what each is made from, and what computes it. Data flows one way.

    corpus → encoding → training → generation(arm) ┐      (training → denoiser → trajectory, for readers)
       ├───→ roundtrip → references ───────────────┼→ retrieval → quality, clips
       ├───→ twins, controls ──────────────────────┘      └→ scores → thresholds → onset, dose, findings
       ├───→ alterations                         └──────────→ detection
       └───→ planted → duplicates

From training to retrieval, quality, clips and prompts there is one stage a training run (n, draw); the rest is one for
all runs.

A stage here is a description (`store.Stage`); nothing is computed before `store.load_or_run`. `registry` looks them up by
name. Stage X is computed by `stages/X.py:compute`, which is imported only then: to load a result takes no torch.
"""

import functools

from helpers import stages
from helpers.base import plain_yaml
from helpers.base.arms import MAIN, checkpoint_arms, list_arms
from helpers.base.paths import PROFILES, SOUND_PACK
from helpers.base.profile import Profile
from helpers.base.settings import EMBEDDINGS, CorpusConfig
from helpers.models import aisfx
from helpers.sound.user_table import READERS_VERSION
from helpers.study.input_files import checkpoint_files, clap_files, codec_files, listing, text_files, user_files
from helpers.study.store import Stage

# Raise a stage's version when the same settings give another output: its old results are then computed again, and its
# golden test asks for new values.
VERSIONS = {
    "corpus": 1, "planted": 2, "duplicates": 2, "encoding": 1, "roundtrip": 2, "twins": 3, "controls": 2, "training": 1,
    "denoiser": 1, "loss_gap": 1, "data_free": 1, "generation": 3, "references": 1, "retrieval": 3, "quality": 2, "clips": 1, "prompts": 1,
    "trajectory": 1, "blind": 1, "alterations": 1, "detection": 4, "onset": 1, "scores": 2, "thresholds": 8, "dose": 4, "findings": 11,
}  # fmt: skip


def _stage(name: str, config: dict, compute, **rest) -> Stage:
    return Stage(name, config, compute, version=VERSIONS[name], **rest)


def _built_once(method):
    """A graph builds each of its stages once, so that those made from it share it, and its digest."""

    @functools.wraps(method)
    def build(graph: "Graph", *run) -> Stage:
        key = (method.__name__, *run)
        if key not in graph._built:
            graph._built[key] = method(graph, *run)
        return graph._built[key]

    return build


@functools.cache
def _plan_of_onsets() -> dict:
    """The plan whose values the stages `detection` and `onset` read; only these are in their digests, as the plan grows."""
    return plain_yaml.parse((PROFILES / "protocol_law.yml").read_bytes(), "protocol_law")


def _corpus_fields(config: CorpusConfig) -> dict:
    """A user's files are known by name, size and content, not by where they lie: manifests are published."""
    return config.digest_fields() | {"path": "", "audio_path": ""}


class Graph:
    """The stages of one profile: `Graph(profile).training(100, 0)`. `variants` are this graph and, where a model is
    trained on planted duplicates, that model's."""

    def __init__(self, profile: Profile, main: "Graph | None" = None):
        self.profile, self._built = profile, {}
        if profile.corpus.kind == "planted":  # built beside a main training set, whose other clips it shares
            main = main or Graph(profile.replace_in({"corpus": {"kind": "pocket"}, "generation": {"prompts": "train"}}))
        self._main = main or self

    @functools.cached_property
    def variants(self) -> tuple["Graph", ...]:
        main = self if self.profile.corpus.kind == "pocket" else None
        return (self, *(Graph(other, main) for other in self.profile.variants[1:]))

    @_built_once
    def corpus(self) -> Stage:
        """Training, held-out and background clips."""
        config, mel = self.profile.corpus, self.profile.mel
        if config.kind == "planted":
            return self.planted()
        own = {}
        if not config.mixed:
            own = {"audio": listing(config), "readers": READERS_VERSION}
        return _stage(
            "corpus",
            {"corpus": _corpus_fields(config), "mel": mel.digest_fields()} | own,
            lambda *folders: stages.corpus.compute(*folders, config, mel),
            files=(SOUND_PACK,) if config.mixed else user_files(config),
            seed=config.seed,
            published=("clips.parquet",),  # a clip is mixed again where one is played
        )

    @_built_once
    def planted(self) -> Stage:
        """The training set with planted duplicates, beside the main corpus' held-out and background clips."""
        if self._main is not self:
            return self._main.planted()
        planted, corpus, mel = self.profile.planted, self.profile.corpus, self.profile.mel
        return _stage(
            "planted",
            {"planted": planted.digest_fields(), "corpus": _corpus_fields(corpus), "mel": mel.digest_fields()},
            lambda *folders: stages.planted.compute(*folders, planted, corpus, mel),
            upstream={"corpus": self.corpus()},
            files=(SOUND_PACK,),
            seed=planted.seed,
            label="main",  # its table has the name of the corpus'
            published=("clips.parquet",),
        )

    @_built_once
    def duplicates(self) -> Stage:
        """Duplicates found by similarity: planted ones, natural ones among clips and among recordings."""
        return _stage(
            "duplicates",
            {"duplicates": self.profile.duplicates.digest_fields()},
            lambda *folders: stages.duplicates.compute(*folders, self.profile),
            upstream={"corpus": self.corpus(), "planted": self.planted()},
            files=(SOUND_PACK,),
            published=("*.csv",),
        )

    @_built_once
    def encoding(self) -> Stage:
        """Latents and text states of the training clips, computed once."""
        profile = self.profile
        return _stage(
            "encoding",
            {"codec": profile.codec.codec_path, "text": profile.text.digest_fields()}
            | ({"posterior": "sample"} if profile.training.posterior == "sample" else {}),
            lambda *folders: stages.encoding.compute(*folders, profile),
            shard=lambda out, upstream, k, n: stages.encoding.compute_shard(out, upstream, profile, k, n),
            upstream={"corpus": self.corpus()},
            files=codec_files(profile.codec, vocoder=False) + text_files(profile.text),
            label=profile.training_set,
        )

    @_built_once
    def roundtrip(self) -> Stage:
        """Held-out and training clips after codec and vocoder."""
        return self._roundtrip({}, self.profile.training_set)

    @_built_once
    def run_roundtrip(self, n_train: int, draw: int) -> Stage:
        """As many held-out clips as a run has prompts, and the clips of these prompts, after codec and vocoder."""
        profile = self.profile
        run, n_asked = profile.training_run(n_train, draw), profile.generation.n_prompts
        own = self._run(n_train, draw) | {"n_asked": n_asked}
        if n_other := profile.arms.n_other_draw:
            own["n_other_draw"] = n_other
        return self._roundtrip({"run": own}, profile.key(n_train, draw), run, n_asked)

    def _roundtrip(self, own: dict, label: str, *of_run) -> Stage:
        profile = self.profile
        return _stage(
            "roundtrip",
            {"codec": profile.codec.digest_fields()} | own,
            lambda *folders: stages.roundtrip.compute(*folders, profile, *of_run),
            upstream={"corpus": self.corpus()},
            files=codec_files(profile.codec),
            label=label,
            published=() if of_run else ("queries.parquet",),
        )

    @_built_once
    def twins(self, n_train: int, draw: int) -> Stage:
        """The twins null of one training set, after codec and vocoder."""
        profile = self.profile
        config = profile.twins.digest_fields() | self._run(n_train, draw)
        if profile.corpus.kind == "planted":
            config["n_prompts"] = profile.planted.n_prompts
        return _stage(
            "twins",
            {"twins": config, "codec": profile.codec.digest_fields()},
            lambda *folders: stages.twins.compute(*folders, profile, n_train, draw),
            upstream={"corpus": self.corpus()},
            files=(SOUND_PACK, *codec_files(profile.codec)),
            seed=profile.corpus.seed,
            label=profile.key(n_train, draw),
        )

    @_built_once
    def controls(self, n_train: int, draw: int) -> Stage:
        """Clips of known kind for one training set: altered copies, strangers over a known bed, perfect replays."""
        profile = self.profile
        sampler = {name: getattr(profile.generation, name) for name in ("sampler", "steps", "steps_offset")}
        config = {"controls": profile.controls.digest_fields(), "sampler": sampler} | self._run(n_train, draw)
        return _stage(
            "controls",
            config | {"codec": profile.codec.digest_fields()},
            lambda *folders: stages.controls.compute(*folders, profile, n_train, draw),
            upstream={"corpus": self.corpus(), "encoding": self.encoding()},
            files=((SOUND_PACK,) if profile.corpus.mixed else ()) + codec_files(profile.codec),
            seed=profile.controls.seed,
            label=profile.key(n_train, draw),
        )

    @property
    def pooled(self) -> bool:
        """Whether the clips of all runs are searched in all training clips of the corpus."""
        return self.profile.retrieval.gallery == "pool"

    def _run(self, n_train: int, draw: int) -> dict:
        """What decides which clips one training run has."""
        training = self.profile.training
        offsets = {"offsets": list(training.offsets)} if training.offsets else {}
        return {"n_train": n_train, "draw": draw, "subset_seed": training.seed} | offsets

    @_built_once
    def training(self, n_train: int, draw: int) -> Stage:
        """One denoiser, trained on one draw of n_train clips."""
        profile, config = self.profile, self.profile.training_run(n_train, draw)
        mixes = config.mixtures and not config.checkpoint_path
        files = codec_files(profile.codec, vocoder=False) + text_files(profile.text) if mixes else ()
        return _stage(
            "training",
            config.digest_fields(),
            lambda *folders: stages.training.compute(*folders, profile, config),
            upstream={"encoding": self.encoding()} | ({"corpus": self.corpus()} if mixes else {}),
            files=checkpoint_files(config) + files,
            seed=config.seed,
            resumable=True,
            label=self.profile.key(n_train, draw),
            published=("loss.csv",),
        )

    @_built_once
    def denoiser(self) -> Stage:
        """The first denoiser of the smallest training set, at half precision: what readers check a published study by."""
        first = (min(self.profile.sizes), 0)
        return _stage(
            "denoiser",
            {},
            lambda *folders: stages.denoiser.compute(*folders),
            upstream={"training": self.training(*first)},
            label=self.profile.key(*first),
            published=("checkpoints/*.safetensors", "unet.json"),
        )

    @_built_once
    def loss_gap(self, n_train: int, draw: int) -> Stage:
        """The denoising loss of training and of held-out clips at every checkpoint of a run."""
        profile = self.profile
        return _stage(
            "loss_gap",
            self._run(n_train, draw) | {"codec": profile.codec.codec_path},
            lambda *folders: stages.loss_gap.compute(*folders, profile, n_train, draw),
            upstream={"training": self.training(n_train, draw), "encoding": self.encoding(), "corpus": self.corpus()},
            files=codec_files(profile.codec, vocoder=False) + text_files(profile.text),
            seed=profile.training.seed,
            label=profile.key(n_train, draw),
            published=("loss_gap.csv",),
        )

    @_built_once
    def data_free(self, n_train: int, draw: int) -> Stage:
        """How well replayed prompts of a run can be told from others without a search of the training set."""
        profile, generation, limits = self.profile, self.profile.generation, self.profile.thresholds
        sampling = ("sampler", "steps", "steps_offset", "guidance", "precision", "sample_seed", "n_prompts")
        decided = ("confidence", "n_bootstrap", "seed", "theta")
        return _stage(
            "data_free",
            self._run(n_train, draw)
            | {name: getattr(generation, name) for name in sampling}
            | {name: getattr(limits, name) for name in decided}
            | aisfx.weights(profile.retrieval.detectors),
            lambda *folders: stages.data_free.compute(*folders, profile, n_train, draw),
            upstream={
                "corpus": self.corpus(),
                "training": self.training(n_train, draw),
                "retrieval": self.retrieval(n_train, draw),
            },
            files=codec_files(profile.codec) + text_files(profile.text),
            seed=generation.sample_seed,
            label=profile.key(n_train, draw),
            published=("data_free.csv", "prompts.csv"),
        )

    @_built_once
    def generation(self, n_train: int, draw: int, arm: str = MAIN) -> Stage:
        """The clips of one arm of a run."""
        profile = self.profile
        config = list_arms(profile, n_train, draw)[arm]
        return _stage(
            "generation",
            {"generation": config.digest_fields(), "codec": profile.codec.digest_fields(), "arm": arm},
            lambda *folders: stages.generation.compute(*folders, profile, config, arm),
            shard=lambda out, upstream, k, n: stages.generation.compute_shard(
                out, upstream, profile, config, arm, k, n
            ),
            upstream={
                "training": self.training(n_train, draw),
                "encoding": self.encoding(),
                "corpus": self.corpus(),
            },
            files=codec_files(profile.codec) + (text_files(profile.text) if config.prompts == "heldout" else ()),
            seed=config.sample_seed,
            label=f"{profile.key(n_train, draw)}_{arm}",
            published=("queries.parquet", "first_latents.npy") if arm == MAIN else (),
        )

    @_built_once
    def references(self) -> Stage:
        """Embeddings of the clips that every run is compared with, and what a perfect replay of each reaches."""
        profile = self.profile
        return _stage(
            "references",
            profile.retrieval.digest_fields() | aisfx.weights(profile.retrieval.detectors),
            lambda *folders: stages.references.compute(*folders, profile),
            shard=lambda out, upstream, k, n: stages.references.compute_shard(out, upstream, profile, k, n),
            upstream={"corpus": self.corpus()} | ({} if self.pooled else {"roundtrip": self.roundtrip()}),
            files=clap_files(profile.retrieval),
            label=profile.training_set,
            published=() if self.pooled else ("ceiling.parquet",),
            collected_by="scores",
        )

    @_built_once
    def retrieval(self, n_train: int, draw: int) -> Stage:
        """Nearest training and background clips of everything that belongs to one run."""
        profile = self.profile
        clips = {f"generation_{arm}": self.generation(n_train, draw, arm) for arm in list_arms(profile, n_train, draw)}
        kinds = {"roundtrip": "roundtrip"} | dict.fromkeys(clips, "generated")  # in the order of the tables' rows
        if "twins" in profile.nulls:
            clips["twins"], kinds["twins"] = self.twins(n_train, draw), "twins"
        clips["controls"], kinds["controls"] = self.controls(n_train, draw), "controls"
        roundtrip = self.run_roundtrip(n_train, draw) if self.pooled else self.roundtrip()
        common = {"corpus": self.corpus(), "roundtrip": roundtrip}
        if not self.pooled or set(EMBEDDINGS) & set(profile.retrieval.detectors):  # else there is nothing to keep
            common["references"] = self.references()
        return _stage(
            "retrieval",
            profile.retrieval.digest_fields() | self._run(n_train, draw) | aisfx.weights(profile.retrieval.detectors),
            lambda *folders: stages.retrieval.compute(*folders, kinds, profile, n_train, draw),
            upstream=common | clips,
            files=clap_files(profile.retrieval),
            seed=profile.retrieval.seed,
            label=profile.key(n_train, draw),
            published=("*.parquet",),  # what the scores are collected from: so a study can be made run by run
            collected_by="scores",
        )

    @_built_once
    def quality(self, n_train: int, draw: int) -> Stage:
        """How good the clips of every arm of a run are as a set."""
        profile = self.profile
        limits = {name: getattr(profile.thresholds, name) for name in ("confidence", "n_bootstrap", "seed")}
        return _stage(
            "quality",
            limits | {"n_train": n_train, "draw": draw},
            lambda *folders: stages.quality.compute(*folders, profile, n_train, draw),
            upstream={"retrieval": self.retrieval(n_train, draw), "corpus": self.corpus()},
            label=profile.key(n_train, draw),
            published=("quality.csv",),
            collected_by="scores",
        )

    @_built_once
    def clips(self, n_train: int, draw: int) -> Stage:
        """The clips that the book plays, chosen by rank, never by hand."""
        profile, retrieval = self.profile, self.retrieval(n_train, draw)
        return _stage(
            "clips",
            {"n_train": n_train, "draw": draw},
            lambda *folders: stages.clips.compute(*folders, profile, n_train, draw),
            upstream={"retrieval": retrieval, **retrieval.upstream},
            label=profile.key(n_train, draw),
            published=("*.ogg", "gallery.csv"),
        )

    @_built_once
    def prompts(self, n_train: int, draw: int) -> Stage:
        """What every checkpoint of a run made of a few prompts that runs of all sizes share."""
        profile, alike = self.profile, checkpoint_arms(self.profile)
        arms = [arm for arm in list_arms(profile, n_train, draw) if arm in alike]
        return _stage(
            "prompts",
            {"n_train": n_train, "draw": draw, "sizes": list(profile.sizes)},
            lambda *folders: stages.prompts.compute(*folders, profile, n_train, draw),
            upstream={arm: self.generation(n_train, draw, arm) for arm in arms},
            seed=profile.retrieval.seed,
            label=profile.key(n_train, draw),
            published=("*.ogg", "prompts.csv"),
        )

    @_built_once
    def blind(self) -> Stage:
        """Clips of known kind for the first page's pairs, drawn at random."""
        profile = self.profile
        config = {"controls": profile.controls.digest_fields(), "twins": profile.twins.digest_fields()}
        runs = {"sizes": list(profile.sizes), "nulls": list(profile.nulls), "subset_seed": profile.training.seed}
        return _stage(
            "blind",
            config | runs | {"offsets": list(profile.training.offsets), "codec": profile.codec.digest_fields()},
            lambda *folders: stages.blind.compute(*folders, profile),
            upstream={"corpus": self.corpus()},
            files=((SOUND_PACK,) if profile.corpus.mixed else ()) + codec_files(profile.codec),
            seed=profile.retrieval.seed,
            light=True,
            label=profile.training_set,  # its table has the name of other galleries'
            published=("*.ogg", "gallery.csv"),
        )

    @_built_once
    def trajectory(self) -> Stage:
        """How clips come out of noise, by the denoiser that readers have."""
        profile = self.profile
        names = ("sampler", "steps", "steps_offset", "guidance", "precision", "sample_seed")
        sampling = {name: getattr(profile.generation, name) for name in names}
        return _stage(
            "trajectory",
            sampling | {"codec": profile.codec.codec_path, "text": profile.text.digest_fields()},
            lambda *folders: stages.trajectory.compute(*folders, profile),
            upstream={"corpus": self.corpus(), "denoiser": self.denoiser()},
            files=codec_files(profile.codec, vocoder=False) + text_files(profile.text),
            seed=profile.retrieval.seed,
            light=True,
            published=("trajectory.csv", "trajectory.npz"),
        )

    @_built_once
    def alterations(self) -> Stage:
        """How well each detector finds copies by how they were altered, and how strongly."""
        profile = self.profile
        config = profile.retrieval.digest_fields() | aisfx.weights(profile.retrieval.detectors)
        with_clap = "clap" in profile.retrieval.detectors
        if not with_clap:
            del config["clap_path"]
        limits = {"confidence": profile.thresholds.confidence, "n_bootstrap": profile.thresholds.n_bootstrap}
        return _stage(
            "alterations",
            config | limits,
            lambda *folders: stages.alterations.compute(*folders, profile),
            upstream={"corpus": self.corpus()},
            files=clap_files(profile.retrieval) if with_clap else (),
            seed=profile.retrieval.seed,
            published=("alterations.csv", "roc.csv"),
        )

    @_built_once
    def scores(self) -> Stage:
        """The scores and the quality of all runs together: what is published, and what everything after starts from."""
        upstream, training_sets = {}, {}
        for graph in self.variants:
            variant = graph.profile
            parts = {} if self.pooled else {f"ceiling_{variant.corpus.kind}": graph.references()}
            for n, d in variant.runs:
                parts[f"retrieval_{variant.key(n, d)}"] = graph.retrieval(n, d)
                parts[f"quality_{variant.key(n, d)}"] = graph.quality(n, d)
            upstream |= parts
            training_sets |= dict.fromkeys(parts, variant.training_set)
        files = ("scores.parquet", "null.parquet", "background.parquet", "variants.parquet", "queries.parquet")
        return _stage(
            "scores",
            {"keep_own": True} if self.pooled else {},
            lambda *folders: stages.scores.compute(*folders, training_sets, self.pooled),
            upstream=upstream,
            light=True,
            published=(*files, "ceiling.parquet", "quality.csv"),
        )

    @_built_once
    def detection(self) -> Stage:
        """How well each detector tells known copies of every run from clips that only resemble the training set."""
        profile = self.profile
        limits = {name: getattr(profile.thresholds, name) for name in ("confidence", "n_bootstrap", "seed")}
        own = _plan_of_onsets()["detectors"]
        return _stage(
            "detection",
            limits | {"own_bias": own},
            lambda *folders: stages.detection.compute(*folders, profile, own),
            upstream={"scores": self.scores(), "corpus": self.corpus()},
            seed=profile.thresholds.seed,
            light=True,
            published=("detection.csv",),
        )

    @_built_once
    def thresholds(self) -> Stage:
        """Flagged and near-exact shares."""
        profile = self.profile
        upstream = {"scores": self.scores(), "duplicates": self.duplicates(), "corpus": self.corpus()}
        if profile.planted.trained:
            upstream["planted"] = self.planted()
        return _stage(
            "thresholds",
            profile.thresholds.digest_fields(),
            lambda *folders: stages.thresholds.compute(*folders, profile),
            upstream=upstream,
            seed=profile.thresholds.seed,
            light=True,
            published=("replication.csv", "decisions.parquet", "sensitivity.csv", "choices.csv", "strata.csv"),
        )

    @_built_once
    def onset(self) -> Stage:
        """When each run begins to copy, and the scaling relation with the size of the training set."""
        profile = self.profile
        limits = {"confidence": profile.thresholds.confidence, "detector": profile.thresholds.detector}
        sizes = _plan_of_onsets()["exponent"]["sizes"]
        return _stage(
            "onset",
            limits | {"sizes": sizes},
            lambda *folders: stages.onset.compute(*folders, profile, sizes),
            upstream={"thresholds": self.thresholds()},
            light=True,
            published=("onset.csv", "law.csv", "shares.csv"),
        )

    @_built_once
    def dose(self) -> Stage:
        """Replication against the number of copies in the training set; needs a model trained on planted duplicates."""
        profile = self.profile
        limits = {name: getattr(profile.thresholds, name) for name in ("confidence", "n_bootstrap", "seed", "detector")}
        return _stage(
            "dose",
            limits,
            lambda *folders: stages.dose.compute(*folders, profile),
            upstream={"thresholds": self.thresholds(), "planted": self.planted()},
            light=True,
            published=("dose.csv", "dose_trend.csv"),
        )

    @_built_once
    def findings(self) -> Stage:
        """The claims ledger and the summary."""
        profile = self.profile
        upstream = {
            "scores": self.scores(),
            "thresholds": self.thresholds(),
            "detection": self.detection(),
            "alterations": self.alterations(),
            "duplicates": self.duplicates(),
            "onset": self.onset(),
        }
        if profile.planted.trained:
            upstream["dose"] = self.dose()
        return _stage(
            "findings",
            {"profile": profile.name},
            lambda *folders: stages.findings.compute(*folders, profile),
            upstream=upstream,
            light=True,
            files=(PROFILES / "protocol.yml",),
            published=("claims.csv", "summary.json"),
        )
