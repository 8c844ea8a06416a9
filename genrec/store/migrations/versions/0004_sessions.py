"""Dialogues: one row each, its turns as JSON."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "genrec_sessions",
        sa.Column("session_id", ID, primary_key=True),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("turns", sa.JSON, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
    )
    op.create_index("genrec_sessions_by_user", "genrec_sessions", ["user_id", "updated_at"])
