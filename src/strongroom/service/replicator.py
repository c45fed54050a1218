"""Replication at the source: from the queue to the targets, again and again until they have it.

A task stays in the queue until each target that a rule names has the version. What cannot
be reached is tried again soon, and as long as it takes; what refuses is tried again seldom,
and the version says FAILED meanwhile. Nothing is given up: a target that has been mended
gets what waits. So a process may die at any point; what it did not strike off is done again,
and doing it again changes nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from strongroom import errors
from strongroom.crypto import envelope as envelopes
from strongroom.crypto import replica
from strongroom.keyring import kms_sources, sources
from strongroom.service import locks, replicas, replication_rules
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from strongroom.keyring import kms
    from strongroom.service import encryption, transfer
    from strongroom.store import catalog, replication

BATCH: Final = 200
"""Tasks read from the queue at once."""
LANES: Final = 4
"""Tasks worked on at a time."""

FIRST_PAUSE_MS: Final = 1000
UNREACHABLE_PAUSE_MS: Final = 30_000
"""The longest pause after a target could not be reached."""
REFUSED_PAUSE_MS: Final = 3_600_000
"""The longest pause after a target refused."""

PAGE: Final = 1000

STAGED_KEPT_MS: Final = 7 * 24 * 3600 * 1000
"""How long blobs wait for the replica that they were sent for."""


class Unreachable(Exception):
    """A target did not answer, or could not keep what it was sent: later it may."""


class Declined(Exception):
    """A target, or the source itself, says no: somebody has to change something."""


@dataclass(slots=True)
class Parcel:
    """A version on its way.

    Attributes:
        manifest: all of it but its blobs.
        refs: where its blobs lie, in body order; they are pinned.
        replica_key: KMS key that the rule names for the replica.
    """

    manifest: replicas.Manifest
    refs: Sequence[records.BlobRef]
    replica_key: str


class Remotes(Protocol):
    """The other stores."""

    async def refresh(self) -> None:
        """Take note of stores that were added, changed or removed."""
        ...

    def may_use(self, remote: str, owner: str) -> bool:
        """Whether buckets of this account may be replicated there; False if there is no such store."""
        ...

    async def put(self, remote: str, bucket: str, parcel: Parcel) -> None:
        """Bring a version there; returns when it is durable there.

        Raises:
            Unreachable, Declined: it is not.
            BlobMissing, NotAuthentic, StoreFailed: a blob cannot be read here.
        """
        ...

    async def put_marker(
        self, remote: str, bucket: str, key: str, version_id: str, modified_ms: int
    ) -> None:
        """Bring a delete marker there. Raises as `put`."""
        ...


class Permits(Protocol):
    """Whether an account may replicate into a bucket of this store."""

    async def __call__(self, owner: str, target: records.Bucket, key: str, *, marker: bool) -> bool:
        """Tell whether the owner of a bucket may write replicas under this key there."""
        ...


class Replicator:
    """Works the queue off."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        encryption: encryption.Encryption,
        receiver: replicas.Replicas,
        pins: transfer.Pins,
        remotes: Remotes,
        *,
        permits: Permits,
        caller_of: Callable[[str], Awaitable[kms.Caller]],
        owner_at: Callable[[records.Bucket, str], str],
        clock_ms: Callable[[], int],
        may_replicate: Callable[[], bool] = lambda: True,
        report: Callable[[replication.Task, Exception], None] = lambda _task, _error: None,
    ) -> None:
        """Prepare.

        Args:
            catalog: has the queue.
            encryption: opens what the server holds the key of.
            receiver: takes replicas in that stay in this store.
            pins: keep blobs while they are sent.
            remotes: the other stores.
            permits: judges replication within this store.
            caller_of: how the KMS knows the owner of a bucket, by canonical id.
            owner_at: whose a replica is, of a bucket and the account that wrote the version.
            clock_ms: the time.
            may_replicate: whether it is this process, of all that share the store, that does.
            report: is told of what is declined.
        """
        self._catalog = catalog
        self._store = catalog.replication
        self._encryption = encryption
        self._receiver = receiver
        self._pins = pins
        self._remotes = remotes
        self._permits = permits
        self._caller_of = caller_of
        self._owner_at = owner_at
        self._clock_ms = clock_ms
        self._may_replicate = may_replicate
        self._report = report
        self._running = asyncio.Lock()
        self._resting: dict[str, tuple[int, int]] = {}

    async def run(self) -> int:
        """Do what is due; return how many versions are where they should be.

        Raises:
            StoreFull, StoreFailed: the rest is done next time.
        """
        if not self._may_replicate():
            return 0
        done = 0
        async with self._running:
            first = True
            while tasks := await self._store.due(self._clock_ms(), limit=BATCH):
                if first:
                    await self._remotes.refresh()
                    first = False
                lanes = asyncio.Semaphore(LANES)

                async def work(task: replication.Task, lanes: asyncio.Semaphore = lanes) -> bool:
                    async with lanes:
                        return await self._work(task)

                settled = sum(await asyncio.gather(*map(work, tasks)))
                done += settled
                if not settled and any(map(self._rests, self._resting)):
                    # Else the whole queue would be written anew to say that it waits.
                    break
        return done

    async def expire(self) -> int:
        """Doom what was staged here for replicas that never came; return how many blobs."""
        return await self._receiver.expire_staged(self._clock_ms() - STAGED_KEPT_MS)

    async def _work(self, task: replication.Task) -> bool:
        """Work on a task; whether it is settled. What goes wrong makes it wait."""
        try:
            bucket = await self._catalog.bucket(task.bucket)
            try:
                stored = await self._catalog.version(task.bucket, task.key, task.version_id)
            except errors.IsDeleteMarker as error:
                return await self._marker(task, bucket, error.modified_ms)
            return await self._version(task, bucket, stored)
        except errors.NotFound:
            # The version is gone, or the whole bucket; so is the task, or it shall be.
            return await self._store.settle(task)
        except (errors.StoreTrouble, errors.MarksChanged, errors.KmsUnavailable) as error:
            await self._wait(task, error, UNREACHABLE_PAUSE_MS)
        except errors.StrongroomError as error:
            self._report(task, error)
            await self._wait(task, error, REFUSED_PAUSE_MS)
        return False

    async def _version(
        self, task: replication.Task, bucket: records.Bucket, stored: records.Stored
    ) -> bool:
        version = stored.version
        marked = self._encryption.open_marks(stored)
        if replica.REPLICA_NOTE in marked.notes:
            # Replicas are not replicated on, or two buckets would send them round for ever.
            return await self._store.settle(task)
        chosen = replication_rules.choose(
            replication_rules.of(bucket), version.key, marked.tags, version.mode
        )
        done = set(task.done)

        async def send(rule: replication_rules.Rule) -> None:
            await self._send(bucket, stored, rule)

        failed = await self._to_all(
            {arn: rule for arn, rule in chosen.items() if arn not in done}, send, bucket, done
        )
        status = replication_rules.COMPLETED if chosen else replication_rules.FAILED
        if isinstance(failed, Declined):
            status = replication_rules.FAILED
        elif failed is not None:
            status = replication_rules.PENDING
        known = replication_rules.STATUS_NOTE in marked.notes
        if chosen or known:
            await self._tell(stored, status)
        return await self._finish(task, done, failed)

    async def _marker(
        self, task: replication.Task, bucket: records.Bucket, modified_ms: int
    ) -> bool:
        chosen = replication_rules.choose(replication_rules.of(bucket), task.key, {}, "")
        done = set(task.done)

        async def send(rule: replication_rules.Rule) -> None:
            target = rule.target
            if target.remote:
                await self._remotes.put_marker(
                    target.remote, target.bucket, task.key, task.version_id, modified_ms
                )
                return
            home = await self._home(bucket, target.bucket, task.key, marker=True)
            await self._receiver.receive_marker(
                home,
                task.key,
                task.version_id,
                owner=self._owner_at(home, bucket.owner),
                modified_ms=modified_ms,
            )

        failed = await self._to_all(
            {arn: rule for arn, rule in chosen.items() if arn not in done}, send, bucket, done
        )
        return await self._finish(task, done, failed)

    async def _to_all(
        self,
        chosen: dict[str, replication_rules.Rule],
        send: Callable[[replication_rules.Rule], Awaitable[None]],
        bucket: records.Bucket,
        done: set[str],
    ) -> Exception | None:
        """Send to each target; note those that have it in `done`, and return what failed last.

        One that declines weighs more than one that cannot be reached.
        """
        failed: Exception | None = None
        for arn, rule in chosen.items():
            remote = rule.target.remote
            try:
                if remote:
                    self._check_remote(remote, bucket.owner)
                await _translated(send(rule))
            except Declined as error:
                failed = error
            except Unreachable as error:
                self._rest(remote)
                failed = failed or error
            else:
                self._resting.pop(remote, None)
                done.add(arn)
        return failed

    def _check_remote(self, remote: str, owner: str) -> None:
        if not self._remotes.may_use(remote, owner):
            raise Declined(f"{remote} is no store that this bucket may be replicated to")
        if self._rests(remote):
            raise Unreachable(f"{remote} could not be reached a moment ago")

    def _rests(self, remote: str) -> bool:
        return self._clock_ms() < self._resting.get(remote, (0, 0))[0]

    def _rest(self, remote: str) -> None:
        """Leave a store alone for a while that could not be reached; longer each time."""
        if remote:
            until_ms, times = self._resting.get(remote, (0, 0))
            if self._clock_ms() >= until_ms:
                pause_ms = min(FIRST_PAUSE_MS << min(times, 10), UNREACHABLE_PAUSE_MS)
                self._resting[remote] = (self._clock_ms() + pause_ms, times + 1)

    async def _send(
        self, bucket: records.Bucket, stored: records.Stored, rule: replication_rules.Rule
    ) -> None:
        """Bring a version to one target."""
        manifest = await self._manifest(bucket, stored)
        version, target = stored.version, rule.target
        if target.remote:
            manifest.acl = ""
            refs = await self._catalog.blob_refs(version)
            blob_ids = [ref.blob_id for ref in refs]
            self._pins.hold(blob_ids)
            try:
                # Looked up again under the pins: what is there now cannot go.
                refs = await self._catalog.blob_refs(version)
                parcel = Parcel(manifest, refs, rule.replica_key)
                await self._remotes.put(target.remote, target.bucket, parcel)
            finally:
                self._pins.release(blob_ids)
            return
        home = await self._home(bucket, target.bucket, version.key, marker=False)
        wish: kms_sources.Wish | None = None
        if version.mode in sources.KMS_MODES:
            wish = kms_sources.Wish(
                key=rule.replica_key,
                caller=await self._caller_of(bucket.owner),
                context={},
                dual=version.mode == sources.DUAL_MODE,
            )
        owner = home.owner if rule.gives_away else self._owner_at(home, version.owner)
        await self._receiver.receive(home, manifest, owner=owner, wish=wish, shares=version)

    async def _manifest(self, bucket: records.Bucket, stored: records.Stored) -> replicas.Manifest:
        version = stored.version
        marked = self._encryption.open_marks(stored)
        manifest = replicas.Manifest(
            version, stored.body, marked.tags, marked.acl, locks.of(marked)
        )
        if version.mode == sources.CUSTOMER_MODE:
            manifest.envelope = stored.envelope
            return manifest
        opened = await self._encryption.unlock(stored, None, await self._caller_of(bucket.owner))
        manifest.keys, manifest.head = opened.keys, opened.head.encode()
        return manifest

    async def _home(
        self, bucket: records.Bucket, name: str, key: str, *, marker: bool
    ) -> records.Bucket:
        """Return a target in this store, if the bucket's owner may replicate into it."""
        try:
            home = await self._catalog.bucket(name)
        except errors.BucketNotFound:
            raise Declined(f"there is no bucket {name}") from None
        if home.name == bucket.name or home.versioning != records.ENABLED:
            raise Declined(f"{name} has no versioning, or is the bucket itself")
        if not await self._permits(bucket.owner, home, key, marker=marker):
            raise Declined(f"the owner of {bucket.name} may not replicate into {name}")
        return home

    async def _tell(self, stored: records.Stored, status: str) -> None:
        """Let a version say how far it is.

        Raises:
            MarksChanged: it was changed meanwhile, and has to be sent once more.
        """
        marked = self._encryption.open_marks(stored)
        if marked.notes.get(replication_rules.STATUS_NOTE) == status:
            return
        version = stored.version
        binding = envelopes.Binding(version.mode, version.bucket, version.key, version.generation)
        noted = marked.noted(**{replication_rules.STATUS_NOTE: status})
        sealed = self._encryption.seal_marks(binding, noted)
        await self._catalog.set_marks(version, sealed, before=stored.marks)

    async def _finish(
        self, task: replication.Task, done: set[str], failed: Exception | None
    ) -> bool:
        if failed is None:
            return await self._store.settle(task)
        declined = isinstance(failed, Declined)
        if declined:
            self._report(task, failed)
        task = dataclasses.replace(task, done=tuple(sorted(done)))
        await self._wait(task, failed, REFUSED_PAUSE_MS if declined else UNREACHABLE_PAUSE_MS)
        return False

    async def _wait(self, task: replication.Task, error: Exception, longest_ms: int) -> None:
        pause_ms = min(FIRST_PAUSE_MS << min(task.attempts, 20), longest_ms)
        waiting = dataclasses.replace(
            task, attempts=task.attempts + 1, trouble=str(error) or type(error).__name__
        )
        await self._store.postpone([waiting], self._clock_ms() + pause_ms)


async def _translated(sending: Awaitable[None]) -> None:
    """Await; say what a target of this store raises as a target elsewhere says it."""
    try:
        await sending
    except (errors.StoreTrouble, errors.KmsUnavailable) as error:
        raise Unreachable(f"{type(error).__name__}: {error}") from error
    except (
        errors.BucketNotFound,
        errors.KeyTrouble,
        errors.BadBody,
        errors.VersioningChanged,
        errors.NotAuthentic,
    ) as error:
        raise Declined(f"{type(error).__name__}: {error}") from error


async def enqueue_all(
    catalog: catalog.Catalog,
    bucket: str,
    now_ms: int,
    told: Callable[[int, int], None] = lambda _seen, _queued: None,
) -> tuple[int, int]:
    """Queue everything that is in a bucket; what is replicated already is looked at once more.

    Args:
        catalog: where it is.
        bucket: its name.
        now_ms: the time.
        told: is told after each page how many were seen, and queued.

    Returns:
        how many versions and delete markers were seen, and how many were queued.

    Raises:
        BucketNotFound: there is no such bucket.
    """
    seen = queued = 0
    after: tuple[str, str] | None = ("", "")
    while after is not None:
        page = await catalog.list_versions(bucket, after=after, limit=PAGE)
        names = [(version.key, version.version_id) for version in page.versions]
        queued += await catalog.replication.enqueue(bucket, names, now_ms)
        seen += len(names)
        told(seen, queued)
        after = page.next_after
    return seen, queued
