"""Small files that must be whole or absent: certificates, credentials, keys."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that after a crash it is the old one or the new one, never half.

    The new file has `mode` from its first byte on. Replaces what is there.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    with _whole(path, content, mode) as temporary:
        temporary.replace(path)
    sync_directory(path.parent)


def create(path: Path, content: bytes, mode: int) -> None:
    """Write a file that is not there yet, whole or not at all, as `write` does.

    Raises:
        FileExistsError: it is there, and untouched.
        OSError: it cannot be written.
    """
    with _whole(path, content, mode) as temporary:
        # A rename would replace what another process has just made; a link refuses to.
        path.hardlink_to(temporary)
        temporary.unlink()
    sync_directory(path.parent)


@contextlib.contextmanager
def _whole(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    """Yield a synced temporary file beside `path`; it goes unless the block gives it a name."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(content)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        yield temporary
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_directory(folder: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Turn:
    """Makes sure that of several processes one does what only one shall do.

    Whoever takes the turn keeps it until the process ends; then another gets it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Whether it is this process's turn; asks again each time until it is.

        Raises:
            OSError: the lock file cannot be made.
        """
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True


class Gate:
    """Tells processes that remove blobs and such that copy them apart.

    Many may hold it open at a time; nobody can pass meanwhile. A process that ends, however,
    lets go of it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def passing(self) -> Iterator[bool]:
        """Pass, if nobody holds it; yields whether that is so. Raises OSError."""
        with self._opened() as descriptor:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold it; waits until whoever is passing has passed. Raises OSError."""
        with self._opened() as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
