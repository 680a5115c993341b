"""Receipts of deletions as the API shows them."""

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, Field
from starlette.responses import Response

from core.clock import to_datetime
from core.records.receipts import Kind, Receipt

_HEADER: Final = "Ostraka-Deletion"
ERASED: Final[dict[int | str, dict[str, Any]]] = {
    204: {
        "description": "Erased.",
        "headers": {
            _HEADER: {"description": "Id of the receipt: see GET /v1/deletions/{id}.", "schema": {"type": "string"}}
        },
    }
}


class Erased(BaseModel):
    """Something that is gone."""

    where: str = Field(examples=["record store"])
    what: str = Field(examples=["content, vectors, metadata"])
    at: datetime


class Remaining(BaseModel):
    """Something that may still be there."""

    where: str = Field(examples=["index shards"])
    until: datetime | None = Field(description="null: until something happens that the server does not decide.")
    note: str


class Deletion(BaseModel):
    """The receipt of a deletion."""

    id: str = Field(examples=["del_4f0…"])
    namespace: str | None = Field(description="null once the namespace itself was deleted.")
    kind: Kind
    state: Literal["erasing", "erased", "purged"] = Field(
        description="Rows are being found; all are erased from the record store; the index files are free of them."
    )
    rows: int = Field(description="Rows erased, versions included.")
    created_at: datetime
    finished_at: datetime | None
    purge_due_at: datetime = Field(description="By then the index files are free of it.")
    purged_at: datetime | None
    erased: list[Erased]
    remains: list[Remaining]


class DeletionPage(BaseModel):
    """A page of receipts, newest first."""

    deletions: list[Deletion]
    next_cursor: str | None


def answer_erased(deletion_id: str) -> Response:
    """Return the answer of a deletion that is done, with the id of its receipt."""
    return Response(status_code=204, headers={_HEADER: deletion_id})


def receipt_body(receipt: Receipt, namespace: str | None) -> dict[str, Any]:
    """Return the body of a receipt."""
    return {
        "id": receipt.id,
        "namespace": namespace,
        "kind": receipt.kind,
        "state": receipt.state,
        "rows": receipt.rows,
        "created_at": to_datetime(receipt.created_at),
        "finished_at": _moment(receipt.finished_at),
        "purge_due_at": to_datetime(receipt.purge_due_at),
        "purged_at": _moment(receipt.purged_at),
        "erased": [{"where": each.where, "what": each.what, "at": to_datetime(each.at)} for each in receipt.erased],
        "remains": [{"where": each.where, "until": _moment(each.until), "note": each.note} for each in receipt.remains],
    }


def _moment(us: int | None) -> datetime | None:
    return None if us is None else to_datetime(us)
