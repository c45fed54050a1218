"""Jobs beside the requests."""

import asyncio
import io
import json

import pytest

from strongroom.server import background, observe

BEAT_S = 0.001


@pytest.fixture
def log():
    return io.StringIO()


@pytest.fixture
def reporter(log):
    return observe.reporter(log)


def run_until(jobs, reporter, condition):
    async def main():
        running = background.Background(jobs, reporter)
        running.start()
        async with asyncio.timeout(10):
            await condition.wait()
        await running.close()
        await running.close()

    asyncio.run(main())


def test_a_job_runs_again_and_again(reporter):
    runs, enough = [], asyncio.Event()

    async def run():
        runs.append(1)
        if len(runs) == 3:
            enough.set()

    run_until([background.Job("count", BEAT_S, run)], reporter, enough)

    assert len(runs) >= 3


def test_a_job_that_fails_is_logged_and_counted_and_runs_again(reporter, log):
    runs, again = [], asyncio.Event()

    async def run():
        runs.append(1)
        if len(runs) > 1:
            again.set()
        raise ValueError("hush-hush")

    run_until([background.Job("flaky", BEAT_S, run)], reporter, again)

    first = json.loads(log.getvalue().splitlines()[0])
    assert (first["event"], first["job"], first["error"]) == (
        "job.failed",
        "flaky",
        "builtins.ValueError",
    )
    assert "hush" not in log.getvalue()
    text = asyncio.run(reporter.metrics.scrape()).decode()
    assert 'strongroom_job_failures_total{job="flaky"}' in text


def test_a_job_never_runs_twice_at_a_time(reporter):
    running, most, runs, enough = 0, 0, 0, asyncio.Event()

    async def run():
        nonlocal running, most, runs
        running += 1
        runs += 1
        most = max(most, running)
        await asyncio.sleep(3 * BEAT_S)
        running -= 1
        if runs == 3:
            enough.set()

    run_until([background.Job("slow", BEAT_S, run)], reporter, enough)

    assert most == 1


def test_closing_stops_a_job_that_runs(reporter):
    begun, cancelled = asyncio.Event(), []

    async def run():
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    run_until([background.Job("endless", BEAT_S, run)], reporter, begun)

    assert cancelled == [1]
