"""What the tests of rotation share: a filled server, its keys, and processes that end between two steps."""

from sqlalchemy import select

from core.crypto.keysource import rotating
from core.pipeline import rotation
from core.records.tables import namespace_keys


class Killed(BaseException):
    """A process that ends between two steps."""


def fill(server, count: int = 10) -> None:
    server.write(*({"id": f"m{number}", "content": f"Lantern number {number} hangs here."} for number in range(count)))
    server.settle()


def key_versions(server) -> list[int]:
    with server.records.database.read() as connection:
        return sorted(connection.execute(select(namespace_keys.c.version)).scalars())


def finish(server) -> None:
    """Let maintenance come by until nothing of the older key is left."""
    for _ in range(6):
        server.clock.advance(70)  # readers of replaced shards are given a minute
        server.maintain()


def rotate_namespace(server, name: str = "notes") -> int:
    return rotation.rotate_namespace(server.records, name)


def rotate_master(server) -> str:
    return rotation.rotate_master(server.runtime.control, rotating(server.runtime.control.key_source))
