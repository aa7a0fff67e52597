"""The pipeline: which stages there are, what each is made from, and what computes it. Data flows one way.

    corpus → encoding → training → generation(arm) ┐      (training → denoiser → trajectory, for readers)
       ├───→ roundtrip → references ───────────────┼→ retrieval → quality, clips
       ├───→ twins, controls ──────────────────────┘      └→ scores → thresholds → onset, dose, findings
       ├───→ alterations                         └──────────→ detection
       └───→ planted → duplicates

From training to retrieval, quality, clips and prompts there is one stage a training run (n, draw); the rest is one for
all runs.

A stage here is a description (`stage.Stage`); nothing is computed before `store.load_or_run`. `registry` looks them up by
name. Stage X is computed by `stages/X.py:compute`, which is imported only then: to load a result takes no torch.
"""

import functools
from collections.abc import Callable

from helpers import stages
from helpers.base.arms import MAIN, checkpoint_arms, list_arms
from helpers.base.paths import SOUND_PACK
from helpers.base.profile import Profile
from helpers.base.protocol import read_protocol
from helpers.base.settings import EMBEDDINGS, CorpusConfig
from helpers.models import aisfx
from helpers.sound.user_table import READERS_VERSION
from helpers.study.input_files import checkpoint_files, clap_files, codec_files, listing, text_files, user_files
from helpers.study.stage import Stage

VERSIONS: dict[str, int] = {}  # of every stage, as `_stage` is told
# What is published of a study that changes one thing of another.
OF_CHANGED = ("quality", "agreement", "own_scores", "dose_onset")
INTERVALS = ("confidence", "n_bootstrap", "seed")  # settings of thresholds that decide every interval


def _stage(version: int, name: str = "", **facts):
    """Of a `Graph` method that describes a stage: the stage itself, called as the method unless it has another `name`.

    Raise `version` when the same settings give another output: old results are then computed again, and the golden test asks
    for new values. `facts` are fields of `Stage` that all of this name have. A graph builds each of its stages once, so that
    those made from it share it, and its digest; one of a training run is labelled by it.
    """

    def decorate(describe: Callable[..., dict | Stage]) -> Callable[..., Stage]:
        VERSIONS[name or describe.__name__] = version

        @functools.wraps(describe)
        def build(graph: "Graph", *run) -> Stage:
            key = (describe.__name__, *run)
            if key not in graph._built:
                made = describe(graph, *run)
                if isinstance(made, dict):  # else another graph's, which this one shares
                    label = {"label": graph.profile.key(*run[:2])} if run else {}
                    if graph.changed and describe.__name__ not in OF_CHANGED:
                        made["published"] = ()
                    made = Stage(name or describe.__name__, version=version, **facts | label | made)
                graph._built[key] = made
            return graph._built[key]

        return build

    return decorate


def _described(config: dict, compute: Callable, **fields) -> dict:
    """What a method of `Graph` says of its stage: its settings, what computes it, and the other fields of `Stage`."""
    return {"config": config, "compute": compute, **fields}


@functools.cache
def _protocol() -> dict:
    """The plan whose values `detection`, `onset` and `findings` are made by; only these are in their digests, as the plan grows."""
    return read_protocol()


def _corpus_fields(config: CorpusConfig) -> dict:
    """A user's files are known by name, size and content, not by where they lie: manifests are published."""
    return config.digest_fields() | {"path": "", "audio_path": ""}


class Graph:
    """The stages of one profile: `Graph(profile).training(100, 0)`. `variants` are this graph and, where a model is
    trained on planted duplicates, that model's."""

    def __init__(self, profile: Profile, main: "Graph | None" = None):
        self.profile, self._built = profile, {}
        self.of_copies = main is None and profile.corpus.kind == "planted"  # a study of duplicates alone
        self.changed = self.of_copies or bool(profile.intervention)
        if profile.corpus.kind == "planted":  # built beside a main training set, whose other clips it shares
            main = main or Graph(profile.replace_in({"corpus": {"kind": "pocket"}, "generation": {"prompts": "train"}}))
        self._main = main or self

    @functools.cached_property
    def variants(self) -> tuple["Graph", ...]:
        main = self if self.profile.corpus.kind == "pocket" else None
        return (self, *(Graph(other, main) for other in self.profile.variants[1:]))

    def _run(self, n_train: int, draw: int) -> dict:
        """What decides which clips one training run has."""
        training = self.profile.training
        offsets = {"offsets": list(training.offsets)} if training.offsets else {}
        return {"n_train": n_train, "draw": draw, "subset_seed": training.seed} | offsets

    def _search(self) -> dict:
        """What decides how clips are searched."""
        return self.profile.retrieval.digest_fields() | aisfx.weights(self.profile.retrieval.detectors)

    def _encoders(self) -> tuple:
        """The files of what makes latents of clips and states of captions."""
        return codec_files(self.profile.codec, vocoder=False) + text_files(self.profile.text)

    def _pack(self) -> tuple:
        """The recordings, where clips are mixed anew."""
        return (SOUND_PACK,) if self.profile.corpus.mixed else ()

    @_stage(1, published=("clips.parquet",))  # a clip is mixed again where one is played
    def corpus(self):
        """Training, held-out and background clips."""
        config, mel = self.profile.corpus, self.profile.mel
        if config.kind == "planted":
            return self.planted()
        own = {} if config.mixed else {"audio": listing(config), "readers": READERS_VERSION}
        # a user's clips cannot be mixed again: they are no part of a publication, and are read anew where one is restored
        facts = {} if config.mixed else {"published": (), "light": True}
        return _described(
            {"corpus": _corpus_fields(config), "mel": mel.digest_fields()} | own,
            lambda *folders: stages.corpus.compute(*folders, config, mel),
            files=self._pack() or user_files(config),
            seed=config.seed,
            **facts,
        )

    @_stage(2, published=("clips.parquet",), label="main")  # its table has the name of the corpus'
    def planted(self):
        """The training set with planted duplicates, beside the main corpus' held-out and background clips."""
        if self._main is not self:
            return self._main.planted()
        planted, corpus, mel = self.profile.planted, self.profile.corpus, self.profile.mel
        return _described(
            {"planted": planted.digest_fields(), "corpus": _corpus_fields(corpus), "mel": mel.digest_fields()},
            lambda *folders: stages.planted.compute(*folders, planted, corpus, mel),
            upstream={"corpus": self.corpus()},
            files=(SOUND_PACK,),
            seed=planted.seed,
        )

    @_stage(2, published=("*.csv",))
    def duplicates(self):
        """Duplicates found by similarity: planted ones, natural ones among clips and among recordings."""
        return _described(
            {"duplicates": self.profile.duplicates.digest_fields()},
            lambda *folders: stages.duplicates.compute(*folders, self.profile),
            upstream={"corpus": self.corpus(), "planted": self.planted()},
            files=(SOUND_PACK,),
        )

    @_stage(1)
    def encoding(self):
        """Latents and text states of the training clips, computed once."""
        profile = self.profile
        drawn = {"posterior": "sample"} if profile.training.posterior == "sample" else {}
        return _described(
            {"codec": profile.codec.codec_path, "text": profile.text.digest_fields()} | drawn,
            lambda *folders: stages.encoding.compute(*folders, profile),
            shard=lambda out, upstream, k, n: stages.encoding.compute_shard(out, upstream, profile, k, n),
            upstream={"corpus": self.corpus()},
            files=self._encoders(),
            label=profile.training_set,
        )

    @_stage(2, published=("queries.parquet",))
    def roundtrip(self):
        """Held-out and training clips after codec and vocoder."""
        return self._roundtrip({}) | {"label": self.profile.training_set}

    @_stage(VERSIONS["roundtrip"], name="roundtrip")
    def run_roundtrip(self, n_train: int, draw: int):
        """As many held-out clips as a run has prompts, and the clips of these prompts, after codec and vocoder."""
        profile, n_asked = self.profile, self.profile.generation.n_prompts
        own = self._run(n_train, draw) | {"n_asked": n_asked}
        if n_other := profile.arms.n_other_draw:
            own["n_other_draw"] = n_other
        return self._roundtrip({"run": own}, profile.training_run(n_train, draw), n_asked)

    def _roundtrip(self, own: dict, *of_run) -> dict:
        profile = self.profile
        return _described(
            {"codec": profile.codec.digest_fields()} | own,
            lambda *folders: stages.roundtrip.compute(*folders, profile, *of_run),
            upstream={"corpus": self.corpus()},
            files=codec_files(profile.codec),
        )

    @_stage(3)
    def twins(self, n_train: int, draw: int):
        """The twins null of one training set, after codec and vocoder."""
        profile = self.profile
        config = profile.twins.digest_fields() | self._run(n_train, draw)
        if profile.corpus.kind == "planted":
            config["n_prompts"] = profile.generation.n_prompts
        return _described(
            {"twins": config, "codec": profile.codec.digest_fields()},
            lambda *folders: stages.twins.compute(*folders, profile, n_train, draw),
            upstream={"corpus": self.corpus()},
            files=(SOUND_PACK, *codec_files(profile.codec)),
            seed=profile.corpus.seed,
        )

    @_stage(2)
    def controls(self, n_train: int, draw: int):
        """Clips of known kind for one training set: altered copies, strangers over a known bed, perfect replays."""
        profile = self.profile
        sampler = profile.generation.pick("sampler", "steps", "steps_offset")
        config = {"controls": profile.controls.digest_fields(), "sampler": sampler} | self._run(n_train, draw)
        return _described(
            config | {"codec": profile.codec.digest_fields()},
            lambda *folders: stages.controls.compute(*folders, profile, n_train, draw),
            upstream={"corpus": self.corpus(), "encoding": self.encoding()},
            files=self._pack() + codec_files(profile.codec),
            seed=profile.controls.seed,
        )

    @_stage(1, published=("loss.parquet",), resumable=True)
    def training(self, n_train: int, draw: int):
        """One denoiser, trained on one draw of n_train clips."""
        profile, config = self.profile, self.profile.training_run(n_train, draw)
        mixes = config.mixtures and not config.checkpoint_path
        return _described(
            config.digest_fields(),
            lambda *folders: stages.training.compute(*folders, profile, config),
            upstream={"encoding": self.encoding()} | ({"corpus": self.corpus()} if mixes else {}),
            files=checkpoint_files(config) + (self._encoders() if mixes else ()),
            seed=config.seed,
        )

    @_stage(1, published=("checkpoints/*.safetensors", "unet.json"))
    def denoiser(self):
        """The first denoiser of the smallest training set, at half precision: what readers check a published study by."""
        first = (min(self.profile.sizes), 0)
        return _described(
            {},
            lambda *folders: stages.denoiser.compute(*folders),
            upstream={"training": self.training(*first)},
            label=self.profile.key(*first),
        )

    @_stage(1, published=("loss_gap.csv",))
    def loss_gap(self, n_train: int, draw: int):
        """The denoising loss of training and of held-out clips at every checkpoint of a run."""
        profile = self.profile
        return _described(
            self._run(n_train, draw) | {"codec": profile.codec.codec_path},
            lambda *folders: stages.loss_gap.compute(*folders, profile, n_train, draw),
            upstream={"training": self.training(n_train, draw), "encoding": self.encoding(), "corpus": self.corpus()},
            files=self._encoders(),
            seed=profile.training.seed,
        )

    # optional: it needs weights, which not every run still has
    @_stage(1, published=("data_free.csv", "prompts.csv"), optional=True)
    def data_free(self, n_train: int, draw: int):
        """How well replayed prompts of a run can be told from others without a search of the training set."""
        profile, generation = self.profile, self.profile.generation
        return _described(
            self._run(n_train, draw)
            | generation.pick("sampler", "steps", "steps_offset", "guidance", "precision", "sample_seed", "n_prompts")
            | profile.thresholds.pick(*INTERVALS, "theta")
            | aisfx.weights(profile.retrieval.detectors),
            lambda *folders: stages.data_free.compute(*folders, profile, n_train, draw),
            upstream={
                "corpus": self.corpus(),
                "training": self.training(n_train, draw),
                "retrieval": self.retrieval(n_train, draw),
            },
            files=codec_files(profile.codec) + text_files(profile.text),
            seed=generation.sample_seed,
        )

    @_stage(3)
    def generation(self, n_train: int, draw: int, arm: str = MAIN):
        """The clips of one arm of a run."""
        profile = self.profile
        config, run = list_arms(profile, n_train, draw)[arm], profile.training_run(n_train, draw)
        kept = sorted({*run.checkpoints, run.updates})
        if not run.checkpoint_path and config.updates not in (0, *kept):  # of another size's schedule
            raise ValueError(
                f"updates: expected a checkpoint of the run of {n_train} clips, one of {', '.join(map(str, kept))}, or 0, "
                f"got {config.updates}"
            )
        return _described(
            {"generation": config.digest_fields(), "codec": profile.codec.digest_fields(), "arm": arm},
            lambda *folders: stages.generation.compute(*folders, profile, config, arm),
            shard=lambda out, upstream, k, n: stages.generation.compute_shard(
                out, upstream, profile, config, arm, k, n
            ),
            upstream={"training": self.training(n_train, draw), "encoding": self.encoding(), "corpus": self.corpus()},
            files=codec_files(profile.codec) + (text_files(profile.text) if config.prompts == "heldout" else ()),
            seed=config.sample_seed,
            label=f"{profile.key(n_train, draw)}_{arm}",
            published=("queries.parquet", "first_latents.npy") if arm == MAIN else (),
        )

    @_stage(1, collected_by="scores")
    def references(self):
        """Embeddings of the clips that every run is compared with, and what a perfect replay of each reaches."""
        profile = self.profile
        return _described(
            self._search(),
            lambda *folders: stages.references.compute(*folders, profile),
            shard=lambda out, upstream, k, n: stages.references.compute_shard(out, upstream, profile, k, n),
            upstream={"corpus": self.corpus()} | ({} if profile.pooled else {"roundtrip": self.roundtrip()}),
            files=clap_files(profile.retrieval),
            label=profile.training_set,
            published=() if profile.pooled else ("ceiling.parquet",),
        )

    # what the scores are collected from is published: so a study can be made run by run
    @_stage(3, published=("*.parquet",), collected_by="scores")
    def retrieval(self, n_train: int, draw: int):
        """Nearest training and background clips of everything that belongs to one run."""
        profile = self.profile
        clips = {f"generation_{arm}": self.generation(n_train, draw, arm) for arm in list_arms(profile, n_train, draw)}
        kinds = {"roundtrip": "roundtrip"} | dict.fromkeys(clips, "generated")  # in the order of the tables' rows
        if "twins" in profile.nulls:
            clips["twins"], kinds["twins"] = self.twins(n_train, draw), "twins"
        clips["controls"], kinds["controls"] = self.controls(n_train, draw), "controls"
        roundtrip = self.run_roundtrip(n_train, draw) if profile.pooled else self.roundtrip()
        common = {"corpus": self.corpus(), "roundtrip": roundtrip}
        if not profile.pooled or set(EMBEDDINGS) & set(profile.retrieval.detectors):  # else there is nothing to keep
            common["references"] = self.references()
        return _described(
            self._search() | self._run(n_train, draw),
            lambda *folders: stages.retrieval.compute(*folders, kinds, profile, n_train, draw),
            upstream=common | clips,
            files=clap_files(profile.retrieval, captions=True),
            seed=profile.retrieval.seed,
        )

    @_stage(1, published=("own_scores.parquet",))
    def own_scores(self, n_train: int, draw: int):
        """How near the clips of every checkpoint of a run come to their own training clips."""
        profile = self.profile
        return _described(
            {"n_train": n_train, "draw": draw},
            lambda *folders: stages.own_scores.compute(*folders, profile),
            upstream={"retrieval": self.retrieval(n_train, draw)},
        )

    @_stage(2, published=("quality.csv",), collected_by="scores")
    def quality(self, n_train: int, draw: int):
        """How good the clips of every arm of a run are as a set."""
        profile = self.profile
        return _described(
            profile.thresholds.pick(*INTERVALS) | {"n_train": n_train, "draw": draw},
            lambda *folders: stages.quality.compute(*folders, profile, n_train, draw),
            upstream={"retrieval": self.retrieval(n_train, draw), "corpus": self.corpus()},
        )

    @_stage(1, published=("agreement.csv",), optional=True)  # younger than the first changed study
    def agreement(self, n_train: int, draw: int):
        """Whether the clips of a run agree more with their own caption than with another's."""
        profile = self.profile
        return _described(
            profile.thresholds.pick(*INTERVALS) | {"n_train": n_train, "draw": draw},
            lambda *folders: stages.agreement.compute(*folders, profile, n_train, draw),
            upstream={"retrieval": self.retrieval(n_train, draw)},
        )

    # Still 1: what changed since is the gallery of arms that have no prompt in common; no published one of the first study's.
    @_stage(1, published=("*.ogg", "gallery.csv"))
    def clips(self, n_train: int, draw: int):
        """The clips that the book plays, chosen by rank, never by hand."""
        profile, retrieval = self.profile, self.retrieval(n_train, draw)
        return _described(
            {"n_train": n_train, "draw": draw},
            lambda *folders: stages.clips.compute(*folders, profile, n_train, draw),
            upstream={"retrieval": retrieval, **retrieval.upstream},
        )

    @_stage(1, published=("*.ogg", "prompts.csv"))
    def prompts(self, n_train: int, draw: int):
        """What every checkpoint of a run made of a few prompts that runs of all sizes share."""
        profile, alike = self.profile, checkpoint_arms(self.profile)
        arms = [arm for arm in list_arms(profile, n_train, draw) if arm in alike]
        return _described(
            {"n_train": n_train, "draw": draw, "sizes": stages.prompts.sharing_sizes(profile, draw)},
            lambda *folders: stages.prompts.compute(*folders, profile, n_train, draw),
            upstream={arm: self.generation(n_train, draw, arm) for arm in arms},
            seed=profile.retrieval.seed,
        )

    @_stage(1, published=("*.ogg", "gallery.csv"), light=True)
    def blind(self):
        """Clips of known kind for the first page's pairs, drawn at random."""
        profile = self.profile
        config = {"controls": profile.controls.digest_fields(), "twins": profile.twins.digest_fields()}
        runs = {"sizes": list(profile.sizes), "nulls": list(profile.nulls), "subset_seed": profile.training.seed}
        return _described(
            config | runs | {"offsets": list(profile.training.offsets), "codec": profile.codec.digest_fields()},
            lambda *folders: stages.blind.compute(*folders, profile),
            upstream={"corpus": self.corpus()},
            files=self._pack() + codec_files(profile.codec),
            seed=profile.retrieval.seed,
            label=profile.training_set,  # its table has the name of other galleries'
        )

    @_stage(1, published=("trajectory.csv", "trajectory.npz"), light=True)
    def trajectory(self):
        """How clips come out of noise, by the denoiser that readers have."""
        profile = self.profile
        sampling = ("sampler", "steps", "steps_offset", "guidance", "precision", "sample_seed")
        parts = {"codec": profile.codec.codec_path, "text": profile.text.digest_fields()}
        return _described(
            profile.generation.pick(*sampling) | parts,
            lambda *folders: stages.trajectory.compute(*folders, profile),
            upstream={"corpus": self.corpus(), "denoiser": self.denoiser()},
            files=self._encoders(),
            seed=profile.retrieval.seed,
        )

    @_stage(1, published=("alterations.csv", "roc.csv"))
    def alterations(self):
        """How well each detector finds copies by how they were altered, and how strongly."""
        profile, config = self.profile, self._search()
        with_clap = "clap" in profile.retrieval.detectors
        if not with_clap:
            del config["clap_path"]
        return _described(
            config | profile.thresholds.pick("confidence", "n_bootstrap"),
            lambda *folders: stages.alterations.compute(*folders, profile),
            upstream={"corpus": self.corpus()},
            files=clap_files(profile.retrieval) if with_clap else (),
            seed=profile.retrieval.seed,
        )

    @_stage(
        2, light=True,
        published=("scores.parquet", "null.parquet", "background.parquet", "variants.parquet", "queries.parquet",
                   "ceiling.parquet", "quality.csv"),
    )  # fmt: skip
    def scores(self):
        """The scores and the quality of all runs together: what is published, and what everything after starts from."""
        upstream, training_sets, pooled = {}, {}, self.profile.pooled
        for graph in self.variants:
            variant = graph.profile
            parts = {} if pooled else {f"ceiling_{variant.corpus.kind}": graph.references()}
            for n, d in variant.runs:
                parts[f"retrieval_{variant.key(n, d)}"] = graph.retrieval(n, d)
                parts[f"quality_{variant.key(n, d)}"] = graph.quality(n, d)
            upstream |= parts
            training_sets |= dict.fromkeys(parts, variant.training_set)
        return _described(
            {"keep_own": True} if pooled else {},
            lambda *folders: stages.scores.compute(*folders, training_sets, pooled),
            upstream=upstream,
        )

    @_stage(4, published=("detection.csv",), light=True)
    def detection(self):
        """How well each detector tells known copies of every run from clips that only resemble the training set."""
        profile, own = self.profile, _protocol()["detectors"]
        return _described(
            profile.thresholds.pick(*INTERVALS) | {"own_bias": own},
            lambda *folders: stages.detection.compute(*folders, profile, own),
            upstream={"scores": self.scores(), "corpus": self.corpus()},
            seed=profile.thresholds.seed,
        )

    @_stage(
        8, light=True,
        published=("replication.csv", "decisions.parquet", "sensitivity.csv", "choices.csv", "strata.csv"),
    )  # fmt: skip
    def thresholds(self):
        """Flagged and near-exact shares."""
        profile = self.profile
        profile.check_detector()
        upstream = {"scores": self.scores(), "duplicates": self.duplicates(), "corpus": self.corpus()}
        if profile.planted.trained:
            upstream["planted"] = self.planted()
        return _described(
            profile.thresholds.digest_fields(),
            lambda *folders: stages.thresholds.compute(*folders, profile),
            upstream=upstream,
            seed=profile.thresholds.seed,
        )

    @_stage(2, published=("onset.csv", "law.csv", "shares.csv"), light=True)
    def onset(self):
        """When each run begins to copy, and the scaling relation with the size of the training set."""
        profile, sizes = self.profile, _protocol()["exponent"]["sizes"]
        return _described(
            profile.thresholds.pick("confidence", "detector") | {"sizes": sizes},
            lambda *folders: stages.onset.compute(*folders, profile, sizes),
            upstream={"thresholds": self.thresholds()},
        )

    @_stage(4, published=("dose.csv", "dose_trend.csv"), light=True)
    def dose(self):
        """Replication against the number of copies in the training set; needs a model trained on planted duplicates."""
        profile = self.profile
        return _described(
            profile.thresholds.pick(*INTERVALS, "detector"),
            lambda *folders: stages.dose.compute(*folders, profile),
            upstream={"thresholds": self.thresholds(), "planted": self.planted()},
        )

    @_stage(1, published=("dose_shares.csv", "dose_onset.csv", "dose_relation.csv"), light=True)
    def dose_onset(self):
        """When clips with copies begin to be replayed, in a study of planted copies alone."""
        profile, run = self.profile, self.profile.runs[0]
        return _described(
            profile.thresholds.pick(*INTERVALS, "detector", "theta"),
            lambda *folders: stages.dose_onset.compute(*folders, profile),
            upstream={"retrieval": self.retrieval(*run), "quality": self.quality(*run), "planted": self.planted()},
        )

    @_stage(13, published=("claims.csv", "summary.json"), light=True)
    def findings(self):
        """The claims ledger and the summary."""
        profile, rules = self.profile, _protocol()["verdicts"]
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
        return _described(
            {"profile": profile.name, "verdicts": rules},
            lambda *folders: stages.findings.compute(*folders, profile, rules),
            upstream=upstream,
        )
