"""Keeping mirrors up to date: never on the path of a request, and after a crash where it ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent import futures

    from strongroom.store import mirrors

BATCH = 100
"""Notices that share a sync of directories and a transaction."""

_Answer = TypeVar("_Answer")


class Mirroring:
    """Writes, replaces and removes mirrors as the outbox says."""

    def __init__(
        self,
        outbox: mirrors.Outbox,
        lying: mirrors.Mirrors,
        *,
        threads: futures.Executor,
        may_mirror: Callable[[], bool] = lambda: True,
    ) -> None:
        """Prepare.

        Args:
            outbox: the catalog's side.
            lying: where mirrors lie.
            threads: where they are written.
            may_mirror: whether it is this process, of all that share the store, that mirrors.
        """
        self._outbox = outbox
        self._mirrors = lying
        self._threads = threads
        self._may_mirror = may_mirror
        self._registry = b""
        self._complete = False
        self._running = asyncio.Lock()

    async def run(self) -> int:
        """Do what the outbox asks for until it is empty; return how many mirrors were touched.

        Raises:
            StoreFull, StoreFailed: the rest is done next time.
        """
        if not self._may_mirror():
            return 0
        touched = 0
        async with self._running:
            await self._copy_registry()
            while notices := await self._outbox.notices(limit=BATCH):
                # Of several notices about one envelope the last is enough: what is
                # mirrored is the state now, not that of the notice.
                latest = {notice.generation: notice for notice in notices}
                for generation, notice in latest.items():
                    mirror = await self._outbox.mirror(notice)
                    await self._on_thread(self._mirrors.put, generation, mirror)
                await self._on_thread(self._mirrors.sync)
                await self._outbox.settle([notice.number for notice in notices])
                touched += len(latest)
            if not self._complete:
                await self._on_thread(self._mirrors.complete)
                self._complete = True
        return touched

    async def _copy_registry(self) -> None:
        place = await self._on_thread(self._mirrors.place_for_registry)
        digest = await self._outbox.copy_registry(place, self._registry)
        if digest != self._registry:
            await self._on_thread(self._mirrors.put_registry, place)
            self._registry = digest

    def _on_thread(self, work: Callable[..., _Answer], *arguments: Any) -> asyncio.Future[_Answer]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
