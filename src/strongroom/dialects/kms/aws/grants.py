"""Handlers of grants."""

from __future__ import annotations

from strongroom.dialects.kms.aws import shown
from strongroom.dialects.kms.services import Call, Result, handles
from strongroom.dialects.operation import Refused
from strongroom.keyring import kms_keys

_PAGE = 50
"""Source: AWS KMS API, ListGrants, Limit."""


@handles("CreateGrant")
async def create_grant(call: Call) -> Result:
    params = call.params
    if "GranteePrincipal" not in params:
        raise Refused("ValidationException", "GranteePrincipal is needed here.")
    if params.get("DryRun"):
        await call.services.kms.permitted(params["KeyId"], "CreateGrant", call.caller)
        shown.dry(call)
    constraints = params.get("Constraints", {})
    grant = await call.services.keys.create_grant(
        params["KeyId"],
        call.caller,
        grantee=params["GranteePrincipal"],
        operations=params["Operations"],
        retiring=params.get("RetiringPrincipal", ""),
        name=params.get("Name", ""),
        context_equals=constraints.get("EncryptionContextEquals"),
        context_subset=constraints.get("EncryptionContextSubset"),
    )
    return {"GrantToken": kms_keys.make_token(grant), "GrantId": grant.grant_id}


@handles("ListGrants")
async def list_grants(call: Call) -> Result:
    params = call.params
    limit = params.get("Limit", _PAGE)
    rows = await call.services.keys.grants(
        params["KeyId"],
        call.caller,
        grantee=params.get("GranteePrincipal"),
        grant_id=params.get("GrantId"),
        after=shown.after(call),
        limit=limit + 1,
    )
    page, more = shown.page(rows, limit, lambda grant: grant.grant_id)
    return {"Grants": [shown.grant(call, grant) for grant in page], **more}


@handles("ListRetirableGrants")
async def list_retirable_grants(call: Call) -> Result:
    limit = call.params.get("Limit", _PAGE)
    retiring = call.params.get("RetiringPrincipal")
    if retiring is None:
        raise Refused("ValidationException", "RetiringPrincipal is needed here.")
    rows = await call.services.keys.retirable(
        call.caller, retiring, after=shown.after(call), limit=limit + 1
    )
    page, more = shown.page(rows, limit, lambda grant: grant.grant_id)
    return {"Grants": [shown.grant(call, grant) for grant in page], **more}


@handles("RevokeGrant")
async def revoke_grant(call: Call) -> Result:
    params = call.params
    if params.get("DryRun"):
        await call.services.kms.permitted(params["KeyId"], "RevokeGrant", call.caller)
        shown.dry(call)
    await call.services.keys.revoke(params["KeyId"], params["GrantId"], call.caller)
    return {}


@handles("RetireGrant")
async def retire_grant(call: Call) -> Result:
    params = call.params
    await call.services.keys.retire(
        call.caller,
        token=params.get("GrantToken"),
        reference=params.get("KeyId"),
        grant_id=params.get("GrantId"),
        only_check=params.get("DryRun", False),
    )
    shown.dry(call)
    return {}
