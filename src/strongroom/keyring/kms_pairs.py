"""What KMS keys do besides data keys: RSA encryption, signatures, MACs, key pairs, randomness.

Algorithms are named as AWS KMS names them, and mean what its Developer Guide says under
"Key spec reference": PSS with a salt as long as the digest, OAEP with the same hash in
MGF1, ECDSA signatures in DER.
"""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from strongroom import errors
from strongroom.crypto import secret
from strongroom.keyring import key_specs
from strongroom.keyring import kms as kms_service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.keyring.kms import Caller, DataKey, Kms
    from strongroom.store import kms

MAX_MESSAGE_BYTES: Final = 4096
MAX_RANDOM_BYTES: Final = 1024

_OAEP: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "RSAES_OAEP_SHA_1": hashes.SHA1,
    "RSAES_OAEP_SHA_256": hashes.SHA256,
}
_MAC_NAMES: Final = {
    "HMAC_SHA_224": "sha224",
    "HMAC_SHA_256": "sha256",
    "HMAC_SHA_384": "sha384",
    "HMAC_SHA_512": "sha512",
}


@dataclass(frozen=True, slots=True)
class Public:
    """A public key (SubjectPublicKeyInfo in DER) and the key that it belongs to."""

    key_arn: str
    key: kms.Key
    der: bytes


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A fresh pair: `private` holds the private key (PKCS #8 in DER), in the clear and encrypted."""

    private: DataKey
    public_der: bytes


class Pairs:
    """Uses asymmetric and HMAC keys, for callers who may."""

    def __init__(self, service: Kms) -> None:
        self._kms = service

    # Encryption, under whichever kind of key

    async def encrypt(
        self,
        reference: str,
        plaintext: secret.SecretKey,
        context: Mapping[str, str],
        caller: Caller,
        *,
        algorithm: str,
        action: str = "Encrypt",
    ) -> DataKey:
        """Encrypt under a symmetric or an RSA key.

        Raises:
            KmsWrongUsage: the key does not do this algorithm.
            KmsInvalidInput: too long for the key, or a context with an RSA key.
            KmsError: as in `Kms`.
        """
        if algorithm == key_specs.SYMMETRIC:
            return await self._kms.encrypt(reference, plaintext, context, caller, action=action)
        key = await self._ready(reference, action, caller, key_specs.ENCRYPT_DECRYPT, algorithm)
        _refuse_context(context)
        private = await self._private(key)
        assert isinstance(private, rsa.RSAPrivateKey), "RSA keys alone know these algorithms"
        try:
            sealed = private.public_key().encrypt(plaintext.reveal(), _oaep(algorithm))
        except ValueError:
            raise errors.KmsInvalidInput(
                f"The plaintext is too long for {algorithm} with {key.spec}."
            ) from None
        return kms_service.DataKey(self._kms.arn(key), plaintext, sealed)

    async def decrypt(
        self,
        ciphertext: bytes,
        context: Mapping[str, str],
        caller: Caller,
        *,
        reference: str | None,
        algorithm: str,
        action: str = "Decrypt",
    ) -> DataKey:
        """Open what `encrypt` made; under an RSA key only with its name.

        Raises:
            KmsInvalidCiphertext: it is not that.
            KmsError: as above.
        """
        if algorithm == key_specs.SYMMETRIC:
            return await self._kms.decrypt(
                ciphertext, context, caller, key=reference, action=action
            )
        if reference is None:
            raise errors.KmsInvalidInput("KeyId is required with an asymmetric key.")
        key = await self._ready(reference, action, caller, key_specs.ENCRYPT_DECRYPT, algorithm)
        _refuse_context(context)
        private = await self._private(key)
        assert isinstance(private, rsa.RSAPrivateKey), "RSA keys alone know these algorithms"
        try:
            plaintext = private.decrypt(ciphertext, _oaep(algorithm))
        except ValueError:
            raise errors.KmsInvalidCiphertext("") from None
        return kms_service.DataKey(self._kms.arn(key), secret.SecretKey(plaintext), ciphertext)

    # Signatures

    async def sign(
        self, reference: str, message: bytes, caller: Caller, *, algorithm: str, digested: bool
    ) -> tuple[str, bytes]:
        """Sign a message (up to 4,096 bytes), or its digest; return the key's ARN and the signature.

        Raises:
            KmsWrongUsage: the key does not do this algorithm.
            KmsInvalidInput: the message is too long, or no digest of the algorithm's.
            KmsError: as in `Kms`.
        """
        key = await self._ready(reference, "Sign", caller, key_specs.SIGN_VERIFY, algorithm)
        _check_message(message, algorithm, digested=digested)
        private = await self._private(key)
        return self._kms.arn(key), await asyncio.to_thread(
            _sign, private, message, algorithm, digested=digested
        )

    async def verify(
        self,
        reference: str,
        message: bytes,
        signature: bytes,
        caller: Caller,
        *,
        algorithm: str,
        digested: bool,
    ) -> str:
        """Return the key's ARN if the signature is the message's.

        Raises:
            KmsNotVerified: it is not.
            KmsError: as in `sign`.
        """
        key = await self._ready(reference, "Verify", caller, key_specs.SIGN_VERIFY, algorithm)
        _check_message(message, algorithm, digested=digested)
        private = await self._private(key)
        try:
            _verify(private, message, signature, algorithm, digested=digested)
        except InvalidSignature:
            raise errors.KmsNotVerified("signature", "") from None
        return self._kms.arn(key)

    async def public(self, reference: str, caller: Caller) -> Public:
        """Return the public half of a key.

        Raises:
            KmsInvalidInput: the key is symmetric and has none.
        """
        key = await self._kms.permitted(reference, "GetPublicKey", caller)
        if key_specs.find(key.spec).is_symmetric:
            raise errors.KmsInvalidInput(
                f"{self._kms.arn(key)} key spec is {key.spec} which has no public key.",
                "UnsupportedOperation",
            )
        self._kms.require_state(key)
        return Public(self._kms.arn(key), key, key_specs.public_der(await self._private(key)))

    # MACs

    async def mac(
        self, reference: str, message: bytes, caller: Caller, *, algorithm: str
    ) -> tuple[str, bytes]:
        """Return the key's ARN and the MAC of a message."""
        key = await self._ready(
            reference, "GenerateMac", caller, key_specs.GENERATE_VERIFY_MAC, algorithm
        )
        return self._kms.arn(key), await self._mac(key, message, algorithm)

    async def verify_mac(
        self, reference: str, message: bytes, mac: bytes, caller: Caller, *, algorithm: str
    ) -> str:
        """Return the key's ARN if the MAC is the message's.

        Raises:
            KmsNotVerified: it is not.
        """
        key = await self._ready(
            reference, "VerifyMac", caller, key_specs.GENERATE_VERIFY_MAC, algorithm
        )
        if not hmac.compare_digest(await self._mac(key, message, algorithm), mac):
            raise errors.KmsNotVerified("mac", "")
        return self._kms.arn(key)

    # What belongs to no key of ours, or to a symmetric one

    async def pair(
        self,
        reference: str,
        context: Mapping[str, str],
        caller: Caller,
        *,
        spec: str,
        action: str = "GenerateDataKeyPair",
    ) -> KeyPair:
        """Make a key pair whose private half is encrypted under a symmetric key."""
        kind = key_specs.find(spec)
        if kind.is_symmetric:
            raise errors.KmsInvalidInput(f"{spec} is not a key pair.")
        # Asked first, so that nobody makes us search for primes who may not.
        await self._kms.permitted(reference, action, caller, context)
        private = await asyncio.to_thread(key_specs.new_private, kind)
        sealed = await self._kms.encrypt(
            reference,
            secret.SecretKey(key_specs.private_der(private)),
            context,
            caller,
            action=action,
        )
        return KeyPair(sealed, key_specs.public_der(private))

    def random(self, size: int) -> secret.SecretKey:
        """Return random bytes.

        Raises:
            KmsInvalidInput: not 1 to `MAX_RANDOM_BYTES`.
        """
        if not 1 <= size <= MAX_RANDOM_BYTES:
            raise errors.KmsInvalidInput(f"NumberOfBytes must be between 1 and {MAX_RANDOM_BYTES}.")
        return secret.SecretKey(self._kms.random_bytes(size))

    async def _ready(
        self, reference: str, action: str, caller: Caller, usage: str, algorithm: str
    ) -> kms.Key:
        """Find a key that the caller may use and that does this."""
        key = await self._kms.permitted(reference, action, caller)
        self._kms.require_state(key)
        if key.usage != usage:
            raise self._kms.wrong_usage(key, action)
        if algorithm not in key_specs.find(key.spec).algorithms(usage):
            raise errors.KmsWrongUsage(
                f"Algorithm {algorithm} is incompatible with key spec {key.spec}."
            )
        return key

    async def _private(self, key: kms.Key) -> key_specs.PrivateKey:
        return key_specs.load_private(await self._kms.material(key))

    async def _mac(self, key: kms.Key, message: bytes, algorithm: str) -> bytes:
        material = await self._kms.material(key)
        return hmac.digest(material.reveal(), message, _MAC_NAMES[algorithm])


def _refuse_context(context: Mapping[str, str]) -> None:
    if context:
        raise errors.KmsInvalidInput("EncryptionContext is not supported with asymmetric keys.")


def _oaep(algorithm: str) -> padding.OAEP:
    kind = _OAEP[algorithm]
    return padding.OAEP(padding.MGF1(kind()), kind(), None)


def _hash(algorithm: str) -> hashes.HashAlgorithm:
    """Return the hash that an algorithm's name ends with."""
    return key_specs.HASHES["SHA_" + algorithm.rpartition("_SHA_")[2]]()


def _check_message(message: bytes, algorithm: str, *, digested: bool) -> None:
    if not digested:
        if len(message) > MAX_MESSAGE_BYTES:
            raise errors.KmsInvalidInput(
                f"A message of type RAW has {MAX_MESSAGE_BYTES} bytes at most."
            )
        return
    if algorithm == "ED25519_SHA_512":
        raise errors.KmsInvalidInput("ED25519_SHA_512 takes messages of type RAW.")
    if len(message) != _hash(algorithm).digest_size:
        raise errors.KmsInvalidInput(f"Digest is invalid length for algorithm {algorithm}.")


def _prepared(algorithm: str, *, digested: bool) -> hashes.HashAlgorithm | utils.Prehashed:
    kind = _hash(algorithm)
    return utils.Prehashed(kind) if digested else kind


def _padding(algorithm: str) -> padding.AsymmetricPadding:
    if algorithm.startswith("RSASSA_PSS"):
        return padding.PSS(padding.MGF1(_hash(algorithm)), padding.PSS.DIGEST_LENGTH)
    return padding.PKCS1v15()


def _sign(
    private: key_specs.PrivateKey, message: bytes, algorithm: str, *, digested: bool
) -> bytes:
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return private.sign(message)
    kind = _prepared(algorithm, digested=digested)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return private.sign(message, ec.ECDSA(kind))
    return private.sign(message, _padding(algorithm), kind)


def _verify(
    private: key_specs.PrivateKey,
    message: bytes,
    signature: bytes,
    algorithm: str,
    *,
    digested: bool,
) -> None:
    if isinstance(private, ed25519.Ed25519PrivateKey):
        private.public_key().verify(signature, message)
        return
    kind = _prepared(algorithm, digested=digested)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        private.public_key().verify(signature, message, ec.ECDSA(kind))
        return
    private.public_key().verify(signature, message, _padding(algorithm), kind)
