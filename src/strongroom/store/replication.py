"""Port: what replication has to remember. A queue at the source, and replicas at the target.

A version is queued in the transaction that writes it, so that nothing is forgotten, and
struck off when it is where it should be. A task is a version, not a change of it: what is
sent is the state at that time, and a change meanwhile makes the task due once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from strongroom.store import records

MAX_TROUBLE_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Task:
    """A version, or delete marker, that is to be replicated.

    Attributes:
        number: ascends.
        bucket: where the version is.
        key: likewise.
        version_id: likewise.
        made_ms: when it was queued.
        attempts: how often it was tried in vain.
        done: targets that have it, by their ARNs.
        trouble: why the last attempt failed.
        revision: goes up each time that the version changes; a task is settled as it was read.
    """

    number: int
    bucket: str
    key: str
    version_id: str
    made_ms: int
    attempts: int = 0
    done: tuple[str, ...] = ()
    trouble: str = ""
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits: how many, how many of them were tried in vain, and since when the oldest."""

    waiting: int = 0
    failing: int = 0
    oldest_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Remote:
    """Another store that buckets may be replicated to.

    Attributes:
        name: stands in ARNs where AWS has the region: `arn:aws:s3:NAME::BUCKET`.
        url: `https://HOST:PORT`.
        region: that requests are signed for.
        access_key: of the user there.
        sealed_secret: the user's secret, which opens under the master key only.
        ca: certificate to trust, PEM; empty for the system's.
        users: canonical ids of whose buckets may use it, besides root's.
    """

    name: str
    url: str
    region: str
    access_key: str
    sealed_secret: bytes
    ca: str
    users: tuple[str, ...]
    created_ms: int


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of a replica: whether it was written, and whether its own blobs are used.

    Blobs are not where the body lies here already, or the version does.
    """

    written: bool
    blobs_used: bool


class ReplicationStore(Protocol):
    """The catalog's side of replication. All methods may raise `StoreFailed` or `StoreFull`."""

    # At the source

    async def due(self, now_ms: int, *, limit: int) -> Sequence[Task]:
        """Return tasks whose time has come, oldest first."""
        ...

    async def enqueue(self, bucket: str, versions: Collection[tuple[str, str]], now_ms: int) -> int:
        """Queue versions, (key, version id), that are not queued yet; return how many.

        Those that wait for another attempt become due at once.

        Raises:
            BucketNotFound: there is no such bucket.
        """
        ...

    async def settle(self, task: Task) -> bool:
        """Strike a task off, unless the version was changed since it was read; whether it was."""
        ...

    async def postpone(self, tasks: Collection[Task], due_ms: int) -> None:
        """Keep attempts, targets and trouble of tasks, and let them wait.

        Those whose version was changed since they were read stay as they are.
        """
        ...

    async def backlog(self, bucket: str | None = None) -> Backlog:
        """Return what waits, of all buckets or of one."""
        ...

    # At the target

    async def missing(self, body: bytes) -> Sequence[bytes]:
        """Return ids of blobs of an encoded body record that are neither staged nor in a body.

        Raises:
            StoreFailed: one of them is about to be removed; it can come once it is gone.
        """
        ...

    async def stage(self, blob: records.NewBlob, digest: bytes, now_ms: int) -> None:
        """Keep a blob for a replica that is to come. Nothing happens if it is kept already.

        Args:
            blob: in a file.
            digest: of the ciphertext, as in body records.
            now_ms: the time.

        Raises:
            StoreFailed: its id is taken.
        """
        ...

    async def put_replica(self, draft: records.Draft) -> Placed:
        """Put a version among the others of its key, by its time.

        Its body comes of `draft.blobs`, `draft.shares`, what is staged, or a body that is
        here already. A delete marker has neither envelope nor body. A version of the same id
        stays as it is, unless it is the null version, the draft's is newer, and the bucket
        has no object lock.

        Raises:
            BucketNotFound: as `Catalog.put_version`.
            VersioningChanged: the bucket's versioning is not enabled.
            BlobMissing: a blob of the body is not here.
            SourceGone: the version of `draft.shares` is gone.
        """
        ...

    async def expire_staged(self, before_ms: int) -> int:
        """Doom staged blobs that no replica came for; return how many."""
        ...

    # Other stores

    async def remotes(self) -> Sequence[Remote]:
        """Return all, by name."""
        ...

    async def add_remote(self, remote: Remote) -> bool:
        """Add one; False, and nothing changed, if the name is taken."""
        ...

    async def remove_remote(self, name: str) -> bool:
        """Remove one; False if there is none."""
        ...
