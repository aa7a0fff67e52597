"""A profile: all sections of settings under one name, with the training runs of the study, checked together."""

import dataclasses

from helpers.base.fields import option, settings
from helpers.base.settings import (
    DUPLICATE_SET,
    MAIN_SET,
    ArmsConfig,
    CodecConfig,
    ControlsConfig,
    CorpusConfig,
    DuplicatesConfig,
    GenerationConfig,
    MelConfig,
    PlantedConfig,
    RetrievalConfig,
    TextConfig,
    ThresholdsConfig,
    TrainingConfig,
    TwinsConfig,
)


@settings
class Profile:
    """Every stage's configuration under one name. `sizes` and `draws` say which training runs there are, `schedules`, if
    any, the checkpoints of each size, the last of which ends the run. `intervention`, if any, says in words what this study
    changes in its base to prevent copying; of such a study little is published."""

    name: str
    sizes: tuple[int, ...] = option((), unit="clips", low=2, min_items=1, distinct=True)
    draws: tuple[int, ...] = option((), unit="draws", low=1, min_items=1)
    schedules: tuple[tuple[int, ...], ...] = ()
    intervention: str = ""
    corpus: CorpusConfig = CorpusConfig()
    planted: PlantedConfig = PlantedConfig()
    duplicates: DuplicatesConfig = DuplicatesConfig()
    mel: MelConfig = MelConfig()
    codec: CodecConfig = CodecConfig()
    text: TextConfig = TextConfig()
    training: TrainingConfig = TrainingConfig()
    generation: GenerationConfig = GenerationConfig()
    arms: ArmsConfig = ArmsConfig()
    twins: TwinsConfig = TwinsConfig()
    controls: ControlsConfig = ControlsConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    thresholds: ThresholdsConfig = ThresholdsConfig()

    @property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """Every (n_train, draw) of the study."""
        return tuple((n, d) for n, count in zip(self.sizes, self.draws) for d in range(count))

    @property
    def pooled(self) -> bool:
        """Whether the clips of all runs are searched in all training clips of the corpus, and judged by their own clips."""
        return self.retrieval.gallery == "pool"

    def training_run(self, n_train: int, draw: int) -> TrainingConfig:
        """The settings of one training run."""
        run = dataclasses.replace(self.training, n_train=n_train, draw=draw)
        schedule = dict(zip(self.sizes, self.schedules)).get(n_train)
        return dataclasses.replace(run, checkpoints=schedule, updates=schedule[-1]) if schedule else run

    def key(self, n_train: int, draw: int) -> str:
        """The name of one training run in stage keys, folders and query ids, e.g. n100_d0; dup4500_d0 with duplicates."""
        return f"{'dup' if self.corpus.kind == 'planted' else 'n'}{n_train}_d{draw}"

    @property
    def training_set(self) -> str:
        """The training set that this profile is of, `MAIN_SET` or, with planted duplicates, `DUPLICATE_SET`."""
        return DUPLICATE_SET if self.corpus.kind == "planted" else MAIN_SET

    def with_duplicates(self) -> "Profile":
        """The profile of the model that is trained on the set with planted duplicates: one run, a few clips a cluster."""
        asked = {"n_prompts": self.planted.n_prompts, "seeds_per_prompt": self.planted.n_seeds}
        arms = ("n_checkpoint", "n_raw", "n_heldout", "n_heldout_checkpoint", "n_other_draw", "n_guidance",
                "n_seed_prompts")  # fmt: skip
        changes: dict[str, dict] = {
            "corpus": {"kind": "planted"},
            "generation": {"prompts": "clusters"} | asked,
            "arms": dict.fromkeys(arms, 0),
            "controls": {"n_empirical": 0},
        }
        sections: dict = {name: dataclasses.replace(getattr(self, name), **some) for name, some in changes.items()}
        return dataclasses.replace(self, sizes=(self.planted.n_train,), draws=(1,), schedules=(), **sections)

    @property
    def variants(self) -> "tuple[Profile, ...]":
        """This profile and, where a model is trained on planted duplicates, that model's."""
        return (self, self.with_duplicates()) if self.planted.trained else (self,)

    @property
    def nulls(self) -> tuple[str, ...]:
        """The nulls that this corpus can have, the one that sets tau first. Twins need recordings to mix anew."""
        return ("twins", "heldout") if self.corpus.mixed else ("heldout",)

    def __post_init__(self):
        if len(self.sizes) != len(self.draws):
            raise ValueError(f"draws: expected one number for each of sizes {self.sizes}, got {self.draws}")
        if self.schedules and len(self.schedules) != len(self.sizes):
            raise ValueError(f"schedules: expected one for each of sizes {self.sizes}, got {len(self.schedules)}")
        for schedule in self.schedules:
            if not schedule or list(schedule) != sorted(set(schedule)):
                raise ValueError(f"schedules: expected growing numbers of updates, got {list(schedule)}")
        if self.training.offsets and len(self.training.offsets) < max(self.draws):
            raise ValueError(f"offsets: expected one for each of {max(self.draws)} draws, got {self.training.offsets}")
        if self.arms.n_other_draw and not (self.training.offsets and 2 * max(self.sizes) <= self.corpus.n_train):
            raise ValueError(
                "n_other_draw: expected 0, or training.offsets and twice as many clips in the pool as the largest size "
                f"({max(self.sizes)}), as no clip may be in both draws, got {self.arms.n_other_draw}"
            )
        if max(self.sizes) > self.corpus.n_train:
            raise ValueError(f"sizes: expected at most corpus.n_train = {self.corpus.n_train}, got {max(self.sizes)}")
        if self.planted.trained and not self.corpus.mixed:
            raise ValueError(
                f"planted.trained: expected false for clips that were not mixed here (corpus.kind {self.corpus.kind!r}), got true; "
                "`planted: {trained: false}` in the profile says so"
            )
        on_copies = self.planted.trained or self.corpus.kind == "planted"
        if on_copies and self.planted.n_train != self.corpus.n_train:
            raise ValueError(
                f"planted.n_train: expected corpus.n_train = {self.corpus.n_train}, as a model is trained on that set, "
                f"got {self.planted.n_train}"
            )
        if self.corpus.kind == "planted" and self.sizes != (self.corpus.n_train,):
            raise ValueError(
                f"sizes: expected corpus.n_train = {self.corpus.n_train} alone, as copies are counted in the whole planted set, "
                f"got {self.sizes}"
            )
        if self.corpus.n_heldout < 3:
            raise ValueError(
                f"n_heldout: expected at least 3, as a null is split in three, got {self.corpus.n_heldout}"
            )
        for name, k in (("k", self.thresholds.k), ("ks", max(self.thresholds.ks))):
            if k > min(self.retrieval.k_max, self.corpus.n_background):
                raise ValueError(
                    f"{name}: expected at most retrieval.k_max = {self.retrieval.k_max} and the "
                    f"{self.corpus.n_background} background clips, got {k}"
                )
        self._check_generation()
        if self.training.checkpoint_path and len(self.runs) > 1:
            raise ValueError(f"sizes: expected one run, as training.checkpoint_path is one model, got {self.runs}")
        if self.corpus.clip_samples % self.mel.hop_length:
            raise ValueError(
                f"clip_samples: expected a multiple of hop_length = {self.mel.hop_length}, got {self.corpus.clip_samples}"
            )
        if self.corpus.clip_samples < self.mel.n_fft:
            raise ValueError(
                f"clip_samples: expected at least n_fft = {self.mel.n_fft}, got {self.corpus.clip_samples}"
            )
        frames = self.corpus.clip_samples // self.mel.hop_length
        shift = self.retrieval.max_shift(self.corpus.sample_rate_hz, self.mel.hop_length)
        if "mel_aligned" in self.retrieval.detectors and not shift < frames / 2:
            raise ValueError(
                f"max_shift_s: expected less than half of a clip, {frames} frames, for mel_aligned, got "
                f"{self.retrieval.max_shift_s} ({shift} frames)"
            )
        if self.mel.fmax_hz > self.corpus.sample_rate_hz / 2:
            raise ValueError(
                f"fmax_hz: expected at most half of sample_rate_hz = {self.corpus.sample_rate_hz}, got {self.mel.fmax_hz}"
            )

    def check_detector(self):
        """Raises ValueError where thresholds are asked of a detector that this profile does not search by."""
        if self.thresholds.detector not in self.retrieval.detectors:
            raise ValueError(
                f"detector: expected one that profile {self.name} retrieves by ({', '.join(self.retrieval.detectors)}), "
                f"got {self.thresholds.detector!r}"
            )

    def _check_generation(self):
        """What is asked for must be there: a kept checkpoint, weights that were kept with it, groups of copies."""
        run = self.training_run(self.generation.n_train, self.generation.draw)
        updates, last = self.generation.updates, run.updates
        kept = sorted({last} if run.checkpoint_path else {*run.checkpoints, last})
        if updates not in (0, *kept):
            raise ValueError(f"updates: expected a checkpoint, one of {', '.join(map(str, kept))}, or 0, got {updates}")
        if self.generation.weights == "raw" and not run.keep_raw and updates not in (0, last):
            raise ValueError(
                f"updates: expected 0 or {last}, as raw weights are kept after the last alone, got {updates}"
            )
        if self.generation.prompts != (expected := "clusters" if self.training_set == DUPLICATE_SET else "train"):
            raise ValueError(
                f"prompts: expected {expected} for the main clips of this corpus ({self.corpus.kind}), got "
                f"{self.generation.prompts!r}; the arms have the others (arms.n_heldout, arms.n_other_draw)"
            )

    def replace(self, section: str, **changes) -> "Profile":
        """The same profile with some fields of one section changed and checked; errors as `replace_in`."""
        return self.replace_in({section: changes})

    def replace_in(self, changes: dict[str, dict]) -> "Profile":
        """The same profile with some fields of some sections changed, by section, and checked together.

        Raises ValueError for an unknown field, and ValueError or TypeError for a value that the settings refuse.
        """
        replaced = {}
        for section, values in changes.items():
            own = getattr(self, section)
            known = [f.name for f in dataclasses.fields(own)]
            if unknown := [name for name in values if name not in known]:
                raise ValueError(f"{unknown[0]}: unknown parameter; expected one of {', '.join(known)}")
            replaced[section] = dataclasses.replace(own, **values)
        return dataclasses.replace(self, **replaced)
