"""The inventory adapter over SQLite. Port: `strongroom.store.inventory.Inventory`.

SQLite keeps in a column what is put there, of whatever type, so that a damaged row
may have text where a number belongs. Rows are therefore read as they are and looked
at before they become records.
"""

# ruff: noqa: S608 - what is formatted in are column lists of `rows`; values are parameters

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

from strongroom.store import inventory, records
from strongroom.store.sqlite import connection, reads, rows, schema, stacks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

EXAMPLES = 3
"""How many rows a contradiction names."""

_TOLD = 20
"""Lines of SQLite's own check; after so many the file is beyond mending anyway."""

_BEFORE_ALL = (-1, 0, b"", 0)

_BLOB_ID = "lower(hex(blob_id))"

RULES = {
    "versions without an envelope": (
        "SELECT version_id FROM versions WHERE mode <> '' AND envelope_id NOT IN"
        " (SELECT envelope_id FROM envelopes)"
    ),
    "envelopes without a version": (
        "SELECT envelope_id FROM envelopes WHERE envelope_id NOT IN"
        " (SELECT envelope_id FROM versions UNION ALL SELECT envelope_id FROM kept)"
    ),
    "envelopes of more than one version": (
        "SELECT envelope_id FROM (SELECT envelope_id, mode FROM versions UNION ALL"
        " SELECT envelope_id, mode FROM kept) WHERE mode <> ''"
        " GROUP BY envelope_id HAVING count(*) > 1"
    ),
    "kept versions without an envelope": (
        "SELECT version_id FROM kept WHERE mode <> '' AND envelope_id NOT IN"
        " (SELECT envelope_id FROM envelopes)"
    ),
    "delete markers with an envelope": (
        f"SELECT version_id FROM versions WHERE mode = '' AND envelope_id <> {stacks.NO_ENVELOPE}"
    ),
    "versions in the wrong range": (
        "SELECT version_id FROM versions v WHERE hidden <> (mode = '' OR EXISTS (SELECT 1 FROM"
        " versions n WHERE n.bucket_id = v.bucket_id AND n.hidden = 0 AND n.key = v.key"
        " AND n.seq < v.seq) OR EXISTS (SELECT 1 FROM versions n WHERE n.bucket_id = v.bucket_id"
        " AND n.hidden = 1 AND n.key = v.key AND n.seq < v.seq))"
    ),
    "versions of a key with one id": (
        "SELECT version_id FROM versions v WHERE hidden = 1 AND EXISTS (SELECT 1 FROM versions n"
        " WHERE n.bucket_id = v.bucket_id AND n.hidden = 0 AND n.key = v.key"
        " AND n.version_id = v.version_id)"
    ),
    "envelopes without a body": (
        "SELECT envelope_id FROM envelopes WHERE body_id NOT IN (SELECT body_id FROM bodies)"
    ),
    "bodies whose references are miscounted": (
        "SELECT b.body_id FROM bodies b LEFT JOIN (SELECT body_id, count(*) AS n FROM envelopes"
        " GROUP BY body_id) e ON e.body_id = b.body_id WHERE b.refs <> coalesce(e.n, 0)"
    ),
    "bodies without blobs": (
        "SELECT body_id FROM bodies WHERE body_id NOT IN (SELECT body_id FROM blobs)"
    ),
    "blobs without a body": (
        f"SELECT {_BLOB_ID} FROM blobs WHERE body_id NOT IN (SELECT body_id FROM bodies)"
    ),
    "inline blobs that are named and not there": (
        f"SELECT {_BLOB_ID} FROM (SELECT blob_id FROM blobs WHERE place = '' UNION ALL"
        " SELECT blob_id FROM parts WHERE place = '') WHERE blob_id NOT IN"
        " (SELECT blob_id FROM inline_blobs)"
    ),
    "inline blobs that nothing names": (
        f"SELECT {_BLOB_ID} FROM inline_blobs WHERE blob_id NOT IN"
        " (SELECT blob_id FROM blobs WHERE place = ''"
        " UNION ALL SELECT blob_id FROM parts WHERE place = '')"
    ),
    "blobs in more than one place": (
        f"SELECT {_BLOB_ID} FROM (SELECT blob_id FROM blobs UNION ALL SELECT blob_id FROM parts"
        " UNION ALL SELECT blob_id FROM doomed) GROUP BY blob_id HAVING count(*) > 1"
    ),
    "buckets whose objects are miscounted": (
        "SELECT b.name FROM buckets b JOIN tallies t ON t.bucket_id = b.bucket_id WHERE"
        " t.objects <> (SELECT count(*) FROM versions v"
        " WHERE v.bucket_id = b.bucket_id AND v.hidden = 0)"
    ),
    "versions without a bucket": (
        "SELECT version_id FROM versions WHERE bucket_id NOT IN (SELECT bucket_id FROM buckets)"
    ),
    "parts without an upload": (
        "SELECT number FROM parts WHERE upload_row NOT IN (SELECT upload_row FROM uploads)"
    ),
}
"""What is wrong → a query that finds it, with what names the row. Held by the crash tests too."""


def open_inventory(path: Path) -> SqliteInventory:
    """Open a catalog for reading, also while a server writes to it. The caller closes.

    Raises:
        StoreFailed: the file is missing, has another schema, or cannot be read at all.
    """
    try:
        conn = connection.connect(path, read_only=True)
        try:
            schema.require_newest(conn)
            # Damage may be text that is none; the sqlite3 module would give up there.
            conn.text_factory = lambda raw: raw.decode(errors="backslashreplace")
        except BaseException:
            conn.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise connection.trouble(error) from error
    return SqliteInventory(conn)


class SqliteInventory:
    """See the module. Made by `open_inventory`."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn

    def close(self) -> None:
        """See the port."""
        self._conn.close()

    def totals(self) -> inventory.Totals:
        """See the port."""
        with self._reading() as conn:
            (versions,) = conn.execute(
                "SELECT (SELECT count(*) FROM versions WHERE mode <> '')"
                " + (SELECT count(*) FROM kept WHERE mode <> '')"
            ).fetchone()
            blobs, size = conn.execute(
                "SELECT count(*), total(size) FROM (SELECT size FROM blobs UNION ALL"
                " SELECT blob_size FROM parts)"
            ).fetchone()
            return inventory.Totals(versions, blobs, int(size))

    def contradictions(self) -> Iterator[str]:
        """See the port."""
        with self._reading() as conn:
            found = [row[0] for row in conn.execute(f"PRAGMA integrity_check({_TOLD})")]
            told = [f"SQLite: {line}" for line in found if line != "ok"]
            for table, _, parent, _ in conn.execute("PRAGMA foreign_key_check"):
                told.append(f"SQLite: a row of {table} refers to none of {parent}")
        yield from told[:_TOLD]
        for wrong, query in RULES.items():
            with self._reading() as conn:
                named = [str(row[0]) for row in conn.execute(f"{query} LIMIT {EXAMPLES + 1}")]
            if named:
                more = ", …" if len(named) > EXAMPLES else ""
                yield f"{wrong}: {', '.join(named[:EXAMPLES])}{more}"

    def entries(self) -> Iterator[inventory.Entry]:
        """See the port. What the guard keeps comes last."""
        yield from self._entries("versions", "v.bucket_id, v.hidden, v.key, v.seq", _BEFORE_ALL)
        # Four columns here too, so that rows are read alike.
        yield from self._entries("kept", "v.kept_id, v.kept_id, v.key, v.seq", _BEFORE_ALL)

    def _entries(self, table: str, place: str, start: tuple[Any, ...]) -> Iterator[inventory.Entry]:
        at = start
        # The first column alone names a kept version; with all, SQLite would scan for the rest.
        order, marks = (place, "?, ?, ?, ?") if table == "versions" else ("v.kept_id", "?")
        while True:
            with self._reading() as conn:
                row = conn.execute(
                    f"SELECT {place}, b.name, {rows.VERSION},"
                    f" e.envelope, e.digest, e.marks, e.body_id, o.refs, o.record FROM {table} v"
                    " LEFT JOIN buckets b ON b.bucket_id = v.bucket_id"
                    " LEFT JOIN envelopes e ON e.envelope_id = v.envelope_id"
                    " LEFT JOIN bodies o ON o.body_id = e.body_id"
                    f" WHERE ({order}) > ({marks})"
                    # A version whose mode rotted away looks like a delete marker, but has an envelope.
                    f" AND (v.mode <> '' OR v.envelope_id <> {stacks.NO_ENVELOPE})"
                    f" ORDER BY {order} LIMIT 1",
                    at[: marks.count("?")],
                ).fetchone()
                if row is None:
                    return
                at = row[:4]
                blobs = conn.execute(
                    "SELECT blob_id, size, place FROM blobs WHERE body_id = ? ORDER BY ordinal",
                    (row[-3],),
                ).fetchall()
            yield _entry(row, blobs)

    def uploads(self) -> Iterator[inventory.OpenUpload]:
        """See the port."""
        at = -1
        while True:
            with self._reading() as conn:
                row = conn.execute(
                    f"SELECT u.upload_row, b.name, {rows.UPLOAD} FROM uploads u"
                    " LEFT JOIN buckets b ON b.bucket_id = u.bucket_id"
                    " WHERE u.upload_row > ? ORDER BY u.upload_row LIMIT 1",
                    (at,),
                ).fetchone()
                if row is None:
                    return
                at = row[0]
                parts = conn.execute(
                    f"SELECT {rows.PART}, blob_size, place FROM parts WHERE upload_row = ?"
                    " ORDER BY number",
                    (at,),
                ).fetchall()
            yield _upload(row, parts)

    def inline(self, blob_id: bytes) -> bytes:
        """See the port."""
        with self._reading() as conn:
            return _bytes(reads.inline(conn, blob_id))

    def is_named(self, blob_id: bytes) -> bool:
        """See the port."""
        # Two queries for `blobs`: its index does not have the inline ones, which are named
        # exactly as long as their bytes are there or somebody has taken those away.
        with self._reading() as conn:
            return any(
                conn.execute(f"SELECT 1 FROM {source} LIMIT 1", (blob_id,)).fetchone()
                for source in (
                    "blobs WHERE place <> '' AND blob_id = ?",
                    "parts WHERE blob_id = ?",
                    "staged_blobs WHERE blob_id = ?",
                    "inline_blobs WHERE blob_id = ?",
                    "blobs WHERE blob_id = ?",
                )
            )

    def fact(self, name: str) -> bytes | None:
        """See the port."""
        with self._reading() as conn:
            return reads.fact(conn, name)

    def store_keys(self) -> Sequence[records.StoreKey]:
        """See the port."""
        with self._reading() as conn:
            return reads.store_keys(conn)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One transaction, in which all statements see the same."""
        try:
            self._conn.execute("BEGIN")
            try:
                yield self._conn
            finally:
                self._conn.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise connection.trouble(error) from error


def _entry(row: rows.Row, blobs: Sequence[rows.Row]) -> inventory.Entry:
    _, _, key, _, bucket, *columns, envelope, digest, marks, body_id, refs, record = row
    place = inventory.Place(bucket or "", _text(key), str(columns[1]))
    return inventory.Entry(
        place=place,
        version=_version(bucket or "", tuple(columns)),
        envelope=_bytes_or_none(envelope),
        digest=_bytes_or_none(digest) or b"",
        marks=_bytes_or_none(marks),
        body_id=body_id if isinstance(body_id, int) else -1,
        refs=refs if isinstance(refs, int) else 0,
        record=_bytes_or_none(record),
        blobs=tuple(_ref(*blob) for blob in blobs),
    )


def _version(bucket: str, columns: rows.Row) -> records.Version | None:
    try:
        version = rows.to_version(bucket, columns)
    except (AttributeError, TypeError, ValueError):
        return None
    texts: tuple[object, ...] = (
        *(version.version_id, version.etag, version.owner, version.mode),
        version.checksum_type,
    )
    numbers: tuple[object, ...] = (version.size, version.modified_ms)
    sound = (
        all(isinstance(value, str) for value in texts)
        and all(isinstance(value, int) for value in numbers)
        and _bytes_or_none(version.generation) is not None
        and _bytes_or_none(version.fingerprint) is not None
    )
    return version if sound else None


def _upload(row: rows.Row, parts: Sequence[rows.Row]) -> inventory.OpenUpload:
    _, bucket, *columns = row
    place = inventory.Place(bucket or "", _text(columns[0]), upload_id=str(columns[1]))
    return inventory.OpenUpload(
        place,
        _open_upload(bucket or "", tuple(columns)),
        tuple((rows.to_part(part[:-2]), _ref(part[1], part[-2], part[-1])) for part in parts),
    )


def _open_upload(bucket: str, columns: rows.Row) -> records.Upload | None:
    try:
        upload = rows.to_upload(bucket, columns)
    except (AttributeError, TypeError, ValueError):
        return None
    return upload if _bytes_or_none(upload.sealed) is not None else None


def _ref(blob_id: object, size: object, place: object) -> records.BlobRef:
    return records.BlobRef(_bytes(blob_id), size if isinstance(size, int) else -1, str(place))


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _bytes_or_none(value: object) -> bytes | None:
    return value if isinstance(value, bytes) else None


def _text(key: object) -> str:
    return _bytes(key).decode(errors="backslashreplace")
