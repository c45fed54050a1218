"""Every requirement of the seeds has a test that cites it.

A test cites a requirement by its id, such as S003.24, in its docstring or in that of its module.
"""

import functools
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ID = re.compile(r"\bS(\d{3})\.(\d+)\b")

COUNTS = {"S000": 20, "S001": 17, "S002": 46, "S003": 28, "S004": 54}
"""How many rows each seed has, numbered from 1."""

CITED = {
    "S000": {*range(1, 16), *range(17, 21)},
    "S001": set(range(1, 18)),
    "S002": {
        *(2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 14),
        *range(16, 47),
    },
    "S003": {2, 3, *range(4, 17), *range(18, 28)},
    "S004": {1, *range(4, 23), 26, 27, 32, 33, 35, 36, 37, 44, *range(46, 53)},
}
"""What must have a test."""

NOT_YET = {
    **{
        f"S004.{row}": "the interface of the OSS SDK comes with `strongroom.client.oss`"
        for row in (23, 25, 28, 29, 30, 31, 34, 38, 39, 40, 41, 42, 43, 53, 54)
    },
}
"""What a later release will test."""

PAPER = {
    *("S000.16", "S003.1", "S003.17", "S003.28"),
    *("S002.1", "S002.6", "S002.11", "S002.15"),
    *("S004.2", "S004.3", "S004.24", "S004.45"),
}
"""What the documentation says, or what asks for nothing."""


def ids(table):
    return {f"{seed}.{number}" for seed, numbers in table.items() for number in numbers}


@functools.cache
def cited():
    found = set()
    for path in sorted(TESTS.rglob("test_*.py")):
        if path != Path(__file__):
            found |= {f"S{seed}.{row}" for seed, row in ID.findall(path.read_text("utf-8"))}
    return found


@pytest.mark.parametrize("row", sorted(ids(CITED)))
def test_a_test_cites(row):
    assert row in cited()


def test_what_is_tested_is_no_longer_listed_as_not_yet():
    assert cited() & NOT_YET.keys() == set()


def test_every_row_is_in_one_list():
    lists = [ids(CITED), set(NOT_YET), PAPER]

    assert sum(map(len, lists)) == len(set().union(*lists))
    assert set().union(*lists) == ids({seed: range(1, n + 1) for seed, n in COUNTS.items()})


def test_no_test_cites_a_row_that_does_not_exist():
    rows = {row for row in cited() if row.partition(".")[0] in COUNTS}

    assert rows - ids({seed: range(1, n + 1) for seed, n in COUNTS.items()}) == set()
