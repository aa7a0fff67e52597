"""What an audit says: p-values of every clip, what is flagged, how far that can be trusted, and all of it in words."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers.base.settings import ThresholdsConfig
from helpers.copies.audit.chromaprint import LEAST_EXCESS, LEAST_S, NAME
from helpers.copies.audit.folders import Folders, account
from helpers.copies.audit.p_values import Tail, combined, honest_needed, p_values, q_values, smallest_p
from helpers.copies.audit.planting import ALTERATIONS
from helpers.copies.audit.queries import PLANTED
from helpers.copies.audit.search import PLACES
from helpers.copies.calibration import calibrate_threshold, flag, n_above
from helpers.copies.detectors import OF_MELS
from helpers.copies.rates import Rate, flagged_rate
from helpers.sound.likeness import MEASURES, Difference

LOCAL, TOGETHER = "landmarks", "combined"  # what the local detector and the verdict over all are called in tables
COLUMNS = [
    *("kind", "clip", "detector", "nearest", "similarity", "bias", "score", "tau", "flagged", "part", "p", "q"),
    *PLACES,
]
MATCH_COLUMNS = ["kind", "clip", "detector", "rank", "nearest", "score", *PLACES]
ONE_LANDMARK, COSINES_APART = 10.0, 1e-3  # least differences of scores that mean anything: what sets a scale
LEAST_PLACED = 3 * ONE_LANDMARK  # below it landmarks are too few to say where a match lies


class Verdict(NamedTuple):
    """What one detector, or all of them combined, flags at tau: of generated clips, of honest ones set aside, and of planted
    exact copies beside the right clip; `beta` and `k` are the weights it was given (NaN and 0: none); `unmatched` generated
    clips have nothing in common with any training clip, or nothing that this detector hears."""

    detector: str
    tau: float
    flagged: Rate
    verified: Rate
    copies: Rate
    beta: float
    k: int
    unmatched: int


class Audit(NamedTuple):
    """What `audit` returns.

    `table` has a row for each generated clip, honest one of parts C2 and C3 and planted copy, by detector (COLUMNS); rows of
    the detector "combined" are the verdict. `matches` has the K_BEST of each (MATCH_COLUMNS). `rates` has a row for each
    detector and rate: what is flagged, verified and, of planted copies, found. `power` has a row for each alteration: the
    share that each detector flags beside the right clip. `left_out` has reasons by file, for each folder; `measures` the
    medians of the folders and how many clips of each were used (`clips`); `differing` what forbids to state a rate; `stand_ins` how many training clips stand in for honest
    ones; `made_alike` whether these were altered to be like the generated ones; `repeated` how many generated clips have the
    sound of another one. As text: `in_words`, `caveats`, what was left out.
    """

    table: pd.DataFrame
    verdicts: list[Verdict]
    left_out: dict[str, dict[str, str]]
    matches: pd.DataFrame
    rates: pd.DataFrame
    power: pd.DataFrame
    measures: pd.DataFrame
    differing: list[Difference]
    stand_ins: int
    made_alike: bool
    repeated: int

    @property
    def counted(self) -> tuple[int | None, str]:
        """How many clips are flagged, None where no rate is stated; and what that number is of."""
        return None if self.differing else self.verdicts[0].flagged.count, "generated clips flagged"

    @property
    def doubtful(self) -> bool:
        """Whether of the honest clips set aside more are flagged than the stated rate explains, were the threshold the right one. It is
        drawn too, from as few clips, so this is said of some 3 % of audits whose rate holds on average."""
        first = self.rates.iloc[0]
        return bool(first["verified_low"] > first["fpr"])

    @property
    def null(self) -> pd.DataFrame:
        """The rows of `table` of the honest clips that give p-values, by all detectors together."""
        return self.table[(self.table["detector"] == TOGETHER) & (self.table["part"] == "C2")]

    def __str__(self) -> str:
        return "\n".join(
            [*in_words(self), *caveats(self), *(account(kind, why) for kind, why in self.left_out.items())]
        )

    def summary(self) -> dict:
        """All but the tables of clips, as JSON takes it: rates, power, folders, what differs, and every file left out."""
        return {
            "verdicts": [{**one._asdict(), **{name: vars(one._asdict()[name]) for name in Verdict._fields[2:5]}} for one in self.verdicts],
            "rates": self.rates.to_dict("records"),
            "power": self.power.to_dict("records"),
            "smallest_p": smallest_p(len(self.null)),
            "folders": self.measures.to_dict("index"),
            "differing": [one._asdict() for one in self.differing],
            "stand_ins": self.stand_ins,
            "made_alike": self.made_alike,
            "repeated": self.repeated,
            "caveats": caveats(self),
            "left_out": self.left_out,
        }  # fmt: skip


def judged(matches: pd.DataFrame, about: pd.DataFrame) -> pd.DataFrame:
    """The best match of each query by each detector, and all detectors' together, as rows of the detector "combined"; each
    with its p-value beside the honest clips of C2."""
    best = matches.drop_duplicates(["detector", "row"]).join(about, on="row")
    first = (best["part"] == "C1").to_numpy()
    best["evidence"] = 0.0
    for name, rows in best.groupby("detector").groups.items():
        least = {LOCAL: ONE_LANDMARK, NAME: LEAST_EXCESS}.get(str(name), COSINES_APART)
        tail = Tail.of(best.loc[rows, "score"][first[best.index.get_indexer(rows)]], least)
        best.loc[rows, "evidence"] = tail.evidence(best.loc[rows, "score"])
    together = combined(best, OF_MELS).rename(columns={"evidence": "score"}).assign(detector=TOGETHER)
    together = together.merge(about.assign(row=about.index), on=["kind", "clip"])
    # the time of the match: by the detector with most evidence for this clip, the local one before others where it found any
    order = best.assign(placed=best[PLACES[0]].notna(), local=best["detector"] == LOCAL)
    order = order.sort_values(["placed", "local", "evidence"], ascending=False)
    places = order.drop_duplicates(["row", "nearest"])[["row", "nearest", "reference", *PLACES]]
    together = together.merge(places, on=["row", "nearest"], how="left").assign(similarity=np.nan, bias=np.nan)
    table = pd.concat([best.drop(columns="evidence"), together], ignore_index=True)
    for _, rows in table.groupby("detector").groups.items():
        scores = table.loc[rows, "score"]
        table.loc[rows, "p"] = p_values(scores, scores[table.loc[rows, "part"] == "C2"])
    return table[table["part"] != "C1"].reset_index(drop=True)


def account_of(
    table: pd.DataFrame,
    matches: pd.DataFrame,
    about: pd.DataFrame,
    weights: dict,
    folders: Folders,
    thresholds: ThresholdsConfig,
) -> Audit:
    """The audit's tables. Where generated and honest clips differ, p, q, tau and flags are missing: no rate would hold."""
    for some in (table, matches):
        alone = some["query_start_s"].isna() & (some["score"] <= 0) & (some["detector"] != TOGETHER)
        some["nearest"] = some["nearest"].mask(alone, "")
    names = [TOGETHER, *dict.fromkeys(matches["detector"])]
    ordered, rates, verdicts, power = [], [], [], {}
    for name in names:
        rows = table[table["detector"] == name].sort_values(["kind", "score"], ascending=[True, False], kind="stable")
        made = rows["kind"] == "generated"
        at = {
            fpr: _at(rows, None if folders.differing else fpr, thresholds.confidence)
            for fpr in dict.fromkeys((thresholds.fpr, *thresholds.further_fprs))
        }
        rates += [{"detector": name, "fpr": fpr} | one.columns() for fpr, one in at.items()]
        first = at[thresholds.fpr]
        rows["flagged"], rows["tau"] = pd.array(first.hits, "boolean"), first.tau
        rows.loc[made, "q"] = q_values(rows.loc[made, "p"])
        flagged, verified, exact = (first.rates[what] for what in ("flagged", "verified", "exact"))
        beta, k = weights.get(name, (np.nan, 0))
        unmatched = int((made & (rows["nearest"] == "")).sum())
        verdicts.append(Verdict(name, first.tau, flagged, verified, exact, beta, k, unmatched))
        planted = rows["role"] == "power"
        power[name] = pd.Series(first.found[planted], rows["part"][planted], float).groupby(level=0).mean()
        ordered.append(rows)
    table = pd.concat(ordered, ignore_index=True)
    if folders.differing:
        table[["p", "q"]] = np.nan
    listed = matches.join(about, on="row")
    listed["rank"] = listed.groupby(["detector", "row"]).cumcount() + 1
    middle = pd.DataFrame({kind: clips.measures[list(MEASURES)].median() for kind, clips in folders.clips.items()}).T
    middle["clips"] = [len(clips.names) for clips in folders.clips.values()]
    return Audit(
        table[COLUMNS],
        verdicts,
        {kind: clips.left_out for kind, clips in folders.clips.items()},
        listed.loc[listed["kind"] != "planted", MATCH_COLUMNS].reset_index(drop=True),
        pd.DataFrame(rates),
        pd.DataFrame(power).reindex([*ALTERATIONS]).rename_axis("alteration").reset_index(),
        middle,
        folders.differing,
        len(folders.stand_ins),
        folders.made_alike,
        len(folders.clips["generated"].digests) - len(set(folders.clips["generated"].digests)),
    )


class _At(NamedTuple):
    """What a detector flags at one rate, of all its rows [R]: `tau` (NaN: no rate is stated), `hits`, and those `found` beside
    the right clip, both None without a tau; and shares by what is counted."""

    tau: float
    hits: np.ndarray
    found: np.ndarray
    rates: dict[str, Rate]

    def columns(self) -> dict[str, float]:
        counted = ("flagged", "verified", "planted")
        fields = ("count", "n", "rate", "low", "high")
        return {"tau": self.tau} | {
            f"{what}_{field}": getattr(self.rates[what], field) for what in counted for field in fields
        }


def _at(rows: pd.DataFrame, fpr: float | None, confidence: float) -> _At:
    tau = None if fpr is None else calibrate_threshold(rows.loc[rows["part"] == "C2", "score"], fpr)
    hits = np.full(len(rows), None) if tau is None else flag(rows["score"], tau)
    right = (rows["reference"] == rows["of"]) & (rows["nearest"] != "")
    found = hits if tau is None else hits & right.to_numpy()
    planted = rows["role"] == "power"
    counted = {
        "flagged": hits[rows["kind"] == "generated"],
        "verified": hits[rows["part"] == "C3"],
        "planted": found[planted],
        "exact": found[planted & (rows["part"] == "exact")],
    }
    rates = {what: flagged_rate(flags, confidence) for what, flags in counted.items()}
    return _At(np.nan if tau is None else tau, hits, found, rates)


def set_by_one(found: Audit) -> list[dict]:
    """The stated rates at which one honest clip alone sets the threshold: `fpr`, that `clip`, and the training clip `nearest`
    to it. Were these one recording, copies would be hidden."""
    first = found.null.nlargest(1, "score")[["clip", "nearest"]].to_dict("records")
    rates = dict.fromkeys(found.rates["fpr"]) if not found.differing else ()
    return [{"fpr": fpr, **one} for fpr in rates if n_above(len(found.null), fpr) == 1 for one in first]


def caveats(found: Audit) -> list[str]:
    """What weakens the stated rate: what the honest clips are, that more of those set aside are flagged than it allows, and that
    generated clips repeat."""
    lines, first = [], found.rates.iloc[0]
    if found.doubtful:
        lines.append(
            f"of the honest clips set aside {first['verified_count']:.0f} of {first['verified_n']:.0f} are flagged, far more than the "
            f"stated rate of {first['fpr']:g}. So that may not hold here: more may be flagged falsely. More honest clips, one a "
            f"recording, tell"
        )
    if found.stand_ins:
        lines.append(
            f"no honest clips were given: {found.stand_ins} training clips stand in for them. What is alike within the training set "
            f"counts as honest, so copies of what the set repeats are harder to find"
        )
    if found.made_alike and not found.differing:
        lines.append(
            "the honest clips were cut, padded, filtered and noised to be like the generated ones, in what is measured. So the stated "
            "rate is approximate: more may be flagged falsely. Honest clips that are alike by themselves are better"
        )
    if found.repeated:
        lines.append(
            f"{found.repeated} generated clip{'s have' if found.repeated > 1 else ' has'} exactly the sound of another one, and each counts. So "
            "the interval of the flagged share is too narrow"
        )
    return lines


def remedies(found: Audit) -> list[str]:
    """What would find more of the planted copies, where some are missed."""
    power = found.power.set_index("alteration")[TOGETHER].dropna()
    if not len(power) or power.min() == 1:
        return []
    return [
        f"some copies are missed, most of the kind {power.idxmin()!r}. More honest clips find more; so does a higher rate (fpr), if it "
        f"is chosen beforehand. Where few are found, few flags mean little"
    ]


def in_words(found: Audit) -> list[str]:
    """Lines on what all detectors together flag, what each does, how far that can be trusted, and what would raise it."""
    if found.differing:
        named = "; ".join(map(str, found.differing))
        remedy = (
            "--match-honest cuts, pads and filters the honest clips to be like the generated ones; or choose others"
        )
        return [
            f"no rate is stated: generated and honest clips differ in {named}, so false alarms could be of any number",
            "--match-honest could not make them alike; choose honest clips that are" if found.made_alike else remedy,
        ]
    together, *alone = found.verdicts
    null, stand_in = len(found.null), "training clip that stands in for an honest one"
    lines = [f"all detectors together: flagged {together.flagged} of the generated clips; of honest ones set aside {together.verified}"]  # fmt: skip
    rates = found.rates[found.rates["detector"] == TOGETHER]
    for one in rates[1:].to_dict("records"):
        reached = (
            f"{one['flagged_count']} of {one['flagged_n']} flagged, of planted copies {one['planted_rate']:.0%} found"
        )
        needed = f"needs at least {honest_needed(one['fpr'])} honest clips"
        lines.append(f"at a rate of {one['fpr']:g}: {needed if np.isnan(one['tau']) else reached}")
    lines += [
        f"at a rate of {one['fpr']:g} one {stand_in if found.stand_ins else 'honest clip'} sets the threshold: {one['clip']!r}, near the "
        f"training clip {one['nearest']!r}; if both are one recording, leave {'one of them' if found.stand_ins else 'it'} out"
        for one in set_by_one(found)
    ]
    power = found.power.set_index("alteration")[TOGETHER].dropna()
    shares = ", ".join(f"{name} {share:.0%}" for name, share in power.items())
    lines.append(
        f"of copies planted in the training clips it finds {rates.iloc[0]['planted_rate']:.0%} (at most {PLANTED} of each kind, so a "
        f"share of one kind is rough): {shares}"
    )
    lines += remedies(found)
    lines.append(f"the smallest p that {null} honest clips can give is {smallest_p(null):.2g}")
    lines += [
        f"{detector}: flagged {flagged}; of honest ones set aside {verified}; of planted exact copies {copies}; tau {tau:.4f}"
        + (f"; beta {beta:g}, K {k}" if k else "")
        + (f"; {unmatched} generated clips without a match" if unmatched else "")
        + (f", as it has no fingerprint of less than {LEAST_S:g} s" if unmatched and detector == NAME else "")
        for detector, tau, flagged, verified, copies, beta, k, unmatched in alone
    ]
    return lines
