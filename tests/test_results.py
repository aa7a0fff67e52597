"""The study in results/pocket: whole, as large as it may be, made by this code, and told by the README as it is."""

import os
import re
import subprocess
import sys

import pandas as pd
import pytest

from helpers.book import memorisation, sentences
from helpers.book.summaries import findings
from helpers.book.summaries.findings import KNOWN, known_kinds
from helpers.book.summaries.onset import above_floor, floor_sentence, relation_of, relations_at
from helpers.book.summaries.rows import FLAGGED, of_own, pooled, rows_of
from helpers.book.summaries.thresholds import copies_and_flags
from helpers.book.words import limits, share_text, shares
from helpers.commands import LARGEST_PUBLICATION_MB
from helpers.copies import score_table
from helpers.copies.pooled import judge_published
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
    "dose.csv": "copies kind n_clusters n_defined replicated rate ci_low ci_high",
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
    for sentence in (*sentences.of_sizes(of_own(rows), KNOWN[profile.nulls[0]]), sentences.of_relation(law)):
        assert sentence.replace("\u00a0", " ") in answer


def test_the_answer_tells_the_relation_of_the_study_of_onsets_too(repository):
    law, folder = load_profile("law"), publication.RESULTS / "law"
    relation = relation_of(memorisation.onsets(folder, law))
    answer = text_of(repository / "book" / "answer.md")
    assert sentences.of_relation(relation, define=False).replace("\u00a0", " ") in answer
    assert sentences.of_second_measure(relation) in answer
    judged = judge_published(folder, law)
    assert floor_sentence(above_floor(judged)) in answer
    levels = relations_at(judged, law, (0.1, 0.2))["exponent"]
    both = pd.concat([relation, pd.read_csv(FOLDER / "law.csv")]).query("measure == 'near_exact'")
    assert ((both["exponent_low"] < 1) & (both["exponent_high"] > 1)).tolist() == [True, True]
    assert "neither the main study nor the *onset study* can say" in answer
    rises = relation["exponent"].iloc[0] < levels.iloc[0] < levels.iloc[1]
    assert rises and "a higher level gives a greater exponent" in answer


def test_what_the_answer_says_in_words_is_so(profile, repository):
    """Each phrase beside the numbers that it is true by."""
    answer = text_of(repository / "book" / "answer.md")
    table = pd.read_csv(FOLDER / "replication.csv")
    claims = pd.read_csv(FOLDER / "claims.csv").set_index("claim")
    primary = rows_of(table, detector="mel", null=profile.nulls[0], fpr=profile.thresholds.fpr)
    by_size = primary[primary["arm"] == "main"].groupby("n_train").agg(
        rate=("flagged_rate", "mean"), low=("ci_low", "min"), high=("ci_high", "max"),
        own=("own_clip_top1_rate", "mean"), twins=("twins_top1_rate", "mean"),
    )  # fmt: skip
    small, middle, large = (
        share_text(row["rate"], row["low"], row["high"]).replace("\u00a0", " ") for _, row in by_size.iterrows()
    )
    own, of_twins_top1 = (share_text(by_size[name].iloc[-1]).replace("\u00a0", " ") for name in ("own", "twins"))
    updates = primary.loc[primary["epochs"] == 40].groupby("n_train")["updates"].min()
    scores = score_table.ScoreTable(FOLDER)
    known = pd.concat([known_kinds(scores, ("main", 4500, draw), profile, None) for draw in range(2)])
    altered = known.loc[known["kind"] == "altered copies", "near_exact"]
    trend = pd.read_csv(FOLDER / "dose_trend.csv").query("kind == 'exact'").set_index("outcome")["low"]
    verdict = claims["verdict"]
    areas = pd.read_csv(FOLDER / "alterations.csv").groupby("detector")["auroc"].mean()
    detection = pd.read_csv(FOLDER / "detection.csv").query("transform == 'all' and bias == 'own'")
    of_twins, of_heldout = (detection[detection["negatives"] == name] for name in ("twins", "heldout"))

    def named(detector: str) -> str:
        return " | ".join(f"{area:.2f}" for area in of_twins[of_twins["detector"] == detector]["auroc"])

    def leads(rows: pd.DataFrame, detector: str) -> list[bool]:
        return (rows.loc[rows["detector"] == detector, "below_mel_low"] > 0).tolist()

    so = {
        f"5 % of twins pass flags {small}, {middle} and {large}.": profile.thresholds.fpr == 0.05,
        "| 100 clips | 500 clips | 4,500 clips |": list(profile.sizes) == [100, 500, 4500],
        f"| mel | {named('mel')} |": True,
        f"an encoder that others trained | {named('aisfx')} |": True,
        f"CLAP, trained here | {named('clap')} |": True,
        "lies above 0 at all three sizes": leads(of_twins, "clap") == [True] * 3,
        "there it does at two of three": leads(of_twins, "aisfx") == [False, True, True],
        "A *near-exact copy* lies at 0.69 or above": profile.thresholds.theta == 0.69,
        "These are 2 of 9,000 clips": (
            primary.query("arm == 'main' and n_train == 4500")[["own_near_exact", "n_generated"]].sum().tolist()
            == [2, 9000]
        ),
        "Against held-out clips mel leads neither": not any(leads(of_heldout, "clap") + leads(of_heldout, "aisfx")),
        "about half of our altered copies": altered.between(0.45, 0.55).all(),
        f"the prompt's own for {own} of its clips; for twins it is {of_twins_top1}": True,
        "have had 125 and 625 of 5,625 updates": updates.tolist() == [125, 625, 5625],
        f"the other encoder finds more ({areas['aisfx']:.2f}) than mel ({areas['mel']:.2f})": areas["aisfx"]
        > areas["mel"],
        f"the CLAP trained here as many ({areas['clap']:.2f})": abs(areas["clap"] - areas["mel"]) < 0.005,
        "too seldom replicated to tell": pd.isna(
            claims.loc["Clips that are in the set more often are replicated more often", "our_value"]
        ),
        "lags and own-clip matches rise with the number of exact copies": (trend[["flagged", "top1"]] > 0).all(),
        "holds here at equal updates": verdict["Replication falls as the training set grows, at equal updates"]
        == "holds",
        "At equal epochs (40) this study cannot tell": (
            verdict["Replication falls as the training set grows, at equal epochs"] == "cannot tell"
            and "No fall shows" in sentences.of_equal_epochs(of_own(primary))
        ),
    }
    assert [phrase for phrase, true in so.items() if not true or phrase not in answer] == []


def test_the_readme_shows_the_published_numbers(profile, repository):
    where = {"detector": profile.thresholds.detector, "null": profile.nulls[0], "fpr": profile.thresholds.fpr}
    rows = rows_of(pd.read_csv(FOLDER / "replication.csv"), arm="main", **where)
    readme = text_of(repository / "README.md")
    for n_train, part in rows.groupby("n_train"):
        cells = [
            share_text(part[rate].mean(), part[low].min(), part[high].max())
            for rate, low, high in (
                ("own_near_exact_rate", "own_near_exact_low", "own_near_exact_high"),
                ("flagged_rate", "ci_low", "ci_high"),
            )
        ]
        cells.insert(1, share_text(part["twins_own_near_exact_rate"].mean()))
        assert f"| {n_train:,} clips | {' | '.join(cells)} |".replace("\u00a0", " ") in readme


def test_one_quantity_has_one_number_on_every_page(profile, repository):
    """The share that is near-exact of its own clip, pooled over draws: list, tables, ledger, chart, README and answer."""
    where = {"detector": profile.thresholds.detector, "null": profile.nulls[0], "fpr": profile.thresholds.fpr}
    rows = of_own(rows_of(pd.read_csv(FOLDER / "replication.csv"), **where))
    sizes = pooled(rows[rows["arm"] == "main"]).set_index("n_train")
    numbers = shares(sizes, *limits("near_exact_rate"))
    told = sentences.of_sizes(rows, KNOWN[profile.nulls[0]])
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
    assert ledger[claims].tolist() == numbers
    assert numbers[-1] in sentences.of_equal_epochs(rows)
    for number, sentence in zip(numbers, told, strict=True):
        assert number in sentence
        for page in ("README.md", "book/answer.md"):
            assert number.replace("\u00a0", " ") in text_of(repository / page)


def test_it_is_restored_by_one_command(repository, tmp_path):
    call = [sys.executable, "-m", "helpers", "restore", "--profile", "pocket"]
    environment = {**os.environ, "HELPERS_RUNS": str(tmp_path)}
    done = subprocess.run(call, capture_output=True, text=True, cwd=repository, env=environment)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(\d+) stages: \1 restored, 0 there already\n", done.stdout), done.stdout


@pytest.mark.parametrize("name", comparison.INTERVALS)
def test_every_row_can_be_compared_with_one_computed_anew(name):
    table = pd.read_csv(FOLDER / name)
    assert not table.duplicated(list(comparison.KEYS[name])).any()
    rows = comparison._match_rows(name, table, table)
    assert len(rows) == len(table) and (rows["_merge"] == "both").all() and rows["row"].is_unique
