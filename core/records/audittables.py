"""The audit log's tables, in a database of its own: it slows no other, and a backup of one company leaves it out.

In the clear: numbers, times, opaque ids of companies.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table

from core.records.tables import _BIG_KEY, _NAMING

audit = MetaData(naming_convention=_NAMING)

entries = Table(
    "entries",
    audit,
    Column("seq", _BIG_KEY, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("company_id", String(40)),
    Column("sealed", LargeBinary, nullable=False),
    Column("link", LargeBinary(32), nullable=False),
    Index("ix_entries_at", "at", "seq"),
    Index("ix_entries_company_id", "company_id", "seq"),
)

chain = Table(
    "chain",
    audit,
    Column("id", Integer, primary_key=True, autoincrement=False),  # one row
    Column("sealed_base", LargeBinary),  # the last entry whose time was over: the chain begins behind it
    Column("frozen_at", BigInteger),
    Column("frozen_until", BigInteger),
)
