import gzip
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from benchmarks.datasets import available_sets, make_corpus, read_set
from benchmarks.texts import Text, generate_questions, generate_texts


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb") as out:
        out.writelines(orjson.dumps(row) + b"\n" for row in rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    turn = {"namespace": "one", "session": "s", "occurred_at": "2023-05-08T13:56:00Z"}
    _write(
        tmp_path / "locomo-dev" / "memories.jsonl.gz",
        [{**turn, "id": "D1", "content": "Hello."}, {**turn, "id": "D2", "content": "Long. " * 200}],
    )
    _write(
        tmp_path / "locomo-dev" / "queries.jsonl.gz",
        [
            {"namespace": "one", "query": "Who said hello?", "relevant": ["D1"], "category": "1"},
            {"namespace": "one", "query": "Nothing answers this.", "relevant": [], "category": "5"},
        ],
    )
    _write(tmp_path / "cacm" / "memories.jsonl.gz", [{"namespace": "cacm", "id": "1", "content": "Sorting."}])
    _write(tmp_path / "cacm" / "queries.jsonl.gz", [])
    return tmp_path


def test_the_same_seed_gives_the_same_texts_and_another_gives_others() -> None:
    assert generate_texts(50, 7) == generate_texts(50, 7)
    assert generate_texts(50, 7) != generate_texts(50, 8)
    assert generate_questions(20, 7) == generate_questions(20, 7)


def test_fewer_texts_are_the_beginning_of_more() -> None:
    assert generate_texts(100, 7)[:30] == generate_texts(30, 7)


def test_generated_texts_are_like_turns_of_a_conversation() -> None:
    texts = generate_texts(2_000, 7)
    assert len({text.content for text in texts}) > 1_900
    assert all(60 < len(text.content) < 300 for text in texts)
    assert all("{" not in text.content for text in texts)


def test_a_text_is_embedded_with_its_date_and_sent_with_what_it_has() -> None:
    text = Text("We met.", id="m1", session="s", occurred_at=datetime(2025, 1, 6, 8, tzinfo=UTC))
    assert text.embedded == "On 6 January 2025, We met."
    assert text.as_item("n") == {
        "namespace": "n",
        "content": "We met.",
        "id": "m1",
        "session": "s",
        "occurred_at": "2025-01-06T08:00:00+00:00",
    }
    assert Text("We met.").as_item("n") == {"namespace": "n", "content": "We met."}


def test_a_set_is_read_in_file_order_without_unanswerable_questions(folder: Path) -> None:
    data = read_set(folder, "locomo-dev")
    assert [text.id for text in data.namespaces["one"]] == ["D1", "D2"]
    assert [question.relevant for question in data.questions] == [frozenset({"D1"})]


def test_only_what_is_there_is_available(folder: Path) -> None:
    assert available_sets(folder) == ["locomo-dev", "cacm"]
    assert available_sets(folder / "nowhere") == []


def test_a_corpus_is_short_real_texts_then_generated_ones(folder: Path) -> None:
    corpus = make_corpus(5, 7, folder)
    assert [text.content for text in corpus.texts] == [
        "Hello.",
        "Sorting.",
        *(text.content for text in generate_texts(3, 7)),
    ]
    assert corpus.questions == ["Who said hello?"]
    assert corpus.texts[0].session == "one/s"
    assert corpus.texts[0].id is None


def test_a_corpus_without_a_folder_is_generated() -> None:
    corpus = make_corpus(5, 7, None)
    assert corpus.texts == generate_texts(5, 7)
    assert corpus.questions
