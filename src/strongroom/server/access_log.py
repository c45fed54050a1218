"""Between the requests and the access logs of buckets: who is told of what, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.dialects.s3 import log_lines
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.dialects import pipeline
    from strongroom.server import observe
    from strongroom.service import access_logs
    from strongroom.store import catalog
    from strongroom.wire import message


class Recorder:
    """Has a record written of each request to a bucket that keeps an access log."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        logs: access_logs.AccessLogs,
        reporter: observe.Reporter,
        *,
        clock_ms: Callable[[], int],
    ) -> None:
        self._catalog = catalog
        self._logs = logs
        self._reporter = reporter
        self._clock_ms = clock_ms

    @staticmethod
    def concerns(outcome: pipeline.Outcome) -> bool:
        """Whether `note` is worth awaiting; most requests go to buckets that log nothing."""
        if outcome.place is not None:
            return records.LOGGING in outcome.place.settings
        # Refused before the bucket was looked up: for its signature, for one.
        return bool(outcome.error and outcome.bucket)

    async def note(self, request: message.Request, outcome: pipeline.Outcome) -> None:
        """Have a request recorded when it is over."""
        try:
            bucket = outcome.place or await self._catalog.bucket(outcome.bucket)
        except (errors.BucketNotFound, errors.StoreTrouble):
            # Of a bucket that is not there, or cannot be read, there is nothing to log.
            return
        if records.LOGGING not in bucket.settings:
            return
        turn_s: float | None = None

        def ended(exchange: observe.Exchange, total_s: float) -> None:
            told = log_lines.Told(
                operation=outcome.operation,
                key=outcome.key,
                code=outcome.error,
                status=exchange.status,
                bytes_out=exchange.bytes_out,
                total_ms=round(total_s * 1000),
                turn_ms=round((total_s if turn_s is None else turn_s) * 1000),
                needed_list=outcome.needed_list,
            )
            line = log_lines.write(
                bucket,
                request,
                outcome.principal,
                outcome.response.headers,
                told,
                self._clock_ms(),
                outcome.entries,
            )
            self._logs.add(bucket, line)

        turn_s = self._reporter.when_over(request.request_id, ended)
