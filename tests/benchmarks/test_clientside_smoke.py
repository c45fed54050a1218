"""Kills of transfers that encrypt, in short, and the store that clients are compared with."""

import re

import pytest

from benchmarks import bytestore, clientside


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_transfers_that_are_killed_finish_in_bounded_memory(capsys):
    assert clientside.main(["kills", "--size", "20", "--times", "1"]) == 0

    told = capsys.readouterr().out
    assert len(re.findall(r"  1 kills, \d+ MiB peak\n", told)) == 4
    assert told.count("the same bytes\n") == 2


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [(0, 6, b"abcdef"), (1, 5, b"bcde"), (2, 3, b"c"), (4, 9, b"ef"), (6, 9, b"")],
)
def test_the_store_of_bytes_cuts_ranges_out_of_parts(start, end, found):
    pieces = [memoryview(b"ab"), memoryview(b""), memoryview(b"cd"), memoryview(b"ef")]

    assert b"".join(bytearray(each) for each in bytestore._cut(pieces, start, end)) == found  # noqa: SLF001 - reached only over HTTP else
