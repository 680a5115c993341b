"""What the tests of security share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.private_redis import start_private_redis
from cli.supervisor import Supervisor


@pytest.fixture
def private_redis(tmp_path: Path) -> Iterator[Path]:
    """The socket of a Redis started as the server starts its own."""
    supervisor = Supervisor()
    try:
        yield Path(start_private_redis(supervisor, tmp_path).removeprefix("redis+socket://"))
    finally:
        supervisor.close()
