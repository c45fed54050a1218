"""What mirrors are made from: notices, the versions that they tell of, and the small tables.

Triggers write the notices (migration 0004).
"""

# ruff: noqa: S608 - what is formatted in are names of our own tables; values are parameters

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from typing import TYPE_CHECKING

from strongroom.store import mirrors, records
from strongroom.store.sqlite import rows

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

OF_OBJECTS = frozenset(
    {
        *("versions", "envelopes", "bodies", "blobs", "inline_blobs", "uploads", "parts"),
        *("completions", "doomed", "outbox", "tallies", "chores", "kept"),
        *("replications", "staged_blobs"),
    }
)
"""Tables that grow with what is stored, and what changes all the time and can be done again.

All others are small, and mirrored as they are."""


def notices(conn: sqlite3.Connection, *, limit: int) -> Sequence[mirrors.Notice]:
    """See the port."""
    found = conn.execute(
        "SELECT outbox_id, bucket_id, key, version_id, generation FROM outbox"
        " ORDER BY outbox_id LIMIT ?",
        (limit,),
    )
    return [mirrors.Notice(*row) for row in found]


def mirror(conn: sqlite3.Connection, notice: mirrors.Notice) -> mirrors.Mirror | None:
    """See the port."""
    at = {
        "bucket_id": notice.bucket_id,
        "key": notice.key,
        "version_id": notice.version_id,
        "generation": notice.generation,
    }
    row = conn.execute(
        f"SELECT b.name, v.seq, e.envelope, e.marks, e.body_id, o.record, {rows.VERSION}"
        " FROM (SELECT * FROM versions WHERE bucket_id = :bucket_id AND hidden = 0"
        " AND key = :key AND version_id = :version_id UNION ALL SELECT * FROM versions"
        " INDEXED BY hidden_versions WHERE bucket_id = :bucket_id AND hidden = 1"
        " AND key = :key AND version_id = :version_id) v"
        " JOIN buckets b ON b.bucket_id = v.bucket_id"
        " JOIN envelopes e ON e.envelope_id = v.envelope_id"
        " JOIN bodies o ON o.body_id = e.body_id WHERE v.generation = :generation",
        at,
    ).fetchone()
    if row is None:
        return None
    bucket, seq, envelope, marks, body_id, record, *columns = row
    blobs = conn.execute(
        "SELECT o.blob_id, o.size, o.place, coalesce(i.data, x'') FROM blobs o"
        " LEFT JOIN inline_blobs i ON o.place = '' AND i.blob_id = o.blob_id"
        " WHERE o.body_id = ? ORDER BY o.ordinal",
        (body_id,),
    )
    return mirrors.Mirror(
        number=notice.number,
        version=rows.to_version(bucket, tuple(columns)),
        rank=-seq,
        envelope=envelope,
        marks=marks,
        record=record,
        blobs=tuple(records.NewBlob(*blob) for blob in blobs),
    )


def settle(conn: sqlite3.Connection, numbers: Collection[int]) -> None:
    """See the port."""
    conn.executemany("DELETE FROM outbox WHERE outbox_id = ?", ((number,) for number in numbers))


def copy_registry(conn: sqlite3.Connection, target: Path, unless: bytes) -> bytes:
    """See the port. The new file is made by another connection, with mode 0600."""
    tables = small_tables(conn)
    digest = hashlib.sha256()
    for name, statement in tables.items():
        digest.update(statement.encode())
        for row in conn.execute(f"SELECT * FROM {name}"):
            digest.update(repr(row).encode())
    if digest.digest() == unless:
        return unless
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy:
        copy.execute("BEGIN")
        for name, statement in tables.items():
            copy.execute(statement)
            found = conn.execute(f"SELECT * FROM {name}")
            marks = ",".join("?" * len(found.description))
            copy.executemany(f"INSERT INTO {name} VALUES ({marks})", found)
        copy.execute("COMMIT")
    return digest.digest()


def small_tables(conn: sqlite3.Connection) -> dict[str, str]:
    """Return the tables that are mirrored as they are, name → the statement that makes one."""
    found = conn.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return {
        name: statement
        for name, statement in found
        if name not in OF_OBJECTS and not name.startswith("sqlite_")
    }
