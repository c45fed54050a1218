"""Handlers of bucket policies, and what else decides about a bucket: checks of its documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.access import decision, documents, exposure, grants
from strongroom.access.actions import Action
from strongroom.dialects.operation import Body, Call, Refused, Result, operation
from strongroom.dialects.s3 import services

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.store import records


@operation("PutBucketPolicy", action=Action.PUT_BUCKET_POLICY, body=Body.DOCUMENT)
async def put_bucket_policy(call: Call) -> Result:
    text: str = call.params.get("Policy", "")
    if not text:
        raise Refused("MissingRequestBodyError")
    document = documents.parse_for_bucket(text, call.place.name)
    if decision.rules_of(call.place).block.public_policy and exposure.is_public(document):
        raise errors.AccessDenied
    await services.of(call).buckets.change_settings(call.place, {decision.POLICY: text})
    return {}


def _policy_of(call: Call) -> str:
    text = call.place.settings.get(decision.POLICY)
    if text is None:
        raise Refused("NoSuchBucketPolicy", BucketName=call.place.name)
    return text


@operation("GetBucketPolicy", action=Action.GET_BUCKET_POLICY)
async def get_bucket_policy(call: Call) -> Result:
    return {"Policy": _policy_of(call)}


@operation("DeleteBucketPolicy", action=Action.DELETE_BUCKET_POLICY)
async def delete_bucket_policy(call: Call) -> Result:
    await services.of(call).buckets.change_settings(call.place, {decision.POLICY: None})
    return {}


@operation("GetBucketPolicyStatus", action=Action.GET_BUCKET_POLICY_STATUS)
async def get_bucket_policy_status(call: Call) -> Result:
    _policy_of(call)
    return {"PolicyStatus": {"IsPublic": decision.rules_of(call.place).is_public}}


BLOCK_ALL: Final = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
"""What new buckets begin with. Source: S3 user guide, "Default settings for new buckets"."""


def public_access(document: dict[str, Any], _bucket: records.Bucket) -> Mapping[str, Any]:
    """Return a public access block as it is kept: all four settings."""
    return {member: document.get(member, False) for member in BLOCK_ALL}


def ownership(document: dict[str, Any], bucket: records.Bucket) -> Mapping[str, Any]:
    """Return ownership controls as they are kept.

    Raises:
        Refused: there is not one rule of a known kind, or it would disable a list that
            grants something.
    """
    rules = document.get("Rules", [])
    if len(rules) != 1:
        raise Refused("MalformedXML")
    try:
        wanted = decision.Ownership(rules[0].get("ObjectOwnership", ""))
    except ValueError:
        raise Refused("MalformedXML") from None
    listed = decision.rules_of(bucket).acl
    if wanted is decision.Ownership.ENFORCED and listed != grants.private(bucket.owner):
        raise Refused("InvalidBucketAclWithObjectOwnership")
    return {"Rules": [{"ObjectOwnership": wanted.value}]}
