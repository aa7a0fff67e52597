"""The kernel distance and its interval against their definitions and by simulation; the quality stage on planted sets."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers.base.settings import ThresholdsConfig
from helpers.copies.kernel_distance import kernel_distance, kernel_distance_interval
from helpers.stages.quality import COLUMNS, compute as compute_quality


def test_it_is_the_unbiased_estimate_written_out():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((4, 3)), rng.standard_normal((5, 3))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))

    def kernel(x, y):
        return (float(x @ y) + 1) ** 3

    same = [np.mean([kernel(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j]) for s in (a, b)]
    assert kernel_distance(a, b) == pytest.approx(sum(same) - 2 * np.mean([kernel(x, y) for x in a for y in b]))


def test_samples_of_one_distribution_are_at_zero_and_others_are_not():
    rng = np.random.default_rng(1)
    shift = np.full(8, 0.7)
    alike = [kernel_distance(rng.standard_normal((60, 8)), rng.standard_normal((60, 8))) for _ in range(60)]
    apart = [kernel_distance(rng.standard_normal((60, 8)), shift + rng.standard_normal((60, 8))) for _ in range(20)]
    assert abs(np.mean(alike)) < 3 * np.std(alike) / np.sqrt(len(alike))  # unbiased: some lie below zero
    assert min(alike) < 0 and min(apart) > max(alike)


def test_bad_embeddings_are_refused():
    good = np.ones((3, 4))
    for bad in (np.ones(4), np.ones((3, 5)), np.ones((1, 4))):
        with pytest.raises(ValueError, match="expected .N >= 2, E."):
            kernel_distance(bad, good)
    with pytest.raises(ValueError, match="got NaN"):
        kernel_distance(np.full((3, 4), np.nan), good)


def unit_rows(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_the_interval_is_the_jackknife_written_out():
    """Value and every leave-one-out value by loops over pairs, with clips that belong together within and across sets."""
    rng = np.random.default_rng(2)
    a, b = unit_rows(rng.standard_normal((6, 3))), unit_rows(rng.standard_normal((7, 3)))
    labels = (list("abcdee"), list("cdefghi"))

    def distance(without):
        def mean(x, x_labels, y, y_labels):
            kept = [
                (float(p @ q) + 1) ** 3
                for p, i in zip(x, x_labels)
                for q, j in zip(y, y_labels)
                if i != j and without not in (i, j)
            ]
            return np.mean(kept)

        return (
            mean(a, labels[0], a, labels[0]) + mean(b, labels[1], b, labels[1]) - 2 * mean(a, labels[0], b, labels[1])
        )

    value, low, high = kernel_distance_interval(a, b, 0.95, labels)
    assert value == pytest.approx(distance(None))
    deviations = np.array([distance(unit) - value for unit in "abcdefghi"])
    half = 1.959964 * np.sqrt(8 / 9 * (deviations**2).sum())
    np.testing.assert_allclose([low, high], [value - half, value + half], rtol=1e-5)


def test_without_units_the_value_is_the_kernel_distance():
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((9, 5)), rng.standard_normal((12, 5))
    value, low, high = kernel_distance_interval(a, b)
    assert value == pytest.approx(kernel_distance(a, b))
    narrow = kernel_distance_interval(a, b, confidence=0.5)
    assert low < narrow[1] < value < narrow[2] < high


@pytest.mark.parametrize("shift, n", [(0.0, 30), (0.25, 30), (0.5, 60), (0.7, 30)])
def test_the_interval_covers_the_true_distance(shift, n):
    """Gaussians in 8 dimensions; the truth is the mean of unbiased estimates from large samples, or zero."""
    rng = np.random.default_rng(int(100 * shift) + n)

    def samples(size):
        return rng.standard_normal((size, 8)), shift + rng.standard_normal((size, 8))

    truth = np.mean([kernel_distance(*samples(1000)) for _ in range(12)]) if shift else 0.0
    found = np.array([kernel_distance_interval(*samples(n)) for _ in range(400)])
    covered = np.mean((found[:, 1] <= truth) & (truth <= found[:, 2]))
    # where both are alike the variance is twice too large, which is stated: nearly every interval covers
    assert 0.91 <= covered <= (0.99 if shift else 0.998)


def test_copies_of_the_real_clips_are_no_better_than_real():
    """A model that replays its training clips lies at zero, not below, once a clip is not compared with its original."""
    rng = np.random.default_rng(5)
    naive, paired = [], []
    for _ in range(60):
        real = rng.standard_normal((40, 8))
        order = rng.permutation(40)
        made = (real + 0.01 * rng.standard_normal(real.shape))[order]
        naive.append(kernel_distance(made, real))
        paired.append(kernel_distance_interval(made, real, 0.95, (order, np.arange(40)))[0])
    assert max(naive) < -0.2
    assert abs(np.mean(paired)) < 0.01


def test_bad_units_are_refused():
    a = np.random.default_rng(0).standard_normal((4, 3))
    with pytest.raises(ValueError, match="expected 4 and 4 labels, got 4 and 3"):
        kernel_distance_interval(a, a, 0.95, (range(4), range(3)))
    with pytest.raises(ValueError, match="at least 3"):
        kernel_distance_interval(a, a, 0.95, (range(4), [7, 7, 8, 8]))
    with pytest.raises(ValueError, match="at least 3"):
        kernel_distance_interval(a[:2], a)


PROFILE = SimpleNamespace(thresholds=ThresholdsConfig(n_bootstrap=200, seed=3))
SIZE = 6


def clip_rows(kind, n, arm="", seeds=1, prompt_set="", **changes):
    made = kind == "generated"
    table = pd.DataFrame(
        {
            "kind": kind, "arm": arm, "index": np.repeat(np.arange(n), seeds), "sample_seed": np.tile(np.arange(seeds), n),
            "caption": "a dog", "updates": 125 if made else 0, "weights": "ema" if made else "", "prompt_set": prompt_set,
            "guidance": 2.0, "steps": 20, "silent": False, "clipped": False,
        }
    )  # fmt: skip
    return table.assign(query_id=[f"{kind}_{arm}_{i}" for i in range(len(table))], **changes)


def write_retrieval(folder, tables, clap, clap_text=None, **others):
    folder.mkdir()
    queries = pd.concat(tables, ignore_index=True)
    queries.to_parquet(folder / "queries.parquet", index=False)
    text = clap if clap_text is None else clap_text
    for name, table in {"clap": clap, "clap_text": text, **others}.items():
        if table is not None:
            np.save(
                folder / f"{name}.npy", np.where(queries["silent"].to_numpy()[:, None], 0, table).astype(np.float32)
            )
    clips = pd.DataFrame({"clip_id": [f"train_{i:05d}" for i in range(100)], "split": "train"})
    clips.to_parquet(folder / "clips.parquet", index=False)
    return {"retrieval": folder, "corpus": folder}


def read_quality(tmp_path, upstream):
    compute_quality(tmp_path, upstream, PROFILE, 100, 0)
    found = pd.read_csv(tmp_path / "quality.csv", keep_default_na=True)
    assert tuple(found.columns) == COLUMNS
    return found.set_index(["arm", "embedding"])


def test_stage_tells_good_arms_from_bad_and_stays_at_the_floor(tmp_path):
    """Arm `good` is drawn as real clips are, `bad` elsewhere, `copied` replays the ceiling; a second embedding disagrees."""
    rng = np.random.default_rng(0)
    real, heldout, good = (rng.standard_normal((60, SIZE)) for _ in range(3))
    bad = 1.5 + rng.standard_normal((60, SIZE))
    tables = [clip_rows("generated", 60, arm, prompt_set="train") for arm in ("good", "bad", "copied")]
    tables += [clip_rows("ceiling", 60), clip_rows("heldout", 60).assign(index=-1), clip_rows("twins", 30, seeds=2)]
    twins = np.repeat(real[:30], 2, axis=0)
    clap = unit_rows(np.concatenate([good, bad, real, real, heldout, twins]))
    upstream = write_retrieval(tmp_path / "retrieval", tables, clap, aisfx=clap[::-1])
    found = read_quality(tmp_path, upstream)
    assert found.index.tolist() == [(arm, e) for arm in ("good", "bad", "copied") for e in ("clap", "aisfx")]
    by_clap = found.xs("clap", level="embedding")
    assert (by_clap.n_compared == 60).all() and (by_clap.n_generated == 60).all() and (by_clap.updates == 125).all()
    assert by_clap.kid_low["good"] < 0 < by_clap.kid_high["good"]
    assert by_clap.kid_low["bad"] > by_clap.floor_high["bad"] and by_clap.kid["bad"] > 0.5
    assert by_clap.kid["copied"] == pytest.approx(0, abs=1e-6)  # each clip with its own original left out
    assert by_clap.floor_kid.nunique() == 1 and abs(by_clap.floor_kid["good"]) < 0.3
    assert by_clap.floor_kid["good"] == pytest.approx(kernel_distance(heldout, real), abs=1e-5)
    # a twin is not paired with its clip, so even twins that are their clips stand no nearer than real ones
    assert by_clap.twins_low["good"] < 0 < by_clap.twins_high["good"] and by_clap.twins_kid["good"] > -0.3
    assert found.kid["good", "aisfx"] != pytest.approx(found.kid["good", "clap"])


def test_stage_counts_silence_seeds_and_clipping(tmp_path):
    rng = np.random.default_rng(1)
    made = clip_rows("generated", 20, "main", seeds=3, prompt_set="train")
    made.loc[:3, "silent"] = True  # prompt 0 wholly, prompt 1 in its first seed
    made.loc[made.index >= 54, "clipped"] = True
    tables = [made, clip_rows("ceiling", 30), clip_rows("heldout", 25)]
    clap = rng.standard_normal((115, SIZE))
    row = read_quality(tmp_path, write_retrieval(tmp_path / "retrieval", tables, clap)).loc["main", "clap"]
    assert row.n_generated == 60 and row.n_compared == 18  # of 20 prompts, in the first seed, those with sound
    assert row.silent_rate == pytest.approx(4 / 60) and row.silent_low < 4 / 60 < row.silent_high
    assert row.clipped_rate == pytest.approx(0.1)
    assert row.clap_agreement == pytest.approx(1) and row.real_agreement == pytest.approx(1)


@pytest.mark.parametrize("prompt_set", ["train", "heldout"])
def test_agreement_is_of_prompts_not_of_clips(tmp_path, prompt_set):
    """Half the prompts agree with cosine 1, half with 0, eight clips each: the interval is that of 30 prompts, not 240."""
    made = clip_rows("generated", 30, "main", seeds=8, prompt_set=prompt_set)
    queries = made.assign(index=-1, caption="clip " + made["index"].astype(str)) if prompt_set == "heldout" else made
    tables = [queries, clip_rows("ceiling", 10), clip_rows("heldout", 10)]
    clap = np.tile(np.eye(SIZE)[0], (260, 1))
    text = clap.copy()
    text[:240][made["index"] % 2 == 0] = np.eye(SIZE)[1]
    text[240:250] = np.eye(SIZE)[0] + np.eye(SIZE)[1]
    row = read_quality(tmp_path, write_retrieval(tmp_path / "retrieval", tables, clap, text)).loc["main", "clap"]
    assert row.clap_agreement == pytest.approx(0.5) and row.real_agreement == pytest.approx(np.sqrt(0.5))
    assert row.clap_agreement_high - row.clap_agreement_low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(30), rel=0.2)


def test_too_few_clips_and_no_clap_give_nan(tmp_path):
    made = clip_rows("generated", 9, "main", prompt_set="train")
    silent = clip_rows("generated", 5, "mute", prompt_set="train", silent=True)
    tables = [made, silent, clip_rows("ceiling", 3), clip_rows("heldout", 9)]
    rows = np.random.default_rng(0).standard_normal((26, SIZE))
    found = read_quality(tmp_path, write_retrieval(tmp_path / "retrieval", tables, None, aisfx=rows))
    assert found.index.tolist() == [("main", "aisfx"), ("mute", "aisfx")]
    assert found.n_compared.tolist() == [3, 0] and found.silent_rate.tolist() == [0, 1]
    numbers = [c for c in COLUMNS if c.startswith(("kid", "floor", "clap_agree", "real"))]
    assert found[numbers].isna().all(axis=None)


def test_stage_refuses_what_does_not_fit(tmp_path):
    tables = [clip_rows("generated", 6, "main"), clip_rows("ceiling", 6), clip_rows("heldout", 6)]
    rows = np.random.default_rng(0).standard_normal((18, SIZE))
    upstream = write_retrieval(tmp_path / "mixed", [tables[0].assign(guidance=[2.0, 3.0] * 3), *tables[1:]], rows)
    with pytest.raises(ValueError, match="arm main: expected one value of guidance, got 2.0, 3.0"):
        compute_quality(tmp_path, upstream, PROFILE, 100, 0)
    upstream = write_retrieval(tmp_path / "short", tables, rows)
    np.save(tmp_path / "short" / "clap.npy", rows[:10])
    with pytest.raises(ValueError, match="clap.npy: expected 18 rows, one a query, got 10"):
        compute_quality(tmp_path, upstream, PROFILE, 100, 0)


def test_without_generated_clips_the_table_is_empty_but_has_its_columns(tmp_path):
    rows = np.ones((12, SIZE))
    upstream = write_retrieval(tmp_path / "retrieval", [clip_rows("ceiling", 6), clip_rows("heldout", 6)], rows)
    assert read_quality(tmp_path, upstream).empty


def test_clips_of_one_planted_cluster_are_not_compared(tmp_path):
    """Clips 0 to 9 are one clip; half of them stand among the generated ones too. Nothing is alike apart from these."""
    rng = np.random.default_rng(3)
    real, made, heldout = (rng.standard_normal((40, SIZE)) for _ in range(3))
    real[:10] = made[:5] = real[0]
    tables = [clip_rows("generated", 40, "main", prompt_set="clusters"), clip_rows("ceiling", 40)]
    tables += [clip_rows("heldout", 40).assign(index=-1)]
    upstream = write_retrieval(tmp_path / "retrieval", tables, unit_rows(np.concatenate([made, real, heldout])))
    apart = read_quality(tmp_path, upstream).loc["main", "clap"]
    clips = pd.read_parquet(upstream["corpus"] / "clips.parquet")
    clips.assign(cluster_id=np.maximum(clips.index - 9, 0).astype(str)).to_parquet(upstream["corpus"] / "clips.parquet")
    together = read_quality(tmp_path, upstream).loc["main", "clap"]
    assert together.kid_low < 0 < together.kid_high and together.kid < apart.kid
