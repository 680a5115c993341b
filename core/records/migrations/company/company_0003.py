"""Rotation of keys, namespaces that seal their state, progress of jobs from an index."""

import sqlalchemy as sa
from alembic import op

revision = "company_0003"
down_revision = "company_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _jobs()
    _states()
    _quotas()


def _jobs() -> None:
    op.drop_index("ix_memories_job_id", "memories")
    op.create_index("ix_memories_job", "memories", ["job_id", "state", "error"])
    # Plain digests of requests: what was sent could be guessed from them. They are HMACs from here on.
    op.execute("UPDATE jobs SET request_hash = NULL WHERE request_hash IS NOT NULL")


def _states() -> None:
    op.add_column("namespaces", sa.Column("key_version", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("namespaces", sa.Column("sealed_state", sa.LargeBinary(), nullable=True))


def _quotas() -> None:
    kept = sa.text("deleted_at IS NULL")
    columns = ["id", "bytes", "deleted_at"]
    op.create_index("ix_memories_kept", "memories", columns, sqlite_where=kept, postgresql_where=kept)
