"""The identity providers of an account: which issuers it believes, and what it keeps of them.

Source: IAM API reference, CreateOpenIDConnectProvider; limits: IAM user guide, "IAM and AWS STS
quotas".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from strongroom import errors
from strongroom.access import accounts, web_identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_PROVIDERS: Final = 100
MAX_CLIENTS: Final = 100
MAX_CLIENT_CHARACTERS: Final = 255
MAX_THUMBPRINTS: Final = 5
_THUMBPRINT: Final = re.compile(r"[0-9a-fA-F]{40}")
_KIND: Final = accounts.PROVIDER


async def add(
    members: accounts.Accounts,
    account: str,
    url: str,
    *,
    clients: Sequence[str],
    thumbprints: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
) -> accounts.Entity:
    """Register an issuer.

    Raises:
        InvalidEntity: the URL, a client id or a thumbprint has not the right form.
        EntityExists: the account has it.
        LimitPassed: the account has as many as it may have, or the issuer too many of something.
    """
    try:
        name = web_identity.name_of(url)
    except ValueError as error:
        raise errors.InvalidEntity(str(error)) from error
    if len(await members.all(account, _KIND)) >= MAX_PROVIDERS:
        raise errors.LimitPassed(
            f"Cannot exceed quota for OpenIdConnectProvidersPerAccount: {MAX_PROVIDERS}"
        )
    return await members.add(
        account,
        _KIND,
        name,
        clients=check_clients(clients),
        thumbprints=check_thumbprints(thumbprints),
        tags=dict(tags or {}),
    )


def opened(entity: accounts.Entity) -> web_identity.Provider:
    """Return a provider as those see it who verify tokens."""
    return web_identity.Provider(
        entity.arn, entity.name, tuple(entity.clients), tuple(entity.thumbprints)
    )


async def of_issuer(
    members: accounts.Accounts, account: str, issuer: str
) -> web_identity.Provider | None:
    """Return an account's provider for an issuer, if it has registered that very one."""
    if not issuer.startswith(web_identity.HTTPS):
        return None
    try:
        found = await members.find(account, _KIND, issuer.removeprefix(web_identity.HTTPS))
    except errors.NoSuchEntity:
        return None
    provider = opened(found)
    # Names are unique whatever the case of their letters; issuers are compared letter by letter.
    return provider if provider.issuer == issuer else None


def check_clients(clients: Sequence[str]) -> list[str]:
    """Return client ids without repetitions.

    Raises:
        LimitPassed, InvalidEntity: too many, or one is empty or too long.
    """
    if any(not 1 <= len(client) <= MAX_CLIENT_CHARACTERS for client in clients):
        raise errors.InvalidEntity(f"A client id has 1 to {MAX_CLIENT_CHARACTERS} characters.")
    kept = list(dict.fromkeys(clients))
    if len(kept) > MAX_CLIENTS:
        raise errors.LimitPassed(
            f"Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {MAX_CLIENTS}"
        )
    return kept


def check_thumbprints(thumbprints: Sequence[str]) -> list[str]:
    """Return thumbprints in lower case.

    Raises:
        LimitPassed, InvalidEntity: too many, or one is no SHA-1 in hex.
    """
    if not all(_THUMBPRINT.fullmatch(each) for each in thumbprints):
        raise errors.InvalidEntity("A thumbprint has 40 hexadecimal digits.")
    kept = list(dict.fromkeys(each.lower() for each in thumbprints))
    if len(kept) > MAX_THUMBPRINTS:
        raise errors.LimitPassed(f"A provider has at most {MAX_THUMBPRINTS} thumbprints.")
    return kept
