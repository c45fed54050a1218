"""The canonical form of a request, which a signature is made over.

It is made from the raw bytes, encoded anew as S3 does: `%XX` decoded once,
everything but unreserved characters encoded with upper-case digits, `/` kept in
paths, `+` read as a blank in queries, and paths never normalised (`a//b` and `a/../b`
are keys).

S3 answers a wrong signature with this form, which holds the values of signed
headers. A customer's key is such a header, so the form that is shown has the values
of `REDACTED` names blotted out, in headers and query alike.

Source: Amazon S3 API Reference, "Signature Calculations for the Authorization
Header: Transferring Payload in a Single Chunk", Task 1.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.wire import message

REDACTED = (
    "x-amz-server-side-encryption-customer-key",
    "x-amz-copy-source-server-side-encryption-customer-key",
    "x-amz-security-token",
)
"""Beginnings of names, so that the MD5 of a key goes with the key."""

_BLOT = b"(redacted)"
_PLAIN: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
"""What is never encoded; a path may have slashes, too."""
_PLAIN_IN_PATH: Final = _PLAIN + b"/"
_REMEMBERED: Final = 256
"""Lists of signed headers: a client sends the same few again and again."""


def request(
    request: message.Request,
    signed_headers: tuple[str, ...],
    payload_hash: str,
    *,
    redacted: bool = False,
) -> bytes:
    """Return the canonical form of a request; a signed header that is not there is empty.

    Args:
        request: as it arrived.
        signed_headers: lower-case names, in the order in which they were signed.
        payload_hash: the text that stands for the body.
        redacted: make the form that may be shown.
    """
    path = request.raw_path
    if path.translate(None, _PLAIN_IN_PATH):
        path = quote_from_bytes(unquote_to_bytes(path), safe="/~").encode()
    lines = [
        request.method.encode("latin-1"),
        path,
        _query(request.raw_query, redacted=redacted),
    ]
    raw_names, all_names = _raw(signed_headers)
    header = request.header
    for raw_name in raw_names:
        value = header(raw_name) or b""
        if b"," in value or b"  " in value or b"\t" in value:
            value = _value(request, raw_name, value)
        if redacted and raw_name.decode("latin-1").startswith(REDACTED):
            value = _BLOT
        lines.append(raw_name + b":" + value.strip())
    lines += [b"", all_names, payload_hash.encode("latin-1")]
    return b"\n".join(lines)


def split(raw_query: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Split a query into raw names and values."""
    for pair in raw_query.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            yield name, value


def decode(raw: bytes) -> bytes:
    """Decode a raw name or value of a query."""
    return unquote_to_bytes(raw.replace(b"+", b" "))


@functools.lru_cache(_REMEMBERED)
def _raw(signed_headers: tuple[str, ...]) -> tuple[tuple[bytes, ...], bytes]:
    """Return the names as bytes, and the line of all of them."""
    raw_names = tuple(name.encode("latin-1") for name in signed_headers)
    return raw_names, b";".join(raw_names)


def _value(request: message.Request, name: bytes, value: bytes) -> bytes:
    """Return a header's value with runs of blanks made one, and each repetition trimmed."""
    if b"," in value:
        # Each repetition is trimmed for itself, so they are gathered anew.
        value = b",".join(v.strip() for n, v in request.headers if n == name)
    if b"  " in value or b"\t" in value:
        value = b" ".join(value.split())
    return value


def _query(raw_query: bytes, *, redacted: bool) -> bytes:
    if not raw_query:
        return b""
    pairs = []
    for raw_name, raw_value in split(raw_query):
        name, value = _encode_anew(raw_name), _encode_anew(raw_value)
        if name == b"X-Amz-Signature":
            continue
        if redacted and name.decode("ascii").lower().startswith(REDACTED):
            value = _BLOT
        pairs.append((name, value))
    pairs.sort()
    return b"&".join([name + b"=" + value for name, value in pairs])


def _encode_anew(raw: bytes) -> bytes:
    if not raw.translate(None, _PLAIN):
        return raw
    return quote_from_bytes(decode(raw), safe="~").encode()
