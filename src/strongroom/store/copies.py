"""Copies of blob files under another root, each whole or absent.

    root/<place>             as `disk` has it: a server can be started on the copy
    root/<place>.partial     a copy that is being made, or that a crash left

A file appears under its name when all of it is durable, so whoever finds one there need
not copy it again: blobs never change, and no two have one id.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store import disk, files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PARTIAL = ".partial"

_STEP_BYTES = 16 * 1024 * 1024
_OURS = re.compile(rf"([0-9a-f]{{32}})({re.escape(PARTIAL)})?")
_FOLDER = re.compile(r"[0-9a-f]{8}")
_NOT_HERE = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
"""What is answered where the kernel cannot copy, or link, from one of two files to the other."""


class Copies:
    """The copies under one root. One thread at a time may use it."""

    def __init__(self, root: Path, *, kernel: files.Kernel | None = None) -> None:
        self._root = root
        self._kernel = kernel or files.Kernel()
        self._folders: set[Path] = set()

    def has(self, place: str, size: int) -> bool:
        """Whether a copy of this length is there.

        Raises:
            StoreFailed: that is no place of ours, or the disk answered with an error.
        """
        path = disk.path_of(self._root, place)
        try:
            return path.lstat().st_size == size
        except FileNotFoundError:
            return False
        except OSError as error:
            raise files.trouble(error, "looking at a copy") from error

    def add(self, place: str, source: Path, *, link: bool, advance: Callable[[int], None]) -> None:
        """Copy a file to a place, in place of what may be there; durable but for its name.

        Args:
            place: where to.
            source: where from.
            link: give the file a second name where the file system can, instead of a copy.
            advance: is told of bytes as they are copied.

        Raises:
            BlobMissing: there is no such source.
            StoreFull, StoreFailed: nothing stands under the name that did not before.
        """
        path = disk.path_of(self._root, place)
        partial = path.with_name(path.name + PARTIAL)
        try:
            # One by one: `parents=True` would give the upper one another mode.
            path.parent.parent.mkdir(mode=0o700, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._folders |= {path.parent, path.parent.parent}
            partial.unlink(missing_ok=True)
            if not (link and self._link(source, partial, advance)):
                self._copy(source, partial, advance)
            self._kernel.rename(partial, path)
        except FileNotFoundError as error:
            raise errors.BlobMissing(place) from error
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise files.trouble(error, "copying a blob") from error

    def settle(self) -> None:
        """Make the names of all copies durable.

        Raises:
            StoreFull, StoreFailed: they may not be.
        """
        try:
            for folder in (*self._folders, self._root):
                files.sync_directory(self._kernel, folder)
        except OSError as error:
            raise files.trouble(error, "making copies durable") from error
        self._folders.clear()

    def identify(self, identity: bytes) -> None:
        """Note which store these blobs are of, durably; nothing happens if that is noted already.

        Raises:
            StoreFailed: they are of another store; or the disk answered with an error.
        """
        path = self._root / disk.IDENTITY
        try:
            self._root.mkdir(mode=0o700, exist_ok=True)
            standing = path.read_bytes() if path.exists() else None
            if standing is None:
                partial = path.with_name(path.name + PARTIAL)
                with os.fdopen(os.open(partial, _NEW, 0o600), "wb") as file:
                    file.write(identity)
                    file.flush()
                    self._kernel.fsync(file.fileno())
                self._kernel.rename(partial, path)
                files.sync_directory(self._kernel, self._root)
            elif standing != identity:
                raise errors.StoreFailed("these are copies of another store's blobs")
        except OSError as error:
            raise files.trouble(error, "noting whose copies these are") from error

    def prune(self, is_wanted: Callable[[bytes], bool]) -> int:
        """Remove copies of blobs that are not wanted, and what crashes left; return how many.

        Raises:
            StoreFailed: the disk answered with an error.
        """
        removed = 0
        try:
            for path in self._files():
                match = _OURS.fullmatch(path.name)
                if match is None or (match[2] is None and is_wanted(bytes.fromhex(match[1]))):
                    continue
                self._kernel.unlink(path)
                removed += match[2] is None
        except OSError as error:
            raise files.trouble(error, "removing copies") from error
        return removed

    def _files(self) -> Iterator[Path]:
        for lease in _folders(self._root):
            for shard in _folders(lease):
                yield from sorted(shard.iterdir())

    def _link(self, source: Path, target: Path, advance: Callable[[int], None]) -> bool:
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            return False
        advance(target.lstat().st_size)
        return True

    def _copy(self, source: Path, target: Path, advance: Callable[[int], None]) -> None:
        reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            writing = self._kernel.open(target, _NEW, 0o600)
            try:
                copied = _in_kernel
                while done := copied(reading, writing):
                    if done < 0:
                        copied = self._by_hand
                    else:
                        advance(done)
                self._kernel.fdatasync(writing)
                # Neither is read again soon; the server's cache is not to be pushed out.
                for fd in (reading, writing):
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                self._kernel.close(writing)
        finally:
            os.close(reading)

    def _by_hand(self, reading: int, writing: int) -> int:
        data = memoryview(os.read(reading, files.BUFFER_BYTES))
        done = 0
        while done < len(data):
            done += os.write(writing, data[done:])
        return len(data)


_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


def _in_kernel(reading: int, writing: int) -> int:
    """Copy some bytes; 0 at the end, -1 if the kernel cannot do it for these files."""
    try:
        return os.copy_file_range(reading, writing, _STEP_BYTES)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
        return -1


def _folders(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if _FOLDER.fullmatch(each.name))
