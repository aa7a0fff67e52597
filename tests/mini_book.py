"""Small stand-ins for the executed chapters: made in a second, built by the book's own configuration and styles."""

import shutil
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers import figures
from helpers.config import MelConfig
from helpers.mel import log_mel
from helpers.players import Item, listen_first, player_row
from helpers.tables import table_html

RATE = 16_000
GLUED = {
    "top1_small": 93.75,
    "top1_small_low": 81.2,
    "top1_small_high": 98.4,
    "twins_top1_small": 31.3,
    "n_small": 16,
    "n_large": 64,
    "top1_large": 61.0,
    "flagged_small": 87.5,
    "flagged_large": 42.2,
    "profile_name": "smoke",
}


def html_cell(html: str, source: str, **metadata):
    """A code cell as a kernel would have left it."""
    output = new_output("display_data", data={"text/html": html, "text/plain": "<HTML>"})
    return new_code_cell(source, execution_count=1, outputs=[output], metadata=metadata)


def figure_cell(figure, alt: str, caption: str, name: str, source: str):
    figure_options = {"mystnb": {"figure": {"caption": caption, "name": name}}, "tags": ["hide-input"]}
    return html_cell(figures.figure_html(figure, alt), source, **figure_options)


def glue_cell():
    mime = "application/papermill.record/text/plain"
    outputs = [
        new_output(
            "display_data",
            data={mime: repr(value)},
            metadata={"scrapbook": {"name": key, "mime_prefix": "application/papermill.record/"}},
        )
        for key, value in GLUED.items()
    ]
    return new_code_cell("glue_all(findings)", execution_count=2, outputs=outputs, metadata={"tags": ["remove-cell"]})


def clips(count: int = 3) -> list[np.ndarray]:
    """Chirps, hums and hiss, int16, 4.096 s."""
    rng, time = np.random.default_rng(1), np.arange(65_536) / RATE
    made = []
    for place in range(count):
        sweep = np.sin(2 * np.pi * (200 + 150 * place) * time * (1 + 0.4 * time)) * np.exp(
            -((time * (place + 1)) % 1.3)
        )
        made.append(np.int16(9000 * sweep + rng.normal(size=time.size) * 300 * (place + 1)))
    return made


def findings_cells() -> list:
    rng = np.random.default_rng(2)
    shift = {"generated": 0.9, "twins": 0.72, "held-out": 0.66, "ceiling": 0.96}
    scores = pd.concat(
        pd.DataFrame(
            {"score": rng.normal(mean - (n / 800 if kind == "generated" else 0), 0.03, 200), "kind": kind, "n_train": n}
        )
        for n in (16, 64)
        for kind, mean in shift.items()
    )
    replication = pd.DataFrame(
        {"n_train": [100, 100, 500, 500, 4500], "draw": [0, 1, 0, 1, 0], "flagged_rate": [0.91, 0.86, 0.07, 0.05, 0.0]}
    ).assign(ci_low=[0.8, 0.75, 0.04, 0.03, 0.0], ci_high=[0.96, 0.93, 0.1, 0.08, 0.002])
    paper = pd.DataFrame({"n_train": [1000, 5000, 45_000], "rate": [0.9, 0.006, 0.0003], "label": "near-exact"})
    ledger = pd.DataFrame(
        {
            "claim": [
                "near-exact copies after training on the smallest set",
                "log-mel finds more than <learned> embeddings",
            ],
            "paper": ["about 90 %", "yes"],
            "source": ["secondary summary", "abstract"],
            "here": [0.9375, np.nan],
            "verdict": ["holds", "not testable at this scale"],
        }
    )
    return [
        figure_cell(
            figures.plot_similarity(scores),
            "Similarity falls as n grows.",
            "Best-match similarity.",
            "fig-07-main",
            "show(a)",
        ),
        figure_cell(
            figures.plot_replication(replication, paper),
            "Rates fall as n grows.",
            "Replication.",
            "fig-07-rate",
            "show(b)",
        ),
        html_cell(table_html(ledger, "The claims ledger", {"here": ".1%"}), "show_table(ledger)"),
        glue_cell(),
    ]


def cells_of(name: str) -> list:
    """Cells that stand where each chapter's own would."""
    rng = np.random.default_rng(3)
    sounds = clips()
    card = listen_first(
        Item("", sounds[0], "a chirp & a <b>hum</b>", 0.941),
        Item("", sounds[1], "a hum", 0.941),
        Item("", sounds[2], "hiss"),
        RATE,
    )
    cells = [html_cell(card.data, "listen_first(generated, nearest, random, sample_rate_hz)")]
    if name.startswith("02"):
        mels = log_mel(np.stack(sounds[:2]), MelConfig(), RATE)
        alt = "Two spectrograms with the same sweep."
        cells.append(
            figure_cell(
                figures.plot_spectrograms(mels, ["original", "round trip"]), alt, "Kept.", "fig-02-a", "show(f)"
            )
        )
    if name.startswith("05"):
        kinds = [("gain", "-12 dB"), ("shift", "0.5 s"), ("reverb", "0.8 s"), ("pitch", "+2 st")]
        table = pd.DataFrame(
            [(d, t, s, rng.uniform(0.6, 1)) for d in ("mel", "mel_centred", "clap") for t, s in kinds],
            columns=["detector", "transform", "strength", "auroc"],
        )
        cells.append(
            figure_cell(figures.plot_detection(table), "AUROC table.", "Altered copies.", "fig-05-a", "show(f)")
        )
    if name.startswith("06"):
        figure = figures.plot_threshold(rng.normal(0.5, 0.1, 300), rng.normal(0.3, 0.05, 300), 0.4)
        cells.append(figure_cell(figure, "Two histograms and a line.", "The threshold.", "fig-06-a", "show(f)"))
        cells.append(
            html_cell(
                player_row([Item(f"clip {i}", s) for i, s in enumerate(clips(4))], RATE).data,
                "player_row(items, 16_000)",
            )
        )
    return cells + (findings_cells() if name.startswith("07") else [])


OPENING = """# {title}

:::{{admonition}} After this chapter you can…
:class: goals
- say what a {{term}}`twin` is and why it sets {{term}}`τ`;
- read a {{term}}`log-mel` spectrogram, after {{cite:t}}`bralios2024generation`;
- tell a score from a verdict.
:::

## Does the model repeat its training clips?

A clip is flagged where $\\max_r \\hat s(q, r) \\ge \\tau$, with

$$\\hat s(q, r) = s(q, r) - \\frac{{\\beta}}{{K}} \\sum_{{k \\le K}} s(q, b_k),
\\qquad b_k \\in \\text{{background}}, \\; r \\in \\text{{training set}}$$

### Listen first
"""
CLOSING = """
:::{admonition} What this does not show
:class: warning
A flag is not a copy, and `s(q, r)` is not a judgement.
:::

:::{admonition} Exercise
:class: exercise
Run `make chapter PROFILE=smoke NAME=06_thresholds SET="beta=0.0 k=30"`. Which clips change sides?
:::
"""
CHAPTERS = {
    "01_corpus": "The corpus",
    "02_codec": "The codec",
    "03_training_n0016": "Training on 16 clips",
    "03_training_n0064": "Training on 64 clips",
    "04_generation_n0016": "Generation after 16 clips",
    "04_generation_n0064": "Generation after 64 clips",
    "05_retrieval": "Retrieval",
    "06_thresholds": "Thresholds",
    "07_findings": "Findings",
}


def write_book(source: Path, target: Path) -> Path:
    """Copies the book's own pages, configuration and styles to `target`, adds stand-in chapters."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("_build", "chapters"))
    (target / "chapters").mkdir()
    for name, title in CHAPTERS.items():
        cells = [new_markdown_cell(OPENING.format(title=title)), *cells_of(name), new_markdown_cell(CLOSING)]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(new_notebook(cells=cells, metadata=kernel), target / "chapters" / f"{name}.ipynb")
    return target
