"""What the blob port promises, asked of every adapter."""

from __future__ import annotations

import asyncio
import hashlib
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom import errors
from strongroom.store import blobs as port
from strongroom.store import records

ROOM = port.ROOM_BYTES
MIB = 1024 * 1024


def blob_id(number):
    return number.to_bytes(records.BLOB_ID_BYTES, "big")


def pattern(size, salt=0):
    """Bytes in which no page equals another, so that a wrong offset shows."""
    return hashlib.shake_128(salt.to_bytes(8, "big")).digest(size)


def fill(writer, data):
    for start in range(0, len(data), ROOM):
        piece = data[start : start + ROOM]
        writer.room(len(piece))[:] = piece
    return writer


def store(blobs, number, data):
    place = fill(blobs.create(blob_id(number), len(data)), data).finish()
    asyncio.run(blobs.settle(place))
    return place


def read(blobs, place, start, end):
    reader = blobs.open(place)
    try:
        target = bytearray(end - start)
        reader.read_into(start, memoryview(target))
    finally:
        reader.close()
    return bytes(target)


@pytest.mark.parametrize(
    "size",
    [1, 56, 511, 4095, 4096, 4097, ROOM - 1, ROOM, ROOM + 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 5000],
)
def test_a_blob_reads_back_as_it_was_written(blobs, size):
    data = pattern(size)

    place = store(blobs, 1, data)

    assert read(blobs, place, 0, size) == data
    with pytest.raises(errors.NotAuthentic):
        read(blobs, place, 0, size + 1)


def test_every_range_is_the_slice(blobs):
    whole = pattern(2 * MIB + 12_345)
    place = store(blobs, 1, whole)

    @settings(max_examples=50, deadline=None)
    @given(first=st.integers(0, len(whole)), second=st.integers(0, len(whole)))
    def every_range(first, second):
        start, end = min(first, second), max(first, second)
        assert read(blobs, place, start, end) == whole[start:end]

    every_range()


def test_reading_past_the_end_says_that_the_blob_was_cut(blobs):
    place = store(blobs, 1, pattern(5000))

    for start, end in [(4999, 5001), (5000, 5001), (9000, 9001)]:
        with pytest.raises(errors.NotAuthentic):
            read(blobs, place, start, end)


def test_blobs_written_at_the_same_time_do_not_mix(blobs):
    data = {number: pattern(MIB + 70_000, salt=number) for number in range(6)}
    places = {}

    def write(number):
        places[number] = fill(blobs.create(blob_id(number), 0), data[number]).finish()

    threads = [threading.Thread(target=write, args=(number,)) for number in data]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number, whole in data.items():
        assert read(blobs, places[number], 0, len(whole)) == whole


def test_many_who_settle_together_are_all_served(blobs):
    places = [fill(blobs.create(blob_id(n), 10), b"0123456789").finish() for n in range(50)]

    async def settle_all():
        await asyncio.gather(*map(blobs.settle, places))

    asyncio.run(settle_all())

    assert all(read(blobs, place, 0, 10) == b"0123456789" for place in places)


def test_a_writer_knows_its_blob_id(blobs):
    writer = blobs.create(blob_id(7), 1)

    assert writer.blob_id == blob_id(7)
    writer.discard()


@pytest.mark.parametrize("finished", [False, True])
def test_a_discarded_blob_is_gone_and_discarding_again_is_harmless(blobs, finished):
    kept = store(blobs, 1, b"kept")
    writer = fill(blobs.create(blob_id(2), 70_000), pattern(70_000))
    place = writer.finish() if finished else kept.replace(blob_id(1).hex(), blob_id(2).hex())

    writer.discard()
    writer.discard()

    with pytest.raises(errors.BlobMissing):
        blobs.open(place)
    assert read(blobs, kept, 0, 4) == b"kept"


def test_an_open_reader_keeps_a_removed_blob(blobs):
    data = pattern(100_000)
    place = store(blobs, 1, data)
    reader = blobs.open(place)

    blobs.remove(place)
    blobs.remove(place)

    target = bytearray(100_000)
    reader.read_into(0, memoryview(target))
    assert bytes(target) == data
    reader.close()
    reader.close()
    with pytest.raises(errors.BlobMissing):
        blobs.open(place)


@pytest.mark.parametrize("size", [0, -1, ROOM + 1])
def test_room_of_a_wrong_size_is_refused(blobs, size):
    writer = blobs.create(blob_id(1), 1)

    with pytest.raises(ValueError, match="room"):
        writer.room(size)

    writer.discard()


def test_there_is_no_room_after_a_short_one(blobs):
    writer = blobs.create(blob_id(1), 2)
    writer.room(1)

    with pytest.raises(ValueError, match="last"):
        writer.room(1)

    writer.discard()


def test_blobs_of_this_process_are_no_strays(blobs):
    store(blobs, 1, b"committed or about to be")
    unfinished = fill(blobs.create(blob_id(2), 3), b"abc")

    assert list(blobs.strays()) == []
    unfinished.discard()


def test_a_blob_that_is_set_aside_is_out_of_the_way(blobs):
    place = store(blobs, 1, b"stray")
    kept = store(blobs, 2, b"kept")
    reader = blobs.open(place)

    blobs.set_aside(place)
    blobs.set_aside(place)

    with pytest.raises(errors.BlobMissing):
        blobs.open(place)
    assert list(blobs.strays()) == []
    assert read(blobs, kept, 0, 4) == b"kept"
    target = bytearray(5)
    reader.read_into(0, memoryview(target))
    assert target == b"stray"
    reader.close()


def test_a_purge_is_of_what_was_set_aside_and_of_nothing_else(blobs):
    kept = store(blobs, 1, b"kept")
    gone = store(blobs, 2, b"stray")
    blobs.set_aside(gone)

    assert blobs.purge(0) == 0
    blobs.purge(float(2**40))
    assert blobs.purge(float(2**40)) == 0

    assert read(blobs, kept, 0, 4) == b"kept"
    with pytest.raises(errors.BlobMissing):
        blobs.open(gone)


def test_an_identity_is_adopted_once_and_stands(blobs):
    assert blobs.identity() is None

    blobs.adopt(b"first")
    blobs.adopt(b"first")

    with pytest.raises(errors.StoreFailed):
        blobs.adopt(b"second")
    assert blobs.identity() == b"first"


def test_an_identity_is_not_empty(blobs):
    with pytest.raises(ValueError, match="identity"):
        blobs.adopt(b"")

    assert blobs.identity() is None


def test_blobs_are_empty_until_there_is_one_and_when_the_last_is_gone(blobs):
    assert blobs.is_empty()
    blobs.adopt(b"an identity is no blob")
    assert blobs.is_empty()

    one, other = store(blobs, 1, b"one"), store(blobs, 2, b"other")

    assert not blobs.is_empty()
    blobs.remove(one)
    assert not blobs.is_empty()
    blobs.set_aside(other)
    assert blobs.is_empty()


def test_blobs_are_closed_twice_without_harm(blobs):
    blobs.close()
    blobs.close()
