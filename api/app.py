"""The FastAPI application: thin routes over the core."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from api import problems, requestids
from api.bodies import BodyLimit
from api.delivery import Delivery
from api.guard import Guard
from api.heads import HeadLimit
from api.links import add_links
from api.metrics import Metrics
from api.observing import Observed
from api.paths import ExactSegments
from api.proxies import TrustedProxies
from api.rates import RATE_FIELDS
from api.roles import Role, include
from api.routes import (
    admin,
    audit,
    companies,
    deletions,
    failures,
    health,
    jobs,
    keys,
    namespaces,
    reading,
    searching,
    writing,
)
from api.schemas import AddMemory
from core.pipeline.checkups import Checkups
from core.runtime import Runtime

_DESCRIPTION: Final = """
Self-hosted, encrypted memory for AI agents. Write what an agent learns; ask what is known.

Errors are RFC 9457 problem documents with a stable `code`. Times are RFC 3339.
"""


def create_app(
    runtime: Runtime, *, anonymous_allowed: bool, ping_redis: Callable[[], bool], role: Role = Role.ALL
) -> FastAPI:
    """Return the application over an open runtime.

    ``anonymous_allowed`` says that calls without a key may come in, which only a loopback server may grant;
    ``ping_redis`` says whether Redis answers; ``role`` which routes are served.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        app.state.search_limiter = CapacityLimiter(runtime.settings.server.search_threads)
        yield

    app = FastAPIOffline(  # its pages load nothing from elsewhere
        title="Ostraka",
        version=version("ostraka-server"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        redoc_url=None,
        responses=problems.documented(),
        # Nothing is reported anywhere, whatever OTEL_* variables the environment brings along.
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
    )
    app.state.runtime = runtime
    app.state.version = app.version
    app.state.role = role
    app.state.started = time.monotonic()
    app.state.checkups = Checkups(runtime.control, runtime.settings, ping_redis)
    app.state.metrics = Metrics(runtime, app.state.checkups)
    app.state.delivery = Delivery()
    app.state.guard = Guard(runtime, anonymous_allowed=anonymous_allowed)
    app.add_middleware(BodyLimit)
    app.add_middleware(ExactSegments)
    if origins := runtime.settings.auth.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type", "idempotency-key", "x-api-key"],
            expose_headers=["ostraka-deletion", "retry-after", requestids.HEADER, *RATE_FIELDS],
        )
    app.add_middleware(HeadLimit)
    if trusted := runtime.settings.server.trusted_proxies:
        app.add_middleware(TrustedProxies, trusted=trusted)
    logs_each = runtime.settings.server.log_level == "debug"
    app.add_middleware(Observed, metrics=app.state.metrics, tracer=runtime.observer.tracer, logs_each=logs_each)
    problems.install(app)
    # Looked through in this order at each request: what is asked most comes first.
    modules = (
        writing,
        searching,
        reading,
        jobs,
        namespaces,
        health,
        deletions,
        failures,
        admin,
        keys,
        audit,
        companies,
    )
    for module in modules:
        include(app, module.router, role)
    _complete_openapi(app, role)
    return app


def _complete_openapi(app: FastAPI, role: Role) -> None:
    """Add the schemas that routes refer to by name, how to authenticate, and what may follow upon what."""
    generated: dict[str, Any] = app.openapi()
    components = generated.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for model in (problems.Problem, AddMemory):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas.setdefault(model.__name__, schema)
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    generated["security"] = [{"bearer": []}, {"apiKey": []}, {}]
    if role is not Role.QUERY:  # a search leads nowhere
        add_links(generated)
    app.openapi_schema = generated
