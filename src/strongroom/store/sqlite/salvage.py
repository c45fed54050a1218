"""Reading what can still be read of a damaged catalog, row by row.

SQLite gives up at the first page that is not what it should be. What lies behind it can be
reached all the same: by asking for each row by its number, or from the other end.
Nothing that comes from here is to be believed before it was checked.
"""

# ruff: noqa: S608 - what is formatted in are names of our own tables; values are parameters

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from strongroom.store.sqlite import rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GAP = 1_000_000
"""How many row numbers behind unreadable ones are asked for one by one, if the last is unknown."""

_FIRST = -(2**63)


class Salvage:
    """One catalog, damaged or not. Made by `opened`.

    Attributes:
        complete: whether everything that was asked for so far could be read.
    """

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn
        self.complete = True

    def envelopes(self) -> Iterator[rows.Row]:
        """Yield (envelope, digest, marks)."""
        return self._numbered("envelopes", "envelope, digest, marks")

    def records(self) -> Iterator[rows.Row]:
        """Yield (body record,)."""
        return self._numbered("bodies", "record")

    def inline(self) -> Iterator[rows.Row]:
        """Yield (blob id, bytes)."""
        return self._numbered("inline_blobs", "blob_id, data")

    def versions(self) -> Iterator[rows.Row]:
        """Yield (bucket id, seq, and the columns of `rows.VERSION`)."""
        order = ("bucket_id", "hidden", "key", "seq")
        yield from self._from_both_ends(
            "versions v", f"v.bucket_id, v.seq, {rows.VERSION}", [f"v.{name}" for name in order]
        )

    def tables(self) -> list[str]:
        """Return the names of all tables."""
        try:
            found = self._conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return [name for (name,) in found if not name.startswith("sqlite_")]
        except sqlite3.DatabaseError:
            self.complete = False
            return []

    def everything(self, table: str) -> tuple[list[str], list[rows.Row]]:
        """Return the columns of a table, and its rows up to the first that cannot be read."""
        found: list[rows.Row] = []
        columns: list[str] = []
        try:
            cursor = self._conn.execute(f"SELECT * FROM {table}")
            columns = [column[0] for column in cursor.description]
            while (row := cursor.fetchone()) is not None:
                found.append(row)
        except sqlite3.DatabaseError:
            self.complete = False
        return columns, found

    def _numbered(self, table: str, columns: str) -> Iterator[rows.Row]:
        at = _FIRST
        while True:
            try:
                row = self._conn.execute(
                    f"SELECT rowid, {columns} FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT 1",
                    (at,),
                ).fetchone()
            except sqlite3.DatabaseError:
                self.complete = False
                break
            if row is None:
                return
            at = row[0]
            yield row[1:]
        first = max(at + 1, 1)
        for number in range(first, self._last(table, first) + 1):
            with contextlib.suppress(sqlite3.DatabaseError):
                row = self._conn.execute(
                    f"SELECT {columns} FROM {table} WHERE rowid = ?", (number,)
                ).fetchone()
                if row is not None:
                    yield row

    def _last(self, table: str, first: int) -> int:
        try:
            (last,) = self._conn.execute(f"SELECT max(rowid) FROM {table}").fetchone()
        except sqlite3.DatabaseError:
            return first + GAP
        return int(last or 0)

    def _from_both_ends(self, table: str, columns: str, order: list[str]) -> Iterator[rows.Row]:
        for direction in ("", " DESC"):
            try:
                cursor = self._conn.execute(
                    f"SELECT {columns} FROM {table} NOT INDEXED ORDER BY "
                    + ", ".join(name + direction for name in order)
                )
                while (row := cursor.fetchone()) is not None:
                    yield row
            except sqlite3.DatabaseError:
                self.complete = False
            else:
                return

    def check(self) -> None:
        """Let SQLite look for damage that reading would step over."""
        try:
            (told,) = self._conn.execute("PRAGMA quick_check(1)").fetchone()
            self.complete = self.complete and told == "ok"
        except sqlite3.DatabaseError:
            self.complete = False


@contextlib.contextmanager
def opened(path: Path, *, having: str = "versions") -> Iterator[Salvage | None]:
    """Open a catalog that nobody else has open; None if it is none that could be read at all.

    The file may be written to: give a copy. It must have a table called `having`.
    """
    if not path.exists():
        yield None
        return
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as conn:
        # Damage may be text that is none; the sqlite3 module would give up there.
        conn.text_factory = lambda raw: raw.decode(errors="backslashreplace")
        found = Salvage(conn)
        yield found if having in found.tables() else None
