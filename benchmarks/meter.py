"""What the operating system knows of a server: CPU-seconds and resident memory of its processes."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

RSS_INTERVAL_S = 0.02
"""How often resident memory is looked at. The whole run's peak comes from the kernel instead."""


class Tree:
    """A process with its children. Without a process id (a server elsewhere) all figures are None."""

    def __init__(self, pid: int | None) -> None:
        self._root = None if pid is None else psutil.Process(pid)

    def cpu_s(self) -> float | None:
        """CPU-seconds so far, user and system, of all that live or were waited for."""
        if self._root is None:
            return None
        total = 0.0
        for process in self._living():
            with contextlib.suppress(psutil.NoSuchProcess):
                # Whatever a process has waited for counts as its children's.
                times = process.cpu_times()
                total += times.user + times.system
                total += times.children_user + times.children_system
        return total

    def rss_bytes(self) -> int | None:
        """Resident bytes at this moment; shared pages count for each process."""
        if self._root is None:
            return None
        total = 0
        for process in self._living():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total

    def peak_bytes(self) -> int | None:
        """Sum of the processes' own peaks (VmHWM): never less than the tree's true peak."""
        if self._root is None:
            return None
        total = 0
        for process in self._living():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                status = Path(f"/proc/{process.pid}/status").read_text("ascii", "replace")
                found = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
                total += int(found[1]) * 1024 if found else 0
        return total

    def _living(self) -> Sequence[psutil.Process]:
        assert self._root is not None, "asked by the callers"
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            raise RuntimeError("the server has ended") from None


@dataclass(slots=True)
class Reading:
    """What happened between `Meter`'s enter and exit.

    Attributes:
        cpu_s: the server's CPU-seconds; None if it is not ours to ask.
        rss_bytes: the most that was seen resident.
        machine_s: CPU-seconds that the whole machine was busy.
        elapsed_s: how long it was metered; longer than the work by the pause behind it.
    """

    cpu_s: float | None = None
    rss_bytes: int | None = None
    machine_s: float = 0.0
    elapsed_s: float = 0.0


class Meter:
    """Reads a server's figures around a `with` block, and its memory all through it."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.reading = Reading()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._watch.start()
        self._began_at = time.monotonic()
        self._busy_before = _machine_busy_s()
        self._cpu_before = self._tree.cpu_s()
        return self

    def __exit__(self, *_exc: object) -> None:
        cpu_s = self._tree.cpu_s()
        self.reading.elapsed_s = time.monotonic() - self._began_at
        self.reading.machine_s = _machine_busy_s() - self._busy_before
        if cpu_s is not None and self._cpu_before is not None:
            self.reading.cpu_s = cpu_s - self._cpu_before
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        while True:
            rss = self._tree.rss_bytes()
            if rss is None:
                return
            self.reading.rss_bytes = max(self.reading.rss_bytes or 0, rss)
            if self._over.wait(RSS_INTERVAL_S):
                return


def _machine_busy_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)
