"""A small world of tenants on a server, and the model of who may see what of it.

Companies have namespaces of the same names and one of a name of its own each. Whatever a tenant owns carries a token
of its own, or has an id that the server gave: both are remembered with their owner.
"""

import random
import re
import string
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Protocol

import httpx

TOKEN = re.compile(r"zq[a-z]{16}|(?:co|ns|job|del|mem|key)_[0-9a-f]{32}")
SHARED = ("agent-1", "agent-2", "team")
COMPANIES = ("one", "two", "three")


MakeKey = Callable[[str, Collection[str], Sequence[str]], str]


class Client(Protocol):
    """What a request is sent with: over HTTP, or to an application in this process."""

    def request(self, method: str, url: str, **more: Any) -> httpx.Response: ...


@dataclass(frozen=True)
class Owner:
    """Whose something is; of the company as a whole, no namespace is named."""

    company: str
    namespace: str | None


@dataclass(frozen=True)
class Caller:
    """A credential, and what it was made for."""

    secret: str
    company: str
    scopes: frozenset[str] = frozenset()
    patterns: tuple[str, ...] = ()
    dead: bool = False  # expired, revoked, or never made

    def covers(self, namespace: str) -> bool:
        return not self.dead and any(fnmatchcase(namespace, pattern) for pattern in self.patterns)

    def may_see(self, owner: Owner) -> bool:
        if self.dead or owner.company != self.company:
            return False
        return owner.namespace is None or self.covers(owner.namespace)


@dataclass
class Holding:
    """What lies in one namespace, by kind: values to be used in requests, own or foreign."""

    owner: Owner
    memories: dict[str, str] = field(default_factory=dict)  # id: content
    things: dict[str, str] = field(
        default_factory=dict
    )  # a token, session, job, deletion, cursor, key, company of this namespace


class World:
    """Everything there is, and whose it is."""

    def __init__(self, client: Client, rng: random.Random, make_key: MakeKey) -> None:
        """``make_key(company, scopes, patterns)`` returns the secret of a new key."""
        self.client = client
        self.rng = rng
        self.owners: dict[str, Owner] = {}
        self.holdings: dict[tuple[str, str], Holding] = {}
        self.names: defaultdict[str, set[str]] = defaultdict(set)
        self.admins = {company: Caller(make_key(company, _ALL, ("*",)), company, _ALL, ("*",)) for company in COMPANIES}
        self.callers = list(self.admins.values())
        self.callers += [
            Caller(make_key(company, scopes, patterns), company, scopes, patterns)
            for company in COMPANIES
            for scopes, patterns in _GRANTS
        ]
        self.callers += [Caller("", "nobody", dead=True), Caller("ostraka_key_x.y", "nobody", dead=True)]
        for company in COMPANIES:
            for name in (*SHARED, self.token()):
                self._fill(company, name)

    def send(self, caller: Caller, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"x-api-key": caller.secret, **more.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **more)

    def token(self) -> str:
        return "zq" + "".join(self.rng.choices(string.ascii_lowercase, k=16))

    def own(self, owner: Owner, *values: str) -> None:
        self.owners.update(dict.fromkeys(values, owner))

    def note_memory(self, holding: Holding, memory_id: str, content: str) -> None:
        holding.memories[memory_id] = content
        self.own(holding.owner, memory_id)

    def listed(self, holding: Holding) -> list[str]:
        """Return what the company's administrator finds in a namespace, to be compared with what must be there."""
        params = {"namespace": holding.owner.namespace, "limit": "500"}
        page = self.send(self.admins[holding.owner.company], "GET", "/v1/memory", params=params).json()
        return sorted(memory["content"] for memory in page["memories"])

    def _fill(self, company: str, name: str) -> None:
        admin, holding = self.admins[company], Holding(Owner(company, name))
        self.names[company].add(name)
        self.holdings[company, name] = holding
        token, session, once = self.token(), self.token(), self.token()
        self.own(holding.owner, token, session, once)
        if name not in SHARED:
            self.own(holding.owner, name)
        for number in range(3):
            body = {
                "namespace": name,
                "content": f"The shared lighthouse keeper {number} trusts {token}.",
                "session": session if number else "shared session",
                "tags": ["shared tag", token],
                "metadata": {"owner": token, "number": number},
            } | ({"id": f"shared-{number}"} if number < 2 else {})
            added = self._sent(admin, "POST", "/v1/memory", json=body, headers={"Idempotency-Key": f"{once}{number}"})
            self.note_memory(holding, added["id"], body["content"])
            self.own(holding.owner, added["job_id"])
        doomed = self._sent(admin, "POST", "/v1/memory", json={"namespace": name, "content": f"Doomed {token}."})
        gone = self.send(admin, "DELETE", f"/v1/memory/{doomed['id']}", params={"namespace": name})
        page = self._sent(admin, "GET", "/v1/memory", params={"namespace": name, "limit": "1"})
        view = self._sent(admin, "GET", f"/v1/namespaces/{name}")
        who = self._sent(admin, "GET", "/v1/whoami")
        self.own(Owner(company, None), who["company"], who["key_id"])
        self.own(holding.owner, doomed["id"], doomed["job_id"], gone.headers["Ostraka-Deletion"], view["id"])
        holding.things = {
            "memory": added["id"],
            "job": added["job_id"],
            "deletion": gone.headers["Ostraka-Deletion"],
            "key": who["key_id"],
            "company": who["company"],
            "token": token,
            "session": session,
            "once": f"{once}0",
            "cursor": page["next_cursor"],
        }

    def _sent(self, *request: Any, **more: Any) -> dict[str, Any]:
        answer = self.send(*request, **more)
        assert answer.status_code < 300, answer.text
        body: dict[str, Any] = answer.json()
        return body


_ALL = frozenset({"read", "write", "admin"})
_GRANTS = (
    (frozenset({"read"}), ("*",)),
    (frozenset({"write"}), ("*",)),
    (frozenset({"admin"}), ("*",)),
    (frozenset({"read"}), ("agent-*",)),
    (frozenset({"read", "write"}), ("agent-1",)),
    (frozenset({"read", "write"}), ("agent-?", "team")),
    (_ALL, ("team",)),
    (_ALL, ("nothing-*",)),
)
