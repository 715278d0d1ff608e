"""Alembic's environment: migrations run on the caller's connection, in the caller's transaction."""

from alembic import context

from retune.server.storage.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    # SQLite can't alter a column in place: the table is rewritten.
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
