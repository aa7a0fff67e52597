"""The study in words: sentences that follow from its tables by rule, so that they are true of whichever run is shown.

Rows are those of `study.rows_of` for one detector, null and rate, from replication.csv. Shares are means over draws;
their limits are the lowest and the highest of any draw.
Notebook: 07_findings.
"""

from collections import Counter

import pandas as pd

from helpers.study import checkpoints, share_text

LIKE_EPOCHS = 1.3  # epochs of two checkpoints count as alike up to this ratio


def of_sizes(rows: pd.DataFrame, null: str = "twins") -> list[str]:
    """A sentence a training size: its near-exact share at the last checkpoint beside the null's."""
    sentences = []
    for n_train, last in _shares(rows[rows["arm"] == "main"], ["n_train"]).iterrows():
        share = share_text(last["rate"], last["low"], last["high"])
        theirs = share_text(last["null_rate"])
        if last["low"] > last["null_high"]:
            verdict = f"more than of {null} ({theirs})"
        elif last["rate"] <= last["null_rate"]:
            verdict = f"no more than of {null} ({theirs}), so the share is no sign of copying"
        else:
            verdict = f"not clearly more than of {null} ({theirs})"
        sentences.append(f"After training on **{n_train:,} clips**, near-exact are {share}: {verdict}.")
    return sentences


def of_onset(rows: pd.DataFrame) -> list[str]:
    """Between which checkpoints each size's near-exact share first rises above the null's, in updates and in epochs."""
    sentences = []
    for n_train, curve in _shares(checkpoints(rows), ["n_train", "updates", "epochs"]).groupby(level="n_train"):
        above = (curve["low"] > curve["null_high"]).to_numpy()
        (_, last, epochs) = curve.index[-1]
        if not above.any():
            sentences.append(
                f"With **{n_train:,} clips** it does not begin within {last:,} updates, {epochs:,.0f} epochs."
            )
            continue
        first = int(above.argmax())
        if first == 0:
            (_, updates, epochs) = curve.index[0]
            when = f"by the first checkpoint, {updates:,} updates, {epochs:,.0f} epochs"
        else:
            (_, u, e), (_, updates, epochs) = curve.index[first - 1], curve.index[first]
            when = f"between {u:,} and {updates:,} updates, {e:,.0f} and {epochs:,.0f} epochs"
        sentences.append(f"With **{n_train:,} clips** copying begins {when}.")
    return sentences


def of_epochs(rows: pd.DataFrame) -> str:
    """Two sizes after about as many epochs, where the smaller one copies most; empty where no two have such checkpoints."""
    curve = _shares(checkpoints(rows), ["n_train", "updates", "epochs"]).reset_index()
    pairs = curve.merge(curve, how="cross", suffixes=("", "_of_more"))
    ratio = pairs["epochs_of_more"] / pairs["epochs"]
    pairs = pairs[(pairs["n_train"] < pairs["n_train_of_more"]) & ratio.between(1 / LIKE_EPOCHS, LIKE_EPOCHS)]
    if pairs.empty:
        return ""
    pair = pairs.loc[pairs["rate"].idxmax()]
    return (
        f"After about as many epochs, {pair['epochs']:,.0f} and {pair['epochs_of_more']:,.0f}, near-exact are "
        f"{share_text(pair['rate'], pair['low'], pair['high'])} with {int(pair['n_train']):,} clips and "
        f"{share_text(pair['rate_of_more'], pair['low_of_more'], pair['high_of_more'])} with {int(pair['n_train_of_more']):,}, "
        f"though these had {pair['updates_of_more'] / pair['updates']:.1f} times the updates."
    )


def of_machines(manifests: list[dict]) -> str:
    """What the models were trained on, from the manifests of their training stages, and in which number format."""
    kinds = Counter()
    for manifest in manifests:
        machine = manifest["machine"]
        automatic = bool(machine["gpu"]) or any(name.endswith("bf16") for name in machine["vectors"])
        half = {"bf16": True, "no": False}.get(manifest["config"]["precision"], automatic)
        kinds[f"{machine['gpu'] or machine['cpu']} ({'bfloat16' if half else 'float32'})"] += 1
    if len(kinds) == 1:
        return f"All models were trained on one kind of machine: {next(iter(kinds))}."
    parts = ", ".join(f"{count} on {kind}" for kind, count in sorted(kinds.items()))
    return f"The {len(manifests)} models were trained, by processor and number format: {parts}."


def _shares(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """rate, low, high, null_rate and null_high over the draws of each group, in the order of `by`."""
    return rows.groupby(by).agg(
        rate=("near_exact_rate", "mean"), low=("near_exact_low", "min"), high=("near_exact_high", "max"),
        null_rate=("null_near_exact_rate", "mean"), null_high=("null_near_exact_high", "max"),
    )  # fmt: skip
