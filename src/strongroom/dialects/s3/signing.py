"""What all ways of signing have in common: scopes, derived keys, the words of refusals.

Sources: Amazon S3 API Reference, "Authenticating Requests (AWS Signature Version 4)";
texts of errors as S3 answers them.
"""

from __future__ import annotations

import functools
import hmac
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from strongroom.crypto import mac
from strongroom.dialects.operation import Refused

if TYPE_CHECKING:
    from strongroom.crypto.secret import SecretKey

ALGORITHM = "AWS4-HMAC-SHA256"
MAX_SKEW = timedelta(minutes=15)
NO_MECHANISM = (
    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
)
CREDENTIAL_FORM = "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request"

_AMZ_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_REMEMBERED: Final = 256
"""Times: all requests of a second have the same one."""


HEADER: Final = "REST-HEADER"
QUERY: Final = "REST-QUERY-STRING"
FORM: Final = "POST"
VERSION_2: Final = "AWS"


class Signed(NamedTuple):
    """How a request was signed, in the words that policies have for it.

    Source: Service Authorization Reference, "Condition keys for Amazon S3", of
    `s3:signatureversion`, `s3:authType` and `s3:signatureAge`.

    Attributes:
        version: `ALGORITHM` or `VERSION_2`.
        carrier: `HEADER`, `QUERY` or `FORM`.
        at: when; None where the signature does not say.
    """

    version: str
    carrier: str
    at: datetime | None = None


class Scoped(Protocol):
    """What says under which derived key it was signed."""

    @property
    def access_key(self) -> str:
        """Whose secret it is."""
        ...

    @property
    def date(self) -> str:
        """`YYYYMMDD`."""
        ...

    @property
    def region(self) -> str:
        """The region that it was signed for."""
        ...

    @property
    def service(self) -> str:
        """The service that it was signed for."""
        ...


class SigningKeys:
    """Derived signing keys, the most recently used of them remembered.

    A key is good for one secret, day, region and service. The secret is part of
    what is remembered, so a changed one is noticed.
    """

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self._known: dict[tuple[str, str, str, str], tuple[bytes, mac.Keyed]] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._known)} of {self._size})"

    def derive(self, claim: Scoped, secret: bytes) -> mac.Keyed:
        """Return the signing key for a claim's scope."""
        name = (claim.access_key, claim.date, claim.region, claim.service)
        found = self._known.pop(name, None)
        if found is None or not hmac.compare_digest(found[0], secret):
            key = b"AWS4" + secret
            for part in (claim.date, claim.region, claim.service, "aws4_request"):
                key = mac.once(key, part.encode())
            found = (secret, mac.Keyed(key))
            if len(self._known) >= self._size:
                del self._known[next(iter(self._known))]
        self._known[name] = found
        return found[1]


def raw(secret: SecretKey | str) -> bytes:
    """Return the bytes that a signature is keyed with."""
    return secret.encode() if isinstance(secret, str) else secret.reveal()


_EVERYWHERE = frozenset({"iam", "sts"})


Credential = tuple[str, str, str, str]


def read_credential(text: str) -> Credential | None:
    """Return access key, date, region and service, or None.

    The region may be empty where the service has none of its own: some clients leave it so.
    """
    parts = text.rsplit("/", 4)
    if len(parts) != 5 or parts[4] != "aws4_request":  # noqa: PLR2004 - the five parts of `CREDENTIAL_FORM`
        return None
    access_key, date, region, service, _ = parts
    if not (access_key and date and service and (region or service in _EVERYWHERE)):
        return None
    return access_key, date, region, service


@functools.lru_cache(_REMEMBERED)
def read_amz_date(text: str) -> datetime | None:
    """Return a time in the form `YYYYMMDDTHHMMSSZ`, or None."""
    if _AMZ_DATE.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def printable(text: str) -> str:
    """Return text that a document can hold: without lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def shown_time(moment: datetime) -> str:
    """Return a time as refusals show it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def two_mechanisms() -> Refused:
    """Return the refusal of a request that is signed in more than one way."""
    # S3 shows the header's value here. It may be somebody's password: we do not.
    return Refused(
        "InvalidArgument",
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, "
        "Signature query string parameter or the Authorization header should be specified",
        ArgumentName="Authorization",
    )


def too_skewed(sent: str, now: datetime) -> Refused:
    """Return the refusal of a signature from another time, which the client gave as `sent`."""
    return Refused(
        "RequestTimeTooSkewed",
        "The difference between the request time and the current time is too large.",
        RequestTime=sent,
        ServerTime=shown_time(now),
        MaxAllowedSkewMilliseconds=str(MAX_SKEW // timedelta(milliseconds=1)),
    )


def mismatch(access_key: str, to_sign: str, provided: str, **fields: str) -> Refused:
    """Return the refusal of a wrong signature, with what it should have been made of.

    `to_sign` and `fields` must hold no customer's key.
    """
    return Refused(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method.",
        **{
            "AWSAccessKeyId": access_key,
            "StringToSign": to_sign,
            "SignatureProvided": provided,
            "StringToSignBytes": to_sign.encode("utf-8", "surrogateescape").hex(" "),
            **fields,
        },
    )
