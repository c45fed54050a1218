"""What an operator should know before it hurts: a data directory, looked at from outside.

Reads only, beside a running server or without one. Each check gives findings: what was
looked at, how it is, and what to do where it is not well.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import datetime as dt
import enum
import fcntl
import os
import resource
import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from strongroom import errors
from strongroom.keyring import master
from strongroom.server import app, build, home, tls
from strongroom.store.sqlite import inspection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from strongroom.server import settings

MIB = 1024 * 1024
FREE_BYTES = 1024 * MIB
FREE_BYTES_AT_LEAST = 64 * MIB
FREE_SHARE = 0.05
LARGE_WAL_BYTES = 256 * MIB
QUICK_CHECK_BYTES = 1024 * MIB
"""`PRAGMA quick_check` reads the whole file: of larger ones only when asked for."""
FUTURE_MS = 15 * 60 * 1000
"""Requests whose time differs by more are refused (S3's RequestTimeTooSkewed)."""
EXPIRES_SOON = dt.timedelta(days=21)
MIN_DESCRIPTORS = 4096

_TIME_ERROR = 5
"""What adjtimex(2) returns where nothing keeps the clock right."""
_TIMEX_BYTES = 256
"""More than the 208 bytes of `struct timex` on 64 bits."""
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs", "afs"}
)
_OTHERS_MAY = 0o077


class Status(enum.StrEnum):
    """How something is. Only `FAIL` keeps a store from working, or from being safe."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; `advice` is empty where all is well."""

    check: str
    status: Status
    found: str
    advice: str = ""


def examine(
    chosen: settings.Settings, *, now: dt.datetime, thorough: bool = False
) -> Iterator[Finding]:
    """Yield what is found about the store that `chosen` describes.

    Args:
        chosen: as `settings.load` gave it.
        now: aware UTC time.
        thorough: read the whole catalog, however large.
    """
    yield from _sqlite()
    yield from _clock(now)
    yield from _descriptors()
    if not chosen.data_dir.is_dir():
        yield Finding(
            "data directory",
            Status.FAIL,
            f"{chosen.data_dir.absolute()} is not there",
            "Name the right one with --data-dir, or start the server once to have it made.",
        )
        return
    chosen = dataclasses.replace(chosen, data_dir=chosen.data_dir.absolute())
    checks: tuple[Callable[[settings.Settings], Iterator[Finding]], ...] = (
        _directory,
        _server,
        _space,
        _file_system,
        _secrets,
        lambda found: _catalog(found, now=now, thorough=thorough),
        _lost,
        lambda found: _certificates(found, now),
    )
    for check in checks:
        try:
            yield from check(chosen)
        except OSError as error:
            yield Finding(
                "access",
                Status.FAIL,
                f"{error.filename or chosen.data_dir} cannot be read ({error.strerror})",
                "Run this as the user that runs the server.",
            )


def is_wal_reset_fixed(version: tuple[int, int, int]) -> bool:
    """Tell whether a version of SQLite has the bug that could corrupt a WAL database.

    Source: sqlite.org, "Write-Ahead Logging", section on the WAL-reset bug: 3.7.0 to 3.51.2
    have it; fixed in 3.51.3 and, for older lines, in 3.44.6 and 3.50.7.
    """
    lines = {(3, 44): 6, (3, 50): 7}
    return version >= (3, 51, 3) or version[2] >= lines.get(version[:2], version[2] + 1)


def _sqlite() -> Iterator[Finding]:
    version = sqlite3.sqlite_version
    if is_wal_reset_fixed(sqlite3.sqlite_version_info):
        yield Finding("SQLite", Status.OK, version)
    else:
        yield Finding(
            "SQLite",
            Status.WARN,
            f"{version} has the WAL-reset bug, which can damage a catalog; it is very rare",
            "Use a Python with SQLite 3.51.3 or newer (or 3.50.7, 3.44.6), and keep backups.",
        )


def _clock(now: dt.datetime) -> Iterator[Finding]:
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    state = ctypes.CDLL(None).adjtimex(timex)
    said = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    if state == _TIME_ERROR:
        yield Finding(
            "clock",
            Status.WARN,
            f"{said}, and nothing keeps it right",
            "Run an NTP client (chrony, systemd-timesyncd): requests are refused when the clocks of"
            " server and client are 15 minutes apart.",
        )
    elif state < 0:
        yield Finding("clock", Status.OK, f"{said}; whether it is kept right cannot be seen here")
    else:
        yield Finding("clock", Status.OK, f"{said}, kept right")


def _descriptors() -> Iterator[Finding]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MIN_DESCRIPTORS:
        yield Finding(
            "open files",
            Status.WARN,
            f"at most {hard}",
            f"Allow {MIN_DESCRIPTORS} or more (LimitNOFILE= of the unit, ulimit -n): each connection"
            " and each blob takes one.",
        )
    else:
        yield Finding("open files", Status.OK, f"at most {hard}")


def _directory(chosen: settings.Settings) -> Iterator[Finding]:
    about = chosen.data_dir.stat()
    mode = stat.S_IMODE(about.st_mode)
    where = str(chosen.data_dir)
    if about.st_uid != os.geteuid():
        yield Finding(
            "data directory",
            Status.WARN,
            f"{where} belongs to user {about.st_uid}, and this runs as {os.geteuid()}",
            "Run this as the user that runs the server, or what follows may not be what it sees.",
        )
    elif mode & _OTHERS_MAY:
        yield Finding(
            "data directory",
            Status.WARN,
            f"{where} has mode {mode:04o}: others may look in",
            f"chmod 700 {where}",
        )
    else:
        yield Finding("data directory", Status.OK, where)


def _server(chosen: settings.Settings) -> Iterator[Finding]:
    try:
        descriptor = os.open(chosen.data_dir / home.LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield Finding("server", Status.OK, "none was ever started here")
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield Finding("server", Status.OK, "none is running")
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        yield Finding("server", Status.OK, f"process {holder} is running")
    finally:
        os.close(descriptor)


def _space(chosen: settings.Settings) -> Iterator[Finding]:
    about = os.statvfs(chosen.data_dir)
    free, total = about.f_bavail * about.f_frsize, about.f_blocks * about.f_frsize
    said = f"{free // MIB} MiB free of {total // MIB}"
    advice = "Make room: when the disk is full, writes are refused (507), and nothing is lost."
    if free < FREE_BYTES_AT_LEAST:
        yield Finding("disk space", Status.FAIL, said, advice)
    elif free < FREE_BYTES or free < FREE_SHARE * total:
        yield Finding("disk space", Status.WARN, said, advice)
    else:
        yield Finding("disk space", Status.OK, said)
    # Some file systems count none.
    if about.f_files and about.f_favail < FREE_SHARE * about.f_files:
        yield Finding(
            "inodes",
            Status.WARN,
            f"{about.f_favail} free of {about.f_files}",
            "Make room: each object above 16 KiB takes an inode.",
        )


def _file_system(chosen: settings.Settings) -> Iterator[Finding]:
    kind = _file_system_of(chosen.data_dir)
    if kind in _NETWORK:
        yield Finding(
            "file system",
            Status.FAIL,
            f"{kind}, a network's",
            "Put the data directory on a local disk: SQLite's log needs shared memory and locks"
            " that network file systems do not keep.",
        )
    elif kind in ("tmpfs", "ramfs"):
        yield Finding(
            "file system",
            Status.WARN,
            f"{kind}: everything is gone with the next boot",
            "Put the data directory on a disk.",
        )
    else:
        yield Finding("file system", Status.OK, kind or "unknown")


def _file_system_of(path: Path) -> str:
    """Return the kind of file system that `path` lies on; empty if it cannot be told."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError):
        # Source: proc_pid_mountinfo(5): the third field is the device; the kind follows a lone "-".
        for line in Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines():
            before, _, after = line.partition(" - ")
            if before.split()[2] == wanted:
                return after.split()[0]
    return ""


def _secrets(chosen: settings.Settings) -> Iterator[Finding]:
    for name in (home.CREDENTIALS, home.MASTER_KEY, f"{home.TLS}/ca.key", f"{home.TLS}/server.key"):
        path = chosen.data_dir / name
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & _OTHERS_MAY:
                yield Finding(
                    name,
                    Status.FAIL,
                    f"mode {mode:04o}: others may read it",
                    f"chmod 600 {path}, and take it for known.",
                )
    if (chosen.data_dir / home.MASTER_KEY).exists():
        yield Finding(
            "place of the master key",
            Status.WARN,
            f"lies beside the data, in {home.MASTER_KEY}",
            "Who has this disk can open what is not under customer keys. Keep the key elsewhere and"
            " hand it over in STRONGROOM_MASTER_KEY; in any case, have a copy of it.",
        )
    try:
        home.inspected(chosen)
    except (errors.MasterKeyTrouble, app.StartRefused) as error:
        yield Finding("secrets", Status.FAIL, str(error), "Without them the server does not start.")
    else:
        yield Finding("secrets", Status.OK, "root's credentials and master key can be read")


def _catalog(chosen: settings.Settings, *, now: dt.datetime, thorough: bool) -> Iterator[Finding]:
    # Closing a catalog that nobody else has open removes its log, and a recovery puts another
    # catalog under the same name.
    try:
        with home.in_use(chosen.data_dir):
            yield from _standing(chosen, now=now, thorough=thorough)
    except (errors.StoreLocked, app.StartRefused) as error:
        yield Finding("catalog", Status.FAIL, "was not looked at", str(error))


def _standing(chosen: settings.Settings, *, now: dt.datetime, thorough: bool) -> Iterator[Finding]:
    path = chosen.data_dir / build.CATALOG_NAME
    if not path.exists():
        empty = not (chosen.data_dir / build.BLOBS_NAME).exists()
        yield Finding(
            "catalog",
            Status.OK if empty else Status.FAIL,
            f"there is no {build.CATALOG_NAME}",
            "" if empty else "Put it back from a backup: without it no blob can be found.",
        )
        return
    whole = thorough or path.stat().st_size <= QUICK_CHECK_BYTES
    seen = inspection.look(path, whole=whole)
    if seen.damage:
        yield Finding(
            "catalog",
            Status.FAIL,
            f"is damaged: {seen.damage}",
            "Stop the server, keep a copy of the file as it is, and put a backup back or recover.",
        )
        return
    extent = "sound" if whole else "not read whole (--thorough does)"
    yield Finding("catalog", Status.OK, f"{seen.file_bytes // MIB} MiB, {extent}")
    if seen.log_bytes > LARGE_WAL_BYTES:
        yield Finding(
            "write-ahead log",
            Status.WARN,
            f"{seen.log_bytes // MIB} MiB",
            "Something reads the catalog for a long time (a backup, a shell); end it, or restart the"
            " server.",
        )
    else:
        yield Finding("write-ahead log", Status.OK, f"{seen.log_bytes // 1024} KiB")
    if seen.schema_trouble:
        yield Finding(
            "schema",
            Status.WARN,
            seen.schema_trouble,
            "An older schema is brought up to date when the server starts; back up before.",
        )
        return
    yield from _master_key(chosen, seen.facts.get("master-key-check"))
    yield from _halves(chosen, seen.facts.get("store-id"))
    if seen.newest_ms is not None and seen.newest_ms > now.timestamp() * 1000 + FUTURE_MS:
        yield Finding(
            "time of objects",
            Status.FAIL,
            "the newest object is from the future",
            "The clock is wrong now, or was: set it right before anything expires by it.",
        )


def _master_key(chosen: settings.Settings, check: bytes | None) -> Iterator[Finding]:
    try:
        key = home.inspected(chosen).master_key
    except (errors.MasterKeyTrouble, app.StartRefused):
        return  # told by the check of secrets
    if key is None or check is None:
        return
    if master.Master(key).check_value() == check:
        yield Finding("master key", Status.OK, "is the one of this catalog")
    else:
        yield Finding(
            "master key",
            Status.FAIL,
            "is not the one that this catalog was made with",
            f"Restore {home.MASTER_KEY}, or set STRONGROOM_MASTER_KEY as the server has it.",
        )


def _halves(chosen: settings.Settings, store_id: bytes | None) -> Iterator[Finding]:
    path = chosen.data_dir / build.BLOBS_NAME / "store-id"
    if store_id is None or not path.exists():
        return
    if path.read_bytes() == store_id:
        yield Finding("blobs", Status.OK, "belong to this catalog")
    else:
        yield Finding(
            "blobs",
            Status.FAIL,
            "belong to another catalog",
            "Put the right catalog back, or the right blobs.",
        )


def _lost(chosen: settings.Settings) -> Iterator[Finding]:
    lost = chosen.data_dir / build.BLOBS_NAME / "lost"
    count = sum(1 for _ in lost.iterdir()) if lost.is_dir() else 0
    if count:
        yield Finding(
            "strays",
            Status.WARN,
            f"{count} in {lost}",
            "No row of the catalog knows them; they are removed after a week. If the catalog is an"
            " old one, put the right one back meanwhile.",
        )


def _certificates(chosen: settings.Settings, now: dt.datetime) -> Iterator[Finding]:
    if chosen.tls_cert is not None and chosen.tls_key is not None:
        try:
            tls.given(chosen.tls_cert, chosen.tls_key)
        except app.StartRefused as error:
            yield Finding("certificate", Status.FAIL, str(error), "The server does not start.")
            return
        mode = stat.S_IMODE(chosen.tls_key.stat().st_mode)
        if mode & 0o007:
            yield Finding(
                "certificate's key",
                Status.WARN,
                f"{chosen.tls_key} has mode {mode:04o}: everybody may read it",
                f"chmod o= {chosen.tls_key}",
            )
        yield _expiry("certificate", chosen.tls_cert, now, "Renew it, then send SIGHUP.")
        return
    pair = tls.made(chosen.data_dir / home.TLS)
    if not pair.cert.exists():
        yield Finding("certificate", Status.OK, "is made at the first start")
        return
    again = "A start renews it."
    yield _expiry("certificate", pair.cert, now, again)
    assert pair.ca is not None, "made pairs have one"
    yield _expiry("local CA", pair.ca, now, f"{again} Clients must then trust the new ca.crt.")


def _expiry(check: str, path: Path, now: dt.datetime, advice: str) -> Finding:
    try:
        (cert, *_) = x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError:
        return Finding(check, Status.FAIL, f"{path} is no PEM certificate", "Restore it.")
    ends = cert.not_valid_after_utc
    said = f"valid until {ends:%Y-%m-%d}"
    if now < cert.not_valid_before_utc:
        return Finding(
            check,
            Status.FAIL,
            f"not valid before {cert.not_valid_before_utc:%Y-%m-%d %H:%M}Z",
            "Set the clock right.",
        )
    if ends <= now:
        return Finding(check, Status.FAIL, f"expired on {ends:%Y-%m-%d}", advice)
    if ends - now < EXPIRES_SOON:
        return Finding(check, Status.WARN, said, advice)
    return Finding(check, Status.OK, said)
