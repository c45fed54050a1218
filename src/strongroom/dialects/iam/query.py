"""AWS's query protocol: a form of parameters goes in, XML comes out.

Source: IAM API reference, "Making query requests" and "Common errors".
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote
from xml.sax.saxutils import escape

from strongroom import errors
from strongroom.dialects.operation import Refused
from strongroom.wire import message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_BODY_BYTES: Final = 256 * 1024
"""The largest form that is read; a policy with all its escapes has 30 kB."""

NAMESPACES: Final = {
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
}
MAX_FIELDS: Final = 1000
MAX_ITEMS: Final = 1000
DEFAULT_ITEMS: Final = 100

_NOT_IN_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")

CODES: Final = {
    "AccessDenied": HTTPStatus.FORBIDDEN,
    "ConcurrentModification": HTTPStatus.CONFLICT,
    "DeleteConflict": HTTPStatus.CONFLICT,
    "EntityAlreadyExists": HTTPStatus.CONFLICT,
    "ExpiredToken": HTTPStatus.FORBIDDEN,
    "ExpiredTokenException": HTTPStatus.BAD_REQUEST,
    "IDPCommunicationError": HTTPStatus.BAD_REQUEST,
    "IncompleteSignature": HTTPStatus.BAD_REQUEST,
    "InternalFailure": HTTPStatus.INTERNAL_SERVER_ERROR,
    "InvalidAction": HTTPStatus.BAD_REQUEST,
    "InvalidClientTokenId": HTTPStatus.FORBIDDEN,
    "InvalidIdentityToken": HTTPStatus.BAD_REQUEST,
    "InvalidParameterValue": HTTPStatus.BAD_REQUEST,
    "LimitExceeded": HTTPStatus.CONFLICT,
    "MalformedPolicyDocument": HTTPStatus.BAD_REQUEST,
    "MalformedQueryString": HTTPStatus.BAD_REQUEST,
    "MissingAuthenticationToken": HTTPStatus.FORBIDDEN,
    "NoSuchEntity": HTTPStatus.NOT_FOUND,
    "ServiceUnavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "SignatureDoesNotMatch": HTTPStatus.FORBIDDEN,
    "ValidationError": HTTPStatus.BAD_REQUEST,
}
"""Every code that is answered with."""

_OF_SIGNATURES: Final = {
    "InvalidAccessKeyId": (
        "InvalidClientTokenId",
        "The security token included in the request is invalid.",
    ),
    "InvalidToken": (
        "InvalidClientTokenId",
        "The security token included in the request is invalid.",
    ),
    "SignatureDoesNotMatch": (
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided.",
    ),
    "RequestTimeTooSkewed": ("SignatureDoesNotMatch", "Signature expired."),
    "AccessDenied": ("AccessDenied", "Access Denied"),
}
"""Code of S3's signatures → ours, and what is said."""


def parse(body: bytes) -> dict[str, str]:
    """Read a form.

    Raises:
        Refused: it is none, or names a field twice.
    """
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as error:
        raise Refused("MalformedQueryString", "The form cannot be read.") from error
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Refused("MalformedQueryString", "A field stands there twice.")
    return found


def listed(params: Mapping[str, str], name: str) -> list[str]:
    """Return the members of a list, in their order."""
    found: list[str] = []
    while (text := params.get(f"{name}.member.{len(found) + 1}")) is not None:
        found.append(text)
    return found


def tags(params: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a request.

    Raises:
        Refused: one has no key, or stands there twice.
    """
    found: dict[str, str] = {}
    number = 1
    while f"Tags.member.{number}.Key" in params or f"Tags.member.{number}.Value" in params:
        key = params.get(f"Tags.member.{number}.Key", "")
        value = params.get(f"Tags.member.{number}.Value", "")
        if not 1 <= len(key) <= 128 or len(value) > 256 or key in found:  # noqa: PLR2004 - IAM's limits of tags
            raise Refused("ValidationError", "A tag has an invalid or repeated key, or value.")
        found[key] = value
        number += 1
    return found


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as answers show them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def moment(milliseconds: int) -> str:
    """Return a time as documents show it."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encoded(policy: str) -> str:
    """Return a policy document as documents show it (RFC 3986)."""
    return quote(policy, safe="")


def page(name: str, items: list[tuple[str, Any]], params: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of a list.

    Args:
        name: of the list in the answer.
        items: what it is ordered by, and what is shown, in order.
        params: of the request: Marker and MaxItems.

    Raises:
        Refused: MaxItems is no number, or out of bounds.
    """
    text = params.get("MaxItems", str(DEFAULT_ITEMS))
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_ITEMS:
        raise Refused("ValidationError", f"MaxItems must be between 1 and {MAX_ITEMS}.")
    after = params.get("Marker", "")
    rest = [item for item in items if item[0] > after] if after else items
    shown = rest[: int(text)]
    more = len(rest) > len(shown)
    return {
        name: [item for _, item in shown],
        "IsTruncated": more,
        "Marker": shown[-1][0] if more else None,
    }


def reply(
    request: message.Request, service: str, action: str, result: Mapping[str, Any]
) -> message.Response:
    """Write an answer."""
    # Some clients look for the element even where there is nothing to say.
    inner = _element(f"{action}Result", dict(result))
    text = (
        f'<{action}Response xmlns="{NAMESPACES[service]}">{inner}<ResponseMetadata>'
        f"<RequestId>{request.request_id}</RequestId></ResponseMetadata></{action}Response>"
    )
    return _response(request, HTTPStatus.OK, text)


def refuse(
    request: message.Request, service: str, error: Exception
) -> tuple[message.Response, str]:
    """Write a refusal; return it with its code. Never raises."""
    code, text = _told(error)
    status = CODES[code]
    kind = "Receiver" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "Sender"
    document = (
        f'<ErrorResponse xmlns="{NAMESPACES[service]}"><Error><Type>{kind}</Type>'
        f"<Code>{code}</Code><Message>{_text(text)}</Message></Error>"
        f"<RequestId>{request.request_id}</RequestId></ErrorResponse>"
    )
    return _response(request, status, document), code


_OF_ERRORS: Final[dict[type[Exception], tuple[str, Callable[[Any], str]]]] = {
    errors.NoSuchEntity: (
        "NoSuchEntity",
        lambda e: f"The {e.kind} with name {e.name} cannot be found.",
    ),
    errors.EntityExists: (
        "EntityAlreadyExists",
        lambda e: f"{e.kind.capitalize()} with name {e.name} already exists.",
    ),
    errors.EntityBusy: (
        "ConcurrentModification",
        lambda _: "Somebody else is changing it. Try again.",
    ),
    errors.EntityInUse: ("DeleteConflict", str),
    errors.InvalidEntity: ("ValidationError", str),
    errors.LimitPassed: ("LimitExceeded", str),
    errors.MalformedPolicy: ("MalformedPolicyDocument", str),
    errors.TokenExpired: (
        "ExpiredToken",
        lambda _: "The security token included in the request is expired",
    ),
    errors.TokenInvalid: (
        "InvalidClientTokenId",
        lambda _: "The security token included in the request is invalid.",
    ),
    errors.AccessDenied: ("AccessDenied", lambda _: "Access Denied"),
    errors.StoreFull: ("ServiceUnavailable", lambda _: "The server has no space left."),
}


def _told(error: Exception) -> tuple[str, str]:
    """Return the code and the text of an error."""
    if isinstance(error, Refused):
        if error.code in CODES and (error.message or error.code not in _OF_SIGNATURES):
            return error.code, error.message or error.code
        unreadable = "IncompleteSignature", error.message or error.code
        return _OF_SIGNATURES.get(error.code, unreadable)
    for kind in type(error).__mro__:
        if kind in _OF_ERRORS:
            code, text = _OF_ERRORS[kind]
            return code, text(error)
    return "InternalFailure", "The request processing has failed."


def _response(request: message.Request, status: int, text: str) -> message.Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
    return message.Response(
        status,
        [
            (b"content-type", b"text/xml"),
            (b"content-length", b"%d" % len(body)),
            (b"x-amzn-requestid", request.request_id.encode()),
        ],
        body,
    )


class Entries(dict[str, Any]):
    """A map, which the protocol writes as a list of entries."""


def _element(name: str, value: Any) -> str:
    if isinstance(value, Entries):
        inner = "".join(
            _element("entry", {"key": key, "value": each}) for key, each in value.items()
        )
    elif isinstance(value, dict):
        inner = "".join(
            _element(each, member) for each, member in value.items() if member is not None
        )
    elif isinstance(value, list):
        inner = "".join(_element("member", member) for member in value)
    elif isinstance(value, bool):
        inner = "true" if value else "false"
    else:
        inner = _text(str(value))
    return f"<{name}>{inner}</{name}>"


def _text(text: str) -> str:
    return escape(_NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text))
