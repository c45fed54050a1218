"""Jobs that run again and again beside the requests."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom.server import observe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do every `interval_s` seconds; `name` is its label in log and metrics."""

    name: str
    interval_s: float
    run: Callable[[], Awaitable[object]]


class Background:
    """Runs jobs, each on its own beat, from `start` to `close`.

    A job runs first one interval after the start. The beat is fixed: a run that
    takes longer than the interval skips the beats that it missed and never runs
    twice at a time. A run that raises is logged and counted; the next one comes.
    """

    def __init__(self, jobs: Sequence[Job], reporter: observe.Reporter) -> None:
        self._jobs = jobs
        self._reporter = reporter
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin, on the running loop."""
        assert not self._tasks, "started once"
        self._tasks = [asyncio.create_task(self._beat(job), name=job.name) for job in self._jobs]

    async def close(self) -> None:
        """Cancel what runs and wait until it has stopped. May be called twice."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        # A cancelled job may raise on its way out; `_run_once` has logged that.
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _beat(self, job: Job) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += job.interval_s
            missed = loop.time() - due
            if missed > 0:
                due += job.interval_s * -(-missed // job.interval_s)
            await asyncio.sleep(due - loop.time())
            await self.run_once(job)

    async def run_once(self, job: Job) -> None:
        """Run a job now, whether or not it is on the beat; what goes wrong is logged and counted."""
        started_s = time.perf_counter()
        try:
            await job.run()
        except Exception as error:  # noqa: BLE001 - one failed run must not end the job
            self._reporter.metrics.job_failed(job.name)
            self._reporter.log.error("job.failed", job=job.name, **observe.describe_error(error))
        else:
            duration_ms = round((time.perf_counter() - started_s) * 1000, 2)
            self._reporter.log.debug("job.done", job=job.name, duration_ms=duration_ms)
