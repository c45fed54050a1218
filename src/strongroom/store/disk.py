"""Blobs as files under a directory that this process holds a lease on.

    root/<lease>/lock               flock: who holds the lease
    root/<lease>/<shard>/<blob id>
    root/lost/<blob id>             strays (`attic`)
    root/store-id                   which catalog knows these blobs

Lease and shard are eight lower-case hex digits, the blob id is 32, and a
*place* is these three with slashes between. Each start takes a free lease, or
makes one, and begins a new shard in it: what lies in the shards before that is
from others, and may be orphaned. After `SHARD_FILES` files comes the next
shard, so that directories stay small.

Layout and order of writing: docs/formats/catalog.md.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import mmap
import os
import re
import threading
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store import attic, files, records, syncs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from strongroom.store import blobs

SHARD_FILES = 16_384
"""Files after which a new directory begins."""

_PLACE = re.compile(r"([0-9a-f]{8})/([0-9a-f]{8})/([0-9a-f]{32})")
_NAME = re.compile(r"[0-9a-f]{8}")
_LOCK = "lock"
_SCRATCH = "scratch"
"""A file of the lease that is there for moments only; each start removes what a crash left."""

IDENTITY = "store-id"
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
"""What file systems without hard links answer."""

_UNSUPPORTED = frozenset({errno.EINVAL, errno.EOPNOTSUPP})


def path_of(root: Path, place: str) -> Path:
    """Return the path of a place.

    Raises:
        StoreFailed: that is no place of ours: a damaged catalog, or an attack by way of it.
    """
    if _PLACE.fullmatch(place) is None:
        raise errors.StoreFailed(f"not a place of a blob: {place!r}")
    return root / place


def is_place(text: str) -> bool:
    """Whether that is a place of ours."""
    return _PLACE.fullmatch(text) is not None


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


class DiskBlobs:
    """Blobs under a root directory. Port: `strongroom.store.blobs.Blobs`.

    Making one takes a lease, and blocks for a few syncs. `create`, `open` and
    `remove` may be called on any thread; `settle` on one event loop.

    Attributes:
        direct: whether writes go past the page cache.
    """

    def __init__(self, root: Path, *, kernel: files.Kernel | None = None) -> None:
        """Take a lease under `root`, which is made if it is missing.

        Raises:
            StoreFull, StoreFailed: no lease can be had.
        """
        self._kernel = kernel or files.Kernel()
        self._buffers = files.Buffers()
        self._root = root
        self._attic = attic.Attic(root, self._kernel)
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
        self._syncs = syncs.Syncs(self._kernel, failed=self._leave_shard)

    def create(self, blob_id: bytes, expected_bytes: int) -> blobs.BlobWriter:
        """See the port.

        A blob that does not fit into the free space is refused before its first byte,
        lest it fill the disk for all others on its way to failing. Nothing is
        allocated ahead: fallocate made no difference to direct writes on ext4 (8 and
        64 MiB), and where a file system lacks it, the C library writes to each block.
        """
        if len(blob_id) != records.BLOB_ID_BYTES:
            raise ValueError(f"a blob id of {len(blob_id)} bytes")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        if self.direct:
            flags |= os.O_DIRECT
        try:
            if not self._fits(expected_bytes):
                raise errors.StoreFull("creating a blob: it is larger than the free space")
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
        )

    async def settle(self, place: str) -> None:
        """See the port."""
        await self._syncs.sync(self.path(place).parent)

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

    def strays(self) -> Iterator[tuple[bytes, str]]:
        """See the port. A free lease is held while its files are looked at.

        Of the own lease only the shards from before the start are looked at; new blobs
        never lie there, and nobody else writes into a lease that is held.
        """
        try:
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
            raise errors.StoreFailed(f"looking for strays: {error.strerror}") from error

    def set_aside(self, place: str) -> None:
        """See the port. It lies under `attic.NAME` from then on."""
        self._attic.take(self.path(place))

    def purge(self, before_s: float) -> int:
        """See the port."""
        return self._attic.purge(before_s)

    def identity(self) -> bytes | None:
        """See the port."""
        try:
            return (self._root / IDENTITY).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise files.trouble(error, "reading the identity of the blobs") from error

    def adopt(self, identity: bytes) -> None:
        """See the port."""
        if not identity:
            raise ValueError("an identity of no bytes")
        try:
            if self.identity() is None:
                self._write_identity(identity)
            standing = self.identity()
            if standing != identity:
                raise errors.StoreFailed("the blobs have another identity already")
            # Also if it stood there: whoever wrote it may have died before this.
            files.sync_directory(self._kernel, self._root)
        except OSError as error:
            raise files.trouble(error, "writing the identity of the blobs") from error

    def is_empty(self) -> bool:
        """See the port."""
        try:
            leases = [self._root / name for name in _names(self._root)]
            return not any(True for lease in leases for _ in self._files(lease, _names(lease)))
        except OSError as error:
            raise files.trouble(error, "looking for blobs") from error

    def close(self) -> None:
        """See the port."""
        self._syncs.close()
        self._lease.give_back()

    def path(self, place: str) -> Path:
        """Return the path of a place; raises as `path_of`."""
        return path_of(self._root, place)

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

    def _leave_shard(self, directory: Path) -> None:
        with self._shard_lock:
            if self._shard == directory.name:
                self._shard_room = 0

    def _fits(self, size: int) -> bool:
        """Whether so many bytes are free. Raises OSError."""
        space = self._kernel.statvfs(self._lease.path)
        # Some file systems have no idea, and say that they have no blocks at all.
        return not space.f_blocks or size <= space.f_bavail * space.f_frsize

    def _write_identity(self, identity: bytes) -> None:
        """Let a file with these bytes appear, whole, unless there is one. Raises OSError."""
        scratch, path = self._lease.path / _SCRATCH, self._root / IDENTITY
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        scratch.unlink(missing_ok=True)
        try:
            with os.fdopen(self._kernel.open(scratch, flags, 0o600), "wb") as file:
                file.write(identity)
                file.flush()
                self._kernel.fsync(file.fileno())
            try:
                self._kernel.link(scratch, path)
            except FileExistsError:
                return
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                # Not safe from another process that does the same at this moment.
                self._kernel.rename(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)

    def _files(self, lease: Path, shards: Sequence[str]) -> Iterator[tuple[bytes, str]]:
        for shard in shards:
            with os.scandir(lease / shard) as entries:
                for entry in entries:
                    place = f"{lease.name}/{shard}/{entry.name}"
                    if _PLACE.fullmatch(place):
                        yield bytes.fromhex(entry.name), place

    def _probe_direct(self) -> bool:
        """Try a direct write where the blobs will lie; some file systems refuse only the write."""
        path = self._lease.path / _SCRATCH
        # What a crash left may be the identity under a second name: not to be written to.
        path.unlink(missing_ok=True)
        page = mmap.mmap(-1, files.ALIGNMENT)
        try:
            fd = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_DIRECT, 0o600
            )
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
