"""What is behind an unlocked envelope: how stored bytes become plaintext.

Each kind reads whole (`opener`, push style) and by range (`read`), and says how much it
can vouch for:

    kind      whole                       ranges
    CTR       nothing is authenticated    likewise
    CBC       only the last padding       likewise
    GCM       the tag, at the very end    nothing: so a range is cut out of a whole read,
                                          unless the caller takes unauthenticated bytes
    sealed    every segment               every segment

`opener().feed` of a GCM content returns plaintext that nobody has vouched for until `finish`
returns. Who hands it on before that has decided to.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import ciphers, padding
from cryptography.hazmat.primitives.ciphers import algorithms, modes

from strongroom import errors

if TYPE_CHECKING:
    from strongroom.client import stored
    from strongroom.crypto import secret

BLOCK_BYTES = 16
GCM_TAG_BYTES = 16
GCM_NONCE_BYTES = 12
GCM_MOST_PLAIN_BYTES = 2**36 - 32
"""NIST SP 800-38D, 5.2.1.1: the counter has 32 bits."""

_COUNTERS = 2**128


class Vouches(enum.Enum):
    """What a format can tell from what was written."""

    NOTHING = "nothing"
    WHOLE = "whole"
    RANGES = "ranges"


class Opener(Protocol):
    """Turns the stored bytes of a whole object into its plaintext, in order."""

    def feed(self, data: bytes) -> bytes:
        """Return the plaintext that these bytes complete."""
        ...

    def finish(self) -> bytes:
        """Return the rest.

        Raises:
            NotAuthentic: it is not what was written, as far as the format can tell.
        """
        ...


class Content(Protocol):
    """The plaintext of one object, whose data key is known."""

    vouches: Vouches

    def plain_size(self, stored_size: int) -> int | None:
        """Return how many bytes of plaintext so many stored bytes hold; None if unknown.

        Raises:
            NotAuthentic: nothing is stored in so many bytes.
        """
        ...

    def opener(self, stored_size: int | None = None) -> Opener:
        """Begin to read the whole object; to know its stored size saves memory, or nothing."""
        ...

    def read(self, body: stored.Stored, start: int, end: int, *, unverified: bool) -> bytes:
        """Return plaintext [start, end), or what there is of it.

        Args:
            body: what to read from.
            start: first byte wanted.
            end: one past the last; start < end.
            unverified: read only what is needed even where nothing vouches for that.

        Raises:
            NotAuthentic: it is not what was written, as far as the format can tell.
        """
        ...


class CtrContent:
    """AES-CTR over the whole object as one stream, the counter all of 128 bits."""

    vouches = Vouches.NOTHING

    def __init__(self, key: secret.SecretKey, first_counter: int) -> None:
        self.key = key
        self.first_counter = first_counter

    def plain_size(self, stored_size: int) -> int:
        """Return the same: CTR adds nothing."""
        return stored_size

    def opener(self, stored_size: int | None = None) -> Opener:
        """Begin at byte 0."""
        del stored_size
        return _CtrOpener(ctr(self.key, self.first_counter, 0))

    def read(self, body: stored.Stored, start: int, end: int, *, unverified: bool) -> bytes:
        """Return plaintext [start, end), unauthenticated as everything in this format."""
        del unverified
        return ctr(self.key, self.first_counter, start).update(body.read(start, end))


class GcmContent:
    """AES-GCM over the whole object as one message, the tag at its end.

    Args:
        key: of the content.
        nonce: 12 bytes.
        aad: what the tag covers besides.
    """

    vouches = Vouches.WHOLE

    def __init__(self, key: secret.SecretKey, nonce: bytes, aad: bytes = b"") -> None:
        self.key = key
        self.nonce = nonce
        self.aad = aad

    def plain_size(self, stored_size: int) -> int:
        """Return the length without the tag."""
        return gcm_plain_size(stored_size)

    def opener(self, stored_size: int | None = None) -> Opener:
        """Begin at byte 0."""
        del stored_size
        return GcmOpener(self.key, self.nonce, self.aad)

    def keystream(self, start: int) -> Ctr:
        """Return GCM's counter mode from plaintext byte `start` on, without any tag."""
        first = int.from_bytes(self.nonce + b"\x00\x00\x00\x02", "big")
        return ctr(self.key, first, start)

    def read(self, body: stored.Stored, start: int, end: int, *, unverified: bool) -> bytes:
        """Return plaintext [start, end): verified as a whole and cut, or as it is found."""
        if not unverified:
            return _cut(self.opener(), body, start, end)
        return self.keystream(start).update(body.read(start, min(end, self.plain_size(body.end()))))


class CbcContent:
    """AES-CBC with PKCS#7 padding: nothing but the padding can be wrong.

    Args:
        key: of the content.
        iv: 16 bytes.
        announced: the plaintext's length, if the envelope tells.
    """

    vouches = Vouches.NOTHING

    def __init__(self, key: secret.SecretKey, iv: bytes, announced: int | None) -> None:
        self._key = key
        self._iv = iv
        self._announced = announced

    def plain_size(self, stored_size: int) -> int | None:
        """Return the announced length if it can be true; the padding's is not known before."""
        return cbc_plain_size(stored_size, self._announced)

    def opener(self, stored_size: int | None = None) -> Opener:
        """Begin at byte 0."""
        del stored_size
        return _CbcOpener(self._key, self._iv)

    def read(self, body: stored.Stored, start: int, end: int, *, unverified: bool) -> bytes:
        """Return plaintext [start, end), unauthenticated as everything in this format.

        The block before is the first one's IV. A block more is asked for, to see whether
        the last one wanted is the object's last, which is padded.
        """
        del unverified
        first = start // BLOCK_BYTES * BLOCK_BYTES
        after = -(-end // BLOCK_BYTES) * BLOCK_BYTES
        before = max(0, first - BLOCK_BYTES)
        found = body.read(before, after + BLOCK_BYTES)
        if len(found) % BLOCK_BYTES:
            raise errors.NotAuthentic("an object is not made of whole blocks")
        iv = found[:BLOCK_BYTES] if first else self._iv
        blocks = found[BLOCK_BYTES:] if first else found
        if not blocks:
            return b""
        if len(blocks) > after - first:
            opener: Opener = _BareCbc(self._key, iv)
            blocks = blocks[: after - first]
        else:
            opener = _CbcOpener(self._key, iv)
        plain = opener.feed(blocks) + opener.finish()
        return plain[start - first : end - first]


def gcm_plain_size(stored_size: int) -> int:
    """Return the length of a GCM message without its tag.

    Raises:
        NotAuthentic: it is shorter than a tag.
    """
    if stored_size < GCM_TAG_BYTES:
        raise errors.NotAuthentic("an object is shorter than its tag")
    return stored_size - GCM_TAG_BYTES


def cbc_plain_size(stored_size: int, announced: int | None) -> int | None:
    """Return the announced length if it can be true, or None if there is none.

    Raises:
        NotAuthentic: it cannot be true, or the object is not made of whole blocks.
    """
    if stored_size < BLOCK_BYTES or stored_size % BLOCK_BYTES:
        raise errors.NotAuthentic("an object is not made of whole blocks")
    if announced is not None and not stored_size - BLOCK_BYTES <= announced < stored_size:
        raise errors.NotAuthentic("an object has not the length that it announces")
    return announced


class Ctr:
    """A running AES-CTR, forwards only."""

    __slots__ = ("_context",)

    def __init__(self, key: secret.SecretKey, counter: int, skip: int) -> None:
        initial = (counter % _COUNTERS).to_bytes(BLOCK_BYTES, "big")
        self._context = ciphers.Cipher(
            algorithms.AES(key.reveal()),
            modes.CTR(initial),
        ).encryptor()
        self._context.update(bytes(skip))

    def update(self, data: bytes | memoryview) -> bytes:
        """Turn plaintext into ciphertext or the reverse."""
        return self._context.update(data)


def ctr(key: secret.SecretKey, first_counter: int, start: int) -> Ctr:
    """Return AES-CTR from byte `start` of a stream whose first block has `first_counter`."""
    block, skip = divmod(start, BLOCK_BYTES)
    return Ctr(key, first_counter + block, skip)


class _CtrOpener:
    def __init__(self, stream: Ctr) -> None:
        self._stream = stream

    def feed(self, data: bytes) -> bytes:
        return self._stream.update(data)

    def finish(self) -> bytes:
        return b""


class GcmOpener:
    """Decrypts one GCM message whose last 16 bytes are its tag."""

    def __init__(self, key: secret.SecretKey, nonce: bytes, aad: bytes) -> None:
        self._context = ciphers.Cipher(algorithms.AES(key.reveal()), modes.GCM(nonce)).decryptor()
        self._context.authenticate_additional_data(aad)
        self._tail = b""

    def feed(self, data: bytes) -> bytes:
        """Return plaintext that is not verified yet; the last bytes may be the tag and wait."""
        if len(data) >= GCM_TAG_BYTES:
            plain = self._context.update(self._tail) if self._tail else b""
            view = memoryview(data)
            self._tail = bytes(view[-GCM_TAG_BYTES:])
            body = self._context.update(view[:-GCM_TAG_BYTES])
            return plain + body if plain else body
        held = self._tail + data
        self._tail = held[-GCM_TAG_BYTES:]
        return self._context.update(held[:-GCM_TAG_BYTES])

    def finish(self) -> bytes:
        """Verify everything that was returned."""
        if len(self._tail) != GCM_TAG_BYTES:
            raise errors.NotAuthentic("an object is shorter than its tag")
        try:
            return self._context.finalize_with_tag(self._tail)
        except InvalidTag:
            raise errors.NotAuthentic("an object is not what was written") from None


class _BareCbc:
    """CBC without padding: blocks from the middle."""

    def __init__(self, key: secret.SecretKey, iv: bytes) -> None:
        # CBC is what old clients wrote; nothing of ours writes it.
        self._context = ciphers.Cipher(algorithms.AES(key.reveal()), modes.CBC(iv)).decryptor()

    def feed(self, data: bytes) -> bytes:
        return self._context.update(data)

    def finish(self) -> bytes:
        try:
            return self._context.finalize()
        except ValueError:
            raise errors.NotAuthentic("an object is not what was written") from None


class _CbcOpener(_BareCbc):
    def __init__(self, key: secret.SecretKey, iv: bytes) -> None:
        super().__init__(key, iv)
        self._padding = padding.PKCS7(BLOCK_BYTES * 8).unpadder()

    def feed(self, data: bytes) -> bytes:
        return self._padding.update(super().feed(data))

    def finish(self) -> bytes:
        rest = self._padding.update(super().finish())
        try:
            # One message for every failure: to tell them apart would be an oracle.
            return rest + self._padding.finalize()
        except ValueError:
            raise errors.NotAuthentic("an object is not what was written") from None


def _cut(opener: Opener, body: stored.Stored, start: int, end: int) -> bytes:
    """Open everything, keep [start, end), and return it once the whole is verified."""
    kept = bytearray()
    at = 0
    for chunk in body.chunks():
        plain = opener.feed(chunk)
        kept += plain[max(0, start - at) : max(0, end - at)]
        at += len(plain)
    plain = opener.finish()
    kept += plain[max(0, start - at) : max(0, end - at)]
    return bytes(kept)
