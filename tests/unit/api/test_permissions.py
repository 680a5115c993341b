"""Every route is in the table of permissions, and none goes round the guard."""

import pytest
from fastapi import APIRouter

from api.guardedroute import GuardedRoute, require_guarded
from api.permissions import PERMISSIONS, PUBLIC
from api.routes import admin, deletions, failures, health, jobs, keys, namespaces, reading, searching, writing

MODULES = (admin, deletions, failures, health, jobs, keys, namespaces, reading, searching, writing)


def test_the_table_is_the_routes():
    served = {(method, route.path) for module in MODULES for route in module.router.routes for method in route.methods}
    assert served == set(PERMISSIONS)


def test_only_health_is_public():
    assert {path for (_, path), asked in PERMISSIONS.items() if asked is PUBLIC} == {
        "/health",
        "/health/live",
        "/health/ready",
    }


def test_a_route_that_is_not_in_the_table_cannot_be_made():
    router = APIRouter(route_class=GuardedRoute)
    with pytest.raises(LookupError, match="/new"):
        router.get("/new")(lambda: None)


def test_a_router_without_guard_is_refused():
    router = APIRouter()
    router.get("/metrics")(lambda: None)
    with pytest.raises(LookupError, match="guard"):
        require_guarded(router)
