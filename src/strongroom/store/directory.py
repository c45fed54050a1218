"""Port: who is in an account, and the keys they prove themselves with, in transactions.

Part of the catalog (`Catalog.directory`), with its promises: each writing method is
one transaction, whole and durable when the call returns, and readers never wait for
writers. Every method may raise `StoreFailed` or `StoreFull`, and then changed nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Entity:
    """A user, group, role, policy or identity provider of an account.

    Attributes:
        entity_id: names it for ever; never used again.
        account: canonical id of the account's owner.
        kind: `user`, `group`, `role`, `policy` or `oidc-provider`.
        name: unique among its kind in the account, whatever the case of its letters.
        document: JSON of everything else; opaque to the catalog.
        version: counts the changes, from 1.
    """

    entity_id: str
    account: str
    kind: str
    name: str
    document: str
    created_ms: int
    version: int = 1


class DirectoryStore(Protocol):
    """Entities of accounts. Access keys beyond a user's first are here as well."""

    async def entity(self, entity_id: str) -> Entity | None:
        """Return an entity. On the path of every request of an account's user."""
        ...

    async def named(self, account: str, kind: str, name: str) -> Entity | None:
        """Return an entity by its name, whatever the case of its letters."""
        ...

    async def entities(self, account: str, kind: str) -> Sequence[Entity]:
        """Return all entities of a kind, by name."""
        ...

    async def add(self, entity: Entity) -> bool:
        """Add an entity; False, and nothing changed, if its name or id is taken."""
        ...

    async def change(self, entity: Entity) -> bool:
        """Replace name and document of the entity whose version is one less than this one's.

        False, and nothing changed, if it has another version by now, is gone, or the
        name is taken.
        """
        ...

    async def remove(self, entity_id: str) -> bool:
        """Remove an entity and its access keys; False if there is none."""
        ...
