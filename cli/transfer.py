"""``ostraka export`` and ``import``: a namespace as JSON lines, the way in and out. In the clear: see where they go."""

import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import orjson
import typer
from pydantic import ValidationError, field_validator
from rich.console import Console
from rich.progress import Progress
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from cli.auditing import recorded
from cli.backfill.lines import read_lines
from cli.faults import said_of
from cli.options import Config, Data, checked_namespace, control_of, opened_control, settings_of
from core import limits
from core.clock import to_us
from core.durability import write_whole
from core.errors import Busy, ConfigurationError, OstrakaError
from core.memory import NewMemory, stored_bytes
from core.pipeline.admission import UNBOUNDED, Admission
from core.records.backlog import Load
from core.records.companies import DEFAULT_COMPANY
from core.records.company import CompanyRecords, Namespace
from core.records.tables import Lane
from core.records.writes import WriteRequest, commit_writes
from core.settings import Settings
from core.vectors import GivenVector

if TYPE_CHECKING:
    from core.records.reading import MemoryView

_PAGE_ROWS: Final = 500
_BATCH_ROWS: Final = 1_000
_BATCH_BYTES: Final = 8 * 2**20
_STANDARD: Final = Path("-")

Company = Annotated[str, typer.Option(help="Whose namespace.")]


class ImportedMemory(NewMemory):
    """A line of an import: as in POST /v1/memory; what an export adds is read over."""

    namespace: object = None
    created_at: object = None

    @field_validator("embedding")
    @classmethod
    def _not_here(cls, value: GivenVector | None) -> None:
        if value is not None:
            raise ValueError("is for a server to judge; write vectors of your own with `ostraka backfill`")


def export_(
    namespace: Annotated[str, typer.Argument(help="What to export.")],
    company: Company = DEFAULT_COMPANY,
    out: Annotated[Path, typer.Option(help="File to write; - is standard output.")] = _STANDARD,
    config: Config = None,
    data: Data = None,
) -> None:
    """Write the present memories of a namespace as JSON lines, readable by anybody. Versions before are left out."""
    if sys.stderr.isatty():
        typer.secho("What is written is not encrypted.", err=True, fg="yellow")
    with control_of(config, data) as control, recorded(control, "namespace.export") as note:
        records = control.records(control.find_company(company).id)
        opened = records.namespace(namespace)
        note.company, note.namespace = records.company, opened.public_id
        export = _Export(records, opened)
        if out == _STANDARD:
            sys.stdout.buffer.writelines(export.lines())
            sys.stdout.buffer.flush()
        else:
            try:
                write_whole(out.absolute(), export.lines())
            except OSError as error:
                raise ConfigurationError(f"--out: {out} cannot be written: {error.strerror}; choose another") from None
    if export.refused:
        typer.echo(f"{export.refused} memories were changed on the disk and are left out: restore a backup", err=True)
        raise typer.Exit(1)


def import_(
    file: Annotated[Path, typer.Argument(help="JSON lines, one memory each; - is standard input.")],
    namespace: Annotated[str, typer.Option(help="Where to write; made if it is not there.")],
    company: Company = DEFAULT_COMPANY,
    config: Config = None,
    data: Data = None,
) -> None:
    """Write memories from JSON lines, such as an export. Lines that are wrong are named and passed over.

    A running server, or the next one to start, embeds and indexes them.
    """
    settings = settings_of(config, data)
    name = checked_namespace(namespace)
    with ExitStack() as stack:
        source = _open(file, stack)
        control = stack.enter_context(opened_control(settings))
        note = stack.enter_context(recorded(control, "namespace.import"))
        records = control.records(control.find_company(company).id)
        opened = records.ensure_namespace(name)
        note.company, note.namespace = records.company, opened.public_id
        accepted, rejected = _import(source, _Writer(records, opened, settings))
    typer.echo(f"{accepted} memories written, {rejected} lines rejected")
    if rejected:
        raise typer.Exit(1)


class _Writer:
    """Writes memories in bulk, a job for each batch, no faster than the server lets anybody."""

    def __init__(self, records: CompanyRecords, namespace: Namespace, settings: Settings) -> None:
        self._records = records
        self._namespace = namespace
        self._waited = False
        self._admission = Admission(
            records.database,
            Load(settings.queue.depth_max, settings.queue.bytes_max),
            free_bytes=lambda: shutil.disk_usage(records.folder).free,
            free_bytes_min=settings.storage.free_bytes_min,
            quota=lambda: UNBOUNDED,  # the operator decides it here
        )

    def write(self, items: Sequence[NewMemory]) -> None:
        """Write a batch durably, waiting while too much is on its way. Raises ``Unavailable``, ``Frozen``."""
        retrying = Retrying(
            retry=retry_if_exception_type(Busy), wait=_wished_wait, before_sleep=self._say_why, reraise=True
        )
        retrying(self._try, items)

    def _say_why(self, _: RetryCallState) -> None:
        if not self._waited:
            typer.echo("too much waits to be indexed: going on as it drains; a worker must be running", err=True)
        self._waited = True

    def _try(self, items: Sequence[NewMemory]) -> None:
        if self._admission.due:
            self._admission.measure()
        request = WriteRequest(self._namespace, items, Lane.BULK)
        with (
            self._admission.admitted(Lane.BULK, len(items), stored_bytes(items)),
            self._records.database.write() as connection,
        ):
            commit_writes(connection, [request], self._records.clock())


def _import(source: BinaryIO, writer: _Writer) -> tuple[int, int]:
    """Write what the lines hold; return how many were accepted and rejected."""
    console = Console(stderr=True)
    accepted = rejected = 0
    batch: list[NewMemory] = []
    held_bytes = 0
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Writing memories", total=None)
        for number, line in read_lines(source):
            if line is None:
                rejected += 1
                typer.echo(f"line {number}: is longer than {limits.BODY_BYTES_MAX} bytes; split it", err=True)
                continue
            if not line.strip():
                continue
            try:
                batch.append(ImportedMemory.model_validate_json(line))
            except ValidationError as error:
                rejected += 1
                typer.echo(f"line {number}: {said_of(error)}", err=True)
                continue
            held_bytes += len(line)
            if len(batch) == _BATCH_ROWS or held_bytes >= _BATCH_BYTES:
                _write(writer, batch, accepted)
                accepted += len(batch)
                progress.update(task, completed=accepted)
                batch, held_bytes = [], 0
        if batch:
            _write(writer, batch, accepted)
    return accepted + len(batch), rejected


def _write(writer: _Writer, batch: Sequence[NewMemory], accepted: int) -> None:
    """Write a batch; where that fails, say how far it came, because repeating all of it would write that twice."""
    try:
        writer.write(batch)
    except OstrakaError:
        typer.echo(f"{accepted} memories were written, in the order of their lines, before this:", err=True)
        raise


class _Export:
    """The present memories of a namespace as lines that can be written again; ``refused`` counts those left out."""

    def __init__(self, records: CompanyRecords, namespace: Namespace) -> None:
        self._records = records
        self._namespace = namespace
        self.refused = 0

    def lines(self) -> Iterator[bytes]:
        """Yield the lines, once."""
        from core.records.reading import list_memories  # noqa: PLC0415 - other commands need none of the index

        after: int | None = 0
        while after is not None:
            page = list_memories(self._records, self._namespace, after=after, limit=_PAGE_ROWS)
            self.refused += page.refused
            for memory in page.memories:
                yield self._line(memory)
            after = page.next_after

    def _line(self, memory: "MemoryView") -> bytes:
        fields: dict[str, Any] = {
            "namespace": self._namespace.name,
            "id": memory.id,
            "content": memory.content,
            "metadata": memory.metadata,
            "session": memory.session,
            "tags": memory.tags,
            "importance": memory.importance,
            "occurred_at": memory.occurred_at,
            "created_at": memory.created_at,
        }
        if memory.expires_at is not None:
            left_s = math.ceil((to_us(memory.expires_at) - self._records.clock()) / 1e6)
            fields["ttl_seconds"] = max(1, left_s)
        return orjson.dumps(fields, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


def _open(file: Path, stack: ExitStack) -> BinaryIO:
    if file == _STANDARD:
        return sys.stdin.buffer
    try:
        return stack.enter_context(file.open("rb"))
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}; name another file") from None


def _wished_wait(state: RetryCallState) -> float:
    """Wait as long as the refusal asks for."""
    error = state.outcome.exception() if state.outcome else None
    return error.retry_after_s if isinstance(error, Busy) else 0.0
