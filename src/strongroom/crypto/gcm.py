"""One small message under AES-256-GCM: `nonce (12) ‖ ciphertext ‖ tag (16)`.

The nonce is random, never a constant: Complete may run twice under one key. So a
key may seal 2**32 messages (NIST SP 800-38D, 8.3); the keys used here are those of
one envelope, one body or one box, and seal some tens of thousands at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.crypto import secret

NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES


def seal(
    key: secret.SecretKey, aad: bytes, plain: bytes, random_bytes: Callable[[int], bytes]
) -> bytes:
    """Seal `plain` under a key of 32 bytes; `aad` comes from the encoder."""
    nonce = random_bytes(NONCE_BYTES)
    return nonce + AESGCM(key.reveal()).encrypt(nonce, plain, aad)


def unseal(key: secret.SecretKey, aad: bytes, sealed: bytes) -> bytes:
    """Open what `seal` made with the same key and `aad`.

    Raises:
        NotAuthentic: it is not that.
    """
    if len(sealed) < OVERHEAD_BYTES:
        raise errors.NotAuthentic("a sealed message is cut short")
    try:
        return AESGCM(key.reveal()).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], aad)
    except InvalidTag:
        raise errors.NotAuthentic("a sealed message is not what was sealed there") from None
