"""Bodies that arrive: what is asked for ahead, how long is waited, what is left of it."""

import asyncio

import pytest

from strongroom import errors
from strongroom.server import arriving, patience

LENGTH = [(b"content-length", b"6")]


class Asked:
    """An ASGI `receive` that answers from a list, and counts how many are waited for at once."""

    def __init__(self, *events):
        self.events = list(events)
        self.calls = 0
        self.open = 0
        self.most = 0

    def __call__(self):
        self.calls += 1
        self.open += 1
        self.most = max(self.most, self.open)
        return asyncio.ensure_future(self._answer())

    async def _answer(self):
        try:
            await asyncio.sleep(0)
            if not self.events:
                await asyncio.Event().wait()
            return self.events.pop(0)
        finally:
            self.open -= 1


def piece(body, *, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


def arrive(receive, headers=LENGTH, **limits):
    return arriving.Arriving(receive, headers, **{"stall_s": 60, "least_bytes": 8, **limits})


def test_the_next_piece_is_asked_for_before_the_last_is_worked_on():
    asked = Asked(piece(b"abc"), piece(b"def"))

    async def main():
        body = arrive(asked)
        first = await anext(body)
        calls = asked.calls
        rest = [part async for part in body]
        body.close()
        return first, calls, rest

    assert asyncio.run(main()) == (b"abc", 2, [b"def"])


def test_two_pieces_are_never_asked_for_at_once_and_none_behind_the_last():
    asked = Asked(*[piece(b"a")] * 5, piece(b"a", more=False))

    async def main():
        body = arrive(asked)
        found = b"".join([part async for part in body])
        body.close()
        return found, body.finished

    assert asyncio.run(main()) == (b"aaaaaa", True)
    assert (asked.calls, asked.most) == (6, 1)


CHUNKED = [(b"transfer-encoding", b"chunked")]
TRAILER = (b"x-amz-trailer", b"x-amz-checksum-crc32")
FRAMED = (b"x-amz-content-sha256", b"STREAMING-UNSIGNED-PAYLOAD-TRAILER")
VOUCHED = [*CHUNKED, TRAILER, FRAMED]


@pytest.mark.parametrize(
    ("headers", "most"),
    [
        (CHUNKED, 1),
        ([*CHUNKED, FRAMED, (b"x-amz-trailer", b"x-another")], 1),
        ([*CHUNKED, TRAILER], 1),
        ([*CHUNKED, TRAILER, (b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD")], 1),
        ([*CHUNKED, FRAMED], 1),
        ([*LENGTH, TRAILER, FRAMED], 1),
        (VOUCHED, arriving.AHEAD),
    ],
    ids=[
        *("chunked", "another trailer", "trailer only", "no framing", "framing only", "length"),
        "vouched for",
    ],
)
def test_several_pieces_are_asked_for_only_where_a_checksum_follows(headers, most):
    bodies = [b"abc", b"def", b""]
    asked = Asked(*[piece(body) for body in bodies[:-1]], *[piece(b"", more=False)] * 9)

    async def main():
        body = arrive(asked, headers)
        found = b"".join([part async for part in body])
        body.close()
        return found

    assert asyncio.run(main()) == b"abcdef"
    assert asked.most == most


def test_large_pieces_are_asked_for_one_by_one_also_where_a_checksum_follows():
    large = bytes(arriving.SMALL_BYTES + 1)
    asked = Asked(*[piece(large)] * 5, piece(b"", more=False))

    async def main():
        body = arrive(asked, VOUCHED)
        found = [len(part) async for part in body]
        body.close()
        return found

    assert asyncio.run(main()) == [len(large)] * 5
    assert asked.most == 1


def test_a_body_that_is_cut_off_stays_no_body_whatever_else_was_asked_for():
    asked = Asked(piece(b"abc"), {"type": "http.disconnect"}, *[piece(b"", more=False)] * 9)

    async def main():
        body = arrive(asked, VOUCHED)
        await anext(body)
        for _ in range(2):
            with pytest.raises(errors.ClientGone):
                await anext(body)
        body.close()
        return body.finished

    assert asyncio.run(main()) is False


def test_nothing_is_asked_for_before_somebody_wants_the_body():
    asked = Asked(piece(b"abcdef"))

    async def main():
        body = arrive(asked, [*LENGTH, (b"expect", b"100-continue")])
        held = body.held
        await asyncio.sleep(0)
        calls = asked.calls
        await anext(body)
        return held, calls, body.held

    assert asyncio.run(main()) == (True, 0, False)


def test_what_was_asked_for_and_never_came_is_given_up():
    asked = Asked(piece(b"abc"))

    async def main():
        body = arrive(asked)
        await anext(body)
        await asyncio.sleep(0)
        body.close()
        body.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return asked.open

    assert asyncio.run(main()) == 0


def test_a_coroutine_that_nobody_awaited_is_closed():
    # A warning that it "was never awaited" would fail this test.
    async def receive():
        return piece(b"abc")

    async def main():
        body = arrive(receive)
        await anext(body)
        body.close()

    asyncio.run(main())


def test_a_body_that_is_cut_off_is_no_body():
    asked = Asked(piece(b"abc"), {"type": "http.disconnect"})

    async def main():
        body = arrive(asked)
        await anext(body)
        with pytest.raises(errors.ClientGone):
            await anext(body)
        body.close()
        return body.finished

    assert asyncio.run(main()) is False


def test_who_sends_nothing_is_given_up():
    asked = Asked(piece(b"abc"))

    async def main():
        body = arrive(asked, stall_s=0.01)
        await anext(body)
        with pytest.raises(errors.ClientGone):
            await anext(body)
        body.close()

    asyncio.run(main())


def test_patience_tells_its_own_end_from_a_cancellation_by_others():
    async def main():
        waits = patience.Patience()
        with pytest.raises(TimeoutError):
            await waits.wait(asyncio.Event().wait(), 0.001)
        waiting = asyncio.ensure_future(waits.wait(asyncio.Event().wait(), 60))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        waits.close()

    asyncio.run(main())


def test_patience_rings_earlier_if_a_later_wait_is_shorter():
    async def main():
        waits = patience.Patience()
        await waits.wait(asyncio.sleep(0), 60)
        with pytest.raises(TimeoutError):
            await waits.wait(asyncio.Event().wait(), 0.001)
        waits.close()

    asyncio.run(main())


def test_patience_that_rings_between_two_waits_harms_neither():
    async def main():
        waits = patience.Patience()
        await waits.wait(asyncio.sleep(0), 0.001)
        later = asyncio.Event()
        asyncio.get_running_loop().call_later(0.002, later.set)
        await later.wait()
        answer = await waits.wait(asyncio.sleep(0, "came"), 60)
        waits.close()
        return answer

    assert asyncio.run(main()) == "came"
