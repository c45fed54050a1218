"""Handlers of object tags. They carry no customer key."""

from __future__ import annotations

from strongroom.access.actions import Action
from strongroom.dialects.operation import Body, Call, Refused, Result, operation
from strongroom.dialects.s3 import facets, services, tags


@operation("PutObjectTagging", action=Action.PUT_OBJECT_TAGGING, body=Body.DOCUMENT)
async def put_object_tagging(call: Call) -> Result:
    params = call.params
    facets.check_version(params)
    if "Tagging" not in params:
        raise Refused("MissingRequestBodyError")
    found = tags.of_document(params["Tagging"])
    await services.of(call).objects.set_tags(call.place.name, params["Key"], found)
    return {}


@operation("GetObjectTagging", action=Action.GET_OBJECT_TAGGING)
async def get_object_tagging(call: Call) -> Result:
    params = call.params
    facets.check_version(params)
    found = await services.of(call).objects.tags(call.place.name, params["Key"])
    return {"TagSet": [{"Key": name, "Value": value} for name, value in sorted(found.items())]}


@operation("DeleteObjectTagging", action=Action.DELETE_OBJECT_TAGGING)
async def delete_object_tagging(call: Call) -> Result:
    params = call.params
    facets.check_version(params)
    await services.of(call).objects.set_tags(call.place.name, params["Key"], {})
    return {}
