"""An outbox for mirrors, and digests of envelopes. What for: docs/formats/catalog.md, section 6."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

# Triggers, so that whatever moves versions about, now or later, cannot forget to tell.
# Below 16 KiB everything is inline, and a mirror without the bytes would be of no use.
STATEMENTS = (
    # Empty where it was not noted; the trigger says so when an envelope changes without it.
    "ALTER TABLE envelopes ADD COLUMN digest BLOB NOT NULL DEFAULT x''",
    """
    CREATE TRIGGER envelope_changed AFTER UPDATE OF envelope ON envelopes
    WHEN NEW.digest <> x'' AND NEW.digest = OLD.digest AND NEW.envelope <> OLD.envelope
    BEGIN
        UPDATE envelopes SET digest = x'' WHERE envelope_id = NEW.envelope_id;
    END
    """,
    """
    CREATE TABLE outbox (
        outbox_id INTEGER PRIMARY KEY AUTOINCREMENT,
        bucket_id INTEGER NOT NULL,
        key BLOB NOT NULL,
        version_id TEXT NOT NULL,
        generation BLOB NOT NULL
    )
    """,
    """
    CREATE TRIGGER version_made AFTER INSERT ON versions WHEN NEW.size > 16384
    BEGIN
        INSERT INTO outbox (bucket_id, key, version_id, generation)
        VALUES (NEW.bucket_id, NEW.key, NEW.version_id, NEW.generation);
    END
    """,
    """
    CREATE TRIGGER version_gone AFTER DELETE ON versions WHEN OLD.size > 16384
    BEGIN
        INSERT INTO outbox (bucket_id, key, version_id, generation)
        VALUES (OLD.bucket_id, OLD.key, OLD.version_id, OLD.generation);
    END
    """,
    """
    CREATE TRIGGER version_rewrapped AFTER UPDATE OF generation ON versions
    WHEN NEW.size > 16384 AND NEW.generation <> OLD.generation
    BEGIN
        INSERT INTO outbox (bucket_id, key, version_id, generation)
        VALUES (OLD.bucket_id, OLD.key, OLD.version_id, OLD.generation),
            (NEW.bucket_id, NEW.key, NEW.version_id, NEW.generation);
    END
    """,
    """
    CREATE TRIGGER marks_changed AFTER UPDATE OF marks ON envelopes
    BEGIN
        INSERT INTO outbox (bucket_id, key, version_id, generation)
        SELECT v.bucket_id, v.key, v.version_id, v.generation FROM versions v
        WHERE v.envelope_id = NEW.envelope_id AND v.size > 16384;
    END
    """,
    "CREATE INDEX versions_by_envelope ON versions (envelope_id) WHERE size > 16384",
    """
    INSERT INTO outbox (bucket_id, key, version_id, generation)
    SELECT bucket_id, key, version_id, generation FROM versions WHERE size > 16384
    """,
)


def upgrade() -> None:
    """Make them, inside the transaction that `schema` holds open."""
    for statement in STATEMENTS:
        op.execute(statement)
