"""S3's readers of an object's tags: a header, or a document."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final

from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import facets, routes

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TAGS: Final = 10
"""Tags of an object."""
MAX_BUCKET_TAGS: Final = 50
"""Tags of a bucket. Source: S3 user guide, "Using cost allocation S3 bucket tags"."""
MAX_TAG_KEY: Final = 128
MAX_TAG_VALUE: Final = 256
"""Their length in characters."""

_SYSTEM_TAG: Final = "aws:"
"""Beginning of tags that are the service's own."""


def of_header(params: Mapping[str, Any]) -> dict[str, str]:
    """Read the tags of an `x-amz-tagging` header.

    Raises:
        Refused: it is no query string, or a tag is not allowed.
    """
    text: str | None = params.get("Tagging")
    if not text:
        return {}
    found: dict[str, str] = {}
    # Observed: S3 overlooks empty pieces, and tells bad characters as bad encoding.
    for piece in filter(None, text.encode("latin-1").split(b"&")):
        name, _, value = piece.partition(b"=")
        try:
            decoded = routes.form_text(name)
            if not decoded or decoded in found:
                raise _bad_tagging(text)
            found[decoded] = routes.form_text(value)
        except UnicodeDecodeError:
            raise _bad_tagging(text) from None
        if not _is_tag_text(decoded) or not _is_tag_text(found[decoded]):
            raise _bad_tagging(text)
    return _checked(found)


def _bad_tagging(text: str) -> Refused:
    return facets.bad_argument(
        "x-amz-tagging",
        text,
        "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters"
        " without tag name duplicates.",
    )


def of_document(
    document: Mapping[str, Any], *, limit: int = MAX_TAGS, what: str = "Object"
) -> dict[str, str]:
    """Read the tags of a Tagging document: at most `limit`, for `what` has no more.

    Raises:
        Refused: a tag is not allowed, or stands there twice.
    """
    found: dict[str, str] = {}
    for tag in document.get("TagSet", ()):
        if "Key" not in tag or "Value" not in tag:
            raise Refused("MalformedXML")
        if tag["Key"] in found:
            raise Refused(
                "InvalidTag", "Cannot provide multiple Tags with the same key", TagKey=tag["Key"]
            )
        found[tag["Key"]] = tag["Value"]
    return _checked(found, limit, what)


def _checked(found: dict[str, str], limit: int = MAX_TAGS, what: str = "Object") -> dict[str, str]:
    """Return tags if an object (or a bucket) may have them.

    Source: S3 user guide, "Categorizing your objects using tags".

    Raises:
        Refused: too many, too long, or with characters that are not allowed.
    """
    if len(found) > limit:
        raise Refused("InvalidTag", f"{what} tags cannot be greater than {limit}")
    for name, value in found.items():
        if name.startswith(_SYSTEM_TAG):
            raise Refused("InvalidTag", "Your TagKey cannot be prefixed with aws:", TagKey=name)
        if not name or len(name) > MAX_TAG_KEY or not _is_tag_text(name):
            raise Refused("InvalidTag", "The TagKey you have provided is invalid", TagKey=name)
        if len(value) > MAX_TAG_VALUE or not _is_tag_text(value):
            raise Refused(
                "InvalidTag",
                "The TagValue you have provided is invalid",
                TagKey=name,
                TagValue=value,
            )
    return found


def _is_tag_text(text: str) -> bool:
    return all(
        unicodedata.category(character)[0] in "LZN" or character in "_.:/=+-@" for character in text
    )
