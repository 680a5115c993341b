"""Freezing, and anchors by which an older record store is noticed."""

import sqlalchemy as sa
from alembic import op

revision = "control_0002"
down_revision = "control_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("store", sa.Column("frozen_at", sa.BigInteger(), nullable=True))
    op.add_column("store", sa.Column("frozen_until", sa.BigInteger(), nullable=True))
    op.add_column("companies", sa.Column("sealed_anchor", sa.LargeBinary(), nullable=True))
