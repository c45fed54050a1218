"""Rows as they were found in an old catalog, on their way into a new one."""

# ruff: noqa: S608 - what is formatted in are names of our own tables; values are parameters

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from strongroom.store.sqlite import rows


def named(
    tables: dict[str, tuple[list[str], list[rows.Row]]], table: str
) -> list[dict[str, object]]:
    """Return the rows of a table, each by the names of its columns; none if it was not found."""
    columns, found = tables.get(table, ([], []))
    return [dict(zip(columns, row, strict=True)) for row in found]


def restore(conn: sqlite3.Connection, table: str, found: Iterable[dict[str, object]]) -> None:
    """Put rows into a table as they were found; those that it does not take are left out."""
    there = {row[1] for row in conn.execute(f"PRAGMA table_info({table})")}
    for row in found:
        if not row or not set(row) <= there:
            continue
        marks = ",".join("?" * len(row))
        # A damaged row may be none that the table takes.
        with contextlib.suppress(sqlite3.IntegrityError):
            conn.execute(
                f"INSERT OR IGNORE INTO {table} ({', '.join(row)}) VALUES ({marks})",
                tuple(row.values()),
            )


def add_uploads(
    conn: sqlite3.Connection, opened: dict[str, tuple[list[str], list[rows.Row]]]
) -> None:
    """Restore open uploads of one source; numbers of rows mean something in that one only."""
    names = {row["bucket_id"]: row["name"] for row in named(opened, "buckets")}
    numbers: dict[object, int] = {}

    def place(row: dict[str, object]) -> dict[str, object] | None:
        bucket = conn.execute(
            "SELECT bucket_id FROM buckets WHERE name = ?", (names.get(row["bucket_id"]),)
        ).fetchone()
        return None if bucket is None else {**row, "bucket_id": bucket[0]}

    for one in named(opened, "completions"):
        if (row := place(one)) is not None:
            restore(conn, "completions", [row])
    parts: dict[object, list[dict[str, object]]] = {}
    for one in named(opened, "parts"):
        parts.setdefault(one["upload_row"], []).append(one)
    for one in named(opened, "uploads"):
        upload_id = one["upload_id"]
        row, at = place(one), one["upload_row"]
        known = conn.execute(
            "SELECT 1 FROM uploads WHERE upload_id = ?1 UNION ALL"
            " SELECT 1 FROM completions WHERE upload_id = ?1",
            (upload_id,),
        ).fetchone()
        # Parts that are an object's by now: the upload was completed.
        used = any(
            conn.execute("SELECT 1 FROM blobs WHERE blob_id = ?", (part["blob_id"],)).fetchone()
            for part in parts.get(at, ())
        )
        if row is None or known or used:
            continue
        row.pop("upload_row")
        restore(conn, "uploads", [row])
        made = conn.execute(
            "SELECT upload_row FROM uploads WHERE upload_id = ?", (upload_id,)
        ).fetchone()
        if made is not None:
            numbers[at] = made[0]
    for at, number in numbers.items():
        for part in parts.get(at, ()):
            row = {**part, "upload_row": number}
            restore(conn, "parts", [row])
