"""What Encrypt and GenerateDataKey give out under a symmetric key, and Decrypt opens.

    magic "SRK" and version 0x01 (4) ‖ kind (1) ‖ key id (16) ‖ material's number (4, big-endian)
    ‖ box: salt (32) ‖ nonce (12) ‖ ciphertext ‖ tag (16)

The box is `envelope.seal_box` under the material: its key is derived through the
salt, so that a material may seal without counting. Its AAD is the header above and
the encryption context, names sorted, in the injective encoding: a blob opens with
the same context, in whatever order it is sent, and with no other.

Source: docs/formats/kms.md.
"""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.crypto import derive, encoding, envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from strongroom.crypto import secret

MAGIC = b"SRK\x01"
KEY_ID_BYTES = 16
VERSION_BYTES = 4
HEADER_BYTES = len(MAGIC) + 1 + KEY_ID_BYTES + VERSION_BYTES
MIN_BYTES = HEADER_BYTES + derive.SALT_BYTES + 12 + 16


class Kind(enum.IntEnum):
    """What the plaintext is, and by which words it was bound: a blob of one kind opens as it only.

    AWS's KMS encrypts bytes, Alibaba's text, which comes back as it was sent.
    """

    BYTES = 1
    TEXT = 2
    TEXT_UNDER_TEXT = 3
    """Text, and the context is a text that is no JSON object; it stands under an empty name."""


@dataclass(frozen=True, slots=True)
class Header:
    """The clear part of a blob: what finds the material that opens it."""

    kind: Kind
    key_id: str
    version: int

    def encode(self) -> bytes:
        """Return the header's bytes."""
        return (
            MAGIC
            + bytes((self.kind,))
            + uuid.UUID(self.key_id).bytes
            + self.version.to_bytes(VERSION_BYTES, "big")
        )


def read(blob: bytes) -> Header:
    """Read the header of a blob; nothing of it is proven before the blob is opened.

    Raises:
        KmsInvalidCiphertext: it is no blob of ours.
    """
    if len(blob) < MIN_BYTES or not blob.startswith(MAGIC):
        raise errors.KmsInvalidCiphertext("")
    try:
        kind = Kind(blob[len(MAGIC)])
    except ValueError:
        raise errors.KmsInvalidCiphertext("") from None
    start = len(MAGIC) + 1
    key_id = uuid.UUID(bytes=blob[start : start + KEY_ID_BYTES])
    return Header(
        kind, str(key_id), int.from_bytes(blob[start + KEY_ID_BYTES : HEADER_BYTES], "big")
    )


def seal(
    header: Header,
    material: secret.SecretKey,
    plaintext: bytes,
    context: Mapping[str, str],
    random_bytes: Callable[[int], bytes],
) -> bytes:
    """Make a blob."""
    encoded = header.encode()
    return encoded + envelope.seal_box(
        material,
        derive.Label.KMS_CIPHERTEXT,
        encoded,
        *_flat(context),
        plaintext=plaintext,
        random_bytes=random_bytes,
    )


def open_blob(blob: bytes, material: secret.SecretKey, context: Mapping[str, str]) -> bytes:
    """Open a blob.

    Raises:
        KmsInvalidCiphertext: it was changed, or made under another material or context.
    """
    try:
        return envelope.open_box(
            material,
            derive.Label.KMS_CIPHERTEXT,
            blob[:HEADER_BYTES],
            *_flat(context),
            sealed=blob[HEADER_BYTES:],
        )
    except errors.NotAuthentic:
        raise errors.KmsInvalidCiphertext("") from None


def _flat(context: Mapping[str, str]) -> list[str | bytes]:
    return encoding.flatten(dict(sorted(context.items())))
