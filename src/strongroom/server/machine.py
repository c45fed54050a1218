"""What the process asks of the operating system, once, at its start."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import platform
import resource

_PR_SET_DUMPABLE = 4
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_MMAP_THRESHOLD_BYTES = 32 * 1024 * 1024
"""The most that glibc accepts on 64 bits (DEFAULT_MMAP_THRESHOLD_MAX)."""
_TRIM_THRESHOLD_BYTES = 64 * 1024 * 1024
_ARENAS = 4
OPEN_FILES = 65536


def forbid_core_dumps() -> None:
    """Keep memory, and the keys in it, out of core files and away from debuggers.

    Raises:
        OSError: the system refuses.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


def raise_open_files() -> None:
    """Allow as many descriptors as the hard limit does, up to `OPEN_FILES`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def settle_heap() -> None:
    """Take what the start has made, modules and tables, out of every later search for cycles.

    It stays until the end anyway, and is several times what requests leave behind.
    """
    gc.collect()
    gc.freeze()


def tune_allocator() -> None:
    """Keep freed memory of body pieces in glibc's heap.

    Bodies arrive in pieces of some 340 KB; with glibc's defaults each is mapped
    and unmapped: 1.3 to 1.6 CPU-s per GiB of upload, with these 1.15 to 1.2.
    Elsewhere than on glibc this does nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
    libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES)
    libc.mallopt(_M_ARENA_MAX, _ARENAS)
