"""Putting a store together again, offline: the composition root of `strongroom recover`."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.access import identities
from strongroom.server import app, build, care, files, home, sealed_rows, switching
from strongroom.service import scrubbing
from strongroom.store import copies, disk, mirrors, shelves
from strongroom.store.sqlite import inventory, rebuild, salvage, schema, small_tables, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from strongroom.server import settings as configuration

WORK = "recovery"
"""Where the new catalog is made; what an interrupted run left there is removed by the next."""

RETURNED = "ffffffff/00000000"
"""Where blobs go that had been set aside."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What came of it.

    Attributes:
        rebuilt: what the new catalog holds.
        damages: what a scrub finds in it.
        returned: blobs that had been set aside and are back.
        from_backup: blobs that only the backup still had.
        unread_mirrors: mirrors that are damaged.
        was_whole: whether the old catalog could be read to the end.
        aside: names in the data directory under which the old catalog and mirrors are kept.
        mended: rows that were rotten, and that a mirror or the backup had a sound copy of.
        only_in_backup: users, roles and keys that neither catalog nor mirrors know: they may
            have been removed since.
    """

    rebuilt: rebuild.Rebuilt
    damages: tuple[scrubbing.Damage, ...]
    returned: int
    from_backup: int
    unread_mirrors: int
    was_whole: bool
    aside: tuple[str, ...]
    mended: tuple[str, ...] = ()
    only_in_backup: tuple[OnlyInBackup, ...] = ()


@dataclass(frozen=True, slots=True)
class OnlyInBackup:
    """Somebody, or a key, of whom only the backup knows.

    Attributes:
        kind: what it is, a word.
        name: its name.
        restored: whether it is there again. It is not where the mirrored tables could be read
            to the end, since those are younger.
    """

    kind: str
    name: str
    restored: bool


def recover(
    settings: configuration.Settings,
    backup: Path | None,
    *,
    force: bool = False,
    phase: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
) -> Recovered:
    """Build a new catalog from whatever is left, and put it in the place of the old one.

    Nothing is destroyed: the old catalog and its mirrors are kept under other names.
    Killed before it changes names, the next run begins anew with the same; killed while it
    does, the next run, or the server, changes the rest (`switching`).

    Args:
        settings: with the data directory.
        backup: a directory that `care.back_up` made of this store, if there is one.
        force: replace the old catalog even if the new one is worse.
        phase: as in `care.back_up`.

    Raises:
        StartRefused: `backup` is none, or of another store; or what is left has an older
            schema and cannot be brought to this one; or the new catalog is no gain.
        MasterKeyTrouble: what is left was made under another master key.
        StoreLocked: a server is running, or a command that has the catalog open.
        StoreFull, StoreFailed: the new catalog cannot be written; nothing was replaced.
    """
    data_dir = settings.data_dir
    try:
        with (
            home.locked(data_dir),
            home.recovering(data_dir),
            _workshop(data_dir) as work,
        ):
            other = None if backup is None else _Backup(backup, data_dir, work)
            with rebuild.Pieces.scratch(work / "scratch.sqlite") as pieces:
                run = _Run(data_dir, other, work, pieces)
                with phase("Gathering what is left", 1) as advance:
                    was_whole = run.gather()
                    run.find_blobs()
                    advance(1)
                rows = sealed_rows.judge(pieces.small, settings.master_key)
                fresh = work / "new.sqlite"
                rebuilt = pieces.build(
                    fresh,
                    identity=run.identity(),
                    root=identities.ROOT_ID,
                    now_ms=build.clock_ms(),
                )
                rebuilt.from_mirrors, rebuilt.from_backup = run.counts
                damages = _scrub(settings, fresh, phase)
                if run.mend(damages):
                    damages = _scrub(settings, fresh, phase)
                damages = (*map(scrubbing.Damage, rows.lost), *damages)
                strangers = tuple(_only_in_backup(pieces.small))
                if not force and (doubt := run.doubt(fresh, rebuilt)):
                    raise app.StartRefused(f"{doubt} {_kept_beside(data_dir, fresh)}")
            aside = _put_in_place(data_dir, work, fresh)
            return Recovered(
                rebuilt,
                damages,
                returned=run.returned,
                from_backup=run.from_backup,
                unread_mirrors=run.unread_mirrors,
                was_whole=was_whole,
                aside=aside,
                mended=rows.mended,
                only_in_backup=strangers,
            )
    except OSError as error:
        raise errors.StoreFailed(f"{error.filename or data_dir}: {error.strerror}") from error


class _Backup:
    """A backup to recover from: a copy of its catalog to read, and where its files lie."""

    def __init__(self, root: Path, data_dir: Path, work: Path) -> None:
        self.identity = _identity(root)
        if self.identity is None or not (root / build.CATALOG_NAME).is_file():
            raise app.StartRefused(f"{root} is no backup of a store.")
        if _identity(data_dir) not in (None, self.identity):
            raise app.StartRefused(f"{root} is a backup of another store.")
        self.catalog = _copied(root / build.CATALOG_NAME, work / "backup.sqlite")
        _modernise(self.catalog, "the catalog of the backup")
        self.shelves = shelves.Shelves(root / build.BLOBS_NAME)
        self.files = {blob_id: (place, size) for blob_id, place, size in self.shelves.all()}


class _Run:
    """One run.

    Attributes:
        counts: envelopes that only mirrors had, and that only the backup had.
        returned, from_backup, unread_mirrors: see `Recovered`.
    """

    def __init__(
        self, data_dir: Path, backup: _Backup | None, work: Path, pieces: rebuild.Pieces
    ) -> None:
        self._data_dir = data_dir
        self._backup = backup
        self._work = work
        self._pieces = pieces
        self._shelves = shelves.Shelves(data_dir / build.BLOBS_NAME)
        self._copies = copies.Copies(data_dir / build.BLOBS_NAME)
        self.counts = (0, 0)
        self._unread = 0
        self.returned = self.from_backup = self.unread_mirrors = 0

    def identity(self) -> bytes | None:
        """Return which store this is, if anything still says so."""
        standing = _identity(self._data_dir)
        if standing is None and self._backup is not None:
            return self._backup.identity
        return standing

    def gather(self) -> bool:
        """Gather rows from catalog, mirrors and backup; whether the catalog was whole.

        If it was, it knows what was deleted: then mirrors and backup give only what
        is missing of versions that it has.
        """
        whole = False
        old = _copied(self._data_dir / build.CATALOG_NAME, self._work / "old.sqlite")
        _modernise(old, "the catalog")
        with salvage.opened(old) as found:
            if found is not None:
                found.check()
            if found is not None and self._is_foreign(found):
                self._unread = sum(1 for _ in found.versions())
            elif found is not None:
                self._pieces.add_catalog(found)
                whole = found.complete
        lying = mirrors.Mirrors(self._data_dir / mirrors.NAME)
        places = [lying, *map(mirrors.Mirrors, lying.earlier())]
        standing = next(
            (each.registry for each in places if each.registry.exists()), lying.registry
        )
        known = self._add_registry(standing, spare=whole)
        of_mirrors = of_backup = 0
        for mirror in itertools.chain.from_iterable(each.all() for each in places):
            if isinstance(mirror, mirrors.Mirror):
                of_mirrors += self._pieces.add_mirror(mirror, only_known=whole)
            else:
                self.unread_mirrors += 1
        if self._backup is not None:
            with salvage.opened(self._backup.catalog) as found:
                if found is not None:
                    of_backup = self._pieces.add_catalog(
                        found, source=rebuild.BACKUP, only_known=whole, small_known=known
                    )
        self.counts = (of_mirrors, of_backup)
        return whole

    def _add_registry(self, standing: Path, *, spare: bool) -> bool:
        """Take the mirrored small tables; whether they could be read to the end."""
        registry = _copied(standing, self._work / "registry.sqlite")
        try:
            _modernise(registry, "the mirrored registry")
        except app.StartRefused:
            if spare:
                return False
            raise
        with salvage.opened(registry, having="buckets") as found:
            if found is None or self._is_foreign(found):
                return False
            found.check()
            self._pieces.add_small(found, rebuild.MIRROR, spare=spare, uploads=False)
            return found.complete

    def _is_foreign(self, found: salvage.Salvage) -> bool:
        """Whether a catalog is not the one of these blobs; one too damaged to tell is not foreign.

        A server that was started after the catalog was lost leaves an empty one that is whole.
        """
        standing = _identity(self._data_dir)
        columns, facts = found.everything("facts")
        if standing is None or not {"name", "value"} <= set(columns):
            return False
        at = (columns.index("name"), columns.index("value"))
        named = {row[at[0]]: row[at[1]] for row in facts}
        if "store-id" not in named:
            return found.complete
        return bool(named["store-id"] != standing)

    def doubt(self, fresh: Path, rebuilt: rebuild.Rebuilt) -> str:
        """Say what speaks against putting the new catalog in the place of the old; or nothing."""
        with contextlib.closing(inventory.open_inventory(fresh)) as opened:
            wrong = next(opened.contradictions(), "")
        if wrong:
            return f"The new catalog contradicts itself ({wrong})."
        if self._unread:
            return (
                f"{build.CATALOG_NAME} has {self._unread} versions, but is not the one of these"
                " blobs, so nothing of it was taken."
            )
        if rebuilt.missing:
            return (
                f"The new catalog lacks {rebuilt.missing} versions that can still be read in the"
                " old one."
            )
        if not rebuilt.versions and next(self._shelves.all(), None) is not None:
            return "The new catalog has no versions, but there are blobs."
        return ""

    def find_blobs(self) -> None:
        """Find where blobs lie; bring back those that were set aside, or that a backup has."""
        for blob_id, place, size in self._shelves.all():
            self._pieces.add_file(blob_id, place, size)
        for blob_id, size in self._pieces.wanted():
            if self._pieces.has_file(blob_id, size):
                continue
            aside = self._shelves.set_aside(blob_id)
            if aside is not None and aside.lstat().st_size == size:
                # Copied and not moved: what is aside goes by itself in its time.
                self._add(blob_id, f"{RETURNED}/{blob_id.hex()}", aside, size)
                self.returned += 1
            elif self._fetch(blob_id, size):
                self._pieces.add_file(blob_id, self._in_backup(blob_id)[0], size)
        self._copies.settle()

    def mend(self, damages: Sequence[scrubbing.Damage]) -> int:
        """Fetch files that are damaged from the backup; return how many there were."""
        mended = 0
        for name in {damage.file for damage in damages if damage.file}:
            blob_id = bytes.fromhex(name[-32:])
            place, _ = self._in_backup(blob_id)
            if place and self._backup is not None:
                self._copies.add(
                    name, self._backup.shelves.path(place), link=False, advance=lambda _: None
                )
                self.from_backup += 1
                mended += 1
        if mended:
            self._copies.settle()
        return mended

    def _fetch(self, blob_id: bytes, size: int) -> bool:
        place, there = self._in_backup(blob_id)
        if not place or there != size or self._backup is None:
            return False
        self._copies.add(
            place, self._backup.shelves.path(place), link=False, advance=lambda _: None
        )
        self.from_backup += 1
        return True

    def _in_backup(self, blob_id: bytes) -> tuple[str, int]:
        return ("", -1) if self._backup is None else self._backup.files.get(blob_id, ("", -1))

    def _add(self, blob_id: bytes, place: str, source: Path, size: int) -> None:
        self._copies.add(place, source, link=False, advance=lambda _: None)
        self._pieces.add_file(blob_id, place, size)


def _only_in_backup(small: small_tables.SmallTables) -> Iterator[OnlyInBackup]:
    for table, key, kind, name in (
        ("users", "user_id", "account", "name"),
        ("entities", "entity_id", "", "name"),
        ("access_keys", "access_key", "access key", "access_key"),
        ("kms_keys", "key_id", "KMS key", "key_id"),
    ):
        for row, restored in small.only_in(rebuild.BACKUP, table, (key,)):
            yield OnlyInBackup(kind or str(row.get("kind")), str(row.get(name)), restored)


def _scrub(
    settings: configuration.Settings,
    fresh: Path,
    phase: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
) -> tuple[scrubbing.Damage, ...]:
    with contextlib.closing(inventory.open_inventory(fresh)) as opened:
        lying = shelves.Shelves(settings.data_dir / build.BLOBS_NAME)
        with phase("Reading what is recovered", opened.totals().blob_bytes) as advance:
            try:
                keys = care.store_keys(settings, opened)
            except errors.NotAuthentic:
                keys = None  # which of them is damaged was told before
            return tuple(scrubbing.Scrubber(opened, lying, keys, advance).run())


def _modernise(copy: Path, what: str) -> None:
    """Bring a working copy to this release's schema, so that its columns can be asked for.

    One without a readable version stays as it is: it is salvaged row by row.

    Raises:
        StartRefused: it has another schema and cannot be brought to this one.
    """
    if not copy.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(copy)) as conn:
            (version,) = conn.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.DatabaseError, TypeError):
        return
    if version == schema.newest():
        return
    try:
        with contextlib.closing(sqlite3.connect(copy)) as conn:
            # Raises where a page cannot be read; a migration would step over some of those.
            sound = conn.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
        _migrate(copy, sound=sound)
    except (sqlite3.DatabaseError, errors.StoreFailed) as error:
        raise app.StartRefused(
            f"{what[0].upper()}{what[1:]} has schema {version} and cannot be brought to this"
            f" release's ({error}): open it once with a server of a release that knows it, or"
            " restore a backup into an empty directory and start the server there. Nothing was"
            " changed."
        ) from error


def _migrate(copy: Path, *, sound: bool) -> None:
    if not sound:
        raise errors.StoreFailed("it is damaged")
    schema.migrate(copy)


def _kept_beside(data_dir: Path, fresh: Path) -> str:
    snapshot.settle(fresh)
    kept = f"{build.CATALOG_NAME}.refused-{_stamp(data_dir)}"
    fresh.rename(data_dir / kept)
    files.sync_directory(data_dir)
    return (
        f"The old catalog and its mirrors were left as they are; the new one is kept as {kept}."
        " With --force it takes the old one's place all the same."
    )


def _put_in_place(data_dir: Path, work: Path, fresh: Path) -> tuple[str, ...]:
    """Set the old catalog and mirrors aside, and let the new catalog take its place.

    The log goes with its catalog, so that what is set aside can be opened under its new name.
    """
    snapshot.settle(fresh)
    earlier = [path.name for path in mirrors.Mirrors(data_dir / mirrors.NAME).earlier()]
    stamp = _stamp(data_dir)
    catalog, kept = build.CATALOG_NAME, f"{build.CATALOG_NAME}{mirrors.ASIDE}{stamp}"
    aside = {f"{catalog}{suffix}": f"{kept}{suffix}" for suffix in ("", "-wal", "-shm")}
    aside[mirrors.NAME] = f"{mirrors.NAME}{mirrors.ASIDE}{stamp}"
    aside = {name: to for name, to in aside.items() if (data_dir / name).exists()}
    if mirrors.NAME in aside:
        earlier.insert(0, aside[mirrors.NAME])
    # Until the server has made all mirrors anew, the next recovery needs the old ones.
    (work / mirrors.NAME).mkdir(mode=0o700)
    files.write(work / mirrors.NAME / mirrors.BEFORE, "\n".join(earlier).encode(), 0o600)
    switching.switch(
        data_dir, work, aside=aside, arriving={fresh.name: catalog, mirrors.NAME: mirrors.NAME}
    )
    return tuple(aside.values())


def _stamp(data_dir: Path) -> str:
    """Return a time under which nothing was set aside yet."""
    moment = dt.datetime.now(dt.UTC)
    while True:
        stamp = f"{moment:%Y%m%dT%H%M%S}"
        if not any(data_dir.glob(f"*.*-{stamp}*")) and not any(data_dir.glob(f"*-{stamp}*")):
            return stamp
        moment += dt.timedelta(seconds=1)


@contextlib.contextmanager
def _workshop(data_dir: Path) -> Iterator[Path]:
    switching.finish(data_dir)
    work = data_dir / WORK
    if work.exists():
        shutil.rmtree(work)
    work.mkdir(mode=0o700)
    try:
        yield work
    finally:
        # While names are being changed, the new catalog may still lie there.
        if not switching.is_under_way(data_dir):
            shutil.rmtree(work, ignore_errors=True)


def _copied(source: Path, target: Path) -> Path:
    """Copy a catalog with its log, to look at it without touching it; nothing if it is not there."""
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(source.with_name(source.name + suffix), f"{target}{suffix}")
            Path(f"{target}{suffix}").chmod(0o600)
    return target


def _identity(data_dir: Path) -> bytes | None:
    try:
        return (data_dir / build.BLOBS_NAME / disk.IDENTITY).read_bytes()
    except FileNotFoundError:
        return None
