"""Keeping what a write displaces in a guarded bucket, inside the write's own transaction."""

# ruff: noqa: S608 - what is formatted in are column lists of `rows`; values are parameters

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.store import guarding
from strongroom.store.sqlite import rows

if TYPE_CHECKING:
    import sqlite3

    from strongroom.store import records
    from strongroom.store.sqlite import stacks

COLUMNS = rows.VERSION.replace("v.", "")
"""Those of `rows.VERSION`, as the table itself names them."""

_KEEP = (
    f"INSERT INTO kept (bucket_id, seq, envelope_id, kept_ms, until_ms, reason, {COLUMNS})"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Watch:
    """What the guard sees of one write. Its alarms count once the transaction is durable."""

    def __init__(self, now_ms: int) -> None:
        self.alarms: list[guarding.Alarm] = []
        self._now_ms = now_ms

    def keep(
        self,
        conn: sqlite3.Connection,
        home: stacks.Home,
        row: stacks.Row,
        put: records.Version | None,
    ) -> None:
        """Keep a version that `put`, or a deletion, has displaced."""
        deleted = put is None or put.is_marker
        reason = guarding.DELETED if deleted else guarding.OVERWRITTEN
        until_ms = self._now_ms + home.rules.keep_ms
        keep(conn, home.bucket_id, row, self._now_ms, until_ms, reason)
        if not row.version.is_marker:
            self.alarms.append(
                guarding.Alarm(
                    row.version,
                    b"" if put is None else put.fingerprint,
                    reason,
                    put is not None and guarding.is_foreign(home.rules, row.version, put),
                    until_ms,
                )
            )

    def hidden(self, home: stacks.Home, before: stacks.Row, put: records.Version) -> None:
        """Look at a version that `put` went before, and that still stands."""
        if guarding.is_foreign(home.rules, before.version, put):
            self.alarms.append(
                guarding.Alarm(
                    before.version,
                    put.fingerprint,
                    guarding.OVERWRITTEN,
                    is_foreign=True,
                    until_ms=0,
                )
            )


def keep(
    conn: sqlite3.Connection,
    bucket_id: int,
    row: stacks.Row,
    now_ms: int,
    until_ms: int,
    reason: str,
) -> None:
    """Write the row of a kept version; its envelope stays as it is."""
    conn.execute(
        _KEEP,
        (
            *(bucket_id, row.seq, row.envelope_id, now_ms, until_ms, reason),
            *rows.from_version(row.version),
        ),
    )
