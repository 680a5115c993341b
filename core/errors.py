"""Every error Ostraka raises on purpose, split by what the caller must do.

    OstrakaError
    ├── InvalidInput        the request is wrong: change it
    │   ├── Malformed       … it cannot even be parsed
    │   └── TooLarge        … by making it smaller
    ├── NotFound            it is not there, or not yours
    ├── Conflict            the state forbids it: read again, then decide
    │   └── OverQuota       … until something is deleted, or the operator allows more
    ├── Unauthenticated     no valid credential
    ├── Forbidden           a valid credential without the right
    ├── Busy                try again later; carries ``retry_after_s``
    ├── Unavailable         a part we need is down: try again, or call the operator
    │   ├── KeyUnusable     … or a key does not open: nothing is known of what it sealed
    │   ├── Interrupted     … or the record store broke off before anything was committed
    │   ├── Frozen          … or the operator copies the data; carries ``retry_after_s``
    │   └── DiskFull        … or there is no room for more; carries ``retry_after_s``
    ├── ConfigurationError  the operator must change a setting or a file
    ├── IntegrityError      stored bytes are not what we wrote: never retried, never parsed
    │   └── WrongKey        … or the key is not the one they were written with
    └── StaleGeneration     what a commit was built from is gone: rebuild from the new state

Only ``api`` maps these to HTTP status codes.
"""

from typing import ClassVar


class OstrakaError(Exception):
    """Root of the tree. ``code`` is stable and documented; ``field`` names the input at fault, if one is."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = code or type(self).code
        self.field = field


class InvalidInput(OstrakaError):
    """The request cannot be understood or breaks a rule; sending it again unchanged fails again."""

    code = "invalid_input"


class Malformed(InvalidInput):
    """The request is not well-formed JSON."""

    code = "malformed_json"


class TooLarge(InvalidInput):
    """The request exceeds a limit of ``core.limits``."""

    code = "too_large"


class NotFound(OstrakaError):
    """The thing does not exist, or belongs to somebody else; the two are never told apart."""

    code = "not_found"


class Conflict(OstrakaError):
    """The present state forbids the request."""

    code = "conflict"


class OverQuota(Conflict):
    """The company has as much as it may have."""

    code = "quota_exceeded"


class Unauthenticated(OstrakaError):
    """No credential, or one that is unknown, expired or revoked."""

    code = "unauthenticated"


class Forbidden(OstrakaError):
    """The credential is valid but lacks the scope or the namespace."""

    code = "forbidden"


class Busy(OstrakaError):
    """Too much work is waiting; ``retry_after_s`` says when to come back."""

    code = "busy"

    def __init__(self, message: str, *, retry_after_s: float = 1.0, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class Unavailable(OstrakaError):
    """A part that this call needs is not reachable."""

    code = "unavailable"


class KeyUnusable(Unavailable):
    """A key cannot be had or does not open. What it sealed may be sound: it must not be called broken."""

    code = "key_unusable"


class Interrupted(Unavailable):
    """The record store broke a transaction off, for no fault of it: nothing was committed, doing it anew may work."""

    code = "store_unavailable"


class Frozen(Unavailable):
    """The server takes no writes while its data is copied; ``retry_after_s`` says when to come back."""

    code = "frozen"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DiskFull(Unavailable):
    """The disk is nearly full: no more is taken in until somebody makes room; ``retry_after_s`` says when to ask."""

    code = "disk_full"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ConfigurationError(OstrakaError):
    """A setting, key or file is missing or impossible; the message names it and the remedy."""

    code = "configuration"


class IntegrityError(OstrakaError):
    """Stored bytes failed authentication: changed, truncated, moved or put back from an older state."""

    code = "integrity"


class WrongKey(IntegrityError):
    """The key at hand is not the one the data names."""

    code = "wrong_key"


class StaleGeneration(OstrakaError):
    """The namespace moved on while a shard was being built."""

    code = "stale_generation"


def kind_of(error: BaseException) -> str:
    """Return what an error may be called in a log: never its message, which may hold content."""
    return error.reason if isinstance(error, OstrakaError) else type(error).__name__
