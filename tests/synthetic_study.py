"""Made-up tables of the shape that a study of three sizes has, for the tests of figures: none of these numbers was measured."""

import numpy as np
import pandas as pd

RUNS = [(100, 0), (100, 1), (100, 2), (500, 0), (500, 1), (500, 2), (4500, 0), (4500, 1)]
UPDATES = (125, 350, 625, 1400, 2800, 5625)
DETECTORS = ("mel", "mel_centred", "mel_aligned", "clap", "aisfx")
TRANSFORM_STRENGTHS = {"gain": (-6, -12, -24), "pitch": (0.25, 1, 3), "pink_noise": (30, 20, 10), "mix": (12, 6, 0)}


def _rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def replication() -> pd.DataFrame:
    """Rows of the main arm and the checkpoints: near-exact shares that rise with epochs, none early on."""
    rows = []
    for n, draw in RUNS:
        for updates in UPDATES:
            epochs = 32 * updates / n
            share = float(np.clip(1 / (1 + (300 / epochs) ** 2) + _rng(n, draw, updates).normal(0, 0.01), 0, 1))
            share = 0.0 if share < 0.02 else share
            arm = "main" if updates == UPDATES[-1] else f"u{updates:05d}"
            limits = {
                "near_exact_low": max(0, share - 0.03),
                "near_exact_high": min(1, share + 0.03) if share else 0.015,
            }
            rows.append({"training_set": "main", "n_train": n, "draw": draw, "arm": arm, "updates": updates, "epochs": epochs,
                         "near_exact_rate": share, **limits})  # fmt: skip
    return pd.DataFrame(rows)


def quality() -> pd.DataFrame:
    """Distances that fall with updates, by two embeddings, for training and held-out prompts."""
    rows = []
    for n, draw in RUNS:
        for updates in UPDATES:
            for prompts in ("train", "heldout") if updates == UPDATES[-1] else ("train",):
                for embedding, scale in (("clap", 1.0), ("aisfx", 0.3)):
                    kid = scale * (0.2 + 40 / updates + (0.1 if prompts == "heldout" else 0) + 0.02 * draw + n / 3e4)
                    rows.append({
                        "training_set": "main", "n_train": n, "draw": draw, "updates": updates, "prompt_set": prompts,
                        "embedding": embedding, "kid": kid, "kid_low": 0.8 * kid, "kid_high": 1.2 * kid,
                        "floor_kid": 0.07 * scale, "twins_kid": 0.05 * scale, "clap_agreement": 0.4 - 20 / updates, "clap_agreement_low": 0.38 - 20 / updates,
                        "clap_agreement_high": 0.42 - 20 / updates, "real_agreement": 0.5, "silent_rate": 2 / updates,
                        "silent_low": 0.0, "silent_high": 6 / updates,
                    })  # fmt: skip
    return pd.DataFrame(rows)


def ladder() -> pd.DataFrame:
    """Best matches of every kind at three sizes."""
    centres = {
        "heldout": 0.8, "same_bed": 0.84, "twins": 0.86, "generated": 0.9, "altered": 0.93, "empirical": 0.985,
        "ceiling": 0.985,
    }  # fmt: skip
    parts = [
        pd.DataFrame({"score": _rng(n, i).normal(centre, 0.02, 60).clip(0, 1), "kind": kind, "n_train": n})
        for n in (100, 500, 4500)
        for i, (kind, centre) in enumerate(centres.items())
    ]
    return pd.concat(parts, ignore_index=True)


def top1() -> pd.DataFrame:
    """Own-clip top-1 of generated clips and of twins."""
    rows = []
    for n, draw in RUNS:
        for place, detector in enumerate(DETECTORS):
            own, twins = 0.95 - 0.1 * place - n / 9e3, 0.5 - 0.05 * place - n / 2e4
            rows.append((n, draw, detector, own, own - 0.04, own + 0.03, twins, twins - 0.04, twins + 0.04))
    names = [f"{which}_top1_{end}" for which in ("own_clip", "twins") for end in ("rate", "low", "high")]
    return pd.DataFrame(rows, columns=["n_train", "draw", "detector", *names])


def detection(detectors=DETECTORS, count: int = 3) -> pd.DataFrame:
    """AUROC that falls with strength."""
    rows = []
    for transform, strengths in TRANSFORM_STRENGTHS.items():
        for step, strength in enumerate(strengths[:count]):
            for place, detector in enumerate(detectors):
                value = 1 - 0.1 * step - 0.03 * place
                rows.append((detector, transform, strength, value, value - 0.05, min(1, value + 0.04)))
    return pd.DataFrame(rows, columns=["detector", "transform", "strength", "auroc", "auroc_low", "auroc_high"])


def roc() -> pd.DataFrame:
    """Curves of detectors that find fewer copies the later they are listed; the strongest alteration comes last."""
    fpr = np.array([0.0, 0.01, 0.1, 1.0])
    parts = [
        pd.DataFrame({"fpr": fpr, "tpr": fpr ** (0.1 * (step + place + 1))}).assign(
            detector=detector, transform=transform, strength=strength
        )
        for transform, strengths in TRANSFORM_STRENGTHS.items()
        for step, strength in enumerate(strengths)
        for place, detector in enumerate(DETECTORS)
    ]
    return pd.concat(parts, ignore_index=True)


def normalised() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Normalised scores of generated clips and twins, and thresholds; that of one size is unattainable."""
    parts = []
    for place, n in enumerate((100, 500, 4500)):
        for kind, centre in (("generated", 0.6 - 0.03 * place), ("twins", 0.5)):
            parts.append(
                pd.DataFrame({"n_train": n, "kind": kind, "normalised": _rng(n, place).normal(centre, 0.03, 200)})
            )
    limits = pd.DataFrame({"n_train": [100, 500, 4500], "own": [0.54, np.nan, 0.56], "common": [0.56] * 3})
    return pd.concat(parts, ignore_index=True), limits


def choices() -> pd.DataFrame:
    """AUROC of every beta and K; the best is chosen."""
    rows = [
        (n, beta, k, 0.9 + 0.02 * beta - 0.001 * k + n / 1e6)
        for n in (100, 4500)
        for beta in (0.0, 0.5, 1.0)
        for k in (1, 3, 10)
    ]
    table = pd.DataFrame(rows, columns=["n_train", "beta", "k", "auroc"])
    return table.assign(chosen=table["auroc"] == table.groupby("n_train")["auroc"].transform("max"))


def sensitivity() -> pd.DataFrame:
    """Flagged shares that fall as training clips slip into the background."""
    cases = [(25, 0), (100, 0), (250, 0), (500, 0), (500, 1), (500, 5), (500, 50)]
    rows = [
        (n, size, wrong, 0.8 - n / 6000 - wrong / 100, 0.75 - n / 6000 - wrong / 100, 0.85 - n / 6000 - wrong / 100)
        for n in (100, 500, 4500)
        for size, wrong in cases
    ]
    rows = [(*row[:3], *(max(0.0, value) for value in row[3:])) for row in rows]
    return pd.DataFrame(
        rows, columns=["n_train", "background_size", "contaminated", "flagged_rate", "ci_low", "ci_high"]
    )


def dose() -> pd.DataFrame:
    """Replication that rises with the number of copies, less so for altered ones."""
    rows = [(1, "single", "all", 0.02, 0.005, 0.05)]
    for copies in (2, 4, 8, 16):
        for kind, slope in (("exact", 0.05), ("altered", 0.02)):
            for captions, factor in (("all", 1.0), ("same", 1.2), ("other", 0.8)):
                rate = slope * copies * factor
                rows.append((copies, kind, captions, rate, 0.8 * rate, min(1, 1.25 * rate)))
    return pd.DataFrame(rows, columns=["copies", "kind", "caption_kind", "rate", "ci_low", "ci_high"])


def outcomes() -> pd.DataFrame:
    """Prompts with eight seeds each: of the smaller size most are all or none."""
    rows = []
    for n, chances in ((100, (0.0, 1.0)), (500, (0.1, 0.4))):
        for prompt in range(50):
            hits = int(_rng(n, prompt).binomial(8, chances[prompt % 2]))
            rows.append((n, f"train_{prompt:05d}", hits, 8))
    return pd.DataFrame(rows, columns=["n_train", "own_id", "hits", "seeds"])


def write_scores(folder, n: int = 20) -> None:
    """The scores stage's files of one run of `n` clips: copies score 0.99 or 0.95, twins spread around 0.9, strangers 0.8.

    The generated clips are half copies of their own clip, half strangers; every second query resembles its background.
    """
    rng = _rng(n)
    kinds = {"generated": 2 * n, "twins": 4 * n, "heldout": n, "altered": n, "empirical": 4}
    best, queries = [], []
    for kind, count in kinds.items():
        for i in range(count):
            own = "" if kind == "heldout" else f"train_{i % n:05d}"
            copied = kind in ("altered", "empirical") or (kind == "generated" and i % 2 == 0)
            score = (0.99 if kind == "empirical" else 0.95) if copied else (0.9 if kind == "twins" else 0.8)
            score += 0 if kind == "empirical" else 0.01 * float(rng.uniform(-1, 1))
            query_id = f"{kind}_{i:05d}" if kind != "generated" else f"gen_n{n}_d0_main_{i:05d}_s0"
            best.append(("main", n, 0, 5, 0, "mel", kind, "main" if kind == "generated" else "", query_id, own,
                         own if copied else f"train_{(i + 1) % n:05d}", score))  # fmt: skip
            queries.append(("main", query_id, kind, i, (0.5, 0.9)[i % 2]))
    names = ["training_set", "n_train", "draw", "updates", "sample_seed", "detector", "kind", "arm", "query_id", "own_id",
             "ref_id", "score"]  # fmt: skip
    best = pd.DataFrame(best, columns=names).assign(rank=1)
    generated = best["kind"] == "generated"
    best[generated].to_parquet(folder / "scores.parquet")
    best[~generated].to_parquet(folder / "null.parquet")
    queries = pd.DataFrame(queries, columns=["training_set", "query_id", "kind", "index", "bias"])
    queries.to_parquet(folder / "queries.parquet")
    background = pd.concat([queries.assign(rank=rank, score=queries["bias"] - 0.01 * rank) for rank in (1, 2, 3)])
    background.assign(detector="mel")[["training_set", "detector", "query_id", "rank", "score"]].to_parquet(
        folder / "background.parquet"
    )
    ceiling = pd.DataFrame({"clip_id": [f"train_{i:05d}" for i in range(n)], "own_score": 0.99})
    ceiling.assign(training_set="main", detector="mel").to_parquet(folder / "ceiling.parquet")
