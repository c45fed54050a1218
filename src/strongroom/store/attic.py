"""Where strays are kept for a while before they are destroyed.

    root/lost/<blob id>

A file without a row is most often what a crash left behind. But after a catalog
was lost, or an older one put back, it may be the only copy of an object. So it
is moved here first; its time of modification is when that was.
"""

from __future__ import annotations

import itertools
import os
import re
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store import files

if TYPE_CHECKING:
    from pathlib import Path

NAME = "lost"
"""The directory beside the leases; no lease is ever called so."""

_FILE = re.compile(r"[0-9a-f]{32}(-[0-9]+)?")


class Attic:
    """The directory for strays under one root."""

    def __init__(self, root: Path, kernel: files.Kernel) -> None:
        self._root = root
        self._path = root / NAME
        self._kernel = kernel
        self._name_is_durable = False

    def take(self, path: Path) -> None:
        """Move a blob's file here; nothing happens if it is gone.

        Where two files of one name are taken, which only copying by hand can bring
        about, the second is called `<blob id>-1`, and so on.

        Raises:
            StoreFailed: the disk answered with an error; the file lies in one of the two places.
        """
        try:
            # Before the move: a crash between must not leave a file here that seems old.
            os.utime(path, follow_symlinks=False)
            self._make()
            self._kernel.rename(path, self._free(path.name))
            # File systems with a journal keep the order, so that this makes the time
            # durable too. The directory that was left needs no sync: should the old name
            # come back after a crash, it is a stray again.
            files.sync_directory(self._kernel, self._path)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not os.path.lexists(path):
                return
            raise errors.StoreFailed(f"setting a stray aside: {error.strerror}") from error

    def purge(self, before_s: float) -> int:
        """Remove what was taken before then (seconds since the epoch), and return how many.

        Files that are not called like a blob are left alone.

        Raises:
            StoreFailed: some could not be removed; they did not keep the others.
        """
        removed = 0
        stuck: OSError | None = None
        try:
            with os.scandir(self._path) as entries:
                for entry in entries:
                    if _FILE.fullmatch(entry.name) is None:
                        continue
                    try:
                        if entry.stat(follow_symlinks=False).st_mtime < before_s:
                            self._kernel.unlink(self._path / entry.name)
                            removed += 1
                    except FileNotFoundError:
                        # Another process was quicker.
                        continue
                    except OSError as error:
                        stuck = error
        except FileNotFoundError:
            return 0
        except OSError as error:
            stuck = error
        if stuck is not None:
            raise errors.StoreFailed(f"removing old strays: {stuck.strerror}") from stuck
        return removed

    def _make(self) -> None:
        try:
            self._path.mkdir(mode=0o700)
        except FileExistsError:
            # Whoever made it may not have come to the sync.
            if self._name_is_durable:
                return
        files.sync_directory(self._kernel, self._root)
        self._name_is_durable = True

    def _free(self, name: str) -> Path:
        path = self._path / name
        for number in itertools.count(1):
            if not os.path.lexists(path):
                break
            path = self._path / f"{name}-{number}"
        return path
