"""From a request's conditions to the scope of a search, or to the conditions of a deletion."""

from collections.abc import Sequence
from typing import Any

import orjson

from api.schemas import SearchMemory
from core.clock import to_us
from core.errors import InvalidInput
from core.pipeline.forgetting import Conditions
from core.search.filters import parse_filter
from core.search.request import Scope


def search_scope(body: SearchMemory) -> Scope:
    """Return the scope of a search. Raises ``InvalidInput`` for a filter that cannot be understood."""
    return Scope(
        filter=None if body.filter is None else parse_filter(body.filter),
        session=body.session,
        tags=tuple(body.tags),
        since=None if body.since is None else to_us(body.since),
        until=None if body.until is None else to_us(body.until),
        as_of=None if body.as_of is None else to_us(body.as_of),
    )


def delete_conditions(session: str | None, tags: Sequence[str], filter_text: str | None) -> Conditions:
    """Return the conditions of a deletion from query parameters. Raises ``InvalidInput``."""
    given: Any = None
    if filter_text is not None:
        try:
            given = orjson.loads(filter_text)
        except orjson.JSONDecodeError:
            raise InvalidInput("filter: is not valid JSON; encode the filter object", field="filter") from None
        parse_filter(given)
    return Conditions(session=session, tags=tuple(tags), filter=given)
