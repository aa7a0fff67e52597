"""Peak memory of the profile `paper` by stage, each in a process of its own, on `--n` fabricated clips of 10.24 s.

Networks are stand-ins that give arrays of the true shapes, so what is measured is all but their weights: tables, arrays,
and the pages of files. The audio is silence in files that take no room; encoding and generation do write theirs (1 MB a
clip), duplicates and alterations the references' log-mels (0.3 and 0.8 MB a clip). Alterations are of two kinds instead of
all: each is done with before the next. Not part of `make bench`: 45,000 clips take an hour.
"""

import dataclasses
import resource
import shutil
import time
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import soundfile
import torch
from numpy.lib.format import open_memmap
from timing import WORK, options, row, write
from transformers import BatchEncoding

from helpers.base.mapped import Selection, create, forget
from helpers.base.settings import MAIN_SET
from helpers.copies import reference_features
from helpers.copies.search import Neighbours
from helpers.models import synthesis, text, trainer
from helpers.sound import user_audio
from helpers.sound.corpus import load_corpus
from helpers.sound.profiles import load_profile
from helpers.stages import (
    alterations,
    duplicates,
    encoding,
    generation,
    planted,
    quality,
    references,
    retrieval,
    scores,
    thresholds,
)

WRITES = ("encoding", "generation")  # stages whose files take room
STAGES = (
    *("reading AudioCaps", "training, batches", "references", "retrieval, tables"),
    *("quality", "scores", "thresholds", "planted", "duplicates", "alterations"),
)
LATENT, STATE, MOST_UPDATES = (8, 256, 16), (128, 1024), 100
FEATURES = {"mel": (65_536,), "mel_centred": (65_536,), "mel_aligned": (1024, 64)}  # of a clip
RNG = np.random.default_rng(0)


def profile_of(n: int):
    """`paper` with n training clips, of the sizes 1,000, 5,000 and n as far as there are so many."""
    paper = load_profile("paper")
    sizes = (*(size for size in (1000, 5000) if size < n), n)
    corpus = dataclasses.replace(paper.corpus, n_train=n)
    return dataclasses.replace(paper, corpus=corpus, sizes=sizes, draws=(1,) * len(sizes))


def no_room(path: Path, dtype, shape: tuple[int, ...]) -> np.memmap:
    """A file of zeros that takes no room on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return open_memmap(path, "w+", dtype, shape)


def fabricate(folder: Path, profile) -> None:
    """What the measured stages read: a corpus, its round trip, an encoding's arrays, and clips of every arm."""
    counts = {
        "train": profile.corpus.n_train,
        "heldout": profile.corpus.n_heldout,
        "background": profile.corpus.n_background,
    }
    ids = [(split, i, f"{split}_{i:05d}") for split, n in counts.items() for i in range(n)]
    clips = pd.DataFrame(ids, columns=["split", "index", "clip_id"]).assign(recipe="")
    clips["caption"] = "A dog barks while rain falls on a tin roof, number " + clips["clip_id"]
    clips["source_ids"] = clips["source_groups"] = clips["classes"] = clips["clip_id"].map(lambda name: [name])
    samples, mels = (
        profile.corpus.clip_samples,
        (profile.corpus.clip_samples // profile.mel.hop_length, profile.mel.n_mels),
    )
    roundtrip = pd.concat([clips[clips["split"] == "heldout"], clips.head(profile.codec.n_roundtrip)])
    roundtrip = roundtrip.assign(query_id="roundtrip_" + roundtrip["clip_id"], silent=False, clipped=False)
    for place, table in (("corpus", clips), ("roundtrip", roundtrip), *arms(profile, clips)):
        no_room(folder / place / "audio.npy", np.int16, (len(table), samples))
        no_room(folder / place / "mels.npy", np.float32, (len(table), *mels))
        table.to_parquet(folder / place / ("clips.parquet" if place == "corpus" else "queries.parquet"), index=False)


def arms(profile, clips: pd.DataFrame):
    """Of each run the main clips, those after equal epochs, and held-out prompts."""
    for n in profile.sizes:
        for arm, split in (("main", "train"), ("u01250", "train"), ("heldout", "heldout")):
            made = clips[clips["split"] == split].head(n)[["clip_id", "index", "caption"]]
            yield f"generation_{n}_{arm}", made.assign(
                query_id=f"gen_n{n}_d0_{arm}_" + made["clip_id"] + "_s0", updates=56800, sample_seed=0, arm=arm, weights="ema",
                prompt_set=split, guidance=3.0, steps=200, silent=False, clipped=False)  # fmt: skip


def stand_ins() -> None:
    """Puts arrays of the true shapes in place of what the networks, and the search, would give."""
    codec = SimpleNamespace(
        posterior=lambda mels: np.zeros((len(mels), 2, *LATENT), np.float32),
        decode=lambda latents: np.zeros((len(latents), 1024, 64), np.float32),
    )
    encoding.load_codec = generation.load_codec = lambda *_: codec
    synthesis.load_vocoder = lambda *_: lambda mels: np.zeros((len(mels), 163_840), np.int16)
    generation.generate_latents = lambda _, __, queries, *___: np.zeros((len(queries), *LATENT), np.float32)
    generation.denoiser = SimpleNamespace(load_unet=lambda *_: None, last_checkpoint=lambda _: 56800)

    def tokens(captions, max_length, **_):
        return BatchEncoding({"attention_mask": np.ones((len(captions), max_length), np.int64)}, tensor_type="pt")

    def states(attention_mask):
        return SimpleNamespace(last_hidden_state=torch.zeros(len(attention_mask), *STATE))

    states.device, states.config = "cpu", SimpleNamespace(hidden_size=STATE[1])
    text.load_flan_t5 = lambda _: (tokens, states)
    embeddings = SimpleNamespace(embed_text=lambda captions: np.zeros((len(captions), 512), np.float32))
    detectors = SimpleNamespace(
        clap=embeddings,
        features=lambda name, audio, file=None: RNG.normal(size=(len(audio), 512)).astype(np.float32),
        nearest=lambda name, queries, gallery, k: Neighbours(
            -np.sort(-RNG.random((len(queries), k), np.float32)), RNG.integers(len(gallery), size=(len(queries), k))
        ),
        similarity=lambda name, a, b: RNG.random(len(a)),
    )
    reference_features.build_detectors = references.build_detectors = retrieval.build_detectors = lambda *_: detectors


def compute(stage: str, folder: Path, n: int) -> None:
    """One stage on the files that `fabricate` and those before it have left in the folder."""
    profile, made = profile_of(n), lambda name: (folder / name).mkdir(exist_ok=True) or folder / name
    known = {name: folder / name for name in ("corpus", "roundtrip", "references", "duplicates")}
    if stage == "reading AudioCaps":
        audio, names = made("audio"), [f"video{i:06d}" for i in range(n + 2000)]
        soundfile.write(audio / "one.wav", RNG.normal(size=163_840) / 9, 16_000)
        for name in names:
            (audio / f"{name}_30.wav").hardlink_to(audio / "one.wav")
        table = pd.DataFrame(
            {"audiocap_id": range(len(names)), "youtube_id": names, "start_time": 30, "caption": "rain"}
        )
        table.to_csv(folder / "train.csv", index=False)
        config = dataclasses.replace(profile.corpus, path=str(folder / "train.csv"), audio_path=str(audio))
        for _ in user_audio.read_user_corpus(config, made("read"))[1]:
            pass
    elif stage == "encoding":
        encoding.compute(made(stage), known, profile)
    elif stage == "generation":
        generation.compute(
            made(stage),
            known | {"training": folder},
            profile,
            dataclasses.replace(profile.generation, n_train=n),
            "main",
        )
    elif stage == "training, batches":
        batches(folder, n)
    elif stage == "references":
        references.compute(made(stage), known, profile)
    elif stage == "retrieval, tables":
        for size in profile.sizes:
            kinds = {path.name: "generated" for path in folder.glob(f"generation_{size}_*")} | {
                "roundtrip": "roundtrip"
            }
            upstream = known | {name: folder / name for name in kinds}
            retrieval.compute(made(f"retrieval_{size}"), upstream, kinds, profile, size, 0)
            columns = {"training_set": MAIN_SET, "n_train": size, "draw": 0}
            pd.DataFrame([columns]).to_csv(folder / f"retrieval_{size}" / "quality.csv", index=False)
    elif stage == "quality":
        upstream = {"corpus": folder / "corpus", "retrieval": folder / f"retrieval_{n}"}
        quality.compute(made(stage), upstream, profile, n, 0)
    elif stage == "planted":
        planted.compute(made(stage), known, profile.planted, profile.corpus, profile.mel)
    elif stage == "duplicates":
        duplicates.Detectors = lambda *_: SimpleNamespace(features=random_features)
        duplicates.waveform_correlation = lambda *_: 0.0  # a pair at a time; silence has none
        duplicates.compute(made("duplicates"), known | {"planted": folder / "planted"}, profile)
    elif stage == "alterations":
        mels = tuple(name for name in profile.retrieval.detectors if name != "clap")  # whose features are small
        profile = dataclasses.replace(profile, retrieval=dataclasses.replace(profile.retrieval, detectors=mels))
        true = alterations.build_detectors(profile, load_corpus(folder / "corpus"))
        alterations.build_detectors = lambda *_: SimpleNamespace(features=random_features, nearest=true.nearest)
        alterations.TRANSFORMS = dict(list(alterations.TRANSFORMS.items())[:2])
        alterations._alter = lambda corpus, row, *_: np.zeros(profile.corpus.clip_samples, np.int16)
        alterations.compute(made(stage), known, profile)
    elif stage == "scores":
        upstream = {f"retrieval_{size}": folder / f"retrieval_{size}" for size in profile.sizes}
        ceiling = pd.concat([pd.DataFrame({"detector": name, "clip_id": [f"train_{i:05d}" for i in range(500)], "own_score": 0.99})
                             for name in profile.retrieval.detectors])  # fmt: skip
        ceiling.to_parquet(folder / "references" / "ceiling.parquet", index=False)
        upstream["references"] = folder / "references"
        scores.compute(made(stage), upstream, dict.fromkeys(upstream, MAIN_SET), False)
    else:
        columns = ["clip_id", "cluster_id", "kind", "score"]
        pd.DataFrame(columns=columns).to_csv(made("duplicates") / "duplicates.csv", index=False)
        thresholds.compute(made(stage), known | {"scores": folder / "scores"}, profile)


def random_features(name: str, audio, file: Path | None = None) -> np.ndarray:
    """What `Detectors.features` gives, of the true shape, where no two clips are alike: in memory, or in a file."""
    shape, noise = (len(audio), *FEATURES[name]), RNG.normal(size=2**20).astype(np.float32)
    features = create(file, np.float32, shape) if file else np.empty(shape, np.float32)
    for number, start in enumerate(RNG.integers(len(noise) - features[0].size, size=len(audio))):
        features[number] = noise[start : start + features[0].size].reshape(shape[1:])
        if not number % 512:
            forget(features)
    return np.load(file, mmap_mode="r") if file else features


def batches(folder: Path, n: int) -> None:
    """What training reads of its files, update by update, for so many updates that it would show whether it grows."""
    arrays = [no_room(folder / "encoding" / f"{name}.npy", dtype, (n, *shape))
              for name, dtype, shape in (("latents", np.float32, LATENT), ("states", np.float16, STATE), ("mask", bool, STATE[:1]),
                                         ("deviations", np.float32, LATENT))]  # fmt: skip
    latents, tokens, mask, deviations = (Selection(array, RNG.permutation(n)) for array in arrays)
    data = trainer.Data(latents, tokens, mask, np.zeros(STATE, np.float16), np.ones(STATE[:1], bool), deviations)
    size = 48
    for _ in range(min(MOST_UPDATES, n // size)):
        clips = torch.from_numpy(RNG.integers(n, size=size))
        data.rows(SimpleNamespace(clips=clips, captions=clips, timesteps=clips, posterior=torch.zeros(size, *LATENT)))


def measure(stage: str, folder: Path, n: int, out: Path) -> None:
    """One stage's time and peak memory, in a process that has loaded the code and nothing else."""
    start = time.perf_counter()
    compute(stage, folder, n)
    detail = f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB"  # Linux counts in KiB
    write([row(f"memory at paper scale, {stage}, {n:,} clips", time.perf_counter() - start, detail=detail)], out)


def main():
    """Every stage, or those named; each in a child process. Those that write much have to be named."""
    chosen = options(__doc__, n=45_000, stages="; ".join(STAGES))
    folder, stages = WORK / f"memory_paper_{chosen.n}", chosen.stages.split("; ")
    if unknown := set(stages) - {*STAGES, *WRITES}:
        raise SystemExit(f"stages: expected some of {'; '.join((*STAGES, *WRITES))}, got {', '.join(unknown)}")
    stand_ins()
    fabricate(folder, profile_of(chosen.n))
    for stage in stages:
        child = get_context("fork").Process(target=measure, args=(stage, folder, chosen.n, chosen.out))
        child.start()
        child.join()
        if child.exitcode:
            raise SystemExit(child.exitcode)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
