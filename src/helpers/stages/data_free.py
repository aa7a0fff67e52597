"""The data_free stage: how well replayed prompts can be told without a search of the training set.

A prompt is *replayed* if at least three of four clips made from it are near-exact by mel and, by a second detector, as near
to their own clip as nine of ten perfect replays are to theirs. (Nearer than 99 of 100 twins would ask too much of aisfx:
half of the perfect replays are not.) Negatives are prompts of held-out clips, asked of the same model. Prompts
of training clips that are not replayed belong to neither: they are counted, and left out.

Notebook: 09_data_free.
"""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.profile import Profile
from helpers.base.room import scratch_in
from helpers.base.seeds import seed_of
from helpers.copies.detection_metrics import detection_row
from helpers.copies.reference_features import build_detectors
from helpers.copies.replication import near_exact, own_positions
from helpers.models.codec import load_codec
from helpers.models.denoiser import denoising_losses, load_unet
from helpers.models.replay_signs import Signs, generate_with_signs
from helpers.models.synthesis import decode_and_vocode
from helpers.models.text import encode_captions
from helpers.sound.corpus import Corpus, load_corpus, spread, subset

N_PROMPTS = 100  # of either kind: a false-positive rate of 1 % needs as many negatives
N_SEEDS, N_REPLAYED = 4, 3
REPLAYS_BELOW = 0.1  # of perfect replays, by the second detector
LOSS_LEVELS = (100, 300, 500, 700)  # timesteps of the schedule's 1,000
NEEDS = dict.fromkeys(Signs._fields, "nothing") | {"loss": "the clip", "mel": "the clip; defines the truth"}
COLUMNS = ("method", "needs", "n_train", "draw", "updates", "positives", "negatives", "neither",
           "auroc", "low", "high", "tpr_at_fpr_1pct", "seconds_a_clip")  # fmt: skip


def compute(out: Path, upstream: dict[str, Path], profile: Profile, n_train: int, draw: int) -> None:
    """Writes data_free.csv (`COLUMNS`, a row a method) and prompts.csv, a row a prompt: kind (train or heldout), clip_id,
    caption, replayed, and the score by each method, the mean over its clips; greater means replayed.

    The methods are `replay_signs.Signs`, which need the model alone; `loss`, minus the denoising loss of the prompt's own
    clip (this is membership: one must have the clip of which one asks); and `mel`, the similarity to the own clip. Fewer
    than two replayed prompts leave the columns from `auroc` on empty. Raises ValueError where guidance is 0 or 1.
    """
    data, codec = load_corpus(upstream["corpus"]), load_codec(profile.codec.codec_path, profile.codec.codec_sha256)
    run = profile.training_run(n_train, draw)
    asked_before = spread(subset(run, profile.corpus.n_train), profile.generation.n_prompts)  # whose ceiling is known
    asked = {"train": data.rows("train")[spread(asked_before, N_PROMPTS)], "heldout": data.rows("heldout")[:N_PROMPTS]}
    rows, kind = np.concatenate(list(asked.values())), np.repeat(list(asked), [len(part) for part in asked.values()])
    captions, own = data.clips["caption"].iloc[rows].tolist(), codec.encode(np.asarray(data.mels[rows]))
    (states, mask), null = encode_captions(captions, profile.text), encode_captions([""], profile.text)
    unet = load_unet(upstream["training"], run.updates)
    config = dataclasses.replace(profile.generation, n_train=n_train, draw=draw)
    seeds = [seed_of(config.sample_seed, "data_free", int(row), repeat) for row in rows for repeat in range(N_SEEDS)]
    text = (np.repeat(states, N_SEEDS, 0), np.repeat(mask, N_SEEDS, 0))
    latents, signs, seconds = generate_with_signs(unet, text, (null[0][0], null[1][0]), seeds, config, own.shape[1:])
    scores = {name: values.reshape(-1, N_SEEDS).mean(1) for name, values in signs._asdict().items()}
    started = time.perf_counter()
    scores["loss"] = -denoising_losses(unet, own, states, mask, LOSS_LEVELS, profile.training.seed).mean(0)
    seconds["loss"] = (time.perf_counter() - started) / len(rows)
    with scratch_in(out) as scratch:
        decode_and_vocode(Path(scratch), len(latents), lambda part: codec.decode(latents[part]), profile, "decoding")
        similar = _own_similarities(np.load(Path(scratch) / "audio.npy", mmap_mode="r"), data, rows, profile)
    scores["mel"] = similar["mel"].reshape(-1, N_SEEDS).mean(1)
    ids = data.clips["clip_id"].to_numpy()[rows]
    replayed = (kind == "train") & _replayed(similar, ids, upstream["retrieval"], profile)
    prompts = pd.DataFrame({"kind": kind, "clip_id": ids, "caption": captions, "replayed": replayed} | scores)
    prompts.to_csv(out / "prompts.csv", index=False)
    of_run = {"n_train": n_train, "draw": draw, "updates": run.updates}
    _detection(prompts, seconds, profile).assign(**of_run)[list(COLUMNS)].to_csv(out / "data_free.csv", index=False)


def _own_similarities(audio: np.ndarray, data: Corpus, rows: np.ndarray, profile: Profile) -> dict[str, np.ndarray]:
    """Similarity [Q] of each generated clip to its own clip by mel and, where the profile has one, by an embedding."""
    second = [name for name in ("aisfx", "clap") if name in profile.retrieval.detectors][:1]
    retrieval = dataclasses.replace(profile.retrieval, detectors=("mel", *second))
    detectors = build_detectors(dataclasses.replace(profile, retrieval=retrieval), data)
    sounds = np.stack([np.asarray(data.audio[row]) for row in rows])
    return {
        name: detectors.similarity(
            name, detectors.features(name, audio), np.repeat(detectors.features(name, sounds), N_SEEDS, 0)
        )
        for name in retrieval.detectors
    }


def _replayed(similar: dict[str, np.ndarray], ids: np.ndarray, retrieval: Path, profile: Profile) -> np.ndarray:
    """Whether each prompt is replayed, bool; False where its position is undefined."""
    null = pd.read_parquet(retrieval / "null.parquet", columns=["detector", "kind", "own_id", "rank", "own_score"])
    null = null[null["rank"] == 1]
    twins, ceiling = (null[null["kind"] == kind].set_index("detector") for kind in ("twins", "ceiling"))
    own = ceiling.loc[["mel"]].set_index("own_id")["own_score"]
    where = own_positions(similar["mel"], np.repeat(ids, N_SEEDS), own, twins.loc[["mel"], "own_score"])
    found = np.asarray(near_exact(where, profile.thresholds.theta).fillna(False), dtype=bool)
    for name in similar.keys() - {"mel"}:
        found &= similar[name] >= ceiling.loc[[name], "own_score"].quantile(REPLAYS_BELOW)
    return found.reshape(-1, N_SEEDS).sum(1) >= N_REPLAYED


def _detection(prompts: pd.DataFrame, seconds: dict[str, float], profile: Profile) -> pd.DataFrame:
    limits, rows = profile.thresholds, []
    positive, negative = prompts[prompts["replayed"]], prompts[prompts["kind"] == "heldout"]
    counts = {"positives": len(positive), "negatives": len(negative)}
    counts["neither"] = len(prompts) - sum(counts.values())
    for method, needs in NEEDS.items():
        row = {"method": method, "needs": needs, "seconds_a_clip": seconds.get(method)} | counts
        if len(positive) > 1:
            found = detection_row(
                method, "", 0, "", positive[method].to_numpy(), negative[method].to_numpy(), positive["clip_id"],
                negative["clip_id"], limits.confidence, limits.n_bootstrap, limits.seed,
            )  # fmt: skip
            row |= {"auroc": found["auroc"], "low": found["auroc_low"], "high": found["auroc_high"]}
            row["tpr_at_fpr_1pct"] = found["tpr_at_fpr_1pct"]
        rows.append(row)
    return pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in ("n_train", "draw", "updates")])
