"""What Alembic runs to get a connection: the one that `schema` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

# Alembic takes SQLite's DDL for untransactional by default, and would commit after each step.
context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
