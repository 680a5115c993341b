"""Opening a namespace that another process of the host has open: ``python -m benchmarks.second_process DATA NAME``.

Prints the milliseconds from a known namespace to a snapshot that can be searched.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.server import Server
from core.records.companies import DEFAULT_COMPANY
from core.records.control import open_control
from core.records.shardlist import namespace_state
from core.search.snapshots import SnapshotStore
from core.settings import load_settings
from core.shards.cache import ShardCache
from core.shards.opening import open_shard

_LIMIT_S: Final = 120


def warm_open_ms(server: Server, namespace: str, beforehand: str) -> float:
    """Return how long a fresh process takes to open a namespace that the server has open.

    It opens the small namespace ``beforehand`` first, as a process that serves has done long ago: what the
    libraries set up once in a process is not part of opening one more namespace.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.second_process", str(server.data), beforehand, namespace],
        stdout=subprocess.PIPE,
        cwd=server.folder,
        env=server.environment,
        check=True,
        timeout=_LIMIT_S,
    )
    return float(done.stdout.split()[-1])


def main() -> None:
    """Open the namespaces given, one after the other, and print how long each took."""
    settings = load_settings(None, {"storage": {"path": Path(sys.argv[1])}})
    control = open_control(settings)
    records = control.records(control.find_company(DEFAULT_COMPANY).id)
    with ShardCache(settings.cache.path, control.root, settings.cache.bytes_max) as cache:
        blobs = control.depot.of(records.company)
        store = SnapshotStore(
            lambda namespace, shard, in_use: open_shard(
                cache, blobs, namespace.key, shard.public_id, shard.fingerprint, in_use
            ),
            records.check,
            cache,
        )
        for name in sys.argv[2:]:
            namespace = records.namespace(name)
            with records.database.read() as connection:
                state = namespace_state(connection, namespace.id)
                assert state is not None
                started = time.perf_counter()
                with store.at(connection, namespace, state.generation):
                    print((time.perf_counter() - started) * 1e3)
        store.close()
    control.close()


if __name__ == "__main__":
    main()
