"""Opening a namespace: by a server that has just started, and by a second process beside one that has it open."""

import os
import time
from pathlib import Path

import uvloop

from benchmarks.figures import Figure, repeated
from benchmarks.plan import NAMESPACE, WARM_UP, Plan
from benchmarks.searching import search
from benchmarks.second_process import warm_open_ms
from benchmarks.server import Server
from benchmarks.wire import Client


def measure_opening(server: Server, question: str, memories: int, plan: Plan) -> tuple[list[Figure], Client]:
    """Restart the server a few times; return the figures, and the client of the last start, which is left running."""
    first, second, warm = [], [], []
    client = None
    for _ in range(plan.repeats):
        server.stop()
        forget_file_pages(server.data)
        client = server.start()
        first.append(uvloop.run(_search_ms(client, question)))
        second.append(uvloop.run(_search_ms(client, question)))
        warm.append(warm_open_ms(server, NAMESPACE, beforehand=WARM_UP))
    assert client is not None
    return [
        repeated("opening", "cold, first search of a fresh server", first, "ms", memories),
        repeated("opening", "second search of a fresh server", second, "ms", memories),
        repeated("opening", "warm, by a second process", warm, "ms", memories),
    ], client


def forget_file_pages(folder: Path) -> None:
    """Ask the kernel to drop what it holds of the folder's files, so that a cold open reads the disk."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


async def _search_ms(client: Client, question: str) -> float:
    connection = await client.connect()
    try:
        request = search(client, question)
        started = time.perf_counter()
        await connection.send(request)
        return (time.perf_counter() - started) * 1e3
    finally:
        connection.close()
