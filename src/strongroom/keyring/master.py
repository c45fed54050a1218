"""The master key: root of everything that the server itself can open.

It wraps the store keys (SSE-S3 and multipart escrow) and the secrets of users.
It opens nothing that only a customer's key opens.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.crypto import derive, encoding, envelope, secret

if TYPE_CHECKING:
    from collections.abc import Callable

MASTER_KEY_BYTES = 32
FINGERPRINT_BYTES = 16
_NO_SALT = bytes(32)
"""The master key is uniform already; HKDF's extract step needs no salt (RFC 5869, 3.1)."""


class Master:
    """The master key, and what it may be used for."""

    __slots__ = ("_fingerprint_key", "_prk")

    def __init__(self, key: secret.SecretKey) -> None:
        if len(key) != MASTER_KEY_BYTES:
            raise errors.MasterKeyTrouble(
                f"The master key has {len(key)} bytes and must have {MASTER_KEY_BYTES}."
            )
        self._prk = derive.extract(_NO_SALT, key)
        self._fingerprint_key = derive.expand(self._prk, derive.Label.FINGERPRINT)

    def check_value(self) -> bytes:
        """Return 32 bytes that tell one master key from another and nothing else."""
        return derive.expand(self._prk, derive.Label.MASTER_CHECK).reveal()

    def fingerprint(self, customer: secret.SecretKey) -> bytes:
        """Return `FINGERPRINT_BYTES` that tell one customer key from another, in this store only.

        Source: docs/formats/sealed-object.md, section 8.
        """
        text = encoding.encode(derive.Label.FINGERPRINT, customer.reveal())
        return hmac.digest(self._fingerprint_key.reveal(), text, "sha256")[:FINGERPRINT_BYTES]

    def wrap_store_key(
        self, number: int, key: secret.SecretKey, random_bytes: Callable[[int], bytes]
    ) -> bytes:
        """Wrap store key `number`."""
        return envelope.seal_box(
            self._prk,
            derive.Label.STORE_KEY,
            number,
            plaintext=key.reveal(),
            random_bytes=random_bytes,
        )

    def unwrap_store_key(self, number: int, wrapped: bytes) -> secret.SecretKey:
        """Unwrap store key `number`.

        Raises:
            NotAuthentic: it was changed, or is another store's.
        """
        return secret.SecretKey(
            envelope.open_box(
                self._prk,
                derive.Label.STORE_KEY,
                number,
                sealed=wrapped,
            )
        )

    def wrap_kms_key(
        self, purpose: bytes, key: secret.SecretKey, random_bytes: Callable[[int], bytes]
    ) -> bytes:
        """Wrap a key that the KMS keeps its materials under, bound to `purpose`."""
        return envelope.seal_box(
            self._prk,
            derive.Label.KMS_KEY,
            purpose,
            plaintext=key.reveal(),
            random_bytes=random_bytes,
        )

    def unwrap_kms_key(self, purpose: bytes, wrapped: bytes) -> secret.SecretKey:
        """Unwrap a key of the KMS.

        Raises:
            NotAuthentic: it was changed, is another store's, or for another purpose.
        """
        return secret.SecretKey(
            envelope.open_box(self._prk, derive.Label.KMS_KEY, purpose, sealed=wrapped)
        )

    def seal_credential(
        self,
        access_key: str,
        user_id: str,
        secret_key: secret.SecretKey,
        random_bytes: Callable[[int], bytes],
    ) -> bytes:
        """Seal a user's secret key, bound to its access key and its user."""
        return envelope.seal_box(
            self._prk,
            derive.Label.CREDENTIAL,
            access_key,
            user_id,
            plaintext=secret_key.reveal(),
            random_bytes=random_bytes,
        )

    def seal_session(
        self, access_key: str, session: bytes, random_bytes: Callable[[int], bytes]
    ) -> bytes:
        """Seal what temporary credentials stand for, bound to their access key."""
        return envelope.seal_box(
            self._prk,
            derive.Label.SESSION,
            access_key,
            plaintext=session,
            random_bytes=random_bytes,
        )

    def seal_remote(
        self,
        name: str,
        url: str,
        access_key: str,
        key: secret.SecretKey,
        random_bytes: Callable[[int], bytes],
    ) -> bytes:
        """Seal a secret key of ours at another store, bound to that store and its address."""
        return envelope.seal_box(
            self._prk,
            derive.Label.REMOTE,
            name,
            url,
            access_key,
            plaintext=key.reveal(),
            random_bytes=random_bytes,
        )

    def open_remote(self, name: str, url: str, access_key: str, sealed: bytes) -> secret.SecretKey:
        """Open what `seal_remote` sealed.

        Raises:
            NotAuthentic: it was changed, or belongs to another store, address or access key.
        """
        return secret.SecretKey(
            envelope.open_box(self._prk, derive.Label.REMOTE, name, url, access_key, sealed=sealed)
        )

    def open_session(self, access_key: str, sealed: bytes) -> bytes:
        """Open what `seal_session` sealed.

        Raises:
            NotAuthentic: it was changed, or belongs to another access key.
        """
        return envelope.open_box(self._prk, derive.Label.SESSION, access_key, sealed=sealed)

    def open_credential(self, access_key: str, user_id: str, sealed: bytes) -> secret.SecretKey:
        """Open a user's secret key.

        Raises:
            NotAuthentic: it was changed, or belongs to another access key or user.
        """
        return secret.SecretKey(
            envelope.open_box(
                self._prk,
                derive.Label.CREDENTIAL,
                access_key,
                user_id,
                sealed=sealed,
            )
        )


def parse(text: str) -> secret.SecretKey:
    """Read a master key from its base64 form.

    Raises:
        MasterKeyTrouble: not base64, or not of 32 bytes.
    """
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise errors.MasterKeyTrouble("The master key is not valid base64.") from error
    if len(raw) != MASTER_KEY_BYTES:
        raise errors.MasterKeyTrouble(
            f"The master key decodes to {len(raw)} bytes and must have {MASTER_KEY_BYTES}."
        )
    return secret.SecretKey(raw)
