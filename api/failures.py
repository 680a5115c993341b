"""The bodies of requests and answers about failed memories, as OpenAPI shows them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from api.requestbody import RequestBody
from core import limits
from core.memory import Name
from core.records.failures import Failure

RowReference = Annotated[str, Field(pattern=r"^m_[1-9][0-9]{0,17}$", examples=["m_4711"])]


class FailedMemory(BaseModel):
    """A memory that could not be made searchable. It is kept."""

    row: str = Field(description="Names this version, also where it has no readable id.", examples=["m_4711"])
    id: str | None = Field(description="null when the stored bytes are not what was written.")
    job_id: str
    namespace: str
    error: str = Field(description="Why; see docs/errors.md.", examples=["attempts_exhausted"])
    attempts: int
    superseded: bool = Field(description="A newer version has taken its place.")
    created_at: datetime


class FailurePage(BaseModel):
    """A page of failed memories, oldest first."""

    failures: list[FailedMemory]
    next_cursor: str | None


class FailureSelection(RequestBody):
    """Which failed memories of a namespace: those named by id or row, or all of them when neither is given."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"namespace": "support"}]})

    namespace: Name
    ids: list[Name] | None = Field(None, min_length=1, max_length=limits.PAGE_LIMIT_MAX)
    rows: list[RowReference] | None = Field(None, min_length=1, max_length=limits.PAGE_LIMIT_MAX)

    def row_ids(self) -> list[int] | None:
        """Return the rows named, ``None`` when none is."""
        return None if self.rows is None else [int(row.removeprefix("m_")) for row in self.rows]


class RetryAnswer(BaseModel):
    """What is tried again."""

    retried: int


class DiscardAnswer(BaseModel):
    """What was deleted for good."""

    discarded: int = Field(description="Failed memories; older versions of them are not counted.")
    deletion_ids: list[str] = Field(description="Of the receipts: see GET /v1/deletions/{id}.")


def page_body(failures: Sequence[Failure], next_cursor: str | None) -> dict[str, Any]:
    """Return the body of a page."""
    return {
        "failures": [{**failure.__dict__, "row": f"m_{failure.row}"} for failure in failures],
        "next_cursor": next_cursor,
    }
