"""Directory syncs that are shared, and never believed after one of them has failed."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store import files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Syncs:
    """Makes the names in directories durable; one sync serves all who asked before it began.

    After a failed sync the next may well succeed although the kernel has dropped
    what the failed one could not write. So nobody who waits for that directory,
    then or later, is told again that it is durable.
    """

    def __init__(self, kernel: files.Kernel, *, failed: Callable[[Path], None]) -> None:
        """Begin without any failure.

        Args:
            kernel: system calls.
            failed: told of a directory whose sync has failed, on any thread, before those
                who wait for it are.
        """
        self._kernel = kernel
        self._tell = failed
        self._failed: set[Path] = set()
        self._threads = ThreadPoolExecutor(2, "strongroom-sync")
        self._waiting: dict[Path, list[asyncio.Future[None]]] = {}
        self._running: dict[Path, asyncio.Task[None]] = {}

    async def sync(self, directory: Path) -> None:
        """Return when a sync that began after this call has succeeded.

        Raises:
            StoreFull, StoreFailed: it failed, or one of this directory has failed before.
        """
        mine = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(directory, []).append(mine)
        running = self._running.get(directory)
        if running is None or running.done():
            # A task of its own: whoever waits may be cancelled without harm to the others.
            self._running[directory] = asyncio.create_task(self._serve(directory))
        await mine

    def close(self) -> None:
        """End the threads; whoever asks from now on is refused."""
        self._threads.shutdown()

    async def _serve(self, directory: Path) -> None:
        loop = asyncio.get_running_loop()
        while waiting := self._waiting.pop(directory, None):
            failure: Exception | None = None
            try:
                await loop.run_in_executor(self._threads, self._sync, directory)
            except (OSError, errors.StoreFailed, RuntimeError) as error:
                # RuntimeError is what the threads say after their shutdown.
                failure = error
            for future in waiting:
                if future.cancelled():
                    continue
                if failure is None:
                    future.set_result(None)
                else:
                    future.set_exception(_unsettled(failure))
        del self._running[directory]

    def _sync(self, directory: Path) -> None:
        """Sync on a thread, which notes a failure even if the loop is gone meanwhile."""
        if directory in self._failed:
            raise errors.StoreFailed("it has failed before")
        try:
            files.sync_directory(self._kernel, directory)
        except OSError:
            self._failed.add(directory)
            self._tell(directory)
            raise


def _unsettled(failure: Exception) -> errors.StoreTrouble:
    """Return an exception for one of those who wait: each needs a traceback of its own."""
    if isinstance(failure, OSError):
        trouble = files.trouble(failure, "syncing a directory")
    elif isinstance(failure, errors.StoreFailed):
        trouble = errors.StoreFailed(f"syncing a directory: {failure}")
    else:
        trouble = errors.StoreFailed("syncing a directory: no thread for it, the blobs are closed")
    trouble.__cause__ = failure
    return trouble
