"""Copies of a database file that is in use: made whole at one moment, read without changing them."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, NullPool, create_engine

from core.durability import sync
from core.errors import Unavailable

_BUSY_TIMEOUT_S: Final = 30


def copy_database(source: Path, target: Path) -> None:
    """Write a copy of a database as it is at one moment, private and synced; others go on reading and writing.

    Raises ``Unavailable`` when the disk is full or the database cannot be read, ``FileExistsError``.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    uri = f"{source.absolute().as_uri()}?mode=rw"
    try:
        with (
            closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S)) as original,
            closing(sqlite3.connect(target)) as copy,
        ):
            original.backup(copy)
    except sqlite3.Error as error:
        raise Unavailable(f"a database cannot be copied: {error}", code="store_unavailable") from None
    sync(target)


def rewrite_copy(path: Path) -> None:
    """Write a copy that nobody else has open anew, so that it holds nothing but its rows. Raises ``Unavailable``."""
    try:
        with closing(sqlite3.connect(path)) as copy:
            copy.execute("VACUUM")
    except sqlite3.Error as error:
        raise Unavailable(f"a database cannot be copied: {error}", code="store_unavailable") from None
    sync(path)


@contextmanager
def read_copy(path: Path) -> Iterator[Connection]:
    """Yield a connection to a copy that nobody changes; no file beside it is needed or made."""
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    engine = create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(uri, uri=True), poolclass=NullPool, hide_parameters=True
    )
    with engine.connect() as connection:
        yield connection


@contextmanager
def edit_copy(path: Path) -> Iterator[Connection]:
    """Yield a connection in one transaction on a copy that nobody else has open; erased values are overwritten."""
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, hide_parameters=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA secure_delete=ON")
        yield connection
    sync(path)
