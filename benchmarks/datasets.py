"""Collections with relevance judgements, read from a folder: ``<set>/{memories,queries}.jsonl.gz``."""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.texts import Text, generate_questions, generate_texts

SETS: Final = ("locomo-dev", "scifact", "cacm", "memdaily-zh-dev")
_FIRST: Final = "locomo-dev"  # its turns are what an agent's memory looks like
_SHORT_CHARS_MAX: Final = 400


@dataclass(frozen=True)
class Question:
    """A query and the ids of the memories that answer it."""

    namespace: str
    query: str
    relevant: frozenset[str]


@dataclass(frozen=True)
class DataSet:
    """One collection; the memories of each namespace in file order, which is the order of a session."""

    name: str
    namespaces: Mapping[str, Sequence[Text]]
    questions: Sequence[Question]


@dataclass(frozen=True)
class Corpus:
    """Texts to ingest, questions to ask, and where they come from."""

    texts: Sequence[Text]
    questions: Sequence[str]
    origin: str


def available_sets(folder: Path) -> list[str]:
    """Return the known collections that the folder holds."""
    return [name for name in SETS if (folder / name / "memories.jsonl.gz").is_file()]


def read_set(folder: Path, name: str) -> DataSet:
    """Read a collection; questions without a relevant memory are left out."""
    namespaces: dict[str, list[Text]] = {}
    for row in _rows(folder / name / "memories.jsonl.gz"):
        occurred_at = row.get("occurred_at")
        text = Text(
            row["content"],
            id=row["id"],
            session=row.get("session"),
            occurred_at=datetime.fromisoformat(occurred_at) if occurred_at else None,
        )
        namespaces.setdefault(row["namespace"], []).append(text)
    questions = [
        Question(row["namespace"], row["query"], frozenset(row["relevant"]))
        for row in _rows(folder / name / "queries.jsonl.gz")
        if row["relevant"]
    ]
    return DataSet(name, namespaces, questions)


def make_corpus(count: int, seed: int, folder: Path | None) -> Corpus:
    """Return ``count`` texts: short real ones first where a folder is given, then generated ones."""
    texts: list[Text] = []
    questions: list[str] = []
    names = [] if folder is None else sorted(available_sets(folder), key=lambda name: (name != _FIRST, name))
    if folder is not None:
        for name in names:
            data = read_set(folder, name)
            texts += _anonymous(data)
            questions += [] if questions else [question.query for question in data.questions]
    real = min(len(texts), count)
    texts = texts[:count] + generate_texts(count - real, seed)
    return Corpus(
        texts,
        questions or generate_questions(500, seed),
        f"{real} short texts of {', '.join(names) or 'no collection'}, {count - real} generated",
    )


def _anonymous(data: DataSet) -> Iterator[Text]:
    """Yield a collection's short texts without their ids, sessions told apart, for one namespace together."""
    for namespace, texts in data.namespaces.items():
        for text in texts:
            if len(text.content) <= _SHORT_CHARS_MAX:
                session = f"{namespace}/{text.session}" if text.session else None
                yield Text(text.content, session=session, occurred_at=text.occurred_at)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path) as lines:
        for line in lines:
            yield orjson.loads(line)
