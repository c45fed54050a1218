"""Connections to the catalog's file, and what their errors mean."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from strongroom import errors

if TYPE_CHECKING:
    from pathlib import Path

BUSY_TIMEOUT_S = 30.0
"""How long SQLite polls for a lock. Writers of ours queue on a lock file and never get here;
a backup or a shell that somebody opened by hand may."""

WAL_BYTES = 8 * 1024 * 1024
"""Length of the write-ahead log at which a background checkpoint starts.

While writers keep adding to it, the background copies but never catches up. At
twice this length the writer therefore copies the rest, and the next commit
begins the log anew and cuts it back to this length.
"""

_PAGE_BYTES = 4096
_CACHE_KIB = 16 * 1024


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open an existing file; the caller closes.

    The connection is in autocommit mode: a statement outside BEGIN and COMMIT is
    a transaction of its own. It may wander between threads, one at a time.

    Raises:
        sqlite3.Error: the file is missing, or is no database.
    """
    connection = sqlite3.connect(
        path.resolve().as_uri() + "?mode=rw",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        # FULL: in WAL mode NORMAL loses acknowledged commits when power goes.
        # secure_delete: an old envelope must not outlive its row in free pages.
        for pragma in (
            "synchronous = FULL",
            "secure_delete = ON",
            "foreign_keys = ON",
            "trusted_schema = OFF",
            "temp_store = MEMORY",
            f"cache_size = -{_CACHE_KIB}",
            f"journal_size_limit = {WAL_BYTES}",
            f"wal_autocheckpoint = {2 * WAL_BYTES // _PAGE_BYTES}",
            f"query_only = {int(read_only)}",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def trouble(error: Exception) -> errors.StoreTrouble:
    """Return what to raise for an error of SQLite, or of the operating system, around it."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
        return errors.StoreFull("the catalog's disk is full")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return errors.StoreFailed(f"catalog: {error} ({name})")
