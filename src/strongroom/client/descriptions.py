"""Descriptions of master keys: small JSON objects that say which key an object is under.

They are not authenticated by any vendor's format, so they only choose which key is tried.

The vendors print them differently (`json.dumps`, compact and sorted, raw UTF-8 in a
header), so they are compared as JSON values: order and blanks do not matter, types do.

Source: observed with oss2 2.19.1, alibabacloud-oss-v2 1.4.1 and aliyun-oss-go-sdk 3.0.2;
tests/vectors/cse.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from strongroom import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

Description = dict[str, Any]


def parse(text: str | None) -> Description:
    """Read a description; none, the empty text and `{}` are all no description.

    Raises:
        MalformedEnvelope: it is no JSON object, or names a member twice.
    """
    if not text:
        return {}
    return _object(_repaired(text))


def parse_strings(text: str | None) -> dict[str, str]:
    """Read a JSON object of text to text, such as an encryption context.

    Raises:
        MalformedEnvelope: it is something else.
    """
    found = parse(text)
    if not all(isinstance(value, str) for value in found.values()):
        raise errors.MalformedEnvelope("a context holds something else than text")
    return found


def render(description: Mapping[str, str]) -> str:
    """Print a description as oss2 does, which every reader of ours and most others match.

    Raises:
        TypeError: a name or a value is no text; such a description could never be
            matched again by the vendors' readers.
    """
    pairs: Mapping[Any, Any] = description
    for name, value in pairs.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            raise TypeError("a description maps text to text")
    return json.dumps(dict(description))


def canonical(description: Mapping[str, Any]) -> str:
    """Return a text that two descriptions share exactly if they are the same JSON value."""
    return json.dumps(description, sort_keys=True, separators=(",", ":"))


def _object(text: str) -> Description:
    try:
        found = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise errors.MalformedEnvelope("a description is no JSON") from None
    if not isinstance(found, dict):
        raise errors.MalformedEnvelope("a description is no JSON object")
    return found


def _distinct(pairs: list[tuple[str, Any]]) -> Description:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member twice")
    return found


def _no_number(text: str) -> None:
    raise ValueError(text)


def _repaired(text: str) -> str:
    """Undo a header's UTF-8 read as Latin-1; Go's client sends its descriptions so."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
