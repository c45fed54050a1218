"""What is removed, and what is never removed."""

import asyncio

import pytest

from strongroom import errors
from strongroom.service import housekeeping

LARGE = bytes(100_000)


def test_overwritten_and_deleted_blobs_are_removed(bench):
    async def main():
        for body in (LARGE, LARGE, LARGE):
            await bench.put("key", body)
        await bench.put("other", LARGE)
        await bench.objects.delete("bucket", "other", owner="o")
        removed = await bench.collector.collect()
        return removed, await bench.collector.collect(), await bench.get("key")

    assert asyncio.run(main()) == (3, 0, LARGE)
    assert len(bench.blobs.places) == 1


def test_a_blob_that_is_being_read_is_not_removed(bench):
    async def main():
        await bench.put("key", LARGE * 10)
        opened = await bench.objects.get("bucket", "key", customer=None)
        await bench.objects.delete("bucket", "key", owner="o")
        during = await bench.collector.collect()
        body = b"".join([bytes(piece) async for piece in opened.pieces])
        await opened.pieces.aclose()
        return during, body, await bench.collector.collect()

    assert asyncio.run(main()) == (0, LARGE * 10, 1)
    assert not bench.blobs.places


def test_a_reader_that_gives_up_lets_its_blob_be_removed(bench):
    async def main():
        await bench.put("key", LARGE * 10)
        opened = await bench.objects.get("bucket", "key", customer=None)
        await bench.objects.delete("bucket", "key", owner="o")
        await opened.pieces.aclose()
        return await bench.collector.collect()

    assert asyncio.run(main()) == 1


def test_two_readers_hold_a_blob_until_both_are_done(bench):
    bench.pins.hold([b"one", b"two"])
    bench.pins.hold([b"one"])

    bench.pins.release([b"one", b"two"])
    assert (b"one" in bench.pins, b"two" in bench.pins) == (True, False)

    bench.pins.release([b"one"])
    assert len(bench.pins) == 0


def test_pinned_blobs_do_not_keep_others_from_being_removed(bench, monkeypatch):
    monkeypatch.setattr(housekeeping, "BATCH", 2)

    async def main():
        for number in range(7):
            await bench.put(f"{number}", LARGE)
        opened = [await bench.objects.get("bucket", f"{n}", customer=None) for n in range(3)]
        for number in range(7):
            await bench.objects.delete("bucket", f"{number}", owner="o")
        removed = await bench.collector.collect()
        for each in opened:
            await each.pieces.aclose()
        return removed, await bench.collector.collect()

    assert asyncio.run(main()) == (4, 3)
    assert not bench.blobs.places


def test_what_could_not_be_removed_is_tried_again(bench):
    async def main():
        await bench.put("key", LARGE)
        await bench.objects.delete("bucket", "key", owner="o")
        bench.blobs.fail_remove = errors.StoreFailed("disk")
        with pytest.raises(errors.StoreFailed):
            await bench.collector.collect()
        bench.blobs.fail_remove = None
        return await bench.collector.collect()

    assert asyncio.run(main()) == 1


def test_dropped_parts_are_removed(bench):
    async def main():
        upload = await bench.create()
        await bench.part(upload, 1, LARGE)
        await bench.part(upload, 1, LARGE)
        replaced = await bench.collector.collect()
        await bench.multipart.abort("bucket", "key", upload.upload_id)
        return replaced, await bench.collector.collect()

    assert asyncio.run(main()) == (1, 1)
    assert not bench.blobs.places


def test_a_sweep_removes_strays_that_nothing_refers_to(bench, monkeypatch):
    monkeypatch.setattr(housekeeping, "BATCH", 2)

    async def main():
        await bench.put("key", LARGE)
        upload = await bench.create("big")
        await bench.part(upload, 1, LARGE)
        await bench.put("deleted", LARGE)
        await bench.objects.delete("bucket", "deleted", owner="o")
        known = {bytes.fromhex(place.rpartition("/")[2]): place for place in bench.blobs.places}
        strays = {bytes([n]) * 16: f"memory/{n:032x}" for n in range(5)}
        bench.blobs.stored.update(dict.fromkeys(strays.values(), b"stray"))
        bench.blobs.found_strays = [*strays.items(), *known.items()]
        return known, await bench.collector.sweep(), await bench.get("key")

    known, removed, body = asyncio.run(main())

    assert removed == 5
    assert bench.blobs.places == set(known.values())
    assert body == LARGE


def test_the_collector_is_woken_by_what_dooms_blobs(bench):
    async def main():
        waiting = asyncio.ensure_future(bench.collector.waken())
        await asyncio.sleep(0)
        assert not waiting.done()
        bench.collector.wake()
        bench.collector.wake()
        await asyncio.wait_for(waiting, 5)
        again = asyncio.ensure_future(bench.collector.waken())
        await asyncio.sleep(0)
        woken_twice = again.done()
        again.cancel()
        return woken_twice

    assert asyncio.run(main()) is False


def test_every_transaction_that_can_doom_a_blob_says_so(bench):
    async def main():
        told = []

        async def telling(work):
            before = bench.displaced
            result = await work
            told.append(bench.displaced - before)
            return result

        await telling(bench.put("key", LARGE))
        upload = await bench.create("big")
        part = await telling(bench.part(upload, 1, LARGE))
        await telling(bench.complete(upload, part))
        await telling(bench.objects.delete("bucket", "big", owner="o"))
        other = await bench.create("big")
        await telling(bench.multipart.abort("bucket", "big", other.upload_id))
        return told

    assert asyncio.run(main()) == [1, 1, 1, 1, 1]


def test_with_other_processes_a_blob_is_left_alone_for_as_long_as_a_read_may_take(bench):
    now = [1000]
    patient = housekeeping.Collector(
        bench.catalog,
        bench.blobs,
        bench.pins,
        threads=bench.threads,
        grace_ms=500,
        clock_ms=lambda: now[0],
    )

    async def main():
        await bench.put("key", LARGE)
        await bench.objects.delete("bucket", "key", owner="o")
        removed = [await patient.collect()]
        now[0] += 499
        removed.append(await patient.collect())
        now[0] += 1
        removed.append(await patient.collect())
        return removed

    assert asyncio.run(main()) == [0, 0, 1]
    assert not bench.blobs.places


def test_doomed_blobs_wait_for_readers_elsewhere_and_then_go_all_at_once(bench, monkeypatch):
    monkeypatch.setattr(housekeeping, "BATCH", 2)
    collector = housekeeping.Collector(
        bench.catalog,
        bench.blobs,
        bench.pins,
        threads=bench.threads,
        grace_ms=1000,
        clock_ms=bench.clock_ms,
    )

    async def main():
        for number in range(7):
            await bench.put(f"{number}", LARGE)
            await bench.objects.delete("bucket", f"{number}", owner="o")
        removed = [await collector.collect()]
        bench.now_ms += 999
        removed.append(await collector.collect())
        bench.now_ms += 1
        return [*removed, await collector.collect()]

    assert asyncio.run(main()) == [0, 0, 7]
    assert not bench.blobs.places
