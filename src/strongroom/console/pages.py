"""The console's files, and the headers that keep what is stored apart from them."""

from __future__ import annotations

import html
from importlib import resources
from typing import TYPE_CHECKING, Final

from strongroom.wire import message

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT: Final = b"/-/console/"
"""Where the page is: no bucket's name begins with `-`."""

_TYPES: Final = {
    "css": b"text/css; charset=utf-8",
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}
_INDEX: Final = "index.html"
_REGION: Final = "{{ region }}"

_OURS: Final = (
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
            b" connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
        ),
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
_STORED: Final = (
    (b"content-security-policy", b"sandbox"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
"""An object may be a page with a script of its own: under `sandbox` it has another origin."""


class Pages:
    """What the console's listener serves besides S3.

    Args:
        region: the store's; requests are signed for it.
    """

    def __init__(self, region: str) -> None:
        self._files: Mapping[bytes, tuple[bytes, bytes]] = dict(_read(region))

    def answer(self, request: message.Request) -> message.Response | None:
        """Answer for a file of the console; None: the request is one of S3's."""
        if request.raw_path == b"/":
            # A browser that was given the bare address; ListBuckets comes signed.
            asks = request.method in ("GET", "HEAD") and not request.raw_query
            if not asks or request.header(b"authorization") is not None:
                return None
            return _reply(request, 303, b"text/plain", b"", location=ROOT)
        if not request.raw_path.startswith(ROOT):
            return None
        if request.method not in ("GET", "HEAD"):
            return _reply(request, 405, b"text/plain", b"The console's files are read only.\n")
        found = self._files.get(request.raw_path)
        if found is None:
            return _reply(request, 404, b"text/plain", b"The console has no such file.\n")
        content_type, content = found
        return _reply(request, 200, content_type, content)

    def confine(self, response: message.Response) -> message.Response:
        """Return an answer of S3 that no browser takes for a part of the console."""
        return message.Response(response.status, [*response.headers, *_STORED], response.body)


def _read(region: str) -> list[tuple[bytes, tuple[bytes, bytes]]]:
    folder = resources.files(__package__) / "static"
    found = []
    for file in folder.iterdir():
        content = file.read_bytes()
        if file.name == _INDEX:
            content = content.replace(_REGION.encode(), html.escape(region).encode())
        path = ROOT if file.name == _INDEX else ROOT + file.name.encode()
        found.append((path, (_TYPES[file.name.rpartition(".")[2]], content)))
    return found


def _reply(
    request: message.Request,
    status: int,
    content_type: bytes,
    content: bytes,
    *,
    location: bytes | None = None,
) -> message.Response:
    headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(content)),
        *_OURS,
    ]
    if location is not None:
        headers.append((b"location", location))
    return message.Response(status, headers, content if request.method == "GET" else b"")
