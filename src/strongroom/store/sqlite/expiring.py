"""What goes by itself, in SQLite. Port: `strongroom.store.expiry`."""

# ruff: noqa: S608 - what is formatted in are names of our own columns; values are parameters

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store import catalog, records
from strongroom.store.sqlite import stacks, watching, writes
from strongroom.store.sqlite.calls import Calls

if TYPE_CHECKING:
    import sqlite3

    from strongroom.store import expiry

_PROGRESS = "lifecycle"
"""The chore that tells how far the walk got. No fact: those are mirrored when they change."""


class SqliteExpiry(Calls):
    """See the module. Belongs to a catalog, and is closed with it."""

    async def expire(self, due: expiry.Due, marker: records.Version) -> bool:
        """See the port."""
        return await self._write(_expire, due, marker)

    async def progress(self) -> bytes | None:
        """See the port."""
        return self._here(_noted)

    async def note_progress(self, progress: bytes) -> None:
        """See the port."""
        await self._write(_note, progress)


def _noted(conn: sqlite3.Connection) -> bytes | None:
    row = conn.execute("SELECT state FROM chores WHERE name = ?", (_PROGRESS,)).fetchone()
    return None if row is None else row[0]


def _note(conn: sqlite3.Connection, progress: bytes) -> None:
    conn.execute(
        "INSERT INTO chores (name, state) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET state = excluded.state",
        (_PROGRESS, progress),
    )


def _expire(conn: sqlite3.Connection, due: expiry.Due, marker: records.Version) -> bool:
    version = due.version
    try:
        home = stacks.home(conn, version.bucket)
    except errors.BucketNotFound:
        return False
    found = stacks.find(conn, home, version.key, version.version_id)
    if found is None or not _holds(conn, home, found, due):
        return False
    # A guarded bucket keeps these as well: rules can be set by whoever stole credentials.
    watch = watching.Watch(marker.modified_ms)
    if due.superseded_by_ms is None and not version.is_marker:
        writes.delete_object(conn, marker, catalog.no_guard, watch)
    else:
        writes.delete_version(
            conn, version.bucket, version.key, catalog.no_deletion_guard, version.version_id, watch
        )
    return True


def _holds(conn: sqlite3.Connection, home: stacks.Home, found: stacks.Row, due: expiry.Due) -> bool:
    """Whether all that makes a version due is as it was read."""
    if (
        found.version != due.version
        or not due.minds_locks(has_lock=home.has_lock)
        or not _rules_stand(conn, home, due.rules)
        or not _marks_stand(conn, found, due.marks)
    ):
        return False
    if due.superseded_by_ms is None:
        return _is_newest(conn, home, found)
    return _is_superseded(conn, home, found, due.superseded_by_ms, due.behind)


def _rules_stand(conn: sqlite3.Connection, home: stacks.Home, rules: str) -> bool:
    (text,) = conn.execute(
        "SELECT settings FROM buckets WHERE bucket_id = ?", (home.bucket_id,)
    ).fetchone()
    standing: str | None = json.loads(text).get(records.LIFECYCLE)
    return standing == rules


def _marks_stand(conn: sqlite3.Connection, found: stacks.Row, marks: bytes | None) -> bool:
    if marks is None:
        return True
    row = conn.execute(
        "SELECT marks FROM envelopes WHERE envelope_id = ?", (found.envelope_id,)
    ).fetchone()
    return row is not None and row[0] == marks


def _is_newest(conn: sqlite3.Connection, home: stacks.Home, found: stacks.Row) -> bool:
    """Whether it is the newest version of its key and, if a delete marker, the only one."""
    if stacks.newest(conn, home, found.version.key) != found:
        return False
    return not found.version.is_marker or not _others(
        conn, home, found, "seq > :seq", order="seq", limit=1
    )


def _is_superseded(
    conn: sqlite3.Connection, home: stacks.Home, found: stacks.Row, by_ms: int, behind: int
) -> bool:
    newer = "seq < :seq"
    successor = _others(conn, home, found, newer, order="seq DESC", limit=1)
    if not successor or successor[0] > by_ms:
        return False
    if not behind:
        return True
    newest = stacks.newest(conn, home, found.version.key)
    assert newest is not None, "there is one newer than it"
    return behind <= len(
        _others(
            conn,
            home,
            found,
            f"{newer} AND seq > {newest.seq} AND mode <> ''",
            order="seq",
            limit=behind,
        )
    )


def _others(
    conn: sqlite3.Connection,
    home: stacks.Home,
    found: stacks.Row,
    where: str,
    *,
    order: str,
    limit: int,
) -> list[int]:
    """Return when other versions of a key were written, of both ranges in one order."""
    rows = conn.execute(
        " UNION ALL ".join(
            "SELECT modified_ms, seq FROM versions"
            f" WHERE bucket_id = :bucket_id AND hidden = {hidden} AND key = :key AND {where}"
            for hidden in (0, 1)
        )
        + f" ORDER BY {order} LIMIT :limit",
        {
            "bucket_id": home.bucket_id,
            "key": found.version.key.encode(),
            "seq": found.seq,
            "limit": limit,
        },
    )
    return [modified_ms for modified_ms, _ in rows]
