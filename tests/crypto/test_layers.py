"""Two streams around each other, as DSSE-KMS has them; each layer is Tink's, on its own."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom import errors
from strongroom.crypto import digests, envelope, geometry, layers, segments

INNER, OUTER = envelope.DataKey(bytes(range(32))), envelope.DataKey(bytes(range(32, 64)))
BLOB_ID = bytes(range(16))
FULL = geometry.SEGMENT_BYTES
# Around nothing, the first segment of layer 2, and the first and second of layer 1.
SIZES = [0, 1, 65424 - 1, 65424, 65425, 65479, 65480, 65481, 131000, 131001, 300_000]


def pattern(size):
    return bytes(itertools.islice(itertools.cycle(range(251)), size))


class Rooms:
    def __init__(self):
        self._lent = []

    def __call__(self, size):
        self._lent.append(bytearray(size))
        return memoryview(self._lent[-1])

    @property
    def written(self):
        return b"".join(self._lent)


def random_bytes():
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(4, "big").rjust(size, b"r")


def sealed(pieces, outer=OUTER):
    room, ciphertext = Rooms(), digests.ciphertext_crc()
    sealer = layers.make_sealer(
        INNER, outer, BLOB_ID, 3, random_bytes=random_bytes(), observe=ciphertext.update
    )
    for piece in pieces:
        sealer.feed(piece, room)
    size = sealer.finish(room)
    blob = room.written
    assert size == len(blob)
    whole = digests.ciphertext_crc()
    whole.update(blob)
    assert ciphertext.digest() == whole.digest()
    return blob


def opened(keys, blob):
    return bytes(layers.open_all(keys, BLOB_ID, 3, blob))


@pytest.mark.parametrize("size", SIZES)
def test_what_is_sealed_twice_opens_with_both_keys(size):
    plain = pattern(size)

    blob = sealed([plain])

    assert len(blob) == layers.sealed_size(size, layers.DUAL)
    assert opened((INNER, OUTER), blob) == plain


@pytest.mark.parametrize("size", SIZES)
def test_each_layer_is_a_whole_stream_on_its_own(size):
    plain = pattern(size)
    blob = sealed([plain])

    middle = segments.open_all(OUTER.stream_key(), segments.stream_aad(BLOB_ID, 3, 2), blob)

    assert len(middle) == geometry.sealed_size(size)
    inner_aad = segments.stream_aad(BLOB_ID, 3, 1)
    assert segments.open_all(INNER.stream_key(), inner_aad, middle) == plain


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 70_000), max_size=4))
def test_how_the_plaintext_is_cut_makes_no_difference(cuts):
    plain = pattern(sum(cuts))
    starts = [0, *itertools.accumulate(cuts)]
    pieces = [plain[a:b] for a, b in itertools.pairwise(starts)]

    assert sealed(pieces) == sealed([plain])


@pytest.mark.parametrize(
    "keys", [(INNER,), (OUTER,), (OUTER, INNER), (INNER, INNER), (OUTER, OUTER)]
)
def test_neither_key_opens_it_alone_or_in_the_others_place(keys):
    with pytest.raises(errors.NotAuthentic):
        opened(keys, sealed([b"private"]))


@pytest.mark.parametrize("size", [0, 1, 200_000])
def test_no_byte_may_be_changed(size):
    blob = sealed([pattern(size)])

    for at in {0, 1, 39, 40, 95, 96, len(blob) // 2, len(blob) - 1}:
        changed = bytearray(blob)
        changed[at] ^= 1
        with pytest.raises(errors.NotAuthentic):
            opened((INNER, OUTER), bytes(changed))
    for cut in (blob[:-1], blob[:40], blob[:39], b""):
        with pytest.raises(errors.NotAuthentic):
            opened((INNER, OUTER), cut)


def test_without_an_outer_key_there_is_one_layer():
    blob = sealed([b"hello"], outer=None)

    assert len(blob) == layers.sealed_size(5, layers.SINGLE) == geometry.sealed_size(5)
    assert opened((INNER,), blob) == b"hello"


def test_a_failed_write_makes_the_sealer_useless():
    def no_room(_size):
        raise errors.StoreFull

    sealer = layers.make_sealer(
        INNER, OUTER, BLOB_ID, 3, random_bytes=random_bytes(), observe=lambda _: None
    )
    with pytest.raises(errors.StoreFull):
        sealer.feed(bytes(2 * FULL), no_room)

    with pytest.raises(RuntimeError):
        sealer.feed(b"more", Rooms())
