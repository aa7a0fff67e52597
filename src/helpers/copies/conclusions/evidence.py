"""What the claims of the ledger are judged by: the tables of a run, and the rule by which an interval decides.

A verdict is never given by hand. It follows from an interval and a bound, and the bounds are in `profiles/protocol.yml`.
"""

import math
from dataclasses import dataclass

import pandas as pd

from helpers.base.settings import ThresholdsConfig

HOLDS, FAILS = "holds", "fails"
CANNOT_TELL = "cannot tell"  # it was measured, or tried: this run does not decide
NOT_COMPARABLE = "not comparable"  # measured, but the paper's figure rests on something else
UNKNOWN = "unknown"  # the paper's value is
VERDICTS = (HOLDS, FAILS, CANNOT_TELL, NOT_COMPARABLE, UNKNOWN)
Interval = tuple[float, float, float]  # value, low, high


@dataclass(frozen=True)
class Measured:
    """What this run says about one claim; `value`, `low` and `high` are None where nothing was measured."""

    value: float | None
    low: float | None
    high: float | None
    verdict: str
    why: str


@dataclass(frozen=True)
class Evidence:
    """The tables that claims are judged by; `replication` holds the main clips, primary detector, first null and rate.

    `checkpoints`: the same of training prompts at every checkpoint; `detection`: detection.csv; `alterations`:
    alterations.csv, of copies altered more and less strongly, against held-out clips altered alike.
    """

    replication: pd.DataFrame
    checkpoints: pd.DataFrame
    detection: pd.DataFrame
    alterations: pd.DataFrame
    pairs: pd.DataFrame  # of recordings that sound alike; where there are none but clips, of clips
    trend: pd.DataFrame | None
    rules: dict
    limits: ThresholdsConfig = ThresholdsConfig()  # of the bootstrap
    own_clap: bool = True  # the CLAP of this book, not LAION's
    pairs_of: str = "recordings"
    corpus: str = "pocket"

    @property
    def sizes(self) -> list[int]:
        return sorted(self.replication["n_train"].unique())

    @property
    def middle(self) -> int:
        """The place of the middle size among `sizes`."""
        return len(self.sizes) // 2

    @property
    def equally_long(self) -> bool:
        """Whether all sizes were trained for equally many updates."""
        return self.replication["updates"].nunique() == 1

    def at(self, which: int) -> pd.DataFrame:
        """The draws of a size by its place: the smallest (0), a middle one or the largest (-1)."""
        return self.replication[self.replication["n_train"] == self.sizes[which]]

    def trained_for(self, which: int) -> str:
        """ "15,000 updates", for the reasons."""
        return f"{int(self.at(which)['updates'].max()):,} updates"

    def rate(self, which: int, name: str, low: str, high: str) -> Interval:
        """A rate at a size: mean over draws, lowest and highest limit of any."""
        rows = self.at(which)
        return float(rows[name].mean()), float(rows[low].min()), float(rows[high].max())

    def share(self, which: int, stem: str) -> Interval:
        """The rate with these columns: `stem`_rate, _low and _high."""
        return self.rate(which, *(f"{stem}_{end}" for end in ("rate", "low", "high")))

    def near_exact(self, which: int) -> Interval:
        """Share that is near-exact of its own clip, at a size."""
        return self.share(which, "own_near_exact")

    def of_the_rule(self, which: int) -> str:
        """How far the near-exact rule can be trusted at a size, for the reasons: it should spare all of the null's clips."""
        rate, _, high = self.spared(which)
        text = "" if math.isnan(rate) else f"of honest clips {rate:.2%} (at most {high:.2%}) are, by the same rule"
        return "; ".join(filter(None, (text, self.undefined(which))))

    def spared(self, which: int) -> Interval:
        """Share of the null's clips that the rule takes for copies: of the own clip, where these are twins."""
        own = self.share(which, "twins_own_near_exact")
        return self.share(which, "null_near_exact") if math.isnan(own[0]) else own

    def undefined(self, which: int) -> str:
        """Of how many clips of a size it is undefined whether they are near-exact, for the reasons; "" where of none."""
        n, n_defined = self.at(which)[["n_generated", "n_defined"]].sum().astype(int)
        count = n - n_defined
        return f"undefined for {count:,} of {n:,} clips, as null and ceiling cannot be told apart" if count else ""

    def runs(self, which: int) -> str:
        """ "n = 100, 3 draws", for the reasons."""
        n_draws = len(self.at(which))
        return f"n = {self.sizes[which]:,}, {n_draws} draw{'s' if n_draws > 1 else ''}"


def above(measured: Interval, bound: float, why: str) -> Measured:
    """Holds where the whole interval of `measured` lies above the bound, fails where it lies below."""
    return judge(measured, measured[1] > bound, measured[2] < bound, why)


def below(measured: Interval, bound: float, why: str) -> Measured:
    """Holds where the whole interval of `measured` lies below the bound, fails where it lies above."""
    return judge(measured, measured[2] < bound, measured[1] > bound, why)


def judge(measured: Interval, holds: bool, fails: bool, why: str) -> Measured:
    """The verdict of an interval that reaches to neither side, to one, or to both; *cannot tell* where it has no limits."""
    if any(map(math.isnan, measured)):
        return Measured(*measured, CANNOT_TELL, f"{why}; there is no interval to judge by")
    if holds or fails:
        return Measured(*measured, HOLDS if holds else FAILS, why)
    return Measured(*measured, CANNOT_TELL, f"{why}; it reaches to both sides, so this run cannot tell")
