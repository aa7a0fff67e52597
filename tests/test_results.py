"""The study in results/pocket: whole, as large as it may be, made by this code, and told by the README as it is."""

import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from helpers.base.protocol import read_protocol
from helpers.book import sentences
from helpers.book.summaries import data_free, dose as copied, findings, perceptual, prevention
from helpers.book.summaries.findings import known_kinds
from helpers.book.summaries.onset import above_floor, beside_prediction, floor_sentence, relations_at, sentence
from helpers.book.summaries.rows import FLAGGED, of_own, pooled, rows_of
from helpers.book.summaries.thresholds import copies_and_flags
from helpers.book.words import limits, listed, share_text, shares, two_digits
from helpers.commands.publication import LARGEST_PUBLICATION_MB
from helpers.copies import pooled as pooled_runs, score_table
from helpers.copies.conclusions.onset import judged_clips
from helpers.copies.pooled import published_nulls
from helpers.sound.profiles import load_profile
from helpers.study import comparison, entries, publication, registry

FOLDER = publication.RESULTS / "pocket"
COLUMNS = {
    "replication.csv": (
        "n_train draw train_seed updates epochs prompt_set guidance steps sample_seed n_generated detector null fpr tau beta k "
        "flagged flagged_rate ci_low ci_high near_exact n_defined near_exact_rate near_exact_low near_exact_high distinct_clusters "
        "own_clip_top1_rate twins_top1_rate own_near_exact own_near_exact_rate twins_own_near_exact_rate"
    ),
    "alterations.csv": (
        "detector transform strength split n_pos n_neg auroc auroc_low auroc_high average_precision tpr_at_fpr_1pct"
    ),
    "detection.csv": (
        "detector n_train negatives bias beta k transform split n_pos n_neg auroc auroc_low auroc_high average_precision "
        "tpr_at_fpr_1pct below_mel below_mel_low below_mel_high"
    ),
    "onset.csv": "measure level n_train draw width updates updates_low updates_high trained_to censored",
    "law.csv": (
        "measure level exponent exponent_low exponent_high leave_one_out_low leave_one_out_high sizes_fitted n_predicted "
        "predicted_updates predicted_low predicted_high observed_updates verdict"
    ),
    "quality.csv": (
        "n_train draw updates embedding kid kid_low kid_high floor_kid clap_agreement silent_rate clipped_rate"
    ),
    "loss_gap/n100_d0/loss_gap.csv": "n_train draw updates noise_level train held_out",
    "data_free/n100_d0/data_free.csv": "method n_train positives negatives auroc low high tpr_at_fpr_1pct seconds_a_clip",
    "duplicates.csv": "clip_id cluster_id kind score",
    "claims.csv": "claim paper_value source our_value ci_low ci_high verdict why",
    "scores.parquet": "detector n_train draw updates sample_seed query_id rank ref_id score",
}


@pytest.fixture(scope="module")
def profile():
    return load_profile("pocket")


@pytest.fixture(scope="module")
def wanted(profile):
    return publication.wanted([s for name in registry.NAMES for s in registry.build(name, profile)], FOLDER)


def test_every_stage_is_published_as_this_code_would_make_it(wanted):
    assert [line for stage in wanted if (line := entries.difference(stage, FOLDER))] == []


def test_it_is_small_enough_for_git_and_holds_nothing_else():
    listed = {"manifest.json", publication.DIGESTS}
    for key, entry in entries.read_entries(FOLDER).items():
        listed |= {f"{key}/{name}" if "/" in key else name for name in entry["files"]}
    there = {path.relative_to(FOLDER).as_posix(): path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()}
    assert set(there) == listed
    assert sum(there.values()) < LARGEST_PUBLICATION_MB * 1e6


@pytest.mark.parametrize("name", COLUMNS)
def test_the_tables_have_their_columns(name):
    path = FOLDER / name
    table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    assert set(COLUMNS[name].split()) <= set(table.columns) and len(table)


def test_all_runs_are_in_it(profile):
    table = rows_of(pd.read_csv(FOLDER / "replication.csv"), arm="main")
    assert sorted(set(zip(table["n_train"], table["draw"]))) == sorted(profile.runs)


def text_of(path) -> str:
    return re.sub(r"\s+", " ", path.read_text()).replace("\u00a0", " ")


def test_the_answer_tells_what_was_found(profile, repository):
    used = profile.thresholds
    where = {"detector": used.detector, "null": profile.nulls[0], "fpr": used.fpr}
    rows = rows_of(pd.read_csv(FOLDER / "replication.csv"), **where)
    answer, law = text_of(repository / "book" / "answer.md"), pd.read_csv(FOLDER / "law.csv")
    told = [
        sentences.of_relation(law),
        sentences.of_second_measure(law),
        sentences.of_equal_moments(of_own(rows)),
    ]
    judged = judged_clips(FOLDER / "decisions.parquet", profile)
    told.append(floor_sentence(above_floor(judged), profile))
    assert [sentence for sentence in told if sentence.replace("\u00a0", " ") not in answer] == []
    levels = relations_at(judged, profile, (0.1, 0.2))["exponent"]
    rises = law["exponent"].iloc[0] < levels.iloc[0] < levels.iloc[1]
    assert rises and "a higher level gives a greater exponent" in answer


def test_what_the_answer_says_in_words_is_so(profile, repository):
    """Each phrase beside the numbers that it is true by."""
    answer, used = text_of(repository / "book" / "answer.md"), profile.thresholds
    where = {"detector": "mel", "null": profile.nulls[0], "fpr": used.fpr, "arm": "main"}
    main = pooled(of_own(rows_of(pd.read_csv(FOLDER / "replication.csv"), **where))).set_index("n_train")
    rate, law = main["near_exact_rate"], pd.read_csv(FOLDER / "law.csv")
    verdict = pd.read_csv(FOLDER / "claims.csv").set_index("claim")["verdict"]
    areas = pd.read_csv(FOLDER / "alterations.csv").groupby("detector")["auroc"].mean()
    detection = (
        pd.read_csv(FOLDER / "detection.csv").query("transform == 'all' and bias == 'own'").sort_values("n_train")
    )
    of_twins, of_heldout = (detection[detection["negatives"] == name] for name in ("twins", "heldout"))
    unbiased = pd.read_csv(FOLDER / "detection.csv").query(
        "transform == 'all' and bias == 'none' and negatives == 'twins'"
    )
    judged, plan = judged_clips(FOLDER / "decisions.parquet", profile), read_protocol()
    counts = judged[judged["n_train"] == 4500].groupby("updates")["near_exact"].sum()
    run = pd.read_csv(FOLDER / "onset.csv").query("n_train == 4500 and measure == 'near_exact'").iloc[0]
    own = [two_digits(run[name]) for name in ("updates", "updates_low", "updates_high")]
    last = share_text(*main.loc[4500, [*limits("near_exact_rate")]]).replace("\u00a0", " ")
    moment = pd.read_csv(FOLDER / "replication.csv").query("detector == 'mel' and null == 'twins' and fpr == 0.05")
    moment = moment[moment["updates"] == moment["n_train"].map({100: 840, 200: 1830, 500: 4030, 1000: 8790})]
    moment = moment[(moment["prompt_set"] == "train") & (moment["weights"] == "ema")].groupby("n_train")
    lows, highs = moment["own_near_exact_low"].min(), moment["own_near_exact_high"].max()
    signs = data_free.runs_of(FOLDER).query("draw == 0").drop_duplicates("n_train").set_index("n_train")
    confirmed = signs["positives"]
    scores = score_table.ScoreTable(FOLDER)
    known = pd.concat([known_kinds(scores, ("main", n, 0), profile, None) for n in profile.sizes])
    missed = 1 - known.loc[known["kind"] == "altered copies", "near_exact"]

    by_aisfx = 100 * published_nulls(FOLDER, profile, "aisfx").pivot(
        index="n_train", columns="kind", values="own_near_exact_rate"
    )
    strict, runs = pooled_runs.judge_published(FOLDER, profile.replace("thresholds", theta=0.8)), ["n_train", "draw"]
    strict = strict[strict["updates"] == strict.groupby(runs)["updates"].transform("max")]
    stricter = 100 * strict.groupby(runs)["near_exact"].mean().groupby("n_train").mean()
    twins, ceiling = pooled_runs.twins_and_ceiling(pooled_runs.of_all_runs(FOLDER, "retrieval", "null.parquet"), "mel")
    at_theta = {
        theta: 100 * pooled_runs.judge_own(twins, twins, ceiling, theta)["near_exact"].mean() for theta in (0.69, 0.8)
    }
    begun = (
        pd.read_csv(FOLDER / "onset.csv")
        .query("measure == 'near_exact' and n_train < 4500")
        .groupby("n_train")["updates"]
        .mean()
    )
    epochs, plan = begun * profile.training.batch_size / begun.index, read_protocol()
    foretold = beside_prediction(pd.read_csv(FOLDER / "onset.csv"), plan["first_prediction"])
    foretold = sentence(foretold, plan["first_prediction"]["near_exact"]["exponent"], plan["exponent"]["sizes"], law)

    def row(values) -> str:
        return " | ".join(f"{value:.2g}" if value < 10 else f"{value:.0f}" for value in values)

    def named(detector: str) -> str:
        return " | ".join(f"{area:.2f}" for area in of_twins[of_twins["detector"] == detector]["auroc"])

    def leads(rows: pd.DataFrame, detector: str) -> list[bool]:
        return (rows.loc[rows["detector"] == detector, "below_mel_low"] > 0).tolist()

    heard = perceptual.read_summary().loc[("area", "twins", "near_exact")]
    so = {
        "a threshold that 5 % of twins pass": used.fpr == 0.05,
        f"| {' | '.join(f'{n:,}' for n in profile.sizes)} clips |": True,
        f"| mel | {named('mel')} |": True,
        f"an encoder that others trained | {named('aisfx')} |": True,
        f"CLAP, trained here | {named('clap')} |": True,
        "the whole interval of the difference lies above 0 at every size": all(
            leads(of_twins, "clap") + leads(of_twins, "aisfx")
        ),
        "A *near-exact copy* lies at 0.69 or above": used.theta == 0.69,
        "Fourteen models of 4.7 million parameters": len(profile.runs) == 14,
        "nearly every prompt is replayed with 100, 200 and 500 clips": (rate[[100, 200, 500]] > 0.95).all(),
        "with 1,000 more than half are": 0.5 < rate[1000] < 0.75,
        "with 2,000 about a quarter": 0.2 < rate[2000] < 0.32,
        "With 4,500 clips it is 3.6 % after 39,580 updates, no more than among honest clips": (
            main.loc[4500, "near_exact_low"] < main.loc[4500, "null_near_exact_rate"]
            and profile.schedules[-1][-1] == 39_580
        ),
        "The rule misses about a third of our altered copies": missed.between(0.25, 0.42).all(),
        "The prediction that followed for 4,500 clips failed": law["verdict"].iloc[0] == "refuted"
        and abs(law["exponent"].iloc[0] - 1) < 0.1,
        "holds here at equal updates and at equal epochs": (
            verdict.filter(like="falls as the training set") == "holds"
        ).all(),
        "Against held-out clips that are left as they are it is not shown to lead either": not any(
            leads(of_heldout, "clap") + leads(of_heldout, "aisfx")
        ),
        f"aisfx does better ({areas['aisfx']:.2f}) than mel ({areas['mel']:.2f})": areas["aisfx"] > areas["mel"],
        f"the CLAP trained here about as well as mel ({areas['clap']:.2f})": abs(areas["clap"] - areas["mel"]) < 0.05,
        "Without any bias it still beats the CLAP trained here at every size": all(leads(unbiased, "clap")),
        "but aisfx at only two of six": sum(leads(unbiased, "aisfx")) == 2,
        "none of 250 clips counted as a copy at 12,970 updates. At the end nine did, no larger a share than of twins": counts[
            [12_970, 39_580]
        ].tolist()
        == [0, 9],
        f"At its end the share is {last.replace(' (', ', and the interval (')} includes 5 %": main.loc[
            4500, "near_exact_high"
        ]
        > 0.05,
        f"drawn beyond its end, puts the onset at {own[0]} updates ({own[1]} to {own[2]})": run["censored"],
        "up to 90,000 updates": plan["second_prediction"]["ceiling"] == 90_000,
        "| both, in three of four clips | {} | {} | – | {} | {} | – | – |".format(
            *confirmed[[100, 200, 1000, 2000]]
        ): len(confirmed) == 4,
        "Among the sizes from 100 to 1,000 the intervals overlap": lows.max() < highs.min(),
        f"| log-mel, θ = 0.69 | {row([*100 * main['near_exact_rate'], at_theta[0.69]])} |": True,
        f"| log-mel, θ = 0.8 | {row([*stricter, at_theta[0.8]])} |": True,
        f"| {{term}}`aisfx`, θ = 0.69 | {row([*by_aisfx['trained'], by_aisfx['twins'].mean()])} |": True,
        "99 % after 2,800 updates stand beside 0.8 % after 8,300": profile.schedules[0][-1] == 2800,
        f"(AUROC {heard['value']:.2f} ({heard['low']:.2f} to {heard['high']:.2f}) with 100 clips, where the plan asked for {perceptual.AGREES:g};": True,
        f"after about equally many epochs: {epochs.min():.0f} to {epochs.max():.0f}": len(epochs) == 5,
        "It failed for all 13 runs that began to copy: they began earlier": "13 earlier and 0 later" in foretold,
    }
    assert [phrase for phrase, true in so.items() if not true or phrase not in answer] == []


def test_what_is_told_of_the_first_study_is_in_its_tables(repository):
    answer, first = text_of(repository / "book" / "answer.md"), publication.RESULTS / "pocket_first"
    where = {"detector": "mel", "null": "twins", "fpr": 0.05, "arm": "main"}
    shares = pooled(of_own(rows_of(pd.read_csv(first / "replication.csv"), **where)))["near_exact_rate"]
    law = pd.read_csv(first / "law.csv").iloc[0]
    dose = pd.read_csv(first / "dose.csv")
    claims = pd.read_csv(first / "claims.csv").set_index("claim")
    told = [*map(share_text, shares)]
    predicted = [two_digits(law[f"predicted_{name}"]) for name in ("updates", "low", "high")]
    so = {
        f"{told[0]}, {told[1]} and {told[2]} of what they made".replace("\u00a0", " "): len(told) == 3,
        f"after {predicted[0]} updates ({predicted[1]} to {predicted[2]})": law["n_predicted"] == 4500,
        "The {term}`first study` could not tell. Its copies were 16 at most": pd.isna(
            claims.loc["Clips that are in the set more often are replicated more often", "our_value"]
        )
        and dose["copies"].max() == 16,
    }
    assert [phrase for phrase, true in so.items() if not true or phrase not in answer] == []


def test_what_is_told_of_duplicates_is_in_its_tables(repository):
    answer, tables = text_of(repository / "book" / "answer.md"), copied.tables_of_copies()
    onsets, relation = tables["dose_onset"].set_index(["caption_kind", "copies"]), tables["dose_relation"]
    several = relation[(relation["caption_kind"] == "other") & (relation["clips"] == "all")].iloc[0]
    b = " to ".join(f"{several[f'exponent_{end}']:.2f}" for end in ("low", "high"))
    smallest = pd.read_csv(FOLDER / "onset.csv").query("n_train == 100 and measure == 'near_exact'")["updates"]
    last = tables["dose_shares"].query("caption_kind == 'same' and updates == 12500").set_index("copies")
    ends = last["own_near_exact_rate"].map(lambda rate: share_text(rate).replace("\u00a0", " "))
    single = onsets.loc[("same", 1), ["updates", "updates_low", "updates_high"]]
    late = relation[(relation["caption_kind"] == "other") & (relation["clips"] == "once held-out clips are good")].iloc[
        0
    ]
    good = f"{late['exponent']:.2f} ({late['exponent_low']:.2f} to {late['exponent_high']:.2f})"
    so = {
        copied.begins(tables["dose_onset"]): True,
        copied.relation_sentence(relation, pd.read_csv(FOLDER / "law.csv")): True,
        f"six captions instead of one, b is {several['exponent']:.2f} ({b})": True,
        "with 64 and 128 copies the onset comes later there": all(
            onsets.loc[("other", copies), "updates"] > onsets.loc[("same", copies), "updates"] for copies in (64, 128)
        ),
        "with 4 copies none was replayed": tables["dose_shares"]
        .query("caption_kind == 'other' and copies == 4")["own_near_exact_rate"]
        .eq(0)
        .all(),
        f"From 4 to 16 copies the onset hardly differs, though at the end {ends[4]} are replayed instead of {ends[16]}": (
            onsets.loc[("same", 4), "updates"] < 1.2 * onsets.loc[("same", 16), "updates"]
        ),
        f"Their curve puts it at {round(single.iloc[0], -2):,.0f} updates ({two_digits(single.iloc[1])} to {two_digits(single.iloc[2])})": True,
        f"With six captions the same fit gives {good}": True,
        "a clip that occurs 64 times begins to be replayed after 820 updates, one that occurs once not by 12,500": onsets.loc[
            ("same", 1), "censored"
        ],
        "about as early as the clips of a set of 100,": abs(
            np.log2(onsets.loc[("same", 64), "updates"] / smallest.mean())
        )
        < 0.5,
    }
    assert [phrase for phrase, true in so.items() if not true or phrase not in answer] == []


def test_what_is_told_of_prevention_is_in_its_tables(profile, repository):
    answer, runs = text_of(repository / "book" / "answer.md"), prevention.all_trajectories(profile)
    rows = prevention.compared(runs).set_index(["intervention", "draw"])
    swap = "captions swapped at random"
    swapped, limit = rows.loc[swap], rows.loc[("a limit to the likeness", 0)]
    early, best = rows.loc[prevention.EARLY], rows.loc[prevention.STUDY]
    last = prevention.at_the_end(runs).set_index(["intervention", "draw"])["own_near_exact_rate"]
    ends, unchanged = (last[name][list(swapped.index)] for name in (swap, prevention.STUDY))
    clips, agreements = prevention.all_clips(profile), prevention.all_agreements()
    others = clips[clips["updates"].isin([0, 15_000])].groupby(["intervention", "draw"])["another"].mean()
    twins = prevention.twins_in_words(profile, "mel").split(" (")[0]
    at_most = float(twins.split("\u00a0")[0]) / 100
    told = prevention.sentences(runs, clips, agreements)
    recorded = agreements[agreements["kind"] == "recorded"]

    second = prevention.compared(runs, "aisfx").set_index(["intervention", "draw"]).loc[swap]
    nulls = published_nulls(FOLDER, profile, "aisfx").query("n_train == 500").set_index("kind")["own_near_exact_rate"]
    by_aisfx = {kind: share_text(rate).replace("\u00a0", " ") for kind, rate in nulls.items()}
    nulls_high = (
        published_nulls(FOLDER, profile, "aisfx").query("n_train == 500").set_index("kind")["own_near_exact_high"]
    )
    limit_by = (
        prevention.compared(runs, "aisfx").set_index(["intervention", "draw"]).loc[("a limit to the likeness", 0)]
    )
    mixed, of_draw = "mixtures of clips as well", runs[(runs["detector"] == "mel") & (runs["draw"] == 0)]
    at_best = of_draw.groupby("intervention")["kid"].agg(lambda kids: [*kids]).map(np.array)
    at_6290 = of_draw[of_draw["updates"] == 6290].set_index("intervention")["own_near_exact_rate"]
    of_mel = runs[runs["detector"] == "mel"].set_index(["intervention", "draw"])
    at_end, lowest = of_mel.loc[swap].groupby("draw").last(), of_mel.loc[prevention.STUDY].groupby("draw").min()

    def percents(rates) -> str:
        return listed([share_text(rate).removesuffix("\u00a0%") for rate in rates]) + " %"

    def decimals(values) -> str:
        return listed([f"{value:.2f}" for value in values])

    trajectory = runs[(runs["intervention"] == swap) & (runs["draw"] == 1) & (runs["detector"] == "mel")]
    so = {
        f"*At that quality* {percents(swapped['own_near_exact_rate'])} of the prompts are replayed in the two draws, no "
        f"more than twins ({twins}), and {percents(swapped['study_own_near_exact_rate'])} with the unchanged model": (
            len(swapped) == 2 and swapped["own_near_exact_rate"].max() < at_most
        ),
        "in neither draw do the intervals overlap": (
            swapped["own_near_exact_high"] < swapped["study_own_near_exact_low"]
        ).all(),
        f"*By aisfx* it is {percents(second['own_near_exact_rate'])} instead of {percents(second['study_own_near_exact_rate'])}, and no "
        "intervals overlap": (second["own_near_exact_high"] < second["study_own_near_exact_low"]).all()
        and "no intervals overlap" in prevention.second_judge(runs, profile),
        f"But twins of 500 clips reach {by_aisfx['twins']} by aisfx, so beside them the unchanged models show no sign of copying there either": (
            second["study_own_near_exact_low"].max() < nulls_high["twins"]
        ),
        f"Clips that unchanged models make for captions that they never met reach {by_aisfx['other draw']} by aisfx": True,
        f"it is {share_text(limit_by['own_near_exact_rate'])} instead of {share_text(limit_by['study_own_near_exact_rate'])}, and these "
        "overlap, too": limit_by["own_near_exact_high"] > limit_by["study_own_near_exact_low"],
        f"after 15,000 updates it is {share_text(last[mixed, 0])} beside {share_text(unchanged[0])}": True,
        f"than those of the unchanged model ever do (KID {at_best[mixed].min():.3f} beside {at_best[prevention.STUDY].min():.3f})": (
            at_best[mixed].min() < at_best[prevention.STUDY].min()
        ),
        f"after 6,290 it is {' beside '.join(share_text(at_6290[name]) for name in (mixed, prevention.STUDY))} (exploratory)": True,
        f"By it, the models with swapped captions are read after their last update, {percents(ends)}, where they are nearer than the "
        "unchanged model ever is": (at_end["kid"] < lowest.loc[at_end.index, "kid"]).all(),
        "swapped captions are not shown to be better: the intervals overlap": (
            early["own_near_exact_low"][[0, 1]] <= swapped["own_near_exact_high"]
        ).all()
        and (swapped["own_near_exact_low"] <= early["own_near_exact_high"][[0, 1]]).all(),
        f"*After 15,000 updates* it is {percents(ends)} beside {percents(unchanged)}, and there is no sign that other training clips "
        "are replayed instead": (others[swap] - others[prevention.TWINS][[0, 1]] < 0.03).all(),
        f"{percents(ends)} of the prompts are replayed instead of {percents(unchanged)}, and {twins} of twins": True,
        f"{decimals(swapped['caption_agreement'])} instead of {decimals(swapped['study_caption_agreement'])}": True,
        f"Recorded held-out clips agree by {recorded['own'].iloc[0]:.2f} with their own captions, and by {recorded['another'].iloc[0]:.2f} with": True,
        "In the second draw the share is highest at the end": (
            trajectory["own_near_exact_rate"].iloc[-1] > trajectory["own_near_exact_rate"].iloc[:-1].max()
        ),
        f"{share_text(limit['own_near_exact_rate'])} instead of {share_text(limit['study_own_near_exact_rate'])}, and the intervals "
        "overlap": limit["own_near_exact_high"] > limit["study_own_near_exact_low"],
        "14 are replayed only without it and 2 only with it": any("2 are replayed only with the change, 14 only" in one for one in told),
        f"After 15,000 updates it is {share_text(last[limit.name])} beside {share_text(unchanged[0])}": True,
        "There " + listed([f"{100 * rate:.1f}" for rate in early["own_near_exact_rate"]]) + " % are replayed": True,
        f"(KID {early['kid'].min():.2f} to {early['kid'].max():.2f}, at best {best['kid'].min():.2f} to {best['kid'].max():.2f})": early[
            "kid_low"
        ].max()
        < best["kid_high"].min(),
    }  # fmt: skip
    assert f"({percents(ends)} instead of {percents(unchanged)})" in text_of(repository / "README.md")
    checked = {phrase.replace("\u00a0", " "): true for phrase, true in so.items()}
    assert [phrase for phrase, true in checked.items() if not true or phrase not in answer] == []


def test_what_is_told_of_the_training_that_broke_down_is_in_its_tables(repository):
    folder = publication.RESULTS / "broken" / "pocket_mixing_n500_d1"
    losses = pd.read_parquet(folder / "loss.parquet").set_index("update")
    first, later = losses["loss"][4074], losses["loss"][4085]
    halted_h = losses["seconds"].diff()[4073] / 3600
    distances = pd.read_csv(folder / "quality.csv").query("prompt_set == 'heldout' and embedding == 'aisfx'")
    far = distances.loc[distances["updates"] >= 5030, "kid"]
    so = {
        f"between updates 4,074 and 4,085 of 15,000 its loss rose from {first:.2f} to {later:.1f}": losses.index[-1]
        == 15_000,
        "no fifty updates averaged less than 0.66 from then on": losses["loss"].loc[4086:].rolling(50).mean().min()
        > 0.66,
        f"halted for {halted_h:.1f} hours just before": True,
        "From 5,030 updates on its clips are far from any real sound (KID above 2)": far.min() > 2 and len(far) == 6,
    }
    answer = text_of(repository / "book" / "answer.md")
    assert [phrase for phrase, true in so.items() if not true or phrase not in answer] == []


def test_what_chapters_say_of_single_checkpoints_is_in_the_tables(profile, repository):
    runs = prevention.all_trajectories(profile)
    run = runs[(runs["intervention"] == prevention.STUDY) & (runs["draw"] == 2) & (runs["detector"] == "mel")]
    best, early = run.loc[run["kid"].idxmin()], run.set_index("updates").loc[4030]
    rows = pd.read_csv(FOLDER / "replication.csv").query("detector == 'mel' and null == 'twins' and fpr == 0.05")
    rows = rows.query("n_train == 100 and updates == 840 and prompt_set == 'train' and weights == 'ema'")
    told = {
        "10_prevention": f"is best at {best['updates']:,} updates, where it copies {share_text(best['own_near_exact_rate'])} "
        f"(KID {best['kid']:.3f}). At 4,030 updates it copies {share_text(early['own_near_exact_rate'])}, with a KID of {early['kid']:.3f}.",
        "07_findings": f"after 840 of its 2,800 updates the share was {share_text(rows['own_near_exact_rate'].mean())}.",
    }
    for name, phrase in told.items():
        text = text_of(repository / "notebooks" / f"{name}.ipynb")
        assert phrase.replace("\u00a0", " ") in text


@pytest.mark.parametrize("page", ["README.md", "book/answer.md"])
def test_the_table_of_shares_has_the_published_numbers(profile, repository, page):
    where = {"detector": profile.thresholds.detector, "null": profile.nulls[0], "fpr": profile.thresholds.fpr}
    rows = rows_of(pd.read_csv(FOLDER / "replication.csv"), arm="main", **where)
    text = text_of(repository / page)
    for n_train, part in rows.groupby("n_train"):
        cells = [
            share_text(part[rate].mean(), part[low].min(), part[high].max())
            for rate, low, high in (
                ("own_near_exact_rate", "own_near_exact_low", "own_near_exact_high"),
                ("flagged_rate", "ci_low", "ci_high"),
            )
        ]
        cells = [f"{part['updates'].max():,}", cells[0], share_text(part["twins_own_near_exact_rate"].mean()), cells[1]]
        assert f"| {n_train:,} clips | {' | '.join(cells)} |".replace("\u00a0", " ") in text


def test_one_quantity_has_one_number_on_every_page(profile, repository):
    """The share that is near-exact of its own clip, pooled over draws: list, tables, ledger, chart, README and answer."""
    where = {"detector": profile.thresholds.detector, "null": profile.nulls[0], "fpr": profile.thresholds.fpr}
    rows = of_own(rows_of(pd.read_csv(FOLDER / "replication.csv"), **where))
    sizes = pooled(rows[rows["arm"] == "main"]).set_index("n_train")
    numbers = shares(sizes, *limits("near_exact_rate"))
    ledger = pd.concat(findings.ledger(pd.read_csv(FOLDER / "claims.csv"))).set_index("claim")["here"]
    claims = [
        "Trained on few clips, most generations are near-exact copies", "At the middle size few are",
        "On the whole data set almost none are",
    ]  # fmt: skip
    chart = findings.shares_and_papers(rows)
    chart = chart[chart["kind"] == "this book, by rule"].set_index("n_train")["rate"]
    assert chart.to_dict() == sizes["near_exact_rate"].to_dict()
    table, main = copies_and_flags(rows[rows["arm"] == "main"]), rows[rows["arm"] == "main"].groupby("n_train")
    assert table["near-exact of the own clip"].tolist() == numbers
    for title, columns in {"flagged": FLAGGED, "false alarms, checked": limits("fpr_verified")}.items():
        rate, low, high = (main[name].agg(how) for name, how in zip(columns, ("mean", "min", "max")))
        assert table[title].tolist() == [share_text(*row) for row in zip(rate, low, high)]
    assert ledger[claims].tolist() == [numbers[0], numbers[len(numbers) // 2], numbers[-1]]
    for number in numbers:
        for page in ("README.md", "book/answer.md"):
            assert number.replace("\u00a0", " ") in text_of(repository / page)


def test_it_is_restored_by_one_command(repository, tmp_path):
    call = [sys.executable, "-m", "helpers", "restore", "--profile", "pocket"]
    environment = {**os.environ, "HELPERS_RUNS": str(tmp_path)}
    done = subprocess.run(call, capture_output=True, text=True, cwd=repository, env=environment)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(\d+) stages: \1 restored, 0 there already\n", done.stdout), done.stdout


@pytest.mark.parametrize("name", [name for name in comparison.TABLES if (FOLDER / name).is_file()])
def test_every_row_can_be_compared_with_one_computed_anew(name):
    table = pd.read_csv(FOLDER / name)
    assert not table.duplicated(list(comparison.TABLES[name][0])).any()
    rows = comparison._match_rows(name, list(comparison.TABLES[name][0]), table, table)
    assert len(rows) == len(table) and (rows["_merge"] == "both").all() and rows["row"].is_unique
