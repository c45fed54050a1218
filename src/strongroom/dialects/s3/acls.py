"""Handlers of access control lists, which every bucket here has disabled.

As S3 does for buckets with the setting "bucket owner enforced", its default:
the list shows the owner with full control, and nothing else can be set.
Source: S3 user guide, "Controlling ownership of objects and disabling ACLs".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from strongroom.access.actions import Action
from strongroom.dialects.operation import Call, Refused, Result, operation
from strongroom.dialects.s3 import facets, services

if TYPE_CHECKING:
    from strongroom.dialects.s3.services import Services

_OWNERS: Final = frozenset({"private", "bucket-owner-full-control"})


async def _owned(store: Services, owner: str) -> Result:
    shown = await store.owner(owner)
    grant = {"Grantee": {"Type": "CanonicalUser", **shown}, "Permission": "FULL_CONTROL"}
    return {"Owner": shown, "Grants": [grant]}


@operation("GetBucketAcl", action=Action.GET_BUCKET_ACL)
async def get_bucket_acl(call: Call) -> Result:
    return await _owned(services.of(call), call.place.owner)


@operation("GetObjectAcl", action=Action.GET_OBJECT_ACL)
async def get_object_acl(call: Call) -> Result:
    params = call.params
    facets.check_version(params)
    store = services.of(call)
    await store.objects.find(call.place.name, params["Key"])
    # Where ACLs are disabled, the bucket's owner owns every object in it.
    return await _owned(store, call.place.owner)


@operation("PutBucketAcl", action=Action.PUT_BUCKET_ACL)
async def put_bucket_acl(call: Call) -> Result:
    return _refuse_all_but_owners(call)


@operation("PutObjectAcl", action=Action.PUT_OBJECT_ACL)
async def put_object_acl(call: Call) -> Result:
    await services.of(call).objects.find(call.place.name, call.params["Key"])
    return _refuse_all_but_owners(call)


def _refuse_all_but_owners(call: Call) -> Result:
    """Accept the canned list that is in force anyway, refuse every other."""
    if call.params.get("ACL") not in _OWNERS:
        raise Refused("AccessControlListNotSupported")
    return {}
