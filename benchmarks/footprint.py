"""What a server takes: resident memory of its processes, opened shards in tmpfs, bytes on disk."""

from collections.abc import Mapping
from pathlib import Path

import psutil

from benchmarks.figures import Figure
from benchmarks.server import Server
from core.settings import Cache
from core.shards.cache import ShardCache

MB = 1e6


def memory_figures(server: Server, memories: int) -> list[Figure]:
    """Return the resident memory of each process and of all together.

    The sum of resident sets counts pages that processes share once for each; the proportional one once in all.
    """
    resident: dict[str, float] = {}
    proportional: dict[str, float] = {}
    for role, process in server.processes().items():
        full = process.memory_full_info()
        resident[role] = full.rss / MB
        proportional[role] = getattr(full, "pss", full.rss) / MB
    figures = [
        Figure("memory", "RSS of all processes", sum(resident.values()), "MB", memories),
        Figure("memory", "PSS of all processes", sum(proportional.values()), "MB", memories),
    ]
    figures += [Figure("memory", f"RSS of {role}", value, "MB", memories) for role, value in resident.items()]
    figures.append(Figure("memory", "opened shards in tmpfs", cache_bytes(server) / MB, "MB", memories))
    return figures


def cpu_figures(server: Server, memories: int) -> list[Figure]:
    """Return the processor time that each process has taken since it started, for a thousand memories."""
    figures = []
    for role, process in server.processes().items():
        spent_s = cpu_s(process) * 1_000 / memories
        figures.append(Figure("memory", f"processor time of {role}, 1,000 memories", spent_s, "s", memories))
    return figures


def cpu_s(process: psutil.Process) -> float:
    """Return the processor time that a process has taken since it started."""
    times = process.cpu_times()
    return float(times.user + times.system)


def disk_figures(server: Server, memories: int) -> list[Figure]:
    """Return the bytes of the data directory, by what they are for."""
    kinds = disk_bytes(server.data)
    total = sum(kinds.values())
    figures = [Figure("disk", f"{kind} on disk", size / MB, "MB", memories) for kind, size in kinds.items()]
    figures.append(Figure("disk", "all on disk", total / MB, "MB", memories))
    figures.append(Figure("disk", "a memory on disk", total / memories / 1e3, "kB", memories))
    return figures


def disk_bytes(data: Path) -> Mapping[str, int]:
    """Return the bytes of a data directory: sealed shards, databases with their logs, the rest."""
    sizes = {"shards": 0, "records": 0, "other": 0}
    for path in data.rglob("*"):
        if path.is_file():
            kind = "shards" if path.suffix == ".shard" else "records" if ".db" in path.name else "other"
            sizes[kind] += path.stat().st_size
    return sizes


def cache_bytes(server: Server) -> int:
    """Return the bytes of the server's opened shards, which lie in memory though no process maps them all."""
    cache = Cache()  # servers under test run with the defaults
    with ShardCache(cache.path, server.data.absolute(), cache.bytes_max) as opened:
        return opened.used_bytes()


def worker_rss_mb(server: Server) -> float:
    """Return the worker's resident memory now."""
    rss: int = server.processes()["worker"].memory_info().rss
    return rss / MB
