"""What prevents copying is read at equal quality: from made-up runs, and from a tiny study that changes one thing."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
from pooled import load_pooled

from helpers.base.paths import RESULTS
from helpers.book.figures.prevention import plot_trajectories
from helpers.book.summaries import prevention as summaries
from helpers.book.words import share_text
from helpers.copies.conclusions.prevention import (
    COLUMNS,
    at_equal_quality,
    own_scores,
    replayed_by_one,
    stopped_early,
    trajectories,
)
from helpers.copies.pooled import published_nulls
from helpers.sound.profiles import load_profile
from helpers.stages import agreement
from helpers.study import publication, registry

UPDATES = [100, 200, 400, 800]


def rows(intervention: str, rates: list[float], kids: list[float], losses: list[float] | float = np.nan, draw: int = 0):
    table = pd.DataFrame({"updates": UPDATES, "own_near_exact_rate": rates, "kid": kids, "held_out_loss": losses})
    table = table.assign(intervention=intervention, n_train=500, draw=draw, detector="mel", n_defined=250)
    share, kid = table["own_near_exact_rate"], table["kid"]
    table = table.assign(own_near_exact_low=share / 2, own_near_exact_high=share * 1.5, caption_agreement=0.5)
    return table.assign(kid_low=kid / 2, kid_high=kid * 2, n_compared=100)


@pytest.fixture
def table():
    study = rows(summaries.STUDY, [0.0, 0.1, 0.5, 0.9], [0.4, 0.2, 0.1, 0.15], [0.6, 0.5, 0.7, 0.9])
    worse = rows("a limit", [0.0, 0.02, 0.04, 0.06], [0.5, 0.3, 0.2, 0.25])
    better = rows("mixtures", [0.0, 0.01, 0.02, 0.2], [0.4, 0.2, 0.08, 0.05])
    return pd.concat([study, worse, better], ignore_index=True)


def test_a_changed_run_is_read_where_it_is_best_beside_the_first_checkpoint_that_is_as_good(table):
    study, changed = table[table["intervention"] == summaries.STUDY], table[table["intervention"] != summaries.STUDY]
    read = at_equal_quality(changed, study, "mel").set_index("intervention")
    assert read.loc["a limit", ["updates", "study_updates"]].tolist() == [400, 200]
    assert read.loc["a limit", ["own_near_exact_rate", "study_own_near_exact_rate"]].tolist() == [0.04, 0.1]
    assert read.loc["mixtures", "updates"] == 800 and np.isnan(read.loc["mixtures", "study_own_near_exact_rate"])
    assert at_equal_quality(changed.assign(draw=1), study, "mel")["study_updates"].isna().all(), "another draw's clips"
    assert stopped_early(study, "mel")["updates"].tolist() == [200]


def test_the_page_says_what_came_of_each_change(table):
    told = summaries.sentences(table)
    assert told == [
        "**Unchanged**, where clips of held-out prompts are nearest to real sound (held-out KID 0.100): 50\u00a0% of the prompts are replayed, "
        "one number for each draw. After the last update: 90\u00a0%.",
        "**Early stopping**, where the loss on held-out clips is lowest (held-out KID 0.200): 10\u00a0%.",
        "**A limit**, where its clips of held-out prompts are nearest to real sound (held-out KID 0.200): 4\u00a0%; the unchanged model, when its "
        "KID is first as low, 10\u00a0%. The intervals overlap.\n  - After the last update: 6\u00a0%.\n  - Early stopping of the same draws: 10\u00a0% (held-out KID "
        "0.200). The intervals overlap.\n  - Of held-out prompts, its clips agree with their captions by 0.50 (CLAP's cosine), those of the unchanged model by 0.50.",
        "**Mixtures**, where its clips of held-out prompts are nearest to real sound (held-out KID 0.050): 20\u00a0%; the unchanged model never has so low a KID.\n"
        "  - After the last update: 20\u00a0%.\n  - Early stopping of the same draws: 10\u00a0% (held-out KID 0.200). The intervals overlap.\n"
        "  - Of held-out prompts, its clips agree with their captions by 0.50 (CLAP's cosine).",
        "**So far**, no change is shown to prevent copying at equal quality.",
    ]
    apart = table.assign(
        own_near_exact_high=table["own_near_exact_rate"], own_near_exact_low=table["own_near_exact_rate"]
    )
    assert summaries.sentences(apart)[-1].startswith(
        "**So far**, by log-mel, fewer prompts are replayed at equal quality with a limit (1 draw). KID does not see"
    )
    assert "The intervals do not overlap: with the change fewer prompts are replayed." in summaries.sentences(apart)[2]
    assert "The intervals do not overlap: with the change more prompts are replayed." in summaries.sentences(apart)[3]
    assert len(summaries.sentences(table[table["intervention"] == summaries.STUDY])) == 2, "nothing is changed yet"
    shown = summaries.in_words(summaries.compared(table), "mel", "4.2\u00a0%")
    assert shown["unchanged, when as good"].tolist() == [
        "–",
        "–",
        "10\u00a0% (5\u00a0to\u00a015)",
        "–",
        "–",
    ]
    assert shown.iloc[-1][["change", "near-exact"]].tolist() == ["twins: no copies", "4.2\u00a0%"]
    two = pd.concat([table, table.assign(draw=1)])
    assert (
        "50\u00a0% and 50\u00a0%" in summaries.sentences(two)[0]
        and len(plot_trajectories(two, 0.04).axes[0].get_lines()) >= 6
    )


def test_prompts_that_one_of_two_models_replays_are_counted_and_told(table):
    ours = pd.DataFrame({"own_id": list("abcdefgh"), "near_exact": pd.array([True, False] * 4, "boolean")})
    theirs = ours.assign(near_exact=pd.array([True] * 7 + [None], "boolean"))[::-1]
    assert replayed_by_one(ours, theirs) == (0, 3, 0.25), "the last position is undefined"
    run = {"n_train": 500, "draw": 0}
    clips = [
        ours.assign(intervention="a limit", updates=400, **run),
        theirs.assign(intervention=summaries.STUDY, updates=200, **run),
    ]
    told = summaries.sentences(table, pd.concat(clips))
    assert (
        "0 are replayed only with the change, 3 only without it (McNemar's exact test: p 0.25); exploratory." in told[2]
    )


def test_what_an_agreement_means_is_told_beside_it(table):
    """By clips of the same checkpoint with the captions of others, and by recorded clips."""
    columns = ["kind", "updates", "own", "another"]
    measured = [("recorded", 0, 0.42, 0.13), ("generated", 200, 0.4, 0.3), ("generated", 400, 0.32, 0.18)]
    agreements = pd.DataFrame(measured, columns=columns).assign(intervention="a limit", n_train=500, draw=0)
    told = summaries.sentences(table, agreements=agreements)
    assert (
        "those of the unchanged model by 0.50. With the captions of other clips the changed model's agree by 0.18. Recorded held-out "
        "clips (more of them) agree with their own by 0.42, with others' by 0.13." in told[2]
    )
    assert "others'" not in told[3], "not measured of the other change"
    assert summaries.sentences(table, agreements=pd.DataFrame()) == summaries.sentences(table)


def test_agreement_with_the_own_caption_and_with_others(tmp_path):
    """Of held-out captions: recorded clips, and those of each checkpoint. The first clip is silent, two captions are equal."""
    angle = np.radians([0, 10, 20, 40, 0, 0, 60, 90])
    queries = pd.DataFrame(
        {"kind": ["heldout"] * 4 + ["generated"] * 3 + ["ceiling"], "caption": [*"abbc", *"abc", "d"]}
    )
    queries["prompt_set"] = [None] * 4 + ["heldout"] * 3 + ["train"]
    queries["updates"] = [0] * 4 + [200, 200, 400, 400]
    queries.assign(silent=[True] + [False] * 7).to_parquet(tmp_path / "queries.parquet")
    np.save(tmp_path / "clap.npy", np.column_stack([np.cos(angle), np.sin(angle)]).astype(np.float32))
    np.save(tmp_path / "clap_text.npy", np.float32([[1, 0]] * 4 + [[1, 0], [0, 1], [1, 0], [1, 0]]))
    agreement.compute(tmp_path, {"retrieval": tmp_path}, load_profile("tiny"), 500, 1)
    made = pd.read_csv(tmp_path / "agreement.csv")
    assert list(made) == [*agreement.COLUMNS] and (made["draw"] == 1).all()
    about = made[["kind", "updates", "n_clips"]].to_numpy().tolist()
    assert about == [["generated", 200, 2], ["generated", 400, 1], ["recorded", 0, 3]]
    cos = np.cos(np.radians([10, 20, 40]))
    np.testing.assert_allclose(made["own"], [0.5, 0.5, cos.mean()], atol=1e-6)
    # 10 and 20 degrees have one caption: each pairs with the third's, and it with both
    np.testing.assert_allclose(made["another"], [0.5, np.nan, (cos[0] + cos[1] + 2 * cos[2]) / 4], atol=1e-6)
    assert made["own_low"].isna().tolist() == [False, True, False], "of one clip there is no interval"
    assert made["own_low"].iloc[2] < made["own"].iloc[2] < made["own_high"].iloc[2]
    (tmp_path / "clap.npy").unlink()
    agreement.compute(tmp_path, {"retrieval": tmp_path}, load_profile("tiny"), 500, 1)
    assert pd.read_csv(tmp_path / "agreement.csv").empty, "CLAP is not among the detectors"


def test_whether_a_change_brings_back_other_training_clips_instead_is_told(table):
    apart = table.assign(
        own_near_exact_high=table["own_near_exact_rate"], own_near_exact_low=table["own_near_exact_rate"]
    )
    for share, said in (
        (4, "There is no sign that others are replayed: 10\u00a0%"),
        (30, "Others may be replayed: 75\u00a0%"),
    ):
        known = {"a limit": share, summaries.STUDY: 0, summaries.TWINS: 4}
        clips = [
            pd.DataFrame({"intervention": name, "another": [True] * n + [False] * (40 - n), "updates": updates})
            for name, n in known.items()
            for updates in (200, 400, 800)
        ]
        clips = pd.concat(clips).assign(n_train=500, draw=0, own_id="a", near_exact=True)
        told = summaries.sentences(apart, clips)
        assert said in told[2] and "of twins 10\u00a0%" in told[2]


def test_a_distance_of_more_clips_is_not_held_beside_the_others(table):
    """After the last update more prompts are asked; one silent clip fewer makes no difference."""
    uneven = table.assign(n_compared=np.where(table["updates"] == 800, 250, np.where(table["updates"] == 400, 99, 100)))
    rows = summaries.compared(uneven).set_index("intervention")
    assert (
        rows.loc["mixtures", "updates"] == 400
        and rows.loc["mixtures", "study_updates"] != rows.loc["mixtures", "study_updates"]
    )
    kid = plot_trajectories(uneven, 0.04).axes[1]
    assert max(line.get_xdata().max() for line in kid.get_lines() if len(line.get_xdata())) == 400


def test_which_of_the_nearest_clips_are_others_of_the_own_set():
    clips = summaries.all_clips(load_profile("pocket"))
    share = clips[clips["updates"].isin([0, 15_000])].groupby(["intervention", "draw"])["another"].mean()
    assert share[summaries.STUDY].max() < 0.05, "nearly all of these are of the prompt's own clip"
    assert share[summaries.TWINS].min() > 0.02 and share[summaries.TWINS].max() < 0.1, "by chance 499 of 8,999"


def test_what_is_published_of_a_changed_study_without_its_quality_is_passed_over(tmp_path):
    """In the order of CONTRIBUTING.md, quality comes second."""
    law = load_profile("pocket")
    shutil.copytree(RESULTS / "pocket" / "loss_gap" / "n500_d0", tmp_path / "pocket" / "loss_gap" / "n500_d0")
    for name in ("scores.parquet", "null.parquet"):
        pd.read_parquet(RESULTS / "pocket" / name).query("n_train == 500 and draw == 0").to_parquet(
            tmp_path / "pocket" / name
        )
    quality = pd.read_csv(RESULTS / "pocket" / "quality.csv").query("n_train == 500 and draw == 0")
    quality.to_csv(tmp_path / "pocket" / "quality.csv", index=False)
    alone = summaries.all_trajectories(law, tmp_path)
    assert set(alone["intervention"]) == {summaries.STUDY} and set(alone["draw"]) == {0}
    made = own_scores(tmp_path / "pocket", law)
    (tmp_path / "pocket_capped" / "own_scores" / "n500_d0").mkdir(parents=True)
    made.to_parquet(tmp_path / "pocket_capped" / "own_scores" / "n500_d0" / "own_scores.parquet")
    pd.testing.assert_frame_equal(summaries.all_trajectories(law, tmp_path), alone)
    assert summaries.all_trajectories(law, tmp_path / "none").empty


def test_a_changed_study_publishes_what_it_is_judged_by_and_no_more(tmp_path, monkeypatch):
    """From a tiny study to the rows: its shares are those of the search itself, with the median twin of the unchanged one."""
    study = load_pooled()
    changed = dataclasses.replace(study, name="changed", intervention="fewer updates").replace(
        "generation", guidance=3.0
    )
    for profile in (study, changed):
        for name in ("own_scores", "quality", "loss_gap", "retrieval"):
            if name != "own_scores" or profile is changed:
                registry.finished(name, profile, 4, 0)
    monkeypatch.setattr(publication, "is_dirty", lambda commit: False)
    stages = [
        stage
        for stage in registry.build_all(changed)
        if stage.name in ("own_scores", "quality", "retrieval", "loss_gap")
    ]
    publication.publish([stage for stage in stages if stage.label == "n4_d0"], tmp_path / "changed")
    made = {path.relative_to(tmp_path / "changed").parts[0] for path in (tmp_path / "changed").glob("*/*/*")}
    assert made == {"own_scores", "quality"}, "the tables of the search stay at home"
    search = registry.finished("retrieval", study, 4, 0).path
    null = pd.read_parquet(search / "null.parquet")
    tables = (
        pd.read_csv(registry.finished(name, changed, 4, 0).path / f"{name}.csv") for name in ("quality", "loss_gap")
    )
    found = trajectories(own_scores(tmp_path / "changed", changed), null, *tables, changed.intervention, changed)
    assert list(found) == list(COLUMNS) and sorted(found["updates"].unique()) == [2, 3, 4, 6]
    assert set(found["n_defined"]) == {3, 8} and found["held_out_loss"].notna().all()
    whole = tmp_path / "whole" / "retrieval" / "n4_d0"
    whole.mkdir(parents=True)
    shutil.copy(registry.finished("retrieval", changed, 4, 0).path / "scores.parquet", whole)
    pd.testing.assert_frame_equal(
        own_scores(tmp_path / "changed", changed), own_scores(tmp_path / "whole", changed).reset_index(drop=True)
    )


def test_the_changed_studies_differ_from_the_study_in_one_thing():
    law = load_profile("pocket")
    sections = ("corpus", "training", "generation", "retrieval", "thresholds", "twins", "codec", "text", "mel")
    changes = {}
    for name in summaries.CHANGED:
        profile = load_profile(name)
        assert profile.intervention and profile.schedules[0] == law.schedules[law.sizes.index(500)]
        changes[name] = [section for section in sections if getattr(profile, section) != getattr(law, section)]
    assert changes == {"pocket_capped": ["generation"], "pocket_captions": ["training"], "pocket_mixing": ["training"]}


def test_the_mark_for_every_share_is_that_of_the_twins_of_the_same_size():
    law = load_profile("pocket")
    nulls = published_nulls(RESULTS / "pocket", law, "aisfx").set_index(["kind", "n_train"])
    rate, low, high = nulls.loc[("twins", 500), ["own_near_exact_rate", "own_near_exact_low", "own_near_exact_high"]]
    assert summaries.twins_in_words(law, "aisfx") == share_text(rate, low, high) != summaries.twins_in_words(law, "mel")
