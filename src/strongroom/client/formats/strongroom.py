"""sealed: our own client-side format, with what none of the others has at once.

Every segment is authenticated, so ranges are verified and streams release nothing that is
not. Parts are independent, so they can be sealed, sent and read in any order and in
parallel, and a part that is sent again is a new ciphertext, never the same nonce for
other bytes. The envelope is committed to one data key, may be under several master keys
of mixed kinds, and can be rewritten without touching the data.

Source: docs/formats/sealed-client.md.
"""

from __future__ import annotations

import hmac
import itertools
import json
from typing import TYPE_CHECKING, Any

from strongroom import errors
from strongroom.client import descriptions, headers, keys, kms
from strongroom.client.formats import parts
from strongroom.crypto import derive, encoding, gcm, geometry, secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from strongroom.client.headers import Envelope

    RandomBytes = Callable[[int], bytes]

VERSION = "1"
ID_BYTES = 16
MAC_BYTES = 32
DATA_KEY_BYTES = 32

DEFAULT_PART_BYTES = 8 * 1024 * 1024
"""Stored bytes of a part that is not the last: above S3's least part, and light on memory."""

MOST_RECIPIENTS = 64

AES, RSA, AWS_KMS, ALI_KMS = "aes", "rsa", "aws-kms", "ali-kms"

ID_IN_CONTEXT = "strongroom:id"
"""In AWS's encryption context: a wrapped key shows up in the KMS's log with its object."""

_ON_OBJECT = ("sealed", "id", "segment", "part", "context")
_MOVABLE = ("keys", "mac")
_NAMES = {headers.SEALED_PREFIX + name for name in _ON_OBJECT + _MOVABLE}


def _name(name: str) -> str:
    return headers.SEALED_PREFIX + name


def unlock(
    envelope: Envelope, ring: keys.KeyRing, context: Mapping[str, str] | None
) -> parts.Unlocked:
    """Open an envelope.

    Args:
        envelope: bare names.
        ring: the reader's keys.
        context: what the writer bound the object to; all of it.

    Raises:
        UnsupportedFormat: another version.
        MalformedEnvelope: a value is missing or makes no sense.
        WrongKey: no key opens it, or the context has other names than the writer's.
        NotAuthentic: the key is right, and the envelope is not what was written under it,
            or was bound to another context.
    """
    if headers.need(envelope, _name("sealed")) != VERSION:
        raise errors.UnsupportedFormat("a sealed envelope has an unknown version")
    if {name for name in envelope if headers.family(name)} - _NAMES:
        raise errors.MalformedEnvelope("a sealed envelope has a name that it cannot have")
    object_id = headers.raw(envelope, _name("id"), ID_BYTES)
    mac = headers.raw(envelope, _name("mac"), MAC_BYTES)
    layout = layout_of(envelope)
    recipients = _recipients(headers.need(envelope, _name("keys")))
    bound = bound_names(envelope)
    given = {name: value for name, value in (context or {}).items() if name in bound}
    if given.keys() != bound or (context or {}).keys() - bound:
        raise errors.WrongKey("the context has not the names that the object is bound to")
    data_key = _unwrap(recipients, ring, object_id)
    expected = _mac(data_key, object_id, layout, envelope[_name("keys")], given)
    if not hmac.compare_digest(mac, expected):
        raise errors.NotAuthentic("a sealed envelope is not what was written")
    return parts.Unlocked(object_id, layout, data_key)


def bound_names(envelope: Envelope) -> set[str]:
    """Return the names of the context that an object is bound to.

    Raises:
        MalformedEnvelope: they cannot be read.
    """
    text = envelope.get(_name("context"))
    if text is None:
        return set()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise errors.MalformedEnvelope("the names of a context are no JSON") from None
    if (
        not isinstance(found, list)
        or not found
        or not all(isinstance(name, str) for name in found)
        or len(set(found)) != len(found)
    ):
        raise errors.MalformedEnvelope("the names of a context are no list of names")
    return set(found)


def lock(
    recipients: Sequence[keys.Key],
    context: Mapping[str, str] | None,
    random_bytes: RandomBytes,
    *,
    part_bytes: int = DEFAULT_PART_BYTES,
    segment_bytes: int = geometry.SEGMENT_BYTES,
) -> tuple[dict[str, str], parts.Unlocked]:
    """Make a data key and the envelope that any one of the recipients opens.

    Raises:
        ValueError: no recipient, or sizes that make no layout.
        KmsCallFailed: a service did not wrap.
    """
    unlocked = parts.Unlocked(
        random_bytes(ID_BYTES),
        parts.Layout(segment_bytes, part_bytes),
        parts.DataKey(random_bytes(DATA_KEY_BYTES)),
    )
    return envelope_of(unlocked, recipients, context, random_bytes), unlocked


def envelope_of(
    unlocked: parts.Unlocked,
    recipients: Sequence[keys.Key],
    context: Mapping[str, str] | None,
    random_bytes: RandomBytes,
) -> dict[str, str]:
    """Return an envelope for an object: a new one's first, or another for one that is there.

    The second is how master keys are changed: only metadata are written.

    Raises:
        ValueError: there is no recipient, or there are too many.
        KmsCallFailed: a service did not wrap.
    """
    if not 1 <= len(recipients) <= MOST_RECIPIENTS:
        raise ValueError(f"a sealed object has 1 to {MOST_RECIPIENTS} recipients")
    wrapped = [_wrap(key, unlocked, random_bytes) for key in recipients]
    text = json.dumps(wrapped, separators=(",", ":"))
    bound = dict(context or {})
    layout = unlocked.layout
    envelope = {
        _name("sealed"): VERSION,
        _name("id"): headers.encoded(unlocked.object_id),
        _name("segment"): str(layout.segment_bytes),
        _name("part"): str(layout.part_bytes),
        _name("keys"): text,
        _name("mac"): headers.encoded(
            _mac(unlocked.data_key, unlocked.object_id, layout, text, bound)
        ),
    }
    if bound:
        envelope[_name("context")] = json.dumps(sorted(bound))
    return envelope


def divided(envelope: Envelope) -> tuple[dict[str, str], dict[str, str]]:
    """Return what must stay on the object, and what may go into an instruction file."""
    held = {name: value for name, value in envelope.items() if name in map(_name, _MOVABLE)}
    return {name: value for name, value in envelope.items() if name not in held}, held


def recipients_of(envelope: Envelope) -> list[dict[str, Any]]:
    """Return kind, description and key id of every recipient, for people to look at.

    Raises:
        MalformedEnvelope: they cannot be read.
    """
    return [
        {name: value for name, value in recipient.items() if name != "wrapped"}
        for recipient in _recipients(headers.need(envelope, _name("keys")))
    ]


# Envelopes, within


def layout_of(envelope: Envelope) -> parts.Layout:
    """Return how an object is divided, as its envelope says before anything vouches for that.

    Raises:
        MalformedEnvelope: it does not say, or so that it cannot be.
    """
    segment, part = (headers.number(envelope, _name(name)) for name in ("segment", "part"))
    if segment is None or part is None:
        raise errors.MalformedEnvelope("a sealed envelope does not say how it is divided")
    try:
        return parts.Layout(segment, part)
    except ValueError as error:
        raise errors.MalformedEnvelope(str(error)) from None


def _mac(
    data_key: parts.DataKey,
    object_id: bytes,
    layout: parts.Layout,
    recipients: str,
    context: Mapping[str, str],
) -> bytes:
    pairs: Iterable[tuple[str, str]] = sorted(context.items())
    text = encoding.encode(
        derive.Label.CLIENT_ENVELOPE,
        object_id,
        layout.segment_bytes,
        layout.part_bytes,
        recipients,
        *itertools.chain.from_iterable(pairs),
    )
    return hmac.digest(data_key.mac_key().reveal(), text, "sha256")


def _recipients(text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise errors.MalformedEnvelope("the recipients of an envelope are no JSON") from None
    if not isinstance(found, list) or not 1 <= len(found) <= MOST_RECIPIENTS:
        raise errors.MalformedEnvelope("an envelope has no recipients, or too many")
    for recipient in found:
        if (
            not isinstance(recipient, dict)
            or not isinstance(recipient.get("kind"), str)
            or not isinstance(recipient.get("wrapped"), str)
            or not isinstance(recipient.get("description", {}), dict)
        ):
            raise errors.MalformedEnvelope("a recipient of an envelope is not whole")
    return found


def _wrap(key: keys.Key, unlocked: parts.Unlocked, random_bytes: RandomBytes) -> dict[str, Any]:
    data_key = unlocked.data_key
    recipient: dict[str, Any] = {}
    if isinstance(key, keys.AesKey):
        if len(key.key) != derive.KEY_BYTES:
            raise ValueError("a sealed object is under AES keys of 32 bytes")
        aad = encoding.encode(derive.Label.CLIENT_WRAP, unlocked.object_id)
        recipient["kind"] = AES
        wrapped = gcm.seal(key.key, aad, data_key.reveal(), random_bytes)
    elif isinstance(key, keys.RsaKey):
        recipient["kind"] = RSA
        wrapped = key.wrap(keys.Padding.OAEP_SHA256, data_key.reveal())
    elif isinstance(key.service, kms.AwsKms):
        recipient |= {"kind": AWS_KMS, "key": key.key_id}
        context = _aws_context(key, unlocked.object_id)
        wrapped = key.service.encrypt(key.key_id, data_key, context)
    else:
        recipient |= {"kind": ALI_KMS, "key": key.key_id}
        text = headers.encoded(data_key.reveal())
        wrapped = key.service.encrypt(key.key_id, text, _ali_context(key)).encode()
    if key.description:
        recipient["description"] = key.description
    recipient["wrapped"] = headers.encoded(wrapped)
    return recipient


def _unwrap(
    recipients: list[dict[str, Any]], ring: keys.KeyRing, object_id: bytes
) -> parts.DataKey:
    """Return the data key that the first recipient and key to fit each other give.

    A key is tried where kind and description agree; for a recipient without description
    every key of its kind is.
    """
    for recipient in recipients:
        try:
            fitting = ring.fitting(recipient.get("description", {}))
        except errors.WrongKey:
            continue
        wrapped = headers.raw({"wrapped": recipient["wrapped"]}, "wrapped")
        for key in fitting:
            try:
                found = _opened(recipient["kind"], wrapped, key, object_id)
            except (errors.WrongKey, errors.NotAuthentic):
                continue
            if found is not None and len(found) == DATA_KEY_BYTES:
                return parts.DataKey(found.reveal())
    raise errors.WrongKey("no key opens this object")


def _opened(kind: str, wrapped: bytes, key: keys.Key, object_id: bytes) -> secret.SecretKey | None:
    if kind == AES and isinstance(key, keys.AesKey):
        aad = encoding.encode(derive.Label.CLIENT_WRAP, object_id)
        return secret.SecretKey(gcm.unseal(key.key, aad, wrapped))
    if kind == RSA and isinstance(key, keys.RsaKey):
        return key.unwrap(keys.Padding.OAEP_SHA256, wrapped)
    if isinstance(key, keys.KmsKey):
        if kind == AWS_KMS and isinstance(key.service, kms.AwsKms):
            return key.service.decrypt(key.key_id, wrapped, _aws_context(key, object_id))
        if kind == ALI_KMS and isinstance(key.service, kms.AlibabaKms):
            try:
                blob = wrapped.decode("ascii")
            except UnicodeDecodeError:
                raise errors.MalformedEnvelope("a KMS's blob is no text") from None
            return kms.data_key(key.service.decrypt(blob, _ali_context(key)))
    return None


def _aws_context(key: keys.KmsKey, object_id: bytes) -> dict[str, str]:
    if isinstance(key.context, str):
        raise ValueError("the context of a key in AWS KMS is a mapping")  # noqa: TRY004 - of two allowed types
    return {**(key.context or {}), ID_IN_CONTEXT: headers.encoded(object_id)}


def _ali_context(key: keys.KmsKey) -> str:
    if isinstance(key.context, str):
        return key.context
    return descriptions.canonical(key.context) if key.context else ""
