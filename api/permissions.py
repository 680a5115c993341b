"""What each route asks of a credential: the one table. A route that is not in it cannot be served.

Which namespaces a credential covers is asked where a route names one: ``Access``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Permission:
    """The scopes that a credential must have, all of them; whether it must be the operator's; or no credential."""

    scopes: frozenset[str] = frozenset()
    operator: bool = False
    public: bool = False


PUBLIC: Final = Permission(public=True)
ANY_KEY: Final = Permission()
READ: Final = Permission(frozenset({"read"}))
WRITE: Final = Permission(frozenset({"write"}))
ADMIN: Final = Permission(frozenset({"admin"}))
DESTROY: Final = Permission(frozenset({"write", "admin"}))
OPERATOR: Final = Permission(frozenset({"admin"}), operator=True)

PERMISSIONS: Final[Mapping[tuple[str, str], Permission]] = {
    ("GET", "/health"): PUBLIC,
    ("GET", "/health/live"): PUBLIC,
    ("GET", "/health/ready"): PUBLIC,
    ("GET", "/metrics"): READ,
    ("GET", "/v1/whoami"): ANY_KEY,
    ("POST", "/v1/memory"): WRITE,
    ("POST", "/v1/memory/bulk"): WRITE,
    ("GET", "/v1/memory"): READ,
    ("DELETE", "/v1/memory"): WRITE,
    ("GET", "/v1/memory/search"): READ,
    ("POST", "/v1/memory/search"): READ,
    ("GET", "/v1/memory/{memory_id}"): READ,
    ("PATCH", "/v1/memory/{memory_id}"): WRITE,
    ("DELETE", "/v1/memory/{memory_id}"): WRITE,
    ("GET", "/v1/memory/{memory_id}/history"): READ,
    ("GET", "/v1/jobs"): READ,
    ("GET", "/v1/jobs/{job_id}"): READ,
    ("POST", "/v1/jobs/{job_id}/retry"): WRITE,
    ("GET", "/v1/failures"): READ,
    ("POST", "/v1/failures/retry"): WRITE,
    ("POST", "/v1/failures/discard"): WRITE,
    ("GET", "/v1/deletions"): READ,
    ("GET", "/v1/deletions/{deletion_id}"): READ,
    ("GET", "/v1/namespaces"): READ,
    ("GET", "/v1/namespaces/{name}"): READ,
    ("PUT", "/v1/namespaces/{name}"): WRITE,
    ("DELETE", "/v1/namespaces/{name}"): DESTROY,
    ("GET", "/admin/audit"): OPERATOR,
    ("GET", "/admin/keys"): ADMIN,
    ("POST", "/admin/keys"): ADMIN,
    ("POST", "/admin/keys/{key_id}/rotate"): ADMIN,
    ("DELETE", "/admin/keys/{key_id}"): ADMIN,
    ("GET", "/admin/companies"): OPERATOR,
    ("POST", "/admin/companies"): OPERATOR,
    ("GET", "/admin/companies/{company_id}"): OPERATOR,
    ("PATCH", "/admin/companies/{company_id}"): OPERATOR,
    ("DELETE", "/admin/companies/{company_id}"): OPERATOR,
    ("POST", "/admin/backup"): OPERATOR,
    ("GET", "/admin/freeze"): OPERATOR,
    ("POST", "/admin/freeze"): OPERATOR,
    ("POST", "/admin/unfreeze"): OPERATOR,
}


def permission_of(method: str, path: str) -> Permission:
    """Return what a route asks for. Raises ``LookupError`` for one that nobody thought about."""
    try:
        return PERMISSIONS[method, path]
    except KeyError:
        raise LookupError(f"{method} {path} is not in the table of permissions; add it") from None
