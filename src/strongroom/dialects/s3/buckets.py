"""Handlers of buckets."""

from __future__ import annotations

import json
from typing import Final

from strongroom import errors
from strongroom.access import decision, grants
from strongroom.access.actions import Action
from strongroom.dialects.operation import Body, Call, Need, Refused, Result, operation
from strongroom.dialects.s3 import (
    acls,
    bucket_encryption,
    facets,
    locks,
    modes,
    policies,
    services,
)
from strongroom.store import guarding, records

MAX_BUCKETS: Final = 10_000
"""Buckets in one answer. Source: S3 API reference, ListBuckets."""

_DEFAULT_REGION: Final = "us-east-1"


@operation("CreateBucket", action=Action.CREATE_BUCKET, body=Body.DOCUMENT, needs_bucket=False)
async def create_bucket(call: Call) -> Result:
    params = call.params
    access = await _access(call) | await _lock(call)
    region = services.of(call).region
    wanted = params.get("CreateBucketConfiguration", {}).get("LocationConstraint")
    if wanted is not None and wanted != region:
        raise Refused("InvalidLocationConstraint", LocationConstraint=wanted)
    if wanted == _DEFAULT_REGION or (wanted is None and region != _DEFAULT_REGION):
        raise Refused(
            "InvalidLocationConstraint" if wanted else "IllegalLocationConstraintException",
            **({"LocationConstraint": wanted} if wanted else {}),
        )
    name = params["Bucket"]
    store = services.of(call)
    try:
        await store.buckets.create(
            name,
            owner=call.principal.user_id,
            region=region,
            settings=access
            | ({modes.DOCUMENT: bucket_encryption.blocking()} if store.block_sse_c else {}),
        )
    except errors.BucketExists as error:
        if error.owner != call.principal.user_id:
            raise
        # In us-east-1, and only there, S3 lets an owner create a bucket again.
        # Source: S3 API reference, CreateBucket, error BucketAlreadyOwnedByYou.
        if region != _DEFAULT_REGION:
            raise Refused("BucketAlreadyOwnedByYou", BucketName=name) from error
        # Its list is set anew, its other settings stay. Source: as above.
        bucket = await services.of(call).buckets.find(name)
        if access.get(decision.ACL) != bucket.settings.get(decision.ACL):
            # So far it was judged as a name without a bucket; the bucket's policy counts, too.
            await call.judge.require(Need(Action.PUT_BUCKET_ACL, bucket=name))
            await _reset_list(call, bucket, access.get(decision.ACL))
    return {"Location": f"/{name}"}


async def _reset_list(call: Call, bucket: records.Bucket, acl: str | None) -> None:
    """Set the list of a bucket that its owner creates again.

    Raises:
        Refused: lists are disabled there by now.
        AccessDenied: it is public, and public ones are blocked by now.
    """
    rules = decision.rules_of(bucket)
    if acl is not None:
        if not rules.has_lists:
            raise Refused("InvalidBucketAclWithObjectOwnership")
        if rules.block.public_acls and grants.AccessList.parse(acl).is_public:
            raise errors.AccessDenied
    await services.of(call).buckets.change_settings(bucket, {decision.ACL: acl})


async def _access(call: Call) -> dict[str, str]:
    """Return the settings of a new bucket that decide about access to it.

    Raises:
        AccessDenied: the policies of an account's user do not let it set them.
        Refused: an ownership that does not exist, or a list that does not go with it.
    """
    if call.principal.member is not None:
        # Source: S3 API reference, CreateBucket, "Permissions".
        if acls.names_list(call.params):
            await call.judge.require(Need(Action.PUT_BUCKET_ACL))
        if "ObjectOwnership" in call.params:
            await call.judge.require(Need(Action.PUT_BUCKET_OWNERSHIP_CONTROLS))
    given, defaults = call.params.get("ObjectOwnership"), services.of(call).new_buckets
    try:
        ownership = decision.Ownership(given or defaults.ownership)
    except ValueError:
        raise facets.bad_argument("x-amz-object-ownership", given or "") from None
    acl = await acls.of_new_bucket(call, ownership, blocked=defaults.blocks_public)
    found: dict[str, str] = {}
    if given or ownership is not decision.Ownership.WRITER:
        rule = {"Rules": [{"ObjectOwnership": ownership.value}]}
        found[decision.OWNERSHIP] = json.dumps(rule, separators=(",", ":"))
    if defaults.blocks_public:
        found[decision.PUBLIC_ACCESS] = json.dumps(policies.BLOCK_ALL, separators=(",", ":"))
    if acl:
        found[decision.ACL] = acl
    if defaults.keep_ms:
        found[guarding.GUARD] = guarding.guard_document(defaults.keep_ms)
    return found


async def _lock(call: Call) -> dict[str, str]:
    """Return the settings of a new bucket that make its versions lockable, if it is to be so.

    Raises:
        AccessDenied: the policies of an account's user do not let it set them.
    """
    if not call.params.get("ObjectLockEnabledForBucket"):
        return {}
    if call.principal.member is not None:
        # Source: S3 API reference, CreateBucket, "Permissions".
        await call.judge.require(Need(Action.PUT_BUCKET_OBJECT_LOCK_CONFIGURATION))
        await call.judge.require(Need(Action.PUT_BUCKET_VERSIONING))
    return {records.VERSIONING: records.ENABLED, records.OBJECT_LOCK: locks.UNRULED}


@operation("HeadBucket", action=Action.LIST_BUCKET)
async def head_bucket(call: Call) -> Result:
    return {"BucketRegion": call.place.region, "AccessPointAlias": False}


@operation("DeleteBucket", action=Action.DELETE_BUCKET)
async def delete_bucket(call: Call) -> Result:
    await services.of(call).buckets.delete(call.place.name)
    return {}


@operation("GetBucketLocation", action=Action.GET_BUCKET_LOCATION)
async def get_bucket_location(call: Call) -> Result:
    region = call.place.region
    return {} if region == _DEFAULT_REGION else {"LocationConstraint": region}


@operation("ListBuckets", action=Action.LIST_ALL_MY_BUCKETS)
async def list_buckets(call: Call) -> Result:
    params, principal = call.params, call.principal
    limit: int = params.get("MaxBuckets", MAX_BUCKETS)
    if not 1 <= limit <= MAX_BUCKETS:
        raise facets.bad_argument("max-buckets", str(limit))
    token = params.get("ContinuationToken", "")
    prefix = params.get("Prefix", "")
    rows = await services.of(call).buckets.owned_by(
        principal.user_id,
        prefix=prefix,
        after=facets.open_token(token) if token else "",
        limit=limit + 1,
    )
    shown = rows[:limit]
    reply: Result = {
        "Owner": {"ID": principal.user_id, "DisplayName": principal.name},
        "Buckets": [
            {"Name": row.name, "CreationDate": facets.moment(row.created_ms)} for row in shown
        ],
    }
    if "MaxBuckets" in params or prefix:
        for row, bucket in zip(reply["Buckets"], shown, strict=True):
            row["BucketRegion"] = bucket.region
    if prefix:
        reply["Prefix"] = prefix
    if len(rows) > limit:
        reply["ContinuationToken"] = facets.make_token(shown[-1].name)
    return reply
