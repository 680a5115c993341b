"""Whatever the vectors, the queries and the filter: what a search promises beyond recall."""

from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.shards import flat, graph


@st.composite
def searches(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, dim, windows = draw(st.integers(1, 400)), draw(st.integers(1, 40)), draw(st.integers(1, 4))
    # Drawing rows from a small pool makes equal vectors.
    pool = random.normal(size=(draw(st.integers(1, 400)), dim))
    vectors = pool[random.integers(0, len(pool), count)]
    query = np.concatenate([vectors[:1], random.normal(size=(windows, dim))])[-windows:]
    share = draw(st.sampled_from([None, 0.0, 0.02, 0.3, 0.9, 1.0]))
    mask = None if share is None else random.random(count) < share
    return normalise(vectors), normalise(query), draw(st.integers(0, 120)), mask


def normalise(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def check_promises(vectors, query, depth, mask, rows, scores):
    allowed = len(vectors) if mask is None else int(mask.sum())
    assert len(rows) == len(scores) == min(depth, allowed)
    assert len(set(rows.tolist())) == len(rows)
    assert mask is None or mask[rows].all()
    assert np.array_equal(scores, flat.score_rows(vectors, rows, query))
    order = [(-score, row) for score, row in zip(scores.tolist(), rows.tolist(), strict=True)]
    assert order == sorted(order)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(searches())
def test_a_scan_is_exact_and_ordered(case):
    vectors, query, depth, mask = case
    rows, scores = flat.scan(vectors, query, depth, mask)
    check_promises(vectors, query, depth, mask, rows, scores)
    allowed = np.arange(len(vectors)) if mask is None else np.flatnonzero(mask)
    everything = flat.rank_rows(vectors, allowed, query, depth)
    assert rows.tolist() == everything[0].tolist()
    assert scores.tolist() == everything[1].tolist()


@settings(max_examples=150, derandomize=True, deadline=None)
@given(searches(), st.integers(2, 16), st.integers(1, 80), st.integers(1, 3), st.sampled_from([0, 50]))
def test_a_graph_keeps_the_same_promises(case, m, ef, threads, factor):
    vectors, query, depth, mask = case
    arrays = graph.build_graph(vectors, m=m, ef_construction=20, seed=1, threads=threads)
    with patch.object(graph, "_SCAN_FACTOR", factor):  # 0: even small filters go through the traversal
        rows, scores = graph.open_graph(arrays, vectors).search(query, depth, ef, mask)
    check_promises(vectors, query, depth, mask, rows, scores)
