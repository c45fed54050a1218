"""A stand-in for a service of others, on a free port of this machine, for as long as a script runs.

`Oss` keeps what it is sent, as OSS would, and does not check who asks: what is tested is
what clients make of each other's envelopes.
"""

from __future__ import annotations

import http.server
import re
import secrets
import threading
import urllib.parse
from typing import Any

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class _Server:
    """An HTTP server in a thread."""

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        bound = type("Bound", (handler,), {"owner": self, "protocol_version": "HTTP/1.1"})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), bound)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()


class _Quiet(http.server.BaseHTTPRequestHandler):
    owner: Any

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""

    def body(self) -> bytes:
        """Return what was sent, in either framing."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, data: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


class Oss(_Server):
    """Objects by path: `objects[path]` is metadata and bytes."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[dict[str, str], bytes]] = {}
        self.uploads: dict[str, tuple[dict[str, str], dict[int, bytes]]] = {}
        super().__init__(_OssHandler)


class _OssHandler(_Quiet):
    def _place(self) -> tuple[str, dict[str, list[str]]]:
        path, _, query = self.path.partition("?")
        return urllib.parse.unquote(path), urllib.parse.parse_qs(query, keep_blank_values=True)

    def _metadata(self) -> dict[str, str]:
        return {
            name.lower(): value
            for name, value in self.headers.items()
            if name.lower().startswith("x-oss-meta-")
        }

    def do_PUT(self) -> None:
        """Store an object or a part."""
        path, query = self._place()
        data = self.body()
        if "uploadId" in query:
            number = int(query["partNumber"][0])
            self.owner.uploads[query["uploadId"][0]][1][number] = data
        else:
            self.owner.objects[path] = (self._metadata(), data)
        self.answer(200, b"", {"ETag": f'"{secrets.token_hex(16).upper()}"'})

    def do_POST(self) -> None:
        """Begin or end an upload."""
        path, query = self._place()
        self.body()
        if "uploads" in query:
            upload = secrets.token_hex(8)
            self.owner.uploads[upload] = (self._metadata(), {})
            xml = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
        else:
            metadata, parts = self.owner.uploads.pop(query["uploadId"][0])
            whole = b"".join(parts[number] for number in sorted(parts))
            self.owner.objects[path] = (metadata, whole)
            xml = '<CompleteMultipartUploadResult><ETag>"E"</ETag></CompleteMultipartUploadResult>'
        self.answer(200, f'<?xml version="1.0"?>{xml}'.encode(), {"ETag": '"E"'})

    def do_GET(self) -> None:
        """Give an object, or a range of it."""
        path, _ = self._place()
        if path not in self.owner.objects:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        metadata, data = self.owner.objects[path]
        headers = {**metadata, "ETag": '"E"', "Content-Type": "application/octet-stream"}
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        if match is None:
            self.answer(200, data, {**headers, "Content-Length": str(len(data))})
            return
        first = int(match[1])
        last = min(int(match[2] or len(data)), len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self.answer(206, data[first : last + 1], headers)

    do_HEAD = do_GET  # noqa: N815 - the name is the standard library's
