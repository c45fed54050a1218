"""What a read, a listing and a write of one key cost in a bucket of a million.

    python -m ordeal.million --keys 1000000

Counted are the instructions of SQLite's machine, which no other load on the computer changes: in a
bucket of a thousand keys and in one of many, at the beginning, in the middle and at the end.
"""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from strongroom.store import catalog, records
from strongroom.store.sqlite import connection, reads, schema, watching, writes

FEW = 1000
PAGE = 100
ALLOWED = 1.2
"""How much more something may cost among many keys than among few."""


def fill(conn, bucket, count):
    """Make a bucket with `count` small objects, named by number."""
    writes.create_bucket(conn, records.Bucket(bucket, "owner", 1, "here", {}))
    bucket_id = reads.find_bucket(conn, bucket)
    (start,) = conn.execute("SELECT coalesce(max(body_id), 0) + 1 FROM bodies").fetchone()
    numbers = range(count)
    conn.executemany(
        "INSERT INTO bodies (body_id, refs, record) VALUES (?, 1, zeroblob(120))",
        ((start + number,) for number in numbers),
    )
    conn.executemany(
        "INSERT INTO envelopes (envelope_id, body_id, envelope, marks)"
        " VALUES (?, ?, zeroblob(550), zeroblob(90))",
        ((start + number, start + number) for number in numbers),
    )
    conn.executemany(
        "INSERT INTO blobs (body_id, ordinal, blob_id, size, place) VALUES (?, 0, ?, 57, '')",
        ((start + number, blob_id(start + number)) for number in numbers),
    )
    conn.executemany(
        "INSERT INTO inline_blobs (blob_id, data) VALUES (?, zeroblob(57))",
        ((blob_id(start + number),) for number in numbers),
    )
    conn.executemany(
        "INSERT INTO versions (bucket_id, hidden, key, seq, version_id, size, etag, modified_ms,"
        " owner, mode, generation, checksum_algorithms, checksum_type, envelope_id)"
        " VALUES (?, 0, ?, 0, 'null', 1, 'etag', 1, 'owner', 'SSE-C', ?, '', '', ?)",
        (
            (bucket_id, name(number).encode(), blob_id(start + number), start + number)
            for number in numbers
        ),
    )
    conn.execute("UPDATE tallies SET objects = ? WHERE bucket_id = ?", (count, bucket_id))


def name(number):
    return f"{number:08d}"


def blob_id(number):
    return number.to_bytes(16, "big")


def steps(conn, work):
    """Return how many instructions SQLite's machine needs."""
    count = 0

    def tick():
        nonlocal count
        count += 1

    conn.set_progress_handler(tick, 1)
    try:
        work()
    finally:
        conn.set_progress_handler(None, 0)
    return count


def put(conn, bucket, key):
    blob = records.NewBlob(f"{bucket}{key}".encode().ljust(16)[-16:], 57, "", bytes(57))
    version = records.Version(
        *(bucket, key, records.NULL_VERSION, 1, "etag", 1, "owner", "SSE-C"),
        key.encode().rjust(16),
    )
    draft = records.Draft(version, b"envelope", b"body", b"marks", (blob,))
    writes.put_version(conn, draft, catalog.no_guard, watching.Watch(0))


def costs(conn, bucket, count):
    """Return (what, where) → instructions."""
    page = {"prefix": "", "delimiter": "", "limit": PAGE}
    found = {}
    for where, number in (
        ("first", 0),
        ("middle", count // 2),
        ("last", count - 2 - PAGE),
    ):
        key = name(number)
        works = {
            "head": lambda key=key: reads.current(conn, bucket, key),
            "list": lambda key=key: reads.list_objects(conn, bucket, after=key, **page),
            "put new": lambda key=key: put(conn, bucket, f"{key}-new"),
            "put again": lambda key=key: put(conn, bucket, key),
        }
        for what, work in works.items():
            found[what, where] = steps(conn, work)
    return found


def compare(path, many):
    """Return rows (what, where, instructions among few, among `many`)."""
    schema.migrate(path)
    with contextlib.closing(connection.connect(path)) as conn:
        conn.execute("PRAGMA synchronous = OFF")
        conn.execute("BEGIN")
        fill(conn, "few", FEW)
        fill(conn, "many", many)
        few = costs(conn, "few", FEW)
        found = costs(conn, "many", many)
        conn.execute("ROLLBACK")
    return [(*which, few[which], found[which]) for which in few]


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="make load", description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="strongroom-million-") as folder:
        rows = compare(Path(folder) / "catalog.sqlite", chosen.keys)
    print(f"instructions of SQLite among {FEW} and {chosen.keys} keys")  # noqa: T201 - output
    for what, where, few, many in rows:
        print(f"{what:15} {where:7} {few:7} {many:7}  {many / few:.2f}")  # noqa: T201 - likewise
    return int(any(many > ALLOWED * few for *_, few, many in rows))


if __name__ == "__main__":
    sys.exit(main())
