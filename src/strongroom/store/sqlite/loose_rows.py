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


def restore(
    conn: sqlite3.Connection, table: str, columns: list[str], found: Iterable[rows.Row]
) -> None:
    """Put rows into a table as they were found; those that it does not take are left out."""
    there = {row[1] for row in conn.execute(f"PRAGMA table_info({table})")}
    if not columns or not set(columns) <= there:
        return
    marks = ",".join("?" * len(columns))
    for row in found:
        # A damaged row may be none that the table takes.
        with contextlib.suppress(sqlite3.IntegrityError):
            conn.execute(
                f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})", row
            )
