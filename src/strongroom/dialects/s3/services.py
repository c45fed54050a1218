"""What S3's handlers are given to work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from strongroom.access import decision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from strongroom.access import identities
    from strongroom.crypto import secret
    from strongroom.dialects.operation import Call, Result
    from strongroom.service import (
        buckets,
        copying,
        listing,
        marking,
        multipart,
        objects,
        replicas,
        rewrapping,
    )


@dataclass(frozen=True, slots=True)
class NewBuckets:
    """How open buckets are that nobody has said anything about.

    Attributes:
        ownership: who owns what others write there, and whether access lists count.
        blocks_public: whether public policies and lists are refused.
        keep_ms: how long their guard keeps what foreign keys displace; 0 for no guard.
    """

    ownership: decision.Ownership = decision.Ownership.ENFORCED
    blocks_public: bool = True
    keep_ms: int = 0


class Replication(Protocol):
    """What setting a bucket's replication asks of the store."""

    async def knows(self, remote: str, owner: str) -> bool:
        """Whether the buckets of an account may be replicated to this other store."""
        ...

    async def enqueue(self, bucket: str) -> None:
        """Queue everything that is in a bucket."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """The store's services, and how S3 is set up here.

    Attributes:
        region: where this store says it is.
        block_sse_c: whether new buckets refuse customer keys.
        new_buckets: how open they are.
        fingerprint: tells customers' keys from each other in this store.
    """

    buckets: buckets.Buckets
    objects: objects.Objects
    multipart: multipart.Multipart
    copying: copying.Copying
    listing: listing.Listing
    rewrapping: rewrapping.Rewrapping
    locking: marking.Locking
    replicas: replicas.Replicas
    replication: Replication
    people: identities.Identities
    region: str
    block_sse_c: bool
    new_buckets: NewBuckets
    fingerprint: Callable[[secret.SecretKey], bytes]

    async def owner(self, user_id: str) -> Result:
        """Return a user as S3 shows owners."""
        return {"ID": user_id, "DisplayName": await self.people.name_of(user_id)}

    async def owners(self, user_ids: Iterable[str]) -> dict[str, Result]:
        """Return users as S3 shows owners, by id; each is looked up once."""
        return {user_id: await self.owner(user_id) for user_id in set(user_ids)}


def of(call: Call) -> Services:
    """Return a call's services, with their type."""
    assert isinstance(call.services, Services), "S3's pipeline is built with S3's services"
    return call.services
