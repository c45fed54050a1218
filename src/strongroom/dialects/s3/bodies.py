"""What a request's headers say about its body, and about keys that must not come in the clear."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Final

from strongroom.dialects.operation import Refused

if TYPE_CHECKING:
    from strongroom.wire import message

_CUSTOMER_HEADERS: Final = (
    b"x-amz-server-side-encryption-customer-",
    b"x-amz-copy-source-server-side-encryption-customer-",
)
"""Beginnings of the names: a triple that lacks its key is no request for plain HTTP either."""


def refuse_customer_keys(headers: message.Headers) -> None:
    """Refuse a customer's key, or what comes with one, in a request that is not secure.

    Raises:
        Refused: one of the headers is there.
    """
    if any(name.startswith(_CUSTOMER_HEADERS) for name, _ in headers):
        raise Refused(
            "InvalidRequest",
            "Requests specifying Server Side Encryption with Customer provided keys must be"
            " made over a secure connection.",
        )


def content_length(request: message.Request, name: bytes = b"content-length") -> int | None:
    """Return a length that a header tells; None if it does not.

    Raises:
        Refused: it is no number.
    """
    text = request.header(name)
    if text is None:
        return None
    # No body has 10^18 bytes, and `int` refuses thousands of digits in its own words.
    if not text.isdigit() or len(text) > 18:  # noqa: PLR2004
        raise Refused(
            "InvalidArgument",
            "A length is not a number.",
            ArgumentName=name.decode(),
            ArgumentValue=text.decode("latin-1"),
        )
    return int(text)


def content_md5(request: message.Request) -> bytes | None:
    """Return the digest of a Content-MD5 header, or None.

    Raises:
        Refused: it is no MD5.
    """
    text = request.header(b"content-md5")
    if text is None:
        return None
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != hashlib.md5(usedforsecurity=False).digest_size:
        raise Refused("InvalidDigest", **{"Content-MD5": text.decode("latin-1")})
    return raw
