"""Limits of a request's head, and headers that contradict each other.

What cannot be read as HTTP never gets here: lengths that are no number or differ, a
length under another framing, control characters, more than a hundred headers. The
server's HTTP library refuses that and closes the connection (docs/guide/limits.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from strongroom.dialects.operation import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom.wire import message

MAX_HEADER_BYTES: Final = 8192
"""Names and values of all headers. Source: S3 API reference, "Common request headers"."""
MAX_TARGET_BYTES: Final = 16 * 1024
"""Path and query as sent. A key of 1,024 bytes is 3 KiB when all of it is escaped; a presigned
URL with a session token and 2 KiB of metadata stays below 12 KiB."""

_ONCE: Final = frozenset({b"authorization", b"content-md5", b"date", b"host"})
_LISTS: Final = frozenset({
    b"x-amz-object-attributes", b"x-amz-optional-object-attributes", b"x-amz-trailer",
})  # fmt: skip
_LIST_PREFIXES: Final = (b"x-amz-meta-", b"x-amz-grant-")
"""What may be said in several lines, which are then joined (RFC 9110, 5.3)."""


def check(request: message.Request) -> None:
    """Return if a request's head is within the limits and says one thing.

    Raises:
        Refused: naming the limit, or the header.
    """
    names, values = zip(*request.headers, strict=True) if request.headers else ((), ())
    size = sum(map(len, names)) + sum(map(len, values))
    if size > MAX_HEADER_BYTES:
        raise Refused("RequestHeaderSectionTooLarge", MaxSizeAllowed=str(MAX_HEADER_BYTES))
    if len(request.raw_path) + len(request.raw_query) > MAX_TARGET_BYTES:
        raise Refused("InvalidURI", f"The URI is longer than {MAX_TARGET_BYTES} bytes.")
    if not request.header(b"host"):
        raise Refused("InvalidRequest", "Missing required header for this request: Host")
    if len(names) != len(set(names)):
        _check_repeated(names)


def _check_repeated(names: Sequence[bytes]) -> None:
    """Refuse a header that comes twice and has one value: which of them is meant is a guess.

    Two parties that guess differently can be played off against each other.
    """
    seen: set[bytes] = set()
    for name in names:
        single = name in _ONCE or (
            name.startswith(b"x-amz-")
            and name not in _LISTS
            and not name.startswith(_LIST_PREFIXES)
        )
        if single and name in seen:
            raise Refused(
                "InvalidArgument",
                "A header that has one value comes more than once.",
                ArgumentName=name.decode("latin-1"),
            )
        seen.add(name)
