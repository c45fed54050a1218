"""Requests from the text of their head and body.

    PUT /bucket/key?query
    name: value

    body

Lines end with LF or CRLF. What HTTP itself rules out (control characters in values,
names that are no tokens) is taken out, since no HTTP server hands it on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from strongroom.wire import message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUES = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_IN_TARGETS = re.compile(rb"[\x00-\x20\x7f#]")
REQUEST_ID = "00000000FAFAFAFA"


def read(data: bytes) -> tuple[message.Request, bytes]:
    """Return the request that a text stands for, and its body."""
    head, *rest = _BLANK_LINE.split(data, maxsplit=1)
    body = rest[0] if rest else b""
    first, *lines = head.replace(b"\r\n", b"\n").split(b"\n")
    method, _, target = first.partition(b" ")
    path, _, query = _NOT_IN_TARGETS.sub(b"", target).partition(b"?")
    headers: message.Headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon and TOKEN.fullmatch(name) is not None:
            headers.append((name.lower(), _NOT_IN_VALUES.sub(b"", value).strip(b" \t")))
    return make(method, path, query, headers, body), body


def make(
    method: bytes, path: bytes, query: bytes, headers: message.Headers, body: bytes = b""
) -> message.Request:
    """Return a request over TLS; a method that is no token becomes GET."""
    return message.Request(
        method=method.decode("ascii").upper() if TOKEN.fullmatch(method) else "GET",
        raw_path=path if path.startswith(b"/") else b"/" + path,
        raw_query=query,
        headers=headers,
        body=_pieces(body),
        secure=True,
        request_id=REQUEST_ID,
    )


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    # Two pieces, so that the border between pieces falls anywhere.
    middle = len(body) // 3
    for piece in (body[:middle], body[middle:]):
        if piece:
            yield piece
