"""Sealings: what turns plaintext into the stored bytes of one new object.

A sealing has the envelope ready before the first byte, so an upload can begin. It takes the
plaintext in parts of a fixed length. Which orders it takes them in depends on the format:

    sealed    any order, in parallel; a part may be sealed again and is then a new ciphertext
    CTR       any order, in parallel; a part's keystream is fixed by its number
    GCM       in order: it is one message

CTR and GCM use each piece of keystream once. To seal a part again with other bytes would
give away the difference of both, so they refuse it; a part that has to be sent again is sent
as it was sealed, or sealed again from bytes that are proven to be the same.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives import ciphers
from cryptography.hazmat.primitives.ciphers import algorithms, modes

from strongroom import errors
from strongroom.client import content, headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.client.formats import amazon, oss, parts
    from strongroom.crypto import segments

DIGEST_BYTES = 32
LEAST_CTR_PART_MULTIPLE = content.BLOCK_BYTES


class Sealing(Protocol):
    """One new object.

    Attributes:
        format: a member of `headers.FORMATS`.
        envelope: what goes into the object's metadata, names without prefix.
        instruction: the text of the instruction file, if the envelope needs one.
        ordered: whether parts must be sealed in order.
        repeats: whether a part may be sealed again from other bytes.
        part_plain: plaintext bytes of every part but the last.
    """

    format: str
    envelope: dict[str, str]
    instruction: str | None
    ordered: bool
    repeats: bool
    part_plain: int

    def stored_size(self, plain: int) -> int:
        """Return how many bytes are stored of so many."""
        ...

    def seal_part(self, number: int, plain: segments.Data, *, last: bool) -> segments.Data:
        """Return the stored bytes of a part.

        Args:
            number: from 1.
            plain: `part_plain` bytes, or fewer if it is the last; none only if it is the
                only one.
            last: whether the object ends with it.

        Raises:
            ValueError: it has another length.
            SourceChanged: a part comes again with other bytes, where that would be a
                disaster.
            RuntimeError: parts come out of order, where there is an order.
        """
        ...


class Once:
    """Remembers what was sealed under a keystream, so that nothing else ever is.

    Args:
        sealed: digests of parts that an earlier process sealed, and maybe sent.
    """

    def __init__(self, sealed: Mapping[int, bytes] | None = None) -> None:
        self._lock = threading.Lock()
        self._digests = dict(sealed or {})

    def check(self, number: int, ciphertext: segments.Data) -> None:
        """Let a part pass if it is new or the same again.

        Raises:
            SourceChanged: it was sealed before from other bytes. Nothing of it may be sent.
        """
        found = digest(ciphertext)
        with self._lock:
            before = self._digests.setdefault(number, found)
        if not hmac.compare_digest(before, found):
            raise errors.SourceChanged(f"part {number} was sealed before from other bytes")


def digest(ciphertext: segments.Data) -> bytes:
    """Return what tells one ciphertext of a part from another: BLAKE2b, 32 bytes.

    Not SHA-256, which without instructions of the processor's costs five times what the
    encryption does (3 CPU seconds per GiB, measured).
    """
    return hashlib.blake2b(ciphertext, digest_size=DIGEST_BYTES).digest()


def check_length(number: int, size: int, part_plain: int, *, last: bool) -> None:
    """Refuse a part that readers could not place.

    Raises:
        ValueError: it has a length that it cannot have.
    """
    fits = 0 < size <= part_plain if last else size == part_plain
    if number < 1 or not (fits or (last and number == 1 and size == 0)):
        raise ValueError(f"part {number} has {size} bytes, which it cannot have")


class CtrSealing:
    """Writes OSS V1 and V2.

    Args:
        kind: the format's name.
        locked: a fresh envelope and its key.
        part_plain: bytes of a part; a multiple of 16.
        data_size: the whole length, which V2 writes down for multipart uploads.
        once: what was sealed before.

    Raises:
        ValueError: the parts' length is no multiple of 16.
    """

    ordered = False
    repeats = False
    instruction: str | None = None

    def __init__(
        self,
        kind: str,
        locked: oss.Locked,
        part_plain: int,
        *,
        data_size: int | None = None,
        multipart: bool = False,
        once: Once | None = None,
    ) -> None:
        if part_plain < 1 or part_plain % LEAST_CTR_PART_MULTIPLE:
            raise ValueError("a part has a multiple of 16 bytes")
        self.format = kind
        self.envelope = dict(locked.envelope)
        self.part_plain = part_plain
        self._key = locked.key
        self._first = locked.first_counter
        self._data_size = data_size
        self._once = once or Once()
        if multipart and kind == headers.OSS_V2:
            if data_size:
                self.envelope[headers.OSS_V2_PREFIX + "data-size"] = str(data_size)
            self.envelope[headers.OSS_V2_PREFIX + "part-size"] = str(part_plain)

    def stored_size(self, plain: int) -> int:
        """Return the same: CTR adds nothing."""
        return plain

    def seal_part(self, number: int, plain: segments.Data, *, last: bool) -> bytes:
        """Return a part's ciphertext, at the place that its number gives it."""
        check_length(number, len(plain), self.part_plain, last=last)
        start = (number - 1) * self.part_plain
        end = start + len(plain)
        if self._data_size is not None and (
            end != self._data_size if last else end >= self._data_size
        ):
            raise ValueError("the parts do not add up to the announced length")
        sealed = content.ctr(self._key, self._first, start).update(memoryview(plain))
        self._once.check(number, sealed)
        return sealed


class GcmSealing:
    """Writes S3 V2 and V3: one message, so parts are sealed in order.

    Args:
        kind: the format's name.
        locked: a fresh envelope and its key.
        part_plain: bytes of a part.
        once: what was sealed before, if this continues an upload. Else no part can come
            twice, as they come in order.
    """

    ordered = True
    repeats = False

    def __init__(
        self, kind: str, locked: amazon.Locked, part_plain: int, *, once: Once | None = None
    ) -> None:
        if part_plain < 1:
            raise ValueError("a part has at least a byte")
        self.format = kind
        self.envelope = dict(locked.envelope)
        self.instruction = locked.instruction
        self.part_plain = part_plain
        self._next = 1
        self._fed = 0
        self._once = once
        self._encryptor = ciphers.Cipher(
            algorithms.AES(locked.key.reveal()), modes.GCM(locked.nonce)
        ).encryptor()
        self._encryptor.authenticate_additional_data(locked.aad)

    def stored_size(self, plain: int) -> int:
        """Return the length with the tag."""
        return plain + content.GCM_TAG_BYTES

    def seal_part(self, number: int, plain: segments.Data, *, last: bool) -> bytes:
        """Return the next part's ciphertext; the last ends with the tag."""
        if number != self._next:
            raise RuntimeError(f"part {number} comes out of order: GCM is one message")
        check_length(number, len(plain), self.part_plain, last=last)
        self._fed += len(plain)
        if self._fed > content.GCM_MOST_PLAIN_BYTES:
            raise errors.ObjectTooLarge(self._fed, content.GCM_MOST_PLAIN_BYTES)
        # Set before anything can fail: half a part must not be followed by another attempt.
        self._next = 0 if last else number + 1
        sealed = self._encryptor.update(memoryview(plain))
        if last:
            sealed += self._encryptor.finalize() + self._encryptor.tag
        if self._once is not None:
            self._once.check(number, sealed)
        return sealed


class SealedSealing:
    """Writes sealed objects: parts in any order, in parallel, again and again.

    Args:
        envelope: a fresh one.
        instruction: the part of it that goes beside the object, if any.
        unlocked: its keys.
        sealer: seals parts.
    """

    format = headers.SEALED
    ordered = False
    repeats = True

    def __init__(
        self,
        envelope: Mapping[str, str],
        instruction: str | None,
        unlocked: parts.Unlocked,
        sealer: parts.PartSealer,
    ) -> None:
        self.envelope = dict(envelope)
        self.instruction = instruction
        self.part_plain = unlocked.layout.part_plain
        self._layout = unlocked.layout
        self._sealer = sealer

    def stored_size(self, plain: int) -> int:
        """Return the stored length."""
        return self._layout.stored_size(plain)

    def seal_part(self, number: int, plain: segments.Data, *, last: bool) -> memoryview:
        """Return a part's stored bytes, under a fresh salt."""
        return self._sealer.seal_part(number, plain, last=last)


class Whole:
    """Feeds a sealing from a stream whose length nobody knows: `feed`, then `finish`.

    Holds up to a part of plaintext, since the last part is sealed otherwise.
    """

    def __init__(self, sealing: Sealing) -> None:
        self._sealing = sealing
        self._held = bytearray()
        self._number = 1

    def feed(self, data: segments.Data) -> bytes:
        """Return the stored bytes that this completes."""
        self._held += data
        size = self._sealing.part_plain
        pieces = []
        while len(self._held) > size:
            pieces.append(self._sealing.seal_part(self._number, self._held[:size], last=False))
            del self._held[:size]
            self._number += 1
        return b"".join(pieces)

    def finish(self) -> bytes:
        """Return the rest."""
        return bytes(self._sealing.seal_part(self._number, self._held, last=True))
