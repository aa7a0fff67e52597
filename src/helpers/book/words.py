"""Numbers in words: shares with their intervals, and epochs, as tables and sentences print them."""

import math
import re
import textwrap
from collections.abc import Sequence

import pandas as pd
from IPython.display import Markdown, display

SPLITS = {"train": "training", "heldout": "held-out"}  # as tables call them


def share_text(rate: float, low: float = math.nan, high: float = math.nan) -> str:
    """ "25 % (12 to 41)" of shares, "0.02 % (0.01 to 0.04)", "none (at most 0.8 %)"; a missing share is a dash."""
    if pd.isna(rate):
        return "–"
    if pd.isna(low) or pd.isna(high):
        return f"{_number(rate)}\u00a0%"
    if rate == 0:
        return f"none (at\u00a0most\u00a0{_number(high)}\u00a0%)"
    return f"{_number(rate)}\u00a0% ({_number(low)}\u00a0to\u00a0{_number(high)})"


def two_digits(updates: float) -> str:
    """ "25,000": two significant digits are all that an interval of such a width bears."""
    return f"{float(f'{updates:.2g}'):,.0f}"


def limits(value: str) -> tuple[str, str, str]:
    """The columns of a value and of its interval, by the value's: "near_exact_rate" goes with near_exact_low and _high."""
    stem = value.removesuffix("_rate")
    return value, f"{stem}_low", f"{stem}_high"


def shares(table: pd.DataFrame, *columns: str) -> list[str]:
    """`share_text` of each row; `columns` are those of the share and, if wanted, its lower and upper limit."""
    return [share_text(*row) for row in table[list(columns)].itertuples(index=False, name=None)]


def undefined_for(n_defined: float, n: float) -> str:
    """ "undefined for 3 of 96"; "" where none is, or where it is not known."""
    return f"undefined for {n - n_defined:,.0f} of {n:,.0f}" if n_defined < n else ""


def defined_shares(table: pd.DataFrame, n_defined: str, n: str, *columns: str) -> list[str]:
    """`shares`, and for how many of `n` they are undefined: "25 % (12 to 41), undefined for 3 of 96", "undefined for 96 of 96"."""
    texts = []
    for share, defined, of in zip(shares(table, *columns), table[n_defined], table[n]):
        undefined = undefined_for(defined, of)
        texts.append(f"{share}, {undefined}" if undefined and defined else undefined or share)
    return texts


def with_interval(data: pd.DataFrame, value: str, low: str, high: str, percent: bool = True) -> list[str]:
    """One text a row, "25 % (12 to 41)" or "0.25 (0.12 to 0.41)", from three columns; a missing value is a dash."""
    texts = []
    for row in data[[value, low, high]].itertuples(index=False, name=None):
        number, *limits = (100 * x if percent else x for x in row)
        spec = ".1f" if percent else ".3g"
        unit = "\u00a0%" if percent else ""
        bounds = "" if any(map(pd.isna, limits)) else f" ({limits[0]:{spec}}\u00a0to\u00a0{limits[1]:{spec}})"
        texts.append("–" if pd.isna(number) else f"{number:{spec}}{unit}{bounds}")
    return texts


def plain(values: pd.Series, spec: str = ".3g") -> pd.Series:
    """Numbers as text by a format; a missing one is a dash."""
    return values.map(f"{{:{spec}}}".format, na_action="ignore").astype(object).fillna("–")


def epochs_text(epochs: float) -> str:
    """Whole from ten on, else two digits: "1,800", "90", "0.89"."""
    return f"{epochs:,.0f}" if epochs >= 9.95 else f"{epochs:.2g}"


def listed(names: Sequence[str], word: str = "and") -> str:
    """ "100", "100 and 200", "100, 200 and 500"; "" of none. `word` joins the last two."""
    return f" {word} ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def file_stem(text: str) -> str:
    """A name for a file to download: the first words of a caption, at most 40 characters; `table` where it has none."""
    words = re.sub(r"[^a-z0-9]+", " ", text.lower())
    return textwrap.shorten(words, 40, placeholder="").replace(" ", "-") or words.strip()[:40] or "table"


def show(text: str) -> None:
    """Displays Markdown in the notebook."""
    display(Markdown(text))


def glue_all(**values) -> None:
    """Keeps values for the page's sentences, which name them as {glue:text}, and shows none here."""
    from myst_nb import glue  # slow to import, and of use on a page alone

    for name, value in values.items():
        glue(name, value, display=False)


def _number(share: float) -> str:
    """In per cent: whole from ten on, else two digits; what is not all is not rounded to 100."""
    if 0.995 <= share < 1:
        return f"{min(100 * share, 99.9):.1f}"
    return f"{100 * share:.0f}" if share >= 0.0995 else f"{100 * share:.2g}"
