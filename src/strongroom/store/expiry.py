"""Port: versions that go by themselves, by the rules of their bucket.

Whoever walks over a bucket decides by what it has read, and what it has read may have
changed since: the object was written anew, brought back from behind a delete marker,
tagged otherwise, or its bucket's rules were taken away. So a removal says what it rests
on, and the transaction looks at all of it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from strongroom.store import records


@dataclass(frozen=True, slots=True)
class Due:
    """A version whose time has come, and what that rests on.

    Attributes:
        version: the row as it was read. It must stand there still, in every column.
        rules: the bucket's document (`records.LIFECYCLE`) that says so.
        superseded_by_ms: None for the newest version of a key, which must still be
            that; a delete marker must be the only version, too. Else the version
            next newer must be there, written at this time at the latest.
        behind: how many noncurrent versions must stand between it and the newest;
            delete markers do not count.
        marks: those that its tags and its lock were read from; None where neither was asked for.
    """

    version: records.Version
    rules: str
    superseded_by_ms: int | None = None
    behind: int = 0
    marks: bytes | None = None

    @property
    def goes_for_good(self) -> bool:
        """Whether a version would be deleted that is more than a delete marker, and not hidden."""
        return self.superseded_by_ms is not None and not self.version.is_marker

    def minds_locks(self, *, has_lock: bool) -> bool:
        """Whether locks were looked at, if there can be one: in a bucket with object lock."""
        return not (has_lock and self.goes_for_good) or self.marks is not None


class Expiry(Protocol):
    """Removes what is due, and remembers how far it got.

    All methods may raise `StoreFailed` or `StoreFull`, and then changed nothing.
    """

    async def expire(self, due: Due, marker: records.Version) -> bool:
        """Delete a version if all that makes it due still holds; False if not, and nothing changed.

        The newest version of a key is deleted as `Catalog.delete_object` deletes with
        `marker`, so it may end up behind that. All others, and delete markers, go for
        good; where the bucket has object lock, only such whose marks were read.
        In a bucket that is gone nothing is due.
        """
        ...

    async def progress(self) -> bytes | None:
        """Return what was noted last, None if nothing ever was."""
        ...

    async def note_progress(self, progress: bytes) -> None:
        """Note how far the walk got, in place of what was noted before."""
        ...
