"""Makes `tests/synthetic/`: tables of scores that nothing trained has touched, from which every decision follows exactly.

    python tests/synthetic_scores.py

writes them anew; `decisions.yml`, beside them, has the settings. None of these numbers was measured. Beside random scores
they hold the cases on which a comparison turns: a score that equals the threshold, a position that equals theta, ties among
background clips, a match in the own cluster, a span too small for a position, an interval that ends on a claim's bound.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).with_name("synthetic")
RUNS = (("main", 20, 0), ("main", 20, 1), ("main", 40, 0), ("main", 60, 0))
TAU_RUN, THETA_RUN, PLANTED_RUN = RUNS[1], RUNS[2], ("duplicates", 108, 0)
COPIED = {20: 0.8, 40: 0.4, 60: 0.1}  # share of generated clips that are copies
SPREAD = {"mel": 0.02, "clap": 0.06}
N_TRAIN, N_TWINS, N_HELDOUT, N_ALTERED, DEPTH = 108, 58, 40, 14, 3
STEP = 2.0**-24  # between float32 numbers from 0.5 to 1


def write_all(folder: Path) -> None:
    """Writes every table into `folder`."""
    rng = np.random.default_rng(2024)
    clips, planted = training_clips(), planted_clips(rng)
    for name, table in (score_tables(rng, planted) | {"corpus": clips, "planted": planted}).items():
        table.to_parquet(folder / f"{name}.parquet", index=False, compression="zstd")
    tables = {"duplicates": duplicates(), "recordings": recordings(), "alterations": alterations(rng),
              "features": features(rng), "claims": claims(), "trends": trends(), "detection": detection()}  # fmt: skip
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)


def training_clips() -> pd.DataFrame:
    """Clips 0 and 1 begin with one recording, so do 2 and 3, and so on: ten groups. Half hold music, a third one event."""
    rows = []
    for i in range(N_TRAIN):
        sources = [f"recording {(i // 2) % 10}", f"recording {10 + i}"]
        rows.append((f"train_{i:05d}", "train", sources, ["music", "animal"][i % 2 :], recipe(1 + (i % 3 > 0))))
    return pd.DataFrame(rows, columns=["clip_id", "split", "source_ids", "classes", "recipe"])


def planted_clips(rng: np.random.Generator) -> pd.DataFrame:
    """Twelve single clips, eight clusters for each number of copies and kind."""
    clusters = [(1, "single")] * 12 + [(copies, kind) for copies in (2, 4) for kind in ("exact", "altered")] * 8
    rows = []
    for number, (copies, kind) in enumerate(clusters):
        captions = "other" if copies > 1 and rng.random() < 0.5 else "same"
        for _ in range(copies):
            rows.append((f"planted_{number:05d}", float(copies), kind, captions))
    table = pd.DataFrame(rows, columns=["cluster_id", "copies", "kind", "caption_kind"])
    sources = [[f"recording {int(name[-2:]) % 15}"] for name in table["cluster_id"]]
    ids = [f"dup_{i:05d}" for i in range(len(table))]
    return table.assign(
        clip_id=ids, split="train", source_ids=sources, classes=[["animal"]] * len(ids), recipe=recipe(1)
    )


def recipe(events: int) -> str:
    """A clip's recipe as far as its number of events is read from it."""
    layer = {"source_id": "", "caption": "", "start_s": 0.0, "offset_s": 0.0, "gain_db": 0.0, "rate": 1.0}
    roles = ["foreground"] * events + ["bed"]
    return json.dumps({"caption": "", "layers": [layer | {"role": role} for role in roles]})


def score_tables(rng: np.random.Generator, planted: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What the scores stage writes, but for the quality: two neighbours a query, three background neighbours."""
    best = pd.concat([query_scores(rng, run, planted) for run in (*RUNS, PLANTED_RUN)], ignore_index=True)
    heldout = best["kind"] == "heldout"  # are queries of every run, and have one background for all of a training set
    key = ["training_set", "detector", "query_id"]
    best.loc[heldout, "level"] = best[heldout].groupby(key)["level"].transform("first")
    background = background_scores(rng, best.drop_duplicates(key))
    neighbours = pd.concat([best.assign(rank=1), second_best(rng, best)]).sort_index(kind="stable")
    columns = ["kind", "arm", "query_id", "updates", "sample_seed", "detector", "own_id", "rank", "ref_id", "score",
               "n_train", "draw", "training_set"]  # fmt: skip
    neighbours = neighbours[columns].astype({"score": np.float32})
    generated = neighbours["kind"] == "generated"
    queries = best.drop_duplicates(["training_set", "query_id"])[["query_id", "kind", "arm", "updates", "training_set"]]
    made = np.where(queries["kind"] == "generated", "ema", "")
    queries = queries.assign(weights=made, prompt_set=np.where(made == "", "", "train"), guidance=2.0, steps=20)
    return {
        "scores": neighbours[generated], "null": neighbours[~generated], "background": background, "queries": queries,
        "ceiling": ceiling(rng, planted), "variants": variants(rng, best),
    }  # fmt: skip


def query_scores(rng: np.random.Generator, run: tuple, planted: pd.DataFrame) -> pd.DataFrame:
    """The best match of every query of one run by every detector, and the level of similarity it has with anything."""
    training_set, n, draw = run
    own = [f"train_{i:05d}" for i in range(n)] if training_set == "main" else planted["clip_id"].tolist()
    made = generated_clips(run, own, planted)
    known = [("twins", "", f"twin_n{n}_d{draw}_{i:05d}", own[i % len(own)], 0) for i in range(N_TWINS)]
    known += [("heldout", "", f"heldout_{i:05d}", "", 0) for i in range(N_HELDOUT)]
    if training_set == "main":
        known += [("altered", "", f"altered_n{n}_d{draw}_{i:05d}", own[i % n], 0) for i in range(N_ALTERED)]
    queries = pd.DataFrame(made + known, columns=["kind", "arm", "query_id", "own_id", "updates"])
    queries["copied"] = [copied(rng, query, n, planted) for query in queries.itertuples()]
    parts = []
    for detector, spread in SPREAD.items():
        level = rng.uniform(0.45, 0.65, len(queries))
        lift = np.select([queries["copied"], queries["kind"] == "twins"], [0.28, 0.13], 0.1)
        score = (level + lift + rng.normal(0, spread, len(queries))).clip(0, 0.97)
        near = queries["copied"] | (queries["kind"] == "twins") & (rng.random(len(queries)) < 0.3)
        other = rng.integers(0, len(own), len(queries))
        ref = [sibling(query.own_id) if own_match else own[i]
               for query, own_match, i in zip(queries.itertuples(), near, other)]  # fmt: skip
        parts.append(queries.assign(detector=detector, level=level, score=score, ref_id=ref))
    table = pd.concat(parts, ignore_index=True).assign(
        training_set=training_set, n_train=n, draw=draw, sample_seed=0, tied=False
    )
    return place_ties(table, run)


def generated_clips(run: tuple, own: list[str], planted: pd.DataFrame) -> list[tuple]:
    """The main arm; for draw 0 also an early checkpoint, and two prompts of one group with two seeds each."""
    training_set, n, draw = run
    if training_set != "main":
        prompts = planted.drop_duplicates("cluster_id")["clip_id"]
        return [("generated", "main", f"gen_dup_{clip}_s{s}", clip, 6) for clip in prompts for s in range(2)]
    name = f"gen_n{n}_d{draw}"
    made = [("generated", "main", f"{name}_main_{i:05d}_s0", own[i], 6) for i in range(n)]
    made += [("generated", "u00003", f"{name}_u00003_{i:05d}_s0", own[i], 3) for i in range(3)]
    if draw == 0:
        made += [("generated", "seeds", f"{name}_seeds_{i:05d}_s{s}", own[i], 6) for i in range(2) for s in range(2)]
    return made


def copied(rng: np.random.Generator, query, n: int, planted: pd.DataFrame) -> bool:
    """Whether a query is a copy: altered clips are, twins and held-out clips are not, generated ones by chance."""
    if query.kind != "generated" or query.arm == "u00003":
        return query.kind == "altered"
    if query.own_id.startswith("train"):
        return bool(rng.random() < COPIED[n])
    clip = planted.set_index("clip_id").loc[query.own_id]
    return bool(rng.random() < 0.1 + clip["copies"] * (0.2 if clip["kind"] == "exact" else 0.1))


def sibling(clip_id: str) -> str:
    """The clip that a copy is nearest to: its own, but where clips are alike (`duplicates`) the first of them."""
    return {"train_00003": "train_00002", "train_00013": "train_00012"}.get(clip_id, clip_id)


def place_ties(table: pd.DataFrame, run: tuple) -> pd.DataFrame:
    """Scores on which comparisons turn, in sums that float32 and float64 hold exactly; `tied` queries have level 0.25."""
    mel = table["detector"] == "mel"
    twins = table.index[mel & (table["kind"] == "twins")]
    main = table.index[mel & (table["arm"] == "main")]
    if run == TAU_RUN:  # six of ten twins score 0.75 less the bias, so tau is the next number, which three clips have
        tied = twins[np.arange(len(twins)) % 5 < 3].append(main[:5])
        table.loc[tied, ["tied", "level", "score"]] = (True, 0.25, 0.875)
        table.loc[main[:3], "score"] = 0.875 + STEP
    if run == THETA_RUN:  # the median twin scores 0.5, a perfect replay of clips 10 and 11 scores 1
        table.loc[twins, "score"] = np.repeat([0.5 - 0.05, 0.5, 0.5 + 0.05], [20, 18, 20])
        table.loc[main[10:12], "ref_id"] = ["train_00010", "train_00011"]
        table.loc[main[10:12], "score"] = [0.75, 0.75 - STEP]  # at theta, and just below
    return table


def second_best(rng: np.random.Generator, best: pd.DataFrame) -> pd.DataFrame:
    """A lower score of the clip that comes next in the table."""
    lower = (best["score"] - rng.uniform(0.01, 0.05, len(best))).clip(0)
    return best.assign(rank=2, score=lower, ref_id=best["ref_id"].shift(-1, fill_value="train_00000"))


def background_scores(rng: np.random.Generator, best: pd.DataFrame) -> pd.DataFrame:
    """Three background neighbours a query, falling by rank; the rows come in no order."""
    noise = np.where(best["tied"], 0.0, 1.0)[:, None] * rng.uniform(0, 0.05, (len(best), DEPTH))
    scores = -np.sort(-(best["level"].to_numpy()[:, None] + noise), axis=1)
    parts = [
        best[["detector", "query_id", "training_set"]].assign(rank=i + 1, score=scores[:, i]) for i in range(DEPTH)
    ]
    table = pd.concat(parts, ignore_index=True).astype({"score": np.float32})
    return table.iloc[rng.permutation(len(table))]


def ceiling(rng: np.random.Generator, planted: pd.DataFrame) -> pd.DataFrame:
    """What clips score after the codec; every twentieth is not known. Clip 5's and those of two
    planted ones are no higher than a twin's: positions of what is nearest to them are undefined."""
    rows = []
    ids = [("main", f"train_{i:05d}") for i in range(60) if i % 20 != 19]
    ids += [("duplicates", clip) for clip in planted["clip_id"]]
    for detector in SPREAD:
        rows += [(detector, clip, float(rng.uniform(0.93, 0.98)), name) for name, clip in ids]
    table = pd.DataFrame(rows, columns=["detector", "clip_id", "own_score", "training_set"])
    mel = table["detector"] == "mel"
    table.loc[mel & table["clip_id"].isin(["train_00005", "dup_00026", "dup_00064"]), "own_score"] = 0.5
    table.loc[mel & table["clip_id"].isin(["train_00010", "train_00011"]), "own_score"] = 1.0
    return table.astype({"own_score": np.float32})


def variants(rng: np.random.Generator, best: pd.DataFrame) -> pd.DataFrame:
    """The bias of the smallest run's main clips and twins by two other backgrounds."""
    own = (best["n_train"] == 20) & (best["draw"] == 0) & (best["detector"] == "mel")
    own = best[own & ((best["arm"] == "main") | (best["kind"] == "twins"))]
    columns = ["query_id", "n_train", "draw", "training_set"]
    parts = [
        own[columns].assign(size=size, contaminated=wrong, k=k, bias=own["level"] + rng.uniform(0, 0.05, len(own)))
        for size, wrong in ((4, 0), (8, 1))
        for k in (1, 3)
    ]
    return pd.concat(parts, ignore_index=True).astype({"bias": np.float32})


def duplicates() -> pd.DataFrame:
    """Two natural pairs among the training clips, and a planted one, which no cluster of the main set is made from."""
    rows = [("train_00002", "natural_0", "natural", 1.0), ("train_00003", "natural_0", "natural", 1.0),
            ("train_00012", "natural_1", "natural", 0.97), ("train_00013", "natural_1", "natural", 0.97),
            ("train_00020", "planted_0", "planted", 0.99), ("train_00021", "planted_0", "planted", 0.99)]  # fmt: skip
    return pd.DataFrame(rows, columns=["clip_id", "cluster_id", "kind", "score"])


def recordings() -> pd.DataFrame:
    """Five pairs of recordings, two of them verified."""
    rows = [(f"recording {i}", f"recording {i + 1}", 1 - i / 50, i < 2) for i in range(5)]
    return pd.DataFrame(rows, columns=["id_a", "id_b", "score", "verified"])


def detection() -> pd.DataFrame:
    """Against twins mel leads clap at each size, and aisfx at one of two; against held-out clips both lead mel."""
    of_twins = [("clap", 100, 0.1, 0.02, 0.2), ("clap", 500, 0.2, 0.1, 0.3), ("aisfx", 100, 0.1, 0.0, 0.2),
                ("aisfx", 500, 0.2, 0.1, 0.3)]  # fmt: skip
    rows = [(*row[:2], "twins", "own", "all", *row[2:]) for row in of_twins]
    rows += [(name, n, "heldout", "own", "all", -0.1, -0.2, -0.01) for name in ("clap", "aisfx") for n in (100, 500)]
    rows += [
        ("clap", 100, "twins", "none", "all", -0.5, -0.6, -0.4),
        ("clap", 100, "twins", "own", "gain", -0.5, -0.6, -0.4),
    ]
    columns = ["detector", "n_train", "negatives", "bias", "transform", "below_mel", "below_mel_low", "below_mel_high"]
    return pd.DataFrame(rows, columns=columns)


def alterations(rng: np.random.Generator) -> pd.DataFrame:
    """mel is the better detector than clap by every alteration, and neither better nor worse than aisfx."""
    rows = []
    for transform in ("gain", "pitch", "mix", "noise", "shift"):
        for strength in (1.0, 2.0):
            mel = rng.uniform(0.8, 0.9)
            other = {"mel": mel, "clap": mel - rng.uniform(0.02, 0.1), "aisfx": mel + rng.uniform(-0.05, 0.05)}
            rows += [(name, transform, strength, value) for name, value in other.items()]
    return pd.DataFrame(rows, columns=["detector", "transform", "strength", "auroc"])


def features(rng: np.random.Generator) -> pd.DataFrame:
    """Thirty references and ten queries of twelve whole numbers; references 20 to 24 repeat 0 to 4, some at twice the level."""
    values = rng.integers(-3, 4, (40, 12))
    values[:, 0] = rng.integers(1, 4, 40)  # so that no row is zero
    values[20:25] = values[:5] * np.array([1, 2, 1, 2, 1])[:, None]
    values[30:34] = values[:4] + np.eye(4, 12, 5, dtype=np.int64)  # queries near those that are there twice
    return pd.DataFrame(values, columns=[f"x{i}" for i in range(12)]).assign(
        part=["references"] * 30 + ["queries"] * 10
    )


def claims() -> pd.DataFrame:
    """What a main arm may come to at up to three sizes, a case for each way in which a verdict can fall."""
    near = {  # (rate, low, high) at three sizes
        "replicates": ((0.9, 0.8, 0.95), (0.02, 0.01, 0.03), (0.0, 0.0, 0.01)),
        "does not": ((0.3, 0.2, 0.4), (0.5, 0.4, 0.6), (0.7, 0.6, 0.8)),
        "unclear": ((0.5, 0.4, 0.6), (0.1, 0.05, 0.2), (0.45, 0.3, 0.5)),
        "bounds from above": ((0.6, 0.5, 0.7), (0.2, 0.1, 0.3), (0.45, 0.4, 0.5)),
        "bounds from below": ((0.4, 0.3, 0.5), (0.05, 0.02, 0.1), (0.6, 0.5, 0.7)),
        "two sizes": ((0.9, 0.8, 0.95), None, (0.0, 0.0, 0.01)),
        "no interval": ((0.9, np.nan, np.nan), (0.02, np.nan, np.nan), (0.0, np.nan, np.nan)),
        "undefined": ((np.nan,) * 3,) * 3,
    }
    own = {"replicates": (0.9, 0.8, 1.0, 0.2), "does not": (0.2, 0.1, 0.3, 0.5), "unclear": (0.5, 0.4, 0.6, 0.5),
           "bounds from above": (0.6, 0.5, 0.7, 0.5), "bounds from below": (0.4, 0.3, 0.5, 0.5),
           "two sizes": (0.9, 0.8, 1.0, np.nan), "no interval": (0.9, np.nan, np.nan, 0.2),
           "undefined": (0.9, 0.8, 1.0, 0.2)}  # fmt: skip
    rows = []
    for case, sizes in near.items():
        rate, low, high, twins = own[case]
        for n, share in zip((100, 500, 4500), sizes):
            for draw in range(2 if share and n == 100 else bool(share)):
                rows.append(
                    (
                        case,
                        n,
                        draw,
                        share[0],
                        share[1] - 0.125 * (draw > 0),
                        share[2],
                        rate,
                        low,
                        high,
                        twins / 2,
                        twins,
                    )
                )
    table = pd.DataFrame(rows, columns=[
        "case", "n_train", "draw", "near_exact_rate", "near_exact_low", "near_exact_high", "own_clip_top1_rate",
        "own_clip_top1_low", "own_clip_top1_high", "twins_top1_rate", "twins_top1_high"])  # fmt: skip
    first = table["draw"] == 0
    bounds = table["case"].str.startswith("bounds")  # a further draw moves the lower limit: not where that is the point
    table = table[first | ~bounds]
    flagged = np.where(table["case"] == "no interval", np.nan, 0.3)
    undefined = table["case"] == "undefined"
    precise = np.where(undefined, np.nan, flagged)
    ends = ("rate", "low", "high")
    table = table.assign(
        **{f"own_near_exact_{end}": table[f"near_exact_{end}"] for end in ends},
        **{f"twins_own_near_exact_{end}": np.where(undefined, np.nan, value) for end, value in zip(ends, (0.01, 0.0, 0.02))},
        updates=6, epochs=6 * 32 / table["n_train"],
    )  # fmt: skip
    return table.assign(
        twins_top1_low=0.0, null_near_exact_rate=np.where(undefined, np.nan, 0.01), null_near_exact_low=0.0,
        null_near_exact_high=0.02, flagged_rate=flagged, ci_low=flagged - 0.1, ci_high=flagged + 0.1,
        precision=precise / 2, precision_low=precise / 4, precision_high=precise,
        n_generated=100, n_defined=np.where(undefined, 0, 100),
    )  # fmt: skip


def trends() -> pd.DataFrame:
    """Slopes of replication over copies that hold, fail, reach both sides, end on the bound, or are missing."""
    rows = [("replicates", 0.5, 0.2, 0.8, ""), ("does not", -0.5, -0.8, -0.2, ""), ("unclear", 0.1, -0.2, 0.4, ""),
            ("bounds from above", 0.3, 0.0, 0.6, ""), ("bounds from below", -0.3, -0.6, 0.0, ""),
            ("no interval", np.nan, np.nan, np.nan, "no event")]  # fmt: skip
    table = pd.DataFrame(rows, columns=["case", "slope_per_doubling", "low", "high", "note"])
    return table.assign(outcome="replicated", kind="exact")


if __name__ == "__main__":
    write_all(FOLDER)
