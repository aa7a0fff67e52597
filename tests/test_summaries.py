"""What the chapters show is arranged from the stages' tables as it says: titles, captions, arms by their settings, cuts."""

import base64

import numpy as np
import pandas as pd
import pytest
import soundfile
from bs4 import BeautifulSoup
from three_sizes import THREE_SIZES

from helpers.base.arms import list_arms
from helpers.base.paths import ROOT
from helpers.book import sentences
from helpers.book.figures.corpus import plot_captions_and_classes
from helpers.book.played_clips import PlayedClips
from helpers.book.summaries import codec, corpus, findings, generation, thresholds
from helpers.book.summaries.training import kept_checkpoints
from helpers.book.tables import arrange, table_html
from helpers.book.words import limits
from helpers.copies.pairs import read_clusters
from helpers.sound.profiles import load_profile


def cells_of(html: str) -> list[list[str]]:
    table = BeautifulSoup(html, "html.parser").table
    return [[cell.get_text() for cell in row.find_all("td")] for row in table.tbody.find_all("tr")]


@pytest.fixture
def gallery(tmp_path) -> PlayedClips:
    """One prompt answered by every arm and by three seeds, the arms in no order; "own" is the training clip of the prompt."""
    arms = [arm for arm in reversed(list_arms(THREE_SIZES, 500, 0)) if arm != "seeds"]
    rows = [(f"arm {arm}", "generated", arm, "other" if arm == "heldout" else "own") for arm in arms]
    rows += [(f"seed {i}", "generated", "seeds", "own") for i in (1, 2, 3)]
    rows += [(f"quantile {q}", "generated", "main", "own") for q in ("1.00", "0.50")] + [
        ("miss 1", "altered", "", "own")
    ]
    table = pd.DataFrame(rows, columns=["slot", "kind", "arm", "own_id"])
    table = table.assign(query_id=table["slot"], caption="rain", detector="mel", score=0.5, file="a.wav")
    table.to_csv(tmp_path / "gallery.csv", index=False)
    soundfile.write(tmp_path / "a.wav", np.zeros(16), 16_000)
    return PlayedClips(tmp_path)


def test_a_table_knows_its_caption_and_its_formats():
    data = pd.DataFrame({"n_train": [4500], "hit_rate": [0.25], "hit_low": [0.1], "hit_high": [0.4], "x": [0.12345]})
    columns = {"n": "n_train", "hit": limits("hit_rate"), "alone": ("hit_rate",), "x": "x", "note": ["<b>"]}
    table = arrange(data, columns, "a caption", {"x": ".1f"})
    html = table_html(table)
    assert BeautifulSoup(html, "html.parser").caption.get_text() == "a caption"
    assert cells_of(html) == [["4,500", "25\u00a0% (10\u00a0to\u00a040)", "25\u00a0%", "0.1", "<b>"]]
    assert table_html(table.drop(columns="note").head(1)).count(">a caption<") == 1  # what is left keeps it


def test_checkpoints_of_one_prompt_go_from_the_earliest_to_the_last(gallery):
    rows = generation.by_checkpoint(gallery, THREE_SIZES, 500, 0, last=5625)
    assert rows["updates"].tolist() == [125, 350, 625, 1400, 2800, 5625]
    assert rows["slot"].iloc[-1] == "arm main"
    assert rows["label"].iloc[-1] == "After 5,625 updates (360 epochs)"


def test_what_is_tried_beside_the_checkpoints_is_said_in_words(gallery):
    rows = generation.one_thing_changed(gallery, THREE_SIZES, 500, 0).set_index("slot")
    assert set(rows["label"]) == {
        "Weights not averaged", "A held-out prompt", "Guidance 1", "Guidance 3", "Guidance 5", "Noise seed 2", "Noise seed 3",
    }  # fmt: skip
    assert rows["caption"].map(bool).pipe(lambda shown: shown[shown].index.tolist()) == ["arm heldout"]


def test_checkpoints_kept_say_how_many_clips_each_is_asked_for():
    profile = THREE_SIZES.replace("training", n_train=500, draw=0)
    table = kept_checkpoints(profile, [350, 5625, 6000]).set_index("updates")
    asked = {
        arm.updates or 5625: arm.n_prompts
        for name, arm in list_arms(profile, 500, 0).items()
        if name in ("main", "u00350")
    }
    assert table["clips generated in chapter 4"].to_dict() == {
        350: min(asked[350], 500),
        5625: min(asked[5625], 500),
        6000: 0,
    }
    assert table.loc[625 * 9, "epochs of this set"] == "360"


def test_the_clip_nearest_to_its_threshold_is_the_hardest_to_judge(gallery):
    decisions = pd.DataFrame({
        "query_id": ["quantile 0.50", "miss 1"], "normalised": [0.5, 0.3], "position": [0.7, 0.1], "near_exact": [True, False],
        "flagged_twins": [True, False], "own_top1": [True, False], "score": [0.9, 0.8],
    })  # fmt: skip
    rows = pd.DataFrame({"n_train": [500, 500], "draw": [0, 1], "null": "twins", "tau": [0.45, 0.1]})
    clip = thresholds.hardest_to_judge(decisions, {500: gallery}, rows)
    assert (clip["slot"], clip["tau"]) == ("quantile 0.50", 0.45)  # clips that are not played by rank are passed over
    assert sentences.of_verdict(clip) == (
        "Normalised score 0.500, τ = 0.450: flagged. Position 0.70 between null and ceiling: near-exact by rule."
    )
    assert "τ is unattainable" in sentences.of_verdict(
        thresholds.hardest_to_judge(decisions, {500: gallery}, rows.assign(tau=np.nan))
    )


def test_a_near_exact_clip_of_other_words_is_harder_still(gallery):
    played = gallery.rows("quantile")["query_id"].to_list()
    decisions = pd.DataFrame(
        {"query_id": played, "normalised": [0.45, 0.6], "flagged_twins": True, "score": [0.9, 0.8]}
    )
    decisions = decisions.assign(near_exact=True, own_top1=[True, False])
    rows = pd.DataFrame({"n_train": [500], "draw": [0], "null": "twins", "tau": [0.45]})
    assert thresholds.hardest_to_judge(decisions, {500: gallery}, rows)["query_id"] == played[1]
    unknown = decisions.assign(near_exact=pd.array([True, pd.NA], dtype="boolean"))
    assert thresholds.hardest_to_judge(unknown, {500: gallery}, rows)["query_id"] == played[0]


def test_the_ledger_stands_in_three_parts_with_each_number_in_its_unit():
    claims = pd.DataFrame(
        [
            ("At the middle size few are", "0.6 %", "secondary summary", 0.07, 0.0297, 0.1279, "cannot tell"),
            (
                "Replication falls as the training set grows, at equal epochs",
                "yes",
                "abstract",
                -0.0002,
                -0.006,
                0.046,
                "fails",
            ),
            ("Mel similarity finds matches more robustly", "yes", "abstract", 0.187, 0.063, 0.327, "holds"),
            ("The data set holds many duplicates", "many", "abstract", 54.0, np.nan, np.nan, "not comparable"),
            ("Clips that are in the set more often", "unknown", "unknown", np.nan, np.nan, np.nan, "cannot tell"),
            ("beta", "unknown", "unknown", np.nan, np.nan, np.nan, "unknown"),
        ],
        columns=["claim", "paper_value", "source", "our_value", "ci_low", "ci_high", "verdict"],
    )
    parts = findings.ledger(claims)
    assert [part.attrs["caption"].partition(",")[0].partition(":")[0] for part in parts] == [
        "Decided",
        "Not comparable",
        "Unknown",
    ]
    assert parts[0].attrs["caption"] == "Decided: 2 of 6 claims."
    assert parts[0]["verdict"].tolist() == ["holds", "fails"]
    said = [text.replace("\u00a0", " ") for part in parts for text in part["here"]]
    assert said == [
        "+0.19 of AUROC against twins (+0.06 to +0.33)", "-0.02 points (-0.6 to 4.6)", "7 % (3 to 13)", "–", "54 pairs", "–",
    ]  # fmt: skip
    other = [part.attrs["caption"] for part in findings.ledger(findings.asked(claims, of_copies=False))]
    assert other[2] == "Not asked of this run, but of another model, above: 1 of 6 claims." and len(other) == 4
    assert [part.attrs["caption"] for part in findings.ledger(claims.assign(verdict="unknown"))] == [
        "Unknown: 6 of 6 claims."
    ]


def test_a_table_can_be_downloaded_as_it_is_shown():
    table = arrange(
        pd.DataFrame({"share": ["25\u00a0%", "=cmd|a"], "<n>": [4500, -1]}),
        {"share": "share", "<n>": "<n>"},
        "What <counts>.",
    )
    (link,) = BeautifulSoup(table_html(table), "html.parser").select("a[download]")
    head, _, held = link["href"].partition(",")
    assert link["download"] == "what-counts.csv" and head == "data:text/csv;charset=utf-8;base64"
    assert base64.b64decode(held).decode() == "share,<n>\n25 %,4500\n'=cmd|a,-1\n", "no formula"
    titled = BeautifulSoup(table_html(table, titled=True), "html.parser")
    assert titled.caption is None and titled.div["aria-label"] == "What <counts>."


def test_precision_of_a_list_falls_with_its_cut():
    pairs = pd.DataFrame({"score": [0.999, 0.985, 0.96], "verified": [True, True, False], "correlation": [1, 0.9, 0.2]})
    table = corpus.precision_by_cut(pairs, 0.95)
    assert table["log-mel cosine from"].tolist() == ["0.95", "0.97", "0.98", "0.99", "0.995"]
    assert table["pairs"].tolist() == [3, 2, 2, 1, 1] and table["verified"].tolist() == [2, 2, 2, 1, 1]
    assert table["precision"].str.split(" ").str[0].tolist() == ["67", "100", "100", "100", "100"]
    assert table["correlation above 0.98"].tolist() == [1] * 5


def test_clusters_are_those_found_in_the_main_set_and_those_planted(tmp_path):
    found = pd.DataFrame(
        {"clip_id": ["a", "b", "p"], "cluster_id": ["n0", "n0", "x"], "kind": ["natural", "natural", "planted"]}
    )
    found.to_csv(tmp_path / "duplicates.csv", index=False)
    truth = pd.DataFrame(
        {"clip_id": ["p", "q", "h"], "cluster_id": ["p0", "p0", "h0"], "split": ["train", "train", "heldout"]}
    )
    truth.to_parquet(tmp_path / "clips.parquet")
    assert read_clusters(tmp_path) == {"a": "n0", "b": "n0"}
    assert read_clusters(tmp_path, tmp_path) == {"a": "n0", "b": "n0", "p": "p0", "q": "p0"}


def test_nothing_merged_is_said_in_words():
    none, one = pd.DataFrame({"kind": ["planted"], "cluster_id": [1]}), pd.DataFrame({"score": [1.0]})
    assert sentences.of_merged(none, one).startswith("So every pair on this list was a false alarm")
    assert sentences.of_merged(none, one[:0]) == "So all clips count as different ones."
    merged = pd.DataFrame({"kind": ["natural"] * 4, "cluster_id": [0, 0, 1, 1]})
    assert sentences.of_merged(merged, one).startswith("They join 4 clips to 2 clusters")


def test_how_long_models_are_trained_is_told_for_equal_and_for_unequal_lengths():
    assert sentences.of_lengths(THREE_SIZES) == (
        "Every model gets the same number of updates, and where the profile lists earlier checkpoints, its weights are kept on the way. "
        "One checkpoint of each size falls on TANGO's 40 epochs: 125 updates for 100 clips, 625 updates for 500 clips and "
        "5,625 updates for 4,500 clips."
    )
    one = THREE_SIZES.replace("training", checkpoints=(125, 5625), updates=5625)
    assert "of a size falls on TANGO's 40 epochs: 125 updates for 100 clips and" in sentences.of_lengths(one)
    law = sentences.of_lengths(load_profile("pocket"))
    assert (
        "2,800 for 100 clips, 5,600 for 200 clips" in law and "32,000 for 2,000 clips and 39,580 for 4,500 clips" in law
    )
    assert "the same number" not in law and law.endswith("where both were kept near such a moment.")


def test_pairs_of_recordings_have_types_even_where_there_is_none(tmp_path):
    """A table without rows has none of its own, and `nsmallest` takes numbers only."""
    columns = [f"{name}_{side}" for name in ("id", "caption", "package") for side in "ab"]
    for header in (None, ",".join([*columns, "score", "correlation", "verified"])):
        if header:
            (tmp_path / "recordings.csv").write_text(f"{header}\n")
        pairs = corpus.read_recording_pairs(tmp_path)
        assert pairs["verified"].dtype == bool and not pairs[~pairs["verified"]].nsmallest(1, "correlation").size


def test_a_leak_is_told_where_recordings_are_known():
    touched = pd.Series({"train": 9, "heldout": 3, "background": 2})
    text = sentences.of_leak(40, 12, touched, THREE_SIZES)
    assert "Of 40 verified pairs, 12 link" in text and "3 of 500 held-out clips and 2 of 500 background clips" in text
    assert "no pair was verified" in sentences.of_leak(0, 0, touched, THREE_SIZES)
    assert sentences.of_no_pair(THREE_SIZES) == "No two recordings are that near."
    own = THREE_SIZES.replace("planted", trained=False).replace("corpus", kind="audiofolder", path="clips")
    assert "cannot be told here" in sentences.of_leak(0, 0, touched, own) and "footsteps" not in sentences.of_leak(
        0, 0, touched, own
    )


def test_what_a_reader_left_out_is_told_with_the_further_captions():
    report = {
        "n_listed": 9,
        "n_left_out": 1,
        "n_further_captions": 4,
        "clips": [{"line": 3, "clip": "<a>", "why": "missing"}],
    }
    assert cells_of(table_html(corpus.left_out(report))) == [["3", "<a>", "missing"]]
    assert sentences.of_reader(report).startswith(
        "Of 9 listed clips 4 can be used; 1 are left out. 4 more are further capt"
    )
    assert sentences.of_reader(report | {"n_further_captions": 0}) == "Of 9 listed clips 8 can be used; 1 are left out."


def test_splits_are_called_as_in_the_text():
    clips = pd.DataFrame({"clip_id": ["a", "b"], "split": ["train", "heldout"], "caption": "x"})
    clips = clips.assign(source_ids=[["1"], ["2"]], source_groups=[["1"], ["2"]])
    assert corpus.by_split(clips, THREE_SIZES.corpus)["split"].tolist() == ["training", "held-out"]


def test_errors_of_the_codec_and_the_vocoders_are_told_in_decibels():
    """Log-mels are natural logarithms of magnitudes: a factor of ten is 2.303 of them, or 20 dB."""
    queries = pd.DataFrame({"split": ["heldout", "train"]} | dict.fromkeys(codec.MEASURES, 2.302585))
    table = codec.medians_by_split(queries)
    assert table["split"].tolist() == ["held-out", "training"] and "in dB" in table.attrs["caption"]
    assert table["codec: error"].round(3).tolist() == [20.0, 20.0] and table["codec: cosine"].eq(2.302585).all()
    yardstick = codec.codec_yardstick(ROOT / "models" / "codec")
    assert yardstick["mean absolute error dB"].iloc[0] == pytest.approx(1.325, abs=5e-4)  # 0.15253 nepers
    assert codec.size_curve(ROOT / "models" / "codec")["error"].between(0.7, 2.1).all(), "dB, not 0.09 to 0.23 nepers"
    rows = codec.vocoders("from_mel").set_index("measure")["spectral"]
    assert rows["mel error, dB"].startswith("0.553 (-0.056,") and rows["loudness difference, dB"].startswith("0.457 (")


def test_classes_that_nobody_knows_are_no_class():
    """Clips of one's own have the class ""."""
    clips = pd.DataFrame({"clip_id": list("abcd"), "classes": [[""]] * 4, "caption": ["a b"] * 4})
    held = pd.DataFrame({"clip_id": list("abcd")} | dict.fromkeys(codec.MEASURES, 0.5))
    assert codec.kept_worst(held, clips) is None
    assert codec.kept_worst(held, clips.assign(classes=[["rain"]] * 4))["sound"].tolist() == ["rain"]
    left, right = plot_captions_and_classes(clips).axes
    assert not right.patches and right.texts[0].get_text() == "not known of this corpus"
