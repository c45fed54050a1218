"""Which format is it: envelopes out of stored headers, under either vendor's prefix.

A store that speaks two dialects gives user metadata back under `x-amz-meta-` or
`x-oss-meta-`, whichever was asked for, so every format is found under both.

Every header can be written by whoever may write to the bucket. So names of two formats
on one object are refused: each reader would pick its own, and the weakest would win.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.client import descriptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    Envelope = Mapping[str, str]

PREFIXES = ("x-amz-meta-", "x-oss-meta-")

OSS_V1 = "oss-v1"
OSS_V2 = "oss-v2"
S3_V1 = "s3-v1"
S3_V2 = "s3-v2"
S3_V3 = "s3-v3"
SEALED = "sealed"
FORMATS = (OSS_V1, OSS_V2, S3_V1, S3_V2, S3_V3, SEALED)

_OSS_V1_NAMES = frozenset(
    {"oss-crypto-key", "oss-crypto-start", "oss-cek-alg", "oss-wrap-alg", "oss-matdesc"}
    # oss2's constants name these, its documentation the ones above; nobody wrote them.
    | {"oss-crypto-matdesc"}
)
OSS_V2_PREFIX = "client-side-encryption-"
_S3_V1_NAMES = frozenset({"x-amz-key"})
_S3_V2_NAMES = frozenset({"x-amz-key-v2", "x-amz-cek-alg", "x-amz-wrap-alg", "x-amz-tag-len"})
_S3_OLD_NAMES = frozenset({"x-amz-iv", "x-amz-matdesc"})
S3_V3_ON_OBJECT = frozenset({"x-amz-c", "x-amz-d", "x-amz-i"})
S3_V3_IN_FILE = frozenset({"x-amz-3", "x-amz-w", "x-amz-t", "x-amz-m"})
SEALED_PREFIX = "strongroom-"

_S3_OLD = "s3-v1-or-v2"
"""Of names that V1 and V2 share."""

_FAMILIES = {
    **dict.fromkeys(_OSS_V1_NAMES, OSS_V1),
    **dict.fromkeys(_S3_V1_NAMES, S3_V1),
    **dict.fromkeys(_S3_V2_NAMES, S3_V2),
    **dict.fromkeys(S3_V3_ON_OBJECT | S3_V3_IN_FILE, S3_V3),
    **dict.fromkeys(_S3_OLD_NAMES, _S3_OLD),
}

PLAIN_LENGTH = "x-amz-unencrypted-content-length"
"""Beside an envelope, and on the object even where the envelope is in a file."""

INSTRUCTION_MARK = "x-amz-crypto-instr-file"


def names(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return user metadata without prefix, names in lower case.

    Args:
        metadata: stored headers; those without one of the prefixes are left out.

    Raises:
        MalformedEnvelope: a name of an envelope comes twice with different values.
    """
    found: dict[str, str] = {}
    for header, value in metadata.items():
        lowered = header.lower()
        for prefix in PREFIXES:
            if lowered.startswith(prefix):
                name = lowered.removeprefix(prefix)
                if found.setdefault(name, value) != value and family(name):
                    raise errors.MalformedEnvelope("an envelope says one thing twice")
    return found


def family(name: str) -> str:
    """Return the group of formats that a bare name belongs to; empty if it is a user's own."""
    if name.startswith(OSS_V2_PREFIX):
        return OSS_V2
    if name.startswith(SEALED_PREFIX):
        return SEALED
    return _FAMILIES.get(name, "")


def envelope(bare: Mapping[str, str]) -> dict[str, str]:
    """Return the names that belong to an envelope, and what announces the plaintext."""
    return {name: value for name, value in bare.items() if family(name) or name == PLAIN_LENGTH}


def is_sealed(bare: Mapping[str, str]) -> bool:
    """Whether anything of an envelope is there."""
    return any(map(family, bare))


def with_instruction(bare: Mapping[str, str], instruction: str | bytes | None) -> dict[str, str]:
    """Put together what is on the object and what is in its instruction file.

    Raises:
        MalformedEnvelope: the file is no JSON object of text, names something that does
            not belong there, or repeats what is on the object.
    """
    if instruction is None:
        return dict(bare)
    try:
        text = instruction if isinstance(instruction, str) else instruction.decode()
    except UnicodeDecodeError:
        raise errors.MalformedEnvelope("an instruction file is no UTF-8") from None
    held = {name.lower(): value for name, value in descriptions.parse_strings(text).items()}
    held.pop(INSTRUCTION_MARK, None)
    if not held:
        raise errors.MalformedEnvelope("an instruction file is empty")
    wrong = [name for name in held if not family(name) and name != PLAIN_LENGTH]
    # A file that brings its own commitment could exchange the content under the keys.
    if wrong or held.keys() & S3_V3_ON_OBJECT:
        raise errors.MalformedEnvelope("an instruction file holds what does not belong there")
    on_object = {name for name in bare if family(name)}
    if held.keys() & on_object:
        raise errors.MalformedEnvelope("an instruction file repeats what is on the object")
    return {**bare, **held}


def awaits_instruction(bare: Mapping[str, str]) -> bool:
    """Whether the object's own headers are the half of an envelope whose rest is in a file."""
    kinds = {family(name) for name in bare} - {""}
    if kinds == {S3_V3}:
        return not (bare.keys() & S3_V3_IN_FILE)
    return kinds == {SEALED} and "strongroom-keys" not in bare


def format_of(bare: Mapping[str, str]) -> str:
    """Return the one format that an envelope has.

    Raises:
        NotSealed: there is no envelope.
        MalformedEnvelope: it is of several formats, or has not the name that every
            envelope of its format has.
    """
    kinds = {family(name) for name in bare} - {""}
    if not kinds:
        raise errors.NotSealed("the object has no envelope: it is plain, or was stripped")
    if kinds & {S3_V1, S3_V2}:
        kinds.discard(_S3_OLD)
    if len(kinds) != 1:
        raise errors.MalformedEnvelope("an envelope is of several formats at once")
    (kind,) = kinds
    leading = {
        OSS_V1: "oss-crypto-key",
        OSS_V2: OSS_V2_PREFIX + "key",
        S3_V1: "x-amz-key",
        S3_V2: "x-amz-key-v2",
        S3_V3: "x-amz-3",
        SEALED: "strongroom-sealed",
    }.get(kind)
    if leading is None or leading not in bare:
        raise errors.MalformedEnvelope("an envelope is not whole")
    return kind


def need(envelope: Envelope, name: str) -> str:
    """Return a value that an envelope must have.

    Raises:
        MalformedEnvelope: it is not there, or empty.
    """
    value = envelope.get(name)
    if not value:
        raise errors.MalformedEnvelope(f"an envelope lacks {name}")
    return value


def raw(envelope: Envelope, name: str, size: int | None = None) -> bytes:
    """Return the bytes that a value holds in base64.

    Raises:
        MalformedEnvelope: it is not there, no base64, or has not `size` bytes.
    """
    try:
        found = base64.b64decode(need(envelope, name), validate=True)
    except (binascii.Error, ValueError):
        raise errors.MalformedEnvelope(f"{name} is no base64") from None
    if size is not None and len(found) != size:
        raise errors.MalformedEnvelope(f"{name} has not {size} bytes")
    return found


def number(envelope: Envelope, name: str) -> int | None:
    """Return a decimal number, or None if it is not there.

    Raises:
        MalformedEnvelope: it is something else.
    """
    value = envelope.get(name)
    if value is None:
        return None
    # int() takes blanks, signs, underscores and the digits of all scripts.
    if not (value.isascii() and value.isdigit() and len(value) <= 20):  # noqa: PLR2004 - 2**64
        raise errors.MalformedEnvelope(f"{name} is no number")
    return int(value)


def encoded(data: bytes) -> str:
    """Return base64 as a header has it."""
    return base64.b64encode(data).decode()
