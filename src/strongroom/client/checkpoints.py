"""What a transfer leaves behind so that the next process can continue it: a journal on disk.

One JSON object a line. The first says what the transfer is; the others what has been done.
A line is on the disk before what it announces is sent, so after a kill, or a power cut, the
journal knows at least as much as the server.

It holds envelopes, in which data keys are wrapped, and digests of ciphertext. No key.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from strongroom import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 1
_LONGEST_LINE = 1024 * 1024


class Journal:
    """One open journal, locked against a second process.

    Args:
        path: of the file; made with mode 0600 if it is not there.

    Raises:
        LostTrack: another transfer has it open.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise errors.LostTrack(f"{self.path} is in use by another transfer") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; it stays. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """Let go of the file and remove it: the transfer is over."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.close()

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield what was written; a last line that a kill cut short is left out.

        Raises:
            LostTrack: it is no journal of this version.
        """
        with open(self.path, "rb") as file:  # noqa: PTH123 - by line, with a limit
            first = True
            while line := file.readline(_LONGEST_LINE):
                if not line.endswith(b"\n"):
                    return
                try:
                    found = json.loads(line)
                except ValueError:
                    found = None
                if not isinstance(found, dict) or (first and found.get("strongroom") != VERSION):
                    raise errors.LostTrack(f"{self.path} is no checkpoint of ours")
                first = False
                yield found

    def begin(self, **what: Any) -> None:
        """Write the first line, in place of all that was there."""
        with self._lock:
            os.ftruncate(self._fd, 0)
        self.add(strongroom=VERSION, **what)

    def add(self, **what: Any) -> None:
        """Write one line and wait until it is on the disk."""
        data = json.dumps(what).encode() + b"\n"
        with self._lock:
            end = os.lseek(self._fd, 0, os.SEEK_END)
            if end and os.pread(self._fd, 1, end - 1) != b"\n":
                # What a kill cut short must not become the head of this line.
                end = self._last_newline(end)
                os.ftruncate(self._fd, end)
            os.pwrite(self._fd, data, end)
            os.fdatasync(self._fd)

    def _last_newline(self, end: int) -> int:
        """Return where the line that was cut short begins."""
        at = end
        while at:
            at -= 1
            if os.pread(self._fd, 1, at) == b"\n":
                return at + 1
        return 0


def place(directory: Path | str, *names: str) -> Path:
    """Return where the journal of a transfer lies, by what it is between."""
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()
    return Path(directory) / f"{digest[:32]}.checkpoint"


def identity(status: os.stat_result) -> list[int]:
    """Return what changes when a file is written to or exchanged.

    The time of the last change of the inode cannot be set back by any program.
    """
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
