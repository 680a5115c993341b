"""What the store should answer: a model of dataclasses and dicts, and the tiny embedder that its tests use."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from core.records.tables import Lane

NOT_SEARCHABLE_YET = {"pending", "embedded"}


class TinyEmbedder:
    """Eight dimensions from a hash of the text."""

    dim = 8
    fingerprint = "tiny:int8:0123456789abcdef"

    def embed_passages(self, texts, **_):
        return [self.embed_windows(self.cut_query(text)) for text in texts]

    def cut_query(self, text):
        return [list(text.encode())]

    def embed_windows(self, windows):
        raw = np.frombuffer(hashlib.sha256(bytes(windows[0])).digest(), np.uint8)[:8].astype(np.float32) - 127.3
        return (raw / np.linalg.norm(raw))[np.newaxis, :]

    def coverage(self, _query):
        return 1.0

    def close(self):
        pass


class Crash(BaseException):
    """The process ended here: no handler of errors sees it."""


@dataclass
class Row:
    """One version of one memory, as the model keeps it."""

    row: int
    id: str
    marker: str
    lane: Lane
    version: int
    created_at: int
    expires_at: int | None
    state: str = "pending"
    closed_at: int | None = None
    closed_by: "Row | None" = None

    def present(self, now: int) -> bool:
        return self.alive(now) and self.closed_at is None

    def alive(self, now: int) -> bool:
        return self.state != "deleted" and (self.expires_at is None or self.expires_at > now)


@dataclass
class Model:
    """Namespaces of rows in order of acceptance."""

    namespaces: dict[str, list[Row]] = field(default_factory=dict)
    written: int = 0

    def open_version(self, name: str, id_: str) -> Row | None:
        found = [r for r in self.namespaces[name] if r.id == id_ and r.closed_at is None and r.state != "deleted"]
        return found[-1] if found else None

    def answer(self, row: Row, now: int, as_of: int | None) -> Row | None:
        """Return the row that a search for ``row``'s own words answers with."""
        if row.state != "indexed" or not row.alive(now):
            return None
        if as_of is not None:
            stood = row.created_at <= as_of and (row.closed_at is None or row.closed_at > as_of)
            return row if stood else None
        if row.closed_by is not None and row.closed_by.state not in NOT_SEARCHABLE_YET:
            return None
        while row.closed_by is not None:
            row = row.closed_by
        return row if row.alive(now) else None
