"""Single values between their text on the wire and Python.

Readers raise `ValueError` for text that is no such value; who knows the name of
the place turns that into `errors.MalformedValue`. Times are aware and UTC.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from strongroom.wire import xml_body

Read = Callable[[str], Any]
Write = Callable[[Any], str]

# int() would take `1_000`, `٣` and five thousand digits; 2**64 has twenty.
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_TRUTH = {"true": True, "false": False}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def read_integer(text: str) -> int:
    """Read a decimal integer."""
    text = text.strip()
    if _INTEGER.fullmatch(text) is None:
        raise ValueError("not an integer")
    return int(text)


def read_decimal(text: str) -> float:
    """Read a decimal number."""
    text = text.strip()
    if _DECIMAL.fullmatch(text) is None:
        raise ValueError("not a number")
    return float(text)


def read_boolean(text: str) -> bool:
    """Read `true` or `false`, in any case: Python's clients have been seen to send `True`."""
    value = _TRUTH.get(text.strip().lower())
    if value is None:
        raise ValueError("neither true nor false")
    return value


def read_time(text: str) -> datetime:
    """Read an HTTP date in any of its three forms (RFC 9110, 5.6.7), or ISO 8601.

    A time without a zone is taken as UTC.
    """
    text = text.strip()
    try:
        # An HTTP date begins with the name of a day, an ISO one with a digit.
        read = datetime.fromisoformat if text[:1].isdigit() else parsedate_to_datetime
        moment = read(text)
        if moment.tzinfo is None:
            return moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (OverflowError, TypeError) as error:
        raise ValueError("not a time") from error


def read_blob(text: str) -> bytes:
    """Read base64; line breaks are allowed, other strangers are not."""
    return base64.b64decode("".join(text.split()), validate=True)


def read_list(text: str) -> list[str]:
    """Read a comma separated header (RFC 9110, 5.6.1): blanks trimmed, empty items dropped."""
    return [item for part in text.split(",") if (item := part.strip())]


def write_boolean(value: Any) -> str:
    """Write `true` or `false`."""
    return "true" if value else "false"


def write_iso_time(moment: datetime) -> str:
    """Write `2026-01-02T03:04:05.000Z`."""
    if moment.tzinfo is not UTC:
        moment = _in_utc(moment)
    # A page of a listing has a thousand; this takes a third of `isoformat`'s time.
    return "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ" % (  # noqa: UP031 - an f-string is no faster than isoformat
        moment.year,
        moment.month,
        moment.day,
        moment.hour,
        moment.minute,
        moment.second,
        moment.microsecond // 1000,
    )


def write_http_date(moment: datetime) -> str:
    """Write `Fri, 02 Jan 2026 03:04:05 GMT` (RFC 9110, 5.6.7)."""
    if moment.tzinfo is not UTC:
        moment = _in_utc(moment)
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02d} {_MONTHS[moment.month - 1]} "
        f"{moment.year:04d} {moment.hour:02d}:{moment.minute:02d}:{moment.second:02d} GMT"
    )


def write_blob(value: bytes) -> str:
    """Write base64."""
    return base64.b64encode(value).decode("ascii")


def write_list(values: Sequence[str]) -> str:
    """Write a comma separated header."""
    return ",".join(values)


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        # astimezone() would silently take the machine's zone.
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC)


READERS: dict[str, Read] = {
    "integer": read_integer,
    "long": read_integer,
    "float": read_decimal,
    "double": read_decimal,
    "boolean": read_boolean,
    "timestamp": read_time,
    "blob": read_blob,
    "list": read_list,
}
"""By kind of shape; strings have none and are taken as they are."""

HEADER_WRITERS: dict[str, Write] = {
    "string": str,
    "integer": str,
    "long": str,
    "float": str,
    "double": str,
    "boolean": write_boolean,
    "timestamp": write_http_date,
    "blob": write_blob,
    "list": write_list,
}
"""By kind; a timestamp whose shape says `iso8601` takes `write_iso_time`."""

ELEMENT_WRITERS: dict[str, Write] = {
    "string": xml_body.escape,
    "integer": str,
    "long": str,
    "float": str,
    "double": str,
    "boolean": write_boolean,
    "timestamp": write_iso_time,
    "blob": write_blob,
}
"""By kind, already escaped."""
