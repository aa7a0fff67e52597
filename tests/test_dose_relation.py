"""Whether copies bring a replay forward: the exponent of the number of copies, from one model's checkpoints."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from pooled import SCHEDULES, load_pooled
from scipy.special import expit

from helpers.base.protocol import read_protocol
from helpers.base.settings import PlantedConfig
from helpers.book.summaries import dose as summaries
from helpers.copies.conclusions import dose_relation
from helpers.sound.profiles import load_profile
from helpers.study import publication, registry

UPDATES = (250, 500, 1000, 2000, 4000, 8000, 16000)
GROUPS = {4: 20, 16: 16, 64: 8, 128: 4}


def clips(exponent: float, seed: int, singles: int = 8) -> pd.DataFrame:
    """Clips of a model in which a clip with m copies comes back, in half of the seeds, after 20,000 * m^-exponent updates."""
    rng, rows = np.random.default_rng(seed), []
    doses = {1: singles, **GROUPS}
    for copies, groups in doses.items():
        for group in range(groups):
            luck = rng.normal(0, 0.3)  # groups differ
            for updates in UPDATES:
                share = expit(3 * (math.log(updates / 20_000) + exponent * math.log(copies) + luck))
                rows += [
                    (f"{copies}_{group}", copies, "other" if group % 2 and copies > 1 else "same", updates, hit)
                    for hit in rng.random(4) < share
                ]
    table = pd.DataFrame(rows, columns=["cluster_id", "copies", "caption_kind", "updates", "near_exact"])
    return table.astype({"near_exact": "boolean"})


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_the_exponent_that_was_put_in_comes_out(exponent):
    within = 0
    for seed in range(40):
        found = dose_relation.relations(clips(exponent, seed)).set_index(["caption_kind", "clips"])
        row = found.loc[("same", dose_relation.ALL)]
        assert abs(row["exponent"] - exponent) < 0.45
        within += row["exponent_low"] <= exponent <= row["exponent_high"]
    assert within >= 34  # 95 % of 40 are 38; a few groups make the interval a little short


def test_copies_that_do_not_matter_are_told_from_those_that_act_like_epochs():
    row = dose_relation.relations(clips(1.0, 1)).iloc[0]
    assert row["exponent_low"] > 0 and row["n_clusters"] == 24 and row["n_generated"] == 24 * 4 * len(UPDATES)
    none = dose_relation.relations(clips(0.0, 1)).iloc[0]
    assert none["exponent_low"] < 0 < none["exponent_high"] < 0.8


def test_each_arm_is_read_whole_without_the_largest_groups_and_from_when_clips_are_good():
    found = dose_relation.relations(clips(0.5, 2), good_from=1000)
    named = [dose_relation.ALL, dose_relation.FEWER_COPIES, dose_relation.GOOD]
    assert list(zip(found["caption_kind"], found["clips"])) == [
        (arm, name) for arm in dose_relation.ARMS for name in named
    ]
    same = found[found["caption_kind"] == "same"].set_index("clips")["n_generated"]
    assert same[dose_relation.FEWER_COPIES] == 22 * 4 * len(UPDATES)
    assert same[dose_relation.GOOD] == 24 * 4 * 5
    assert dose_relation.GOOD not in set(dose_relation.relations(clips(0.5, 2))["clips"])


def test_an_exponent_that_cannot_be_known_says_why():
    table = clips(0.5, 3)
    nothing = dose_relation.relations(table.assign(near_exact=pd.array([False] * len(table), dtype="boolean")))
    assert nothing["exponent"].isna().all() and set(nothing["note"]) == {"no clip counts"}
    falling = table.assign(updates=1 / table["updates"])
    assert set(dose_relation.relations(falling)["note"]) == {"the share does not rise with updates"}
    one_dose = table[table["copies"].isin([1, 16])]
    assert "too few numbers of copies, checkpoints or groups" in set(dose_relation.relations(one_dose)["note"])


def test_shares_and_onsets_have_a_row_for_each_number_of_copies():
    table = clips(0.5, 4)
    undefined = table.copy()
    undefined.loc[0, "near_exact"] = pd.NA
    shares = dose_relation.shares(undefined, n_bootstrap=100).set_index(["caption_kind", "copies", "updates"])
    assert len(shares) == 9 * len(UPDATES)  # four numbers of copies in two arms, and single clips
    first = shares.loc[("same", 1, UPDATES[0])]
    assert first["n_generated"] == 32 and first["n_defined"] == 31
    onsets = dose_relation.onsets(table).set_index(["caption_kind", "copies"])["updates"]
    assert onsets["same", 128] < onsets["same", 64] < onsets["same", 16] < onsets["same", 4] < onsets["same", 1]


def test_clips_are_good_from_the_first_checkpoint_near_the_best():
    quality = pd.DataFrame(
        [("heldout", "aisfx", updates, kid) for updates, kid in zip(UPDATES, (9, 5, 3, 1.9, 1, 1.2, 1.1))]
        + [("clusters", "aisfx", 250, 0.1), ("heldout", "clap", 250, 0.1)],
        columns=["prompt_set", "embedding", "updates", "kid"],
    )
    assert dose_relation.good_from(quality, "aisfx") == 2000
    assert math.isnan(dose_relation.good_from(quality.iloc[:0], "aisfx"))


def test_a_clip_that_is_not_of_the_planted_set_is_refused():
    truth = pd.DataFrame({"clip_id": ["dup_1"], "copies": [4], "caption_kind": ["same"], "cluster_id": ["planted_1"]})
    judged = pd.DataFrame({"own_id": ["dup_1", "train_7"]})
    with pytest.raises(ValueError, match="expected clips of the planted training set, got 'train_7'"):
        dose_relation.with_truth(judged, truth)
    assert dose_relation.with_truth(judged.iloc[:1], truth)["copies"].tolist() == [4]


def test_a_study_of_copies_from_the_mixtures_to_its_tables(tmp_path, monkeypatch):
    """One model on planted copies, each group asked with every seed at every checkpoint; its tables are published, and which clip is a copy of which."""
    profile = load_pooled("copies")
    folder = registry.finished("dose_onset", profile).path
    truth = pd.read_parquet(registry.finished("planted", profile).path / "clips.parquet").query("split == 'train'")
    assert truth["kind"].value_counts().to_dict() == {"exact": 8, "single": 8}
    assert truth.groupby("copies")["cluster_id"].nunique().to_dict() == {1: 8, 2: 2, 4: 1}
    dose = pd.read_csv(folder / "dose_shares.csv")
    assert list(dose) == [*dose_relation.COLUMNS] and sorted(dose["updates"].unique()) == list(SCHEDULES[0])
    groups = dose[dose["updates"] == 4].set_index(["copies", "caption_kind"])
    assert groups["n_clusters"].to_dict() == {(1, "same"): 2, (2, "other"): 1, (2, "same"): 1, (4, "same"): 1}
    assert groups["n_generated"].sum() == 5 * 2, "two seeds a group, at earlier checkpoints too"
    assert list(pd.read_csv(folder / "dose_onset.csv")) == [*dose_relation.ONSET_COLUMNS]
    assert list(pd.read_csv(folder / "dose_relation.csv")) == [*dose_relation.RELATION_COLUMNS]
    monkeypatch.setattr(publication, "is_dirty", lambda commit: False)
    for name in ("own_scores", "quality"):
        registry.finished(name, profile, 16, 0)
    publication.publish(registry.build_all(profile), tmp_path / "copies")
    published = {path.name for path in (tmp_path / "copies").rglob("*") if path.suffix in (".csv", ".parquet")}
    assert published == {
        "clips.parquet",
        "dose_shares.csv",
        "dose_onset.csv",
        "dose_relation.csv",
        "own_scores.parquet",
        "quality.csv",
    }


def test_the_copies_of_the_plan_are_those_of_the_profile():
    profile = load_profile("pocket_dose")
    groups = dict(profile.planted.cells)
    assert {copies: count // 2 for copies, count in groups.items()} == read_protocol()["dose"]["copies"]
    assert profile.training_run(4500, 0).updates >= 12_000
    assert sum(copies * count for copies, count in groups.items()) == 1360


LAW = pd.DataFrame([("near_exact", 0.97, 0.88, 1.06)], columns=["measure", "exponent", "exponent_low", "exponent_high"])


@pytest.mark.parametrize(
    ("b", "half", "says"),
    [
        (0.1, 0.2, "whether copies matter at all cannot be told"),
        (0.9, 0.2, "So perhaps only the clip's share of the set counts."),
        (0.5, 0.1, "a copy does less than its share of the set."),
        (1.5, 0.1, "a copy does more than its share of the set."),
    ],
)
def test_what_the_exponent_means_is_told_by_its_interval(b, half, says):
    found = dose_relation.relations(clips(0.5, 2)).assign(exponent=b, exponent_low=b - half, exponent_high=b + half)
    assert says in summaries.relation_sentence(found, LAW)


def test_the_planned_reading_beside_the_primary_is_told_with_what_follows_from_it():
    found = dose_relation.relations(clips(0.5, 2), good_from=1000)
    first = (found["caption_kind"] == "same") & (found["clips"] == dose_relation.ALL)
    good = (found["caption_kind"] == "same") & (found["clips"] == dose_relation.GOOD)
    for b, says in ((0.95, "and the same follows."), (0.5, ": a copy does less than its share.")):
        ends = {"exponent": b, "exponent_low": b - 0.2, "exponent_high": b + 0.2}
        table = found.copy()
        table.loc[first, ["exponent", "exponent_low", "exponent_high"]] = [0.9, 0.7, 1.1]
        table.loc[good, list(ends)] = list(ends.values())
        told = summaries.relation_sentence(table, LAW)
        assert (
            f"also in the plan, begins only once clips of held-out prompts are good. By it b is {b:.2f} ({b - 0.2:.2f} to {b + 0.2:.2f})"
            in told
            and told.endswith(says)
        )


def test_when_each_number_of_copies_begins_is_told():
    onsets = dose_relation.onsets(clips(0.8, 5))
    told = summaries.begins(onsets)
    assert "for a clip that occurs 128 times" in told and told.startswith("The onset comes after")
    assert "for a clip that occurs once" in told
    waiting = summaries.begins(onsets.assign(censored=onsets["copies"] == 1))
    assert "It has not come by the last checkpoint, at 16,000 updates, for a clip that occurs once." in waiting
    shown = summaries.onsets_in_words(onsets.assign(censored=onsets["copies"] == 1))
    assert shown.iloc[0, 2] == "not by 16,000" and "\u00a0to\u00a0" in shown.iloc[1, 2]


def test_copies_are_planted_in_the_numbers_that_are_asked_for():
    with pytest.raises(ValueError, match=r"groups: expected one number for each of copies \(2, 4\), got \(3,\)"):
        PlantedConfig(n_train=40, copies=(2, 4), groups=(3,))
    with pytest.raises(ValueError, match="expected at least the 32 planted copies, got 30; lower groups"):
        PlantedConfig(n_train=30, copies=(2, 4), groups=(4, 2))  # of both kinds
    assert PlantedConfig(n_train=30, copies=(2, 4), groups=(4, 2), kinds=("exact",)).cells == ((2, 4), (4, 2))
    assert "groups" not in PlantedConfig().digest_fields() and "kinds" not in PlantedConfig().digest_fields()
    with pytest.raises(ValueError, match=r"sizes: expected corpus.n_train = 16 alone, .* got \(8,\)"):
        dataclasses.replace(load_pooled("copies"), sizes=(8,))
