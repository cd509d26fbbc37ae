"""Runs migrations over the connection that `bridge migrate` has opened and locked."""

from alembic import context

from bridge.storage.schema import metadata

connection = context.config.attributes["connection"]
# SQLite cannot alter most things in place: its tables are copied, in batches.
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=False,  # the transaction is the caller's
)
context.run_migrations()
