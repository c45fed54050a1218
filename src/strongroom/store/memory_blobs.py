"""Blobs in memory: for tests, and for `serve --ephemeral`. Gone when the process is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store import blobs

if TYPE_CHECKING:
    from collections.abc import Iterator


class _MemoryWriter:
    """A blob being gathered. Port: `strongroom.store.blobs.BlobWriter`."""

    __slots__ = ("_blob_id", "_home", "_rooms")

    def __init__(self, blob_id: bytes, home: dict[str, bytes]) -> None:
        self._blob_id = blob_id
        self._home = home
        self._rooms: list[bytearray] = []

    @property
    def blob_id(self) -> bytes:
        return self._blob_id

    def room(self, size: int) -> memoryview:
        if not 0 < size <= blobs.ROOM_BYTES:
            raise ValueError(f"room for {size} bytes")
        if self._rooms and len(self._rooms[-1]) != blobs.ROOM_BYTES:
            raise ValueError("only the last room of a blob may be shorter")
        self._rooms.append(bytearray(size))
        return memoryview(self._rooms[-1])

    def finish(self) -> str:
        place = _memory_place(self._blob_id)
        self._home[place] = b"".join(self._rooms)
        self._rooms.clear()
        return place

    def discard(self) -> None:
        self._rooms.clear()
        self._home.pop(_memory_place(self._blob_id), None)


class _MemoryReader:
    """An open blob. Port: `strongroom.store.blobs.BlobReader`."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_into(self, start: int, target: memoryview) -> None:
        end = start + len(target)
        if start < 0 or end > len(self._data):
            raise errors.NotAuthentic("a blob ends too early")
        target[:] = memoryview(self._data)[start:end]

    def close(self) -> None:
        """Do nothing: the bytes go when the last reader does."""


class MemoryBlobs:
    """Blobs as a dict. Port: `strongroom.store.blobs.Blobs`.

    Each dict operation is atomic by itself, so writers and readers on other
    threads need no lock.
    """

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._identity: bytes | None = None

    def create(self, blob_id: bytes, expected_bytes: int) -> blobs.BlobWriter:
        """See the port; `expected_bytes` is of no use here."""
        del expected_bytes
        if _memory_place(blob_id) in self._blobs:
            raise errors.StoreFailed("the blob id is taken")
        return _MemoryWriter(blob_id, self._blobs)

    async def settle(self, place: str) -> None:
        """Do nothing: there is no name to make durable."""

    def open(self, place: str) -> blobs.BlobReader:
        """See the port."""
        data = self._blobs.get(place)
        if data is None:
            raise errors.BlobMissing(place)
        return _MemoryReader(data)

    def remove(self, place: str) -> None:
        """See the port."""
        self._blobs.pop(place, None)

    def strays(self) -> Iterator[tuple[bytes, str]]:
        """Yield nothing: no other process ever wrote here."""
        return iter(())

    def set_aside(self, place: str) -> None:
        """Remove the blob: with the process gone there is no catalog that could turn up."""
        self._blobs.pop(place, None)

    def purge(self, before_s: float) -> int:
        """Return 0: nothing is kept aside."""
        del before_s
        return 0

    def identity(self) -> bytes | None:
        """See the port."""
        return self._identity

    def adopt(self, identity: bytes) -> None:
        """See the port."""
        if not identity:
            raise ValueError("an identity of no bytes")
        if self._identity not in (None, identity):
            raise errors.StoreFailed("the blobs have another identity already")
        self._identity = identity

    def is_empty(self) -> bool:
        """See the port; unfinished blobs do not count, nobody else can see them."""
        return not self._blobs

    def close(self) -> None:
        """Do nothing: the memory goes with the object."""


def _memory_place(blob_id: bytes) -> str:
    return "memory/" + blob_id.hex()
