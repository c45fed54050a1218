"""Browser forms, turned into the request that they stand for.

A form says in fields what another upload says in headers. `unfold` reads the fields
up to the file and makes a request of them, so that everything after it (permission,
encryption, checksums, tags) treats a form as it treats a PutObject; what is left of the
form is the request's body. What the form's own HTTP headers say about encryption,
metadata or permission is not taken over: no policy could speak of it.

Source: S3 API reference, "POST Object"; S3 user guide, "POST form fields".
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from strongroom import errors
from strongroom.dialects import pipeline
from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import (
    bodies,
    corrections,
    facets,
    form_signature,
    post_policy,
    routes,
    tags,
)
from strongroom.service import objects, transfer
from strongroom.wire import form, message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from strongroom.wire import binding

OPERATION: Final = corrections.POST_OBJECT

_KEPT_HEADERS: Final = (b"host", b"origin", b"referer", b"user-agent")
"""What is taken over from the request that brought the form: policies ask for it."""
_CONTENT_FIELDS: Final = frozenset({
    "cache-control", "content-disposition", "content-encoding", "content-language",
    "content-md5", "content-type", "expires",
})  # fmt: skip
_NOT_OF_THE_OBJECT: Final = form_signature.FIELDS | {
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-decoded-content-length",
    "x-amz-trailer",
}
_FILENAME: Final = b"${filename}"
_SEPARATORS: Final = re.compile(r"[/\\]")
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_WELL_FORMED: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


async def unfold(
    request: message.Request, routed: pipeline.Routed, tagging: binding.Binding
) -> tuple[message.Request, pipeline.Routed]:
    """Read a form up to its file; return the request that it stands for, and what that means.

    Args:
        request: as it arrived.
        routed: what it means by method and path.
        tagging: reads the document of the field `tagging`.

    Raises:
        Refused: it is no form, or one that cannot be an upload.
        ClientGone: the client hung up.
    """
    with _told():
        boundary = form.boundary_of(request.header(b"content-type") or b"")
    if boundary is None:
        raise Refused(
            "PreconditionFailed",
            Condition="Bucket POST must be of the enclosure-type multipart/form-data",
        )
    length = bodies.content_length(request)
    if length is None:
        raise Refused("MissingContentLength")
    decoder = form.Decoder(boundary)
    taken, begun = 0, False
    with _told():
        async for piece in request.body:
            taken += len(piece)
            begun = decoder.feed_fields(piece)
            if begun:
                break
        if not begun:
            decoder.finish()
            raise form.FileMissing(0)
    first = decoder.unread()
    sent = decoder.form
    _put_filename(sent)
    key = _key(sent)
    assert routed.bucket is not None, "POST is routed here in a bucket only"
    sent.fields["bucket"] = routed.bucket.encode()
    sent.names.setdefault("bucket", "bucket")
    headers = [pair for pair in request.headers if pair[0] in _KEPT_HEADERS]
    headers += _headers(sent, tagging)
    if not request.secure:
        bodies.refuse_customer_keys(headers)
    unfolded = message.Request(
        method=request.method,
        raw_path=request.raw_path,
        # No policy speaks of the URL's parameters, so they say nothing.
        raw_query=b"",
        headers=headers,
        body=_rest(first, request.body),
        secure=request.secure,
        peer=request.peer,
        request_id=request.request_id,
        upload=form.Upload(sent, decoder, length - taken + len(first)),
    )
    return unfolded, pipeline.Routed(routed.name, routed.declared, routed.bucket, key, [])


def values(sent: form.Form) -> dict[str, str]:
    """Return all fields as text, for a policy to judge."""
    return {name: sent.text(name) or "" for name in sent.fields}


def incoming(
    request: message.Request, upload: form.Upload, sizes: post_policy.Sizes | None
) -> transfer.Incoming:
    """Describe the file of a form.

    Args:
        request: the unfolded one.
        upload: its form.
        sizes: what the policy allows.

    Raises:
        Refused: the fields contradict each other, or the file must be too large.
    """
    limits = post_policy.Sizes(0, objects.MAX_OBJECT_BYTES)
    if sizes is not None:
        limits = post_policy.Sizes(sizes.least, min(sizes.most, limits.most))
    if upload.most_bytes - form.MAX_AFTER_BYTES > limits.most:
        # However much of it follows the file.
        limits.check(upload.most_bytes)
    named = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in request.headers
        if name.startswith(b"x-amz-checksum-")
    }
    announced = facets.announced_checksums(named)
    algorithm = next(iter(announced), None)
    asked = request.header(b"x-amz-checksum-algorithm") or request.header(
        b"x-amz-sdk-checksum-algorithm"
    )
    if asked is not None:
        wanted = facets.known_algorithm(asked.decode("latin-1"))
        if algorithm not in (None, wanted):
            raise Refused("InvalidRequest", "Value for x-amz-checksum-algorithm header is invalid.")
        algorithm = wanted
    return transfer.Incoming(
        chunks=request.body,
        length=upload.most_bytes,
        decoder=_File(upload.decoder, limits),
        open_ended=True,
        checksum=algorithm,
        announced=announced,
        md5=bodies.content_md5(request),
    )


class _File:
    """Takes the file out of the rest of the form; a wrong size is told at the end."""

    def __init__(self, decoder: form.Decoder, limits: post_policy.Sizes) -> None:
        self._decoder = decoder
        self._limits = limits
        self._size = 0

    def feed(self, data: bytes | bytearray) -> list[bytes | memoryview]:
        with _told():
            pieces = self._decoder.feed(data)
        self._size += sum(map(len, pieces))
        return pieces

    def finish(self) -> Mapping[str, bytes]:
        with _told():
            self._decoder.finish()
        self._limits.check(self._size)
        return {}


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Say what is wrong with a form in S3's words."""
    try:
        yield
    except form.FieldsTooLong as error:
        raise Refused(
            "MaxPostPreDataLengthExceeded", MaxPostPreDataLengthBytes=str(error.limit)
        ) from None
    except form.FileMissing as error:
        raise facets.bad_argument(
            form.FILE, str(error.count), "POST requires exactly one file upload per request."
        ) from None
    except form.FieldRepeated as error:
        raise Refused(
            "InvalidArgument", "A field of the form comes twice.", ArgumentName=error.name
        ) from None
    except errors.BodyMalformed:
        raise Refused("MalformedPOSTRequest") from None


async def _rest(first: bytes, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in body:
        yield piece


def _put_filename(sent: form.Form) -> None:
    """Put the file's name in where a field asks for it.

    A path is cut to its last part. With no name at all the text stays as it is
    (observed: S3, 2026; its documentation says otherwise).
    """
    if sent.filename is None:
        return
    name = _SEPARATORS.split(sent.filename)[-1].encode("utf-8", "replace")
    for field, value in sent.fields.items():
        if field not in form_signature.FIELDS and _FILENAME in value:
            sent.fields[field] = value.replace(_FILENAME, name)


def _key(sent: form.Form) -> str:
    raw = sent.fields.get("key")
    if raw is None:
        raise form_signature.missing("key")
    if not raw:
        raise facets.bad_argument("key", "", "User key must have a length greater than 0.")
    if len(raw) > routes.MAX_KEY_BYTES:
        raise Refused(
            "KeyTooLongError", Size=str(len(raw)), MaxSizeAllowed=str(routes.MAX_KEY_BYTES)
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise facets.bad_argument("key", "", "The key is not UTF-8.") from None


def _headers(sent: form.Form, tagging: binding.Binding) -> message.Headers:
    """Return the headers that the fields stand for."""
    headers: message.Headers = []
    for field, value in sent.fields.items():
        if field == "acl":
            headers.append((b"x-amz-acl", value))
        elif field == "tagging":
            headers.append((b"x-amz-tagging", _tags(value, tagging)))
        elif field in _CONTENT_FIELDS or (
            field.startswith("x-amz-") and field not in _NOT_OF_THE_OBJECT
        ):
            if _FIELD_NAME.fullmatch(field) is None or _WELL_FORMED.fullmatch(value) is None:
                raise Refused(
                    "InvalidArgument",
                    "A header cannot have this name or value.",
                    ArgumentName=sent.names[field],
                )
            headers.append((field.encode("ascii"), value))
    return headers


def _tags(document: bytes, tagging: binding.Binding) -> bytes:
    """Return the tags of a document as the header has them."""
    params = tagging.parse([], [("tagging", "")], bucket="-", key="-", body=document)
    if "Tagging" not in params:
        raise Refused("MalformedXML")
    return urlencode(tags.of_document(params["Tagging"])).encode("ascii")
