"""Nothing that was done to a stream goes unseen, wherever it was done.

Segments of 64 bytes, so that every byte and every border can be tried: 8 bytes of
plaintext in the first, 48 in the others.
"""

import itertools

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from strongroom import errors
from strongroom.crypto import geometry, secret, segments

KEY = secret.SecretKey(bytes(range(32)))
BLOB_ID = bytes(range(16))
AAD = segments.stream_aad(BLOB_ID, 1)
SMALL = 64

# The plaintext of: one segment, empty, short and full; two; three, the last short and full.
SIZES = [0, 5, 8, 9, 8 + 48, 8 + 48 + 1, 8 + 48 + 48]


def seal(size, *, key=KEY, aad=AAD, salt=bytes(32), prefix=bytes(7), fill=b"p"):
    return segments.seal_all(
        key, aad, fill * size, salt=salt, nonce_prefix=prefix, segment_bytes=SMALL
    )


def pieces(blob):
    return [blob[at : at + SMALL] for at in range(0, len(blob), SMALL)]


def refused(blob, *, key=KEY, aad=AAD):
    with pytest.raises(errors.NotAuthentic):
        segments.open_all(key, aad, blob, SMALL)


@pytest.mark.parametrize("size", SIZES)
def test_the_untouched_stream_opens(size):
    assert segments.open_all(KEY, AAD, seal(size), SMALL) == b"p" * size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_every_changed_byte_is_refused(size, mask):
    blob = seal(size)
    for at in range(len(blob)):
        refused(blob[:at] + bytes([blob[at] ^ mask]) + blob[at + 1 :])


@pytest.mark.parametrize("size", SIZES)
def test_every_truncation_is_refused(size):
    blob = seal(size)
    for length in range(len(blob)):
        refused(blob[:length])


@pytest.mark.parametrize("size", SIZES)
def test_every_extension_is_refused(size):
    blob = seal(size)
    for more in range(1, 2 * SMALL + 2):
        refused(blob + bytes(more))
    for again in pieces(blob):
        refused(blob + again)


def test_every_order_but_the_right_one_is_refused():
    blob = seal(8 + 48 * 3)
    whole = tuple(pieces(blob))
    for order in itertools.permutations(whole):
        if order != whole:
            refused(b"".join(order))


def test_a_dropped_or_doubled_segment_is_refused():
    parts = pieces(seal(8 + 48 * 3))
    for at in range(len(parts)):
        refused(b"".join(parts[:at] + parts[at + 1 :]))
        refused(b"".join(parts[: at + 1] + parts[at:]))


def test_the_first_segment_without_its_header_is_refused():
    blob = seal(8 + 48)
    refused(blob[40:])
    refused(blob[:40] + blob[64:])


def test_segments_of_another_stream_are_refused_wherever_they_stand():
    parts = pieces(seal(8 + 48 * 2))
    for other in (
        seal(8 + 48 * 2, salt=bytes([1]) * 32),
        seal(8 + 48 * 2, prefix=bytes([1]) * 7),
        seal(8 + 48 * 2, aad=segments.stream_aad(BLOB_ID, 2)),
        seal(8 + 48 * 2, key=secret.SecretKey(bytes(32))),
    ):
        foreign = pieces(other)
        for at in range(3):
            refused(b"".join([*parts[:at], foreign[at], *parts[at + 1 :]]))


@pytest.mark.parametrize(
    "aad",
    [
        segments.stream_aad(bytes(16), 1),
        segments.stream_aad(BLOB_ID, 2),
        segments.stream_aad(BLOB_ID, 1, layer=2),
        b"",
    ],
)
@pytest.mark.parametrize("size", SIZES)
def test_a_stream_under_another_blob_part_or_layer_is_refused(aad, size):
    refused(seal(size), aad=aad)


@pytest.mark.parametrize("size", SIZES)
def test_another_key_is_refused(size):
    for at in range(32):
        raw = bytearray(KEY.reveal())
        raw[at] ^= 1
        refused(seal(size), key=secret.SecretKey(bytes(raw)))


def test_an_empty_last_segment_is_refused_though_its_tag_is_right():
    """Otherwise one plaintext would have two shapes. A Tink would open this one."""
    prefix, salt = bytes(7), bytes(32)
    cipher = AESGCM(HKDF(hashes.SHA256(), 32, salt, AAD).derive(KEY.reveal()))
    blob = (
        b"\x28"
        + salt
        + prefix
        + cipher.encrypt(prefix + bytes(5), b"p" * 8, None)
        + cipher.encrypt(prefix + bytes([0, 0, 0, 1, 1]), b"", None)
    )

    refused(blob)
    opener = segments.Opener(KEY, AAD, blob[:40], SMALL)
    with pytest.raises(errors.NotAuthentic, match="cut short"):
        opener.open_run(1, 1, blob[SMALL:])


def test_a_short_segment_that_is_not_the_last_is_refused_though_its_tag_is_right():
    prefix, salt = bytes(7), bytes(32)
    cipher = AESGCM(HKDF(hashes.SHA256(), 32, salt, AAD).derive(KEY.reveal()))
    blob = b"\x28" + salt + prefix + cipher.encrypt(prefix + bytes(5), b"p" * 7, None)

    opener = segments.Opener(KEY, AAD, blob[:40], SMALL)

    with pytest.raises(errors.NotAuthentic, match="cut short"):
        opener.open_run(0, 1, blob)


def test_a_segment_behind_the_last_one_is_refused_though_its_tag_is_right():
    prefix, salt = bytes(7), bytes(32)
    cipher = AESGCM(HKDF(hashes.SHA256(), 32, salt, AAD).derive(KEY.reveal()))
    blob = (
        b"\x28"
        + salt
        + prefix
        + cipher.encrypt(prefix + bytes([0, 0, 0, 0, 1]), b"p" * 8, None)
        + cipher.encrypt(prefix + bytes([0, 0, 0, 1, 0]), b"more", None)
    )

    opener = segments.Opener(KEY, AAD, blob[:40], SMALL)

    assert opener.open_run(0, 0, blob[:SMALL]) == b"p" * 8
    with pytest.raises(errors.NotAuthentic, match="past the last"):
        opener.open_run(0, 0, blob)
    refused(blob)


class TestRuns:
    """Ranges are opened without the rest of the stream, so each run stands for itself."""

    BLOB = seal(8 + 48 * 3 + 20)
    FINAL = 4

    def opener(self):
        return segments.Opener(KEY, AAD, self.BLOB[:40], SMALL)

    def refused(self, first, final, sealed):
        with pytest.raises(errors.NotAuthentic):
            self.opener().open_run(first, final, sealed)

    def runs(self):
        for first, last in itertools.combinations_with_replacement(range(5), 2):
            yield first, last, self.BLOB[first * SMALL : (last + 1) * SMALL]

    def test_untouched_runs_open(self):
        for first, last, run in self.runs():
            plan_bytes = (0 if first else -40) + len(run) - 16 * (last - first + 1)
            assert self.opener().open_run(first, self.FINAL, run) == b"p" * plan_bytes

    def test_every_changed_byte_of_a_run_is_refused(self):
        for first, _, run in self.runs():
            for at in range(len(run)):
                self.refused(first, 4, run[:at] + bytes([run[at] ^ 0x10]) + run[at + 1 :])

    def test_every_truncation_of_a_run_within_a_segment_is_refused(self):
        for first, _, run in self.runs():
            for length in range(len(run)):
                if length % SMALL or length == 0:
                    self.refused(first, 4, run[:length])

    def test_a_run_under_another_number_is_refused(self):
        for first, _, run in self.runs():
            for other in range(6):
                if other != first:
                    self.refused(other, 5, run)

    def test_a_run_of_a_stream_that_claims_another_last_segment_is_refused(self):
        for first, last, run in self.runs():
            for final in range(first, 8):
                if final != 4 and (last == 4 or final <= last):
                    self.refused(first, final, run)

    def test_a_run_that_reaches_past_the_last_segment_is_refused(self):
        self.refused(3, 4, self.BLOB[3 * SMALL : 4 * SMALL] * 2 + self.BLOB[4 * SMALL :])

    def test_an_empty_run_is_refused(self):
        for first in range(5):
            self.refused(first, 4, b"")

    def test_a_header_that_is_not_the_one_that_the_opener_knows_is_refused(self):
        for at in range(40):
            changed = bytearray(self.BLOB[:SMALL])
            changed[at] ^= 1
            self.refused(0, 4, bytes(changed))


@pytest.mark.parametrize("header", [b"", bytes(40), b"\x28" + bytes(38), b"\x28" + bytes(40)])
def test_what_is_no_header_is_refused(header):
    with pytest.raises(errors.NotAuthentic, match="header"):
        segments.Opener(KEY, AAD, header, SMALL)


def test_every_other_first_byte_is_refused():
    blob = seal(3)
    for first in range(256):
        if first != 0x28:
            refused(bytes([first]) + blob[1:])


def test_a_stream_of_another_segment_size_is_refused():
    blob = seal(8 + 48 * 2)
    for other in (57, 63, 65, 128, geometry.SEGMENT_BYTES):
        with pytest.raises(errors.NotAuthentic):
            segments.open_all(KEY, AAD, blob, other)
