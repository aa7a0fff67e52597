"""Tables for spreadsheets, which run what looks like a formula."""

import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of a formula


def inert(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose text no spreadsheet runs: an apostrophe stands before what would begin a formula, as `=cmd|...`.

    Source: OWASP, "CSV Injection".
    """

    def quoted(value):
        return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value

    made = table.copy()
    for name in table:
        if not pd.api.types.is_numeric_dtype(table[name]):
            made[name] = table[name].map(quoted)
    return made
