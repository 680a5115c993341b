"""Which routes a process serves. What it leaves to others it says so, with a code of its own."""

from enum import StrEnum
from typing import Final

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

from api.guardedroute import GuardedRoute, require_guarded
from api.problems import problem
from api.routes import health, searching


class Role(StrEnum):
    """What a process does of the API."""

    ALL = "all"
    NO_SEARCH = "no-search"
    QUERY = "query"

    def serves(self, router: APIRouter) -> bool:
        """Say whether the routes of a router are this role's."""
        if router is health.router:
            return True
        return self is Role.ALL or (router is searching.router) == (self is Role.QUERY)


_ELSEWHERE: Final = {
    Role.NO_SEARCH: "this process serves no searches; send them to `ostraka query`, or start it without --no-search",
    Role.QUERY: "this process serves searches alone; send the rest to `ostraka api`",
}


def include(app: FastAPI, router: APIRouter, role: Role) -> None:
    """Serve a router's routes, or answer each with the problem that says who does.

    Raises ``LookupError`` when one of them goes round the guard.
    """
    require_guarded(router)
    if role.serves(router):
        app.include_router(router)
        return

    async def elsewhere(_: Request) -> Response:
        return problem(404, "not_served_here", _ELSEWHERE[role])

    for route in router.routes:
        if isinstance(route, GuardedRoute):
            app.add_route(route.path, elsewhere, methods=list(route.methods or ()), include_in_schema=False)
