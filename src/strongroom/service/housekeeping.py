"""Removing bytes that nothing refers to any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._pins = pins
        self._threads = threads
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
            doomed = await self._catalog.doomed(limit=BATCH + len(self._pins))
            free = [ref for ref in doomed if ref.blob_id not in self._pins]
            if not free:
                return removed
            await asyncio.get_running_loop().run_in_executor(self._threads, self._remove, free)
            await self._catalog.forget([ref.blob_id for ref in free])
            removed += len(free)

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
