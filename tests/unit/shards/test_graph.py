import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from core.errors import IntegrityError
from core.shards import flat, graph

DIM = 32
COUNT = 6_000
BUILD = {"m": 12, "ef_construction": 80, "seed": 3, "threads": 1}


def clustered(count: int, seed: int) -> np.ndarray:
    centres = np.random.default_rng(99).normal(size=(60, DIM))
    random = np.random.default_rng(seed)
    drawn = (centres[random.integers(0, 60, count)] + 0.7 * random.normal(size=(count, DIM))).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def vectors():
    return clustered(COUNT, seed=1)


@pytest.fixture(scope="module")
def arrays(vectors):
    return graph.build_graph(vectors, **BUILD)


@pytest.fixture(scope="module")
def opened(arrays, vectors):
    return graph.open_graph(arrays, vectors)


def share_found(opened, vectors, queries, depth, ef, mask=None):
    found = 0
    for query in queries:
        exact = flat.scan(vectors, query[None], depth, mask)[0]
        found += len(set(opened.search(query[None], depth, ef, mask)[0]) & set(exact))
    return found / (len(queries) * depth)


def test_finds_nearly_all_that_a_scan_finds(opened, vectors):
    queries = clustered(60, seed=2)
    assert share_found(opened, vectors, queries, depth=10, ef=64) >= 0.99
    assert share_found(opened, vectors, queries, depth=100, ef=200) >= 0.98


@pytest.mark.parametrize("threads", [1, 4])
def test_every_row_finds_itself_whatever_the_order_of_insertion(vectors, threads):
    opened = graph.open_graph(graph.build_graph(vectors, **BUILD | {"threads": threads}), vectors)
    own = [int(opened.search(vectors[row : row + 1], 1, 64)[0][0]) for row in range(0, COUNT, 50)]
    assert np.mean(np.array(own) == np.arange(0, COUNT, 50)) >= 0.98


def test_scores_and_order_are_those_of_a_scan(opened, vectors):
    query = clustered(2, seed=4)
    rows, scores = opened.search(query, 20, 400)
    assert (rows.dtype, scores.dtype) == (np.int64, np.float32)
    assert rows.tolist() == flat.scan(vectors, query, 20)[0].tolist()
    assert scores.tolist() == flat.scan(vectors, query, 20)[1].tolist()


@pytest.mark.parametrize("share", [0.9, 0.7, 0.1, 0.01])
def test_a_mask_admits_only_its_rows_and_fills_depth(opened, vectors, share):
    mask = np.random.default_rng(5).random(COUNT) < share
    for query in clustered(20, seed=6):
        rows, _ = opened.search(query[None], 40, 40, mask)
        assert mask[rows].all()
        assert len(rows) == 40
    assert share_found(opened, vectors, clustered(40, seed=7), depth=10, ef=100, mask=mask) >= 0.99


def test_a_mask_far_from_the_query_still_fills_depth(opened, vectors):
    query = clustered(1, seed=8)
    mask = np.zeros(COUNT, np.bool_)
    mask[np.argsort(vectors @ query[0])[:4_500]] = True
    rows, _ = opened.search(query, 50, 64, mask)
    assert len(rows) == 50
    assert mask[rows].all()


def test_a_mask_may_be_any_view(opened):
    mask = np.repeat(np.random.default_rng(5).random(COUNT) < 0.8, 2)[::2]
    assert len(opened.search(clustered(1, seed=8), 10, 64, mask)[0]) == 10


def test_the_best_window_counts(opened, vectors):
    rows, scores = opened.search(np.stack([vectors[7], vectors[4_000]]), 2, 64)
    assert sorted(rows.tolist()) == [7, 4_000]
    np.testing.assert_allclose(scores, 1.0, atol=1e-6)


@pytest.mark.parametrize(("windows", "depth"), [(0, 10), (1, 0)])
def test_nothing_asked_is_an_empty_answer(opened, windows, depth):
    rows, scores = opened.search(clustered(windows, seed=1), depth, 64)
    assert rows.shape == scores.shape == (0,)


def test_nothing_allowed_is_an_empty_answer(opened):
    assert len(opened.search(clustered(1, seed=1), 10, 64, np.zeros(COUNT, np.bool_))[0]) == 0


def test_a_single_row():
    single = clustered(1, seed=1)
    opened = graph.open_graph(graph.build_graph(single, **BUILD), single)
    assert opened.search(single, 10, 64)[0].tolist() == [0]
    assert opened.search(single, 10, 64, np.zeros(1, np.bool_))[0].tolist() == []


def test_no_rows_make_no_graph():
    with pytest.raises(ValueError, match="at least one row"):
        graph.build_graph(clustered(0, seed=1), **BUILD)


def test_equal_vectors_neither_cut_the_graph_nor_get_lost(vectors):
    crowded = vectors.copy()
    equal = np.sort(np.random.default_rng(6).permutation(COUNT)[: COUNT // 2])
    crowded[equal] = vectors[0]
    opened = graph.open_graph(graph.build_graph(crowded, **BUILD), crowded)
    assert opened.search(vectors[:1], 30, 64)[0].tolist() == flat.scan(crowded, vectors[:1], 30)[0].tolist()
    others = np.ones(COUNT, np.bool_)
    others[equal] = False
    assert share_found(opened, crowded, clustered(60, seed=2), depth=10, ef=64) >= 0.98
    # Only one twin is allowed, and it is not the one that stands in the graph.
    others[equal[-1]] = True
    assert equal[-1] in opened.search(vectors[:1], 5, 64, others)[0]


def test_one_thread_builds_the_same_arrays_again(arrays, vectors):
    again = graph.build_graph(vectors, **BUILD)
    assert again.keys() == arrays.keys()
    assert all(np.array_equal(again[name], arrays[name]) for name in arrays)


def test_arrays_are_plain_and_served_from_read_only_maps(arrays, vectors, opened, tmp_path):
    for name, array in {**arrays, "vectors": vectors}.items():
        assert array.flags.c_contiguous
        np.save(tmp_path / f"{name}.npy", array, allow_pickle=False)
    mapped = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in arrays}
    served = graph.open_graph(mapped, np.load(tmp_path / "vectors.npy", mmap_mode="r"))
    for query in clustered(10, seed=9):
        for mask in (None, np.arange(COUNT) % 4 != 0):
            expected, found = (index.search(query[None], 10, 64, mask) for index in (opened, served))
            assert np.array_equal(expected[0], found[0])
            assert np.array_equal(expected[1], found[1])


def test_many_threads_search_one_graph(opened):
    queries = clustered(40, seed=10)
    alone = [opened.search(query[None], 10, 64)[0].tolist() for query in queries]
    answers: dict[int, list] = {}

    def work(worker):
        answers[worker] = [opened.search(query[None], 10, 64)[0].tolist() for query in queries]

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [answers[number] for number in range(4)] == [alone] * 4


def change(array, place, value):
    changed = array.copy()
    changed[place] = value
    return changed


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("links", lambda a: a[:-1]),
        ("links", lambda a: a.astype(np.int64)),
        ("links", np.asfortranarray),
        ("links", lambda a: change(a, (5, 0), a.shape[1])),
        ("links", lambda a: change(a, (5, 1), COUNT)),
        ("links", lambda a: a[:, :0].copy()),
        ("upper", lambda a: a[:-1]),
        ("upper", lambda a: change(a, (0, 0), a.shape[1])),
        ("upper", lambda a: change(a, (0, 1), COUNT)),
        ("upper_offsets", lambda a: a[:-1]),
        ("upper_offsets", lambda a: change(a, 3, 2**31)),
        ("upper_offsets", lambda a: change(a, 0, 1)),
        ("entry", lambda a: a[:0]),
        ("entry", lambda a: change(a, 0, COUNT)),
        ("twins", lambda a: np.append(a, np.uint32(5))),
        ("twins", lambda a: a.reshape(-1, 1)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, vectors, name, spoil):
    with pytest.raises(IntegrityError):
        graph.open_graph({**arrays, name: spoil(arrays[name])}, vectors)


def test_a_neighbour_without_the_level_it_is_met_on_is_refused(arrays, vectors):
    ground = int(np.flatnonzero(np.diff(arrays["upper_offsets"]) == 0)[0])
    used = int(np.flatnonzero(arrays["upper"][:, 0])[0])
    with pytest.raises(IntegrityError):
        graph.open_graph({**arrays, "upper": change(arrays["upper"], (used, 1), ground)}, vectors)


@pytest.mark.parametrize("name", ["links", "upper", "upper_offsets", "entry", "twins", "twin_of"])
def test_a_missing_array_is_refused(arrays, vectors, name):
    with pytest.raises(IntegrityError, match=name):
        graph.open_graph({key: array for key, array in arrays.items() if key != name}, vectors)


@pytest.mark.parametrize(
    "spoil", [lambda v: v[:-1], lambda v: v.astype(np.float64), lambda v: v[:, 0], np.asfortranarray]
)
def test_vectors_that_do_not_fit_are_refused(arrays, vectors, spoil):
    with pytest.raises(IntegrityError):
        graph.open_graph(arrays, spoil(vectors))


def test_queries_and_masks_that_do_not_fit_are_refused(opened):
    query = clustered(1, seed=1)
    for bad, mask in [(query[:, 1:], None), (query.astype(np.float64), None), (query, np.ones(3, np.bool_))]:
        with pytest.raises(ValueError, match="does not fit"):
            opened.search(bad, 10, 64, mask)


def test_numba_and_hnswlib_are_loaded_only_when_needed():
    code = "import sys, core.shards.graph; assert not {'numba', 'hnswlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_a_place_for_compiled_code_the_error_names_the_setting(arrays, vectors, tmp_path):
    np.savez(tmp_path / "graph.npz", vectors=vectors, **arrays)
    code = (
        "import sys, numpy as np\n"
        "from core.errors import ConfigurationError\n"
        "from core.shards import graph\n"
        "arrays = dict(np.load(sys.argv[1]))\n"
        "try:\n"
        "    graph.open_graph(arrays, arrays['vectors'])\n"
        "except ConfigurationError as error:\n"
        "    assert 'NUMBA_CACHE_DIR' in str(error)\n"
        "else:\n"
        "    raise SystemExit('opened')\n"
    )
    # The only place numba may use is one beside a zip file, and there is none.
    environment = {**os.environ, "NUMBA_CACHE_LOCATOR_CLASSES": "ZipCacheLocator"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "graph.npz")], check=True, env=environment)
