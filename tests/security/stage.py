"""What attacks are tried on: a real server, two companies of the same names, and keys of every kind."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from core.records.apikeys import create_key, list_keys, revoke_key, rotate_key, split_key
from core.records.control import ControlStore, open_control
from core.settings import load_settings
from tests.integration.processes import Server, eventually

OWN, OTHER = "team-a", "secret-b"
ALL = ["read", "write", "admin"]
Outcome = tuple[int, str]


class Stage:
    """The server under attack, with its keys by name and the ids that others must not reach."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.keys: dict[str, str] = {}
        self.ids: dict[str, dict[str, str]] = {}

    def furnish(self) -> None:
        """Make the companies, their keys and memories."""
        with opened(self.server) as control:
            home, rival = control.find_company("default").id, control.create_company("rival").id
            now = control.clock()
            self.keys = {
                "operator": create_key(control, home, ALL, ["*"], None),
                "rival": create_key(control, rival, ALL, ["*"], None),
                "minter": create_key(control, home, ["read", "admin"], ["team-*"], now + 3_600_000_000, 50.0),
                "expired": create_key(control, home, ALL, ["*"], now + 1),
                "revoked": create_key(control, home, ALL, ["*"], None),
                "rotated": create_key(control, home, ALL, ["*"], None),
                **{scope: create_key(control, home, [scope], ["team-*"], None) for scope in ALL},
            }
            revoke_key(control, split_key(self.keys["revoked"])[0])
            rotate_key(control, split_key(self.keys["rotated"])[0], 1)
        eventually(lambda: self.ask("GET", "/v1/whoami", key="revoked")[0] == 401)
        for owner, names in (("operator", (OWN, OTHER)), ("rival", (OWN,))):
            for name in names:
                self.ids[f"{owner} {name}"] = self._remember(owner, name)

    def _remember(self, owner: str, name: str) -> dict[str, str]:
        body = {"namespace": name, "content": f"{owner} of {name}", "id": f"{owner}-{name}"}
        made = self.send("POST", "/v1/memory?wait=true", key=owner, json=body)
        assert made.status_code == 201
        self.send("POST", "/v1/memory", key=owner, json=body | {"id": "gone"})
        gone = self.send("DELETE", f"/v1/memory/gone?namespace={name}", key=owner)
        return {"job": made.json()["job_id"], "deletion": gone.headers["Ostraka-Deletion"]}

    def send(self, method: str, path: str, key: str | None = None, **more) -> httpx.Response:
        """Send a request with the key of that name, or with the key itself."""
        headers = list(more.pop("headers", {}).items())
        if key is not None:
            headers.append(("x-api-key", self.keys.get(key, key)))
        return self.server.client.request(method, path, headers=headers, **more)

    def ask(self, method: str, path: str, key: str | None = None, **more) -> Outcome:
        """Send a request; return its status, and the code of the problem."""
        return outcome(self.send(method, path, key, **more))

    def raw(self, head: str, body: bytes = b"", key: str | None = None) -> Outcome:
        """Send bytes that no client would send; return what comes back, (0, "closed") for nothing."""
        where = urlsplit(self.server.url)
        lines = [head, f"host: {where.netloc}", "connection: close"]
        if key is not None:
            lines.append(f"x-api-key: {self.keys[key]}")
        with socket.create_connection((where.hostname, where.port), timeout=60) as line:
            line.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            answer = b"".join(iter(lambda: line.recv(65_536), b""))
        if not answer:
            return 0, "closed"
        first, _, content = answer.partition(b"\r\n\r\n")
        return int(first.split()[1]), code_of(content)

    def id_of(self, key: str) -> str:
        """Return the public id of a key."""
        return split_key(self.keys[key])[0]


def outcome(answer: httpx.Response) -> Outcome:
    """Return an answer's status, and its problem's code."""
    return answer.status_code, code_of(answer.content)


def code_of(content: bytes) -> str:
    try:
        return str(orjson.loads(content).get("code", ""))
    except (orjson.JSONDecodeError, AttributeError):
        return ""


@contextmanager
def opened(server: Server) -> Iterator[ControlStore]:
    """The server's control store, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", server.environment["XDG_CONFIG_HOME"])
        control = open_control(load_settings(None, {"storage": {"path": server.data}}), os.environ)
        try:
            yield control
        finally:
            control.close()


def patterns_listed(stage: Stage, key: str) -> set[str]:
    """The patterns of the keys that an administrator's list shows."""
    listed = stage.send("GET", "/admin/keys", key).json()["keys"]
    return {pattern for each in listed for pattern in each["namespaces"]}


def keys_listed(stage: Stage, key: str) -> set[str]:
    """The companies whose keys an administrator's list shows."""
    with opened(stage.server) as control:
        owners = {each.id: each.grant.company_id for each in list_keys(control)}
    return {owners[each["id"]] for each in stage.send("GET", "/admin/keys", key).json()["keys"]}
