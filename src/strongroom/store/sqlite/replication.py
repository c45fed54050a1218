"""Replication's queue and its replicas, in SQLite. Port: `strongroom.store.replication`.

Where each call runs is as in `catalog`.
"""

# ruff: noqa: S608 - what is formatted in are column lists of our own; values are parameters

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.crypto import body as bodies
from strongroom.store import guarding, records, replication
from strongroom.store.sqlite import reads, stacks, watching, writes
from strongroom.store.sqlite.calls import Calls

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Sequence

    from strongroom.store.sqlite.readers import Readers
    from strongroom.store.sqlite.writer import Writer

_TASK = (
    "r.number, b.name, r.key, r.version_id, r.made_ms, r.attempts, r.done, r.trouble, r.revision"
)
_REMOTE = "name, url, region, access_key, sealed_secret, ca, users, created_ms"


class SqliteReplication(Calls):
    """See the module. Belongs to a catalog, and is closed with it."""

    def __init__(
        self,
        reader: sqlite3.Connection,
        readers: Readers,
        writer: Writer,
        *,
        clock_ms: Callable[[], int],
        tell: Callable[[watching.Watch], None],
    ) -> None:
        """Belong to a catalog; `tell` is told what the guard of a bucket saw."""
        super().__init__(reader, readers, writer)
        self._clock_ms = clock_ms
        self._tell = tell

    async def due(self, now_ms: int, *, limit: int) -> Sequence[replication.Task]:
        """See the port."""
        return self._here(_due, now_ms, limit)

    async def enqueue(self, bucket: str, versions: Collection[tuple[str, str]], now_ms: int) -> int:
        """See the port."""
        return await self._write(_enqueue, bucket, versions, now_ms)

    async def settle(self, task: replication.Task) -> bool:
        """See the port."""
        return await self._write(_settle, task)

    async def postpone(self, tasks: Collection[replication.Task], due_ms: int) -> None:
        """See the port."""
        await self._write(_postpone, tasks, due_ms)

    async def backlog(self, bucket: str | None = None) -> replication.Backlog:
        """See the port."""
        return await self._read(_backlog, bucket)

    async def missing(self, body: bytes) -> Sequence[bytes]:
        """See the port."""
        return await self._read(_missing, body)

    async def stage(self, blob: records.NewBlob, digest: bytes, now_ms: int) -> None:
        """See the port."""
        await self._write(_stage, blob, digest, now_ms)

    async def put_replica(self, draft: records.Draft) -> replication.Placed:
        """See the port."""
        watch = watching.Watch(self._clock_ms())
        placed = await self._write(_put_replica, draft, watch)
        self._tell(watch)
        return placed

    async def expire_staged(self, before_ms: int) -> int:
        """See the port."""
        return await self._write(_expire_staged, before_ms)

    async def remotes(self) -> Sequence[replication.Remote]:
        """See the port."""
        return await self._read(_remotes)

    async def add_remote(self, remote: replication.Remote) -> bool:
        """See the port."""
        return await self._write(_add_remote, remote)

    async def remove_remote(self, name: str) -> bool:
        """See the port."""
        return await self._write(_remove_remote, name)


def _due(conn: sqlite3.Connection, now_ms: int, limit: int) -> Sequence[replication.Task]:
    found = conn.execute(
        f"SELECT {_TASK} FROM replications r JOIN buckets b ON b.bucket_id = r.bucket_id"
        " WHERE r.due_ms <= ? ORDER BY r.due_ms, r.number LIMIT ?",
        (now_ms, limit),
    )
    return [
        replication.Task(
            *(number, bucket, key.decode(), version_id, made_ms, attempts),
            done=tuple(json.loads(done)) if done else (),
            trouble=trouble,
            revision=revision,
        )
        for number, bucket, key, version_id, made_ms, attempts, done, trouble, revision in found
    ]


def _enqueue(
    conn: sqlite3.Connection, bucket: str, versions: Collection[tuple[str, str]], now_ms: int
) -> int:
    bucket_id = reads.find_bucket(conn, bucket)
    before = conn.total_changes
    conn.executemany(
        "INSERT INTO replications (bucket_id, key, version_id, made_ms, due_ms, attempts, done,"
        " trouble, revision) VALUES (?, ?, ?, ?, ?, 0, '', '', 0) ON CONFLICT DO NOTHING",
        ((bucket_id, key.encode(), version_id, now_ms, now_ms) for key, version_id in versions),
    )
    added = conn.total_changes - before
    conn.executemany(
        "UPDATE replications SET due_ms = ? WHERE bucket_id = ? AND key = ? AND version_id = ?"
        " AND due_ms > ?",
        ((now_ms, bucket_id, key.encode(), version_id, now_ms) for key, version_id in versions),
    )
    return added


def _settle(conn: sqlite3.Connection, task: replication.Task) -> bool:
    done = conn.execute(
        "DELETE FROM replications WHERE number = ? AND revision = ?", (task.number, task.revision)
    )
    return done.rowcount == 1


def _postpone(conn: sqlite3.Connection, tasks: Collection[replication.Task], due_ms: int) -> None:
    conn.executemany(
        "UPDATE replications SET due_ms = ?, attempts = ?, done = ?, trouble = ?"
        " WHERE number = ? AND revision = ?",
        (
            (
                *(due_ms, task.attempts, json.dumps(task.done) if task.done else ""),
                *(task.trouble[: replication.MAX_TROUBLE_CHARACTERS], task.number, task.revision),
            )
            for task in tasks
        ),
    )


def _backlog(conn: sqlite3.Connection, bucket: str | None) -> replication.Backlog:
    where: str = ""
    values: tuple[int, ...] = ()
    if bucket is not None:
        where, values = " WHERE bucket_id = ?", (reads.find_bucket(conn, bucket),)
    row = conn.execute(
        f"SELECT count(*), total(attempts > 0), min(made_ms) FROM replications{where}", values
    ).fetchone()
    return replication.Backlog(row[0], int(row[1]), row[2])


def _missing(conn: sqlite3.Connection, body: bytes) -> Sequence[bytes]:
    parts = bodies.parse(body).parts
    if _standing(conn, body, parts[0].blob_id) is not None:
        return []
    wanted = [part.blob_id for part in parts]
    known = reads.known(conn, wanted)
    lacking = [blob_id for blob_id in wanted if blob_id not in known]
    for blob_id in known:
        staged = conn.execute("SELECT 1 FROM staged_blobs WHERE blob_id = ?", (blob_id,))
        if staged.fetchone() is None:
            raise errors.StoreFailed("a blob of that id is here, and is not that one, or goes")
    return lacking


def _stage(conn: sqlite3.Connection, blob: records.NewBlob, digest: bytes, now_ms: int) -> None:
    if reads.known(conn, [blob.blob_id]):
        raise errors.StoreFailed("a blob of that id is here already")
    conn.execute(
        "INSERT INTO staged_blobs (blob_id, size, place, digest, staged_ms) VALUES (?, ?, ?, ?, ?)",
        (blob.blob_id, blob.size, blob.place, digest, now_ms),
    )


def _put_replica(
    conn: sqlite3.Connection, draft: records.Draft, watch: watching.Watch
) -> replication.Placed:
    version = draft.version
    home = stacks.home(conn, version.bucket, made_ms=draft.bucket_made_ms)
    if home.versioning != records.ENABLED:
        raise errors.VersioningChanged(home.name)
    standing = stacks.find(conn, home, version.key, version.version_id)
    if standing is not None:
        if (
            version.version_id != records.NULL_VERSION
            or home.has_lock
            or standing.version.modified_ms >= version.modified_ms
        ):
            return replication.Placed(written=False, blobs_used=False)
        stacks.remove(conn, home, standing)
    guarding.check_key(home.rules, version)
    used, envelope_id = False, stacks.NO_ENVELOPE
    if not version.is_marker:
        body_id, used = _body(conn, draft)
        envelope_id = writes.add_envelope(conn, draft, body_id)
    stacks.insert(conn, home, version, envelope_id)
    writes.let_go(conn, home, standing, version, watch)
    return replication.Placed(written=True, blobs_used=used)


def _body(conn: sqlite3.Connection, draft: records.Draft) -> tuple[int, bool]:
    """Return the body of a replica, and whether it is made of the draft's blobs."""
    if draft.shares is not None:
        return writes.share_body(conn, draft.shares), False
    parts = bodies.parse(draft.body).parts
    standing = _standing(conn, draft.body, parts[0].blob_id)
    if standing is not None:
        conn.execute("UPDATE bodies SET refs = refs + 1 WHERE body_id = ?", (standing,))
        return standing, False
    given = {blob.blob_id: blob for blob in draft.blobs}
    used = [given.get(part.blob_id) or _unstage(conn, part) for part in parts]
    body_id = writes.add_body(conn, draft.body)
    writes.add_new_blobs(conn, body_id, used)
    return body_id, True


def _unstage(conn: sqlite3.Connection, part: bodies.ClearPart) -> records.NewBlob:
    row = conn.execute(
        "SELECT size, place, digest FROM staged_blobs WHERE blob_id = ?", (part.blob_id,)
    ).fetchone()
    if row is None or not hmac.compare_digest(row[2], part.digest):
        raise errors.BlobMissing(part.blob_id.hex())
    conn.execute("DELETE FROM staged_blobs WHERE blob_id = ?", (part.blob_id,))
    return records.NewBlob(part.blob_id, row[0], row[1])


def _standing(conn: sqlite3.Connection, body: bytes, blob_id: bytes) -> int | None:
    """Return the body that has this record, by the first of its blobs."""
    found = conn.execute(
        "SELECT o.body_id, o.record FROM blobs s JOIN bodies o ON o.body_id = s.body_id"
        " WHERE s.blob_id = ? AND s.place <> ''",
        (blob_id,),
    ).fetchone()
    inlined = "SELECT 1 FROM inline_blobs WHERE blob_id = ?"
    if found is None and conn.execute(inlined, (blob_id,)).fetchone():
        # No index leads from an inline blob to its body: only where a replica shares
        # another's small body it is looked for, and then row by row.
        found = conn.execute(
            "SELECT o.body_id, o.record FROM blobs s JOIN bodies o ON o.body_id = s.body_id"
            " WHERE s.blob_id = ? AND s.place = ''",
            (blob_id,),
        ).fetchone()
    if found is None or found[1] != body:
        return None
    body_id: int = found[0]
    return body_id


def _expire_staged(conn: sqlite3.Connection, before_ms: int) -> int:
    conn.execute(
        "INSERT INTO doomed (blob_id, size, place)"
        " SELECT blob_id, size, place FROM staged_blobs WHERE staged_ms < ?",
        (before_ms,),
    )
    gone = conn.execute("DELETE FROM staged_blobs WHERE staged_ms < ?", (before_ms,))
    return gone.rowcount


def _remotes(conn: sqlite3.Connection) -> Sequence[replication.Remote]:
    found = conn.execute(f"SELECT {_REMOTE} FROM remotes ORDER BY name")
    return [
        replication.Remote(
            *(name, url, region, access_key, sealed_secret, ca),
            users=tuple(json.loads(users)),
            created_ms=created_ms,
        )
        for name, url, region, access_key, sealed_secret, ca, users, created_ms in found
    ]


def _add_remote(conn: sqlite3.Connection, remote: replication.Remote) -> bool:
    added = conn.execute(
        f"INSERT OR IGNORE INTO remotes ({_REMOTE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(remote.name, remote.url, remote.region, remote.access_key, remote.sealed_secret),
            *(remote.ca, json.dumps(remote.users), remote.created_ms),
        ),
    )
    return added.rowcount == 1


def _remove_remote(conn: sqlite3.Connection, name: str) -> bool:
    return conn.execute("DELETE FROM remotes WHERE name = ?", (name,)).rowcount == 1
