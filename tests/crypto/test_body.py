"""Body records: what stands in the clear, and what the body key opens."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom import errors
from strongroom.crypto import body, derive, encoding, envelope, gcm

BODY_KEY = envelope.DataKey(bytes(range(32))).body_key()

CHECKSUMS = st.dictionaries(
    st.sampled_from(["CRC32", "SHA1", "é", ""]), st.binary(min_size=1, max_size=5)
)
RECORDS = st.builds(
    lambda segment_bytes, layers, rows: body.BodyRecord(
        segment_bytes,
        layers,
        tuple(body.BodyPart(number, *row) for number, row in sorted(rows.items())),
    ),
    st.sampled_from([57, 65536, 2**24]),
    st.sampled_from([1, 2]),
    st.dictionaries(
        st.integers(1, 10_000),
        st.tuples(
            st.binary(min_size=16, max_size=16),
            st.integers(0, 2**36),
            st.binary(min_size=8, max_size=8),
            CHECKSUMS,
        ),
        min_size=1,
        max_size=5,
    ),
)


def counting():
    calls = iter(range(1_000_000))
    return lambda size: hashlib.shake_256(next(calls).to_bytes(8, "big")).digest(size)


def part(number=1, **changes):
    return body.BodyPart(
        **{
            "number": number,
            "blob_id": number.to_bytes(16, "big"),
            "plain_bytes": 100,
            "digest": bytes(8),
            **changes,
        }
    )


def record(*parts, segment_bytes=65536, layers=1):
    return body.BodyRecord(segment_bytes, layers, parts)


def seal(made):
    return body.encode(made, BODY_KEY, counting())


@settings(max_examples=50, deadline=None)
@given(RECORDS)
def test_the_clear_part_reads_without_a_key_and_the_rest_with_it(made):
    found = body.parse(seal(made))

    assert (found.segment_bytes, found.layers) == (made.segment_bytes, made.layers)
    assert found.parts == tuple(
        (each.number, each.blob_id, each.plain_bytes, each.digest) for each in made.parts
    )
    assert found.total_bytes == sum(each.plain_bytes for each in made.parts)
    assert found.open_checksums(BODY_KEY) == [each.checksums for each in made.parts]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_whatever_parses_prints_back_the_same(data):
    printed = bytearray(seal(record(part(1), part(2, checksums={"CRC32": b"1234"}))))
    for _ in range(data.draw(st.integers(1, 3))):
        printed[data.draw(st.integers(0, len(printed) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = body.parse(bytes(printed))
    except errors.NotAuthentic:
        return
    rows = b"".join(
        number.to_bytes(4, "big") + blob_id + size.to_bytes(8, "big") + digest
        for number, blob_id, size, digest in found.parts
    )
    clear = encoding.encode(
        derive.Label.BODY_CLEAR, body.BODY_MAGIC, found.segment_bytes, found.layers, rows
    )
    outer = encoding.encode(derive.Label.BODY_RECORD, clear, b"")
    # All but the sealed end, and the 4 bytes that are its length, follow from what was read.
    assert bytes(printed).startswith(body.BODY_MAGIC + outer[:-4])


def test_ten_thousand_parts_take_about_400_kilobytes():
    made = record(*(part(n, checksums={"CRC64NVME": bytes(8)}) for n in range(1, 10_001)))

    sealed = seal(made)
    found = body.parse(sealed)

    assert len(sealed) < 460_000
    assert len(found.parts) == 10_000
    assert found.open_checksums(BODY_KEY) == [{"CRC64NVME": bytes(8)}] * 10_000


def test_a_row_has_36_bytes():
    assert body.ROW_BYTES == 36


MALFORMED = [
    record(),
    record(part(0)),
    record(part(10_001)),
    record(part(1), part(1)),
    record(part(2), part(1)),
    record(part(1), part(3), part(2)),
    record(part(), layers=0),
    record(part(), layers=3),
    record(part(), segment_bytes=56),
    record(part(), segment_bytes=2**24 + 1),
    record(part(plain_bytes=2**50)),
    record(part(1), part(2, plain_bytes=2**50), part(3)),
]


@pytest.mark.parametrize("made", MALFORMED)
def test_a_body_that_the_format_does_not_have_is_not_written(made):
    with pytest.raises(ValueError, match=r"body|segments"):
        seal(made)


@pytest.mark.parametrize("made", MALFORMED)
def test_a_body_that_the_format_does_not_have_is_not_read(made):
    rows = b"".join(
        each.number.to_bytes(4, "big")
        + each.blob_id
        + each.plain_bytes.to_bytes(8, "big")
        + each.digest
        for each in made.parts
    )
    clear = encoding.encode(
        derive.Label.BODY_CLEAR, body.BODY_MAGIC, made.segment_bytes, made.layers, rows
    )

    with pytest.raises(errors.NotAuthentic):
        body.parse(body.BODY_MAGIC + encoding.encode(derive.Label.BODY_RECORD, clear, b""))


@pytest.mark.parametrize(
    "change", [{"plain_bytes": -1}, {"blob_id": bytes(15)}, {"digest": bytes(9)}]
)
def test_a_part_that_has_no_row_is_not_written(change):
    with pytest.raises(ValueError, match="length"):
        seal(record(part(**change)))


def test_a_negative_length_is_not_written_beside_others():
    with pytest.raises(ValueError, match="not a length"):
        seal(record(part(1), part(2, plain_bytes=-1)))


def test_rows_that_are_cut_are_not_read():
    clear = encoding.encode(derive.Label.BODY_CLEAR, body.BODY_MAGIC, 65536, 1, bytes(35))

    with pytest.raises(errors.NotAuthentic, match="contradicts"):
        body.parse(body.BODY_MAGIC + encoding.encode(derive.Label.BODY_RECORD, clear, b""))


@pytest.mark.parametrize(
    "fields",
    [
        (b"A",),
        (b"A", b"\x01\x00", b"x", b"B"),
        (b"B", b"\x01\x00", b"x", b"A", b"\x01\x00", b"x"),
        (b"A", b"\x01\x00", b"x", b"A", b"\x01\x00", b"x"),
        (b"A", b"\x01", b"x"),
        (b"A", b"\x01\x00\x00", b"x"),
        (b"A", b"\x01\x00", b"xy"),
        (b"A", b"\x01\x01", b"x"),
        (b"A", b"\x00\x00", b""),
        (b"\xff", b"\x01\x00", b"x"),
    ],
)
def test_checksums_that_nobody_writes_are_refused_though_their_tag_is_right(fields):
    stored = seal(record(part(1), part(2)))[len(body.BODY_MAGIC) :]
    clear, _ = encoding.decode(derive.Label.BODY_RECORD, stored)
    plain = encoding.encode(derive.Label.BODY_PLAIN, *fields)
    sealed = gcm.seal(BODY_KEY, clear, plain, counting())
    forged = body.parse(body.BODY_MAGIC + encoding.encode(derive.Label.BODY_RECORD, clear, sealed))

    with pytest.raises(errors.NotAuthentic):
        forged.open_checksums(BODY_KEY)


def test_the_repr_of_a_body_shows_no_checksum():
    found = body.parse(seal(record(part(checksums={"CRC32": b"abcd"}))))

    assert "_sealed" not in repr(found)
    assert "checksums" not in repr(found)


# Checksums of one part of an open upload

FACTS = {
    "upload_id": "up-1",
    "number": 3,
    "blob_id": bytes(range(16)),
    "plain_bytes": 4096,
    "digest": bytes(range(8)),
}


def seal_part(checksums, **changes):
    return body.seal_part_checksums(
        BODY_KEY, **{**FACTS, **changes}, checksums=checksums, random_bytes=counting()
    )


@settings(max_examples=50, deadline=None)
@given(CHECKSUMS)
def test_the_checksums_of_a_part_come_back(checksums):
    sealed = seal_part(checksums)

    assert body.open_part_checksums(BODY_KEY, **FACTS, sealed=sealed) == checksums


@pytest.mark.parametrize(
    "change",
    [
        {"upload_id": "up-2"},
        {"number": 4},
        {"blob_id": bytes(16)},
        {"plain_bytes": 4095},
        {"digest": bytes(8)},
    ],
    ids="".join,
)
def test_the_checksums_of_a_part_are_bound_to_all_that_is_known_of_it(change):
    sealed = seal_part({"CRC32": b"abcd"})

    with pytest.raises(errors.NotAuthentic):
        body.open_part_checksums(BODY_KEY, **{**FACTS, **change}, sealed=sealed)


def test_every_change_of_a_parts_checksums_is_refused():
    sealed = seal_part({"CRC32": b"abcd"})
    changed = [
        *(sealed[:at] + bytes([sealed[at] ^ 2]) + sealed[at + 1 :] for at in range(len(sealed))),
        *(sealed[:length] for length in range(len(sealed))),
        sealed + b"\0",
    ]

    for each in changed:
        with pytest.raises(errors.NotAuthentic):
            body.open_part_checksums(BODY_KEY, **FACTS, sealed=each)


def test_the_checksums_of_a_part_do_not_open_under_the_key_of_another_body():
    sealed = seal_part({"CRC32": b"abcd"})
    other = envelope.DataKey(bytes(32)).body_key()

    with pytest.raises(errors.NotAuthentic):
        body.open_part_checksums(other, **FACTS, sealed=sealed)
