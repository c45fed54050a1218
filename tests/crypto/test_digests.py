"""Checksums against published check values and other implementations; ETags."""

import base64
import binascii
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.crypto import digests

# Check values of "123456789". CRCs: catalogue of parametrised CRC algorithms (CRC-32/ISO-HDLC,
# CRC-32/ISCSI, CRC-64/NVME). Hashes of "": FIPS 180-4, RFC 1321. XXHash of "": xxHash's sanity
# checks (seed 0).
CHECK_VALUES = {
    "CRC32": "cbf43926",
    "CRC32C": "e3069283",
    "CRC64NVME": "ae8b14860a799888",
}
OF_NOTHING = {
    "CRC32": "00000000",
    "CRC32C": "00000000",
    "CRC64NVME": "0000000000000000",
    "MD5": "d41d8cd98f00b204e9800998ecf8427e",
    "SHA1": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "SHA256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "SHA512": (
        "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
        "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
    ),
    "XXHASH64": "ef46db3751d8e999",
    "XXHASH3": "2d06800538d394c2",
    "XXHASH128": "99aa06d3014798d86001c324468d497f",
}
ALL = [algorithm.value for algorithm in digests.Algorithm]


def md5(data):
    return hashlib.md5(data, usedforsecurity=False)


def digest_of(algorithm, data):
    one = digests.start(algorithm)
    one.update(data)
    return one.digest()


@pytest.mark.parametrize(("algorithm", "expected"), CHECK_VALUES.items())
def test_crcs_have_their_check_values_big_endian(algorithm, expected):
    assert digest_of(algorithm, b"123456789").hex() == expected


@pytest.mark.parametrize(("algorithm", "expected"), OF_NOTHING.items())
def test_digests_of_nothing_are_the_published_ones(algorithm, expected):
    assert digests.start(algorithm).digest().hex() == expected
    assert len(expected) == 2 * digests.DIGEST_BYTES[algorithm]


def test_every_algorithm_is_covered_above():
    assert sorted(OF_NOTHING) == sorted(ALL)
    assert set(digests.DIGEST_BYTES) == set(ALL)


@settings(max_examples=10, deadline=None)
@given(st.binary(max_size=300))
def test_crc32_agrees_with_zlib(data):
    assert digest_of("CRC32", data) == binascii.crc32(data).to_bytes(4, "big")


@pytest.mark.parametrize("algorithm", ALL)
@settings(max_examples=10, deadline=None)
@given(chunks=st.lists(st.binary(max_size=50), max_size=5))
def test_a_digest_does_not_depend_on_the_split_or_the_kind_of_buffer(algorithm, chunks):
    kinds = (bytes, bytearray, memoryview, lambda chunk: memoryview(bytearray(chunk)))
    one = digests.start(algorithm)
    for at, chunk in enumerate(chunks):
        one.update(kinds[at % 4](chunk))

    assert one.digest() == digest_of(algorithm, b"".join(chunks))
    assert one.digest() == one.digest()


@pytest.mark.parametrize("algorithm", ["", "crc32", "SHA3", "CRC64"])
def test_an_unknown_algorithm_is_refused(algorithm):
    for call in (
        lambda: digests.start(algorithm),
        lambda: digests.Running([algorithm]),
        lambda: digests.combine(algorithm, []),
        lambda: digests.composite(algorithm, []),
    ):
        with pytest.raises(ValueError, match="not a valid Algorithm"):
            call()


# Running


def test_only_what_was_asked_comes_back_in_the_order_of_asking():
    running = digests.Running(["SHA256", "CRC32"], md5=True)
    running.update(b"123")
    running.update(memoryview(b"456789"))

    assert list(running.digests()) == ["SHA256", "CRC32"]
    assert running.digests()["CRC32"].hex() == "cbf43926"
    assert running.md5() == md5(b"123456789").digest()
    with pytest.raises(KeyError):
        digests.Running(["CRC32"]).sha256()
    with pytest.raises(KeyError):
        digests.Running(["CRC32"]).md5()


def test_nothing_asked_is_nothing_computed():
    running = digests.Running()
    running.update(b"data")

    assert running.digests() == {}
    assert running.computed == ()


def test_what_is_asked_twice_is_computed_once():
    running = digests.Running(["SHA256", "MD5", "SHA256"], md5=True, sha256=True)
    running.update(b"abc")

    assert running.computed == (digests.Algorithm.SHA256, digests.Algorithm.MD5)
    assert running.sha256() == running.digests()["SHA256"] == hashlib.sha256(b"abc").digest()
    assert running.md5() == running.digests()["MD5"] == md5(b"abc").digest()


def test_a_payload_hash_alone_is_no_checksum_of_the_object():
    running = digests.Running(sha256=True)

    assert running.digests() == {}
    assert running.sha256() == hashlib.sha256().digest()


def test_the_ciphertext_digest_is_crc64nvme():
    crc = digests.ciphertext_crc()
    crc.update(b"123456789")

    assert crc.digest().hex() == CHECK_VALUES["CRC64NVME"]


# Combining


@pytest.mark.parametrize("algorithm", sorted(digests.COMBINABLE))
@settings(max_examples=10, deadline=None)
@given(parts=st.lists(st.binary(max_size=70), max_size=6))
def test_combined_crcs_are_those_of_the_whole(algorithm, parts):
    combined = digests.combine(algorithm, [(digest_of(algorithm, p), len(p)) for p in parts])

    assert combined == digest_of(algorithm, b"".join(parts))


@pytest.mark.parametrize("algorithm", sorted(set(ALL) - digests.COMBINABLE))
def test_what_is_no_crc_cannot_be_combined(algorithm):
    with pytest.raises(ValueError, match="does not follow"):
        digests.combine(algorithm, [])


@pytest.mark.parametrize("algorithm", ALL)
@settings(max_examples=10, deadline=None)
@given(parts=st.lists(st.binary(max_size=20), max_size=4))
def test_a_composite_is_the_digest_over_the_digests(algorithm, parts):
    each = [digest_of(algorithm, part) for part in parts]

    assert digests.composite(algorithm, each) == digest_of(algorithm, b"".join(each))


def test_a_digest_of_another_length_is_refused():
    with pytest.raises(ValueError, match="CRC32 digest has 4 bytes"):
        digests.combine("CRC32", [(bytes(5), 1)])
    with pytest.raises(ValueError, match="SHA256 digest has 32 bytes"):
        digests.composite("SHA256", [bytes(32), bytes(31)])


# ETags


def test_the_etag_of_parts_is_the_md5_over_their_raw_bytes():
    one, two = md5(b"one"), md5(b"two")

    etag = digests.etag_of_parts([one.hexdigest(), two.hexdigest()])

    assert etag == md5(one.digest() + two.digest()).hexdigest() + "-2"


def test_the_etag_of_one_part_has_its_number_too():
    assert digests.etag_of_parts(["0" * 32]) == md5(bytes(16)).hexdigest() + "-1"


@pytest.mark.parametrize(
    "etags",
    [
        [],
        ["0" * 31],
        ["0" * 33],
        ['"' + "0" * 32 + '"'],
        ["0" * 32 + "-2"],
        ["g" * 32],
        ["A" * 32],
        ["0" * 32, ""],
        ["0" * 16, "0" * 48],
        ["0" * 32 + "\n"],
    ],
)
def test_what_is_no_etag_of_a_part_is_refused(etags):
    with pytest.raises(ValueError, match="32 hex"):
        digests.etag_of_parts(etags)


def test_an_opaque_etag_is_32_hex_digits_of_the_random_bytes():
    assert digests.opaque_etag(lambda size: bytes(range(size))) == bytes(range(16)).hex()


def test_a_crc_on_the_wire_is_base64_of_big_endian_bytes():
    # S3's documentation shows CRC-32 values of this form: 8 characters, "==" at the end.
    assert base64.b64encode(digest_of("CRC32", b"123456789")) == b"y/Q5Jg=="
