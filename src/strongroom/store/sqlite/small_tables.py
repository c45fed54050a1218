"""The tables that do not grow with what is stored, from several sources: users, keys, buckets.

Of rows with one primary key that of the first source stands, unless it was found out to be
rotten: then the next that is sound. A row says nothing of itself that could be checked, but
what is sealed in some of them opens or does not; whoever has the key for that judges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom.store.sqlite import loose_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

    from strongroom.store.sqlite import rows

Named = dict[str, object]
"""A row: column → value."""


@dataclass(slots=True)
class _Row:
    source: int
    spare: bool
    values: Named
    rotten: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """Primary keys of rotten rows: those for which there is a sound one, and those without."""

    mended: list[tuple[object, ...]]
    lost: list[tuple[object, ...]]


class SmallTables:
    """All that was found of them."""

    def __init__(self) -> None:
        self._tables: dict[str, list[_Row]] = {}

    def add(
        self, table: str, columns: list[str], found: Iterable[rows.Row], source: int, *, spare: bool
    ) -> None:
        """Take rows, after all of earlier sources.

        Args:
            table: its name.
            columns: their names, in order.
            found: the rows.
            source: where they are from.
            spare: they only stand in for rotten ones: what else they say is out of date.
        """
        standing = self._tables.setdefault(table, [])
        standing += [_Row(source, spare, dict(zip(columns, row, strict=True))) for row in found]

    def rows(self, table: str, source: int | None = None) -> Iterator[Named]:
        """Yield the rows of a table, spare ones and rotten ones too."""
        for row in self._tables.get(table, ()):
            if source in (None, row.source):
                yield row.values

    def judge(
        self,
        table: str,
        key: tuple[str, ...],
        is_sound: Callable[[Named], bool],
        *,
        lasting: bool = False,
    ) -> Judged:
        """Find rotten rows, and let spare ones stand in for them.

        Args:
            table: its name.
            key: columns of its primary key.
            is_sound: judges a row.
            lasting: rows are never removed, so every sound one stands; and if there is any,
                rotten ones without a sound twin are left out.
        """
        found = self._tables.get(table, [])
        for row in found:
            row.rotten = not is_sound(row.values)
        wanted = {_key_of(row, key) for row in found if row.rotten and not row.spare}
        sound = {_key_of(row, key) for row in found if not row.rotten}
        for row in found:
            if not row.rotten and (lasting or _key_of(row, key) in wanted):
                row.spare = False
        for row in found:
            # A rotten row says that there was one, which is better than nothing.
            row.rotten = row.rotten and (
                _key_of(row, key) in sound or (lasting and bool(sound)) or row.spare
            )
        return Judged(sorted(wanted & sound, key=repr), sorted(wanted - sound, key=repr))

    def only_in(
        self, source: int, table: str, key: tuple[str, ...]
    ) -> Iterator[tuple[Named, bool]]:
        """Yield rows that no earlier source has, and whether they are restored."""
        earlier = {_key_of(row, key) for row in self._tables.get(table, ()) if row.source < source}
        for row in self._tables.get(table, ()):
            if row.source == source and _key_of(row, key) not in earlier:
                yield row.values, not row.spare

    def restore(self, conn: sqlite3.Connection, tables: Iterable[str]) -> None:
        """Put the rows that stand into these tables of a new catalog."""
        for table in tables:
            loose_rows.restore(
                conn,
                table,
                (
                    row.values
                    for row in self._tables.get(table, ())
                    if not (row.spare or row.rotten)
                ),
            )


def _key_of(row: _Row, key: tuple[str, ...]) -> tuple[object, ...]:
    return tuple(row.values.get(column) for column in key)
