"""Reading sealed parts from their blobs, through one layer or two; blocking, for worker threads.

A layer reads ranges of what lies below it: layer 1 of a plain part reads the blob, layer 1
of a doubly sealed one reads layer 2, which reads the blob. Ranges compose, since what one
layer calls ciphertext is the other's plaintext.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from strongroom.crypto import geometry, segments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from strongroom.crypto import body as bodies
    from strongroom.crypto import envelope
    from strongroom.store import blobs as ports
    from strongroom.store import records


class _Below(Protocol):
    """Bytes that can be read by range."""

    def read(self, start: int, end: int) -> segments.Data:
        """Return bytes [start, end); they may be gone at the next read."""
        ...

    def close(self) -> None:
        """Let go of the blob."""
        ...


SPARES = 4
"""Runs that are under way to a client at a time; so many are kept to be filled again."""


class Spares:
    """Memory for plaintext, given out again once nobody else refers to it.

    Fresh memory is zeroed before it is filled, and out of every cache. Who holds on to a piece
    keeps it: then there is one more reference than ours, and the next run gets other memory.
    """

    def __init__(self) -> None:
        self._held: list[bytearray] = []

    def make(self, size: int) -> bytearray:
        """Return memory of `size` bytes, with whatever it held before."""
        for place in range(len(self._held)):
            held = self._held[place]
            if sys.getrefcount(held) == _OURS:
                if len(held) != size:
                    # The last run of a part is shorter, and a piece may have been cut.
                    held = self._held[place] = bytearray(size)
                return held
        fresh = bytearray(size)
        if len(self._held) < SPARES:
            self._held.append(fresh)
        return fresh


def _ours() -> int:
    """Count the references to a spare that nobody else holds, as `Spares.make` comes by it."""
    spares = [bytearray(1)]
    held = spares[0]
    return sys.getrefcount(held)


_OURS = _ours()


class _Blob:
    """The blob itself; opened when it is first read."""

    def __init__(self, blobs: ports.Blobs, place: str) -> None:
        self._blobs = blobs
        self._place = place
        self._reader: ports.BlobReader | None = None
        # Used again and again: fresh memory is zeroed first, and cold.
        self._scratch = memoryview(b"")

    def read(self, start: int, end: int) -> memoryview:
        if len(self._scratch) < end - start:
            self._scratch = memoryview(bytearray(end - start))
        found = self._scratch[: end - start]
        if self._reader is None:
            self._reader = self._blobs.open(self._place)
        self._reader.read_into(start, found)
        return found

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


class Layer:
    """One stream; used by one thread at a time."""

    def __init__(
        self,
        below: _Below,
        plain_bytes: int,
        segment_bytes: int,
        data_key: envelope.DataKey,
        aad: bytes,
        make: Callable[[int], bytearray] = bytearray,
    ) -> None:
        self._below = below
        self._make = make
        self._plain_bytes = plain_bytes
        self._sealed_bytes = geometry.sealed_size(plain_bytes, segment_bytes)
        self._segment_bytes = segment_bytes
        self._final = geometry.segment_count(plain_bytes, segment_bytes) - 1
        self._data_key = data_key
        self._aad = aad
        self._opener: segments.Opener | None = None

    def open_from(self, first: int, last: int) -> bytes | bytearray:
        """Return the plaintext of segments `first` to `last`.

        Raises:
            NotAuthentic: they are not what was sealed there.
            BlobMissing, StoreFailed: the blob cannot be read.
        """
        if self._opener is None and first:
            # Before the segments: what one read returned may be gone at the next.
            self._opener = self._make_opener(self._below.read(0, geometry.HEADER_BYTES))
        start = first * self._segment_bytes
        sealed = self._below.read(start, min((last + 1) * self._segment_bytes, self._sealed_bytes))
        if self._opener is None:
            self._opener = self._make_opener(sealed[: geometry.HEADER_BYTES])
        return self._opener.open_run(first, self._final, sealed, self._make)

    def _make_opener(self, header: segments.Data) -> segments.Opener:
        return segments.Opener(self._data_key.stream_key(), self._aad, header, self._segment_bytes)

    def read(self, start: int, end: int) -> bytes | bytearray:
        """Return plaintext bytes [start, end), for the layer above; raises as `open_from`."""
        plan = geometry.plan(start, end, self._plain_bytes, self._segment_bytes)
        opened = self.open_from(plan.first_segment, plan.last_segment)
        return opened[plan.trim_head : plan.trim_head + plan.plaintext_bytes]

    def close(self) -> None:
        """Let go of the blob; may be called twice."""
        self._below.close()


def open_part(
    blobs: ports.Blobs,
    ref: records.BlobRef,
    part: bodies.ClearPart,
    segment_bytes: int,
    keys: Sequence[envelope.DataKey],
    spares: Spares,
) -> Layer:
    """Return the innermost layer of a part that lies in a blob file; nothing is read yet.

    Args:
        blobs: where the file lies.
        ref: the blob.
        part: the part's row of the body record.
        segment_bytes: from the body record.
        keys: the data key of each layer, from the inside; at least one.
        spares: where the plaintext's memory comes from.
    """
    sizes = [part.plain_bytes]
    for _ in keys[1:]:
        sizes.append(geometry.sealed_size(sizes[-1], segment_bytes))
    below: _Below = _Blob(blobs, ref.place)
    for layer in range(len(keys), 1, -1):
        below = Layer(below, sizes[layer - 1], segment_bytes, keys[layer - 1], _aad(part, layer))
    return Layer(below, sizes[0], segment_bytes, keys[0], _aad(part, 1), spares.make)


def _aad(part: bodies.ClearPart, layer: int) -> bytes:
    return segments.stream_aad(part.blob_id, part.number, layer)
