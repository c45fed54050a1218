"""Amazon S3 Encryption Client: V1 (read), V2 and V3 (read and written).

V1 is CBC. V2 is GCM, or CBC where an old client wrote it. V3 is GCM under a key derived
with a commitment, which is compared before that key is used.

Source: Amazon S3 Encryption Client specification; observed with aws-sdk-ruby 1.169.0 and
amazon-s3-encryption-client-python 4.0.0; tests/vectors/cse.
"""

from __future__ import annotations

import dataclasses
import hmac
import json
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import ciphers, keywrap, padding
from cryptography.hazmat.primitives.ciphers import aead, algorithms, modes

from strongroom import errors
from strongroom.client import content, descriptions, headers, keys, kms, rules
from strongroom.crypto import secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from strongroom.client.headers import Envelope

DATA_KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
MESSAGE_ID_BYTES = 28
COMMITMENT_BYTES = 28

CEK_GCM = "AES/GCM/NoPadding"
CEKS_CBC = frozenset({"AES/CBC/PKCS5Padding", "AES/CBC/PKCS7Padding"})

SUITE = "115"
"""ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY."""
SUITE_BYTES = b"\x00\x73"
V3_NONCE = b"\x01" * NONCE_BYTES
"""A constant, because the content key is fresh with every message id."""

WRAP_AES = "AES/GCM"
WRAP_KMS = "kms+context"
WRAP_RSA = "RSA-OAEP-SHA1"
V3_WRAPS = {"02": WRAP_AES, "12": WRAP_KMS, "22": WRAP_RSA}
WRAP_OLD_KMS = "kms"
WRAP_OLD_AES = "AESWrap"
WRAP_OLD_RSA = "RSA/ECB/OAEPWithSHA-256AndMGF1Padding"
WRAPS_OLD = frozenset({WRAP_OLD_KMS, WRAP_OLD_AES, WRAP_OLD_RSA})

CEK_IN_CONTEXT = "aws:x-amz-cek-alg"
CMK_IN_CONTEXT = "kms_cmk_id"

_WRAPS = frozenset(
    {"x-amz-key-v2", "x-amz-wrap-alg", "x-amz-matdesc", "x-amz-3", "x-amz-w", "x-amz-t", "x-amz-m"}
)
"""What of an envelope changes with the master key."""

V1_LONGEST_AES_WRAP = 48
"""V1 does not name its wrap: 32 bytes and their padding under AES, more under RSA."""


def unlock_v1(
    envelope: Envelope, ring: keys.KeyRing, context: Mapping[str, str] | None, allowed: rules.Rules
) -> content.CbcContent:
    """Open an envelope of V1.

    Raises:
        UnsupportedFormat: the rules do not allow CBC or the old wraps.
        MalformedEnvelope: a value is missing or makes no sense.
        WrongKey: no key opens it.
    """
    if not (allowed.legacy_content and allowed.legacy_wraps):
        raise errors.UnsupportedFormat("old ciphers and wraps are not allowed here")
    if context:
        raise errors.WrongKey("this format has no encryption context")
    wrapped = headers.raw(envelope, "x-amz-key")
    iv = headers.raw(envelope, "x-amz-iv", content.BLOCK_BYTES)
    fitting = ring.fitting(descriptions.parse(headers.need(envelope, "x-amz-matdesc")))

    def unwrap(key: keys.Key) -> secret.SecretKey:
        if isinstance(key, keys.AesKey) and len(wrapped) <= V1_LONGEST_AES_WRAP:
            return _ecb_unwrap(key, wrapped)
        if isinstance(key, keys.RsaKey) and len(wrapped) > V1_LONGEST_AES_WRAP:
            return key.unwrap(keys.Padding.PKCS1, wrapped)
        raise errors.WrongKey("a key of another kind")

    data_key = _first(fitting, unwrap)
    return content.CbcContent(data_key, iv, headers.number(envelope, headers.PLAIN_LENGTH))


def unlock_v2(
    envelope: Envelope, ring: keys.KeyRing, context: Mapping[str, str] | None, allowed: rules.Rules
) -> content.Content:
    """Open an envelope of V2.

    Raises:
        UnsupportedFormat: an unknown cipher or wrap, or one that the rules do not allow.
        MalformedEnvelope: a value is missing or makes no sense.
        WrongKey: no key opens it, or not with this context.
    """
    cek = headers.need(envelope, "x-amz-cek-alg")
    wrap = headers.need(envelope, "x-amz-wrap-alg")
    if cek != CEK_GCM and cek not in CEKS_CBC:
        raise errors.UnsupportedFormat("an S3 V2 envelope names an unknown cipher")
    if cek in CEKS_CBC and not allowed.legacy_content:
        raise errors.UnsupportedFormat("CBC is not allowed here")
    if cek == CEK_GCM and envelope.get("x-amz-tag-len", "128") != "128":
        raise errors.UnsupportedFormat("an S3 V2 envelope has a tag of another length")
    wrapped = headers.raw(envelope, "x-amz-key-v2")
    iv = headers.raw(
        envelope, "x-amz-iv", content.GCM_NONCE_BYTES if cek == CEK_GCM else content.BLOCK_BYTES
    )
    materials = headers.need(envelope, "x-amz-matdesc")
    data_key = _unwrap(wrap, wrapped, cek, materials, ring, context, allowed)
    if cek == CEK_GCM:
        return content.GcmContent(data_key, iv)
    return content.CbcContent(data_key, iv, headers.number(envelope, headers.PLAIN_LENGTH))


def unlock_v3(
    envelope: Envelope, ring: keys.KeyRing, context: Mapping[str, str] | None, allowed: rules.Rules
) -> content.GcmContent:
    """Open an envelope of V3; the commitment is compared before the key is used.

    Raises:
        UnsupportedFormat: an unknown suite or wrap.
        MalformedEnvelope: a value is missing or makes no sense.
        WrongKey: no key opens it, or not with this context.
        NotAuthentic: the data key is not the one that the object commits to.
    """
    if headers.need(envelope, "x-amz-c") != SUITE:
        raise errors.UnsupportedFormat("an S3 V3 envelope names an unknown suite")
    wrap = V3_WRAPS.get(headers.need(envelope, "x-amz-w"))
    if wrap is None:
        raise errors.UnsupportedFormat("an S3 V3 envelope names an unknown wrap")
    wrapped = headers.raw(envelope, "x-amz-3")
    message_id = headers.raw(envelope, "x-amz-i", MESSAGE_ID_BYTES)
    stored = headers.raw(envelope, "x-amz-d", COMMITMENT_BYTES)
    materials = envelope.get("x-amz-t" if wrap == WRAP_KMS else "x-amz-m", "")
    data_key = _unwrap(wrap, wrapped, SUITE, materials, ring, context, allowed)
    content_key, commitment = derive_v3(data_key, message_id)
    if not hmac.compare_digest(commitment, stored):
        raise errors.NotAuthentic("an object commits to another data key")
    return content.GcmContent(content_key, V3_NONCE, SUITE_BYTES)


def derive_v3(data_key: secret.SecretKey, message_id: bytes) -> tuple[secret.SecretKey, bytes]:
    """Return content key and commitment: HKDF-SHA-512, both within the first block."""
    prk = hmac.digest(message_id, data_key.reveal(), "sha512")
    content_key = hmac.digest(prk, SUITE_BYTES + b"DERIVEKEY\x01", "sha512")[:DATA_KEY_BYTES]
    commitment = hmac.digest(prk, SUITE_BYTES + b"COMMITKEY\x01", "sha512")[:COMMITMENT_BYTES]
    return secret.SecretKey(content_key), commitment


# Unwrapping


def _unwrap(
    wrap: str,
    wrapped: bytes,
    label: str,
    materials: str,
    ring: keys.KeyRing,
    context: Mapping[str, str] | None,
    allowed: rules.Rules,
) -> secret.SecretKey:
    """Return the data key of V2 or V3; `label` is what the wrap binds of the content."""
    if wrap in WRAPS_OLD and not allowed.legacy_wraps:
        raise errors.UnsupportedFormat("old wraps are not allowed here")
    if wrap in {WRAP_KMS, WRAP_OLD_KMS}:
        stored = descriptions.parse_strings(materials)
        # The context stands where the description would: every KMS key may be the one.
        return _first(
            list(ring.keys), lambda key: _by_kms(key, wrap, wrapped, label, stored, context)
        )
    if context:
        raise errors.WrongKey("this wrap has no encryption context")
    unwraps: dict[str, Callable[[keys.Key], secret.SecretKey]] = {
        WRAP_AES: lambda key: _by_aes(key, wrapped, label),
        WRAP_RSA: lambda key: _by_rsa(key, wrapped, label),
        WRAP_OLD_AES: lambda key: _by_aes_wrap(key, wrapped),
        WRAP_OLD_RSA: lambda key: _by_old_rsa(key, wrapped),
    }
    if wrap not in unwraps:
        raise errors.UnsupportedFormat("an S3 envelope names an unknown wrap")
    return _first(ring.fitting(descriptions.parse(materials)), unwraps[wrap])


def _first(
    fitting: list[keys.Key], unwrap: Callable[[keys.Key], secret.SecretKey]
) -> secret.SecretKey:
    """Return the data key that the first key to fit gives; one error for every failure."""
    for key in fitting:
        try:
            data_key = unwrap(key)
        except errors.WrongKey:
            continue
        if len(data_key) == DATA_KEY_BYTES:
            return data_key
    raise errors.WrongKey("no key opens this object")


def _by_kms(
    key: keys.Key,
    wrap: str,
    wrapped: bytes,
    label: str,
    stored: dict[str, str],
    context: Mapping[str, str] | None,
) -> secret.SecretKey:
    service = _aws(key)
    given = given_context(key, context)
    if wrap == WRAP_OLD_KMS:
        if given or stored.keys() != {CMK_IN_CONTEXT}:
            raise errors.WrongKey("this wrap has no encryption context")
    else:
        if stored.get(CEK_IN_CONTEXT) != label:
            raise errors.MalformedEnvelope("a context names another cipher than its envelope")
        own = {
            name: value
            for name, value in stored.items()
            if name not in {CEK_IN_CONTEXT, CMK_IN_CONTEXT}
        }
        if own != given:
            raise errors.WrongKey("the encryption context is another one")
    return service[0].decrypt(service[1], wrapped, stored)


def _by_aes(key: keys.Key, wrapped: bytes, label: str) -> secret.SecretKey:
    master = _aes(key)
    if len(wrapped) != NONCE_BYTES + DATA_KEY_BYTES + TAG_BYTES:
        raise errors.WrongKey("a wrapped key of another length")
    try:
        plain = aead.AESGCM(master.reveal()).decrypt(
            wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], label.encode()
        )
    except InvalidTag:
        raise errors.WrongKey("the data key is not under this AES key") from None
    return secret.SecretKey(plain)


def _by_rsa(key: keys.Key, wrapped: bytes, label: str) -> secret.SecretKey:
    """RSA-OAEP over length byte, data key and label."""
    if not isinstance(key, keys.RsaKey):
        raise errors.WrongKey("a key of another kind")
    plain = key.unwrap(keys.Padding.OAEP_SHA1, wrapped).reveal()
    expected = bytes((DATA_KEY_BYTES,)) + plain[1 : 1 + DATA_KEY_BYTES] + label.encode()
    if not hmac.compare_digest(plain, expected):
        raise errors.WrongKey("the data key is wrapped for another cipher")
    return secret.SecretKey(plain[1 : 1 + DATA_KEY_BYTES])


def _by_aes_wrap(key: keys.Key, wrapped: bytes) -> secret.SecretKey:
    try:
        return secret.SecretKey(keywrap.aes_key_unwrap(_aes(key).reveal(), wrapped))
    except (keywrap.InvalidUnwrap, ValueError):
        raise errors.WrongKey("the data key is not under this AES key") from None


def _by_old_rsa(key: keys.Key, wrapped: bytes) -> secret.SecretKey:
    if not isinstance(key, keys.RsaKey):
        raise errors.WrongKey("a key of another kind")
    return key.unwrap(keys.Padding.OAEP_SHA256_MGF1_SHA1, wrapped)


def _ecb_unwrap(key: keys.AesKey, wrapped: bytes) -> secret.SecretKey:
    """V1's wrap: AES-ECB with PKCS#7, for want of anything better when it was written."""
    decryptor = ciphers.Cipher(
        algorithms.AES(key.key.reveal()),
        modes.ECB(),  # noqa: S305 - V1's own; never written
    ).decryptor()
    unpadder = padding.PKCS7(content.BLOCK_BYTES * 8).unpadder()
    try:
        padded = decryptor.update(wrapped) + decryptor.finalize()
        return secret.SecretKey(unpadder.update(padded) + unpadder.finalize())
    except ValueError:
        raise errors.WrongKey("the data key is not under this AES key") from None


def _aes(key: keys.Key) -> secret.SecretKey:
    if not isinstance(key, keys.AesKey):
        raise errors.WrongKey("a key of another kind")
    return key.key


def _aws(key: keys.Key) -> tuple[kms.AwsKms, str]:
    if not isinstance(key, keys.KmsKey) or not isinstance(key.service, kms.AwsKms):
        raise errors.WrongKey("a key of another kind")
    return key.service, key.key_id


def given_context(key: keys.Key, context: Mapping[str, str] | None) -> dict[str, str]:
    """Return the context that a call or, failing that, the key brings.

    Raises:
        ValueError: it uses a name that the format keeps for itself.
    """
    own = key.context if isinstance(key, keys.KmsKey) and context is None else context
    if isinstance(own, str):
        raise ValueError("the context of a key in AWS KMS is a mapping")  # noqa: TRY004 - of two allowed types
    given = dict(own or {})
    if given.keys() & {CEK_IN_CONTEXT, CMK_IN_CONTEXT}:
        raise ValueError("an encryption context uses a reserved name")
    return given


# Writing


@dataclasses.dataclass(frozen=True, slots=True)
class Locked:
    """A new content key in its envelope: what goes on the object, and what beside it."""

    envelope: dict[str, str]
    instruction: str | None
    content: content.GcmContent
    key: secret.SecretKey
    nonce: bytes
    aad: bytes


def lock_v2(
    key: keys.Key,
    context: Mapping[str, str] | None,
    random_bytes: Callable[[int], bytes],
    *,
    beside: bool = False,
) -> Locked:
    """Make a data key and its V2 envelope; `beside` puts all of it into an instruction file.

    Raises:
        TypeError: no wrap of this format takes such a key.
    """
    wrap, data_key, wrapped, materials = _wrap(key, CEK_GCM, context, random_bytes)
    nonce = random_bytes(NONCE_BYTES)
    envelope = {
        "x-amz-key-v2": headers.encoded(wrapped),
        "x-amz-iv": headers.encoded(nonce),
        "x-amz-cek-alg": CEK_GCM,
        "x-amz-wrap-alg": wrap,
        "x-amz-matdesc": materials or "{}",
        "x-amz-tag-len": "128",
    }
    opened = content.GcmContent(data_key, nonce)
    if beside:
        return Locked({}, json.dumps(envelope), opened, data_key, nonce, b"")
    return Locked(envelope, None, opened, data_key, nonce, b"")


def lock_v3(
    key: keys.Key,
    context: Mapping[str, str] | None,
    random_bytes: Callable[[int], bytes],
    *,
    beside: bool = False,
) -> Locked:
    """Make a data key and its V3 envelope; `beside` puts the wrap into an instruction file.

    Raises:
        TypeError: no wrap of this format takes such a key.
    """
    wrap, data_key, wrapped, materials = _wrap(key, SUITE, context, random_bytes)
    message_id = random_bytes(MESSAGE_ID_BYTES)
    content_key, commitment = derive_v3(data_key, message_id)
    envelope = {
        "x-amz-c": SUITE,
        "x-amz-i": headers.encoded(message_id),
        "x-amz-d": headers.encoded(commitment),
    }
    held = _v3_wrap(wrap, wrapped, materials)
    opened = content.GcmContent(content_key, V3_NONCE, SUITE_BYTES)
    if beside:
        return Locked(envelope, json.dumps(held), opened, content_key, V3_NONCE, SUITE_BYTES)
    return Locked(envelope | held, None, opened, content_key, V3_NONCE, SUITE_BYTES)


def rekeyed(
    envelope: Envelope,
    ring: keys.KeyRing,
    context: Mapping[str, str] | None,
    key: keys.Key,
    new_context: Mapping[str, str] | None,
    random_bytes: Callable[[int], bytes],
) -> dict[str, str]:
    """Return an envelope of V2 or V3 with the same data key under another master key.

    Raises:
        TypeError: no wrap of this format takes such a key.
        WrongKey, NotAuthentic, MalformedEnvelope: it cannot be opened.
    """
    v3 = "x-amz-3" in envelope
    label = SUITE if v3 else headers.need(envelope, "x-amz-cek-alg")
    if not v3 and label != CEK_GCM:
        raise errors.UnsupportedFormat("nothing is written with this cipher")
    if v3:
        unlock_v3(envelope, ring, context, rules.Rules())
        wrap = V3_WRAPS[envelope["x-amz-w"]]
        materials = envelope.get("x-amz-t" if wrap == WRAP_KMS else "x-amz-m", "")
    else:
        wrap = headers.need(envelope, "x-amz-wrap-alg")
        materials = headers.need(envelope, "x-amz-matdesc")
    wrapped = headers.raw(envelope, "x-amz-3" if v3 else "x-amz-key-v2")
    data_key = _unwrap(wrap, wrapped, label, materials, ring, context, rules.Rules())
    wrap, _, wrapped, materials = _wrap(key, label, new_context, random_bytes, data_key)
    kept = {name: text for name, text in headers.envelope(envelope).items() if name not in _WRAPS}
    if not v3:
        return kept | {
            "x-amz-key-v2": headers.encoded(wrapped),
            "x-amz-wrap-alg": wrap,
            "x-amz-matdesc": materials or "{}",
        }
    return kept | _v3_wrap(wrap, wrapped, materials)


def _v3_wrap(wrap: str, wrapped: bytes, materials: str) -> dict[str, str]:
    code = next(code for code, name in V3_WRAPS.items() if name == wrap)
    held = {"x-amz-3": headers.encoded(wrapped), "x-amz-w": code}
    if materials:
        held["x-amz-t" if wrap == WRAP_KMS else "x-amz-m"] = materials
    return held


def _wrap(
    key: keys.Key,
    label: str,
    context: Mapping[str, str] | None,
    random_bytes: Callable[[int], bytes],
    data_key: secret.SecretKey | None = None,
) -> tuple[str, secret.SecretKey, bytes, str]:
    """Return the wrap's name, the data key, the wrapped one, and description or context.

    Without a data key a new one is made.
    """
    if isinstance(key, keys.KmsKey):
        if not isinstance(key.service, kms.AwsKms):
            raise TypeError("S3 envelopes are made under AES, RSA or AWS KMS")
        whole = {**given_context(key, context), CEK_IN_CONTEXT: label}
        if data_key is None:
            data_key, blob = key.service.generate(key.key_id, whole)
        else:
            blob = key.service.encrypt(key.key_id, data_key, whole)
        if len(data_key) != DATA_KEY_BYTES:
            raise errors.KmsCallFailed("DataKeyOfAnotherLength")
        return WRAP_KMS, data_key, blob, descriptions.render(whole)
    if context:
        raise ValueError("only a key in a KMS has an encryption context")
    materials = descriptions.render(key.description) if key.description else ""
    data_key = data_key or secret.SecretKey(random_bytes(DATA_KEY_BYTES))
    if isinstance(key, keys.AesKey):
        nonce = random_bytes(NONCE_BYTES)
        sealed = aead.AESGCM(key.key.reveal()).encrypt(nonce, data_key.reveal(), label.encode())
        return WRAP_AES, data_key, nonce + sealed, materials
    plain = bytes((DATA_KEY_BYTES,)) + data_key.reveal() + label.encode()
    return WRAP_RSA, data_key, key.wrap(keys.Padding.OAEP_SHA1, plain), materials
