"""What an audit leaves on disk: its tables, and a summary that names everything left out."""

import json
import math
from pathlib import Path

from helpers.base.spreadsheet import inert
from helpers.copies.audit.verdict import Audit


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


def plain(value):
    """What JSON can hold: NaN as null, numpy's numbers as Python's."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
