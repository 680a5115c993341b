"""What every route asks for: the caller, and the namespace it means."""

from typing import Annotated

from fastapi import Depends, Query, Request

from api.access import Access
from core.memory import Name


async def caller(request: Request) -> Access:
    """Authenticate the request; the application's gatekeeper decides."""
    access: Access = await request.app.state.gatekeeper(request)
    return access


Caller = Annotated[Access, Depends(caller)]
NamespaceParameter = Annotated[Name, Query(description="The namespace.")]
