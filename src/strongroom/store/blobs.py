"""Port: immutable bytes, written once, read by range.

A blob is written under the name it keeps, in a directory that the writing
process holds a *lease* on. Nothing refers to it until a catalog transaction
does, and that transaction is the commit point: there is no temporary name and
no rename. Adapters: `disk` and `memory`; one contract suite judges both.

The methods of writers and readers are synchronous and are called on worker
threads; one writer or reader is used by one thread at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOM_BYTES = 65536
"""The most that one call of `BlobWriter.room` may ask for: one sealed segment."""


class BlobWriter(Protocol):
    """A blob being written. Ends with `finish` or `discard`, whichever is first."""

    @property
    def blob_id(self) -> bytes:
        """The id that the blob will have."""
        ...

    def room(self, size: int) -> memoryview:
        """Return a writable view of exactly `size` bytes, which become the blob's next bytes.

        The caller fills it before it calls any method again. Every call but the
        last of a blob asks for exactly `ROOM_BYTES`; the last may ask for fewer
        (at least 1). So an adapter can hand out aligned memory and write it
        without a copy.

        Raises:
            StoreFull: no space; the blob is then only good to be discarded.
            StoreFailed: the disk answered with an error; likewise.
        """
        ...

    def finish(self) -> str:
        """Make the bytes durable (not yet the name: see `Blobs.settle`) and return the place.

        Raises:
            StoreFull, StoreFailed: as `room`; a failed sync is never tried again.
        """
        ...

    def discard(self) -> None:
        """Remove what was written. Safe at any time, also after `finish`; never raises."""
        ...


class BlobReader(Protocol):
    """An open blob: stays readable although it is removed meanwhile."""

    def read_into(self, start: int, target: memoryview) -> None:
        """Fill `target` with the blob's bytes from `start` on.

        Raises:
            NotAuthentic: the blob ends before `target` is full: it was cut.
            StoreFailed: the disk answered with an error.
        """
        ...

    def close(self) -> None:
        """Let go. May be called twice."""
        ...


class BlobSource(Protocol):
    """Where blobs lie, for whoever only reads."""

    def open(self, place: str) -> BlobReader:
        """Open a blob.

        Raises:
            BlobMissing: there is none at this place.
            StoreFailed: the disk answered with an error.
        """
        ...


class Blobs(BlobSource, Protocol):
    """Where blobs lie."""

    def create(self, blob_id: bytes, expected_bytes: int) -> BlobWriter:
        """Begin a blob.

        `expected_bytes` is how much ciphertext will come, as far as the caller knows
        (0 if not). Nothing is reserved and nobody is held to it; an adapter may use
        it to refuse at once what cannot fit.

        Raises:
            StoreFull, StoreFailed: as `BlobWriter.room`.
        """
        ...

    async def settle(self, place: str) -> None:
        """Make the name of a finished blob durable; shares one directory sync with all who wait.

        Once a sync has failed, all others who wait for the same directory fail too,
        and whoever asks later: a sync that then succeeds proves nothing.

        Raises:
            StoreFull, StoreFailed: the sync failed; the blob must be discarded.
        """
        ...

    def remove(self, place: str) -> None:
        """Remove a blob; nothing happens if it is gone already. Open readers keep theirs.

        Raises:
            StoreFailed: the disk answered with an error.
        """
        ...

    def strays(self) -> Iterator[tuple[bytes, str]]:
        """Yield (blob id, place) of blobs that no living writer can still commit.

        Those are the files under leases that nobody holds, and those that this
        process found in its own lease when it took it. Whether the catalog knows
        one is for the caller to ask before setting it aside.

        Lazy: however many there are, few are in memory. It may be consumed slowly,
        by one thread at a time, while blobs are written, removed and set aside;
        what this process writes meanwhile is never among them. Until it is
        exhausted or dropped it may keep a lease from other processes.

        Raises:
            StoreFailed: the disk answered with an error.
        """
        ...

    def set_aside(self, place: str) -> None:
        """Take a stray out of the way without destroying it yet; `purge` does that.

        A stray may be an object that only a lost catalog knew. From now on `open`
        and `strays` do not find it. Nothing happens if it is gone already.

        Raises:
            StoreFailed: the disk answered with an error.
        """
        ...

    def purge(self, before_s: float) -> int:
        """Destroy what was set aside before then (seconds since the epoch); return how many.

        Raises:
            StoreFailed: some could not be removed; they did not keep the others.
        """
        ...

    def identity(self) -> bytes | None:
        """Return the identity that was adopted, or None.

        Raises:
            StoreFailed: the disk answered with an error.
        """
        ...

    def adopt(self, identity: bytes) -> None:
        """Give these blobs an identity, durably; nothing happens if it is theirs already.

        It is that of the catalog which knows them, so that no other catalog takes
        them for strays. `identity` is not empty.

        Raises:
            StoreFailed: they have another, or the disk answered with an error.
            StoreFull: no space.
        """
        ...

    def is_empty(self) -> bool:
        """Whether there is no blob, finished or not, of whichever process. Stops at the first.

        What was set aside does not count.

        Raises:
            StoreFailed: the disk answered with an error.
        """
        ...

    def close(self) -> None:
        """Give the lease back. May be called twice."""
        ...
