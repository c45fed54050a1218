"""Handlers of identity providers: the issuers of OpenID Connect that an account believes.

Source: IAM API reference, CreateOpenIDConnectProvider and its siblings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from strongroom import errors
from strongroom.access import accounts
from strongroom.access import providers as registry
from strongroom.dialects.iam import query
from strongroom.dialects.iam.actions import Ask, Result, action

if TYPE_CHECKING:
    from collections.abc import Callable

ARN: Final = "OpenIDConnectProviderArn"
_KIND: Final = accounts.PROVIDER


async def named(ask: Ask) -> accounts.Entity:
    """Return the provider that a request names.

    Raises:
        NoSuchEntity: there is none of this ARN.
        Refused: the parameter is missing.
    """
    arn = ask.need(ARN)
    try:
        found = await ask.members.find(ask.account, _KIND, arn.partition("/")[2])
    except errors.NoSuchEntity:
        found = None
    if found is None or found.arn != arn:
        raise errors.NoSuchEntity("OpenIDConnect Provider", arn)
    return found


async def _change(ask: Ask, change: Callable[[accounts.Entity], None]) -> None:
    await ask.members.change(ask.account, _KIND, (await named(ask)).name, change)


@action(
    "CreateOpenIDConnectProvider",
    kind=_KIND,
    member="Url",
)
async def create_open_id_connect_provider(ask: Ask) -> Result:
    made = await registry.add(
        ask.members,
        ask.account,
        ask.need("Url"),
        clients=query.listed(ask.params, "ClientIDList"),
        thumbprints=query.listed(ask.params, "ThumbprintList"),
        tags=query.tags(ask.params),
    )
    return {ARN: made.arn, "Tags": query.tag_list(made.tags) or None}


@action("GetOpenIDConnectProvider", kind=_KIND, member=ARN)
async def get_open_id_connect_provider(ask: Ask) -> Result:
    found = await named(ask)
    return {
        # Without the scheme, as IAM shows it.
        "Url": found.name,
        "ClientIDList": found.clients,
        "ThumbprintList": found.thumbprints,
        "CreateDate": query.moment(found.row.created_ms),
        "Tags": query.tag_list(found.tags),
    }


@action("ListOpenIDConnectProviders", kind=_KIND, member="-")
async def list_open_id_connect_providers(ask: Ask) -> Result:
    found = await ask.members.all(ask.account, _KIND)
    return {"OpenIDConnectProviderList": [{"Arn": each.arn} for each in found]}


@action("DeleteOpenIDConnectProvider", kind=_KIND, member=ARN)
async def delete_open_id_connect_provider(ask: Ask) -> Result:
    try:
        found = await named(ask)
    except errors.NoSuchEntity:
        # Source: the page of the operation: it is no error to delete what is not there.
        return {}
    await ask.members.remove(ask.account, _KIND, found.name)
    return {}


@action("AddClientIDToOpenIDConnectProvider", kind=_KIND, member=ARN)
async def add_client_id(ask: Ask) -> Result:
    client = ask.need("ClientID")

    def add(each: accounts.Entity) -> None:
        each.clients = registry.check_clients([*each.clients, client])

    await _change(ask, add)
    return {}


@action("RemoveClientIDFromOpenIDConnectProvider", kind=_KIND, member=ARN)
async def remove_client_id(ask: Ask) -> Result:
    client = ask.need("ClientID")

    def remove(each: accounts.Entity) -> None:
        each.clients = [kept for kept in each.clients if kept != client]

    await _change(ask, remove)
    return {}


@action("UpdateOpenIDConnectProviderThumbprint", kind=_KIND, member=ARN)
async def update_thumbprints(ask: Ask) -> Result:
    wanted = registry.check_thumbprints(query.listed(ask.params, "ThumbprintList"))

    def update(each: accounts.Entity) -> None:
        each.thumbprints = wanted

    await _change(ask, update)
    return {}


@action("TagOpenIDConnectProvider", kind=_KIND, member=ARN)
async def tag_open_id_connect_provider(ask: Ask) -> Result:
    added = query.tags(ask.params)

    def tag(each: accounts.Entity) -> None:
        each.tags |= added
        if len(each.tags) > accounts.MAX_TAGS:
            raise errors.LimitPassed(f"Cannot exceed quota for tags: {accounts.MAX_TAGS}")

    await _change(ask, tag)
    return {}


@action("UntagOpenIDConnectProvider", kind=_KIND, member=ARN)
async def untag_open_id_connect_provider(ask: Ask) -> Result:
    gone = query.listed(ask.params, "TagKeys")

    def untag(each: accounts.Entity) -> None:
        each.tags = {key: value for key, value in each.tags.items() if key not in gone}

    await _change(ask, untag)
    return {}


@action("ListOpenIDConnectProviderTags", kind=_KIND, member=ARN)
async def list_open_id_connect_provider_tags(ask: Ask) -> Result:
    return {"Tags": query.tag_list((await named(ask)).tags), "IsTruncated": False}
