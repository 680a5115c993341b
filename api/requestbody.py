"""What the bodies that the framework reads have in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from core import limits


class RequestBody(BaseModel):
    """A body of known fields, refused before each of too many unknown ones becomes a fault of its own."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > limits.FAULTS_MAX:
            raise ValueError(f"has {len(value)} fields; send those that the route knows")
        return value
