"""A record database as one SQLite file, as of one moment: what backups hold, wherever the record store is."""

import os
from pathlib import Path

from core.records.copying import copy_database
from core.records.engine import Database
from core.records.sqlite import SqliteDatabase, open_sqlite
from core.records.tablecopy import copy_table, tables_of


def copy_to_file(database: Database, target: Path) -> None:
    """Write a copy of a database, private and synced; others go on reading and writing.

    Raises ``Unavailable`` when the disk is full or the database cannot be read, ``FileExistsError``.
    """
    if isinstance(database, SqliteDatabase):
        copy_database(database.path, target)
        return
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    copy = open_sqlite(target, database.kind)
    try:
        with database.read() as source:  # one snapshot of all tables
            for table in tables_of(database.kind):
                copy_table(source, copy.write, table)
        copy.settle()
    finally:
        copy.close()
