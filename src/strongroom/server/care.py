"""The composition root of the commands that look after a data directory, beside a server or not.

As `build` is for the server: constructors are called here and nowhere else.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.keyring import master, sources
from strongroom.server import app, build, files, home
from strongroom.service import backup, scrubbing
from strongroom.store import copies, shelves
from strongroom.store.sqlite import inventory, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from strongroom.server import settings as configuration

BACKUP_NAME = "backup.json"
"""Says of a directory that it is a backup, of which store, and of when."""

BACKUP_FORMAT = 1
_NEW_CATALOG = build.CATALOG_NAME + ".new"
_MAY_BE_THERE = frozenset({home.LOCK, _NEW_CATALOG, build.BLOBS_NAME})
"""What a first backup that was interrupted leaves."""


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a backup did. `replaced`: whether it took the place of an earlier one, or the first."""

    copied: backup.Copied
    checked: scrubbing.Tally
    damages: tuple[scrubbing.Damage, ...]
    replaced: bool


@contextlib.contextmanager
def open_scrubber(settings: configuration.Settings) -> Iterator[scrubbing.Scrubber]:
    """Open a data directory for scrubbing; without a master key marks and heads are not judged.

    Raises:
        MasterKeyTrouble: the catalog was made under another master key.
        NotAuthentic: a store key is damaged.
        StoreLocked, StartRefused: the store is being recovered, or half recovered.
        StoreFailed: there is no catalog, or it cannot be read at all.
    """
    with (
        home.in_use(settings.data_dir),
        contextlib.closing(
            inventory.open_inventory(settings.data_dir / build.CATALOG_NAME)
        ) as opened,
    ):
        keys = store_keys(settings, opened)
        lying = shelves.Shelves(settings.data_dir / build.BLOBS_NAME)
        yield scrubbing.Scrubber(opened, lying, keys)


def back_up(
    settings: configuration.Settings,
    target: Path,
    *,
    link: bool,
    only_new: bool,
    phase: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
) -> BackedUp:
    """Make a directory a backup of a store, as it is at one moment of the run. Blocking.

    A server may be running, and goes on; only the removal of deleted objects' files waits.
    Until the end the directory is the backup that it was; killed at any moment, it
    still is, and the next run goes on with what was copied.

    Args:
        settings: with the store's data directory; without a master key, marks and heads
            are not judged.
        target: the directory; made, if it is missing.
        link: give files second names where that can be, instead of copying them.
        only_new: read again only what is copied now.
        phase: makes, from a label and a number of bytes, what is told of the bytes done.

    Raises:
        StartRefused: the directory is none that a backup of this store may be put into.
        StoreLocked: a server or another backup is using it; or the store is being recovered.
        MasterKeyTrouble: the catalog was made under another master key.
        StoreFull: no space for the copies.
        StoreFailed: the store, or the backup, cannot be read or written.
    """
    _check_apart(settings.data_dir, target)
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (
            home.locked(target),
            home.in_use(settings.data_dir),
            files.Gate(settings.data_dir / build.COLLECTION_NAME).held(),
        ):
            earlier = _earlier(target)
            fresh = target / _NEW_CATALOG
            _take_snapshot(settings.data_dir / build.CATALOG_NAME, fresh, phase)
            with contextlib.closing(inventory.open_inventory(fresh)) as opened:
                made = _copy_and_verify(
                    settings, target, opened, earlier, link=link, only_new=only_new, phase=phase
                )
            if made.replaced:
                _put_in_place(target, made)
                with contextlib.closing(
                    inventory.open_inventory(target / build.CATALOG_NAME)
                ) as opened:
                    lying = copies.Copies(target / build.BLOBS_NAME)
                    made.copied.pruned = lying.prune(opened.is_named)
            return made
    except OSError as error:
        raise errors.StoreFailed(f"{error.filename or target}: {error.strerror}") from error


def _check_apart(data_dir: Path, target: Path) -> None:
    one, other = data_dir.resolve(), target.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise app.StartRefused(
            "A backup must lie apart from the data directory; name another directory."
        )


def _earlier(target: Path) -> dict[str, object] | None:
    """Return what an earlier backup in a directory says of itself; None if none was finished.

    Raises:
        StartRefused: there is something else.
    """
    try:
        table = json.loads((target / BACKUP_NAME).read_bytes())
        if table["format"] != BACKUP_FORMAT:
            raise app.StartRefused(
                f"{target} is a backup in a format of a newer release; choose another directory."
            )
    except FileNotFoundError:
        strange = sorted({entry.name for entry in target.iterdir()} - _MAY_BE_THERE)
        strange = [name for name in strange if not name.startswith(_NEW_CATALOG)]
        if strange:
            raise app.StartRefused(
                f"{target} is not empty ({strange[0]}) and no backup; choose another directory."
            ) from None
        return None
    except (ValueError, KeyError, TypeError):
        raise app.StartRefused(
            f"{target / BACKUP_NAME} cannot be read; choose another directory."
        ) from None
    return dict(table) if (target / build.CATALOG_NAME).exists() else None


def _take_snapshot(
    source: Path,
    target: Path,
    phase: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
) -> None:
    told = 0

    def advance(done: int, total: int) -> None:
        # The bar counts bytes of a file whose length is known roughly; the log is part of it.
        nonlocal told
        reached = size * done // max(total, 1)
        tell(reached - told)
        told = reached

    try:
        size = source.stat().st_size
    except OSError as error:
        raise errors.StoreFailed(f"{source}: {error.strerror}") from error
    with phase("Copying the catalog", size) as tell:
        snapshot.take(source, target, advance)


def _copy_and_verify(
    settings: configuration.Settings,
    target: Path,
    opened: inventory.SqliteInventory,
    earlier: dict[str, object] | None,
    *,
    link: bool,
    only_new: bool,
    phase: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
) -> BackedUp:
    identity = opened.fact("store-id") or b""
    if earlier is not None and earlier.get("store_id") != identity.hex():
        raise app.StartRefused(f"{target} is a backup of another store; choose another directory.")
    lying = copies.Copies(target / build.BLOBS_NAME)
    lying.identify(identity)
    run = backup.Backup(
        opened,
        shelves.Shelves(settings.data_dir / build.BLOBS_NAME),
        lying,
        shelves.Shelves(target / build.BLOBS_NAME),
        store_keys(settings, opened),
        link=link,
    )
    total = opened.totals().blob_bytes
    with phase("Copying blobs", total) as advance:
        run.copy(advance)
    with phase("Reading copies", total) as advance:
        damages = tuple(run.verify(advance, only_new=only_new))
    rotten = {damage.file for damage in damages if damage.file}
    if rotten:
        run.copy_again(rotten)
        run.checked = scrubbing.Tally()
        with phase("Reading copies again", total) as advance:
            damages = tuple(run.verify(advance, only_new=True))
    # A catalog that is damaged must not take the place of one that is not, and what only that
    # one names must not be pruned. Files that the store has lost are lost either way.
    in_catalog = any(not damage.file for damage in damages)
    return BackedUp(run.copied, run.checked, damages, replaced=earlier is None or not in_catalog)


def _put_in_place(target: Path, made: BackedUp) -> None:
    """Let the new catalog take the old one's place."""
    catalog, fresh = target / build.CATALOG_NAME, target / _NEW_CATALOG
    # Its log must not be taken for the new one's. There is none, unless a server was started here.
    if catalog.exists():
        snapshot.settle(catalog)
    snapshot.settle(fresh)
    with contextlib.closing(inventory.open_inventory(fresh)) as opened:
        identity = opened.fact("store-id") or b""
    table = {
        "format": BACKUP_FORMAT,
        "store_id": identity.hex(),
        "taken": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "versions": made.checked.versions,
        "uploads": made.checked.uploads,
        "damages": len(made.damages),
    }
    # First what makes the directory a backup: without it the next run would not go on here.
    files.write(target / BACKUP_NAME, json.dumps(table, indent=2).encode() + b"\n", 0o600)
    fresh.rename(catalog)
    files.sync_directory(target)


def store_keys(
    settings: configuration.Settings, opened: inventory.SqliteInventory
) -> sources.StoreKeys | None:
    """Return the store's own keys; None without a master key, or if the catalog has none.

    Raises:
        MasterKeyTrouble: the catalog was made under another master key.
        NotAuthentic: a store key is damaged.
    """
    if settings.master_key is None:
        return None
    return sources.read_store_keys(opened, master.Master(settings.master_key))
