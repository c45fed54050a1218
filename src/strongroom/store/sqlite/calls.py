"""Where a call of an adapter runs: right here, on a reader's thread, or on the writer's.

Which of them fits what is said in `catalog`.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from strongroom.store.sqlite import connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.store.sqlite.readers import Readers
    from strongroom.store.sqlite.writer import Writer

T = TypeVar("T")
P = ParamSpec("P")


class Calls:
    """What adapters over the catalog's file have in common."""

    def __init__(self, reader: sqlite3.Connection, readers: Readers, writer: Writer) -> None:
        self._reader = reader
        self._readers = readers
        self._writer = writer

    def _here(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        try:
            return work(self._reader, *args, **kwargs)
        except sqlite3.Error as error:
            raise connection.trouble(error) from error

    async def _read(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        return await self._readers.read(lambda conn: work(conn, *args, **kwargs))

    async def _write(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        return await self._writer.write(lambda conn: work(conn, *args, **kwargs))
