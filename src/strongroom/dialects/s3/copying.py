"""Handlers of copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from strongroom import errors
from strongroom.access.actions import Action
from strongroom.dialects.operation import Call, Need, Needs, Refused, Result, operation
from strongroom.dialects.s3 import (
    acls,
    contexts,
    facets,
    lifecycle,
    locks,
    modes,
    objects,
    services,
    tags,
)
from strongroom.service import copying
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

_Copied = TypeVar("_Copied")

_DIRECTIVES: Final = frozenset({"COPY", "REPLACE"})
_CHANGES: Final = (
    "SSECustomerAlgorithm",
    "CopySourceSSECustomerAlgorithm",
    "ServerSideEncryption",
    "StorageClass",
    "WebsiteRedirectLocation",
)
"""What makes a copy of an object onto itself worth doing, besides new metadata.

That it is named suffices, if it changes nothing (observed: S3 takes the same storage class).
"""


def _reads_source(params: Mapping[str, Any]) -> Need:
    bucket, key, version_id = facets.copy_source(params)
    return Need(Action.GET_OBJECT, key, bucket, version_id=version_id)


def _copies(params: Mapping[str, Any]) -> Sequence[Need]:
    return (_reads_source(params), *acls.needs_to_write(params))


def _copies_part(params: Mapping[str, Any]) -> Sequence[Need]:
    return (_reads_source(params), Need(Action.PUT_OBJECT, params["Key"]))


def _source(call: Call) -> copying.Source:
    params = call.params
    bucket, key, version_id = facets.copy_source(params)
    return copying.Source(
        bucket,
        key,
        facets.customer_key(params, prefix="CopySource", writing=False),
        facets.copy_conditions(params, call.now_ms),
        modes.caller(call),
        version_id,
    )


async def _copied(copying: Awaitable[_Copied]) -> _Copied:
    """Await a copy; put into other words that its source is a delete marker.

    Source: S3 API reference, UploadPartCopy, "Special errors" of versions.
    """
    try:
        return await copying
    except errors.IsDeleteMarker as error:
        raise Refused(
            "InvalidRequest",
            "The source of a copy request may not specifically refer to a delete marker by version"
            " id.",
        ) from error


async def _check_tags(call: Call, source: copying.Source) -> None:
    """Refuse to carry tags over to whoever may not read them there, or not set them here.

    Source: S3 API reference, CopyObject, "Permissions".

    Raises:
        AccessDenied: the source has tags, and one of the permissions is missing.
        what looking the source up raises.
    """
    _, carried = await _copied(
        services.of(call).objects.tags(source.bucket, source.key, source.version_id)
    )
    if not carried:
        return
    await call.judge.require(
        Need(Action.GET_OBJECT_TAGGING, source.key, source.bucket, version_id=source.version_id)
    )
    await call.judge.require(
        Need(
            Action.PUT_OBJECT_TAGGING,
            call.params["Key"],
            keys=contexts.tag_keys(carried),
            makes=True,
        )
    )


def _source_reply(source: records.Version) -> Result:
    if source.version_id == records.NULL_VERSION:
        return {}
    return {"CopySourceVersionId": source.version_id}


def _directive(params: dict[str, Any], what: str) -> str:
    """Return whether a copy keeps the source's metadata or tags, or gets its own.

    Raises:
        Refused: it is neither.
    """
    directive: str = params.get(f"{what.capitalize()}Directive", "COPY")
    if directive not in _DIRECTIVES:
        raise facets.bad_argument(
            f"x-amz-{what}-directive", directive, f"Unknown {what} directive."
        )
    return directive


@operation("CopyObject", action=Needs((Action.GET_OBJECT, *acls.WRITES.actions), _copies))
async def copy_object(call: Call) -> Result:
    params = call.params
    source = _source(call)
    choice = modes.choose(call)
    objects.check_write(params)
    directive = _directive(params, "metadata")
    tagging = _directive(params, "tagging")
    itself = (source.bucket, source.key) == (call.place.name, params["Key"])
    # A version that is copied onto its own key is brought back.
    itself = itself and (source.version_id is None or not call.place.versioning)
    if itself and directive == "COPY" and not any(member in params for member in _CHANGES):
        raise Refused(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without"
            " changing the object's metadata, storage class, website redirect location or"
            " encryption attributes.",
        )
    owner, acl = await acls.of_new_object(call)
    named = params.get("ChecksumAlgorithm")
    target = copying.Target(
        bucket=call.place.name,
        key=params["Key"],
        owner=owner,
        customer=choice.customer,
        wish=choice.wish,
        content=facets.content(params) if directive == "REPLACE" else None,
        own_headers=facets.own_content(params),
        tags=tags.of_header(params) if tagging == "REPLACE" else None,
        acl=acl,
        terms=locks.terms(call),
        checksum=facets.known_algorithm(named) if named is not None else None,
        when=facets.read_conditions(params),
        bucket_made_ms=call.place.created_ms,
    )
    if tagging == "COPY":
        await _check_tags(call, source)
    found, copied = await _copied(services.of(call).copying.copy(source, target))
    version = found.version
    return {
        "CopyObjectResult": {
            "ETag": facets.quoted(version.etag),
            "LastModified": facets.moment(version.modified_ms),
            **facets.checksum_reply(found.head.checksums, found.head.checksum_type),
        },
        **facets.written_reply(version.version_id),
        **_source_reply(copied),
        **modes.reply(found.protection, params),
        **lifecycle.expiration_reply(call, version, found.tags),
    }


@operation("UploadPartCopy", action=Needs((Action.GET_OBJECT, Action.PUT_OBJECT), _copies_part))
async def upload_part_copy(call: Call) -> Result:
    params = call.params
    source = _source(call)
    customer = modes.part_key(call)
    number = facets.part_number(params)
    stored, copied = await _copied(
        services.of(call).copying.copy_part(
            source,
            call.place.name,
            params["Key"],
            params["UploadId"],
            number,
            customer=customer,
            byte_range=facets.copy_range(params.get("CopySourceRange")),
        )
    )
    return {
        "CopyPartResult": {
            "ETag": facets.quoted(stored.part.etag),
            "LastModified": facets.moment(stored.part.modified_ms),
            **facets.checksum_reply(stored.checksums, ""),
        },
        **_source_reply(copied),
        **modes.reply(stored.protection, params),
    }
