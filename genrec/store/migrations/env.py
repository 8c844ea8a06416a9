"""Run by alembic, always on the open connection and inside the transaction of `genrec.store.engine.migrate`.

That transaction covers the DDL on SQLite, too: a process killed in the middle leaves no half-made schema.
"""

from alembic import context

from genrec.store.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
