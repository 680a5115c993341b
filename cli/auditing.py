"""Commands that change something, or take something out, are in the audit log: begun, and how they ended."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from core.audit.events import BEGUN, Event, result_of
from core.errors import Frozen
from core.records.control import ControlStore


@dataclass
class Note:
    """What a command concerns, by opaque ids, as far as it has found out."""

    company: str | None = None
    namespace: str | None = None
    target: str | None = None


@contextmanager
def recorded(control: ControlStore, action: str, *, while_frozen: bool = False) -> Iterator[Note]:
    """Record what the block does. It does not begin unless that is written, or goes on ``while_frozen``.

    Raises ``Frozen``, ``Unavailable``.
    """
    note, actor = Note(), f"cli:{os.getuid()}"
    try:
        control.audit.append([Event(actor, action, BEGUN)])
    except Frozen:
        if not while_frozen:
            raise
    failure: BaseException | None = None
    try:
        yield note
    except BaseException as error:
        failure = error
        raise
    finally:
        event = Event(actor, action, result_of(failure), note.company, note.namespace, note.target)
        with suppress(Frozen):  # the end of a freeze that took hold: nothing may be written now
            control.audit.append([event])
