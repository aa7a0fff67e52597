"""How many planted copies the audit finds beside Chromaprint: the table of benchmarks/audit.py as a page shows it."""

from pathlib import Path

import pandas as pd

from helpers.book.words import share_text
from helpers.copies.audit_verdict import TOGETHER

PEER, SETS = "Chromaprint", {"short": "Short recordings as they are", "mixtures": "Mixtures of 10 s"}
NOT_YET = "This table is not measured yet; `benchmarks/audit.py` measures it."
ABOUT = (
    "Right is a copy that is flagged *beside the clip that it was made of*, in per cent, with 95 % intervals; of unrelated clips, what is flagged, "
    "which are false alarms. The difference is paired, clip by clip. The recordings are none that this book's models or detectors learned from."
)


def recall(file: Path) -> str:
    """Markdown of a CSV with a row for each set, kind, rate and detector (`percent`, `low`, `high`, `n`, and over Chromaprint)."""
    if not file.is_file():
        return NOT_YET
    table = pd.read_csv(file)
    parts = [ABOUT]
    for name, some in table.groupby("set", sort=False):
        n = f"{some['n'].min():,}" if some["n"].nunique() == 1 else f"{some['n'].min():,} to {some['n'].max():,}"
        rows = [_row(kind, part) for kind, part in some.groupby("kind", sort=False)]
        parts.append(f"**{SETS.get(name, name)}**, {n} clips a kind\n\n{pd.DataFrame(rows).to_markdown(index=False)}")
    return "\n\n".join(parts)


def _row(kind: str, part: pd.DataFrame) -> dict[str, str]:
    row = {"Kind": kind}
    for fpr, of in part.groupby("fpr", sort=False):
        by = of.set_index("detector")
        for detector, label in ((TOGETHER, "audit"), (PEER, PEER)):
            if detector in by.index:
                shares = by.loc[detector, ["percent", "low", "high"]].astype(float) / 100
                row[f"{label}, at {share_text(fpr)}"] = share_text(*shares)
        if "over_chromaprint" in by and pd.notna(by.loc[TOGETHER, "over_chromaprint"]):
            above = by.loc[TOGETHER, ["over_chromaprint", "over_low", "over_high"]]
            row[f"difference, at {share_text(fpr)}"] = "{:+.0f} ({:+.0f} to {:+.0f})".format(*above)
    return row
