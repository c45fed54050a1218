"""Blob files: written once from aligned memory, read by range.

Data goes past the page cache (O_DIRECT) where the file system can: it will not
be read soon, and copying it there costs several times the CPU of sealing it.
Buffers are page-aligned; the tail is padded, and cut off again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import threading
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store import blobs

if TYPE_CHECKING:
    from pathlib import Path

BUFFER_BYTES = 1024 * 1024
"""What goes to the disk in one write; a multiple of `blobs.ROOM_BYTES`."""

IDLE_BUFFERS = 16
"""Buffers kept for the next blob; more than that are given back to the system."""

ALIGNMENT = 4096
"""Direct I/O wants offsets and lengths in multiples of the disk's block: 512 or 4,096 bytes."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Kernel:
    """The system calls that writing and reading consist of; a seam for tests of failing disks."""

    open = staticmethod(os.open)
    pwrite = staticmethod(os.pwrite)
    preadv = staticmethod(os.preadv)
    ftruncate = staticmethod(os.ftruncate)
    fdatasync = staticmethod(os.fdatasync)
    fsync = staticmethod(os.fsync)
    close = staticmethod(os.close)
    unlink = staticmethod(os.unlink)
    link = staticmethod(os.link)
    rename = staticmethod(os.rename)
    statvfs = staticmethod(os.statvfs)


def trouble(error: OSError, doing: str) -> errors.StoreTrouble:
    """Return what to raise for an error of the operating system."""
    if error.errno in _FULL:
        return errors.StoreFull(f"{doing}: {os.strerror(error.errno)}")
    return errors.StoreFailed(f"{doing}: {error.strerror}")


def sync_directory(kernel: Kernel, path: Path) -> None:
    """Make the names in a directory durable. Raises OSError."""
    directory = kernel.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        kernel.fsync(directory)
    finally:
        kernel.close(directory)


class Buffers:
    """Aligned memory for writers, used again and again: mapping it anew costs page faults."""

    def __init__(self) -> None:
        self._idle: list[mmap.mmap] = []

    def take(self) -> mmap.mmap:
        """Return a buffer of `BUFFER_BYTES`, with whatever it held before."""
        try:
            return self._idle.pop()
        except IndexError:
            return mmap.mmap(-1, BUFFER_BYTES)

    def give_back(self, buffer: mmap.mmap) -> None:
        """Take a buffer back."""
        # A buffer that is not kept is unmapped when the last view of it goes.
        if len(self._idle) < IDLE_BUFFERS:
            self._idle.append(buffer)


class FileWriter:
    """A blob being written. Port: `strongroom.store.blobs.BlobWriter`."""

    __slots__ = (
        "_blob_id",
        "_buffer",
        "_buffers",
        "_direct",
        "_ended",
        "_failed",
        "_fd",
        "_filled",
        "_kernel",
        "_lock",
        "_path",
        "_place",
        "_written",
    )

    def __init__(
        self,
        blob_id: bytes,
        *,
        fd: int,
        path: Path,
        place: str,
        direct: bool,
        kernel: Kernel,
        buffers: Buffers,
    ) -> None:
        """Begin with an empty file.

        Args:
            blob_id: the blob's id.
            fd: the file, open for writing; closed here.
            path: where it lies.
            place: what `finish` returns.
            direct: whether `fd` is open with O_DIRECT.
            kernel: system calls.
            buffers: where aligned memory comes from.
        """
        self._blob_id = blob_id
        self._fd = fd
        self._path = path
        self._place = place
        self._direct = direct
        self._kernel = kernel
        self._buffers = buffers
        self._buffer: mmap.mmap | None = buffers.take()
        self._filled = 0
        self._written = 0
        self._ended = False
        self._failed = False
        # Whoever discards may not know that a worker is still writing: without the lock its
        # write could hit a descriptor that is closed, and by then another file's.
        self._lock = threading.Lock()

    @property
    def blob_id(self) -> bytes:
        """See the port."""
        return self._blob_id

    def room(self, size: int) -> memoryview:
        """See the port."""
        if not 0 < size <= blobs.ROOM_BYTES:
            raise ValueError(f"room for {size} bytes")
        with self._lock:
            buffer = self._usable()
            if self._ended:
                raise ValueError("the blob has had its last room")
            # The views handed out before have been filled by now.
            if self._filled == BUFFER_BYTES:
                try:
                    self._flush(buffer, BUFFER_BYTES)
                except OSError as error:
                    raise self._fail(error) from error
            start = self._filled
            self._filled += size
            self._ended = size < blobs.ROOM_BYTES
            return memoryview(buffer)[start : self._filled]

    def finish(self) -> str:
        """See the port."""
        with self._lock:
            buffer = self._usable()
            total = self._written + self._filled
            padding = -self._filled % ALIGNMENT if self._direct else 0
            # Else bytes of another blob would lie in the file for a moment.
            buffer[self._filled : self._filled + padding] = bytes(padding)
            try:
                self._flush(buffer, self._filled + padding)
                if padding:
                    self._kernel.ftruncate(self._fd, total)
                self._kernel.fdatasync(self._fd)
            except OSError as error:
                raise self._fail(error) from error
            self._close()
            self._buffer = None
            self._buffers.give_back(buffer)
            return self._place

    def discard(self) -> None:
        """See the port."""
        with self._lock:
            # Not given back: a thread that was cut off may still be filling it.
            self._buffer = None
            self._close()
            # What cannot be removed harms nobody: no row will refer to it, and the next
            # start finds it among the strays.
            with contextlib.suppress(OSError):
                self._kernel.unlink(self._path)

    def _usable(self) -> mmap.mmap:
        if self._failed:
            raise errors.StoreFailed("writing a blob: it has failed before")
        if self._buffer is None:
            raise ValueError("the blob is finished or discarded")
        return self._buffer

    def _flush(self, buffer: mmap.mmap, length: int) -> None:
        """Write the first `length` bytes of the buffer behind what was written."""
        view = memoryview(buffer)[:length]
        done = 0
        while done < length:
            wrote = self._kernel.pwrite(self._fd, view[done:], self._written + done)
            if not wrote:
                raise OSError(errno.EIO, "a write wrote nothing")
            done += wrote
            if wrote % ALIGNMENT and done < length and self._direct:
                # A short write that leaves the alignment: the rest goes through the cache.
                flags = fcntl.fcntl(self._fd, fcntl.F_GETFL)
                fcntl.fcntl(self._fd, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        self._written += length
        self._filled = 0

    def _fail(self, error: OSError) -> errors.StoreTrouble:
        self._failed = True
        return trouble(error, "writing a blob")

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                self._kernel.close(fd)
            except OSError:
                # The bytes are synced or given up, and close is never to be called again.
                return


class FileReader:
    """An open blob. Port: `strongroom.store.blobs.BlobReader`."""

    __slots__ = ("_fd", "_kernel")

    def __init__(self, kernel: Kernel, fd: int) -> None:
        self._kernel = kernel
        self._fd = fd

    def read_into(self, start: int, target: memoryview) -> None:
        """See the port."""
        done = 0
        try:
            while done < len(target):
                got = self._kernel.preadv(self._fd, [target[done:]], start + done)
                if not got:
                    raise errors.NotAuthentic("a blob ends too early")
                done += got
        except OSError as error:
            raise trouble(error, "reading a blob") from error

    def close(self) -> None:
        """See the port."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._kernel.close(fd)
