"""Ranges and part numbers, resolved against an object."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from strongroom import errors
from strongroom.service import facets

SIZES = st.integers(0, 2**45)


@given(first=SIZES, last=st.none() | SIZES, size=SIZES)
def test_a_range_is_a_slice_of_the_object(first, last, size):
    wanted = facets.ByteRange(first, last, "text")
    if first >= size:
        with pytest.raises(errors.RangeNotSatisfiable) as caught:
            wanted.resolve(size)
        assert (caught.value.size, caught.value.asked) == (size, "text")
        return

    start, end = wanted.resolve(size)

    assert start == first
    assert end == (size if last is None else min(last + 1, size))


@given(length=SIZES, size=SIZES)
def test_a_suffix_is_the_end_of_the_object(length, size):
    wanted = facets.ByteRange(None, length, "text")
    if not length or not size:
        with pytest.raises(errors.RangeNotSatisfiable):
            wanted.resolve(size)
        return

    start, end = wanted.resolve(size)

    assert end == size
    assert end - start == min(length, size)
