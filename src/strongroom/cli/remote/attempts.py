"""A file that is being fetched: hidden until it is whole, and resumable after a kill.

Beside the target lie a file with the ranges that are there, and a small note of which
they are and of which version. A range is noted only after it was synced, so the
note is true after a power cut as well.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from strongroom.cli import failures
from strongroom.cli.remote import places, troubles
from strongroom.crypto import digests

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_FORMAT = 1
_CHUNK_BYTES = 1024 * 1024
_NOTE_EVERY_S = 2.0
_NO_ADVANCE_SPACE = (errno.EOPNOTSUPP, errno.EINVAL)


class Attempt:
    """One attempt at a file of `size` bytes, in ranges of `step`.

    As a context: if it fails, what is there stays for the next one.

    Args:
        path: what the file will be called.
        about: what tells the version from all others; texts, numbers and None.
        size: bytes of the whole.
        step: bytes of a range.

    Raises:
        Failed: another process is at it.
        OSError: it cannot be made, or there is no space for it.
    """

    def __init__(self, path: Path, about: dict[str, Any], size: int, step: int) -> None:
        self._path = path
        # Not the target's name with something added: that could be too long for a file.
        name = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:24]
        self._hidden = path.with_name(f".strongroom-{name}.part")
        self._note_path = self._hidden.with_suffix(".json")
        self._about = {"format": _FORMAT, **about, "size": size, "step": step}
        self._size = size
        self._step = step
        self._count = -(-size // step)
        self._done: set[int] = set()
        self._lock = threading.Lock()
        self._noted_at = time.monotonic()
        # For the owner alone while it is half; who else may read it is decided at the end.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._hidden, flags, 0o600)
        try:
            self._take_up()
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        try:
            if kind is not None and self._done:
                self._write_note()
            elif kind is not None:
                self._remove()
        finally:
            os.close(self._descriptor)

    @property
    def done_bytes(self) -> int:
        """Bytes that are there."""
        return sum(end - start for start, end in map(self.bounds, self._done))

    @property
    def missing(self) -> list[int]:
        """The ranges that are not there, by number, from 0."""
        return [number for number in range(self._count) if number not in self._done]

    def bounds(self, number: int) -> tuple[int, int]:
        """Return where a range begins and ends, half-open."""
        start = number * self._step
        return start, min(start + self._step, self._size)

    def write(self, at: int, data: bytes) -> None:
        """Write `data` at byte `at`. From any thread."""
        view = memoryview(data)
        while view:
            count = os.pwrite(self._descriptor, view, at)
            view = view[count:]
            at += count

    def note(self, number: int) -> None:
        """Say that a range is there. From any thread."""
        with self._lock:
            self._done.add(number)
            if time.monotonic() - self._noted_at >= _NOTE_EVERY_S:
                self._write_note()
                self._noted_at = time.monotonic()

    def verify(self, algorithm: str, expected: bytes, check: Callable[[], None]) -> None:
        """Compare the checksum of the whole.

        Args:
            algorithm: by S3's name.
            expected: the raw digest.
            check: called now and then; raises to stop.

        Raises:
            Failed: it differs. What is there is removed.
        """
        running = digests.start(algorithm)
        at = 0
        while piece := os.pread(self._descriptor, _CHUNK_BYTES, at):
            check()
            running.update(piece)
            at += len(piece)
        if running.digest() != expected:
            self._done.clear()
            raise failures.Failed(
                f"{places.shown(str(self._path))}: the {algorithm} of what arrived is not that of the"
                " object; nothing was kept, run the command again."
            )

    def keep(self, *, only_new: bool) -> None:
        """Give the file its name, whole and synced; replaces what is there.

        Args:
            only_new: unless there is something.

        Raises:
            Lost: there is.
            OSError: it cannot be kept.
        """
        os.fchmod(self._descriptor, self._mode())
        os.fsync(self._descriptor)
        if only_new:
            try:
                self._path.hardlink_to(self._hidden)
            except FileExistsError:
                self._done.clear()
                raise troubles.Lost(f"{places.shown(str(self._path))} is there already.") from None
            self._hidden.unlink()
        else:
            self._hidden.replace(self._path)
        self._note_path.unlink(missing_ok=True)

    def _take_up(self) -> None:
        """Hold the file against other processes, and find out what is there."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise failures.Failed(
                f"{places.shown(str(self._path))} is being fetched by another process."
            ) from None
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            # A note that cannot be read is none: everything is fetched again.
            noted = dict(json.loads(self._note_path.read_bytes()))
            done = set(noted.pop("done"))
            if noted == self._about and os.fstat(self._descriptor).st_size == self._size:
                self._done = done.intersection(range(self._count))
        if not self._done:
            os.ftruncate(self._descriptor, 0)
            os.fchmod(self._descriptor, 0o600)
            self._make_room()

    def _make_room(self) -> None:
        if self._size == 0:
            return
        try:
            # A full disk shows now and not at the end.
            os.posix_fallocate(self._descriptor, 0, self._size)
        except OSError as error:
            if error.errno not in _NO_ADVANCE_SPACE:
                self._remove()
                raise
            os.ftruncate(self._descriptor, self._size)

    def _write_note(self) -> None:
        os.fdatasync(self._descriptor)
        text = json.dumps({**self._about, "done": sorted(self._done)})
        temporary = self._note_path.with_suffix(".new")
        temporary.write_text(text)
        temporary.replace(self._note_path)

    def _remove(self) -> None:
        self._note_path.unlink(missing_ok=True)
        self._hidden.unlink(missing_ok=True)

    def _mode(self) -> int:
        """Return the mode of what is replaced, else what a new file gets."""
        try:
            return stat.S_IMODE(self._path.stat().st_mode)
        except FileNotFoundError:
            # The mask can only be read by setting it, which other threads would see.
            for line in _status_lines():
                if line.startswith("Umask:"):
                    return 0o666 & ~int(line.split()[1], 8)
            return 0o600


def _status_lines() -> list[str]:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123 - no path of ours
            return status.readlines()
    except OSError:
        return []
