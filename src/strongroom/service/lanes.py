"""Work on the bytes of one body: beside the event loop, in order, on one thread at a time.

The plain way, `run_in_executor` for each step, wakes a thread and then the loop for every few
hundred KiB, and half of what a large body cost the interpreter went into that. Here a thread
that was woken goes on as long as there is something to do, and the loop is told only if it waits.

A `Lane` carries work in, `Ahead` carries results out.
"""

from __future__ import annotations

import abc
import asyncio
import collections
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent import futures

_Answer = TypeVar("_Answer")

QUEUE_BYTES = 1024 * 1024
"""Bytes that may wait for a thread; whoever hands in more waits until half of it is done."""

READY = 2
"""Results that may lie there and wait to be taken."""


class _Beside(abc.ABC):
    """What both have in common: a thread that runs or not, and a loop that waits or not."""

    def __init__(self, threads: futures.Executor) -> None:
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._running = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None

    def _go(self) -> None:
        """Have `_run` called on a thread; `_running` was set before."""
        try:
            self._threads.submit(self._run)
        except BaseException:
            self._running = False
            raise

    @abc.abstractmethod
    def _run(self) -> None:
        """Work until there is nothing to do; on a thread."""

    def _wait(self) -> asyncio.Future[None]:
        """Return what `_tell` ends; called under the lock, awaited outside it."""
        self._waiter = self._loop.create_future()
        return self._waiter

    def _tell(self) -> None:
        """Wake the loop if it waits; called under the lock."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._loop.call_soon_threadsafe(_end, waiter)

    async def _stopped(self) -> None:
        """Return when no thread runs here any more; a caller that is cancelled is so only then."""
        cancelled: asyncio.CancelledError | None = None
        while True:
            with self._lock:
                if not self._running:
                    break
                waiter = self._wait()
            try:
                await waiter
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled


class Lane(_Beside):
    """Takes steps of work and does them one after the other.

    Once a step has raised, all later ones are dropped, and whoever comes next is told.
    """

    def __init__(self, threads: futures.Executor) -> None:
        super().__init__(threads)
        self._steps: collections.deque[tuple[Callable[[], object], int]] = collections.deque()
        self._queued = 0
        self._enough = 0

    async def put(self, step: Callable[[], object], size: int) -> None:
        """Hand in a step that holds so many bytes; wait only if too many wait already.

        Raises:
            Exception: what an earlier step raised.
        """
        self._add(step, size)
        if self._queued > QUEUE_BYTES:
            await self._until(QUEUE_BYTES // 2)

    async def finish(self, step: Callable[[], _Answer]) -> _Answer:
        """Do the last step, behind all others, and return its answer.

        Raises:
            Exception: what it raised, or an earlier one.
        """
        answers: list[_Answer] = []
        # It counts as a byte, so that nothing is queued when it is done and not before.
        self._add(lambda: answers.append(step()), 1)
        await self._until(0)
        return answers[0]

    async def stop(self) -> None:
        """Drop what has not begun, and return when no thread works here any more."""
        with self._lock:
            self._steps.clear()
        await self._stopped()
        # It refers to frames that refer to this.
        self._error = None

    def _add(self, step: Callable[[], object], size: int) -> None:
        with self._lock:
            if self._error is not None:
                raise self._error
            self._steps.append((step, size))
            self._queued += size
            idle, self._running = not self._running, True
        if idle:
            self._go()

    async def _until(self, enough: int) -> None:
        """Wait until no more than `enough` bytes are queued."""
        while True:
            with self._lock:
                if self._error is not None:
                    raise self._error
                if self._queued <= enough:
                    return
                self._enough = enough
                waiter = self._wait()
            await waiter

    def _run(self) -> None:
        done = 0
        while True:
            with self._lock:
                self._queued -= done
                if not self._steps:
                    self._running = False
                    self._tell()
                    return
                if self._queued <= self._enough:
                    self._tell()
                step, done = self._steps.popleft()
            try:
                step()
            except BaseException as error:  # noqa: BLE001 - raised where the next step is handed in
                with self._lock:
                    self._error = error
                    self._steps.clear()
            # Or what it holds would stay until the next one comes.
            del step


class Ahead(_Beside, Generic[_Answer]):
    """Runs an iterator on threads, a little ahead of whoever takes what it yields.

    Args:
        threads: where it runs.
        results: runs on one thread at a time; what it raises comes out in its turn.
    """

    def __init__(self, threads: futures.Executor, results: Iterator[_Answer]) -> None:
        super().__init__(threads)
        self._results = results
        self._ready: collections.deque[_Answer] = collections.deque()
        self._over = False

    def __aiter__(self) -> Ahead[_Answer]:
        return self

    async def __anext__(self) -> _Answer:
        while True:
            waiter: asyncio.Future[None] | None = None
            with self._lock:
                found = bool(self._ready)
                result = self._ready.popleft() if found else None
                idle = not self._running and not self._over
                if idle:
                    self._running = True
                elif not found:
                    if not self._running:
                        if self._error is not None:
                            raise self._error
                        raise StopAsyncIteration
                    waiter = self._wait()
            if idle:
                self._go()
            if found:
                return result  # type: ignore[return-value]  # found: it was taken from there
            if waiter is not None:
                await waiter

    async def stop(self) -> None:
        """Return when no thread works here any more; the iterator is nobody's then."""
        with self._lock:
            self._over = True
        await self._stopped()
        self._ready.clear()
        self._error = None

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._over or len(self._ready) >= READY:
                    self._running = False
                    self._tell()
                    return
            try:
                result = next(self._results)
            except StopIteration:
                with self._lock:
                    self._over = True
                continue
            except BaseException as error:  # noqa: BLE001 - raised where the next result is asked for
                with self._lock:
                    self._over, self._error = True, error
                continue
            with self._lock:
                self._ready.append(result)
                self._tell()
            # Or a result would live here, too, while the next one is made.
            del result


def _end(waiter: asyncio.Future[None]) -> None:
    # Whoever was cancelled while waiting no longer waits.
    if not waiter.done():
        waiter.set_result(None)
