import numpy as np
import pytest

from core.shards import flat

DIM = 24


def unit(count: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_finds_what_a_full_sort_finds():
    vectors, query = unit(5_000), unit(1, seed=1)
    exact = vectors.astype(np.float64) @ query[0].astype(np.float64)
    rows, scores = flat.scan(vectors, query, 50)
    assert rows.tolist() == np.argsort(-exact)[:50].tolist()
    assert rows.dtype == np.int64
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, exact[rows], atol=1e-6)


@pytest.mark.parametrize("count", [1, 1_023, 1_024, 1_025, 16_383, 16_384, 16_385, 40_000])
@pytest.mark.parametrize("share", [None, 0.1, 0.5])
def test_block_boundaries_lose_no_row(count, share):
    vectors, query = unit(count, dim=8), unit(2, seed=1, dim=8)
    mask = None if share is None else np.random.default_rng(2).random(count) < share
    best = (vectors @ query.T).max(axis=1)
    if mask is not None:
        best[~mask] = -np.inf
    rows, scores = flat.scan(vectors, query, 20, mask)
    expected = np.sort(best)[::-1][:20]
    np.testing.assert_allclose(scores, expected[np.isfinite(expected)], atol=1e-6)
    assert mask is None or mask[rows].all()


def test_ties_go_to_the_lower_row_wherever_the_rows_lie():
    vectors = unit(20_001)
    twins = [3, 16_383, 16_384, 20_000]
    vectors[twins] = unit(1, seed=9)
    rows, scores = flat.scan(vectors, vectors[3:4].copy(), 3)
    assert rows.tolist() == twins[:3]
    assert len(set(scores.tolist())) == 1


def test_a_score_does_not_depend_on_the_path_to_it():
    vectors, query = unit(6_000), unit(3, seed=1)
    rows, scores = flat.scan(vectors, query, 10)
    narrow = np.zeros(len(vectors), np.bool_)
    narrow[rows] = True
    wide = narrow | (np.arange(len(vectors)) % 2 == 0)
    for mask in (narrow, wide):
        assert (
            dict(zip(rows.tolist(), scores.tolist(), strict=True)).items()
            <= dict(zip(*(found.tolist() for found in flat.scan(vectors, query, 6_000, mask)), strict=True)).items()
        )
    alone = flat.scan(vectors[rows[4] : rows[4] + 1], query, 1)
    assert alone[1][0] == scores[4]


def test_the_best_window_counts():
    vectors = unit(500)
    query = np.stack([vectors[7], vectors[400]])
    rows, scores = flat.scan(vectors, query, 2)
    assert sorted(rows.tolist()) == [7, 400]
    np.testing.assert_allclose(scores, 1.0, atol=1e-6)


def test_a_mask_admits_only_its_rows_and_still_fills_depth():
    vectors, query = unit(3_000), unit(1, seed=1)
    mask = np.zeros(3_000, np.bool_)
    mask[[5, 90, 2_999]] = True
    rows, _ = flat.scan(vectors, query, 10, mask)
    assert sorted(rows.tolist()) == [5, 90, 2_999]


@pytest.mark.parametrize(
    ("count", "windows", "depth", "allow"), [(0, 1, 5, True), (5, 0, 5, True), (5, 1, 0, True), (5, 1, 5, False)]
)
def test_nothing_to_find_is_an_empty_answer(count, windows, depth, allow):
    rows, scores = flat.scan(unit(count), unit(windows, seed=1), depth, np.full(count, allow))
    assert rows.shape == scores.shape == (0,)
    assert (rows.dtype, scores.dtype) == (np.int64, np.float32)


def test_read_only_memory_maps_are_scanned(tmp_path):
    np.save(tmp_path / "vectors.npy", unit(2_000))
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    query = unit(1, seed=1)
    assert flat.scan(mapped, query, 10)[0].tolist() == flat.scan(unit(2_000), query, 10)[0].tolist()


@pytest.mark.parametrize(
    ("query", "mask"),
    [
        (unit(1, dim=DIM + 1), None),
        (unit(1)[0], None),
        (unit(1).astype(np.float64), None),
        (unit(1), np.ones(9, np.bool_)),
        (unit(1), np.ones(10, np.uint8)),
    ],
)
def test_what_does_not_fit_is_refused(query, mask):
    with pytest.raises(ValueError, match="does not fit"):
        flat.scan(unit(10), query, 5, mask)
