"""Ostraka: the Python client of the encrypted memory server for AI agents.

>>> with Ostraka() as memory:
...     memory.add("support", "Ada prefers replies in the evening.", session="ticket-4821", wait=True)
...     for found in memory.search("support", "when should I write to Ada?"):
...         print(found.score, found.content)
"""

from ostraka.aio import AsyncOstraka
from ostraka.answers import (
    Added,
    AddedMany,
    Deleted,
    Deletion,
    Discarded,
    EmbeddingSpace,
    Erased,
    Failure,
    FailurePage,
    Health,
    Job,
    JobError,
    Memory,
    Namespace,
    Page,
    Rejected,
    Remaining,
    Result,
    Results,
)
from ostraka.client import Ostraka
from ostraka.errors import (
    Conflict,
    Fault,
    InvalidRequest,
    JobTimeout,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    OstrakaError,
    Overloaded,
    ServerError,
    Unreachable,
)
from ostraka.fields import Changes, Conditions, Details, Embedding, NewMemory

__version__ = "0.1.0"

__all__ = [
    "Added",
    "AddedMany",
    "AsyncOstraka",
    "Changes",
    "Conditions",
    "Conflict",
    "Deleted",
    "Deletion",
    "Details",
    "Discarded",
    "Embedding",
    "EmbeddingSpace",
    "Erased",
    "Failure",
    "FailurePage",
    "Fault",
    "Health",
    "InvalidRequest",
    "Job",
    "JobError",
    "JobTimeout",
    "Memory",
    "Namespace",
    "NewMemory",
    "NotAllowed",
    "NotAuthenticated",
    "NotFound",
    "Ostraka",
    "OstrakaError",
    "Overloaded",
    "Page",
    "Rejected",
    "Remaining",
    "Result",
    "Results",
    "ServerError",
    "Unreachable",
]
