"""Building a catalog anew from what is left of an old one, of mirrors, and of a backup.

Pieces are gathered into a scratch database, each checked by itself: envelopes by their
digest and form, body records by the digest in the envelope that names them, inline blobs
by the digest in the body record. What was gathered first stands: so the catalog goes
before mirrors, and mirrors before a backup. Then a version is put together for each envelope.

Where blobs lie is not taken from any catalog but from the directories themselves.
"""

# ruff: noqa: S608 - what is formatted in are names of our own tables; values are parameters

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from strongroom import errors
from strongroom.crypto import body as bodies
from strongroom.crypto import digests, geometry, replica
from strongroom.crypto import envelope as envelopes
from strongroom.crypto import marks as mark_records
from strongroom.store.sqlite import connection, loose_rows, outbox, schema, small_tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from strongroom.store import mirrors
    from strongroom.store.sqlite import rows, salvage

_SCRATCH = """
    CREATE TABLE envelopes (
        generation BLOB PRIMARY KEY, bucket TEXT, key BLOB, version_id TEXT, modified_ms INTEGER,
        envelope BLOB, marks BLOB, source INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE lines (
        generation BLOB PRIMARY KEY, owner TEXT, algorithms TEXT, kind TEXT, rank INTEGER,
        fingerprint BLOB
    ) WITHOUT ROWID;
    CREATE TABLE markers (
        source INTEGER, bucket_id INTEGER, key BLOB, version_id TEXT, modified_ms INTEGER,
        owner TEXT, rank INTEGER, bucket TEXT, PRIMARY KEY (source, bucket_id, key, version_id)
    ) WITHOUT ROWID;
    CREATE TABLE homes (
        source INTEGER, bucket_id INTEGER, generation BLOB,
        PRIMARY KEY (source, bucket_id, generation)
    ) WITHOUT ROWID;
    CREATE TABLE kept (generation BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE had (generation BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE records (digest BLOB PRIMARY KEY, record BLOB) WITHOUT ROWID;
    CREATE TABLE inline (blob_id BLOB, data BLOB, crc BLOB, PRIMARY KEY (blob_id, crc)) WITHOUT ROWID;
    CREATE TABLE files (blob_id BLOB PRIMARY KEY, place TEXT, size INTEGER) WITHOUT ROWID;
"""

CATALOG, MIRROR, BACKUP = range(3)
"""Sources. Of two versions with one id, the one from the earlier source stands."""

NOWHERE = "00000000/00000000/"
"""Before the id of a blob that is lost: a place where none lies."""


@dataclass(slots=True)
class Rebuilt:
    """What came of it.

    Attributes:
        versions: versions that are there again.
        incomplete: of those, which lack bytes: (bucket, key, version id).
        lost: which could not be put together, though something was known of them.
        markers: delete markers that are there again.
        markers_lost: delete markers of buckets whose name nothing tells any more.
        from_mirrors: envelopes that only mirrors still had.
        from_backup: envelopes that only the backup still had.
        missing: versions that the old catalog readably had and the new one has not.
    """

    versions: int = 0
    incomplete: list[tuple[str, str, str]] = field(default_factory=list)
    lost: list[tuple[str, str, str]] = field(default_factory=list)
    markers: int = 0
    markers_lost: int = 0
    from_mirrors: int = 0
    from_backup: int = 0
    missing: int = 0


class Pieces:
    """All that is left, in a scratch database."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn
        self.small = small_tables.SmallTables()
        self._open: list[dict[str, tuple[list[str], list[rows.Row]]]] = []

    @classmethod
    @contextlib.contextmanager
    def scratch(cls, path: Path) -> Iterator[Self]:
        """Make an empty scratch database, for as long as the context lasts."""
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as conn:
            conn.execute("PRAGMA journal_mode = OFF")
            conn.execute("PRAGMA synchronous = OFF")
            conn.executescript(_SCRATCH)
            conn.execute("BEGIN")
            yield cls(conn)

    def add_catalog(
        self,
        found: salvage.Salvage,
        *,
        source: int = CATALOG,
        only_known: bool = False,
        small_known: bool = False,
    ) -> int:
        """Take what a catalog still has; return how many envelopes nobody had before.

        With `only_known`, no versions are taken that nothing before knew of, and neither
        users, keys nor uploads: what is missing of those was removed. With `small_known`,
        the same goes for users and keys alone.
        """
        self.add_small(found, source, spare=only_known or small_known, uploads=not only_known)
        for bucket_id, seq, *columns in found.versions():
            key, version_id, _, _, modified_ms, owner, mode, generation, *rest = columns
            algorithms, kind, fingerprint = rest
            if only_known:
                continue
            # A version whose mode rotted away is none.
            if mode == "" and not generation:
                self._insert(
                    *("markers", source, bucket_id, key, version_id, modified_ms, owner),
                    *(-seq if isinstance(seq, int) else None, None),
                )
            elif isinstance(generation, bytes) and isinstance(seq, int):
                self._insert("lines", generation, owner, algorithms, kind, -seq, fingerprint)
                self._insert("homes", source, bucket_id, generation)
                if source == CATALOG:
                    self._insert("had", generation)
        added = sum(
            self._add_envelope(envelope, digest, marks, source=source, only_known=only_known)
            for envelope, digest, marks in found.envelopes()
        )
        for (record,) in found.records():
            self._add_record(record)
        for blob_id, data in found.inline():
            self._add_inline(blob_id, data)
        return added

    def add_small(self, found: salvage.Salvage, source: int, *, spare: bool, uploads: bool) -> None:
        """Take the tables that do not grow with what is stored, and open uploads if wanted.

        With `spare`, rows only stand in for those that are found out to be rotten, and tell of
        buckets whose versions, or delete markers, are there.
        """
        opened = {}
        for table in found.tables():
            if table in ("uploads", "parts", "completions", "buckets", "kept"):
                opened[table] = found.everything(table)
            if table in outbox.OF_OBJECTS or table == "alembic_version":
                continue
            columns, read = opened.get(table) or found.everything(table)
            self.small.add(table, columns, read, source, spare=spare)
        if not uploads:
            return
        self._open.append(opened)
        for row in loose_rows.named(opened, "kept"):
            if isinstance(row["generation"], bytes) and row["generation"]:
                self._insert("kept", row["generation"])

    def add_mirror(self, mirror: mirrors.Mirror, *, only_known: bool) -> bool:
        """Take what a mirror has; whether its envelope was new."""
        version = mirror.version
        algorithms = ",".join(version.checksum_algorithms)
        added = self._add_envelope(
            mirror.envelope, b"", mirror.marks, source=MIRROR, only_known=only_known
        )
        if added:
            self._insert(
                *("lines", version.generation, version.owner, algorithms),
                *(version.checksum_type, mirror.rank, None),
            )
        self._add_record(mirror.record)
        for blob in mirror.blobs:
            if not blob.place:
                self._add_inline(blob.blob_id, blob.data)
        return added

    def add_file(self, blob_id: bytes, place: str, size: int) -> None:
        """Note where a blob lies."""
        self._insert("files", blob_id, place, size)

    def has_file(self, blob_id: bytes, size: int) -> bool:
        """Whether a blob of this length lies somewhere."""
        row = self._conn.execute(
            "SELECT 1 FROM files WHERE blob_id = ? AND size = ?", (blob_id, size)
        ).fetchone()
        return row is not None

    def wanted(self) -> Iterator[tuple[bytes, int]]:
        """Yield (blob id, ciphertext bytes) of all blobs that are not inline."""
        cursor = self._conn.execute("SELECT record FROM records")
        for (record,) in cursor:
            body = bodies.parse(record)
            for part in body.parts:
                if self._find_inline(part) is None:
                    yield part.blob_id, sealed_bytes(part.plain_bytes, body)

    def build(self, path: Path, *, identity: bytes | None, root: str, now_ms: int) -> Rebuilt:
        """Make a catalog of it; `root` owns the buckets of which only the name is left.

        Raises:
            StoreFull, StoreFailed: it cannot be written.
        """
        schema.migrate(path)
        try:
            with contextlib.closing(connection.connect(path)) as conn:
                conn.execute("PRAGMA foreign_keys = OFF")
                conn.execute("BEGIN IMMEDIATE")
                self.small.restore(conn, outbox.small_tables(conn))
                if identity is not None:
                    conn.execute(
                        "INSERT OR IGNORE INTO facts (name, value) VALUES ('store-id', ?)",
                        (identity,),
                    )
                self._name_markers()
                builder = _Builder(conn, self, root, now_ms)
                made = builder.build()
                for opened in self._open:
                    builder.keep(opened)
                self._restore_uploads(conn)
                made.missing = self._count_missing(conn)
                made.markers_lost = self._count_nameless()
                conn.execute("COMMIT")
                conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                return made
        except sqlite3.Error as error:
            raise connection.trouble(error) from error

    # What the builder asks

    def histories(self) -> Iterator[tuple[str, list[rows.Row]]]:
        """Yield a bucket and the rows of one key in it, key by key.

        A row: key, version id, time, rank (None if lost), generation (empty for a delete
        marker), envelope, marks, owner, names and type of checksums (None if lost), source,
        fingerprint (None if lost).
        """
        cursor = self._conn.execute(
            "SELECT e.bucket, e.key, e.version_id, e.modified_ms, l.rank,"
            " e.generation, e.envelope, e.marks, l.owner, l.algorithms, l.kind, e.source,"
            " l.fingerprint FROM envelopes e"
            " LEFT JOIN lines l ON l.generation = e.generation"
            " WHERE e.generation NOT IN (SELECT generation FROM kept) UNION ALL"
            " SELECT bucket, key, version_id, modified_ms, rank, x'', x'', x'', owner, '', '',"
            " source, x''"
            " FROM markers WHERE bucket IS NOT NULL ORDER BY 1, 2"
        )
        for (bucket, _), group in itertools.groupby(cursor, lambda row: row[:2]):
            yield bucket, [row[1:] for row in group]

    def envelope(self, generation: object) -> tuple[bytes, bytes] | None:
        """Return an envelope and its marks by the generation."""
        row = self._conn.execute(
            "SELECT envelope, marks FROM envelopes WHERE generation = ?", (generation,)
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def record(self, digest: bytes) -> bytes | None:
        """Return a body record by its digest."""
        row = self._conn.execute(
            "SELECT record FROM records WHERE digest = ?", (digest,)
        ).fetchone()
        return None if row is None else row[0]

    def blob(self, part: bodies.ClearPart, size: int) -> tuple[str, bytes] | None:
        """Return (place, inline bytes) of a part's blob; None if it is lost."""
        inline = self._find_inline(part)
        if inline is not None:
            return "", inline
        row = self._conn.execute(
            "SELECT place FROM files WHERE blob_id = ? AND size = ?", (part.blob_id, size)
        ).fetchone()
        return None if row is None else (row[0], b"")

    def _find_inline(self, part: bodies.ClearPart) -> bytes | None:
        row = self._conn.execute(
            "SELECT data FROM inline WHERE blob_id = ? AND crc = ?", (part.blob_id, part.digest)
        ).fetchone()
        return None if row is None else row[0]

    # Gathering

    def _add_envelope(
        self, envelope: object, digest: object, marks: object, *, source: int, only_known: bool
    ) -> bool:
        if not isinstance(envelope, bytes) or not isinstance(marks, bytes):
            return False
        if digest and hashlib.sha256(envelope).digest() != digest:
            return False
        try:
            parsed = envelopes.Envelope.parse(envelope)
        except errors.NotAuthentic:
            return False
        bucket = replica.place_of(parsed, marks)
        generation = replica.generation_at(parsed, bucket)
        if (
            only_known
            and not self._conn.execute(
                "SELECT 1 FROM lines WHERE generation = ?", (generation,)
            ).fetchone()
        ):
            return False
        return self._insert(
            *("envelopes", generation, bucket, parsed.origin_key.encode()),
            *(parsed.version_id, parsed.modified_ms, envelope, marks, source),
        )

    def _add_record(self, record: object) -> None:
        if isinstance(record, bytes):
            with contextlib.suppress(errors.NotAuthentic):
                bodies.parse(record)
                self._insert("records", hashlib.sha256(record).digest(), record)

    def _add_inline(self, blob_id: object, data: object) -> None:
        if isinstance(blob_id, bytes) and isinstance(data, bytes):
            crc = digests.ciphertext_crc()
            crc.update(data)
            self._insert("inline", blob_id, data, crc.digest())

    def _insert(self, table: str, *values: object) -> bool:
        marks = ",".join("?" * len(values))
        done = self._conn.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", values)
        return done.rowcount > 0

    def _name_markers(self) -> None:
        """Find out the buckets of delete markers: a row of theirs has only the number of one.

        By the tables of buckets, that of its own source first; else by what the envelopes
        of other versions in that bucket say.
        """
        asked = self._conn.execute("SELECT DISTINCT source, bucket_id FROM markers").fetchall()
        for source, bucket_id in asked:
            name = self._bucket_of(source, bucket_id)
            if name is not None:
                self._conn.execute(
                    "UPDATE markers SET bucket = ? WHERE source = ? AND bucket_id = ?",
                    (name, source, bucket_id),
                )

    def _bucket_of(self, source: int, bucket_id: object) -> str | None:
        for each in (source, CATALOG, MIRROR, BACKUP):
            for row in self.small.rows("buckets", each):
                if row.get("bucket_id") == bucket_id and isinstance(row.get("name"), str):
                    return str(row["name"])
        found = self._conn.execute(
            "SELECT e.bucket FROM homes h JOIN envelopes e USING (generation)"
            " WHERE h.source = ? AND h.bucket_id = ? GROUP BY e.bucket"
            " ORDER BY count(*) DESC LIMIT 1",
            (source, bucket_id),
        ).fetchone()
        return None if found is None else found[0]

    def _count_nameless(self) -> int:
        (count,) = self._conn.execute(
            "SELECT count(*) FROM markers WHERE bucket IS NULL"
        ).fetchone()
        return int(count)

    def _restore_uploads(self, conn: sqlite3.Connection) -> None:
        for opened in self._open:
            loose_rows.add_uploads(conn, opened)
        for blob_id, digest in conn.execute("SELECT blob_id, digest FROM parts WHERE place = ''"):
            row = self._conn.execute(
                "SELECT data FROM inline WHERE blob_id = ? AND crc = ?", (blob_id, digest)
            ).fetchone()
            if row is not None:
                conn.execute(
                    "INSERT OR IGNORE INTO inline_blobs (blob_id, data) VALUES (?, ?)",
                    (blob_id, row[0]),
                )
        # A part whose bytes are lost has to be uploaded again.
        conn.execute(
            "DELETE FROM parts WHERE place = '' AND blob_id NOT IN (SELECT blob_id FROM inline_blobs)"
        )

    def _count_missing(self, conn: sqlite3.Connection) -> int:
        """Count versions of the old catalog, of those whose envelope is sound, that are not there."""
        there = {
            row[0]
            for row in conn.execute(
                "SELECT generation FROM versions UNION ALL SELECT generation FROM kept"
            )
        }
        found = self._conn.execute(
            "SELECT generation FROM had JOIN envelopes USING (generation) WHERE source = ?",
            (CATALOG,),
        )
        return sum(generation not in there for (generation,) in found)


class _Builder:
    """Writes the rows of versions."""

    def __init__(self, conn: sqlite3.Connection, pieces: Pieces, root: str, now_ms: int) -> None:
        self._conn = conn
        self._pieces = pieces
        self._root = root
        self._now_ms = now_ms
        self._bodies: dict[bytes, int] = {}
        self._made = Rebuilt()

    def build(self) -> Rebuilt:
        for bucket, found in self._pieces.histories():
            # The newest first: by rank, or by time if that of some version is not known any
            # more. Of two null versions the earlier was replaced by the later.
            ranked = all(row[3] is not None for row in found)
            found.sort(key=lambda row: row[3] if ranked else row[2], reverse=True)
            candidates: dict[str, list[rows.Row]] = {}
            for row in found:
                candidates.setdefault(row[1], []).append(row)
            # Ranks of different sources say nothing about each other; the sort is stable.
            chosen = (
                next(
                    (
                        row
                        for row in sorted(rivals, key=lambda row: row[10])
                        if not row[4] or self._can_stand(bucket, row)
                    ),
                    None,
                )
                for rivals in candidates.values()
            )
            stood = {id(row) for row in chosen if row is not None}
            stack = [row for row in found if id(row) in stood]
            if stack:
                self._add_key(self._bucket_id(bucket), bucket, stack)
        self._conn.execute("DELETE FROM tallies")
        self._conn.execute(
            "INSERT INTO tallies (bucket_id, objects) SELECT b.bucket_id, (SELECT count(*)"
            " FROM versions v WHERE v.bucket_id = b.bucket_id AND v.hidden = 0) FROM buckets b"
        )
        return self._made

    def keep(self, opened: dict[str, tuple[list[str], list[rows.Row]]]) -> None:
        """Restore what the guard kept, of one source; numbers of rows mean something in that only."""
        names = {row["bucket_id"]: row["name"] for row in loose_rows.named(opened, "buckets")}
        for row in loose_rows.named(opened, "kept"):
            bucket = names.get(row["bucket_id"])
            generation = row["generation"]
            known = self._conn.execute(
                "SELECT 1 FROM kept WHERE generation = ? AND generation <> x''", (generation,)
            ).fetchone()
            if known or not isinstance(bucket, str):
                continue
            envelope_id = 0
            if generation:
                found = self._pieces.envelope(generation)
                line = (row["key"], row["version_id"], 0, 0, generation, *(found or (b"", b"")))
                if found is None or not self._can_stand(bucket, line):
                    continue
                envelope_id = self._add_envelope(*found)
            kept = {
                name: value for name, value in row.items() if name not in ("kept_id", "bucket_id")
            } | {"bucket_id": self._bucket_id(bucket), "envelope_id": envelope_id}
            loose_rows.restore(self._conn, "kept", [kept])

    def _add_envelope(self, encoded: bytes, marks: bytes) -> int:
        body_id = self._body_id(envelopes.Envelope.parse(encoded).body_digest)
        made = self._conn.execute(
            "INSERT INTO envelopes (body_id, envelope, marks, digest) VALUES (?, ?, ?, ?)",
            (body_id, encoded, marks, hashlib.sha256(encoded).digest()),
        )
        self._made.versions += 1
        return made.lastrowid or 0

    def _can_stand(self, bucket: str, row: rows.Row) -> bool:
        """Whether anything of a version's content is left; those without are lost."""
        key, version_id, envelope = row[0], row[1], row[5]
        record = self._pieces.record(envelopes.Envelope.parse(envelope).body_digest)
        name = (bucket, key.decode(errors="backslashreplace"), version_id)
        if record is not None:
            body = bodies.parse(record)
            there = [
                self._pieces.blob(part, sealed_bytes(part.plain_bytes, body)) for part in body.parts
            ]
            if any(one is not None for one in there):
                if None in there:
                    self._made.incomplete.append(name)
                return True
        self._made.lost.append(name)
        return False

    def _add_key(self, bucket_id: int, bucket: str, stack: list[rows.Row]) -> None:
        for index, row in enumerate(stack):
            key, version_id, modified_ms, _, generation, encoded, marks, owner, *rest = row
            kinds, kind, _, fingerprint = rest
            envelope_id, size, etag, mode = 0, 0, "", ""
            if generation:
                envelope = envelopes.Envelope.parse(encoded)
                size, etag, mode = envelope.size, envelope.etag, envelope.mode
                envelope_id = self._add_envelope(encoded, marks)
            else:
                self._made.markers += 1
            self._conn.execute(
                "INSERT INTO versions (bucket_id, hidden, key, seq, version_id, size, etag,"
                " modified_ms, owner, mode, generation, checksum_algorithms, checksum_type,"
                " envelope_id, fingerprint)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(bucket_id, int(index > 0 or not generation), key, index - len(stack) + 1),
                    *(version_id, size, etag, modified_ms, owner or self._owner(bucket), mode),
                    *(generation, kinds or "", kind or "", envelope_id),
                    fingerprint or _fingerprint(marks),
                ),
            )

    def _body_id(self, digest: bytes) -> int:
        if digest in self._bodies:
            body_id = self._bodies[digest]
            self._conn.execute("UPDATE bodies SET refs = refs + 1 WHERE body_id = ?", (body_id,))
            return body_id
        record = self._pieces.record(digest)
        assert record is not None, "asked for before"
        made = self._conn.execute("INSERT INTO bodies (refs, record) VALUES (1, ?)", (record,))
        assert made.lastrowid is not None, "an INSERT has a row id"
        body = bodies.parse(record)
        for ordinal, part in enumerate(body.parts):
            size = sealed_bytes(part.plain_bytes, body)
            place, data = self._pieces.blob(part, size) or (NOWHERE + part.blob_id.hex(), b"")
            self._conn.execute(
                "INSERT INTO blobs (body_id, ordinal, blob_id, size, place) VALUES (?, ?, ?, ?, ?)",
                (made.lastrowid, ordinal, part.blob_id, size, place),
            )
            if not place:
                self._conn.execute(
                    "INSERT OR IGNORE INTO inline_blobs (blob_id, data) VALUES (?, ?)",
                    (part.blob_id, data),
                )
        self._bodies[digest] = made.lastrowid
        return made.lastrowid

    def _bucket_id(self, name: str) -> int:
        row = self._conn.execute("SELECT bucket_id FROM buckets WHERE name = ?", (name,)).fetchone()
        if row is not None:
            return int(row[0])
        default: dict[str, object] = {
            "name": name,
            "owner": self._root,
            "created_ms": self._now_ms,
            "region": "us-east-1",
            "settings": json.dumps({}),
        }
        known = (row for row in self._pieces.small.rows("buckets") if row.get("name") == name)
        for found in (*known, default):
            # Its number may be another bucket's by now.
            fields = {column: value for column, value in found.items() if column != "bucket_id"}
            loose_rows.restore(self._conn, "buckets", [fields])
            made = self._conn.execute(
                "SELECT bucket_id FROM buckets WHERE name = ?", (name,)
            ).fetchone()
            if made is not None:
                return int(made[0])
        raise AssertionError("the default can be inserted")

    def _owner(self, bucket: str) -> str:
        row = self._conn.execute("SELECT owner FROM buckets WHERE name = ?", (bucket,)).fetchone()
        return str(row[0]) if row is not None else self._root


def _fingerprint(encoded: bytes) -> bytes:
    """Return what marks say of a version's key, of which the row is lost."""
    _, _, found = encoded.partition(b":")
    try:
        return bytes.fromhex(mark_records.unverified_note(found, "fingerprint"))
    except (errors.NotAuthentic, ValueError):
        return b""


def sealed_bytes(plain_bytes: int, body: bodies.SealedBody) -> int:
    """Return how many bytes the blob of a part has."""
    for _ in range(body.layers):
        plain_bytes = geometry.sealed_size(plain_bytes, body.segment_bytes)
    return plain_bytes
