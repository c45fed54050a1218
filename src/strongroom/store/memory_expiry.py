"""What goes by itself, in memory. Port: `strongroom.store.expiry`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from strongroom.store import catalog, expiry, histories

    Stack = Callable[[records.Version], tuple[dict[str, str], Sequence[histories.Entry]]]


class _NotDueError(Exception):
    """Calls off a removal: what it rests on has changed."""


class MemoryExpiry:
    """See the module. Belongs to a catalog in memory."""

    def __init__(self, whole: catalog.Catalog, stack: Stack) -> None:
        """Stand beside a catalog.

        Args:
            whole: the catalog, which deletes.
            stack: returns a bucket's settings and the versions of a key, the newest first;
                called from guards, so that nothing changes meanwhile.
        """
        self._catalog = whole
        self._stack = stack
        self._progress: bytes | None = None

    async def progress(self) -> bytes | None:
        """See the port."""
        return self._progress

    async def note_progress(self, progress: bytes) -> None:
        """See the port."""
        self._progress = progress

    async def expire(self, due: expiry.Due, marker: records.Version) -> bool:
        """See the port."""
        version = due.version

        def guard(_found: records.Version | None, _marks: bytes = b"") -> None:
            if not _holds(due, *self._stack(version)):
                raise _NotDueError

        try:
            if due.superseded_by_ms is None and not version.is_marker:
                await self._catalog.delete_object(marker, guard)
            else:
                await self._catalog.delete_version(
                    version.bucket, version.key, guard, version_id=version.version_id
                )
        except (_NotDueError, errors.BucketNotFound):
            return False
        return True


def _holds(due: expiry.Due, settings: dict[str, str], stack: Sequence[histories.Entry]) -> bool:
    if settings.get(records.LIFECYCLE) != due.rules:
        return False
    if not due.minds_locks(has_lock=records.OBJECT_LOCK in settings):
        return False
    place = next((at for at, entry in enumerate(stack) if entry.version == due.version), None)
    if place is None or due.marks not in (None, stack[place].marks):
        return False
    if due.superseded_by_ms is None:
        return not place and (not due.version.is_marker or len(stack) == 1)
    if not place or stack[place - 1].version.modified_ms > due.superseded_by_ms:
        return False
    between = sum(not entry.version.is_marker for entry in stack[1:place])
    return between >= due.behind
