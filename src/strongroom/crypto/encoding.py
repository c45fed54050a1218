"""The one injective encoding.

Everything that enters an HKDF info, an AAD or a MAC passes `encode`, and so does
every record that is stored: a label, then fields, each as a 4-byte big-endian
length and its bytes. Plain concatenation would let `ab` + `c` pass for `a` + `bc`.

The encoding is injective over byte strings. It does not carry types: which
fields follow a label, and of what kind, is fixed by the label.

Source: docs/formats/sealed-object.md, section 2.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from strongroom import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

LENGTH_BYTES = 4
NUMBER_BYTES = 8

_LENGTH = struct.Struct(">I")


def encode(label: bytes, *fields: bytes | str | int) -> bytes:
    """Encode a label and fields.

    Args:
        label: a member of `derive.Label`.
        fields: bytes as they are; text as UTF-8 (lone surrogates in their
            three-byte form, so that every `str` has one encoding and no two share
            one); numbers as 8 bytes big-endian, 0 to 2**64 - 1.

    Raises:
        OverflowError: a number is out of range, or a field reaches 4 GiB.
    """
    pieces = [len(label).to_bytes(LENGTH_BYTES, "big"), label]
    for field in fields:
        if isinstance(field, bytes):
            raw = field
        elif isinstance(field, str):
            raw = field.encode("utf-8", "surrogatepass")
        else:
            raw = field.to_bytes(NUMBER_BYTES, "big")
        pieces.append(len(raw).to_bytes(LENGTH_BYTES, "big"))
        pieces.append(raw)
    return b"".join(pieces)


def decode(label: bytes, data: bytes, count: int | None = None) -> list[bytes]:
    """Return the fields of `data`, which `encode` made with this label.

    Args:
        label: the label that must stand there.
        data: the encoding, all of it.
        count: how many fields there must be; None if any number will do.

    Raises:
        NotAuthentic: `data` is not what `encode` gives for this label.
    """
    fields = []
    total = len(data)
    offset = 0
    try:
        while offset < total:
            start = offset + LENGTH_BYTES
            offset = start + _LENGTH.unpack_from(data, offset)[0]
            fields.append(data[start:offset])
    except struct.error:
        raise errors.NotAuthentic("an encoded record is cut short") from None
    # The last field was sliced short, unless it ends where the data does.
    if offset != total:
        raise errors.NotAuthentic("an encoded record is cut short")
    if not fields or fields[0] != label:
        raise errors.NotAuthentic("an encoded record has another label")
    del fields[0]
    if count is not None and len(fields) != count:
        raise errors.NotAuthentic("an encoded record has another number of fields")
    return fields


def number(field: bytes) -> int:
    """Read a field that holds a number.

    Raises:
        NotAuthentic: it is not 8 bytes long.
    """
    if len(field) != NUMBER_BYTES:
        raise errors.NotAuthentic("an encoded number has another length")
    return int.from_bytes(field, "big")


def text(field: bytes) -> str:
    """Read a field that holds text.

    Raises:
        NotAuthentic: it is not what some text encodes to.
    """
    try:
        return field.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        # The cause would quote the bytes, which may be out of a sealed head.
        raise errors.NotAuthentic("an encoded text is not UTF-8") from None


def sized(field: bytes, size: int) -> bytes:
    """Return a field that holds exactly `size` bytes.

    Raises:
        NotAuthentic: it is longer or shorter.
    """
    if len(field) != size:
        raise errors.NotAuthentic("an encoded field has another length")
    return field


def flatten(pairs: Mapping[str, str] | Mapping[str, bytes]) -> list[str | bytes]:
    """Return the fields that print pairs, in their order: name, value, name, value."""
    flat: list[str | bytes] = []
    for pair in pairs.items():
        flat += pair
    return flat


def pairs(fields: list[bytes]) -> dict[str, bytes]:
    """Return the pairs that `flatten` printed, values as bytes.

    Raises:
        NotAuthentic: a name without a value, or a name twice.
    """
    if not fields:
        return {}
    names = [text(field) for field in fields[::2]]
    found = dict(zip(names, fields[1::2], strict=False))
    if 2 * len(found) != len(fields):
        raise errors.NotAuthentic("encoded pairs are not pairs of distinct names")
    return found
