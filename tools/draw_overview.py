"""Draws the README's picture, book/_static/overview.png, from a profile's finished results.

Run by maintainers: `python tools/draw_overview.py`.
"""

import argparse

import pandas as pd

from helpers.base.paths import ROOT
from helpers.base.settings import load_profile
from helpers.book import figures, summaries
from helpers.book.summaries import publication, registry


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="pocket", help="default: %(default)s")
    profile = load_profile(parser.parse_args().profile)
    publication.use_publication(publication.find(profile.name))  # shown as published, never trained anew for it
    folder = registry.finished("scores", profile).path
    scores = pd.concat([pd.read_parquet(folder / f"{name}.parquet") for name in ("scores", "null")], ignore_index=True)
    best = summaries.rows_of(scores, rank=1, detector=profile.thresholds.detector, draw=0)
    best = best[best["arm"].isin(["main", ""])].replace({"kind": {"heldout": "held-out"}})
    figure = figures.plot_similarity(best[best["kind"].isin(figures.KINDS)])
    path = ROOT / "book" / "_static" / "overview.png"
    figure.savefig(path, dpi=150, facecolor="white", metadata={"Software": None})
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
