"""Triples of a knowledge graph."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "genrec_triples",
        sa.Column("head", ID, primary_key=True),
        sa.Column("relation", ID, primary_key=True),
        sa.Column("tail", ID, primary_key=True),
        sqlite_with_rowid=False,
    )
