"""API keys."""

__all__ = ["downgrade", "upgrade"]

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the table of keys."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "hash",
            sa.String(128),
            nullable=False,
            comment="Of the key, which is stored nowhere",
        ),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column(
            "scopes",
            sa.String(200),
            nullable=False,
            comment="Separated by spaces, as in OAuth",
        ),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked", sa.DateTime(timezone=True)),
        sa.Column("last_used", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_index("ix_api_keys_hash", "api_keys", ["hash"], unique=True)


def downgrade() -> None:
    """Drop it."""
    op.drop_table("api_keys")
