"""Checksums as S3 has them, and what an ETag is.

**ETag.** Its wire form has quotes; everywhere here it has none.

- One PUT, SSE-S3: the MD5 of the content, 32 hex digits. S3 promises that much for
  plain and SSE-S3 objects, and clients (rclone, s3cmd, aws s3 sync) compare it.
- One PUT, SSE-C or SSE-KMS: *not* the MD5. S3 gives 32 hex digits that differ between
  two puts of one content under one key. Here they are 16 random bytes. A true MD5
  would tell whoever reads a listing, without the key, whether the content is a guessed
  one. MD5 runs then only against a Content-MD5 that the client sent.
- A part: by the same rules, with the part's content.
- Multipart: 32 hex digits and `-N`. The digits are the MD5 over the *raw* bytes of the
  N parts' ETags in order, whatever those are made of; N counts the parts named in
  Complete. So it is no MD5 of the content under any encryption. It is of any value only
  with the part sizes at hand, and under SSE-C not even then.
- A copy: a new ETag by the rules of the target. A copied multipart object becomes a
  single one: no `-N`. In-place key rotation keeps the ETag, since the version stays.
- A range, HEAD, GetObjectAttributes: the ETag of the object. `?partNumber` too.
- Client-side encrypted: the ETag is about what was sent, that is the ciphertext.
- It is compared as an opaque text in If-Match. It is never weak (`W/`).

**Checksums.** Raw digests, big-endian, on the wire in base64. A multipart object's is
either FULL_OBJECT, that of the content: CRCs only, since the CRC of a whole follows from
those of its parts and their lengths; or COMPOSITE, the hash over the parts' raw
digests, shown with `-N`. CRC64NVME has no composite form; cryptographic hashes have no
full-object one.

Sources: Amazon S3 API Reference, "Object" (ETag), "Checking object integrity in Amazon
S3"; docs/decisions on ETags under encryption. XXHash digests: big-endian (canonical)
form, xxHash specification 0.1.1.
"""

from __future__ import annotations

import enum
import hashlib
import re
from typing import TYPE_CHECKING, Final, Protocol

from awscrt import checksums

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    Data = bytes | bytearray | memoryview

ETAG_BYTES = 16
MD5_BYTES = 16
SHA256_BYTES = 32

_ETAG = re.compile(r"[0-9a-f]{32}")


class Algorithm(enum.StrEnum):
    """The checksum algorithms that can be asked for, by S3's names."""

    CRC32 = "CRC32"
    CRC32C = "CRC32C"
    CRC64NVME = "CRC64NVME"
    SHA1 = "SHA1"
    SHA256 = "SHA256"
    SHA512 = "SHA512"
    MD5 = "MD5"
    XXHASH64 = "XXHASH64"
    XXHASH3 = "XXHASH3"
    XXHASH128 = "XXHASH128"


DIGEST_BYTES = {
    Algorithm.CRC32: 4,
    Algorithm.CRC32C: 4,
    Algorithm.CRC64NVME: 8,
    Algorithm.SHA1: 20,
    Algorithm.SHA256: 32,
    Algorithm.SHA512: 64,
    Algorithm.MD5: 16,
    Algorithm.XXHASH64: 8,
    Algorithm.XXHASH3: 8,
    Algorithm.XXHASH128: 16,
}
"""Length of each algorithm's raw digest."""

COMBINABLE: Final = frozenset({Algorithm.CRC32, Algorithm.CRC32C, Algorithm.CRC64NVME})
"""Algorithms whose digest of a whole follows from those of its parts."""


class Digest(Protocol):
    """One digest that is being computed."""

    def update(self, data: Data, /) -> object:
        """Take the next bytes."""
        ...

    def digest(self) -> bytes:
        """Return the raw digest of all bytes so far; may be called again."""
        ...


class _Crc:
    """A CRC; `step` is one of awscrt's functions."""

    __slots__ = ("_length", "_step", "_value")

    def __init__(self, step: Callable[[Data, int], int], length: int) -> None:
        self._step = step
        self._length = length
        self._value = 0

    def update(self, data: Data, /) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._length, "big")


class _XxHash:
    """One of awscrt's XXHash states, which take nothing but `bytes`."""

    __slots__ = ("_state",)

    def __init__(self, state: checksums.XXHash) -> None:
        self._state = state

    def update(self, data: Data, /) -> None:
        self._state.update(bytes(data))

    def digest(self) -> bytes:
        result: bytes = self._state.finalize()
        return result


_STARTERS: dict[Algorithm, Callable[[], Digest]] = {
    Algorithm.CRC32: lambda: _Crc(checksums.crc32, 4),
    Algorithm.CRC32C: lambda: _Crc(checksums.crc32c, 4),
    Algorithm.CRC64NVME: lambda: _Crc(checksums.crc64nvme, 8),
    Algorithm.SHA1: lambda: hashlib.sha1(usedforsecurity=False),
    Algorithm.SHA256: hashlib.sha256,
    Algorithm.SHA512: hashlib.sha512,
    Algorithm.MD5: lambda: hashlib.md5(usedforsecurity=False),
    Algorithm.XXHASH64: lambda: _XxHash(checksums.XXHash.new_xxhash64()),
    Algorithm.XXHASH3: lambda: _XxHash(checksums.XXHash.new_xxhash3_64()),
    Algorithm.XXHASH128: lambda: _XxHash(checksums.XXHash.new_xxhash3_128()),
}

_COMBINERS: dict[Algorithm, Callable[[int, int, int], int]] = {
    Algorithm.CRC32: checksums.combine_crc32,
    Algorithm.CRC32C: checksums.combine_crc32c,
    Algorithm.CRC64NVME: checksums.combine_crc64nvme,
}


def start(algorithm: str) -> Digest:
    """Begin a digest.

    Raises:
        ValueError: no algorithm has this name.
    """
    return _STARTERS[Algorithm(algorithm)]()


class Running:
    """The digests of one stream of bytes: those that were asked for, each computed once.

    Args:
        algorithms: names of the checksums that `digests` is to return.
        md5: whether `md5` will be asked, for an ETag or a Content-MD5.
        sha256: whether `sha256` will be asked, for a signed payload hash.

    Raises:
        ValueError: no algorithm has one of the names.
    """

    __slots__ = ("_all", "_asked", "_updates")

    def __init__(
        self, algorithms: Collection[str] = (), *, md5: bool = False, sha256: bool = False
    ) -> None:
        self._asked = tuple(Algorithm(name) for name in algorithms)
        extra = [Algorithm.MD5] * md5 + [Algorithm.SHA256] * sha256
        self._all = {algorithm: start(algorithm) for algorithm in (*self._asked, *extra)}
        self._updates = tuple(digest.update for digest in self._all.values())

    @property
    def computed(self) -> tuple[Algorithm, ...]:
        """The algorithms that run, each once."""
        return tuple(self._all)

    def update(self, data: Data) -> None:
        """Take the next bytes."""
        for update in self._updates:
            update(data)

    def digests(self) -> dict[str, bytes]:
        """Return name → raw digest of each checksum asked for, in the order of asking."""
        return {algorithm.value: self._all[algorithm].digest() for algorithm in self._asked}

    def md5(self) -> bytes:
        """Return the MD5. Only if it was asked for (KeyError otherwise)."""
        return self._all[Algorithm.MD5].digest()

    def sha256(self) -> bytes:
        """Return the SHA-256. Only if it was asked for (KeyError otherwise)."""
        return self._all[Algorithm.SHA256].digest()


def ciphertext_crc() -> Digest:
    """Begin the digest of a blob's ciphertext, by which rot is found without a key.

    CRC-64/NVME, 8 bytes. `update` fits `segments.Sealer`'s `observe`.
    """
    return start(Algorithm.CRC64NVME)


def combine(algorithm: str, parts: Sequence[tuple[bytes, int]]) -> bytes:
    """Return the full-object CRC of a body, from its parts.

    Args:
        algorithm: one of `COMBINABLE`.
        parts: (raw digest, plaintext bytes) of each part, in order.

    Raises:
        ValueError: the algorithm cannot do it, or a digest has another length than its.
    """
    name = Algorithm(algorithm)
    if name not in COMBINABLE:
        raise ValueError(f"{name} of a whole does not follow from its parts")
    combiner = _COMBINERS[name]
    whole = 0
    for digest, length in parts:
        _check_digest(name, digest)
        whole = combiner(whole, int.from_bytes(digest, "big"), length)
    return whole.to_bytes(DIGEST_BYTES[name], "big")


def composite(algorithm: str, digests: Sequence[bytes]) -> bytes:
    """Return the composite checksum of a multipart object, without its `-N`.

    Raises:
        ValueError: no algorithm has this name, or a digest has another length than its.
    """
    name = Algorithm(algorithm)
    whole = start(name)
    for digest in digests:
        _check_digest(name, digest)
        whole.update(digest)
    return whole.digest()


def etag_of_parts(etags: Sequence[str]) -> str:
    """Return the ETag of a multipart object, from those of its parts.

    Args:
        etags: 32 lower-case hex digits each, no quotes, in the order of the parts.

    Raises:
        ValueError: one is not that, or there is none.
    """
    if not etags or not all(map(_ETAG.fullmatch, etags)):
        raise ValueError("a part's ETag is 32 hex digits")
    raw = bytes.fromhex("".join(etags))
    return f"{hashlib.md5(raw, usedforsecurity=False).hexdigest()}-{len(etags)}"


def opaque_etag(random_bytes: Callable[[int], bytes]) -> str:
    """Return an ETag that says nothing of the content: 32 hex digits."""
    return random_bytes(ETAG_BYTES).hex()


def _check_digest(algorithm: Algorithm, digest: bytes) -> None:
    if len(digest) != DIGEST_BYTES[algorithm]:
        raise ValueError(f"a {algorithm} digest has {DIGEST_BYTES[algorithm]} bytes")
