"""The encoding is injective, and decoding accepts nothing but its output."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom import errors
from strongroom.crypto import encoding

LABELS = st.binary(max_size=6)
# A str may hold lone surrogates (category Cs), e.g. from bytes read with surrogateescape.
TEXTS = st.text(st.characters(), max_size=8)
FIELDS = st.lists(st.binary(max_size=6), max_size=5)


def test_the_layout_is_length_and_bytes():
    encoded = encoding.encode(b"lab", b"\x00", "é", 258)

    assert encoded.hex() == "000000036c6162000000010000000002c3a9000000080000000000000102"


def test_fields_cannot_run_into_each_other():
    assert encoding.encode(b"l", "ab", "c") != encoding.encode(b"l", "a", "bc")


@settings(max_examples=30, deadline=None)
@given(LABELS, FIELDS)
def test_decoding_gives_the_fields_back(label, fields):
    assert encoding.decode(label, encoding.encode(label, *fields)) == fields


@settings(max_examples=30, deadline=None)
@given(LABELS, FIELDS, LABELS, FIELDS)
def test_different_input_has_different_encodings(label, fields, other_label, other_fields):
    same = (label, fields) == (other_label, other_fields)

    assert (encoding.encode(label, *fields) == encoding.encode(other_label, *other_fields)) == same


@settings(max_examples=30, deadline=None)
@given(LABELS, st.binary(max_size=40))
def test_whatever_decodes_prints_back_the_same(label, data):
    try:
        fields = encoding.decode(label, data)
    except errors.NotAuthentic:
        return
    assert encoding.encode(label, *fields) == data


@settings(max_examples=30, deadline=None)
@given(LABELS, FIELDS, st.data())
def test_a_changed_length_byte_does_not_decode_to_the_same(label, fields, data):
    encoded = bytearray(encoding.encode(label, *fields))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        found = encoding.decode(label, bytes(encoded))
    except errors.NotAuthentic:
        return
    assert found != fields


@settings(max_examples=30, deadline=None)
@given(LABELS, FIELDS, st.data())
def test_a_cut_encoding_is_refused_or_ends_at_a_field(label, fields, data):
    encoded = encoding.encode(label, *fields)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    borders = [len(encoding.encode(label, *fields[:n])) for n in range(len(fields) + 1)]
    if cut in borders:
        assert encoding.decode(label, encoded[:cut]) == fields[: borders.index(cut)]
    else:
        with pytest.raises(errors.NotAuthentic):
            encoding.decode(label, encoded[:cut])


@pytest.mark.parametrize("data", [b"", b"\0\0\0", b"\0\0\0\x01", b"\0\0\0\x01x\0", b"\xff" * 8])
def test_what_is_too_short_is_refused(data):
    with pytest.raises(errors.NotAuthentic):
        encoding.decode(b"x", data)


def test_another_label_is_refused():
    with pytest.raises(errors.NotAuthentic, match="label"):
        encoding.decode(b"a", encoding.encode(b"b"))


def test_another_number_of_fields_is_refused():
    encoded = encoding.encode(b"a", b"1", b"2")

    assert encoding.decode(b"a", encoded, 2) == [b"1", b"2"]
    for count in (0, 1, 3):
        with pytest.raises(errors.NotAuthentic, match="number of fields"):
            encoding.decode(b"a", encoded, count)


@settings(max_examples=30, deadline=None)
@given(TEXTS)
def test_any_text_comes_back(text):
    [field] = encoding.decode(b"", encoding.encode(b"", text))

    assert encoding.text(field) == text


@settings(max_examples=30, deadline=None)
@given(TEXTS, TEXTS)
def test_different_texts_have_different_encodings(one, other):
    assert (encoding.encode(b"", one) == encoding.encode(b"", other)) == (one == other)


def test_an_escaped_byte_pair_is_not_the_character_that_it_spells():
    # With surrogateescape, which is not injective, both would be C3 A9.
    assert encoding.encode(b"", "\udcc3\udca9") != encoding.encode(b"", "é")


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=8))
def test_whatever_is_text_prints_back_the_same(data):
    try:
        text = encoding.text(data)
    except errors.NotAuthentic:
        return
    assert encoding.encode(b"", text) == encoding.encode(b"", data)


def test_bad_text_is_refused_without_quoting_it():
    with pytest.raises(errors.NotAuthentic) as caught:
        encoding.text(b"secret \xff")
    assert caught.value.__cause__ is None
    assert "secret" not in str(caught.value)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_numbers_come_back(number):
    [field] = encoding.decode(b"", encoding.encode(b"", number))

    assert encoding.number(field) == number


@pytest.mark.parametrize("number", [-1, 2**64])
def test_numbers_out_of_range_are_refused(number):
    with pytest.raises(OverflowError):
        encoding.encode(b"", number)


@pytest.mark.parametrize("field", [b"", bytes(7), bytes(9)])
def test_a_number_of_another_length_is_refused(field):
    with pytest.raises(errors.NotAuthentic):
        encoding.number(field)


def test_a_field_of_another_size_is_refused():
    assert encoding.sized(b"abc", 3) == b"abc"
    for size in (2, 4):
        with pytest.raises(errors.NotAuthentic):
            encoding.sized(b"abc", size)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(TEXTS, st.binary(max_size=4), max_size=4))
def test_pairs_come_back_in_their_order(pairs):
    fields = encoding.decode(b"", encoding.encode(b"", *encoding.flatten(pairs)))

    assert list(encoding.pairs(fields).items()) == list(pairs.items())


@pytest.mark.parametrize("fields", [[b"a"], [b"a", b"1", b"b"], [b"a", b"1", b"a", b"2"]])
def test_pairs_without_value_or_with_a_name_twice_are_refused(fields):
    with pytest.raises(errors.NotAuthentic):
        encoding.pairs(fields)
