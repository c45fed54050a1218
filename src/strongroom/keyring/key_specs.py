"""Kinds of KMS keys: what each is for, which algorithms it knows, how its material is made.

Source: AWS KMS Developer Guide, "Key spec reference"; names of AWS KMS's API. Left
out: SM2 (China regions only), key agreement, and the post-quantum ML-DSA.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from strongroom import errors
from strongroom.crypto import secret

if TYPE_CHECKING:
    from collections.abc import Callable

SYMMETRIC: Final = "SYMMETRIC_DEFAULT"
SYMMETRIC_BYTES: Final = 32

ENCRYPT_DECRYPT: Final = "ENCRYPT_DECRYPT"
SIGN_VERIFY: Final = "SIGN_VERIFY"
GENERATE_VERIFY_MAC: Final = "GENERATE_VERIFY_MAC"

RSA_EXPONENT: Final = 65537

HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "SHA_1": hashes.SHA1,
    "SHA_224": hashes.SHA224,
    "SHA_256": hashes.SHA256,
    "SHA_384": hashes.SHA384,
    "SHA_512": hashes.SHA512,
}
"""By the name that ends an algorithm's."""

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Spec:
    """One kind.

    Attributes:
        usages: what a key of this kind may be for; the first where none is asked for.
        encryption: names of its encryption algorithms.
        signing: names of its signing algorithms.
        mac: names of its MAC algorithms.
        size: bytes of a symmetric material; bits of an RSA modulus; else 0.
        curve: of an elliptic curve key; None for others and for Ed25519.
    """

    name: str
    usages: tuple[str, ...]
    encryption: tuple[str, ...] = ()
    signing: tuple[str, ...] = ()
    mac: tuple[str, ...] = ()
    size: int = 0
    curve: ec.EllipticCurve | None = None

    @property
    def is_symmetric(self) -> bool:
        """Whether its material is random bytes."""
        return self.name == SYMMETRIC or bool(self.mac)

    def algorithms(self, usage: str) -> tuple[str, ...]:
        """Return the names of the algorithms that serve a usage."""
        return {
            ENCRYPT_DECRYPT: self.encryption,
            SIGN_VERIFY: self.signing,
            GENERATE_VERIFY_MAC: self.mac,
        }[usage]


_RSA_SIGNING = tuple(
    f"RSASSA_{padding}_SHA_{bits}" for padding in ("PSS", "PKCS1_V1_5") for bits in (256, 384, 512)
)
_RSA_ENCRYPTION = ("RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256")


def _rsa(bits: int) -> Spec:
    return Spec(
        f"RSA_{bits}",
        (ENCRYPT_DECRYPT, SIGN_VERIFY),
        encryption=_RSA_ENCRYPTION,
        signing=_RSA_SIGNING,
        size=bits,
    )


def _ecc(name: str, curve: ec.EllipticCurve | None, algorithm: str) -> Spec:
    return Spec(name, (SIGN_VERIFY,), signing=(algorithm,), curve=curve)


def _hmac(bits: int) -> Spec:
    # As long as the digest. Source: RFC 2104, section 3.
    return Spec(f"HMAC_{bits}", (GENERATE_VERIFY_MAC,), mac=(f"HMAC_SHA_{bits}",), size=bits // 8)


SPECS: Final = {
    spec.name: spec
    for spec in (
        Spec(SYMMETRIC, (ENCRYPT_DECRYPT,), encryption=(SYMMETRIC,), size=SYMMETRIC_BYTES),
        _rsa(2048),
        _rsa(3072),
        _rsa(4096),
        _ecc("ECC_NIST_P256", ec.SECP256R1(), "ECDSA_SHA_256"),
        _ecc("ECC_NIST_P384", ec.SECP384R1(), "ECDSA_SHA_384"),
        _ecc("ECC_NIST_P521", ec.SECP521R1(), "ECDSA_SHA_512"),
        _ecc("ECC_SECG_P256K1", ec.SECP256K1(), "ECDSA_SHA_256"),
        _ecc("ECC_NIST_EDWARDS25519", None, "ED25519_SHA_512"),
        _hmac(224),
        _hmac(256),
        _hmac(384),
        _hmac(512),
    )
}


def find(name: str) -> Spec:
    """Return a kind by its name.

    Raises:
        KmsInvalidInput: this release does not make such keys.
    """
    try:
        return SPECS[name]
    except KeyError:
        raise errors.KmsInvalidInput(
            f"KeySpec {name} is not supported here.", "UnsupportedOperation"
        ) from None


def new_material(spec: Spec, random_bytes: Callable[[int], bytes]) -> secret.SecretKey:
    """Make a material: random bytes, or a private key as PKCS #8 in DER.

    Slow for RSA (seconds for 4096 bits); to be called on a thread.
    """
    if spec.is_symmetric:
        return secret.SecretKey(random_bytes(spec.size))
    return secret.SecretKey(private_der(new_private(spec)))


def new_private(spec: Spec) -> PrivateKey:
    """Make a private key. Its randomness is OpenSSL's own."""
    if spec.curve is not None:
        return ec.generate_private_key(spec.curve)
    if spec.size:
        return rsa.generate_private_key(RSA_EXPONENT, spec.size)
    return ed25519.Ed25519PrivateKey.generate()


def load_private(material: secret.SecretKey) -> PrivateKey:
    """Read a private key that `private_der` wrote."""
    key = serialization.load_der_private_key(material.reveal(), password=None)
    assert isinstance(key, PrivateKey), "only keys of the kinds above are ever stored"
    return key


def private_der(key: PrivateKey) -> bytes:
    """Return a private key as PKCS #8 in DER."""
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_der(key: PrivateKey) -> bytes:
    """Return the public half as SubjectPublicKeyInfo in DER."""
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
