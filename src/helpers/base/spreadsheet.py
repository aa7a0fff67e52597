"""Tables for spreadsheets, which run what looks like a formula."""

import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t")  # what a spreadsheet takes for the beginning of a formula


def inert(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose text no spreadsheet runs: an apostrophe stands before what would begin a formula, as `=cmd|...`. A carriage
    return is written as `\\r`: pandas does not quote it, so what follows would stand in a row of its own.

    Source: OWASP, "CSV Injection".
    """

    def quoted(value):
        if not isinstance(value, str):
            return value
        value = value.replace("\r", "\\r")
        return "'" * value.startswith(FORMULA) + value

    made = table.copy()
    for name in table:
        if not pd.api.types.is_numeric_dtype(table[name]):
            made[name] = table[name].map(quoted)
    return made
