"""Random requests of many tenants, each with things of others in it; every answer is held against the model.

Four laws. An answer names nothing that its caller may not see, nor of a namespace that was not asked about. A caller
without the right is refused, and told only that. Somebody else's thing is answered as one that is not there: the
request is sent again with a name nobody has, and the two answers must be one. A request touches the databases of its
own company alone.
"""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from tests.security.tenants import TOKEN, Caller, Holding, Owner, World

_VOLATILE: Final = {"took_ms", "id", "job_id", "deletion_id", "deletion_ids", "created_at", "ids", "request_id"}


class LeakError(AssertionError):
    """A law was broken."""


@dataclass(frozen=True, eq=False)
class Form:
    """A kind of request: ``{ns}``, ``{memory}``, … are filled in; ``makes`` says that it may create its namespace."""

    method: str
    path: str
    scopes: frozenset[str]
    params: dict[str, str] | None = None
    body: Any = None
    headers: dict[str, str] | None = None
    makes: bool = False
    destroys: bool = False
    operator: bool = False

    @property
    def text(self) -> str:
        """Everything that is filled in."""
        return f"{self.path}{self.params}{self.body}"


def _form(scopes: str, method: str, path: str, body: Any = None, **more: Any) -> Form:
    return Form(method, path, frozenset(scopes.split()), body=body, **more)


_HERE: Final = {"namespace": "{ns}"}
FORMS: Final = (
    _form("read", "GET", "/v1/memory/{memory}", params=_HERE),
    _form("read", "GET", "/v1/memory/{memory}/history", params=_HERE),
    _form("write", "PATCH", "/v1/memory/{memory}", {"tags": ["changed"]}, params=_HERE),
    _form("write", "DELETE", "/v1/memory/{memory}", params=_HERE, destroys=True),
    _form("write", "DELETE", "/v1/memory", params=_HERE | {"session": "{session}"}, destroys=True),
    _form("write", "DELETE", "/v1/memory", params=_HERE | {"filter": '{{"owner": "{token}"}}'}, destroys=True),
    _form("read", "GET", "/v1/memory", params=_HERE),
    _form("read", "GET", "/v1/memory", params=_HERE | {"cursor": "{cursor}"}),
    _form("read", "GET", "/v1/memory", params=_HERE | {"session": "{session}"}),
    _form("read", "GET", "/v1/memory/search", params=_HERE | {"query": "lighthouse keeper {token}", "limit": "100"}),
    _form("read", "POST", "/v1/memory/search", {**_HERE, "query": "{token}", "mode": "text"}),
    _form("read", "POST", "/v1/memory/search", {**_HERE, "query": "shared", "filter": {"owner": "{token}"}}),
    _form("read", "POST", "/v1/memory/search", {**_HERE, "query": "shared", "session": "{session}", "explain": True}),
    _form("read", "POST", "/v1/memory/search", {**_HERE, "query": "shared", "after_job": "{job}", "wait_ms": 0}),
    _form("read", "GET", "/v1/jobs"),
    _form("read", "GET", "/v1/jobs", params={"cursor": "{cursor}"}),
    _form("read", "GET", "/v1/jobs/{job}"),
    _form("write", "POST", "/v1/jobs/{job}/retry"),
    _form("read", "GET", "/v1/failures", params=_HERE),
    _form("write", "POST", "/v1/failures/retry", {**_HERE, "ids": ["{memory}"]}),
    _form("write", "POST", "/v1/failures/discard", {**_HERE, "ids": ["{memory}"]}),
    _form("read", "GET", "/v1/deletions"),
    _form("read", "GET", "/v1/deletions", params=_HERE),
    _form("read", "GET", "/v1/deletions/{deletion}"),
    _form("read", "GET", "/v1/namespaces"),
    _form("read", "GET", "/v1/namespaces/{ns}"),
    _form("write", "PUT", "/v1/namespaces/{ns}", makes=True),
    _form("write admin", "DELETE", "/v1/namespaces/{ns}", destroys=True),
    _form(
        "write",
        "POST",
        "/v1/memory",
        {**_HERE, "content": "{new}", "supersedes": "{memory}"},
        headers={"Idempotency-Key": "{once}"},
        makes=True,
    ),
    _form("write", "POST", "/v1/memory/bulk", [{**_HERE, "content": "{new}", "session": "shared session"}], makes=True),
    _form("", "GET", "/v1/whoami"),
    _form("read", "GET", "/metrics"),
    _form("admin", "GET", "/admin/keys"),
    _form("admin", "POST", "/admin/keys/{key}/rotate", {"overlap_s": 60}, destroys=True),
    _form("admin", "DELETE", "/admin/keys/{key}", destroys=True),
    _form("admin", "GET", "/admin/keys", params={"company": "two"}, operator=True),
    _form(
        "admin", "POST", "/admin/keys", {"company": "two", "scopes": ["read"], "namespaces": ["team"]}, operator=True
    ),
    _form("admin", "GET", "/admin/companies", operator=True),
    _form("admin", "POST", "/admin/companies", {"name": "{new}"}, operator=True),
    _form("admin", "GET", "/admin/companies/{company}", operator=True),
    _form("admin", "PATCH", "/admin/companies/{company}", {"suspended": True}, operator=True),
    _form("admin", "DELETE", "/admin/companies/{company}", {"name": "{owner}"}, operator=True),
    _form("admin", "GET", "/admin/audit", operator=True),
    _form("admin", "POST", "/admin/backup", {"company": "two"}, operator=True),
    _form("admin", "POST", "/admin/freeze", {"max_seconds": 1}, operator=True),
)


class Intruder:
    """Sends random requests; raises ``LeakError`` when an answer breaks a law."""

    def __init__(
        self,
        world: World,
        rng: random.Random,
        touched: Callable[[], Collection[str]],
        forms: Sequence[Form] = FORMS,
    ) -> None:
        """``touched()`` returns the companies whose databases were used since it was asked last."""
        self.forms = forms
        self.world = world
        self.rng = rng
        self.touched = touched
        self.twins = 0

    def attack(self) -> tuple[Form, int]:
        """Send one request; return its form and the status of its answer."""
        form = self.rng.choice(self.forms)
        able = [caller for caller in self.world.callers if form.scopes <= caller.scopes]
        caller = self.rng.choice(self.rng.choice([self.world.callers, able]))
        everywhere = list(self.world.holdings.values())
        home = [each for each in everywhere if each.owner.company == caller.company]
        here = self.rng.choice(self.rng.choice([everywhere, home or everywhere]))
        of = self.rng.choice([here, here, self.rng.choice(everywhere)])
        given = {**of.things, "ns": str(here.owner.namespace), "new": f"Something new {self.world.token()}."}
        given["owner"] = of.owner.company
        given["once"] = self.rng.choice([given["once"], self.world.token()])
        covered = caller.covers(given["ns"]) or "{ns}" not in form.text
        if covered and form.scopes <= caller.scopes and self._is_spared(caller, form, given, of):
            return form, 0
        what = f"{form.method} {form.path} by {sorted(caller.scopes)} of {caller.patterns}"
        answer = self._send(caller, form, given, what)
        self._check_rights(caller, form, answer, what, covered=covered)
        self._check_twin(caller, form, given, of, answer, what)
        if answer.status_code < 300 and "{new}" in str(form.body):
            self._remember(caller, given, answer, of)
        return form, answer.status_code

    def _is_spared(self, caller: Caller, form: Form, given: dict[str, str], of: Holding) -> bool:
        """Whether a caller has the right to make or destroy what the rest of this world relies on."""
        known = given["ns"] in self.world.names[caller.company]
        if "{key}" in form.path:
            return of.owner.company == caller.company
        mine = known if form.path.startswith("/v1/namespaces") else self._is_own(caller, given, of)
        return (form.makes and not known) or (form.destroys and mine)

    def _is_own(self, caller: Caller, given: dict[str, str], of: Holding) -> bool:
        return of.owner == Owner(caller.company, given["ns"])

    def _send(self, caller: Caller, form: Form, given: dict[str, str], what: str) -> httpx.Response:
        self.touched()
        answer = self.world.send(
            caller,
            form.method,
            form.path.format(**given),
            params=_filled(form.params, given),
            json=_filled(form.body, given),
            headers=_filled(form.headers or {}, given),
        )
        if others := {company for company in self.touched() if company != caller.company}:
            raise LeakError(f"{what} used the databases of {others}")
        one = Owner(caller.company, given["ns"]) if "{ns}" in form.text else None
        for found in TOKEN.findall(f"{answer.text} {dict(answer.headers)}"):
            owner = self.world.owners.get(found)
            if owner and not (caller.may_see(owner) and (one is None or owner == one)):
                raise LeakError(f"{what} was told {found} of {owner}: {answer.status_code} {answer.text[:200]}")
        return answer

    def _check_rights(self, caller: Caller, form: Form, answer: httpx.Response, what: str, *, covered: bool) -> None:
        problem = None if answer.status_code < 300 else (answer.status_code, answer.json()["code"])
        if caller.dead:
            wanted = problem == (401, "unauthenticated")
        elif not form.scopes <= caller.scopes:
            wanted = problem == (403, "scope_missing")
        elif form.operator:
            wanted = problem == (403, "operator_only")
        elif not covered and "{ns}" in form.text:
            wanted = problem == (403, "namespace_forbidden")
        else:
            wanted = answer.status_code in {200, 202, 204, 404, 409} or (
                form.path == "/metrics" and problem == (403, "namespace_forbidden")
            )
        if not wanted:
            raise LeakError(f"{what} was answered {answer.status_code}: {answer.text[:200]}")

    def _check_twin(
        self, caller: Caller, form: Form, given: dict[str, str], of: Holding, answer: httpx.Response, what: str
    ) -> None:
        """Compare the answer with that to things which nobody has."""
        twin = dict(given)
        if given["ns"] not in self.world.names[caller.company] or not caller.covers(given["ns"]):
            twin["ns"] = self.world.token()
        foreign: tuple[str, ...] = () if caller.may_see(of.owner) else ("job", "deletion")
        foreign += () if of.owner.company == caller.company else ("key", "company")
        for kind in foreign if self._is_own(caller, given, of) else (*foreign, "memory"):
            twin[kind] = f"{given[kind].partition('_')[0]}_{self.rng.randbytes(16).hex()}"
        changed = {kind for kind in twin if twin[kind] != given[kind] and f"{{{kind}}}" in form.text}
        if not changed or (form.makes and answer.status_code < 300):
            return
        if answer.status_code < 300 and changed & {"job", "deletion", "key", "company"}:
            raise LeakError(f"{what} reached a thing of {of.owner}: {answer.text[:200]}")
        self.twins += 1
        other = self._send(caller, form, twin, f"the twin of {what}")
        if _shape(other) != _shape(answer):
            raise LeakError(f"{what} is told from its twin: {answer.text[:200]} and {other.text[:200]}")

    def _remember(self, caller: Caller, given: dict[str, str], answer: httpx.Response, of: Holding) -> None:
        """Take what was written into the model: who owns it, and that it must be there."""
        holding = self.world.holdings[caller.company, given["ns"]]
        said = answer.json()
        self.world.own(holding.owner, said["job_id"])
        if "id" in said and said["id"] not in holding.memories:  # else a repeated key, that wrote nothing
            self.world.note_memory(holding, said["id"], given["new"])
            if of is holding:
                holding.memories.pop(given["memory"], None)  # superseded
                holding.things["memory"] = said["id"]
        elif "id" not in said:
            holding.memories[said["job_id"]] = given["new"]


def _filled(template: Any, given: dict[str, str]) -> Any:
    match template:
        case str():
            return template.format(**given)
        case dict():
            return {key: _filled(value, given) for key, value in template.items()}
        case list():
            return [_filled(value, given) for value in template]
    return template


def _shape(answer: httpx.Response) -> Any:
    """What of an answer may be compared: everything but times and new ids."""
    body = answer.json() if "json" in answer.headers.get("content-type", "") else answer.text
    headers = sorted(name for name in answer.headers if name not in {"content-length", "date"})
    return answer.status_code, headers, _steady(body)


def _steady(body: Any) -> Any:
    if isinstance(body, dict):
        return {key: _steady(value) for key, value in body.items() if key not in _VOLATILE}
    return [_steady(each) for each in body] if isinstance(body, list) else body
