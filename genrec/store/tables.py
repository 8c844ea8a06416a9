"""The tables, the same on SQLite and PostgreSQL. Their history is in `migrations/`; a test compares the two.

All names begin with `genrec_`, so that a PostgreSQL database can be shared with another application.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

REVISION = "0004"
"""The newest migration: what this version of genrec reads and writes."""
VERSION_TABLE = "genrec_version"

ID = Text().with_variant(Text(collation="C"), "postgresql")
"""Ids are ordered by code point, as SQLite and Python do; a PostgreSQL locale would order them otherwise."""
ROW_NUMBER = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up only an INTEGER primary key

metadata = MetaData()

# `digest` is a checksum of the content, so that writing the same record again is known to change nothing.
items = Table(
    "genrec_items",
    metadata,
    Column("item_id", ID, primary_key=True),
    Column("platform", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("attributes", JSON, nullable=False),  # not JSONB, which would turn 1e20 into an integer
    Column("image", Text),
    Column("audio", Text),
    Column("video", Text),
    Column("digest", Text, nullable=False),
)

users = Table(
    "genrec_users",
    metadata,
    Column("user_id", ID, primary_key=True),
    Column("interests", JSON, nullable=False),
    Column("attributes", JSON, nullable=False),
    Column("digest", Text, nullable=False),
)

# The order of the unique columns makes its index serve histories, too.
events = Table(
    "genrec_events",
    metadata,
    Column("event_id", ROW_NUMBER, Identity(), primary_key=True),  # order of insertion
    Column("user_id", ID, nullable=False),
    Column("timestamp", Double, nullable=False),
    Column("item_id", ID, nullable=False),
    Column("kind", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("value", Double),
    UniqueConstraint("user_id", "timestamp", "item_id", "kind", "platform", name="genrec_events_once"),
    Index("genrec_events_by_item", "item_id", "user_id"),
)

# The key serves the order in which all are read; no other column, so SQLite needs no table beside it.
triples = Table(
    "genrec_triples",
    metadata,
    Column("head", ID, primary_key=True),
    Column("relation", ID, primary_key=True),
    Column("tail", ID, primary_key=True),
    sqlite_with_rowid=False,
)

# What was written about an item: at most one caption by a model and one by a person. NULL: that part was not written.
captions = Table(
    "genrec_captions",
    metadata,
    Column("item_id", ID, primary_key=True),
    Column("human", Boolean, primary_key=True),
    Column("title", Text),
    Column("text", Text),
    Column("tags", JSON(none_as_null=True)),
    Column("language", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("adapter", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("evidence_digest", Text, nullable=False),
    Column("doubt", Double, nullable=False),
    Column("note", Text, nullable=False),
    Column("imported", Boolean, nullable=False),
    Column("made_at", Double, nullable=False),
    Column("digest", Text, nullable=False),
    sqlite_with_rowid=False,
)

# A dialogue, its turns as JSON. `version` counts its turns, so that two writers cannot both go on from the same one.
sessions = Table(
    "genrec_sessions",
    metadata,
    Column("session_id", ID, primary_key=True),
    Column("user_id", ID, nullable=False),
    Column("version", Integer, nullable=False),
    Column("turns", JSON, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index("genrec_sessions_by_user", "user_id", "updated_at"),
)

attributes = Table(
    "genrec_attributes",
    metadata,
    Column("name", ID, primary_key=True),
    Column("type", Text, nullable=False),
    Column("is_list", Boolean, nullable=False),
)

meta = Table(
    "genrec_meta",
    metadata,
    Column("key", ID, primary_key=True),
    Column("value", JSON, nullable=False),
)
