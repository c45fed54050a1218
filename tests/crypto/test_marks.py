"""Marks: readable, bound to their row, and not to be changed unseen."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import errors
from strongroom.crypto import mac, marks

ROW_KEY = mac.MacKey(bytes(range(32)))
PLACE = ("bucket", "key", bytes(16))


FIRST = bytes.fromhex(
    "53524d4d524b0001000000127374726f6e67726f6f6d2f312f6d61726b7300000054000000187374726f"
    "6e67726f6f6d2f312f6d61726b732d636c6561720000000853524d4d524b000100000028000000117374"
    "726f6e67726f6f6d2f312f74616773000000016100000001620000000163000000000000002048f87803"
    "ea133aa3e70feaf49f627fcee79beb75a3a61db06b9ea5e1d63183a6"
)
"""Marks of version 1, as the code of that version wrote them for this key and place."""

SECOND = bytes.fromhex(
    "53524d4d524b0002000000127374726f6e67726f6f6d2f312f6d61726b730000005c000000187374726f"
    "6e67726f6f6d2f312f6d61726b732d636c6561720000000853524d4d524b000200000028000000117374"
    "726f6e67726f6f6d2f312f7461677300000001610000000162000000016300000000000000046c697374"
    "0000002084623973f02ae5ad9101141a839d5a946afb85390582361305787efe6cb6e115"
)
"""Likewise of version 2."""


TEXTS = st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=10)


@given(TEXTS, st.text(), TEXTS)
def test_marks_come_back_as_they_were_written(tags, acl, notes):
    encoded = marks.Marks(tags, acl, notes).encode(ROW_KEY, *PLACE)

    parsed = marks.Marks.parse(encoded, ROW_KEY, *PLACE)

    assert (parsed.tags, parsed.acl, parsed.notes) == (tags, acl, notes)
    assert list(parsed.tags) == list(tags)
    assert parsed.encode(ROW_KEY, *PLACE) == encoded


@pytest.mark.parametrize(
    ("row_key", "place"),
    [
        (mac.MacKey(bytes(32)), PLACE),
        (ROW_KEY, ("bucke", "tkey", bytes(16))),
        (ROW_KEY, ("bucket", "other", bytes(16))),
        (ROW_KEY, ("bucket", "key", bytes(15) + b"1")),
    ],
)
def test_marks_of_another_row_or_store_are_refused(row_key, place):
    encoded = marks.Marks({"a": "b"}).encode(ROW_KEY, *PLACE)

    with pytest.raises(errors.NotAuthentic):
        marks.Marks.parse(encoded, row_key, *place)


def test_no_flipped_dropped_or_added_byte_survives():
    encoded = marks.Marks({"a": "b", "c": ""}, "list", {"d": "e"}).encode(ROW_KEY, *PLACE)
    changed = [encoded[:cut] for cut in range(len(encoded))]
    changed += [encoded + b"\0", b""]
    for index in range(len(encoded)):
        for bit in (1, 128):
            flipped = bytearray(encoded)
            flipped[index] ^= bit
            changed.append(bytes(flipped))

    for one in changed:
        with pytest.raises(errors.NotAuthentic):
            marks.Marks.parse(one, ROW_KEY, *PLACE)


def test_marks_of_the_first_version_are_still_read():
    parsed = marks.Marks.parse(FIRST, ROW_KEY, *PLACE)

    assert parsed == marks.Marks({"a": "b", "c": ""})


def test_marks_of_the_second_version_are_still_read():
    parsed = marks.Marks.parse(SECOND, ROW_KEY, *PLACE)

    assert parsed == marks.Marks({"a": "b", "c": ""}, "list")


def test_marks_can_be_replaced_one_at_a_time():
    found = marks.Marks({"a": "b"})

    assert dataclasses.replace(found, tags={}).tags == {}


def test_a_note_leaves_the_others_as_they_are_and_an_empty_one_goes():
    found = marks.Marks({"a": "b"}, "list", {"of-another": "x", "mine": "y"})

    assert found.noted(mine="", new="z") == marks.Marks(
        {"a": "b"}, "list", {"new": "z", "of-another": "x"}
    )
