"""What the code decides from the synthetic scores in `tests/synthetic/`: the summaries that golden values are stored of.

What is imported here is imported when it is called: a check of mutations puts changed modules in place first.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from golden_values import summarise_folder, summarise_table
from synthetic_scores import FOLDER, RUNS

BOUNDS = {"smallest_near_exact_above": 0.5, "middle_near_exact_below": 0.1}  # of verdicts


def nearest(*_: Path) -> dict:
    """Exact search, pairs, centring and the bias of scores on whole numbers, some rows of which are there twice."""
    from helpers.copies import bias, pairs, search

    table = pd.read_csv(FOLDER / "features.csv")
    references, queries = (
        table[table["part"] == part].drop(columns="part").to_numpy(np.float32) for part in ("references", "queries")
    )
    found = search.top_k(queries, references, 4)
    return (
        summarise_table("scores", pd.DataFrame(found.scores))
        | summarise_table("indices", pd.DataFrame(found.indices))
        | summarise_table("pairs", pairs.pairs_above(references, 0.8))
        | summarise_table("centred", pd.DataFrame(bias.centre(references, references.mean(axis=0))))
        | summarise_table("biased", pd.DataFrame(bias.normalised_scores(found.scores, found.scores, 0.5, 2)))
    )


def decisions(*_: Path) -> dict:
    """From the scores of one detector to thresholds, flags, near-exact, own-clip top-1 and their rates, run by run."""
    from helpers.copies import calibration, rates, replication
    from helpers.copies.score_table import ScoreTable

    table, found, cluster_of = ScoreTable(FOLDER), {}, {"train_00003": "a", "train_00002": "a"}
    for run in RUNS:
        twins, clips = table.best(run, "mel", "twins"), table.best(run, "mel", "generated", "main")
        part = calibration.split_calibration(twins["query_id"], 0)
        null, scores = (table.normalised(run, "mel", best, 0.5, 2) for best in (twins, clips))
        taus = [calibration.calibrate_threshold(null[part == "C2"], fpr) for fpr in (0.01, 0.1, 0.2)]
        position = table.positions(run, "mel", clips, "twins")
        judged = clips.assign(
            normalised=scores, position=position, flagged=calibration.flag(scores, taus[-1]),
            near_exact=replication.near_exact(position, 0.5),
            own_top1=replication.own_clip_top1(clips["ref_id"], clips["own_id"], cluster_of),
        )  # fmt: skip
        flags = [calibration.flag(null[part == "C3"], taus[-1]), *(judged[name] for name in ("near_exact", "own_top1"))]
        half = np.arange(len(judged)) % 2  # two groups, whose flags all agree or not
        shares = [rates.clustered_rate(flag, np.arange(len(flag)) // 3, 100) for flag in flags]
        shares += [rates.clustered_rate(flag, half, 100) for flag in (judged["flagged"], scores > 2, scores < 2)]
        theta = replication.choose_theta(position[judged["own_top1"]], position[~judged["own_top1"]], 0.8)
        numbers = pd.DataFrame({"tau": np.array(taus, float), "theta": np.array([theta] * 3, float)})
        name = f"n{run[1]}_d{run[2]}"
        found |= summarise_table(f"{name} judged", judged) | summarise_table(f"{name} numbers", numbers)
        found |= summarise_table(f"{name} rates", pd.DataFrame(map(vars, shares)))
    backgrounds = [table.background(run, "mel", best["query_id"].to_numpy()) for best in (clips, twins)]
    swept = clips["score"].to_numpy(), backgrounds[0], twins["score"].to_numpy(), backgrounds[1], (0.0, 0.5), (1, 3)
    beta, k, choices = calibration.choose_beta_k(*swept)
    found |= summarise_table("sweep", calibration.sweep(*swept, 0.2, check=swept[2:4]))
    return found | summarise_table("choices", choices.assign(chosen=(choices["beta"] == beta) & (choices["k"] == k)))


def verdicts(*_: Path) -> dict:
    """Every claim judged by every case of claims.csv."""
    from helpers.copies.conclusions.claims import CLAIMS
    from helpers.copies.conclusions.evidence import Evidence

    table, trends = pd.read_csv(FOLDER / "claims.csv"), pd.read_csv(FOLDER / "trends.csv")
    detection, alterations, pairs = (
        pd.read_csv(FOLDER / f"{name}.csv") for name in ("detection", "alterations", "recordings")
    )
    bounds, found = BOUNDS | {"fpr": 0.05}, {}
    for case, rows in table.groupby("case"):
        trend, once = trends[trends["case"] == case], case == "replicates"
        early = rows.assign(
            updates=2, epochs=2 * 32 / rows["n_train"], own_near_exact_rate=rows["own_near_exact_rate"] / 2
        )
        tables = (detection, alterations) if once else (detection[:0], alterations[:0])
        checkpoints = pd.concat([rows, early], ignore_index=True)
        evidence = Evidence(rows, checkpoints, *tables, pairs, trend if len(trend) else None, bounds)
        judged = [(claim, *vars(judge(evidence)).values()) for claim, _, _, judge in CLAIMS]
        columns = ["claim", "value", "low", "high", "verdict", "why"]
        found |= summarise_table(case, pd.DataFrame(judged, columns=columns).astype(dict.fromkeys(columns[1:4], float)))
    return found


def thresholds(folder: Path, _: Path) -> dict:
    """The thresholds stage."""
    from helpers.stages import thresholds

    return _compute(thresholds, folder / "thresholds", _upstream(folder))


def dose(folder: Path, made: Path) -> dict:
    """The dose stage, from the thresholds stage's decisions."""
    from helpers.stages import dose

    return _compute(dose, folder / "dose", _upstream(folder) | {"thresholds": made / "thresholds"})


def onset(folder: Path, made: Path) -> dict:
    """The onset stage, from the thresholds stage's decisions."""
    from helpers.stages import onset

    return _compute(onset, folder / "onset", {"thresholds": made / "thresholds"}, (200, 500, 1000, 2000))


def findings(folder: Path, made: Path) -> dict:
    """The findings stage, from the thresholds, dose and onset stages' tables."""
    from helpers.stages import findings

    results = {name: made / name for name in ("thresholds", "dose", "onset")}
    return _compute(findings, folder / "findings", _upstream(folder) | results, BOUNDS)


# By name: each gives summaries, from a folder to write to and one with the results of those before it.
CHECKS = {check.__name__: check for check in (nearest, decisions, verdicts, thresholds, dose, onset, findings)}


def _compute(stage, out: Path, upstream: dict[str, Path], *more) -> dict:
    from helpers.sound.profiles import load_profile

    out.mkdir()
    stage.compute(out, upstream, load_profile("decisions", FOLDER), *more)
    found = summarise_folder(out)
    (out / "manifest.json").write_text(json.dumps(dict.fromkeys(MANIFEST)))
    return found


MANIFEST = ("digest", "commit", "machine", "versions", "wall_s", "peak_memory_mib")  # what a summary copies


def _upstream(folder: Path) -> dict[str, Path]:
    """The finished folders that the stages read, laid out from the committed tables."""
    tables = {
        "scores": ("scores", "null", "background", "queries", "ceiling", "variants"),
        "corpus": ("corpus",), "planted": ("planted",), "duplicates": ("duplicates", "recordings"),
        "detection": ("detection",), "alterations": ("alterations",),
    }  # fmt: skip
    for stage, names in tables.items():
        (folder / stage).mkdir(exist_ok=True)
        for name in names:
            path = next(FOLDER.glob(f"{name}.*"))
            copy = f"clips{path.suffix}" if stage in ("corpus", "planted") else path.name
            shutil.copyfile(path, folder / stage / copy)
        (folder / stage / "manifest.json").write_text(json.dumps(dict.fromkeys(MANIFEST)))
    return {stage: folder / stage for stage in tables}


@dataclass(frozen=True)
class Decided:
    """The summaries of every check by its name, and the folder with the tables of the stages among them."""

    summaries: dict[str, dict]
    folder: Path


def decide(folder: Path) -> Decided:
    """Every check in its order, into an empty folder."""
    return Decided({name: check(folder, folder) for name, check in CHECKS.items()}, folder)
