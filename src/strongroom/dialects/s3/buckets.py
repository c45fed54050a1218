"""Handlers of buckets."""

from __future__ import annotations

from typing import Final

from strongroom import errors
from strongroom.access.actions import Action
from strongroom.dialects.operation import Body, Call, Refused, Result, operation
from strongroom.dialects.s3 import bucket_encryption, facets, modes, services

MAX_BUCKETS: Final = 10_000
"""Buckets in one answer. Source: S3 API reference, ListBuckets."""

_DEFAULT_REGION: Final = "us-east-1"
_GRANTS: Final = ("GrantFullControl", "GrantRead", "GrantReadACP", "GrantWrite", "GrantWriteACP")
_UNSERVED: Final = {"ObjectLockEnabledForBucket": "x-amz-bucket-object-lock-enabled"}


@operation("CreateBucket", action=Action.CREATE_BUCKET, body=Body.DOCUMENT, needs_bucket=False)
async def create_bucket(call: Call) -> Result:
    params = call.params
    if params.get("ObjectLockEnabledForBucket"):
        facets.refuse_unserved(params, _UNSERVED)
    if params.get("ACL", "private") != "private" or any(grant in params for grant in _GRANTS):
        raise Refused("InvalidBucketAclWithObjectOwnership")
    if params.get("ObjectOwnership", "BucketOwnerEnforced") != "BucketOwnerEnforced":
        raise Refused("NotImplemented", Header="x-amz-object-ownership")
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
    try:
        await services.of(call).buckets.create(
            name,
            owner=call.principal.user_id,
            region=region,
            settings={modes.DOCUMENT: bucket_encryption.blocking()}
            if services.of(call).block_sse_c
            else {},
        )
    except errors.BucketExists as error:
        if error.owner != call.principal.user_id:
            raise
        # In us-east-1, and only there, S3 lets an owner create a bucket again.
        # Source: S3 API reference, CreateBucket, error BucketAlreadyOwnedByYou.
        if region != _DEFAULT_REGION:
            raise Refused("BucketAlreadyOwnedByYou", BucketName=name) from error
    return {"Location": f"/{name}"}


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
