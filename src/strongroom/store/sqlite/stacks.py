"""The versions of a key, as a stack: the newest has the least `seq`.

Rows lie in two ranges of the table. `hidden` is 0 for the newest version of a key if
it is an object, which is what a GET without a version id finds and a listing of
objects shows; 1 for all versions behind it, and for delete markers. So neither reads
nor listings of objects walk over history, and a bucket without versioning has none.

Each function runs inside a write transaction, except `LOCATED`, which is part of
single statements that need none.
"""

# ruff: noqa: S608 - what is formatted in are column lists of `rows`; values are parameters

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store import guarding, records
from strongroom.store.sqlite import rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

LOCATED = """(
    SELECT v.* FROM buckets b JOIN versions v
        ON v.bucket_id = b.bucket_id AND v.hidden = 0 AND v.key = :key
        AND v.version_id = :version_id WHERE b.name = :bucket
    UNION ALL
    SELECT v.* FROM buckets b JOIN versions v INDEXED BY hidden_versions
        ON v.bucket_id = b.bucket_id AND v.hidden = 1 AND v.key = :key
        AND v.version_id = :version_id WHERE b.name = :bucket
)"""
"""The row of a version by its id, as a subquery; parameters as `named` makes them.

One statement looks into both ranges: between two, the version might move.
"""

_INSERT = (
    "INSERT INTO versions (bucket_id, hidden, seq, envelope_id, key, version_id, size, etag,"
    " modified_ms, owner, mode, generation, checksum_algorithms, checksum_type, fingerprint)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

NO_ENVELOPE = 0
"""What a delete marker has for `envelope_id`."""


@dataclass(frozen=True, slots=True)
class Home:
    """A bucket, as writes need it."""

    bucket_id: int
    name: str
    versioning: str
    rules: guarding.Rules = guarding.NONE
    has_lock: bool = False
    replicates: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A version with where it stands and the row of its envelope."""

    version: records.Version
    hidden: int
    seq: int
    envelope_id: int


def named(bucket: str, key: str, version_id: str) -> dict[str, object]:
    """Return the parameters of `LOCATED`."""
    return {"bucket": bucket, "key": key.encode(), "version_id": version_id}


def version_of(row: Row | None) -> records.Version | None:
    """Return what a guard is shown of a row."""
    return None if row is None else row.version


def home(conn: sqlite3.Connection, name: str, *, made_ms: int | None = None) -> Home:
    """Find a bucket.

    Raises:
        BucketNotFound: there is none, or it was not made at `made_ms`, if that is given.
    """
    row = conn.execute(
        "SELECT bucket_id, created_ms, settings FROM buckets WHERE name = ?", (name,)
    ).fetchone()
    if row is None or made_ms not in (None, row[1]):
        raise errors.BucketNotFound(name)
    # Settings hold policies of many kilobytes, which most writes need not parse.
    if not any(setting in row[2] for setting in _ASKED_FOR):
        return Home(row[0], name, "")
    settings = json.loads(row[2])
    return Home(
        row[0],
        name,
        settings.get(records.VERSIONING, ""),
        guarding.rules_of(settings),
        records.OBJECT_LOCK in settings,
        records.REPLICATION in settings,
    )


# Whatever has object lock has versioning: see `records.changed_settings`.
_ASKED_FOR = tuple(f'"{name}"' for name in (records.VERSIONING, guarding.GUARD, guarding.KEYS))


def newest(conn: sqlite3.Connection, place: Home, key: str) -> Row | None:
    """Return the newest version of a key, be it a delete marker; None if it has none."""
    found = _first(conn, place, key, hidden=0)
    if found is None and place.versioning:
        found = _first(conn, place, key, hidden=1)
    return found


def find(conn: sqlite3.Connection, place: Home, key: str, version_id: str) -> Row | None:
    """Return a version of a key by its id; None if there is none."""
    row = conn.execute(
        f"SELECT v.hidden, v.seq, v.envelope_id, {rows.VERSION} FROM {LOCATED} v",
        named(place.name, key, version_id),
    ).fetchone()
    return None if row is None else _to_row(place, row)


def push(
    conn: sqlite3.Connection,
    place: Home,
    version: records.Version,
    envelope_id: int,
    before: Row | None,
) -> Row | None:
    """Put a version before all others of its key; a null version takes the place of another.

    Args:
        conn: in a transaction.
        place: the bucket.
        version: what is put.
        envelope_id: the row of its envelope; `NO_ENVELOPE` for a delete marker.
        before: what `newest` says.

    Returns:
        the null version that is gone, whose envelope the caller lets go; None if none is.
    """
    gone: Row | None = None
    if version.version_id == records.NULL_VERSION:
        if before is None or before.version.version_id == records.NULL_VERSION:
            gone = before
        elif place.versioning:
            gone = find(conn, place, version.key, records.NULL_VERSION)
    if gone is not None:
        _delete(conn, place, gone)
    if before is not None and before != gone:
        _hide(conn, place, before, hidden=1)
    conn.execute(
        _INSERT,
        (
            place.bucket_id,
            int(version.is_marker),
            0 if before is None else before.seq - 1,
            envelope_id,
            *rows.from_version(version),
        ),
    )
    _count(conn, place, shown=not version.is_marker, was=_is_object(before))
    return gone


def insert(
    conn: sqlite3.Connection, place: Home, version: records.Version, envelope_id: int
) -> None:
    """Put a version of a new id among the others of its key, by its time.

    Of two of the same time, the one that comes later is the newer.
    """
    newer = conn.execute(
        "SELECT hidden, seq FROM versions WHERE bucket_id = ? AND hidden IN (0, 1) AND key = ?"
        " AND modified_ms > ? ORDER BY seq",
        (place.bucket_id, version.key.encode(), version.modified_ms),
    ).fetchall()
    if not newer:
        gone = push(conn, place, version, envelope_id, newest(conn, place, version.key))
        assert gone is None, "the id is new"
        return
    # The newest first, so that no two ever have one number.
    for hidden, seq in newer:
        conn.execute(
            f"UPDATE versions SET seq = seq - 1 WHERE bucket_id = ? AND hidden = {hidden}"
            " AND key = ? AND seq = ?",
            (place.bucket_id, version.key.encode(), seq),
        )
    conn.execute(
        _INSERT, (place.bucket_id, 1, newer[-1][1], envelope_id, *rows.from_version(version))
    )


def replace(
    conn: sqlite3.Connection, place: Home, row: Row, version: records.Version, envelope_id: int
) -> None:
    """Put a version where another one of its key and id stands; the caller lets that one's envelope go."""
    _delete(conn, place, row)
    conn.execute(
        _INSERT, (place.bucket_id, row.hidden, row.seq, envelope_id, *rows.from_version(version))
    )


def remove(conn: sqlite3.Connection, place: Home, row: Row) -> None:
    """Take a version out. If it was the newest, the next one is; the caller lets its envelope go."""
    before = newest(conn, place, row.version.key)
    _delete(conn, place, row)
    if before != row:
        return
    after = newest(conn, place, row.version.key) if place.versioning else None
    if after is not None and not after.version.is_marker:
        _hide(conn, place, after, hidden=0)
    _count(conn, place, shown=_is_object(after), was=_is_object(before))


def all_of(conn: sqlite3.Connection, place: Home, key: bytes) -> list[Row]:
    """Return all versions of a key, the newest first."""
    found = conn.execute(
        f"SELECT v.hidden, v.seq, v.envelope_id, {rows.VERSION} FROM versions v"
        " WHERE v.bucket_id = ? AND v.hidden IN (0, 1) AND v.key = ? ORDER BY v.seq",
        (place.bucket_id, key),
    )
    return [_to_row(place, row) for row in found]


def take_out(conn: sqlite3.Connection, place: Home, row: Row) -> None:
    """Take one of a key's versions out, of which all are to be laid anew (`lay`)."""
    _delete(conn, place, row)


def lay(
    conn: sqlite3.Connection,
    place: Home,
    stack: Sequence[tuple[records.Version, int, int]],
    *,
    was: bool,
) -> None:
    """Put the versions of a key, of which none is there any more: the newest first.

    Args:
        conn: in a transaction.
        place: the bucket.
        stack: each version with its `seq` and the row of its envelope.
        was: whether a listing of objects showed the key before its versions were taken out.
    """
    for index, (version, seq, envelope_id) in enumerate(stack):
        hidden = int(index > 0 or version.is_marker)
        conn.execute(
            _INSERT,
            (place.bucket_id, hidden, seq, envelope_id, *rows.from_version(version)),
        )
    _count(conn, place, shown=bool(stack) and not stack[0][0].is_marker, was=was)


def _first(conn: sqlite3.Connection, place: Home, key: str, *, hidden: int) -> Row | None:
    row = conn.execute(
        f"SELECT v.hidden, v.seq, v.envelope_id, {rows.VERSION} FROM versions v"
        f" WHERE v.bucket_id = ? AND v.hidden = {hidden} AND v.key = ? ORDER BY v.seq LIMIT 1",
        (place.bucket_id, key.encode()),
    ).fetchone()
    return None if row is None else _to_row(place, row)


def _to_row(place: Home, row: rows.Row) -> Row:
    return Row(rows.to_version(place.name, row[3:]), *row[:3])


def _is_object(row: Row | None) -> bool:
    return row is not None and not row.version.is_marker


def _delete(conn: sqlite3.Connection, place: Home, row: Row) -> None:
    conn.execute(f"DELETE FROM versions WHERE {_at(row)}", _values(place, row))


def _hide(conn: sqlite3.Connection, place: Home, row: Row, *, hidden: int) -> None:
    if row.hidden != hidden:
        conn.execute(f"UPDATE versions SET hidden = {hidden} WHERE {_at(row)}", _values(place, row))


def _at(row: Row) -> str:
    """Return the condition that finds a row; its values are those of `_values`.

    `hidden` is no parameter: the index of hidden versions would make SQLite compile
    the statement anew each time that one is bound, which takes longer than to run it.
    """
    return f"bucket_id = ? AND hidden = {row.hidden} AND key = ? AND seq = ?"


def _values(place: Home, row: Row) -> tuple[int, bytes, int]:
    return (place.bucket_id, row.version.key.encode(), row.seq)


def _count(conn: sqlite3.Connection, place: Home, *, shown: bool, was: bool) -> None:
    if shown != was:
        conn.execute(
            "UPDATE tallies SET objects = objects + ? WHERE bucket_id = ?",
            (shown - was, place.bucket_id),
        )
