"""Versions in two ranges: what a listing of objects shows, and what it does not."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

COLUMNS = (
    "bucket_id, key, seq, version_id, size, etag, modified_ms, owner, mode, generation,"
    " checksum_algorithms, checksum_type, envelope_id"
)

STATEMENTS = (
    # The primary key changes, and SQLite cannot alter one.
    """
    CREATE TABLE versions_in_two (
        bucket_id INTEGER NOT NULL REFERENCES buckets (bucket_id),
        hidden INTEGER NOT NULL,
        key BLOB NOT NULL,
        seq INTEGER NOT NULL,
        version_id TEXT NOT NULL,
        size INTEGER NOT NULL,
        etag TEXT NOT NULL,
        modified_ms INTEGER NOT NULL,
        owner TEXT NOT NULL,
        mode TEXT NOT NULL,
        generation BLOB NOT NULL,
        checksum_algorithms TEXT NOT NULL,
        checksum_type TEXT NOT NULL,
        envelope_id INTEGER NOT NULL,
        PRIMARY KEY (bucket_id, hidden, key, seq)
    ) WITHOUT ROWID
    """,
    # 0001 kept one version of a key, so that none is hidden.
    f"INSERT INTO versions_in_two (hidden, {COLUMNS}) SELECT 0, {COLUMNS} FROM versions",  # noqa: S608 - our own names
    "DROP TABLE versions",
    "ALTER TABLE versions_in_two RENAME TO versions",
    "CREATE UNIQUE INDEX hidden_versions ON versions (bucket_id, key, version_id) WHERE hidden = 1",
)


def upgrade() -> None:
    """Copy the rows of `versions`, inside the transaction that `schema` holds open."""
    for statement in STATEMENTS:
        op.execute(statement)
