"""Building a shard's files from opened rows, in tmpfs."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from core import limits
from core.errors import IntegrityError
from core.shards.attributes import AttributeRow, write_attributes
from core.shards.graph import build_graph
from core.shards.postings import build_segment
from core.shards.sessions import order_sessions
from core.text.analysis import ANALYZER_VERSION

FORMAT_VERSION = 2
MANIFEST_FILE = "shard.json"
TEXT_FOLDER = "text"
_GRAPH_SEED = 1603_09320


@dataclass(frozen=True)
class ShardRow:
    """One memory as a shard holds it."""

    attributes: AttributeRow
    session_key: int  # 64 bits of the session's HMAC; 0 for none
    text: str  # what is indexed: the content, its date in front
    vectors: npt.NDArray[np.float32]  # float32[k, dim], one row per window


@dataclass(frozen=True)
class GraphSettings:
    """How graphs are built; ``rows_min`` is the number of vectors from which a shard has one."""

    m: int
    ef_construction: int
    threads: int
    rows_min: int = limits.FLAT_ROWS_MAX


@dataclass(frozen=True)
class Manifest:
    """``shard.json``: what the shard is, so that no reader has to guess."""

    format: int
    analyzer: int
    fingerprint: str
    rows: int
    vectors: int
    dim: int
    id_min: int
    id_max: int
    time_min: int
    time_max: int
    expires_min: int
    closed: int
    graph: bool

    def to_bytes(self) -> bytes:
        """Return the JSON text of ``shard.json``."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2)

    @classmethod
    def from_bytes(cls, text: bytes) -> "Manifest":
        """Parse ``shard.json``. Raises ``IntegrityError`` for a format this server does not know."""
        fields: Mapping[str, Any] = orjson.loads(text)
        if fields.get("format") != FORMAT_VERSION:
            raise IntegrityError(f"a shard has format {fields.get('format')}; this server reads {FORMAT_VERSION}")
        return cls(**fields)


def build_shard(folder: Path, rows: Iterable[ShardRow], fingerprint: str, graph: GraphSettings) -> Manifest:
    """Write the files of a shard of ``rows`` (ids ascending, at least one) into ``folder``, which lies in tmpfs."""
    given = list(rows)
    attributes = [row.attributes for row in given]
    ids = np.array([row.id for row in attributes], np.int64)
    vectors = np.concatenate([row.vectors for row in given]).astype(np.float32, copy=False)
    owners = np.repeat(np.arange(len(given), dtype=np.uint32), [len(row.vectors) for row in given])
    sessions = np.array([row.session_key for row in given], np.uint64)
    parts: dict[str, npt.NDArray[Any]] = {
        "ids": ids,
        "owners": owners,
        "vectors": vectors,
        "sessions": sessions,
        "session-order": order_sessions(sessions),
    }
    for name, array in parts.items():
        np.save(folder / f"{name}.npy", array)
    write_attributes(folder, attributes)
    (folder / TEXT_FOLDER).mkdir()
    build_segment(folder / TEXT_FOLDER, ((row.attributes.id, row.text) for row in given))
    has_graph = len(vectors) > graph.rows_min
    if has_graph:
        arrays = build_graph(
            vectors, m=graph.m, ef_construction=graph.ef_construction, seed=_GRAPH_SEED, threads=graph.threads
        )
        for name, array in arrays.items():
            np.save(folder / f"graph-{name}.npy", array)
    times = [row.occurred_at if row.occurred_at is not None else row.created_at for row in attributes]
    manifest = Manifest(
        format=FORMAT_VERSION,
        analyzer=ANALYZER_VERSION,
        fingerprint=fingerprint,
        rows=len(given),
        vectors=len(vectors),
        dim=vectors.shape[1],
        id_min=int(ids[0]),
        id_max=int(ids[-1]),
        time_min=min(times),
        time_max=max(times),
        expires_min=min((row.expires_at for row in attributes if row.expires_at is not None), default=0),
        closed=sum(row.closed_at is not None for row in attributes),
        graph=has_graph,
    )
    (folder / MANIFEST_FILE).write_bytes(manifest.to_bytes())
    return manifest
