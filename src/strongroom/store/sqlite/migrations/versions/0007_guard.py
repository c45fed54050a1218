"""Fingerprints of customers' keys, and versions that the guard keeps. What each column is for: docs/formats/catalog.md."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

STATEMENTS = (
    "ALTER TABLE versions ADD COLUMN fingerprint BLOB NOT NULL DEFAULT x''",
    "ALTER TABLE uploads ADD COLUMN fingerprint BLOB NOT NULL DEFAULT x''",
    # Only what has one: a store without customers' keys pays nothing for it.
    """
    CREATE INDEX versions_by_fingerprint ON versions (fingerprint, bucket_id, key)
    WHERE fingerprint <> x''
    """,
    """
    CREATE TABLE kept (
        kept_id INTEGER PRIMARY KEY,
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
        fingerprint BLOB NOT NULL,
        envelope_id INTEGER NOT NULL,
        kept_ms INTEGER NOT NULL,
        until_ms INTEGER NOT NULL,
        reason TEXT NOT NULL
    )
    """,
    "CREATE INDEX kept_of_key ON kept (bucket_id, key)",
    "CREATE INDEX kept_by_end ON kept (until_ms)",
    "CREATE INDEX kept_by_envelope ON kept (envelope_id)",
)


def upgrade() -> None:
    """Add them, inside the transaction that `schema` holds open."""
    for statement in STATEMENTS:
        op.execute(statement)
