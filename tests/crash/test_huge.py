"""What is much larger than the server's buffers goes up and down, and the server does not grow with it."""

import pytest
from ordeal import huge, serving


@pytest.mark.slow
def test_a_large_object_comes_back_and_is_not_held_in_memory(tmp_path):
    with serving.Servers(tmp_path / "data").make() as server:
        summary = huge.run(server, mib=40)

    assert summary.differing == 0
    assert summary.peak_mib < huge.LIMIT_MIB


def test_a_pattern_is_the_same_wherever_it_is_cut():
    pattern = huge.Pattern()
    sink = huge.Sink(pattern)

    sink.write(bytes(pattern.at(0, 1000)))
    sink.write(bytes(pattern.at(1000, huge.BLOCK_BYTES)))

    assert (sink.at, sink.differing) == (huge.BLOCK_BYTES + 1000, 0)


def test_a_byte_that_differs_is_noticed():
    pattern = huge.Pattern()
    sink = huge.Sink(pattern)
    piece = bytearray(pattern.at(0, 1000))
    piece[999] ^= 1

    sink.write(piece)

    assert sink.differing == 1
