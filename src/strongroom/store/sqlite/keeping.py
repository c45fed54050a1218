"""What the guard keeps, over SQLite. Port: `strongroom.store.keeping.Keeping`."""

# ruff: noqa: S608 - what is formatted in are column lists of our own; values are parameters

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from strongroom.store import guarding, keeping
from strongroom.store.sqlite import reads, rows, stacks, watching, writes
from strongroom.store.sqlite.calls import Calls

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from strongroom.store.sqlite.readers import Readers
    from strongroom.store.sqlite.writer import Writer

_BEFORE_ALL: Final = (0, -1, b"", -1, 0)
_STANDING, _REST = range(2)
_KEPT = rows.VERSION.replace("v.", "k.")


class SqliteKeeping(Calls):
    """See the module. Belongs to a catalog, and is closed with it."""

    def __init__(
        self,
        reader: sqlite3.Connection,
        readers: Readers,
        writer: Writer,
        clock_ms: Callable[[], int],
    ) -> None:
        super().__init__(reader, readers, writer)
        self._clock_ms = clock_ms

    async def under(
        self, fingerprint: bytes, *, after: tuple[Any, ...] | None = None, limit: int
    ) -> keeping.GuardedPage:
        """See the port."""
        return await self._read(_under, fingerprint, after or _BEFORE_ALL, limit)

    async def totals(self, bucket: str) -> keeping.Totals:
        """See the port."""
        return await self._read(_totals, bucket)

    async def extend(self, bucket: str, keep_ms: int) -> None:
        """See the port."""
        await self._write(_extend, bucket, keep_ms)

    async def let_go(self, now_ms: int, *, limit: int) -> int:
        """See the port."""
        return await self._write(
            _drop,
            "SELECT kept_id, envelope_id FROM kept WHERE until_ms <= ? LIMIT ?",
            now_ms,
            limit,
        )

    async def drop(self, bucket: str, prefix: str = "", *, limit: int) -> int:
        """See the port."""
        return await self._write(_drop_of_bucket, bucket, prefix, limit)

    async def count(self, bucket: str, prefix: str = "") -> int:
        """See the port."""
        return await self._read(_count, bucket, prefix)

    async def restore(
        self,
        bucket: str,
        prefix: str = "",
        *,
        to_ms: int,
        after: str | None,
        keys: int,
        keep_ms: int,
        dry_run: bool = False,
        stays: keeping.Stays = keeping.never,
    ) -> keeping.Step:
        """See the port."""
        work = _Restore(bucket, prefix, to_ms, self._clock_ms(), keep_ms, stays, dry_run=dry_run)
        if dry_run:
            return await self._read(work.step, after, keys)
        return await self._write(work.step, after, keys)


def _under(
    conn: sqlite3.Connection, fingerprint: bytes, after: tuple[Any, ...], limit: int
) -> keeping.GuardedPage:
    found: list[keeping.Guarded] = []
    at = after
    if after[0] == _STANDING:
        for *place, bucket, key, version_id, size, modified_ms, hidden in conn.execute(
            "SELECT v.bucket_id, v.key, v.hidden, v.seq, b.name, v.key, v.version_id, v.size,"
            " v.modified_ms, v.hidden FROM versions v INDEXED BY versions_by_fingerprint"
            " JOIN buckets b ON b.bucket_id = v.bucket_id"
            " WHERE v.fingerprint = ? AND v.fingerprint <> x''"
            " AND (v.bucket_id, v.key, v.hidden, v.seq) > (?, ?, ?, ?)"
            " ORDER BY v.bucket_id, v.key, v.hidden, v.seq LIMIT ?",
            (fingerprint, *after[1:], limit),
        ):
            standing = keeping.BEHIND if hidden else keeping.CURRENT
            found.append(
                keeping.Guarded(bucket, key.decode(), version_id, size, modified_ms, standing)
            )
            at = (_STANDING, *place)
        if len(found) == limit:
            return keeping.GuardedPage(found, at)
        at = (_REST, 0, 0)
    _, kind, number = at
    for kind_then, number_then, bucket, key, version_id, size, modified_ms in conn.execute(
        "SELECT * FROM (SELECT 0 AS kind, k.kept_id AS number, b.name, k.key, k.version_id, k.size,"
        " k.modified_ms FROM kept k JOIN buckets b ON b.bucket_id = k.bucket_id"
        " WHERE k.fingerprint = ?1 UNION ALL SELECT 1, u.upload_row, b.name, u.key, u.upload_id, 0,"
        " u.initiated_ms FROM uploads u JOIN buckets b ON b.bucket_id = u.bucket_id"
        " WHERE u.fingerprint = ?1) WHERE (kind, number) > (?2, ?3) ORDER BY kind, number LIMIT ?4",
        (fingerprint, kind, number, limit - len(found)),
    ):
        standing = keeping.UPLOAD if kind_then else keeping.KEPT
        found.append(keeping.Guarded(bucket, key.decode(), version_id, size, modified_ms, standing))
        at = (_REST, kind_then, number_then)
    return keeping.GuardedPage(found, at if len(found) == limit else None)


def _totals(conn: sqlite3.Connection, bucket: str) -> keeping.Totals:
    row = conn.execute(
        "SELECT count(*), total(size), coalesce(min(until_ms), 0) FROM kept WHERE bucket_id = ?",
        (reads.find_bucket(conn, bucket),),
    ).fetchone()
    return keeping.Totals(row[0], int(row[1]), row[2])


def _extend(conn: sqlite3.Connection, bucket: str, keep_ms: int) -> None:
    conn.execute(
        "UPDATE kept SET until_ms = kept_ms + :keep_ms"
        " WHERE bucket_id = :bucket_id AND until_ms < kept_ms + :keep_ms",
        {"bucket_id": reads.find_bucket(conn, bucket), "keep_ms": keep_ms},
    )


def _drop(conn: sqlite3.Connection, query: str, *values: object) -> int:
    found = conn.execute(query, values).fetchall()
    for kept_id, envelope_id in found:
        conn.execute("DELETE FROM kept WHERE kept_id = ?", (kept_id,))
        if envelope_id != stacks.NO_ENVELOPE:
            writes.release(conn, envelope_id)
    return len(found)


def _drop_of_bucket(conn: sqlite3.Connection, bucket: str, prefix: str, limit: int) -> int:
    where, values = _in_prefix(reads.find_bucket(conn, bucket), prefix)
    return _drop(
        conn, f"SELECT kept_id, envelope_id FROM kept WHERE {where} LIMIT ?", *values, limit
    )


def _count(conn: sqlite3.Connection, bucket: str, prefix: str) -> int:
    bucket_id = reads.find_bucket(conn, bucket)
    total = 0
    for table in ("versions", "kept"):
        where, values = _in_prefix(bucket_id, prefix)
        # Both ranges of `versions` are walked by the key's place in the primary key.
        hidden = " AND hidden IN (0, 1)" if table == "versions" else ""
        (found,) = conn.execute(
            f"SELECT count(*) FROM {table} WHERE {where}{hidden}", values
        ).fetchone()
        total += found
    return total


def _in_prefix(
    bucket_id: int, prefix: str, after: str | None = None
) -> tuple[str, tuple[object, ...]]:
    """Return a condition for the keys of a bucket that begin with a prefix, and its values."""
    start = prefix.encode()
    where, values = "bucket_id = ? AND key >= ?", [bucket_id, start]
    end = start.rstrip(b"\xff")
    if end:
        where += " AND key < ?"
        values.append(end[:-1] + bytes([end[-1] + 1]))
    if after is not None:
        where += " AND key > ?"
        values.append(after.encode())
    return where, tuple(values)


@dataclass(frozen=True, slots=True)
class _Kept:
    """Where a kept version is found."""

    kept_id: int
    envelope_id: int


class _Restore:
    """One restore of a bucket to a moment, step by step."""

    def __init__(
        self,
        bucket: str,
        prefix: str,
        to_ms: int,
        now_ms: int,
        keep_ms: int,
        stays: keeping.Stays,
        *,
        dry_run: bool,
    ) -> None:
        self._stays = stays
        self._bucket = bucket
        self._prefix = prefix
        self._to_ms = to_ms
        self._now_ms = now_ms
        self._keep_ms = keep_ms
        self._dry_run = dry_run

    def step(self, conn: sqlite3.Connection, after: str | None, limit: int) -> keeping.Step:
        """See the port."""
        home = stacks.home(conn, self._bucket)
        names = self._keys(conn, home.bucket_id, after, limit)
        changed: list[str] = []
        seen = back = back_bytes = aside = 0
        for name in names:
            candidates = self._candidates(conn, home, name)
            seen += len(candidates)
            found = keeping.plan(candidates, self._to_ms)
            if found is None:
                continue
            changed.append(name.decode())
            back += sum(not one.version.is_marker for one in found.back)
            back_bytes += sum(one.version.size for one in found.back)
            aside += sum(not one.version.is_marker for one in found.aside)
            if not self._dry_run:
                self._carry_out(conn, home, candidates, found)
        last = names[-1].decode() if len(names) == limit else None
        return keeping.Step(last, seen, changed, back, back_bytes, aside)

    def _keys(
        self, conn: sqlite3.Connection, bucket_id: int, after: str | None, limit: int
    ) -> list[bytes]:
        where, values = _in_prefix(bucket_id, self._prefix, after)
        ranges = ("versions WHERE hidden = 0 AND", "versions WHERE hidden = 1 AND", "kept WHERE")
        # Each range by itself stops after so many keys; together they could not.
        query = " UNION ".join(
            f"SELECT key FROM (SELECT DISTINCT key FROM {one} {where} ORDER BY key LIMIT ?)"
            for one in ranges
        )
        found = conn.execute(
            f"SELECT key FROM ({query}) ORDER BY key LIMIT ?", ((*values, limit) * 3) + (limit,)
        )
        return [key for (key,) in found]

    def _carry_out(
        self,
        conn: sqlite3.Connection,
        home: stacks.Home,
        candidates: Iterable[keeping.Candidate],
        plan: keeping.Plan,
    ) -> None:
        shown = False
        for one in candidates:
            if one.kept_ms is None:
                shown = shown or not one.handle.hidden
                stacks.take_out(conn, home, one.handle)
        until_ms = self._now_ms + self._keep_ms
        for one in plan.aside:
            watching.keep(
                *(conn, home.bucket_id, one.handle, self._now_ms, until_ms),
                guarding.SET_ASIDE,
            )
        for one in plan.back:
            conn.execute("DELETE FROM kept WHERE kept_id = ?", (one.handle.kept_id,))
        stacks.lay(
            conn,
            home,
            [
                (one.version, seq, _envelope_id(one))
                for one, seq in zip(plan.stack, keeping.places_of(plan.stack), strict=True)
            ],
            was=shown,
        )

    def _candidates(
        self, conn: sqlite3.Connection, home: stacks.Home, key: bytes
    ) -> list[keeping.Candidate]:
        found = _candidates(conn, home, key)
        if not home.has_lock:
            return found
        return [
            dataclasses.replace(one, stays=self._is_to_stay(conn, one))
            if one.kept_ms is None and one.version.modified_ms > self._to_ms
            else one
            for one in found
        ]

    def _is_to_stay(self, conn: sqlite3.Connection, one: keeping.Candidate) -> bool:
        if one.version.is_marker:
            return False
        (marks,) = conn.execute(
            "SELECT marks FROM envelopes WHERE envelope_id = ?", (_envelope_id(one),)
        ).fetchone()
        return self._stays(one.version, marks)


def _envelope_id(one: keeping.Candidate) -> int:
    found: int = one.handle.envelope_id
    return found


def _candidates(conn: sqlite3.Connection, home: stacks.Home, key: bytes) -> list[keeping.Candidate]:
    found = [
        keeping.Candidate(row.version, row.seq, None, row) for row in stacks.all_of(conn, home, key)
    ]
    for kept_id, seq, envelope_id, kept_ms, *columns in conn.execute(
        f"SELECT k.kept_id, k.seq, k.envelope_id, k.kept_ms, {_KEPT} FROM kept k"
        " WHERE k.bucket_id = ? AND k.key = ? ORDER BY k.kept_id",
        (home.bucket_id, key),
    ):
        version = rows.to_version(home.name, tuple(columns))
        found.append(keeping.Candidate(version, seq, kept_ms, _Kept(kept_id, envelope_id)))
    return found
