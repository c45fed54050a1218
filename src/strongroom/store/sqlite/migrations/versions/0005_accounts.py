"""Who is in an account. What each table is for: docs/formats/catalog.md."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    """
    CREATE TABLE entities (
        entity_id TEXT NOT NULL PRIMARY KEY,
        account TEXT NOT NULL,
        kind TEXT NOT NULL,
        folded TEXT NOT NULL,
        name TEXT NOT NULL,
        document TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        version INTEGER NOT NULL,
        UNIQUE (account, kind, folded)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE access_keys (
        access_key TEXT NOT NULL PRIMARY KEY,
        user_id TEXT NOT NULL,
        member TEXT NOT NULL,
        sealed_secret BLOB NOT NULL,
        created_ms INTEGER NOT NULL,
        is_active INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX access_keys_of_member ON access_keys (user_id, member)",
    "CREATE INDEX access_keys_by_member ON access_keys (member)",
    """
    INSERT INTO access_keys (access_key, user_id, member, sealed_secret, created_ms, is_active)
    SELECT access_key, user_id, '', sealed_secret, created_ms, 1 FROM credentials
    """,
    "DROP TABLE credentials",
)


def upgrade() -> None:
    """Make the tables, inside the transaction that `schema` holds open."""
    for statement in STATEMENTS:
        op.execute(statement)
