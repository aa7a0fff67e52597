"""What chapter 9 tells, from made-up tables of two runs."""

import pandas as pd
import pytest

from helpers.book.figures.data_free import plot_signs
from helpers.book.summaries import data_free as summaries


@pytest.fixture
def folder(tmp_path):
    for n, first, replays in ((100, 0.81, 24), (1000, None, 0)):
        run = tmp_path / "data_free" / f"n{n}_d0"
        run.mkdir(parents=True)
        aurocs = {"caption_effect": 0.5, "caption_effect_first": 0.81, "one_step": 0.4, "loss": 0.99, "mel": 1.0}
        rows = pd.DataFrame(
            {"method": list(aurocs), "needs": ["nothing"] * 3 + ["the clip", "the clip; defines the truth"]}
        )
        rows = rows.assign(
            n_train=n, draw=0, updates=10, positives=replays, negatives=20, neither=2, seconds_a_clip=0.5
        )
        known = first is not None
        rows["auroc"] = rows["method"].map(aurocs) if known else float("nan")
        rows = rows.assign(low=rows["auroc"] - 0.1, high=rows["auroc"], tpr_at_fpr_1pct=0.25 if known else float("nan"))
        rows.to_csv(run / "data_free.csv", index=False)
        prompts = pd.DataFrame(
            {"kind": ["train"] * 26 + ["heldout"] * 20, "replayed": [True] * replays + [False] * (46 - replays)}
        )
        prompts.assign(**dict.fromkeys(aurocs, 0.1)).to_csv(run / "prompts.csv", index=False)
    return tmp_path


def test_runs_come_by_size_and_undefined_ones_are_told(folder):
    runs = summaries.runs_of(folder)
    assert runs["n_train"].unique().tolist() == [100, 1000]
    first, second = summaries.sentences(runs)
    assert first == (
        "With **100 clips** (24 confirmed replays) the best of the three signs is the effect at the first step, with an AUROC of "
        "0.81 (0.71 to 0.81). The loss, with the clip at hand, reaches more: 0.99."
    )
    assert second == "With **1,000 clips** 0 prompts are confirmed as replayed: too few to rank the signs."
    fewer = runs.assign(positives=runs["positives"].clip(upper=19), auroc=0.9)
    assert (
        summaries.sentences(fewer)[0]
        == "With **100 clips** 19 prompts are confirmed as replayed: too few to rank the signs."
    )
    table = summaries.in_words(runs)
    assert table["AUROC"].tolist()[:2] == ["0.5 (0.4\u00a0to\u00a00.5)", "0.81 (0.71\u00a0to\u00a00.81)"] and set(
        table["AUROC"][5:]
    ) == {"–"}
    assert len(summaries.counts_in_words(runs)) == len(runs)


def test_the_table_in_sight_has_a_row_a_sign_whichever_the_runs(folder):
    runs = summaries.runs_of(folder)
    brief = summaries.in_brief(pd.concat([runs, runs.assign(draw=1, auroc=runs["auroc"] - 0.1)], ignore_index=True))
    assert (
        brief["sign"].tolist() == list(summaries.NAMES.values())
        and "of the 2 models with most replays" in brief.attrs["caption"]
    )
    assert brief["AUROC"].str.replace("\u00a0", " ").tolist() == [
        "0.40 to 0.50",
        "0.71 to 0.81",
        "0.30 to 0.40",
        "0.89 to 0.99",
        "0.90 to 1.00",
    ]
    assert set(brief["replays found at 1 % false alarms"]) == {"25\u00a0%"}, "alike in all"
    assert set(brief["needs besides the model"]) == {"nothing", "the clip"}
    unknown = summaries.in_brief(runs[runs["n_train"] == 1000])
    assert set(unknown["AUROC"]) == set(unknown["replays found at 1 % false alarms"]) == {"–"}


def test_the_figure_shows_the_largest_run_that_has_replays(folder):
    runs = summaries.runs_of(folder)
    prompts = summaries.prompts_of(folder, runs)
    assert prompts["replayed"].sum() == 24
    axes = plot_signs(prompts, summaries.SIGNS).axes
    assert [axis.get_title(loc="left") for axis in axes] == list(summaries.SIGNS.values())
    assert sum(len(dots.get_offsets()) for dots in axes[0].collections) == 44, "prompts of neither kind are left out"


def test_without_a_published_study_there_is_nothing(tmp_path):
    assert summaries.runs_of(None).empty and summaries.runs_of(tmp_path).empty


def test_prompts_that_the_second_judge_does_not_confirm_are_looked_at(folder):
    runs = summaries.runs_of(folder)
    told = summaries.beside_unconfirmed(folder, runs)  # of 1,000 clips nothing is replayed
    assert "medians 0.100, replayed 0.100, held out 0.100" in told
    assert told.endswith("replayed and unconfirmed prompts is 0.50, and between unconfirmed and held-out ones 0.50.")
    every = pd.DataFrame({"kind": ["train"] * 20 + ["heldout"], "replayed": [True] * 20 + [False], "mel": 1.0})
    every.assign(caption_effect_first=1.0).to_csv(folder / "data_free" / "n100_d0" / "prompts.csv", index=False)
    assert summaries.beside_unconfirmed(folder, runs[runs["n_train"] == 100]) == "", "all are confirmed"


@pytest.mark.parametrize(("above", "below", "told"), [(0.82, 0.51, True), (0.82, 0.7, False), (0.6, 0.51, False)])
def test_a_sign_that_follows_the_second_judge_alone_is_said_to(above, below, told):
    table = pd.DataFrame({"above": [above, 0.9], "below": [below, 0.5]})
    assert (
        "finds the replays that aisfx confirms, and not those that log-mel alone" in summaries._reading(table)
    ) == told
