"""Listing pages are exact, whatever the keys, and cheap, whatever hides behind a prefix."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strongroom.store import paging, records

# Around every border of UTF-8's lengths and of the surrogates, control characters, delimiters.
ALPHABET = "ab/\0\n\x7f\x80é\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"
KEYS = st.sets(st.text(ALPHABET, min_size=1, max_size=6), max_size=25)
TEXTS = st.text(ALPHABET, max_size=4)
DELIMITERS = st.one_of(st.just(""), st.just("/"), st.text(ALPHABET, min_size=1, max_size=3))


def version(key):
    return records.Version("shelf", key, "null", 0, "", 0, "", "SSE-C", b"")


def upload(key, initiated_ms, upload_id):
    return records.Upload("shelf", key, upload_id, "", "SSE-C", initiated_ms, "", "", b"")


class Bucket:
    """Sorted keys, and a count of the rows that a listing reads."""

    def __init__(self, keys):
        self.keys = sorted(key.encode() for key in keys)
        self.reads = 0
        self.seeks = 0

    def scan(self, start):
        self.seeks += 1
        for key in self.keys[bisect_left(self.keys, start) :]:
            self.reads += 1
            yield key, version(key.decode())

    def page(self, prefix="", delimiter="", after="", limit=1000):
        return paging.object_page(
            self.scan,
            lambda row: row,
            prefix=prefix,
            delimiter=delimiter,
            after=after,
            limit=limit,
        )


def expected(keys, prefix, delimiter, after):
    """The whole listing, as (name, is a common prefix), the slow and obvious way."""
    names = set()
    for key in keys:
        if key.startswith(prefix):
            _, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            cut = key.index(delimiter, len(prefix)) + len(delimiter) if found else None
            names.add((key[:cut], bool(found)))
    return sorted(name for name in names if name[0] > after)


def shown(page):
    versions = [(version.key, False) for version in page.versions]
    return sorted(versions + [(name, True) for name in page.prefixes])


@given(keys=KEYS, prefix=TEXTS, delimiter=DELIMITERS, after=TEXTS, limit=st.integers(1, 7))
@example(keys={"a/b", "a/c", "a0"}, prefix="", delimiter="/", after="a/", limit=1)
@example(keys={"a/b", "a/c", "a0"}, prefix="", delimiter="/", after="a/b", limit=1)
@example(keys={"\ud7ffx", "\ue000"}, prefix="", delimiter="\ud7ff", after="", limit=1)
@example(keys={"\U0010ffffx", "\U0010ffff"}, prefix="", delimiter="\U0010ffff", after="", limit=1)
@example(keys={"a///b", "a//b"}, prefix="a", delimiter="//", after="", limit=1)
def test_pages_of_any_limit_concatenate_to_the_whole_listing(keys, prefix, delimiter, after, limit):
    bucket = Bucket(keys)
    whole = expected(keys, prefix, delimiter, after)

    listed = []
    while after is not None:
        page = bucket.page(prefix, delimiter, after, limit)
        on_page = shown(page)
        assert len(on_page) <= limit
        assert page.next_after is None or page.next_after == on_page[-1][0]
        listed += on_page
        after = page.next_after

    assert listed == whole


@given(keys=KEYS, prefix=TEXTS, delimiter=DELIMITERS)
def test_a_page_that_just_fits_is_the_last(keys, prefix, delimiter):
    whole = expected(keys, prefix, delimiter, "")

    page = Bucket(keys).page(prefix, delimiter, limit=max(len(whole), 1))

    assert shown(page) == whole
    assert page.next_after is None


@pytest.mark.parametrize("limit", [0, -1])
def test_a_page_for_nothing_is_empty_and_the_last(limit):
    bucket = Bucket({"a", "b"})

    page = bucket.page(limit=limit)

    assert page == records.ObjectPage((), (), None)
    assert bucket.reads == 0


@pytest.mark.parametrize("hidden", [100, 10_000])
def test_the_cost_does_not_depend_on_what_hides_behind_a_prefix(hidden):
    keys = {f"{prefix}/{number:06}" for prefix in "abc" for number in range(hidden)}
    bucket = Bucket(keys | {"d"})

    page = bucket.page(delimiter="/", limit=10)

    assert page.prefixes == ("a/", "b/", "c/")
    assert [version.key for version in page.versions] == ["d"]
    assert bucket.reads <= 3 * (paging.PATIENCE_ROWS + 1) + 1
    assert bucket.seeks == 4


def test_prefixes_with_few_keys_each_need_no_seeks():
    bucket = Bucket({f"{number:03}/only" for number in range(500)})

    page = bucket.page(delimiter="/", limit=1000)

    assert len(page.prefixes) == 500
    assert bucket.seeks == 1


def test_a_listing_after_a_prefix_does_not_read_below_it():
    bucket = Bucket({f"a/{number:06}" for number in range(1000)} | {"b"})

    page = bucket.page(delimiter="/", after="a/")

    assert [version.key for version in page.versions] == ["b"]
    assert bucket.reads == 1


UPLOADS = st.sets(
    st.tuples(st.text(ALPHABET, min_size=1, max_size=3), st.integers(0, 2)), max_size=20
)


@given(places=UPLOADS, prefix=TEXTS, delimiter=DELIMITERS, limit=st.integers(1, 5))
def test_pages_of_uploads_concatenate_to_the_whole_listing(places, prefix, delimiter, limit):
    rows = sorted(
        (key.encode(), initiated_ms, f"id-{number}")
        for number, (key, initiated_ms) in enumerate(places)
    )
    uploads = {row: upload(row[0].decode(), row[1], row[2]) for row in rows}

    def scan(start):
        return ((row[0], uploads[row]) for row in rows if row[0] >= start)

    def resume(key, upload_id):
        (at,) = (row for row in rows if row[2] == upload_id)
        assert at[0] == key
        return ((row[0], uploads[row]) for row in rows if row > at)

    def page_after(after):
        return paging.upload_page(
            scan,
            resume,
            lambda row: row,
            prefix=prefix,
            delimiter=delimiter,
            after=after,
            limit=limit,
        )

    listed, prefixes = [], []
    after = ("", "")
    while after is not None:
        page = page_after(after)
        assert len(page.uploads) + len(page.prefixes) <= limit
        listed += page.uploads
        prefixes += page.prefixes
        after = page.next_after

    names = expected({key for key, _ in places}, prefix, delimiter, "")
    alone = {name for name, is_prefix in names if not is_prefix}
    assert prefixes == [name for name, is_prefix in names if is_prefix]
    assert listed == [uploads[row] for row in rows if row[0].decode() in alone]


@given(prefix=st.text(ALPHABET, min_size=1, max_size=4), key=st.text(ALPHABET, max_size=6))
def test_the_successor_is_the_least_string_behind_all_that_begin_with_the_prefix(prefix, key):
    begin, name = prefix.encode(), key.encode()
    behind = paging.successor(begin)

    assert begin + name < behind
    assert name.startswith(begin) == (begin <= name < behind)
