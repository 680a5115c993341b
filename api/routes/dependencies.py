"""What every route asks for: the caller, and the namespace it means."""

from typing import Annotated

from fastapi import Depends, Query, Request

from api.access import Access
from core.memory import Name


async def caller(request: Request) -> Access:
    """Return whom the guard admitted."""
    access: Access = request.state.access
    return access


Caller = Annotated[Access, Depends(caller)]
NamespaceParameter = Annotated[Name, Query(description="The namespace.")]
