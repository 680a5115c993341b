"""Keeping keys and passwords inside the processes that need them: no core dumps, no variables, a pipe for one child."""

import ctypes
import json
import os
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from core.crypto.keysource import SECRET_VARIABLES
from core.databaseurl import ENV_PASSWORD, is_database_url, split_password
from core.errors import ConfigurationError
from core.settings import ENV_DATABASE_URL, ENV_SECRETS

_PR_SET_DUMPABLE: Final = 4
_SECRETS: Final = (*SECRET_VARIABLES, ENV_PASSWORD)


def take_secrets() -> dict[str, str]:
    """Return the variables that hold secrets, and make this process one that tells nobody.

    It leaves no core dump, its memory is closed to other processes of its user, and it has these variables no more. The
    kernel shows the variables that a process began with for as long as it lives: where a secret is among them, the
    process begins anew without, and reads it from a pipe. Raises ``ConfigurationError`` when there is no such pipe, or
    the kernel refuses.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        _close_memory()
    _set_password_apart()
    if found := {name: os.environ[name] for name in _SECRETS if name in os.environ}:
        _begin_anew(found)
    number = os.environ.pop(ENV_SECRETS, None)
    if number is None:
        return {}
    try:
        with open(int(number), "rb") as pipe:  # noqa: PTH123 - a descriptor has no path
            return dict(json.load(pipe))
    except (OSError, ValueError):
        raise ConfigurationError(f"{ENV_SECRETS}: is for `ostraka serve` and its worker alone; unset it") from None


@contextmanager
def handed_over(secrets: Mapping[str, str]) -> Iterator[tuple[tuple[int, ...], dict[str, str]]]:
    """Yield what one child must inherit to take the secrets: descriptors and variables; none where there are none."""
    if not secrets:
        yield (), {}
        return
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as pipe:  # a pipe holds 64 KiB: nobody need read it yet
            pipe.write(json.dumps(dict(secrets)).encode())
        yield (reading,), {ENV_SECRETS: str(reading)}
    finally:
        os.close(reading)


def _set_password_apart() -> None:
    """Take the password of the database out of its address, which everybody may see."""
    url = os.environ.get(ENV_DATABASE_URL, "")
    if not is_database_url(url):
        return
    bare, password = split_password(url)
    if password is None:
        return
    if ENV_PASSWORD in os.environ:
        raise ConfigurationError(f"{ENV_DATABASE_URL} and {ENV_PASSWORD} both give a password; keep one of them")
    os.environ |= {ENV_DATABASE_URL: bare, ENV_PASSWORD: password}


def _close_memory() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise ConfigurationError(f"the kernel does not close this process's memory ({reason}); allow it prctl")


def _begin_anew(secrets: Mapping[str, str]) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in secrets}
    with handed_over(secrets) as (descriptors, variables):
        for descriptor in descriptors:
            os.set_inheritable(descriptor, True)
        os.execve(sys.executable, sys.orig_argv, kept | variables)  # noqa: S606 - the command line is our own
