"""The settings of every stage: one frozen pydantic dataclass each, a *section*, checked on construction.

Fields marked `digest=False` change how fast a result is reached but not the result, and so do not enter a stage's digest.
A field that is added to a section declares `before`, its value that means "as before the field existed": else every
published stage with that section would be stale.
"""

from helpers.base.fields import Checked, option, settings

MAIN_SET, DUPLICATE_SET = "main", "duplicates"  # the training sets: the column `training_set` of result files
ALL = "all"  # in a profile: all training clips
AUDIOCAPS_TRAINING = 45_438  # what TANGO could have of AudioCaps' training split, in April 2023
PACK_RATE_HZ = 16_000  # of the sound pack's recordings, and so of what is mixed of them
CHANNELS = ("mean", "first")  # how a recording is made mono
MP3_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
MOST_CEILING = 500  # training clips after the codec among a run's queries, at most
EMBEDDINGS = ("clap", "aisfx")  # the detectors whose features are small and take long
PLANTED_KINDS = ("exact", "altered")
DETECTORS = ("mel", "mel_centred", "mel_aligned", "clap", "aisfx")  # the last needs an optional package: `make aisfx`


def sha256_option():
    """The first hex digits of the sha256 that published weights must have; empty: not checked. No digest needs it:
    stages hash the files themselves."""
    return option("", unit="first hex digits", digest=False)


@settings
class CorpusConfig(Checked):
    """What clips there are (`corpus`). The pocket corpus mixes recordings of the sound pack; the readers take a user's."""

    kind: str = option("pocket", choices=("pocket", "planted", "audiofolder", "audiocaps"))
    # a user's own data: folder with metadata.csv, or AudioCaps' CSV; relative paths count from the root of the checkout
    path: str = option("")
    audio_path: str = option("")  # AudioCaps: the folder of audio files
    seed: int = option(2024, low=0)
    pilot: bool = option(False)  # mix only recordings of the training split, split again: for tuning
    n_train: int = option(4500, unit="clips", low=2)
    n_heldout: int = option(500, unit="clips", low=1)
    n_background: int = option(500, unit="clips", low=1)
    captions: str = option("specific", choices=("specific", "generic"))
    channel: str = option("mean", choices=CHANNELS, before="mean")  # of a user's files: what makes them mono
    sample_rate_hz: int = option(16_000, unit="Hz", low=8_000, high=48_000)
    clip_samples: int = option(65_536, unit="samples", low=4_096)

    def __post_init__(self):
        for name in {"audiofolder": ["path"], "audiocaps": ["path", "audio_path"]}.get(self.kind, ()):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected where the clips of kind {self.kind} lie, got nothing")
        used = {"path": not self.mixed, "audio_path": self.kind == "audiocaps", "channel": not self.mixed}
        for name, is_used in (used | {"pilot": self.mixed, "captions": self.mixed}).items():
            default, value = self.__dataclass_fields__[name].default, getattr(self, name)
            if not is_used and value != default:
                raise ValueError(
                    f"{name}: expected {default!r}, as clips of kind {self.kind} make no use of it, got {value!r}"
                )
        if self.mixed and self.sample_rate_hz != PACK_RATE_HZ:
            raise ValueError(
                f"sample_rate_hz: expected {PACK_RATE_HZ}, that of the sound pack, got {self.sample_rate_hz}"
            )
        if self.sample_rate_hz not in MP3_RATES_HZ:
            raise ValueError(
                f"sample_rate_hz: expected one of {', '.join(map(str, MP3_RATES_HZ))}, which players take, got {self.sample_rate_hz}"
            )

    @property
    def mixed(self) -> bool:
        """Whether the clips were mixed here, so that they can be mixed anew."""
        return self.kind in ("pocket", "planted")


@settings
class PlantedConfig(Checked):
    """The separate training set with planted duplicates and its truth table (`planted`)."""

    n_train: int = option(4500, unit="clips", low=2)
    groups_per_cell: int = option(30, unit="groups per number of copies and kind", low=1)
    copies: tuple[int, ...] = option((2, 4, 8, 16), unit="copies", low=2, high=128, min_items=1, distinct=True)
    # instead of groups_per_cell, one for each of `copies`: large groups take many clips
    groups: tuple[int, ...] = option((), unit="groups of each kind", low=1, before=())
    kinds: tuple[str, ...] = option(
        PLANTED_KINDS, choices=PLANTED_KINDS, min_items=1, distinct=True, before=PLANTED_KINDS
    )
    seed: int = option(2024, low=0)
    trained: bool = option(False, digest=False)  # whether a model is trained on this set
    n_prompts: int = option(540, unit="clusters of which that model is asked for one clip", low=2, digest=False)
    n_seeds: int = option(4, unit="seeds for each of those", low=1, digest=False)

    def __post_init__(self):
        if self.groups and len(self.groups) != len(self.copies):
            raise ValueError(f"groups: expected one number for each of copies {self.copies}, got {self.groups}")
        planted = len(self.kinds) * sum(copies * groups for copies, groups in self.cells)
        if planted > self.n_train:
            lower = "groups" if self.groups else "groups_per_cell"
            raise ValueError(
                f"n_train: expected at least the {planted} planted copies, got {self.n_train}; lower {lower}"
            )

    @property
    def cells(self) -> tuple[tuple[int, int], ...]:
        """Every number of copies, and how many groups of it there are of each kind."""
        return tuple(zip(self.copies, self.groups or [self.groups_per_cell] * len(self.copies)))


@settings
class DuplicatesConfig(Checked):
    """How alike two clips, or two recordings, must be to be called duplicates (`duplicates`). Centred log-mel cosine."""

    clip_threshold: float = option(0.95, unit="centred cosine", low=0.0, high=1.0)
    recording_threshold: float = option(0.95, unit="centred cosine", low=0.0, high=1.0)
    recording_frames: int = option(24, unit="frames of a recording's beginning compared", low=8, high=1024)
    correlation_threshold: float = option(0.9, unit="waveform correlation", low=0.0, high=1.0)


@settings
class MelConfig(Checked):
    """The log-mel front end: TANGO's, with a hop of 256 at pocket scale so that a clip has 256 frames."""

    n_fft: int = option(1024, unit="samples", low=64)
    hop_length: int = option(256, unit="samples", low=16)
    n_mels: int = option(64, unit="bands", low=8, high=256)
    fmin_hz: float = option(0.0, unit="Hz", low=0.0)
    fmax_hz: float = option(8000.0, unit="Hz", low=100.0)

    def __post_init__(self):
        if self.fmin_hz >= self.fmax_hz:
            raise ValueError(f"fmin_hz: expected below fmax_hz = {self.fmax_hz}, got {self.fmin_hz}")


@settings
class CodecConfig(Checked):
    """The frozen codec and vocoder and how clips go through them (`encoding`, `roundtrip`, `twins`)."""

    codec_path: str = option("models/codec")  # a folder, or `hub:cvssp/audioldm` (see `models.pretrained.locate`)
    codec_sha256: str = sha256_option()
    vocoder: str = option("vocos", choices=("vocos", "griffin_lim", "hifigan"))
    vocoder_path: str = option("models/vocoder", digest=False)  # of a network; the digest has the contents
    vocoder_sha256: str = sha256_option()
    griffin_lim_iterations: int = option(32, unit="iterations", low=1, high=512)
    n_roundtrip: int = option(500, unit="training clips round-tripped for the ceiling", low=1)
    batch_size: int = option(32, unit="clips", low=1, digest=False)


@settings
class TextConfig(Checked):
    """The frozen text encoder (`encoding`)."""

    encoder: str = option("minilm", choices=("minilm", "flan_t5"))
    encoder_path: str = option("hub:google/flan-t5-large", digest=False)  # of flan_t5; the digest has the contents
    encoder_weights_path: str = option("", digest=False)  # TANGO's folder: the encoder's weights are in its checkpoint
    encoder_sha256: str = sha256_option()
    max_tokens: int = option(48, unit="tokens", low=4, high=256)


@settings
class TrainingConfig(Checked):
    """One denoiser (`training`): TANGO's objective on a UNet2DConditionModel, one run per (n_train, draw)."""

    n_train: int = option(100, unit="clips", low=2)
    draw: int = option(0, unit="index of the subset and seed", low=0)
    seed: int = option(2024, low=0)
    # Where each draw begins in one permutation of the pool, so that draws are nested by size and, as far apart as they
    # begin, disjoint; empty: the first clips, and a permutation of its own for each further draw.
    offsets: tuple[int, ...] = option((), unit="clips", low=0, before=())
    updates: int = option(5625, unit="updates", low=1)
    checkpoints: tuple[int, ...] = option(
        (125, 350, 625, 1400, 2800, 5625), unit="updates", low=1, min_items=1, distinct=True
    )
    keep_raw: bool = option(False, before=False)  # at every checkpoint also the weights that were not averaged
    batch_size: int = option(32, unit="clips", low=1)
    learning_rate: float = option(1e-3, low=1e-7, high=1.0)
    warmup_updates: int = option(100, unit="updates", low=0)
    weight_decay: float = option(1e-2, low=0.0, high=1.0)
    schedule: str = option("constant", choices=("constant", "linear", "cosine"))
    ema_decay: float = option(0.995, low=0.0, high=0.99999)
    caption_dropout: float = option(0.1, low=0.0, high=1.0)
    min_snr_gamma: float = option(5.0, low=0.1, high=100.0)
    block_out_channels: tuple[int, ...] = option((32, 64, 160), unit="channels", low=8, min_items=1)
    layers_per_block: int = option(1, low=1, high=4)
    attention_head_dim: int = option(32, low=4)
    precision: str = option("auto", choices=("auto", "bf16", "no"))  # auto: bf16 where the processor computes with it
    # of the learning rate, what is left after the last update of a linear schedule
    final_rate: float = option(0.0, unit="of learning_rate", low=0.0, high=0.99, before=0.0)
    posterior: str = option("mode", choices=("mode", "sample"), before="mode")  # a clip's latent: fixed, or drawn anew
    mixtures: bool = option(False, before=False)  # of every two clips of a batch one more, as TANGO mixes them
    # of the clips of a batch, mixtures apart, the share whose caption is drawn from the training set (Somepalli et al., 2023)
    caption_randomisation: float = option(0.0, low=0.0, high=1.0, before=0.0)
    micro_batch: int = option(0, unit="clips in memory at a time; 0 = the whole batch", low=0, digest=False)
    gradient_checkpointing: bool = option(False, digest=False)  # a third more time, a fraction of the memory
    compiled: bool = option(False, digest=False)  # torch.compile: faster steps after minutes of compiling
    architecture: str = option("scaled", choices=("scaled", "tango"))
    checkpoint_path: str = option("", digest=False)  # TANGO's folder: its weights are loaded, nothing is trained
    checkpoint_sha256: str = sha256_option()

    def __post_init__(self):
        if max(self.checkpoints) > self.updates:
            raise ValueError(f"checkpoints: expected at most updates = {self.updates}, got {max(self.checkpoints)}")
        if self.final_rate and self.schedule != "linear":
            raise ValueError(f"final_rate: expected 0 with schedule {self.schedule}, got {self.final_rate}")
        if self.mixtures and self.batch_size % 2:
            raise ValueError(
                f"batch_size: expected an even number, as mixtures are of two clips, got {self.batch_size}"
            )
        if any(channels % self.attention_head_dim for channels in self.block_out_channels):
            raise ValueError(
                f"attention_head_dim: expected a divisor of each of {self.block_out_channels}, got {self.attention_head_dim}"
            )


@settings
class GenerationConfig(Checked):
    """Generation with the training prompts (`generation`): a sampler with classifier-free guidance."""

    n_train: int = option(100, unit="clips", low=2)
    draw: int = option(0, low=0)
    updates: int = option(0, unit="updates of the checkpoint; 0 = the last", low=0)
    n_prompts: int = option(4500, unit="training prompts at most", low=1)
    seeds_per_prompt: int = option(1, unit="clips per prompt", low=1, high=1000)
    sample_seed: int = option(2024, low=0)
    steps: int = option(20, unit="solver steps", low=2, high=1000)
    guidance: float = option(2.0, low=0.0, high=30.0)  # TANGO uses 3, which brings many of these clips to full scale
    weights: str = option("ema", choices=("ema", "raw"))  # averaged, or as after the last update
    # clusters: one of each group of copies; other_draw: the training captions of another draw of the same size
    prompts: str = option("train", choices=("train", "heldout", "clusters", "other_draw"))
    sampler: str = option("dpm_solver", choices=("dpm_solver", "ddpm"))
    steps_offset: int = option(1, unit="added to ddpm's timesteps", low=0, high=1)
    precision: str = option("no", choices=("bf16", "tf32", "no"), before="no")  # of the network; the solver has float32
    # the largest cosine to a training latent that a step may predict (`models.similarity_cap`); 1 = any
    max_similarity: float = option(1.0, low=0.0, high=1.0, before=1.0)
    batch_size: int = option(32, unit="clips", low=1, digest=False)


@settings
class ArmsConfig(Checked):
    """What each model generates beside its main clips (`generation`): other checkpoints, weights, prompts, guidance, seeds."""

    n_checkpoint: int = option(250, unit="training prompts at each earlier checkpoint; 0 = none", low=0)
    # Of each size the checkpoint after so many epochs asks for as many clips as the main arm: the other reading of equal
    # training.
    equal_epochs: int = option(0, unit="epochs; 0 = none", low=0)
    n_raw: int = option(250, unit="training prompts with the weights that were not averaged; 0 = none", low=0)
    n_heldout: int = option(250, unit="held-out prompts; 0 = none", low=0)
    n_heldout_checkpoint: int = option(0, unit="held-out prompts at each earlier checkpoint; 0 = none", low=0)
    n_other_draw: int = option(0, unit="training prompts of another draw, with training.offsets; 0 = none", low=0)
    n_guidance: int = option(250, unit="training prompts at each other guidance; 0 = none", low=0)
    guidances: tuple[float, ...] = option((1.0, 3.0, 5.0), low=0.0, high=30.0, distinct=True)
    guidance_size: int = option(500, unit="training clips of the run that compares guidance", low=2)
    n_seed_prompts: int = option(50, unit="training prompts with several seeds; 0 = none", low=0)
    n_seeds: int = option(8, unit="seeds for each of those", low=2, high=1000)


@settings
class ControlsConfig(Checked):
    """Clips of known kind beside the generated ones (`controls`): copies, strangers over a known bed, perfect replays."""

    n_altered: int = option(200, unit="altered training clips", low=0)
    n_same_bed: int = option(200, unit="clips with a training clip's bed under other events", low=0)
    n_empirical: int = option(50, unit="clips of the exact empirical denoiser", low=0)
    seed: int = option(2024, low=0)


@settings
class TwinsConfig(Checked):
    """The twins null of one training set (`twins`): its captions rendered anew, then round-tripped."""

    n_train: int = option(100, unit="clips", low=2)
    draw: int = option(0, low=0)
    n_twins: int = option(1000, unit="twins", low=20)


@settings
class RetrievalConfig(Checked):
    """Nearest training clips of every query by each detector (`retrieval`), and altered copies (`detection`)."""

    detectors: tuple[str, ...] = option(
        ("mel", "mel_centred", "mel_aligned", "clap"), choices=DETECTORS, min_items=1, distinct=True
    )
    clap_path: str = option("models/clap")  # a folder made here, or LAION's .pt (also `hub:lukewys/laion_clap/<file>`)
    clap_sha256: str = sha256_option()
    # What a run's clips are searched in: its own training clips, or all training clips of the corpus, the same for every
    # run. In the pool a score means the same at every size; only a run's main arms are then searched in full.
    gallery: str = option("run", choices=("run", "pool"), before="run")
    top_k: int = option(5, unit="neighbours kept", low=1, high=1000)
    k_max: int = option(10, unit="background neighbours kept", low=1, high=1000)
    max_shift_s: float = option(0.5, unit="s either way, of mel_aligned", low=0.0, high=1.5)
    n_candidates: int = option(32, unit="clips compared frame by frame by mel_aligned", low=1, high=1000)
    n_detection: int = option(200, unit="positives, and negatives, per alteration", low=10)
    n_strengths: int = option(3, unit="strengths per alteration", low=1, high=10)
    seed: int = option(2024, low=0)

    def max_shift(self, sample_rate_hz: int, hop_length: int) -> int:
        """`max_shift_s` in frames."""
        return round(self.max_shift_s * sample_rate_hz / hop_length)


@settings
class ThresholdsConfig(Checked):
    """From scores to decisions (`thresholds`)."""

    detector: str = option("mel", choices=DETECTORS)
    beta: float = option(0.5, unit="weight of the bias", low=0.0, high=2.0)
    k: int = option(10, unit="background neighbours", low=1, high=1000)
    fpr: float = option(0.05, unit="false-positive rate on the twins", low=1e-4, high=0.5)
    further_fprs: tuple[float, ...] = option(
        (0.01, 0.001), unit="false-positive rates shown beside it", low=1e-4, high=0.5, distinct=True
    )
    theta: float = option(0.69, unit="position between null and ceiling, for near-exact by rule", low=0.0, high=1.0)
    betas: tuple[float, ...] = option((0.0, 0.25, 0.5, 0.75, 1.0), low=0.0, high=2.0, min_items=1, distinct=True)
    ks: tuple[int, ...] = option((1, 3, 5, 10), low=1, high=1000, min_items=1, distinct=True)
    n_bootstrap: int = option(1000, unit="resamples", low=100, high=100_000)
    confidence: float = option(0.95, low=0.5, high=0.999)
    seed: int = option(2024, low=0)
    labels: str = option(
        "", unit="a CSV of the listening lab or a folder of such, shown beside the detectors", digest=False
    )
