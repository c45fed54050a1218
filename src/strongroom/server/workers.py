"""Several processes behind the same ports.

The parent holds the data directory and the listening sockets, and serves nothing.
A worker inherits its own socket of each port. When it dies, connections in the queue
wait for its successor, and the other workers go on. Settings with their secrets go
down a worker's standard input, never by arguments or environment; the pipe stays
open, so that a worker notices when its parent is gone. Up standard output comes one
line when the worker serves.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
import time
from asyncio import FIRST_COMPLETED, FIRST_EXCEPTION
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uvloop

from strongroom.server import (
    app,
    background,
    home,
    listeners,
    machine,
    metrics,
    observe,
    process,
    settings,
    tls,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_SERVING = b"serving\n"
START_S = 60.0
"""How long a worker may take until it serves."""
RESTART_MIN_S = 0.5
RESTART_MAX_S = 30.0
STEADY_S = 60.0
"""A worker that lived so long is restarted without back-off."""
MAX_FAILURES = 5
"""A worker that cannot be started so many times in a row ends the server."""
_STOP_S = process.DRAIN_S + 2 * process.CUT_S
_LENGTH_BYTES = 4


@dataclass(slots=True)
class _Worker:
    number: int
    child: asyncio.subprocess.Process
    born_s: float


class Supervisor:
    """The parent of worker processes.

    Args:
        command: starts one; see `work`.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._workers: dict[int, _Worker] = {}
        self._shared = ""
        self._stopping = asyncio.Event()

    def serve(
        self,
        completed: settings.Settings,
        bounds: Sequence[listeners.Bound],
        reporter: observe.Reporter,
    ) -> int:
        """Run the workers until a signal; returns the exit status."""
        with tempfile.TemporaryDirectory(prefix="strongroom-metrics-") as shared:
            self._shared = shared
            return uvloop.run(self._run(completed, bounds, reporter))

    async def _run(
        self,
        completed: settings.Settings,
        bounds: Sequence[listeners.Bound],
        reporter: observe.Reporter,
    ) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop)
        stopping = asyncio.create_task(self._stopping.wait())
        numbers = range(1, completed.workers + 1)
        starts = [
            asyncio.ensure_future(self._start(number, completed, bounds, reporter))
            for number in numbers
        ]
        watches: list[asyncio.Future[None]] = []

        async def renew() -> None:
            process.certificates(completed)

        # Workers look for a new certificate as often by themselves.
        interval_s = process.CERTIFICATE_CHECK_S
        jobs = background.Background([background.Job("certificates", interval_s, renew)], reporter)
        try:
            everyone = asyncio.ensure_future(asyncio.wait(starts, return_when=FIRST_EXCEPTION))
            awaited: list[asyncio.Future[Any]] = [everyone, stopping]
            await asyncio.wait(awaited, return_when=FIRST_COMPLETED)
            if stopping.done():
                return 0
            for start in starts:
                if start.done():
                    start.result()
            loop.add_signal_handler(signal.SIGHUP, self._reload, completed, reporter)
            process.announce(bounds, reporter)
            jobs.start()
            watches = [
                asyncio.ensure_future(self._keep(number, completed, bounds, reporter))
                for number in numbers
            ]
            awaited = [stopping, *watches]
            await asyncio.wait(awaited, return_when=FIRST_COMPLETED)
        finally:
            await jobs.close()
            stopping.cancel()
            for task in (*starts, *watches):
                task.cancel()
            await asyncio.gather(*starts, *watches, return_exceptions=True)
            for bound in bounds:
                bound.close()
            drained = await self._end_all(reporter)
        return 0 if drained and self._stopping.is_set() else 1

    async def _start(
        self,
        number: int,
        completed: settings.Settings,
        bounds: Sequence[listeners.Bound],
        reporter: observe.Reporter,
    ) -> None:
        """Start a worker and wait until it serves.

        Raises:
            StartRefused: it ended first, or took too long.
        """
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("STRONGROOM_")
        } | {metrics.SHARED_VARIABLE: self._shared}
        child = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
            pass_fds=[bound.socks[number - 1].fileno() for bound in bounds],
            # Ctrl-C reaches the whole foreground group; the parent alone decides.
            start_new_session=True,
        )
        self._workers[number] = _Worker(number, child, time.monotonic())
        assert child.stdin is not None, "asked for"
        assert child.stdout is not None, "asked for"
        child.stdin.write(_pack(number, self._shared, completed, bounds))
        try:
            async with asyncio.timeout(START_S):
                line = await child.stdout.readline()
        except TimeoutError:
            line = b""
        if line != _SERVING:
            raise app.StartRefused(f"Worker {number} did not start; the log above says why.")
        reporter.log.info("worker.started", worker=number, pid=child.pid)

    async def _keep(
        self,
        number: int,
        completed: settings.Settings,
        bounds: Sequence[listeners.Bound],
        reporter: observe.Reporter,
    ) -> None:
        """Restart a worker whenever it ends; return when that fails too often in a row."""
        pause_s = RESTART_MIN_S
        failures = 0
        while True:
            worker = self._workers[number]
            status = await worker.child.wait()
            metrics.forget_process(worker.child.pid, self._shared)
            if time.monotonic() - worker.born_s > STEADY_S:
                pause_s = RESTART_MIN_S
            reporter.log.error(
                "worker.died",
                worker=number,
                pid=worker.child.pid,
                status=status,
                restart_s=pause_s,
            )
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RESTART_MAX_S)
            try:
                await self._start(number, completed, bounds, reporter)
                failures = 0
            except app.StartRefused:
                failures += 1
                child = self._workers[number].child
                if child.returncode is None:
                    child.kill()
                if failures == MAX_FAILURES:
                    # Its share of the connections would wait for ever.
                    return

    async def _end_all(self, reporter: observe.Reporter) -> bool:
        """Let workers drain, kill those that do not; False if one ended badly."""
        children = [worker.child for worker in self._workers.values()]
        for child in children:
            if child.returncode is None:
                child.terminate()
        ends = [asyncio.ensure_future(child.wait()) for child in children]
        if not ends:
            return True
        _, pending = await asyncio.wait(ends, timeout=_STOP_S)
        if pending:
            for child in children:
                if child.returncode is None:
                    child.kill()
            await asyncio.wait(ends)
        reporter.log.info("server.stopped", drained=not pending)
        return not pending

    def _told_to_stop(self) -> None:
        if self._stopping.is_set():
            for worker in self._workers.values():
                if worker.child.returncode is None:
                    worker.child.kill()
            os._exit(1)
        self._stopping.set()

    def _reload(self, completed: settings.Settings, reporter: observe.Reporter) -> None:
        try:
            process.certificates(completed)
        except app.StartRefused as error:
            reporter.log.error("tls.reload_failed", reason=str(error))
            return
        for worker in self._workers.values():
            if worker.child.returncode is None:
                worker.child.send_signal(signal.SIGHUP)


def work(builder: process.Builder) -> int:
    """Serve as a worker: settings and sockets come from the parent by standard input."""
    process.harden()
    machine.tune_allocator()
    number, shared, completed, bounds = _unpack()
    reporter = observe.reporter(worker=number, shared=shared)
    observe.route_libraries(reporter)
    # A worker may outlive its parent by a moment, and has the catalog open as long.
    with home.in_use(completed.data_dir):
        ended = uvloop.run(_work(builder, completed, bounds, reporter))
    return process.finish(ended)


async def _work(
    builder: process.Builder,
    completed: settings.Settings,
    bounds: Sequence[listeners.Bound],
    reporter: observe.Reporter,
) -> process.Ended:
    serving = process.Process(
        completed,
        bounds,
        reporter,
        renew=lambda: _certificates(completed),
        announce=_say_serving,
    )
    # At the parent's end standard input becomes readable, with nothing to read.
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), serving.stop)
    return await serving.run(builder)


def _certificates(completed: settings.Settings) -> tls.Pair:
    """Return the certificate to serve with; to renew a generated one is the parent's task."""
    if completed.tls_cert is not None:
        return process.certificates(completed)
    return tls.made(completed.data_dir / home.TLS)


def _say_serving() -> None:
    os.write(sys.stdout.fileno(), _SERVING)


def _pack(
    number: int, shared: str, completed: settings.Settings, bounds: Sequence[listeners.Bound]
) -> bytes:
    table = {
        "number": number,
        "shared": shared,
        "settings": settings.dump(completed).decode(),
        "bounds": [
            [bound.name, bound.socks[number - 1].fileno(), bound.host, bound.secure]
            for bound in bounds
        ],
    }
    raw = json.dumps(table).encode()
    return len(raw).to_bytes(_LENGTH_BYTES, "big") + raw


def _unpack() -> tuple[int, str, settings.Settings, list[listeners.Bound]]:
    length = int.from_bytes(_read_exactly(_LENGTH_BYTES), "big")
    table = json.loads(_read_exactly(length))
    bounds = [
        listeners.Bound(name, (socket.socket(fileno=descriptor),), host, secure)
        for name, descriptor, host, secure in table["bounds"]
    ]
    return table["number"], table["shared"], settings.undump(table["settings"].encode()), bounds


def _read_exactly(length: int) -> bytes:
    # Unbuffered: what comes later is for the event loop to notice.
    raw = b""
    while len(raw) < length:
        piece = os.read(sys.stdin.fileno(), length - len(raw))
        if not piece:
            raise app.StartRefused("This command is started by `strongroom serve --workers`.")
        raw += piece
    return raw
