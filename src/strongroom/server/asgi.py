"""ASGI ⇄ `wire.message`: the only module that knows what a scope looks like.

What the events of a body look like, `arriving` knows.

Behind it stands granian (hyper), of which this relies on, observed with 2.8.7:

* `raw_path` is still percent-encoded; header bytes and their order are kept.
* The status line leaves with the first piece of the body. So an iterator that
  raises before its first piece becomes a 500, and later cuts the connection:
  returning before `content-length` bytes were sent makes hyper close it.
* `send` to a client that has gone neither raises nor waits, so a download would
  run to its end for nobody, and hold up the loop. Only `receive` tells: a task
  watches it, and every piece lets others run.
* `send` takes `bytes` and `bytearray`; a `memoryview` would be sent as nothing.
* `Expect: 100-continue` is answered when the body is first read.
* An answer before the end of the body never desynchronises: hyper reads on while
  `receive` is called, and closes if the body is then still unfinished. Closing on
  a client that is sending resets the connection and may destroy the answer on its
  way, hence the lingering.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from typing import TYPE_CHECKING, Any

from strongroom import errors
from strongroom.server import arriving, patience
from strongroom.wire import message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from strongroom.server import observe, settings

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    Handle = Callable[[message.Request], Awaitable[message.Response]]

MAX_REQUESTS = 1024
"""Requests at a time in one process; each may hold a few hundred KiB. Beyond: 503."""
STALL_S = 120.0
"""A client that neither sends nor takes a byte for so long is given up."""
LEAST_BYTES = 8 * 1024
"""What must come of a body within `STALL_S` of waiting for it, if it has so much left: else a
byte a minute would hold a connection for as long as somebody likes. It is 68 bytes a second."""
LINGER_S = 5.0
LINGER_BYTES = 8 * 1024 * 1024
"""How long, and for how much, a body that nobody wants is still taken after the answer."""
SMALL_REST_BYTES = 64 * 1024
"""A rest of a body this small is worth a kept connection."""
_LENGTH_RULE = "an iterator yields what content-length says"
_TIMEOUT = 408
_INTERNAL_ERROR = 500
_UNAVAILABLE = 503
_BODYLESS = frozenset({204, 304})


class Traffic:
    """Counts the requests under way in this process, over all listeners."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def in_flight(self) -> int:
        """How many requests are being answered."""
        return len(self._tasks)

    def enter(self) -> asyncio.Task[Any]:
        """Count the running task in; hand the result to `leave`."""
        task = asyncio.current_task()
        assert task is not None, "a request runs in a task"
        self._tasks.add(task)
        self._idle.clear()
        return task

    def leave(self, task: asyncio.Task[Any]) -> None:
        """Count it out."""
        self._tasks.discard(task)
        if not self._tasks:
            self._idle.set()

    async def idle(self) -> None:
        """Return when nothing is under way."""
        await self._idle.wait()

    def cut(self) -> None:
        """Cancel whatever is under way."""
        for task in self._tasks:
            task.cancel()


class Adapter:
    """An ASGI application over a function from request to response.

    Args:
        handle: never raises for what a client sends, but may raise `ClientGone`.
        reporter: gets one record per request.
        traffic: shared by all adapters of the process.
        trusted_proxies: peers whose `X-Forwarded-Proto: https` and `X-Forwarded-For` count.
        random_bytes: source of request ids.
    """

    def __init__(
        self,
        handle: Handle,
        reporter: observe.Reporter,
        traffic: Traffic,
        *,
        trusted_proxies: Sequence[settings.Network] = (),
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        max_requests: int = MAX_REQUESTS,
    ) -> None:
        self._handle = handle
        self._reporter = reporter
        self._traffic = traffic
        self._proxies = trusted_proxies
        self._random_bytes = random_bytes
        self._max_requests = max_requests
        self._retired = False

    def retire(self) -> None:
        """Close every connection after the answer that is under way on it."""
        self._retired = True

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        assert scope["type"] == "http", "websockets and lifespan are off"
        headers: message.Headers = [(bytes(name), bytes(value)) for name, value in scope["headers"]]
        neighbour = scope["client"][0]
        peer = self._client(neighbour, headers)
        body = arriving.Arriving(receive, headers, stall_s=STALL_S, least_bytes=LEAST_BYTES)
        request = message.Request(
            method=scope["method"],
            raw_path=scope["raw_path"],
            raw_query=scope["query_string"],
            headers=headers,
            body=body,
            secure=scope["scheme"] == "https" or self._came_by_https(neighbour, headers),
            peer=peer,
            request_id=self._random_bytes(8).hex().upper(),
        )
        task = self._traffic.enter()
        exchange = self._reporter.begin(request.request_id, request.method, peer)
        try:
            response = await self._answer(request)
            reply = _Reply(request, response, body, receive, send, exchange)
            await reply.send(close=self._retired)
        except errors.ClientGone:
            exchange.outcome = "gone"
            await _apologise(exchange, send, _TIMEOUT)
        except asyncio.CancelledError:
            # `Traffic.cut`: time is up. After a head was sent, returning cuts the connection.
            exchange.outcome = "cut"
            await _apologise(exchange, send, _UNAVAILABLE)
        except Exception as error:  # noqa: BLE001 - logged here; raised on, granian would print its message
            if exchange.status != _INTERNAL_ERROR:
                exchange.outcome = "cut"
            self._reporter.failed(request.request_id, error)
        finally:
            body.close()
            exchange.bytes_in = body.received
            self._reporter.finish(exchange)
            self._traffic.leave(task)

    async def _answer(self, request: message.Request) -> message.Response:
        if not request.raw_path.startswith(b"/"):
            # `OPTIONS *` and CONNECT name no resource of ours.
            return message.Response(400, [])
        if self._traffic.in_flight > self._max_requests:
            self._reporter.log.warning(
                "request.overloaded", in_flight=self._traffic.in_flight, peer=request.peer
            )
            return message.Response(_UNAVAILABLE, [(b"retry-after", b"1")])
        try:
            return await self._handle(request)
        except errors.ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - the last resort; the pipeline answers errors itself
            self._reporter.failed(request.request_id, error)
            return message.Response(_INTERNAL_ERROR, [])

    def _came_by_https(self, peer: str, headers: message.Headers) -> bool:
        if not self._proxies:
            return False
        said = [value for name, value in headers if name == b"x-forwarded-proto"]
        # A list holds what earlier hops claimed; all of them must agree.
        hops = b",".join(said).split(b",")
        if any(hop.strip().lower() != b"https" for hop in hops):
            return False
        return self._is_proxy(peer)

    def _client(self, peer: str, headers: message.Headers) -> str:
        """Return who asks: the peer, or whom the nearest of trusted proxies names.

        What stands left of the first address that is no proxy of ours, the client may have
        written itself.
        """
        if not self._proxies:
            return peer
        said = [value for name, value in headers if name == b"x-forwarded-for"]
        hops = [hop.strip() for hop in b",".join(said).decode("latin-1").split(",")]
        nearest = peer
        while hops and self._is_proxy(nearest):
            hop = hops.pop()
            try:
                nearest = str(ipaddress.ip_address(hop))
            except ValueError:
                break
        return nearest

    def _is_proxy(self, peer: str) -> bool:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(peer)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._proxies)


async def _apologise(exchange: observe.Exchange, send: Send, status: int) -> None:
    """End a request that has had no answer; granian would speak in its own name."""
    if exchange.status == 0:
        headers = [(b"server", b"strongroom"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Reply:
    """One response on its way out."""

    def __init__(
        self,
        request: message.Request,
        response: message.Response,
        incoming: arriving.Arriving,
        receive: Receive,
        send: Send,
        exchange: observe.Exchange,
    ) -> None:
        self._response = response
        self._bodyless = request.method == "HEAD" or response.status in _BODYLESS
        self._incoming = incoming
        self._receive = receive
        self._send = send
        self._exchange = exchange

    async def send(self, *, close: bool) -> None:
        """Send it all; raises what the body's iterator raises."""
        headers = [(b"server", b"strongroom"), *self._response.headers]
        unread = not self._incoming.finished
        rest = self._incoming.rest
        if close or (unread and (self._incoming.held or rest is None or rest > SMALL_REST_BYTES)):
            headers.append((b"connection", b"close"))
        body = self._response.body
        if isinstance(body, bytes):
            await self._send_whole(headers, body)
        else:
            try:
                await self._send_pieces(headers, body)
            finally:
                aclose = getattr(body, "aclose", None)
                if aclose is not None:
                    await aclose()
        if unread and not self._incoming.held:
            await self._incoming.discard(most_bytes=LINGER_BYTES, most_s=LINGER_S)

    async def _send_whole(self, headers: message.Headers, body: bytes | bytearray) -> None:
        if self._bodyless:
            if body and not any(name == b"content-length" for name, _ in headers):
                headers.append((b"content-length", b"%d" % len(body)))
            body = b""
        await self._start(headers)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
        self._exchange.bytes_out = len(body)

    async def _send_pieces(
        self, headers: message.Headers, pieces: AsyncIterator[bytes | bytearray]
    ) -> None:
        if self._bodyless:
            await self._send_whole(headers, b"")
            return
        try:
            first = await anext(pieces, b"")
            length = next((value for name, value in headers if name == b"content-length"), None)
            whole = length == b"%d" % len(first)
            # Where one piece is all, its end comes first: what goes wrong there is still a 500.
            if whole:
                rest = await anext(pieces, None)
                assert rest is None, _LENGTH_RULE
        except Exception:
            await self._start([(b"server", b"strongroom")], _INTERNAL_ERROR)
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            raise
        if whole:
            await self._send_whole(headers, first)
            return
        stalls = patience.Patience()
        watch = asyncio.ensure_future(self._client_gone())
        try:
            await self._start(headers)
            await self._send_piece(first, stalls)
            async for piece in pieces:
                if watch.done():
                    raise errors.ClientGone("the connection ended before the answer")
                await self._send_piece(piece, stalls)
            assert length in (None, b"%d" % self._exchange.bytes_out), _LENGTH_RULE
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            watch.cancel()
            stalls.close()

    async def _start(self, headers: message.Headers, status: int | None = None) -> None:
        status = self._response.status if status is None else status
        self._exchange.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _send_piece(self, piece: bytes | bytearray, stalls: patience.Patience) -> None:
        assert isinstance(piece, bytes | bytearray), "anything else would be sent as nothing"
        event = {"type": "http.response.body", "body": piece, "more_body": True}
        try:
            await stalls.wait(self._send(event), STALL_S)
        except TimeoutError:
            raise errors.ClientGone(f"nothing was taken for {STALL_S:.0f} s") from None
        # Neither this nor an iterator over memory needs to wait, and then nobody else would run.
        await asyncio.sleep(0)
        self._exchange.bytes_out += len(piece)

    async def _client_gone(self) -> None:
        """Return when the client hangs up, or sends more than anybody will read."""
        taken = 0
        while taken <= LINGER_BYTES:
            event = await self._receive()
            if event["type"] != "http.request":
                return
            taken += len(event["body"])
