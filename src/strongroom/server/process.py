"""One serving process, from its hardening to its exit status."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import uvloop

from strongroom.server import (
    app,
    asgi,
    background,
    home,
    listeners,
    machine,
    metrics,
    observe,
    tls,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from strongroom.server import settings

DRAIN_S = 30.0
"""How long requests under way may take after SIGTERM; container runtimes often kill at 30."""
CUT_S = 5.0
"""How long requests that were cut may take to clean up."""
CERTIFICATE_CHECK_S = 24 * 3600.0
_UMASK = 0o077
METRICS = "metrics"
"""Name of the listener that answers about the server, and never about objects."""
KMS = "kms"
"""Name of the listener of the key management service."""
CONSOLE = "console"
"""Name of the listener of the web console."""


class Builder(Protocol):
    """What makes the application: `build.build`."""

    async def __call__(self, settings: settings.Settings, reporter: observe.Reporter) -> app.App:
        """Make the application that `settings` describe; it is started and closed by us."""
        ...


@dataclass(frozen=True, slots=True)
class Ended:
    """How a serving process ended: its exit status, and whether every request was answered."""

    status: int
    drained: bool


def serve(
    chosen: settings.Settings,
    prepare: Callable[[settings.Settings], None],
    builder: Builder,
    supervise: Callable[[settings.Settings, Sequence[listeners.Bound], observe.Reporter], int],
) -> int:
    """Serve until a signal; print the ready line on standard output.

    Args:
        chosen: what the operator chose.
        prepare: brings the data directory up to date, before anything is built on it.
        builder: makes the application, in the process that serves.
        supervise: serves by several processes instead, if `chosen.workers` says so.

    Returns:
        The exit status.

    Raises:
        StartRefused, StoreLocked, MasterKeyTrouble: the server cannot start; the
            text is one sentence for the operator.
    """
    harden()
    reporter = observe.reporter()
    observe.route_libraries(reporter)
    with home.opened(chosen, reporter) as completed:
        reporter.log.info(
            "server.starting",
            version=metrics.version(),
            data_dir=str(completed.data_dir),
            workers=completed.workers,
            pid=os.getpid(),
        )
        bounds = bind(completed)
        try:
            certificates(completed)
            prepare(completed)
            if completed.workers > 1:
                return supervise(completed, bounds, reporter)
            machine.tune_allocator()
            ended = uvloop.run(
                Process(
                    completed,
                    bounds,
                    reporter,
                    renew=lambda: certificates(completed),
                    announce=lambda: announce(bounds, reporter),
                ).run(builder)
            )
        finally:
            for bound in bounds:
                bound.close()
    return finish(ended)


def harden() -> None:
    """Set up this process: no core dumps, files for this user only."""
    machine.forbid_core_dumps()
    machine.raise_open_files()
    os.umask(_UMASK)


def bind(chosen: settings.Settings) -> list[listeners.Bound]:
    """Listen on every address that is on, S3 first.

    Raises:
        StartRefused: one of them cannot be used.
    """
    wanted = [("s3", chosen.listen, True)]
    if chosen.kms_listen is not None:
        wanted.append((KMS, chosen.kms_listen, True))
    if chosen.console_listen is not None:
        wanted.append((CONSOLE, chosen.console_listen, True))
    if chosen.http_listen is not None:
        wanted.append(("http", chosen.http_listen, False))
    if chosen.metrics_listen is not None:
        wanted.append((METRICS, chosen.metrics_listen, False))
    bounds: list[listeners.Bound] = []
    try:
        for name, address, secure in wanted:
            bounds.append(listeners.bind(name, address, secure=secure, processes=chosen.workers))
    except app.StartRefused:
        for bound in bounds:
            bound.close()
        raise
    return bounds


def certificates(chosen: settings.Settings) -> tls.Pair:
    """Return the certificate to serve with: the operator's, or ours, renewed if need be.

    Raises:
        StartRefused: it cannot be used.
    """
    if chosen.tls_cert is not None:
        assert chosen.tls_key is not None, "settings refuse one without the other"
        return tls.given(chosen.tls_cert, chosen.tls_key)
    now = dt.datetime.now(dt.UTC)
    return tls.ensure(chosen.data_dir / home.TLS, chosen.domain, now)


def announce(bounds: Sequence[listeners.Bound], reporter: observe.Reporter) -> None:
    """Print the ready line, which scripts wait for."""
    places = {bound.name: bound.url for bound in bounds}
    reporter.log.info("server.ready", **places)
    line = " ".join(("strongroom ready", *(f"{name}={url}" for name, url in places.items())))
    print(line, flush=True)  # noqa: T201 - the contract's line


def finish(ended: Ended) -> int:
    """Return the exit status, or leave at once if cut requests still hold threads."""
    if not ended.drained:
        # Interpreter and Rust threads would wait for connections that nobody ends.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.status)
    return ended.status


class Process:
    """Listeners, application and signals of one process.

    Args:
        completed: settings with credentials, master key and absolute data directory.
        bounds: listening sockets; closed when draining begins.
        reporter: the process's.
        renew: returns the certificate to serve with, checked.
        announce: called once everything is served.
    """

    def __init__(
        self,
        completed: settings.Settings,
        bounds: Sequence[listeners.Bound],
        reporter: observe.Reporter,
        *,
        renew: Callable[[], tls.Pair],
        announce: Callable[[], None],
    ) -> None:
        self._settings = completed
        self._bounds = bounds
        self._reporter = reporter
        self._renew = renew
        self._announce = announce
        self._stop = asyncio.Event()
        self._signals: list[signal.Signals] = []
        self._traffic = asgi.Traffic()
        self._listeners: list[listeners.Listener] = []
        self._reloads: set[asyncio.Task[None]] = set()
        self._served: bytes = b""

    async def run(self, builder: Builder) -> Ended:
        """Serve until a signal, or until a listener fails.

        Raises:
            StartRefused, MasterKeyTrouble, StoreFailed: the application cannot be built.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop, number)
        loop.set_exception_handler(self._unheard)
        stopped = asyncio.ensure_future(self._stop.wait())
        starting = asyncio.ensure_future(builder(self._settings, self._reporter))
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
            return Ended(0, drained=True)
        served = starting.result()
        await served.start()
        jobs = background.Background(
            [background.Job("certificates", CERTIFICATE_CHECK_S, self._reload)], self._reporter
        )
        try:
            await self._listen(served)
            loop.add_signal_handler(signal.SIGHUP, self._told_to_reload)
            jobs.start()
            machine.settle_heap()
            self._announce()
            failed = [asyncio.ensure_future(one.failed.wait()) for one in self._listeners]
            await asyncio.wait({stopped, *failed}, return_when=asyncio.FIRST_COMPLETED)
            status = 0 if stopped.done() else 1
            for waiting in (stopped, *failed):
                waiting.cancel()
            drained = await self._drain()
        finally:
            await jobs.close()
            await served.close()
        self._reporter.log.info("server.stopped", drained=drained)
        return Ended(status, drained)

    async def _listen(self, served: app.App) -> None:
        pair = self._renew()
        self._served = pair.cert.read_bytes()
        for bound in self._bounds:
            others = {METRICS: served.about, KMS: served.kms, CONSOLE: served.console}
            handle = others.get(bound.name, served.handle)
            proxies = () if bound.secure else self._settings.trusted_proxies

            def make_adapter(
                handle: asgi.Handle = handle,
                proxies: Sequence[settings.Network] = proxies,
            ) -> asgi.Adapter:
                return asgi.Adapter(handle, self._reporter, self._traffic, trusted_proxies=proxies)

            listener = listeners.Listener(bound, bound.socks[0], make_adapter, self._reporter)
            await listener.start(pair if bound.secure else None)
            self._listeners.append(listener)

    async def _drain(self) -> bool:
        """Stop accepting and wait for answers; False if some were cut."""
        self._reporter.log.info("server.stopping", in_flight=self._traffic.in_flight)
        stops = [asyncio.ensure_future(listener.stop()) for listener in self._listeners]
        for bound in self._bounds:
            # Or connections would go on queueing for nobody.
            bound.close()
        _, pending = await asyncio.wait(stops, timeout=DRAIN_S)
        if not pending:
            return True
        self._reporter.log.warning(
            "server.cut", in_flight=self._traffic.in_flight, timeout_s=DRAIN_S
        )
        self._traffic.cut()
        idle = asyncio.ensure_future(self._traffic.idle())
        await asyncio.wait({idle}, timeout=CUT_S)
        return False

    def _told_to_stop(self, number: signal.Signals) -> None:
        self._signals.append(number)
        if len(self._signals) == 1:
            self._stop.set()
            return
        # A second signal: somebody wants it gone now. The disk is safe at any time.
        if self._settings.ephemeral and not self._settings.data_dir_given:
            shutil.rmtree(self._settings.data_dir, ignore_errors=True)
        os._exit(1)

    def stop(self) -> None:
        """Drain and end, as after SIGTERM."""
        self._stop.set()

    def _told_to_reload(self) -> None:
        task = asyncio.ensure_future(self._reload(force=True))
        # Held until done: the loop itself keeps only a weak reference.
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self, *, force: bool = False) -> None:
        """Serve with the certificate on disk, if it is another one or `force` is given."""
        try:
            pair = self._renew()
            content = pair.cert.read_bytes()
            if content == self._served and not force:
                return
            for bound, listener in zip(self._bounds, self._listeners, strict=True):
                if bound.secure:
                    await listener.reload(pair)
        except (app.StartRefused, OSError) as error:
            reason = str(error) if isinstance(error, app.StartRefused) else "cannot be read"
            self._reporter.log.error(
                "tls.reload_failed", reason=reason, **observe.describe_error(error)
            )
            return
        self._served = content
        self._reporter.log.info("tls.reloaded", cert=str(pair.cert))

    def _unheard(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Log what nobody awaited: its type and place, never asyncio's message."""
        error = context.get("exception")
        fields = observe.describe_error(error) if isinstance(error, BaseException) else {}
        self._reporter.log.error("library", logger="asyncio", **fields)
