"""What the administrator's commands do, on a catalog that `build.open_admin` opened."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.access import accounts, identities, providers, web_identity
from strongroom.server import guards, replicating

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from strongroom.crypto import secret
    from strongroom.keyring import master, sources
    from strongroom.store import catalog, records


class Administration:
    """What the administrator's commands do; see `app.Admin`."""

    def __init__(
        self,
        people: identities.Identities,
        catalog: catalog.Catalog,
        keeper: master.Master,
        keys: sources.StoreKeys,
        clock_ms: Callable[[], int],
    ) -> None:
        self._people = people
        self._catalog = catalog
        self._keeper = keeper
        self._clock_ms = clock_ms
        self.guards = guards.Guards(catalog, keys, clock_ms)
        self.replication = replicating.Administration(
            catalog, keeper, random_bytes=secrets.token_bytes, clock_ms=clock_ms
        )

    async def add_user(
        self, name: str, access_key: str | None, secret_key: secret.SecretKey | None
    ) -> tuple[records.User, str, secret.SecretKey]:
        """See the protocol; a generated pair has the form of AWS's."""
        access_key = access_key or identities.new_access_key(secrets.token_bytes)
        secret_key = secret_key or identities.new_secret_key(secrets.token_bytes)
        user = await self._people.add(name, access_key, secret_key, now_ms=self._clock_ms())
        return user, access_key, secret_key

    async def users(self) -> Sequence[records.User]:
        """See the protocol."""
        return await self._catalog.users()

    async def remove_user(self, name: str) -> None:
        """See the protocol."""
        await self._catalog.remove_user(name)

    async def _named(self, who: str) -> tuple[str, str]:
        """Return canonical id of the account, and id of the user in it, if one is named."""
        account, _, member = who.partition("/")
        user_id = identities.ROOT_ID if account == identities.ROOT_NAME and member else ""
        for user in await self._catalog.users():
            if user.name == account:
                user_id = user.user_id
        if not user_id:
            raise errors.UserNotFound(account)
        if not member:
            return user_id, ""
        found = await self._people.members.find(user_id, accounts.USER, member)
        return user_id, found.row.entity_id

    async def keys_of(self, who: str) -> Sequence[records.Credential]:
        """See the protocol."""
        return await self._people.keys_of(*await self._named(who))

    async def add_key(self, who: str) -> tuple[str, secret.SecretKey]:
        """See the protocol."""
        account, member = await self._named(who)
        added, secret_key = await self._people.add_key(account, member, now_ms=self._clock_ms())
        return added.access_key, secret_key

    async def set_key_active(self, access_key: str, *, active: bool) -> None:
        """See the protocol."""
        await self._people.set_key_active(access_key, active=active)

    async def remove_key(self, access_key: str) -> None:
        """See the protocol."""
        await self._people.remove_key(access_key)

    async def _owner(self, account: str) -> str:
        return (
            identities.ROOT_ID
            if account == identities.ROOT_NAME
            else (await self._named(account))[0]
        )

    async def add_provider(
        self, account: str, url: str, clients: Sequence[str], thumbprints: Sequence[str]
    ) -> str:
        """See the protocol."""
        owner = await self._owner(account)
        added = await providers.add(
            self._people.members, owner, url, clients=clients, thumbprints=thumbprints
        )
        return added.arn

    async def providers(self, account: str) -> Sequence[web_identity.Provider]:
        """See the protocol."""
        owner = await self._owner(account)
        found = await self._people.members.all(owner, accounts.PROVIDER)
        return [providers.opened(each) for each in found]

    async def remove_provider(self, account: str, url: str) -> None:
        """See the protocol."""
        owner = await self._owner(account)
        name = url.removeprefix(web_identity.HTTPS)
        await self._people.members.remove(owner, accounts.PROVIDER, name)

    def fingerprint(self, key: secret.SecretKey) -> bytes:
        """See the protocol."""
        return self._keeper.fingerprint(key)
