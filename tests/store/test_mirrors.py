"""The bytes of mirrors, and the directory that they lie in."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import errors
from strongroom.store import files, mirrors, records

VERSION = records.Version(
    *("bucket", "kéy\udcff", "null", 70_000, "e" * 32, 1_700_000_000_000, "owner", "SSE-C"),
    *(b"G" * 16, ("CRC64NVME", "SHA256"), "FULL_OBJECT"),
)
MIRROR = mirrors.Mirror(
    number=7,
    version=VERSION,
    rank=3,
    envelope=b"envelope",
    marks=b"marks",
    record=b"record",
    blobs=(
        records.NewBlob(b"1" * 16, 65_536, "00000000/00000001/" + "31" * 16),
        records.NewBlob(b"2" * 16, 100, "", b"inline"),
    ),
)


@given(
    number=st.integers(0, 2**63),
    key=st.text(min_size=1),
    algorithms=st.lists(st.sampled_from(["CRC32", "SHA256"]), unique=True).map(tuple),
    envelope=st.binary(),
    count=st.integers(0, 3),
)
def test_what_is_printed_parses_to_the_same(number, key, algorithms, envelope, count):
    version = dataclasses.replace(VERSION, key=key, checksum_algorithms=algorithms)
    mirror = dataclasses.replace(
        MIRROR,
        number=number,
        version=version,
        envelope=envelope,
        blobs=(MIRROR.blobs * 2)[:count],
    )

    assert mirrors.parse(mirrors.encode(mirror)) == mirror


@given(at=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused(at, bit):
    data = bytearray(mirrors.encode(MIRROR))
    data[at % len(data)] ^= 1 << bit

    with pytest.raises(errors.NotAuthentic):
        mirrors.parse(bytes(data))


@given(cut=st.integers(0))
def test_a_cut_mirror_is_refused(cut):
    data = mirrors.encode(MIRROR)

    with pytest.raises(errors.NotAuthentic):
        mirrors.parse(data[: cut % len(data)])


def test_what_was_put_is_there_and_what_was_taken_away_is_not(tmp_path):
    lying = mirrors.Mirrors(tmp_path / "envelopes")
    other = dataclasses.replace(MIRROR, version=dataclasses.replace(VERSION, generation=b"H" * 16))

    lying.put(b"G" * 16, MIRROR)
    lying.put(b"H" * 16, other)
    lying.put(b"G" * 16, None)
    lying.put(b"I" * 16, None)
    lying.sync()

    assert list(lying.all()) == [other]


def test_a_mirror_under_another_name_is_not_taken_for_one(tmp_path):
    lying = mirrors.Mirrors(tmp_path / "envelopes")
    lying.put(b"G" * 16, MIRROR)
    path = tmp_path / "envelopes" / "47" / (b"G" * 16).hex()
    path.rename(path.with_name((b"H" * 16).hex()))

    assert list(lying.all()) == [path.with_name((b"H" * 16).hex())]


def test_a_write_that_fails_leaves_the_mirror_that_was_there(tmp_path):
    class Failing(files.Kernel):
        def fdatasync(self, _fd):
            raise OSError(5, "the disk is broken")

    mirrors.Mirrors(tmp_path / "envelopes").put(b"G" * 16, MIRROR)
    failing = mirrors.Mirrors(tmp_path / "envelopes", kernel=Failing())

    with pytest.raises(errors.StoreFailed):
        failing.put(b"G" * 16, dataclasses.replace(MIRROR, number=8))

    assert list(failing.all()) == [MIRROR]
