"""How many planted copies the audit finds beside Chromaprint: the table of benchmarks/audit.py as a page shows it."""

from pathlib import Path

import pandas as pd

from helpers.book.words import share_text
from helpers.copies.audit.verdict import TOGETHER

UNRELATED, PEER, SETS = (
    "unrelated",
    "Chromaprint",
    {"short": "Short recordings as they are", "mixtures": "Mixtures of 10 s"},
)
NOT_YET = "This table is not measured yet; `benchmarks/audit.py` measures it."
ABOUT = (
    "Right is a copy that is flagged *beside the clip that it was made of*, in per cent, with 95 % intervals; of unrelated clips, what is flagged, "
    "which are false alarms. *Refuses*: an audit of such clips alone states no rate, and says why. The difference is paired, clip by clip. The recordings are none that this book's models or detectors learned from."
)


def recall(file: Path) -> str:
    """Markdown of a CSV with a row for each set, kind, rate and detector (`percent`, `low`, `high`, `n`, over Chromaprint, and
    whether an audit of such clips is `refused`): the first rate in sight, the others folded."""
    if not file.is_file():
        return NOT_YET
    table = pd.read_csv(file).astype({"refused": object})
    unrelated = table["kind"].str.startswith(UNRELATED)
    table = pd.concat([table[~unrelated], table[unrelated]])
    parts = [ABOUT]
    for name, some in table.groupby("set", sort=False):
        n = f"{some['n'].min():,}" if some["n"].nunique() == 1 else f"{some['n'].min():,} to {some['n'].max():,}"
        title = f"{SETS.get(name, name)}, {n} clips a kind"
        first, *others = (
            (
                share_text(fpr),
                pd.DataFrame([_row(kind, rows) for kind, rows in part.groupby("kind", sort=False)]).fillna("–"),
            )
            for fpr, part in some.groupby("fpr", sort=False)
        )
        parts.append(f"**{title}**, at a rate of {first[0]}:\n\n{first[1].to_markdown(index=False)}")
        parts += [
            f":::{{dropdown}} {title}, at a rate of {rate}\n{rows.to_markdown(index=False)}\n:::"
            for rate, rows in others
        ]
    return "\n\n".join(parts)


def _row(kind: str, part: pd.DataFrame) -> dict[str, str]:
    by = part.set_index("detector")
    ours, theirs = by.loc[TOGETHER], by.loc[PEER] if PEER in by.index else None
    found = _share(ours)
    row = {"Kind": kind, "audit": f"refuses; {found} flagged" if ours["refused"] is True else found}
    if theirs is not None:
        row[PEER] = _share(theirs)
        row["difference"] = "{:+.0f} ({:+.0f} to {:+.0f})".format(
            *ours[["over_chromaprint", "over_low", "over_high"]].astype(float)
        )
    return row


def _share(row: pd.Series) -> str:
    return share_text(*(row[["percent", "low", "high"]].astype(float) / 100))
