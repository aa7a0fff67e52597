"""Tables of the corpus: its splits, the sound pack, planted duplicates, and pairs of recordings that may be one.

Notebook: 01_corpus.
"""

from pathlib import Path

import pandas as pd

from helpers.base.csv_file import read_csv
from helpers.base.settings import CorpusConfig
from helpers.book.tables import arrange, captioned
from helpers.book.words import SPLITS, with_interval
from helpers.copies.pairs import clusters_of
from helpers.copies.rates import flagged_rate
from helpers.sound.corpus import pools

CUTS = (0.97, 0.98, 0.99, 0.995)  # log-mel cosines at which a list of pairs may end, beside the profile's own


def by_split(clips: pd.DataFrame, config: CorpusConfig) -> pd.DataFrame:
    """Clips, distinct captions, the recordings and source groups in them, and minutes, a row a split."""
    counts = clips.groupby("split", sort=False).agg(
        clips=("clip_id", "size"),
        captions=("caption", "nunique"),
        recordings=("source_ids", lambda ids: len(set().union(*ids))),
        groups=("source_groups", lambda groups: len(set().union(*groups))),
    )
    counts["minutes"] = counts["clips"] * config.clip_samples / config.sample_rate_hz / 60
    caption = "Clips, distinct captions, and the recordings and source groups they use."
    return captioned(counts.reset_index().replace({"split": SPLITS}), caption, {"minutes": ".0f"})


def left_out(report: dict, n: int = 20) -> pd.DataFrame:
    """The first `n` of the listed clips of a user's corpus that cannot be taken, and why (`corpus.reader_report`)."""
    caption = f"What is left out, and why (the first {n})."
    return captioned(pd.DataFrame(report["clips"][:n], columns=["line", "clip", "why"]), caption)


def by_package(recordings: pd.DataFrame) -> pd.DataFrame:
    """The sound pack: recordings, authors, minutes and licences, a row a package."""
    packages = recordings.groupby("package").agg(
        recordings=("id", "size"),
        authors=("author", "nunique"),
        minutes=("seconds", lambda seconds: seconds.sum() / 60),
        licences=("licence", lambda names: ", ".join(sorted(set(names)))),
    )
    return captioned(packages.reset_index(), "The sound pack by package.", {"minutes": ".1f"})


def planted_groups(clips: pd.DataFrame) -> pd.DataFrame:
    """The truth about planted duplicates: groups and clips by number of copies and by kind."""
    truth = clips[clips["split"] == "train"]
    groups = truth.assign(reworded=truth["caption_kind"] == "other").groupby(["copies", "kind"])
    columns = {
        "groups": ("cluster_id", "nunique"),
        "clips": ("clip_id", "size"),
        "clips in reworded groups": ("reworded", "sum"),
    }
    caption = "The truth table in short: groups by number of copies, and the clips in them."
    return captioned(groups.agg(**columns).reset_index(), caption)


def finder_quality(planted: pd.DataFrame) -> pd.DataFrame:
    """Precision and recall of the finder on planted duplicates, with intervals, from planted.csv."""
    rows = planted.replace({"alteration": {"none": "exact copy"}})
    columns = {name: name for name in ("measure", "alteration", "count", "n")}
    columns["rate"] = with_interval(planted, "rate", "low", "high")
    return arrange(rows, columns, "What the finder makes of it, with exact binomial 95 % intervals.")


def read_recording_pairs(folder: Path) -> pd.DataFrame:
    """recordings.csv of the duplicates stage; without rows for a user's own clips, which have no recordings behind them."""
    sides = [f"{name}_{side}" for name in ("id", "caption", "package") for side in "ab"]
    kinds = dict.fromkeys(sides, "str") | {"score": "float", "correlation": "float", "verified": "bool"}
    path = folder / "recordings.csv"
    pairs = read_csv(path) if path.is_file() else pd.DataFrame(columns=[*kinds])
    return pairs.astype(kinds)  # a table without rows has no types of its own


def precision_by_cut(pairs: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """How many pairs are verified, of those from a log-mel cosine on: a row a cut, `threshold` the lowest."""
    rows = []
    for cut in sorted({threshold, *CUTS}):
        part = pairs[pairs["score"] >= cut]
        if part.empty:
            continue
        rate = flagged_rate(part["verified"])
        rows.append({
            "log-mel cosine from": f"{cut:g}", "pairs": rate.n, "verified": rate.count,
            "precision": f"{100 * rate.rate:.0f} % ({100 * rate.low:.0f} to {100 * rate.high:.0f})",
            "correlation above 0.98": int((part["correlation"] > 0.98).sum()),
        })  # fmt: skip
    caption = "Precision of the list of recordings by where it is cut off; exact binomial 95 % intervals, given these recordings."
    return captioned(pd.DataFrame(rows), caption)


def across_splits(verified: pd.DataFrame, clips: pd.DataFrame, config: CorpusConfig) -> tuple[int, pd.Series]:
    """Verified pairs of a training recording and one of another split; and the clips of each split that hold either."""
    split_of = {sound: split for split, pool in pools(config).items() for sound in pool["id"]}
    splits = pd.DataFrame({side: verified[f"id_{side}"].map(split_of) for side in "ab"})
    across = verified[splits.notna().all(axis=1) & (splits["a"] != splits["b"]) & (splits == "train").any(axis=1)]
    leaked = {*across["id_a"], *across["id_b"]}
    touched = clips["source_ids"].map(lambda ids: not leaked.isdisjoint(ids)).groupby(clips["split"]).sum()
    return len(across), touched


def recording_clusters(verified: pd.DataFrame, recordings: pd.DataFrame, n: int = 6) -> pd.DataFrame:
    """The `n` largest clusters of verified pairs: recordings, the captions heard in them, and their packages."""
    ids = pd.unique(verified[["id_a", "id_b"]].to_numpy().ravel())
    place = pd.Series(range(len(ids)), ids)
    ends = pd.DataFrame(
        {"i": verified["id_a"].map(place), "j": verified["id_b"].map(place), "score": verified["score"]}
    )
    members = clusters_of(ends, ids).merge(recordings[["id", "caption", "package"]], left_on="clip_id", right_on="id")
    clusters = members.groupby("cluster_id").agg(
        recordings=("id", "size"),
        heard=("caption", lambda captions: "; ".join(dict.fromkeys(captions))),
        packages=("package", lambda names: ", ".join(dict.fromkeys(names))),
    )
    caption = f"The largest of {len(clusters)} clusters of verified recordings."
    return captioned(clusters.nlargest(n, "recordings").reset_index(drop=True), caption)
