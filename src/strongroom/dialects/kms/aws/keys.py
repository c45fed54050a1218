"""Handlers that make keys and tend them."""

from __future__ import annotations

from strongroom.dialects.kms.aws import shown
from strongroom.dialects.kms.services import Call, Result, handles
from strongroom.dialects.operation import Refused
from strongroom.keyring import key_specs, kms, kms_keys

_SMALL_PAGE = 50
"""Source: AWS KMS API, ListAliases and ListResourceTags, Limit."""


@handles("CreateKey")
async def create_key(call: Call) -> Result:
    params = call.params
    if params.get("Origin", "AWS_KMS") != "AWS_KMS":
        raise Refused(
            "UnsupportedOperationException", "Keys with imported material are not supported here."
        )
    if params.get("MultiRegion"):
        raise Refused("UnsupportedOperationException", "There are no other regions here.")
    if params.keys() & {"CustomKeyStoreId", "XksKeyId"}:
        raise Refused(
            "UnsupportedOperationException", "Masters elsewhere are set up for the whole store."
        )
    spec = params.get("KeySpec") or params.get("CustomerMasterKeySpec") or key_specs.SYMMETRIC
    info = await call.services.keys.create(
        call.caller,
        spec=spec,
        usage=params.get("KeyUsage"),
        description=params.get("Description", ""),
        policy=params.get("Policy"),
        tags=_tags(params.get("Tags", [])),
        bypass_lockout_check=params.get("BypassPolicyLockoutSafetyCheck", False),
    )
    return {"KeyMetadata": shown.metadata(call, info)}


@handles("DescribeKey")
async def describe_key(call: Call) -> Result:
    info = await call.services.kms.describe(call.params["KeyId"], call.caller)
    return {"KeyMetadata": shown.metadata(call, info)}


@handles("ListKeys")
async def list_keys(call: Call) -> Result:
    limit = call.params.get("Limit", shown.DEFAULT_LIMIT)
    rows = await call.services.keys.list(call.caller, after=shown.after(call), limit=limit + 1)
    page, more = shown.page(rows, limit, lambda info: info.key.key_id)
    return {"Keys": [{"KeyId": info.key.key_id, "KeyArn": info.arn} for info in page], **more}


@handles("EnableKey")
async def enable_key(call: Call) -> Result:
    await call.services.keys.set_enabled(call.params["KeyId"], call.caller, enabled=True)
    return {}


@handles("DisableKey")
async def disable_key(call: Call) -> Result:
    await call.services.keys.set_enabled(call.params["KeyId"], call.caller, enabled=False)
    return {}


@handles("UpdateKeyDescription")
async def update_key_description(call: Call) -> Result:
    params = call.params
    await call.services.keys.describe_as(params["KeyId"], call.caller, params["Description"])
    return {}


@handles("ScheduleKeyDeletion")
async def schedule_key_deletion(call: Call) -> Result:
    days = call.params.get("PendingWindowInDays", kms_keys.DEFAULT_DELETION_DAYS)
    info = await call.services.keys.schedule_deletion(call.params["KeyId"], call.caller, days)
    return {
        "KeyId": info.arn,
        "DeletionDate": shown.moment(info.key.deletion_ms),
        "KeyState": info.state,
        "PendingWindowInDays": info.key.deletion_days,
    }


@handles("CancelKeyDeletion")
async def cancel_key_deletion(call: Call) -> Result:
    info = await call.services.keys.cancel_deletion(call.params["KeyId"], call.caller)
    return {"KeyId": info.arn}


@handles("GetKeyPolicy")
async def get_key_policy(call: Call) -> Result:
    name = call.params.get("PolicyName", kms_keys.POLICY_NAME)
    policy = await call.services.keys.policy(call.params["KeyId"], call.caller, name)
    return {"Policy": policy, "PolicyName": name}


@handles("PutKeyPolicy")
async def put_key_policy(call: Call) -> Result:
    params = call.params
    await call.services.keys.put_policy(
        params["KeyId"],
        call.caller,
        params["Policy"],
        params.get("PolicyName", kms_keys.POLICY_NAME),
        bypass_lockout_check=params.get("BypassPolicyLockoutSafetyCheck", False),
    )
    return {}


@handles("ListKeyPolicies")
async def list_key_policies(call: Call) -> Result:
    await call.services.kms.permitted(call.params["KeyId"], "ListKeyPolicies", call.caller)
    return {"PolicyNames": [kms_keys.POLICY_NAME], "Truncated": False}


@handles("TagResource")
async def tag_resource(call: Call) -> Result:
    params = call.params
    await call.services.keys.tag(params["KeyId"], call.caller, _tags(params["Tags"]))
    return {}


@handles("UntagResource")
async def untag_resource(call: Call) -> Result:
    await call.services.keys.untag(call.params["KeyId"], call.caller, call.params["TagKeys"])
    return {}


@handles("ListResourceTags")
async def list_resource_tags(call: Call) -> Result:
    tags = await call.services.keys.tags(call.params["KeyId"], call.caller)
    limit = call.params.get("Limit", _SMALL_PAGE)
    start = shown.after(call)
    rows = [(name, tags[name]) for name in sorted(tags) if name > start]
    page, more = shown.page(rows, limit, lambda row: row[0])
    return {"Tags": [{"TagKey": name, "TagValue": text} for name, text in page], **more}


@handles("CreateAlias")
async def create_alias(call: Call) -> Result:
    params = call.params
    await call.services.keys.create_alias(params["AliasName"], params["TargetKeyId"], call.caller)
    return {}


@handles("UpdateAlias")
async def update_alias(call: Call) -> Result:
    params = call.params
    await call.services.keys.update_alias(params["AliasName"], params["TargetKeyId"], call.caller)
    return {}


@handles("DeleteAlias")
async def delete_alias(call: Call) -> Result:
    await call.services.keys.delete_alias(call.params["AliasName"], call.caller)
    return {}


@handles("ListAliases")
async def list_aliases(call: Call) -> Result:
    limit = call.params.get("Limit", _SMALL_PAGE)
    rows = await call.services.keys.aliases(
        call.caller, reference=call.params.get("KeyId"), after=shown.after(call), limit=limit + 1
    )
    page, more = shown.page(rows, limit, lambda alias: alias.name)
    return {
        "Aliases": [
            {
                "AliasName": alias.name,
                "AliasArn": call.services.kms.arn_of(alias.name),
                "TargetKeyId": alias.key_id,
                "CreationDate": shown.moment(alias.created_ms),
                "LastUpdatedDate": shown.moment(alias.changed_ms),
            }
            for alias in page
        ],
        **more,
    }


@handles("EnableKeyRotation")
async def enable_key_rotation(call: Call) -> Result:
    days = call.params.get("RotationPeriodInDays", kms_keys.DEFAULT_ROTATION_DAYS)
    await call.services.keys.set_rotation(call.params["KeyId"], call.caller, days)
    return {}


@handles("DisableKeyRotation")
async def disable_key_rotation(call: Call) -> Result:
    await call.services.keys.set_rotation(call.params["KeyId"], call.caller, None)
    return {}


@handles("GetKeyRotationStatus")
async def get_key_rotation_status(call: Call) -> Result:
    found = await call.services.keys.rotation(call.params["KeyId"], call.caller)
    return {
        "KeyRotationEnabled": bool(found.days),
        "KeyId": found.info.arn,
        "RotationPeriodInDays": found.days or None,
        "NextRotationDate": shown.moment(found.next_ms) if found.days else None,
    }


@handles("RotateKeyOnDemand")
async def rotate_key_on_demand(call: Call) -> Result:
    info = await call.services.keys.rotate(call.params["KeyId"], call.caller)
    return {"KeyId": info.arn}


@handles("ListKeyRotations")
async def list_key_rotations(call: Call) -> Result:
    info, materials = await call.services.keys.rotations(call.params["KeyId"], call.caller)
    limit = call.params.get("Limit", shown.DEFAULT_LIMIT)
    start = shown.after(call)
    whole = call.params.get("IncludeKeyMaterial") == "ALL_KEY_MATERIAL"
    rows = [
        one
        for one in materials
        if (whole or one.cause != "CREATED") and f"{one.version:010}" > start
    ]
    page, more = shown.page(rows, limit, lambda one: f"{one.version:010}")
    return {
        "Rotations": [
            {
                "KeyId": info.arn,
                "KeyMaterialId": kms.material_id(one.key_id, one.version),
                "KeyMaterialState": "CURRENT" if one.version == info.key.version else "NON_CURRENT",
                "RotationDate": None if one.cause == "CREATED" else shown.moment(one.created_ms),
                "RotationType": None if one.cause == "CREATED" else one.cause,
            }
            for one in page
        ],
        **more,
    }


def _tags(rows: list[dict[str, str]]) -> dict[str, str]:
    tags = {row["TagKey"]: row["TagValue"] for row in rows}
    if len(tags) != len(rows):
        raise Refused("TagException", "Duplicate tag keys.")
    return tags
