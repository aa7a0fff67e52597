"""What is said of a corpus: merged clips, what a reader left out, recordings in two splits.

Notebook: 01_corpus.
"""

import pandas as pd

from helpers.base.profile import Profile


def of_merged(clusters: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """What was merged in the main corpus, from duplicates.csv and clip_pairs.csv."""
    merged = clusters[clusters["kind"] == "natural"]
    if merged.empty and pairs.empty:
        return "So all clips count as different ones."
    if merged.empty:
        return "So every pair on this list was a false alarm, and all clips count as different ones. (Verified pairs would be merged: they would count as one clip.) The precision above is that of a set full of copies."
    n_clusters = merged["cluster_id"].nunique()
    return (
        f"They join {len(merged):,} clips to {n_clusters:,} clusters, and each cluster counts as one clip from here on."
    )


def of_reader(report: dict) -> str:
    """What a reader made of a user's table, from `corpus.reader_report`."""
    used = report["n_listed"] - report["n_left_out"] - report["n_further_captions"]
    text = f"Of {report['n_listed']:,} listed clips {used:,} can be used; {report['n_left_out']:,} are left out."
    if report["n_further_captions"]:
        text += f" {report['n_further_captions']:,} more are further captions of a recording, which is one clip, under one of them."
    return text


def of_no_pair(profile: Profile) -> str:
    """Why no pair of recordings is listed."""
    if profile.corpus.mixed:
        return "No two recordings are that near."
    return (
        "**Not of this corpus:** it was not mixed here, so no recordings are known behind its clips, and no pair of them can "
        "be listed. What is said of such pairs is true of the book's own corpus."
    )


def of_leak(n_verified: int, n_across: int, touched: pd.Series, profile: Profile) -> str:
    """What the verified pairs of recordings say of the split, from `summaries.corpus.across_splits`."""
    if not profile.corpus.mixed:
        return (
            "Whether a recording got into more than one split cannot be told here: a file, or with AudioCaps a video, went "
            "to one split as a whole, but nobody knows which of them hold the same sound."
        )
    if not n_verified:
        return "The check finds no leak in the split, as no pair was verified."
    shares = [
        f"{touched[split]:,} of {size:,} {name} clips"
        for split, name, size in (
            ("heldout", "held-out", profile.corpus.n_heldout),
            ("background", "background", profile.corpus.n_background),
        )
    ]
    return (
        f"The check also finds a leak in the split. Of {n_verified:,} verified pairs, {n_across:,} link a training recording to "
        "one of another split; most are footsteps, where a walking sound begins with a step that is also packed singly. "
        f"{' and '.join(shares)} use such a recording."
    )
