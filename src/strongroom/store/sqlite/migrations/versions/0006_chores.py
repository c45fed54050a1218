"""How far work in the background got. What the table is for: docs/formats/catalog.md."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    """
    CREATE TABLE chores (
        name TEXT NOT NULL PRIMARY KEY,
        state BLOB NOT NULL
    ) WITHOUT ROWID
    """,
)


def upgrade() -> None:
    """Make the table, inside the transaction that `schema` holds open."""
    for statement in STATEMENTS:
        op.execute(statement)
