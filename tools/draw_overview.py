"""Draws the README's picture, book/_static/overview.png, from a profile's finished results.

Run by maintainers: `python tools/draw_overview.py`.
"""

import argparse

from helpers.base.paths import ROOT
from helpers.book.figures.findings import KINDS, plot_similarity
from helpers.book.summaries.rows import best_matches
from helpers.sound.profiles import load_profile
from helpers.study import publication, registry


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="pocket", help="default: %(default)s")
    profile = load_profile(parser.parse_args().profile)
    publication.use_publication(publication.find(profile.name))  # shown as published, never trained anew for it
    folder = registry.finished("scores", profile).path
    best = best_matches(folder, profile.thresholds.detector).replace({"kind": {"heldout": "held-out"}})
    sizes = sorted(profile.sizes)
    shown = {sizes[0], sizes[len(sizes) // 2], sizes[-1]}  # more panels would fill a screen
    figure = plot_similarity(best[best["kind"].isin(KINDS) & best["n_train"].isin(shown)], in_rows=True)
    path = ROOT / "book" / "_static" / "overview.png"
    figure.savefig(path, dpi=150, facecolor="white", metadata={"Software": None})
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
