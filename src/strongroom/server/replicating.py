"""What replication asks of the rest of the server."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.dialects import authority
from strongroom.dialects.s3 import replication
from strongroom.server import background, remotes
from strongroom.service import replicas, replicator
from strongroom.store import replication as queue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from strongroom.access import identities
    from strongroom.crypto import secret
    from strongroom.keyring import kms, master
    from strongroom.server import observe
    from strongroom.service import encryption, transfer
    from strongroom.store import blobs, catalog

INTERVAL_S = 1.0
"""How late replication begins at most."""
EXPIRE_INTERVAL_S = 3600.0
_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9.]{0,61}[A-Za-z0-9])?")


class Replication:
    """See `services.Replication`."""

    def __init__(
        self, catalog: catalog.Catalog, elsewhere: remotes.Remotes, *, clock_ms: Callable[[], int]
    ) -> None:
        self._catalog = catalog
        self._elsewhere = elsewhere
        self._clock_ms = clock_ms

    async def knows(self, remote: str, owner: str) -> bool:
        """See the protocol."""
        await self._elsewhere.refresh()
        return self._elsewhere.may_use(remote, owner)

    async def enqueue(self, bucket: str) -> None:
        """See the protocol."""
        await replicator.enqueue_all(self._catalog, bucket, self._clock_ms())


class Administration:
    """See `app.ReplicationAdmin`."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        keeper: master.Master,
        *,
        random_bytes: Callable[[int], bytes],
        clock_ms: Callable[[], int],
    ) -> None:
        self._catalog = catalog
        self._store = catalog.replication
        self._keeper = keeper
        self._random_bytes = random_bytes
        self._clock_ms = clock_ms

    async def add_remote(
        self,
        name: str,
        url: str,
        *,
        region: str,
        access_key: str,
        secret_key: secret.SecretKey,
        ca: str,
        users: Sequence[str],
    ) -> queue.Remote:
        """See the protocol."""
        if _NAME.fullmatch(name) is None:
            raise ValueError("A name has up to 63 letters, digits, dots and hyphens")
        url = remotes.check_url(url)
        if ca:
            remotes.check_ca(ca)
        by_name = {user.name: user.user_id for user in await self._catalog.users()}
        for user in users:
            if user not in by_name:
                raise errors.UserNotFound(user)
        added = queue.Remote(
            name,
            url,
            region,
            access_key,
            self._keeper.seal_remote(name, url, access_key, secret_key, self._random_bytes),
            ca,
            tuple(by_name[user] for user in users),
            self._clock_ms(),
        )
        if not await self._store.add_remote(added):
            raise errors.EntityExists("other store", name)
        return added

    async def remotes(self) -> Sequence[queue.Remote]:
        """See the protocol."""
        return await self._store.remotes()

    async def remove_remote(self, name: str) -> None:
        """See the protocol."""
        if not await self._store.remove_remote(name):
            raise errors.NoSuchEntity("other store", name)

    async def enqueue(self, bucket: str, told: Callable[[int, int], None]) -> tuple[int, int]:
        """See the protocol."""
        return await replicator.enqueue_all(self._catalog, bucket, self._clock_ms(), told)

    async def backlog(self, bucket: str | None) -> queue.Backlog:
        """See the protocol."""
        return await self._store.backlog(bucket)


@dataclass(frozen=True, slots=True)
class Parts:
    """Both sides of replication, put together."""

    receiver: replicas.Replicas
    remotes: remotes.Remotes
    sender: replicator.Replicator
    settings: Replication

    def jobs(self) -> list[background.Job]:
        """Return what has to run again and again."""
        return [
            background.Job("replicate", INTERVAL_S, self.sender.run),
            background.Job("expire-staged", EXPIRE_INTERVAL_S, self.sender.expire),
        ]


def assemble(
    catalog: catalog.Catalog,
    blobs: blobs.Blobs,
    carrier: transfer.Transfer,
    guard: encryption.Encryption,
    pins: transfer.Pins,
    keeper: master.Master,
    people: identities.Identities,
    *,
    random_bytes: Callable[[int], bytes],
    clock_ms: Callable[[], int],
    displaced: Callable[[], None],
    may_replicate: Callable[[], bool],
    report: Callable[[queue.Task, Exception], None],
) -> Parts:
    """Put replication together; see `build.assemble` for what it stands on."""
    receiver = replicas.Replicas(
        catalog,
        blobs,
        carrier,
        guard,
        random_bytes=random_bytes,
        clock_ms=clock_ms,
        displaced=displaced,
    )
    elsewhere = remotes.Remotes(catalog, blobs, keeper, clock_ms=clock_ms)
    sender = replicator.Replicator(
        catalog,
        guard,
        receiver,
        pins,
        elsewhere,
        permits=functools.partial(replication.permits, people),
        caller_of=functools.partial(caller_of, people),
        owner_at=replication.owner_at,
        clock_ms=clock_ms,
        may_replicate=may_replicate,
        report=report,
    )
    return Parts(receiver, elsewhere, sender, Replication(catalog, elsewhere, clock_ms=clock_ms))


async def caller_of(people: identities.Identities, owner: str) -> kms.Caller:
    """Return the owner of a bucket as the KMS knows callers."""
    principal = await replication.principal_of(people, owner)
    return authority.key_caller(principal, None, 0, direct=False)


def tell(reporter: observe.Reporter, task: queue.Task, error: Exception) -> None:
    """Log what cannot be replicated as it is."""
    reporter.log.warning(
        "replication.declined",
        bucket=task.bucket,
        key=task.key,
        version_id=task.version_id,
        attempts=task.attempts,
        detail=str(error),
    )
