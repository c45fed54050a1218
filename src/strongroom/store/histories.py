"""The versions of a bucket in memory: of each key a stack, the newest first.

Beside the stacks stand two sorted lists of keys: all that have a version, and those
whose newest version is an object, which a listing of objects shows. Inserting moves
half a list: about a millisecond at a million keys, and nothing to depend on.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(slots=True)
class Body:
    """A body record with its blobs in order, and how many versions share it."""

    record: bytes
    refs: int
    blobs: tuple[records.BlobRef, ...]


@dataclass(slots=True, eq=False)
class Entry:
    """A version as it is kept; a delete marker has no body. Of a key the newest has the least `seq`."""

    version: records.Version
    envelope: bytes = b""
    body: Body | None = None
    marks: bytes = b""
    seq: int = 0


class Histories:
    """All versions of a bucket. Not for several threads at once."""

    def __init__(self) -> None:
        self._stacks: dict[bytes, list[Entry]] = {}
        self._keys: list[bytes] = []
        self._shown: list[bytes] = []

    @property
    def is_empty(self) -> bool:
        """Whether there is no version at all."""
        return not self._stacks

    @property
    def objects(self) -> int:
        """How many keys a listing of objects shows."""
        return len(self._shown)

    def newest(self, key: str) -> Entry | None:
        """Return the newest version of a key, be it a delete marker."""
        stack = self._stacks.get(key.encode())
        return None if stack is None else stack[0]

    def stack(self, key: str) -> Sequence[Entry]:
        """Return the versions of a key, the newest first. Not to be changed."""
        return self._stacks.get(key.encode(), ())

    def find(self, key: str, version_id: str) -> Entry | None:
        """Return a version of a key by its id."""
        for entry in self._stacks.get(key.encode(), ()):
            if entry.version.version_id == version_id:
                return entry
        return None

    def push(self, entry: Entry) -> Entry | None:
        """Put a version before all others of its key; a null version takes the place of another.

        Returns:
            the null version that is gone; None if none is.
        """
        key = entry.version.key.encode()
        gone = None
        if entry.version.version_id == records.NULL_VERSION:
            gone = self.find(entry.version.key, records.NULL_VERSION)
        stack = self._stacks.setdefault(key, [])
        if not stack:
            insort(self._keys, key)
        else:
            entry.seq = stack[0].seq - 1
        if gone is not None:
            stack.remove(gone)
        stack.insert(0, entry)
        self._show(key, shown=not entry.version.is_marker)
        return gone

    def insert(self, entry: Entry) -> None:
        """Put a version of a new id among the others of its key, by its time.

        Of two of the same time, the one that comes later is the newer.
        """
        key = entry.version.key.encode()
        stack = self._stacks.setdefault(key, [])
        if not stack:
            insort(self._keys, key)
        newer = sum(each.version.modified_ms > entry.version.modified_ms for each in stack)
        stack.insert(newer, entry)
        self._show(key, shown=not stack[0].version.is_marker)

    def remove(self, entry: Entry) -> None:
        """Take a version out; what stood behind it becomes the newest."""
        key = entry.version.key.encode()
        stack = self._stacks[key]
        stack.remove(entry)
        if not stack:
            del self._stacks[key]
            del self._keys[bisect_left(self._keys, key)]
        self._show(key, shown=bool(stack) and not stack[0].version.is_marker)

    def entries(self) -> Iterator[Entry]:
        """Yield all versions."""
        for stack in self._stacks.values():
            yield from stack

    def lay(self, key: bytes, stack: list[Entry]) -> None:
        """Let these, the newest first, be the versions of a key, whatever was there."""
        if key in self._stacks:
            del self._stacks[key]
            del self._keys[bisect_left(self._keys, key)]
        if stack:
            self._stacks[key] = stack
            insort(self._keys, key)
        self._show(key, shown=bool(stack) and not stack[0].version.is_marker)

    def body(self, record: bytes) -> Body | None:
        """Return the body that has this record."""
        for stack in self._stacks.values():
            for entry in stack:
                if entry.body is not None and entry.body.record == record:
                    return entry.body
        return None

    def scan_objects(self, start: bytes) -> Iterator[tuple[bytes, records.Version]]:
        """Yield from a key on what a listing of objects shows."""
        for index in range(bisect_left(self._shown, start), len(self._shown)):
            key = self._shown[index]
            yield key, self._stacks[key][0].version

    def scan(
        self, start: bytes, after_id: str = ""
    ) -> Iterator[tuple[bytes, tuple[records.Version, bool]]]:
        """Yield all versions from a key on, and whether each is the newest of its key.

        Of the key itself only those behind `after_id`; all of them if it has no such
        version.
        """
        for index in range(bisect_left(self._keys, start), len(self._keys)):
            key = self._keys[index]
            stack = self._stacks[key]
            skip = 0
            if key == start:
                ids = [entry.version.version_id for entry in stack]
                skip = ids.index(after_id) + 1 if after_id in ids else 0
            for place in range(skip, len(stack)):
                yield key, (stack[place].version, not place)

    def _show(self, key: bytes, *, shown: bool) -> None:
        at = bisect_left(self._shown, key)
        is_there = at < len(self._shown) and self._shown[at] == key
        if shown and not is_there:
            self._shown.insert(at, key)
        elif is_there and not shown:
            del self._shown[at]
