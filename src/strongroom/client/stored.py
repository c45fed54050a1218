"""The stored bytes of an object, wherever they are: in memory, or behind a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from strongroom import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 4 * 1024 * 1024
"""How much is asked for at a time where all is read: bounds memory, and is a request each."""

Fetch = Callable[[int, int], bytes]
"""Returns the stored bytes [start, end), fewer where the object ends before `end`."""


class Stored:
    """An object's stored bytes, read by range.

    Args:
        body: the bytes, or a `Fetch`.
        size: how many there are, if that is known.
    """

    def __init__(
        self, body: bytes | bytearray | memoryview | Fetch, size: int | None = None
    ) -> None:
        if callable(body):
            self._fetch: Fetch = body
            self.size = size
        else:
            view = memoryview(body)
            self._fetch = lambda start, end: bytes(view[start:end])
            self.size = len(view)

    def read(self, start: int, end: int) -> bytes:
        """Return bytes [start, end), or what there is of them.

        Raises:
            NotAuthentic: the size is known, and fewer bytes came than it promises; or
                more came than were asked for.
        """
        if self.size is not None:
            end = min(end, self.size)
        if end <= start:
            return b""
        found = self._fetch(start, end)
        if len(found) > end - start or (self.size is not None and len(found) < end - start):
            raise errors.NotAuthentic("other bytes came than were asked for")
        return found

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """Yield everything from `start` on, `CHUNK_BYTES` at a time."""
        while True:
            chunk = self.read(start, start + CHUNK_BYTES)
            if chunk:
                yield chunk
            if len(chunk) < CHUNK_BYTES:
                return
            start += len(chunk)

    def end(self) -> int:
        """Return the size; if nobody told it, it is searched for, a byte at a time."""
        if self.size is None:
            high = 1
            while self._fetch(high - 1, high):
                high *= 2
            low = high // 2
            # Bytes [0, low) are there, byte high - 1 is not.
            while low < high - 1:
                middle = (low + high) // 2
                if self._fetch(middle - 1, middle):
                    low = middle
                else:
                    high = middle
            self.size = low
        return self.size
