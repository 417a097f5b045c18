"""The log of inferences."""

__all__ = ["downgrade", "upgrade"]

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the log."""
    op.create_table(
        "inferences",
        sa.Column(
            "id",
            sa.Uuid(),
            nullable=False,
            comment="Made by the service: writing again is harmless",
        ),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("principal", sa.String(200), nullable=False),
        sa.Column("transport", sa.String(16), nullable=False),
        sa.Column("model_name", sa.String(200), nullable=False),
        sa.Column("model_version", sa.String(64), nullable=False),
        sa.Column("model_digest", sa.String(64), nullable=False),
        sa.Column("observation_digest", sa.String(64), nullable=False),
        sa.Column(
            "observation",
            sa.LargeBinary(),
            comment="msgpack, only where settings ask for it",
        ),
        sa.Column("intervention", sa.Text(), nullable=False),
        sa.Column("hold", sa.Text(), nullable=False),
        sa.Column("samples", sa.Integer()),
        sa.Column("seed", sa.BigInteger()),
        sa.Column("redshift", sa.Double()),
        sa.Column(
            "summary",
            sa.JSON().with_variant(JSONB(), "postgresql"),
            comment="Medians of the latent state in both worlds",
        ),
        sa.Column("latency_ms", sa.Double(), nullable=False),
        sa.Column("confidence", sa.Double()),
        sa.Column("quality", sa.BigInteger(), nullable=False, comment="Bits of acie.QualityFlag"),
        sa.Column("status", sa.String(8), nullable=False, comment="ok or error"),
        sa.Column("error", sa.String(64), comment="Kind of the error"),
        sa.Column("cached", sa.Boolean(), nullable=False),
        sa.Column("gpu_memory_bytes", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_inferences"),
    )
    for columns in (["time", "id"], ["principal", "time", "id"], ["model_name", "time", "id"]):
        op.create_index(f"ix_inferences_{'_'.join(columns)}", "inferences", columns)


def downgrade() -> None:
    """Drop it."""
    op.drop_table("inferences")
