"""${message}."""

from __future__ import annotations

from alembic import op

revision = "${up_revision}"
down_revision = ${repr(down_revision)}

STATEMENTS = ()


def upgrade() -> None:
    """Take the step, inside the transaction that `schema` holds open."""
    for statement in STATEMENTS:
        op.execute(statement)
