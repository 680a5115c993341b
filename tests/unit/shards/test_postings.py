import json
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from core.errors import Conflict, IntegrityError, InvalidInput
from core.shards.postings import build_segment
from core.shards.postings_view import TIES_MAX, TextView

Documents = Sequence[tuple[int, str]]
OpenView = Callable[..., TextView]


@pytest.fixture
def open_view(tmp_path: Path) -> Iterator[OpenView]:
    """Return a function from document lists, one per segment, to an open view over them."""
    views: list[TextView] = []

    def make(*segments: Documents) -> TextView:
        directories = []
        for number, documents in enumerate(segments):
            directories.append(tmp_path / f"view-{len(views)}-segment-{number}")
            build_segment(directories[-1], documents)
        views.append(TextView.open(tmp_path / f"view-{len(views)}", directories))
        return views[-1]

    yield make
    for view in views:
        view.close()


def found(view: TextView, query: str, depth: int = 10) -> list[int]:
    return view.search(query, depth)[0].tolist()


def uint64(*ids: int) -> np.ndarray:
    return np.array(ids, dtype=np.uint64)


def made_up(count: int, seed: int = 0) -> list[tuple[int, str]]:
    rng = random.Random(seed)
    vocabulary = [f"w{i}" for i in range(300)]
    weights = [1 / (i + 1) for i in range(300)]
    return [(i, " ".join(rng.choices(vocabulary, weights, k=rng.randint(3, 40)))) for i in range(count)]


# --- building -----------------------------------------------------------------------------------------


def test_a_segment_is_one_segment_and_nothing_else(tmp_path: Path) -> None:
    build_segment(tmp_path / "s", iter(made_up(500)))
    meta = json.loads((tmp_path / "s" / "meta.json").read_bytes())
    assert [segment["max_doc"] for segment in meta["segments"]] == [500]
    stem = meta["segments"][0]["segment_id"].replace("-", "")
    names = {path.name for path in (tmp_path / "s").iterdir()}
    assert names == {"meta.json"} | {
        f"{stem}.{component}" for component in ("fast", "fieldnorm", "idx", "pos", "store", "term")
    }


def test_text_is_not_stored(tmp_path: Path) -> None:
    build_segment(tmp_path / "s", [(1, "Extraordinary Sentence Here")])
    assert not any(b"Extraordinary Sentence" in path.read_bytes() for path in (tmp_path / "s").iterdir())


def test_a_segment_needs_documents(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        build_segment(tmp_path / "s", [])


def test_a_segment_is_never_built_over(tmp_path: Path) -> None:
    build_segment(tmp_path / "s", [(1, "a")])
    with pytest.raises(Conflict):
        build_segment(tmp_path / "s", [(2, "b")])


def test_a_failing_source_fails_the_build_and_frees_the_writer(tmp_path: Path) -> None:
    def source() -> Iterator[tuple[int, str]]:
        yield 1, "fine"
        raise RuntimeError("the record store went away")

    with pytest.raises(RuntimeError, match="went away"):
        build_segment(tmp_path / "s", source())
    build_segment(tmp_path / "t", [(1, "fine")])


def test_ids_span_64_bits_and_texts_may_be_empty(open_view: OpenView) -> None:
    view = open_view([(2**63 + 5, "cat"), (0, ""), (2**64 - 1, "cat cat")])
    assert sorted(found(view, "cat")) == [2**63 + 5, 2**64 - 1]


# --- what is found ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "other"),
    [
        ("us-east-1", "us-east-2"),
        ("k8s-worker-3", "k8s-worker-30"),
        ("ERR_4821", "ERR_4822"),
        ("user@example.com", "owner@example.com"),
        ("1.2.3", "1.2.4"),
        ("2024-04-16", "2024-04-17"),
    ],
)
def test_an_identifier_finds_itself_only(open_view: OpenView, query: str, other: str) -> None:
    view = open_view([(1, f"the thing {other} is up"), (2, f"and another thing, {query}, is up, says the log")])
    assert found(view, query) == [2]
    assert found(view, f"thing {query}") == [2, 1]


def test_the_exact_compound_comes_before_a_longer_one(open_view: OpenView) -> None:
    view = open_view([(1, "us-east-1-b"), (2, "the region that we chose for this was us-east-1, mostly")])
    assert found(view, "us-east-1") == [2, 1]


def test_a_part_finds_the_compound(open_view: OpenView) -> None:
    view = open_view([(1, "deployed to us-east-1"), (2, "deployed to eu-west-1")])
    assert found(view, "east") == [1]
    assert found(view, "/etc/nginx") == []


@pytest.mark.parametrize("query", ["covid-19", "covid 19", "COVID\u201119", "covid19"])
def test_spellings_of_a_hyphenated_word_meet(open_view: OpenView, query: str) -> None:
    view = open_view([(1, "covid-19 patients"), (2, "something else")])
    assert found(view, query) == [1]


def test_words_are_stemmed_but_identifiers_are_not(open_view: OpenView) -> None:
    view = open_view([(1, "she was painting sunsets"), (2, "set class_names first, then go"), (3, "class_name")])
    assert found(view, "paint a sunset") == [1]
    assert found(view, "class_names")[0] == 2
    assert found(view, "class_name")[0] == 3


def test_unspaced_scripts_by_pairs_and_by_one_character(open_view: OpenView) -> None:
    view = open_view(
        [(1, "\u6211\u7684\u732b\u53eb\u5c0f\u9ed1"), (2, "\u5c0f\u732b"), (3, "\u72d7\u53eb\u5927\u9ec4")]
    )
    assert found(view, "\u5c0f\u9ed1") == [1]
    assert sorted(found(view, "\u732b")) == [1, 2]
    assert sorted(found(view, "\u53eb")) == [1, 3]


@pytest.mark.parametrize(
    "query",
    ['id:1 OR text:"x', "+(", "* AND -cat~2^9", "text:[a TO b]", "\\", "\ud800", "\x00 \u2028", "cat\x00"],
)
def test_any_text_is_a_query(open_view: OpenView, query: str) -> None:
    view = open_view([(1, "dogs bark"), (2, "birds sing")])
    assert found(view, query) == []


@pytest.mark.parametrize("query", ["", "   ", "?!", "\U0001f600"])
def test_a_query_without_terms_finds_nothing(open_view: OpenView, query: str) -> None:
    ids, scores = open_view([(1, "a cat")]).search(query, 5)
    assert (ids.dtype, scores.dtype, ids.size, scores.size) == (np.uint64, np.float32, 0, 0)


def test_a_repeated_word_counts_twice(open_view: OpenView) -> None:
    view = open_view([(1, "cat"), (2, "dog")])
    once, twice = view.search("cat", 1)[1][0], view.search("cat cat", 1)[1][0]
    assert twice == pytest.approx(2 * once)


# --- many segments, one index -------------------------------------------------------------------------


def test_many_segments_rank_bit_for_bit_like_one(open_view: OpenView) -> None:
    documents = made_up(3_000)
    cuts = [0, 1_500, 1_501, 2_000, 2_700, 3_000]
    parts = [documents[a:b] for a, b in pairwise(cuts)]
    many, one = open_view(*parts), open_view(documents)
    for _, query in made_up(60, seed=1):
        for depth in (1, 10, 100):
            left, right = many.search(query, depth), one.search(query, depth)
            assert left[0].tolist() == right[0].tolist()
            assert left[1].tobytes() == right[1].tobytes()


def test_equal_scores_are_ordered_by_id_in_any_layout(open_view: OpenView) -> None:
    same = [(i, "the very same words") for i in range(400)]
    view = open_view(same[200:][::-1], same[:200])
    assert found(view, "same words", depth=25) == list(range(25))
    assert TIES_MAX > 400


def test_an_empty_view_finds_nothing(open_view: OpenView) -> None:
    assert found(open_view(), "cat") == []


def test_the_same_segment_twice_is_refused(tmp_path: Path) -> None:
    build_segment(tmp_path / "s", [(1, "a cat")])
    with pytest.raises(IntegrityError, match="twice"):
        TextView.open(tmp_path / "v", [tmp_path / "s", tmp_path / "s"])
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize("suffix", ["meta.json", ".idx", ".pos", ".term", ".store", ".fast", ".fieldnorm"])
def test_a_missing_file_is_refused(tmp_path: Path, suffix: str) -> None:
    build_segment(tmp_path / "s", [(1, "a cat")])
    next(path for path in (tmp_path / "s").iterdir() if path.name.endswith(suffix)).unlink()
    with pytest.raises(IntegrityError):
        TextView.open(tmp_path / "v", [tmp_path / "s"])
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [('"ostraka-', '"ostraka-9'), ('"deletes": null', '"deletes": {"num_deleted_docs": 1}'), ("{", "")],
)
def test_a_segment_that_we_did_not_write_is_refused(tmp_path: Path, old: str, new: str) -> None:
    build_segment(tmp_path / "s", [(1, "a cat")])
    meta = tmp_path / "s" / "meta.json"
    meta.write_text(meta.read_text().replace(old, new, 1))
    with pytest.raises(IntegrityError):
        TextView.open(tmp_path / "v", [tmp_path / "s"])


def test_a_view_directory_is_never_taken_over(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    with pytest.raises(FileExistsError):
        TextView.open(tmp_path / "v", [])
    assert (tmp_path / "v").exists()


def test_closing_removes_the_view_and_spares_the_segments(tmp_path: Path) -> None:
    build_segment(tmp_path / "s", [(1, "a cat")])
    view = TextView.open(tmp_path / "v", [tmp_path / "s"])
    view.close()
    view.close()
    assert not (tmp_path / "v").exists()
    with pytest.raises(ValueError, match="closed"):
        view.search("cat", 1)
    again = TextView.open(tmp_path / "v", [tmp_path / "s"])
    assert found(again, "cat") == [1]
    again.close()


# --- filters ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skipped_max", [0, 50, 10_000])  # all in the query, some, all by skipping
@pytest.mark.parametrize("size", [1, 30, 1_000, 2_900])
def test_allowed_ids_keep_their_scores(
    open_view: OpenView, monkeypatch: pytest.MonkeyPatch, skipped_max: int, size: int
) -> None:
    monkeypatch.setattr("core.shards.postings_view.SKIPPED_MAX", skipped_max)
    documents = made_up(3_000)
    view = open_view(documents[:1_000], documents[1_000:])
    allowed = np.sort(np.array(random.Random(size).sample(range(3_000), size), dtype=np.uint64))
    for _, query in made_up(15, seed=2):
        ids, scores = view.search(query, 3_000)
        keep = np.isin(ids, allowed)
        got = view.search(query, 20, allowed)
        assert got[0].tolist() == ids[keep][:20].tolist()
        assert got[1] == pytest.approx(scores[keep][:20], rel=1e-6)


def test_excluded_ids_are_skipped_however_many(open_view: OpenView) -> None:
    view = open_view(made_up(2_000))
    ids, scores = view.search("w0 w1 w2", 2_000)
    for count in (0, 1, 100, ids.size - 3, ids.size):
        excluded = ids[:count][::-1].copy()
        got = view.search("w0 w1 w2", 10, excluded=excluded)
        assert got[0].tolist() == ids[count : count + 10].tolist()
        assert np.array_equal(got[1], scores[count : count + 10])


def test_allowed_and_excluded_together(open_view: OpenView) -> None:
    view = open_view([(i, "cat") for i in range(10)])
    assert view.search("cat", 5, uint64(2, 4, 6, 99), uint64(4))[0].tolist() == [2, 6]
    assert view.search("cat", 5, uint64())[0].size == 0


def test_depth_is_at_least_one(open_view: OpenView) -> None:
    with pytest.raises(InvalidInput):
        open_view([(1, "cat")]).search("cat", 0)


def test_threads_share_a_view(open_view: OpenView) -> None:
    view = open_view(made_up(1_000))
    queries = [text for _, text in made_up(40, seed=3)]
    alone = [found(view, query) for query in queries]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda query: found(view, query), queries)) == alone
