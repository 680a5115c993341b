"""Reading a request without the framework's help, on the routes where its help is most of the cost.

The framework resolves parameters one by one for each request; a write spends more time there than on being sealed.
The answers to bad requests are the same.
"""

from typing import Final, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from api.problems import faults_in
from core.errors import InvalidInput

Model = TypeVar("Model", bound=BaseModel)

_JSON_TYPES: Final = frozenset({"application/json", "application/x-ndjson", "application/ndjson"})
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}


async def read_json(request: Request) -> bytes:
    """Return the body of a request that says it is JSON. Raises ``InvalidInput`` for another type.

    A browser sends other types across sites without asking, and a loopback server may have no keys.
    """
    kind, _, _ = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() not in _JSON_TYPES:
        raise InvalidInput("content-type: must be application/json or application/x-ndjson", field="content-type")
    return await request.body()


def parse(model: type[Model], body: bytes) -> Model:
    """Return the validated body. Raises ``RequestValidationError`` with the place of each fault, or their number."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in faults_in(error)]
        raise RequestValidationError(faults) from None


def flag(request: Request, name: str) -> bool:
    """Return a boolean query parameter, false when it is not there. Raises ``InvalidInput``."""
    value = request.query_params.get(name, "false").lower()
    if value not in _FLAGS:
        raise InvalidInput(f"{name}: must be true or false", field=name)
    return _FLAGS[value]
