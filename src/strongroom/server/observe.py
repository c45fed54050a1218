"""Logs: what may be said, and how.

Every event has a row in `EVENTS`, which names its fields; a field outside the
row is dropped before anything is written, so a secret cannot get into the log
by being passed along. Header values and query strings (presigned URLs carry a
signature) are in no row. Of an exception the log has types and places in the
code: no message and no local variables, because either may hold what a client
sent. What a message would have said belongs into a field with a name.

Lines are JSON, or coloured text where standard error is a terminal.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import structlog

from strongroom.server import lines, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

_FAILURE = ("error", "trace")
EVENTS: Mapping[str, frozenset[str]] = {
    name: frozenset(fields)
    for name, fields in {
        # Life of the server
        "server.starting": ("version", "data_dir", "workers", "pid"),
        "server.ready": ("s3", "http", "metrics"),
        "server.stopping": ("signal", "in_flight"),
        "server.stopped": ("drained",),
        "server.cut": ("in_flight", "timeout_s"),
        "server.failed": _FAILURE,
        "credentials.generated": ("path", "access_key"),
        "credentials.read": ("path", "access_key"),
        "master_key.generated": ("path",),
        "tls.ready": ("cert", "ca", "expires"),
        "tls.reloaded": ("cert", "expires"),
        "tls.reload_failed": ("reason", *_FAILURE),
        "worker.started": ("worker", "pid"),
        "worker.died": ("worker", "pid", "status", "restart_s"),
        "listener.failed": ("listener", *_FAILURE),
        # Requests
        "request": (
            "request_id",
            "method",
            "operation",
            "bucket",
            "key",
            "status",
            "code",
            "bytes_in",
            "bytes_out",
            "duration_ms",
            "peer",
            "access_key",
            "outcome",
        ),
        "request.failed": ("request_id", "operation", *_FAILURE),
        "request.overloaded": ("in_flight", "peer"),
        # What a foreign key wrote over; `was` and `by` are fingerprints, empty for other modes
        "guard.foreign_key": (
            "bucket",
            "key",
            "version_id",
            "was",
            "by",
            "kept_until_ms",
        ),
        "audit.failed": ("waiting", *_FAILURE),
        # Work in the background
        "job.failed": ("job", *_FAILURE),
        "job.done": ("job", "duration_ms", "count"),
        "store.trouble": ("reason", "place", "count"),
        # What libraries say: the template of the message, never its arguments
        "library": ("logger", "template", *_FAILURE),
    }.items()
}
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=repr)
"""Made once: `json.dumps` with options makes one for every line."""
_ALWAYS = frozenset({"event", "level", "timestamp", "worker"})


@dataclass(slots=True)
class Exchange:
    """What the log and the metrics say of one request; the application adds what it learns.

    Attributes:
        outcome: "answered", "cut" (the answer broke off) or "gone" (the client did).
        ended: called when the request is over, with the record and how long it took in seconds.
    """

    request_id: str
    method: str
    peer: str
    started_s: float
    operation: str = ""
    bucket: str = ""
    key: str = ""
    access_key: str = ""
    code: str = ""
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    outcome: str = "answered"
    ended: Callable[[Exchange, float], None] | None = None


@dataclass(slots=True)
class Reporter:
    """Where the server and the application say what happens. One to a process.

    Attributes:
        log: writes an event of `EVENTS`: `log.info("server.ready", s3=…)`.
    """

    log: structlog.typing.FilteringBoundLogger
    metrics: metrics.Metrics
    _requests: lines.Requests | None = None
    """Writes the lines of requests; None where a person reads, whose log is not JSON."""
    _open: dict[str, Exchange] = field(default_factory=dict)

    def begin(self, request_id: str, method: str, peer: str) -> Exchange:
        """Open the record of a request; ends with `finish`."""
        exchange = Exchange(request_id, method, peer, time.perf_counter())
        self._open[request_id] = exchange
        self.metrics.begin()
        return exchange

    def describe(
        self,
        request_id: str,
        *,
        operation: str = "",
        bucket: str = "",
        key: str = "",
        access_key: str = "",
        code: str = "",
    ) -> None:
        """Add what the application learned about an open request; empty values change nothing.

        Args:
            request_id: `Request.request_id`; an unknown one is ignored.
            operation: name out of the dialect's fixed list: it labels metrics.
            bucket: as addressed, whether or not it exists.
            key: of the object.
            access_key: who asks; only after the signature was verified.
            code: error code of the answer.
        """
        exchange = self._open.get(request_id)
        if exchange is None:
            return
        exchange.operation = operation or exchange.operation
        exchange.bucket = bucket or exchange.bucket
        exchange.key = key or exchange.key
        exchange.access_key = access_key or exchange.access_key
        exchange.code = code or exchange.code

    def when_over(self, request_id: str, ended: Callable[[Exchange, float], None]) -> float | None:
        """Have a function called when an open request is over.

        Returns:
            seconds since it began; None if it is not open.
        """
        exchange = self._open.get(request_id)
        if exchange is None:
            return None
        exchange.ended = ended
        return time.perf_counter() - exchange.started_s

    def failed(self, request_id: str, error: BaseException) -> None:
        """Log an exception that nobody expected, with its cause."""
        exchange = self._open.get(request_id)
        operation = exchange.operation if exchange is not None else ""
        self.log.error(
            "request.failed", request_id=request_id, operation=operation, **describe_error(error)
        )

    def finish(self, exchange: Exchange) -> None:
        """Close the record: one line in the log, and the metrics."""
        del self._open[exchange.request_id]
        duration_s = time.perf_counter() - exchange.started_s
        if exchange.ended is not None:
            exchange.ended(exchange, duration_s)
        self.metrics.finish(
            exchange.operation,
            exchange.status,
            duration_s,
            exchange.bytes_in,
            exchange.bytes_out,
        )
        if self._requests is not None:
            self._requests.write(exchange, duration_s)
            return
        said = {
            "request_id": exchange.request_id,
            "method": exchange.method,
            "operation": exchange.operation,
            "bucket": exchange.bucket,
            "key": exchange.key,
            "status": exchange.status,
            "code": exchange.code,
            "bytes_in": exchange.bytes_in,
            "bytes_out": exchange.bytes_out,
            "duration_ms": round(duration_s * 1000, 2),
            "peer": exchange.peer,
            "access_key": exchange.access_key,
        }
        if exchange.outcome != "answered":
            said["outcome"] = exchange.outcome
        self.log.info("request", **{name: value for name, value in said.items() if value != ""})


def reporter(
    stream: TextIO | None = None, *, worker: int | None = None, shared: str | None = None
) -> Reporter:
    """Make the reporter of this process.

    Args:
        stream: where lines go; standard error if None.
        worker: number of the worker process, to be said in every line.
        shared: directory of the metrics that workers share.
    """
    stream = sys.stderr if stream is None else stream
    sink = lines.Sink(stream)
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer(_to_json)
    requests: lines.Requests | None = lines.Requests(sink, worker=worker)
    if stream.isatty():
        renderer, requests = structlog.dev.ConsoleRenderer(), None
    log = structlog.wrap_logger(
        sink,
        processors=[
            keep_listed_fields,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    if worker is not None:
        log = log.bind(worker=worker)
    return Reporter(log, metrics.Metrics(shared), requests)


def _to_json(event: Any, **_options: Any) -> str:
    return _JSON.encode(event)


def keep_listed_fields(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Drop every field that the event's row in `EVENTS` does not name."""
    allowed = EVENTS.get(event["event"], frozenset()) | _ALWAYS
    return {name: value for name, value in event.items() if name in allowed}


def describe_error(error: BaseException) -> dict[str, Any]:
    """Return the fields that an exception may have in the log.

    `error` is its type, with those of its causes; `trace` the places in the
    code, innermost last, as `file:line function`. No message, no variables.
    """
    names: list[str] = []
    trace: list[str] = []
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        kind = type(link)
        names.append(f"{kind.__module__}.{kind.__qualname__}")
        traceback = link.__traceback__
        while traceback is not None:
            code = traceback.tb_frame.f_code
            trace.append(f"{code.co_filename}:{traceback.tb_lineno} {code.co_name}")
            traceback = traceback.tb_next
        if isinstance(link, OSError) and link.errno is not None:
            names[-1] += f" (errno {link.errno})"
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return {"error": " from ".join(names), "trace": trace}


class LibraryHandler(logging.Handler):
    """Sends what libraries log by `logging` into ours: the template, not the arguments."""

    def __init__(self, target: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; the template of asyncio is left out, as it is built from values."""
        fields: dict[str, Any] = {"logger": record.name}
        if record.args and isinstance(record.msg, str):
            fields["template"] = record.msg
        if record.exc_info is not None and record.exc_info[1] is not None:
            fields |= describe_error(record.exc_info[1])
        self._target.log.log(max(record.levelno, logging.WARNING), "library", **fields)


def route_libraries(target: Reporter) -> None:
    """Make `target` the only place where libraries' log records of this process go."""
    root = logging.getLogger()
    root.handlers[:] = [LibraryHandler(target)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
