"""Which catalog the blobs on disk belong to: written once, whole, and durable."""

from __future__ import annotations

import errno
import os

import pytest

from strongroom import errors
from strongroom.store import files


class BreakingKernel(files.Kernel):
    """The real system calls, noted by name; those in `breaks` raise its error number."""

    def __init__(self):
        self.calls = []
        self.breaks = {}
        self._names = {}

    def _note(self, call, path):
        self.calls.append((call, path.name))
        if call in self.breaks:
            raise OSError(self.breaks[call], os.strerror(self.breaks[call]))

    def open(self, path, flags, mode=0o777):
        fd = os.open(path, flags, mode)
        self._names[fd] = path
        return fd

    def fsync(self, fd):
        self._note("fsync", self._names[fd])
        os.fsync(fd)

    def link(self, path, target):
        self._note("link", target)
        os.link(path, target)

    def rename(self, path, target):
        self._note("rename", target)
        path.rename(target)


def write(blobs, number):
    writer = blobs.create(number.to_bytes(16, "big"), 5)
    writer.room(5)[:] = b"bytes"
    return writer.finish()


def files_in(lease):
    return {path.name for path in lease.iterdir() if path.is_file()}


def test_the_identity_is_the_whole_file_and_every_process_sees_it(open_blobs, root):
    one, other = open_blobs(), open_blobs()

    one.adopt(b"\x00identity\n")

    assert (root / "store-id").read_bytes() == b"\x00identity\n"
    assert (root / "store-id").stat().st_mode & 0o777 == 0o600
    assert other.identity() == b"\x00identity\n"
    assert files_in(root / "00000000") == {"lock"}
    with pytest.raises(errors.StoreFailed):
        other.adopt(b"another")


def test_the_bytes_are_synced_before_the_name_appears_and_the_name_after(open_blobs):
    kernel = BreakingKernel()
    blobs = open_blobs(kernel)
    kernel.calls.clear()

    blobs.adopt(b"identity")

    assert kernel.calls == [("fsync", "scratch"), ("link", "store-id"), ("fsync", "blobs")]


def test_an_identity_that_stands_is_synced_again_in_case_its_writer_died_before(open_blobs):
    open_blobs().adopt(b"identity")
    kernel = BreakingKernel()
    blobs = open_blobs(kernel)
    kernel.calls.clear()

    blobs.adopt(b"identity")

    assert kernel.calls == [("fsync", "blobs")]


def test_of_two_that_adopt_at_once_the_slower_is_refused(open_blobs):
    kernel = BreakingKernel()
    slower, quicker = open_blobs(kernel), open_blobs()

    def be_overtaken(path, target):
        quicker.adopt(b"quicker")
        os.link(path, target)

    kernel.link = be_overtaken

    with pytest.raises(errors.StoreFailed):
        slower.adopt(b"slower")

    assert slower.identity() == b"quicker"


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_will_do(open_blobs, root, number):
    kernel = BreakingKernel()
    blobs = open_blobs(kernel)
    kernel.breaks = {"link": number}

    blobs.adopt(b"identity")

    assert blobs.identity() == b"identity"
    assert files_in(root / "00000000") == {"lock"}


@pytest.mark.parametrize("call", ["fsync", "link"])
@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.EIO, errors.StoreFailed), (errno.ENOSPC, errors.StoreFull)],
)
def test_a_failing_disk_is_named_and_leaves_no_identity(open_blobs, root, call, number, error):
    kernel = BreakingKernel()
    blobs = open_blobs(kernel)
    kernel.breaks = {call: number}

    with pytest.raises(error):
        blobs.adopt(b"identity")

    assert blobs.identity() is None
    assert files_in(root / "00000000") == {"lock"}


def test_an_identity_that_cannot_be_read_is_not_taken_for_none(open_blobs, root):
    blobs = open_blobs()
    (root / "store-id").mkdir()

    with pytest.raises(errors.StoreFailed):
        blobs.identity()


def test_a_crash_right_after_the_name_appeared_does_no_harm(open_blobs, root):
    blobs = open_blobs()
    blobs.adopt(b"identity")
    blobs.close()
    (root / "00000000" / "scratch").hardlink_to(root / "store-id")

    heir = open_blobs()

    assert heir.identity() == b"identity", "the start tried out direct I/O on another file"
    assert files_in(root / "00000000") == {"lock"}


def test_blobs_of_any_process_count_and_what_was_set_aside_does_not(open_blobs):
    one, other = open_blobs(), open_blobs()
    assert one.is_empty()

    place = write(other, 1)

    assert not one.is_empty()
    other.close()
    assert not one.is_empty()
    one.set_aside(place)
    assert one.is_empty()
