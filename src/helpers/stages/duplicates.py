"""The duplicates stage: planted duplicates as a test of the finder, natural ones among clips and recordings as a finding.

Natural duplicates are judged against waveform correlation, which shares nothing with the mel spectrogram that found
them; that gives a precision. A recall would need every true pair, which nobody knows: none is claimed.

Notebook: 01_corpus.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.mapped import Selection
from helpers.base.paths import SOUND_PACK
from helpers.base.profile import Profile
from helpers.base.progress import progress
from helpers.base.room import scratch_in
from helpers.copies.detectors import Detectors
from helpers.copies.pairs import clusters_of, pair_metrics, pairs_above, waveform_correlation
from helpers.sound import corpus
from helpers.sound.mel import log_mel
from helpers.sound.mixtures import level_recording
from helpers.sound.pack import decode_sounds, load_soundpack


def compute(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes what is found among the clips and among the recordings.

    duplicates.csv: clip_id, cluster_id, kind, score; natural ones are clusters of verified pairs. clip_pairs.csv and
    recordings.csv: the natural pairs found, and whether the waveforms verify each. planted.csv: recall by alteration, and
    precision.
    """
    config = profile.duplicates
    data, dup = corpus.load_corpus(upstream["corpus"]), corpus.load_corpus(upstream["planted"])
    train, copies, detector = data.rows("train"), dup.rows("train"), "mel_centred"
    detectors = Detectors(
        replace(profile.retrieval, detectors=(detector,)), profile.mel, profile.corpus.sample_rate_hz, data.mel_mean()
    )
    with scratch_in(out) as scratch:
        clips = detectors.features(detector, Selection(data.audio, train), Path(scratch) / "clips.npy")
        natural = pairs_above(clips, config.clip_threshold)
        planted_pairs = pairs_above(
            detectors.features(detector, Selection(dup.audio, copies), Path(scratch) / "planted.npy"),
            config.clip_threshold,
        )
    ids = data.clips["clip_id"].iloc[train]
    natural = _verify(natural, data.audio, train, profile)
    _named(natural, ids).to_csv(out / "clip_pairs.csv", index=False)
    natural = clusters_of(natural[natural["verified"]], ids)
    truth = dup.clips.iloc[copies].reset_index(drop=True)
    planted = clusters_of(planted_pairs, truth["clip_id"])
    _planted_metrics(planted_pairs, truth).to_csv(out / "planted.csv", index=False)
    both = pd.concat([natural.assign(kind="natural"), planted.assign(kind="planted")], ignore_index=True)
    both["cluster_id"] = both["kind"] + "_" + both["cluster_id"].astype(str)
    both[["clip_id", "cluster_id", "kind", "score"]].to_csv(out / "duplicates.csv", index=False)
    if profile.corpus.mixed:
        _recording_pairs(profile).to_csv(out / "recordings.csv", index=False)


def _verify(pairs: pd.DataFrame, audio, rows: np.ndarray, profile: Profile) -> pd.DataFrame:
    """Pairs of clips with their waveform correlation: sparse clips, such as two single strokes, are alike once centred."""
    correlations = [
        waveform_correlation(audio[rows[int(pair.i)]], audio[rows[int(pair.j)]])
        for pair in progress(pairs.itertuples(), total=len(pairs), desc="verifying pairs of clips")
    ]
    pairs = pairs.assign(correlation=np.array(correlations, float))
    return pairs.assign(verified=pairs["correlation"] >= profile.duplicates.correlation_threshold)


def _named(pairs: pd.DataFrame, ids: pd.Series) -> pd.DataFrame:
    names = {f"id_{end}": ids.to_numpy()[pairs[column].to_numpy(int)] for end, column in (("a", "i"), ("b", "j"))}
    return pairs.drop(columns=["i", "j"]).assign(**names).sort_values("score", ascending=False, ignore_index=True)


def _planted_metrics(pairs: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """Precision over all found pairs, and recall by the alteration that tells a pair's clips apart from their original."""
    ids = clips["clip_id"].to_numpy()
    detected = list(zip(ids[pairs["i"].astype(int)], ids[pairs["j"].astype(int)]))
    originals = clips[clips["alteration"] == "none"].drop_duplicates("cluster_id").set_index("cluster_id")["clip_id"]
    rows, true_pairs = [], []
    for alteration, part in clips[clips["copies"] > 1].groupby("alteration"):
        truth = [(originals[c], i) for c, i in zip(part["cluster_id"], part["clip_id"]) if originals[c] != i]
        if truth:
            recall = pair_metrics(detected, truth).recall
            rows.append((alteration, "recall", recall))
    for _, part in clips[clips["copies"] > 1].groupby("cluster_id"):
        members = part["clip_id"].tolist()
        true_pairs += [(a, b) for i, a in enumerate(members) for b in members[i + 1 :]]
    precision = pair_metrics(detected, true_pairs).precision
    if precision is not None:
        rows.append(("all", "precision", precision))
    fields = ("count", "n", "rate", "low", "high")
    return pd.DataFrame([
        {"alteration": of, "measure": measure} | {name: getattr(share, name) for name in fields}
        for of, measure, share in rows
    ])  # fmt: skip


def _recording_pairs(profile: Profile) -> pd.DataFrame:
    """Pairs of the pack's recordings whose beginnings sound alike, with their waveform correlation: verified or not."""
    config, rate = profile.duplicates, profile.corpus.sample_rate_hz
    pack = load_soundpack(SOUND_PACK)
    length = config.recording_frames * profile.mel.hop_length
    parts = {}
    for sound_id, audio in progress(decode_sounds(SOUND_PACK, pack["id"].tolist()).items(), desc="recordings"):
        if len(audio) >= length:  # padding would make all short recordings alike
            parts[sound_id] = level_recording(audio)[:length]
    ids = list(parts)
    mels = log_mel(np.stack(list(parts.values())), profile.mel, rate)
    centred = (mels - mels.mean(axis=(0, 1))).reshape(len(mels), -1)
    pairs = pairs_above(centred, config.recording_threshold)
    meta = pack.set_index("id")
    rows = []
    for pair in pairs.itertuples():
        a, b = ids[int(pair.i)], ids[int(pair.j)]
        correlation = waveform_correlation(parts[a], parts[b])
        rows.append({
            "id_a": a, "id_b": b, "caption_a": meta.caption[a], "caption_b": meta.caption[b],
            "package_a": meta.package[a], "package_b": meta.package[b], "score": pair.score,
            "correlation": correlation, "verified": correlation >= config.correlation_threshold,
        })  # fmt: skip
    columns = ["id_a", "id_b", "caption_a", "caption_b", "package_a", "package_b", "score", "correlation", "verified"]
    return pd.DataFrame(rows, columns=columns).sort_values("score", ascending=False, ignore_index=True)
