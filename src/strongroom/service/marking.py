"""Marks: read and changed without the key of the object that they are on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.crypto import envelope as envelopes
from strongroom.service import locks, replication_rules, versions

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.crypto import marks
    from strongroom.service import encryption
    from strongroom.store import catalog, records

_TRIES = 3
"""A change that loses its version to a concurrent write looks again this often."""


class Marking:
    """Changes the marks of versions. No customer key is needed."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        encryption: encryption.Encryption,
        *,
        clock_ms: Callable[[], int],
    ) -> None:
        self._catalog = catalog
        self._encryption = encryption
        self._clock_ms = clock_ms

    async def change(
        self,
        bucket: str,
        key: str,
        version_id: str | None,
        changed: Callable[[marks.Marks], marks.Marks],
    ) -> records.Version:
        """Change the marks of a version, the current one if none is named, and return its row.

        `changed` is asked again where others change them meanwhile. A version that is replicated
        is queued once more.

        Raises:
            ObjectNotFound, VersionNotFound, IsDeleteMarker: see `versions.look_up`.
            NotAuthentic: its marks are not what was written there.
            MarksChanged: others changed them each time.
            StrongroomError: whatever else `changed` raises.
        """
        for tries_left in reversed(range(_TRIES)):
            stored = await versions.look_up(self._catalog, bucket, key, version_id)
            wanted = changed(self._encryption.open_marks(stored))
            version = stored.version
            replicate_at_ms = None
            if replication_rules.STATUS_NOTE in wanted.notes:
                pending = {replication_rules.STATUS_NOTE: replication_rules.PENDING}
                wanted, replicate_at_ms = wanted.noted(**pending), self._clock_ms()
            binding = envelopes.Binding(version.mode, bucket, key, version.generation)
            sealed = self._encryption.seal_marks(binding, wanted)
            try:
                await self._catalog.set_marks(
                    version, sealed, before=stored.marks, replicate_at_ms=replicate_at_ms
                )
            except (errors.ObjectNotFound, errors.MarksChanged):
                # Overwritten, deleted or marked since it was looked up; look again.
                if not tries_left:
                    raise
            else:
                return version
        raise AssertionError("the last try returns or raises")


class Locking(Marking):
    """Reads and changes the locks of versions."""

    async def lock(self, bucket: str, key: str, version_id: str | None = None) -> locks.Lock:
        """Return a version's lock.

        Raises:
            ObjectNotFound, VersionNotFound, IsDeleteMarker: see `versions.look_up`.
            NotAuthentic: its marks are not what was written there.
        """
        stored = await versions.look_up(self._catalog, bucket, key, version_id)
        return locks.of(self._encryption.open_marks(stored))

    async def retain(
        self,
        bucket: str,
        key: str,
        version_id: str | None = None,
        *,
        mode: str,
        until_ms: int,
        bypass: bool = False,
    ) -> None:
        """Give a version a retention; without a mode, take it away.

        Raises:
            ObjectLocked: the one that it has may not be changed so: see `locks.retained`.
            and what `change` raises.
        """

        def changed(found: marks.Marks) -> marks.Marks:
            lock = locks.of(found)
            wanted = locks.retained(lock, mode, until_ms, self._clock_ms(), bypass=bypass)
            return locks.noted(found, wanted)

        await self.change(bucket, key, version_id, changed)

    async def hold(
        self, bucket: str, key: str, version_id: str | None = None, *, status: str
    ) -> None:
        """Put a version under a legal hold, or take it away: `locks.ON` or `locks.OFF`.

        Raises:
            what `change` raises.
        """

        def changed(found: marks.Marks) -> marks.Marks:
            return locks.noted(found, locks.held(locks.of(found), status))

        await self.change(bucket, key, version_id, changed)
