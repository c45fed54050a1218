"""Key derivation: HKDF-SHA-256 in its two steps, and the table of every label.

The secret enters `extract` as the HMAC's *message*, never as its key: HMAC pads
short keys with zeros, so as a key K and K followed by a zero byte would be the same.

Source: RFC 5869; docs/formats/sealed-object.md, sections 2 and 3.
"""

from __future__ import annotations

import functools
from typing import Final

from strongroom.crypto import encoding, mac, secret

HASH_BYTES = 32
KEY_BYTES = 32
SALT_BYTES = 32

MAX_EXPAND_BYTES = 255 * HASH_BYTES
"""HKDF counts its blocks in one byte."""


class Label:
    """Every label that opens an HKDF info, an AAD or a stored record.

    The number in a label is the version of the format; a label never changes its
    meaning.
    """

    # HKDF infos below the secret's pseudo-random key
    CHECK: Final = b"strongroom/1/check"
    WRAP: Final = b"strongroom/1/wrap"
    HEAD: Final = b"strongroom/1/head"
    BOX: Final = b"strongroom/1/box"
    # HKDF info below a store key
    ROW = b"strongroom/1/row"
    # HKDF infos below a data key
    STREAM: Final = b"strongroom/1/stream"
    BODY: Final = b"strongroom/1/body"
    COMMIT: Final = b"strongroom/1/commit"
    # HKDF info of a blob's part key: Tink's "associated data"
    BLOB: Final = b"strongroom/1/blob"
    # Records; a clear part is at the same time the AAD of what is sealed beside it
    ENVELOPE: Final = b"strongroom/1/envelope"
    ENVELOPE_CLEAR: Final = b"strongroom/1/envelope-clear"
    KEY_FIELDS: Final = b"strongroom/1/key-fields"
    KMS_CONTEXT: Final = b"strongroom/1/kms-context"
    HEAD_PLAIN: Final = b"strongroom/1/head-plain"
    BODY_RECORD: Final = b"strongroom/1/body-record"
    BODY_CLEAR: Final = b"strongroom/1/body-clear"
    BODY_PLAIN: Final = b"strongroom/1/body-plain"
    UPLOAD: Final = b"strongroom/1/upload"
    UPLOAD_CLEAR: Final = b"strongroom/1/upload-clear"
    PART_PLAIN: Final = b"strongroom/1/part-plain"
    MARKS = b"strongroom/1/marks"
    MARKS_CLEAR = b"strongroom/1/marks-clear"
    TAGS = b"strongroom/1/tags"
    NOTES: Final = b"strongroom/1/notes"
    MIRROR: Final = b"strongroom/1/mirror"
    # What the generation of a replica is the digest of
    REPLICA: Final = b"strongroom/1/replica"
    # AADs only
    UPLOAD_HEAD: Final = b"strongroom/1/upload-head"
    PART_CHECKSUMS: Final = b"strongroom/1/part-checksums"
    # AADs of boxes: what a box holds
    ESCROW: Final = b"strongroom/1/escrow"
    STORE_KEY: Final = b"strongroom/1/store-key"
    CREDENTIAL: Final = b"strongroom/1/credential"
    REMOTE: Final = b"strongroom/1/remote"
    SESSION: Final = b"strongroom/1/session"
    MASTER_CHECK: Final = b"strongroom/1/master-check"
    KMS_KEY: Final = b"strongroom/1/kms-key"
    KMS_MATERIAL: Final = b"strongroom/1/kms-material"
    KMS_CIPHERTEXT: Final = b"strongroom/1/kms-ciphertext"
    # HKDF info below the master key, and the label of what its key authenticates
    FINGERPRINT: Final = b"strongroom/1/fingerprint"
    # Client-side sealed objects: HKDF infos below the data key, then AADs and the MAC's text
    CLIENT_STREAM: Final = b"strongroom/1/client-stream"
    CLIENT_MAC: Final = b"strongroom/1/client-mac"
    CLIENT_WRAP: Final = b"strongroom/1/client-wrap"
    CLIENT_PART: Final = b"strongroom/1/client-part"
    CLIENT_ENVELOPE: Final = b"strongroom/1/client-envelope"


def extract(salt: bytes, key: secret.SecretKey) -> secret.SecretKey:
    """HKDF-Extract: return the pseudo-random key (32 bytes) of a secret of any length.

    Args:
        salt: the HMAC's key; 32 random bytes wherever this format uses it.
        key: the HMAC's message.
    """
    return secret.SecretKey(mac.once(salt, key.reveal()))


def expand(
    prk: secret.SecretKey, label: bytes, *fields: bytes | str | int, length: int = KEY_BYTES
) -> secret.SecretKey:
    """HKDF-Expand with the encoding of `label` and `fields` as info.

    Raises:
        ValueError: `length` is not in 1 .. `MAX_EXPAND_BYTES`.
    """
    info = encoding.encode(label, *fields) if fields else _bare(label)
    return expand_info(prk, info, length)


def expand_info(prk: secret.SecretKey, info: bytes, length: int = KEY_BYTES) -> secret.SecretKey:
    """HKDF-Expand with a ready info; for `segments`, whose info is Tink's, without a label of ours.

    Raises:
        ValueError: `length` is not in 1 .. `MAX_EXPAND_BYTES`.
    """
    if length == HASH_BYTES:
        return secret.SecretKey(mac.once(prk.reveal(), info + b"\x01"))
    if not 1 <= length <= MAX_EXPAND_BYTES:
        raise ValueError(f"HKDF cannot give {length} bytes")
    keyed = mac.Keyed(prk.reveal())
    output = block = b""
    counter = 1
    while len(output) < length:
        block = keyed.digest(block + info + bytes((counter,)))
        output += block
        counter += 1
    return secret.SecretKey(output[:length])


class Expander:
    """HKDF-Expand to keys of 32 bytes, several under one pseudo-random key."""

    __slots__ = ("_keyed",)

    def __init__(self, prk: secret.SecretKey) -> None:
        self._keyed = mac.Keyed(prk.reveal())

    def expand(self, label: bytes, *fields: bytes | str | int) -> bytes:
        """Return the bytes of what `expand` of this module returns."""
        info = encoding.encode(label, *fields) if fields else _bare(label)
        return self._keyed.digest(info + b"\x01")


@functools.cache
def _bare(label: bytes) -> bytes:
    """Return the encoding of a label without fields; there are as many as there are labels."""
    return encoding.encode(label)
