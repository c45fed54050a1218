"""Store keys, users and credentials in memory: a part of `memory.MemoryCatalog`."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store import records
from strongroom.store.memory_directory import MemoryDirectory

if TYPE_CHECKING:
    from collections.abc import Sequence


class MemoryPeople:
    """See the module; port: `strongroom.store.catalog.Catalog`. Its lock is the catalog's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._store_keys: dict[int, records.StoreKey] = {}
        self._users: dict[str, records.User] = {}
        self._credentials: dict[str, records.Credential] = {}
        self._directory = MemoryDirectory(self._forget_keys)

    @property
    def directory(self) -> MemoryDirectory:
        """See the port."""
        return self._directory

    async def store_keys(self) -> Sequence[records.StoreKey]:
        """See the port."""
        with self._lock:
            return [self._store_keys[number] for number in sorted(self._store_keys)]

    async def add_store_key(self, key: records.StoreKey) -> bool:
        """See the port."""
        with self._lock:
            return self._store_keys.setdefault(key.number, key) is key

    async def add_user(self, user: records.User, credential: records.Credential) -> None:
        """See the port."""
        with self._lock:
            names = {other.name for other in self._users.values()}
            if (
                user.name in names
                or user.user_id in self._users
                or credential.access_key in self._credentials
            ):
                raise errors.UserExists(user.name)
            self._users[user.user_id] = user
            self._credentials[credential.access_key] = credential

    async def users(self) -> Sequence[records.User]:
        """See the port."""
        with self._lock:
            return sorted(self._users.values(), key=lambda user: user.name)

    async def user(self, user_id: str) -> records.User:
        """See the port."""
        found = self._users.get(user_id)
        if found is None:
            raise errors.UserNotFound(user_id)
        return found

    async def remove_user(self, name: str) -> None:
        """See the port."""
        with self._lock:
            for user in self._users.values():
                if user.name == name:
                    break
            else:
                raise errors.UserNotFound(name)
            del self._users[user.user_id]
            for credential in list(self._credentials.values()):
                if credential.user_id == user.user_id:
                    del self._credentials[credential.access_key]
            self._directory.remove_account(user.user_id)

    async def credential(self, access_key: str) -> tuple[records.Credential, records.User] | None:
        """See the port."""
        with self._lock:
            found = self._credentials.get(access_key)
            if found is None:
                return None
            nameless = records.User(found.user_id, "", 0)
            return found, self._users.get(found.user_id, nameless)

    async def credentials(self, user_id: str, member: str = "") -> Sequence[records.Credential]:
        """See the port."""
        with self._lock:
            found = [
                each
                for each in self._credentials.values()
                if (each.user_id, each.member) == (user_id, member)
            ]
        return sorted(found, key=lambda each: (each.created_ms, each.access_key))

    async def add_credential(self, credential: records.Credential) -> bool:
        """See the port."""
        with self._lock:
            if credential.access_key in self._credentials:
                return False
            self._credentials[credential.access_key] = credential
            return True

    async def set_credential_active(self, access_key: str, *, active: bool) -> bool:
        """See the port."""
        with self._lock:
            found = self._credentials.get(access_key)
            if found is None:
                return False
            self._credentials[access_key] = dataclasses.replace(found, is_active=active)
            return True

    async def remove_credential(self, access_key: str) -> bool:
        """See the port."""
        with self._lock:
            return self._credentials.pop(access_key, None) is not None

    def _forget_keys(self, member: str) -> None:
        with self._lock:
            for each in list(self._credentials.values()):
                if each.member == member:
                    del self._credentials[each.access_key]
