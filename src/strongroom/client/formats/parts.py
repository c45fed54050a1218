"""The stored bytes of sealed objects: how they are divided, sealed and opened.

Source: docs/formats/sealed-client.md, section 3.
"""

from __future__ import annotations

import dataclasses
import mmap
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.client import content, writing
from strongroom.crypto import derive, encoding, geometry, secret, segments

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.client import stored

    RandomBytes = Callable[[int], bytes]

MOST_PART_BYTES = 5 * 1024**3
"""S3's largest part."""

_MAPPED_BYTES = 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """How a plaintext is divided; everything follows from the stored size.

    Attributes:
        segment_bytes: ciphertext bytes of a full segment.
        part_bytes: stored bytes of a part that is not the last; whole segments.
    """

    segment_bytes: int
    part_bytes: int

    def __post_init__(self) -> None:
        geometry.segment_count(0, self.segment_bytes)
        if not self.segment_bytes <= self.part_bytes <= MOST_PART_BYTES:
            raise ValueError("a part is shorter than a segment, or longer than 5 GiB")
        if self.part_bytes % self.segment_bytes:
            raise ValueError("a part is not made of whole segments")

    @property
    def part_plain(self) -> int:
        """Plaintext bytes of a part that is not the last."""
        return geometry.plain_size(self.part_bytes, self.segment_bytes)

    def parts(self, plain: int) -> int:
        """Return how many parts a plaintext takes; at least one."""
        return max(1, -(-plain // self.part_plain))

    def stored_size(self, plain: int) -> int:
        """Return the stored length of a plaintext."""
        before = self.parts(plain) - 1
        rest = plain - before * self.part_plain
        return before * self.part_bytes + geometry.sealed_size(rest, self.segment_bytes)

    def stored_parts(self, size: int) -> int:
        """Return how many parts so many stored bytes are."""
        return max(1, -(-size // self.part_bytes))

    def plain_size(self, size: int) -> int:
        """Return the plaintext's length: the inverse of `stored_size`.

        Raises:
            NotAuthentic: nothing is stored in so many bytes.
        """
        before = self.stored_parts(size) - 1
        try:
            rest = geometry.plain_size(size - before * self.part_bytes, self.segment_bytes)
        except ValueError:
            raise errors.NotAuthentic("an object has a length that nothing is sealed to") from None
        if before and not rest:
            raise errors.NotAuthentic("an object ends with an empty part")
        return before * self.part_plain + rest


class DataKey(secret.SecretKey):
    """The 32 bytes that one object hangs from, and the two keys below it."""

    __slots__ = ()

    def stream_key(self) -> secret.SecretKey:
        """Return the key of all parts (Tink's `key_value`)."""
        return derive.expand(self, derive.Label.CLIENT_STREAM)

    def mac_key(self) -> secret.SecretKey:
        """Return the key that vouches for the envelope, and by that for itself."""
        return derive.expand(self, derive.Label.CLIENT_MAC)


def part_aad(object_id: bytes, number: int, *, last: bool) -> bytes:
    """Return the associated data of a part: whose it is, where it belongs, whether it ends."""
    return encoding.encode(derive.Label.CLIENT_PART, object_id, number, int(last))


@dataclasses.dataclass(frozen=True, slots=True)
class Unlocked:
    """An envelope of which the data key is known."""

    object_id: bytes
    layout: Layout
    data_key: DataKey

    def content(self) -> SealedContent:
        """Return what reads the object."""
        return SealedContent(self)

    def sealer(self, random_bytes: RandomBytes) -> PartSealer:
        """Return what writes it."""
        return PartSealer(self, random_bytes)


class SealedContent:
    """Reads a sealed object: verified segment by segment, by range or as a whole."""

    vouches = content.Vouches.RANGES

    def __init__(self, unlocked: Unlocked) -> None:
        self._layout = unlocked.layout
        self._id = unlocked.object_id
        self._stream_key = unlocked.data_key.stream_key()
        self._openers: dict[tuple[int, bool], segments.Opener] = {}

    def plain_size(self, stored_size: int) -> int:
        """Return the plaintext's length."""
        return self._layout.plain_size(stored_size)

    def opener(self, stored_size: int | None = None) -> content.Opener:
        """Begin at byte 0. Without the size a part is held back, else a few segments."""
        return _SealedOpener(self, self._layout, stored_size)

    def read(self, body: stored.Stored, start: int, end: int, *, unverified: bool) -> bytes:
        """Return plaintext [start, end), every byte of it verified."""
        del unverified
        size = body.end()
        end = min(end, self.plain_size(size))
        if start >= end:
            return b""
        layout = self._layout
        first, last = start // layout.part_plain, (end - 1) // layout.part_plain
        pieces = []
        for index in range(first, last + 1):
            from_byte = max(0, start - index * layout.part_plain)
            to_byte = min(layout.part_plain, end - index * layout.part_plain)
            pieces.append(self._read_part(body, size, index, from_byte, to_byte))
        return b"".join(pieces)

    def _read_part(
        self, body: stored.Stored, size: int, index: int, start: int, end: int
    ) -> bytes | bytearray | memoryview:
        layout = self._layout
        at = index * layout.part_bytes
        last = index == layout.stored_parts(size) - 1
        stored_bytes = min(layout.part_bytes, size - at)
        plan = geometry.plan(
            start,
            end,
            geometry.plain_size(stored_bytes, layout.segment_bytes),
            layout.segment_bytes,
        )
        sealed = body.read(at + plan.blob_start, at + plan.blob_end)
        if plan.first_segment and (index + 1, last) not in self._openers:
            self.part(index + 1, body.read(at, at + geometry.HEADER_BYTES), last=last)
        opener = self.part(index + 1, sealed[: geometry.HEADER_BYTES], last=last, known=True)
        plain = opener.open_run(plan.first_segment, plan.final_segment, sealed)
        return memoryview(plain)[plan.trim_head : plan.trim_head + plan.plaintext_bytes]

    def part(
        self, number: int, header: bytes, *, last: bool, known: bool = False
    ) -> segments.Opener:
        """Return the opener of a part; its header is read once unless it is at hand.

        Args:
            number: of the part, from 1.
            header: its first bytes; looked at unless `known` and there is an opener.
            last: whether the part is the object's last.
            known: take the opener that an earlier header made.

        Raises:
            NotAuthentic: the header is none.
        """
        at = (number, last)
        found = self._openers.get(at) if known else None
        if found is None:
            aad = part_aad(self._id, number, last=last)
            found = segments.Opener(self._stream_key, aad, header, self._layout.segment_bytes)
            self._openers[at] = found
        return found

    def forget(self, number: int) -> None:
        """Drop what is remembered of a part, so that a long read does not gather them all."""
        self._openers.pop((number, False), None)


class _SealedOpener:
    """Opens a whole object in order; what comes out is verified."""

    def __init__(self, sealed: SealedContent, layout: Layout, size: int | None) -> None:
        if size is not None:
            layout.plain_size(size)
        self._sealed = sealed
        self._layout = layout
        self._size = size
        self._held = bytearray()
        self._part = 0
        self._opened = 0
        """Stored bytes of the part at hand that are opened already."""

    def feed(self, data: bytes) -> bytes:
        self._held += data
        pieces: list[bytes | bytearray] = []
        while True:
            piece = self._next()
            if piece is None:
                return b"".join(pieces)
            pieces.append(piece)

    def finish(self) -> bytes:
        if self._size is not None:
            if self._held or self._at() != self._size:
                raise errors.NotAuthentic("an object is not as long as it was said to be")
            return b""
        if self._part and not self._held:
            raise errors.NotAuthentic("an object ends with a part that is not its last")
        return bytes(self._open(len(self._held), len(self._held), last=True))

    def _at(self) -> int:
        return self._part * self._layout.part_bytes + self._opened

    def _next(self) -> bytes | bytearray | None:
        """Open what is there to open: whole segments of a part known to be last or not."""
        segment, part = self._layout.segment_bytes, self._layout.part_bytes
        if self._size is None:
            if len(self._held) <= part:
                return None
            return self._open(part, part, last=False)
        left = self._size - self._part * part
        length = min(part, left)
        rest = length - self._opened
        take = rest if len(self._held) >= rest else len(self._held) // segment * segment
        if not take or left <= 0:
            return None
        return self._open(take, length, last=left <= part)

    def _open(self, take: int, length: int, *, last: bool) -> bytes | bytearray:
        """Open `take` stored bytes of the part at hand, which has `length`."""
        segment = self._layout.segment_bytes
        number = self._part + 1
        run = bytes(self._held[:take])
        opener = self._sealed.part(
            number, run[: geometry.HEADER_BYTES], last=last, known=self._opened > 0
        )
        first = self._opened // segment
        final = max(0, -(-length // segment) - 1)
        plain = opener.open_run(first, final, run)
        if last and number > 1 and not plain and not first:
            raise errors.NotAuthentic("an object ends with an empty part")
        del self._held[:take]
        self._opened += take
        if self._opened == length and not last:
            self._sealed.forget(number)
            self._part += 1
            self._opened = 0
        return plain


class PartSealer:
    """Seals parts of one object, in any order, by any threads; a part may be sealed again."""

    def __init__(self, unlocked: Unlocked, random_bytes: RandomBytes) -> None:
        self._id = unlocked.object_id
        self._layout = unlocked.layout
        self._stream_key = unlocked.data_key.stream_key()
        self._random_bytes = random_bytes

    def seal_part(self, number: int, plain: segments.Data, *, last: bool) -> memoryview:
        """Return the stored bytes of a part.

        Args:
            number: from 1.
            plain: `Layout.part_plain` bytes, or fewer if it is the last; none only if it
                is the only one.
            last: whether the object ends with it.

        Raises:
            ValueError: it has another length.
        """
        size = len(plain)
        writing.check_length(number, size, self._layout.part_plain, last=last)
        segment = self._layout.segment_bytes
        sealed = _buffer(geometry.sealed_size(size, segment))
        filled = 0

        def room(count: int) -> memoryview:
            nonlocal filled
            filled += count
            return sealed[filled - count : filled]

        sealer = segments.Sealer(
            self._stream_key,
            part_aad(self._id, number, last=last),
            salt=self._random_bytes(segments.STREAM_SALT_BYTES),
            nonce_prefix=self._random_bytes(segments.NONCE_PREFIX_BYTES),
            segment_bytes=segment,
        )
        sealer.feed(plain, room)
        sealer.finish(room)
        return sealed


def _buffer(size: int) -> memoryview:
    """Return room for a part, which goes back to the system when it is dropped.

    What glibc frees it keeps, in an arena of each thread, once the program has freed parts before:
    a large upload then took 184 MiB instead of 152.
    """
    return memoryview(mmap.mmap(-1, size) if size >= _MAPPED_BYTES else bytearray(size))
