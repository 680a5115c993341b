"""A server for one run: a free port, a fresh key, a directory in the temporary folder, and nothing left behind."""

import base64
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from core.crypto.keysource import ENV_VARIABLE
from core.errors import ConfigurationError
from core.settings import Cache

_START_S: Final = 120.0
_STOP_S: Final = 45.0  # the server gives its own children 30 s
_LOOK_EVERY_S: Final = 0.05
_KEPT_VARIABLES: Final = frozenset({"OSTRAKA_MODELS_DIR"})  # others configure the user's own server


@contextmanager
def private_server() -> Iterator[tuple[str, Path]]:
    """Yield the address and the data directory of a server of our own; stop it and erase all, whatever happens.

    Raises ``ConfigurationError`` with the server's last words when it does not come up.
    """
    with ExitStack() as stack:
        for number in (signal.SIGTERM, signal.SIGHUP):
            stack.callback(signal.signal, number, signal.signal(number, _leave))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ostraka-demo-")))
        log = folder / "server.log"
        with log.open("wb") as errors:
            serve = [sys.executable, "-m", "cli.main", "serve", "--port", "0"]
            process = subprocess.Popen(  # noqa: S603 - the command line is our own
                [sys.executable, "-m", "cli.leash", str(os.getpid()), *serve],
                env=_environment(folder, stack),
                cwd=folder,  # no ostraka.toml here
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,  # Ctrl-C reaches it through us, in order
            )
        stack.callback(_stop, process)
        yield _wait_for_address(process, log), folder / "data"


def _environment(folder: Path, stack: ExitStack) -> dict[str, str]:
    """Return variables that make the server independent of the user's settings, keys and caches."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OSTRAKA_")}
    kept |= {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    memory = Cache().path
    if memory.is_dir():  # tmpfs; where there is none the server says what to do
        cache = tempfile.mkdtemp(prefix="ostraka-demo-", dir=memory)
        stack.callback(shutil.rmtree, cache, ignore_errors=True)
        kept["OSTRAKA_CACHE__PATH"] = cache
    return kept | {
        ENV_VARIABLE: base64.b64encode(secrets.token_bytes(32)).decode(),
        "OSTRAKA_STORAGE__PATH": str(folder / "data"),
        "OSTRAKA_SERVER__LOG_LEVEL": "info",
    }


def _wait_for_address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        lines = log.read_text(errors="replace").splitlines()
        for line in lines:
            if address := _listening_at(line):
                return address
        if ended:
            raise ConfigurationError("the demo's server did not start: " + " / ".join(lines[-3:]))
        time.sleep(_LOOK_EVERY_S)
    raise ConfigurationError(f"the demo's server did not start within {_START_S:g} s; try `ostraka serve`")


def _listening_at(line: str) -> str | None:
    if not line.startswith("{"):
        return None
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:  # half a line: it is being written
        return None
    return str(event["url"]) if event.get("event") == "listening" else None


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _leave(number: int, _frame: Any) -> None:
    raise SystemExit(128 + number)
