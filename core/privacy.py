"""Reading files that hold secrets: only where nobody but us, or root, could have read or replaced them."""

import os
import stat
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from core.errors import ConfigurationError

_BYTES_MAX: Final = 64 * 1024  # keys and tokens are short; anything longer is another file


def read_private(path: Path) -> bytes:
    """Return what a private file holds, at most 64 KiB of it.

    Raises ``FileNotFoundError``, and ``ConfigurationError`` when it is no file, cannot be read, is another user's, or
    others may read or replace it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer would block
        try:
            _refuse_shared(path, os.fstat(descriptor))
            return os.read(descriptor, _BYTES_MAX)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigurationError(f"the file {path} cannot be read: {error.strerror}; correct it") from None


def read_password(path: Path, setting: str) -> str:
    """Return the password in the private file that a setting names: its text, without the space around it.

    Raises ``ConfigurationError``, which names the setting, when there is none to be had.
    """
    try:
        password = read_private(path).decode().strip()
    except FileNotFoundError:
        raise ConfigurationError(f"{setting}: there is no file {path}; create it") from None
    except UnicodeDecodeError:
        password = ""
    if not password:
        raise ConfigurationError(f"{setting}: {path} holds no password; write one line of text")
    return password


def exposed_bits(mode: int, owner: int, group: int, *, user: int, groups: AbstractSet[int]) -> int:
    """Return the mode bits by which somebody else than ``user``, of ``groups``, could use a file.

    What root gave to a group of ours to read is ours: so Kubernetes mounts its secrets. A root of its own has no such
    group.
    """
    given = stat.S_IRGRP if owner == 0 != user and group in groups else 0
    return mode & 0o077 & ~given


def _refuse_shared(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(f"{path} is no file; name one")
    if found.st_uid not in {0, os.geteuid()}:
        raise ConfigurationError(f"the file {path} belongs to another user; run chown on it")
    groups = {os.getegid(), *os.getgroups()}
    if exposed_bits(found.st_mode, found.st_uid, found.st_gid, user=os.geteuid(), groups=groups):
        raise ConfigurationError(f"the file {path} is readable by others; run chmod 600 on it")
    for folder in {path.parent.resolve(), path.resolve().parent}:  # of the file, and of a link to it
        mode = folder.stat().st_mode
        if mode & 0o022 and not mode & stat.S_ISVTX:
            raise ConfigurationError(f"others may replace {path}; run chmod go-w on {folder}")
