"""What an audit leaves on disk: its tables, and a summary that names everything left out."""

import json
import math
from pathlib import Path

import pandas as pd

from helpers.copies.audit_verdict import Audit

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of a formula


def write(found: Audit, table: Path, page: str) -> list[Path]:
    """Writes the table (CSV) and beside it its page (`.html`), `.matches.parquet` and `.summary.json`, all or none; gives
    their paths."""
    paths = [table, *(table.with_suffix(f".{end}") for end in ("matches.parquet", "summary.json", "html"))]
    drafts = [path.with_name(f"{path.name}.part") for path in paths]
    try:
        inert(found.table).to_csv(drafts[0], index=False)
        found.matches.to_parquet(drafts[1], index=False)
        drafts[2].write_text(json.dumps(plain(found.summary()), indent=1, allow_nan=False))
        drafts[3].write_text(page, encoding="utf-8")
        for draft, path in zip(drafts, paths):
            draft.replace(path)
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)
    return paths


def inert(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose text no spreadsheet runs: an apostrophe stands before what would begin a formula, as `=cmd|...`.

    Source: OWASP, "CSV Injection".
    """

    def quoted(value):
        return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value

    text = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    return table.assign(**{str(name): table[name].map(quoted) for name in text})


def plain(value):
    """What JSON can hold: NaN as null, numpy's numbers as Python's."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
