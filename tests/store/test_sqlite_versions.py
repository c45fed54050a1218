"""Versions in SQLite: what they cost does not depend on how many there are."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3

import pytest

from strongroom.store import catalog, records
from strongroom.store.sqlite import connection, reads, schema, stacks, watching, writes

MANY = 3000


@pytest.fixture
def conn(tmp_path):
    path = tmp_path / "catalog.db"
    schema.migrate(path)
    with contextlib.closing(connection.connect(path)) as opened:
        writes.create_bucket(
            opened, records.Bucket("shelf", "owner", 1, "here", {"versioning": "Enabled"})
        )
        opened.execute("BEGIN")
        yield opened
        opened.execute("ROLLBACK")


def version(key, version_id):
    return records.Version(
        "shelf", key, version_id, 1, "etag", 1, "owner", "SSE-C", version_id.rjust(16).encode()
    )


def put(conn, key, version_id):
    blob = records.NewBlob(f"{key}{version_id}".rjust(16).encode(), 1, "place")
    draft = records.Draft(version(key, version_id), b"envelope", b"body", b"marks", (blob,))
    writes.put_version(conn, draft, catalog.no_guard, watching.Watch(0))


def mark(conn, key, version_id):
    marker = records.delete_marker("shelf", key, version_id, owner="owner", modified_ms=1)
    writes.delete_object(conn, marker, catalog.no_guard, watching.Watch(0))


def steps(conn, work, *args, **kwargs):
    """Return how many instructions SQLite's machine needs."""
    count = 0

    def tick():
        nonlocal count
        count += 1

    conn.set_progress_handler(tick, 1)
    try:
        work(conn, *args, **kwargs)
    finally:
        conn.set_progress_handler(None, 0)
    return count


def costs(conn):
    """Return what everything costs that touches one key or one page."""
    page = {"prefix": "", "delimiter": "", "limit": 5}
    found = {
        "current": steps(conn, reads.current, "shelf", "k"),
        "oldest": steps(conn, reads.version, "shelf", "k", "first"),
        "blobs of the oldest": steps(conn, reads.blob_refs, version("k", "first"), limit=9),
        "objects": steps(conn, reads.list_objects, "shelf", after="", **page),
        "versions": steps(conn, reads.list_versions, "shelf", after=("", ""), **page),
        "versions on": steps(conn, reads.list_versions, "shelf", after=("k", "first"), **page),
    }
    for name, work in {
        "put": lambda: put(conn, "k", "next"),
        "delete": lambda: mark(conn, "k", "marker"),
        "undelete": lambda: writes.delete_version(
            conn, "shelf", "k", catalog.no_deletion_guard, "marker", watching.Watch(0)
        ),
        "delete one": lambda: writes.delete_version(
            conn, "shelf", "k", catalog.no_deletion_guard, "first", watching.Watch(0)
        ),
        "set marks": lambda: writes.set_marks(conn, version("k", "next"), b"others"),
    }.items():
        found[name] = steps(conn, lambda _conn, work=work: work())
    return found


def test_costs_do_not_depend_on_how_many_versions_and_markers_there_are(conn):
    for key in ("a", "k", "x", "y", "z"):
        put(conn, key, "first")
        put(conn, key, "second")
    conn.execute("SAVEPOINT few")
    with_few = costs(conn)
    conn.execute("ROLLBACK TO few")

    for number in range(MANY):
        put(conn, "k", f"later {number}")
        put(conn, f"hidden {number}", "object")
        mark(conn, f"hidden {number}", "marker")
    with_many = costs(conn)

    assert {name: with_many[name] / cost for name, cost in with_few.items() if cost} == (
        pytest.approx(dict.fromkeys(with_few, 1), abs=0.5)
    )


def test_no_plan_walks_over_a_table_or_sorts_versions(conn):
    plans = [
        detail
        for statement, values in {
            reads._BOTH_RANGES: {"bucket_id": 1, "key": b"k", "seq": 0},  # noqa: SLF001 - its plan is what is tested
            f"SELECT * FROM {stacks.LOCATED}": stacks.named("shelf", "k", "id"),  # noqa: S608 - our own text
        }.items()
        for *_, detail in conn.execute(f"EXPLAIN QUERY PLAN {statement}", values)
    ]

    assert any("hidden_versions" in detail for detail in plans)
    assert not [detail for detail in plans if "SCAN" in detail or "TEMP B-TREE" in detail]


def test_the_versions_of_the_first_schema_are_kept_and_shown(tmp_path):
    scripts, path = tmp_path / "migrations", tmp_path / "catalog.db"
    shutil.copytree(schema.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (scripts / "versions").glob("[0-9]*.py"):
        if not file.name.startswith("0001"):
            file.unlink()
    schema.migrate(path, scripts=scripts)
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.execute(
            "INSERT INTO buckets (name, owner, created_ms, region, settings)"
            " VALUES ('shelf', 'owner', 1, 'here', '{}')"
        )
        old.execute("INSERT INTO tallies VALUES (1, 2)")
        for number, key in enumerate((b"b", b"a"), 1):
            old.execute("INSERT INTO bodies VALUES (?, 1, x'00')", (number,))
            old.execute("INSERT INTO envelopes VALUES (?, ?, x'01', x'02')", (number, number))
            old.execute(
                "INSERT INTO versions VALUES (1, ?, -3, 'null', 7, 'etag', 8, 'owner', 'SSE-C',"
                " x'03', 'CRC32', 'FULL_OBJECT', ?)",
                (key, number),
            )
        old.commit()

    schema.migrate(path)

    with contextlib.closing(connection.connect(path)) as new:
        page = reads.list_objects(new, "shelf", prefix="", delimiter="", after="", limit=9)
        assert [found.key for found in page.versions] == ["a", "b"]
        expected = records.Version(
            "shelf", "a", "null", 7, "etag", 8, "owner", "SSE-C", b"\3", ("CRC32",), "FULL_OBJECT"
        )
        assert reads.current(new, "shelf", "a") == records.Stored(expected, b"\1", b"\0", b"\2")
        assert reads.version(new, "shelf", "b", "null").version.key == "b"
        assert new.execute("PRAGMA foreign_key_check").fetchall() == []
