"""Signature Version 4 as AWS's JSON services ask for it: a header, over the whole body.

S3's own variant (query, chunks, unsigned payloads, its paths) is S3's affair; here the
path is encoded, the body is always hashed, and refusals have other names.

Source: AWS General Reference, "Signature Version 4 signing process"; AWS KMS API
Reference, "Common Errors".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from strongroom.dialects.operation import Refused

if TYPE_CHECKING:
    from strongroom.crypto import secret
    from strongroom.wire import message

ALGORITHM: Final = "AWS4-HMAC-SHA256"
SERVICE: Final = "kms"
MAX_SKEW: Final = timedelta(minutes=15)
# What says who means what and where; unsigned, it could be exchanged.
_MUST_BE_SIGNED: Final = ("host", "x-amz-target")
_AMZ_DATE: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_SCOPE_PIECES: Final = 5


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says about its signature; nothing of it is proven yet."""

    access_key: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str = field(repr=False)
    signed_at: datetime
    timestamp: str

    @property
    def scope(self) -> str:
        """The credential scope, without the access key."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


def claim(request: message.Request) -> Claim:
    """Read what a request says about its signature.

    Raises:
        Refused: it says nothing, or what cannot be read.
    """
    header = request.header(b"authorization")
    if header is None:
        raise Refused("MissingAuthenticationTokenException", "Missing Authentication Token")
    kind, _, rest = header.decode("latin-1").strip().partition(" ")
    if kind != ALGORITHM:
        raise Refused(
            "IncompleteSignatureException", "Unsupported AWS 'algorithm'; use AWS4-HMAC-SHA256."
        )
    pieces = {
        name.strip(): value.strip()
        for name, _, value in (piece.partition("=") for piece in rest.split(","))
    }
    missing = [
        name for name in ("Credential", "Signature", "SignedHeaders") if not pieces.get(name)
    ]
    if missing:
        raise Refused(
            "IncompleteSignatureException",
            " ".join(f"Authorization header requires '{name}' parameter." for name in missing),
        )
    scope = pieces["Credential"].rsplit("/", _SCOPE_PIECES - 1)
    if len(scope) != _SCOPE_PIECES or scope[-1] != "aws4_request":
        raise Refused("IncompleteSignatureException", "The Credential cannot be read.")
    timestamp = (request.header(b"x-amz-date") or b"").decode("latin-1")
    if _AMZ_DATE.fullmatch(timestamp) is None:
        raise Refused(
            "IncompleteSignatureException",
            "Authorization header requires an 'X-Amz-Date' header in the form YYYYMMDDTHHMMSSZ.",
        )
    try:
        signed_at = datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused("IncompleteSignatureException", "X-Amz-Date is no date.") from None
    return Claim(
        access_key=scope[0],
        date=scope[1],
        region=scope[2],
        service=scope[3],
        signed_headers=tuple(pieces["SignedHeaders"].lower().split(";")),
        signature=pieces["Signature"],
        signed_at=signed_at,
        timestamp=timestamp,
    )


def verify(
    claim: Claim,
    request: message.Request,
    body: bytes,
    secret_key: secret.SecretKey,
    *,
    now: datetime,
    region: str,
) -> None:
    """Return if a claim holds.

    Raises:
        Refused: for another place or time, with unsigned headers, or with a signature
            that is not the request's.
    """
    if claim.service != SERVICE or claim.region != region:
        raise Refused(
            "InvalidSignatureException",
            f"Credential should be scoped to a valid region and service: '{region}/{SERVICE}'.",
        )
    if not claim.timestamp.startswith(claim.date):
        raise Refused(
            "InvalidSignatureException", "The date of the Credential is not that of X-Amz-Date."
        )
    if abs(now - claim.signed_at) > MAX_SKEW:
        early = claim.signed_at < now
        raise Refused(
            "InvalidSignatureException",
            f"Signature {'expired' if early else 'not yet current'}: {claim.timestamp} is more than"
            f" 15 min. {'earlier' if early else 'later'} than {now:%Y%m%dT%H%M%SZ}",
        )
    if unsigned := [
        name
        for name in _MUST_BE_SIGNED
        if name not in claim.signed_headers and request.header(name.encode()) is not None
    ]:
        raise Refused(
            "InvalidSignatureException", f"These headers must be signed: {', '.join(unsigned)}."
        )
    key = b"AWS4" + secret_key.reveal()
    for part in (claim.date, claim.region, claim.service, "aws4_request"):
        key = hmac.digest(key, part.encode("latin-1"), "sha256")
    form = hashlib.sha256(_canonical(request, body, claim.signed_headers)).hexdigest()
    to_sign = f"{ALGORITHM}\n{claim.timestamp}\n{claim.scope}\n{form}"
    computed = hmac.digest(key, to_sign.encode("latin-1"), "sha256").hex()
    if not hmac.compare_digest(computed.encode(), claim.signature.encode("latin-1")):
        # AWS shows the canonical form too. Its headers are nobody's business but the client's.
        raise Refused(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check"
            " your AWS Secret Access Key and signing method. Consult the service documentation for"
            " details.",
        )


def _canonical(request: message.Request, body: bytes, signed_headers: tuple[str, ...]) -> bytes:
    lines = [
        request.method.encode("latin-1"),
        # Encoded once more than it is sent, as everywhere but in S3.
        quote_from_bytes(request.raw_path, safe="/~").encode(),
        _query(request.raw_query),
    ]
    for name in signed_headers:
        value = request.header(name.encode("latin-1")) or b""
        lines.append(name.encode("latin-1") + b":" + b" ".join(value.split()))
    lines += [
        b"",
        ";".join(signed_headers).encode("latin-1"),
        hashlib.sha256(body).hexdigest().encode(),
    ]
    return b"\n".join(lines)


def _query(raw_query: bytes) -> bytes:
    pairs = []
    for pair in raw_query.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            pairs.append(
                tuple(
                    quote_from_bytes(unquote_to_bytes(piece), safe="~").encode()
                    for piece in (name, value)
                )
            )
    return b"&".join(b"=".join(pair) for pair in sorted(pairs))
