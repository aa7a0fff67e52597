"""The whole pipeline, tiny: every result file is there, and a planted copy is told from an unrelated clip."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers.base.paths import ROOT
from helpers.book.played_clips import PlayedClips
from helpers.copies.bias import normalised_scores
from helpers.copies.calibration import calibrate_threshold, flag
from helpers.copies.conclusions.evidence import VERDICTS
from helpers.copies.detectors import Detectors
from helpers.copies.search import top_k
from helpers.models import regeneration
from helpers.models.codec import load_codec
from helpers.models.vocoder import load_vocoder
from helpers.sound import corpus
from helpers.sound.profiles import load_profile
from helpers.study import registry, store

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
    return corpus.load_corpus(registry.finished("corpus", profile).path)


def test_every_run_arm_and_detector_has_its_rows(profile):
    table = pd.read_csv(registry.finished("thresholds", profile).path / "replication.csv")
    assert set(REPLICATION) <= set(table.columns)
    assert not table.duplicated(["training_set", "n_train", "draw", "arm", "detector", "null", "fpr"]).any()
    assert set(table["detector"]) == set(profile.retrieval.detectors)
    small = {"main", "u00003", "raw", "heldout", "guidance1", "guidance3", "seeds"}
    for (training_set, n_train), arms in {
        ("main", 4): small,
        ("main", 8): small - {"guidance1", "guidance3"},
        ("duplicates", 16): {"main"},
    }.items():
        run = table[(table["training_set"] == training_set) & (table["n_train"] == n_train)]
        assert set(run["arm"]) == arms
        main = run[(run["arm"] == "main") & (run["detector"] == "mel")]
        pairs = {(null, fpr) for null in ("twins", "heldout", "twins_common") for fpr in (0.2, 0.1)}
        assert set(zip(main["null"], main["fpr"])) == pairs
    main = table[(table["arm"] == "main") & (table["training_set"] == "main")]
    assert (main["n_generated"] == 8).all()
    primary = table["detector"] == profile.thresholds.detector
    for rate in ("near_exact_rate", "null_near_exact_rate"):  # theta was set for one detector
        assert table.loc[primary, rate].between(0, 1).all() and table.loc[~primary, rate].isna().all()
    assert main["own_clip_top1_rate"].between(0, 1).all()
    flagged = table.dropna(subset=["tau"])
    assert (flagged["ci_low"] <= flagged["flagged_rate"]).all() and (
        flagged["flagged_rate"] <= flagged["ci_high"]
    ).all()


def test_the_sweep_and_the_strata_are_there(profile):
    folder = registry.finished("thresholds", profile).path
    sensitivity = pd.read_csv(folder / "sensitivity.csv")
    assert {0, 1} <= set(sensitivity["contaminated"]) and set(sensitivity["beta"]) == set(profile.thresholds.betas)
    choices = pd.read_csv(folder / "choices.csv")
    runs = choices.groupby(["training_set", "n_train", "draw", "detector"])
    assert (runs["chosen"].sum() == 1).all() and len(runs) == 3 * len(profile.retrieval.detectors)
    best = runs["auroc"].transform("max")
    assert (choices.loc[choices["chosen"], "auroc"] >= best[choices["chosen"]] - 1e-9).all()
    strata = pd.read_csv(folder / "strata.csv")
    for kinds in (["music", "no music"], ["one event", "several events"]):
        clips = strata[strata["stratum"].isin(kinds)].groupby(["kind", "n_train"])["n"].sum()
        assert clips["generated"].tolist() == [8, 8] and (clips["twins"] == profile.twins.n_twins).all()


def test_the_optimal_denoiser_replays_its_training_clips(profile):
    """The positive control goes through codec, vocoder and detector like a generated clip."""
    null = pd.read_parquet(registry.finished("scores", profile).path / "null.parquet")
    replays = null[(null["kind"] == "empirical") & (null["rank"] == 1) & (null["detector"] == "mel")]
    assert len(replays) == 4 and (replays["ref_id"] == replays["own_id"]).all()
    ceiling = pd.read_parquet(registry.finished("scores", profile).path / "ceiling.parquet").query("detector == 'mel'")
    own = ceiling.drop_duplicates("clip_id").set_index("clip_id")["own_score"]
    assert replays["score"].to_numpy() == pytest.approx(own[replays["own_id"]].to_numpy(), abs=0.01)


def test_scores_agree_with_a_slow_computation(profile, data):
    folders = registry.upstream_folders("retrieval", profile, 8, 0)
    scores = pd.read_parquet(registry.finished("retrieval", profile, 8, 0).path / "scores.parquet")
    found = scores[(scores["detector"] == "mel") & (scores["arm"] == "main")]
    detectors = Detectors(profile.retrieval, profile.mel, 16_000, data.mel_mean())
    queries = detectors.features("mel", np.load(folders["generation_main"] / "audio.npy")).astype(np.float64)
    references = detectors.features("mel", data.audio[data.rows("train")[:8]]).astype(np.float64)
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
    folders = registry.upstream_folders("retrieval", profile, 8, 0)
    detectors = Detectors(profile.retrieval, profile.mel, 16_000, data.mel_mean())
    references = detectors.features(detector, data.audio[data.rows("train")[:8]])
    background = detectors.features(detector, data.audio[data.rows("background")])

    def best(audio):
        features = detectors.features(detector, audio)
        scores = top_k(features, references, 1).scores[:, 0]
        return normalised_scores(scores, top_k(features, background, 3).scores, 0.5, 3)

    tau = calibrate_threshold(best(np.load(folders["twins"] / "audio.npy")), 0.2)
    codec, rows = load_codec(ROOT / profile.codec.codec_path), data.rows("train")[:6]
    mels = codec.decode(codec.encode(np.asarray(data.mels[rows])))
    copies = load_vocoder(profile.codec, profile.mel, 16_000)(mels)
    strangers = np.load(folders["roundtrip"] / "audio.npy")[: len(data.rows("heldout"))]
    assert flag(best(copies), tau).mean() >= 5 / 6
    assert flag(best(strangers), tau).mean() <= 0.25


def test_generation_does_not_depend_on_the_batch(profile):
    folder = registry.finished("generation", profile, 8, 0).path
    queries, first = pd.read_parquet(folder / "queries.parquet"), np.load(folder / "first_latents.npy")
    config = profile.replace("generation", n_train=8).generation
    weights = registry.finished("training", profile, 8, 0).path
    alone = regeneration.regenerate(weights, queries.head(3), profile, config, first.shape[1:])
    np.testing.assert_allclose(alone, first[:3], atol=1e-3 * np.abs(first).max())


def test_planted_clusters_are_asked_for_once(profile):
    """The model of the planted set is prompted by originals: groups of copies first, each once."""
    dup = profile.with_duplicates()
    queries = pd.read_parquet(registry.finished("generation", dup, 16, 0).path / "queries.parquet")
    truth = pd.read_parquet(registry.finished("planted", profile).path / "clips.parquet").set_index("clip_id")
    asked = truth.loc[queries["clip_id"]]
    assert (asked["alteration"] == "none").all() and len(queries) == 6 * 2
    assert asked["cluster_id"].value_counts().tolist() == [2] * 6
    assert set(asked["copies"].head(8)) == {2, 4}


def test_nothing_is_computed_twice(profile):
    every = [stage for name in registry.NAMES for stage in registry.build(name, profile)]
    for stage in every:
        store.load_or_run(stage)
    assert not any(store.load_or_run(stage).computed for stage in every)


def test_one_changed_parameter_touches_only_what_follows(profile):
    changed = profile.replace("thresholds", beta=0.7)
    after = ("thresholds", "onset", "dose", "findings")
    for name in registry.NAMES:
        pairs = zip(registry.build(name, profile), registry.build(name, changed))
        assert all((a.digest == b.digest) == (name not in after) for a, b in pairs), name


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [
        ("corpus", {"n_train": 4}, "corpus: expected no n_train or draw, as all runs share this stage, got 4 and None"),
        ("training", {"n_train": 5}, "training: expected one of the profile's runs"),
        ("everything", {}, "stage: expected one of corpus, "),
    ],
)
def test_stages_that_are_not_there_are_refused(profile, name, chosen, message):
    with pytest.raises(ValueError, match=message):
        registry.build(name, profile, **chosen)


def test_findings_hold_a_verdict_for_each_claim(profile):
    folder = registry.finished("findings", profile).path
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
    assert set(claims["verdict"]) <= set(VERDICTS)
    assert json.loads((folder / "summary.json").read_text())["profile"] == "tiny"


@pytest.mark.parametrize("first", ["mel", "mel_aligned"])
def test_the_whole_background_as_a_variant_is_the_background(profile, first):
    used = profile.replace("retrieval", detectors=(first,))
    folder = registry.finished("retrieval", used, min(profile.sizes), 0).path
    whole, variants = (pd.read_parquet(folder / f"{name}.parquet") for name in ("background", "variants"))
    variants = variants.query("contaminated == 0 and size == size.max()")
    assert variants["k"].nunique() > 1
    for k, part in variants.groupby("k"):
        expected = whole[whole["rank"] <= k].groupby("query_id")["score"].mean()
        np.testing.assert_allclose(part["bias"], expected[part["query_id"]], atol=2e-6)


def test_a_users_own_clips_go_all_the_way(profile, data, tmp_path):
    """Without twins, as such clips cannot be mixed anew: the held-out null takes their place. What is bad is left out."""
    rows = [("gone.wav", "a clip that is missing"), ("../outside.wav", "<b>a path that leaves the folder</b>")]
    for number, (audio, caption) in enumerate(zip(data.audio, data.clips["caption"])):
        soundfile.write(tmp_path / f"{number}.wav", audio, 16_000)
        rows.append((f"{number}.wav", caption))
    pd.DataFrame(rows, columns=["file_name", "text"]).to_csv(tmp_path / "metadata.csv", index=False)
    own = dataclasses.replace(profile, name="own", sizes=(4,), draws=(1,)).replace("planted", trained=False)
    own = own.replace("corpus", kind="audiofolder", path=str(tmp_path))
    every = [stage for name in registry.NAMES for stage in registry.build(name, own)]
    assert not [stage.title for stage in every if str(tmp_path) in json.dumps(stage.config)]  # manifests are published
    assert corpus.reader_report(registry.finished("corpus", own).path)["n_left_out"] == 2
    registry.finished("findings", own)
    table = pd.read_csv(registry.finished("thresholds", own).path / "replication.csv")
    assert set(table["null"]) == {"heldout"} and table["twins_top1_rate"].isna().all()
    assert table.dropna(subset=["tau"])["flagged_rate"].between(0, 1).all()
    claims = pd.read_csv(registry.finished("findings", own).path / "claims.csv").set_index("claim")
    assert " of clips " in claims["why"]["The data set holds many duplicates"]


def test_a_random_clip_beside_a_nearest_one_is_another(profile):
    for result in (store.load_or_run(stage) for stage in registry.build("clips", profile)):
        table = pd.read_csv(result.path / "gallery.csv", keep_default_na=False)
        assert (table["random_id"] != table["ref_id"]).all() and not table["slot"].duplicated().any()
        gallery = PlayedClips(result.path)
        assert gallery.audio("quantile 1.00").shape == (65_536,)
        assert gallery["quantile 1.00"]["score"] == table.query("slot.str.startswith('quantile')")["score"].max()
