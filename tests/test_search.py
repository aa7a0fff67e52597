"""Exact search against an independent slow answer: narrow and wide rows, one block and many, copies and clusters."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from helpers.copies import bounds, search
from helpers.copies.search import TIE, pairs_above, top_k

WIDE = 1536  # dimensions: more than NARROW, so that rows are coded


def slow_cosines(queries, references):
    """Double-precision cosines."""
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries.astype(float), references.astype(float))]
    return unit[0] @ unit[1].T


def slow_top_k(queries, references, k):
    """Double-precision cosines and a full sort; equal scores by index (rounded: double copies differ by 1e-16)."""
    cosines = slow_cosines(queries, references)
    order = np.array([sorted(range(len(row)), key=lambda r, row=row: (-round(row[r], 9), r))[:k] for row in cosines])
    return np.take_along_axis(cosines, order, axis=1), order


@pytest.fixture(scope="module", autouse=True, params=["codes", "faiss"])
def coded(request):
    """Runs every test with codes wherever they are right, also on a CPU on which they are slow, and without any."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "codes_pay", bounds.codes_are_exact if request.param == "codes" else lambda: False)
        yield request.param


@pytest.fixture(params=["one block", "many blocks"])
def blocks(request, monkeypatch):
    """Runs a test with all rows in one block, and with blocks of a few rows each."""
    if request.param == "many blocks":
        monkeypatch.setattr(search, "BLOCK_BYTES", 4 * WIDE * 7)
        monkeypatch.setattr(search, "MOST_QUERIES", 5)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [1, 5, 40])
def test_top_k_equals_a_full_sort(seed, k):
    rng = np.random.default_rng(seed)
    queries, references = rng.normal(size=(23, 17)) * 10, rng.normal(size=(40, 17)) + 0.5
    references[rng.integers(40, size=12)] = references[3]  # copies: ties, also at the k-th place
    references[7] = 250 * references[3]  # the same direction at another length
    queries[0] = references[3]
    scores, indices = top_k(queries, references, k)
    slow_scores, slow_indices = slow_top_k(queries, references, k)
    assert scores.dtype == np.float32 and indices.dtype == np.int64
    np.testing.assert_array_equal(indices, slow_indices)
    np.testing.assert_allclose(scores, slow_scores, atol=2e-6)
    assert (np.diff(scores, axis=1) <= 0).all()


def awkward_rows(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Wide rows [n, WIDE] that tempt a filter to err."""
    noise = rng.normal(size=(n, WIDE))
    if kind == "noise":
        return noise
    if kind == "one direction":  # as log-mels: nearly all of a row is common to all
        return 40 + noise
    if kind == "clusters":  # members differ by less than the codes' step
        centres = rng.normal(size=(3, WIDE)) * 5
        return centres[rng.integers(3, size=n)] + 10.0 ** rng.uniform(-4, 0, size=(n, 1)) * noise
    if kind == "spikes":  # one number of a row sets the step of all the others
        noise[np.arange(n), rng.integers(WIDE, size=n)] = 10.0 ** rng.uniform(1, 4, size=n)
        return noise
    if kind == "constant":  # every row the same direction but a few
        rows = np.outer(rng.uniform(0.1, 9, size=n), np.ones(WIDE))
        rows[::7] += noise[::7]
        return rows
    return noise * 10.0 ** rng.uniform(-12, 12, size=(n, 1))  # lengths apart by many powers of ten


KINDS = ["noise", "one direction", "clusters", "spikes", "constant", "lengths"]


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(KINDS), st.sampled_from(KINDS), st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 70),
       st.integers(1, 12), st.integers(1, 90))  # fmt: skip
def test_wide_rows_find_what_a_full_search_finds(query_kind, kind, seed, n_queries, n, k, block):
    """The scores of a full search, and references that have those scores: cosines this close may change places."""
    rng = np.random.default_rng(seed)
    queries = awkward_rows(query_kind, n_queries, rng).astype(np.float32)
    references = awkward_rows(kind, n, rng).astype(np.float32)
    k = min(k, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "BLOCK_BYTES", 4 * WIDE * block)
        scores, indices = top_k(queries, references, k)
    truth = slow_cosines(queries, references)
    np.testing.assert_allclose(scores, -np.sort(-truth, axis=1)[:, :k], atol=2e-6)
    np.testing.assert_allclose(np.take_along_axis(truth, indices, axis=1), scores, atol=4e-6)
    assert all(len(set(row)) == k for row in indices.tolist())


def test_bounds_are_never_exceeded_and_close():
    """The codes' promise itself: above every cosine, and near enough to rule most references out."""
    rng = np.random.default_rng(0)
    for kind in KINDS:
        queries, references = (awkward_rows(kind, 50, rng).astype(np.float32) for _ in range(2))
        mean = bounds.mean_row(references)
        some, block = (bounds.measure(rows, 0, mean, "rows") for rows in (queries, references))
        slack = bounds.upper_bounds(some, block).numpy() - slow_cosines(queries, references)
        assert slack.min() > 0, kind
        if kind != "spikes":
            assert slack.max() < 0.03, kind


@pytest.mark.parametrize(("has", "exact", "pay"), [(True, True, True), (True, False, False), (False, True, False)])
def test_codes_pay_where_the_cpu_multiplies_them_exactly_and_fast(monkeypatch, has, exact, pay):
    monkeypatch.setattr(bounds.torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_vnni": has})
    monkeypatch.setattr(bounds, "codes_are_exact", lambda: exact)
    assert bounds.codes_pay() is pay


def test_faiss_rounds_less_than_the_search_allows_for():
    """The same promise of faiss' float32 products; sums of positive numbers of like size err most."""
    rng = np.random.default_rng(0)
    kinds = [(kind, WIDE) for kind in KINDS] + [("long", 2**16)]
    for kind, dimensions in kinds:
        queries, references = (
            awkward_rows(kind, 50, rng) if kind in KINDS else rng.uniform(4, 6, size=(50, dimensions)) for _ in range(2)
        )
        units = [
            (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32) for rows in (queries, references)
        ]
        for some in (units[0], units[0][:3]):  # for few queries faiss has other code
            products, indices = faiss.knn(some, units[1], 50, metric=faiss.METRIC_INNER_PRODUCT)
            truth = np.take_along_axis(slow_cosines(queries[: len(some)], references), indices, axis=1)
            assert np.abs(products - truth).max() < search.FLOAT32 / 5, kind


def test_float32_products_give_the_same_answer(monkeypatch):
    rng = np.random.default_rng(3)
    queries, references = rng.normal(size=(2, 30, WIDE)).astype(np.float32)
    coded = top_k(queries, references, 4, codes=True)
    monkeypatch.setattr(search, "codes_pay", lambda: False)
    monkeypatch.setattr(search, "upper_bounds", None)
    plain = top_k(queries, references, 4)
    np.testing.assert_array_equal(coded.indices, plain.indices)
    np.testing.assert_allclose(coded.scores, plain.scores, atol=1e-6)


def rows_of_every_kind() -> np.ndarray:
    """Wide rows [300, WIDE]: the awkward ones, and copies that differ by less than float32 products can tell."""
    rng = np.random.default_rng(3)
    rows = np.concatenate([awkward_rows(kind, 40, rng) for kind in KINDS])
    near = rows[:1] * (1 + 10.0 ** rng.uniform(-5, -2, size=(60, 1)) * rng.normal(size=(60, WIDE)))
    return np.concatenate([rows, near]).astype(np.float32)


def test_both_filters_agree_on_awkward_rows(monkeypatch):
    """Scores agree to 1e-6; indices too, but for cosines at the edge of a tie, where either is right."""
    monkeypatch.setattr(search, "BLOCK_BYTES", 4 * WIDE * 100)
    rows = rows_of_every_kind()
    before = rows.copy()
    coded, pairs = top_k(rows, rows, 4, codes=True), pairs_above(rows, 0.999, codes=True)
    monkeypatch.setattr(search, "upper_bounds", None)
    plain, plain_pairs = top_k(rows, rows, 4, codes=False), pairs_above(rows, 0.999, codes=False)
    np.testing.assert_allclose(coded.scores, plain.scores, atol=1e-6)
    truth = slow_cosines(rows, rows)
    for found in (coded, plain):
        np.testing.assert_allclose(np.take_along_axis(truth, found.indices, axis=1), found.scores, atol=2e-6)
    apart = np.abs(np.diff(-np.sort(-truth, axis=1)[:, :5], axis=1)).min(axis=1) > 3 * TIE
    assert apart.sum() > 100
    np.testing.assert_array_equal(coded.indices[apart], plain.indices[apart])
    for left, right in zip(pairs[:2], plain_pairs[:2]):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_allclose(pairs[2], plain_pairs[2], atol=1e-6)
    assert pairs[2].dtype == plain_pairs[2].dtype == np.float32
    np.testing.assert_array_equal(rows, before)


def test_codes_are_refused_where_the_cpu_multiplies_them_wrongly(monkeypatch):
    monkeypatch.setattr(search, "codes_are_exact", lambda: False)
    with pytest.raises(ValueError, match="codes: expected a CPU that multiplies 8-bit numbers exactly"):
        top_k(np.eye(3), np.eye(3), 1, codes=True)
    assert top_k(np.eye(3), np.eye(3), 1).indices.tolist() == [[0], [1], [2]]


@pytest.mark.parametrize("dimensions", [8, WIDE])
@pytest.mark.parametrize("copies", [30, 90])
def test_ties_at_the_last_place_take_the_lower_index(copies, dimensions, blocks):
    """More copies than the search keeps: of those the first."""
    rng = np.random.default_rng(copies)
    references = rng.normal(size=(200, dimensions)).astype(np.float32)
    tied = np.sort(rng.choice(200, copies, replace=False))
    # Copies but for one part in 10,000: cosines differ by 1e-8, which float32 turns into an arbitrary order.
    references[tied] = references[tied[0]] * (1 + 1e-4 * rng.normal(size=(copies, dimensions)))
    _, indices = top_k(references[tied[:1]], references, 4)
    np.testing.assert_array_equal(indices[0], tied[:4])


def test_a_difference_above_the_tie_tolerance_is_kept():
    angle = np.array([2e-3, 1e-4])  # cosines 1 - 2e-6 and 1 - 5e-9
    references = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert top_k(np.array([[1.0, 0.0]]), references, 2).indices.tolist() == [[1, 0]]


def test_files_on_disk_give_the_same_answer_in_16_bits_too(tmp_path, blocks):
    rng = np.random.default_rng(1)
    references = (rng.normal(size=(67, WIDE)) + 3).astype(np.float16)
    np.save(tmp_path / "rows.npy", references)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    found, expected = top_k(mapped, mapped, 5), top_k(references, references, 5)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(67))
    np.testing.assert_allclose(found.scores[:, 0], 1, atol=1e-6)


@pytest.mark.parametrize("dimensions", [12, WIDE])
@pytest.mark.parametrize("threshold", [0.02, 0.9, 1.0])
def test_pairs_above_are_those_of_a_full_matrix(dimensions, threshold, blocks):
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(50, dimensions)).astype(np.float32)
    rows[[4, 17, 33]] = rows[2]
    rows[40] = rows[41] + 0.1 * rng.normal(size=dimensions)
    i, j, scores = pairs_above(rows, threshold)
    truth = slow_cosines(rows, rows)
    np.testing.assert_array_equal(np.stack([i, j], axis=1), np.argwhere(np.triu(truth >= threshold - TIE, 1)))
    np.testing.assert_allclose(scores, truth[i, j], atol=2e-6)


def test_bad_input_is_refused_and_named(blocks):
    for width in (4, WIDE):
        good = np.eye(20, width) + 0.1
        for value, words in ((0, "all zeros"), (np.nan, "not finite"), (np.inf, "not finite")):
            bad = np.eye(20, width) + 0.1
            bad[13] = value
            with pytest.raises(ValueError, match=f"references: row 13 is {words}"):
                top_k(good, bad, 1)
            with pytest.raises(ValueError, match=f"queries: row 13 is {words}"):
                top_k(bad, good, 1)
            with pytest.raises(ValueError, match=f"features: row 13 is {words}"):
                pairs_above(bad, 0.5)
    with pytest.raises(ValueError, match="expected 1 to the number of references = 20, got 21"):
        top_k(good, good, 21)
    with pytest.raises(ValueError, match=f"expected {WIDE} dimensions as in references, got 3"):
        top_k(good[:, :3], good, 1)
    with pytest.raises(ValueError, match="references: expected shape"):
        top_k(good, good[0], 1)
    with pytest.raises(ValueError, match="at most 131072 dimensions"):
        top_k(np.ones((1, 140_000)), np.ones((1, 140_000)), 1)


@pytest.mark.parametrize("codes", [True, False])
def test_k_may_be_an_integer_of_numpy(codes):
    """More references than the search lists at first, so that k decides how many faiss is asked for."""
    features = np.random.default_rng(0).standard_normal((100, 32))
    if codes and not search.codes_are_exact():
        pytest.skip("this CPU gets codes wrong")
    found, expected = (search.top_k(features, features, k, codes=codes) for k in (np.int64(3), 3))
    assert np.array_equal(found.indices, expected.indices)
    with pytest.raises(TypeError):
        search.top_k(features, features, 3.0)


def test_no_queries_and_no_pairs():
    assert top_k(np.ones((0, 3)), np.eye(3), 2).scores.shape == (0, 2)
    assert [len(part) for part in pairs_above(np.ones((0, 3)), 0.5)] == [0, 0, 0]
