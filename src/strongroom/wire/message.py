"""Requests and responses as values, before and after they have a meaning.

Header names are lower-case bytes, values are bytes as sent: S3 signs raw
bytes, and user metadata may be outside ASCII. The path is the raw, still
percent-encoded one: `%2F` and `/` are different keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from strongroom.wire import form

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Request:
    """What arrived.

    Attributes:
        method: upper case.
        raw_path: percent-encoded path, beginning with `/`, without the query.
        raw_query: bytes after `?`, or empty.
        headers: in order of arrival, duplicates kept. They may hold a customer's
            key, so neither they nor the query are in the `repr`.
        body: yields the body in pieces of any size. Iterating raises `ClientGone`
            if the client hangs up before the body's end.
        secure: the customer's connection is TLS (here, or at a trusted proxy).
        peer: address of the client, for the log.
        request_id: 16 upper-case hex digits.
        upload: the browser form that the headers were made of; None for other requests.
    """

    method: str
    raw_path: bytes
    raw_query: bytes = field(repr=False)
    headers: Headers = field(repr=False)
    body: AsyncIterator[bytes]
    secure: bool
    peer: str = ""
    request_id: str = ""
    upload: form.Upload | None = field(default=None, repr=False)
    _index: dict[bytes, bytes] | None = field(default=None, repr=False)

    def header(self, name: bytes) -> bytes | None:
        """Return the value of a header, or None; repeated ones are joined with `,` (RFC 9110, 5.3)."""
        if self._index is None:
            index = dict(self.headers)
            if len(index) != len(self.headers):
                index.clear()
                for key, value in self.headers:
                    index[key] = index[key] + b"," + value if key in index else value
            self._index = index
        return self._index.get(name)


@dataclass(slots=True)
class Response:
    """What is answered.

    `body` is whole, or an iterator of pieces; with an iterator, `headers` must
    say `content-length`. An iterator that raises cuts the connection.
    """

    status: int
    headers: Headers
    body: bytes | AsyncIterator[bytes | bytearray] = b""
