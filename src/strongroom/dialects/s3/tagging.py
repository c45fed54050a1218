"""Handlers of object tags. They carry no customer key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from strongroom.access.actions import Action
from strongroom.dialects.operation import Body, Call, Need, Needs, Refused, Result, operation
from strongroom.dialects.s3 import contexts, facets, services, tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def _needs(params: Mapping[str, Any]) -> Sequence[Need]:
    pairs = params.get("Tagging", {}).get("TagSet", ())
    found = {tag["Key"]: tag["Value"] for tag in pairs if "Key" in tag and "Value" in tag}
    return (
        Need(
            Action.PUT_OBJECT_TAGGING,
            params["Key"],
            version_id=params.get("VersionId"),
            keys=contexts.tag_keys(found),
        ),
    )


@operation(
    "PutObjectTagging", action=Needs((Action.PUT_OBJECT_TAGGING,), _needs), body=Body.DOCUMENT
)
async def put_object_tagging(call: Call) -> Result:
    params = call.params
    version_id = facets.version_id(params)
    if "Tagging" not in params:
        raise Refused("MissingRequestBodyError")
    found = tags.of_document(params["Tagging"])
    return await _set(call, found, version_id)


@operation("GetObjectTagging", action=Action.GET_OBJECT_TAGGING)
async def get_object_tagging(call: Call) -> Result:
    params = call.params
    version, found = await services.of(call).objects.tags(
        call.place.name, params["Key"], facets.version_id(params)
    )
    return {
        "TagSet": [{"Key": name, "Value": value} for name, value in sorted(found.items())],
        **facets.version_reply(version, call.place),
    }


@operation("DeleteObjectTagging", action=Action.DELETE_OBJECT_TAGGING)
async def delete_object_tagging(call: Call) -> Result:
    return await _set(call, {}, facets.version_id(call.params))


async def _set(call: Call, found: dict[str, str], version_id: str | None) -> Result:
    version = await services.of(call).objects.set_tags(
        call.place.name, call.params["Key"], found, version_id
    )
    return facets.version_reply(version, call.place)
