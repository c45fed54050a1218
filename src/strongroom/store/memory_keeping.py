"""What the guard keeps, in memory. Port: `strongroom.store.keeping.Keeping`."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from strongroom import errors
from strongroom.store import guarding, histories, keeping, records

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Mapping


@dataclass(slots=True, eq=False)
class Kept:
    """A version that was displaced, and is kept."""

    entry: histories.Entry
    kept_ms: int
    until_ms: int
    reason: str


class Bucket(Protocol):
    """A bucket of the catalog, as it is needed here."""

    record: records.Bucket
    versions: histories.Histories
    kept: list[Kept]


class MemoryKeeping:
    """See the module. Shares lock, buckets and uploads with its catalog."""

    def __init__(
        self,
        lock: threading.Lock,
        buckets: Mapping[str, Bucket],
        uploads: Callable[[], Iterable[records.Upload]],
        release: Callable[[histories.Body], None],
        clock_ms: Callable[[], int],
    ) -> None:
        self._lock = lock
        self._buckets = buckets
        self._uploads = uploads
        self._release = release
        self._clock_ms = clock_ms

    def part_with(
        self, bucket: Bucket, entry: histories.Entry, put: records.Version | None
    ) -> guarding.Alarm | None:
        """Let go of a version that `put`, or a deletion, has displaced, or keep it. Under the lock."""
        rules = guarding.rules_of(bucket.record.settings)
        if not guarding.is_kept(rules, entry.version, put):
            if entry.body is not None:
                self._release(entry.body)
            return None
        now_ms = self._clock_ms()
        deleted = put is None or put.is_marker
        reason = guarding.DELETED if deleted else guarding.OVERWRITTEN
        bucket.kept.append(Kept(entry, now_ms, now_ms + rules.keep_ms, reason))
        if entry.body is None:
            return None
        is_foreign = put is not None and guarding.is_foreign(rules, entry.version, put)
        by = b"" if put is None else put.fingerprint
        return guarding.Alarm(entry.version, by, reason, is_foreign, now_ms + rules.keep_ms)

    async def under(
        self, fingerprint: bytes, *, after: tuple[Any, ...] | None = None, limit: int
    ) -> keeping.GuardedPage:
        """See the port."""
        with self._lock:
            found = list(self._all_under(fingerprint))
        start = 0 if after is None else after[0]
        end = start + limit
        return keeping.GuardedPage(found[start:end], (end,) if end < len(found) else None)

    def _all_under(self, fingerprint: bytes) -> Iterator[keeping.Guarded]:
        for name in sorted(self._buckets):
            for _, (version, newest) in self._buckets[name].versions.scan(b""):
                if version.fingerprint == fingerprint:
                    yield _guarded(version, keeping.CURRENT if newest else keeping.BEHIND)
        for bucket in self._buckets.values():
            for one in bucket.kept:
                if one.entry.version.fingerprint == fingerprint:
                    yield _guarded(one.entry.version, keeping.KEPT)
        for upload in self._uploads():
            if upload.fingerprint == fingerprint:
                yield keeping.Guarded(
                    *(upload.bucket, upload.key, upload.upload_id, 0, upload.initiated_ms),
                    keeping.UPLOAD,
                )

    async def totals(self, bucket: str) -> keeping.Totals:
        """See the port."""
        with self._lock:
            kept = self._bucket(bucket).kept
            return keeping.Totals(
                len(kept),
                sum(one.entry.version.size for one in kept),
                min((one.until_ms for one in kept), default=0),
            )

    async def extend(self, bucket: str, keep_ms: int) -> None:
        """See the port."""
        with self._lock:
            for one in self._bucket(bucket).kept:
                one.until_ms = max(one.until_ms, one.kept_ms + keep_ms)

    async def let_go(self, now_ms: int, *, limit: int) -> int:
        """See the port."""
        with self._lock:
            gone = 0
            for bucket in self._buckets.values():
                over = [one for one in bucket.kept if one.until_ms <= now_ms]
                gone += self._drop(bucket, over[: limit - gone])
            return gone

    async def drop(self, bucket: str, prefix: str = "", *, limit: int) -> int:
        """See the port."""
        with self._lock:
            home = self._bucket(bucket)
            chosen = [one for one in home.kept if one.entry.version.key.startswith(prefix)]
            return self._drop(home, chosen[:limit])

    def _drop(self, bucket: Bucket, chosen: list[Kept]) -> int:
        for one in chosen:
            bucket.kept.remove(one)
            if one.entry.body is not None:
                self._release(one.entry.body)
        return len(chosen)

    async def count(self, bucket: str, prefix: str = "") -> int:
        """See the port."""
        with self._lock:
            home = self._bucket(bucket)
            return sum(len(found) for _, found in _by_key(home, prefix))

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
        with self._lock:
            home = self._bucket(bucket)
            behind = b"" if after is None else after.encode()
            found = itertools.islice(
                (one for one in _by_key(home, prefix) if after is None or one[0] > behind), keys
            )
            groups = list(found)
            now_ms = self._clock_ms()
            changed: list[str] = []
            back = back_bytes = aside = 0
            for key, standing in groups:
                candidates = standing
                if home.record.has_lock:
                    candidates = [_asked(one, to_ms, stays) for one in standing]
                plan = keeping.plan(candidates, to_ms)
                if plan is None:
                    continue
                changed.append(key.decode())
                back += sum(not one.version.is_marker for one in plan.back)
                back_bytes += sum(one.version.size for one in plan.back)
                aside += sum(not one.version.is_marker for one in plan.aside)
                if not dry_run:
                    _carry_out(home, key, plan, now_ms, now_ms + keep_ms)
            return keeping.Step(
                groups[-1][0].decode() if len(groups) == keys else None,
                sum(len(candidates) for _, candidates in groups),
                *(changed, back, back_bytes, aside),
            )

    def _bucket(self, name: str) -> Bucket:
        found = self._buckets.get(name)
        if found is None:
            raise errors.BucketNotFound(name)
        return found


def _guarded(version: records.Version, standing: str) -> keeping.Guarded:
    return keeping.Guarded(
        *(version.bucket, version.key, version.version_id, version.size, version.modified_ms),
        standing,
    )


def _by_key(bucket: Bucket, prefix: str) -> list[tuple[bytes, list[keeping.Candidate]]]:
    found: dict[bytes, list[keeping.Candidate]] = {}
    for entry in bucket.versions.entries():
        found.setdefault(entry.version.key.encode(), []).append(
            keeping.Candidate(entry.version, entry.seq, None, entry)
        )
    for one in bucket.kept:
        version = one.entry.version
        found.setdefault(version.key.encode(), []).append(
            keeping.Candidate(version, one.entry.seq, one.kept_ms, one)
        )
    return sorted((key, each) for key, each in found.items() if key.startswith(prefix.encode()))


def _asked(one: keeping.Candidate, to_ms: int, stays: keeping.Stays) -> keeping.Candidate:
    """Ask of a version that would be set aside whether it must not be."""
    if one.kept_ms is not None or one.version.is_marker or one.version.modified_ms <= to_ms:
        return one
    return dataclasses.replace(one, stays=stays(one.version, one.handle.marks))


def _carry_out(bucket: Bucket, key: bytes, plan: keeping.Plan, now_ms: int, until_ms: int) -> None:
    for one in plan.aside:
        bucket.kept.append(Kept(one.handle, now_ms, until_ms, guarding.SET_ASIDE))
    for one in plan.back:
        bucket.kept.remove(one.handle)
    stack = []
    for one, seq in zip(plan.stack, keeping.places_of(plan.stack), strict=True):
        entry = one.handle if one.kept_ms is None else one.handle.entry
        entry.seq = seq
        stack.append(entry)
    bucket.versions.lay(key, stack)
