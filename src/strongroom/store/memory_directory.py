"""Who is in an account, in memory. Port: `strongroom.store.directory.DirectoryStore`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from strongroom.store import directory


class MemoryDirectory:
    """A dict, changed under a lock and without awaiting."""

    def __init__(self, forget_keys: Callable[[str], None]) -> None:
        """Begin empty; `forget_keys` removes the access keys of a member."""
        self._lock = threading.Lock()
        self._entities: dict[str, directory.Entity] = {}
        self._forget_keys = forget_keys

    async def entity(self, entity_id: str) -> directory.Entity | None:
        """See the port."""
        return self._entities.get(entity_id)

    async def named(self, account: str, kind: str, name: str) -> directory.Entity | None:
        """See the port."""
        with self._lock:
            return self._named(account, kind, name)

    def _named(self, account: str, kind: str, name: str) -> directory.Entity | None:
        for each in self._entities.values():
            if (each.account, each.kind, each.name.lower()) == (account, kind, name.lower()):
                return each
        return None

    async def entities(self, account: str, kind: str) -> Sequence[directory.Entity]:
        """See the port."""
        with self._lock:
            found = [
                each
                for each in self._entities.values()
                if (each.account, each.kind) == (account, kind)
            ]
        return sorted(found, key=lambda each: each.name.lower())

    async def add(self, entity: directory.Entity) -> bool:
        """See the port."""
        with self._lock:
            if entity.entity_id in self._entities or self._named(
                entity.account, entity.kind, entity.name
            ):
                return False
            self._entities[entity.entity_id] = entity
            return True

    async def change(self, entity: directory.Entity) -> bool:
        """See the port."""
        with self._lock:
            standing = self._entities.get(entity.entity_id)
            if standing is None or standing.version != entity.version - 1:
                return False
            other = self._named(entity.account, entity.kind, entity.name)
            if other is not None and other.entity_id != entity.entity_id:
                return False
            self._entities[entity.entity_id] = entity
            return True

    async def remove(self, entity_id: str) -> bool:
        """See the port."""
        with self._lock:
            known = self._entities.pop(entity_id, None) is not None
        if known:
            self._forget_keys(entity_id)
        return known

    def remove_account(self, account: str) -> None:
        """Remove all of an account's entities."""
        with self._lock:
            for each in list(self._entities.values()):
                if each.account == account:
                    del self._entities[each.entity_id]
