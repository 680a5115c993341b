"""Requests in the audit log: what each route's action is called, and who did it to what."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Final, Self

from anyio import CancelScope, to_thread
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api.addresses import address_block, client_address
from core.audit.auditor import Auditor
from core.audit.events import ANONYMOUS, BEGUN, UNKNOWN, Event, result_of
from core.errors import Frozen, InvalidInput
from core.records.grants import Principal

_address = lru_cache(maxsize=1_024)(address_block)


@dataclass(frozen=True)
class Action:
    """What a route does. ``administrative``: written by itself, before it begins and before it is answered."""

    name: str
    administrative: bool = False
    while_frozen: bool = False  # it goes on then, though its begin cannot be written
    regardless: bool = False  # it goes on, whatever keeps its begin from being written: that is written later


ACTIONS: Final[Mapping[tuple[str, str], Action]] = {
    ("GET", "/health"): Action("health.read"),
    ("GET", "/health/live"): Action("health.read"),
    ("GET", "/health/ready"): Action("health.read"),
    ("GET", "/metrics"): Action("metrics.read"),
    ("GET", "/v1/whoami"): Action("key.check"),
    ("POST", "/v1/memory"): Action("memory.add"),
    ("POST", "/v1/memory/bulk"): Action("memory.add_bulk"),
    ("GET", "/v1/memory"): Action("memory.list"),
    ("DELETE", "/v1/memory"): Action("memory.delete_matching"),
    ("GET", "/v1/memory/search"): Action("memory.search"),
    ("POST", "/v1/memory/search"): Action("memory.search"),
    ("GET", "/v1/memory/{memory_id}"): Action("memory.read"),
    ("PATCH", "/v1/memory/{memory_id}"): Action("memory.change"),
    ("DELETE", "/v1/memory/{memory_id}"): Action("memory.delete"),
    ("GET", "/v1/memory/{memory_id}/history"): Action("memory.history"),
    ("GET", "/v1/jobs"): Action("job.list"),
    ("GET", "/v1/jobs/{job_id}"): Action("job.read"),
    ("POST", "/v1/jobs/{job_id}/retry"): Action("job.retry"),
    ("GET", "/v1/failures"): Action("failure.list"),
    ("POST", "/v1/failures/retry"): Action("failure.retry"),
    ("POST", "/v1/failures/discard"): Action("failure.discard"),
    ("GET", "/v1/deletions"): Action("deletion.list"),
    ("GET", "/v1/deletions/{deletion_id}"): Action("deletion.read"),
    ("GET", "/v1/namespaces"): Action("namespace.list"),
    ("GET", "/v1/namespaces/{name}"): Action("namespace.read"),
    ("PUT", "/v1/namespaces/{name}"): Action("namespace.create"),
    ("DELETE", "/v1/namespaces/{name}"): Action("namespace.delete", administrative=True),
    ("GET", "/admin/audit"): Action("audit.list"),
    ("GET", "/admin/companies"): Action("company.list"),
    ("POST", "/admin/companies"): Action("company.create", administrative=True),
    ("GET", "/admin/companies/{company_id}"): Action("company.read"),
    ("PATCH", "/admin/companies/{company_id}"): Action("company.change", administrative=True),
    ("DELETE", "/admin/companies/{company_id}"): Action("company.delete", administrative=True),
    ("GET", "/admin/keys"): Action("key.list"),
    ("POST", "/admin/keys"): Action("key.create", administrative=True),
    ("POST", "/admin/keys/{key_id}/rotate"): Action("key.rotate", administrative=True),
    ("DELETE", "/admin/keys/{key_id}"): Action("key.revoke", administrative=True),
    ("POST", "/admin/backup"): Action("backup.create", administrative=True),
    ("GET", "/admin/freeze"): Action("freeze.read"),
    ("POST", "/admin/freeze"): Action("server.freeze", administrative=True, while_frozen=True),
    ("POST", "/admin/unfreeze"): Action("server.unfreeze", administrative=True, regardless=True),
}


def action_of(method: str, path: str) -> Action:
    """Return what a route does. Raises ``LookupError`` for one that nobody thought about."""
    try:
        return ACTIONS[method, path]
    except KeyError:
        raise LookupError(f"{method} {path} is not in the table of actions; add it") from None


class Trail:
    """What one request leaves in the audit log; routes add what they find out. Enter it around the request."""

    __slots__ = ("_action", "_address", "_auditor", "_begun", "actor", "company", "namespace", "target")

    def __init__(self, auditor: Auditor, action: Action, request: Request) -> None:
        self._auditor = auditor
        self._action = action
        self._address = _address(client_address(request.scope))
        self._begun = False
        self.actor = UNKNOWN
        self.company: str | None = None
        self.namespace: str | None = None
        self.target: str | None = None

    def name(self, principal: Principal) -> None:
        """Say who asks."""
        self.actor = principal.key_id or ANONYMOUS
        self.company = principal.company_id

    async def begin(self) -> None:
        """Write that an administrative action begins; what this raises keeps it from that.

        Raises ``Frozen``, ``Unavailable``, ``IntegrityError``.
        """
        if not self._action.administrative:
            return
        write = self._auditor.conclude if self._action.regardless else self._auditor.record
        try:
            await to_thread.run_sync(write, self._event(BEGUN))
            self._begun = True
        except Frozen:
            if not self._action.while_frozen:
                raise

    async def __aenter__(self) -> Self:
        """Begin to watch."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say how it ended: before the answer, where that matters."""
        event = self._event(_result(error))
        if self._begun or (self._action.administrative and error is None):
            with CancelScope(shield=True):
                await to_thread.run_sync(self._auditor.conclude, event)
        else:
            self._auditor.count(event)

    def _event(self, result: str) -> Event:
        return Event(self.actor, self._action.name, result, self.company, self.namespace, self.target, self._address)


def _result(error: BaseException | None) -> str:
    if isinstance(error, RequestValidationError):
        return f"refused:{InvalidInput.code}"
    if isinstance(error, HTTPException):
        return "refused:http"
    return result_of(error)
