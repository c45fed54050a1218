"""The data directory: who holds it, and the secrets that are made at its first start."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.access import identities
from strongroom.crypto import secret
from strongroom.server import app, files, settings, switching

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.server import observe

LOCK = "lock"
IN_USE = "in-use.lock"
"""Shared by all that have the catalog open, beside a server or not; recovering needs it alone."""

CREDENTIALS = "root-credentials.json"
MASTER_KEY = "master.key"
TLS = "tls"
_OF_AN_EMPTY_HOME = frozenset({LOCK, IN_USE, CREDENTIALS, MASTER_KEY, TLS})
"""What may lie in a data directory that has never held an object."""


@contextlib.contextmanager
def opened(chosen: settings.Settings, reporter: observe.Reporter) -> Iterator[settings.Settings]:
    """Hold the data directory, and complete the settings with what lies in it.

    Yields:
        Settings with an absolute `data_dir`, root credentials and master key.

    Raises:
        StoreLocked: another server holds the directory, or a recovery does.
        MasterKeyTrouble: the master key is missing or malformed, and must not be made anew.
        StartRefused: directory or credentials cannot be used.
    """
    with contextlib.ExitStack() as stack:
        data_dir = chosen.data_dir
        if chosen.ephemeral and not chosen.data_dir_given:
            data_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="strongroom-")))
        data_dir = data_dir.absolute()
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(locked(data_dir))
            if switching.is_under_way(data_dir):
                with recovering(data_dir):
                    switching.finish(data_dir)
                reporter.log.info("recovery.finished", data_dir=str(data_dir))
            stack.enter_context(in_use(data_dir))
            completed = _with_credentials(dataclasses.replace(chosen, data_dir=data_dir), reporter)
            completed = _with_master_key(completed, reporter)
        except OSError as error:
            raise app.StartRefused(
                f"The data directory {data_dir} cannot be used ({error.strerror});"
                " check that it is a directory that this user may write."
            ) from None
        yield completed


def inspected(chosen: settings.Settings, *, master_key_needed: bool = True) -> settings.Settings:
    """Complete the settings from a data directory that exists, without holding or changing it.

    Without `master_key_needed` the master key stays None where there is none.

    Raises:
        MasterKeyTrouble: the master key is missing, though needed, or malformed.
        StartRefused: there is no data directory.
    """
    data_dir = chosen.data_dir.absolute()
    if not data_dir.is_dir():
        raise app.StartRefused(
            f"There is no data directory {data_dir}; name the right one with --data-dir,"
            " or start the server once to have it made."
        )
    chosen = dataclasses.replace(chosen, data_dir=data_dir)
    try:
        if chosen.root_access_key is None and (data_dir / CREDENTIALS).exists():
            access_key, secret_key = _read_credentials(data_dir / CREDENTIALS)
            chosen = dataclasses.replace(
                chosen, root_access_key=access_key, root_secret_key=secret_key
            )
        if chosen.master_key is None:
            found = _read_master_key(data_dir / MASTER_KEY)
            if found is None and master_key_needed:
                raise errors.MasterKeyTrouble(
                    f"{data_dir} has no {MASTER_KEY}: restore the file, or set"
                    " STRONGROOM_MASTER_KEY as the server has it."
                )
            chosen = dataclasses.replace(chosen, master_key=found)
    except OSError as error:
        raise app.StartRefused(
            f"The data directory {data_dir} cannot be read ({error.strerror});"
            " run this as the user that runs the server."
        ) from None
    return chosen


def root_credentials(chosen: settings.Settings) -> tuple[str, secret.SecretKey] | None:
    """Return root's access key and secret key: as set, or of the data directory; None if neither.

    Raises:
        StartRefused: what lies there cannot be read.
    """
    if chosen.root_access_key is not None and chosen.root_secret_key is not None:
        return chosen.root_access_key, chosen.root_secret_key
    path = chosen.data_dir / CREDENTIALS
    try:
        return _read_credentials(path) if path.exists() else None
    except OSError as error:
        raise app.StartRefused(
            f"{path} cannot be read ({error.strerror}); run this as the user that runs the server."
        ) from None


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold a data directory as a server does.

    Raises:
        StoreLocked: somebody holds it.
        OSError: it cannot be written to.
    """
    descriptor = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            raise errors.StoreLocked(
                f"Another server (process {holder}) holds the data directory {data_dir};"
                " stop it, or choose another --data-dir."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        # The file stays: removing it would let two servers lock two files of one name.
        os.close(descriptor)


@contextlib.contextmanager
def in_use(data_dir: Path) -> Iterator[None]:
    """Have the catalog of a data directory open, beside whoever else has.

    Raises:
        StoreLocked: the store is being recovered.
        StartRefused: a recovery of it was interrupted, or the directory cannot be used.
    """
    with _sharing(data_dir, fcntl.LOCK_SH) as held:
        if not held:
            raise errors.StoreLocked(
                f"The store in {data_dir} is being recovered; wait until that has ended."
            )
        if switching.is_under_way(data_dir):
            raise app.StartRefused(
                f"A recovery of {data_dir} was interrupted while it changed names; start the server,"
                " or run `strongroom recover`: either finishes it."
            )
        yield


@contextlib.contextmanager
def recovering(data_dir: Path) -> Iterator[None]:
    """Have a data directory alone; for whoever is in `locked`, too.

    Raises:
        StoreLocked: a command has the catalog open.
        StartRefused: the directory cannot be used.
    """
    with _sharing(data_dir, fcntl.LOCK_EX) as held:
        if not held:
            raise errors.StoreLocked(
                f"Another command is using the data directory {data_dir} (admin, keys, scrub,"
                " backup, or a process of a server that has just been ended);"
                " wait until it has ended."
            )
        yield


@contextlib.contextmanager
def _sharing(data_dir: Path, how: int) -> Iterator[bool]:
    try:
        descriptor = os.open(data_dir / IN_USE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise app.StartRefused(
            f"The data directory {data_dir} cannot be used ({error.strerror});"
            " run this as the user that runs the server."
        ) from None
    try:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _with_credentials(chosen: settings.Settings, reporter: observe.Reporter) -> settings.Settings:
    if chosen.root_access_key is not None:
        return chosen
    path = chosen.data_dir / CREDENTIALS
    if path.exists():
        access_key, secret_key = _read_credentials(path)
        reporter.log.info("credentials.read", path=str(path), access_key=access_key)
    else:
        access_key = identities.new_access_key(secrets.token_bytes)
        secret_key = identities.new_secret_key(secrets.token_bytes)
        text = secret_key.reveal().decode()
        table = {"access_key": access_key, "secret_key": text}
        files.write(path, json.dumps(table, indent=2).encode() + b"\n", 0o600)
        reporter.log.info("credentials.generated", path=str(path), access_key=access_key)
        if sys.stderr.isatty():
            print(  # noqa: T201 - once, to a person; no log file gets it
                f"Root credentials, shown this once (kept in {path}):\n"
                f"  access key  {access_key}\n  secret key  {text}",
                file=sys.stderr,
            )
    return dataclasses.replace(chosen, root_access_key=access_key, root_secret_key=secret_key)


def _read_credentials(path: Path) -> tuple[str, secret.SecretKey]:
    try:
        table = json.loads(path.read_bytes())
        return (
            settings.parse_access_key(table["access_key"]),
            settings.parse_secret_key(table["secret_key"]),
        )
    except (ValueError, KeyError, TypeError):
        raise app.StartRefused(
            f"{path} does not hold an access_key and a secret_key: restore it, or remove it"
            " to have new root credentials made."
        ) from None


def _with_master_key(chosen: settings.Settings, reporter: observe.Reporter) -> settings.Settings:
    if chosen.master_key is not None:
        return chosen
    if chosen.ephemeral:
        # Nothing outlives the process, so neither does its key.
        made = secret.SecretKey(secrets.token_bytes(settings.MASTER_KEY_BYTES))
        return dataclasses.replace(chosen, master_key=made)
    path = chosen.data_dir / MASTER_KEY
    found = _read_master_key(path)
    if found is None:
        found = _make_master_key(path, reporter)
    return dataclasses.replace(chosen, master_key=found)


def _read_master_key(path: Path) -> secret.SecretKey | None:
    """Return the key in the file; None if there is no file."""
    try:
        text = path.read_text("ascii")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        text = ""
    try:
        return settings.parse_master_key(text)
    except settings.SettingsError as error:
        raise errors.MasterKeyTrouble(
            f"{path} cannot be used: {error} Restore it from a backup; without it objects under"
            " SSE-S3 and the users' credentials cannot be opened."
        ) from None


def _make_master_key(path: Path, reporter: observe.Reporter) -> secret.SecretKey:
    held = sorted(entry.name for entry in path.parent.iterdir())
    if any(name not in _OF_AN_EMPTY_HOME and not _is_leftover(name) for name in held):
        raise errors.MasterKeyTrouble(
            f"The data directory {path.parent} is in use but has no {MASTER_KEY}: restore the file,"
            " or set STRONGROOM_MASTER_KEY if the key is kept elsewhere."
        )
    raw = secrets.token_bytes(settings.MASTER_KEY_BYTES)
    files.write(path, base64.b64encode(raw) + b"\n", 0o600)
    reporter.log.info("master_key.generated", path=str(path))
    return secret.SecretKey(raw)


def _is_leftover(name: str) -> bool:
    """Tell a temporary file of `files.write` that a crash left behind."""
    return any(name.startswith(f".{known}.") for known in _OF_AN_EMPTY_HOME)
