"""Tables of the findings: every run, clips of known kind, seeds, copies and claims.

Notebook: 07_findings.
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import binom

from helpers.base.arms import MAIN, describe_arms
from helpers.base.profile import Profile
from helpers.book.figures.findings import ANSWER, HONEST
from helpers.book.summaries.rows import FLAGGED, checkpoints, near_exact_of, pooled, rows_of, shares_by
from helpers.book.tables import arrange, captioned
from helpers.book.words import defined_shares, epochs_text, limits, share_text, shares
from helpers.copies.calibration import flag, split_calibration
from helpers.copies.conclusions.equal_moments import last_in_common
from helpers.copies.conclusions.evidence import CANNOT_TELL, FAILS, HOLDS, NOT_COMPARABLE, UNKNOWN, VERDICTS
from helpers.copies.rates import clustered_rate, exact_interval
from helpers.copies.replication import near_exact, own_clip_top1
from helpers.copies.score_table import ScoreTable

# From copy to honest clip. "generated" is not among them: of those it is not known.
KNOWN = {
    "empirical": "perfect replays",
    "altered": "altered copies",
    "same_bed": "same bed, other events",
    "twins": "twins",
    "heldout": "held-out clips",
}
PAPER_SHARES = {1_000: 0.9, 5_000: 30 / 5_000, 45_000: 10 / 45_000}  # near-exact by ear, by a secondary summary

# How a claim begins, and its verdict where no model of the study tells.
OF_COPIES, ELSEWHERE = "Clips that are in the set", "another run"
# The ledger's parts, by the verdicts in them, and the units of claims that are no shares, with their formats.
LEDGER = {
    "Decided": (HOLDS, FAILS),
    "Not comparable, or not clear enough to decide": (CANNOT_TELL, NOT_COMPARABLE),
    "Not asked of this run, but of another model, above": (ELSEWHERE,),
    "Unknown": (UNKNOWN,),
}
UNITS = {
    "Replication falls": ("\u00a0points", ""),
    "Mel similarity": (" of AUROC against twins", "+.2f"),
    "The data set holds": (" pairs", ".0f"),
    OF_COPIES: (" log-odds", "+.2f"),
}

# The measures of onset.csv as columns; the primary one first.
ONSETS = {"near_exact": "5 % near-exact of their own clip", "top1": "own clip nearest for half of the prompts"}


def last_checkpoints(rows: pd.DataFrame, decisions: pd.DataFrame, one_gallery: bool = False) -> pd.DataFrame:
    """The main arm of each run: near-exact and flagged shares, and how often the nearest clip is the own one."""
    near = defined_shares(rows, "n_defined", "n_generated", *limits("near_exact_rate"))
    columns = {"n": "n_train", "draw": "draw", "epochs": "epochs", near_exact_of(one_gallery): near}
    of_these = "of these, nearest to it" if one_gallery else "of these, of the own clip"
    columns |= {of_these: matches_of_own(decisions, rows), "flagged": FLAGGED}
    columns |= {
        "nearest is its own clip": limits("own_clip_top1_rate"),
        "of twins, nearest is theirs": limits("twins_top1_rate"),
    }
    return arrange(rows, columns, "Every run at its last checkpoint, with 95 % intervals.", {"epochs": ",.0f"})


def shares_and_papers(rows: pd.DataFrame) -> pd.DataFrame:
    """What `figures.plot_answer` draws, from rows of replication.csv: means over draws with their outermost limits."""
    by = rows[rows["arm"] == MAIN].groupby("n_train")
    parts = [
        pd.DataFrame({"n_train": list(PAPER_SHARES), "rate": list(PAPER_SHARES.values())}).assign(kind=list(ANSWER)[1])
    ]
    for kind, stem in ((list(ANSWER)[0], "near_exact"), (HONEST, "null_near_exact")):
        ours = {"rate": (f"{stem}_rate", "mean"), "low": (f"{stem}_low", "min"), "high": (f"{stem}_high", "max")}
        parts.append(by.agg(**ours).reset_index().assign(kind=kind))
    return pd.concat(parts, ignore_index=True)


def equal_moments(rows: pd.DataFrame) -> pd.DataFrame:
    """The near-exact shares of `shares_by` at the last moment that sizes have nearly in common (`last_in_common`): first by updates, then by
    epochs. With axis (either word), exact (whether the moment is one), and moment, in words; without rows where no two sizes have one."""
    parts = [pd.DataFrame(columns=["axis", "exact", "moment", "n_train", "rate", "low", "high", "null_rate"])]
    for axis in ("updates", "epochs"):
        curves = shares_by(checkpoints(rows), [axis, "n_train"]).reset_index()
        part = pd.DataFrame(last_in_common([of.to_dict("records") for _, of in curves.groupby("n_train")], axis))
        if len(part):
            low, high = (epochs_text(part[axis].agg(end)) for end in ("min", "max"))
            alike = f"Equal {axis} ({low})" if low == high else f"Nearly equal {axis} ({low} to {high})"
            parts.append(part.assign(axis=axis, exact=low == high, moment=alike))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def moments_in_words(moments: pd.DataFrame) -> pd.DataFrame:
    """`equal_moments` as it is shown."""
    columns = {"moment": "moment", "training clips": moments["n_train"].astype(int)}
    columns |= {"near-exact of the own clip": ("rate", "low", "high"), "the same of honest clips": ("null_rate",)}
    return arrange(moments, columns, "Near-exact shares at equal updates and at equal epochs, or nearly equal ones.")


def asked_otherwise(rows: pd.DataFrame, quality: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """The first draws' models at their last checkpoint by what they were asked: near-exact shares beside their quality."""
    at_last = rows["updates"] == rows.groupby("n_train")["updates"].transform("max")
    arms = rows[(rows["draw"] == 0) & at_last]
    run = ["n_train", "arm"]
    measures = quality.pivot(index=run, columns="embedding", values="kid").add_prefix("kernel distance by ")
    measures["caption agreement"] = quality.groupby(run)["clap_agreement"].first()
    arms = arms.merge(measures.reset_index(), on=run, how="left")
    names = {arm: text for n in profile.sizes for arm, text in describe_arms(profile, n, 0).items()}
    columns = {"n": "n_train", "asked": arms["arm"].map(names), "clips": "n_generated"}
    near = pd.Series(defined_shares(arms, "n_defined", "n_generated", *limits("near_exact_rate")), arms.index)
    if profile.pooled:
        near = near.mask(arms["prompt_set"] == "heldout", "–")  # there is no own clip
    columns[near_exact_of(profile.pooled)] = near
    caption = "The same models, asked otherwise (first draw; other arms by fewer prompts); agreement by CLAP."
    return arrange(arms, columns | {name: name for name in measures}, caption, {"caption agreement": ".2f"})


def known_in_words(known: pd.DataFrame, fpr: float, one_gallery: bool = False) -> pd.DataFrame:
    """Rows of `known_kinds` with their size n, as they are shown; `fpr`: the rate that their thresholds were set for."""
    near = pd.Series(defined_shares(known, "n_defined", "clips", *limits("near_exact")), known.index)
    if one_gallery:
        near = near.mask(known["kind"] == KNOWN["heldout"], "–")  # there is no own clip
    columns = {"n": "n", "kind": "kind", "clips": "clips", near_exact_of(one_gallery): near}
    columns |= {"flagged": limits("flagged"), "nearest is its own clip": limits("own_top1")}
    caption = f"Clips of known kind by the rules for generated ones, at a stated rate of {100 * fpr:g} %."
    return arrange(known, columns, caption)


def asked(claims: pd.DataFrame, of_copies: bool) -> pd.DataFrame:
    """claims.csv, where the one on copies is ELSEWHERE unless the study trains a model on planted duplicates (`of_copies`)."""
    elsewhere = claims["claim"].str.startswith(OF_COPIES) & (not of_copies)
    return claims.assign(verdict=claims["verdict"].mask(elsewhere, ELSEWHERE))


def ledger(claims: pd.DataFrame) -> list[pd.DataFrame]:
    """What `asked` gives as it is shown, in the parts of LEDGER that it has."""
    paper = claims["paper_value"] + " (" + claims["source"] + ")"
    paper = paper.where(claims["source"] != "unknown", "unknown")
    here = [_claim_text(*row) for row in claims[["claim", "our_value", "ci_low", "ci_high"]].itertuples(index=False)]
    columns = {"claim": "claim", "the paper": paper, "here": pd.Series(here, claims.index), "verdict": "verdict"}
    table, parts = arrange(claims, columns), []
    for title, verdicts in LEDGER.items():
        part = table[table["verdict"].isin(verdicts)].sort_values(
            "verdict", key=lambda v: v.map((*VERDICTS, ELSEWHERE).index)
        )
        if len(part):
            parts.append(captioned(part, f"{title}: {len(part)} of {len(table)} claims."))
    return parts


def _claim_text(claim: str, value: float, low: float, high: float) -> str:
    """What was measured, in its unit: shares in per cent, their differences in points; a dash where nothing was."""
    unit, spec = next((unit for start, unit in UNITS.items() if claim.startswith(start)), ("\u00a0%", ""))
    if pd.isna(value) or not spec:
        return share_text(value, low, high).replace("\u00a0%", unit)
    return f"{value:{spec}}{unit}" + ("" if pd.isna(low) else f" ({low:{spec}} to {high:{spec}})")


def onsets_in_words(onsets: pd.DataFrame) -> pd.DataFrame:
    """onset.csv as it is shown: the onset of each run, by both measures."""
    rows = onsets.pivot(index=["n_train", "draw", "trained_to"], columns="measure").reset_index()
    columns = {"n": rows["n_train"], "draw": rows["draw"], "trained to": rows["trained_to"]}
    for measure, name in ONSETS.items():
        if measure not in set(onsets["measure"]):
            continue
        values = rows.xs(measure, axis=1, level="measure")
        columns[name] = [
            _onset_words(*row) for row in values[["updates", "updates_low", "updates_high", "censored"]].to_numpy()
        ]
    return arrange(rows, columns, "The onset of each run in updates, by two measures, with 95 % intervals.")


def _onset_words(updates: float, low: float, high: float, censored: bool) -> str:
    return "not yet" if censored else f"{updates:,.0f} ({low:,.0f} to {high:,.0f})"


def reasons(claims: pd.DataFrame) -> pd.DataFrame:
    """What each verdict of claims.csv rests on."""
    return arrange(
        claims,
        {"claim": "claim", "why": "why"},
        "What each verdict rests on: what was measured, and how the verdict follows.",
    )


def known_kinds(
    table: ScoreTable, run: tuple, profile: Profile, tau: float | None, cluster_of: Mapping | None = None
) -> pd.DataFrame:
    """How clips of KNOWN kind fare by the rules that judge generated ones: one row a kind that the run has.

    Columns: kind, clips, n_defined (those with a position, of which near_exact is a share), and flagged, near_exact,
    own_near_exact (of the own clip; where clips have none, as near_exact) and own_top1
    with _low and _high (bootstrap over own clips). tau is set on the first null, so of that only part C3 counts as flagged
    or not. NaN without tau, where no position is defined, or where clips have no own clip.
    """
    config, null = profile.thresholds, profile.nulls[0]
    detector = config.detector
    rows = []
    for kind, name in KNOWN.items():
        if not table.has(run, detector, kind):
            continue
        best = table.best(run, detector, kind)
        near = near_exact(table.positions(run, detector, best, null), config.theta)
        groups = best["own_id"].where(best["own_id"] != "", best["query_id"]).to_numpy()
        top1 = own_clip_top1(best["ref_id"], best["own_id"], cluster_of) if (best["own_id"] != "").all() else None
        flags, unseen = None, np.ones(len(best), bool)
        if kind == null:
            unseen = split_calibration(best["query_id"], config.seed) == "C3"
        if tau is not None and not math.isnan(tau):
            flags = flag(table.normalised(run, detector, best, config.beta, config.k), tau)
        own = near if top1 is None or table.pooled else near & pd.array(top1, dtype="boolean")
        measured = {"flagged": (flags, unseen), "near_exact": (near, True), "own_near_exact": (own, True)}
        measured["own_top1"] = (top1, True)
        about = {"kind": name, "clips": len(best), "n_defined": int((~near.isna()).sum())}
        rows.append(about | _rates(measured, groups, config))
    return pd.DataFrame(rows)


def _rates(measured: dict, groups: np.ndarray, config) -> dict:
    found = {}
    for name, (flags, counted) in measured.items():
        rate = low = high = math.nan
        if flags is not None:
            counted = np.broadcast_to(counted, len(flags))
            result = clustered_rate(flags[counted], groups[counted], config.n_bootstrap, config.confidence, config.seed)
            rate, low, high = result.rate, result.low, result.high
        found |= {name: rate, f"{name}_low": low, f"{name}_high": high}
    return found


def matches_of_own(decisions: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """For each of `runs` (n_train, draw): among its near-exact main clips, those whose match is the clip of their prompt,
    or one of its duplicates; as "50 of 53". A dash where it is known of none whether they are near-exact."""
    words = []
    for n_train, draw in runs[["n_train", "draw"]].itertuples(index=False):
        part = decisions[(decisions["arm"] == MAIN) & (decisions["n_train"] == n_train) & (decisions["draw"] == draw)]
        near = part[part["near_exact"].fillna(False).astype(bool)]
        known = part.empty or part["near_exact"].notna().any()
        words.append(f"{int(near['own_top1'].sum())}\u00a0of\u00a0{len(near)}" if known else "–")
    return words


def seed_outcomes(decisions: pd.DataFrame) -> pd.DataFrame:
    """How many of its seeds made a near-exact clip, a row a prompt: n_train, own_id, hits, seeds.

    From the arm of several seeds; without one from the main arm, where its prompts were given several. Seeds whose clip has
    no position are not counted.
    """
    several = rows_of(decisions, arm="seeds")
    if several.empty:  # where each prompt of the main arm was given several
        several = rows_of(decisions, arm=MAIN, draw=0)
    grouped = several.groupby(["n_train", "own_id"])["near_exact"]
    found = grouped.agg(hits="sum", seeds="count").astype(int).reset_index()
    return found[found["seeds"].groupby(found["n_train"]).transform("max") > 1].reset_index(drop=True)


def seeds_sentence(outcomes: pd.DataFrame) -> str:
    """How to read the figure of `seed_shares`, or why there is none."""
    if outcomes.empty:
        return "Here no prompt was asked more than once with a known outcome, so luck and prompt cannot be told apart."
    return (
        "If every prompt had the same chance to be replayed, the bars would end at the dashes. Where the outer bars, of no seed and of "
        "every seed, are longer than that, the prompt decides: some prompts are replayed with every seed, others with none."
    )


def seed_shares(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Share of prompts with each number of hits, and what luck alone would give: n_train, hits, prompts, share, by_luck.

    By luck: every prompt has the same chance, that of all clips together. Prompts with fewer seeds than most (a silent
    clip has no verdict, nor has one without a position) are left out.
    """
    rows = []
    for n_train, part in outcomes.groupby("n_train"):
        seeds = int(part["seeds"].max())
        part = part[part["seeds"] == seeds]
        chance = part["hits"].mean() / seeds
        for hits in range(seeds + 1):
            count = int((part["hits"] == hits).sum())
            luck = float(binom.pmf(hits, seeds, chance))
            rows.append((n_train, hits, seeds, count, count / len(part), luck))
    return pd.DataFrame(rows, columns=["n_train", "hits", "seeds", "prompts", "share", "by_luck"])


def sizes_in_words(rows: pd.DataFrame, null: str = "twins") -> pd.DataFrame:
    """By size, draws pooled: near-exact of the own clip after the last update, beside the null's, and when it begins to be more.

    `rows` of every checkpoint, of one detector, null and rate, read by `rows.of_own`; `null` in words.
    """
    main = rows[rows["arm"] == MAIN]
    sizes, curves = pooled(main), dict([*checkpoints(rows).groupby("n_train")])
    sizes["updates"] = main.groupby("n_train")["updates"].max().to_numpy()
    columns = {"training clips": "n_train", "updates": "updates"}
    columns["near-exact of the own clip"] = defined_shares(
        sizes, "n_defined", "n_generated", *limits("near_exact_rate")
    )
    columns[f"the same of {null}"] = shares(sizes, "null_near_exact_rate")
    columns[f"copying shows, beside {null}"] = [copying_shows(curves[n]) for n in sizes["n_train"]]
    caption = "Near-exact of the own clip by training size: after the last update, and when it began to exceed that of honest clips."
    return arrange(sizes, columns, caption)


def copying_shows(curve: pd.DataFrame) -> str:
    """Between which checkpoints of one size the near-exact share first lies above the null's, its whole interval; in words."""
    by = curve.dropna(subset=["near_exact_low", "null_near_exact_high"]).groupby(["updates", "epochs"])
    shown = by.agg(low=("near_exact_low", "min"), null_high=("null_near_exact_high", "max")).reset_index()
    if shown.empty:
        return "cannot be told: no checkpoint has an interval to judge by"
    above = (shown["low"] > shown["null_high"]).to_numpy()
    when = [f"{updates:,}" for updates in shown["updates"]]
    epochs = [epochs_text(epochs) for epochs in shown["epochs"]]
    if not above.any():
        return f"not by {when[-1]} updates ({epochs[-1]} epochs)"
    first = int(above.argmax())
    if first == 0:
        return f"by the first checkpoint, {when[0]} updates ({epochs[0]} epochs)"
    return f"between {when[first - 1]} and {when[first]} updates ({epochs[first - 1]} and {epochs[first]} epochs)"


def planted_words(planted: pd.DataFrame) -> dict[str, str]:
    """The finder of duplicates in three numbers, from planted.csv: its precision, its least and its greatest recall."""
    recall = planted.loc[planted["measure"] == "recall", "rate"]
    precision = shares(planted[planted["measure"] == "precision"], "rate", "low", "high") or ["–"]
    return {
        "planted_precision": precision[0],
        "planted_least": share_text(recall.min()),
        "planted_most": share_text(recall.max()),
    }


def rare_event(count: int, n: int) -> dict[str, str]:
    """What `count` of `n` means, in words to paste: the rate in per cent, how many in a million, and the chance in per cent
    that a thousand clips hold at least one; each with the ends of the exact binomial 95 % interval."""
    low, high = exact_interval(count, n)
    words = {}
    for end, rate in (("", count / n), ("_low", low), ("_high", high)):
        words["rare_rate" if not end else f"rare{end}"] = f"{100 * rate:.3f}"
        words[f"rare_million{end}"] = f"{1e6 * rate:,.0f}"
        words[f"rare_thousand{end}"] = f"{100 * binom.sf(0, 1000, rate):.0f}"
    return words
