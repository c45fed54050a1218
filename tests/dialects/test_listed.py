"""The hand-written writer of listed objects says the same as the codec's own."""

import dataclasses
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.dialects.s3 import corrections, protocol
from strongroom.wire import binding, elements

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
REQUIRED = {
    "Key": TEXT,
    "LastModified": st.integers(0, 2**40).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC)),
    "ETag": TEXT,
    "Size": st.integers(0, 2**63),
    "StorageClass": st.just("STANDARD"),
}
OPTIONAL = {
    "ChecksumAlgorithm": st.lists(st.sampled_from(["CRC32", "SHA256"]), max_size=2),
    "ChecksumType": st.sampled_from(["FULL_OBJECT", "COMPOSITE"]),
    "Owner": st.just({"ID": "o"}),
    "RestoreStatus": st.none(),
}
USUAL = st.fixed_dictionaries(REQUIRED)
SUMMED = st.fixed_dictionaries(
    REQUIRED | {name: OPTIONAL[name] for name in ("ChecksumAlgorithm", "ChecksumType")}
)
ANY = st.fixed_dictionaries({}, optional=REQUIRED | OPTIONAL)


@pytest.fixture(scope="module")
def pair():
    plain = dataclasses.replace(corrections.CORRECTIONS, special_writers={})
    return [
        binding.compile_operations(protocol.MODEL, chosen)["ListObjectsV2"]
        for chosen in (corrections.CORRECTIONS, plain)
    ]


@given(entries=st.lists(USUAL | SUMMED | ANY, max_size=4))
@settings(max_examples=150, deadline=None)
def test_a_listing_is_the_same_by_hand_and_by_the_codec(pair, entries):
    by_hand, by_codec = (operation.reply({"Contents": entries}).body for operation in pair)

    assert by_hand == by_codec


@given(entry=SUMMED, absent=st.sampled_from([*REQUIRED, "ChecksumType", "ChecksumAlgorithm"]))
@settings(max_examples=50, deadline=None)
def test_none_is_left_out_by_both(pair, entry, absent):
    entry[absent] = None

    by_hand, by_codec = (operation.reply({"Contents": [entry]}).body for operation in pair)

    assert by_hand == by_codec


def test_a_misspelt_member_is_refused_by_both(pair):
    entry = {"Key": "k", "LastModified": datetime.now(UTC), "ETag": "e", "Size": 1, "Owners": {}}

    for operation in pair:
        with pytest.raises(elements.UnknownMemberError):
            operation.reply({"Contents": [entry]})
