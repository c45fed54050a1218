"""Buckets that were read before, for as long as nothing was written to the catalog.

Every request looks its bucket up. SQLite tells by a number whether anybody has committed
anything since (`PRAGMA data_version`), which takes a sixth of the time of reading the row
and its settings. The number is asked for in a read transaction of its own, so a bucket that
was changed by whomever, in whichever process, is read anew by the next request.

Source: SQLite's documentation, "PRAGMA data_version".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from strongroom.store.sqlite import reads

if TYPE_CHECKING:
    import sqlite3

    from strongroom.store import records

_KEPT: Final = 1024


class Buckets:
    """Finds buckets by one connection, which writes nothing itself."""

    def __init__(self) -> None:
        self._stamp = -1
        self._known: dict[str, records.Bucket] = {}

    def find(self, conn: sqlite3.Connection, name: str) -> records.Bucket:
        """Return a bucket.

        Raises:
            BucketNotFound: there is none.
        """
        (stamp,) = conn.execute("PRAGMA data_version").fetchone()
        if stamp != self._stamp or len(self._known) >= _KEPT:
            self._known.clear()
            self._stamp = stamp
        found = self._known.get(name)
        if found is None:
            # What is committed between the two statements changes the number for the next one.
            found = self._known[name] = reads.bucket(conn, name)
        return found
