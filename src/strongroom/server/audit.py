"""The audit log: one JSON line for each decision on keys.

A decision is a request that brings a customer's key, is answered with one's, fails for a key,
concerns a KMS key, or is a call of the KMS; an alarm of the guard; a command of an administrator.
Refusals are decisions, those for want of TLS above all.

There is no key in a line: fingerprints stand for customers' keys. What clients chose themselves
stands in JSON strings with every control and non-ASCII character escaped, and is cut at
`MAX_TEXT`: nobody can write a line of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import datetime as dt
import json
import secrets
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import contexts
from strongroom.keyring import sources
from strongroom.server import audit_sinks, files, observe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from strongroom.crypto import secret
    from strongroom.dialects import pipeline
    from strongroom.server import settings as configuration
    from strongroom.store import guarding
    from strongroom.wire import message

MAX_TEXT: Final = 2048
MAX_QUEUED: Final = 10_000
"""Lines that wait in memory while they cannot be delivered: some 6 MB. Beyond, new ones are dropped
and counted, or requests refused (`--audit-failure`)."""
BATCH: Final = 500
FIRST_WAIT_S: Final = 1.0
LAST_WAIT_S: Final = 30.0
"""Between two tries, at first and at most: it doubles."""
FAREWELL_S: Final = 5.0
"""How long an ending process tries to deliver what waits, before it leaves it in a file."""
SYNC_INTERVAL_S: Final = 1.0
"""How much of a file a power cut takes at most."""
QUEUE_FOLDER: Final = "audit-queue"

_ERROR_STATUS: Final = 400
_SSE: Final = b"x-amz-server-side-encryption"
_ALGORITHM: Final = _SSE + b"-customer-algorithm"
_OF_CUSTOMERS: Final = (_SSE + b"-customer-", b"x-amz-copy-source-server-side-encryption-customer-")
_COPIED: Final = b"x-amz-copy-source-server-side-encryption-customer-key"
_MODES: Final = {b"aws:kms": sources.KMS_MODE, b"aws:kms:dsse": sources.DUAL_MODE}

_asking: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")


class Audit:
    """Writes the audit log of this process. `start` and `close` on the loop that serves."""

    def __init__(
        self,
        sink: audit_sinks.Sink,
        reporter: observe.Reporter,
        *,
        fingerprint: Callable[[secret.SecretKey], bytes],
        at_once: bool,
        refuses: bool,
        leftovers: Path | None,
    ) -> None:
        """Begin.

        Args:
            sink: where lines go; closed with this.
            reporter: is told of failures, and counts.
            fingerprint: tells customers' keys from each other.
            at_once: the sink is quick, so that a line is written before its answer leaves.
            refuses: requests are refused while lines cannot be kept.
            leftovers: a folder for what an ending process could not deliver; None for none.
        """
        self._sink = sink
        self._reporter = reporter
        self._fingerprint = fingerprint
        self._at_once = at_once
        self._refuses = refuses
        self._leftovers = leftovers
        self._queue: deque[bytes] = deque()
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    @property
    def is_stuck(self) -> bool:
        """Whether requests are to be refused, since lines of theirs could not be kept."""
        return self._refuses and (
            len(self._queue) >= MAX_QUEUED or (self._failing and self._at_once)
        )

    async def start(self) -> None:
        """Begin to deliver, what an earlier process left first."""
        if self._leftovers is not None:
            self._queue.extend(await asyncio.to_thread(_take_leftovers, self._leftovers))
        self._task = asyncio.create_task(self._deliver(), name="audit")
        self._wanted.set()

    async def close(self) -> None:
        """Deliver what waits, or leave it in a file for the next process."""
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    await self._settled.wait()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._queue and self._leftovers is not None:
            await asyncio.to_thread(_leave, self._leftovers, list(self._queue))
        await self.sync()
        self._sink.close()

    async def sync(self) -> None:
        """Make durable what was written. A job of the background.

        Raises:
            OSError: it may not be.
        """
        await asyncio.to_thread(self._sink.sync)

    # What is told

    def enter(self, request: message.Request) -> None:
        """Remember who asks, in the request's task, for alarms of the guard."""
        _asking.set(request.request_id)

    def decided(self, request: message.Request, outcome: pipeline.Outcome, *, kms: bool) -> None:
        """Tell of a request that was answered, if it was a decision on keys."""
        request = outcome.request or request
        if not kms and not _concerns_keys(request, outcome):
            return
        principal = outcome.principal
        self._tell(
            "decision",
            request_id=request.request_id,
            service="kms" if kms else "s3",
            operation=outcome.operation,
            who="" if principal is None else principal.arn or "anonymous",
            access_key=outcome.access_key,
            source=request.peer,
            secure=request.secure,
            bucket=outcome.bucket,
            key=outcome.key,
            version_id=_version_of(request, outcome),
            mode="" if kms else _mode_of(request, outcome),
            kms_key=outcome.kms_key or _said(outcome, _SSE + b"-aws-kms-key-id"),
            fingerprint=self._of(contexts.customer_key(request)),
            source_fingerprint=self._of(contexts.customer_key(request, _COPIED)),
            allowed=outcome.response.status < _ERROR_STATUS,
            status=outcome.response.status,
            code=outcome.error,
            why=_why(outcome),
            # What was refused before anybody asked what it was has nothing better.
            method="" if outcome.operation else request.method,
            path="" if outcome.operation else request.raw_path.decode("latin-1"),
        )

    def alarmed(self, alarm: guarding.Alarm) -> None:
        """Tell of what the guard saw."""
        version = alarm.version
        self._tell(
            "guard",
            request_id=_asking.get(),
            bucket=version.bucket,
            key=version.key,
            version_id=version.version_id,
            mode=version.mode,
            fingerprint=version.fingerprint.hex(),
            by=alarm.by.hex(),
            reason=alarm.reason,
            foreign=alarm.is_foreign,
            kept_until_ms=alarm.until_ms,
        )

    def _of(self, key: secret.SecretKey | None) -> str:
        return "" if key is None else self._fingerprint(key).hex()

    def _tell(self, event: str, **fields: Any) -> None:
        line = encode(event, fields)
        if self._at_once and not self._queue:
            try:
                self._sink.write([line])
            except OSError as error:
                self._failed(error)
            else:
                self._failing = False
                self._reporter.metrics.audited("written", 1)
                return
        if len(self._queue) >= MAX_QUEUED:
            self._reporter.metrics.audited("dropped", 1)
            return
        self._queue.append(line)
        self._settled.clear()
        self._wanted.set()

    async def _deliver(self) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            if not self._queue:
                self._settled.set()
            await self._wanted.wait()
            self._wanted.clear()
            while self._queue:
                batch = [self._queue[at] for at in range(min(BATCH, len(self._queue)))]
                try:
                    await asyncio.to_thread(self._sink.write, batch)
                except OSError as error:
                    self._failed(error)
                    self._settled.set()
                    await asyncio.sleep(wait_s)
                    wait_s = min(2 * wait_s, LAST_WAIT_S)
                    continue
                for _ in batch:
                    self._queue.popleft()
                self._reporter.metrics.audited("written", len(batch))
                self._failing, wait_s = False, FIRST_WAIT_S

    def _failed(self, error: OSError) -> None:
        self._reporter.metrics.audited("failed", 1)
        if not self._failing:
            # Once for all that follow it: a line for each would fill the disk that is full.
            self._reporter.log.error(
                "audit.failed", waiting=len(self._queue), **observe.describe_error(error)
            )
        self._failing = True


def encode(event: str, fields: Mapping[str, Any]) -> bytes:
    """Return a line: time and event first, fields without a value left out."""
    moment = dt.datetime.fromtimestamp(time.time(), dt.UTC).isoformat(timespec="milliseconds")
    told: dict[str, Any] = {"time": moment, "event": event}
    for name, value in fields.items():
        if value not in ("", None):
            told[name] = value[:MAX_TEXT] if isinstance(value, str) else value
    return json.dumps(told, separators=(",", ":")).encode("ascii") + b"\n"


def sink_of(chosen: configuration.Settings) -> audit_sinks.Sink | None:
    """Return where the audit log goes, as it was chosen; None if it is off.

    Raises:
        OSError: its file cannot be opened.
    """
    if chosen.audit_log is None:
        return None
    if is_webhook(chosen):
        return audit_sinks.Webhook(chosen.audit_log, chosen.audit_token)
    path = Path(chosen.audit_log).absolute()
    return audit_sinks.File(path, max_bytes=chosen.audit_rotate_mib * 1024 * 1024)


def is_webhook(chosen: configuration.Settings) -> bool:
    """Whether the audit log goes to a URL."""
    return chosen.audit_log is not None and chosen.audit_log.startswith("https://")


def make(
    chosen: configuration.Settings,
    reporter: observe.Reporter,
    fingerprint: Callable[[secret.SecretKey], bytes],
) -> Audit | None:
    """Return the audit log of a process that serves; None if it is off.

    Raises:
        OSError: its file cannot be opened.
    """
    sink = sink_of(chosen)
    if sink is None:
        return None
    return Audit(
        sink,
        reporter,
        fingerprint=fingerprint,
        at_once=not is_webhook(chosen),
        refuses=chosen.audit_failure == "closed",
        leftovers=chosen.data_dir / QUEUE_FOLDER,
    )


def _why(outcome: pipeline.Outcome) -> str:
    """Return the name of what went wrong; of a refusal in the dialect's words, its code."""
    if outcome.cause is None or isinstance(outcome.cause, Refused):
        return outcome.error
    return type(outcome.cause).__name__


def _concerns_keys(request: message.Request, outcome: pipeline.Outcome) -> bool:
    if any(name.startswith(_OF_CUSTOMERS) for name, _ in request.headers):
        return True
    # A key in a query is a key in the clear, and was refused.
    query = request.raw_query.lower()
    if b"server-side-encryption-customer-" in query or isinstance(outcome.cause, errors.KeyTrouble):
        return True
    return bool(_mode_of(request, outcome))


def _mode_of(request: message.Request, outcome: pipeline.Outcome) -> str:
    if request.header(_ALGORITHM) is not None or _said(outcome, _ALGORITHM):
        return sources.CUSTOMER_MODE
    told = _said(outcome, _SSE).encode("latin-1") or request.header(_SSE)
    return _MODES.get(told or b"", "")


def _said(outcome: pipeline.Outcome, header: bytes) -> str:
    return next(
        (value.decode("latin-1") for name, value in outcome.response.headers if name == header), ""
    )


def _version_of(request: message.Request, outcome: pipeline.Outcome) -> str:
    found = _said(outcome, b"x-amz-version-id")
    if found or b"versionId=" not in request.raw_query:
        return found
    return request.raw_query.partition(b"versionId=")[2].partition(b"&")[0].decode("latin-1")


def _leave(folder: Path, lines: Iterable[bytes]) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    files.create(folder / secrets.token_hex(8), b"".join(lines), audit_sinks.MODE)


def _take_leftovers(folder: Path) -> list[bytes]:
    """Return what earlier processes left, no more than may wait; each file is taken by one process."""
    found: list[bytes] = []
    if not folder.is_dir():
        return found
    for path in sorted(folder.iterdir()):
        taken = path.with_name(f".{path.name}")
        if path.name.startswith(".") or len(found) >= MAX_QUEUED:
            continue
        try:
            path.rename(taken)
        except FileNotFoundError:
            continue
        found += taken.read_bytes().splitlines(keepends=True)
        taken.unlink()
    return found
