"""Signature Version 4: who signed a request, and whether the signature holds.

Three steps: `claim` reads what a request says about its signature, the pipeline
looks up the secret of the access key, `verify` decides. All of it is pure.

Sources: Amazon S3 API Reference, "Authenticating Requests (AWS Signature Version
4)" and its pages on headers, query parameters, chunks and trailing headers; texts of
errors as S3 answers them.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import canonical, signing
from strongroom.wire import scalars

if TYPE_CHECKING:
    from strongroom.crypto import mac
    from strongroom.crypto.secret import SecretKey
    from strongroom.wire import message

MAX_EXPIRES_S = 7 * 24 * 3600
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"

_THREE_COMPONENTS: Final = (
    "the authorization header requires three components: Credential, SignedHeaders, and Signature."
)
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_PARAMETERS = (
    "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date",
    "X-Amz-SignedHeaders", "X-Amz-Expires",
)  # fmt: skip
_FURTHER_PARAMETERS = ("X-Amz-Content-Sha256", "X-Amz-Security-Token")
_CUSTOMER_ALGORITHM = "x-amz-server-side-encryption-customer-algorithm"
_CUSTOMER_KEY = (
    "x-amz-server-side-encryption-customer-key",
    "x-amz-server-side-encryption-customer-key-md5",
)
_HEX_256 = re.compile(r"[0-9a-fA-F]{64}")
_REMEMBERED: Final = 256
"""Beginnings of headers: until its day ends, a client sends the same one."""


class Payload(enum.Enum):
    """What a request says about its body in `x-amz-content-sha256`."""

    UNSIGNED = "UNSIGNED-PAYLOAD"
    """Nothing."""
    HASH = "sha256"
    """The digest of the whole body."""
    STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    """aws-chunked, each chunk signed."""
    STREAMING_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    """Likewise, with signed trailers."""
    UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    """aws-chunked with trailers, nothing signed."""


_PAYLOADS = {kind.value: kind for kind in Payload if kind is not Payload.HASH}


@dataclass(slots=True)
class Claim:
    """What a request says about its signature; nothing of it is proven yet.

    Attributes:
        access_key: whose secret is to be looked up.
        date: of the scope, `YYYYMMDD`.
        signed_headers: lower-case names, in the order given.
        signature: 64 hex digits, or what was sent in their place.
        signed_at: when it was signed, to the second.
        timestamp: the same as it stands in the string to sign.
        expires_s: seconds for which a presigned request lives; None for a signed header.
        payload: what is said about the body.
        payload_hash: the text that stands for the body in the canonical request.
        session_token: of temporary credentials.
        date_text: the time of signing as sent, for errors.
    """

    access_key: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str = field(repr=False)
    signed_at: datetime
    timestamp: str
    expires_s: int | None
    payload: Payload
    payload_hash: str
    session_token: str | None = field(repr=False)
    date_text: str

    @property
    def signed(self) -> signing.Signed:
        """How the request is signed, for policies."""
        carrier = signing.HEADER if self.expires_s is None else signing.QUERY
        return signing.Signed(signing.ALGORITHM, carrier, self.signed_at)

    @property
    def scope(self) -> str:
        """The credential scope, without the access key."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(slots=True)
class Verified:
    """A claim that holds.

    `body_sha256` is the digest that the whole body must have, where `payload` is `HASH`.
    """

    claim: Claim
    payload: Payload
    body_sha256: bytes | None
    _signing_key: mac.Keyed = field(repr=False)

    def chunk_verifier(self) -> ChunkVerifier:
        """Return what checks the chunks of a body with signed chunks."""
        if self.payload not in (Payload.STREAMING, Payload.STREAMING_TRAILER):
            raise ValueError("the chunks of this request are not signed")
        return ChunkVerifier(self.claim, self._signing_key)


class ChunkVerifier:
    """Checks a chain of chunk signatures; `wire.chunked` says when which is called."""

    def __init__(self, claim: Claim, signing_key: mac.Keyed) -> None:
        self._claim = claim
        self._key = signing_key
        self._previous = claim.signature
        self._running = hashlib.sha256()

    def update(self, piece: bytes | memoryview) -> None:
        """Take the next piece of the open chunk."""
        self._running.update(piece)

    def end_chunk(self, signature: bytes) -> None:
        """Close the chunk.

        Raises:
            Refused: `SignatureDoesNotMatch`.
        """
        digests = f"{_EMPTY_SHA256}\n{self._running.hexdigest()}"
        self._running = hashlib.sha256()
        self._check("AWS4-HMAC-SHA256-PAYLOAD", digests, signature)

    def end_trailers(self, signature: bytes, form: bytes) -> None:
        """Check the signature of the trailers, whose canonical form is `form`.

        Raises:
            Refused: `SignatureDoesNotMatch`.
        """
        digest = hashlib.sha256(form).hexdigest()
        self._check("AWS4-HMAC-SHA256-TRAILER", digest, signature)

    def _check(self, kind: str, digests: str, signature: bytes) -> None:
        claim = self._claim
        to_sign = f"{kind}\n{claim.timestamp}\n{claim.scope}\n{self._previous}\n{digests}"
        computed = self._key.digest(to_sign.encode()).hex()
        if not hmac.compare_digest(computed.encode(), signature):
            raise _mismatch(claim, to_sign, signature.decode("latin-1"), None)
        self._previous = computed


def claim(request: message.Request, *, body: bytes | None = None) -> Claim | None:
    """Read what a request says about its signature; None if it says nothing.

    Args:
        request: as it arrived.
        body: for services whose clients send no `x-amz-content-sha256` (STS): the
            whole body, which is hashed where the header is missing.

    Raises:
        Refused: signed twice, in a way that is not supported, or not readable.
    """
    header = request.header(b"authorization")
    parameters = _authentication_parameters(request.raw_query)
    if header is None:
        return _query_claim(request, parameters) if parameters else None
    if parameters:
        raise signing.two_mechanisms()
    return _header_claim(request, header.decode("latin-1").strip(), body)


def verify(
    claim: Claim,
    request: message.Request,
    secret: SecretKey | str,
    *,
    now: datetime,
    region: str,
    keys: signing.SigningKeys,
    service: str = "s3",
) -> Verified:
    """Decide whether a claim holds.

    Args:
        claim: what `claim` read from the same request.
        request: as it arrived.
        secret: the secret that belongs to the claim's access key.
        now: the time here.
        region: the region that this server answers for.
        keys: remembers derived keys.
        service: the service that this server is.

    Raises:
        Refused: for another place or time, with unsigned headers, or with a
            signature that is not the request's.
    """
    _check_scope(claim, region, service)
    _check_time(claim, now)
    _check_signed_headers(claim, request)
    signing_key = keys.derive(claim, signing.raw(secret))
    form = canonical.request(request, claim.signed_headers, claim.payload_hash)
    to_sign = _string_to_sign(claim, form)
    computed = signing_key.digest(to_sign.encode()).hex()
    if not hmac.compare_digest(computed.encode(), claim.signature.encode()):
        shown = canonical.request(request, claim.signed_headers, claim.payload_hash, redacted=True)
        raise _mismatch(claim, to_sign, claim.signature, shown)
    sha256 = bytes.fromhex(claim.payload_hash) if claim.payload is Payload.HASH else None
    return Verified(claim, claim.payload, sha256, signing_key)


# What a request says.


def _authentication_parameters(raw_query: bytes) -> dict[str, str]:
    """Return the query parameters that are about a signature.

    Raises:
        Refused: one comes twice, or they are those of Signature Version 2.
    """
    if b"X-Amz-" not in raw_query and b"Signature=" not in raw_query:
        return {}
    found: dict[str, str] = {}
    for raw_name, raw_value in canonical.split(raw_query):
        name = canonical.decode(raw_name).decode("latin-1")
        if name == "Signature":
            raise Refused("InvalidRequest", signing.NO_MECHANISM)
        if name in _PARAMETERS or name in _FURTHER_PARAMETERS:
            if name in found:
                raise _bad_parameters(f"{name} is given twice")
            found[name] = canonical.decode(raw_value).decode("latin-1")
    # A token or a digest alone is no signature.
    return found if any(name in found for name in _PARAMETERS) else {}


def _header_claim(request: message.Request, header: str, body: bytes | None) -> Claim:
    scheme, _, rest = header.partition(" ")
    if scheme != signing.ALGORITHM:
        if scheme == "AWS" or scheme.startswith("AWS4-"):
            raise Refused("InvalidRequest", signing.NO_MECHANISM)
        raise Refused(
            "InvalidArgument", "Unsupported Authorization Type", ArgumentName="Authorization"
        )
    # Clients put the signature last, and all before it is the same the whole day.
    before, comma, last = rest.rpartition(",")
    name, equals, signature = last.strip().partition("=")
    if comma and equals and name == "Signature":
        scope, names, another = _components(before)
        if another is not None:
            raise _bad_header("the authorization component is malformed.")
        signature = signature.strip()
    else:
        scope, names, found = _components(rest)
        if found is None:
            raise _bad_header(_THREE_COMPONENTS)
        signature = found
    date_text, timestamp, signed_at = _header_date(request)
    payload, payload_hash = _header_payload(request, body)
    token = request.header(b"x-amz-security-token")
    result = Claim(
        *scope,
        signed_headers=names,
        signature=signature,
        signed_at=signed_at,
        timestamp=timestamp,
        expires_s=None,
        payload=payload,
        payload_hash=payload_hash,
        session_token=None if token is None else token.decode("latin-1"),
        date_text=date_text,
    )
    if result.date != timestamp[:8]:
        raise _bad_header(
            f'Invalid credential date "{result.date}". This date is not the same as '
            f'X-Amz-Date: "{timestamp[:8]}".'
        )
    return result


@functools.lru_cache(_REMEMBERED)
def _components(text: str) -> tuple[signing.Credential, tuple[str, ...], str | None]:
    """Read the components of an Authorization header; the signature may be missing.

    Raises:
        Refused: another is missing, or one does not parse.
    """
    found: dict[str, str] = {}
    for component in text.split(","):
        name, equals, value = component.strip().partition("=")
        if not equals or name in found:
            raise _bad_header("the authorization component is malformed.")
        found[name] = value.strip()
    try:
        credential, names = found["Credential"], found["SignedHeaders"]
    except KeyError as error:
        raise _bad_header(_THREE_COMPONENTS) from error
    scope = signing.read_credential(credential)
    if scope is None:
        raise _bad_header(f'the Credential is mal-formed; expecting "{signing.CREDENTIAL_FORM}".')
    return scope, _header_names(names), found.get("Signature")


def _query_claim(request: message.Request, parameters: dict[str, str]) -> Claim:
    if any(not parameters.get(name) for name in _PARAMETERS):
        raise _bad_parameters(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, "
            "X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, "
            "and X-Amz-Expires parameters."
        )
    if parameters["X-Amz-Algorithm"] != signing.ALGORITHM:
        raise _bad_parameters(f'X-Amz-Algorithm only supports "{signing.ALGORITHM}"')
    scope = signing.read_credential(parameters["X-Amz-Credential"])
    if scope is None:
        raise _bad_parameters(
            "Error parsing the X-Amz-Credential parameter; "
            f'the Credential is mal-formed; expecting "{signing.CREDENTIAL_FORM}".'
        )
    date_text = parameters["X-Amz-Date"]
    signed_at = signing.read_amz_date(date_text)
    if signed_at is None:
        raise _bad_parameters(
            "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""
        )
    payload_text = parameters.get("X-Amz-Content-Sha256")
    if payload_text is None:
        header = request.header(b"x-amz-content-sha256")
        payload_text = UNSIGNED_PAYLOAD if header is None else header.decode("latin-1")
    token = request.header(b"x-amz-security-token")
    result = Claim(
        *scope,
        signed_headers=_header_names(parameters["X-Amz-SignedHeaders"]),
        signature=parameters["X-Amz-Signature"],
        signed_at=signed_at,
        timestamp=date_text,
        expires_s=_read_expires(parameters["X-Amz-Expires"]),
        payload=_read_payload(payload_text),
        payload_hash=payload_text,
        session_token=parameters.get("X-Amz-Security-Token")
        or (None if token is None else token.decode("latin-1")),
        date_text=date_text,
    )
    if result.date != date_text[:8]:
        raise _bad_parameters(
            "Error parsing the X-Amz-Credential parameter; Invalid credential date "
            f'"{result.date}". This date is not the same as X-Amz-Date: "{date_text[:8]}".'
        )
    return result


def _header_names(text: str) -> tuple[str, ...]:
    return tuple(text.lower().split(";"))


def _header_date(request: message.Request) -> tuple[str, str, datetime]:
    """Return the time of signing: as sent, as it is signed, and read.

    `x-amz-date` goes before `date`.
    """
    raw = request.header(b"x-amz-date")
    if raw is None:
        raw = request.header(b"date")
    text = "" if raw is None else raw.decode("latin-1").strip()
    moment = signing.read_amz_date(text)
    if moment is not None:
        return text, text, moment
    try:
        moment = scalars.read_time(text).replace(microsecond=0)
    except ValueError as error:
        raise Refused(
            "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header"
        ) from error
    return text, _timestamp(moment), moment


def _header_payload(request: message.Request, body: bytes | None) -> tuple[Payload, str]:
    raw = request.header(b"x-amz-content-sha256")
    if raw is not None:
        text = raw.decode("latin-1").strip()
        return _read_payload(text), text
    if body is not None:
        return Payload.HASH, hashlib.sha256(body).hexdigest()
    raise Refused(
        "InvalidRequest", "Missing required header for this request: x-amz-content-sha256"
    )


def _read_payload(text: str) -> Payload:
    kind = _PAYLOADS.get(text)
    if kind is not None:
        return kind
    if _HEX_256.fullmatch(text) is not None:
        return Payload.HASH
    raise Refused(
        "InvalidArgument",
        f"x-amz-content-sha256 must be {', '.join(_PAYLOADS)} or a valid sha256 value.",
        ArgumentName="x-amz-content-sha256",
        ArgumentValue=text,
    )


def _read_expires(text: str) -> int:
    try:
        seconds = scalars.read_integer(text)
    except ValueError as error:
        raise _bad_parameters("X-Amz-Expires should be a number") from error
    if seconds < 0:
        raise _bad_parameters("X-Amz-Expires must be non-negative")
    if seconds == 0:
        raise _bad_parameters("X-Amz-Expires must be at least 1 second")
    if seconds > MAX_EXPIRES_S:
        raise _bad_parameters(
            "X-Amz-Expires must be less than a week (in seconds); "
            f"that is, the given X-Amz-Expires must be less than {MAX_EXPIRES_S} seconds"
        )
    return seconds


# Whether it may be so.


def _check_scope(claim: Claim, region: str, service: str) -> None:
    if claim.service != service:
        wrong = f'incorrect service "{claim.service}". This endpoint belongs to "{service}".'
        raise _wrong_scope(claim, wrong)
    if claim.region != region:
        wrong = f"the region '{claim.region}' is wrong; expecting '{region}'"
        raise _wrong_scope(claim, wrong, Region=region)


def _check_time(claim: Claim, now: datetime) -> None:
    if claim.expires_s is None:
        if abs(now - claim.signed_at) > signing.MAX_SKEW:
            raise signing.too_skewed(claim.date_text, now)
        return
    if claim.signed_at - now > signing.MAX_SKEW:
        raise Refused(
            "AccessDenied",
            "Request is not yet valid",
            RequestTime=claim.date_text,
            ServerTime=signing.shown_time(now),
        )
    expires_at = claim.signed_at + timedelta(seconds=claim.expires_s)
    if now >= expires_at:
        raise Refused(
            "AccessDenied",
            "Request has expired",
            **{
                "X-Amz-Expires": str(claim.expires_s),
                "Expires": signing.shown_time(expires_at),
                "ServerTime": signing.shown_time(now),
            },
        )


def _check_signed_headers(claim: Claim, request: message.Request) -> None:
    """Refuse a request whose host, or an x-amz-* header of which, is not signed.

    Otherwise whoever holds a presigned URL could add headers to it. One may: a URL that
    was signed for SSE-C says so by the algorithm, and whoever uses it brings the key.
    Source: S3 user guide, "Using server-side encryption with customer-provided keys",
    "Presigned URLs and SSE-C".
    """
    signed = claim.signed_headers
    missing = [] if "host" in signed else ["host"]
    wanted = _wanted(signed)
    for raw_name, _ in request.headers:
        if raw_name not in wanted and raw_name.startswith(b"x-amz-"):
            name = raw_name.decode("latin-1")
            if name not in missing:
                missing.append(name)
    if claim.expires_s is not None and (
        _CUSTOMER_ALGORITHM in signed or _names_algorithm(request.raw_query)
    ):
        missing = [name for name in missing if name not in _CUSTOMER_KEY]
    if missing:
        raise Refused(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            HeadersNotSigned=", ".join(missing),
        )


@functools.lru_cache(_REMEMBERED)
def _wanted(signed_headers: tuple[str, ...]) -> frozenset[bytes]:
    return frozenset(name.encode("latin-1") for name in signed_headers)


def _names_algorithm(raw_query: bytes) -> bool:
    """Whether a parameter, which is signed like all of them, stands for the algorithm's header."""
    return any(
        canonical.decode(name).lower() == _CUSTOMER_ALGORITHM.encode()
        for name, _ in canonical.split(raw_query)
    )


# What is signed.


def _string_to_sign(claim: Claim, form: bytes) -> str:
    digest = hashlib.sha256(form).hexdigest()
    return f"{signing.ALGORITHM}\n{claim.timestamp}\n{claim.scope}\n{digest}"


def _timestamp(moment: datetime) -> str:
    return (
        f"{moment.year:04d}{moment.month:02d}{moment.day:02d}"
        f"T{moment.hour:02d}{moment.minute:02d}{moment.second:02d}Z"
    )


# Refusals.


def _bad_header(what: str, **fields: str) -> Refused:
    return Refused(
        "AuthorizationHeaderMalformed", f"The authorization header is malformed; {what}", **fields
    )


def _bad_parameters(what: str, **fields: str) -> Refused:
    return Refused("AuthorizationQueryParametersError", what, **fields)


def _wrong_scope(claim: Claim, what: str, **fields: str) -> Refused:
    if claim.expires_s is None:
        return _bad_header(what, **fields)
    return _bad_parameters(f"Error parsing the X-Amz-Credential parameter; {what}", **fields)


def _mismatch(claim: Claim, to_sign: str, provided: str, form: bytes | None) -> Refused:
    fields: dict[str, str] = {}
    if form is not None:
        fields["CanonicalRequest"] = form.decode("utf-8", "replace")
        fields["CanonicalRequestBytes"] = form.hex(" ")
    return signing.mismatch(claim.access_key, to_sign, provided, **fields)
