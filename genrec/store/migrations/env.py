"""Run by alembic, always on the open connection and inside the transaction of `genrec.store.engine.migrate`."""

from alembic import context

from genrec.store.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,  # SQLite too: the store emits BEGIN itself, so a killed migration leaves nothing behind
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
