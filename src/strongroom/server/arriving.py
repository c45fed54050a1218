"""The body of a request on its way in, as ASGI's events bring it.

Each event of granian costs three threads a hand-over (its own, one that speaks to Python, the
loop's). So the next one is asked for as soon as one has come, and the HTTP server reads and
decrypts it while the last is worked on.

Several at once would save more: a client that sends chunks of 16 KiB, as boto3 does, makes an
event of each. But which of two that are waited for gets the next bytes is nowhere promised,
although tokio's queues are first in, first out. So several are asked for only where a checksum
of the content comes behind it, which would not match: never is a body stored whose order
nobody vouches for.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import re
from typing import TYPE_CHECKING, Any

from strongroom import errors
from strongroom.server import patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from strongroom.wire import message

    Event = dict[str, Any]
    Receive = Callable[[], Awaitable[Event]]

AHEAD = 6
"""Events asked for at once where a checksum follows the body, and they come small."""
SMALL_BYTES = 64 * 1024
"""Larger pieces are asked for one by one: there are fewer of them, and each lies in memory."""
_TRAILER = re.compile(rb"x-amz-checksum-[a-z0-9]+")
_FRAMING = re.compile(rb"STREAMING-[A-Z0-9-]+-TRAILER")
"""Values of `x-amz-trailer` and `x-amz-content-sha256` that announce a checksum behind the body:
the dialect then refuses a body that does not have it."""


class Arriving:
    """The request's body as an async iterator.

    Attributes:
        received: bytes so far.
        finished: the body has ended (or there is none).
        begun: somebody asked for it, so `100 Continue` was sent if it was expected.
        rest: bytes that have not come yet; None if only the last chunk will tell.
        held: the client waits for `100 Continue`.
    """

    __slots__ = (
        "_ahead",
        "_asked",
        "_gone",
        "_least_bytes",
        "_left",
        "_patience",
        "_patience_s",
        "_receive",
        "_stall_s",
        "begun",
        "expects",
        "finished",
        "received",
        "rest",
    )

    def __init__(
        self, receive: Receive, headers: message.Headers, *, stall_s: float, least_bytes: int
    ) -> None:
        """Look at the headers; nothing is asked for yet.

        Args:
            receive: ASGI's.
            headers: the request's.
            stall_s: how long the client may be waited for, in all, until `least_bytes` came.
            least_bytes: what gives it that time anew.
        """
        self._receive = receive
        self._stall_s = self._patience_s = stall_s
        self._least_bytes = self._left = least_bytes
        self._patience: patience.Patience | None = None
        self._asked: collections.deque[Awaitable[Event]] = collections.deque()
        self._ahead = 1
        self._gone = False
        self.received = 0
        self.begun = False
        self.expects = False
        self.rest: int | None = 0
        chunked = announced = framed = False
        for name, value in headers:
            if name == b"content-length":
                # hyper has refused what is no number, and lengths that differ.
                self.rest = int(value)
            elif name == b"transfer-encoding":
                chunked = True
            elif name == b"expect":
                self.expects = True
            elif name == b"x-amz-trailer":
                announced = _TRAILER.fullmatch(value) is not None
            elif name == b"x-amz-content-sha256":
                framed = _FRAMING.fullmatch(value) is not None
        if chunked:
            self.rest = None
            # With a length, pieces are as large as the HTTP server's buffer, and few.
            self._ahead = AHEAD if announced and framed else 1
        self.finished = self.rest == 0

    @property
    def held(self) -> bool:
        """Whether the client has not been told to go on."""
        return self.expects and not self.begun

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self.finished:
            event = await self._next()
            if self._gone or event["type"] != "http.request":
                # What else was asked for would look like the body's proper end.
                self._gone = True
                raise errors.ClientGone("the connection ended before the body")
            piece: bytes = event["body"]
            self.received += len(piece)
            if self.rest is not None:
                self.rest -= len(piece)
            # With a length the end is known without asking once more, across threads.
            self.finished = self.rest == 0 or not event["more_body"]
            if not self.finished:
                self._ask(self._ahead if len(piece) <= SMALL_BYTES else 1)
            if piece:
                return piece
        raise StopAsyncIteration

    def _ask(self, ahead: int) -> None:
        while len(self._asked) < ahead:
            self._asked.append(self._receive())

    async def _next(self) -> Event:
        """Wait for the next event; what others do between two calls is not held against the client."""
        if not self._asked:
            self.begun = True
            self._ask(1)
        asked = self._asked.popleft()
        if self._patience is None:
            self._patience = patience.Patience()
        clock = asyncio.get_running_loop().time
        since = clock()
        try:
            event = await self._patience.wait(asked, self._patience_s)
        except TimeoutError:
            raise errors.ClientGone(
                f"less than {self._least_bytes} bytes came in {self._stall_s:.0f} s"
            ) from None
        self._patience_s -= clock() - since
        self._left -= len(event.get("body", b""))
        if self._left <= 0:
            self._patience_s, self._left = self._stall_s, self._least_bytes
        return event

    async def discard(self, *, most_bytes: int, most_s: float) -> None:
        """Take and drop what still comes, within limits."""
        limit = self.received + most_bytes
        with contextlib.suppress(TimeoutError, errors.ClientGone):
            async with asyncio.timeout(most_s):
                async for _ in self:
                    if self.received > limit:
                        return

    def close(self) -> None:
        """Give up what was asked for and let go of the timer. May be called twice."""
        if self._patience is not None:
            self._patience.close()
        while self._asked:
            asked = self._asked.pop()
            # granian's is like a future; a coroutine that nobody awaits has to be closed.
            give_up = getattr(asked, "cancel", None) or getattr(asked, "close", None)
            if give_up is not None:
                give_up()
