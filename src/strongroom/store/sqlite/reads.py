"""Reads, as functions of a connection.

Those of the first half are one statement over a handful of rows, so they need
no transaction around them; those of the second half run inside one.
"""

# ruff: noqa: S608 - what is formatted in are column lists of `rows`; values are parameters

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from strongroom import errors
from strongroom.store import paging, records
from strongroom.store.sqlite import rows, stacks

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator, Sequence

FEW_BLOBS = 64
"""The most blobs of a body that a point read returns."""

_GREATEST = 2**63 - 1
"""The greatest integer that SQLite knows; the sqlite3 module raises OverflowError above it."""

_IDS_AT_ONCE = 500
"""Blob ids in one statement; SQLite takes 999 parameters at least."""


def fact(conn: sqlite3.Connection, name: str) -> bytes | None:
    """See the port."""
    row = conn.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def user(conn: sqlite3.Connection, user_id: str) -> records.User:
    """See the port."""
    row = conn.execute(f"SELECT {rows.USER} FROM users WHERE user_id = ?", (user_id,)).fetchone()
    if row is None:
        raise errors.UserNotFound(user_id)
    return records.User(*row)


def bucket(conn: sqlite3.Connection, name: str) -> records.Bucket:
    """See the port."""
    row = conn.execute(f"SELECT {rows.BUCKET} FROM buckets WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise errors.BucketNotFound(name)
    return rows.to_bucket(row)


_DATA = (
    ", (SELECT i.data FROM blobs p JOIN inline_blobs i ON i.blob_id = p.blob_id"
    " WHERE p.body_id = e.body_id AND p.ordinal = 0 AND p.place = ''"
    " AND NOT EXISTS (SELECT 1 FROM blobs m WHERE m.body_id = e.body_id AND m.ordinal > 0))"
)
"""The content of a body that is one blob, if that lies in the catalog."""
_NEWEST = (
    "SELECT " + rows.VERSION + ", e.envelope, o.record, e.marks{data} FROM buckets b"
    " LEFT JOIN versions v ON v.bucket_id = b.bucket_id AND v.hidden = 0 AND v.key = ?"
    " LEFT JOIN envelopes e ON e.envelope_id = v.envelope_id"
    " LEFT JOIN bodies o ON o.body_id = e.body_id"
    " WHERE b.name = ? ORDER BY v.seq LIMIT 1"
)
_CURRENT = {False: _NEWEST.format(data=""), True: _NEWEST.format(data=_DATA)}
"""With and without the data."""
_OPENS: Final = len(rows.VERSION.split(","))
"""Where the columns of `rows.VERSION` end, and those begin that `records.Stored` has besides."""


def current(
    conn: sqlite3.Connection, bucket: str, key: str, *, with_data: bool = False
) -> records.Stored:
    """See the port."""
    row = conn.execute(_CURRENT[with_data], (key.encode(), bucket)).fetchone()
    if row is None:
        raise errors.BucketNotFound(bucket)
    if row[0] is None:
        raise errors.ObjectNotFound(bucket, key, _hiding_marker(conn, bucket, key))
    return records.Stored(rows.to_version(bucket, row[:_OPENS]), *row[_OPENS:])


def _hiding_marker(conn: sqlite3.Connection, bucket: str, key: str) -> str | None:
    """Return the id of the delete marker that is a key's newest version; None if none is."""
    row = conn.execute(
        "SELECT v.version_id, v.mode FROM buckets b"
        " JOIN versions v ON v.bucket_id = b.bucket_id AND v.hidden = 1 AND v.key = ?"
        " WHERE b.name = ? ORDER BY v.seq LIMIT 1",
        (key.encode(), bucket),
    ).fetchone()
    # An object on top is one that was hidden or put there since the caller looked.
    return None if row is None or row[1] else row[0]


def version(conn: sqlite3.Connection, bucket: str, key: str, version_id: str) -> records.Stored:
    """See the port."""
    row = conn.execute(
        f"SELECT {rows.VERSION}, e.envelope, o.record, e.marks FROM {stacks.LOCATED} v"
        " LEFT JOIN envelopes e ON e.envelope_id = v.envelope_id"
        " LEFT JOIN bodies o ON o.body_id = e.body_id",
        stacks.named(bucket, key, version_id),
    ).fetchone()
    if row is None:
        find_bucket(conn, bucket)
        raise errors.VersionNotFound(bucket, key, version_id)
    found = rows.to_version(bucket, row[:-3])
    if found.is_marker:
        raise errors.IsDeleteMarker(bucket, key, version_id, found.modified_ms)
    return records.Stored(found, *row[-3:])


def blob_refs(
    conn: sqlite3.Connection, version: records.Version, *, limit: int
) -> Sequence[records.BlobRef]:
    """See the port; up to `limit` of them, all if it is negative."""
    found = conn.execute(
        f"SELECT o.blob_id, o.size, o.place FROM {stacks.LOCATED} v"
        " JOIN envelopes e ON e.envelope_id = v.envelope_id"
        " LEFT JOIN blobs o ON o.body_id = e.body_id"
        " WHERE v.generation = :generation ORDER BY o.ordinal LIMIT :limit",
        {
            **stacks.named(version.bucket, version.key, version.version_id),
            "generation": version.generation,
            "limit": limit,
        },
    ).fetchall()
    if not found:
        raise errors.ObjectNotFound(version.bucket, version.key)
    return [records.BlobRef(*row) for row in found if row[0] is not None]


def inline(conn: sqlite3.Connection, blob_id: bytes) -> bytes:
    """See the port."""
    row = conn.execute("SELECT data FROM inline_blobs WHERE blob_id = ?", (blob_id,)).fetchone()
    if row is None:
        raise errors.BlobMissing(blob_id.hex())
    data: bytes = row[0]
    return data


def upload(conn: sqlite3.Connection, bucket: str, key: str, upload_id: str) -> records.Upload:
    """See the port."""
    row = conn.execute(
        f"SELECT {rows.UPLOAD} FROM buckets b"
        " LEFT JOIN uploads u ON u.bucket_id = b.bucket_id AND u.key = ? AND u.upload_id = ?"
        " WHERE b.name = ?",
        (key.encode(), upload_id, bucket),
    ).fetchone()
    if row is None:
        raise errors.BucketNotFound(bucket)
    if row[0] is None:
        raise errors.UploadNotFound(upload_id)
    return rows.to_upload(bucket, row)


def completion(
    conn: sqlite3.Connection, bucket: str, key: str, upload_id: str
) -> records.Completion | None:
    """See the port."""
    row = conn.execute(
        "SELECT c.version_id, c.etag, c.generation, c.completed_ms FROM completions c"
        " JOIN buckets b ON b.bucket_id = c.bucket_id AND b.name = ?"
        " WHERE c.upload_id = ? AND c.key = ?",
        (bucket, upload_id, key.encode()),
    ).fetchone()
    return None if row is None else records.Completion(upload_id, bucket, key, *row)


# Reads of many rows


def usage(conn: sqlite3.Connection) -> records.Usage:
    """See the port. Objects are counted as they come and go, since counting rows walks over all."""
    buckets, objects = conn.execute("SELECT count(*), total(objects) FROM tallies").fetchone()
    (uploads,) = conn.execute("SELECT count(*) FROM uploads").fetchone()
    (doomed_blobs,) = conn.execute("SELECT count(*) FROM doomed").fetchone()
    return records.Usage(buckets, int(objects), uploads, doomed_blobs)


def store_keys(conn: sqlite3.Connection) -> Sequence[records.StoreKey]:
    """See the port."""
    found = conn.execute("SELECT number, wrapped, created_ms FROM store_keys ORDER BY number")
    return [records.StoreKey(*row) for row in found]


def users(conn: sqlite3.Connection) -> Sequence[records.User]:
    """See the port."""
    found = conn.execute(f"SELECT {rows.USER} FROM users ORDER BY name")
    return [records.User(*row) for row in found]


def buckets(
    conn: sqlite3.Connection, *, owner: str | None, prefix: str, after: str, limit: int
) -> Sequence[records.Bucket]:
    """See the port."""
    found: list[records.Bucket] = []
    cursor = conn.execute(
        f"SELECT {rows.BUCKET} FROM buckets WHERE name > ? AND name >= ? ORDER BY name",
        (after, prefix),
    )
    while len(found) < limit and (row := cursor.fetchone()) is not None:
        if not row[0].startswith(prefix):
            break
        if owner in (None, row[1]):
            found.append(rows.to_bucket(row))
    return found


def list_objects(
    conn: sqlite3.Connection, bucket: str, *, prefix: str, delimiter: str, after: str, limit: int
) -> records.ObjectPage:
    """See the port."""
    bucket_id = find_bucket(conn, bucket)

    def scan(start: bytes) -> Iterator[tuple[bytes, rows.Row]]:
        cursor = conn.execute(
            f"SELECT {rows.VERSION} FROM versions v"
            " WHERE v.bucket_id = ? AND v.hidden = 0 AND v.key >= ? ORDER BY v.key",
            (bucket_id, start),
        )
        return ((row[0], row) for row in cursor)

    return paging.object_page(
        scan,
        lambda row: rows.to_version(bucket, row),
        prefix=prefix,
        delimiter=delimiter,
        after=after,
        limit=limit,
    )


def list_versions(
    conn: sqlite3.Connection,
    bucket: str,
    *,
    prefix: str,
    delimiter: str,
    after: tuple[str, str],
    limit: int,
) -> records.VersionPage:
    """See the port."""
    bucket_id = find_bucket(conn, bucket)

    def scan(start: bytes, seq: int = -_GREATEST) -> Iterator[tuple[bytes, rows.Row]]:
        cursor = conn.execute(_BOTH_RANGES, {"bucket_id": bucket_id, "key": start, "seq": seq})
        return ((row[0], row) for row in cursor)

    def resume(key: bytes, version_id: str) -> Iterator[tuple[bytes, rows.Row]]:
        at = conn.execute(
            f"SELECT v.seq FROM {stacks.LOCATED} v",
            {"bucket": bucket, "key": key, "version_id": version_id},
        ).fetchone()
        return scan(key) if at is None else scan(key, at[0])

    return paging.version_page(
        scan,
        resume,
        lambda row: (rows.to_version(bucket, row[:-2]), bool(row[-1])),
        prefix=prefix,
        delimiter=delimiter,
        after=after,
        limit=limit,
    )


_BOTH_RANGES = f"""
    SELECT {rows.VERSION}, v.seq AS seq, 1 FROM versions v
        WHERE v.bucket_id = :bucket_id AND v.hidden = 0 AND (v.key, v.seq) > (:key, :seq)
    UNION ALL
    SELECT {rows.VERSION}, v.seq AS seq, v.mode = '' AND NOT EXISTS (
            SELECT 1 FROM versions n
            WHERE n.bucket_id = v.bucket_id AND n.hidden = 0 AND n.key = v.key
        ) AND NOT EXISTS (
            SELECT 1 FROM versions n
            WHERE n.bucket_id = v.bucket_id AND n.hidden = 1 AND n.key = v.key AND n.seq < v.seq
        ) FROM versions v
        WHERE v.bucket_id = :bucket_id AND v.hidden = 1 AND (v.key, v.seq) > (:key, :seq)
    ORDER BY key, seq
"""
"""Versions behind a place, merged; the last column tells whether one is the newest of its key."""


def list_uploads(
    conn: sqlite3.Connection,
    bucket: str,
    *,
    prefix: str,
    delimiter: str,
    after: tuple[str, str],
    limit: int,
) -> records.UploadPage:
    """See the port."""
    bucket_id = find_bucket(conn, bucket)

    def scan(start: bytes) -> Iterator[tuple[bytes, rows.Row]]:
        cursor = conn.execute(
            f"SELECT {rows.UPLOAD} FROM uploads u WHERE u.bucket_id = ? AND u.key >= ?"
            " ORDER BY u.key, u.initiated_ms, u.upload_id",
            (bucket_id, start),
        )
        return ((row[0], row) for row in cursor)

    def resume(key: bytes, upload_id: str) -> Iterator[tuple[bytes, rows.Row]]:
        at = conn.execute(
            "SELECT key, initiated_ms, upload_id FROM uploads"
            " WHERE upload_id = ? AND bucket_id = ? AND key = ?",
            (upload_id, bucket_id, key),
        ).fetchone()
        if at is None:
            return scan(key)
        cursor = conn.execute(
            f"SELECT {rows.UPLOAD} FROM uploads u WHERE u.bucket_id = ?"
            " AND (u.key, u.initiated_ms, u.upload_id) > (?, ?, ?)"
            " ORDER BY u.key, u.initiated_ms, u.upload_id",
            (bucket_id, *at),
        )
        return ((row[0], row) for row in cursor)

    return paging.upload_page(
        scan,
        resume,
        lambda row: rows.to_upload(bucket, row),
        prefix=prefix,
        delimiter=delimiter,
        after=after,
        limit=limit,
    )


def parts(
    conn: sqlite3.Connection, upload_id: str, *, after: int, limit: int | None
) -> Sequence[records.Part]:
    """See the port."""
    found = conn.execute(
        f"SELECT {rows.PART} FROM parts"
        " WHERE upload_row = (SELECT upload_row FROM uploads WHERE upload_id = ?) AND number > ?"
        " ORDER BY number LIMIT ?",
        (upload_id, _fit(after), -1 if limit is None else _fit(max(limit, 0))),
    )
    return [rows.to_part(row) for row in found]


def doomed(conn: sqlite3.Connection, *, limit: int) -> Sequence[records.BlobRef]:
    """See the port."""
    found = conn.execute(
        "SELECT blob_id, size, place FROM doomed ORDER BY doomed_id LIMIT ?",
        (_fit(max(limit, 0)),),
    )
    return [records.BlobRef(*row) for row in found]


def known(conn: sqlite3.Connection, blob_ids: Collection[bytes]) -> set[bytes]:
    """See the port."""
    ids = list(blob_ids)
    found: set[bytes] = set()
    for start in range(0, len(ids), _IDS_AT_ONCE):
        some = ids[start : start + _IDS_AT_ONCE]
        marks = ",".join("?" * len(some))
        for source in (
            "blobs WHERE place <> '' AND",
            "inline_blobs WHERE",
            "parts WHERE",
            "doomed WHERE",
            "staged_blobs WHERE",
        ):
            found.update(
                row[0]
                for row in conn.execute(f"SELECT blob_id FROM {source} blob_id IN ({marks})", some)
            )
    return found


def find_bucket(conn: sqlite3.Connection, name: str, *, made_ms: int | None = None) -> int:
    """Return the bucket's row id.

    Raises:
        BucketNotFound: there is none, or it was not made at `made_ms`, if that is given.
    """
    row = conn.execute(
        "SELECT bucket_id, created_ms FROM buckets WHERE name = ?", (name,)
    ).fetchone()
    if row is None or made_ms not in (None, row[1]):
        raise errors.BucketNotFound(name)
    bucket_id: int = row[0]
    return bucket_id


def _fit(number: int) -> int:
    """Return the integer of SQLite that is nearest: no row's number or count goes so far."""
    return max(-_GREATEST, min(number, _GREATEST))
