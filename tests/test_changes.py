"""What a rerun page opens with: settings and numbers against the baseline, from the tables of both pages."""

import nbformat
import pandas as pd
import pytest
from nbformat import v4

from helpers.book import changes, tables
from helpers.book.parameters import check_parameters

BASELINE = check_parameters("06_thresholds", {"profile": "smoke"})
CHANGED = check_parameters("06_thresholds", {"profile": "smoke", "beta": 0.7, "ks": [1, 3]})


def page(*cells) -> nbformat.NotebookNode:
    """An executed notebook with a cell for each list of (caption, table)."""
    made = []
    for number, shown in enumerate(cells):
        cell = v4.new_code_cell("x", id=f"c{number}")
        html = [tables.table_html(tables.captioned(table.copy(), caption)) for caption, table in shown]
        cell.outputs = [v4.new_output("display_data", data={"text/html": text}) for text in html]
        made.append(cell)
    return v4.new_notebook(cells=made)


FLAGS = pd.DataFrame({"n": [16, 64], "kind": ["<b>|x", "y"], "flagged": ["5 %", "25 %"], "clips": [10, 20]})
OTHER = pd.DataFrame({"a": ["b"]})


def test_changed_cells_are_named_by_their_row_and_column_and_tables_that_stayed_are_counted():
    now = FLAGS.assign(flagged=["5 %", "31 %"], clips=[10, 21])
    rows, alike = changes.changed_numbers(
        page([("Flags", FLAGS), ("Same", OTHER)]), page([("Flags at 0.7", now), ("Same", OTHER)])
    )
    assert alike == 1
    assert list(rows.itertuples(index=False, name=None)) == [
        ("Flags at 0.7", "64, y", "flagged", "25 %", "31 %"), ("Flags at 0.7", "64, y", "clips", "20", "21"),
    ]  # fmt: skip


def test_a_table_of_another_shape_is_told_as_a_whole():
    rows, alike = changes.changed_numbers(page([("Flags", FLAGS)]), page([("Flags", FLAGS[:1])], [("New", OTHER)]))
    assert alike == 0
    assert rows.to_numpy().tolist() == [
        ["Flags", "the whole table", "", "2 rows of 4 columns", "1 rows of 4 columns"],
        ["New", "the whole table", "", "none", "1 rows of 1 columns"],
    ]


@pytest.mark.parametrize("there", [True, False])
def test_the_opening_names_settings_then_numbers_or_the_baseline_to_run(there, tmp_path):
    path = tmp_path / "06_thresholds.ipynb"
    if there:
        nbformat.write(page([("Flags", FLAGS)]), path)
    said = changes.opening(CHANGED, page([("Flags", FLAGS.assign(kind=["<i>|x", "y"]))]), BASELINE, path)
    ks = ",".join(map(str, BASELINE.config.ks))
    assert f"**Settings:** `beta` 0.5 → 0.7; `ks` [{ks}] → [1,3]." in said
    if there:
        assert "**Numbers:** 1 changed in the page's tables; 0 of 1 tables are as they were." in said
        assert "&lt;i&gt;|x" in said and "<i>" not in said, "a caption is text"
    else:
        assert "Run `make chapter NAME=06_thresholds PROFILE=smoke`, then this once more" in said
    same = changes.opening(CHANGED, page([("Flags", FLAGS)]), BASELINE, path)
    assert not there or "none changed in the page's tables; 1 of 1 tables are as they were" in same
