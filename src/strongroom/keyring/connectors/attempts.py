"""How long and how often a master elsewhere is asked.

Three attempts at most, pauses of 50 and 200 ms between them, each for `TIMEOUT_S` at
most: an outage is told after some 15 seconds in the worst case, and at once where
connections are refused. What the master *answers* is never asked twice: only that it
did not answer is.
"""

from __future__ import annotations

import asyncio
from concurrent import futures
from typing import TYPE_CHECKING, Final, TypeVar

from strongroom import errors

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

TIMEOUT_S: Final = 5.0
"""For one attempt. The clients' own timeouts are set shorter, so that threads come back."""
CLIENT_TIMEOUT_S: Final = 4.0
PAUSES_S: Final = (0.05, 0.2)
"""Between attempts; so there are three."""
THREADS: Final = 4


class Attempts:
    """Runs blocking calls of a master's client on threads of its own."""

    def __init__(
        self,
        name: str,
        *,
        threads: int = THREADS,
        timeout_s: float = TIMEOUT_S,
        pauses_s: tuple[float, ...] = PAUSES_S,
    ) -> None:
        """Set up.

        Args:
            name: of the master, for errors and threads.
            threads: how many calls at a time; 1 where the client is for one thread only.
            timeout_s: for one attempt.
            pauses_s: between attempts.
        """
        self._name = name
        self._timeout_s = timeout_s
        self._pauses_s = pauses_s
        self._threads = futures.ThreadPoolExecutor(threads, thread_name_prefix="strongroom-master")

    async def run(self, call: Callable[[], T]) -> T:
        """Return what a call returns; ask again where it raised `KmsUnavailable` or hung.

        Raises:
            KmsUnavailable: it did so every time. Whatever else `call` raises, at once.
        """
        for pause_s in self._pauses_s:
            try:
                return await self._once(call)
            except errors.KmsUnavailable:
                await asyncio.sleep(pause_s)
        return await self._once(call)

    def close(self) -> None:
        """Let the threads end. May be called twice."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _once(self, call: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await loop.run_in_executor(self._threads, call)
        except TimeoutError:
            raise errors.KmsUnavailable(f"{self._name} did not answer in time.") from None
        except RuntimeError as error:
            raise errors.KmsUnavailable(f"{self._name} is closed.") from error
