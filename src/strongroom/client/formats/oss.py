"""Alibaba OSS: V1 (read; written only when asked for by name) and V2.

Both are AES-256-CTR over the object as one stream. Nothing is authenticated. V1 calls
its cipher GCM and means CTR.

Source: "Client-side encryption" of the OSS Python SDK; observed with oss2 2.10.0 and
2.19.1, alibabacloud-oss-v2 1.4.1, aliyun-oss-go-sdk 3.0.2; tests/vectors/cse.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.client import content, descriptions, headers, keys, kms
from strongroom.crypto import secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from strongroom.client.headers import Envelope

DATA_KEY_BYTES = 32
IV_BYTES = 16

CEK_CTR = "AES/CTR/NoPadding"
CEK_V1 = "AES/GCM/NoPadding"
WRAP_PKCS1 = "RSA/NONE/PKCS1Padding"
WRAP_OAEP = "RSA/NONE/OAEPWithSHA-1AndMGF1Padding"
WRAP_KMS = "KMS/ALICLOUD"
WRAP_V1_RSA = "rsa"
WRAP_V1_KMS = "kms"

_LONGEST_START = 39
"""Digits of 2**128."""

_PADDINGS = {
    WRAP_PKCS1: keys.Padding.PKCS1,
    WRAP_OAEP: keys.Padding.OAEP_SHA1,
    WRAP_V1_RSA: keys.Padding.OAEP_SHA1,
}


def unlock_v1(
    envelope: Envelope, ring: keys.KeyRing, context: Mapping[str, str] | str | None
) -> content.CtrContent:
    """Open an envelope of V1.

    Raises:
        UnsupportedFormat: another cipher or wrap than V1 has.
        MalformedEnvelope: a value is missing or makes no sense.
        WrongKey: no key opens it.
    """
    if headers.need(envelope, "oss-cek-alg") != CEK_V1:
        raise errors.UnsupportedFormat("an OSS V1 envelope names another cipher")
    wrap = headers.need(envelope, "oss-wrap-alg")
    if wrap not in {WRAP_V1_RSA, WRAP_V1_KMS}:
        raise errors.UnsupportedFormat("an OSS V1 envelope names another wrap")
    wrapped = headers.raw(envelope, "oss-crypto-key")
    start = headers.raw(envelope, "oss-crypto-start")
    text = envelope.get("oss-matdesc") or envelope.get("oss-crypto-matdesc")
    fitting = ring.fitting(descriptions.parse(text))

    def by_rsa(key: keys.RsaKey) -> content.CtrContent:
        data_key = key.unwrap(keys.Padding.OAEP_SHA1, wrapped)
        counter = key.unwrap(keys.Padding.OAEP_SHA1, start).reveal()
        return content.CtrContent(_data_key(data_key), _counter(counter))

    def by_kms(service: kms.AlibabaKms, own: str) -> content.CtrContent:
        data_key = kms.data_key(service.decrypt(headers.encoded(wrapped), own))
        # In V1 the number is the KMS's plaintext as it is, without base64.
        counter = service.decrypt(headers.encoded(start), own).encode()
        return content.CtrContent(_data_key(data_key), _counter(counter))

    return _first(fitting, wrap == WRAP_V1_KMS, context, by_rsa, by_kms)


def unlock_v2(
    envelope: Envelope, ring: keys.KeyRing, context: Mapping[str, str] | str | None
) -> content.CtrContent:
    """Open an envelope of V2.

    Raises:
        UnsupportedFormat: an unknown cipher or wrap.
        MalformedEnvelope: a value is missing or makes no sense.
        WrongKey: no key opens it.
    """
    prefix = headers.OSS_V2_PREFIX
    if headers.need(envelope, prefix + "cek-alg") != CEK_CTR:
        raise errors.UnsupportedFormat("an OSS V2 envelope names another cipher")
    wrap = headers.need(envelope, prefix + "wrap-alg")
    if wrap not in {WRAP_PKCS1, WRAP_OAEP, WRAP_KMS}:
        raise errors.UnsupportedFormat("an OSS V2 envelope names another wrap")
    wrapped = headers.raw(envelope, prefix + "key")
    start = headers.raw(envelope, prefix + "start")
    for name in ("data-size", "part-size", "unencrypted-content-length"):
        headers.number(envelope, prefix + name)
    fitting = ring.fitting(descriptions.parse(envelope.get(prefix + "matdesc")))

    def by_rsa(key: keys.RsaKey) -> content.CtrContent:
        return _ctr(key.unwrap(_PADDINGS[wrap], wrapped), key.unwrap(_PADDINGS[wrap], start))

    def by_kms(service: kms.AlibabaKms, own: str) -> content.CtrContent:
        return _ctr(
            kms.data_key(_decrypt_blob(service, wrapped, own)),
            kms.data_key(_decrypt_blob(service, start, own)),
        )

    return _first(fitting, wrap == WRAP_KMS, context, by_rsa, by_kms)


def announced(envelope: Envelope) -> tuple[int | None, str | None]:
    """Return the length and the MD5 (base64) that the writer announced for the plaintext."""
    prefix = headers.OSS_V2_PREFIX + "unencrypted-content-"
    return headers.number(envelope, prefix + "length"), envelope.get(prefix + "md5")


def _ctr(data_key: secret.SecretKey, iv: secret.SecretKey) -> content.CtrContent:
    if len(iv) != IV_BYTES:
        raise errors.WrongKey("the data key is not under this key")
    return content.CtrContent(_data_key(data_key), int.from_bytes(iv.reveal(), "big"))


def _data_key(key: secret.SecretKey) -> secret.SecretKey:
    """Refuse what PKCS#1 v1.5 makes of another key's wrap: bytes of some other length."""
    if len(key) != DATA_KEY_BYTES:
        raise errors.WrongKey("the data key is not under this key")
    return key


def _counter(text: bytes) -> int:
    if not text.isdigit() or len(text) > _LONGEST_START:
        raise errors.WrongKey("the start counter is not under this key")
    return int(text)


def _first(
    fitting: list[keys.Key],
    by_service: bool,  # noqa: FBT001 - which of the two functions is meant
    context: Mapping[str, str] | str | None,
    by_rsa: Callable[[keys.RsaKey], content.CtrContent],
    by_kms: Callable[[kms.AlibabaKms, str], content.CtrContent],
) -> content.CtrContent:
    """Return what the first key that fits makes of the envelope.

    Raises:
        WrongKey: none does. One text for all, whatever failed.
    """
    for key in fitting:
        try:
            if by_service and isinstance(key, keys.KmsKey):
                if isinstance(key.service, kms.AlibabaKms):
                    return by_kms(key.service, context_text(context or key.context))
            elif not by_service and isinstance(key, keys.RsaKey):
                return by_rsa(key)
        except errors.WrongKey:
            continue
    raise errors.WrongKey("no key opens this object")


def context_text(context: Mapping[str, str] | str | None) -> str:
    """Return a context as Alibaba's KMS takes it: text; oss2 compares nothing and sends it."""
    if context is None or isinstance(context, str):
        return context or ""
    return json.dumps(dict(context), separators=(",", ":")) if context else ""


def passphrase_context(passphrase: str) -> str:
    """Return the context that oss2 makes of `passphrase=`, without any escaping, as it does."""
    return '{"x-passphrase":"' + passphrase + '"}'


def _decrypt_blob(service: kms.AlibabaKms, decoded: bytes, context: str) -> str:
    """Decrypt a blob that stands in the header in base64 once (Go) or twice (oss2).

    Decoded once, oss2's is again base64; Go's is binary. Should that guess be wrong, the
    other one is tried.
    """
    once = headers.encoded(decoded)
    guesses = [once]
    try:
        base64.b64decode(decoded, validate=True)
        guesses.insert(0, decoded.decode("ascii"))
    except (binascii.Error, ValueError):
        pass
    for guess in guesses[:-1]:
        try:
            return service.decrypt(guess, context)
        except (errors.WrongKey, errors.KmsCallFailed):
            continue
    return service.decrypt(guesses[-1], context)


@dataclasses.dataclass(frozen=True, slots=True)
class Locked:
    """A new data key in its envelope."""

    envelope: dict[str, str]
    key: secret.SecretKey
    first_counter: int


def lock_v2(
    key: keys.Key,
    context: Mapping[str, str] | str | None,
    random_bytes: Callable[[int], bytes],
    *,
    oaep: bool = False,
    once: bool = False,
) -> Locked:
    """Make a data key and the envelope that holds it, as oss2 does.

    Args:
        key: what wraps it; an RSA key or one in Alibaba's KMS.
        context: goes to the KMS instead of the key's own.
        random_bytes: of a cryptographic generator.
        oaep: wrap as `LocalRsaProvider` does; only oss2 reads that.
        once: the KMS's blob in base64 once, as Go writes and reads it.

    Raises:
        TypeError: a key of another kind.
    """
    prefix = headers.OSS_V2_PREFIX
    # Bytes 8 to 11 stay zero: readers that count with 64 bits never see a carry.
    iv = random_bytes(8) + bytes(4) + random_bytes(4)
    if isinstance(key, keys.RsaKey):
        wrap = WRAP_OAEP if oaep else WRAP_PKCS1
        data_key = secret.SecretKey(random_bytes(DATA_KEY_BYTES))
        wrapped = headers.encoded(key.wrap(_PADDINGS[wrap], data_key.reveal()))
        start = headers.encoded(key.wrap(_PADDINGS[wrap], iv))
    else:
        wrap = WRAP_KMS
        data_key, wrapped, start = _by_kms(key, context, headers.encoded(iv))
        if not once:
            wrapped, start = (headers.encoded(blob.encode()) for blob in (wrapped, start))
    envelope = {
        prefix + "key": wrapped,
        prefix + "start": start,
        prefix + "cek-alg": CEK_CTR,
        prefix + "wrap-alg": wrap,
    }
    if key.description:
        envelope[prefix + "matdesc"] = descriptions.render(key.description)
    return Locked(envelope, data_key, int.from_bytes(iv, "big"))


def rekeyed(
    envelope: Envelope,
    ring: keys.KeyRing,
    context: Mapping[str, str] | str | None,
    key: keys.Key,
    new_context: Mapping[str, str] | str | None,
    random_bytes: Callable[[int], bytes],
) -> dict[str, str]:
    """Return an envelope of V2 with the same data key and IV under another RSA key.

    Raises:
        TypeError: it is no RSA key. A key in Alibaba's KMS wraps only what it made.
        WrongKey, MalformedEnvelope: it cannot be opened.
    """
    del new_context, random_bytes
    if not isinstance(key, keys.RsaKey):
        raise TypeError("an OSS envelope is put under another RSA key only")
    opened = unlock_v2(envelope, ring, context)
    prefix = headers.OSS_V2_PREFIX
    iv = opened.first_counter.to_bytes(IV_BYTES, "big")
    kept = headers.envelope(envelope)
    kept.pop(prefix + "matdesc", None)
    if key.description:
        kept[prefix + "matdesc"] = descriptions.render(key.description)
    return kept | {
        prefix + "key": headers.encoded(key.wrap(keys.Padding.PKCS1, opened.key.reveal())),
        prefix + "start": headers.encoded(key.wrap(keys.Padding.PKCS1, iv)),
        prefix + "wrap-alg": WRAP_PKCS1,
    }


def lock_v1(
    key: keys.Key,
    context: Mapping[str, str] | str | None,
    random_bytes: Callable[[int], bytes],
) -> Locked:
    """Make an envelope of V1, for readers that know no other. Its start is one of ten.

    Raises:
        TypeError: a key of another kind than RSA or Alibaba's KMS.
    """
    start = 1 + random_bytes(1)[0] % 10
    if isinstance(key, keys.RsaKey):
        wrap = WRAP_V1_RSA
        data_key = secret.SecretKey(random_bytes(DATA_KEY_BYTES))
        wrapped = headers.encoded(key.wrap(keys.Padding.OAEP_SHA1, data_key.reveal()))
        counter = headers.encoded(key.wrap(keys.Padding.OAEP_SHA1, str(start).encode()))
    else:
        wrap = WRAP_V1_KMS
        data_key, wrapped, counter = _by_kms(key, context, str(start))
    return Locked(
        {
            "oss-crypto-key": wrapped,
            "oss-crypto-start": counter,
            "oss-cek-alg": CEK_V1,
            "oss-wrap-alg": wrap,
        },
        data_key,
        start,
    )


def _by_kms(
    key: keys.Key, context: Mapping[str, str] | str | None, start: str
) -> tuple[secret.SecretKey, str, str]:
    if not isinstance(key, keys.KmsKey) or not isinstance(key.service, kms.AlibabaKms):
        raise TypeError("OSS envelopes are made under RSA or Alibaba's KMS")
    own = context_text(context or key.context)
    plaintext, blob = key.service.generate(key.key_id, own)
    return _data_key(kms.data_key(plaintext)), blob, key.service.encrypt(key.key_id, start, own)
