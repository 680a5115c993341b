"""TLS without a proxy: the server's certificate, and its renewal while the server runs."""

import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog

from core.errors import ConfigurationError

log = structlog.get_logger()

_LOOK_S: Final = 1.0  # between looks for a renewed certificate
_EXPOSED: Final = 0o027  # a key's mode bits: a group may read it, as Debian's ssl-cert does; nobody else
_Marks = tuple[tuple[int, ...] | None, ...]


class Certificate:
    """A certificate and its key, presented to new connections as the files are now.

    Both are loaded into a context of their own before any connection sees them: a half-written pair, a missing file or
    a key that does not fit leaves the old one in use, and the log says so. Open connections keep theirs.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        """Load the pair. Raises ``ConfigurationError`` naming the setting at fault."""
        self._cert, self._key = cert, key
        self._seen = self._marks()
        self._asked = False
        self._current = _load(cert, key)
        self.context = _load(cert, key)
        self.context.sni_callback = self._present
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._look_often, name="certificate", daemon=True)
        self._watch.start()

    def renew(self, *_: Any) -> None:
        """Look at the files again whether they seem changed or not; a signal handler, so it only leaves a note."""
        self._asked = True

    def close(self) -> None:
        """Stop watching the files."""
        self._closed.set()
        self._watch.join()

    def _present(self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        """Give a connection that begins the present certificate; OpenSSL asks before it chooses one."""
        connection.context = self._current

    def _look_often(self) -> None:
        while not self._closed.wait(_LOOK_S):
            self._look()

    def _look(self) -> None:
        marks = self._marks()
        if marks == self._seen and not self._asked:
            return
        self._seen, self._asked = marks, False  # before loading: what changes meanwhile is seen the next time
        try:
            self._current = _load(self._cert, self._key)
        except ConfigurationError as error:
            log.warning("certificate_kept", reason=error.message, meaning="the one loaded before stays in use")
        else:
            log.info("certificate_loaded", file=str(self._cert))

    def _marks(self) -> _Marks:
        return _mark(self._cert), _mark(self._key)


def _mark(path: Path) -> tuple[int, ...] | None:
    """Return what changes when a file is written, replaced, or comes to be another behind a link."""
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    return None


def _load(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    for name, path in (("tls_cert", cert), ("tls_key", key)):
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise ConfigurationError(f"[server] {name}: {path} cannot be read: {error.strerror}; correct it") from None
    try:
        if key.stat().st_mode & _EXPOSED:
            raise ConfigurationError(f"[server] tls_key: {key} is open to others; run chmod 600 on it")
        context.load_cert_chain(cert, key, password="")
    except OSError as error:  # OpenSSL's errors are of this kind
        raise ConfigurationError(
            f"[server] tls_key: {key} is not the key of {cert}, or one of them is not PEM without a pass phrase "
            f"({getattr(error, 'reason', None) or error.strerror}); correct them"
        ) from None
    return context
