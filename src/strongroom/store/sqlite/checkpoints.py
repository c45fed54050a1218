"""Copies the write-ahead log back into the database, beside the writers.

A checkpoint in the commit would make every so many-th PUT wait for it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store.sqlite import connection

if TYPE_CHECKING:
    from pathlib import Path


class Checkpoints:
    """One thread that makes checkpoints when the log has grown."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._thread = ThreadPoolExecutor(1, "strongroom-checkpoint")
        self._busy = threading.Lock()
        self._due = connection.WAL_BYTES
        self.failures = 0
        """Checkpoints that failed. The log stays and the next one tries again."""

    def nudge(self) -> None:
        """Start a checkpoint if the log is long and none is running. Any thread."""
        try:
            length = self._log.stat().st_size
        except OSError:
            # No log yet, or none that can be looked at: nothing a checkpoint could mend.
            return
        if length <= connection.WAL_BYTES:
            self._due = connection.WAL_BYTES
        elif length > self._due and self._busy.acquire(blocking=False):
            # Not again for each commit: a checkpoint syncs the database, beside the log's syncs.
            self._due = length + connection.WAL_BYTES // 2
            try:
                self._thread.submit(self._run)
            except RuntimeError:
                # Closing: the last connection to close makes the checkpoint itself.
                self._busy.release()

    async def passive(self) -> bool:
        """Make a checkpoint now; True if it copied the whole log.

        Raises:
            StoreFull, StoreFailed: the log stays as it is.
        """
        loop = asyncio.get_running_loop()
        try:
            pending = loop.run_in_executor(self._thread, self._passive)
        except RuntimeError as error:
            raise errors.StoreFailed("the catalog is closed") from error
        try:
            return await pending
        except sqlite3.Error as error:
            raise connection.trouble(error) from error

    def close(self) -> None:
        """Wait for a running checkpoint. May be called twice."""
        self._thread.shutdown()

    def _run(self) -> None:
        try:
            self._passive()
        except sqlite3.Error:
            self.failures += 1
        finally:
            self._busy.release()

    def _passive(self) -> bool:
        # A connection for the occasion: one that stays would keep 16 MiB of cache.
        conn = connection.connect(self._path)
        try:
            _, pages, copied = conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            return bool(pages == copied)
        finally:
            conn.close()
