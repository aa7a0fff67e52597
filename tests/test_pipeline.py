"""The whole pipeline, tiny: every result file is there, and a planted copy is told from an unrelated clip."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers import clips, corpus, stages
from helpers.codec import load_codec
from helpers.config import ROOT, load_profile
from helpers.detectors import Detectors
from helpers.gallery import another_clip
from helpers.retrieval import normalised_scores
from helpers.search import top_k
from helpers.thresholds import calibrate_threshold, flag
from helpers.vocoder import load_vocoder

REPLICATION = [
    "n_train",
    "draw",
    "train_seed",
    "updates",
    "epochs",
    "prompt_set",
    "guidance",
    "steps",
    "sample_seed",
    "n_generated",
    "detector",
    "null",
    "fpr",
    "tau",
    "beta",
    "k",
    "flagged",
    "flagged_rate",
    "ci_low",
    "ci_high",
    "near_exact",
    "near_exact_rate",
    "near_exact_low",
    "near_exact_high",
    "distinct_clusters",
    "own_clip_top1_rate",
    "twins_top1_rate",
]


@pytest.fixture(scope="module")
def profile():
    return load_profile("tiny")


@pytest.fixture(scope="module")
def data(profile):
    return corpus.load_corpus(stages.finished("corpus", profile).path)


def test_every_run_and_detector_has_its_row(profile):
    table = pd.read_csv(stages.finished("thresholds", profile).path / "replication.csv")
    assert set(REPLICATION) <= set(table.columns)
    assert len(table) == len(profile.runs) * len(profile.retrieval.detectors) * 2
    assert table["n_generated"].tolist() == [8] * len(table)
    assert table[["flagged_rate", "near_exact_rate", "own_clip_top1_rate"]].stack().between(0, 1).all()
    assert (table["ci_low"] <= table["flagged_rate"]).all() and (table["flagged_rate"] <= table["ci_high"]).all()


def test_scores_agree_with_a_slow_computation(profile, data):
    folders = stages.upstream_folders("retrieval", profile)
    scores = pd.read_parquet(stages.finished("retrieval", profile).path / "scores.parquet")
    found = scores[(scores["detector"] == "mel") & (scores["kind"] == "generated") & (scores["n_train"] == 8)]
    detectors = Detectors(profile.retrieval, profile.mel, 16_000, data.mel_mean())
    queries = detectors.features("mel", np.load(folders["generation_n8_d0"] / "audio.npy")).astype(np.float64)
    references = detectors.features("mel", data.audio[data.rows("train")]).astype(np.float64)
    cosine = (queries @ references.T) / np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(references, axis=1))
    for row, (_, part) in enumerate(found.groupby("query_id", sort=False)):
        order = np.argsort(-cosine[row])[: len(part)]
        assert part["ref_id"].tolist() == [f"train_{i:05d}" for i in order]
        assert part["score"].to_numpy() == pytest.approx(cosine[row][order], abs=1e-5)
        own = int(part["own_id"].iloc[0].split("_")[1])
        assert part["own_score"].iloc[0] == pytest.approx(cosine[row][own], abs=1e-5)


@pytest.mark.parametrize("detector", ["mel", "mel_centred"])
def test_a_planted_copy_is_flagged_and_an_unrelated_clip_is_not(profile, data, detector):
    """Copies and strangers both come out of codec and vocoder; tau is set on the twins."""
    folders = stages.upstream_folders("retrieval", profile)
    detectors = Detectors(profile.retrieval, profile.mel, 16_000, data.mel_mean())
    references = detectors.features(detector, data.audio[data.rows("train")])
    background = detectors.features(detector, data.audio[data.rows("background")])

    def best(audio):
        features = detectors.features(detector, audio)
        scores = top_k(features, references, 1).scores[:, 0]
        return normalised_scores(scores, top_k(features, background, 3).scores, 0.5, 3)

    tau = calibrate_threshold(best(np.load(folders["twins_n8_d0"] / "audio.npy")), 0.2)
    codec, rows = load_codec(ROOT / profile.codec.codec_path), data.rows("train")[:6]
    mels = codec.decode(codec.encode(np.asarray(data.mels[rows])))
    copies = load_vocoder(profile.codec, profile.mel, 16_000)(mels)
    strangers = np.load(folders["roundtrip"] / "audio.npy")[: len(data.rows("heldout"))]
    assert flag(best(copies), tau).mean() >= 5 / 6
    assert flag(best(strangers), tau).mean() <= 0.25


def test_generation_does_not_depend_on_the_batch(profile):
    folder = stages.finished("generation", profile, 8, 0).path
    upstream = stages.upstream_folders("generation", profile, 8, 0)
    config = profile.replace("generation", n_train=8).generation
    assert clips.regeneration_cosines(upstream, folder, profile, config, n=3).min() >= 0.999


def test_nothing_is_computed_twice(profile):
    every = [stage for name in stages.NAMES for stage in stages.build(name, profile)]
    for stage in every:
        stages.load_or_run(stage)
    assert not any(stages.load_or_run(stage).computed for stage in every)


def test_one_changed_parameter_touches_only_what_follows(profile):
    changed = profile.replace("thresholds", beta=0.7)
    same = ["corpus", "planted", "duplicates", "encoding", "roundtrip", "retrieval", "training", "generation", "twins"]
    for name in stages.NAMES:
        pairs = zip(stages.build(name, profile), stages.build(name, changed))
        assert all((a.digest == b.digest) == (name in same or name == "detection") for a, b in pairs), name


def test_findings_hold_a_verdict_for_each_claim(profile):
    folder = stages.finished("findings", profile).path
    claims = pd.read_csv(folder / "claims.csv")
    assert claims.columns.tolist() == [
        "claim",
        "paper_value",
        "source",
        "our_value",
        "ci_low",
        "ci_high",
        "verdict",
        "why",
    ]
    assert set(claims["verdict"]) <= {"holds", "fails", "not testable at this scale"}
    assert json.loads((folder / "summary.json").read_text())["profile"] == "tiny"


def test_a_users_own_clips_go_all_the_way(profile, data, tmp_path):
    """Without twins, as such clips cannot be mixed anew: the held-out null takes their place. What is bad is left out."""
    rows = [("gone.wav", "a clip that is missing"), ("../outside.wav", "<b>a path that leaves the folder</b>")]
    for number, (audio, caption) in enumerate(zip(data.audio, data.clips["caption"])):
        soundfile.write(tmp_path / f"{number}.wav", audio, 16_000)
        rows.append((f"{number}.wav", caption))
    pd.DataFrame(rows, columns=["file_name", "text"]).to_csv(tmp_path / "metadata.csv", index=False)
    own = dataclasses.replace(profile, name="own", sizes=(4,), draws=(1,)).replace(
        "corpus", kind="audiofolder", path=str(tmp_path)
    )
    assert corpus.reader_report(stages.finished("corpus", own).path)["n_left_out"] == 2
    stages.finished("findings", own)
    table = pd.read_csv(stages.finished("thresholds", own).path / "replication.csv")
    assert set(table["null"]) == {"heldout"} and table["twins_top1_rate"].isna().all()
    assert table["flagged_rate"].between(0, 1).all()


def test_another_clip_is_never_the_clip_itself(profile):
    for n_train, draw in ((2, 0), (3, 1), (8, 2)):
        members = [f"train_{i:05d}" for i in corpus.subset(n_train, draw, 8, profile.training.seed)]
        for clip_id in members:
            name = another_clip(clip_id, profile, n_train, draw)
            assert name != clip_id and name in members
