"""Where null and ceiling cannot be told apart no clip is near-exact and none is spared: from the scores to the page's words.

The synthetic scores of `synthetic_scores.py`, with a ceiling that lies below every null.
"""

import pandas as pd
import pytest
import synthetic_results as made

from helpers.book import sentences
from helpers.book.summaries import findings, thresholds
from helpers.book.summaries.dose import copies_in_words
from helpers.book.summaries.rows import of_own, rows_of
from helpers.book.tables import table_html
from helpers.copies.conclusions.evidence import CANNOT_TELL
from helpers.copies.score_table import ScoreTable
from helpers.sound.profiles import load_profile
from helpers.stages import dose, findings as findings_stage, thresholds as thresholds_stage

PROFILE = load_profile("decisions", made.FOLDER)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folders of the stages from thresholds on, as `made.decide` has them."""
    folder = tmp_path_factory.mktemp("undefined")
    upstream = made._upstream(folder)
    ceiling = pd.read_parquet(folder / "scores" / "ceiling.parquet")
    ceiling.assign(own_score=0.0).to_parquet(folder / "scores" / "ceiling.parquet")
    stages = ("thresholds", thresholds_stage), ("dose", dose), ("findings", findings_stage, made.BOUNDS)
    for name, stage, *bounds in stages:
        made._compute(stage, folder / name, upstream, *bounds)
        upstream[name] = folder / name
    return folder


@pytest.fixture(scope="module")
def rows(folder):
    where = {"detector": "mel", "null": "twins", "fpr": PROFILE.thresholds.fpr}
    return rows_of(pd.read_csv(folder / "thresholds" / "replication.csv"), **where)


def test_it_is_no_rate_in_any_table(folder):
    table = pd.read_csv(folder / "thresholds" / "replication.csv")
    shares = [name for name in table if "near_exact" in name or name.startswith("precision")]
    assert len(shares) == 18 and table[[*shares, "distinct_clusters"]].isna().all(axis=None)
    assert (table[["n_defined", "null_n_defined"]] == 0).all(axis=None) and not table["flagged_n_defined"].any()
    assert (table["null_n"] > 0).all() and table["flagged_rate"].notna().any()
    assert pd.read_parquet(folder / "thresholds" / "decisions.parquet")["near_exact"].isna().all()
    strata = pd.read_csv(folder / "thresholds" / "strata.csv")
    assert (strata["n_defined"] == 0).all() and strata[["rate", "low", "high"]].isna().all(axis=None)
    dose = pd.read_csv(folder / "dose" / "dose.csv")
    assert (dose["n_defined"] == 0).all() and dose[["rate", "ci_low", "ci_high"]].isna().all(axis=None)
    assert dose["n_generated"].sum() and dose["flagged_rate"].notna().any()


def test_no_claim_of_near_exact_clips_is_judged(folder):
    claims = pd.read_csv(folder / "findings" / "claims.csv").head(8)
    near = claims[~claims["claim"].str.startswith("Share flagged")]
    assert len(near) == 6 and near["our_value"].isna().all() and set(near["verdict"]) == {CANNOT_TELL}
    assert (
        near["why"].str.contains("undefined for|nothing was flagged").all()
        and not near["why"].str.contains("nan").any()
    )


def test_the_chapters_say_so_in_every_table_and_sentence(folder, rows):
    main = rows_of(rows, arm="main")
    decisions = rows_of(pd.read_parquet(folder / "thresholds" / "decisions.parquet"), detector="mel")
    first = main[main["draw"] == 0].set_index("n_train")
    table = ScoreTable(folder / "scores")
    known = findings.known_kinds(table, ("main", 60, 0), PROFILE, first["tau"][60]).assign(n=60)
    ours = thresholds.near_exact_and_flags(main, 0.95).head(len(main))
    strata = thresholds.near_exact_by_content(pd.read_csv(folder / "thresholds" / "strata.csv"))
    columns = [
        *(ours[name] for name in ("near-exact of any clip", "honest clips near-exact")),
        *(strata[name] for name in ("near-exact", "near-exact of twins")),
        findings.last_checkpoints(main, decisions)["near-exact of any clip"],
        findings.known_in_words(known, 0.2)["near-exact of any clip"],
        copies_in_words(pd.read_csv(folder / "dose" / "dose.csv"))["replicate"],
    ]
    for column in columns:
        assert len(column) and column.str.fullmatch(r"undefined for ([\d,]+) of \1").all(), column.name
    assert set(ours.loc[ours["clips flagged"] > 0, "of the flagged, near-exact"].str.split().str[0]) == {"undefined"}
    told = [
        sentences.of_equal_moments(rows),
        sentences.of_missed(known),
        sentences.of_undefined(main),
        sentences.of_answer(rows),
    ]
    headline = thresholds.copies_and_flags(of_own(main))
    shown = [table_html(shown) for shown in (ours, strata, headline, findings.last_checkpoints(main, decisions))]
    assert not [text for text in (*told, *shown) if "nan" in text.lower()]
    assert headline["near-exact of the own clip"].str.startswith("undefined for").all()
    assert sentences.of_undefined(main).count("near-exact is undefined") == main["n_train"].nunique()
    assert findings.seed_outcomes(decisions).empty
