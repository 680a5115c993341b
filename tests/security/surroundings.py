"""Everything around a server where something could be left: files, names of files, Redis, processes."""

import socket
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import redis

Seen = Iterator[tuple[str, bytes]]  # where it is, and the bytes


def files_below(*folders: Path) -> Seen:
    """Yield every file; one that goes meanwhile is passed over."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            try:
                if stat.S_ISREG(path.lstat().st_mode):
                    yield str(path), path.read_bytes()
            except FileNotFoundError:
                continue


def names_below(*folders: Path) -> Seen:
    """Yield the name of every file, folder, link and socket, with what a link points at."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            yield str(path), str(path.relative_to(folder)).encode()
            if path.is_symlink():
                yield f"{path} (target)", str(path.readlink()).encode()


def environments(processes: Iterable[psutil.Process]) -> Seen:
    """Yield the environment that each process was started with, as every program of its user can read it."""
    for process in processes:
        yield f"environ of {process.pid}", Path(f"/proc/{process.pid}/environ").read_bytes()


def command_lines(processes: Iterable[psutil.Process]) -> Seen:
    """Yield the words each process was started with, as every user of the machine can read them."""
    for process in processes:
        yield f"cmdline of {process.pid}", Path(f"/proc/{process.pid}/cmdline").read_bytes()


def redis_keys(client: "redis.Redis[bytes]") -> Seen:
    """Yield every key's name and its DUMP, uncompressed."""
    client.config_set("rdbcompression", "no")
    for key in client.scan_iter(count=1_000):
        yield "key", key
        yield f"value of {key!r}", client.dump(key) or b""


def redis_state(client: "redis.Redis[bytes]") -> Seen:
    """Yield what Redis says of itself: statistics, clients, channels, its memory of slow commands."""
    for command in (
        "INFO ALL",
        "CLIENT LIST",
        "SLOWLOG GET",
        "PUBSUB CHANNELS",
        "CONFIG GET",
        "ACL LOG",
        "MEMORY STATS",
    ):
        words = command.split() + (["128"] if command == "SLOWLOG GET" else ["*"] if command == "CONFIG GET" else [])
        yield command, repr(client.execute_command(*words)).encode()


class Wiretap:
    """Everything that anybody asks of a Redis while this runs, events of tasks included."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._socket.sendall(b"MONITOR\r\n")
        self._heard = bytearray(self._socket.recv(5))  # +OK: from here on nothing is missed
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> bytes:
        """Stop listening; return all that was heard."""
        with suppress(OSError):  # the Redis went first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        return bytes(self._heard)

    def _listen(self) -> None:
        try:
            while piece := self._socket.recv(65_536):
                self._heard += piece
        except OSError:  # closed, here or there
            return
