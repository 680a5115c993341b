"""Hosts on one machine: a network namespace each, wires to a switch, and links that can be cut.

A host is what the kernel makes of it: addresses, routes, queues of its own, and nothing reaches another but through its
wire. Only files are shared, and a test gives each host folders of its own. It works as root and, where the kernel lets
anybody make namespaces, as anybody.
"""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.integration.processes import END_S, eventually
from tests.programs import environment_of, program

_SUBNET: Final = "10.83.0"
_HOLDER: Final = ("sleep", "infinity")


@dataclass(frozen=True)
class Host:
    """A host: its name, its address, and the command that enters it."""

    name: str
    address: str
    prefix: tuple[str, ...]


class Network:
    """A switch with hosts at it. Close it, and all of it is gone."""

    def __init__(self) -> None:
        self._privileged = os.geteuid() == 0
        self._holders: list[subprocess.Popen[bytes]] = []
        self._ip = program("ip")
        self._hosts: list[Host] = []
        made = () if self._privileged else ("--user", "--map-root-user")
        self._switch = self._enter(self._hold(["unshare", *made, "--net", *_HOLDER]))
        self._run(self._switch, "link", "add", "switch", "type", "bridge")
        self._run(self._switch, "link", "set", "switch", "up")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, name: str) -> Host:
        """Return a new host, wired to the switch."""
        holder = self._hold([*self._switch, "unshare", "--net", *_HOLDER])
        host = Host(name, f"{_SUBNET}.{len(self._hosts) + 1}", self._enter(holder))
        self._hosts.append(host)
        wire = ("link", "add", "name", name, "type", "veth", "peer", "name", "wire", "netns", str(holder.pid))
        self._run(self._switch, *wire)
        self._run(self._switch, "link", "set", "dev", name, "master", "switch", "up")
        for arguments in (
            ("link", "set", "lo", "up"),
            ("addr", "add", f"{host.address}/24", "dev", "wire"),
            ("link", "set", "wire", "up"),
        ):
            self._run(host.prefix, *arguments)
        return host

    def cut(self, host: Host) -> None:
        """Let nothing through to a host or from it; no connection is told."""
        self._run(self._switch, "link", "set", "dev", host.name, "down")

    def mend(self, host: Host) -> None:
        """Let everything through again."""
        self._run(self._switch, "link", "set", "dev", host.name, "up")

    def close(self) -> None:
        """Take everything down."""
        for holder in reversed(self._holders):
            holder.kill()
            holder.wait(END_S)

    def _hold(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a process that keeps a namespace, and wait until it is in it."""
        holder = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self._holders.append(holder)
        eventually(lambda: Path(f"/proc/{holder.pid}/comm").read_text().strip() == _HOLDER[0])
        return holder

    def _enter(self, holder: subprocess.Popen[bytes]) -> tuple[str, ...]:
        ours = () if self._privileged else ("--user", "--preserve-credentials")
        return ("nsenter", "--target", str(holder.pid), "--net", *ours, "--")

    def _run(self, prefix: Sequence[str], *arguments: str) -> None:
        command = [*prefix, self._ip, *arguments]
        done = subprocess.run(
            command, env=environment_of(self._ip), capture_output=True, text=True, timeout=END_S, check=False
        )
        assert done.returncode == 0, (arguments, done.stderr)
