"""The application: S3, and beside it what S3 has no words for (health, metrics)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

from strongroom import errors
from strongroom.dialects.operation import Refused
from strongroom.server import metrics
from strongroom.wire import message

if TYPE_CHECKING:
    from strongroom.console import pages
    from strongroom.dialects import pipeline
    from strongroom.server import access_log, audit, background, build, observe

LIVE: Final = b"/-/health/live"
READY: Final = b"/-/health/ready"
METRICS: Final = b"/-/metrics"
LIVE_ALIAS: Final = b"/minio/health/live"
"""What monitoring that was set up for another store asks."""

_OWN: Final = frozenset({LIVE, READY, METRICS})


class Application:
    """See `app.App`."""

    def __init__(
        self,
        core: build.Core,
        jobs: background.Background,
        reporter: observe.Reporter,
        *,
        collect: background.Job,
        sweep: background.Job,
        deliver: background.Job,
        recorder: access_log.Recorder,
        console: pages.Pages,
        log: audit.Audit | None = None,
    ) -> None:
        """Put it together.

        Args:
            core: the store.
            jobs: what runs by the clock.
            reporter: is told of every request.
            collect: removes doomed blobs; runs when a transaction doomed some.
            sweep: sets aside what a crash left; runs once.
            deliver: writes what is left of access logs; runs at the end.
            recorder: is told of requests to buckets.
            console: the console's files.
            log: is told of decisions on keys; None where nobody wants to know.
        """
        self._audit = log
        self._core = core
        self._jobs = jobs
        self._reporter = reporter
        self._collect = collect
        self._sweep = sweep
        self._deliver = deliver
        self._recorder = recorder
        self._pages = console
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to collect whenever something was doomed, and to sweep what a crash left."""
        self._tasks = [
            asyncio.create_task(self._collect_when_woken(), name="collect"),
            asyncio.create_task(self._jobs.run_once(self._sweep), name="sweep"),
        ]
        if self._audit is not None:
            await self._audit.start()
        self._jobs.start()

    async def _collect_when_woken(self) -> None:
        while True:
            await self._core.collector.waken()
            await self._jobs.run_once(self._collect)

    async def ready(self) -> bool:
        """Tell whether the catalog answers."""
        try:
            await self._core.catalog.fact("")
        except errors.StoreTrouble:
            return False
        return True

    async def handle(self, request: message.Request) -> message.Response:
        """Answer a request of the S3 listeners."""
        if request.raw_path in _OWN and not self._core.dialect.names_bucket_by_host(request):
            return await self._own(request)
        if (
            request.raw_path == LIVE_ALIAS
            and request.method in ("GET", "HEAD")
            and not self._core.dialect.is_signed(request)
        ):
            return _json(200, "live", with_body=request.method == "GET")
        if self._audit is not None:
            if self._audit.is_stuck:
                return _stuck()
            self._audit.enter(request)
        if (
            request.method == "POST"
            and request.raw_path == b"/"
            and not self._core.dialect.names_bucket_by_host(request)
        ):
            return self._answered(request, await self._core.query.handle(request))
        outcome = await self._core.s3.handle(request)
        if self._recorder.concerns(outcome):
            await self._recorder.note(request, outcome)
        return self._answered(request, outcome)

    async def kms(self, request: message.Request) -> message.Response:
        """Answer a request of the KMS listener."""
        if request.raw_path in _OWN:
            return await self._own(request)
        if self._audit is not None and self._audit.is_stuck:
            return _stuck()
        outcome = await self._core.kms_listener.handle(request)
        return self._answered(request, outcome, kms=True)

    async def console(self, request: message.Request) -> message.Response:
        """Answer a request of the console's listener."""
        if not self._core.dialect.names_bucket_by_host(request):
            page = self._pages.answer(request)
            if page is not None:
                return page
        return self._pages.confine(await self.handle(request))

    def _answered(
        self, request: message.Request, outcome: pipeline.Outcome, *, kms: bool = False
    ) -> message.Response:
        if self._audit is not None and outcome.gone is None:
            self._audit.decided(request, outcome, kms=kms)
        self._reporter.describe(
            request.request_id,
            operation=outcome.operation,
            bucket=outcome.bucket,
            key=outcome.key,
            access_key=outcome.access_key,
            code=outcome.error,
        )
        if outcome.gone is not None:
            raise outcome.gone
        return outcome.response

    async def _own(self, request: message.Request) -> message.Response:
        """Answer about the server itself; metrics to root only."""
        if request.method not in ("GET", "HEAD"):
            return _json(405, "this answers GET only", with_body=True)
        if request.raw_path == METRICS:
            try:
                proof = await self._core.dialect.authenticate(request)
                if not proof.principal.is_root:
                    raise errors.AccessDenied
            except (Refused, errors.StrongroomError) as error:
                response, _ = self._core.dialect.refuse(request, None, error)
                return response
        return await self.about(request)

    async def about(self, request: message.Request) -> message.Response:
        """Answer about the server itself, to whoever may ask: the metrics listener's App.handle."""
        with_body = request.method == "GET"
        if request.raw_path == LIVE:
            return _json(200, "live", with_body=with_body)
        if request.raw_path == READY:
            if await self.ready():
                return _json(200, "ready", with_body=with_body)
            return _json(503, "the catalog does not answer", with_body=with_body)
        if request.raw_path == METRICS:
            text = await self._reporter.metrics.scrape()
            headers = [
                (b"content-type", metrics.CONTENT_TYPE.encode()),
                (b"content-length", b"%d" % len(text)),
            ]
            return message.Response(200, headers, text if with_body else b"")
        return _json(
            404, "there is /-/health/live, /-/health/ready and /-/metrics", with_body=with_body
        )

    async def close(self) -> None:
        """Stop background work and let go of the store."""
        await self._jobs.close()
        if self._audit is not None:
            await self._audit.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._jobs.run_once(self._deliver)
        await self._core.close()


def _stuck() -> message.Response:
    """Refuse, in no dialect's words, what could not be written down."""
    refusal = _json(503, "the audit log cannot be written", with_body=True)
    refusal.headers.append((b"retry-after", b"1"))
    return refusal


def _json(status: int, text: str, *, with_body: bool) -> message.Response:
    body = json.dumps({"status": text}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    ]
    return message.Response(status, headers, body if with_body else b"")
