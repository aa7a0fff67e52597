"""The predictions of the study of onsets, from published tables alone.

    python tools/predict_onset.py results/pocket_first    # P1: the first study's
    python tools/predict_onset.py results/pocket          # P2: the study's own, without the largest size

Prints, as YAML, the onset of each run, the exponent and what it predicts. P1 was committed as `first_prediction` of
`profiles/protocol.yml` before a run of the study began; P2 went there as `second_prediction` before a checkpoint of the
largest size was generated, searched or heard.
"""

import argparse
from pathlib import Path

import pandas as pd
import yaml

from helpers.base.protocol import read_protocol
from helpers.book.summaries.onset import PREDICTED
from helpers.copies.conclusions.onset import fit_onset, onset_table
from helpers.copies.conclusions.relation import fit_sizes, law_table
from helpers.copies.pooled import judge_published
from helpers.sound.profiles import load_profile

LEVELS = {"near_exact": 0.05, "top1": 0.5}  # the primary measure first
SIZES = (100, 500)  # those of the first study that reached the levels, three draws each
REPLAYS = "replays.parquet"  # kept of the first study alone


def predict_second(folder: Path) -> dict:
    """The content of `second_prediction`: the onsets of the published runs of no more clips than are fitted, and the relation
    where two sizes at least have one."""
    study, sizes = load_profile("pocket"), read_protocol()["exponent"]["sizes"]
    judged = judge_published(folder, study, max(sizes)).assign(detector="mel")
    onsets = onset_table(judged, study.training.block_out_channels[0])
    result = {}
    for measure, part in onsets.groupby("measure", sort=False):
        runs = zip(part["n_train"], part["draw"], part[["updates", "updates_low", "updates_high"]].round().to_numpy())
        result[measure] = {"onsets": {f"n{n}_d{draw}": values.tolist() for n, draw, values in runs}}
    table = law_table(onsets, sizes, [PREDICTED])
    for row in table.itertuples():
        interval = [round(value, 3) for value in (row.exponent, row.exponent_low, row.exponent_high)]
        predicted = [round(value) for value in (row.predicted_updates, row.predicted_low, row.predicted_high)]
        result[row.measure] |= {"sizes": row.sizes_fitted, "exponent": interval, "predicted": {PREDICTED: predicted}}
    return result


def predict(folder: Path) -> dict:
    """The content of `first_prediction`, from REPLAYS of the first study: a row a clip of its training prompts at every
    checkpoint, n_train, draw, updates, own_id, near_exact (of the own clip) and own_top1."""
    made = pd.read_parquet(folder / REPLAYS).rename(columns={"own_top1": "top1"})
    sizes = load_profile("pocket").sizes  # the largest is PREDICTED
    result = {}
    for measure, level in LEVELS.items():
        onsets = {
            (int(n), int(draw)): fit_onset(part["updates"], part[measure], part["own_id"], level)
            for (n, draw), part in made[made["n_train"].isin(SIZES)].groupby(["n_train", "draw"])
        }
        runs = pd.DataFrame([(n, onset.updates) for (n, _), onset in onsets.items()], columns=["n_train", "updates"])
        relation = fit_sizes(runs.assign(trained_to=runs["updates"], censored=False))
        result[measure] = {
            "level": level,
            "onsets": {f"n{n}_d{draw}": round(onset.updates) for (n, draw), onset in onsets.items()},
            "exponent": [round(value, 3) for value in (relation.exponent, *relation.interval)],
            "predicted": {n: [round(value) for value in relation.predict(n)] for n in sizes},
        }
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a published study")
    folder = parser.parse_args().folder
    found = predict(folder) if (folder / REPLAYS).is_file() else predict_second(folder)
    print(yaml.safe_dump(found, sort_keys=False, default_flow_style=None))
