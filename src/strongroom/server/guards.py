"""What administrators set against foreign keys, and how they bring back what those displaced."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from strongroom import errors
from strongroom.service import locks
from strongroom.store import guarding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from strongroom.keyring import sources
    from strongroom.store import catalog, keeping, records

DAY_MS: Final = 24 * 60 * 60 * 1000
DEFAULT_DAYS: Final = 30
"""How long a restore keeps what it sets aside, in a bucket without a guard."""

PAGE: Final = 1000
KEYS_PER_STEP: Final = 200
"""Keys that one transaction of a restore brings back: it holds other writers up for some
milliseconds."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds for a bucket, and what is kept of it."""

    bucket: str
    rules: guarding.Rules
    kept: keeping.Totals


@dataclass(slots=True)
class Restored:
    """What a restore has done so far; see `keeping.Step`."""

    seen: int = 0
    keys: int = 0
    back: int = 0
    back_bytes: int = 0
    aside: int = 0


class Guards:
    """What can be done about foreign keys, on an open catalog."""

    def __init__(
        self, catalog: catalog.Catalog, keys: sources.StoreKeys, clock_ms: Callable[[], int]
    ) -> None:
        self._catalog = catalog
        self._store_keys = keys
        self._clock_ms = clock_ms

    async def buckets(self) -> AsyncIterator[str]:
        """Yield the names of all buckets."""
        after = ""
        while page := await self._catalog.buckets(after=after, limit=PAGE):
            for bucket in page:
                yield bucket.name
            after = page[-1].name

    async def standing(self, bucket: str) -> Standing:
        """Return what holds for a bucket.

        Raises:
            BucketNotFound: there is none.
        """
        found = await self._catalog.bucket(bucket)
        kept = await self._catalog.keeping.totals(bucket)
        return Standing(bucket, guarding.rules_of(found.settings), kept)

    async def set_guard(self, bucket: str, keep_ms: int) -> None:
        """Let the guard of a bucket keep what is displaced for so long; 0 turns it off.

        What it keeps already stays for as long as was said, or longer.

        Raises:
            BucketNotFound: there is none.
        """
        document = guarding.guard_document(keep_ms) if keep_ms else None
        await self._catalog.change_settings(bucket, {guarding.GUARD: document})
        await self._catalog.keeping.extend(bucket, keep_ms)

    async def set_keys(self, bucket: str, fingerprints: Collection[bytes] | None) -> None:
        """Let a bucket take writes under these customers' keys only; None for all.

        Raises:
            BucketNotFound: there is none.
        """
        document = None if fingerprints is None else guarding.keys_document(fingerprints)
        await self._catalog.change_settings(bucket, {guarding.KEYS: document})

    async def under(self, fingerprint: bytes) -> AsyncIterator[keeping.Guarded]:
        """Yield all that a key guards."""
        after = None
        while True:
            page = await self._catalog.keeping.under(fingerprint, after=after, limit=PAGE)
            for one in page.found:
                yield one
            after = page.next_after
            if after is None:
                return

    async def drop(self, bucket: str, prefix: str) -> int:
        """Drop what is kept of a bucket, or below a prefix, for good; return how many versions.

        Raises:
            BucketNotFound: there is none.
        """
        total = 0
        while gone := await self._catalog.keeping.drop(bucket, prefix, limit=PAGE):
            total += gone
        return total

    async def count(self, bucket: str, prefix: str) -> int:
        """Return how many versions a restore has to look at.

        Raises:
            BucketNotFound: there is none.
        """
        return await self._catalog.keeping.count(bucket, prefix)

    def _is_locked(self, version: records.Version, stored: bytes) -> bool:
        try:
            found = self._store_keys.read_marks(version, stored)
            return locks.is_locked(locks.of(found), self._clock_ms())
        except errors.NotAuthentic:
            # What cannot be told is left alone; a scrub says what is wrong with it.
            return True

    async def restore(
        self, bucket: str, prefix: str, to_ms: int, *, dry_run: bool
    ) -> AsyncIterator[Restored]:
        """Bring a bucket, or what is below a prefix, back to a moment; yield how far it is.

        May be cut off at any time: another run goes on, and finds done what was done. Versions
        that are locked (`locks`) are not set aside: they stay in front.

        Raises:
            BucketNotFound: there is none.
        """
        standing = await self.standing(bucket)
        keep_ms = standing.rules.keep_ms or DEFAULT_DAYS * DAY_MS
        done = Restored()
        after: str | None = None
        while True:
            step = await self._catalog.keeping.restore(
                bucket,
                prefix,
                to_ms=to_ms,
                after=after,
                keys=KEYS_PER_STEP,
                keep_ms=keep_ms,
                dry_run=dry_run,
                stays=self._is_locked,
            )
            done = dataclasses.replace(
                done,
                seen=done.seen + step.seen,
                keys=done.keys + len(step.keys),
                back=done.back + step.back,
                back_bytes=done.back_bytes + step.back_bytes,
                aside=done.aside + step.aside,
            )
            yield done
            after = step.next_after
            if after is None:
                return
