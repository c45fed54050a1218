"""One record of a bucket's access log, in S3's format: 26 fields with blanks between.

What would let its reader act in the requester's name is not in it: signatures, session
tokens and customers' keys in URLs are struck out. What is not known here is a dash:
cipher suite, TLS version, access point.

Source: S3 user guide, "Amazon S3 server access log format".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_to_bytes

from strongroom.dialects.s3 import faults

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from strongroom.access import identities
    from strongroom.store import records
    from strongroom.wire import message

STRUCK_OUT: Final = b"REDACTED"
_SECRET: Final = (b"signature", b"security-token", b"customer-key", b"sessiontoken")
"""In the name of a parameter that is not for everybody to read."""

_RESOURCES: Final = {
    "AbortMultipartUpload": "UPLOAD",
    "CompleteMultipartUpload": "UPLOAD",
    "CopyObject": "OBJECT",
    "CreateMultipartUpload": "UPLOADS",
    "DeleteObjects": "MULTI_OBJECT_DELETE",
    "DeleteBucketLifecycle": "LIFECYCLE",
    "DeleteBucketPolicy": "BUCKETPOLICY",
    "GetBucketLifecycleConfiguration": "LIFECYCLE",
    "GetBucketLogging": "LOGGING_STATUS",
    "GetBucketPolicy": "BUCKETPOLICY",
    "GetObjectAcl": "ACL",
    "GetBucketAcl": "ACL",
    "GetObjectTagging": "OBJECT_TAGGING",
    "DeleteObjectTagging": "OBJECT_TAGGING",
    "ListBuckets": "SERVICE",
    "ListMultipartUploads": "UPLOADS",
    "ListObjectVersions": "BUCKETVERSIONS",
    "ListObjects": "BUCKET",
    "ListObjectsV2": "BUCKET",
    "ListParts": "UPLOAD",
    "PostObject": "OBJECT",
    "PutBucketAcl": "ACL",
    "PutBucketLifecycleConfiguration": "LIFECYCLE",
    "PutBucketLogging": "LOGGING_STATUS",
    "PutBucketPolicy": "BUCKETPOLICY",
    "PutObjectAcl": "ACL",
    "PutObjectTagging": "OBJECT_TAGGING",
    "UploadPart": "PART",
    "UploadPartCopy": "PART",
}
_COPIES: Final = frozenset({"CopyObject", "UploadPartCopy"})
_VERB: Final = re.compile(r"^(Abort|Create|Delete|Get|Head|List|Put|Update)(Bucket(?=.))?")
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_STORES: Final = frozenset({"PutObject", "UploadPart"})
_NOT_IN_A_FIELD: Final = re.compile(rb'[\x00-\x20"\x7f]')
_NOT_IN_QUOTES: Final = re.compile(rb'[\x00-\x1f"\x7f]')


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a request.

    Attributes:
        operation: the model's name; empty if it was never found.
        key: of the object, decoded; empty if none is named.
        code: of the error; empty if it was answered.
        status: of the answer, 0 if there was none.
        bytes_out: bytes of its body that were sent.
        total_ms: from the first byte of the request to the last of the answer.
        turn_ms: from the first byte of the request until an answer was known.
        needed_list: an access list allowed it, and nothing else did.
    """

    operation: str
    key: str
    code: str
    status: int
    bytes_out: int
    total_ms: int
    turn_ms: int
    needed_list: bool = False


def write(
    bucket: records.Bucket,
    request: message.Request,
    principal: identities.Principal | None,
    headers: message.Headers,
    told: Told,
    now_ms: int,
    entries: Sequence[Mapping[str, str]] = (),
) -> str:
    """Return the record of a request, and one line more for each key that it deleted.

    Args:
        bucket: that the request names.
        request: what arrived.
        principal: who asked; None if that was never proven.
        headers: of the answer.
        told: what became of it.
        now_ms: the time.
        entries: what became of the keys of a DeleteObjects, as its answer says it.
    """
    answered = dict(headers)
    version, auth = _signature(request)
    moment = datetime.fromtimestamp(now_ms / 1000, UTC)
    who = (
        bucket.owner,
        bucket.name,
        f"[{moment:%d}/{_MONTHS[moment.month - 1]}/{moment:%Y:%H:%M:%S} +0000]",
        _field(request.peer.encode()),
        _requester(principal),
        request.request_id,
    )
    how = (
        _field(answered.get(b"x-amz-id-2", b"")),
        version,
        "-",
        auth,
        _field(request.header(b"host") or b""),
        "-",
        "-",
    )
    whole = (
        *who,
        operation(told.operation, request.method),
        quote(told.key, safe="/~") or "-",
        f'"{request.method} {_target(request)} HTTP/1.1"',
        str(told.status or "-"),
        told.code or "-",
        str(told.bytes_out or "-"),
        _object_size(request, answered, told),
        str(told.total_ms),
        str(told.turn_ms),
        _quoted(request.header(b"referer")),
        _quoted(request.header(b"user-agent")),
        _version(request, answered),
        *how,
        "Yes" if told.needed_list else "-",
    )
    return "\n".join(" ".join(each) for each in (whole, *(_deletion(who, e, how) for e in entries)))


def _deletion(
    who: tuple[str, ...], entry: Mapping[str, str], how: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the fields of one key that a request deleted with others, or could not."""
    code = entry.get("Code")
    return (
        *who,
        "BATCH.DELETE.OBJECT",
        quote(entry["Key"], safe="/~"),
        "-",
        "204" if code is None else str(faults.FAULTS[code][0]),
        code or "-",
        *("-", "-", "-", "-", "-", "-"),
        _field(
            (entry.get("VersionId") or entry.get("DeleteMarkerVersionId") or "").encode("utf-8")
        ),
        *how,
        "-",
    )


_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip


def operation(name: str, method: str) -> str:
    """Return how the log calls an operation: `REST.GET.OBJECT`."""
    if not name:
        return f"REST.{method}.UNKNOWN"
    verb = "COPY" if name in _COPIES else method
    resource = _RESOURCES.get(name)
    if resource is None:
        resource = _HUMP.sub("_", _VERB.sub("", name)).upper()
    return f"REST.{verb}.{resource}"


def _requester(principal: identities.Principal | None) -> str:
    if principal is None or principal.is_anonymous:
        return "-"
    return principal.user_id if principal.member is None else _field(principal.member.arn.encode())


def _target(request: message.Request) -> str:
    path = request.raw_path
    if request.raw_query:
        path += b"?" + b"&".join(map(_without_secret, request.raw_query.split(b"&")))
    return _NOT_IN_A_FIELD.sub(_escape, path).decode("latin-1")


def _without_secret(pair: bytes) -> bytes:
    name, equals, _ = pair.partition(b"=")
    plain = unquote_to_bytes(name).lower()
    return name + equals + STRUCK_OUT if any(each in plain for each in _SECRET) else pair


def _signature(request: message.Request) -> tuple[str, str]:
    """Return version of the signature and where it stood, as the request says."""
    header = request.header(b"authorization")
    if header is not None:
        return ("SigV4" if header.startswith(b"AWS4-") else "SigV2"), "AuthHeader"
    names = {name.lower() for name in _query_names(request)}
    if b"x-amz-signature" in names:
        return "SigV4", "QueryString"
    if b"signature" in names:
        return "SigV2", "QueryString"
    return "-", "-"


def _query_names(request: message.Request) -> list[bytes]:
    return [pair.partition(b"=")[0] for pair in request.raw_query.split(b"&")]


def _object_size(request: message.Request, answered: dict[bytes, bytes], told: Told) -> str:
    found: bytes | None = None
    if told.code:
        return "-"
    if told.operation in _STORES:
        found = request.header(b"x-amz-decoded-content-length") or request.header(b"content-length")
    elif told.operation in ("GetObject", "HeadObject"):
        ranged = answered.get(b"content-range")
        found = ranged.rpartition(b"/")[2] if ranged else answered.get(b"content-length")
    return _field(found or b"")


def _version(request: message.Request, answered: dict[bytes, bytes]) -> str:
    found = answered.get(b"x-amz-version-id")
    if found is None:
        for pair in request.raw_query.split(b"&"):
            name, _, value = pair.partition(b"=")
            if name == b"versionId":
                found = value
    return _field(found or b"")


def _field(value: bytes) -> str:
    """Return a value as one field; a dash for none."""
    return _NOT_IN_A_FIELD.sub(_escape, value).decode("latin-1") or "-"


def _quoted(value: bytes | None) -> str:
    return f'"{_NOT_IN_QUOTES.sub(_escape, value).decode("latin-1")}"' if value else '"-"'


def _escape(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found.group()[0]
