"""Items, users, events, the attributes seen, and small values by key."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "genrec_items",
        sa.Column("item_id", ID, primary_key=True),
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.Column("image", sa.Text),
        sa.Column("audio", sa.Text),
        sa.Column("video", sa.Text),
        sa.Column("digest", sa.Text, nullable=False),
    )
    op.create_table(
        "genrec_users",
        sa.Column("user_id", ID, primary_key=True),
        sa.Column("interests", sa.JSON, nullable=False),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
    )
    op.create_table(
        "genrec_events",
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), primary_key=True),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("timestamp", sa.Double, nullable=False),
        sa.Column("item_id", ID, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("value", sa.Double),
        sa.UniqueConstraint("user_id", "timestamp", "item_id", "kind", "platform", name="genrec_events_once"),
    )
    op.create_index("genrec_events_by_item", "genrec_events", ["item_id", "user_id"])
    op.create_table(
        "genrec_attributes",
        sa.Column("name", ID, primary_key=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("is_list", sa.Boolean, nullable=False),
    )
    op.create_table(
        "genrec_meta",
        sa.Column("key", ID, primary_key=True),
        sa.Column("value", sa.JSON, nullable=False),
    )
