"""Companies that end, what guards API keys and their revocation, the audit log's head, rotation."""

import sqlalchemy as sa
from alembic import op

revision = "control_0003"
down_revision = "control_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _companies()
    _api_keys()
    _audit()
    _rotation()


def _companies() -> None:
    """A company that has ended keeps its id alone: no name, no handle, no key."""
    with op.batch_alter_table("companies") as table:
        table.alter_column("handle", existing_type=sa.LargeBinary(length=32), nullable=True)
        table.alter_column("sealed_name", existing_type=sa.LargeBinary(), nullable=True)
        table.add_column(sa.Column("sealed_terms", sa.LargeBinary(), nullable=True))
        table.add_column(sa.Column("deleted_at", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("removed_at", sa.BigInteger(), nullable=True))
    companies = sa.table("companies", sa.column("sealed_terms", sa.LargeBinary()))
    op.execute(companies.update().values(sealed_terms=b""))  # the start that follows has the key to seal them


def _api_keys() -> None:
    """Companies that are there already wait for their keys to be taken over."""
    op.add_column("companies", sa.Column("sealed_roll", sa.LargeBinary(), nullable=True))
    companies = sa.table("companies", sa.column("sealed_roll", sa.LargeBinary))
    op.execute(sa.update(companies).values(sealed_roll=b""))
    op.create_index(op.f("ix_api_keys_company_id"), "api_keys", ["company_id"])


def _audit() -> None:
    op.add_column("store", sa.Column("sealed_audit_key", sa.LargeBinary(), nullable=True))
    op.add_column("store", sa.Column("sealed_audit", sa.LargeBinary(), nullable=True))


def _rotation() -> None:
    op.add_column("store", sa.Column("keys_erased_at", sa.BigInteger(), nullable=True))
