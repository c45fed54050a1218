"""Sockets that listen, and granian servers behind them.

We bind and listen ourselves and hand granian a duplicate of the socket, where
it would make its own with SO_REUSEPORT. So a taken port is an error at once,
port 0 can be read back, and a successor (new certificate, restarted worker)
accepts from the same queue. What is lost between two certificates is a TLS
handshake under way in that instant; clients try again.

Workers have a socket each, with SO_REUSEPORT: on a shared one, an idle worker
that woke first took nearly every connection (observed: 30 of 31).

Observed with granian 2.8.7, and set or worked around here: TLS starts at 1.3,
HTTP/2 and websockets are on, connections are limited to the backlog, logging is
configured to standard output, TCP_NODELAY is set on its own sockets only. Of
`HTTP1Settings`, `header_read_timeout` (30 s) closes a connection that sends no
complete head, also an idle kept one, without an answer; a head beyond
`max_buffer_size` (408 KiB) or with more than 100 headers gets 431; smaller
buffers make uploads slower (64 KiB: 2.1 instead of 1.3 CPU-s/GiB). The defaults
stay. Stopping is graceful by itself: idle connections close, others finish.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from granian import _granian, constants, http, log
from granian.server import embed

from strongroom.server import app, observe

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.server import asgi, settings, tls

BACKLOG = 1024
MAX_CONNECTIONS = 4096
"""Open connections of one listener in one process, idle ones too; more wait in the backlog."""
HEADER_READ_TIMEOUT_MS = 30_000
_SETTLE_TURNS = 10
"""Turns of the loop after which granian's worker has begun or failed (it needs three)."""


@dataclass(frozen=True, slots=True)
class Bound:
    """An address that is listened on, by one socket for each process that serves it.

    Attributes:
        name: "s3", "http" or "metrics", as in the ready line.
        socks: several share the port, and the kernel spreads connections over them.
        host: as configured.
        secure: TLS.
    """

    name: str
    socks: tuple[socket.socket, ...]
    host: str
    secure: bool

    @property
    def url(self) -> str:
        """`https://HOST:PORT` or `http://HOST:PORT`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.socks[0].getsockname()[1]}"

    def close(self) -> None:
        """Close the sockets; connections that nobody took are reset."""
        for sock in self.socks:
            sock.close()


def bind(name: str, address: settings.Address, *, secure: bool, processes: int = 1) -> Bound:
    """Listen on an address; connections wait in the queue until a `Listener` takes them.

    Raises:
        StartRefused: the address cannot be used, or somebody listens there.
    """
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError):
        raise app.StartRefused(
            f"The host of {address} is not known; listen on an address of this machine."
        ) from None
    family, _, _, _, where = found[0]
    socks: list[socket.socket] = []
    try:
        for _ in range(processes):
            sock = socket.socket(family, socket.SOCK_STREAM)
            socks.append(sock)
            # Lets us in while connections of a predecessor are in TIME_WAIT, not while it listens.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if sock is socks[0]:
                # Alone, or not at all; only then is the port opened to the next ones.
                sock.bind(where)
                if processes > 1:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                sock.bind(socks[0].getsockname())
            sock.listen(BACKLOG)
    except OSError as error:
        for sock in socks:
            sock.close()
        raise app.StartRefused(
            f"Cannot listen on {address} ({os.strerror(error.errno or 0)}):"
            " stop what uses the port, or choose another."
        ) from None
    return Bound(name, tuple(socks), address.host, secure)


class Listener:
    """Serves one bound socket until `stop`; takes a new certificate by `reload`.

    Args:
        bound: the address.
        sock: the one of its sockets that this process serves; stays the caller's.
        make_adapter: makes the ASGI application; called once for each certificate.
        reporter: is told if granian fails.
    """

    def __init__(
        self,
        bound: Bound,
        sock: socket.socket,
        make_adapter: Callable[[], asgi.Adapter],
        reporter: observe.Reporter,
    ) -> None:
        self._bound = bound
        self._sock = sock
        self._make_adapter = make_adapter
        self._reporter = reporter
        self._current: _Generation | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self.failed = asyncio.Event()
        """Set when granian ended without being asked to."""

    async def start(self, pair: tls.Pair | None) -> None:
        """Begin to accept; `pair` is None for plain HTTP.

        Raises:
            StartRefused: granian does not take the certificate.
        """
        assert (pair is not None) == self._bound.secure, "a certificate exactly for TLS"
        generation = _Generation(self._sock, self._make_adapter(), pair)
        await generation.settle()
        generation.task.add_done_callback(lambda _: self._ended(generation))
        self._current = generation

    async def reload(self, pair: tls.Pair) -> None:
        """Accept with another certificate; connections under the old one finish.

        Raises:
            StartRefused: granian does not take the certificate; the old one stays.
        """
        predecessor = self._current
        assert predecessor is not None, "started"
        await self.start(pair)
        leaving = asyncio.ensure_future(predecessor.stop())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def stop(self) -> None:
        """Accept no more, and return when every connection has ended."""
        generation, self._current = self._current, None
        if generation is not None:
            await generation.stop()
        if self._leaving:
            await asyncio.wait(self._leaving)

    def _ended(self, generation: _Generation) -> None:
        if generation.stopping:
            return
        error = None if generation.task.cancelled() else generation.task.exception()
        fields = {} if error is None else observe.describe_error(error)
        self._reporter.log.error("listener.failed", listener=self._bound.name, **fields)
        self.failed.set()


class _Generation:
    """One granian server: a socket under one certificate."""

    def __init__(self, sock: socket.socket, adapter: asgi.Adapter, pair: tls.Pair | None) -> None:
        self._adapter = adapter
        self._server = _Granian(sock, adapter, pair)
        self.stopping = False
        self.task: asyncio.Task[None] = asyncio.ensure_future(self._server.serve())

    async def settle(self) -> None:
        for _ in range(_SETTLE_TURNS):
            await asyncio.sleep(0)
        if self.task.done():
            with contextlib.suppress(Exception):
                self.task.result()
            raise app.StartRefused(
                "The certificate or its key is of a kind that the TLS library does not take;"
                " use RSA, ECDSA on P-256 or P-384, or Ed25519."
            )

    async def stop(self) -> None:
        self.stopping = True
        self._adapter.retire()
        self._server.stop()  # type: ignore[no-untyped-call]  # granian's, without annotations
        await asyncio.wait([self.task])


class _Granian(embed.Server):
    """granian's embedded server on a socket that is already listening."""

    def __init__(self, sock: socket.socket, target: Any, pair: tls.Pair | None) -> None:
        self._listening = sock
        super().__init__(
            target,
            interface=constants.Interfaces.ASGINL,
            http=constants.HTTPModes.http1,
            websockets=False,
            backlog=BACKLOG,
            backpressure=MAX_CONNECTIONS,
            http1_settings=http.HTTP1Settings(header_read_timeout=HEADER_READ_TIMEOUT_MS),
            log_level=log.LogLevels.error,
            # Levels only: no handlers of its own, so records reach the root logger.
            log_dictconfig={"incremental": True, "handlers": {}, "loggers": {}},
            ssl_cert=pair.cert if pair else None,
            ssl_key=pair.key if pair else None,
            ssl_protocol_min=constants.SSLProtocols.tls12,
        )

    def _init_shared_socket(self) -> None:
        # granian's own way on systems other than Linux; its Rust side takes either.
        # It closes the descriptor when it stops accepting, so it gets one of its own.
        descriptor = os.dup(self._listening.fileno())
        self._shd = _granian.SocketHolder(descriptor, False, BACKLOG)  # type: ignore[call-arg, assignment]  # its stub is incomplete
