"""Writes, as functions of a connection inside a transaction.

One that raises is rolled back by the caller, whole; so none has to check first
what a constraint or a later step will refuse.
"""

# ruff: noqa: S608 - what is formatted in are column lists of `rows`; values are parameters

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store import catalog, guarding, records
from strongroom.store.sqlite import reads, rows, stacks, watching

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping


def establish(conn: sqlite3.Connection, name: str, value: bytes) -> bytes:
    """See the port."""
    conn.execute("INSERT OR IGNORE INTO facts (name, value) VALUES (?, ?)", (name, value))
    row = conn.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    stands: bytes = row[0]
    return stands


def add_store_key(conn: sqlite3.Connection, key: records.StoreKey) -> bool:
    """See the port."""
    added = conn.execute(
        "INSERT OR IGNORE INTO store_keys (number, wrapped, created_ms) VALUES (?, ?, ?)",
        (key.number, key.wrapped, key.created_ms),
    )
    return added.rowcount == 1


def create_bucket(conn: sqlite3.Connection, bucket: records.Bucket) -> None:
    """See the port."""
    taken = conn.execute("SELECT owner FROM buckets WHERE name = ?", (bucket.name,)).fetchone()
    if taken is not None:
        raise errors.BucketExists(bucket.name, taken[0])
    made = conn.execute(
        f"INSERT INTO buckets ({rows.BUCKET}) VALUES (?, ?, ?, ?, ?)",
        (
            bucket.name,
            bucket.owner,
            bucket.created_ms,
            bucket.region,
            json.dumps(bucket.settings),
        ),
    )
    conn.execute("INSERT INTO tallies (bucket_id, objects) VALUES (?, 0)", (made.lastrowid,))


def change_settings(
    conn: sqlite3.Connection,
    name: str,
    changes: Mapping[str, str | None],
    bucket_made_ms: int | None,
) -> None:
    """See the port."""
    bucket_id = reads.find_bucket(conn, name, made_ms=bucket_made_ms)
    (text,) = conn.execute(
        "SELECT settings FROM buckets WHERE bucket_id = ?", (bucket_id,)
    ).fetchone()
    conn.execute(
        "UPDATE buckets SET settings = ? WHERE bucket_id = ?",
        (json.dumps(records.changed_settings(json.loads(text), changes)), bucket_id),
    )


def delete_bucket(conn: sqlite3.Connection, name: str) -> None:
    """See the port."""
    bucket_id = reads.find_bucket(conn, name)
    # What the guard keeps must outlive whoever deleted all that can be seen.
    if conn.execute(
        "SELECT 1 FROM versions WHERE bucket_id = :bucket_id UNION ALL"
        " SELECT 1 FROM kept WHERE bucket_id = :bucket_id LIMIT 1",
        {"bucket_id": bucket_id},
    ).fetchone():
        raise errors.BucketNotEmpty(name)
    uploads = conn.execute("SELECT upload_row FROM uploads WHERE bucket_id = ?", (bucket_id,))
    for (upload_row,) in uploads.fetchall():
        _drop_upload(conn, upload_row)
    conn.execute("DELETE FROM buckets WHERE bucket_id = ?", (bucket_id,))


def put_version(
    conn: sqlite3.Connection, draft: records.Draft, guard: catalog.Guard, watch: watching.Watch
) -> None:
    """See the port."""
    home = _home(conn, draft)
    before = stacks.newest(conn, home, draft.version.key)
    guard(stacks.version_of(before))
    if draft.shares is not None:
        body_id = share_body(conn, draft.shares)
    else:
        body_id = add_body(conn, draft.body)
    add_new_blobs(conn, body_id, draft.blobs)
    _make_current(conn, home, draft, body_id, before, watch)


def replace_version(
    conn: sqlite3.Connection, draft: records.Draft, replaced: records.Stored
) -> None:
    """See the port."""
    version = replaced.version
    home = stacks.home(conn, version.bucket, made_ms=draft.bucket_made_ms)
    guarding.check_key(home.rules, draft.version)
    found = stacks.find(conn, home, version.key, version.version_id)
    if found is None or found.version.generation != version.generation:
        raise errors.ObjectNotFound(version.bucket, version.key)
    if _marks(conn, found) != replaced.marks:
        raise errors.ObjectNotFound(version.bucket, version.key)
    if draft.blobs:
        body_id = add_body(conn, draft.body)
        add_new_blobs(conn, body_id, draft.blobs)
    else:
        body_id = share_body(conn, version)
    envelope_id = add_envelope(conn, draft, body_id)
    stacks.replace(conn, home, found, draft.version, envelope_id)
    release(conn, found.envelope_id)


def set_marks(
    conn: sqlite3.Connection,
    version: records.Version,
    marks: bytes,
    before: bytes | None = None,
    replicate_at_ms: int | None = None,
) -> None:
    """See the port."""
    home = stacks.home(conn, version.bucket)
    found = stacks.find(conn, home, version.key, version.version_id)
    if found is None or found.version.generation != version.generation:
        raise errors.ObjectNotFound(version.bucket, version.key)
    changed = conn.execute(
        "UPDATE envelopes SET marks = :marks"
        " WHERE envelope_id = :envelope_id AND (:before IS NULL OR marks = :before)",
        {"marks": marks, "envelope_id": found.envelope_id, "before": before},
    )
    if not changed.rowcount:
        raise errors.MarksChanged(version.key)
    if replicate_at_ms is not None:
        queue(conn, home.bucket_id, version, replicate_at_ms)


def delete_object(
    conn: sqlite3.Connection, marker: records.Version, guard: catalog.Guard, watch: watching.Watch
) -> tuple[records.Version | None, records.Version | None]:
    """See the port."""
    home = stacks.home(conn, marker.bucket)
    if not home.versioning:
        found = stacks.find(conn, home, marker.key, records.NULL_VERSION)
        guard(stacks.version_of(found))
        return _delete(conn, home, found, watch), None
    before = stacks.newest(conn, home, marker.key)
    guard(stacks.version_of(before))
    if home.versioning != records.ENABLED:
        marker = dataclasses.replace(marker, version_id=records.NULL_VERSION)
    elif home.replicates:
        queue(conn, home.bucket_id, marker, marker.modified_ms)
    gone = stacks.push(conn, home, marker, stacks.NO_ENVELOPE, before)
    return let_go(conn, home, gone, marker, watch), marker


def delete_version(
    conn: sqlite3.Connection,
    bucket: str,
    key: str,
    guard: catalog.DeletionGuard,
    version_id: str,
    watch: watching.Watch,
) -> records.Version | None:
    """See the port."""
    home = stacks.home(conn, bucket)
    found = stacks.find(conn, home, key, version_id)
    marks = b""
    if home.has_lock and found is not None and not found.version.is_marker:
        marks = _marks(conn, found)
    guard(stacks.version_of(found), marks)
    return _delete(conn, home, found, watch)


def create_upload(conn: sqlite3.Connection, upload: records.Upload) -> None:
    """See the port."""
    conn.execute(
        "INSERT INTO uploads (bucket_id, key, upload_id, owner, mode, initiated_ms,"
        " checksum_algorithm, checksum_type, sealed, fingerprint)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            reads.find_bucket(conn, upload.bucket, made_ms=upload.bucket_made_ms),
            upload.key.encode(),
            upload.upload_id,
            upload.owner,
            upload.mode,
            upload.initiated_ms,
            upload.checksum_algorithm,
            upload.checksum_type,
            upload.sealed,
            upload.fingerprint,
        ),
    )


def put_part(
    conn: sqlite3.Connection,
    upload: records.Upload,
    part: records.Part,
    blob: records.NewBlob,
) -> None:
    """See the port."""
    upload_row = _open_upload(conn, upload.bucket, upload.key, upload.upload_id)
    _drop_parts(conn, upload_row, [part.number])
    conn.execute(
        "INSERT INTO parts (upload_row, number, blob_id, blob_size, place, size, etag,"
        " modified_ms, digest, sealed_checksums) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            upload_row,
            part.number,
            part.blob_id,
            blob.size,
            blob.place,
            part.size,
            part.etag,
            part.modified_ms,
            part.digest,
            part.sealed_checksums,
        ),
    )
    if not blob.place:
        add_inline(conn, blob)


def complete_upload(
    conn: sqlite3.Connection,
    upload: records.Upload,
    draft: records.Draft,
    parts: Collection[records.Part],
    guard: catalog.Guard,
    watch: watching.Watch,
) -> None:
    """See the port."""
    home = _home(conn, draft)
    upload_row = _open_upload(conn, upload.bucket, upload.key, upload.upload_id)
    there = {
        number: blob
        for number, *blob in conn.execute(
            "SELECT number, blob_id, blob_size, place FROM parts WHERE upload_row = ?",
            (upload_row,),
        )
    }
    for part in parts:
        if part.number not in there or there[part.number][0] != part.blob_id:
            raise errors.InvalidPart(part.number, part.etag)
    before = stacks.newest(conn, home, upload.key)
    guard(stacks.version_of(before))
    body_id = add_body(conn, draft.body)
    add_blobs(conn, body_id, (there.pop(part.number) for part in parts))
    _drop_parts(conn, upload_row, there)
    # What is left are the rows of parts whose blobs the body has taken over.
    conn.execute("DELETE FROM parts WHERE upload_row = ?", (upload_row,))
    conn.execute("DELETE FROM uploads WHERE upload_row = ?", (upload_row,))
    _make_current(conn, home, draft, body_id, before, watch)
    _remember(conn, home.bucket_id, upload.upload_id, draft.version)


def abort_upload(conn: sqlite3.Connection, bucket: str, key: str, upload_id: str) -> None:
    """See the port."""
    reads.find_bucket(conn, bucket)
    _drop_upload(conn, _open_upload(conn, bucket, key, upload_id))


def forget(conn: sqlite3.Connection, blob_ids: Iterable[bytes]) -> None:
    """See the port."""
    conn.executemany("DELETE FROM doomed WHERE blob_id = ?", ((item,) for item in blob_ids))


def queue(conn: sqlite3.Connection, bucket_id: int, version: records.Version, now_ms: int) -> None:
    """Let a version be replicated; once more, if it waits already and has changed."""
    conn.execute(
        "INSERT INTO replications (bucket_id, key, version_id, made_ms, due_ms, attempts, done,"
        " trouble, revision) VALUES (?, ?, ?, ?, ?, 0, '', '', 0)"
        " ON CONFLICT (bucket_id, key, version_id) DO UPDATE SET due_ms = excluded.due_ms,"
        " done = '', revision = revision + 1",
        (bucket_id, version.key.encode(), version.version_id, now_ms, now_ms),
    )


def _home(conn: sqlite3.Connection, draft: records.Draft) -> stacks.Home:
    """Find a draft's bucket, and check that its versioning wants the draft's version id."""
    home = stacks.home(conn, draft.version.bucket, made_ms=draft.bucket_made_ms)
    is_null = draft.version.version_id == records.NULL_VERSION
    if is_null == (home.versioning == records.ENABLED):
        raise errors.VersioningChanged(home.name)
    guarding.check_key(home.rules, draft.version)
    return home


def _make_current(
    conn: sqlite3.Connection,
    home: stacks.Home,
    draft: records.Draft,
    body_id: int,
    before: stacks.Row | None,
    watch: watching.Watch,
) -> None:
    envelope_id = add_envelope(conn, draft, body_id)
    if draft.replicates:
        queue(conn, home.bucket_id, draft.version, draft.version.modified_ms)
    # Let go last: the draft may share the body of the very version that it replaces.
    gone = stacks.push(conn, home, draft.version, envelope_id, before)
    let_go(conn, home, gone, draft.version, watch)
    if home.rules.keep_ms and before is not None and before != gone:
        watch.hidden(home, before, draft.version)


def add_envelope(conn: sqlite3.Connection, draft: records.Draft, body_id: int) -> int:
    """Add a row for the envelope of a draft."""
    made = conn.execute(
        "INSERT INTO envelopes (body_id, envelope, marks, digest) VALUES (?, ?, ?, ?)",
        (body_id, draft.envelope, draft.marks, hashlib.sha256(draft.envelope).digest()),
    )
    assert made.lastrowid is not None, "an INSERT has a row id"
    return made.lastrowid


def _marks(conn: sqlite3.Connection, row: stacks.Row) -> bytes:
    found: bytes = conn.execute(
        "SELECT marks FROM envelopes WHERE envelope_id = ?", (row.envelope_id,)
    ).fetchone()[0]
    return found


def _delete(
    conn: sqlite3.Connection,
    home: stacks.Home,
    found: stacks.Row | None,
    watch: watching.Watch,
) -> records.Version | None:
    if found is not None:
        stacks.remove(conn, home, found)
    return let_go(conn, home, found, None, watch)


def let_go(
    conn: sqlite3.Connection,
    home: stacks.Home,
    row: stacks.Row | None,
    put: records.Version | None,
    watch: watching.Watch,
) -> records.Version | None:
    """Delete the envelope of a version that `put` displaced, if it had one; return the version.

    Unless the guard keeps it.
    """
    if row is None:
        return None
    if guarding.is_kept(home.rules, row.version, put):
        watch.keep(conn, home, row, put)
    elif not row.version.is_marker:
        release(conn, row.envelope_id)
    return row.version


def add_body(conn: sqlite3.Connection, record: bytes) -> int:
    """Add a body with one reference to it, and no blobs yet."""
    body_id = conn.execute("INSERT INTO bodies (refs, record) VALUES (1, ?)", (record,)).lastrowid
    assert body_id is not None, "an INSERT has a row id"
    return body_id


def share_body(conn: sqlite3.Connection, version: records.Version) -> int:
    """Count one reference more to the body of a version that must still be there."""
    row = conn.execute(
        f"SELECT e.body_id FROM {stacks.LOCATED} v"
        " JOIN envelopes e ON e.envelope_id = v.envelope_id WHERE v.generation = :generation",
        {
            **stacks.named(version.bucket, version.key, version.version_id),
            "generation": version.generation,
        },
    ).fetchone()
    if row is None:
        raise errors.SourceGone(version.bucket, version.key)
    body_id: int = row[0]
    conn.execute("UPDATE bodies SET refs = refs + 1 WHERE body_id = ?", (body_id,))
    return body_id


def add_blobs(conn: sqlite3.Connection, body_id: int, blobs: Iterable[Collection[object]]) -> None:
    """Add rows for the blobs of a body, in order: id, size, place."""
    conn.executemany(
        "INSERT INTO blobs (body_id, ordinal, blob_id, size, place) VALUES (?, ?, ?, ?, ?)",
        ((body_id, ordinal, *blob) for ordinal, blob in enumerate(blobs)),
    )


def add_new_blobs(
    conn: sqlite3.Connection, body_id: int, blobs: Collection[records.NewBlob]
) -> None:
    """Add rows for the blobs of a body, and what is inline."""
    add_blobs(conn, body_id, ((blob.blob_id, blob.size, blob.place) for blob in blobs))
    for blob in blobs:
        if not blob.place:
            add_inline(conn, blob)


def add_inline(conn: sqlite3.Connection, blob: records.NewBlob) -> None:
    """Keep the bytes of an inline blob."""
    conn.execute(
        "INSERT INTO inline_blobs (blob_id, data) VALUES (?, ?)", (blob.blob_id, blob.data)
    )


def release(conn: sqlite3.Connection, envelope_id: int) -> None:
    """Delete an envelope, and with the last one of a body the body and its blobs."""
    body_id, refs = conn.execute(
        "SELECT e.body_id, o.refs FROM envelopes e JOIN bodies o ON o.body_id = e.body_id"
        " WHERE e.envelope_id = ?",
        (envelope_id,),
    ).fetchone()
    conn.execute("DELETE FROM envelopes WHERE envelope_id = ?", (envelope_id,))
    if refs > 1:
        conn.execute("UPDATE bodies SET refs = refs - 1 WHERE body_id = ?", (body_id,))
        return
    conn.execute(
        "INSERT INTO doomed (blob_id, size, place) SELECT blob_id, size, place FROM blobs"
        " WHERE body_id = ? AND place <> '' ORDER BY ordinal",
        (body_id,),
    )
    conn.execute(
        "DELETE FROM inline_blobs WHERE blob_id IN"
        " (SELECT blob_id FROM blobs WHERE body_id = ? AND place = '')",
        (body_id,),
    )
    conn.execute("DELETE FROM blobs WHERE body_id = ?", (body_id,))
    conn.execute("DELETE FROM bodies WHERE body_id = ?", (body_id,))


def _open_upload(conn: sqlite3.Connection, bucket: str, key: str, upload_id: str) -> int:
    row = conn.execute(
        "SELECT u.upload_row FROM uploads u JOIN buckets b ON b.bucket_id = u.bucket_id"
        " WHERE u.upload_id = ? AND u.key = ? AND b.name = ?",
        (upload_id, key.encode(), bucket),
    ).fetchone()
    if row is None:
        raise errors.UploadNotFound(upload_id)
    upload_row: int = row[0]
    return upload_row


def _drop_upload(conn: sqlite3.Connection, upload_row: int) -> None:
    numbers = conn.execute("SELECT number FROM parts WHERE upload_row = ?", (upload_row,))
    _drop_parts(conn, upload_row, [number for (number,) in numbers])
    conn.execute("DELETE FROM uploads WHERE upload_row = ?", (upload_row,))


def _drop_parts(conn: sqlite3.Connection, upload_row: int, numbers: Iterable[int]) -> None:
    """Delete parts, if they are there, and doom their blobs."""
    which = [(upload_row, number) for number in numbers]
    conn.executemany(
        "INSERT INTO doomed (blob_id, size, place) SELECT blob_id, blob_size, place FROM parts"
        " WHERE upload_row = ? AND number = ? AND place <> ''",
        which,
    )
    conn.executemany(
        "DELETE FROM inline_blobs WHERE blob_id ="
        " (SELECT blob_id FROM parts WHERE upload_row = ? AND number = ? AND place = '')",
        which,
    )
    conn.executemany("DELETE FROM parts WHERE upload_row = ? AND number = ?", which)


def _remember(
    conn: sqlite3.Connection, bucket_id: int, upload_id: str, version: records.Version
) -> None:
    conn.execute(
        "DELETE FROM completions WHERE completed_ms < ?",
        (version.modified_ms - catalog.COMPLETION_KEPT_MS,),
    )
    conn.execute(
        "INSERT INTO completions (upload_id, bucket_id, key, version_id, etag, generation,"
        " completed_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            upload_id,
            bucket_id,
            version.key.encode(),
            version.version_id,
            version.etag,
            version.generation,
            version.modified_ms,
        ),
    )
