"""Wire words to domain values and back: S3's readers of the recurring facets.

`customer_key` is the one place where a customer's key leaves its header.
Source of the refusals there: what S3 answered when recorded (us-east-1, boto3,
2026-02-21), in the order: conflict with another mode, algorithm missing, key
missing, algorithm unknown, key length, digest.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from strongroom.crypto import digests, secret
from strongroom.dialects.operation import Refused, Result
from strongroom.keyring import sources
from strongroom.service import conditions, facets, multipart
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Mapping

ALGORITHM: Final = "AES256"
MAX_METADATA_BYTES = 2048
"""Names and values of user metadata together. Source: S3 user guide, "Working with object metadata"."""

_SSE: Final = "x-amz-server-side-encryption"
_KEYS_MUST: Final = "Requests specifying Server Side Encryption with Customer provided keys must "

MAX_PARTS_LISTED: Final = 1000
"""Parts on one page. Source: S3 API reference, ListParts, MaxParts."""


CONTENT_MEMBERS: Final = {
    "CacheControl": "cache-control",
    "ContentDisposition": "content-disposition",
    "ContentEncoding": "content-encoding",
    "ContentLanguage": "content-language",
    "ContentType": "content-type",
    "Expires": "expires",
    "WebsiteRedirectLocation": "x-amz-website-redirect-location",
}
_NEVER_COPIED: Final = ("WebsiteRedirectLocation",)
DEFAULT_CONTENT_TYPE: Final = "binary/octet-stream"
"""Source: S3 API reference, PutObject, Content-Type."""

CHECKSUM_MEMBERS: Final = {
    algorithm.value: f"Checksum{algorithm.value}" for algorithm in digests.Algorithm
}
_CHECKSUM_HEADER: Final = "x-amz-checksum-"
_NO_CHECKSUM: Final = frozenset({"algorithm", "type", "mode"})

_MAX_INTEGER = 2**31 - 1
_TOKEN_VERSION = b"1"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSENDABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
"""Names and values of headers. Source: RFC 9110, 5.1 and 5.5."""
_POSITION_DIGITS = 18
_VERSION_ID = re.compile(r"[A-Za-z0-9._-]{32}")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def customer_key(
    params: dict[str, Any], *, prefix: str = "", writing: bool
) -> sources.CustomerKey | None:
    """Take the customer's key out of the params; None if the request names none.

    Args:
        params: bound params; the key is removed from them.
        prefix: "CopySource" for the second triple.
        writing: whether an object is about to be written. On reads a key of
            the wrong length is carried on, to be told as a wrong key (observed: S3).

    Raises:
        Refused: the triple is not whole or does not agree with itself.
    """
    algorithm = params.get(f"{prefix}SSECustomerAlgorithm")
    encoded = params.pop(f"{prefix}SSECustomerKey", None)
    md5 = params.get(f"{prefix}SSECustomerKeyMD5")
    if algorithm is None and encoded is None and md5 is None:
        return None
    other_mode = params.get("ServerSideEncryption")
    if other_mode is not None and not prefix:
        raise Refused(
            "InvalidArgument",
            "Server Side Encryption with Customer provided key is incompatible with the encryption"
            " method specified",
            ArgumentName=_SSE,
            ArgumentValue=other_mode,
        )
    if algorithm is None:
        raise _bad_triple(_KEYS_MUST + "provide a valid encryption algorithm.")
    if encoded is None:
        raise _bad_triple(_KEYS_MUST + "provide an appropriate secret key.")
    if algorithm != ALGORITHM:
        raise Refused("InvalidEncryptionAlgorithmError", ArgumentName=_SSE, ArgumentValue=algorithm)
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise _bad_triple("The secret key was invalid for the specified algorithm.") from None
    if writing and len(raw) != sources.CUSTOMER_KEY_BYTES:
        raise _bad_triple("The secret key was invalid for the specified algorithm.")
    if md5 is None:
        raise _bad_triple(_KEYS_MUST + "provide the client calculated MD5 of the secret key.")
    computed = base64.b64encode(hashlib.md5(raw, usedforsecurity=False).digest())
    if not hmac.compare_digest(computed, md5.encode("utf-8", "surrogateescape")):
        raise _bad_triple(
            "The calculated MD5 hash of the key did not match the hash that was provided."
        )
    return sources.CustomerKey(secret.SecretKey(raw))


def _bad_triple(text: str) -> Refused:
    return Refused("InvalidArgument", text, ArgumentName=_SSE)


def content(params: Mapping[str, Any]) -> facets.Content:
    """Read content headers and user metadata.

    Raises:
        Refused: the metadata is too large, or cannot stand in headers.
    """
    headers = {
        wire_name: params[member]
        for member, wire_name in CONTENT_MEMBERS.items()
        if member in params
    }
    encoding = headers.get("content-encoding")
    if encoding is not None:
        # `aws-chunked` is the body's framing on its way here, not a property of the object.
        kept = [e.strip() for e in encoding.split(",") if e.strip().lower() != "aws-chunked"]
        if kept:
            headers["content-encoding"] = ", ".join(kept)
        else:
            del headers["content-encoding"]
    metadata: dict[str, str] = params.get("Metadata", {})
    size = sum(len(name) + len(value) for name, value in metadata.items())
    if size > MAX_METADATA_BYTES:
        raise Refused("MetadataTooLarge", Size=str(size), MaxSizeAllowed=str(MAX_METADATA_BYTES))
    # What came as a parameter of a presigned URL can be anything. An object must not be
    # stored with what its reader's answer could not hold.
    for name, value in (*headers.items(), *metadata.items()):
        if _UNSENDABLE.search(value) is not None or _NAME.fullmatch(name) is None:
            raise Refused(
                "InvalidArgument", "A header cannot have this name or value.", ArgumentName=name
            )
    return facets.Content(headers, metadata)


def own_content(params: Mapping[str, Any]) -> dict[str, str | None]:
    """Read the content headers that a copy never takes from its source.

    Source: S3 API reference, CopyObject, x-amz-website-redirect-location.

    Raises:
        Refused: a value cannot stand in a header.
    """
    sent = {member: params[member] for member in _NEVER_COPIED if member in params}
    headers = content(sent).headers
    return {
        wire_name: headers.get(wire_name)
        for wire_name in (CONTENT_MEMBERS[member] for member in _NEVER_COPIED)
    }


def content_reply(content_headers: Mapping[str, str], metadata: Mapping[str, str]) -> Result:
    """Say what an object says about its content."""
    reply: Result = {
        member: content_headers[wire_name]
        for member, wire_name in CONTENT_MEMBERS.items()
        if wire_name in content_headers
    }
    reply.setdefault("ContentType", DEFAULT_CONTENT_TYPE)
    if metadata:
        reply["Metadata"] = dict(metadata)
    return reply


def checksum_value(algorithm: str, text: str, what: str) -> bytes:
    """Decode a checksum.

    Raises:
        Refused: it is not base64 of a digest of this algorithm.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != digests.DIGEST_BYTES[digests.Algorithm(algorithm)]:
        raise Refused("InvalidRequest", f"Value for {what} is invalid.")
    return raw


def checksum_name(wire_name: str) -> str | None:
    """Return the algorithm that a checksum header or trailer names; None if it is none."""
    if not wire_name.startswith(_CHECKSUM_HEADER):
        return None
    name = wire_name.removeprefix(_CHECKSUM_HEADER)
    return None if name in _NO_CHECKSUM else name.upper()


def known_algorithm(name: str) -> str:
    """Return the algorithm's name as the store spells it.

    Raises:
        Refused: the store does not know it.
    """
    try:
        return digests.Algorithm(name.upper()).value
    except ValueError:
        known = ", ".join(algorithm.value for algorithm in digests.Algorithm)
        raise Refused(
            "InvalidRequest",
            f"Checksum algorithm provided is unsupported. Please try again with any of the valid types: [{known}]",
        ) from None


def announced_checksums(headers: Mapping[str, str]) -> dict[str, bytes]:
    """Read the checksum headers of a request: at most one.

    Raises:
        Refused: more than one, or one that is no checksum.
    """
    found: dict[str, bytes] = {}
    for wire_name, text in headers.items():
        name = checksum_name(wire_name)
        if name is not None:
            algorithm = known_algorithm(name)
            found[algorithm] = checksum_value(algorithm, text, f"{wire_name} header")
    if len(found) > 1:
        raise Refused(
            "InvalidRequest",
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        )
    return found


def checksum_reply(checksums: Mapping[str, bytes], kind: str, parts: int = 0) -> Result:
    """Show checksums; a composite one is followed by the number of parts."""
    suffix = f"-{parts}" if kind == "COMPOSITE" and parts else ""
    reply: Result = {
        CHECKSUM_MEMBERS[algorithm]: base64.b64encode(digest).decode() + suffix
        for algorithm, digest in checksums.items()
    }
    if reply and kind:
        reply["ChecksumType"] = kind
    return reply


def read_conditions(params: Mapping[str, Any]) -> conditions.Conditions:
    """Read the conditions of a request."""
    return conditions.Conditions(
        if_match=params.get("IfMatch"),
        if_none_match=params.get("IfNoneMatch"),
        if_modified_since_ms=_milliseconds(params.get("IfModifiedSince")),
        if_unmodified_since_ms=_milliseconds(params.get("IfUnmodifiedSince")),
    )


def copy_source(params: Mapping[str, Any]) -> tuple[str, str, str | None]:
    """Read where a copy comes from: bucket, key, and version id; None for the current version.

    Raises:
        Refused: it names no object, or a version that cannot exist.
    """
    path, _, version_id = params["CopySource"].partition("?versionId=")
    try:
        text = unquote_to_bytes(path.encode("latin-1")).decode()
    except UnicodeDecodeError:
        text = ""
    bucket, slash, key = text.removeprefix("/").partition("/")
    if bucket and not slash:
        # Observed: S3 puts the header's name where its value would be.
        raise bad_argument(
            "x-amz-copy-source", "x-amz-copy-source", "Invalid copy source object key"
        )
    if not bucket or not key:
        raise bad_argument(
            "x-amz-copy-source",
            params["CopySource"],
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
        )
    return bucket, key, _known_form(version_id) if version_id else None


def copy_conditions(params: Mapping[str, Any], now_ms: int) -> conditions.Conditions:
    """Read the conditions on the source of a copy.

    A modification since a time that is yet to come is not asked for (observed: S3).
    """
    since = _milliseconds(params.get("CopySourceIfModifiedSince"))
    return conditions.Conditions(
        if_match=params.get("CopySourceIfMatch"),
        if_none_match=params.get("CopySourceIfNoneMatch"),
        if_modified_since_ms=None if since is not None and since > now_ms else since,
        if_unmodified_since_ms=_milliseconds(params.get("CopySourceIfUnmodifiedSince")),
    )


def copy_range(text: str | None) -> tuple[int, int] | None:
    """Read the range of a part copy, as half-open: both ends must be given.

    Raises:
        Refused: it has another form.
    """
    if text is None:
        return None
    match = _RANGE.fullmatch(text.strip())
    if match is None or not all(match.groups()) or _position(match[2]) < _position(match[1]):
        raise bad_argument(
            "x-amz-copy-source-range",
            text,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and"
            " last are the zero-based offsets of the first and last bytes to copy",
        )
    return _position(match[1]), _position(match[2]) + 1


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)


def byte_range(text: str | None) -> facets.ByteRange | None:
    """Read a Range header; None for one that S3 ignores (RFC 9110, 14.2: invalid or unknown)."""
    if text is None:
        return None
    match = _RANGE.fullmatch(text.strip().replace(" ", ""))
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        return facets.ByteRange(None, _position(last), text) if last else None
    if last and _position(last) < _position(first):
        return None
    return facets.ByteRange(_position(first), _position(last) if last else None, text)


def _position(digits: str) -> int:
    """Read a position; one beyond any object may become another such.

    `int` refuses thousands of digits, which a header may well have.
    """
    return int(digits.lstrip("0")[:_POSITION_DIGITS] or "0")


def moment(milliseconds: int) -> datetime:
    """Return milliseconds since the epoch as a time of the wire."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def quoted(etag: str) -> str:
    """Return an ETag as headers and documents show it."""
    return f'"{etag}"'


def version_reply(version: records.Version, bucket: records.Bucket) -> Result:
    """Show the id of a version that is read, unless the bucket never had versions."""
    return {"VersionId": version.version_id} if bucket.versioning else {}


def written_reply(version_id: str) -> Result:
    """Show the id of a version that was just written, unless it is the null version's.

    Source: S3 user guide, "Adding objects to versioning-suspended buckets"; observed:
    Ceph's s3-tests, which AWS passes.
    """
    return {} if version_id == records.NULL_VERSION else {"VersionId": version_id}


def delete_conditions(params: Mapping[str, Any]) -> conditions.Conditions:
    """Read the conditions of a deletion, from the request or from an entry of its document."""
    return conditions.Conditions(
        if_match=params.get("IfMatch") or params.get("ETag"),
        if_size=params.get("IfMatchSize", params.get("Size")),
        if_modified_at_ms=_milliseconds(
            params.get("IfMatchLastModifiedTime") or params.get("LastModifiedTime")
        ),
    )


def http_date(moment: datetime) -> str:
    """Return a time as headers show it."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def bad_argument(name: str, value: str, text: str | None = None) -> Refused:
    """Return the refusal of one argument."""
    return Refused("InvalidArgument", text, ArgumentName=name, ArgumentValue=value)


def part_number(params: Mapping[str, Any]) -> int:
    """Return the part number that is asked for.

    Raises:
        Refused: no upload has a part of that number.
    """
    number: int = params["PartNumber"]
    if 1 <= number <= multipart.MAX_PARTS:
        return number
    raise bad_argument(
        "partNumber",
        str(number),
        f"Part number must be an integer between 1 and {multipart.MAX_PARTS}, inclusive",
    )


def check_marker(wire_name: str, number: int) -> None:
    """Check a part number marker.

    Raises:
        Refused: negative, or beyond what S3 reads as a number.
    """
    if not 0 <= number <= _MAX_INTEGER:
        raise bad_argument(wire_name, str(number))


def page_size(params: Mapping[str, Any], member: str, wire_name: str, most: int) -> int:
    """Return how many entries a page shall have; larger wishes get `most`.

    Raises:
        Refused: negative, or beyond what S3 reads as a number.
    """
    wanted: int = params.get(member, most)
    if not 0 <= wanted <= _MAX_INTEGER:
        raise bad_argument(
            wire_name,
            str(wanted),
            f"Argument {wire_name} must be an integer between 0 and {_MAX_INTEGER}",
        )
    return min(wanted, most)


def make_token(text: str) -> str:
    """Return an opaque token that says where a listing goes on."""
    return base64.urlsafe_b64encode(_TOKEN_VERSION + text.encode()).decode()


def open_token(token: str) -> str:
    """Return what `make_token` was given.

    Raises:
        Refused: it is no token of ours.
    """
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        version, text = raw[: len(_TOKEN_VERSION)], raw[len(_TOKEN_VERSION) :].decode()
    except ValueError:
        version, text = b"", ""
    if version != _TOKEN_VERSION:
        raise bad_argument(
            "continuation-token", token, "The continuation token provided is incorrect"
        )
    return text


def version_id(params: Mapping[str, Any]) -> str | None:
    """Read which version is meant; None for the current one.

    Raises:
        Refused: no version can have this id.
    """
    named: str | None = params.get("VersionId")
    return None if named is None else _known_form(named)


def _known_form(version_id: str) -> str:
    if not version_id:
        raise bad_argument("versionId", "", "Version id cannot be the empty string")
    if not is_version_id(version_id):
        raise bad_argument("versionId", version_id, "Invalid version id specified")
    return version_id


def is_version_id(text: str) -> bool:
    """Whether a version could have this id."""
    return text == records.NULL_VERSION or _VERSION_ID.fullmatch(text) is not None


def refuse_unserved(params: Mapping[str, Any], unserved: Mapping[str, str]) -> None:
    """Refuse a request for what this release does not do, rather than leave it undone.

    Args:
        params: bound params.
        unserved: member → its header.

    Raises:
        Refused: one of the members is there.
    """
    for member, wire_name in unserved.items():
        if member in params:
            raise Refused("NotImplemented", Header=wire_name)
