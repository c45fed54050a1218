"""Blob files when the disk fails, the process dies, or another one works beside it."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from strongroom import errors
from strongroom.store import blobs as port
from strongroom.store import disk, files

ROOM = port.ROOM_BYTES
MIB = 1024 * 1024
DATA = hashlib.shake_128(b"blob").digest(2 * MIB + 10_000)


class SpyKernel(files.Kernel):
    """The real system calls, recorded as (call, file name)."""

    def __init__(self):
        self.calls = []
        self._names = {}

    def _note(self, call, fd):
        self.calls.append((call, self._names.get(fd, "")))

    def open(self, path, flags, mode=0o777):
        fd = os.open(path, flags, mode)
        self._names[fd] = Path(path).name
        return fd

    def pwrite(self, fd, data, offset):
        self._note("pwrite", fd)
        return os.pwrite(fd, data, offset)

    def ftruncate(self, fd, length):
        self._note("ftruncate", fd)
        os.ftruncate(fd, length)

    def fdatasync(self, fd):
        self._note("fdatasync", fd)
        os.fdatasync(fd)

    def fsync(self, fd):
        self._note("fsync", fd)
        os.fsync(fd)


class BrokenKernel(SpyKernel):
    """Raises an error number in the calls that `breaks` names."""

    def __init__(self):
        super().__init__()
        self.breaks = {}

    def _note(self, call, fd):
        super()._note(call, fd)
        if call in self.breaks:
            raise OSError(self.breaks[call], os.strerror(self.breaks[call]))

    def open(self, path, flags, mode=0o777):
        if "create" in self.breaks and flags & os.O_CREAT:
            raise OSError(self.breaks["create"], os.strerror(self.breaks["create"]))
        return super().open(path, flags, mode)

    def unlink(self, path):
        if "unlink" in self.breaks:
            raise OSError(self.breaks["unlink"], os.strerror(self.breaks["unlink"]))
        path.unlink()


def fill(writer, data=DATA):
    for start in range(0, len(data), ROOM):
        piece = data[start : start + ROOM]
        writer.room(len(piece))[:] = piece
    return writer


def blob_id(number):
    return number.to_bytes(16, "big")


def read(blobs, place, size):
    reader = blobs.open(place)
    target = bytearray(size)
    try:
        reader.read_into(0, memoryview(target))
    finally:
        reader.close()
    return bytes(target)


def files_under(root):
    return sorted(path.name for path in root.rglob("*") if len(path.name) == 32)


@pytest.mark.parametrize("direct", [False, True])
def test_the_file_holds_the_blob_and_nothing_else(open_blobs, tmp_path, direct):
    blobs = open_blobs()
    if direct and not blobs.direct:
        pytest.skip("no direct I/O on this file system")
    blobs.direct = direct

    place = fill(blobs.create(blob_id(1), len(DATA))).finish()

    path = tmp_path / "blobs" / place
    assert path.read_bytes() == DATA
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0


def test_data_is_synced_before_finish_and_the_name_before_settle_returns(open_blobs):
    kernel = SpyKernel()
    blobs = open_blobs(kernel)
    kernel.calls.clear()

    writer = fill(blobs.create(blob_id(1), len(DATA)))
    place = writer.finish()
    finished = list(kernel.calls)
    asyncio.run(blobs.settle(place))

    name, shard, lease = blob_id(1).hex(), *place.split("/")[1::-1]
    assert finished[0] == ("fsync", lease), "the name of a new shard is made durable"
    on_file = [call for call, where in finished if where == name]
    assert on_file[:3] == ["pwrite"] * 3
    assert on_file[-1] == "fdatasync"
    assert on_file.count("fdatasync") == 1
    assert kernel.calls[len(finished) :] == [("fsync", shard)]


def test_a_start_syncs_the_directories_it_finds(open_blobs):
    open_blobs().close()
    kernel = SpyKernel()

    open_blobs(kernel)

    assert ("fsync", "blobs") in kernel.calls
    assert ("fsync", "00000000") in kernel.calls


def test_those_who_settle_together_share_one_sync(open_blobs):
    kernel = SpyKernel()
    blobs = open_blobs(kernel)
    places = [fill(blobs.create(blob_id(n), 3), b"abc").finish() for n in range(40)]
    kernel.calls.clear()

    async def settle_all():
        await asyncio.gather(*map(blobs.settle, places))

    asyncio.run(settle_all())

    assert kernel.calls == [("fsync", "00000000")]


def test_who_comes_during_a_sync_waits_for_the_next(open_blobs):
    kernel = SpyKernel()
    blobs = open_blobs(kernel)
    place = fill(blobs.create(blob_id(1), 3), b"abc").finish()
    kernel.calls.clear()
    second_waits = threading.Event()

    async def story():
        loop = asyncio.get_running_loop()
        second = []

        def ask():
            second.append(loop.create_task(blobs.settle(place)))
            # Behind the task's first step, which is the one that asks.
            loop.call_soon(second_waits.set)

        def sync(fd):
            if not second:
                loop.call_soon_threadsafe(ask)
                second_waits.wait()
            SpyKernel.fsync(kernel, fd)

        kernel.fsync = sync
        await blobs.settle(place)
        assert not second[0].done()
        await second[0]

    asyncio.run(story())

    assert [call for call, _ in kernel.calls] == ["fsync", "fsync"]


@pytest.mark.parametrize("most", [1000, 4096, ROOM + 512, MIB - 1])
def test_short_writes_are_continued_where_they_stopped(open_blobs, most):
    kernel = SpyKernel()
    kernel.pwrite = lambda fd, data, offset: os.pwrite(fd, data[:most], offset)
    blobs = open_blobs(kernel)
    blobs.direct = False

    place = fill(blobs.create(blob_id(1), len(DATA))).finish()

    assert blobs.path(place).read_bytes() == DATA


def test_a_direct_write_that_stops_inside_a_page_goes_on_through_the_cache(open_blobs):
    kernel = SpyKernel()
    blobs = open_blobs(kernel)
    if not blobs.direct:
        pytest.skip("no direct I/O on this file system")
    flags = []

    def stops_early(fd, data, offset):
        flags.append(bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT))
        if offset == 0:
            return os.pwrite(fd, data[:8192], offset) - 100
        return os.pwrite(fd, data, offset)

    kernel.pwrite = stops_early

    place = fill(blobs.create(blob_id(1), len(DATA))).finish()

    assert blobs.path(place).read_bytes() == DATA
    assert flags[:2] == [True, False]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["pwrite", "fdatasync", "create"])
def test_a_full_disk_is_named_and_leaves_nothing(open_blobs, tmp_path, call, number):
    kernel = BrokenKernel()
    blobs = open_blobs(kernel)
    kernel.breaks = {call: number}

    with pytest.raises(errors.StoreFull):
        attempt(blobs)

    assert files_under(tmp_path) == []


@pytest.mark.parametrize("call", ["pwrite", "fdatasync", "ftruncate", "create"])
def test_a_failing_disk_is_named_and_leaves_nothing(open_blobs, tmp_path, call):
    kernel = BrokenKernel()
    blobs = open_blobs(kernel)
    if call == "ftruncate" and not blobs.direct:
        pytest.skip("no direct I/O on this file system")
    kernel.breaks = {call: errno.EIO}

    with pytest.raises(errors.StoreFailed):
        attempt(blobs)

    assert files_under(tmp_path) == []


def attempt(blobs):
    """Write a blob as its users do: discard it if anything fails."""
    writer = blobs.create(blob_id(1), len(DATA))
    try:
        return fill(writer).finish()
    except errors.StoreTrouble:
        writer.discard()
        raise


def test_a_failed_sync_is_never_tried_again(open_blobs):
    kernel = BrokenKernel()
    blobs = open_blobs(kernel)
    writer = fill(blobs.create(blob_id(1), len(DATA)))
    kernel.breaks = {"fdatasync": errno.EIO}
    with pytest.raises(errors.StoreFailed):
        writer.finish()
    kernel.breaks = {}
    kernel.calls.clear()

    with pytest.raises(errors.StoreFailed):
        writer.finish()
    with pytest.raises(errors.StoreFailed):
        writer.room(1)

    assert kernel.calls == []
    writer.discard()


def test_a_failed_directory_sync_fails_all_who_waited_and_ends_the_shard(open_blobs):
    kernel = BrokenKernel()
    blobs = open_blobs(kernel)
    places = [fill(blobs.create(blob_id(n), 3), b"abc").finish() for n in range(3)]
    kernel.breaks = {"fsync": errno.EIO}

    async def settle_all():
        return await asyncio.gather(*map(blobs.settle, places), return_exceptions=True)

    outcomes = asyncio.run(settle_all())
    kernel.breaks = {}

    assert [type(out) for out in outcomes] == [errors.StoreFailed] * 3
    with pytest.raises(errors.StoreFailed):
        asyncio.run(blobs.settle(places[0]))
    later = fill(blobs.create(blob_id(9), 3), b"abc").finish()
    assert later.split("/")[1] != places[0].split("/")[1]
    asyncio.run(blobs.settle(later))


def test_who_comes_during_a_sync_that_fails_is_not_served_by_the_next(open_blobs):
    kernel = SpyKernel()
    blobs = open_blobs(kernel)
    places = [fill(blobs.create(blob_id(n), 3), b"abc").finish() for n in range(2)]
    kernel.calls.clear()
    second_waits = threading.Event()

    async def story():
        loop = asyncio.get_running_loop()
        second = []

        def ask():
            second.append(loop.create_task(blobs.settle(places[1])))
            # Behind the task's first step, which is the one that asks.
            loop.call_soon(second_waits.set)

        def sync_once_in_vain(fd):
            SpyKernel.fsync(kernel, fd)
            if not second:
                loop.call_soon_threadsafe(ask)
                second_waits.wait()
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        kernel.fsync = sync_once_in_vain
        with pytest.raises(errors.StoreFailed):
            await blobs.settle(places[0])
        with pytest.raises(errors.StoreFailed):
            await second[0]
        with pytest.raises(errors.StoreFailed):
            await blobs.settle(places[1])

    asyncio.run(story())

    assert kernel.calls == [("fsync", "00000000")], "no second sync was believed, or tried"


def test_a_failed_sync_is_remembered_although_all_who_waited_have_left(open_blobs):
    kernel = SpyKernel()
    blobs = open_blobs(kernel)
    place = fill(blobs.create(blob_id(1), 3), b"abc").finish()
    left = threading.Event()

    async def story():
        loop = asyncio.get_running_loop()
        syncing = asyncio.Event()

        def sync_in_vain(_fd):
            loop.call_soon_threadsafe(syncing.set)
            left.wait()
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        kernel.fsync = sync_in_vain
        waiter = asyncio.create_task(blobs.settle(place))
        await syncing.wait()
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        del kernel.fsync
        later = asyncio.create_task(blobs.settle(place))
        await asyncio.sleep(0)
        left.set()
        with pytest.raises(errors.StoreFailed):
            await later

    asyncio.run(story())

    after = fill(blobs.create(blob_id(2), 3), b"abc").finish()
    assert after.split("/")[1] == "00000001", "and its directory gets no more files"


def test_a_cancelled_waiter_takes_nobody_along(open_blobs):
    blobs = open_blobs()
    places = [fill(blobs.create(blob_id(n), 3), b"abc").finish() for n in range(3)]

    async def story():
        tasks = [asyncio.create_task(blobs.settle(place)) for place in places]
        await asyncio.sleep(0)
        tasks[0].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, *others = asyncio.run(story())

    assert isinstance(first, asyncio.CancelledError)
    assert others == [None, None]


def test_what_cannot_be_discarded_is_a_stray_after_the_next_start(open_blobs):
    kernel = BrokenKernel()
    blobs = open_blobs(kernel)
    writer = fill(blobs.create(blob_id(1), 3), b"abc")
    place = writer.finish()
    kernel.breaks = {"unlink": errno.EIO}

    writer.discard()

    with pytest.raises(errors.StoreFailed):
        blobs.remove(place)
    assert list(blobs.strays()) == []
    blobs.close()
    heir = open_blobs()
    assert list(heir.strays()) == [(blob_id(1), place)]
    heir.remove(place)
    assert list(heir.strays()) == []


@pytest.mark.parametrize(("free", "fits"), [(999, False), (1000, True)])
def test_a_blob_that_is_larger_than_the_free_space_is_refused_before_its_first_byte(
    open_blobs, tmp_path, free, fits
):
    kernel = SpyKernel()
    blobs = open_blobs(kernel)
    kernel.statvfs = lambda _path: statvfs(f_blocks=10**6, f_bavail=free)

    if fits:
        blobs.create(blob_id(1), 1000 * 4096).discard()
    else:
        with pytest.raises(errors.StoreFull):
            blobs.create(blob_id(1), 1000 * 4096)

    assert files_under(tmp_path) == []


def test_a_file_system_that_does_not_know_its_size_is_believed_to_have_space(open_blobs):
    kernel = SpyKernel()
    blobs = open_blobs(kernel)
    kernel.statvfs = lambda _path: statvfs(f_blocks=0, f_bavail=0)

    place = fill(blobs.create(blob_id(1), 3), b"abc").finish()

    assert read(blobs, place, 3) == b"abc"


def statvfs(*, f_blocks, f_bavail):
    """Return what the system call does, for blocks of 4,096 bytes."""
    return os.statvfs_result((4096, 4096, f_blocks, f_bavail, f_bavail, 0, 0, 0, 0, 255))


def test_a_discard_in_the_middle_of_a_write_leaves_other_files_alone(open_blobs):
    kernel = SpyKernel()
    blobs = open_blobs(kernel)
    writer = fill(blobs.create(blob_id(1), 0), DATA[:MIB])
    view_of_the_discarded = memoryview(writer.room(ROOM))

    writer.discard()
    other = blobs.create(blob_id(2), 0)
    mine = other.room(ROOM)
    mine[:] = DATA[:ROOM]
    view_of_the_discarded[:] = bytes(ROOM)
    with pytest.raises(ValueError, match="discarded"):
        writer.room(ROOM)

    assert read(blobs, other.finish(), ROOM) == DATA[:ROOM]


def test_a_blob_id_that_is_taken_is_refused(open_blobs):
    blobs = open_blobs()
    place = fill(blobs.create(blob_id(1), 3), b"abc").finish()

    with pytest.raises(errors.StoreFailed):
        blobs.create(blob_id(1), 3)

    assert read(blobs, place, 3) == b"abc"


def test_a_full_shard_is_followed_by_the_next(open_blobs, monkeypatch):
    monkeypatch.setattr(disk, "SHARD_FILES", 3)
    blobs = open_blobs()

    places = [fill(blobs.create(blob_id(n), 1), b"x").finish() for n in range(7)]

    shards = [place.split("/")[1] for place in places]
    assert shards == ["00000000"] * 3 + ["00000001"] * 3 + ["00000002"]


@pytest.mark.parametrize(
    "place",
    [
        "",
        "00000000/00000000",
        "00000000/00000000/../../../etc/passwd",
        "/0000000/00000000/" + "0" * 32,
        "../00000/00000000/" + "0" * 32,
        "00000000/00000000/" + "0" * 31 + "G",
        "00000000/00000000/" + "0" * 32 + "\n",
        "00000000/00000000/" + "0" * 33,
    ],
)
def test_a_place_that_is_not_ours_is_refused(open_blobs, place):
    blobs = open_blobs()

    with pytest.raises(errors.StoreFailed):
        blobs.open(place)
    with pytest.raises(errors.StoreFailed):
        blobs.remove(place)
    with pytest.raises(errors.StoreFailed):
        asyncio.run(blobs.settle(place))


def test_a_symbolic_link_is_not_followed(open_blobs, tmp_path):
    blobs = open_blobs()
    place = fill(blobs.create(blob_id(1), 3), b"abc").finish()
    secret = tmp_path / "secret"
    secret.write_bytes(b"key")
    blobs.path(place).unlink()
    blobs.path(place).symlink_to(secret)

    with pytest.raises(errors.StoreFailed):
        blobs.open(place)


def test_two_at_a_time_hold_different_leases_and_see_no_strays_of_each_other(open_blobs):
    one, other = open_blobs(), open_blobs()

    places = [
        fill(blobs.create(blob_id(n), 1), b"x").finish() for n, blobs in [(1, one), (2, other)]
    ]

    assert {place.split("/")[0] for place in places} == {"00000000", "00000001"}
    assert list(one.strays()) == []
    assert list(other.strays()) == []
    assert read(one, places[1], 1) == b"x"


def test_files_under_a_free_lease_are_strays_and_it_is_held_while_looked_at(open_blobs):
    one, other = open_blobs(), open_blobs()
    place = fill(other.create(blob_id(2), 1), b"x").finish()
    other.close()

    strays = one.strays()
    assert next(strays) == (blob_id(2), place)
    third = open_blobs()
    assert fill(third.create(blob_id(3), 1), b"x").finish().split("/")[0] == "00000002"
    strays.close()

    fourth = open_blobs()
    assert fill(fourth.create(blob_id(4), 1), b"x").finish().split("/")[0] == "00000001"


def test_a_killed_writer_leaves_a_free_lease_and_findable_strays(open_blobs):
    script = """
        import os, sys
        from pathlib import Path
        from strongroom.store import disk

        blobs = disk.DiskBlobs(Path(sys.argv[1]))
        finished = blobs.create(bytes(15) + b"\\1", 3)
        finished.room(3)[:] = b"abc"
        finished.finish()
        torn = blobs.create(bytes(15) + b"\\2", 3 << 20)
        for _ in range(20):
            torn.room(65536)[:] = bytes(65536)
        print("ready", flush=True)
        sys.stdin.read()
    """
    first = open_blobs()
    root = first.path("00000000/00000000/" + "0" * 32).parents[2]
    process = subprocess.Popen(  # noqa: S603 - this interpreter, this script
        [sys.executable, "-c", textwrap.dedent(script), str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout.readline() == b"ready\n"
        assert list(first.strays()) == []
        process.send_signal(signal.SIGKILL)
        process.wait()

    found = {
        (blob_id(1), f"00000001/00000000/{blob_id(1).hex()}"),
        (blob_id(2), f"00000001/00000000/{blob_id(2).hex()}"),
    }
    assert set(first.strays()) == found
    heir = open_blobs()
    assert set(heir.strays()) == found
    assert list(first.strays()) == []
    for _, place in found:
        heir.remove(place)
    new = fill(heir.create(blob_id(1), 1), b"x").finish()
    assert new == f"00000001/00000001/{blob_id(1).hex()}"
    assert list(heir.strays()) == []
