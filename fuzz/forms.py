"""Browser forms: the encoding, the signature's fields, the policy. The input is a form.

Its first line is the Content-Type. A form that a policy allows is checked again by rules
that are written here a second time, so that no malformed document allows anything. A
customer's key is added, and must not stand in a refusal.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

from strongroom import errors
from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import form_signature, post_policy, signing
from strongroom.wire import form

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REGION = "us-east-1"
SECRET = "a secret of the fuzz target"  # noqa: S105 - it guards nothing
_KEY = "x-amz-server-side-encryption-customer-key"
_EXEMPT = ("x-amz-signature", "signature", "awsaccesskeyid", "policy", "file")


def run(data: bytes) -> str:
    """Decode a form, whole and byte by byte, and judge it."""
    kind, _, body = data.partition(b"\n")
    try:
        boundary = form.boundary_of(kind.strip())
    except errors.BodyMalformed:
        return "BodyMalformed"
    if boundary is None:
        return "no form"
    try:
        found, content = _decode(boundary, [body])
    except errors.BadBody as error:
        _check_refused(boundary, body)
        return type(error).__name__
    again, same = _decode(boundary, [body[at : at + 1] for at in range(len(body))])
    assert (found.fields, found.filename, content) == (again.fields, again.filename, same), (
        "a form means the same in any pieces"
    )
    customer_key = base64.b64encode(hashlib.sha256(data).digest())
    found.fields.setdefault(_KEY, customer_key)
    found.fields["bucket"] = b"bucket"
    try:
        return _judge(found)
    except Refused as refused:
        told = f"{refused!r} {refused.message} {refused.fields}"
        assert customer_key.decode() not in told, "no refusal shows a customer's key"
        told.encode()  # a document can hold it
        return refused.code


def _decode(boundary: bytes, pieces: list[bytes]) -> tuple[form.Form, bytes]:
    decoder = form.Decoder(boundary, max_fields_bytes=4096, max_after_bytes=1024)
    for number, piece in enumerate(pieces, 1):
        if decoder.feed_fields(piece):
            rest = [decoder.unread(), *pieces[number:]]
            content = b"".join(bytes(got) for each in rest for got in decoder.feed(each))
            decoder.finish()
            return decoder.form, content
    decoder.finish()
    raise form.FileMissing(0)


def _check_refused(boundary: bytes, body: bytes) -> None:
    try:
        _decode(boundary, [body[at : at + 1] for at in range(len(body))])
    except errors.BadBody:
        return
    raise AssertionError("what is refused whole is refused in pieces")


def _judge(found: form.Form) -> str:
    claim = form_signature.claim(found, version_2=True)
    if claim is None:
        return "anonymous"
    keys = signing.SigningKeys()
    try:
        form_signature.verify(claim, SECRET, region=REGION, keys=keys)
    except Refused as refused:
        if refused.code != "SignatureDoesNotMatch":
            raise
        form_signature.verify(_signed(claim, keys), SECRET, region=REGION, keys=keys)
    values = {name: found.text(name) or "" for name in found.fields}
    post_policy.judge(post_policy.parse(claim.policy), values, found.names, NOW)
    _check_allowed(claim.policy, values)
    return "allowed"


def _signed(claim: form_signature.Claim, keys: signing.SigningKeys) -> form_signature.Claim:
    """Return the claim with the right signature."""
    policy = claim.policy.encode("utf-8", "surrogateescape")
    if claim.version == 2:  # noqa: PLR2004 - the version's own name
        right = base64.b64encode(hmac.digest(SECRET.encode(), policy, "sha1")).decode()
    else:
        right = keys.derive(claim, SECRET.encode()).digest(policy).hex()
    values = {name: getattr(claim, name) for name in claim.__slots__}
    return form_signature.Claim(**values | {"signature": right})


def _check_allowed(policy: str, values: dict[str, str]) -> None:
    text = base64.b64decode("".join(policy.split())).decode()
    if "\\$" in text or "\\v" in text:
        return
    document: Any = json.loads(text)
    assert document["expiration"] > "2026-01-02T03:04:04", "it has not expired"
    named = set()
    for condition in document["conditions"]:
        if isinstance(condition, dict):
            ((name, wanted),) = condition.items()
            assert values[name.lower()] == wanted, "an exact condition holds"
            named.add(name.lower())
        elif condition[0].lower() != "content-length-range":
            named.add(condition[1].removeprefix("$").lower())
    for name in values:
        assert name in named or name in _EXEMPT or name.startswith("x-ignore-"), "it is covered"
