"""Google Tink opens what we sealed, and we open what Tink sealed."""

import io
import itertools

import pytest
import tink

from strongroom import errors
from strongroom.crypto import envelope, geometry, segments

DATA_KEY = envelope.DataKey(bytes(range(32)))
KEY = DATA_KEY.stream_key()
AAD = segments.stream_aad(bytes(range(16)), 7)

# Around nothing, the first, second and third segment.
SIZES = [0, 1, *(65480 + 65520 * n + d for n in range(3) for d in (-1, 0, 1))]
SMALL_SIZES = range(8 + 48 * 2 + 2)


class Keep(io.BytesIO):
    """A file whose content outlives `close`, which Tink calls."""

    def close(self):
        pass


@pytest.fixture(scope="module")
def tink_seals(tink_of):
    def sealed(plain, segment_bytes=geometry.SEGMENT_BYTES):
        target = Keep()
        with tink_of(KEY, segment_bytes).new_encrypting_stream(target, AAD) as stream:
            stream.write(plain)
        return target.getvalue()

    return sealed


@pytest.fixture(scope="module")
def opened_by_tink(tink_opens):
    return lambda blob, segment_bytes=geometry.SEGMENT_BYTES, aad=AAD: tink_opens(
        KEY, aad, blob, segment_bytes
    )


def we_seal(plain, segment_bytes=geometry.SEGMENT_BYTES):
    return segments.seal_all(
        KEY,
        AAD,
        plain,
        salt=bytes(range(50, 82)),
        nonce_prefix=bytes(range(7)),
        segment_bytes=segment_bytes,
    )


def pattern(size):
    return bytes(itertools.islice(itertools.cycle(range(251)), size))


@pytest.mark.parametrize("size", SIZES)
def test_tink_opens_ours(size, opened_by_tink):
    plain = pattern(size)

    assert opened_by_tink(we_seal(plain)) == plain


@pytest.mark.parametrize("size", SIZES)
def test_we_open_tinks(size, tink_seals):
    plain = pattern(size)
    blob = tink_seals(plain)

    assert len(blob) == geometry.sealed_size(size)
    assert segments.open_all(KEY, AAD, blob) == plain


def test_both_ways_with_every_length_of_small_segments(opened_by_tink, tink_seals):
    for size in SMALL_SIZES:
        plain = pattern(size)
        assert opened_by_tink(we_seal(plain, 64), 64) == plain
        assert segments.open_all(KEY, AAD, tink_seals(plain, 64), 64) == plain


@pytest.mark.parametrize("at", [65480 - 5, 65480, 100_000, 196_000])
def test_a_range_of_tinks_stream_is_the_slice(at, tink_seals):
    plain = pattern(65480 + 2 * 65520 + 100)
    blob = tink_seals(plain)
    plan = geometry.plan(at, at + 300, len(plain))

    opener = segments.Opener(KEY, AAD, blob[:40])
    run = opener.open_run(
        plan.first_segment, plan.final_segment, blob[plan.blob_start : plan.blob_end]
    )

    assert run[plan.trim_head : plan.trim_head + plan.plaintext_bytes] == plain[at : at + 300]


def test_both_refuse_a_stream_of_another_part(opened_by_tink):
    blob = we_seal(b"hello")
    other = segments.stream_aad(bytes(range(16)), 8)

    with pytest.raises(tink.TinkError):
        opened_by_tink(blob, aad=other)
    with pytest.raises(errors.NotAuthentic):
        segments.open_all(KEY, other, blob)
