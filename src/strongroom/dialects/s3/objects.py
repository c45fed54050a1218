"""Handlers of single objects and of DeleteObjects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.access.actions import Action
from strongroom.dialects.operation import (
    ENTRIES,
    Body,
    Call,
    Need,
    Needs,
    Refused,
    Result,
    operation,
)
from strongroom.dialects.s3 import (
    acls,
    corrections,
    facets,
    faults,
    lifecycle,
    locks,
    modes,
    services,
    tags,
)
from strongroom.service import facets as stored_facets
from strongroom.service import locks as stored_locks
from strongroom.wire import binding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from strongroom.crypto import envelope
    from strongroom.service import objects

MAX_DELETES = 1000
"""Keys in one DeleteObjects. Source: S3 API reference, DeleteObjects."""

UNSERVED: Final = {
    "WriteOffsetBytes": "x-amz-write-offset-bytes",
}
"""What a write may ask for and this release does not do. Leaving it undone would be a lie."""

_STORAGE_CLASS: Final = "STANDARD"


def check_write(params: dict[str, Any]) -> None:
    """Refuse what an object cannot be written with.

    Raises:
        Refused: naming the header.
    """
    facets.refuse_unserved(params, UNSERVED)
    if params.get("StorageClass", _STORAGE_CLASS) != _STORAGE_CLASS:
        raise Refused("InvalidStorageClass", StorageClassRequested=params["StorageClass"])


@operation("PutObject", action=acls.WRITES, body=Body.STREAM)
async def put_object(call: Call) -> Result:
    params = call.params
    choice = modes.choose(call)
    check_write(params)
    terms = locks.terms(call)
    locks.check_digest(call, terms)
    owner, acl = await acls.of_new_object(call)
    assert call.incoming is not None, "PutObject is declared with a streamed body"
    found = await services.of(call).objects.put(
        call.place.name,
        params["Key"],
        call.incoming,
        owner=owner,
        customer=choice.customer,
        wish=choice.wish,
        content=facets.content(params),
        tags=tags.of_header(params),
        acl=acl,
        terms=terms,
        when=facets.read_conditions(params),
        bucket_made_ms=call.place.created_ms,
    )
    version = found.version
    return {
        "ETag": facets.quoted(version.etag),
        **facets.written_reply(version.version_id),
        **facets.checksum_reply(found.head.checksums, found.head.checksum_type),
        **modes.reply(found.protection, params),
        **lifecycle.expiration_reply(call, version, found.tags),
    }


def _found(found: objects.Found, call: Call) -> Result:
    params = call.params
    version, head = found.version, found.head
    reply: Result = {
        "AcceptRanges": "bytes",
        "LastModified": facets.moment(version.modified_ms),
        "ETag": facets.quoted(version.etag),
        **facets.content_reply(head.content, head.metadata),
        **modes.reply(found.protection, params),
        **facets.version_reply(version, call.place),
        **lifecycle.expiration_reply(call, version, found.tags),
    }
    if found.tags:
        reply["TagCount"] = len(found.tags)
    if found.replication:
        reply["ReplicationStatus"] = found.replication
    for member, override in _OVERRIDES.items():
        if override in params:
            value = params[override]
            reply[member] = facets.http_date(value) if member == "Expires" else value
    if params.get("ChecksumMode") == "ENABLED" and "Range" not in params:
        if found.part_checksums is not None:
            reply |= facets.checksum_reply(found.part_checksums, "")
            reply["ChecksumType"] = head.checksum_type
        else:
            reply |= facets.checksum_reply(
                head.checksums, head.checksum_type, len(head.visible_parts)
            )
    if "PartNumber" in params and head.visible_parts:
        reply["PartsCount"] = len(head.visible_parts)
    return reply


def _extent(params: dict[str, Any]) -> stored_facets.Extent | None:
    """Read which bytes are wanted; None for all.

    Raises:
        Refused: range and part number at once.
    """
    if "PartNumber" not in params:
        return facets.byte_range(params.get("Range"))
    if "Range" in params:
        raise Refused(
            "InvalidRequest", "Cannot specify both Range header and partNumber query parameter"
        )
    return stored_facets.PartNumber(facets.part_number(params))


def _add_extent(reply: Result, start: int, end: int, size: int, *, partial: bool) -> None:
    reply["ContentLength"] = end - start
    # An empty part has no range to name.
    if partial and end > start:
        reply["ContentRange"] = f"bytes {start}-{end - 1}/{size}"
        reply[binding.STATUS] = 206


_OVERRIDES: Final = {
    "CacheControl": "ResponseCacheControl",
    "ContentDisposition": "ResponseContentDisposition",
    "ContentEncoding": "ResponseContentEncoding",
    "ContentLanguage": "ResponseContentLanguage",
    "ContentType": "ResponseContentType",
    "Expires": "ResponseExpires",
}


@operation("GetObject", action=Action.GET_OBJECT)
async def get_object(call: Call) -> Result:
    params = call.params
    extent = _extent(params)
    opened = await services.of(call).objects.get(
        call.place.name,
        params["Key"],
        facets.version_id(params),
        customer=facets.customer_key(params, writing=False),
        caller=modes.caller(call),
        extent=extent,
        when=facets.read_conditions(params),
    )
    reply = _found(opened.found, call)
    if opened.found.lock != stored_locks.NO_LOCK:
        reply |= await locks.reply(call, opened.found.lock)
    size = opened.found.version.size
    _add_extent(reply, opened.start, opened.end, size, partial=extent is not None)
    reply["Body"] = opened.pieces
    return reply


@operation("HeadObject", action=Action.GET_OBJECT)
async def head_object(call: Call) -> Result:
    params = call.params
    extent = _extent(params)
    customer = facets.customer_key(params, writing=False)
    found = await services.of(call).objects.head(
        call.place.name,
        params["Key"],
        facets.version_id(params),
        customer=customer,
        caller=modes.caller(call),
        extent=extent,
        when=facets.read_conditions(params),
    )
    reply = _found(found, call)
    if found.lock != stored_locks.NO_LOCK:
        reply |= await locks.reply(call, found.lock)
    size = found.version.size
    start, end = extent.resolve(size, found.head.visible_parts) if extent else (0, size)
    _add_extent(reply, start, end, size, partial=extent is not None)
    if customer is not None and call.request.header(_ASKS_FINGERPRINT) is not None:
        # Of the key that has just opened the object: nothing stored can bend this answer.
        reply[corrections.FINGERPRINT] = services.of(call).fingerprint(customer.secret).hex()
    return reply


_ASKS_FINGERPRINT: Final = corrections.FINGERPRINT_HEADER.encode()


def _reads_attributes(params: Mapping[str, Any]) -> Sequence[Need]:
    key, version_id = params["Key"], params.get("VersionId")
    return (
        Need(Action.GET_OBJECT, key, version_id=version_id),
        Need(Action.GET_OBJECT_ATTRIBUTES, key, version_id=version_id),
    )


@operation(
    "GetObjectAttributes",
    action=Needs((Action.GET_OBJECT, Action.GET_OBJECT_ATTRIBUTES), _reads_attributes),
)
async def get_object_attributes(call: Call) -> Result:
    params = call.params
    wanted = set(params["ObjectAttributes"])
    if not wanted or not wanted <= _ATTRIBUTES:
        raise Refused("InvalidArgument", "Invalid attribute name specified.")
    found, parts = await services.of(call).objects.parts(
        call.place.name,
        params["Key"],
        facets.customer_key(params, writing=False),
        modes.caller(call),
        facets.version_id(params),
    )
    version, head = found.version, found.head
    reply: Result = {
        "LastModified": facets.moment(version.modified_ms),
        **facets.version_reply(version, call.place),
    }
    if "ETag" in wanted:
        reply["ETag"] = version.etag
    if "ObjectSize" in wanted:
        reply["ObjectSize"] = version.size
    if "StorageClass" in wanted:
        reply["StorageClass"] = _STORAGE_CLASS
    if "Checksum" in wanted and head.checksums:
        reply["Checksum"] = facets.checksum_reply(
            head.checksums, head.checksum_type, len(head.visible_parts)
        )
    if "ObjectParts" in wanted and head.visible_parts:
        reply["ObjectParts"] = _parts(params, head, parts)
    return reply


_ATTRIBUTES: Final = frozenset({"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"})


def _parts(
    params: dict[str, Any], head: envelope.Head, checksums: Sequence[Mapping[str, bytes]]
) -> Result:
    limit = facets.page_size(params, "MaxParts", "x-amz-max-parts", facets.MAX_PARTS_LISTED)
    after = params.get("PartNumberMarker", 0)
    facets.check_marker("x-amz-part-number-marker", after)
    count = len(head.visible_parts)
    last = min(after + limit, count)
    return {
        "TotalPartsCount": count,
        "PartNumberMarker": after,
        "NextPartNumberMarker": last,
        "MaxParts": limit,
        "IsTruncated": last < count,
        "Parts": [
            {
                "PartNumber": index + 1,
                "Size": head.visible_parts[index],
                **facets.checksum_reply(
                    {name: checksums[index][name] for name in head.checksums}, ""
                ),
            }
            for index in range(after, last)
        ],
    }


@operation("DeleteObject", action=Action.DELETE_OBJECT)
async def delete_object(call: Call) -> Result:
    params = call.params
    facets.refuse_unserved(params, {"MFA": "x-amz-mfa"})
    version_id = facets.version_id(params)
    deleted = await services.of(call).objects.delete(
        call.place.name,
        params["Key"],
        version_id,
        owner=call.principal.user_id,
        bypass=await locks.bypass(call, params["Key"], version_id),
        when=facets.delete_conditions(params),
    )
    if deleted.marker is not None:
        return {"DeleteMarker": True, "VersionId": deleted.marker.version_id}
    if version_id is None or not call.place.versioning:
        return {}
    reply: Result = {"VersionId": version_id}
    if deleted.gone is not None and deleted.gone.is_marker:
        reply["DeleteMarker"] = True
    return reply


def _judged_one_by_one(_params: Mapping[str, Any]) -> Sequence[Need]:
    """Need nothing for all; `delete_objects` asks for each key, and says which are refused."""
    return ()


@operation(
    "DeleteObjects",
    action=Needs((Action.DELETE_OBJECT,), _judged_one_by_one),
    body=Body.DOCUMENT,
)
async def delete_objects(call: Call) -> Result:
    facets.refuse_unserved(call.params, {"MFA": "x-amz-mfa"})
    wanted = call.params.get("Delete", {})
    entries = wanted.get("Objects", [])
    if not 1 <= len(entries) <= MAX_DELETES or any(not entry.get("Key") for entry in entries):
        raise Refused("MalformedXML")
    store = services.of(call).objects

    async def delete(entry: dict[str, Any]) -> Result:
        key = entry["Key"]
        version_id = entry.get("VersionId")
        named: Result = {"Key": key}
        if version_id is not None:
            named["VersionId"] = version_id
        try:
            await call.judge.require(Need(Action.DELETE_OBJECT, key, version_id=version_id))
            if version_id is not None and not facets.is_version_id(version_id):
                raise errors.VersionNotFound(call.place.name, key, version_id)
            deleted = await store.delete(
                call.place.name,
                key,
                version_id,
                owner=call.principal.user_id,
                bypass=await locks.bypass(call, key, version_id),
                when=facets.delete_conditions(entry),
            )
        except (Refused, errors.StrongroomError) as error:
            refusal = faults.refusal(error)
            text = refusal.message or faults.FAULTS[refusal.code][1]
            return {**named, "Code": refusal.code, "Message": text}
        marker = deleted.marker
        if marker is None and deleted.gone is not None and deleted.gone.is_marker:
            marker = deleted.gone
        if marker is not None:
            named |= {"DeleteMarker": True, "DeleteMarkerVersionId": marker.version_id}
        return named

    results = await asyncio.gather(*map(delete, entries))
    deleted = [result for result in results if "Code" not in result]
    return {
        "Deleted": [] if wanted.get("Quiet") else deleted,
        "Errors": [result for result in results if "Code" in result],
        ENTRIES: results,
    }
