"""A look at a catalog from outside: what a check-up wants to know, nothing changed.

Unlike `SqliteCatalog` it opens what is damaged or of another release, and says so.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store.sqlite import connection, schema

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Look:
    """What a catalog's file is like.

    Attributes:
        file_bytes: length of the file.
        log_bytes: length of its write-ahead log.
        damage: what is wrong with it; empty if nothing was found.
        schema_trouble: why this release cannot work with its schema; empty if it can.
            What follows is known only if it can.
        facts: what was established, by name.
        newest_ms: when the newest version was written, in milliseconds since the Unix
            epoch; None if there is none.
    """

    file_bytes: int
    log_bytes: int
    damage: str = ""
    schema_trouble: str = ""
    facts: dict[str, bytes] = field(default_factory=dict)
    newest_ms: int | None = None


def look(path: Path, *, whole: bool) -> Look:
    """Look at the catalog in `path`, which exists; beside a server or without one.

    Args:
        path: its file.
        whole: read all of it and check that its pages hang together.

    Raises:
        OSError: the file cannot be read.
    """
    log = path.with_name(f"{path.name}-wal")
    sizes = (path.stat().st_size, log.stat().st_size if log.exists() else 0)
    with path.open("rb"):
        pass  # SQLite would not say why it cannot
    try:
        conn = connection.connect(path, read_only=True)
        try:
            return _contents(conn, *sizes, whole=whole)
        finally:
            conn.close()
    except sqlite3.Error as error:
        return Look(*sizes, damage=str(error))


def _contents(conn: sqlite3.Connection, file_bytes: int, log_bytes: int, *, whole: bool) -> Look:
    if whole:
        (said,) = conn.execute("PRAGMA quick_check(1)").fetchone()
        if said != "ok":
            return Look(file_bytes, log_bytes, damage=said)
    try:
        schema.require_newest(conn)
    except errors.StoreFailed as error:
        return Look(file_bytes, log_bytes, schema_trouble=str(error))
    facts = dict(conn.execute("SELECT name, value FROM facts"))
    (newest_ms,) = conn.execute("SELECT max(modified_ms) FROM versions").fetchone()
    return Look(file_bytes, log_bytes, facts=facts, newest_ms=newest_ms)
