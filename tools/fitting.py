"""What the training scripts share: mixtures as arrays on disk, held-out soundscapes, and a resumable loop."""

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from helpers.base.hashing import hash_file
from helpers.base.machine import describe_machine
from helpers.base.mapped import create
from helpers.base.paths import resolve
from helpers.base.progress import progress
from helpers.base.settings import CorpusConfig, MelConfig
from helpers.sound import corpus
from helpers.stages import corpus as corpus_stage

MIXTURES_AT_ONCE = 1500  # rendered, analysed and dropped: the audio of thousands would fill the memory
PILOT = "_pilot"  # in names of what was made from the pilot's recordings
SAVE_EVERY = 200  # updates between checkpoints
LICENCE = "CC BY-SA 4.0, as the recordings it was trained on (`data/ATTRIBUTION.md`)"


def arguments(description: str, model: str, mixtures: int, updates: int, batch_size: int, learning_rate: float):
    """The command line that both scripts have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("models") / model, help="folder of the finished model")
    parser.add_argument("--work", type=Path, default=Path("runs") / f"train_{model}", help="cache and checkpoint")
    parser.add_argument("--mixtures", type=int, default=mixtures, help="fresh mixtures of training recordings")
    parser.add_argument("--updates", type=int, default=updates, help="optimiser steps")
    parser.add_argument("--batch-size", type=int, default=batch_size, help="clips per step")
    parser.add_argument("--learning-rate", type=float, default=learning_rate, help="peak, after a warm-up of 5 %%")
    parser.add_argument("--pilot", action="store_true", help="the pilot corpus' recordings: for choosing settings")
    parser.add_argument("--seed", type=int, default=7, help="of mixtures, weights and batches")
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options, with the working folder made. Relative folders count from the root of the repository."""
    options = parser.parse_args()
    options.work, options.out = resolve(options.work), resolve(options.out)
    if options.pilot:  # nothing that was learned from other recordings may be taken for the model
        options.work, options.out = options.work / "pilot", options.work / "pilot" / "model"
    options.work.mkdir(parents=True, exist_ok=True)
    return options


def mixtures(options, features, dtype=np.float16, n: int | None = None, seed: int | None = None, **vary):
    """`features(audio)` of fresh mixtures, mapped from a cache on disk, and their captions.

    n and seed are the options' unless given; `vary` is handed to `corpus.training_mixtures`. `features` maps int16
    [k, S] to an array [k, ...]; a working folder serves one kind of features. float16 keeps a log-mel to 0.004 neper.
    """
    work, n = options.work, options.mixtures if n is None else n
    seed = options.seed if seed is None else seed
    kind = "_".join(f"{key}{value:g}" for key, value in vary.items()) or "plain"
    name = f"{n}_{seed}_{kind}{PILOT if options.pilot else ''}_{hash_file(corpus.SOUND_PACK)[:8]}"
    path, texts = work / f"mixtures_{name}.npy", work / f"captions_{name}.txt"
    if not texts.is_file():
        captions, array = [], None
        for start in progress(range(0, n, MIXTURES_AT_ONCE), desc="training mixtures"):
            size = min(MIXTURES_AT_ONCE, n - start)
            audio, more = corpus.training_mixtures(
                CorpusConfig(pilot=options.pilot), size, seed * 100_000 + start, **vary
            )
            part = np.asarray(features(audio))
            if array is None:
                array = create(path, dtype, (n, *part.shape[1:]))
            array[start : start + size] = part
            captions += more
        array.flush()
        texts.write_text("\n".join(captions))  # written last: says that the array is complete
    return np.load(path, mmap_mode="r"), texts.read_text().split("\n")


def heldout(options) -> corpus.Corpus:
    """The corpus stage's first held-out clips (recordings that no training mixture holds)."""
    pilot = PILOT if options.pilot else ""
    folder = options.work / f"heldout_{options.heldout}{pilot}_{hash_file(corpus.SOUND_PACK)[:8]}"
    if not (folder / "done").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        config = replace(CorpusConfig(), pilot=options.pilot, n_train=2, n_heldout=options.heldout, n_background=1)
        corpus_stage.compute(folder, {}, config, MelConfig())
        (folder / "done").touch()
    data = corpus.load_corpus(folder)
    rows = data.rows("heldout")
    return corpus.Corpus(data.clips.iloc[rows].reset_index(drop=True), data.audio[rows], data.mels[rows])


def fit(model: torch.nn.Module, loss, options, n: int, recipe: dict, companions: dict | None = None) -> dict:
    """Trains `model` in place on `loss(rows)`, rows being the indices of a batch out of n.

    AdamW, cosine schedule after a warm-up, bf16 autocast on the CPU. Batches and noise follow from (seed, update)
    alone, so that a run continued from its checkpoint (`work/state.pt`) is the run that was not interrupted. `recipe` is
    all that `loss` depends on beside the options: a checkpoint of another recipe is not continued.
    `companions` are what `loss` trains itself (a discriminator, its optimizer), kept in the checkpoint too. Returns what
    training.json says of the run.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(),
        options.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=recipe.get("weight_decay", 0.01),
        fused=True,
    )
    warmup = max(1, options.updates // 20)

    def schedule(update):
        done = (update - warmup) / max(1, options.updates - warmup)
        return (update + 1) / warmup if update < warmup else 0.5 * (1 + math.cos(math.pi * done))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    path, losses, seconds = options.work / "state.pt", [], 0.0
    key = {k: v for k, v in vars(options).items() if k not in ("out", "work", "heldout")} | {"recipe": recipe}
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler} | (companions or {})
    if path.is_file() and (state := torch.load(path, weights_only=True))["key"] == key:
        for name, part in parts.items():
            part.load_state_dict(state[name])
        losses, seconds = state["losses"], state["seconds"]
    start = time.perf_counter() - seconds
    model.train()
    with progress(total=options.updates, desc="training", unit="update") as bar:
        bar.update(len(losses))
        for update in range(len(losses), options.updates):
            torch.manual_seed(options.seed * 1_000_003 + update)
            rows = np.random.default_rng([options.seed, update]).choice(n, options.batch_size, replace=False)
            with torch.autocast("cpu", torch.bfloat16):
                value = loss(np.sort(rows))
            optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            losses.append(value.item())
            bar.update()
            bar.set_postfix(loss=f"{np.mean(losses[-50:]):.4f}", refresh=False)
            if (update + 1) % SAVE_EVERY == 0 or update + 1 == options.updates:
                state = {name: part.state_dict() for name, part in parts.items()} | {"losses": losses, "key": key}
                seconds = state["seconds"] = time.perf_counter() - start
                torch.save(state, path.with_suffix(".part"))
                path.with_suffix(".part").rename(path)
    model.eval()
    return {
        "training_minutes": round(seconds / 60, 1),
        "loss_mean_of_50_updates": [round(float(np.mean(losses[i : i + 50])), 4) for i in range(0, len(losses), 50)],
    }


def provenance(script: str, options, more: tuple[str, ...] = ()) -> dict:
    """What training.json says of how a model came about; `more` names options that only this script has."""
    names = ("mixtures", "updates", "batch_size", "learning_rate", "seed", *more)
    flags = " ".join(f"--{name.replace('_', '-')} {getattr(options, name)}" for name in names)
    return {
        "command": f"python tools/{script} {flags}" + (" --pilot" if options.pilot else ""),
        "mixtures": options.mixtures,
        "seed": options.seed,
        "commit": describe_machine()["commit"],
        "sound_pack_sha256": hash_file(corpus.SOUND_PACK),
        "torch": torch.__version__,
    }
