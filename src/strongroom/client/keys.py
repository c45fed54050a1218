"""Master keys: what wraps the data key of an object, and which of several fits it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric import rsa

from strongroom import errors
from strongroom.client import descriptions, kms
from strongroom.crypto import secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding

AES_KEY_BYTES = (16, 24, 32)
WEAKEST_RSA_BITS = 2048
"""Shorter pairs open what is there, and wrap nothing new unless asked to."""


class Padding:
    """How RSA pads what it wraps; each format names its own."""

    PKCS1: AsymmetricPadding = rsa_padding.PKCS1v15()
    OAEP_SHA1: AsymmetricPadding = rsa_padding.OAEP(
        rsa_padding.MGF1(hashes.SHA1()),  # noqa: S303 - the format's own
        hashes.SHA1(),  # noqa: S303
        None,
    )
    # What Java makes of "OAEPWithSHA-256AndMGF1Padding" without parameters.
    OAEP_SHA256_MGF1_SHA1: AsymmetricPadding = rsa_padding.OAEP(
        rsa_padding.MGF1(hashes.SHA1()),  # noqa: S303
        hashes.SHA256(),
        None,
    )
    OAEP_SHA256: AsymmetricPadding = rsa_padding.OAEP(
        rsa_padding.MGF1(hashes.SHA256()), hashes.SHA256(), None
    )


class RsaKey:
    """An RSA pair, or one half of it: the public half wraps, the private half unwraps.

    Args:
        private_key: PEM (PKCS#1 or PKCS#8, may be encrypted), or a key of `cryptography`.
            A public key in its place is taken for what it is.
        public_key: PEM (PKCS#1 or SPKI); not needed beside a private key.
        passphrase: of an encrypted PEM.
        description: which key this is, for objects under several keys.
        allow_weak: also wrap with fewer than `WEAKEST_RSA_BITS`.

    Raises:
        ValueError: a PEM cannot be read, or the halves are not of one pair.
        TypeError: a PEM is encrypted and there is no passphrase, or the reverse.
    """

    def __init__(
        self,
        private_key: str | bytes | rsa.RSAPrivateKey | rsa.RSAPublicKey | None = None,
        public_key: str | bytes | rsa.RSAPublicKey | None = None,
        *,
        passphrase: str | bytes | None = None,
        description: Mapping[str, str] | None = None,
        allow_weak: bool = False,
    ) -> None:
        halves = [_loaded(half, passphrase) for half in (private_key, public_key) if half]
        self._private = next((key for key in halves if isinstance(key, rsa.RSAPrivateKey)), None)
        public = [key for key in halves if isinstance(key, rsa.RSAPublicKey)]
        if self._private is not None:
            public.insert(0, self._private.public_key())
        if not public:
            raise ValueError("an RSA key needs a private or a public half")
        if any(half.public_numbers() != public[0].public_numbers() for half in public):
            raise ValueError("the private and the public key are not of one pair")
        self._public = public[0]
        self._allow_weak = allow_weak
        self.description = dict(description or {})

    def __repr__(self) -> str:
        return f"RsaKey(…, description={self.description!r})"

    @property
    def bits(self) -> int:
        """The length of the modulus."""
        return self._public.key_size

    def wrap(self, padding: AsymmetricPadding, plain: bytes) -> bytes:
        """Encrypt a key, or the little beside it.

        Raises:
            ValueError: the pair is too short to wrap anything new.
        """
        if self.bits < WEAKEST_RSA_BITS and not self._allow_weak:
            raise ValueError(f"an RSA key of {self.bits} bits wraps nothing new")
        return self._public.encrypt(plain, padding)

    def unwrap(self, padding: AsymmetricPadding, wrapped: bytes) -> secret.SecretKey:
        """Decrypt what `wrap` made.

        Whatever is wrong is one error: under PKCS#1 v1.5 to tell a padding from a length
        would be an oracle. There OpenSSL answers with bytes that mean nothing (implicit
        rejection), so the caller has to look at the length.

        Raises:
            WrongKey: it is not under this key.
        """
        if self._private is None:
            raise errors.WrongKey("there is no private key to unwrap with")
        try:
            return secret.SecretKey(self._private.decrypt(wrapped, padding))
        except ValueError:
            raise errors.WrongKey("the data key is not under this RSA key") from None


class AesKey:
    """A symmetric master key of 16, 24 or 32 bytes; we write under 32 only.

    Raises:
        ValueError: it has another length.
    """

    def __init__(
        self, key: bytes | secret.SecretKey, description: Mapping[str, str] | None = None
    ) -> None:
        self.key = key if isinstance(key, secret.SecretKey) else secret.SecretKey(bytes(key))
        if len(self.key) not in AES_KEY_BYTES:
            raise ValueError("an AES key has 16, 24 or 32 bytes")
        self.description = dict(description or {})

    def __repr__(self) -> str:
        return f"AesKey(…, description={self.description!r})"


class KmsKey:
    """A master key that stays in a key management service.

    Args:
        service: `AwsKms`, `AlibabaKms`, or a boto3 client of KMS.
        key_id: id, ARN or alias. Needed to wrap; on unwrapping, AWS refuses blobs that
            are under another key, and Alibaba does not look.
        context: the encryption context: for Alibaba the text as it is sent (what oss2
            makes of `passphrase`), for AWS pairs that go into every object. A context
            given with a single call goes before it.
        description: which key this is, for objects under several keys.

    Raises:
        TypeError: it is no such service.
    """

    def __init__(
        self,
        service: kms.AwsKms | kms.AlibabaKms | kms.AwsClient,
        key_id: str = "",
        *,
        context: Mapping[str, str] | str | None = None,
        description: Mapping[str, str] | None = None,
    ) -> None:
        if isinstance(service, kms.AwsKms | kms.AlibabaKms):
            self.service = service
        elif hasattr(service, "generate_data_key") and hasattr(service, "decrypt"):
            self.service = kms.AwsKms(service)
        else:
            raise TypeError("a KmsKey needs AwsKms, AlibabaKms or a boto3 client of KMS")
        self.key_id = key_id
        self.context = context
        self.description = dict(description or {})

    def __repr__(self) -> str:
        return f"KmsKey({self.key_id!r}, description={self.description!r})"


Key = RsaKey | AesKey | KmsKey


class KeyRing:
    """The keys of a reader, in the order in which they are tried.

    Args:
        keys: a key or several of any kind.
        try_all: if no key has an object's description, try those with another one too, as
            alibabacloud-oss-v2 does with its main key.
    """

    def __init__(self, keys: Key | Iterable[Key], *, try_all: bool = False) -> None:
        self.keys: Sequence[Key] = (
            (keys,) if isinstance(keys, RsaKey | AesKey | KmsKey) else tuple(keys)
        )
        for key in self.keys:
            if not isinstance(key, RsaKey | AesKey | KmsKey):
                raise TypeError(f"{type(key).__name__} is no key; take RsaKey, AesKey or KmsKey")
        self._try_all = try_all

    def fitting(self, wanted: Mapping[str, Any]) -> list[Key]:
        """Return the keys for an object of this description, best first.

        With a description: the keys that have the same. Without: those without, then
        the others.

        Raises:
            WrongKey: there is none.
        """
        name = descriptions.canonical(wanted)
        same = [key for key in self.keys if descriptions.canonical(key.description) == name]
        others = [key for key in self.keys if descriptions.canonical(key.description) != name]
        found = same + others if self._try_all or not wanted else same
        if not found:
            raise errors.WrongKey("no key has the description of this object")
        return found


def _loaded(
    half: str | bytes | rsa.RSAPrivateKey | rsa.RSAPublicKey, passphrase: str | bytes | None
) -> rsa.RSAPrivateKey | rsa.RSAPublicKey:
    if isinstance(half, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return half
    pem = half.encode() if isinstance(half, str) else half
    try:
        if b"PUBLIC KEY-----" in pem:
            loaded: object = serialization.load_pem_public_key(pem)
        else:
            loaded = _private(pem, passphrase)
    except UnsupportedAlgorithm:
        raise ValueError("the PEM is encrypted in a way that is not supported") from None
    if not isinstance(loaded, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        raise ValueError("the PEM holds no RSA key")  # noqa: TRY004 - of the right type, wrong value
    return loaded


def _private(pem: bytes, passphrase: str | bytes | None) -> object:
    if passphrase is None or isinstance(passphrase, bytes):
        return serialization.load_pem_private_key(pem, passphrase)
    try:
        return serialization.load_pem_private_key(pem, passphrase.encode())
    except ValueError:
        # PyCryptodome, under oss2, turns a passphrase into Latin-1.
        if passphrase.isascii():
            raise
        try:
            old = passphrase.encode("latin-1")
        except UnicodeEncodeError:
            old = None
        if old is None:
            raise
        return serialization.load_pem_private_key(pem, old)
