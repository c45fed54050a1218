"""A server with a small application in the store's place, as a process of its own.

`python dummy.py --listen 127.0.0.1:0 …` serves; `python dummy.py worker` is a worker of it.
"""

import asyncio
import json
import os
import sys

from strongroom import errors
from strongroom.cli import failures
from strongroom.server import asgi, process, settings, workers
from strongroom.wire import message

PIECE = bytes(range(256)) * 256


class Dummy:
    def __init__(self, reporter):
        self._reporter = reporter
        self._gone = 0
        self._closed = 0
        self._made = 0

    async def start(self):
        pass

    async def close(self):
        pass

    async def ready(self):
        return True

    async def about(self, request):
        if request.raw_path == b"/-/metrics":
            return message.Response(200, [], await self._reporter.metrics.scrape())
        return await self.handle(request)

    async def kms(self, request):
        return await self.handle(request)

    async def console(self, request):
        return await self.handle(request)

    async def handle(self, request):
        name = request.raw_path.split(b"/")[1].decode()
        self._reporter.describe(request.request_id, operation=f"Dummy{name.title()}")
        answer = getattr(self, f"_{name}", None)
        if answer is None:
            return await self._echo(request)
        return await answer(request)

    async def _echo(self, request):
        size = 0
        try:
            async for piece in request.body:
                size += len(piece)
        except errors.ClientGone:
            self._gone += 1
            raise
        table = {
            "method": request.method,
            "raw_path": request.raw_path.decode("latin-1"),
            "raw_query": request.raw_query.decode("latin-1"),
            "headers": [[n.decode("latin-1"), v.decode("latin-1")] for n, v in request.headers],
            "size": size,
            "secure": request.secure,
            "peer": request.peer,
            "request_id": request.request_id,
            "pid": os.getpid(),
        }
        return message.Response(
            200, [(b"x-dummy", b"a"), (b"x-dummy", b"b")], json.dumps(table).encode()
        )

    async def _refuse(self, _request):
        return message.Response(403, [], b"no")

    async def _counts(self, _request):
        table = {"gone": self._gone, "closed": self._closed, "made": self._made}
        return message.Response(200, [], json.dumps(table).encode())

    async def _stream(self, request):
        size = int(request.raw_query)
        return message.Response(200, [(b"content-length", b"%d" % size)], self._pieces(size))

    async def _whole(self, request):
        return message.Response(200, [], PIECE[: int(request.raw_query)])

    async def _mixed(self, _request):
        async def pieces():
            yield bytearray(b"abc")
            yield b"def"

        return message.Response(200, [(b"content-length", b"6")], pieces())

    async def _short(self, _request):
        async def pieces():
            yield b"abc"

        return message.Response(200, [(b"content-length", b"100")], pieces())

    async def _break(self, request):
        async def pieces():
            if request.raw_query == b"late":
                yield b"x" * 1000
            raise errors.NotAuthentic("secret-in-the-message")

        return message.Response(200, [(b"content-length", b"2000")], pieces())

    async def _end(self, _request):
        async def pieces():
            yield b"abc"
            raise errors.NotAuthentic("secret-in-the-message")

        return message.Response(200, [(b"content-length", b"3")], pieces())

    async def _raise(self, _request):
        raise RuntimeError("secret-in-the-message")

    async def _status(self, request):
        status = int(request.raw_query)
        return message.Response(status, [(b"content-length", b"5")] if status == 304 else [])

    async def _known(self, _request):
        return message.Response(200, [(b"content-length", b"12345")], b"")

    async def _pieces(self, size):
        try:
            while size > 0:
                piece = PIECE[:size]
                self._made += 1
                yield piece
                size -= len(piece)
        finally:
            self._closed += 1


async def build(chosen, reporter):
    if chosen.region == "fails-to-build":
        raise errors.MasterKeyTrouble("The master key is not the one of this store.")
    if chosen.region == "never-built":
        reporter.log.info("store.trouble", reason="building")
        await asyncio.Event().wait()
    if chosen.region == "impatient":
        process.DRAIN_S = asgi.STALL_S = 0.2
    return Dummy(reporter)


def main(arguments):
    if arguments == ["worker"]:
        return workers.work(build)
    options = {}
    words = iter(arguments)
    for word in words:
        name = word.removeprefix("--").replace("-", "_")
        options[name] = True if name == "ephemeral" else next(words)
    chosen = settings.load(options, os.environ)
    supervisor = workers.Supervisor([sys.executable, __file__, "worker"])
    return process.serve(chosen, lambda _: None, build, supervisor.serve)


if __name__ == "__main__":
    with failures.told():
        sys.exit(main(sys.argv[1:]))
