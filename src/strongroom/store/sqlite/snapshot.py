"""Copies of the catalog as it stood at one moment, beside writers."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store.sqlite import connection, schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEP_PAGES = 1024
"""Pages between two calls of `advance`: 4 MiB."""


def take(source: Path, target: Path, advance: Callable[[int, int], None]) -> None:
    """Copy a catalog, log included, into a new file of mode 0600, durably. Blocking.

    Page by page, so what was rotten stays so, and is for a scrub to find. What is
    committed meanwhile is not in the copy.

    Args:
        source: the catalog; a server may be writing to it.
        target: is made, or made anew.
        advance: is told now and then how many pages are done, and of how many.

    Raises:
        StoreFailed: the source cannot be read, or has another schema; or the disk failed.
        StoreFull: no space for the copy.
    """
    try:
        discard(target)
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with (
            contextlib.closing(connection.connect(source, read_only=True)) as reader,
            contextlib.closing(sqlite3.connect(target, isolation_level=None)) as writer,
        ):
            schema.require_newest(reader)
            # Without a transaction the copy would begin anew with each commit of the server.
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM facts").fetchone()
            reader.backup(
                writer,
                pages=STEP_PAGES,
                progress=lambda _status, left, total: advance(total - left, total),
            )
            reader.execute("ROLLBACK")
            # Blobs that wait for their replica are not copied, so none may seem to be there.
            # Where even this table is rotten, that is for a scrub to find.
            with contextlib.suppress(sqlite3.DatabaseError):
                writer.execute("DELETE FROM staged_blobs")
        _sync(target)
    except (sqlite3.Error, OSError) as error:
        raise connection.trouble(error) from error


def settle(path: Path) -> None:
    """Copy what a log beside a catalog holds into it, and remove the log. Nobody else has it open.

    Raises:
        StoreFailed: that failed, or somebody has.
    """
    try:
        with contextlib.closing(connection.connect(path)) as conn:
            busy, _, _ = conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise errors.StoreFailed("catalog: somebody else is using it")
    except sqlite3.Error as error:
        raise connection.trouble(error) from error


def discard(path: Path) -> None:
    """Remove a copy, with what lies beside it. Raises OSError."""
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm", f"{path.name}-journal"):
        path.with_name(name).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    for each, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        fd = os.open(each, flags | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
