"""How much work a stage is, by its settings alone: the clips that it makes or judges, what its time grows with, its disk.

A stage is looked at as its manifest describes it: by name, settings and what it is made from.
"""

from helpers.base.settings import MOST_CEILING
from helpers.models.pretrained.locate import is_audioldm
from helpers.study.stage import Stage

GENERATED = ("generation", "twins", "controls")  # whose clips are the queries of a run
MADE_OF = {"retrieval": GENERATED, "quality": ("retrieval",), "scores": ("retrieval",), "thresholds": ("scores",),
           "duplicates": ("corpus", "planted")}  # fmt: skip
OF_PAIRS = ("duplicates",)  # every clip by every other: time grows with the square, memory does not
OF_PARTS = ("encoding", "references", "generation")  # made some clips at a time, which memory does not outgrow
N_TRANSFORMS = 12  # that a copy may have undergone, each at some strengths
COST = {"mel": 1, "mel_centred": 1, "mel_aligned": 2, "clap": 8, "aisfx": 8}  # of a clip, in log-mels
WIDTH = {"clap": 128, "aisfx": 512, "minilm": 384, "flan_t5": 1024}  # numbers of an embedding, of a token's state
# The networks that a stage loads, and the millions of weights of published ones; those made here have a few.
LOADS = {"encoding": ("codec", "text"), "roundtrip": ("codec", "vocoder"), "twins": ("codec", "vocoder"),
         "controls": ("codec", "vocoder"), "generation": ("codec", "vocoder", "text", "denoiser"),
         "training": ("codec", "text", "denoiser"), "loss_gap": ("codec", "text", "denoiser"),
         "data_free": ("codec", "vocoder", "text", "denoiser"), "blind": ("codec", "vocoder"), "denoiser": ("denoiser",),
         "trajectory": ("codec", "text", "denoiser"),
         "references": ("clap",), "retrieval": ("clap",), "alterations": ("clap",)}  # fmt: skip
MILLIONS = {"codec": 55.4, "vocoder": 55.3, "text": 341.2, "clap": 155.0}  # AudioLDM's, FLAN-T5-large, LAION's CLAP
HELD = 512  # clips in memory at a time, of the stages that hold most
# Clips of a stage's own, by its settings and how many training, held-out and background clips its corpus has.
OWN_CLIPS = {
    "corpus": lambda own, *splits: sum(splits),
    "planted": lambda own, *splits: sum(splits),
    "encoding": lambda own, train, *_: train,
    "roundtrip": lambda own, train, heldout, _: 2 * own["run"]["n_asked"] + own["run"].get("n_other_draw", 0) if "run" in own
                 else heldout + min(train, own["codec"]["n_roundtrip"]),
    "twins": lambda own, *_: own["n_twins"],
    "controls": lambda own, *_: own["n_altered"] + own["n_same_bed"] + own["n_empirical"],
    "generation": lambda own, train, heldout, _: own["seeds_per_prompt"] * min(
        own["n_prompts"], heldout if own["prompts"] == "heldout" else own["n_train"]),
    "retrieval": lambda own, train, heldout, _: heldout + min(own["n_train"], MOST_CEILING),
}  # fmt: skip


def clips(stage: Stage) -> int:
    """How many clips a stage makes, or judges; 0 for one that is about none."""
    before = [one for one in stage.upstream.values() if one.name in MADE_OF.get(stage.name, ())]
    made = sum(map(clips, before))
    if stage.name in OWN_CLIPS:  # else it may be of no corpus
        made += OWN_CLIPS[stage.name](stage.config.get(stage.name, stage.config), *_splits(stage))
    return made


def _corpus(stage: Stage) -> Stage:
    return stage if stage.name in ("corpus", "planted") else stage.upstream["corpus"]


def _splits(stage: Stage) -> tuple[int, int, int]:
    config = _corpus(stage).config
    return (
        config.get("planted", config["corpus"])["n_train"],
        config["corpus"]["n_heldout"],
        config["corpus"]["n_background"],
    )


def _references(stage: Stage) -> int:
    train, _, background = _splits(stage)
    return train + background + (clips(stage.upstream["roundtrip"]) if "roundtrip" in stage.upstream else 0)


def size(stage: Stage) -> float:
    """What a stage's time grows with: its clips, times what the network or the detectors do with each; 1 where neither."""
    config = stage.config
    costs = [COST.get(detector, COST["clap"]) for detector in config.get("detectors", ())]
    if stage.name == "training":
        return config["updates"] * config["batch_size"] * _network(config)
    if stage.name == "generation":
        own = config["generation"]
        passes = own["steps"] * (1 if own["guidance"] in (0, 1) else 2)
        return clips(stage) * (4 + passes) * _network(stage.upstream["training"].config)  # 4: to decode
    if stage.name == "references":
        return sum(costs) * _references(stage)
    if stage.name == "retrieval":  # the references' embeddings are kept, their log-mels computed anew
        return sum(costs) * clips(stage) + sum(cost for cost in costs if cost < COST["clap"]) * _references(stage)
    if stage.name == "alterations":
        train = _splits(stage)[0]
        altered = 2 * N_TRANSFORMS * min(config["n_strengths"], 3) * min(config["n_detection"], train)
        return sum(costs) * (train + altered)
    if stage.name in OF_PAIRS:
        return clips(stage) ** 2
    return max(1, clips(stage))


def _network(config: dict) -> float:
    """A denoiser's work on one clip: its channels squared, at a quarter of the positions on each level down."""
    levels = enumerate(config["block_out_channels"])
    return config["layers_per_block"] * sum(channels**2 / 4**level for level, channels in levels)


def _weights(config: dict) -> float:
    """Of a denoiser: fitted to the networks of `tiny` and `pocket`; TANGO's 866 million come out right within 2 %."""
    channels, layers = config["block_out_channels"], config["layers_per_block"]
    return (2 * layers + 1) / 3 * (136.5 * sum(c**2 for c in channels) + 1943 * sum(channels))


def memory(stage: Stage) -> int:
    """Bytes of main memory beside the program's own, where nothing was measured: by the sizes of published networks, as
    float32 and twice while they are read, and of the clips that are held at a time. What grows with a corpus stays on disk.
    """
    loads, weights, before = LOADS.get(stage.name, ()), 0.0, stage
    trained = stage if stage.name == "training" else stage.upstream.get("denoiser", stage).upstream.get("training")
    if trained and "denoiser" in loads:
        weights = _weights(trained.config)
    weights += sum(1e6 * MILLIONS.get(part, 0.0) for part in loads)
    while before.name not in ("corpus", "planted"):
        before = next(iter(before.upstream.values()))
    # a sample as int16, and as float32 three times over
    return round(2 * 4 * weights + 16 * HELD * before.config["corpus"]["clip_samples"])


def _mel(stage: Stage) -> int:
    """Numbers of one clip's log-mel."""
    settings = _corpus(stage).config
    return settings["corpus"]["clip_samples"] // settings["mel"]["hop_length"] * settings["mel"]["n_mels"]


def _latents(encoding: Stage) -> int:
    """Bytes of one clip's latents: a quarter of the log-mel's numbers, AudioLDM's a half."""
    return 4 * _mel(encoding) // (2 if is_audioldm(encoding.config["codec"]) else 4)


def scratch(stage: Stage) -> int:
    """Bytes on the disk beside `disk` while a stage is computed: two states of a training with both moments of its weights, what is
    made in parts twice until it is whole, of a search the log-mels of all references."""
    if stage.name == "training":
        return round(2 * 4 * (3 + (stage.config["ema_decay"] > 0)) * _weights(stage.config))
    if stage.name == "generation":  # latents alone
        return clips(stage) * _latents(stage.upstream["encoding"])
    if stage.name == "retrieval":  # the log-mels of all references, for one detector at a time
        return 4 * _references(stage) * _mel(stage)
    if stage.name == "alterations":  # of the training clips, for all detectors that hear log-mels
        of_mels = [name for name in stage.config["detectors"] if COST[name] < COST["clap"]]
        return 4 * _splits(stage)[0] * _mel(stage) * len(of_mels)
    if stage.name in OF_PAIRS:  # log-mels of the training clips, and of those with planted duplicates
        return 4 * sum(_splits(before)[0] for before in stage.upstream.values()) * _mel(stage)
    return disk(stage) if stage.name in ("encoding", "references") else 0


def disk(stage: Stage) -> int:
    """Bytes of the arrays or weights that a stage keeps, by their shapes; 0 for one that keeps tables only."""
    config = stage.config
    if stage.name == "training":
        return round(4 * _weights(config) * (1 + len({*config["checkpoints"], config["updates"]})))
    if stage.name in ("references", "retrieval"):
        width = sum(WIDTH.get(detector, 0) for detector in config["detectors"])
        return 4 * width * (_references(stage) if stage.name == "references" else clips(stage))
    if stage.name not in ("corpus", "planted", "encoding", "roundtrip", *GENERATED):
        return 0
    if stage.name == "encoding":
        text = config["text"]
        states = text["max_tokens"] * (2 * WIDTH[text["encoder"]] + 1)  # float16, and the mask
        arrays = 2 if config.get("posterior") == "sample" else 1  # deviations beside means
        return clips(stage) * (arrays * _latents(stage) + states)
    samples = _corpus(stage).config["corpus"]["clip_samples"]
    return clips(stage) * (2 * samples + 4 * _mel(stage))  # int16 and float32
