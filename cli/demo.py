"""``ostraka demo``: a private server, a small conversation, five searches, and nothing left behind."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from ostraka import Ostraka, OstrakaError, Results
from ostraka.fields import Conditions, NewMemory
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.demo_server import private_server
from core.embedding.catalogue import DEFAULT_MODEL
from core.embedding.importing import find_spec
from core.embedding.models import default_models_dir, ensure_model
from core.errors import Unavailable

_NAMESPACE: Final = "demo"
_ANSWERS: Final = 3
_WORDS: Final = ("RX-7730-1942", "heron-02", "Solveig", "Prawns")


@dataclass(frozen=True)
class Question:
    """A search worth seeing, and what it shows."""

    shows: str
    text: str
    conditions: Conditions


QUESTIONS: Final = (
    Question(
        "paraphrase: nobody said shellfish", "Is she allergic to shellfish?", {"limit": _ANSWERS, "mode": "vector"}
    ),
    Question("an exact token", "Where is order RX-7730-1942?", {"limit": _ANSWERS}),
    Question(
        "only what happened in May 2026",
        "How do we travel with the animals?",
        {"limit": _ANSWERS, "since": "2026-05-01T00:00:00Z", "until": "2026-06-01T00:00:00Z"},
    ),
    Question(
        "tag budget, topic move or housing",
        "How much money is involved?",
        {"limit": _ANSWERS, "tags": ["budget"], "filter": {"topic": {"in": ["move", "housing"]}}},
    ),
    Question(
        "session neighbours: the answer follows the turn that matches",
        "Who owns heron-02 once she has left?",
        {"limit": _ANSWERS},
    ),
)


def run_demo() -> None:
    """Load a conversation into a private server, search it, show answers and times. Raises ``Unavailable``."""
    console = Console(highlight=False)
    _ensure_model()
    memories = conversation()
    with private_server() as (url, data), _one_kind_of_error(), Ostraka(url) as client:
        console.print(f"A server of our own at {url}, encrypted with a key made for this run.")
        written = client.add_many(_NAMESPACE, memories)
        jobs = [client.wait(job_id) for job_id in written.job_ids]
        if any(job.failed for job in jobs) or written.rejected:
            raise Unavailable("the server could not index the conversation; run `ostraka serve` and read its log")
        sessions = len({memory["session"] for memory in memories})
        console.print(f"{written.accepted} turns of {sessions} conversations written, embedded and indexed.\n")
        table = _table()
        for number, question in enumerate(QUESTIONS, start=1):
            found = client.search(_NAMESPACE, question.text, **question.conditions)
            _show(table, number, question, found)
        console.print(table)
        _show_files(console, data)
    console.print("The server is stopped; its data, index and key are gone. Your own: `ostraka serve`.")


@contextmanager
def _one_kind_of_error() -> Iterator[None]:
    """Turn the client's errors into ours, which the command line shows in one line."""
    try:
        yield
    except OstrakaError as error:
        raise Unavailable(f"the demo's server failed: {error.detail}") from None


def conversation() -> Sequence[NewMemory]:
    """Return the bundled conversation, as memories to write."""
    text = resources.files("cli").joinpath("demo_conversation.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _ensure_model() -> None:
    """Have the model before the server starts, telling what goes on: the first time takes minutes."""
    console = Console(stderr=True)
    models_dir = default_models_dir()
    ensure_model(
        find_spec(DEFAULT_MODEL, models_dir), models_dir, progress=lambda line: console.print(f"model: {line}")
    )


def _table() -> Table:
    table = Table()
    table.add_column("Question and best answers", ratio=1)
    table.add_column("Score", justify="right", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    return table


def _show(table: Table, number: int, question: Question, found: Results) -> None:
    table.add_row(f"[bold]{number}. {question.text}[/bold]  [dim]{question.shows}[/dim]", "", f"{found.took_ms:.1f}")
    for result in found:
        day = f"{result.occurred_at:%d %b}" if result.occurred_at else ""
        table.add_row(f"[cyan]{day}[/cyan] {escape(result.content)}", f"{result.score:.2f}")
    table.add_section()


def _show_files(console: Console, data: Path) -> None:
    """Say what was written where, and look for the conversation's words in it."""
    files = {path: _read(path) for path in sorted(data.rglob("*")) if path.is_file()}
    records = [content for path, content in files.items() if path.name.startswith(("records.db", "control.db"))]
    shards = [content for path, content in files.items() if path.suffix == ".shard"]
    seen = [word for word in _WORDS if any(word.encode() in content for content in files.values())]
    console.print("\nOn disk while it ran:")
    console.print(f"  {_size(records)} of record stores: rows sealed with AES-256-GCM")
    console.print(f"  {_size(shards)} in {len(shards)} sealed shard(s): vectors, text index, attributes")
    console.print(f"  looked for {', '.join(_WORDS)} in all {len(files)} files: found {', '.join(seen) or 'nowhere'}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # the server tidies up while we look
        return b""


def _size(contents: Sequence[bytes]) -> str:
    return f"{sum(map(len, contents)) / 1024:.0f} KiB"
