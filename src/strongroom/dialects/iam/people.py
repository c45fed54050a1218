"""Handlers of users, groups, roles, and of their access keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.access import accounts, documents, identities
from strongroom.dialects.iam import query
from strongroom.dialects.iam.actions import Ask, Result, action
from strongroom.dialects.operation import Refused

if TYPE_CHECKING:
    from strongroom.store import records

_SESSION_S: Final = 3600, 43_200
"""Shortest and longest session of a role, in seconds. Source: CreateRole, MaxSessionDuration."""


def shown(each: accounts.Entity, *, tags: bool = True) -> Result:
    """Return a user, group or role as answers show it."""
    kind = each.row.kind.capitalize()
    found: Result = {
        "Path": each.path,
        f"{kind}Name": each.name,
        f"{kind}Id": each.row.entity_id,
        "Arn": each.arn,
        "CreateDate": query.moment(each.row.created_ms),
    }
    if each.row.kind == accounts.ROLE:
        found |= {
            "AssumeRolePolicyDocument": query.encoded(each.text),
            "Description": each.description or None,
            "MaxSessionDuration": each.session_s,
        }
    if tags and each.tags:
        found["Tags"] = query.tag_list(each.tags)
    return found


def _owner(ask: Ask) -> Result:
    """Show the owner of the account as its user, as IAM does."""
    account = ask.principal.account_id
    return {
        "Path": "/",
        "UserName": ask.principal.name,
        "UserId": account,
        "Arn": f"arn:aws:iam::{account}:root",
        "CreateDate": query.moment(0),
    }


# Users


@action("CreateUser", kind="user", lacks=("PermissionsBoundary",))
async def create_user(ask: Ask) -> Result:
    made = await ask.members.add(
        ask.account,
        accounts.USER,
        ask.need("UserName"),
        path=ask.path,
        tags=query.tags(ask.params),
    )
    return {"User": shown(made)}


@action("GetUser", kind="user")
async def get_user(ask: Ask) -> Result:
    name = ask.params.get("UserName")
    if name:
        return {"User": shown(await ask.members.find(ask.account, accounts.USER, name))}
    member = ask.principal.member
    if member is None:
        return {"User": _owner(ask)}
    if member.role_arn:
        raise Refused(
            "ValidationError", "Must specify userName when calling with non-User credentials"
        )
    return {"User": shown(await ask.members.find(ask.account, accounts.USER, member.name))}


async def _all(ask: Ask, kind: str, name: str) -> Result:
    found = await ask.members.all(ask.account, kind, prefix=ask.prefix)
    return query.page(
        name, [(each.name.lower(), shown(each, tags=False)) for each in found], ask.params
    )


@action("ListUsers", kind="user", member="-")
async def list_users(ask: Ask) -> Result:
    return await _all(ask, accounts.USER, "Users")


async def _rename(ask: Ask, kind: str, member: str) -> None:
    await ask.members.rename(
        ask.account,
        kind,
        ask.need(member),
        new_name=ask.params.get(f"New{member}"),
        path=ask.params.get("NewPath"),
    )


@action("UpdateUser", kind="user")
async def update_user(ask: Ask) -> Result:
    await _rename(ask, accounts.USER, "UserName")
    return {}


@action("DeleteUser", kind="user")
async def delete_user(ask: Ask) -> Result:
    await ask.members.remove(ask.account, accounts.USER, ask.need("UserName"))
    return {}


# Groups


@action("CreateGroup", kind="group")
async def create_group(ask: Ask) -> Result:
    made = await ask.members.add(ask.account, accounts.GROUP, ask.need("GroupName"), path=ask.path)
    return {"Group": shown(made)}


@action("GetGroup", kind="group")
async def get_group(ask: Ask) -> Result:
    group = await ask.members.find(ask.account, accounts.GROUP, ask.need("GroupName"))
    users = await ask.members.members(group)
    page = query.page(
        "Users", [(each.name.lower(), shown(each, tags=False)) for each in users], ask.params
    )
    return {"Group": shown(group), **page}


@action("ListGroups", kind="group", member="-")
async def list_groups(ask: Ask) -> Result:
    return await _all(ask, accounts.GROUP, "Groups")


@action("UpdateGroup", kind="group")
async def update_group(ask: Ask) -> Result:
    await _rename(ask, accounts.GROUP, "GroupName")
    return {}


@action("DeleteGroup", kind="group")
async def delete_group(ask: Ask) -> Result:
    await ask.members.remove(ask.account, accounts.GROUP, ask.need("GroupName"))
    return {}


@action("AddUserToGroup", kind="group")
async def add_user_to_group(ask: Ask) -> Result:
    group = await ask.members.find(ask.account, accounts.GROUP, ask.need("GroupName"))

    def join(user: accounts.Entity) -> None:
        if group.row.entity_id not in user.groups:
            user.groups.append(group.row.entity_id)
        if len(user.groups) > accounts.MAX_GROUPS:
            raise errors.LimitPassed(
                f"Cannot exceed quota for GroupsPerUser: {accounts.MAX_GROUPS}"
            )

    await ask.members.change(ask.account, accounts.USER, ask.need("UserName"), join)
    return {}


@action("RemoveUserFromGroup", kind="group")
async def remove_user_from_group(ask: Ask) -> Result:
    group = await ask.members.find(ask.account, accounts.GROUP, ask.need("GroupName"))

    def leave(user: accounts.Entity) -> None:
        if group.row.entity_id not in user.groups:
            raise errors.NoSuchEntity("user", user.name)
        user.groups.remove(group.row.entity_id)

    await ask.members.change(ask.account, accounts.USER, ask.need("UserName"), leave)
    return {}


@action("ListGroupsForUser", kind="user")
async def list_groups_for_user(ask: Ask) -> Result:
    user = await ask.members.find(ask.account, accounts.USER, ask.need("UserName"))
    found = [await ask.members.by_id(each) for each in user.groups]
    named = sorted((each.name.lower(), shown(each)) for each in found if each is not None)
    return query.page("Groups", named, ask.params)


# Roles


def _duration(ask: Ask) -> int:
    shortest, longest = _SESSION_S
    text = ask.params.get("MaxSessionDuration", str(shortest))
    if (
        not text.isdecimal()
        or len(text) > len(str(longest))
        or not shortest <= int(text) <= longest
    ):
        raise Refused(
            "ValidationError", f"MaxSessionDuration must be between {shortest} and {longest}."
        )
    return int(text)


@action("CreateRole", kind="role", lacks=("PermissionsBoundary",))
async def create_role(ask: Ask) -> Result:
    trust = ask.need("AssumeRolePolicyDocument")
    documents.parse(trust, documents.Kind.TRUST)
    made = await ask.members.add(
        ask.account,
        accounts.ROLE,
        ask.need("RoleName"),
        path=ask.path,
        text=trust,
        description=ask.params.get("Description", ""),
        session_s=_duration(ask),
        tags=query.tags(ask.params),
    )
    return {"Role": shown(made)}


@action("GetRole", kind="role")
async def get_role(ask: Ask) -> Result:
    found = await ask.members.find(ask.account, accounts.ROLE, ask.need("RoleName"))
    return {"Role": shown(found)}


@action("ListRoles", kind="role", member="-")
async def list_roles(ask: Ask) -> Result:
    return await _all(ask, accounts.ROLE, "Roles")


@action("UpdateRole", kind="role")
async def update_role(ask: Ask) -> Result:
    duration = _duration(ask) if "MaxSessionDuration" in ask.params else None

    def change(role: accounts.Entity) -> None:
        role.description = ask.params.get("Description", role.description)
        role.session_s = duration or role.session_s

    await ask.members.change(ask.account, accounts.ROLE, ask.need("RoleName"), change)
    return {}


@action("UpdateAssumeRolePolicy", kind="role")
async def update_assume_role_policy(ask: Ask) -> Result:
    trust = ask.need("PolicyDocument")
    documents.parse(trust, documents.Kind.TRUST)

    def change(role: accounts.Entity) -> None:
        role.text = trust

    await ask.members.change(ask.account, accounts.ROLE, ask.need("RoleName"), change)
    return {}


@action("DeleteRole", kind="role")
async def delete_role(ask: Ask) -> Result:
    await ask.members.remove(ask.account, accounts.ROLE, ask.need("RoleName"))
    return {}


@action("ListInstanceProfilesForRole", kind="role")
async def list_instance_profiles_for_role(ask: Ask) -> Result:
    """There are no instances here; who deletes a role asks all the same."""
    await ask.members.find(ask.account, accounts.ROLE, ask.need("RoleName"))
    return {"InstanceProfiles": [], "IsTruncated": False}


# Access keys


async def _holder(ask: Ask) -> tuple[str, str]:
    """Return id and name of the user whose keys are meant; without a name, the asker.

    The id is empty for the account's owner.
    """
    name = ask.params.get("UserName")
    if name:
        found = await ask.members.find(ask.account, accounts.USER, name)
        return found.row.entity_id, found.name
    member = ask.principal.member
    if member is None:
        return "", ask.principal.name
    return member.unique_id, member.name


def _key(credential: records.Credential, name: str) -> Result:
    return {
        "UserName": name,
        "AccessKeyId": credential.access_key,
        "Status": "Active" if credential.is_active else "Inactive",
        "CreateDate": query.moment(credential.created_ms),
    }


@action("CreateAccessKey", kind="user")
async def create_access_key(ask: Ask) -> Result:
    member, name = await _holder(ask)
    if ask.principal.is_temporary or (not member and ask.account == identities.ROOT_ID):
        raise Refused("AccessDenied", "These credentials cannot make access keys for themselves.")
    credential, secret_key = await ask.people.add_key(ask.account, member, now_ms=ask.now_ms)
    return {"AccessKey": _key(credential, name) | {"SecretAccessKey": secret_key.reveal().decode()}}


@action("ListAccessKeys", kind="user")
async def list_access_keys(ask: Ask) -> Result:
    member, name = await _holder(ask)
    found = await ask.people.keys_of(ask.account, member)
    return query.page(
        "AccessKeyMetadata",
        sorted((each.access_key, _key(each, name)) for each in found),
        ask.params,
    )


async def _own_key(ask: Ask) -> str:
    """Return the access key that is named, if it is the holder's.

    Raises:
        NoSuchEntity: it is not.
    """
    member, _ = await _holder(ask)
    access_key = ask.need("AccessKeyId")
    if await ask.people.owner_of_key(access_key) != (ask.account, member):
        raise errors.NoSuchEntity("access key", access_key)
    return access_key


@action("UpdateAccessKey", kind="user")
async def update_access_key(ask: Ask) -> Result:
    status = ask.need("Status")
    if status not in ("Active", "Inactive"):
        raise Refused("ValidationError", "Status must be Active or Inactive.")
    await ask.people.set_key_active(await _own_key(ask), active=status == "Active")
    return {}


@action("DeleteAccessKey", kind="user")
async def delete_access_key(ask: Ask) -> Result:
    await ask.people.remove_key(await _own_key(ask))
    return {}


# Tags


def _tagging(kind: str) -> list[Any]:
    """Make the handlers of tags of users or roles."""
    title, member = kind.capitalize(), f"{kind.capitalize()}Name"

    async def tag(ask: Ask) -> Result:
        added = query.tags(ask.params)

        def change(each: accounts.Entity) -> None:
            each.tags |= added
            if len(each.tags) > accounts.MAX_TAGS:
                raise errors.LimitPassed(f"Cannot exceed quota for tags: {accounts.MAX_TAGS}")

        await ask.members.change(ask.account, kind, ask.need(member), change)
        return {}

    async def untag(ask: Ask) -> Result:
        gone = set(query.listed(ask.params, "TagKeys"))

        def change(each: accounts.Entity) -> None:
            each.tags = {key: value for key, value in each.tags.items() if key not in gone}

        await ask.members.change(ask.account, kind, ask.need(member), change)
        return {}

    async def listed(ask: Ask) -> Result:
        found = await ask.members.find(ask.account, kind, ask.need(member))
        return {"Tags": query.tag_list(found.tags), "IsTruncated": False}

    return [
        action(f"Tag{title}", kind=kind)(tag),
        action(f"Untag{title}", kind=kind)(untag),
        action(f"List{title}Tags", kind=kind)(listed),
    ]


DECLARED: Final = (*_tagging(accounts.USER), *_tagging(accounts.ROLE))
