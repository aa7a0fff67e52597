"""Draws the README's picture, book/_static/overview.png, from a profile's finished results.

Run by maintainers: `python tools/draw_overview.py --profile smoke`.
"""

import argparse

import pandas as pd

from helpers import figures, stages
from helpers.config import ROOT, load_profile


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="smoke", help="default: %(default)s")
    profile = load_profile(parser.parse_args().profile)
    scores = pd.read_parquet(stages.finished("retrieval", profile).path / "scores.parquet")
    best = scores[(scores["rank"] == 1) & (scores["detector"] == profile.thresholds.detector) & (scores["draw"] == 0)]
    figure = figures.plot_similarity(best.replace({"kind": {"heldout": "held-out"}}))
    path = ROOT / "book" / "_static" / "overview.png"
    figure.savefig(path, dpi=150, facecolor="white", metadata={"Software": None})
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
