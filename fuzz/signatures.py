"""Signatures, in headers and in queries. The input is a request's head.

A customer's key is added to each request. It must not stand in a refusal,
although S3's refusals quote the request, and the server's do so too.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fuzz import heads
from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import signature, signing

if TYPE_CHECKING:
    from strongroom.wire import message

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REGION = "us-east-1"
SECRET = "a secret of the fuzz target"  # noqa: S105 - it guards nothing
_SIGNED_CHUNKS = (signature.Payload.STREAMING, signature.Payload.STREAMING_TRAILER)
_KEY_HEADER = b"x-amz-server-side-encryption-customer-key"


def run(data: bytes) -> str:
    """Read a claim and verify it."""
    request, body = heads.read(data)
    # Made of the input, so that no input can hold it by itself.
    customer_key = base64.b64encode(hashlib.sha256(data).digest())
    request.headers.append((_KEY_HEADER, customer_key))
    if request.raw_query:
        request.raw_query += b"&" + _KEY_HEADER + b"=" + customer_key
    try:
        claim = signature.claim(request, body=body if b"sts" in data else None)
        if claim is None:
            return "no claim"
        _verify(claim, request)
    except Refused as refused:
        told = f"{refused!r} {refused} {refused.message} {refused.fields}"
        assert customer_key.decode() not in told, "no refusal shows a customer's key"
        assert customer_key.hex(" ") not in told, "nor in hexadecimal"
        return refused.code
    return "verified"


def _verify(claim: signature.Claim, request: message.Request) -> None:
    """Verify as sent; where only the signature is wrong, again with the right one."""
    keys = signing.SigningKeys()
    try:
        signature.verify(claim, request, SECRET, now=NOW, region=REGION, keys=keys)
    except Refused as refused:
        if refused.code == "SignatureDoesNotMatch":
            to_sign = refused.fields["StringToSign"].encode()
            key = keys.derive(claim, SECRET.encode())
            claim.signature = key.digest(to_sign).hex()
            verified = signature.verify(claim, request, SECRET, now=NOW, region=REGION, keys=keys)
            assert verified.claim is claim, "it is the claim that was verified"
            if verified.payload in _SIGNED_CHUNKS:
                _check_chunks(verified)
        raise


def _check_chunks(verified: signature.Verified) -> None:
    verifier = verified.chunk_verifier()
    verifier.update(b"data")
    try:
        verifier.end_chunk(b"0" * 64)
    except Refused:
        return
    raise AssertionError("a wrong signature of a chunk is refused")
