"""Signature Version 2: presigned URLs as boto3 makes them unless told otherwise, and headers.

    HMAC-SHA1(secret, method LF content-md5 LF content-type LF date or expires LF
              x-amz headers, each `name:value` LF, sorted
              resource, its telling parameters sorted)

Why: docs/decisions/0014-signature-version-2.md.

Source: S3 user guide, "Signing and authenticating REST requests (AWS signature
version 2)", "Query string request authentication alternative"; texts of errors as S3
answers them.
"""

from __future__ import annotations

import base64
import hmac
import itertools
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import canonical, routes, signing
from strongroom.wire import scalars

if TYPE_CHECKING:
    from collections.abc import Iterable

    from strongroom.crypto.secret import SecretKey
    from strongroom.wire import message

MAX_EXPIRES: Final = timedelta(days=7)
"""Ours, as long as a URL of version 4 may live: AWS sets no limit."""

_PARAMETERS: Final = ("AWSAccessKeyId", "Signature", "Expires")
_MECHANISM: Final = signing.VERSION_2.encode()
_NEWER: Final = frozenset({"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"})
_DIGITS: Final = 12
_BEFORE_TIME: Final = datetime(1969, 1, 1, tzinfo=UTC)
"""A date before 1970 is none to S3 (Ceph's s3-tests, as run against S3)."""
_CUSTOMER: Final = b"x-amz-server-side-encryption-customer-"
_CUSTOMER_KEY: Final = (_CUSTOMER + b"key", _CUSTOMER + b"key-md5")
SIGNED_PARAMETERS: Final = frozenset({
    b"abac", b"accelerate", b"acl", b"analytics", b"attributes", b"cors", b"delete", b"encryption",
    b"intelligent-tiering", b"inventory", b"legal-hold", b"lifecycle", b"location", b"logging",
    b"metrics", b"notification", b"object-lock", b"ownershipControls", b"partNumber", b"policy",
    b"policyStatus", b"publicAccessBlock", b"replication", b"requestPayment", b"restore",
    b"retention", b"select", b"select-type", b"tagging", b"torrent", b"uploadId", b"uploads",
    b"versionId", b"versioning", b"versions", b"website",
    b"x-strongroom-replica", b"x-strongroom-replica-blob", b"x-strongroom-replica-marker",
    b"response-cache-control", b"response-content-disposition", b"response-content-encoding",
    b"response-content-language", b"response-content-type", b"response-expires",
})  # fmt: skip
"""Parameters that are signed: those that tell operations apart, and what overrides headers.

Some are younger than version 2, and SDKs leave them out. They are signed here all the same: else
whoever holds a URL of an object could make of it one of the object's retention."""

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name (RFC 9110, 5.6.2)."""
_HIDDEN: Final = re.compile(rb"&(?:" + b"|".join(sorted(SIGNED_PARAMETERS)) + rb")(?=[=&]|\Z)")
"""A signed parameter inside the value of another."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says about its signature; nothing of it is proven yet.

    Attributes:
        access_key: whose secret is to be looked up.
        signature: base64, as sent.
        expires: of a URL: the end of its life, in seconds since the epoch, as sent.
        session_token: of temporary credentials.
    """

    access_key: str
    signature: str = field(repr=False)
    expires: str | None
    session_token: str | None = field(repr=False)


def claim(request: message.Request) -> Claim | None:
    """Read what a request says about a signature of version 2; None if it says nothing.

    Raises:
        Refused: it is signed in part or twice, or one of the parameters comes twice.
    """
    authorization = request.header(b"authorization") or b""
    if not request.raw_query and authorization.strip().partition(b" ")[0] != _MECHANISM:
        return None
    found: dict[str, str] = {}
    newer = False
    token = request.header(b"x-amz-security-token")
    for raw_name, raw_value in canonical.split(request.raw_query):
        name = canonical.decode(raw_name).decode("latin-1")
        if name in _PARAMETERS:
            if name in found:
                raise Refused("AccessDenied", f"{name} is given twice")
            found[name] = canonical.decode(raw_value).decode("latin-1")
        elif name.lower() == "x-amz-security-token":
            token = canonical.decode(raw_value)
        newer = newer or name in _NEWER
    session_token = None if token is None else token.decode("latin-1")
    header = authorization.decode("latin-1").strip()
    by_header = header.partition(" ")[0] == signing.VERSION_2
    by_url = "Signature" in found or "AWSAccessKeyId" in found
    if not by_header and not by_url:
        return None
    if newer or (by_url and header):
        raise signing.two_mechanisms()
    if by_header:
        return _header_claim(header, session_token)
    if any(not found.get(name) for name in _PARAMETERS):
        raise Refused(
            "AccessDenied",
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId"
            " parameters",
        )
    return Claim(found["AWSAccessKeyId"], found["Signature"], found["Expires"], session_token)


def said_of_body(request: message.Request, *, in_url: bool) -> bytes:
    """Return what a request says of its body's digest or framing; empty if it says nothing.

    Args:
        request: as it arrived.
        in_url: whether what is a header may stand in the URL, as version 2 signs both.
    """
    said = request.header(b"x-amz-content-sha256")
    if said is None and in_url:
        for raw_name, raw_value in canonical.split(request.raw_query):
            if canonical.decode(raw_name).lower() == b"x-amz-content-sha256":
                said = canonical.decode(raw_value)
    return (said or b"").strip()


def _header_claim(header: str, session_token: str | None) -> Claim:
    access_key, colon, provided = header.partition(" ")[2].strip().partition(":")
    if not access_key or not colon or not provided:
        # S3 shows the value here. It may be somebody's secret: we do not.
        raise Refused(
            "InvalidArgument",
            "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature",
            ArgumentName="Authorization",
        )
    return Claim(access_key, provided, None, session_token)


def verify(
    claim: Claim,
    request: message.Request,
    secret: SecretKey | str,
    *,
    now: datetime,
    domains: Iterable[str],
) -> signing.Signed:
    """Return how a request was signed, if its claim holds.

    Whoever uses a URL that was signed for SSE-C brings the key, so with a URL a
    customer's key and its MD5 may be unsigned where the algorithm is signed; it always is,
    like every other x-amz-* header.

    Args:
        claim: what `claim` read from the same request.
        request: as it arrived.
        secret: the secret that belongs to the claim's access key.
        now: the time here.
        domains: names under which a host `BUCKET.NAME` names a bucket.

    Raises:
        Refused: its time is over or too far, or it is not the request's signature.
    """
    signed = (
        _check_date(request, now) if claim.expires is None else _check_expiry(claim.expires, now)
    )
    raw_secret = signing.raw(secret)
    amz = _amz_headers(request)
    resource = _resource(request, domains)
    provided = claim.signature.encode("latin-1")
    candidates = [amz]
    if claim.expires is not None:
        candidates.append({n: v for n, v in amz.items() if n not in _CUSTOMER_KEY})
    # botocore signs `/bucket/` and sends `/bucket`; to S3 both are the bucket.
    path, mark, parameters = resource.partition(b"?")
    spellings = [resource, path + b"/" + mark + parameters] if path.count(b"/") == 1 else [resource]
    for headers, spelling in itertools.product(candidates, spellings):
        to_sign = _string_to_sign(claim, request, headers, spelling)
        computed = base64.b64encode(hmac.digest(raw_secret, to_sign, "sha1"))
        if hmac.compare_digest(computed, provided):
            return signed
    shown = {n: b"(redacted)" if _is_secret(n) else v for n, v in amz.items()}
    raise signing.mismatch(
        claim.access_key,
        _string_to_sign(claim, request, shown, resource).decode("utf-8", "replace"),
        claim.signature,
    )


def _check_date(request: message.Request, now: datetime) -> signing.Signed:
    raw = request.header(b"x-amz-date") or request.header(b"date") or b""
    try:
        moment = scalars.read_time(raw.decode("latin-1"))
    except ValueError:
        moment = _BEFORE_TIME
    if moment.year < _BEFORE_TIME.year + 1:
        raise Refused(
            "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header"
        )
    if abs(now - moment) > signing.MAX_SKEW:
        raise signing.too_skewed(raw.decode("latin-1"), now)
    return signing.Signed(signing.VERSION_2, signing.HEADER, moment)


def _check_expiry(text: str, now: datetime) -> signing.Signed:
    if not (text.isascii() and text.isdigit()) or len(text) > _DIGITS:
        raise Refused("AccessDenied", f"Invalid date (should be seconds since epoch): {text}")
    seconds = int(text)
    if now.timestamp() >= seconds:
        raise Refused(
            "AccessDenied",
            "Request has expired",
            Expires=signing.shown_time(datetime.fromtimestamp(seconds, UTC)),
            ServerTime=signing.shown_time(now),
        )
    if seconds - now.timestamp() > MAX_EXPIRES.total_seconds():
        raise Refused(
            "AccessDenied",
            "Expires must be less than a week away",
            ServerTime=signing.shown_time(now),
        )
    return signing.Signed(signing.VERSION_2, signing.QUERY)


def _string_to_sign(
    claim: Claim, request: message.Request, amz: dict[bytes, bytes], resource: bytes
) -> bytes:
    lines = [
        request.method.encode("latin-1"),
        (request.header(b"content-md5") or b"").strip(),
        (request.header(b"content-type") or b"").strip(),
        _moment(claim, request),
        *(name + b":" + amz[name] for name in sorted(amz)),
        resource,
    ]
    return b"\n".join(lines)


def _moment(claim: Claim, request: message.Request) -> bytes:
    """Return what stands for the time: the date has its place among the x-amz-* headers, if there."""
    if claim.expires is not None:
        return claim.expires.encode("latin-1")
    return b"" if request.header(b"x-amz-date") else (request.header(b"date") or b"").strip()


def _amz_headers(request: message.Request) -> dict[bytes, bytes]:
    """Return the x-amz-* headers, those that came as parameters among them.

    Raises:
        Refused: one came in both ways and says different things, or reads as others when signed.
    """
    found: dict[bytes, bytes] = {}
    for name, value in request.headers:
        if name.startswith(b"x-amz-"):
            _check_line(name, value)
            stripped = value.strip()
            found[name] = found[name] + b"," + stripped if name in found else stripped
    for raw_name, raw_value in canonical.split(request.raw_query):
        name = canonical.decode(raw_name).lower()
        if name.startswith(b"x-amz-"):
            decoded = canonical.decode(raw_value)
            _check_line(name, decoded)
            value = decoded.strip()
            if found.setdefault(name, value) != value:
                raise Refused(
                    "AccessDenied", "A header and a parameter of the URL contradict each other"
                )
    return found


def _check_line(name: bytes, value: bytes) -> None:
    """Refuse what makes the same signed lines as other headers do.

    Nothing is escaped there: `x-amz-acl%3Aprivate%0Ax-amz-tagging=a` would carry the signature
    of two headers, and be none that is known.

    Raises:
        Refused: it is no name of a header, or more than a line.
    """
    if _TOKEN.fullmatch(name) is None or b"\n" in value or b"\r" in value:
        raise _ambiguous()


def _ambiguous() -> Refused:
    return Refused("AccessDenied", "What version 2 signs of this request could mean another one")


def _resource(request: message.Request, domains: Iterable[str]) -> bytes:
    """Return the path with the bucket, and the signed parameters.

    Raises:
        Refused: a parameter's value holds what reads as another parameter when signed.
    """
    path = request.raw_path
    bucket = routes.bucket_of_host(request.header(b"host") or b"", tuple(domains))
    if bucket is not None:
        path = b"/" + bucket.encode("latin-1") + path
    signed = []
    for raw_name, raw_value in canonical.split(request.raw_query):
        name = canonical.decode(raw_name)
        if name in SIGNED_PARAMETERS:
            value = canonical.decode(raw_value)
            if _HIDDEN.search(value) is not None:
                raise _ambiguous()
            signed.append((name, name + b"=" + value if value else name))
    if signed:
        path += b"?" + b"&".join(pair for _, pair in sorted(signed))
    return path


def _is_secret(name: bytes) -> bool:
    return name.decode("latin-1").startswith(canonical.REDACTED)
