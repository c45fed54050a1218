"""A loopback store that keeps exactly what it is sent. Standard library only.

It speaks as much of OSS as SDKs use for objects under client-side encryption: put, get with
a range, head, and multipart uploads. Signatures are not looked at.
"""

import hashlib
import http.server
import threading
import urllib.parse
import xml.etree.ElementTree as ET

KEPT = ("x-oss-meta-", "content-type", "content-encoding", "cache-control")


class Shelf:
    """A server on a free port of 127.0.0.1; `objects` is key → (headers, body)."""

    def __init__(self):
        self.objects = {}
        self.uploads = {}
        shelf = self

        class Handler(_Handler):
            store = shelf

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exc):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store = None

    def log_message(self, *_args):
        """Say nothing."""

    def _address(self):
        path, _, query = self.path.partition("?")
        _bucket, _, key = urllib.parse.unquote(path)[1:].partition("/")
        return key, dict(urllib.parse.parse_qsl(query, keep_blank_values=True))

    def _body(self):
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _kept(self):
        return {
            name.lower(): value
            for name, value in self.headers.items()
            if name.lower().startswith(KEPT)
        }

    def _answer(self, status, body=b"", headers=None, *, length=None):
        self.send_response(status)
        for name, value in {"x-oss-request-id": "0" * 24, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_PUT(self):
        key, query = self._address()
        body = self._body()
        etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest().upper()}"'
        if "uploadId" in query:
            _, _, parts = self.store.uploads[query["uploadId"]]
            parts[int(query["partNumber"])] = body
        else:
            self.store.objects[key] = (self._kept(), body)
        self._answer(200, headers={"etag": etag})

    def do_POST(self):
        key, query = self._address()
        body = self._body()
        if "uploads" in query:
            upload_id = f"{len(self.store.uploads):032x}"
            self.store.uploads[upload_id] = (key, self._kept(), {})
            text = (
                "<InitiateMultipartUploadResult><Bucket>bucket</Bucket>"
                f"<Key>key</Key><UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
            )
        else:
            place, headers, parts = self.store.uploads.pop(query["uploadId"])
            numbers = [int(node.text) for node in ET.fromstring(body).iter("PartNumber")]  # noqa: S314
            self.store.objects[place] = (headers, b"".join(parts[number] for number in numbers))
            text = (
                "<CompleteMultipartUploadResult><Bucket>bucket</Bucket><Key>key</Key>"
                '<ETag>"0-1"</ETag></CompleteMultipartUploadResult>'
            )
        self._answer(200, text.encode(), {"content-type": "application/xml"})

    def do_GET(self):
        key, _ = self._address()
        if key not in self.store.objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        headers, body = self.store.objects[key]
        known = headers | {"etag": '"0"', "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        wanted = self.headers.get("range")
        if wanted is None or self.command == "HEAD":
            self._answer(200, body, known, length=len(body))
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(body) - 1), len(body) - 1) + 1
        shown = {"content-range": f"bytes {start}-{end - 1}/{len(body)}"}
        self._answer(206, body[start:end], known | shown)

    do_HEAD = do_GET
