"""What the key management service remembers, in memory. Port: `strongroom.store.kms.KmsStore`."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING

from strongroom import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from strongroom.store import kms


class MemoryKms:
    """Dicts, changed under one lock and without awaiting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str, kms.Key] = {}
        self._materials: dict[tuple[str, int], kms.Material] = {}
        self._aliases: dict[str, kms.Alias] = {}
        self._grants: dict[str, kms.Grant] = {}

    # Keys

    async def key(self, key_id: str) -> kms.Key:
        """See the port."""
        return self._key(key_id)

    async def keys(self, *, after: str = "", limit: int) -> Sequence[kms.Key]:
        """See the port."""
        with self._lock:
            return [self._keys[name] for name in sorted(self._keys) if name > after][:limit]

    async def add_key(
        self, key: kms.Key, material: kms.Material, alias: kms.Alias | None = None
    ) -> bool:
        """See the port."""
        with self._lock:
            if key.key_id in self._keys or (alias is not None and alias.name in self._aliases):
                return False
            self._keys[key.key_id] = key
            self._materials[material.key_id, material.version] = material
            if alias is not None:
                self._aliases[alias.name] = alias
            return True

    async def change_key(self, key_id: str, change: kms.Change) -> kms.Key:
        """See the port."""
        with self._lock:
            changed = change(self._key(key_id))
            self._keys[key_id] = changed
            return changed

    async def remove_key(self, key_id: str, guard: Callable[[kms.Key], None]) -> None:
        """See the port."""
        with self._lock:
            key = self._keys.get(key_id)
            if key is None:
                return
            guard(key)
            del self._keys[key_id]
            for place in [place for place in self._materials if place[0] == key_id]:
                del self._materials[place]
            for alias in [alias for alias in self._aliases.values() if alias.key_id == key_id]:
                del self._aliases[alias.name]
            for grant in [grant for grant in self._grants.values() if grant.key_id == key_id]:
                del self._grants[grant.grant_id]

    async def doomed_keys(self, now_ms: int) -> Sequence[kms.Key]:
        """See the port."""
        with self._lock:
            return [key for key in self._keys.values() if 0 < key.deletion_ms <= now_ms]

    async def rotating_keys(self) -> Sequence[kms.Key]:
        """See the port."""
        with self._lock:
            return [key for key in self._keys.values() if key.rotation_days]

    # Materials

    async def material(self, key_id: str, version: int) -> kms.Material | None:
        """See the port."""
        return self._materials.get((key_id, version))

    async def materials(self, key_id: str) -> Sequence[kms.Material]:
        """See the port."""
        with self._lock:
            return [
                self._materials[place] for place in sorted(self._materials) if place[0] == key_id
            ]

    async def rotate(self, material: kms.Material, change: kms.Change) -> kms.Key | None:
        """See the port."""
        with self._lock:
            key = self._key(material.key_id)
            if material.version != key.version + 1:
                return None
            changed = dataclasses.replace(change(key), version=material.version)
            self._keys[key.key_id] = changed
            self._materials[key.key_id, material.version] = material
            return changed

    # Aliases

    async def alias(self, name: str) -> kms.Alias | None:
        """See the port."""
        return self._aliases.get(name)

    async def aliases(
        self, *, key_id: str | None = None, after: str = "", limit: int
    ) -> Sequence[kms.Alias]:
        """See the port."""
        with self._lock:
            found = [
                alias
                for name, alias in sorted(self._aliases.items())
                if name > after and key_id in (None, alias.key_id)
            ]
        return found[:limit]

    async def add_alias(self, alias: kms.Alias) -> bool:
        """See the port."""
        with self._lock:
            self._key(alias.key_id)
            return self._aliases.setdefault(alias.name, alias) is alias

    async def move_alias(self, name: str, key_id: str, now_ms: int) -> bool:
        """See the port."""
        with self._lock:
            self._key(key_id)
            found = self._aliases.get(name)
            if found is None:
                return False
            self._aliases[name] = dataclasses.replace(found, key_id=key_id, changed_ms=now_ms)
            return True

    async def remove_alias(self, name: str) -> bool:
        """See the port."""
        with self._lock:
            return self._aliases.pop(name, None) is not None

    # Grants

    async def add_grant(self, grant: kms.Grant) -> None:
        """See the port."""
        with self._lock:
            self._key(grant.key_id)
            self._grants[grant.grant_id] = grant

    async def grant(self, grant_id: str) -> kms.Grant | None:
        """See the port."""
        return self._grants.get(grant_id)

    async def grants(
        self,
        *,
        key_id: str | None = None,
        grantee: str | None = None,
        retiring: str | None = None,
        after: str = "",
        limit: int,
    ) -> Sequence[kms.Grant]:
        """See the port."""
        with self._lock:
            found = [
                grant
                for grant_id, grant in sorted(self._grants.items())
                if grant_id > after
                and key_id in (None, grant.key_id)
                and grantee in (None, grant.grantee)
                and retiring in (None, grant.retiring)
            ]
        return found[:limit]

    async def remove_grant(self, grant_id: str) -> bool:
        """See the port."""
        with self._lock:
            return self._grants.pop(grant_id, None) is not None

    def _key(self, key_id: str) -> kms.Key:
        found = self._keys.get(key_id)
        if found is None:
            raise errors.KmsKeyNotFound(f"Key '{key_id}' does not exist")
        return found
