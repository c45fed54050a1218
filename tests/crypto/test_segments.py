"""Sealing and opening streams: every split, every range, every border."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom import errors
from strongroom.crypto import digests, geometry, secret, segments

KEY = secret.SecretKey(bytes(range(32)))
AAD = segments.stream_aad(bytes(16), 1)
SALT = bytes(range(100, 132))
PREFIX = bytes(range(7))
SMALL = 64
"""Segments of this size hold 8 bytes in the first, 48 in the others."""

EDGES = [0, 1, *(65480 + 65520 * n + d for n in range(3) for d in (-1, 0, 1))]


class Shelf:
    """Takes a blob as a writer of the store would, and remembers what was asked."""

    def __init__(self):
        self.rooms = []

    def room(self, size):
        view = memoryview(bytearray(size))
        self.rooms.append(view)
        return view

    @property
    def blob(self):
        return b"".join(self.rooms)


def sealer(**changes):
    return segments.Sealer(KEY, AAD, **{"salt": SALT, "nonce_prefix": PREFIX, **changes})


def seal_all(plain, segment_bytes=SMALL):
    return segments.seal_all(
        KEY, AAD, plain, salt=SALT, nonce_prefix=PREFIX, segment_bytes=segment_bytes
    )


def pattern(size):
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.binary(max_size=130), max_size=6),
    st.sampled_from([57, 58, 64, 100]),
    st.sampled_from([bytes, bytearray, memoryview]),
)
def test_any_split_of_the_input_seals_to_the_same_and_opens_again(chunks, segment_bytes, kind):
    shelf, one = Shelf(), sealer(segment_bytes=segment_bytes)

    for chunk in chunks:
        one.feed(kind(chunk), shelf.room)
    total = one.finish(shelf.room)

    plain = b"".join(chunks)
    assert shelf.blob == seal_all(plain, segment_bytes)
    assert total == len(shelf.blob) == geometry.sealed_size(len(plain), segment_bytes)
    assert segments.open_all(KEY, AAD, shelf.blob, segment_bytes) == plain


@pytest.mark.parametrize("size", EDGES)
@pytest.mark.parametrize("chunk", [65480, 65520, 65536, 262144])
def test_real_sizes_round_trip_in_chunks(size, chunk):
    plain = pattern(size)
    shelf, one = Shelf(), sealer()

    for start in range(0, size, chunk):
        one.feed(memoryview(plain)[start : start + chunk], shelf.room)
    one.finish(shelf.room)

    assert len(shelf.blob) == geometry.sealed_size(size)
    assert segments.open_all(KEY, AAD, shelf.blob) == plain


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 150), max_size=6))
def test_all_rooms_but_the_last_are_of_whole_segments(sizes):
    shelf, one = Shelf(), sealer(segment_bytes=SMALL)

    for size in sizes:
        one.feed(bytes(size), shelf.room)
    one.finish(shelf.room)

    asked = [len(room) for room in shelf.rooms]
    assert asked[:-1] == [SMALL] * (len(asked) - 1)
    assert 16 < asked[-1] <= SMALL


def test_a_full_segment_waits_until_a_byte_after_it_is_known():
    shelf, one = Shelf(), sealer(segment_bytes=SMALL)

    one.feed(bytes(8), shelf.room)
    assert shelf.rooms == []
    one.feed(b"", shelf.room)
    assert shelf.rooms == []
    one.feed(b"x", shelf.room)
    assert [len(room) for room in shelf.rooms] == [SMALL]


def test_a_chunk_that_covers_a_segment_is_sealed_without_a_copy():
    one = sealer(segment_bytes=SMALL)
    chunk = bytearray(8 + 48 + 48)

    def room(size):
        # Bytes that change after they were fed, and before they are sealed, show up in the
        # blob only if nobody copied them.
        chunk[-49:-48] = b"!"
        return shelf.room(size)

    shelf = Shelf()
    one.feed(memoryview(chunk), room)
    one.finish(shelf.room)

    opener = segments.Opener(KEY, AAD, one_header(), SMALL)
    assert opener.open_run(0, 2, shelf.blob) == bytes(55) + b"!" + bytes(48)


def one_header():
    return b"\x28" + SALT + PREFIX


def test_the_observer_sees_the_whole_blob_in_order():
    seen, shelf = [], Shelf()
    one = sealer(segment_bytes=SMALL, observe=seen.append)

    one.feed(pattern(200), shelf.room)
    one.finish(shelf.room)

    assert b"".join(seen) == shelf.blob
    assert len(seen) == len(shelf.rooms) == 5


def test_the_ciphertext_crc_fits_the_observer():
    crc, shelf = digests.ciphertext_crc(), Shelf()
    one = sealer(segment_bytes=SMALL, observe=crc.update)

    one.feed(pattern(200), shelf.room)
    one.finish(shelf.room)

    whole = digests.ciphertext_crc()
    whole.update(shelf.blob)
    assert crc.digest() == whole.digest()


@pytest.mark.parametrize("call", [lambda s, r: s.feed(b"x", r), lambda s, r: s.finish(r)])
def test_a_finished_stream_takes_nothing_more(call):
    one, shelf = sealer(), Shelf()
    one.finish(shelf.room)

    with pytest.raises(RuntimeError, match="finished"):
        call(one, shelf.room)


@pytest.mark.parametrize("fails", ["room", "observe"])
def test_a_sealer_is_dead_after_a_failed_write_so_that_no_nonce_is_used_twice(fails):
    def fail(_):
        raise errors.StoreFull

    shelf = Shelf()
    one = sealer(segment_bytes=SMALL, observe=fail if fails == "observe" else None)
    with pytest.raises(errors.StoreFull):
        one.feed(bytes(9), fail if fails == "room" else shelf.room)

    with pytest.raises(RuntimeError, match="failed"):
        one.feed(b"other bytes", shelf.room)
    with pytest.raises(RuntimeError, match="failed"):
        one.finish(shelf.room)


def test_a_stream_stops_at_the_last_segment_number():
    shelf = Shelf()
    one = sealer(segment_bytes=SMALL, max_segments=2)
    one.feed(bytes(8 + 48), shelf.room)
    one.finish(shelf.room)
    assert segments.open_all(KEY, AAD, shelf.blob, SMALL) == bytes(56)

    one = sealer(segment_bytes=SMALL, max_segments=2)
    one.feed(bytes(8 + 48 + 1), shelf.room)
    with pytest.raises(errors.ObjectTooLarge):
        one.finish(shelf.room)

    one = sealer(segment_bytes=SMALL, max_segments=2)
    with pytest.raises(errors.ObjectTooLarge):
        one.feed(bytes(8 + 48 + 48 + 1), shelf.room)


def test_the_limit_is_what_four_bytes_can_count():
    assert geometry.MAX_SEGMENTS - 1 == 2**32 - 1
    with pytest.raises(ValueError, match="4 bytes"):
        sealer(max_segments=2**32 + 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"salt": bytes(31)},
        {"salt": bytes(33)},
        {"nonce_prefix": bytes(6)},
        {"nonce_prefix": bytes(8)},
        {"segment_bytes": 56},
    ],
)
def test_a_sealer_refuses_what_the_format_does_not_have(changes):
    with pytest.raises(ValueError, match=r"length|segments of"):
        sealer(**changes)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_stream_key_has_32_bytes(size):
    key = secret.SecretKey(bytes(size))
    with pytest.raises(ValueError, match="stream key"):
        segments.Sealer(key, AAD, salt=SALT, nonce_prefix=PREFIX)
    with pytest.raises(ValueError, match="stream key"):
        segments.Opener(key, AAD, one_header())


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 400), st.sampled_from([57, 58, 64, 100]))
def test_every_planned_range_is_the_slice(data, total, segment_bytes):
    start = data.draw(st.integers(0, total - 1))
    end = data.draw(st.integers(start + 1, total))
    plain = pattern(total)
    blob = seal_all(plain, segment_bytes)

    plan = geometry.plan(start, end, total, segment_bytes)
    opener = segments.Opener(KEY, AAD, blob[:40], segment_bytes)
    opened = opener.open_run(
        plan.first_segment, plan.final_segment, memoryview(blob)[plan.blob_start : plan.blob_end]
    )

    assert opened[plan.trim_head : plan.trim_head + plan.plaintext_bytes] == plain[start:end]


def test_an_empty_stream_opens_to_nothing():
    blob = seal_all(b"")
    plan = geometry.plan(0, 0, 0, SMALL)

    opener = segments.Opener(KEY, AAD, blob[:40], SMALL)

    assert len(blob) == plan.blob_end == 56
    assert opener.open_run(0, plan.final_segment, blob) == b""
    assert opener.open_all(blob) == b""


def test_segments_open_one_by_one_and_in_any_order():
    plain = pattern(200)
    blob = seal_all(plain)
    opener = segments.Opener(KEY, AAD, memoryview(blob)[:40], SMALL)

    opened = {n: opener.open_run(n, 4, blob[n * SMALL : (n + 1) * SMALL]) for n in (3, 0, 4, 2, 1)}

    assert b"".join(opened[n] for n in range(5)) == plain


@pytest.mark.parametrize(("first", "final"), [(-1, 3), (4, 3), (0, 2**32), (2**32, 2**32)])
def test_numbers_that_are_no_segment_numbers_are_refused(first, final):
    opener = segments.Opener(KEY, AAD, one_header(), SMALL)
    with pytest.raises(ValueError, match="no segment"):
        opener.open_run(first, final, bytes(SMALL))


def test_the_associated_data_is_what_the_document_says():
    aad = segments.stream_aad(bytes(range(16)), 3, layer=2)

    assert aad == (
        b"\0\0\0\x11strongroom/1/blob"
        b"\0\0\0\x10" + bytes(range(16)) + b"\0\0\0\x08" + (3).to_bytes(8, "big")
    ) + b"\0\0\0\x08" + (2).to_bytes(8, "big")
