"""Signature Version 2, in URLs and headers. The input is a request's head.

A customer's key is added to each request, and must not stand in a refusal.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fuzz import heads
from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import signature_v2

if TYPE_CHECKING:
    from strongroom.wire import message

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SECRET = "a secret of the fuzz target"  # noqa: S105 - it guards nothing
_KEY_HEADER = b"x-amz-server-side-encryption-customer-key"


def run(data: bytes) -> str:
    """Read a claim and verify it; where only the signature is wrong, again with the right one."""
    request, _ = heads.read(data)
    try:
        claim = signature_v2.claim(request)
    except Refused as refused:
        return refused.code
    if claim is None:
        return "no claim"
    ending, to_sign = _verify(claim, request)
    # What was no UTF-8 cannot be had back from what is shown.
    if ending == "SignatureDoesNotMatch" and b"\xef\xbf\xbd" not in to_sign:
        right = base64.b64encode(hmac.digest(SECRET.encode(), to_sign, "sha1")).decode()
        signed = dataclasses.replace(claim, signature=right)
        again, _ = _verify(signed, request)
        assert again == "verified" or b"(redacted)" in to_sign, "what is shown is what is signed"
        # Made of the input, so that no input can hold it by itself.
        customer_key = base64.b64encode(hashlib.sha256(data).digest())
        request.headers.append((_KEY_HEADER, customer_key))
        request = dataclasses.replace(request, _index=None)
        with_key, shown = _verify(signed, request)
        assert customer_key not in shown, "no refusal shows a customer's key"
        assert with_key != "verified" or claim.expires is not None, "a header signs the key, too"
    return ending


def _verify(claim: signature_v2.Claim, request: message.Request) -> tuple[str, bytes]:
    """Return how it ends, and what should have been signed."""
    try:
        signature_v2.verify(claim, request, SECRET, now=NOW, domains=("localhost",))
    except Refused as refused:
        return refused.code, bytes.fromhex(refused.fields.get("StringToSignBytes", ""))
    return "verified", b""
