"""Parameters of an RPC request, and the signature over them.

Every parameter of query and form but `Signature` is signed, empty ones too. Values are
kept as the raw bytes that percent-decoding gives: some clients send bytes that are no
UTF-8, and the signature must hold for them as well.

Source: Alibaba Cloud, "RPC API signature method V1" (HMAC-SHA1); observed: oss2 2.19.1 with
aliyun-python-sdk-core 2.16.1 (`tests/conformance/test_kms_alibaba.py`).
"""

from __future__ import annotations

import base64
import hmac
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from strongroom.dialects.operation import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from strongroom.crypto import secret
    from strongroom.wire import message

MAX_SKEW: Final = timedelta(minutes=15)
NONCES: Final = 65_536
"""How many nonces are remembered; older ones go when there are more."""

_FORM: Final = b"application/x-www-form-urlencoded"
_NEEDED: Final = ("AccessKeyId", "Signature", "SignatureNonce", "Timestamp")


def parameters(request: message.Request, body: bytes) -> dict[str, bytes]:
    """Return the parameters of query and form.

    Raises:
        Refused: one stands twice.
    """
    found: dict[str, bytes] = {}
    form = (request.header(b"content-type") or b"").partition(b";")[0].strip().lower() == _FORM
    for name, value in (*_split(request.raw_query), *(_split(body) if form else ())):
        text = name.decode("utf-8", "surrogateescape")
        if text in found:
            raise Refused("InvalidParameter", f"The parameter {text!r} stands twice.")
        found[text] = value
    return found


def text(params: Mapping[str, bytes], name: str) -> str:
    """Return a parameter as text; empty if it is missing. No UTF-8 is text of a kind, too."""
    return params.get(name, b"").decode("utf-8", "surrogateescape")


def string_to_sign(method: str, params: Mapping[str, bytes]) -> str:
    """Return what is signed."""
    pairs = sorted(
        (_encode(name.encode("utf-8", "surrogateescape")), _encode(value))
        for name, value in params.items()
        if name != "Signature"
    )
    query = "&".join(f"{name}={value}" for name, value in pairs)
    return f"{method}&%2F&{_encode(query.encode())}"


def check_form(params: Mapping[str, bytes]) -> None:
    """Check that a request is signed, in the one way that is known here.

    Raises:
        Refused: it is not.
    """
    for name in _NEEDED:
        if not params.get(name):
            raise Refused("MissingParameter", f"The parameter {name} is missing.")
    if (text(params, "SignatureMethod"), text(params, "SignatureVersion")) != ("HMAC-SHA1", "1.0"):
        raise Refused(
            "InvalidParameter", "SignatureMethod must be HMAC-SHA1 and SignatureVersion 1.0."
        )
    if params.get("SecurityToken"):
        raise Refused("InvalidSecurityToken.NotFound", "There are no temporary credentials here.")


def verify(
    method: str, params: Mapping[str, bytes], secret_key: secret.SecretKey, *, now: datetime
) -> None:
    """Return if the signature is the request's, and its time is now.

    Raises:
        Refused: it is not.
    """
    to_sign = string_to_sign(method, params)
    computed = base64.b64encode(hmac.digest(secret_key.reveal() + b"&", to_sign.encode(), "sha1"))
    if not hmac.compare_digest(computed, params["Signature"]):
        # The SDK splits this at its colon and dies where there is none.
        raise Refused(
            "SignatureDoesNotMatch",
            "Specified signature is not matched with our calculation. server string to sign is:"
            + to_sign,
        )
    try:
        signed_at = datetime.strptime(text(params, "Timestamp"), "%Y-%m-%dT%H:%M:%SZ").replace(
            tzinfo=UTC
        )
    except ValueError:
        raise Refused(
            "InvalidTimeStamp.Format", "Timestamp must have the form YYYY-MM-DDThh:mm:ssZ."
        ) from None
    if abs(now - signed_at) > MAX_SKEW:
        raise Refused("InvalidTimeStamp.Expired", "Timestamp is too far from the server's time.")


class Nonces:
    """Remembers nonces for as long as a request with one would be believed. In one process."""

    def __init__(self, size: int = NONCES) -> None:
        self._size = size
        self._seen: OrderedDict[tuple[str, bytes], datetime] = OrderedDict()

    def spend(self, access_key: str, nonce: bytes, now: datetime) -> None:
        """Take a nonce of a request whose signature holds.

        Raises:
            Refused: it was taken before.
        """
        # A request can be signed up to one skew ahead, and is believed until one after.
        while self._seen and next(iter(self._seen.values())) < now - 2 * MAX_SKEW:
            self._seen.popitem(last=False)
        if (access_key, nonce) in self._seen:
            raise Refused("SignatureNonceUsed", "The nonce was used before.")
        if len(self._seen) >= self._size:
            self._seen.popitem(last=False)
        self._seen[access_key, nonce] = now


def _split(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    for pair in raw.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            yield _decode(name), _decode(value)


def _decode(raw: bytes) -> bytes:
    return unquote_to_bytes(raw.replace(b"+", b" "))


def _encode(raw: bytes) -> str:
    return quote_from_bytes(raw, safe="~")
