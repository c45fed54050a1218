"""Blobs as files under a directory that this process holds a lease on.

    root/<lease>/lock             flock: who holds the lease
    root/<lease>/<shard>/<blob id>

Lease and shard are eight lower-case hex digits, the blob id is 32, and a
*place* is these three with slashes between. Each start takes a free lease, or
makes one, and begins a new shard in it: what lies in the shards before that is
from others, and may be orphaned. After `SHARD_FILES` files comes the next
shard, so that directories stay small.

Layout and order of writing: docs/formats/catalog.md.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import itertools
import mmap
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store import files, records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from strongroom.store import blobs

SHARD_FILES = 16_384
"""Files after which a new directory begins."""

_PLACE = re.compile(r"([0-9a-f]{8})/([0-9a-f]{8})/([0-9a-f]{32})")
_NAME = re.compile(r"[0-9a-f]{8}")
_LOCK = "lock"
_UNSUPPORTED = frozenset({errno.EINVAL, errno.EOPNOTSUPP})


class _Lease:
    """A directory that this process alone writes to, as long as `fd` is open."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def try_take(cls, path: Path) -> _Lease | None:
        """Take the lease of a directory, or return None if it is held. Raises OSError."""
        fd = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        return cls(path, fd)

    def give_back(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def shards(self) -> list[str]:
        return _names(self.path)


def _names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if _NAME.fullmatch(entry.name))


class _Syncs:
    """Directory syncs that are shared: one serves all who asked before it began."""

    def __init__(self, kernel: files.Kernel) -> None:
        self._kernel = kernel
        self._threads = ThreadPoolExecutor(2, "strongroom-sync")
        self._waiting: dict[Path, list[asyncio.Future[None]]] = {}
        self._running: dict[Path, asyncio.Task[None]] = {}

    async def sync(self, directory: Path) -> None:
        """Return when a sync that began after this call has ended. Raises what it raised."""
        mine = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(directory, []).append(mine)
        running = self._running.get(directory)
        if running is None or running.done():
            # A task of its own: whoever waits may be cancelled without harm to the others.
            self._running[directory] = asyncio.create_task(self._serve(directory))
        await mine

    def close(self) -> None:
        self._threads.shutdown()

    async def _serve(self, directory: Path) -> None:
        loop = asyncio.get_running_loop()
        while waiting := self._waiting.pop(directory, None):
            failure: Exception | None = None
            try:
                await loop.run_in_executor(
                    self._threads, files.sync_directory, self._kernel, directory
                )
            except OSError as error:
                failure = error
            except RuntimeError as error:
                # The threads are shut down: the blobs are closed.
                failure = error
            for future in waiting:
                if future.cancelled():
                    continue
                if failure is None:
                    future.set_result(None)
                else:
                    future.set_exception(_unsettled(failure))
        del self._running[directory]


def _unsettled(failure: Exception) -> errors.StoreTrouble:
    if isinstance(failure, OSError):
        trouble = files.trouble(failure, "syncing a directory")
    else:
        trouble = errors.StoreFailed("syncing a directory: no thread for it, the blobs are closed")
    trouble.__cause__ = failure
    return trouble


class DiskBlobs:
    """Blobs under a root directory. Port: `strongroom.store.blobs.Blobs`.

    Making one takes a lease, and blocks for a few syncs. `create`, `open` and
    `remove` may be called on any thread; `settle` on one event loop.

    Attributes:
        direct: whether writes go past the page cache.
        leftovers: places of blobs whose removal failed in `discard`.
    """

    def __init__(self, root: Path, *, kernel: files.Kernel | None = None) -> None:
        """Take a lease under `root`, which is made if it is missing.

        Raises:
            StoreFull, StoreFailed: no lease can be had.
        """
        self._kernel = kernel or files.Kernel()
        self._buffers = files.Buffers()
        self.leftovers: set[str] = set()
        self._lost: set[Path] = set()
        self._root = root
        self._shard_lock = threading.Lock()
        self._shard = ""
        self._shard_room = 0
        try:
            self._lease = self._take_lease()
            try:
                self._inherited: Sequence[str] = self._lease.shards()
                self._next_shard = int(self._inherited[-1], 16) + 1 if self._inherited else 0
                self.direct = self._probe_direct()
            except BaseException:
                self._lease.give_back()
                raise
        except OSError as error:
            raise files.trouble(error, "taking a lease") from error
        self._syncs = _Syncs(self._kernel)

    def create(self, blob_id: bytes, expected_bytes: int) -> blobs.BlobWriter:
        """See the port.

        `expected_bytes` is not used: fallocate ahead of direct writes made no
        difference on ext4 (8 and 64 MiB), and where a file system lacks it, the
        C library writes to each block instead.
        """
        del expected_bytes
        if len(blob_id) != records.BLOB_ID_BYTES:
            raise ValueError(f"a blob id of {len(blob_id)} bytes")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        if self.direct:
            flags |= os.O_DIRECT
        try:
            place = f"{self._lease.path.name}/{self._take_room()}/{blob_id.hex()}"
            fd = self._kernel.open(self.path(place), flags, 0o600)
        except OSError as error:
            raise files.trouble(error, "creating a blob") from error
        return files.FileWriter(
            blob_id,
            fd=fd,
            path=self.path(place),
            place=place,
            direct=self.direct,
            kernel=self._kernel,
            buffers=self._buffers,
            leftovers=self.leftovers,
        )

    async def settle(self, place: str) -> None:
        """See the port."""
        directory = self.path(place).parent
        if directory in self._lost:
            raise errors.StoreFailed("syncing a directory: it has failed before")
        try:
            await self._syncs.sync(directory)
        except errors.StoreTrouble:
            # The next sync may well succeed although the kernel has dropped what this one
            # could not write. So nobody is told again that this directory is durable.
            self._lost.add(directory)
            self._leave_shard(directory.name)
            raise

    def open(self, place: str) -> blobs.BlobReader:
        """See the port."""
        path = self.path(place)
        try:
            fd = self._kernel.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError as error:
            raise errors.BlobMissing(place) from error
        except OSError as error:
            raise files.trouble(error, "opening a blob") from error
        return files.FileReader(self._kernel, fd)

    def remove(self, place: str) -> None:
        """See the port."""
        try:
            self._kernel.unlink(self.path(place))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise files.trouble(error, "removing a blob") from error
        self.leftovers.discard(place)

    def strays(self) -> Iterator[tuple[bytes, str]]:
        """See the port. A free lease is held while its files are looked at.

        Raises:
            StoreFailed: a directory cannot be read.
        """
        try:
            for place in sorted(self.leftovers):
                yield bytes.fromhex(place[-2 * records.BLOB_ID_BYTES :]), place
            yield from self._files(self._lease.path, self._inherited)
            for name in _names(self._root):
                if name == self._lease.path.name:
                    continue
                other = _Lease.try_take(self._root / name)
                if other is None:
                    continue
                try:
                    yield from self._files(other.path, other.shards())
                finally:
                    other.give_back()
        except OSError as error:
            raise files.trouble(error, "looking for strays") from error

    def close(self) -> None:
        """See the port."""
        self._syncs.close()
        self._lease.give_back()

    def path(self, place: str) -> Path:
        """Return the path of a place.

        Raises:
            StoreFailed: that is no place of ours: a damaged catalog, or an attack by way of it.
        """
        if _PLACE.fullmatch(place) is None:
            raise errors.StoreFailed(f"not a place of a blob: {place!r}")
        return self._root / place

    def _take_lease(self) -> _Lease:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.sync_directory(self._kernel, self._root.parent)
        taken = _names(self._root)
        for name in taken:
            lease = _Lease.try_take(self._root / name)
            if lease is not None:
                break
        else:
            lease = self._make_lease(int(taken[-1], 16) + 1 if taken else 0)
        # Whoever made these directories may have died before making their names durable.
        files.sync_directory(self._kernel, self._root)
        files.sync_directory(self._kernel, lease.path)
        return lease

    def _make_lease(self, first: int) -> _Lease:
        for number in itertools.count(first):
            path = self._root / f"{number:08x}"
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                continue
            # Another process that looks for a free lease may be quicker with the lock.
            lease = _Lease.try_take(path)
            if lease is not None:
                return lease
        raise AssertionError("counting does not end")

    def _take_room(self) -> str:
        """Return the shard for one more file. Raises OSError."""
        with self._shard_lock:
            if not self._shard_room:
                name = f"{self._next_shard:08x}"
                self._next_shard += 1
                (self._lease.path / name).mkdir(mode=0o700)
                files.sync_directory(self._kernel, self._lease.path)
                self._shard, self._shard_room = name, SHARD_FILES
            self._shard_room -= 1
            return self._shard

    def _leave_shard(self, name: str) -> None:
        with self._shard_lock:
            if self._shard == name:
                self._shard_room = 0

    def _files(self, lease: Path, shards: Sequence[str]) -> Iterator[tuple[bytes, str]]:
        for shard in shards:
            with os.scandir(lease / shard) as entries:
                for entry in entries:
                    place = f"{lease.name}/{shard}/{entry.name}"
                    if _PLACE.fullmatch(place):
                        yield bytes.fromhex(entry.name), place

    def _probe_direct(self) -> bool:
        """Try a direct write where the blobs will lie; some file systems refuse only the write."""
        path = self._lease.path / "probe"
        page = mmap.mmap(-1, files.ALIGNMENT)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_DIRECT, 0o600)
            try:
                os.pwrite(fd, page, 0)
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return False
            raise
        else:
            return True
        finally:
            page.close()
            path.unlink(missing_ok=True)
