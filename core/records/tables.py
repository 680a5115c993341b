"""The record store's tables. Times are microseconds since the epoch; LargeBinary columns are sealed or HMACs.

``control`` is one database for the server; ``company`` is one database (SQLite) or schema (PostgreSQL) for each
company. What rests in the clear is opaque: random ids, counters, states, times of processing, sizes.
"""

from enum import StrEnum
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    literal,
    text,
)

_NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
_BIG_KEY = BigInteger().with_variant(Integer, "sqlite")  # SQLite's rowid alias must be spelled INTEGER

control = MetaData(naming_convention=_NAMING)
company = MetaData(naming_convention=_NAMING)


class State(StrEnum):
    """Where a memory is on its way into the index."""

    PENDING = "pending"
    EMBEDDED = "embedded"
    INDEXED = "indexed"
    FAILED = "failed"
    DELETED = "deleted"


class Lane(StrEnum):
    """Which queue a memory travels: an agent waits behind it, or a backfill does."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


store = Table(
    "store",
    control,
    Column("id", String(40), primary_key=True),
    Column("master_key_id", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("frozen_at", BigInteger),
    Column("frozen_until", BigInteger),
    Column("sealed_audit_key", LargeBinary),  # by the master key
    Column("sealed_audit", LargeBinary),  # by the audit key: how far the log had come, so that a cut one is noticed
    Column("keys_erased_at", BigInteger),  # wrapped keys were erased, and the write-ahead log may still hold them
)

companies = Table(
    "companies",
    control,
    Column("id", String(40), primary_key=True),
    Column("handle", LargeBinary(32), unique=True),
    Column("sealed_name", LargeBinary),
    Column("sealed_terms", LargeBinary),  # what it may use, and whether it is suspended
    Column("sealed_roll", LargeBinary),  # a digest of its API keys: one put back from an older copy is noticed
    Column("sealed_anchor", LargeBinary),  # how far its record store had come: an older one put back is noticed
    Column("created_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),  # its keys are destroyed, its name forgotten
    Column("removed_at", BigInteger),  # its files are gone, too
)

company_keys = Table(
    "company_keys",
    control,
    Column("company_id", String(40), ForeignKey("companies.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    control,
    Column("id", String(40), primary_key=True),
    Column("company_id", String(40), ForeignKey("companies.id"), nullable=False, index=True),
    Column("secret_hash", LargeBinary(32), nullable=False, unique=True),
    Column("sealed_grant", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),  # of an earlier version, as the next one: the sealed grant says it now
    Column("revoked_at", BigInteger),
)

counters = Table(
    "counters",
    company,
    Column("name", String(40), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

leases = Table(
    "leases",
    company,
    Column("name", String(80), primary_key=True),
    Column("token", String(40), nullable=False),
    Column("until", BigInteger, nullable=False),
)

namespaces = Table(
    "namespaces",
    company,
    Column("id", _BIG_KEY, primary_key=True, autoincrement=True),
    Column("public_id", String(40), nullable=False, unique=True),
    Column("handle", LargeBinary(32), unique=True),
    Column("sealed", LargeBinary),
    Column("generation", BigInteger, nullable=False, server_default="0"),
    Column("overlay_version", BigInteger, nullable=False, server_default="0"),
    Column("fingerprint", String(80)),
    Column("key_version", Integer, nullable=False, server_default="1"),  # the newest: what seals
    Column("sealed_state", LargeBinary),  # generation, shards and key version, as one: no part can be put back alone
    Column("created_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    sqlite_autoincrement=True,
)

namespace_keys = Table(
    "namespace_keys",
    company,
    Column("namespace_id", _BIG_KEY, ForeignKey("namespaces.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

jobs = Table(
    "jobs",
    company,
    Column("id", _BIG_KEY, primary_key=True, autoincrement=False),
    Column("public_id", String(40), nullable=False, unique=True),
    Column("namespace_id", _BIG_KEY, ForeignKey("namespaces.id"), nullable=False, index=True),
    Column("lane", String(12), nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("idempotency", LargeBinary(32), unique=True),
    Column("request_hash", LargeBinary(32)),  # an HMAC; none: accepted before schema 3
    Column("sealed_answer", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
)

deletions = Table(
    "deletions",
    company,
    Column("id", _BIG_KEY, primary_key=True, autoincrement=True),
    Column("public_id", String(40), nullable=False, unique=True),
    Column("namespace_id", _BIG_KEY, ForeignKey("namespaces.id"), nullable=False, index=True),
    Column("kind", String(12), nullable=False),
    Column("sealed_scope", LargeBinary),  # what to delete, until all of it is found: an interrupted one goes on
    Column("rows", Integer, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("purge_due_at", BigInteger, nullable=False),
    Column("purged_at", BigInteger),
    Index(
        "ix_deletions_unpurged",
        "id",
        sqlite_where=text("purged_at IS NULL"),
        postgresql_where=text("purged_at IS NULL"),
    ),
    sqlite_autoincrement=True,
)

memories = Table(
    "memories",
    company,
    Column("id", _BIG_KEY, primary_key=True, autoincrement=False),
    Column("namespace_id", _BIG_KEY, ForeignKey("namespaces.id"), nullable=False),
    Column("job_id", _BIG_KEY, ForeignKey("jobs.id"), nullable=False),
    Column("handle", LargeBinary(32), nullable=False),
    Column("session", LargeBinary(32)),
    Column("version", Integer, nullable=False),
    Column("state", String(10), nullable=False),
    Column("lane", String(12), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("closed_at", BigInteger),
    Column("closed_by", BigInteger),
    Column("deleted_at", BigInteger),
    Column("deletion_id", BigInteger),  # the receipt; none: its time ran out
    # Deleted or closed after its shard was built: a search must mask it until a shard is built that knows.
    Column("overlay", Boolean, nullable=False, server_default=text("false")),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("lease", String(40)),
    Column("lease_until", BigInteger),
    Column("error", String(60)),
    Column("bytes", Integer, nullable=False),
    Column("sealed", LargeBinary),
    Column("sealed_vectors", LargeBinary),
    Column("fingerprint", String(80)),
    Index("ix_memories_job", "job_id", "state", "error"),  # a job's progress is read from here alone
    Index("ix_memories_handle", "namespace_id", "handle"),
    Index(
        "ix_memories_kept",  # grows at its end, and changes again only when a row is deleted
        "id",
        "bytes",
        "deleted_at",  # always null: without it SQLite looks at each row for the condition
        sqlite_where=text("deleted_at IS NULL"),
        postgresql_where=text("deleted_at IS NULL"),
    ),
    Index("ix_memories_session", "namespace_id", "session", "id"),
    Index(
        "ix_memories_pending",
        "lane",
        "id",
        "namespace_id",
        "bytes",
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
    Index(
        "ix_memories_embedded",
        "namespace_id",
        "lane",
        "id",
        "created_at",
        "bytes",
        sqlite_where=text("state = 'embedded'"),
        postgresql_where=text("state = 'embedded'"),
    ),
    Index(
        "ix_memories_expiry",
        "expires_at",
        sqlite_where=text("expires_at IS NOT NULL"),
        postgresql_where=text("expires_at IS NOT NULL"),
    ),
    Index(
        "ix_memories_expiring",
        "expires_at",
        "namespace_id",
        sqlite_where=text("expires_at IS NOT NULL AND state != 'deleted'"),
        postgresql_where=text("expires_at IS NOT NULL AND state != 'deleted'"),
    ),
    Index(
        "ix_memories_failed",
        "namespace_id",
        "id",
        sqlite_where=text("state = 'failed'"),
        postgresql_where=text("state = 'failed'"),
    ),
    Index(
        "ix_memories_deletion",
        "deletion_id",
        "overlay",
        sqlite_where=text("deletion_id IS NOT NULL"),
        postgresql_where=text("deletion_id IS NOT NULL"),
    ),
    Index(
        "ix_memories_overlay",
        "namespace_id",
        "id",
        sqlite_where=text("overlay = 1"),  # as SQLAlchemy spells a boolean there; the planner compares the text
        postgresql_where=text("overlay"),
    ),
)

# A literal: with a parameter SQLite does not know what an index of these rows alone holds, and reads each of them.
IS_EMBEDDED: Final = memories.c.state == literal(State.EMBEDDED.value, literal_execute=True)

shards = Table(
    "shards",
    company,
    Column("id", _BIG_KEY, primary_key=True, autoincrement=True),
    Column("public_id", String(40), nullable=False, unique=True),
    Column("namespace_id", _BIG_KEY, ForeignKey("namespaces.id"), nullable=False, index=True),
    Column("tier", Integer, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("key_version", Integer, nullable=False),
    Column("fingerprint", String(80), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("build_s", Float, nullable=False),
    Column("members", LargeBinary, nullable=False),  # the ids it holds, packed: a lost shard is built anew from them
    Column("quarantined_at", BigInteger),  # its blob is missing or was refused
    Column("created_at", BigInteger, nullable=False),
    Column("retired_at", BigInteger),
    sqlite_autoincrement=True,
)
