"""Blob files as they lie under a root, for whoever only reads: no lease is taken, nothing made.

Beside a running server, or of a copy that no server has ever held.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store import attic, disk, files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from strongroom.store import blobs

_UNSUPPORTED = frozenset({errno.EINVAL, errno.EOPNOTSUPP})


class Shelves:
    """The blob files under a root. One thread at a time may use it.

    Adapter of `strongroom.store.blobs.BlobSource`.
    """

    def __init__(self, root: Path, *, kernel: files.Kernel | None = None) -> None:
        self._root = root
        self._kernel = kernel or files.Kernel()
        self._buffer = mmap.mmap(-1, files.BUFFER_BYTES)

    def path(self, place: str) -> Path:
        """Return the path of a place.

        Raises:
            StoreFailed: that is no place of ours.
        """
        return disk.path_of(self._root, place)

    def open(self, place: str) -> blobs.BlobReader:
        """See the port."""
        return files.FileReader(self._kernel, self._open(place, 0))

    def size(self, place: str) -> int:
        """Return how many bytes the file has.

        Raises:
            BlobMissing: there is none.
            StoreFailed: the disk answered with an error.
        """
        path = self.path(place)
        try:
            return path.lstat().st_size
        except FileNotFoundError as error:
            raise errors.BlobMissing(place) from error
        except OSError as error:
            raise files.trouble(error, "looking at a blob") from error

    def chunks(self, place: str) -> Iterator[memoryview]:
        """Yield all bytes of a file, as the disk has them; a chunk is good until the next.

        They are read past the page cache where the file system can: what memory still
        holds would hide what the disk has lost, and would push out what the server needs.

        Raises:
            BlobMissing, StoreFailed: as `size`; also on the way.
        """
        fd = self._open(place, os.O_DIRECT)
        try:
            view = memoryview(self._buffer)
            offset = 0
            while got := self._read(fd, view, offset):
                yield view[:got]
                offset += got
                if got % files.ALIGNMENT:
                    # The end, most likely; a further direct read from here would be refused.
                    _give_up_direct(fd)
        except OSError as error:
            raise files.trouble(error, "reading a blob") from error
        finally:
            self._kernel.close(fd)

    def _read(self, fd: int, view: memoryview, offset: int) -> int:
        try:
            return self._kernel.preadv(fd, [view], offset)
        except OSError as error:
            # Some file systems refuse not the opening but the first direct read.
            if error.errno not in _UNSUPPORTED:
                raise
            _give_up_direct(fd)
            return self._kernel.preadv(fd, [view], offset)

    def all(self) -> Iterator[tuple[bytes, str, int]]:
        """Yield (blob id, place, bytes) of all files, whatever they are to anybody.

        Raises:
            StoreFailed: the disk answered with an error.
        """
        try:
            for path in sorted(self._root.glob("*/*/*")):
                place = "/".join(path.parts[-3:])
                if disk.is_place(place) and path.is_file():
                    yield bytes.fromhex(path.name), place, path.lstat().st_size
        except OSError as error:
            raise files.trouble(error, "looking for blobs") from error

    def set_aside(self, blob_id: bytes) -> Path | None:
        """Return where a blob lies that was set aside as a stray; None if it was not."""
        path = self._root / attic.NAME / blob_id.hex()
        return path if path.is_file() else None

    def _open(self, place: str, more_flags: int) -> int:
        path = self.path(place)
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            try:
                return self._kernel.open(path, flags | more_flags)
            except OSError as error:
                if not more_flags or error.errno not in _UNSUPPORTED:
                    raise
                return self._kernel.open(path, flags)
        except FileNotFoundError as error:
            raise errors.BlobMissing(place) from error
        except OSError as error:
            raise files.trouble(error, "opening a blob") from error


def _give_up_direct(fd: int) -> None:
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~os.O_DIRECT)
