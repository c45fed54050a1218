"""Handlers of listings."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from strongroom.access.actions import Action
from strongroom.dialects.operation import Call, Refused, Result, operation
from strongroom.dialects.s3 import facets, services

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from strongroom.store import records

MAX_KEYS: Final = 1000
"""Entries on one page. Source: S3 API reference, ListObjectsV2, MaxKeys."""

_SAFE: Final = "/-_.*"
"""What `encoding-type=url` leaves as it is, besides letters and digits (observed: S3).

A blank becomes `%20`, which clients of either habit read back, unlike `+`.
"""

_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def _as_it_is(text: str) -> str:
    return text


def _encoder(params: dict[str, Any]) -> Callable[[str], str]:
    """Return how keys are shown.

    Raises:
        Refused: an encoding that S3 does not know.
    """
    encoding = params.get("EncodingType")
    if encoding is None:
        return _as_it_is
    if encoding != "url":
        raise facets.bad_argument(
            "encoding-type", encoding, "Invalid Encoding Method specified in Request"
        )
    return lambda text: quote(text, safe=_SAFE)


def _entries(versions: Sequence[records.Version], shown: Callable[[str], str]) -> list[Result]:
    entries: list[Result] = []
    # A page has a thousand of them, and each call that is spared here is a thousand.
    moment, as_it_is = datetime.fromtimestamp, shown is _as_it_is
    for version in versions:
        entry: Result = {
            "Key": version.key if as_it_is else shown(version.key),
            "LastModified": moment(version.modified_ms / 1000, UTC),
            "ETag": f'"{version.etag}"',
            "Size": version.size,
            "StorageClass": "STANDARD",
        }
        if version.checksum_algorithms:
            entry["ChecksumAlgorithm"] = list(version.checksum_algorithms)
            entry["ChecksumType"] = version.checksum_type
        entries.append(entry)
    return entries


async def _add_owners(
    call: Call, entries: Sequence[Result], versions: Sequence[records.Version]
) -> None:
    owners = await services.of(call).owners(version.owner for version in versions)
    for entry, version in zip(entries, versions, strict=True):
        entry["Owner"] = owners[version.owner]


def _page(
    params: dict[str, Any],
    shown: Callable[[str], str],
    page: records.ObjectPage | records.VersionPage | records.UploadPage,
) -> Result:
    """Return what every listing says of its page."""
    reply: Result = {
        "IsTruncated": page.next_after is not None,
        "CommonPrefixes": [{"Prefix": shown(each)} for each in page.prefixes],
    }
    if params.get("Delimiter"):
        reply["Delimiter"] = shown(params["Delimiter"])
    if "EncodingType" in params:
        reply["EncodingType"] = params["EncodingType"]
    return reply


@operation("ListObjects", action=Action.LIST_BUCKET)
async def list_objects(call: Call) -> Result:
    params = call.params
    shown = _encoder(params)
    limit = facets.page_size(params, "MaxKeys", "max-keys", MAX_KEYS)
    prefix, delimiter = params.get("Prefix", ""), params.get("Delimiter", "")
    marker = params.get("Marker", "")
    page = await services.of(call).listing.objects(
        call.place.name, prefix=prefix, delimiter=delimiter, after=marker, limit=limit
    )
    entries = _entries(page.versions, shown)
    await _add_owners(call, entries, page.versions)
    reply: Result = {
        "Name": call.place.name,
        # boto3 does not decode this element of this operation, so it is encoded
        # only where XML could not carry it.
        "Prefix": shown(prefix) if _NOT_IN_XML.search(prefix) else prefix,
        "Marker": shown(marker),
        "MaxKeys": limit,
        "Contents": entries,
        **_page(params, shown, page),
    }
    # Without a delimiter the last key is the marker. Source: ListObjects, NextMarker.
    if delimiter and page.next_after is not None:
        reply["NextMarker"] = shown(page.next_after)
    return reply


@operation("ListObjectsV2", action=Action.LIST_BUCKET)
async def list_objects_v2(call: Call) -> Result:
    params = call.params
    shown = _encoder(params)
    limit = facets.page_size(params, "MaxKeys", "max-keys", MAX_KEYS)
    prefix, delimiter = params.get("Prefix", ""), params.get("Delimiter", "")
    start_after, token = params.get("StartAfter", ""), params.get("ContinuationToken")
    page = await services.of(call).listing.objects(
        call.place.name,
        prefix=prefix,
        delimiter=delimiter,
        after=facets.open_token(token) if token else start_after,
        limit=limit,
    )
    entries = _entries(page.versions, shown)
    if params.get("FetchOwner"):
        await _add_owners(call, entries, page.versions)
    reply: Result = {
        "Name": call.place.name,
        "Prefix": shown(prefix),
        "MaxKeys": limit,
        "KeyCount": len(entries) + len(page.prefixes),
        "Contents": entries,
        **_page(params, shown, page),
    }
    if start_after:
        reply["StartAfter"] = shown(start_after)
    if token is not None:
        reply["ContinuationToken"] = token
    if page.next_after is not None:
        reply["NextContinuationToken"] = facets.make_token(page.next_after)
    return reply


@operation("ListObjectVersions", action=Action.LIST_BUCKET_VERSIONS)
async def list_object_versions(call: Call) -> Result:
    params = call.params
    shown = _encoder(params)
    limit = facets.page_size(params, "MaxKeys", "max-keys", MAX_KEYS)
    prefix, delimiter = params.get("Prefix", ""), params.get("Delimiter", "")
    key_marker, id_marker = params.get("KeyMarker", ""), params.get("VersionIdMarker", "")
    if id_marker and not key_marker:
        raise facets.bad_argument(
            "version-id-marker",
            id_marker,
            "A version-id marker cannot be specified without a key marker.",
        )
    page = await services.of(call).listing.versions(
        call.place.name,
        prefix=prefix,
        delimiter=delimiter,
        after=(key_marker, id_marker),
        limit=limit,
    )
    entries = _entries(page.versions, shown)
    await _add_owners(call, entries, page.versions)
    for entry, version, newest in zip(entries, page.versions, page.latest, strict=True):
        entry["VersionId"], entry["IsLatest"] = version.version_id, newest
    marked = [version.is_marker for version in page.versions]
    reply: Result = {
        "Name": call.place.name,
        "Prefix": shown(prefix),
        "KeyMarker": shown(key_marker),
        "VersionIdMarker": id_marker,
        "MaxKeys": limit,
        "Versions": [entry for entry, marker in zip(entries, marked, strict=True) if not marker],
        "DeleteMarkers": [
            {name: entry[name] for name in _MARKER_MEMBERS}
            for entry, marker in zip(entries, marked, strict=True)
            if marker
        ],
        **_page(params, shown, page),
    }
    if page.next_after is not None:
        next_key, next_id = page.next_after
        reply["NextKeyMarker"] = shown(next_key)
        if next_id:
            reply["NextVersionIdMarker"] = next_id
    return reply


_MARKER_MEMBERS: Final = ("Key", "VersionId", "IsLatest", "LastModified", "Owner")


@operation("ListMultipartUploads", action=Action.LIST_BUCKET_MULTIPART_UPLOADS)
async def list_multipart_uploads(call: Call) -> Result:
    params = call.params
    shown = _encoder(params)
    limit = facets.page_size(params, "MaxUploads", "max-uploads", MAX_KEYS)
    if not limit:
        raise Refused("InvalidArgument", "Invalid max-uploads", ArgumentName="max-uploads")
    prefix, delimiter = params.get("Prefix", ""), params.get("Delimiter", "")
    key_marker, id_marker = params.get("KeyMarker", ""), params.get("UploadIdMarker", "")
    page = await services.of(call).listing.uploads(
        call.place.name,
        prefix=prefix,
        delimiter=delimiter,
        # An upload id without a key is ignored. Source: ListMultipartUploads, upload-id-marker.
        after=(key_marker, id_marker if key_marker else ""),
        limit=limit,
    )
    next_key, next_id = page.next_after or ("", "")
    uploads: list[Result] = []
    owners = await services.of(call).owners(upload.owner for upload in page.uploads)
    for upload in page.uploads:
        entry: Result = {
            "UploadId": upload.upload_id,
            "Key": shown(upload.key),
            "Initiated": facets.moment(upload.initiated_ms),
            "StorageClass": "STANDARD",
            "Owner": owners[upload.owner],
            "Initiator": owners[upload.owner],
        }
        if upload.checksum_algorithm:
            entry["ChecksumAlgorithm"] = upload.checksum_algorithm
            entry["ChecksumType"] = upload.checksum_type
        uploads.append(entry)
    reply: Result = {
        "Bucket": call.place.name,
        "KeyMarker": shown(key_marker),
        "UploadIdMarker": id_marker,
        "NextKeyMarker": shown(next_key),
        "NextUploadIdMarker": next_id,
        "MaxUploads": limit,
        "Uploads": uploads,
        **_page(params, shown, page),
    }
    if prefix:
        reply["Prefix"] = shown(prefix)
    return reply
