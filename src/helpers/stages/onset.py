"""The onset stage: at how many updates each run begins to copy, and how that grows with the training set.

Notebook: 07_findings.
"""

from collections.abc import Sequence
from pathlib import Path

from helpers.base.profile import Profile
from helpers.copies.conclusions.onset import judged_clips, onset_table
from helpers.copies.conclusions.relation import law_table

PREDICTED = 4500  # clips: what the second prediction of protocol.yml is of


def compute(out: Path, upstream: dict[str, Path], profile: Profile, planned: Sequence[int]) -> None:
    """Writes onset.csv, law.csv (ONSET_COLUMNS of `copies.conclusions.onset`, LAW_COLUMNS of `copies.conclusions.relation`) and shares.csv.

    They are of the profile's detector and the training prompts, at every checkpoint. shares.csv: n_train, draw, updates,
    n_generated, near_exact and top1 (shares; near-exact of the own clip). `planned`: see `choose_sizes`.
    """
    judged = judged_clips(upstream["thresholds"] / "decisions.parquet", profile)
    onsets = onset_table(judged, profile.training.block_out_channels[0], profile.thresholds.confidence)
    fitted, predicted = choose_sizes(profile.sizes, planned)
    onsets.to_csv(out / "onset.csv", index=False)
    law_table(onsets, fitted, [predicted], profile.thresholds.confidence).to_csv(out / "law.csv", index=False)
    shares = judged.groupby(["n_train", "draw", "updates"])
    means = shares[["near_exact", "top1"]].mean().astype(float).assign(n_generated=shares.size())
    means.reset_index().to_csv(out / "shares.csv", index=False)


def choose_sizes(sizes: Sequence[int], planned: Sequence[int]) -> tuple[list[int], int]:
    """The training sizes to fit, and the one to predict: the `planned` ones, and the largest, or PREDICTED where that is fitted
    too. Where fewer than three are planned, all below the largest are fitted."""
    fitted = [n for n in sizes if n in planned]
    if len(fitted) < 3:
        fitted = [n for n in sizes if n < max(sizes)]
    return fitted, PREDICTED if max(sizes) in fitted else max(sizes)
