"""Memory that is filled again: never while somebody may still read what is in it."""

import asyncio

import pytest

from strongroom.service import streams

MEBIBYTE = bytes(range(256)) * 4096


def test_memory_that_somebody_holds_is_not_given_out_again():
    spares = streams.Spares()

    held = [spares.make(100) for _ in range(3 * streams.SPARES)]

    assert len({id(piece) for piece in held}) == len(held)


def test_memory_that_nobody_holds_is_given_out_again():
    spares = streams.Spares()

    places = {id(spares.make(100)) for _ in range(50)}

    assert len(places) == 1


def test_a_view_counts_as_somebody():
    spares = streams.Spares()

    view = memoryview(spares.make(4))
    other = spares.make(4)
    other[:] = b"abcd"

    assert bytes(view) == bytes(4)


def test_memory_has_the_size_that_is_asked_for_also_after_it_was_cut():
    spares = streams.Spares()
    del spares.make(100)[50:]

    assert len(spares.make(100)) == 100
    assert len(spares.make(7)) == 7


@pytest.mark.parametrize("kept", [1, 2, 3, 100])
def test_a_reader_that_keeps_pieces_keeps_their_bytes(bench, customer, kept):
    body = b"".join(bytes([number]) * len(MEBIBYTE) for number in range(8))

    async def main():
        await bench.put("key", body, customer)
        opened = await bench.objects.get("bucket", "key", customer=customer)
        window, found = [], []
        async for piece in opened.pieces:
            window.append(piece)
            if len(window) == kept:
                found += map(bytes, window)
                window.clear()
        return b"".join((*found, *window))

    assert asyncio.run(main()) == body
