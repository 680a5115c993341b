"""Namespaces: what is remembered apart."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.access import Access
from api.answers import answer
from api.guardedroute import GuardedRoute
from api.paths import PathName
from api.problems import documented
from api.receipts import ERASED, answer_erased
from api.routes.dependencies import Caller
from api.schemas import NamespaceList, NamespaceView, WhoAmI
from core.clock import to_datetime
from core.records.company import Namespace
from core.records.reading import count_shards, count_states
from core.records.shardlist import namespace_state
from core.records.tables import State

router = APIRouter(prefix="/v1", tags=["namespaces"], route_class=GuardedRoute)


@router.get("/namespaces", response_model=NamespaceList, responses=documented(), summary="List namespaces")
def list_all(caller: Caller) -> Response:
    """Return the namespaces that the credential covers."""
    covered = [each for each in caller.tenant.records.namespaces() if caller.principal.covers(each.name)]
    return answer({"namespaces": [_body(caller, namespace) for namespace in covered]})


@router.get("/namespaces/{name}", response_model=NamespaceView, responses=documented(404), summary="Read a namespace")
def get(name: PathName, caller: Caller) -> Response:
    """Return a namespace in numbers."""
    return answer(_body(caller, caller.namespace(name)))


@router.put("/namespaces/{name}", response_model=NamespaceView, responses=documented(), summary="Create a namespace")
async def put(name: PathName, caller: Caller) -> Response:
    """Create a namespace, or leave the one that is there as it is."""
    return answer(_body(caller, await caller.write_or_create(name)))


@router.delete(
    "/namespaces/{name}", status_code=204, responses={**ERASED, **documented(404)}, summary="Destroy a namespace"
)
def delete(name: PathName, caller: Caller) -> Response:
    """Destroy a namespace: its key and content; its files stay shut for ever. Needs `write` and `admin`."""
    caller.namespace(name)
    return answer_erased(caller.tenant.records.delete_namespace(name))


@router.get("/whoami", response_model=WhoAmI, responses=documented(), tags=["server"], summary="Check a credential")
async def whoami(caller: Caller) -> Response:
    """Return what the credential at hand may do."""
    principal = caller.principal
    return answer(
        {
            "company": principal.company_id,
            "key_id": principal.key_id,
            "scopes": sorted(principal.scopes),
            "namespaces": list(principal.patterns),
        }
    )


def _body(caller: Access, namespace: Namespace) -> dict[str, Any]:
    with caller.tenant.records.database.read() as connection:
        states = count_states(connection, namespace.id)
        count, size = count_shards(connection, namespace.id)
        state = namespace_state(connection, namespace.id)
    return {
        "name": namespace.name,
        "id": namespace.public_id,
        "created_at": to_datetime(namespace.created_at),
        "memories": sum(states.values()) - states[State.DELETED],
        "states": states,
        "shards": count,
        "bytes": size,
        "model": state.fingerprint if state else None,
        "embedding": {"fingerprint": caller.tenant.space.fingerprint, "dim": caller.tenant.space.dim},
        "generation": state.generation if state else 0,
    }
