"""The body record: of which blobs a body consists. Immutable, and shared by copies.

The parts are clear, since scrub, collection and replication work without a key;
their checksums are sealed under the body key, with all that is clear as AAD.
Without the key nothing vouches for the clear part but its SHA-256, which stands in
the envelope: `Envelope.check_body` first, and `Envelope.open_head` before that.

Source: docs/formats/sealed-object.md, section 6.
"""

from __future__ import annotations

import operator
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from strongroom import errors
from strongroom.crypto import derive, encoding, gcm, geometry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from strongroom.crypto import envelope

BODY_MAGIC = b"SRMBOD\x00\x01"
"""Magic and, in the last byte, version. Only version 1 exists."""

BLOB_ID_BYTES = 16
DIGEST_BYTES = 8

MAX_PARTS = 10_000
"""S3's limit of parts per upload; also the highest part number."""

MAX_LAYERS = 2
"""Two streams around each other, for DSSE."""

_ROW = struct.Struct(f">I{BLOB_ID_BYTES}sQ{DIGEST_BYTES}s")
ROW_BYTES = _ROW.size
"""4 + 16 + 8 + 8 = 36."""


@dataclass(frozen=True, slots=True)
class BodyPart:
    """One part as it is stored.

    Attributes:
        number: part number, 1 to `MAX_PARTS`; 1 for a body that is not multipart.
        blob_id: 16 bytes.
        plain_bytes: plaintext length.
        digest: CRC-64/NVME of the ciphertext, 8 bytes.
        checksums: name of the algorithm → raw digest of the part's plaintext.
    """

    number: int
    blob_id: bytes
    plain_bytes: int
    digest: bytes
    checksums: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BodyRecord:
    """A body about to be stored: 1 to `MAX_PARTS` parts, by ascending number."""

    segment_bytes: int
    layers: int
    parts: Sequence[BodyPart]


class ClearPart(NamedTuple):
    """What a body record tells about a part without a key; as `BodyPart`."""

    number: int
    blob_id: bytes
    plain_bytes: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class SealedBody:
    """A body record as read, without a key.

    Attributes:
        segment_bytes: ciphertext bytes of a full segment.
        layers: how many streams lie around the plaintext, 1 or 2.
        parts: in order.
        total_bytes: plaintext bytes of all parts.
    """

    segment_bytes: int
    layers: int
    parts: tuple[ClearPart, ...]
    total_bytes: int
    _clear: bytes = field(repr=False)
    _sealed: bytes = field(repr=False)

    def open_checksums(self, body_key: envelope.BodyKey) -> list[dict[str, bytes]]:
        """Return the checksums of each part, in order.

        Raises:
            NotAuthentic: the record was changed, or this is the key of another body.
        """
        plain = gcm.unseal(body_key, self._clear, self._sealed)
        return _parse_columns(encoding.decode(derive.Label.BODY_PLAIN, plain), len(self.parts))


def encode(
    record: BodyRecord, body_key: envelope.BodyKey, random_bytes: Callable[[int], bytes]
) -> bytes:
    """Return the stored form of a body.

    Raises:
        ValueError: a field has a value that the format does not have.
    """
    trouble = _trouble(
        record.segment_bytes,
        record.layers,
        [part.number for part in record.parts],
        [part.plain_bytes for part in record.parts],
    )
    if trouble:
        raise ValueError(trouble)
    rows = b"".join(map(_row, record.parts))
    clear = encoding.encode(
        derive.Label.BODY_CLEAR, BODY_MAGIC, record.segment_bytes, record.layers, rows
    )
    plain = encoding.encode(
        derive.Label.BODY_PLAIN, *_print_columns([part.checksums for part in record.parts])
    )
    sealed = gcm.seal(body_key, clear, plain, random_bytes)
    return BODY_MAGIC + encoding.encode(derive.Label.BODY_RECORD, clear, sealed)


def parse(data: bytes) -> SealedBody:
    """Read the clear part of a body record.

    Raises:
        NotAuthentic: `encode` prints nothing like it.
    """
    if data[: len(BODY_MAGIC)] != BODY_MAGIC:
        raise errors.NotAuthentic("a body record has another magic or version than can be read")
    clear, sealed = encoding.decode(derive.Label.BODY_RECORD, data[len(BODY_MAGIC) :], 2)
    magic, segment_field, layers_field, rows = encoding.decode(derive.Label.BODY_CLEAR, clear, 4)
    if magic != BODY_MAGIC or len(rows) % ROW_BYTES:
        raise errors.NotAuthentic("a body record contradicts itself")
    segment_bytes = encoding.number(segment_field)
    layers = encoding.number(layers_field)
    parts = tuple(map(ClearPart._make, _ROW.iter_unpack(rows)))
    sizes = [part.plain_bytes for part in parts]
    trouble = _trouble(segment_bytes, layers, [part.number for part in parts], sizes)
    if trouble:
        raise errors.NotAuthentic(trouble)
    return SealedBody(
        segment_bytes=segment_bytes,
        layers=layers,
        parts=parts,
        total_bytes=sum(sizes),
        _clear=clear,
        _sealed=sealed,
    )


def seal_part_checksums(
    body_key: envelope.BodyKey,
    upload_id: str,
    number: int,
    blob_id: bytes,
    plain_bytes: int,
    digest: bytes,
    checksums: Mapping[str, bytes],
    random_bytes: Callable[[int], bytes],
) -> bytes:
    """Seal the checksums of one part of an open upload, bound to all that is known of the part."""
    aad = encoding.encode(
        derive.Label.PART_CHECKSUMS, upload_id, number, blob_id, plain_bytes, digest
    )
    plain = encoding.encode(derive.Label.PART_PLAIN, *encoding.flatten(checksums))
    return gcm.seal(body_key, aad, plain, random_bytes)


def open_part_checksums(
    body_key: envelope.BodyKey,
    upload_id: str,
    number: int,
    blob_id: bytes,
    plain_bytes: int,
    digest: bytes,
    sealed: bytes,
) -> dict[str, bytes]:
    """Return the checksums of one part of an open upload.

    Raises:
        NotAuthentic: they, or what they are bound to, were changed.
    """
    aad = encoding.encode(
        derive.Label.PART_CHECKSUMS, upload_id, number, blob_id, plain_bytes, digest
    )
    plain = gcm.unseal(body_key, aad, sealed)
    return encoding.pairs(encoding.decode(derive.Label.PART_PLAIN, plain))


def _row(part: BodyPart) -> bytes:
    if len(part.blob_id) != BLOB_ID_BYTES or len(part.digest) != DIGEST_BYTES:
        raise ValueError("a blob id or a digest has the wrong length")
    return _ROW.pack(part.number, part.blob_id, part.plain_bytes, part.digest)


def _trouble(segment_bytes: int, layers: int, numbers: list[int], sizes: list[int]) -> str:
    """Say what is wrong with a body, or nothing. Writer and reader have the same rules."""
    if not 1 <= layers <= MAX_LAYERS:
        return "a body has 1 or 2 layers"
    if not numbers or numbers[0] < 1 or numbers[-1] > MAX_PARTS:
        return f"a body has parts numbered 1 to {MAX_PARTS}"
    if not all(map(operator.lt, numbers, numbers[1:])):
        return "the parts of a body are not in ascending order"
    try:
        geometry.segment_count(min(sizes), segment_bytes)
        geometry.segment_count(max(sizes), segment_bytes)
    except ValueError as error:
        return str(error)
    return ""


def _print_columns(parts: list[dict[str, bytes]]) -> list[str | bytes]:
    """Print checksums by algorithm: name, length of each part's digest, the digests in a row.

    As fields part by part, ten thousand would take three times the space, and the time.
    """
    fields: list[str | bytes] = []
    for name in sorted({name for checksums in parts for name in checksums}):
        digests = [checksums.get(name, b"") for checksums in parts]
        fields += (name, bytes(map(len, digests)), b"".join(digests))
    return fields


def _parse_columns(fields: list[bytes], count: int) -> list[dict[str, bytes]]:
    parts: list[dict[str, bytes]] = [{} for _ in range(count)]
    names = [encoding.text(field) for field in fields[::3]]
    if len(fields) % 3 or not all(map(operator.lt, names, names[1:])):
        raise errors.NotAuthentic("the checksums of a body are none that are ever written")
    for name, lengths, digests in zip(names, fields[1::3], fields[2::3], strict=True):
        if len(lengths) != count or not digests or sum(lengths) != len(digests):
            raise errors.NotAuthentic("the checksums of a body contradict each other")
        start = 0
        for part, length in zip(parts, lengths, strict=True):
            if length:
                part[name] = digests[start : start + length]
                start += length
    return parts
