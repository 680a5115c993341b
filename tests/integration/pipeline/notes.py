"""A few memories of every kind, and what searches say of them."""

from collections.abc import Sequence
from typing import Any

from core.search.filters import parse_filter

NOTES: Sequence[dict[str, Any]] = (
    {"id": "cat", "content": "Ada's cat is called Pixel.", "session": "home", "tags": ["pet"]},
    {"id": "food", "content": "It eats twice a day, dry food only.", "session": "home"},
    {"id": "train", "content": "The train to Lyon leaves at 07:14.", "occurred_at": "2026-03-14T18:30:00+01:00"},
    {"id": "error", "content": "Deploys fail with E-4711 in us-east-1.", "metadata": {"service": {"tier": 2}}},
    {"id": "tea", "content": "Bo drinks green tea.", "importance": 0.7},
    {"id": "soon", "content": "The parcel arrives tomorrow.", "ttl_seconds": 86_400},
)
QUERIES = ("what is the pet's name", "E-4711", "when do we leave for Lyon", "tea", "parcel", "how often is it fed")


def answers(server: Any, namespace: str = "notes") -> list[Any]:
    """Everything that searches say, scores included, but for the row ids."""
    found = []
    for query in QUERIES:
        for mode in ("hybrid", "vector", "text"):
            hits = server.search(query, namespace=namespace, mode=mode)
            found.append([(hit.memory.id, hit.memory.content, hit.score, hit.similarity) for hit in hits])
        scope = {"filter": parse_filter({"service.tier": {"gte": 2}})}
        found.append([hit.memory.id for hit in server.search(query, namespace=namespace, **scope)])
        found.append(server.ids(query, namespace=namespace, session="home"))
    assert sum(map(bool, found)) > len(found) / 2
    return found
