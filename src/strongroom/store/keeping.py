"""Port: versions that the guard keeps, and what stands under which key.

A kept version is one that a write or a deletion displaced in a guarded bucket
(`guarding`). No listing and no read finds it; its envelope and its blobs stay as they
are, and restoring puts the row back where it stood. So a restore needs no customer's key.

Every writing method is one transaction, as in `catalog`, with which adapters are closed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom.store import records

CURRENT: Final = "current"
BEHIND: Final = "behind"
KEPT: Final = "kept"
UPLOAD: Final = "upload"
"""Where something stands that a key guards: what a GET finds, what lies behind that, what the
guard keeps, and open uploads."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """Something that a key guards. Of an open upload `version_id` is the upload's id, size 0."""

    bucket: str
    key: str
    version_id: str
    size: int
    modified_ms: int
    standing: str


@dataclass(frozen=True, slots=True)
class GuardedPage:
    """A page of them; `next_after` is what to pass for the next one, None on the last."""

    found: Sequence[Guarded]
    next_after: tuple[Any, ...] | None


@dataclass(frozen=True, slots=True)
class Totals:
    """What is kept of a bucket; `next_ms` is when the first of it goes, 0 if nothing is kept."""

    versions: int
    size: int
    next_ms: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version of one key that may have stood at a moment.

    Attributes:
        version: its row.
        seq: where it stands, or stood, in the stack; the newest has the least.
        kept_ms: when it was displaced; None if it stands.
        handle: the adapter's own.
        stays: it stands, and is not to be set aside whenever it was written.
    """

    version: records.Version
    seq: int
    kept_ms: int | None
    handle: Any = field(compare=False)
    stays: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """How one key gets back to a moment.

    Attributes:
        stack: what stands afterwards, the newest first.
        aside: what stands now and did not then.
        back: what did not stand any more and will again.
    """

    stack: Sequence[Candidate]
    aside: Sequence[Candidate]
    back: Sequence[Candidate]


@dataclass(frozen=True, slots=True)
class Step:
    """What a step of a restore did.

    Attributes:
        next_after: key to pass for the next step; None after the last.
        seen: versions that were looked at, kept ones included.
        keys: names of the keys whose state changed.
        back: versions that stand again.
        back_bytes: their plaintext bytes.
        aside: versions that were set aside.
    """

    next_after: str | None
    seen: int
    keys: Sequence[str]
    back: int
    back_bytes: int
    aside: int


Stays = Callable[["records.Version", bytes], bool]
"""Gets a version and its marks; whether it must not be set aside. Runs inside the transaction, on
another thread: no I/O, no awaiting."""


def never(_version: records.Version, _marks: bytes) -> bool:
    """Let every version be set aside, also what is locked."""
    return False


def plan(candidates: Sequence[Candidate], to_ms: int) -> Plan | None:
    """Decide how a key gets back to the state of a moment; None if it is in that state.

    A version stood then if it was written by then and displaced only later. Of two with one
    id that both claim to have stood, which happens within the same few milliseconds or after an
    earlier restore, the later one did. What stays, stands as well.
    """
    then = [
        one
        for one in candidates
        if one.stays
        or (one.version.modified_ms <= to_ms and (one.kept_ms is None or one.kept_ms > to_ms))
    ]
    places = {one.seq for one in then}
    if len(places) == len(then):
        then.sort(key=lambda one: one.seq)
    else:
        # Numbers begin anew where a key was gone for a while, so that time must decide.
        then.sort(key=lambda one: (-one.version.modified_ms, one.seq))
    stack: dict[str, Candidate] = {}
    for one in then:
        stack.setdefault(one.version.version_id, one)
    stands = list(stack.values())
    aside = [one for one in candidates if one.kept_ms is None and one not in stands]
    back = [one for one in stands if one.kept_ms is not None]
    return Plan(stands, aside, back) if aside or back else None


def places_of(stack: Sequence[Candidate]) -> Sequence[int]:
    """Return the `seq` of each version of a stack: their own, if those are in order."""
    own = [one.seq for one in stack]
    if own == sorted(set(own)):
        return own
    return range(1 - len(own), 1)


class Keeping(Protocol):
    """What the guard keeps."""

    async def under(
        self, fingerprint: bytes, *, after: tuple[Any, ...] | None = None, limit: int
    ) -> GuardedPage:
        """Return a page of what stands under a customer's key, by bucket and key.

        Kept versions and open uploads come after all others. An index says so, and not the
        key: what was written while no fingerprints were kept is not among it.
        """
        ...

    async def totals(self, bucket: str) -> Totals:
        """Count what is kept of a bucket.

        Raises:
            BucketNotFound: there is none.
        """
        ...

    async def extend(self, bucket: str, keep_ms: int) -> None:
        """Keep what is kept of a bucket for `keep_ms` since it was displaced, if that is longer.

        Raises:
            BucketNotFound: there is none.
        """
        ...

    async def let_go(self, now_ms: int, *, limit: int) -> int:
        """Drop up to `limit` kept versions whose time is over; return how many."""
        ...

    async def drop(self, bucket: str, prefix: str = "", *, limit: int) -> int:
        """Drop up to `limit` kept versions of a bucket whether or not their time is over.

        Raises:
            BucketNotFound: there is none.
        """
        ...

    async def count(self, bucket: str, prefix: str = "") -> int:
        """Return how many versions a restore has to look at, kept ones included.

        Raises:
            BucketNotFound: there is none.
        """
        ...

    async def restore(
        self,
        bucket: str,
        prefix: str = "",
        *,
        to_ms: int,
        after: str | None,
        keys: int,
        keep_ms: int,
        dry_run: bool = False,
        stays: Stays = never,
    ) -> Step:
        """Bring the next `keys` keys behind `after` back to a moment.

        What is set aside is kept for `keep_ms`, so that a restore can be taken back. A second
        run to the same moment finds nothing to do. In a bucket with object lock `stays` is asked
        of each version that would be set aside.

        Raises:
            BucketNotFound: there is none.
        """
        ...
