"""Strays on disk: how they are found, set aside and in the end destroyed."""

from __future__ import annotations

import errno
import os

import pytest

from strongroom import errors
from strongroom.store import disk, files

OLD_S = 1_000_000_000
NOON_S = 1_700_000_000
"""Times in seconds since the epoch, long past and apart."""


class NotingKernel(files.Kernel):
    """The real system calls, noted by name and file; raises EIO for the names in `breaks`."""

    def __init__(self):
        self.calls = []
        self.breaks = set()
        self._names = {}

    def _note(self, call, path):
        self.calls.append((call, os.path.basename(path)))  # noqa: PTH119 - str or Path
        if path.name in self.breaks:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def open(self, path, flags, mode=0o777):
        fd = os.open(path, flags, mode)
        self._names[fd] = path
        return fd

    def fsync(self, fd):
        self._note("fsync", self._names[fd])
        os.fsync(fd)

    def rename(self, path, target):
        self._note("rename", target)
        path.rename(target)

    def unlink(self, path):
        self._note("unlink", path)
        path.unlink()


@pytest.fixture
def leave_strays(open_blobs):
    """A function that lets a process write blobs and end; returns blob id to place."""

    def leave(*numbers):
        blobs = open_blobs()
        places = {blob_id(number): write(blobs, number) for number in numbers}
        blobs.close()
        return places

    return leave


def blob_id(number):
    return number.to_bytes(16, "big")


def write(blobs, number, data=b"bytes"):
    writer = blobs.create(blob_id(number), len(data))
    writer.room(len(data))[:] = data
    return writer.finish()


def put(path, data=b"bytes", *, modified_s=OLD_S):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (modified_s, modified_s))
    return path


def test_strays_are_listed_as_they_are_asked_for_and_not_ahead(
    open_blobs, leave_strays, monkeypatch
):
    monkeypatch.setattr(disk, "SHARD_FILES", 1)
    places = leave_strays(*range(5))
    blobs = open_blobs()
    strays = blobs.strays()

    first = next(strays)
    for found, place in places.items():
        if found != first[0]:
            blobs.remove(place)

    assert first in places.items()
    assert list(strays) == []


def test_what_is_written_while_strays_are_looked_at_is_never_one_of_them(open_blobs, leave_strays):
    places = leave_strays(*range(20))
    blobs = open_blobs()
    strays = blobs.strays()
    found = set()

    for number, stray in enumerate(strays):
        found.add(stray)
        write(blobs, 100 + number)

    assert found == set(places.items())


def test_all_strays_are_found_although_each_is_set_aside_at_once(open_blobs, leave_strays, root):
    places = leave_strays(*range(200))
    blobs = open_blobs()

    for _, place in blobs.strays():
        blobs.set_aside(place)

    assert {path.name for path in (root / "lost").iterdir()} == {item.hex() for item in places}
    assert list(blobs.strays()) == []


def test_a_directory_that_cannot_be_read_is_named(open_blobs, leave_strays, root):
    leave_strays(1)
    blobs = open_blobs()
    (root / "00000000" / "00000000").rename(root / "elsewhere")

    with pytest.raises(errors.StoreFailed):
        list(blobs.strays())


def test_a_stray_is_kept_byte_for_byte_and_dated_when_it_was_set_aside(
    open_blobs, leave_strays, root
):
    (place,) = leave_strays(1).values()
    os.utime(root / place, (OLD_S, OLD_S))
    blobs = open_blobs()

    blobs.set_aside(place)

    kept = root / "lost" / blob_id(1).hex()
    assert not (root / place).exists()
    assert kept.read_bytes() == b"bytes"
    assert kept.stat().st_mtime > NOON_S
    assert kept.parent.stat().st_mode & 0o077 == 0


def test_the_new_directory_and_the_new_name_are_synced(open_blobs, leave_strays):
    one, other = leave_strays(1, 2).values()
    kernel = NotingKernel()
    blobs = open_blobs(kernel)
    kernel.calls.clear()

    blobs.set_aside(one)
    blobs.set_aside(other)

    assert kernel.calls == [
        ("fsync", "blobs"),
        ("rename", blob_id(1).hex()),
        ("fsync", "lost"),
        ("rename", blob_id(2).hex()),
        ("fsync", "lost"),
    ]


def test_what_is_gone_is_set_aside_without_a_word_also_if_there_is_no_directory_yet(
    open_blobs, root
):
    blobs = open_blobs()

    blobs.set_aside(f"00000000/00000000/{blob_id(1).hex()}")

    assert not (root / "lost").exists()


def test_a_stray_that_goes_while_it_is_set_aside_is_no_failure(open_blobs, leave_strays, root):
    (place,) = leave_strays(1).values()
    kernel = NotingKernel()
    blobs = open_blobs(kernel)

    def too_late(path, target):
        path.unlink()
        path.rename(target)

    kernel.rename = too_late

    blobs.set_aside(place)

    assert list((root / "lost").iterdir()) == []


def test_a_directory_that_goes_meanwhile_is_not_mistaken_for_a_stray_that_is_gone(
    open_blobs, leave_strays, root
):
    (place,) = leave_strays(1).values()
    kernel = NotingKernel()
    blobs = open_blobs(kernel)

    def without_its_target(path, target):
        target.parent.rmdir()
        path.rename(target)

    kernel.rename = without_its_target

    with pytest.raises(errors.StoreFailed):
        blobs.set_aside(place)

    assert (root / place).read_bytes() == b"bytes"


def test_a_failing_disk_is_named_and_the_stray_stays(open_blobs, leave_strays, root):
    (place,) = leave_strays(1).values()
    kernel = NotingKernel()
    blobs = open_blobs(kernel)
    kernel.breaks = {blob_id(1).hex()}

    with pytest.raises(errors.StoreFailed):
        blobs.set_aside(place)

    assert list(blobs.strays()) == [(blob_id(1), place)]
    kernel.breaks.clear()
    blobs.set_aside(place)
    assert (root / "lost" / blob_id(1).hex()).read_bytes() == b"bytes"


def test_a_place_that_is_not_ours_is_not_set_aside(open_blobs, tmp_path):
    blobs = open_blobs()
    outside = put(tmp_path / "outside")

    with pytest.raises(errors.StoreFailed):
        blobs.set_aside("../outside")

    assert outside.exists()


def test_a_stray_of_the_same_name_does_not_displace_the_first(open_blobs, root):
    first = put(root / "lost" / blob_id(1).hex(), b"first")
    blobs = open_blobs()
    places = [f"00000000/0000000{shard}/{blob_id(1).hex()}" for shard in (7, 8)]
    for place in places:
        put(root / place, place.encode())

    for place in places:
        blobs.set_aside(place)

    assert first.read_bytes() == b"first"
    assert {path.read_bytes() for path in first.parent.iterdir()} == {
        b"first",
        *(place.encode() for place in places),
    }
    assert blobs.purge(NOON_S * 2) == 3


def test_strays_that_were_set_aside_are_no_lease_and_no_strays(open_blobs, leave_strays, root):
    (place,) = leave_strays(1).values()
    open_blobs().set_aside(place)

    other = open_blobs()

    assert write(other, 2).split("/")[0] == "00000001"
    assert list(other.strays()) == []
    assert not (root / "lost" / "lock").exists()


def test_only_what_was_set_aside_before_then_is_purged(open_blobs, root):
    blobs = open_blobs()
    old = put(root / "lost" / blob_id(1).hex(), modified_s=NOON_S - 1)
    young = put(root / "lost" / blob_id(2).hex(), modified_s=NOON_S)

    assert blobs.purge(NOON_S) == 1

    assert not old.exists()
    assert young.exists()
    assert blobs.purge(NOON_S) == 0


def test_a_purge_leaves_alone_what_is_not_called_like_a_blob(open_blobs, root):
    blobs = open_blobs()
    readme = put(root / "lost" / "README")

    assert blobs.purge(NOON_S) == 0

    assert readme.exists()


def test_a_purge_where_nothing_was_ever_set_aside_finds_nothing(open_blobs):
    assert open_blobs().purge(NOON_S) == 0


def test_one_that_cannot_be_purged_is_named_and_does_not_keep_the_others(open_blobs, root):
    kernel = NotingKernel()
    blobs = open_blobs(kernel)
    paths = [put(root / "lost" / blob_id(number).hex()) for number in range(5)]
    kernel.breaks = {paths[2].name}

    with pytest.raises(errors.StoreFailed):
        blobs.purge(NOON_S)

    assert [path.exists() for path in paths] == [False, False, True, False, False]


def test_one_that_another_process_has_purged_is_not_counted(open_blobs, root):
    kernel = NotingKernel()
    blobs = open_blobs(kernel)
    put(root / "lost" / blob_id(1).hex())

    def too_late(path):
        path.unlink()
        path.unlink()

    kernel.unlink = too_late

    assert blobs.purge(NOON_S) == 0
