"""The key management service. What each table is for: docs/formats/catalog.md."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    """
    CREATE TABLE kms_keys (
        key_id TEXT NOT NULL PRIMARY KEY,
        spec TEXT NOT NULL,
        usage TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        creator TEXT NOT NULL,
        policy TEXT NOT NULL,
        manager TEXT NOT NULL,
        description TEXT NOT NULL,
        version INTEGER NOT NULL,
        enabled INTEGER NOT NULL,
        deletion_ms INTEGER NOT NULL,
        deletion_days INTEGER NOT NULL,
        rotation_days INTEGER NOT NULL,
        rotated_ms INTEGER NOT NULL,
        tags TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE kms_materials (
        key_id TEXT NOT NULL REFERENCES kms_keys (key_id) ON DELETE CASCADE,
        version INTEGER NOT NULL,
        wrapped BLOB NOT NULL,
        created_ms INTEGER NOT NULL,
        cause TEXT NOT NULL,
        PRIMARY KEY (key_id, version)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE kms_aliases (
        name TEXT NOT NULL PRIMARY KEY,
        key_id TEXT NOT NULL REFERENCES kms_keys (key_id) ON DELETE CASCADE,
        created_ms INTEGER NOT NULL,
        changed_ms INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX kms_aliases_of_key ON kms_aliases (key_id)",
    """
    CREATE TABLE kms_grants (
        grant_id TEXT NOT NULL PRIMARY KEY,
        key_id TEXT NOT NULL REFERENCES kms_keys (key_id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        grantee TEXT NOT NULL,
        retiring TEXT NOT NULL,
        operations TEXT NOT NULL,
        context_equals TEXT NOT NULL,
        context_subset TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        issuer TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX kms_grants_of_key ON kms_grants (key_id)",
)


def upgrade() -> None:
    """Make the tables, inside the transaction that `schema` holds open."""
    for statement in STATEMENTS:
        op.execute(statement)
