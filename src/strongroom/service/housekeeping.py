"""Removing bytes that nothing refers to any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent import futures

    from strongroom.service import transfer
    from strongroom.store import blobs, catalog, records

BATCH = 500
"""Blobs removed between two transactions."""


class Collector:
    """Removes doomed blobs, and strays that a crash left behind."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        blobs: blobs.Blobs,
        pins: transfer.Pins,
        *,
        threads: futures.Executor,
        grace_ms: int = 0,
        clock_ms: Callable[[], int],
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
        """
        self._catalog = catalog
        self._blobs = blobs
        self._pins = pins
        self._threads = threads
        self._grace_ms = grace_ms
        self._clock_ms = clock_ms
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

        A blob that is being read stays doomed, and is looked at again next time.
        """
        removed = 0
        while True:
            # Those that have to wait must not hide those behind them: the time that a
            # blob waits begins when it is first seen.
            limit = BATCH + len(self._pins) + len(self._seen_ms)
            doomed = await self._catalog.doomed(limit=limit)
            free = [ref for ref in doomed if self._is_free(ref.blob_id)]
            if not free:
                if len(doomed) == limit:
                    continue
                return removed
            await asyncio.get_running_loop().run_in_executor(self._threads, self._remove, free)
            await self._catalog.forget([ref.blob_id for ref in free])
            for ref in free:
                self._seen_ms.pop(ref.blob_id, None)
            removed += len(free)

    def _is_free(self, blob_id: bytes) -> bool:
        if blob_id in self._pins:
            return False
        if not self._grace_ms:
            return True
        now_ms = self._clock_ms()
        return now_ms - self._seen_ms.setdefault(blob_id, now_ms) >= self._grace_ms

    def _remove(self, refs: list[records.BlobRef]) -> None:
        for ref in refs:
            self._blobs.remove(ref.place)

    async def sweep(self) -> int:
        """Remove blobs that no writer can commit any more and no row knows; return how many."""
        loop = asyncio.get_running_loop()
        strays = await loop.run_in_executor(self._threads, lambda: list(self._blobs.strays()))
        removed = 0
        for start in range(0, len(strays), BATCH):
            batch = dict(strays[start : start + BATCH])
            known = await self._catalog.known(batch.keys())
            for blob_id, place in batch.items():
                if blob_id not in known:
                    await loop.run_in_executor(self._threads, self._blobs.remove, place)
                    removed += 1
        return removed
