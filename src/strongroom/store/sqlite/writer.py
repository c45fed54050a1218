"""One thread that writes: queue, one connection, one commit for all that wait.

A commit costs a sync of the log (0.2 to 4 ms), a write some tens of
microseconds; so whatever came in during one commit shares the next. Each write
runs in a savepoint of its own: when it raises, it alone is undone.

Nobody is told anything before COMMIT has returned. If it fails, all writes of
the batch have failed, those too that raised by themselves: what they saw,
perhaps through an earlier write of the batch, never came to be.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from strongroom import errors
from strongroom.store.sqlite import connection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

BATCH_WRITES = 512
"""The most writes that share a commit: bounds the log's growth and the wait of the first."""

T = TypeVar("T")


class _Job(Generic[T]):
    """A write on its way, and what became of it."""

    __slots__ = ("error", "future", "in_transaction", "loop", "result", "work")

    def __init__(
        self,
        work: Callable[[sqlite3.Connection], T],
        loop: asyncio.AbstractEventLoop,
        *,
        in_transaction: bool,
    ) -> None:
        self.work = work
        self.loop = loop
        self.in_transaction = in_transaction
        self.future: asyncio.Future[T] = loop.create_future()
        self.result: T | None = None
        self.error: BaseException | None = None

    def tell(self) -> None:
        """Hand over the outcome; on the event loop's thread."""
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(cast("T", self.result))


class Writer:
    """Runs writes in the order in which they come. Begins at once; ends with `close`."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        *,
        lock_path: Path | None,
        committed: Callable[[], None],
    ) -> None:
        """Open a connection.

        Args:
            connect: opens one; called again if a rollback should fail.
            lock_path: a file that all processes which write the catalog lock
                before they begin; made if missing. Without it SQLite's own
                locking decides, by sleeping and polling.
            committed: called on the writer's thread after each commit.

        Raises:
            sqlite3.Error, OSError: a file cannot be opened.
        """
        self._connect = connect
        self._committed = committed
        self._lock_fd = -1
        if lock_path is not None:
            self._lock_fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._connection: sqlite3.Connection | None = connect()
        except BaseException:
            self._close_lock()
            raise
        self._changed = threading.Condition()
        self._waiting: deque[_Job[object]] = deque()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="strongroom-write", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction and return its result once that is durable.

        A cancelled caller either withdraws a write that has not begun, and
        nothing happened, or waits for the outcome, gets it, and is cancelled at
        its next await: so an exception always means that nothing was written.

        Raises:
            StoreFull, StoreFailed: nothing was written. Whatever else `work` raises.
        """
        return await self._submit(work, in_transaction=True)

    async def between(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` while no transaction of this writer is open. Raises as `write`."""
        return await self._submit(work, in_transaction=False)

    def close(self) -> None:
        """Finish what waits, end the thread, close the files. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._close_lock()

    async def _submit(self, work: Callable[[sqlite3.Connection], T], *, in_transaction: bool) -> T:
        job = _Job(work, asyncio.get_running_loop(), in_transaction=in_transaction)
        with self._changed:
            if self._closed:
                raise errors.StoreFailed("the catalog is closed")
            self._waiting.append(cast("_Job[object]", job))
            self._changed.notify()
        try:
            return await asyncio.shield(job.future)
        except asyncio.CancelledError:
            if self._withdraw(cast("_Job[object]", job)):
                raise
            return await _outlast(job)

    def _withdraw(self, job: _Job[object]) -> bool:
        with self._changed:
            try:
                self._waiting.remove(job)
            except ValueError:
                return False
            return True

    def _run(self) -> None:
        try:
            while batch := self._take():
                try:
                    if batch[0].in_transaction:
                        self._commit(batch)
                    else:
                        self._run_alone(batch[0])
                finally:
                    _deliver(batch)
        finally:
            # Nothing above should raise; if it does, nobody may wait for a dead thread.
            with self._changed:
                self._closed = True
                left = tuple(self._waiting)
                self._waiting.clear()
            for job in left:
                _fail((job,), errors.StoreFailed("the catalog's writer has stopped"))
            _deliver(left)

    def _take(self) -> Sequence[_Job[object]]:
        """Wait for work; empty when there will be no more."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return ()
                self._changed.wait()
            batch = [self._waiting.popleft()]
            if batch[0].in_transaction:
                while (
                    self._waiting and self._waiting[0].in_transaction and len(batch) < BATCH_WRITES
                ):
                    batch.append(self._waiting.popleft())
            return batch

    def _commit(self, batch: Sequence[_Job[object]]) -> None:
        try:
            self._lock(fcntl.LOCK_EX)
            try:
                writer = self._open()
                writer.execute("BEGIN IMMEDIATE")
                for job in batch:
                    _attempt(writer, job)
                writer.execute("COMMIT")
            finally:
                self._roll_back()
                self._lock(fcntl.LOCK_UN)
        except BaseException as error:  # noqa: BLE001 - handed to all who wait for this batch
            _fail(batch, error)
        else:
            self._committed()

    def _run_alone(self, job: _Job[object]) -> None:
        try:
            self._lock(fcntl.LOCK_EX)
            try:
                job.result = job.work(self._open())
            finally:
                self._roll_back()
                self._lock(fcntl.LOCK_UN)
        except BaseException as error:  # noqa: BLE001 - handed to who waits for it
            _fail((job,), error)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _roll_back(self) -> None:
        """Leave no transaction behind, whatever happened; after a COMMIT there is none."""
        if self._connection is None or not self._connection.in_transaction:
            return
        try:
            self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            # Closing rolls back too; the next batch opens the file anew.
            self._connection.close()
            self._connection = None

    def _close_lock(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _lock(self, operation: int) -> None:
        if self._lock_fd >= 0:
            fcntl.flock(self._lock_fd, operation)


def _attempt(writer: sqlite3.Connection, job: _Job[object]) -> None:
    writer.execute("SAVEPOINT one")
    try:
        job.result = job.work(writer)
    except BaseException as error:
        # On a full disk, say, SQLite rolls the whole transaction back by itself.
        if not writer.in_transaction:
            raise
        writer.execute("ROLLBACK TO one")
        _fail((job,), error)
    writer.execute("RELEASE one")


def _fail(batch: Sequence[_Job[object]], error: BaseException) -> None:
    for job in batch:
        job.result = None
        if isinstance(error, (sqlite3.Error, OSError)):
            # One exception each: several callers must not share a traceback.
            job.error = connection.trouble(error)
            job.error.__cause__ = error
        else:
            job.error = error


def _deliver(batch: Sequence[_Job[object]]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job[object]]] = {}
    for job in batch:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, jobs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_tell_all, jobs)
        except RuntimeError:
            # The loop is closed, and nobody is left on it to be told.
            continue


def _tell_all(jobs: Sequence[_Job[object]]) -> None:
    for job in jobs:
        job.tell()


async def _outlast(job: _Job[T]) -> T:
    """Wait for a write that has begun, however often the caller is cancelled."""
    while not job.future.done():
        try:
            await asyncio.wait((job.future,))
        except asyncio.CancelledError:
            continue
    task = asyncio.current_task()
    if task is not None:
        # The cancellation was swallowed, not obeyed: ask for it again at the next await.
        task.uncancel()
        task.cancel()
    return job.future.result()
