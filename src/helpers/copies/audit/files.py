"""What an audit leaves on disk: its table, its page, and a summary that names everything left out."""

import json
import math
from pathlib import Path

from helpers.base.room import telling_no_room
from helpers.base.spreadsheet import inert
from helpers.copies.audit.verdict import Audit
from helpers.copies.audit.within import Duplicates


def beside(table: Path) -> list[Path]:
    """All that an audit may write: its table and what goes beside it."""
    return [table, *(_with(table, end) for end in (".matches.parquet", ".summary.json", ".html", ".left_out.json"))]


def _with(table: Path, end: str) -> Path:
    """The table's name with another end in place of .csv: what else has a dot belongs to the name."""
    return table.with_name(table.name.removesuffix(".csv") + end)


def left_out_beside(table: Path) -> Path:
    """Where what is left out is written beside a table, as soon as it is known."""
    return _with(table, ".left_out.json")


def write(found: Audit | Duplicates, table: Path, page: str) -> list[Path]:
    """Writes the table (CSV) and beside it its page (`.html`), of an audit `.matches.parquet` and `.summary.json`, of
    duplicates `.left_out.json` too: all or none. What an older one of this name left is removed. Gives the paths of all that is
    there then. Raises OSError that names the folder where its disk is full."""
    makers = {table: lambda draft: inert(found.table).to_csv(draft, index=False)}
    if isinstance(found, Audit):
        summary = json.dumps(plain(found.summary()), indent=1, allow_nan=False)
        makers[_with(table, ".matches.parquet")] = lambda draft: found.matches.to_parquet(draft, index=False)
        makers[_with(table, ".summary.json")] = lambda draft: draft.write_text(summary)
    else:
        left_out = json.dumps(found.left_out, indent=1)
        makers[left_out_beside(table)] = lambda draft: draft.write_text(left_out)
    makers[_with(table, ".html")] = lambda draft: draft.write_text(page, encoding="utf-8")
    drafts = {path: path.with_name(f"{path.name}.part") for path in makers}
    try:
        with telling_no_room(table.parent.resolve()):
            for path, make in makers.items():
                make(drafts[path])
        for path, draft in drafts.items():
            draft.replace(path)
        for older in {*beside(table)} - {*makers, left_out_beside(table)}:  # of an audit that had this name before
            older.unlink(missing_ok=True)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
    return [*makers, *([left_out_beside(table)] if isinstance(found, Audit) else [])]


def plain(value):
    """What JSON can hold: NaN as null, numpy's numbers as Python's."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
