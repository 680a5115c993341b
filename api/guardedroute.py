"""Routes behind the guard: it is asked once a route is found, and before the body is read."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from api.auditing import Trail, action_of
from api.permissions import permission_of


class GuardedRoute(APIRoute):
    """A route that serves whom the table of permissions lets in, and leaves a trail in the audit log.

    Raises ``LookupError`` when it is not in the tables.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler behind the guard."""
        handle = super().get_route_handler()
        permissions = {method: permission_of(method, self.path_format) for method in self.methods or ()}
        actions = {method: action_of(method, self.path_format) for method in self.methods or ()}

        async def guarded(request: Request) -> Response:
            request.state.route = self.path_format
            permission = permissions[request.method]
            if permission.public:
                return await handle(request)
            async with Trail(request.app.state.runtime.auditor, actions[request.method], request) as trail:
                admitted = await request.app.state.guard.admit(request, permission, trail)
                await trail.begin()
                request.state.access = admitted.access
                response = await handle(request)
            if admitted.rate is not None:
                response.headers.update(admitted.rate.headers())
            return response

        return guarded


def require_guarded(router: APIRouter) -> APIRouter:
    """Return the router. Raises ``LookupError`` when one of its routes goes round the guard."""
    stray = [route for route in router.routes if not isinstance(route, GuardedRoute)]
    if stray:
        raise LookupError(f"{stray} go round the guard; their router must make a GuardedRoute")
    return router
