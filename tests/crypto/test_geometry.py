"""Lengths and ranges, against the plainest model there is: a list of segments."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.crypto import geometry

SEGMENT_SIZES = st.sampled_from([57, 58, 64, 100, 65536])
TIB = 2**40


def layout(total, segment_bytes):
    """The plaintext bytes of each segment, by walking along."""
    room = segment_bytes - geometry.HEADER_BYTES - geometry.TAG_BYTES
    held = []
    while total > room:
        held.append(room)
        total -= room
        room = segment_bytes - geometry.TAG_BYTES
    return [*held, total]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 3000), st.sampled_from([57, 58, 64, 100]))
def test_sizes_are_those_of_the_segments_one_by_one(plain, segment_bytes):
    segments = layout(plain, segment_bytes)

    assert geometry.segment_count(plain, segment_bytes) == len(segments)
    assert geometry.sealed_size(plain, segment_bytes) == (
        geometry.HEADER_BYTES + sum(n + geometry.TAG_BYTES for n in segments)
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 64 * TIB), SEGMENT_SIZES)
def test_sealed_and_plain_size_are_inverse(plain, segment_bytes):
    if plain > 100 * geometry.MAX_SEGMENTS:
        segment_bytes = 65536
    elif segment_bytes < 65536:
        plain %= 10_000

    assert geometry.plain_size(geometry.sealed_size(plain, segment_bytes), segment_bytes) == plain


@pytest.mark.parametrize("segment_bytes", [57, 58, 64, 100])
def test_every_length_that_no_plaintext_has_is_refused(segment_bytes):
    possible = {geometry.sealed_size(plain, segment_bytes) for plain in range(1000)}

    for sealed in range(-5, 900):
        if sealed in possible:
            assert geometry.sealed_size(geometry.plain_size(sealed, segment_bytes), segment_bytes)
        else:
            with pytest.raises(ValueError, match="no sealed stream"):
                geometry.plain_size(sealed, segment_bytes)


def test_sizes_at_the_borders_of_full_segments():
    sizes = {
        0: 56,
        1: 57,
        65479: 65535,
        65480: 65536,
        65481: 65536 + 17,
        65480 + 65520: 2 * 65536,
        65480 + 65520 + 1: 2 * 65536 + 17,
    }

    assert {plain: geometry.sealed_size(plain) for plain in sizes} == sizes


def test_a_stream_has_no_more_segments_than_a_nonce_can_count():
    largest = geometry.MAX_SEGMENTS * (geometry.SEGMENT_BYTES - 16) - geometry.HEADER_BYTES

    assert geometry.segment_count(largest) == geometry.MAX_SEGMENTS
    assert geometry.plain_size(geometry.sealed_size(largest)) == largest
    with pytest.raises(ValueError, match="segments"):
        geometry.sealed_size(largest + 1)
    with pytest.raises(ValueError, match="segments"):
        geometry.plain_size(geometry.sealed_size(largest) + 17)


@pytest.mark.parametrize("segment_bytes", [-1, 0, 56, 2**24 + 1])
def test_segment_sizes_outside_the_limits_are_refused(segment_bytes):
    for ask in (geometry.segment_count, geometry.sealed_size, geometry.plain_size):
        with pytest.raises(ValueError, match="segments of"):
            ask(100, segment_bytes)


def test_a_negative_length_is_refused():
    with pytest.raises(ValueError, match="not a length"):
        geometry.sealed_size(-1)


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 1500), st.sampled_from([57, 58, 64, 100]))
def test_a_plan_names_the_segments_that_hold_the_range(data, total, segment_bytes):
    start = data.draw(st.integers(0, total - 1))
    end = data.draw(st.integers(start + 1, total))
    held = layout(total, segment_bytes)
    owner = [number for number, size in enumerate(held) for _ in range(size)]

    plan = geometry.plan(start, end, total, segment_bytes)

    assert (plan.first_segment, plan.last_segment) == (owner[start], owner[end - 1])
    assert plan.final_segment == len(held) - 1
    assert plan.blob_start == plan.first_segment * segment_bytes
    whole = geometry.sealed_size(total, segment_bytes)
    assert plan.blob_end == min((plan.last_segment + 1) * segment_bytes, whole)
    assert plan.trim_head == start - sum(held[: plan.first_segment])
    assert plan.plaintext_bytes == end - start


def test_an_empty_stream_has_one_range_and_one_segment():
    assert geometry.plan(0, 0, 0) == geometry.Plan(0, 0, 0, 0, 56, 0, 0)


@pytest.mark.parametrize(
    ("start", "end", "total"),
    [(0, 0, 1), (1, 1, 1), (0, 2, 1), (-1, 1, 1), (1, 0, 2), (0, 1, 0), (5, 6, 5), (-1, -1, 0)],
)
def test_a_range_that_is_empty_or_leaves_the_stream_is_refused(start, end, total):
    with pytest.raises(ValueError, match="no range"):
        geometry.plan(start, end, total)
    with pytest.raises(ValueError, match="no range"):
        geometry.locate([total], start, end)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.data())
def test_located_slices_are_the_range(sizes, data):
    total = sum(sizes)
    start = data.draw(st.integers(0, max(0, total - 1)))
    end = data.draw(st.integers(min(start + 1, total), total))
    owner = [(index, at) for index, size in enumerate(sizes) for at in range(size)]

    slices = geometry.locate(sizes, start, end)

    found = [(each.index, at) for each in slices for at in range(each.start, each.end)]
    assert found == owner[start:end]
    assert [each.index for each in slices] == sorted({each.index for each in slices})
    assert total == 0 or all(each.start < each.end for each in slices)


def test_empty_parts_are_passed_over():
    sizes = [0, 2, 0, 0, 3, 0]

    assert geometry.locate(sizes, 0, 5) == [geometry.Slice(1, 0, 2), geometry.Slice(4, 0, 3)]
    assert geometry.locate(sizes, 2, 5) == [geometry.Slice(4, 0, 3)]


def test_an_empty_body_is_its_first_part():
    assert geometry.locate([0], 0, 0) == [geometry.Slice(0, 0, 0)]
    assert geometry.locate([0, 0], 0, 0) == [geometry.Slice(0, 0, 0)]


def test_a_body_without_parts_has_no_range():
    with pytest.raises(ValueError, match="no range"):
        geometry.locate([], 0, 0)
