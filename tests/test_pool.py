"""The study of onsets, tiny: every checkpoint of every run searched in one gallery, all training clips of the pool."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from pooled import SCHEDULES, load_pooled

from helpers.base.arms import full_arms, list_arms
from helpers.copies.conclusions.evidence import VERDICTS
from helpers.copies.pooled import judge_own
from helpers.sound import corpus
from helpers.study import registry


@pytest.fixture(scope="module")
def profile():
    return load_pooled()


def test_arms_at_every_checkpoint(profile):
    arms = list_arms(profile, 4, 0)
    assert [name for name, arm in arms.items() if arm.updates and arm.prompts == "train"] == [
        "u00002",
        "u00003",
        "u00004",
    ]
    assert {
        name: arm.n_prompts for name, arm in arms.items() if arm.updates and arm.prompts == "heldout"
    } == dict.fromkeys(("heldout_u00002", "heldout_u00003", "heldout_u00004"), 3)
    assert {"main", "heldout", "u00002"} <= set(full_arms(profile, 4, 0)) and "heldout_u00002" not in full_arms(
        profile, 4, 0
    )
    assert full_arms(profile.replace("retrieval", gallery="run"), 4, 0) == list(arms)


def test_runs_share_one_gallery(profile):
    """Each query is searched in all training clips, keeps its score to its own, and twins of every size mean the same."""
    folder = registry.finished("scores", profile).path
    clips = pd.read_parquet(registry.finished("corpus", profile).path / "clips.parquet").query("split == 'train'")
    scores, null = (pd.read_parquet(folder / f"{name}.parquet") for name in ("scores", "null"))
    own = set(clips["clip_id"].to_numpy()[corpus.subset(profile.training_run(4, 0), len(clips))])
    run = scores.query("n_train == 4 and draw == 0 and detector == 'mel' and arm != 'other_draw'")
    asked = run[run["own_id"] != ""]
    assert set(asked["own_id"]) <= own and not set(run["ref_id"]) <= own
    assert (asked["own_score"] <= asked["score"].where(asked["rank"] == 1, 1) + 1e-6).all()
    hit = asked[(asked["rank"] == 1) & (asked["ref_id"] == asked["own_id"])]
    np.testing.assert_allclose(hit["own_score"], hit["score"], atol=1e-5)
    assert {"own_score"} <= set(null) and null.query("kind == 'twins'")["own_score"].notna().all()
    ceiling = pd.read_parquet(folder / "ceiling.parquet").query("detector == 'mel'").set_index("clip_id")["own_score"]
    assert set(asked["own_id"]) <= set(ceiling.index) and (ceiling > 0.9).all()


def test_only_some_arms_are_searched_in_full(profile):
    tables = {
        name: pd.read_parquet(registry.finished("retrieval", profile, 4, 0).path / f"{name}.parquet")
        for name in ("scores", "background")
    }
    scores = tables["scores"]
    full = set(full_arms(profile, 4, 0))
    brief = scores[~scores["arm"].isin(full)]
    assert set(brief["arm"]) == {"heldout_u00002", "heldout_u00003", "heldout_u00004"}
    assert set(brief["rank"]) == {1} and set(brief["detector"]) == {"mel"}
    assert set(scores[scores["arm"].isin(full)]["detector"]) == {"mel", "mel_aligned"}
    assert not tables["background"]["query_id"].isin(brief["query_id"]).any()


def test_losses_at_every_checkpoint(profile):
    losses = pd.read_csv(registry.finished("loss_gap", profile, 4, 0).path / "loss_gap.csv")
    assert list(losses) == ["n_train", "draw", "updates", "noise_level", "train", "held_out"]
    assert sorted(losses["updates"].unique()) == list(SCHEDULES[0]) and losses["noise_level"].nunique() == 10
    assert ((losses[["train", "held_out"]] > 0.1) & (losses[["train", "held_out"]] < 3)).all(axis=None)
    folder = registry.finished("training", profile, 4, 0).path / "checkpoints"
    assert len(list(folder.glob("raw_*"))) == len(list(folder.glob("ema_*"))) == len(SCHEDULES[0])


def test_prompts_of_another_draw(profile):
    """The cross-draw null: captions of clips that the model never met, searched with their own clips in the gallery."""
    run, n_pool = profile.training_run(4, 0), profile.corpus.n_train
    other = corpus.other_subset(run, n_pool)
    assert other.tolist() == corpus.subset(profile.training_run(4, 1), n_pool).tolist()
    crowded = dataclasses.replace(run, offsets=(0, 2))
    following = corpus.other_subset(crowded, n_pool)  # as the next draw shares clips
    assert following.tolist() == corpus.subset(dataclasses.replace(run, n_train=8), n_pool)[4:].tolist()
    folder = registry.finished("retrieval", profile, 4, 0).path
    clips = pd.read_parquet(registry.finished("corpus", profile).path / "clips.parquet").query("split == 'train'")
    asked = pd.read_parquet(folder / "scores.parquet").query("arm == 'other_draw' and detector == 'mel' and rank == 1")
    ceiling = pd.read_parquet(folder / "null.parquet").query("kind == 'ceiling' and detector == 'mel'")
    assert len(asked) and asked["own_score"].notna().all() and (asked["own_score"] < 0.99).all()
    assert set(asked["own_id"]) <= set(clips["clip_id"].to_numpy()[other]) & set(ceiling["own_id"])
    with pytest.raises(ValueError, match="n_other_draw: expected 0, or training.offsets"):
        profile.replace("training", offsets=())


def test_what_is_read_from_one_gallery_is_of_the_own_clip(profile):
    """Thresholds and the onset judge by the own score and one median twin of all runs; the ledger follows."""
    scores, table = (registry.finished(name, profile).path for name in ("scores", "thresholds"))
    decisions = pd.read_parquet(table / "decisions.parquet").query("detector == 'mel' and arm == 'u00002'")
    null = pd.read_parquet(scores / "null.parquet").query("kind == 'twins' and detector == 'mel' and rank == 1")
    ceiling = pd.read_parquet(scores / "ceiling.parquet").query("detector == 'mel'")
    made = pd.read_parquet(scores / "scores.parquet").query("detector == 'mel' and arm == 'u00002' and rank == 1")
    judged = judge_own(made, null, ceiling, profile.thresholds.theta).set_index("query_id").loc[decisions["query_id"]]
    sent = judged["position"].notna().to_numpy()  # of a clip that was not sent through the codec the ceiling is guessed
    assert sent.sum() > 5 and decisions["position"].notna().all()
    decisions, judged = decisions[sent], judged[sent]
    np.testing.assert_allclose(decisions["position"], judged["position"], atol=1e-5)
    assert decisions["own_near_exact"].tolist() == decisions["near_exact"].tolist() == judged["near_exact"].tolist()
    onsets = pd.read_csv(registry.finished("onset", profile).path / "onset.csv")
    assert set(zip(onsets["n_train"], onsets["draw"])) == {(4, 0), (4, 1), (8, 0)} and len(onsets) == 6
    detection = pd.read_csv(registry.finished("detection", profile).path / "detection.csv")
    assert set(detection["negatives"]) == {"twins", "heldout", "same_bed"} and set(detection["bias"]) == {"none", "own"}
    claims = pd.read_csv(registry.finished("findings", profile).path / "claims.csv")
    assert set(claims["verdict"]) <= set(VERDICTS)
