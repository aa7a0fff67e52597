"""How many planted copies the audit finds beside Chromaprint: the table of benchmarks/audit.py as a page shows it."""

from pathlib import Path

import pandas as pd

from helpers.book.words import share_text
from helpers.copies.audit.verdict import TOGETHER

UNRELATED, PEER = "unrelated", "Chromaprint"
SETS = {"short": "Short recordings as they are", "mixtures": "Mixtures of 10 s"}
NOT_YET = "This table is not measured yet; `benchmarks/audit.py` measures it."
ABOUT = (
    "A copy is found if it is flagged *and matched with the clip that it was made of*. Shares come with 95 % intervals. The rows of unrelated clips show false alarms. "
    "*No rate stated*: an audit of such clips alone refuses to state a rate, and says why. The difference is paired, clip by clip. Neither "
    "this book's models nor its detectors learned from these recordings."
)


def recall(file: Path) -> str:
    """Markdown of a CSV with a row for each set, kind, rate and detector (`percent`, `low`, `high`, `n`, over Chromaprint, and
    whether an audit of such clips is `refused`): a sentence for the first rate of each set, and all tables folded."""
    if not file.is_file():
        return NOT_YET
    table = pd.read_csv(file).astype({"refused": object})
    unrelated = table["kind"].str.startswith(UNRELATED)
    table = pd.concat([table[~unrelated], table[unrelated]])
    parts = [ABOUT]
    for name, some in table.groupby("set", sort=False):
        n = f"{some['n'].min():,}" if some["n"].nunique() == 1 else f"{some['n'].min():,} to {some['n'].max():,}"
        title = f"{SETS.get(name, name)}, {n} clips a kind"
        for number, (fpr, part) in enumerate(some.groupby("fpr", sort=False)):
            rows = pd.DataFrame([_row(kind, of_kind) for kind, of_kind in part.groupby("kind", sort=False)]).fillna("–")
            if number == 0:
                parts.append(f"**{title}**, at a rate of {share_text(fpr)}: {_in_short(part)}{_by_one(part)}")
            parts.append(
                f":::{{dropdown}} {title}, at a rate of {share_text(fpr)}\n{rows.to_markdown(index=False)}\n:::"
            )
    return "\n\n".join(parts)


def _in_short(part: pd.DataFrame) -> str:
    """The least and the most that is found of a kind of copy, and at how many kinds that is surely more, or less, than the peer finds."""
    copies = part[(part["detector"] == TOGETHER) & ~part["kind"].str.startswith(UNRELATED)]
    least, most = (copies.loc[copies["percent"].astype(float).agg(end)] for end in ("idxmin", "idxmax"))
    text = f"hardest to find is *{least['kind']}*, with {_share(least)} found; easiest *{most['kind']}*, with {_share(most)}."
    if not (part["detector"] == PEER).any():
        return text
    more, fewer = (copies["over_low"] > 0).sum(), (copies["over_high"] < 0).sum()
    unclear = len(copies) - more - fewer
    if more == len(copies):
        return f"{text} Of all {more} kinds of copy the audit finds more than {PEER} does."
    return (
        f"{text} Of {len(copies)} kinds of copy, the audit finds more than {PEER} does for {more}, fewer for {fewer}, and the "
        f"difference is unclear for {unclear}."
    )


def _by_one(part: pd.DataFrame) -> str:
    """For how many kinds of copy a single detector of the audit, the best of them picked afterwards, finds more than all together."""
    copies = part[~part["kind"].str.startswith(UNRELATED) & (part["detector"] != PEER)]
    found = copies.pivot(index="kind", columns="detector", values="percent").astype(float)
    alone = found.drop(columns=TOGETHER)
    more = alone.max(axis=1) - found[TOGETHER]
    if not (more > 1).any():
        return ""
    return (
        f" For {(more > 1).sum()} of these kinds one detector alone, the best one picked afterwards, finds more than all together by more than a point. "
        f"The largest gap is {more.max():.0f} points (*{more.idxmax()}*, {alone.loc[more.idxmax()].idxmax()})."
    )


def _row(kind: str, part: pd.DataFrame) -> dict[str, str]:
    by = part.set_index("detector")
    ours, theirs = by.loc[TOGETHER], by.loc[PEER] if PEER in by.index else None
    found = _share(ours)
    row = {"Kind": kind, "audit": f"no rate stated ({found} would be flagged)" if ours["refused"] is True else found}
    if theirs is not None:
        row[PEER] = _share(theirs)
        row["difference"] = "{:+.0f} ({:+.0f}\u00a0to\u00a0{:+.0f})".format(
            *ours[["over_chromaprint", "over_low", "over_high"]].astype(float)
        )
    return row


def _share(row: pd.Series) -> str:
    return share_text(*(row[["percent", "low", "high"]].astype(float) / 100))
