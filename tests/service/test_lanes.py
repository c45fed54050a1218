"""Work beside the loop: in order, one thread at a time, and nobody waits for what never comes."""

import asyncio
import threading
from concurrent import futures

import pytest

from strongroom.service import lanes


@pytest.fixture
def threads():
    with futures.ThreadPoolExecutor(4) as pool:
        yield pool


class Busy:
    """Notes whether two steps ever run at a time."""

    def __init__(self):
        self.order = []
        self.inside = threading.Lock()
        self.met = False

    def step(self, number):
        if not self.inside.acquire(blocking=False):
            self.met = True
            return
        self.order.append(number)
        self.inside.release()


def test_steps_run_in_order_one_at_a_time(threads):
    busy = Busy()

    async def main():
        lane = lanes.Lane(threads)
        for number in range(500):
            await lane.put(lambda number=number: busy.step(number), 10_000)
        answer = await lane.finish(lambda: "done")
        await lane.stop()
        return answer

    assert asyncio.run(main()) == "done"
    assert busy.order == list(range(500))
    assert not busy.met


def test_what_waits_for_a_thread_is_bounded(threads):
    may_go_on = threading.Event()

    async def main():
        lane = lanes.Lane(threads)
        await lane.put(may_go_on.wait, lanes.QUEUE_BYTES)
        second = asyncio.ensure_future(lane.put(lambda: None, 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waited = not second.done()
        may_go_on.set()
        await second
        await lane.stop()
        return waited

    assert asyncio.run(main())


def test_a_step_that_fails_is_told_and_nothing_runs_after_it(threads):
    ran = []

    def fail():
        raise ValueError("on purpose")

    async def main():
        lane = lanes.Lane(threads)
        await lane.put(fail, 1)
        with pytest.raises(ValueError, match="on purpose"):
            await lane.finish(lambda: ran.append("last"))
        with pytest.raises(ValueError, match="on purpose"):
            await lane.put(lambda: ran.append("late"), 1)
        await lane.stop()

    asyncio.run(main())

    assert not ran


def test_a_step_that_fails_frees_who_waits_for_room(threads):
    may_go_on = threading.Event()

    def fail():
        may_go_on.wait()
        raise ValueError("on purpose")

    async def main():
        lane = lanes.Lane(threads)
        waiting = asyncio.ensure_future(lane.put(fail, lanes.QUEUE_BYTES + 1))
        await asyncio.sleep(0)
        may_go_on.set()
        with pytest.raises(ValueError, match="on purpose"):
            await waiting
        await lane.stop()

    asyncio.run(main())


@pytest.mark.parametrize("cancellations", [0, 1, 3])
def test_stopping_waits_for_the_step_that_runs_and_drops_the_others(threads, cancellations):
    began, may_go_on, ran = threading.Event(), threading.Event(), []

    def hold():
        began.set()
        may_go_on.wait()
        ran.append("held")

    async def main():
        loop = asyncio.get_running_loop()
        lane = lanes.Lane(threads)
        await lane.put(hold, 1)
        await lane.put(lambda: ran.append("dropped"), 1)
        await loop.run_in_executor(None, began.wait)
        stopping = asyncio.ensure_future(lane.stop())
        for _ in range(cancellations):
            await asyncio.sleep(0)
            stopping.cancel()
        await asyncio.sleep(0)
        assert not stopping.done()
        may_go_on.set()
        if cancellations:
            with pytest.raises(asyncio.CancelledError):
                await stopping
        else:
            await stopping

    asyncio.run(main())

    assert ran == ["held"]


def test_threads_that_take_no_more_work_are_told_of_and_leave_nothing_waiting():
    pool = futures.ThreadPoolExecutor(1)
    pool.shutdown()

    async def main():
        lane = lanes.Lane(pool)
        with pytest.raises(RuntimeError):
            await lane.put(lambda: None, 1)
        await lane.stop()
        ahead = lanes.Ahead(pool, iter("ab"))
        with pytest.raises(RuntimeError):
            await anext(ahead)
        await ahead.stop()

    asyncio.run(main())


def test_results_come_in_order_and_end(threads):
    async def main():
        ahead = lanes.Ahead(threads, iter(range(300)))
        found = [number async for number in ahead]
        with pytest.raises(StopAsyncIteration):
            await anext(ahead)
        await ahead.stop()
        return found

    assert asyncio.run(main()) == list(range(300))


class AtOnce(futures.Executor):
    """No threads: what is submitted has run when `submit` returns."""

    def submit(self, work, /, *arguments):
        work(*arguments)


def test_no_more_is_made_ahead_than_may_lie_there():
    made = []

    def results():
        for number in range(100):
            made.append(number)
            yield number

    async def main():
        ahead = lanes.Ahead(AtOnce(), results())
        await anext(ahead)
        await ahead.stop()

    asyncio.run(main())

    # One was taken, and another made in its place.
    assert len(made) == lanes.READY + 1


def test_what_fails_comes_after_what_was_made_before_it(threads):
    def results():
        yield 1
        yield 2
        raise ValueError("on purpose")

    async def main():
        ahead = lanes.Ahead(threads, results())
        found = [await anext(ahead), await anext(ahead)]
        with pytest.raises(ValueError, match="on purpose"):
            await anext(ahead)
        await ahead.stop()
        return found

    assert asyncio.run(main()) == [1, 2]


def test_an_iterator_that_was_stopped_can_be_closed(threads):
    closed = []

    def results():
        try:
            while True:
                yield 0
        finally:
            closed.append(True)

    async def main():
        source = results()
        ahead = lanes.Ahead(threads, source)
        await anext(ahead)
        await ahead.stop()
        # "generator already executing" if a thread were still in it.
        source.close()

    asyncio.run(main())

    assert closed == [True]
