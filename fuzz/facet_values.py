"""Addresses, queries, headers, and the values that handlers read out of them.

The input is a request's head. It is routed and bound as the pipeline does it; then
every facet is read, whichever operation it was: copy sources, ranges, tags, conditions,
customer keys, content headers, checksums, tokens and page sizes.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from fuzz import heads
from strongroom import errors
from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import canonical, facets, protocol, routes, tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from strongroom.wire import message

DOMAINS = ("localhost", "s3.example.org")
_NOW_MS = 1_767_323_045_000
_ROUTES = routes.Routes(protocol.MODEL)


def run(data: bytes) -> str:
    """Route and bind a request, then read all of its facets."""
    request, _ = heads.read(data)
    refusals = []
    for read in (*_of_params(request), *_of_texts(request)):
        try:
            read()
        except Refused as refused:
            refusals.append(refused.code)
        except errors.StrongroomError as error:
            refusals.append(type(error).__name__)
    return " ".join(refusals)


def _of_params(request: message.Request) -> Iterator[Callable[[], object]]:
    """Yield readers of what binding makes of the request; none if it does not bind."""
    try:
        address = routes.address(request, DOMAINS)
        query = routes.parse_query(request.raw_query)
        name = _ROUTES.find(request, address, query)
        params = protocol.BINDINGS[name].parse(
            request.headers, query, bucket=address.bucket, key=address.key, body=None
        )
    except (Refused, errors.StrongroomError):
        return
    yield lambda: _check_customer_key(dict(params))
    for read in (
        facets.version_id,
        facets.content,
        facets.delete_conditions,
        facets.read_conditions,
        tags.of_header,
    ):
        # Tags stand in a header, or are a document.
        if read is not tags.of_header or isinstance(params.get("Tagging"), str):
            yield functools.partial(read, params)
    yield functools.partial(facets.copy_conditions, params, now_ms=_NOW_MS)
    for member in ("MaxKeys", "MaxParts", "MaxUploads"):
        yield functools.partial(facets.page_size, params, member, member, 1000)
    if "CopySource" in params:
        yield lambda: _check_copy_source(params["CopySource"])
        yield lambda: facets.customer_key(params, prefix="CopySource", writing=False)


def _of_texts(request: message.Request) -> Iterator[Callable[[], object]]:
    """Yield readers of single headers, whatever the request is."""
    texts = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
    yield lambda: _check_copy_source(texts.get("x-amz-copy-source", "bucket/key"))
    yield lambda: _check_range(texts.get("range"))
    yield lambda: _check_copy_range(texts.get("x-amz-copy-source-range"))
    yield lambda: tags.of_header({"Tagging": texts.get("x-amz-tagging")})
    yield lambda: facets.announced_checksums(texts)
    yield lambda: facets.known_algorithm(texts.get("x-amz-sdk-checksum-algorithm", "MD5"))
    yield lambda: _check_token(texts.get("token", "MQ=="))
    yield lambda: canonical.request(request, tuple(texts), "UNSIGNED-PAYLOAD")


def _check_copy_source(text: str) -> None:
    bucket, key, _ = facets.copy_source({"CopySource": text})
    assert bucket, "a copy comes from a bucket"
    assert key, "and from an object"
    assert "/" not in bucket, "the first slash ends the bucket"


def _check_range(text: str | None) -> None:
    extent = facets.byte_range(text)
    if extent is None:
        return
    for size in (0, 1, 1000):
        try:
            start, end = extent.resolve(size, ())
        except errors.RangeNotSatisfiable:
            continue
        assert 0 <= start < end <= size, f"[{start}, {end}) of {size}"


def _check_copy_range(text: str | None) -> None:
    found = facets.copy_range(text)
    assert found is None or 0 <= found[0] < found[1], "half-open, and not empty"


def _check_customer_key(params: dict[str, Any]) -> None:
    sent = params.get("SSECustomerKey")
    found = facets.customer_key(params, writing=True)
    assert "SSECustomerKey" not in params, "the key is taken out"
    if found is not None:
        assert str(sent) not in repr(found), "a key is not shown"


def _check_token(text: str) -> None:
    opened = facets.open_token(text)
    assert facets.open_token(facets.make_token(opened)) == opened, "tokens open to what is in them"
