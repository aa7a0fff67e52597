"""Rates by number of copies from tables made by hand; the trend against the same regression written out."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers.base.settings import PlantedConfig, ThresholdsConfig
from helpers.copies.conclusions.dose import COLUMNS, TREND_COLUMNS, dose_table, trend
from helpers.stages.dose import compute as compute_dose
from helpers.stages.planted import plan


def truth_table(cells):
    """Planted clips for cells (copies, kind, caption kind, groups)."""
    rows = []
    for copies, kind, caption_kind, groups in cells:
        for _ in range(groups):
            cluster = f"c{len({row[1] for row in rows})}"
            rows += [(f"dup_{len(rows) + i}", cluster, copies, kind, caption_kind) for i in range(copies)]
    return pd.DataFrame(rows, columns=["clip_id", "cluster_id", "copies", "kind", "caption_kind"])


def judged(clips, replicated=False, near_exact=None, flagged=None):
    """One generated clip a training clip. Replicated: bool, or bool [N]; else the nearest clip is of the next cluster."""
    own = clips["clip_id"].to_numpy()
    first = clips.groupby("cluster_id", sort=False)["clip_id"].first()
    copy, other = (
        clips["cluster_id"].map(table).to_numpy() for table in (first, first.shift(-1, fill_value=first.iloc[0]))
    )
    hit = np.broadcast_to(replicated, len(own))
    return pd.DataFrame(
        {
            "query_id": [f"q{i}" for i in range(len(own))], "own_id": own, "ref_id": np.where(hit, copy, other),
            "sample_seed": 0, "near_exact": hit if near_exact is None else near_exact,
            "flagged": pd.array(hit if flagged is None else flagged, dtype="boolean"),
            "position": np.where(hit, 0.9, 0.1), "score": 0.5,
        }
    )  # fmt: skip


CELLS = [(1, "single", "same", 40), (2, "exact", "same", 5), (2, "exact", "other", 5), (4, "altered", "same", 5)]


def test_rates_of_a_table_made_by_hand():
    clips = truth_table(CELLS)
    hit = (clips["caption_kind"] == "other") | ((clips["copies"] == 4) & (clips.groupby("cluster_id").cumcount() == 0))
    found = dose_table(judged(clips, hit.to_numpy()), clips, n_bootstrap=200)
    assert tuple(found.columns) == COLUMNS
    found = found.set_index(["copies", "kind", "caption_kind"])
    assert found.index.tolist() == [
        (1, "single", "all"),
        *((2, "exact", c) for c in ("all", "same", "other")),
        *((4, "altered", c) for c in ("all", "same")),  # no group of this cell has other captions
    ]
    assert found.n_clusters.tolist() == [40, 10, 5, 5, 5, 5]
    assert found.n_generated.tolist() == [40, 20, 10, 10, 20, 20]
    assert found.replicated.tolist() == [0, 10, 0, 10, 5, 5]
    assert found.rate.tolist() == [0, 0.5, 0, 1, 0.25, 0.25]
    assert found.flagged_rate.tolist() == found.rate.tolist() == found.own_cluster_top1_rate.tolist()
    np.testing.assert_allclose(found.median_position, [0.1, 0.5, 0.1, 0.9, 0.1, 0.1])


def test_intervals_are_of_clusters():
    """Whole clusters replicate: ten of them, and not their 40 clips, decide the width; a zero keeps its upper bound."""
    clips = truth_table([(1, "single", "same", 30), (4, "exact", "same", 10)])
    hit = (clips["copies"] == 4) & (clips["cluster_id"].str[1:].astype(int) % 2 == 0)
    found = dose_table(judged(clips, hit.to_numpy()), clips, n_bootstrap=2000).set_index(["copies", "caption_kind"])
    row, none = found.loc[4, "all"], found.loc[1, "all"]
    assert row.rate == 0.5
    assert [row.ci_low, row.ci_high] == stats.binom.ppf([0.025, 0.975], 10, 0.5).__truediv__(10).tolist()
    assert none.ci_low == 0 and none.ci_high == pytest.approx(1 - 0.025 ** (1 / 30))


def test_a_copy_of_another_cluster_or_one_that_is_only_near_does_not_count():
    clips = truth_table([(1, "single", "same", 4), (2, "exact", "same", 4)])
    elsewhere = dose_table(judged(clips, False, near_exact=True), clips)
    assert elsewhere.replicated.tolist() == [0, 0, 0] and elsewhere.own_cluster_top1_rate.tolist() == [0, 0, 0]
    merely_near = dose_table(judged(clips, True, near_exact=False), clips)
    assert merely_near.replicated.tolist() == [0, 0, 0] and merely_near.own_cluster_top1_rate.tolist() == [1, 1, 1]
    siblings = judged(clips, True)  # every copy's nearest clip is the first of its cluster, so half are another clip
    assert (siblings["own_id"] != siblings["ref_id"]).any()
    assert dose_table(siblings, clips).rate.tolist() == [1, 1, 1]


def test_undefined_positions_and_flags_are_left_out():
    clips = truth_table([(1, "single", "same", 4), (2, "exact", "same", 2)])
    decisions = judged(clips, [True, True, False, False] * 2, flagged=[None, True, False, None] + [None] * 4)
    decisions["near_exact"] = decisions["near_exact"].astype("boolean")
    undefined = [0, 2, *range(4, 8)]  # whatever their match: a clip of another cluster is undefined as well
    decisions.loc[undefined, ["position", "near_exact"]] = (np.nan, pd.NA)
    found = dose_table(decisions, clips).set_index(["copies", "caption_kind"])
    assert found.flagged_rate[1, "all"] == 0.5 and found.median_position[1, "all"] == pytest.approx(0.5)
    one, two = found.loc[(1, "all")], found.loc[(2, "all")]
    assert (one.n_generated, one.n_defined, one.replicated, one.rate) == (4, 2, 1, 0.5)
    assert (two.n_generated, two.n_defined, two.replicated) == (4, 0, 0)
    shares = ["rate", "ci_low", "ci_high", "flagged_rate", "flagged_low", "flagged_high", "median_position"]
    assert two[shares].isna().all() and two.own_cluster_top1_rate == 0.5
    told = trend(decisions, clips).set_index(["outcome", "kind"])
    assert told.loc[("replicated", "all"), ["n_generated", "n_defined"]].tolist() == [8, 2]
    decisions["near_exact"] = pd.array([pd.NA] * 8, dtype="boolean")
    told = trend(decisions, clips).set_index(["outcome", "kind"]).loc["replicated"]
    assert (told.note == "undefined for every generated clip").all() and (told.n_defined == 0).all()


def test_a_cell_without_generated_clips_is_nan():
    clips = truth_table(CELLS)
    found = dose_table(judged(clips, True)[:40], clips).set_index(["copies", "kind", "caption_kind"])
    empty = found.loc[2, "exact", "all"]
    assert (empty.n_clusters, empty.n_generated, empty.replicated) == (0, 0, 0)
    assert empty[["rate", "ci_low", "ci_high", "median_position", "own_cluster_top1_rate"]].isna().all()
    nothing = dose_table(judged(clips)[:0], clips)
    assert (nothing.n_generated == 0).all() and nothing.rate.isna().all()
    assert (trend(judged(clips)[:0], clips).note == "no generated clips").all()


def test_unknown_clips_are_refused():
    clips = truth_table(CELLS)
    for name in ("own_id", "ref_id"):
        with pytest.raises(ValueError, match=f"{name}: expected clips of the planted training set, got 'train_7'"):
            dose_table(judged(clips).replace({name: {"dup_7": "train_7", "dup_0": "train_7"}}), clips)


def sandwich(dose, y, clusters):
    """Logistic slope and its cluster-robust error (Liang and Zeger 1986): Newton's method and the sandwich by loops."""
    x, beta = np.column_stack([np.ones(len(dose)), dose]), np.zeros(2)
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ beta))
        bread = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x)
        beta += bread @ x.T @ (y - p)
    names = sorted(set(clusters))
    scores = [((y - p)[clusters == c, None] * x[clusters == c]).sum(axis=0) for c in names]
    n, g = len(y), len(names)
    cov = bread @ sum(np.outer(s, s) for s in scores) @ bread * g / (g - 1) * (n - 1) / (n - 2)
    return beta[1], np.sqrt(cov[1, 1]), g


def replicated(decisions, clips):
    """The trend of the outcome that counts, by kind."""
    return trend(decisions, clips).set_index(["outcome", "kind"]).loc["replicated"]


def planted_with_trend(slope=0.9, seed=0):
    clips = truth_table(
        [(1, "single", "same", 150), *((c, k, "same", 12) for c in (2, 4, 8) for k in ("exact", "altered"))]
    )
    rng = np.random.default_rng(seed)
    of_cluster = dict(zip(clips["cluster_id"].unique(), rng.normal(size=clips["cluster_id"].nunique())))
    logit = -2 + slope * np.log2(clips["copies"]) + clips["cluster_id"].map(of_cluster)
    return clips, judged(clips, (rng.random(len(clips)) < 1 / (1 + np.exp(-logit))).to_numpy())


def test_the_trend_is_the_regression_written_out():
    clips, decisions = planted_with_trend()
    found = trend(decisions, clips, confidence=0.9)
    assert tuple(found.columns) == TREND_COLUMNS and found.kind.tolist() == 3 * ["all", "exact", "altered"]
    assert found.outcome.tolist() == 3 * ["replicated"] + 3 * ["flagged"] + 3 * ["top1"]
    assert (found.note == "").all()
    for row in found.itertuples():  # the three outcomes are one here
        part = (clips["kind"].isin([row.kind, "single"]) if row.kind != "all" else clips["kind"] != "").to_numpy()
        y = decisions["near_exact"].to_numpy(float)[part]
        slope, error, clusters = sandwich(np.log2(clips["copies"][part]), y, clips["cluster_id"][part].to_numpy())
        half = stats.t.ppf(0.95, clusters - 1) * error
        np.testing.assert_allclose(
            [row.slope_per_doubling, row.low, row.high], [slope, slope - half, slope + half], rtol=1e-5
        )
        assert row.p == pytest.approx(2 * stats.t.sf(abs(slope / error), clusters - 1), rel=1e-4)
        assert (row.n_clusters, row.n_generated) == (clusters, part.sum())


def test_two_doses_give_the_log_odds_ratio():
    clips = truth_table([(1, "single", "same", 40), (4, "exact", "same", 10)])
    hit = np.concatenate([np.arange(40) < 10, np.arange(40) < 30])
    found = replicated(judged(clips, hit), clips)
    assert found.slope_per_doubling["all"] == pytest.approx(np.log(9) / 2)  # odds 1/3 and 3, two doublings apart
    assert found.slope_per_doubling["exact"] == found.slope_per_doubling["all"]
    assert found.note["altered"] == "one number of copies only" and np.isnan(found.slope_per_doubling["altered"])


def test_a_trend_is_found_where_there_is_one_and_seldom_otherwise():
    assert trend(*planted_with_trend(1.2)[::-1]).p.max() < 0.01
    null = [trend(*planted_with_trend(0.0, seed)[::-1]).p[0] for seed in range(40)]
    assert np.mean(np.array(null) < 0.05) < 0.2


@pytest.mark.parametrize(
    "hit, note",
    [
        (lambda c: c["copies"] < 0, "no event"),
        (lambda c: c["copies"] > 0, "no contrast: the event is everywhere"),
        (lambda c: c["copies"] > 2, "complete separation by the number of copies"),
        (lambda c: c["copies"] < 4, "complete separation by the number of copies"),
        (lambda c: (c["copies"] == 4) & (np.arange(len(c)) % 2 == 0), "complete separation by the number of copies"),
        (lambda c: np.arange(len(c)) % 2 == 0, "clusters of one dose do not differ"),
    ],
)
def test_where_there_is_no_slope_a_note_says_why(hit, note):
    clips = truth_table([(2, "exact", "same", 6), (4, "exact", "same", 6)])
    found = replicated(judged(clips, np.asarray(hit(clips))), clips)
    assert found.note[["all", "exact"]].tolist() == [note, note]
    assert found.loc["all", ["low", "high", "p"]].isna().all()
    assert found.note["altered"] == "no generated clips"


def test_few_events_have_no_trend():
    """Two events in 400 clusters, at 4 and 8 copies: the robust error would be a tenth of the slope."""
    clips = truth_table([(1, "single", "same", 300), *((c, "exact", "same", 30) for c in (2, 4, 8, 16))])
    first = clips.groupby("cluster_id").cumcount() == 0
    few = first & clips["cluster_id"].isin(clips[clips["copies"].isin([4, 8])].groupby("copies")["cluster_id"].first())
    found = replicated(judged(clips, few.to_numpy()), clips)
    assert found.note["exact"] == "too few for a fit: the event in 2 clips of the set, 2 generated"
    assert found.loc["exact", ["slope_per_doubling", "low", "high", "p"]].isna().all()
    rare = replicated(judged(clips, ~few.to_numpy()), clips)
    assert rare.note["exact"] == "too few for a fit: its absence in 2 clips of the set, 2 generated"


def test_an_unknown_flag_leaves_only_its_own_trend_out():
    clips, decisions = planted_with_trend()
    decisions["flagged"] = pd.array([None] * len(decisions), dtype="boolean")
    found = trend(decisions, clips).set_index(["outcome", "kind"]).note
    assert (found["flagged"] == "undefined for every generated clip").all() and (found["replicated"] == "").all()


def test_no_duplicates_have_no_trend():
    alone = truth_table([(1, "single", "same", 20)])
    found = trend(judged(alone, np.arange(20) < 3), alone)
    assert (found.note == "one number of copies only").all() and found.slope_per_doubling.isna().all()
    assert dose_table(judged(alone, np.arange(20) < 3), alone).rate.tolist() == [0.15]


@pytest.mark.parametrize("null", ["twins", "heldout"])
def test_stage_reads_the_planted_truth_and_the_main_arm(tmp_path, null):
    """On the real plan's truth table; decisions of another model, detector or arm, and other splits' clips, are left out."""
    config = PlantedConfig(copies=(2, 4), groups_per_cell=4, n_train=80, seed=1)
    clips = plan(config).assign(clip_id=lambda t: [f"dup_{i:05d}" for i in t["index"]], split="train")
    hit = ((clips["copies"] == 4) & (clips["index"] % 2 == 0)).to_numpy()
    good = {"training_set": "duplicates", "detector": "mel", "arm": "main"}
    others = [judged(clips, True).assign(**good | {key: "another"}) for key in good]
    decisions = pd.concat(
        [others[0].replace("^dup", "train", regex=True), judged(clips, hit).assign(**good), *others[1:]]
    ).rename(columns={"flagged": f"flagged_{null}"})
    for name, table, file in (("thresholds", decisions, "decisions"), ("planted", clips, "clips")):
        (tmp_path / name).mkdir()
        table.to_parquet(tmp_path / name / f"{file}.parquet", index=False)
    with_heldout = pd.concat([clips, clips.iloc[:3].assign(split="heldout", copies=32)])
    with_heldout.to_parquet(tmp_path / "planted" / "clips.parquet", index=False)
    upstream = {name: tmp_path / name for name in ("thresholds", "planted")}
    limits = ThresholdsConfig(detector="mel", n_bootstrap=200)
    compute_dose(tmp_path, upstream, SimpleNamespace(thresholds=limits, nulls=(null,)))
    found = pd.read_csv(tmp_path / "dose.csv").set_index(["copies", "kind", "caption_kind"])
    assert len(found) == 1 + 2 * 2 * 3 and found.n_generated.xs("all", level=2).sum() == len(clips)
    assert found.replicated.xs("all", level=2).sum() == hit.sum() > 0
    assert found.n_clusters[4, "exact", "all"] == 4 and found.n_clusters[4, "exact", "other"] == 2
    assert found.rate[1, "single", "all"] == 0
    assert pd.read_csv(tmp_path / "dose_trend.csv").kind.tolist() == 3 * ["all", "exact", "altered"]
