"""Numbers for Prometheus, in a registry of their own.

With several worker processes the client library keeps the numbers in files that
all of them share, so any worker answers for all. It decides so when it is imported,
by the variable `SHARED_VARIABLE`, which the parent sets for its workers.

Names follow Prometheus' practice: base units, `_total` for counters. Labels
have few values: operations come from the dialect's list, statuses are classes.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from strongroom.store import records, replication

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_PLAIN_0_0_4
SHARED_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The client library's own variable."""
_DURATIONS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """Counts requests and jobs of this process, and shows what the store holds.

    Args:
        shared: the directory that `SHARED_VARIABLE` names; None in a lone process.

    Attributes:
        usage: set by the composition root: asked at each scrape for the store's totals.
        backlog: likewise, for what waits to be replicated.
    """

    def __init__(self, shared: str | None = None) -> None:
        self._registry = CollectorRegistry()
        self._exposed = self._registry
        if shared is None:
            prometheus_client.ProcessCollector(registry=self._registry)
        else:
            self._exposed = CollectorRegistry()
            multiprocess.MultiProcessCollector(self._exposed, shared)  # type: ignore[no-untyped-call]  # the library's
        self.usage: Callable[[], Awaitable[records.Usage]] | None = None
        self.backlog: Callable[[], Awaitable[replication.Backlog]] | None = None
        self._requests = Counter(
            "strongroom_requests",
            "Answered requests.",
            ("operation", "status"),
            registry=self._registry,
        )
        self._durations = Histogram(
            "strongroom_request_duration_seconds",
            "From the request's head to the last byte of the answer.",
            ("operation",),
            buckets=_DURATIONS_S,
            registry=self._registry,
        )
        # On the path of every request, where looking labels up costs more than counting.
        self._series: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._received = Counter(
            "strongroom_received_bytes", "Bytes of request bodies.", registry=self._registry
        )
        self._sent = Counter(
            "strongroom_sent_bytes", "Bytes of response bodies.", registry=self._registry
        )
        self._in_flight = Gauge(
            "strongroom_requests_in_flight",
            "Requests being answered.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._job_failures = Counter(
            "strongroom_job_failures",
            "Background jobs that ended with an error.",
            ("job",),
            registry=self._registry,
        )
        self._guarded = Counter(
            "strongroom_guarded_versions",
            "Versions that the guard of their bucket saw displaced, or hidden by a foreign key.",
            ("reason", "foreign"),
            registry=self._registry,
        )
        self._audited = Counter(
            "strongroom_audit_lines",
            "Lines of the audit log: written, dropped for want of room; and failed tries.",
            ("outcome",),
            registry=self._registry,
        )
        self._usage_gauges = {
            name: Gauge(
                f"strongroom_{name}",
                text,
                registry=self._registry,
                multiprocess_mode="mostrecent",
            )
            for name, text in (
                ("buckets", "Buckets in the catalog."),
                ("objects", "Objects in the catalog, roughly."),
                ("uploads", "Open multipart uploads."),
                ("doomed_blobs", "Blobs that wait to be removed."),
            )
        }
        self._backlog_gauges = {
            name: Gauge(
                f"strongroom_replication_{name}",
                text,
                registry=self._registry,
                multiprocess_mode="mostrecent",
            )
            for name, text in (
                ("waiting", "Versions that wait to be replicated."),
                ("failing", "Of those, the ones that were tried in vain."),
                ("oldest_seconds", "When the oldest of them was queued, Unix time; 0 if none is."),
            )
        }
        Gauge(
            "strongroom_build_info",
            "Always 1.",
            ("version",),
            registry=self._registry,
            multiprocess_mode="max",
        ).labels(version()).set(1)

    def begin(self) -> None:
        """Count a request in."""
        self._in_flight.inc()

    def finish(
        self, operation: str, status: int, duration_s: float, received: int, sent: int
    ) -> None:
        """Count a request out. `status` 0 means that none was sent."""
        self._in_flight.dec()
        found = self._series.get((operation, status))
        if found is None:
            name = operation or "none"
            found = (
                self._requests.labels(name, f"{status // 100}xx" if status else "none"),
                self._durations.labels(name),
            )
            self._series[operation, status] = found
        requests, durations = found
        requests.inc()
        durations.observe(duration_s)
        if received:
            self._received.inc(received)
        if sent:
            self._sent.inc(sent)

    def job_failed(self, job: str) -> None:
        """Count a failure of a background job."""
        self._job_failures.labels(job).inc()

    def guarded(self, reason: str, *, foreign: bool) -> None:
        """Count a version that the guard saw displaced, or hidden."""
        self._guarded.labels(reason, "yes" if foreign else "no").inc()

    def audited(self, outcome: str, lines: int) -> None:
        """Count lines of the audit log."""
        self._audited.labels(outcome).inc(lines)

    async def scrape(self) -> bytes:
        """Return Prometheus' text format, with the store's totals of this moment.

        Raises:
            StoreFailed: the catalog does not answer.
        """
        if self.usage is not None:
            usage = await self.usage()
            for name, gauge in self._usage_gauges.items():
                gauge.set(getattr(usage, name))
        if self.backlog is not None:
            backlog = await self.backlog()
            self._backlog_gauges["waiting"].set(backlog.waiting)
            self._backlog_gauges["failing"].set(backlog.failing)
            self._backlog_gauges["oldest_seconds"].set((backlog.oldest_ms or 0) / 1000)
        return prometheus_client.generate_latest(self._exposed)


def forget_process(pid: int, shared: str) -> None:
    """Take what a process that died had under way out of the shared numbers."""
    multiprocess.mark_process_dead(pid, shared)  # type: ignore[no-untyped-call]  # the library's


def version() -> str:
    """Return the version of the installed distribution, or `unknown` in a bare checkout."""
    try:
        return metadata.version("strongroom")
    except metadata.PackageNotFoundError:
        return "unknown"
