"""Handlers of multipart uploads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.access.actions import Action
from strongroom.crypto import digests
from strongroom.dialects.operation import Body, Call, Need, Needs, Refused, Result, operation
from strongroom.dialects.s3 import acls, facets, lifecycle, locks, modes, objects, services, tags
from strongroom.keyring import sources
from strongroom.service import multipart
from strongroom.service import objects as stored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from strongroom.store import records

_TYPES: Final = frozenset({stored.FULL_OBJECT, stored.COMPOSITE})


@operation("CreateMultipartUpload", action=acls.WRITES)
async def create_multipart_upload(call: Call) -> Result:
    params = call.params
    choice = modes.choose(call)
    objects.check_write(params)
    named, kind = params.get("ChecksumAlgorithm"), params.get("ChecksumType")
    if kind is not None and named is None:
        raise Refused(
            "InvalidRequest",
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm"
            " header.",
        )
    if kind is not None and kind not in _TYPES:
        raise Refused("InvalidRequest", "Value for x-amz-checksum-type header is invalid.")
    algorithm = facets.known_algorithm(named) if named is not None else None
    if algorithm is not None and kind is not None:
        _check_type(algorithm, kind)
    owner, acl = await acls.of_new_object(call)
    upload = await services.of(call).multipart.create(
        call.place.name,
        params["Key"],
        owner=owner,
        initiator=call.principal.user_id,
        customer=choice.customer,
        wish=choice.wish,
        content=facets.content(params),
        tags=tags.of_header(params),
        acl=acl,
        lock=locks.terms(call).lock,
        checksum=algorithm,
        checksum_type=kind,
        bucket_made_ms=call.place.created_ms,
    )
    reply: Result = {
        "Bucket": upload.bucket,
        "Key": upload.key,
        "UploadId": upload.upload_id,
        **modes.reply(services.of(call).multipart.protection(upload), params),
        **lifecycle.abortion_reply(call, upload),
    }
    if upload.checksum_algorithm:
        reply["ChecksumAlgorithm"] = upload.checksum_algorithm
        reply["ChecksumType"] = upload.checksum_type
    return reply


def _check_type(algorithm: str, kind: str) -> None:
    if (kind == stored.FULL_OBJECT and algorithm not in digests.COMBINABLE) or (
        kind == stored.COMPOSITE and algorithm == stored.DEFAULT_CHECKSUM
    ):
        raise Refused(
            "InvalidRequest",
            f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum"
            " algorithm.",
        )


@operation("UploadPart", action=Action.PUT_OBJECT, body=Body.STREAM)
async def upload_part(call: Call) -> Result:
    params = call.params
    customer = modes.part_key(call)
    number = facets.part_number(params)
    assert call.incoming is not None, "UploadPart is declared with a streamed body"
    stored_part = await services.of(call).multipart.put_part(
        call.place.name,
        params["Key"],
        params["UploadId"],
        number,
        call.incoming,
        customer=customer,
        caller=modes.caller(call),
    )
    return {
        "ETag": facets.quoted(stored_part.part.etag),
        **facets.checksum_reply(stored_part.checksums, ""),
        **modes.reply(stored_part.protection, params),
    }


def _judged_with_the_upload(_params: Mapping[str, Any]) -> Sequence[Need]:
    """Need nothing before: who began an upload may see and abort it, and that is not known yet."""
    return ()


async def _require(call: Call, action: Action) -> None:
    """Return if a call may do this to its upload.

    The bucket's owner may, and whoever began it; others need a policy. Source: S3 user
    guide, "Multipart upload API and permissions".

    Raises:
        AccessDenied: it may not; also where there is no such upload, which is not told.
    """
    key = call.params["Key"]
    if await call.judge.may(Need(action, key)):
        return
    try:
        initiator = await services.of(call).multipart.initiator(
            call.place.name, key, call.params["UploadId"]
        )
    except errors.UploadNotFound as error:
        raise errors.AccessDenied from error
    await call.judge.require(Need(action, key, begun_by=initiator))


@operation(
    "ListParts", action=Needs((Action.LIST_MULTIPART_UPLOAD_PARTS,), _judged_with_the_upload)
)
async def list_parts(call: Call) -> Result:
    await _require(call, Action.LIST_MULTIPART_UPLOAD_PARTS)
    params = call.params
    limit = facets.page_size(params, "MaxParts", "max-parts", facets.MAX_PARTS_LISTED)
    after = params.get("PartNumberMarker", 0)
    facets.check_marker("part-number-marker", after)
    upload, rows = await services.of(call).multipart.parts(
        call.place.name, params["Key"], params["UploadId"], after=after, limit=limit + 1
    )
    shown, more = rows[:limit], len(rows) > limit
    initiator = services.of(call).multipart.initiator_of(upload)
    people = await services.of(call).owners({upload.owner, initiator})
    reply: Result = {
        "Bucket": upload.bucket,
        "Key": upload.key,
        "UploadId": upload.upload_id,
        "PartNumberMarker": after,
        "NextPartNumberMarker": shown[-1].part.number if shown else 0,
        "MaxParts": limit,
        "IsTruncated": more,
        "Parts": [
            {
                "PartNumber": row.part.number,
                "LastModified": facets.moment(row.part.modified_ms),
                "ETag": facets.quoted(row.part.etag),
                "Size": row.part.size,
                **_listed_checksums(upload, row),
            }
            for row in shown
        ],
        "Initiator": people[initiator],
        "Owner": people[upload.owner],
        "StorageClass": "STANDARD",
        **lifecycle.abortion_reply(call, upload),
    }
    if upload.checksum_algorithm:
        reply["ChecksumAlgorithm"] = upload.checksum_algorithm
        reply["ChecksumType"] = upload.checksum_type
    return reply


def _listed_checksums(upload: records.Upload, row: multipart.ListedPart) -> Result:
    algorithm = upload.checksum_algorithm
    if not algorithm:
        return {}
    return facets.checksum_reply({algorithm: row.checksums[algorithm]}, "")


@operation("CompleteMultipartUpload", action=Action.PUT_OBJECT, body=Body.DOCUMENT)
async def complete_multipart_upload(call: Call) -> Result:
    params = call.params
    # Needed by no first Complete; with it, a repeated one is told the checksums again.
    customer = facets.customer_key(params, writing=True)
    parts = params.get("MultipartUpload", {}).get("Parts", [])
    if not 1 <= len(parts) <= multipart.MAX_PARTS or any(
        "PartNumber" not in part or "ETag" not in part for part in parts
    ):
        raise Refused("MalformedXML")
    kind = params.get("ChecksumType")
    if kind is not None and kind not in _TYPES:
        raise Refused("InvalidRequest", "Value for x-amz-checksum-type header is invalid.")
    done = await services.of(call).multipart.complete(
        call.place.name,
        params["Key"],
        params["UploadId"],
        [_named(part) for part in parts],
        customer=customer,
        caller=modes.caller(call),
        announced=_announced(params),
        announced_type=kind,
        announced_size=params.get("MpuObjectSize"),
        terms=locks.of_bucket(call.place),
        when=facets.read_conditions(params),
    )
    host = (call.request.header(b"host") or b"").decode("latin-1")
    scheme = "https" if call.request.secure else "http"
    path = call.request.raw_path.decode("latin-1")
    reply: Result = {
        "Location": f"{scheme}://{host}{path}",
        "Bucket": call.place.name,
        "Key": params["Key"],
        "ETag": facets.quoted(done.etag),
        **facets.written_reply(done.version_id),
        **facets.checksum_reply(done.checksums, done.checksum_type, len(parts)),
        **await lifecycle.completed_reply(call, done.version_id, done.etag),
    }
    if done.protection.mode != sources.CUSTOMER_MODE:
        reply |= modes.reply(done.protection, {})
    return reply


def _named(part: dict[str, Any]) -> multipart.NamedPart:
    checksums = {
        algorithm: facets.checksum_value(
            algorithm, part[member], f"x-amz-checksum-{algorithm.lower()} header"
        )
        for algorithm, member in facets.CHECKSUM_MEMBERS.items()
        if member in part
    }
    return multipart.NamedPart(part["PartNumber"], part["ETag"].strip().strip('"'), checksums)


def _announced(params: dict[str, Any]) -> dict[str, bytes]:
    """Read the whole object's checksum; `-N` after a composite one is not part of it."""
    return {
        algorithm: facets.checksum_value(
            algorithm,
            params[member].partition("-")[0],
            f"x-amz-checksum-{algorithm.lower()} header",
        )
        for algorithm, member in facets.CHECKSUM_MEMBERS.items()
        if member in params
    }


@operation(
    "AbortMultipartUpload",
    action=Needs((Action.ABORT_MULTIPART_UPLOAD,), _judged_with_the_upload),
)
async def abort_multipart_upload(call: Call) -> Result:
    await _require(call, Action.ABORT_MULTIPART_UPLOAD)
    params = call.params
    await services.of(call).multipart.abort(call.place.name, params["Key"], params["UploadId"])
    return {}
