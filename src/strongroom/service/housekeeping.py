"""Removing bytes that nothing refers to any more, and setting aside what nothing knows."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Any, TypeVar

from strongroom import errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent import futures
    from contextlib import AbstractContextManager

    from strongroom.service import transfer
    from strongroom.store import blobs, catalog, records

BATCH = 500
"""Blobs removed between two transactions."""

KEPT_ASIDE_MS = 7 * 24 * 3600 * 1000
"""How long strays are kept before they are removed."""

_Answer = TypeVar("_Answer")


class Collector:
    """Removes doomed blobs; sets aside strays that a crash left behind."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        blobs: blobs.Blobs,
        pins: transfer.Pins,
        *,
        threads: futures.Executor,
        grace_ms: int = 0,
        clock_ms: Callable[[], int],
        may_collect: Callable[[], bool] = lambda: True,
        permit: Callable[[], AbstractContextManager[bool]] = lambda: contextlib.nullcontext(True),
    ) -> None:
        """Prepare.

        Args:
            catalog: knows what is doomed.
            blobs: has the bytes.
            pins: what this process is reading.
            threads: where bytes are removed.
            grace_ms: how long a blob is left alone after it was first seen doomed.
                Other processes' readers have no pins here, so with several
                workers this is the time that a read may take.
            clock_ms: the time.
            may_collect: whether it is this process, of all that share the store, that collects.
            permit: entered before anything is removed, and left after it; False while
                somebody copies the store.
        """
        self._catalog = catalog
        self._blobs = blobs
        self._pins = pins
        self._threads = threads
        self._grace_ms = grace_ms
        self._clock_ms = clock_ms
        self._may_collect = may_collect
        self._permit = permit
        self._running = asyncio.Lock()
        self._seen_ms: dict[bytes, int] = {}
        self._wanted = asyncio.Event()

    def wake(self) -> None:
        """Say that a transaction may have doomed something."""
        self._wanted.set()

    async def waken(self) -> None:
        """Return when somebody has called `wake` since the last return."""
        await self._wanted.wait()
        self._wanted.clear()

    async def collect(self) -> int:
        """Remove the bytes of doomed blobs that nobody reads; return how many.

        None while somebody copies the store.

        A blob that is being read stays doomed, and is looked at again next time.

        Raises:
            StoreFailed: some could not be removed. They did not keep the others, and
                are tried again next time.
        """
        if not self._may_collect():
            return 0
        # One run waits for another, lest the permit be asked for twice at a time: the
        # second would be refused, and what was doomed during the first lie until the next beat.
        async with self._running:
            with self._permit() as allowed:
                return await self._collect() if allowed else 0

    async def _collect(self) -> int:
        removed = 0
        stuck: set[bytes] = set()
        while True:
            # Those that have to wait must not hide those behind them: the time that a
            # blob waits begins when it is first seen.
            limit = BATCH + len(self._pins) + len(self._seen_ms) + len(stuck)
            doomed = await self._catalog.doomed(limit=limit)
            self._forget_all_but({ref.blob_id for ref in doomed})
            free = [
                ref for ref in doomed if ref.blob_id not in stuck and self._is_free(ref.blob_id)
            ]
            if free:
                gone = await self._on_thread(self._remove, free)
                stuck.update(ref.blob_id for ref in free if ref.blob_id not in gone)
                await self._catalog.forget(gone)
                removed += len(gone)
            elif len(doomed) < limit:
                break
        if stuck:
            raise errors.StoreFailed(f"{len(stuck)} doomed blobs could not be removed")
        return removed

    def _is_free(self, blob_id: bytes) -> bool:
        if blob_id in self._pins:
            return False
        if not self._grace_ms:
            return True
        now_ms = self._clock_ms()
        return now_ms - self._seen_ms.setdefault(blob_id, now_ms) >= self._grace_ms

    def _forget_all_but(self, doomed: set[bytes]) -> None:
        """Drop what another process has removed meanwhile."""
        for blob_id in self._seen_ms.keys() - doomed:
            del self._seen_ms[blob_id]

    def _remove(self, refs: list[records.BlobRef]) -> set[bytes]:
        """Remove blobs; return the ids of those that are gone."""
        gone = set()
        for ref in refs:
            with contextlib.suppress(errors.StoreFailed):
                self._blobs.remove(ref.place)
                gone.add(ref.blob_id)
        return gone

    async def sweep(self) -> int:
        """Set aside what no writer can commit any more and no row knows; return how many.

        Not removed at once: where somebody has put an older catalog back, these are
        objects that only the newer one knows.

        Raises:
            StoreFailed: some could not be set aside; the others were.
        """
        strays = self._blobs.strays()
        moved = failed = 0
        while batch := await self._on_thread(lambda: list(itertools.islice(strays, BATCH))):
            known = await self._catalog.known([blob_id for blob_id, _ in batch])
            unknown = [place for blob_id, place in batch if blob_id not in known]
            done = await self._on_thread(self._set_aside, unknown)
            moved += done
            failed += len(unknown) - done
        if failed:
            raise errors.StoreFailed(f"{failed} stray blobs could not be set aside")
        return moved

    def _set_aside(self, places: list[str]) -> int:
        done = 0
        for place in places:
            with contextlib.suppress(errors.StoreFailed):
                self._blobs.set_aside(place)
                done += 1
        return done

    async def let_go(self) -> int:
        """Drop what the guards of buckets have kept for long enough; return how many versions.

        Their blobs are doomed by it, and collected.
        """
        if not self._may_collect():
            return 0
        total = 0
        while gone := await self._catalog.keeping.let_go(self._clock_ms(), limit=BATCH):
            total += gone
        if total:
            self.wake()
        return total

    async def purge(self) -> int:
        """Remove what was set aside more than `KEPT_ASIDE_MS` ago; return how many."""
        before_s = (self._clock_ms() - KEPT_ASIDE_MS) / 1000
        return await self._on_thread(self._blobs.purge, before_s)

    def _on_thread(self, work: Callable[..., _Answer], *arguments: Any) -> asyncio.Future[_Answer]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
