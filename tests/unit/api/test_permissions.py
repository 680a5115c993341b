"""Every route is in the table of permissions, and none goes round the guard."""

import pkgutil
from importlib import import_module

import pytest
from fastapi import APIRouter

from api import routes
from api.guardedroute import GuardedRoute, require_guarded
from api.permissions import PERMISSIONS, PUBLIC

MODULES = [import_module(f"api.routes.{found.name}") for found in pkgutil.iter_modules(routes.__path__)]
ROUTERS = [module.router for module in MODULES if hasattr(module, "router")]


def test_the_table_is_the_routes():
    served = {(method, route.path) for router in ROUTERS for route in router.routes for method in route.methods}
    assert served == set(PERMISSIONS)


def test_every_router_is_guarded():
    assert [require_guarded(router) for router in ROUTERS] == ROUTERS


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
