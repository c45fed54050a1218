"""A limit on waiting for the peer that costs next to nothing while the peer keeps up.

`asyncio.timeout` makes, arms and cancels a timer for every wait. A body of 64 MiB is some
hundred waits, or thousands if its client sends small chunks, and hardly one of them lasts.
Here one timer goes on from wait to wait, and looks when it rings whether it has any reason to.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

_Answer = TypeVar("_Answer")


class Patience:
    """For one task at a time; `close` it, or its timer lives until it rings."""

    __slots__ = ("_alarm", "_deadline", "_loop", "_rang", "_rings_at", "_task")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        self._deadline = 0.0
        self._task: asyncio.Task[object] | None = None
        self._rang = False

    async def wait(self, awaited: Awaitable[_Answer], limit_s: float) -> _Answer:
        """Await, for so many seconds at most.

        Raises:
            TimeoutError: it took longer, and was cancelled.
        """
        task = asyncio.current_task()
        assert task is not None, "a task waits"
        self._deadline = self._loop.time() + limit_s
        if self._alarm is None or self._deadline < self._rings_at:
            self._arm()
        cancelling = task.cancelling()
        self._task = task
        try:
            return await awaited
        except asyncio.CancelledError:
            # As `asyncio.timeout` does: whoever else cancelled the task is not to be overheard.
            if self._rang and task.uncancel() <= cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._task = None
            self._rang = False

    def close(self) -> None:
        """Let go of the timer. May be called twice."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _arm(self) -> None:
        self.close()
        self._rings_at = self._deadline
        self._alarm = self._loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._task is None:
            # Nobody waits; the next wait arms it again.
            return
        if self._loop.time() < self._deadline:
            self._arm()
            return
        self._rang = True
        self._task.cancel()
