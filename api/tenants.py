"""Companies' parts, opened outside the event loop, one after another: the first opening may migrate a database."""

import asyncio
from typing import Final

from anyio import CapacityLimiter, to_thread
from cachetools import TTLCache

from core.errors import OstrakaError
from core.runtime import Runtime
from core.tenant import Tenant

_REFUSAL_S: Final = 1.0  # a company that cannot be opened is not tried at each request
_REFUSALS_MAX: Final = 10_000


class Tenants:
    """The companies that this process serves."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._limiter = CapacityLimiter(1)  # the runtime opens one at a time: more would wait in threads of theirs
        self._openings: dict[str, asyncio.Task[Tenant]] = {}
        self._refusals: TTLCache[str, OstrakaError] = TTLCache(_REFUSALS_MAX, _REFUSAL_S)

    async def find(self, company_id: str) -> Tenant:
        """Return the parts for a company. Raises ``NotFound``, ``IntegrityError``, ``Unavailable``."""
        opened = self._runtime.opened(company_id)
        if opened is not None:
            return opened
        if refusal := self._refusals.get(company_id):
            raise refusal.with_traceback(None)  # else it keeps every request's frames
        if company_id not in self._openings:
            opening = asyncio.create_task(self._open(company_id))
            opening.add_done_callback(lambda _: self._openings.pop(company_id))
            self._openings[company_id] = opening
        return await asyncio.shield(self._openings[company_id])

    async def _open(self, company_id: str) -> Tenant:
        try:
            return await to_thread.run_sync(self._runtime.tenant, company_id, limiter=self._limiter)
        except OstrakaError as error:
            self._refusals[company_id] = error
            raise
