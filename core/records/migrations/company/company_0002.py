"""Deletion receipts; shards that say what they hold.

The shards of the first schema do not say it, so the index is built anew from the record store: every indexed row
becomes an embedded one, its vector kept, and the blobs of the old shards are garbage.
"""

import sqlalchemy as sa
from alembic import op

revision = "company_0002"
down_revision = "company_0001"
branch_labels = None
depends_on = None

_BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _deletions()
    _memories()
    _shards()
    op.execute("UPDATE memories SET state = 'embedded' WHERE state = 'indexed'")
    # What was deleted without a receipt counts as expired, which the ledger finds by the time it ran out.
    op.execute("UPDATE memories SET expires_at = coalesce(expires_at, deleted_at) WHERE state = 'deleted'")
    op.execute("UPDATE namespaces SET generation = generation + 1, overlay_version = overlay_version + 1")


def _deletions() -> None:
    op.create_table(
        "deletions",
        sa.Column("id", _BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("namespace_id", _BIG_KEY, nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("sealed_scope", sa.LargeBinary(), nullable=True),
        sa.Column("rows", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("purge_due_at", sa.BigInteger(), nullable=False),
        sa.Column("purged_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"]),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deletions")),
        sa.UniqueConstraint("public_id", name=op.f("uq_deletions_public_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_deletions_namespace_id"), "deletions", ["namespace_id"])
    unpurged = sa.text("purged_at IS NULL")
    op.create_index("ix_deletions_unpurged", "deletions", ["id"], sqlite_where=unpurged, postgresql_where=unpurged)


def _memories() -> None:
    op.add_column("memories", sa.Column("deletion_id", sa.BigInteger(), nullable=True))
    for name in ("ix_memories_pending", "ix_memories_embedded"):
        op.drop_index(name, "memories")
    for name, columns, where in (
        ("ix_memories_pending", ["lane", "id", "namespace_id", "bytes"], "state = 'pending'"),
        ("ix_memories_embedded", ["namespace_id", "lane", "id", "created_at", "bytes"], "state = 'embedded'"),
        ("ix_memories_expiring", ["expires_at", "namespace_id"], "expires_at IS NOT NULL AND state != 'deleted'"),
        ("ix_memories_failed", ["namespace_id", "id"], "state = 'failed'"),
        ("ix_memories_deletion", ["deletion_id", "overlay"], "deletion_id IS NOT NULL"),
    ):
        op.create_index(name, "memories", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _shards() -> None:
    op.drop_table("shards")
    op.create_table(
        "shards",
        sa.Column("id", _BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("namespace_id", _BIG_KEY, nullable=False),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=80), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("build_s", sa.Float(), nullable=False),
        sa.Column("members", sa.LargeBinary(), nullable=False),
        sa.Column("quarantined_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"]),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shards")),
        sa.UniqueConstraint("public_id", name=op.f("uq_shards_public_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_shards_namespace_id"), "shards", ["namespace_id"])
