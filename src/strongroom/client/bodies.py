"""The plaintext of an answer, as botocore gives bodies: `read`, `iter_chunks`, `iter_lines`."""

from __future__ import annotations

import io
import tempfile
from typing import IO, TYPE_CHECKING, Any, Self

from strongroom import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from strongroom.client import content

CHUNK_BYTES = 1024 * 1024
MOST_HELD_BYTES = 16 * 1024 * 1024
"""Ciphertext that is verified before it is opened stays in memory up to this, then on disk."""


class PlainBody(io.RawIOBase):
    """A body that decrypts as it is read.

    Args:
        pieces: the plaintext, in order.
        close: called once, when nobody reads any more.
    """

    def __init__(self, pieces: Iterator[bytes], close: Callable[[], object]) -> None:
        super().__init__()
        self._pieces = pieces
        self._close = close
        self._held: bytes = b""
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the piece at hand goes; 0 at the end."""
        view = memoryview(buffer).cast("B")
        if not len(view):
            return 0
        while not self._held:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._held = piece
        count = min(len(view), len(self._held))
        view[:count] = self._held[:count]
        self._held = self._held[count:]
        self._at += count
        return count

    def read(self, amt: int | None = -1) -> bytes:
        """Return exactly `amt` bytes, fewer only at the end; everything for None or -1."""
        if amt is None or amt < 0:
            rest = [self._held, *self._pieces]
            self._held = b""
            everything = b"".join(rest)
            self._at += len(everything)
            return everything
        data = bytearray()
        while len(data) < amt:
            if not self._held:
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._held = piece
                continue
            wanted = amt - len(data)
            data += self._held[:wanted]
            self._held = self._held[wanted:]
        self._at += len(data)
        return bytes(data)

    def iter_chunks(self, chunk_size: int = CHUNK_BYTES) -> Iterator[bytes]:
        """Yield everything, `chunk_size` bytes at a time."""
        while chunk := self.read(chunk_size):
            yield chunk

    def iter_lines(
        self, chunk_size: int = CHUNK_BYTES, *, keepends: bool = False
    ) -> Iterator[bytes]:
        """Yield line by line."""
        pending = b""
        for chunk in self.iter_chunks(chunk_size):
            lines = (pending + chunk).splitlines(keepends=True)
            pending = lines.pop() if lines and not lines[-1].endswith((b"\n", b"\r")) else b""
            if lines and lines[-1].endswith(b"\r"):
                # The other half of the line's end may be in the next chunk.
                pending = lines.pop() + pending
            for line in lines:
                yield line if keepends else line.rstrip(b"\r\n")
        for line in pending.splitlines(keepends=keepends):
            yield line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading; the connection is given up if anything is left on it."""
        if not self.closed:
            self._close()
        super().close()


def streamed(raw: Any, opener: content.Opener, size: int) -> Iterator[bytes]:
    """Yield the plaintext of a stream, as soon as it is decrypted.

    Raises:
        NotAuthentic: it is not what was written, or it ended before `size` bytes came. If
            the content vouches only for the whole, that comes after everything was yielded.
    """
    return _opened(raw.iter_chunks(CHUNK_BYTES), opener, size)


def _opened(chunks: Iterable[bytes], opener: content.Opener, size: int) -> Iterator[bytes]:
    count = 0
    for chunk in chunks:
        count += len(chunk)
        plain = opener.feed(chunk)
        if plain:
            yield plain
    if count != size:
        raise errors.NotAuthentic("an object ended before its end")
    rest = opener.finish()
    if rest:
        yield rest


def verified(
    raw: Any, size: int, begin: Callable[[], content.Opener]
) -> tuple[Iterator[bytes], Callable[[], None]]:
    """Verify all of a stream, then yield its plaintext: twice decrypted, never kept.

    Only ciphertext is written down meanwhile.

    Returns:
        The plaintext, and what has to be called when nobody reads it any more.

    Raises:
        NotAuthentic: it is not what was written.
    """
    spool: IO[bytes] = tempfile.SpooledTemporaryFile(MOST_HELD_BYTES)  # noqa: SIM115 - closed by whoever reads
    try:

        def copied() -> Iterator[bytes]:
            for chunk in raw.iter_chunks(CHUNK_BYTES):
                spool.write(chunk)
                yield chunk

        for _ in _opened(copied(), begin(), size):
            pass
        spool.seek(0)
    except BaseException:
        spool.close()
        raise
    again = iter(lambda: spool.read(CHUNK_BYTES), b"")
    return _opened(again, begin(), size), spool.close
