"""Threads for items (files, objects), and threads for the requests that an item is made of.

Two pools, so that items which wait for their parts never keep the parts from running.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent import futures
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
R = TypeVar("R")


class Stopped(Exception):
    """The command is being stopped; whoever meets this cleans up and leaves."""


class Lanes:
    """Runs work on `count` threads for items and as many for parts."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._items = futures.ThreadPoolExecutor(count, thread_name_prefix="item")
        self._parts = futures.ThreadPoolExecutor(count, thread_name_prefix="part")
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        if kind is not None:
            self._stopping.set()
        self._items.shutdown(cancel_futures=kind is not None)
        self._parts.shutdown(cancel_futures=kind is not None)

    def check(self) -> None:
        """Raise if the command is being stopped.

        Raises:
            Stopped: it is.
        """
        if self._stopping.is_set():
            raise Stopped

    def each(
        self, work: Callable[[T], R], items: Iterable[T]
    ) -> Iterator[tuple[T, futures.Future[R]]]:
        """Run `work` on each item; yield (item, its finished future) in the order of finishing.

        Items are drawn as threads get free, so that a long listing is not kept in memory.
        """
        running: dict[futures.Future[R], T] = {}
        source = iter(items)
        drained = False
        while running or not drained:
            while not drained and len(running) < 2 * self.count:
                try:
                    item = next(source)
                except StopIteration:
                    drained = True
                    break
                running[self._items.submit(work, item)] = item
            if running:
                done, _ = futures.wait(running, return_when=futures.FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future

    def parts(self, work: Callable[[T], R], pieces: Iterable[T]) -> list[R]:
        """Run `work` on each piece; return what it gave, in order. At most `count` wait or run.

        Raises:
            Exception: the first that `work` raised; pieces under way have ended by then.
        """
        waiting: set[futures.Future[R]] = set()
        all_of_them: list[futures.Future[R]] = []
        try:
            for piece in pieces:
                self.check()
                if len(waiting) >= self.count:
                    done, waiting = futures.wait(waiting, return_when=futures.FIRST_COMPLETED)
                    for future in done:
                        future.result()
                future = self._parts.submit(self._checked, work, piece)
                waiting.add(future)
                all_of_them.append(future)
            return [future.result() for future in all_of_them]
        finally:
            for future in all_of_them:
                future.cancel()
            with contextlib.suppress(futures.CancelledError):
                futures.wait(all_of_them)

    def _checked(self, work: Callable[[T], R], piece: T) -> R:
        self.check()
        return work(piece)
