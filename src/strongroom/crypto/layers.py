"""Streams around streams: what DSSE-KMS puts around every part.

Layer 1 is the stream of `segments` around the plaintext, layer 2 the same around the
ciphertext of layer 1, under a data key of its own. Each layer is a whole Tink ciphertext:
whoever has only the outer key gets ciphertext, and who has only the inner one cannot begin.

Source: docs/formats/sealed-object.md, section 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.crypto import geometry, segments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from strongroom.crypto import envelope

    RandomBytes = Callable[[int], bytes]

SINGLE = 1
DUAL = 2


def sealed_size(plain: int, layers: int, segment_bytes: int = geometry.SEGMENT_BYTES) -> int:
    """Return the length of the blob that `plain` bytes become within so many layers.

    Raises:
        ValueError: as `geometry.segment_count`.
    """
    for _ in range(layers):
        plain = geometry.sealed_size(plain, segment_bytes)
    return plain


class DualSealer:
    """Seals one stream within another; used as a `segments.Sealer` is.

    A segment of layer 1 lies in memory until layer 2 has taken it, so two segments
    are held at most.
    """

    __slots__ = ("_inner", "_outer", "_room", "_scratch")

    def __init__(
        self,
        inner_key: envelope.DataKey,
        outer_key: envelope.DataKey,
        blob_id: bytes,
        part_number: int,
        random_bytes: RandomBytes,
        observe: segments.Observer,
    ) -> None:
        self._room: segments.Room | None = None
        self._scratch = memoryview(bytearray(geometry.SEGMENT_BYTES))
        self._inner = segments.Sealer(
            inner_key.stream_key(),
            segments.stream_aad(blob_id, part_number, SINGLE),
            salt=random_bytes(segments.STREAM_SALT_BYTES),
            nonce_prefix=random_bytes(segments.NONCE_PREFIX_BYTES),
            observe=self._pass_on,
        )
        self._outer = segments.Sealer(
            outer_key.stream_key(),
            segments.stream_aad(blob_id, part_number, DUAL),
            salt=random_bytes(segments.STREAM_SALT_BYTES),
            nonce_prefix=random_bytes(segments.NONCE_PREFIX_BYTES),
            observe=observe,
        )

    def feed(self, data: segments.Data, room: segments.Room) -> None:
        """Seal what `data` completes; see `segments.Sealer.feed`."""
        self._room = room
        self._inner.feed(data, self._lend)

    def finish(self, room: segments.Room) -> int:
        """Seal the last segments and return the length of the outer stream in bytes."""
        self._room = room
        self._inner.finish(self._lend)
        return self._outer.finish(room)

    def _lend(self, size: int) -> memoryview:
        return self._scratch[:size]

    def _pass_on(self, piece: memoryview) -> None:
        assert self._room is not None, "pieces come while something is fed"
        self._outer.feed(piece, self._room)


def make_sealer(
    data_key: envelope.DataKey,
    outer_key: envelope.DataKey | None,
    blob_id: bytes,
    part_number: int,
    *,
    random_bytes: RandomBytes,
    observe: segments.Observer,
) -> segments.Sealer | DualSealer:
    """Return what seals a part: in one layer, or in two if there is an outer key."""
    if outer_key is not None:
        return DualSealer(data_key, outer_key, blob_id, part_number, random_bytes, observe)
    return segments.Sealer(
        data_key.stream_key(),
        segments.stream_aad(blob_id, part_number),
        salt=random_bytes(segments.STREAM_SALT_BYTES),
        nonce_prefix=random_bytes(segments.NONCE_PREFIX_BYTES),
        observe=observe,
    )


def open_all(
    keys: Sequence[envelope.DataKey],
    blob_id: bytes,
    part_number: int,
    sealed: segments.Data,
    segment_bytes: int = geometry.SEGMENT_BYTES,
) -> bytes | bytearray:
    """Open a small blob that lies in memory as a whole.

    Args:
        keys: the data key of each layer, from the inside.
        blob_id: the blob's.
        part_number: the part's.
        sealed: all of it.
        segment_bytes: from the body record.

    Raises:
        NotAuthentic: it is not the whole blob as it was sealed.
    """
    for layer in range(len(keys), 0, -1):
        if len(sealed) < geometry.HEADER_BYTES:
            raise errors.NotAuthentic("a blob is too short for a stream")
        sealed = segments.Opener(
            keys[layer - 1].stream_key(),
            segments.stream_aad(blob_id, part_number, layer),
            sealed[: geometry.HEADER_BYTES],
            segment_bytes,
        ).open_all(sealed)
    assert not isinstance(sealed, memoryview), "an opener returns bytes of its own"
    return sealed
