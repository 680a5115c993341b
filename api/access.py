"""What a caller reaches: the parts of one company, within the namespaces that the credential covers."""

from dataclasses import dataclass

from anyio import to_thread

from api.auditing import Trail
from core.records.company import Namespace
from core.records.grants import Principal
from core.tenant import Tenant


@dataclass(frozen=True)
class Access:
    """A caller's access: the company's parts, the credential that bounds them, whether it operates the server.

    What it is used for is noted in its trail.
    """

    principal: Principal
    tenant: Tenant
    operates: bool
    trail: Trail

    def namespace(self, name: str) -> Namespace:
        """Return a namespace that is there. Raises ``Forbidden``, ``NotFound``."""
        self.principal.require_namespace(name)
        found = self.tenant.records.namespace(name)
        self.trail.namespace = found.public_id
        return found

    async def write_or_create(self, name: str) -> Namespace:
        """Return a namespace to write, made on the first write. Raises ``Forbidden``."""
        self.principal.require_namespace(name)
        records = self.tenant.records
        known = records.known(name)
        found = known if known is not None else await to_thread.run_sync(records.ensure_namespace, name)
        self.trail.namespace = found.public_id
        return found

    def listed(self, name: str | None = None) -> list[int] | None:
        """Return the row ids of the namespaces to list from: the one named, else those covered; ``None`` is all.

        What is listed is chosen before it is cut into pages, so that a page tells nothing of the others. Raises
        ``Forbidden``, ``NotFound``.
        """
        if name is not None:
            return [self.namespace(name).id]
        if self.principal.covers_all:
            return None
        return [each.id for each in self.tenant.records.namespaces() if self.principal.covers(each.name)]
