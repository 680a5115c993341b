"""Commands that change something, or take something out, are in the audit log: begun, and how they ended."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import typer

from core.audit.events import BEGUN, Event, result_of
from core.errors import Frozen, OstrakaError
from core.records.control import ControlStore


@dataclass
class Note:
    """What a command concerns, by opaque ids, as far as it has found out."""

    company: str | None = None
    namespace: str | None = None
    target: str | None = None


@contextmanager
def recorded(
    control: ControlStore, action: str, *, while_frozen: bool = False, regardless: bool = False
) -> Iterator[Note]:
    """Record what the block does. It does not begin unless that is written.

    It begins ``while_frozen`` without, or ``regardless`` of why that cannot be. What it did stands, whether its end can
    be written or not. Raises ``Frozen``, ``Unavailable``, ``IntegrityError``, before the block.
    """
    note, actor = Note(), f"cli:{os.getuid()}"
    begun = Event(actor, action, BEGUN)
    if regardless:
        _write_if_possible(control, begun)
    else:
        try:
            control.audit.append([begun])
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
        ended = Event(actor, action, result_of(failure), note.company, note.namespace, note.target)
        _write_if_possible(control, ended)


def _write_if_possible(control: ControlStore, event: Event) -> None:
    """Write an entry, or say why not; a freeze goes without saying, and is in the log itself."""
    try:
        control.audit.append([event])
    except Frozen:
        pass
    except Exception as error:  # noqa: BLE001 - whatever it is, the command itself is not to suffer
        why = error.message if isinstance(error, OstrakaError) else type(error).__name__
        typer.echo(f"the audit log does not say that {event.action} is {event.result}: {why}", err=True)
