"""What Alembic runs to get a connection: the one that `schema` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

# SQLite rolls DDL back like everything else, which Alembic does not assume of it.
context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
