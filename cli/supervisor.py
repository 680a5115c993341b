"""Child processes of the embedded server: started in order, restarted when they die, stopped in reverse."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from cli.secrecy import handed_over

log = structlog.get_logger()

_LOOK_EVERY_S: Final = 0.2
_RESTART_AFTER_MAX_S: Final = 30.0
_HEALTHY_AFTER_S: Final = 30.0  # a child that lived this long starts with no delay again
_STOP_S: Final = 30.0


@dataclass
class _Child:
    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    process: subprocess.Popen[bytes]
    started: float
    failures: int = 0
    restart_at: float = field(default=0.0)


class Supervisor:
    """Keeps children alive until it is closed."""

    def __init__(self) -> None:
        self._children: list[_Child] = []
        self._closing = False
        self._reviving = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._thread.start()

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], secrets: Mapping[str, str]
    ) -> None:
        """Start a child in a session of its own, so that Ctrl-C reaches it through us, in order.

        Each time that it starts it is handed the secrets anew, where nobody can see them.
        """
        process = _spawn(command, environment, secrets)
        self._children.append(_Child(name, command, environment, secrets, process, time.monotonic()))

    def close(self) -> None:
        """Stop every child, the last started first: SIGTERM, then SIGKILL for one that does not end."""
        with self._reviving:
            self._closing = True
        for child in reversed(self._children):
            child.process.terminate()
            try:
                child.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                log.warning("child_killed", child=child.name)
                child.process.kill()
                child.process.wait()
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        # The kernel ends a leashed child with the thread that started it, so this one outlives what it revived.
        while not self._closed.wait(_LOOK_EVERY_S):
            with self._reviving:
                for child in [] if self._closing else self._children:
                    self._revive(child, time.monotonic())

    def _revive(self, child: _Child, now: float) -> None:
        """Restart a dead child, later each time it dies young."""
        if child.process.poll() is None:
            return
        if not child.restart_at:
            child.failures = 1 if now - child.started > _HEALTHY_AFTER_S else child.failures + 1
            child.restart_at = now + min(2.0 ** (child.failures - 2) if child.failures > 1 else 0, _RESTART_AFTER_MAX_S)
            log.error("child_died", child=child.name, status=child.process.returncode)
        if now >= child.restart_at:
            child.process = _spawn(child.command, child.environment, child.secrets)
            child.started, child.restart_at = now, 0.0
            log.info("child_restarted", child=child.name, pid=child.process.pid)


def _spawn(
    command: Sequence[str], environment: Mapping[str, str], secrets: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    with handed_over(secrets) as (descriptors, variables):
        return subprocess.Popen(  # noqa: S603 - the command line is our own
            [sys.executable, "-m", "cli.leash", str(os.getpid()), *command],
            env={**environment, **variables},
            pass_fds=descriptors,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
        )
