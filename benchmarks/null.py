"""A server that does nothing: it shows what the client could reach.

TLS, one process to a connection; bodies are read and dropped, answers are zeros of
the length that the key names (`…/BYTES/…`, see `workloads.Site.key`). What a
workload reaches here is the ceiling of the client, with the machine as it is: a
server that comes near to it was not measured, the client was.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import signal
import socket
import ssl
import sys
from typing import Final
from urllib import parse

_BUFFER_BYTES: Final = 256 * 1024
_PAGE_KEYS: Final = 1000
_OK: Final = b'HTTP/1.1 200 OK\r\nETag: "0123456789abcdef0123456789abcdef"\r\n'
_RANGE: Final = re.compile(rb"\r\nrange: *bytes=(\d+)-(\d+)")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)")
_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_ROW: Final = (
    "<Contents><Key>{:06d}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    "<ETag>&quot;0123456789abcdef0123456789abcdef&quot;</ETag><Size>16</Size>"
    "<StorageClass>STANDARD</StorageClass></Contents>"
)


def _document(root: str, inner: str) -> bytes:
    return f'<?xml version="1.0"?>\n<{root} xmlns="{_NAMESPACE}">{inner}</{root}>'.encode()


_LIST: Final = _document("ListBucketResult", "".join(map(_ROW.format, range(_PAGE_KEYS))))
_UPLOAD: Final = _document("InitiateMultipartUploadResult", "<UploadId>null</UploadId>")
_DONE: Final = _document("CompleteMultipartUploadResult", "<ETag>&quot;0-1&quot;</ETag>")
_COPY: Final = _document("CopyObjectResult", "<ETag>&quot;0&quot;</ETag>")


class _Served:
    """One connection, to its end."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._zeros = bytes(4 * 1024 * 1024)

    def serve(self) -> None:
        filled = 0
        while True:
            while (end := self._buffer.find(b"\r\n\r\n", 0, filled)) < 0:
                got = self._sock.recv_into(self._view[filled:])
                if not got:
                    return
                filled += got
            head = bytes(self._view[: end + 2])
            lower = head.lower()
            if b"\r\nexpect: 100-continue" in lower:
                self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._drop(lower, end + 4, filled)
            self._answer(head, lower)
            filled = 0

    def _drop(self, head: bytes, start: int, filled: int) -> None:
        """Read the body and forget it; its beginning lies at [start, filled) of the buffer."""
        announced = _LENGTH.search(head)
        if announced is not None:
            left = int(announced[1]) - (filled - start)
            while left > 0:
                got = self._sock.recv_into(self._view)
                if not got:
                    return
                left -= got
        elif b"\r\ntransfer-encoding: chunked" in head:
            # Both framings end in an empty line, and pieces of noise hardly ever do.
            tail = bytes(self._view[start:filled])[-5:]
            while not tail.endswith(b"0\r\n\r\n"):
                got = self._sock.recv_into(self._view)
                if not got:
                    return
                tail = (tail + bytes(self._view[max(0, got - 5) : got]))[-5:]

    def _answer(self, head: bytes, lower: bytes) -> None:
        method, target = head.split(b" ", 2)[:2]
        url = parse.urlsplit(target.decode())
        size = next((int(part) for part in url.path.split("/")[2:] if part.isdigit()), 0)
        if method == b"HEAD":
            self._sock.sendall(b"%bContent-Length: %d\r\n\r\n" % (_OK, size))
        elif method == b"GET" and url.path.count("/") > 1 and url.path[-1] != "/":
            wanted = _RANGE.search(lower)
            if wanted is not None:
                size = int(wanted[2]) - int(wanted[1]) + 1
            self._zeros_after(b"%bContent-Length: %d\r\n\r\n" % (_OK, size), size)
        else:
            body = b""
            if method == b"GET":
                body = _LIST
            elif method == b"POST":
                body = _UPLOAD if "uploads" in url.query else _DONE
            elif b"\r\nx-amz-copy-source:" in lower:
                body = _COPY
            self._sock.sendall(b"%bContent-Length: %d\r\n\r\n%b" % (_OK, len(body), body))

    def _zeros_after(self, head: bytes, size: int) -> None:
        if size <= _BUFFER_BYTES:
            self._sock.sendall(head + self._zeros[:size])
            return
        self._sock.sendall(head)
        while size:
            step = min(size, len(self._zeros))
            self._sock.sendall(memoryview(self._zeros)[:step])
            size -= step


def _serve(plain: socket.socket, context: ssl.SSLContext) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        _Served(context.wrap_socket(plain, server_side=True)).serve()
    except OSError:
        # The client has gone, as clients do.
        return


def main() -> None:
    """Serve until killed; the ready line is the port."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.null")
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    chosen = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chosen.cert, chosen.key)
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    processes = multiprocessing.get_context("fork")
    while True:
        plain, _ = listening.accept()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Ends with us; the list of children is cleared of the dead at each start.
        processes.Process(target=_serve, args=(plain, context), daemon=True).start()
        plain.close()


if __name__ == "__main__":
    main()
