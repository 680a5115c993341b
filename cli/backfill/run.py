"""One backfill from its first row to its last answer."""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from ostraka import Ostraka
from platformdirs import user_state_path

from cli.backfill.chunks import Chunk, cut
from cli.backfill.journal import Journal
from cli.backfill.judging import Judge
from cli.backfill.mapping import Routes
from cli.backfill.reading import FaultFound, Progress, check_columns, read_rows
from cli.backfill.sending import Sender
from cli.backfill.sources import Source
from cli.backfill.tally import Tally
from core.errors import ConfigurationError
from core.privacy import read_private
from core.vectors import VectorSpace

API_KEY: Final = "OSTRAKA_API_KEY"
_ANSWER_S: Final = 120.0  # a call's answer may take this long: a busy disk, a large group of writers


@dataclass(frozen=True)
class Options:
    """What the flags say."""

    sources: Sequence[Source]
    routes: Routes
    namespace: str
    url: str
    key_file: Path | None
    delimiter: str | None
    dry: bool
    strict: bool
    name: str
    journal: Path | None
    in_flight: int
    patience_s: float


class Run:
    """Reads, judges, cuts and sends; ``watch`` is called after each step, and when the server asks to wait."""

    def __init__(self, options: Options, tally: Tally) -> None:
        self.tally = tally
        self.progress = Progress(sum(source.bytes for source in options.sources))
        self.full = False  # the server asked to wait, and has not answered since
        self.watch: Callable[[], None] = lambda: None
        self._options = options

    def perform(self) -> int:
        """Do all of it; return the exit status.

        Raises ``ConfigurationError`` for what the flags must change, and the client's ``OstrakaError`` for what the
        server does not take.
        """
        options = self._options
        check_columns(options.sources, options.routes, options.delimiter)
        try:
            if options.dry:
                self._each(Judge(options.routes, options.namespace, "", None), b"", lambda _: None)
            else:
                self._write()
        except FaultFound:
            return 1
        return 1 if self.tally.rejected else 0

    def _write(self) -> None:
        options = self._options
        with ExitStack() as stack:
            client = stack.enter_context(_client(options))
            found = client.create_namespace(options.namespace)
            space = VectorSpace(found.embedding.fingerprint, found.embedding.dim) if found.embedding else None
            made_by = options.routes.fingerprint
            if space and made_by not in {None, space.fingerprint}:
                raise ConfigurationError(
                    f"--fingerprint: the server's vectors are of {space.fingerprint}; bring such, or leave them out "
                    "with --skip, and it embeds the content"
                )
            salt = hashlib.sha256(f"{found.id}\0{options.name}".encode()).digest()
            default = user_state_path("ostraka") / "backfill" / f"{salt.hex()[:32]}.journal"
            journal = stack.enter_context(Journal(options.journal or default))
            sender = Sender(
                client,
                journal,
                self.tally,
                in_flight=options.in_flight,
                patience_s=options.patience_s,
                full=self._wait_shown,
            )
            stack.callback(sender.close)
            self._each(Judge(options.routes, options.namespace, found.id, space), salt, sender.send)
            sender.finish()
            journal.remove()

    def _each(self, judge: Judge, salt: bytes, use: Callable[[Chunk], None]) -> None:
        options = self._options
        rows = read_rows(options.sources, options.routes, judge, self.tally, self.progress, options.delimiter)
        for chunk in cut(rows, salt):
            self.watch()
            use(chunk)
            self.full = False
        self.watch()

    def _wait_shown(self) -> None:
        self.full = True
        self.watch()


def _client(options: Options) -> Ostraka:
    key = os.environ.get(API_KEY)
    if options.key_file is not None:
        try:
            key = read_private(options.key_file).decode("ascii").strip()
        except FileNotFoundError:
            raise ConfigurationError(f"--key-file: there is no file {options.key_file}; correct it") from None
        except UnicodeDecodeError:
            raise ConfigurationError(f"--key-file: {options.key_file} holds no API key; name another") from None
    bound = httpx.Limits(max_connections=options.in_flight, max_keepalive_connections=options.in_flight)
    try:
        return Ostraka(options.url, key, _ANSWER_S, transport=httpx.HTTPTransport(limits=bound))
    except ValueError as error:
        raise ConfigurationError(f"--url: {error}") from None
