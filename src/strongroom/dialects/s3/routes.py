"""Which operation a request means.

Thirteen pairs of method and path are shared by 28 operations of the model;
query parameters, and one header, tell them apart. The table is compiled from
the model, most specific first, so it knows all of S3's operations, served or not.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from strongroom.dialects.operation import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from strongroom.wire import message, model

MAX_KEY_BYTES = 1024
"""Source: S3 user guide, "Naming Amazon S3 objects"."""

_COPY_SOURCE = "x-amz-copy-source"
_RAW_COPY_SOURCE: Final = _COPY_SOURCE.encode()
_REMEMBERED: Final = 256
"""Hosts: clients of a store know it under few names."""
_NEVER: frozenset[str] = frozenset({"ListDirectoryBuckets", "WriteGetObjectResponse"})
"""Operations that AWS tells apart by host name; here they would hide others."""


class Address(NamedTuple):
    """Where a request points.

    Attributes:
        bucket: None for the service itself.
        key: None for the bucket itself.
    """

    bucket: str | None
    key: str | None


@dataclass(frozen=True, slots=True)
class _Candidate:
    name: str
    static: tuple[tuple[str, str], ...]
    query: tuple[str, ...]
    copies: bool
    known: frozenset[str]

    def fits(self, query: Mapping[str, str], *, copies: bool) -> bool:
        return (
            all(name in query and value in ("", query[name]) for name, value in self.static)
            and all(name in query for name in self.query)
            and (copies or not self.copies)
        )


class Routes:
    """The table: (method, level) → candidates, most demanding first."""

    def __init__(self, source: model.Model) -> None:
        operations = [
            operation
            for operation in source.operations.values()
            if not operation.deprecated and operation.name not in _NEVER
        ]
        # What tells operations apart. One of these on an operation that knows nothing of
        # it means that the client wanted another: `DELETE /key?acl` is no deletion.
        self._telling = frozenset(
            name
            for operation in operations
            for name in (*(name for name, _ in operation.static_query), *operation.required_query)
        )
        table: dict[tuple[str, str], list[_Candidate]] = {}
        for operation in operations:
            candidate = _Candidate(
                operation.name,
                operation.static_query,
                operation.required_query,
                _COPY_SOURCE in operation.required_headers,
                _query_names(operation, source),
            )
            table.setdefault((operation.method, operation.path), []).append(candidate)
        for candidates in table.values():
            candidates.sort(key=lambda c: -(len(c.static) + len(c.query) + c.copies))
        self._table = {place: tuple(candidates) for place, candidates in table.items()}
        # Most requests have no query; for them the table is asked beforehand.
        self._plain = {
            (*place, copies): next((c.name for c in found if c.fits({}, copies=copies)), None)
            for place, found in self._table.items()
            for copies in (False, True)
        }

    def find(
        self, request: message.Request, where: Address, query: Sequence[tuple[str, str]]
    ) -> str:
        """Return the name of the operation.

        Raises:
            Refused: no operation has this method here, or this query.
        """
        path = _path_of(where)
        copies = request.header(_RAW_COPY_SOURCE) is not None
        if not query:
            plain = self._plain.get((request.method, path, copies))
            if plain is not None:
                return plain
        given = dict(query)
        copies = copies or any(name.lower() == _COPY_SOURCE for name in given)
        for candidate in self._table.get((request.method, path), ()):
            if candidate.fits(given, copies=copies):
                strange = (given.keys() & self._telling) - candidate.known
                if strange:
                    break
                return candidate.name
        raise Refused("MethodNotAllowed", Method=request.method, ResourceType=_kind_of(where))


def _query_names(operation: model.Operation, source: model.Model) -> frozenset[str]:
    """Return the query parameters that an operation knows."""
    members = source.shapes[operation.input].members.values() if operation.input else ()
    return frozenset(
        (
            *(name for name, _ in operation.static_query),
            *(
                member.wire_name or member.name
                for member in members
                if member.location == "querystring"
            ),
        )
    )


def _path_of(address: Address) -> str:
    if address.bucket is None:
        return "/"
    return "/{Bucket}" if address.key is None else "/{Bucket}/{Key+}"


def _kind_of(address: Address) -> str:
    if address.bucket is None:
        return "SERVICE"
    return "BUCKET" if address.key is None else "OBJECT"


def address(request: message.Request, domains: Iterable[str]) -> Address:
    """Read bucket and key from host and path.

    The path is decoded once, as one string of bytes: `%2F` in a key is a slash
    of the key, and nothing is normalised, so `a//b` and `a/../b` are keys.

    Args:
        request: the request.
        domains: names under which a host `BUCKET.NAME` names a bucket.

    Raises:
        Refused: the path is not UTF-8, or the key is too long.
    """
    raw_path = request.raw_path
    try:
        path = (unquote_to_bytes(raw_path) if b"%" in raw_path else raw_path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("InvalidURI") from error
    bucket = bucket_of_host(request.header(b"host") or b"", tuple(domains))
    if bucket is not None:
        key = path[1:]
    else:
        bucket, _, key = path[1:].partition("/")
        if not bucket:
            if key:
                raise Refused("InvalidBucketName", BucketName="")
            return Address(None, None)
    size = len(key.encode())
    if size > MAX_KEY_BYTES:
        raise Refused("KeyTooLongError", Size=str(size), MaxSizeAllowed=str(MAX_KEY_BYTES))
    return Address(bucket, key or None)


@functools.lru_cache(_REMEMBERED)
def bucket_of_host(host: bytes, domains: tuple[str, ...]) -> str | None:
    """Return the bucket that a Host header names; None if it names the server."""
    name = host.decode("latin-1").lower()
    if name.startswith("["):
        return None
    name = name.partition(":")[0]
    for domain in domains:
        if name.endswith("." + domain):
            return name.removesuffix("." + domain)
    return None


def parse_query(raw: bytes) -> list[tuple[str, str]]:
    """Decode a query string; names without `=` have an empty value.

    Raises:
        Refused: it is not UTF-8.
    """
    pairs: list[tuple[str, str]] = []
    if not raw:
        return pairs
    try:
        for piece in raw.split(b"&"):
            if piece:
                name, _, value = piece.partition(b"=")
                pairs.append((form_text(name), form_text(value)))
    except UnicodeDecodeError as error:
        raise Refused("InvalidURI") from error
    return pairs


def form_text(text: bytes) -> str:
    """Decode a name or value of a query string or a form.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8")
