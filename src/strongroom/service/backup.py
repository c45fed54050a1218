"""Copying what a snapshot of the catalog names, and proving that the copy is whole.

The snapshot was taken already, and nobody removes what it names until this is done: see
`server.care`. Copies that are there from an earlier backup, or from one that was
interrupted, are not made again. Blocking, for a thread or a process of its own.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from strongroom import errors
from strongroom.service import scrubbing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from strongroom.keyring import sources
    from strongroom.store import inventory as inventories
    from strongroom.store import records


class Source(Protocol):
    """Where the blobs lie."""

    def path(self, place: str) -> Path:
        """Return the path of a place. Raises `StoreFailed` if that is no place."""
        ...


class Target(Protocol):
    """Where the copies are to lie; see `store.copies.Copies`."""

    def has(self, place: str, size: int) -> bool:
        """Whether a copy of this length is there."""
        ...

    def add(self, place: str, source: Path, *, link: bool, advance: Callable[[int], None]) -> None:
        """Copy a file to a place."""
        ...

    def settle(self) -> None:
        """Make the names of all copies durable."""
        ...

    def prune(self, is_wanted: Callable[[bytes], bool]) -> int:
        """Remove copies of blobs that are not wanted; return how many."""
        ...


@dataclass(slots=True)
class Copied:
    """What a backup had to do with files.

    Attributes:
        blobs: how many were copied now.
        blob_bytes: how long those are.
        kept: how many were there already.
        mended: how many were there, damaged, and were copied again.
        pruned: how many were there and are not needed any more.
    """

    blobs: int = 0
    blob_bytes: int = 0
    kept: int = 0
    mended: int = 0
    pruned: int = 0


@dataclass(slots=True)
class Backup:
    """One run.

    Attributes:
        inventory: of the snapshot.
        source: the store's blobs.
        target: the copies.
        copies: the copies again, for reading.
        store_keys: as `Scrubber.store_keys`.
        link: give files a second name instead of copying them.
        copied: what was done so far.
        checked: what was read again so far.
    """

    inventory: inventories.Inventory
    source: Source
    target: Target
    copies: scrubbing.Shelves
    store_keys: sources.StoreKeys | None = None
    link: bool = False
    copied: Copied = field(default_factory=Copied)
    checked: scrubbing.Tally = field(default_factory=scrubbing.Tally)
    _new: set[bytes] = field(default_factory=set)

    def copy(self, advance: Callable[[int], None]) -> None:
        """Copy all files that are named and not there yet.

        What is missing in the store, or cannot be read, is left to `verify` to tell.

        Raises:
            StoreFull: no space for the copies.
            StoreFailed: the snapshot cannot be read, or names cannot be made durable.
        """
        for ref in self._named():
            if not ref.place or ref.size < 0:
                continue
            try:
                if self.target.has(ref.place, ref.size):
                    self.copied.kept += 1
                    advance(ref.size)
                    continue
                self.target.add(
                    ref.place, self.source.path(ref.place), link=self.link, advance=advance
                )
            except errors.StoreFull:
                raise
            except (errors.BlobMissing, errors.StoreFailed):
                continue
            self.copied.blobs += 1
            self.copied.blob_bytes += ref.size
            self._new.add(ref.blob_id)
        self.target.settle()

    def verify(
        self, advance: Callable[[int], None], *, only_new: bool
    ) -> Iterator[scrubbing.Damage]:
        """Scrub the snapshot with its copies; with `only_new`, files of earlier runs are not read."""
        scrubber = scrubbing.Scrubber(
            self.inventory,
            self.copies,
            self.store_keys,
            advance=advance,
            tally=self.checked,
            passes_over=self._is_old if only_new else scrubbing.nothing,
        )
        yield from scrubber.run()

    def copy_again(self, places: Collection[str]) -> None:
        """Copy files anew whose copies are damaged; only they count as new from now on.

        A copy that rots is mended so, as long as the store still has what was written.

        Raises:
            StoreFull: no space for the copies.
            StoreFailed: their names cannot be made durable.
        """
        self._new.clear()
        for place in places:
            with contextlib.suppress(errors.BlobMissing, errors.StoreFailed):
                source = self.source.path(place)
                self.target.add(place, source, link=self.link, advance=lambda _: None)
                self.copied.mended += 1
            self._new.add(bytes.fromhex(place[-32:]))
        self.target.settle()

    def prune(self) -> None:
        """Remove copies that the snapshot does not name.

        Raises:
            StoreFailed: some could not be removed.
        """
        self.copied.pruned = self.target.prune(self.inventory.is_named)

    def _is_old(self, ref: records.BlobRef) -> bool:
        if not ref.place or ref.blob_id in self._new:
            return False
        return self.target.has(ref.place, ref.size)

    def _named(self) -> Iterator[records.BlobRef]:
        shared: set[int] = set()
        for entry in self.inventory.entries():
            if entry.refs > 1:
                if entry.body_id in shared:
                    continue
                shared.add(entry.body_id)
            yield from entry.blobs
        for upload in self.inventory.uploads():
            yield from (ref for _, ref in upload.parts)
