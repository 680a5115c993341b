"""Vectors that a caller brings: how they are written, and which of them may enter an index.

A memory that brings its vector is never embedded. So the vector must be of the model that the index is made with:
whoever sends one names the fingerprint of what made it, and any other than the server's is refused.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from core.errors import InvalidInput

INVALID_VECTOR: Final = "invalid_vector"  # the code of a vector that no index can hold
DIM_MAX: Final = 8_192  # numbers of one vector; the models of the catalogue have 384
_FLOAT_BYTES: Final = 4
_UNIT_ERROR: Final = 1e-6  # a length this near to 1 is left as it is: the same vector stays so, bit for bit


def _unit_vector(value: Any) -> bytes:
    """Return float32, little-endian, of length 1. Raises ``ValueError`` for what has no direction."""
    import numpy as np  # noqa: PLC0415 - few commands need it

    if isinstance(value, str):
        try:
            raw = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("is not base64; send float32 numbers, little-endian, in base64, or a list") from None
        if len(raw) % _FLOAT_BYTES:
            raise ValueError("is not a whole number of float32 in base64")
        numbers = np.frombuffer(raw, "<f4").astype(np.float64)
    elif isinstance(value, list) and len(value) <= DIM_MAX and {type(number) for number in value} <= {float, int}:
        try:
            numbers = np.array(value, np.float64)
        except OverflowError:
            raise ValueError("holds a number beyond float64") from None
    else:
        raise ValueError(f"must be at most {DIM_MAX} numbers, as a list or as float32 in base64")
    if not 0 < len(numbers) <= DIM_MAX:
        raise ValueError(f"must have 1 to {DIM_MAX} numbers")
    if not np.isfinite(numbers).all():
        raise ValueError("holds a number that is not finite")
    largest = float(np.abs(numbers).max())
    if not largest:
        raise ValueError("is all zeros: it points nowhere")
    scaled = numbers / largest  # so that the square of none is too large or too small
    length = float(np.linalg.norm(scaled))
    if abs(length * largest - 1) > _UNIT_ERROR:
        numbers = scaled / length
    return numbers.astype("<f4").tobytes()


UnitVector = Annotated[
    bytes,
    BeforeValidator(_unit_vector),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "contentEncoding": "base64", "maxLength": 4 * -(-DIM_MAX * _FLOAT_BYTES // 3)},
                {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": DIM_MAX},
            ]
        }
    ),
]


class GivenVector(BaseModel):
    """The vector of a memory, computed by the caller, and what computed it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fingerprint: str = Field(
        min_length=1,
        max_length=80,
        description="Of the model that made it: must be `embedding.fingerprint` of the namespace.",
    )
    vector: UnitVector = Field(
        description="One for the memory, brought to length 1: float32 numbers, little-endian, in base64; or a list."
    )


@dataclass(frozen=True)
class VectorSpace:
    """Where the server's vectors live: only vectors of its own fingerprint can be compared with them."""

    fingerprint: str
    dim: int

    def check(self, given: GivenVector | None) -> None:
        """Let a memory in that brings no vector, or one of this space. Raises ``InvalidInput``."""
        if given is None:
            return
        if given.fingerprint != self.fingerprint:
            raise InvalidInput(
                f"embedding.fingerprint: the index is made with {self.fingerprint}; send vectors of that model, or "
                "none, and the server embeds the content",
                code="fingerprint_mismatch",
                field="embedding.fingerprint",
            )
        if len(given.vector) != self.dim * _FLOAT_BYTES:
            raise InvalidInput(
                f"embedding.vector: has {len(given.vector) // _FLOAT_BYTES} numbers, the model's have {self.dim}",
                code="invalid_vector",
                field="embedding.vector",
            )
