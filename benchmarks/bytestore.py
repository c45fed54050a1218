"""A store of bytes for clients that encrypt: what comes in is given back, and nobody is checked.

It takes PUT, GET, HEAD, DELETE and uploads in parts in the shapes that S3's and OSS's clients send
to a path (`/bucket/key`), plain and aws-chunked, and keeps all of it in memory. It does so
little that what is measured against it is the client.

    python -m benchmarks.bytestore      prints its URL, and serves until its input ends
"""

from __future__ import annotations

import http.server
import re
import secrets
import sys
import threading
import urllib.parse
from typing import Any

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_METADATA = ("x-amz-meta-", "x-oss-meta-")
Object = tuple[dict[str, str], list[memoryview]]
"""Metadata under the names that they came with, and the bytes in pieces."""


class Store(http.server.ThreadingHTTPServer):
    """The server: objects by path, uploads by id."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.uploads: dict[str, tuple[dict[str, str], dict[int, memoryview]]] = {}
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of what went wrong, unless a client hung up: those that are killed do."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Any

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""

    def do_PUT(self) -> None:
        """Store an object or a part."""
        path, query = self._place()
        data = self._body()
        if "uploadId" in query:
            number = int(query["partNumber"][0])
            self.server.uploads[query["uploadId"][0]][1][number] = data
        else:
            self.server.objects[path] = (self._metadata(), [data])
        self._answer(200, [], {"ETag": f'"{secrets.token_hex(16).upper()}"'})

    def do_POST(self) -> None:
        """Begin or end an upload."""
        path, query = self._place()
        self._body()
        if "uploads" in query:
            upload = secrets.token_hex(8)
            self.server.uploads[upload] = (self._metadata(), {})
            name, inner = "InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>"
        else:
            metadata, parts = self.server.uploads.pop(query["uploadId"][0])
            self.server.objects[path] = (metadata, [parts[number] for number in sorted(parts)])
            name, inner = "CompleteMultipartUploadResult", "<ETag>&quot;E&quot;</ETag>"
        xml = f'<?xml version="1.0"?><{name}>{inner}</{name}>'.encode()
        self._answer(200, [memoryview(xml)], {"ETag": '"E"', "Content-Type": "application/xml"})

    def do_GET(self) -> None:
        """Give an object, or a range of it."""
        path, query = self._place()
        if "uploadId" in query:
            self._list_parts(query["uploadId"][0])
            return
        if path not in self.server.objects:
            self._answer(404, [memoryview(b"<Error><Code>NoSuchKey</Code></Error>")], {})
            return
        metadata, pieces = self.server.objects[path]
        size = sum(map(len, pieces))
        headers = {
            **metadata,
            "ETag": '"E"',
            "Content-Type": "application/octet-stream",
            "Last-Modified": "Fri, 02 Jan 2026 03:04:05 GMT",
            "Accept-Ranges": "bytes",
        }
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        if asked is None or not size:
            self._answer(200, pieces, headers)
            return
        first, last = int(asked[1]), min(int(asked[2] or size), size - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self._answer(206, _cut(pieces, first, last + 1), headers)

    do_HEAD = do_GET  # noqa: N815 - the name is the standard library's

    def do_DELETE(self) -> None:
        """Forget an object."""
        self.server.objects.pop(self._place()[0], None)
        self._answer(204, [], {})

    def _list_parts(self, upload: str) -> None:
        rows = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;E&quot;</ETag>"
            f"<Size>{len(data)}</Size><LastModified>2026-01-02T03:04:05.000Z</LastModified></Part>"
            for number, data in sorted(self.server.uploads[upload][1].items())
        )
        xml = (
            f'<?xml version="1.0"?><ListPartsResult><IsTruncated>false</IsTruncated>{rows}'
            "<NextPartNumberMarker>0</NextPartNumberMarker></ListPartsResult>"
        )
        self._answer(200, [memoryview(xml.encode())], {"Content-Type": "application/xml"})

    def _place(self) -> tuple[str, dict[str, list[str]]]:
        path, _, query = self.path.partition("?")
        return urllib.parse.unquote(path), urllib.parse.parse_qs(query, keep_blank_values=True)

    def _metadata(self) -> dict[str, str]:
        return {
            name: value
            for name, value in self.headers.items()
            if name.lower().startswith(_METADATA)
        }

    def _body(self) -> memoryview:
        length = self.headers.get("Content-Length")
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._unframed(int(self.headers["x-amz-decoded-content-length"]))
        if self.headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
            return self._chunks(int(self.headers["x-amz-decoded-content-length"]))
        return self._exactly(int(length or 0))

    def _unframed(self, decoded: int) -> memoryview:
        """Read an aws-chunked body inside HTTP's own chunks, by taking the latter off first."""
        framed = bytearray()
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            framed += self._exactly(size)
            self.rfile.readline()
        self.rfile.readline()
        data, at = bytearray(), 0
        while len(data) < decoded:
            end = framed.index(b"\r\n", at)
            size = int(framed[at:end].partition(b";")[0], 16)
            data += framed[end + 2 : end + 2 + size]
            at = end + size + 4
        return memoryview(data)

    def _chunks(self, decoded: int) -> memoryview:
        """Read an aws-chunked body and its trailers."""
        data = memoryview(bytearray(decoded))
        at = 0
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            self._fill(data[at : at + size])
            at += size
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return data

    def _exactly(self, size: int) -> memoryview:
        data = memoryview(bytearray(size))
        self._fill(data)
        return data

    def _fill(self, view: memoryview) -> None:
        while view:
            got = self.rfile.readinto(view)  # type: ignore[attr-defined]  # a BufferedReader
            if not got:
                raise ConnectionError("a body ended early")
            view = view[got:]

    def _answer(self, status: int, pieces: list[memoryview], headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:  # noqa: PLR2004 - No Content
            self.send_header("Content-Length", str(sum(map(len, pieces))))
        self.end_headers()
        if self.command != "HEAD":
            for piece in pieces:
                self.wfile.write(piece)


def _cut(pieces: list[memoryview], start: int, end: int) -> list[memoryview]:
    """Return bytes [start, end) of what the pieces are together."""
    found, at = [], 0
    for piece in pieces:
        low, high = max(0, start - at), min(len(piece), end - at)
        if low < high:
            found.append(piece[low:high])
        at += len(piece)
    return found


def main() -> int:
    """Serve until the input ends."""
    store = Store()
    threading.Thread(target=store.serve_forever, daemon=True).start()
    sys.stdout.write(f"{store.url}\n")
    sys.stdout.flush()
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
