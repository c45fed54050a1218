"""Bodies on their way in and out: what is left of one that fails, and what a reader may rely on."""

import asyncio
import hashlib

import pytest

from strongroom import errors
from strongroom.service import conditions, facets, transfer

LARGE = bytes(range(256)) * 4096  # a mebibyte: a file, several batches, several segments
SMALL = b"small enough for the catalog"


async def turns():
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_a_body_comes_back(bench, customer, body):
    async def main():
        await bench.put("key", body, customer)
        return await bench.get("key", customer)

    assert asyncio.run(main()) == body


@pytest.mark.parametrize(
    ("body", "length", "expected"),
    [
        (b"", 1, errors.BodyTooShort),
        (SMALL, len(SMALL) + 1, errors.BodyTooShort),
        (LARGE, len(LARGE) + 1, errors.BodyTooShort),
        (SMALL, len(SMALL) - 1, errors.BodyTooLong),
        (SMALL, 0, errors.BodyTooLong),
        (LARGE, len(LARGE) - 1, errors.BodyTooLong),
        (LARGE, 10, errors.BodyTooLong),
    ],
)
def test_a_body_of_another_length_leaves_nothing(bench, body, length, expected):

    async def main():
        with pytest.raises(expected):
            await bench.put("key", bench.incoming(body, length=length))
        return await bench.gone("key")

    assert asyncio.run(main())
    assert not bench.blobs.places
    assert not bench.catalog.inline_ids


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    "facts",
    [
        {"md5": bytes(16)},
        {"sha256": bytes(32)},
        {"checksum": "CRC32", "announced": {"CRC32": bytes(4)}},
        {"checksum": "SHA1", "announced": {"SHA1": bytes(20)}},
    ],
    ids=["MD5", "X-SHA256", "CRC32", "SHA1"],
)
def test_a_body_with_another_digest_leaves_nothing(bench, customer, body, facts, request):
    async def main():
        with pytest.raises(errors.DigestMismatch) as caught:
            await bench.put("key", bench.incoming(body, **facts), customer)
        return caught.value, await bench.gone("key")

    error, gone = asyncio.run(main())

    assert gone
    assert error.algorithm in request.node.name
    assert error.computed != error.announced
    assert not bench.blobs.places


def test_the_digests_of_a_mismatch_are_the_bodys(bench):
    async def main():
        with pytest.raises(errors.DigestMismatch) as caught:
            await bench.put("key", bench.incoming(LARGE, sha256=bytes(32)))
        return caught.value

    assert asyncio.run(main()).computed == hashlib.sha256(LARGE).digest()


@pytest.mark.parametrize("sent", [0, 10, 300_000, 900_000])
def test_a_client_that_hangs_up_leaves_nothing(bench, sent):
    async def chunks():
        for start in range(0, sent, 50_000):
            yield LARGE[start : start + 50_000]
        raise errors.ClientGone

    async def main():
        with pytest.raises(errors.ClientGone):
            await bench.put("key", transfer.Incoming(chunks(), len(LARGE)))
        return await bench.gone("key")

    assert asyncio.run(main())
    assert not bench.blobs.places


@pytest.mark.parametrize("where", ["fail_room", "fail_finish", "fail_settle"])
@pytest.mark.parametrize("error", [errors.StoreFull, errors.StoreFailed])
def test_a_disk_that_fails_leaves_nothing(bench, where, error):
    setattr(bench.blobs, where, error("on purpose"))

    async def main():
        with pytest.raises(error):
            await bench.put("key", LARGE)
        return await bench.gone("key")

    assert asyncio.run(main())
    assert not bench.blobs.places
    assert bench.blobs.discarded == 1


def test_a_put_that_is_cancelled_in_its_body_leaves_nothing(bench):
    async def main():
        waiting = asyncio.Event()

        async def chunks():
            yield LARGE[:600_000]
            waiting.set()
            await asyncio.Event().wait()

        put = asyncio.ensure_future(bench.put("key", transfer.Incoming(chunks(), len(LARGE))))
        await waiting.wait()
        put.cancel()
        with pytest.raises(asyncio.CancelledError):
            await put
        return await bench.gone("key")

    assert asyncio.run(main())
    assert not bench.blobs.places
    assert bench.blobs.discarded == 1


# The commit


@pytest.mark.parametrize("error", [errors.StoreFull("full"), errors.PreconditionFailed("If-Match")])
def test_a_commit_that_is_refused_leaves_what_was_there(bench, error):
    async def main():
        await bench.put("key", LARGE)
        before = bench.blobs.places

        def refuse():
            raise error

        bench.catalog.before = refuse
        with pytest.raises(type(error)):
            await bench.put("key", LARGE[::-1])
        return before, await bench.get("key")

    before, body = asyncio.run(main())

    assert body == LARGE
    assert bench.blobs.places == before


def test_a_bucket_that_goes_meanwhile_leaves_nothing(bench):
    async def main():
        async def delete():
            await bench.catalog.delete_bucket("bucket")

        bench.catalog.before = delete
        with pytest.raises(errors.BucketNotFound):
            await bench.put("key", LARGE)

    asyncio.run(main())

    assert not bench.blobs.places


@pytest.mark.parametrize("error", [errors.StoreFailed("lost"), RuntimeError("a mistake of ours")])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_commit_of_unknown_outcome_keeps_its_blob(bench, error, moment):
    # The catalog may refer to it. If it does not, it is a stray and is swept later.
    async def main():
        def fail():
            raise error

        setattr(bench.catalog, moment, fail)
        with pytest.raises(type(error)):
            await bench.put("key", LARGE)
        setattr(bench.catalog, moment, None)
        return await bench.gone("key") or await bench.get("key")

    outcome = asyncio.run(main())

    assert len(bench.blobs.places) == 1
    assert outcome is True if moment == "before" else outcome == LARGE


@pytest.mark.parametrize("cancellations", [1, 2, 3])
@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_a_put_that_is_cancelled_in_its_commit_is_stored_whole(bench, body, cancellations):
    async def main():
        may_go_on = asyncio.Event()
        reached = asyncio.Event()

        async def wait():
            reached.set()
            await may_go_on.wait()

        bench.catalog.before = wait
        put = asyncio.ensure_future(bench.put("key", body))
        await reached.wait()
        for _ in range(cancellations):
            put.cancel()
            await turns()
        assert not put.done()
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await put
        return await bench.get("key")

    assert asyncio.run(main()) == body


def test_a_put_that_is_cancelled_in_a_commit_that_fails_leaves_nothing(bench):
    async def main():
        may_go_on = asyncio.Event()
        reached = asyncio.Event()

        async def wait():
            reached.set()
            await may_go_on.wait()
            raise errors.PreconditionFailed("If-None-Match")

        bench.catalog.before = wait
        put = asyncio.ensure_future(bench.put("key", LARGE))
        await reached.wait()
        put.cancel()
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await put
        return await bench.gone("key")

    assert asyncio.run(main())
    assert not bench.blobs.places


def test_a_transaction_that_is_cancelled_itself_keeps_the_blob(bench):
    # A loop that shuts down cancels every task; the writer's thread may commit all the same.
    async def main():
        reached = asyncio.Event()
        tasks = []

        async def wait():
            tasks.append(asyncio.current_task())
            reached.set()
            await asyncio.Event().wait()

        bench.catalog.before = wait
        put = asyncio.ensure_future(bench.put("key", LARGE))
        await reached.wait()
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await put

    asyncio.run(main())

    assert len(bench.blobs.places) == 1


# Reading


@pytest.mark.parametrize(
    ("first", "last"),
    [(0, 0), (0, 65_479), (65_480, 65_480), (65_479, 131_000), (700_000, None), (1_048_575, None)],
)
def test_a_range_is_the_slice(bench, customer, first, last):
    async def main():
        await bench.put("key", LARGE, customer)
        wanted = facets.ByteRange(first, last, "")
        return await bench.get("key", customer, extent=wanted)

    assert asyncio.run(main()) == LARGE[first : None if last is None else last + 1]


def test_blobs_are_pinned_while_they_are_read_and_no_longer(bench):
    async def main():
        await bench.put("key", LARGE)
        held = []
        opened = await bench.objects.get("bucket", "key", customer=None)
        held.append(len(bench.pins))
        held += [len(bench.pins) async for _ in opened.pieces]
        held.append(len(bench.pins))
        return held

    first, *during, after = asyncio.run(main())

    assert (first, set(during), after) == (1, {1}, 0)
    assert bench.blobs.opened == bench.blobs.closed == 1


@pytest.mark.parametrize("pieces_taken", [0, 1, 2])
def test_a_reader_that_stops_early_lets_go(bench, pieces_taken):
    async def main():
        await bench.put("key", LARGE * 2)
        opened = await bench.objects.get("bucket", "key", customer=None)
        for _ in range(pieces_taken):
            await anext(opened.pieces)
        await opened.pieces.aclose()
        await opened.pieces.aclose()

    asyncio.run(main())

    assert len(bench.pins) == 0
    assert bench.blobs.opened == bench.blobs.closed == 1


def test_a_read_that_loses_its_version_gets_the_next_one(bench):
    # Between look-up and read: overwritten, and the old blob removed.
    async def main():
        await bench.put("key", LARGE)

        async def overtake():
            bench.catalog.meanwhile = None
            await bench.put("key", LARGE[::-1])
            await bench.collector.collect()

        bench.catalog.meanwhile = overtake
        return await bench.get("key")

    assert asyncio.run(main()) == LARGE[::-1]
    assert len(bench.pins) == 0
    assert len(bench.blobs.places) == 1


def test_a_read_that_loses_its_version_for_good_finds_nothing(bench):
    async def main():
        await bench.put("key", LARGE)

        async def overtake():
            bench.catalog.meanwhile = None
            await bench.objects.delete("bucket", "key", owner="o")

        bench.catalog.meanwhile = overtake
        with pytest.raises(errors.ObjectNotFound):
            await bench.get("key")

    asyncio.run(main())

    assert len(bench.pins) == 0


def test_the_next_versions_key_is_asked_for_anew(bench, customer):
    async def main():
        await bench.put("key", LARGE)

        async def overtake():
            bench.catalog.meanwhile = None
            await bench.put("key", LARGE[::-1], customer)

        bench.catalog.meanwhile = overtake
        with pytest.raises(errors.KeyRequired):
            await bench.get("key")

    asyncio.run(main())


def test_a_blob_that_is_lost_is_told_and_not_looked_for_for_ever(bench):
    async def main():
        await bench.put("key", LARGE)
        bench.blobs.stored.clear()
        with pytest.raises(errors.BlobMissing):
            await bench.get("key")

    asyncio.run(main())

    assert len(bench.pins) == 0


def test_nobody_reads_a_version_that_its_condition_excludes(bench):
    async def main():
        await bench.put("key", LARGE)
        with pytest.raises(errors.PreconditionFailed):
            await bench.get("key", when=conditions.Conditions(if_match='"another"'))

    asyncio.run(main())

    assert bench.blobs.opened == 0
