"""Beside MiRA (Batlle-Roca et al., 2024): CLAP similarity of 200 clips with 200 clips, and which finds altered copies.

`mira-sim` 0.1.2 cannot be installed beside this project (it pins numpy 1.23, transformers 4.30 and laion-clap 1.1.4) and
looks for one checkpoint of LAION's. So its `clap_eval` is written again as it stands there: for every pair of files the
second is loaded by librosa and embedded anew. Both sides embed with this project's CLAP.
"""

from functools import partial

import librosa
import numpy as np
import soundfile
import torch
from sounds import clips
from timing import WORK, compare, options, row, write

from helpers.base.seeds import seeded
from helpers.base.settings import CorpusConfig, MelConfig, RetrievalConfig
from helpers.copies.detection_metrics import detection_row
from helpers.copies.detectors import Detectors
from helpers.models.clap import load_clap
from helpers.sound.mel import log_mel
from helpers.sound.transforms import TRANSFORMS, apply_transform

RATE = CorpusConfig().sample_rate_hz
DETECTORS = ("mel", "mel_centred", "mel_aligned", "clap")


def mira_rows(clap, a_files: list, b_files: list) -> np.ndarray:
    """CLAP similarities [A, B] of files, as MiRA computes them: every pair embeds its second file again."""
    scores = []
    for a in a_files:
        first = torch.from_numpy(clap.embed_audio(librosa.load(a, sr=RATE)[0][None]))
        for b in b_files:
            second = torch.from_numpy(clap.embed_audio(librosa.load(b, sr=RATE)[0][None]))
            scores.append(torch.nn.functional.cosine_similarity(first, second, dim=1).item())
    return np.reshape(scores, (len(a_files), len(b_files)))


def our_rows(clap, a_files: list, b_files: list) -> np.ndarray:
    """The same similarities, every file read and embedded once."""
    a, b = (
        clap.embed_audio(np.stack([soundfile.read(f, dtype="int16")[0] for f in files])) for files in (a_files, b_files)
    )
    return a @ b.T


def files_of(audio: np.ndarray, name: str) -> list:
    """Writes clips as WAV files."""
    folder = WORK / f"mira_{name}"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:04d}.wav" for index in range(len(audio))]
    for path, clip in zip(paths, audio):
        soundfile.write(path, clip, RATE)
    return paths


def found_copies(references: np.ndarray, strangers: np.ndarray, others: np.ndarray) -> list[dict]:
    """AUROC of each detector: altered copies of the references against strangers altered alike."""
    mean = log_mel(references, MelConfig(), RATE).mean(axis=(0, 1))
    detectors = Detectors(RetrievalConfig(detectors=DETECTORS), MelConfig(), RATE, mean)
    best = {name: ([], []) for name in DETECTORS}
    features = {name: detectors.features(name, references) for name in DETECTORS}
    for transform, settings in TRANSFORMS.items():
        strength = settings.strengths[len(settings.strengths) // 2]
        for side, audio in enumerate((references, strangers)):
            altered = np.stack([
                apply_transform(transform, clip, strength, seeded(transform, side, i), others[i % len(others)], RATE)
                for i, clip in enumerate(audio)
            ])  # fmt: skip
            for name in DETECTORS:
                found = detectors.nearest(name, detectors.features(name, altered), features[name], 1)
                best[name][side].append(found.scores[:, 0])
    rows = []
    for name, (copies, negatives) in best.items():
        pos, neg = np.concatenate(copies), np.concatenate(negatives)
        groups = [np.tile(np.arange(len(side[0])), len(TRANSFORMS)) for side in (copies, negatives)]
        made = detection_row(
            name, "all", 0, "benchmark", pos, neg, groups[0], groups[1] + len(references),
            confidence=0.95, n_bootstrap=200, seed=0,
        )  # fmt: skip
        detail = f"AUROC {made['auroc']:.3f} ({made['auroc_low']:.3f} to {made['auroc_high']:.3f}), {len(pos):,} copies"
        label = "MiRA's CLAP similarity" if name == "clap" else name
        rows.append(row(f"altered copies found: {label}", float("nan"), detail=detail))
    return rows


def main():
    """200 x 200 clips; MiRA's rows are timed for a few clips of the first folder and extrapolated."""
    chosen = options(__doc__, n=200, rows=2)
    audio = np.array(clips(3 * chosen.n, seed=12)[0])
    references, queries, others = np.split(audio, 3)
    a_files, b_files = files_of(queries, "a"), files_of(references, "b")
    clap = load_clap("models/clap")
    some = a_files[: chosen.rows]
    error = np.abs(mira_rows(clap, some, b_files) - our_rows(clap, some, b_files)).max()
    detail = f"MiRA timed on {chosen.rows} of {chosen.n} rows and extrapolated; similarities within {error:.1g}"
    name = f"CLAP similarity, {chosen.n} x {chosen.n} files"
    peers = {"MiRA's loop over pairs, reimplemented": partial(mira_rows, clap, some, b_files)}
    made = compare(
        name, partial(our_rows, clap, a_files, b_files), peers, chosen.runs, detail, ["librosa", "laion-clap"]
    )
    for entry in made:
        entry["peer_s"] *= chosen.n / chosen.rows
        entry["ratio"] = entry["peer_s"] / entry["ours_s"]
    write(made + found_copies(references, queries, others), chosen.out)


if __name__ == "__main__":
    main()
