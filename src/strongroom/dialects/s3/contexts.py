"""What policies can ask about a request to S3: its condition keys.

Source: Service Authorization Reference, "Condition keys for Amazon S3"; IAM user
guide, "AWS global condition context keys".
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC
from math import ceil
from typing import TYPE_CHECKING, Final

from strongroom.access import global_keys
from strongroom.crypto import secret
from strongroom.dialects.s3 import routes
from strongroom.keyring import sources
from strongroom.wire import scalars

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from strongroom.access import identities
    from strongroom.dialects import pipeline
    from strongroom.dialects.s3 import signing
    from strongroom.wire import message

Keys = dict[str, tuple[str, ...]]

_HEADERS: Final = (
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-object-ownership",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
)
"""Headers whose condition key is their name."""
LOCK_MODE: Final = "s3:object-lock-mode"
LEGAL_HOLD: Final = "s3:object-lock-legal-hold"
_RETAIN_UNTIL: Final = "x-amz-object-lock-retain-until-date"
_OTHER_HEADERS: Final = {
    "x-amz-object-lock-mode": LOCK_MODE,
    "x-amz-object-lock-legal-hold": LEGAL_HOLD,
    "if-match": "s3:if-match",
    "if-none-match": "s3:if-none-match",
    "referer": "aws:referer",
    "user-agent": "aws:useragent",
}
_PARAMETERS: Final = {
    "prefix": "s3:prefix",
    "delimiter": "s3:delimiter",
    "max-keys": "s3:max-keys",
    "versionId": "s3:versionid",
}
_DAY_S: Final = 24 * 60 * 60
_TAGGING: Final = "x-amz-tagging"
REQUEST_TAG: Final = "s3:requestobjecttag/"
REQUEST_TAG_KEYS: Final = "s3:requestobjecttagkeys"

FINGERPRINT: Final = "strongroom:customer-key-fingerprint"
"""Of the customer's key that an object is written or read with, in hex. Ours."""
_CUSTOMER_KEY: Final = b"x-amz-server-side-encryption-customer-key"


def condition_keys(
    request: message.Request,
    routed: pipeline.Routed,
    principal: identities.Principal,
    signed: signing.Signed | None,
    now_ms: int,
    fingerprint: Callable[[secret.SecretKey], bytes],
) -> Keys:
    """Return the condition keys of a request; those of its bucket and object come elsewhere."""
    found = global_keys.of_request(
        principal, now_ms, secure=request.secure, peer=request.peer, user_agent=None
    )
    if signed is not None:
        found["s3:authtype"] = (signed.carrier,)
        found["s3:signatureversion"] = (signed.version,)
        if signed.at is not None:
            age_ms = now_ms - int(signed.at.timestamp() * 1000)
            found["s3:signatureage"] = (str(max(age_ms, 0)),)
    _add_headers(found, request, routed, now_ms)
    for name, value in routed.query:
        if name in _PARAMETERS:
            found[_PARAMETERS[name]] = (value,)
    key = customer_key(request)
    if key is not None:
        found[FINGERPRINT] = (fingerprint(key).hex(),)
    return found


def customer_key(
    request: message.Request, header: bytes = _CUSTOMER_KEY
) -> secret.SecretKey | None:
    """Return the customer's key that a request brings for its object, judged by nobody yet.

    Or by another header, for the source of a copy. None also for one that can be no key: whoever binds the request says what is wrong with it.
    """
    encoded = request.header(header)
    if encoded is None:
        return None
    try:
        raw = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return None
    return secret.SecretKey(raw) if len(raw) == sources.CUSTOMER_KEY_BYTES else None


def _add_headers(
    found: Keys, request: message.Request, routed: pipeline.Routed, now_ms: int
) -> None:
    # A presigned URL may carry such headers as parameters; binding refuses those that differ.
    hoisted = {
        name.lower(): value for name, value in routed.query if name.lower().startswith("x-amz-")
    }

    def sent(name: str) -> str | None:
        value = request.header(name.encode())
        return hoisted.get(name) if value is None else value.decode("latin-1")

    for name in _HEADERS:
        value = sent(name)
        if value is not None:
            found[f"s3:{name}"] = (value.removeprefix("/") if "copy-source" in name else value,)
    for name, key in _OTHER_HEADERS.items():
        value = sent(name)
        if value is not None:
            found[key] = (value,)
    until = sent(_RETAIN_UNTIL)
    if until is not None:
        try:
            found |= retention_keys(None, scalars.read_time(until), now_ms)
        except ValueError:
            # What is wrong with it, the handler will say; no policy is to overlook it.
            found["s3:object-lock-retain-until-date"] = (until,)
    tagging = sent(_TAGGING)
    if tagging is not None:
        found |= tag_keys(dict(_tags(tagging)))


def _tags(header: str) -> list[tuple[str, str]]:
    """Read a tagging header; what is wrong with it, the handler will say."""
    pairs: list[tuple[str, str]] = []
    for piece in filter(None, header.encode("latin-1", "replace").split(b"&")):
        name, _, value = piece.partition(b"=")
        try:
            pairs.append((routes.form_text(name), routes.form_text(value)))
        except UnicodeDecodeError:
            continue
    return pairs


def retention_keys(mode: str | None, until: datetime | None, now_ms: int) -> Keys:
    """Return the condition keys of a retention that a request asks for.

    The days that remain are rounded up: who asks for ten days, counted from a moment before
    this one, asks for ten.
    """
    found: Keys = {}
    if mode is not None:
        found[LOCK_MODE] = (mode,)
    if until is not None:
        remaining_s = until.timestamp() - now_ms / 1000
        found["s3:object-lock-retain-until-date"] = (iso_date(until),)
        found["s3:object-lock-remaining-retention-days"] = (str(ceil(remaining_s / _DAY_S)),)
    return found


def hold_keys(status: str | None) -> Keys:
    """Return the condition keys of a legal hold that a request asks for."""
    return {} if status is None else {LEGAL_HOLD: (status,)}


def iso_date(moment: datetime) -> str:
    """Return a time as policies and refusals show it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def tag_keys(tags: dict[str, str]) -> Keys:
    """Return the condition keys of the tags that a request brings."""
    found: Keys = {REQUEST_TAG + name: (value,) for name, value in tags.items()}
    if tags:
        found[REQUEST_TAG_KEYS] = tuple(tags)
    return found
