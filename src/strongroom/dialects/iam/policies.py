"""Handlers of policies: inline, managed, and who they are attached to."""

from __future__ import annotations

import re
from typing import Any, Final

from strongroom import errors
from strongroom.access import accounts, documents, identities, managed
from strongroom.dialects.iam import query
from strongroom.dialects.iam.actions import Ask, Declared, Result, action
from strongroom.dialects.operation import Refused

_NAME: Final = re.compile(r"[\w+=,.@-]{1,128}", re.ASCII)


def _inline(kind: str) -> list[Declared]:
    """Make the handlers of the inline policies of users, groups or roles."""
    title, member = kind.capitalize(), f"{kind.capitalize()}Name"

    async def put(ask: Ask) -> Result:
        name, text = ask.need("PolicyName"), ask.need("PolicyDocument")
        if not _NAME.fullmatch(name):
            raise Refused("ValidationError", "The specified value for policyName is invalid.")
        documents.parse(text, documents.Kind.IDENTITY)

        def change(each: accounts.Entity) -> None:
            each.inline[name] = text
            accounts.check_inline(kind, each.inline)

        await ask.members.change(ask.account, kind, ask.need(member), change)
        return {}

    async def get(ask: Ask) -> Result:
        found = await ask.members.find(ask.account, kind, ask.need(member))
        name = ask.need("PolicyName")
        if name not in found.inline:
            raise errors.NoSuchEntity(f"{kind} policy", name)
        return {
            member: found.name,
            "PolicyName": name,
            "PolicyDocument": query.encoded(found.inline[name]),
        }

    async def delete(ask: Ask) -> Result:
        name = ask.need("PolicyName")

        def change(each: accounts.Entity) -> None:
            if name not in each.inline:
                raise errors.NoSuchEntity(f"{kind} policy", name)
            del each.inline[name]

        await ask.members.change(ask.account, kind, ask.need(member), change)
        return {}

    async def names(ask: Ask) -> Result:
        found = await ask.members.find(ask.account, kind, ask.need(member))
        return query.page(
            "PolicyNames", [(each, each) for each in sorted(found.inline)], ask.params
        )

    return [
        action(f"Put{title}Policy", kind=kind)(put),
        action(f"Get{title}Policy", kind=kind)(get),
        action(f"Delete{title}Policy", kind=kind)(delete),
        action(f"List{title}Policies", kind=kind)(names),
    ]


def _attached(kind: str) -> list[Declared]:
    """Make the handlers of managed policies on users, groups or roles."""
    title, member = kind.capitalize(), f"{kind.capitalize()}Name"

    async def attach(ask: Ask) -> Result:
        arn = ask.need("PolicyArn")
        await ask.members.managed_policy(ask.account, arn)

        def change(each: accounts.Entity) -> None:
            if arn not in each.attached:
                each.attached.append(arn)
            if len(each.attached) > accounts.MAX_ATTACHED:
                raise errors.LimitPassed(
                    f"Cannot exceed quota for PoliciesPer{title}: {accounts.MAX_ATTACHED}"
                )

        await ask.members.change(ask.account, kind, ask.need(member), change)
        return {}

    async def detach(ask: Ask) -> Result:
        arn = ask.need("PolicyArn")

        def change(each: accounts.Entity) -> None:
            if arn not in each.attached:
                raise errors.NoSuchEntity("policy", arn)
            each.attached.remove(arn)

        await ask.members.change(ask.account, kind, ask.need(member), change)
        return {}

    async def attached(ask: Ask) -> Result:
        found = await ask.members.find(ask.account, kind, ask.need(member))
        shown = [
            (arn, {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn})
            for arn in sorted(found.attached)
        ]
        return query.page("AttachedPolicies", shown, ask.params)

    return [
        action(f"Attach{title}Policy", kind=kind)(attach),
        action(f"Detach{title}Policy", kind=kind)(detach),
        action(f"ListAttached{title}Policies", kind=kind)(attached),
    ]


DECLARED: Final = tuple(
    declared
    for kind in (accounts.USER, accounts.GROUP, accounts.ROLE)
    for declared in (*_inline(kind), *_attached(kind))
)


async def _shown(ask: Ask, policy: accounts.Entity) -> Result:
    return {
        "PolicyName": policy.name,
        "PolicyId": policy.row.entity_id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": "v1",
        "AttachmentCount": len(await ask.members.users_of(policy.arn, ask.account)),
        "IsAttachable": True,
        "Description": policy.description or None,
        "CreateDate": query.moment(policy.row.created_ms),
        "UpdateDate": query.moment(policy.row.created_ms),
    }


def _given(arn: str) -> Result:
    return {
        "PolicyName": arn.rpartition("/")[2],
        "Arn": arn,
        "Path": "/",
        "DefaultVersionId": "v1",
        "IsAttachable": True,
    }


@action("CreatePolicy", kind="policy")
async def create_policy(ask: Ask) -> Result:
    text = ask.need("PolicyDocument")
    documents.parse(text, documents.Kind.IDENTITY)
    made = await ask.members.add(
        ask.account,
        accounts.POLICY,
        ask.need("PolicyName"),
        path=ask.path,
        text=text,
        description=ask.params.get("Description", ""),
    )
    return {"Policy": await _shown(ask, made)}


@action("GetPolicy", kind="policy", member="PolicyArn")
async def get_policy(ask: Ask) -> Result:
    arn = ask.need("PolicyArn")
    found = await ask.members.managed_policy(ask.account, arn)
    return {"Policy": _given(arn) if isinstance(found, str) else await _shown(ask, found)}


@action("GetPolicyVersion", kind="policy", member="PolicyArn")
async def get_policy_version(ask: Ask) -> Result:
    found = await ask.members.managed_policy(ask.account, ask.need("PolicyArn"))
    if ask.need("VersionId") != "v1":
        raise errors.NoSuchEntity("policy version", ask.need("VersionId"))
    text, made_ms = (found, 0) if isinstance(found, str) else (found.text, found.row.created_ms)
    return {
        "PolicyVersion": {
            "Document": query.encoded(text),
            "VersionId": "v1",
            "IsDefaultVersion": True,
            "CreateDate": query.moment(made_ms),
        }
    }


@action("ListPolicyVersions", kind="policy", member="PolicyArn")
async def list_policy_versions(ask: Ask) -> Result:
    await ask.members.managed_policy(ask.account, ask.need("PolicyArn"))
    return {"Versions": [{"VersionId": "v1", "IsDefaultVersion": True}], "IsTruncated": False}


@action("ListPolicies", kind="policy", member="-")
async def list_policies(ask: Ask) -> Result:
    scope = ask.params.get("Scope", "All")
    found: list[tuple[str, Any]] = []
    if scope in ("All", "AWS"):
        found += [(arn, _given(arn)) for arn in managed.POLICIES]
    if scope in ("All", "Local"):
        own = await ask.members.all(ask.account, accounts.POLICY, prefix=ask.prefix)
        found += [(each.arn, await _shown(ask, each)) for each in own]
    return query.page("Policies", sorted(found, key=lambda item: item[0]), ask.params)


async def _own(ask: Ask) -> accounts.Entity:
    """Return the account's policy that is named.

    Raises:
        NoSuchEntity: there is none.
        Refused: it is one that every account has.
    """
    found = await ask.members.managed_policy(ask.account, ask.need("PolicyArn"))
    if isinstance(found, str):
        raise Refused("AccessDenied", "Nobody may change a policy that every account has.")
    return found


@action("DeletePolicy", kind="policy", member="PolicyArn")
async def delete_policy(ask: Ask) -> Result:
    found = await _own(ask)
    await ask.members.remove(ask.account, accounts.POLICY, found.name)
    return {}


@action("ListEntitiesForPolicy", kind="policy", member="PolicyArn")
async def list_entities_for_policy(ask: Ask) -> Result:
    arn = ask.need("PolicyArn")
    await ask.members.managed_policy(ask.account, arn)
    found = await ask.members.users_of(arn, ask.account)
    return {
        **{
            f"Policy{kind.capitalize()}s": [
                {
                    f"{kind.capitalize()}Name": each.name,
                    f"{kind.capitalize()}Id": each.row.entity_id,
                }
                for each in found
                if each.row.kind == kind
            ]
            for kind in (accounts.USER, accounts.GROUP, accounts.ROLE)
        },
        "IsTruncated": False,
    }


# The account


@action("GetAccountSummary")
async def get_account_summary(ask: Ask) -> Result:
    counts = {
        name: len(await ask.members.all(ask.account, kind))
        for name, kind in (
            ("Users", accounts.USER),
            ("Groups", accounts.GROUP),
            ("Roles", accounts.ROLE),
            ("Policies", accounts.POLICY),
        )
    }
    counts |= {
        "AccessKeysPerUserQuota": identities.MAX_KEYS,
        "AttachedPoliciesPerUserQuota": accounts.MAX_ATTACHED,
        "AttachedPoliciesPerGroupQuota": accounts.MAX_ATTACHED,
        "AttachedPoliciesPerRoleQuota": accounts.MAX_ATTACHED,
        "GroupsPerUserQuota": accounts.MAX_GROUPS,
        # As many as AWS's. Nothing here counts them.
        "UsersQuota": 5000,
        "GroupsQuota": 300,
        "RolesQuota": 1000,
        "PoliciesQuota": 1500,
    }
    return {"SummaryMap": query.Entries(counts)}


@action("ListAccountAliases")
async def list_account_aliases(_ask: Ask) -> Result:
    return {"AccountAliases": [], "IsTruncated": False}
