"""Chooses the training recipe, guidance, beta, K and theta on the pilot corpus, before the study runs; keeps what it saw.

    python tools/tune_recipe.py recipe      candidates for the recipe, each trained on 100 pilot clips
    python tools/tune_recipe.py plan        with the recipe of profiles/pilot.yml: beta and K (part C1), and theta

No clip of the study takes part. Results go to results/pilot/: recipe.csv, choices.csv, theta.csv. The recipe is chosen by
own-clip top-1 and position at the last checkpoint (a model of 100 clips must replay them), then by the kernel distance of
clips for held-out prompts; theta is the lowest with 95 % precision for altered copies against as many strangers.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.paths import ROOT
from helpers.base.profile import Profile
from helpers.copies import replication
from helpers.copies.score_table import ScoreTable
from helpers.sound.profiles import load_profile
from helpers.study import registry

OUT = ROOT / "results" / "pilot"
SIZE, PRECISION = 100, 0.95
ARMS = {"n_checkpoint": 100, "n_raw": 100, "n_guidance": 100, "guidance_size": SIZE}  # of the first candidate
CANDIDATES = (
    {"learning_rate": 0.001},
    {"learning_rate": 0.002},
    {"learning_rate": 0.0005},
)


def judge_candidate(profile: Profile) -> pd.DataFrame:
    """One row an arm: own-clip top-1, median best-match score, both by log-mel, beside the twins', and the quality columns."""
    folder = registry.finished("retrieval", profile, SIZE, 0).path
    quality = pd.read_csv(registry.finished("quality", profile, SIZE, 0).path / "quality.csv")
    wide = quality.pivot(index="arm", columns="embedding", values=["kid", "floor_kid", "clap_agreement", "silent_rate"])
    wide.columns = [f"{measure}_{embedding}" for measure, embedding in wide.columns]
    best = pd.concat([pd.read_parquet(folder / f"{name}.parquet") for name in ("scores", "null")]).query("rank == 1")
    best = best[(best["detector"] == "mel") & best["kind"].isin(["generated", "twins"])]
    best["top1"] = best["ref_id"] == best["own_id"]
    table = best.groupby(["kind", "arm"]).agg(top1=("top1", "mean"), score=("score", "median"), n=("top1", "size"))
    losses = pd.read_parquet(registry.finished("training", profile, SIZE, 0).path / "loss.parquet")
    return table.reset_index().merge(wide, on="arm", how="left").assign(loss=losses["loss"].tail(100).mean())


def tune_recipe(profile: Profile) -> None:
    """Trains and judges every candidate; what is there already is loaded."""
    rows = []
    for number, changes in enumerate(CANDIDATES):
        candidate = profile.replace("training", **changes)
        found = judge_candidate(candidate if number else candidate.replace("arms", **ARMS))
        rows.append(found.assign(**changes))
        print(found.to_string(float_format="%.3f"))
    pd.concat(rows, ignore_index=True).to_csv(OUT / "recipe.csv", index=False, float_format="%.5g")


def make_plan(profile: Profile) -> None:
    """Beta and K by how well they tell altered copies from twins, and theta, by detector and size."""
    table = ScoreTable(registry.finished("scores", profile).path)
    choices = pd.read_csv(registry.finished("thresholds", profile).path / "choices.csv")
    choices.to_csv(OUT / "choices.csv", index=False, float_format="%.5g")
    rows = []
    for detector in profile.retrieval.detectors:
        for run in table.runs():
            positions = {
                kind: position(table, run, detector, kind) for kind in ("altered", "twins", "same_bed", "empirical")
            }
            strangers = np.concatenate([positions["twins"], positions["same_bed"]])
            rng = np.random.default_rng(profile.thresholds.seed)
            count = min(len(strangers), len(positions["altered"]))
            chosen = rng.choice(strangers, count, replace=False)
            theta = replication.choose_theta(rng.permutation(positions["altered"])[:count], chosen, PRECISION)
            recall = None if theta is None else float((positions["altered"] >= theta).mean())
            falsely = None if theta is None else float((strangers >= theta).mean())
            replays = None if theta is None else float((positions["empirical"] >= theta).mean())
            rows.append((detector, run[1], run[2], count, theta, recall, falsely, replays))
    columns = ["detector", "n_train", "draw", "n_each", "theta", "altered_found", "strangers_found", "replays_found"]
    theta = pd.DataFrame(rows, columns=columns)
    theta.to_csv(OUT / "theta.csv", index=False, float_format="%.5g")
    print(choices[choices["chosen"]].to_string(), theta.to_string(), sep="\n\n")


def position(table: ScoreTable, run, detector: str, kind: str) -> np.ndarray:
    """Positions of a kind's clips between the median twin and the ceiling of their match; NaN left out."""
    best, median = table.best(run, detector, kind), float(table.best(run, detector, "twins")["score"].median())
    found = replication.position(best["score"].to_numpy(), table.match_ceiling(run, detector, best), median)
    return found[~np.isnan(found)]


def main():
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("recipe", "plan"))
    chosen = parser.parse_args()
    Path(OUT).mkdir(parents=True, exist_ok=True)
    {"recipe": tune_recipe, "plan": make_plan}[chosen.part](load_profile("pilot"))


if __name__ == "__main__":
    main()
