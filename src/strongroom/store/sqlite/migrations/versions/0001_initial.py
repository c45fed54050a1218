"""The first schema. What each table is for: docs/formats/catalog.md."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = (
    """
    CREATE TABLE facts (
        name TEXT NOT NULL PRIMARY KEY,
        value BLOB NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE store_keys (
        number INTEGER PRIMARY KEY,
        wrapped BLOB NOT NULL,
        created_ms INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE users (
        user_id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        created_ms INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE credentials (
        access_key TEXT NOT NULL PRIMARY KEY,
        user_id TEXT NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
        sealed_secret BLOB NOT NULL,
        created_ms INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX credentials_of_user ON credentials (user_id)",
    """
    CREATE TABLE buckets (
        bucket_id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        region TEXT NOT NULL,
        settings TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE tallies (
        bucket_id INTEGER PRIMARY KEY REFERENCES buckets (bucket_id) ON DELETE CASCADE,
        objects INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE bodies (
        body_id INTEGER PRIMARY KEY,
        refs INTEGER NOT NULL,
        record BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE envelopes (
        envelope_id INTEGER PRIMARY KEY,
        body_id INTEGER NOT NULL,
        envelope BLOB NOT NULL,
        marks BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE versions (
        bucket_id INTEGER NOT NULL REFERENCES buckets (bucket_id),
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
        PRIMARY KEY (bucket_id, key, seq)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE blobs (
        body_id INTEGER NOT NULL REFERENCES bodies (body_id),
        ordinal INTEGER NOT NULL,
        blob_id BLOB NOT NULL,
        size INTEGER NOT NULL,
        place TEXT NOT NULL,
        PRIMARY KEY (body_id, ordinal)
    ) WITHOUT ROWID
    """,
    "CREATE UNIQUE INDEX blobs_in_files ON blobs (blob_id) WHERE place <> ''",
    """
    CREATE TABLE inline_blobs (
        inline_id INTEGER PRIMARY KEY,
        blob_id BLOB NOT NULL UNIQUE,
        data BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE doomed (
        doomed_id INTEGER PRIMARY KEY AUTOINCREMENT,
        blob_id BLOB NOT NULL UNIQUE,
        size INTEGER NOT NULL,
        place TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE uploads (
        upload_row INTEGER PRIMARY KEY,
        bucket_id INTEGER NOT NULL REFERENCES buckets (bucket_id),
        key BLOB NOT NULL,
        upload_id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        mode TEXT NOT NULL,
        initiated_ms INTEGER NOT NULL,
        checksum_algorithm TEXT NOT NULL,
        checksum_type TEXT NOT NULL,
        sealed BLOB NOT NULL
    )
    """,
    "CREATE INDEX uploads_in_order ON uploads (bucket_id, key, initiated_ms, upload_id)",
    """
    CREATE TABLE parts (
        upload_row INTEGER NOT NULL REFERENCES uploads (upload_row),
        number INTEGER NOT NULL,
        blob_id BLOB NOT NULL UNIQUE,
        blob_size INTEGER NOT NULL,
        place TEXT NOT NULL,
        size INTEGER NOT NULL,
        etag TEXT NOT NULL,
        modified_ms INTEGER NOT NULL,
        digest BLOB NOT NULL,
        sealed_checksums BLOB NOT NULL,
        PRIMARY KEY (upload_row, number)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE completions (
        upload_id TEXT NOT NULL PRIMARY KEY,
        bucket_id INTEGER NOT NULL,
        key BLOB NOT NULL,
        version_id TEXT NOT NULL,
        etag TEXT NOT NULL,
        generation BLOB NOT NULL,
        completed_ms INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX completions_by_time ON completions (completed_ms)",
)


def upgrade() -> None:
    """Make all tables, inside the transaction that `schema` holds open."""
    for statement in STATEMENTS:
        op.execute(statement)
