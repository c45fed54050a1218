"""The queue of replication, blobs that wait for their replica, and other stores.

What each table is for: docs/formats/catalog.md.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

STATEMENTS = (
    """
    CREATE TABLE replications (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        bucket_id INTEGER NOT NULL REFERENCES buckets (bucket_id) ON DELETE CASCADE,
        key BLOB NOT NULL,
        version_id TEXT NOT NULL,
        made_ms INTEGER NOT NULL,
        due_ms INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        done TEXT NOT NULL,
        trouble TEXT NOT NULL,
        revision INTEGER NOT NULL,
        UNIQUE (bucket_id, key, version_id)
    )
    """,
    "CREATE INDEX replications_due ON replications (due_ms)",
    """
    CREATE TABLE staged_blobs (
        blob_id BLOB NOT NULL PRIMARY KEY,
        size INTEGER NOT NULL,
        place TEXT NOT NULL,
        digest BLOB NOT NULL,
        staged_ms INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE remotes (
        name TEXT NOT NULL PRIMARY KEY,
        url TEXT NOT NULL,
        region TEXT NOT NULL,
        access_key TEXT NOT NULL,
        sealed_secret BLOB NOT NULL,
        ca TEXT NOT NULL,
        users TEXT NOT NULL,
        created_ms INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
)


def upgrade() -> None:
    """Make them, inside the transaction that `schema` holds open."""
    for statement in STATEMENTS:
        op.execute(statement)
