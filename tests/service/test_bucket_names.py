"""Names of buckets, by S3's rules."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from strongroom.service import buckets


@pytest.mark.parametrize(
    "name",
    [
        "abc",
        "a1b",
        "1ab",
        "my-bucket",
        "my.bucket",
        "a.b-c",
        "a" * 63,
        "1.2.3",
        "256.1.1.1",
        "xn-a",
    ],
)
def test_these_are_names(name):
    assert buckets.is_valid_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "", "a", "ab", "a" * 64, "A-bucket", "a_b", "-ab", "ab-", ".ab", "ab.", "a..b", "1.2.3.4",
        "xn--abc", "sthree-abc", "amzn-s3-demo-abc", "abc-s3alias", "abc--ol-s3", "abc.mrap",
        "abc--x-s3", "abc--table-s3", "a b", "a/b", "schön", "abc\n", "abc\0", "٣٤٥",
    ],
)  # fmt: skip
def test_these_are_none(name):
    assert not buckets.is_valid_name(name)


@given(st.text(max_size=70))
def test_every_name_can_stand_in_a_path_and_a_host(name):
    if buckets.is_valid_name(name):
        assert 3 <= len(name) <= 63
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")
        assert name[0] not in ".-"
        assert name[-1] not in ".-"
