"""Sends prepared requests over raw TLS sockets and drops the answers.

Nothing is built, signed, hashed or kept while time is taken. A *lane* is one
connection with its requests, one after the other; lanes are spread over processes.
Within a process the lanes are told apart by epoll, and a body is read whole once it
begins: lanes with large bodies want a process each.
"""

from __future__ import annotations

import multiprocessing
import select
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib import parse

from benchmarks import meter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from benchmarks.signing import Message

TIMEOUT_S = 300
"""A server that says nothing for so long has failed."""
SETTLE_S = 0.2
"""The server's CPU is read so long after the last answer, so that what it put off counts."""

_READ_BYTES: Final = 256 * 1024
_SHOWN_BYTES: Final = 600
_GOOD: Final = frozenset({200, 206})
_CONTEXT = multiprocessing.get_context("fork")

Lane = list["Message"]


@dataclass(slots=True)
class Sample:
    """One measured run.

    Attributes:
        wall_s: from the first request to the last answer.
        requests: how many.
        client_s: CPU-seconds of the client.
        latencies_s: of each request, sorted; empty where a foreign client ran.
        server: what the server took.
    """

    wall_s: float
    requests: int
    client_s: float
    latencies_s: list[float]
    server: meter.Reading


class AnswerRefused(Exception):
    """The server did not answer with success: whatever was measured means nothing."""


def run(
    lanes: Sequence[Lane], endpoint: str, ca_bundle: str, tree: meter.Tree, *, processes: int
) -> Sample:
    """Connect all lanes, then send what they hold, and measure.

    Raises:
        AnswerRefused: an answer was not 200 or 206.
        RuntimeError: a process of the client failed.
    """
    context = ssl.create_default_context(cafile=ca_bundle)
    groups = [lanes[number::processes] for number in range(processes)]
    pipes: list[Connection] = []
    workers = []
    for group in filter(None, groups):
        ours, theirs = _CONTEXT.Pipe()
        worker = _CONTEXT.Process(target=_work, args=(group, endpoint, context, theirs))
        worker.start()
        theirs.close()
        pipes.append(ours)
        workers.append(worker)
    try:
        for pipe in pipes:
            _receive(pipe)
        with meter.Meter(tree) as metered:
            for pipe in pipes:
                pipe.send("go")
            results = [_receive(pipe) for pipe in pipes]
            time.sleep(SETTLE_S)
    finally:
        for pipe in pipes:
            pipe.close()
        for worker in workers:
            worker.join()
    starts, ends, cpus, latencies = zip(*results, strict=True)
    return Sample(
        wall_s=max(ends) - min(starts),
        requests=sum(map(len, lanes)),
        client_s=sum(cpus),
        latencies_s=sorted(latency for part in latencies for latency in part),
        server=metered.reading,
    )


def _receive(pipe: Connection) -> tuple[float, float, float, list[float]]:
    try:
        told = pipe.recv()
    except EOFError:
        raise RuntimeError("a process of the client ended without a word") from None
    if isinstance(told, str):
        raise AnswerRefused(told)
    return told


def _work(lanes: Sequence[Lane], endpoint: str, context: ssl.SSLContext, pipe: Connection) -> None:
    try:
        lines = [_Line(endpoint, context, lane) for lane in lanes]
        pipe.send((0.0, 0.0, 0.0, []))
        pipe.recv()
        pipe.send(_replay(lines))
    except EOFError:
        return
    except (AnswerRefused, OSError) as error:
        pipe.send(f"{type(error).__name__}: {error}")


def _replay(lines: Sequence[_Line]) -> tuple[float, float, float, list[float]]:
    """Return (start, end, CPU-seconds, latencies); the clock is the machine's, not a process's."""
    cpu_s = time.process_time()
    start = time.monotonic()
    if len(lines) == 1:
        while lines[0].send():
            lines[0].receive()
    else:
        poll = select.epoll()
        by_fd = {line.sock.fileno(): line for line in lines}
        busy = 0
        for fd, line in by_fd.items():
            poll.register(fd, select.EPOLLIN)
            busy += line.send()
        while busy:
            for fd, _ in poll.poll():
                by_fd[fd].receive()
                if not by_fd[fd].send():
                    poll.unregister(fd)
                    busy -= 1
    end = time.monotonic()
    latencies = [latency for line in lines for latency in line.latencies_s]
    return start, end, time.process_time() - cpu_s, latencies


class _Line:
    """A connection with what is to be sent on it."""

    def __init__(self, endpoint: str, context: ssl.SSLContext, lane: Lane) -> None:
        url = parse.urlsplit(endpoint)
        assert url.hostname is not None, "an endpoint names its host"
        plain = socket.create_connection((url.hostname, url.port or 443), TIMEOUT_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The kernel's timeouts: Python's would cost a poll around each read and write.
        plain.settimeout(None)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            plain.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", TIMEOUT_S, 0))
        self.sock = context.wrap_socket(plain, server_hostname=url.hostname)
        self.latencies_s: list[float] = []
        self._lane = iter(lane)
        self._buffer = bytearray(_READ_BYTES)
        self._view = memoryview(self._buffer)
        self._sent_at = 0.0
        self._bodyless = False

    def send(self) -> bool:
        """Send the next request; False if there is none."""
        message = next(self._lane, None)
        if message is None:
            return False
        self._bodyless = message.bodyless
        self._sent_at = time.monotonic()
        if len(message.body) <= _READ_BYTES:
            self.sock.sendall(message.head + message.body)
        else:
            self.sock.sendall(message.head)
            self.sock.sendall(message.body)
        return True

    def receive(self) -> None:
        """Read the answer to its end and drop it."""
        filled = self._read(0)
        while (end := self._buffer.find(b"\r\n\r\n", 0, filled)) < 0:
            filled += self._read(filled)
        head = bytes(self._view[: end + 2]).lower()
        length = 0 if self._bodyless else _content_length(head)
        rest = bytes(self._view[end + 4 : filled])
        if length is None:
            rest = self._chunked(rest)
        # A copy that fails on its way says so after its 200.
        if int(head[9:12]) not in _GOOD or b"<Error>" in rest[:_SHOWN_BYTES]:
            raise AnswerRefused(f"{head[:12].decode()}: {rest[:_SHOWN_BYTES]!r}")
        if length is not None:
            left = length - len(rest)
            recv_into, view = self.sock.recv_into, self._view
            while left > 0:
                got = recv_into(view)
                if not got:
                    raise AnswerRefused(f"an answer ended {left} bytes early")
                left -= got
        self.latencies_s.append(time.monotonic() - self._sent_at)

    def _read(self, filled: int) -> int:
        got = self.sock.recv_into(self._view[filled:])
        if not got:
            raise AnswerRefused("the server closed the connection")
        return got

    def _chunked(self, raw: bytes) -> bytes:
        """Read a body in chunks to its end; return it."""
        body = b""
        while True:
            line, found, rest = raw.partition(b"\r\n")
            size = int(line.split(b";")[0], 16) if found else 0
            if found and len(rest) >= size + 2:
                if not size:
                    return body
                body += rest[:size]
                raw = rest[size + 2 :]
                continue
            raw += bytes(self._view[: self._read(0)])


def _content_length(head: bytes) -> int | None:
    """Return the length that a head names; None if the body comes in chunks."""
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        return int(head[at + 17 : head.index(b"\r\n", at + 2)])
    return None if b"\r\ntransfer-encoding:" in head else 0
