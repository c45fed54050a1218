"""Objects from place to place within a store, without their bytes coming here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from strongroom.cli.remote import places, troubles, uploads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.cli.remote import lanes, progress

MAX_COPY_BYTES = 5 * 1024**3
"""The most that one CopyObject copies. Source: Amazon S3 API Reference, CopyObject."""
_RANGE_BYTES = 1024**3
_KEPT = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Metadata",
    "WebsiteRedirectLocation",
)
"""What a copy in parts must say again, by the names of HeadObject and CreateMultipartUpload."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is said about what a copy reads; `customer` without "CopySource" in its names."""

    customer: Mapping[str, Any] = field(default_factory=dict)
    version_id: str | None = None


class Copies:
    """Copies by one client."""

    def __init__(self, client: Any, lanes: lanes.Lanes, reporter: progress.Reporter) -> None:
        self._client = client
        self._lanes = lanes
        self._reporter = reporter

    def copy(
        self,
        source: places.Remote,
        target: places.Remote,
        reading: Source,
        writing: uploads.Writing,
        *,
        size: int | None = None,
    ) -> uploads.Written:
        """Copy an object with its headers, metadata and tags.

        Args:
            source: what is copied.
            target: what it becomes.
            reading: the source's key and version.
            writing: what is said about the target; a content type replaces the source's.
            size: bytes of the source, if they are known already and so counted in the progress.

        Raises:
            Failed: source or target are refused, or the source changed meanwhile.
        """
        self._lanes.check()
        version = {} if reading.version_id is None else {"VersionId": reading.version_id}
        with troubles.told(source):
            head = self._client.head_object(
                Bucket=source.bucket, Key=source.key, **version, **reading.customer
            )
        length: int = head["ContentLength"]
        self._reporter.grow(length - (size or 0))
        copied_from = {
            "CopySource": {"Bucket": source.bucket, "Key": source.key, **version},
            "CopySourceIfMatch": head["ETag"],
            **{f"CopySource{name}": value for name, value in reading.customer.items()},
        }
        with troubles.told(target):
            if length <= MAX_COPY_BYTES:
                written = self._at_once(target, copied_from, writing, head)
                self._reporter.advance(length)
                return written
            return self._in_parts(source, target, version, copied_from, writing, head)

    def _at_once(
        self,
        target: places.Remote,
        copied_from: Mapping[str, Any],
        writing: uploads.Writing,
        head: Mapping[str, Any],
    ) -> uploads.Written:
        members = dict(writing.members)
        if writing.content_type is not None or "Metadata" in members:
            # What is replaced is replaced as a whole: so all is said again.
            members = {**_said_again(head, members), "MetadataDirective": "REPLACE"}
            members |= {"ContentType": writing.content_type} if writing.content_type else {}
        reply = self._client.copy_object(
            Bucket=target.bucket,
            Key=target.key,
            **copied_from,
            **members,
            **writing.customer,
            **writing.condition(),
        )
        etag = reply["CopyObjectResult"]["ETag"].strip('"')
        return uploads.Written(head["ContentLength"], etag, reply.get("VersionId"))

    def _in_parts(
        self,
        source: places.Remote,
        target: places.Remote,
        version: Mapping[str, str],
        copied_from: Mapping[str, Any],
        writing: uploads.Writing,
        head: Mapping[str, Any],
    ) -> uploads.Written:
        size: int = head["ContentLength"]
        members = _said_again(head, writing.members)
        if writing.content_type:
            members["ContentType"] = writing.content_type
        if head.get("TagCount"):
            tags = self._client.get_object_tagging(Bucket=source.bucket, Key=source.key, **version)
            members["Tagging"] = _as_query(tags["TagSet"])
        place = {"Bucket": target.bucket, "Key": target.key}
        place["UploadId"] = self._client.create_multipart_upload(
            **place, **members, **writing.customer
        )["UploadId"]
        try:
            step = uploads.part_bytes_for(size, _RANGE_BYTES)

            def copy_part(number: int) -> dict[str, Any]:
                start = (number - 1) * step
                end = min(start + step, size)
                reply = self._client.upload_part_copy(
                    **place,
                    PartNumber=number,
                    CopySourceRange=f"bytes={start}-{end - 1}",
                    **copied_from,
                    **writing.customer,
                )
                self._reporter.advance(end - start)
                return {"PartNumber": number, "ETag": reply["CopyPartResult"]["ETag"]}

            parts = self._lanes.parts(copy_part, range(1, -(-size // step) + 1))
            reply = self._client.complete_multipart_upload(
                **place, MultipartUpload={"Parts": parts}, **writing.condition()
            )
        except BaseException:
            with troubles.quietly():
                self._client.abort_multipart_upload(**place)
            raise
        return uploads.Written(size, reply["ETag"].strip('"'), reply.get("VersionId"))


def _said_again(head: Mapping[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a copy says of itself: what its source says, and `members`.

    User metadata are added to those that are there: among them may be the envelope of an object
    that was encrypted before it was stored, and without it the object is lost.
    """
    kept = {name: head[name] for name in _KEPT if head.get(name)}
    merged = {**kept, **members}
    if "Metadata" in merged:
        merged["Metadata"] = {**kept.get("Metadata", {}), **members.get("Metadata", {})}
    return merged


def _as_query(tags: list[dict[str, str]]) -> str:
    from urllib import parse  # noqa: PLC0415 - rarely needed

    return parse.urlencode([(tag["Key"], tag["Value"]) for tag in tags], quote_via=parse.quote)
