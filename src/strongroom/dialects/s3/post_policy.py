"""The policy document of a browser form: what whoever signed it allows the form to say.

Pure: `parse` reads a document, `judge` holds a form against it.

Sources: S3 API reference, "Creating a POST policy"; the texts and statuses of
refusals as S3 was seen to answer (recorded 2011 to 2026, us-east-1).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import canonical, signing

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPERATIONS: Final = frozenset({"eq", "starts-with", "content-length-range"})
_ARGUMENTS: Final = 3
_EXEMPT: Final = frozenset({"x-amz-signature", "signature", "awsaccesskeyid", "policy", "file"})
"""Fields that no condition need name."""
_IGNORED: Final = "x-ignore-"
_EXPIRATION: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)
_BOUND: Final = re.compile(r"-?[0-9]{1,18}")
# The policy language has two escapes that JSON lacks.
_OWN_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_OWN_ESCAPES: Final = {"$": "$", "v": r"\u000b"}


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition.

    Attributes:
        operation: `eq`, `starts-with` or `content-length-range`.
        first: the field's name with its `$`, or the lower bound, as written.
        second: the value, or the upper bound, as written.
    """

    operation: str
    first: str | int
    second: str | int

    @property
    def field(self) -> str | None:
        """The field in lower case; None if it is not written as one."""
        text = self.first
        return text[1:].lower() if isinstance(text, str) and text.startswith("$") else None

    def __str__(self) -> str:
        second = self.second
        if self.field is not None and self.field.startswith(canonical.REDACTED):
            second = "(redacted)"
        return json.dumps([self.operation, self.first, second])


@dataclass(frozen=True, slots=True)
class Policy:
    """A document that has been read."""

    expires_at: datetime
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many bytes the file must have, both ends included."""

    least: int
    most: int

    def check(self, size: int) -> None:
        """Return if a file of `size` bytes is allowed.

        Raises:
            Refused: `EntityTooSmall` or `EntityTooLarge`.
        """
        if size < self.least:
            raise Refused("EntityTooSmall", ProposedSize=str(size), MinSizeAllowed=str(self.least))
        if size > self.most:
            raise Refused("EntityTooLarge", ProposedSize=str(size), MaxSizeAllowed=str(self.most))


def parse(encoded: str) -> Policy:
    """Read a policy from its base64.

    Raises:
        Refused: `InvalidPolicyDocument`.
    """
    try:
        raw = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise _invalid("invalid Base64 encoding.") from None
    document = _read_json(raw)
    if not isinstance(document, _Object):
        raise _invalid("Invalid JSON.")
    members: dict[str, Any] = {}
    for name, value in document.pairs:
        if name not in ("expiration", "conditions") or name in members:
            raise _invalid(f"Unexpected: '{name.lower()}'")
        members[name] = value
    if "expiration" not in members:
        raise _invalid("Policy missing expiration.")
    if "conditions" not in members:
        raise _invalid("Policy missing conditions.")
    if not isinstance(members["conditions"], list):
        raise _invalid("Invalid 'conditions' value: must be a List.")
    return Policy(
        _read_expiration(members["expiration"]),
        tuple(_read_condition(each) for each in members["conditions"]),
    )


def judge(
    policy: Policy, fields: Mapping[str, str], names: Mapping[str, str], now: datetime
) -> Sizes | None:
    """Return if a form is what its policy allows; with the sizes that its file may have.

    Args:
        policy: the document.
        fields: values by lower-case name, `bucket` being the one that the form was sent to.
        names: the names as sent, by lower-case name.
        now: the time.

    Raises:
        Refused: `AccessDenied`, with the condition that failed.
    """
    if now >= policy.expires_at:
        raise _against("Policy expired.")
    covered: set[str] = set()
    sizes: Sizes | None = None
    for condition in policy.conditions:
        if condition.operation == "content-length-range":
            sizes = _narrowed(sizes, condition)
            continue
        name = condition.field
        if name is None or not _holds(condition, name, fields.get(name)):
            raise _against(f"Policy Condition failed: {condition}")
        covered.add(name)
    extra = [
        names.get(name, name)
        for name in fields
        if name not in covered and name not in _EXEMPT and not name.startswith(_IGNORED)
    ]
    if extra:
        raise _against(f"Extra input fields: {', '.join(extra)}")
    return sizes


def _holds(condition: Condition, name: str, value: str | None) -> bool:
    wanted = condition.second
    if value is None or not isinstance(wanted, str):
        # Also for `starts-with ""`: S3 wants a field that a condition names to be there.
        return False
    if condition.operation == "eq":
        return value == wanted
    if name == "content-type" and "," in value:
        return all(each.strip().startswith(wanted) for each in value.split(","))
    return value.startswith(wanted)


def _narrowed(sizes: Sizes | None, condition: Condition) -> Sizes:
    least, most = _bound(condition.first), _bound(condition.second)
    if least is None or most is None:
        raise _against(f"Policy Condition failed: {condition}")
    if sizes is None:
        return Sizes(least, most)
    return Sizes(max(sizes.least, least), min(sizes.most, most))


def _bound(value: str | int) -> int | None:
    text = str(value)
    return int(text) if _BOUND.fullmatch(text) is not None else None


@dataclass(frozen=True, slots=True)
class _Object:
    """A JSON object with all of its pairs: one that names a member twice has two meanings."""

    pairs: list[tuple[str, Any]]


def _read_json(raw: bytes) -> Any:
    try:
        text = _OWN_ESCAPE.sub(_as_json, raw.decode("utf-8"))
        return json.loads(
            text, object_pairs_hook=_Object, parse_float=_no_number, parse_constant=_no_number
        )
    except (ValueError, RecursionError):
        raise _invalid("Invalid JSON.") from None


def _as_json(escape: re.Match[str]) -> str:
    return _OWN_ESCAPES.get(escape[1], escape[0])


def _no_number(text: str) -> Any:
    raise ValueError(text)


def _read_expiration(value: Any) -> datetime:
    text = value if isinstance(value, str) else json.dumps(value, default=lambda _: {})
    if _EXPIRATION.fullmatch(text) is not None:
        try:
            return datetime.fromisoformat(text[:19]).replace(tzinfo=UTC)
        except ValueError:
            pass  # a day or an hour that no calendar has
    raise _invalid(f"Invalid 'expiration' value: '{text}'")


def _read_condition(value: Any) -> Condition:
    if isinstance(value, _Object):
        if len(value.pairs) != 1:
            raise _invalid(
                "Invalid Simple-Condition: Simple-Conditions must have exactly one property"
                " specified."
            )
        name, wanted = value.pairs[0]
        if not isinstance(wanted, str):
            raise _invalid("Invalid Simple-Condition: value must be a string.")
        return Condition("eq", f"${name}", wanted)
    if not isinstance(value, list):
        raise _invalid("Invalid condition test: must be a List or Object.")
    if not value or not isinstance(value[0], str):
        raise _invalid("Invalid Condition: missing operation identifier.")
    operation = value[0].lower()
    if operation not in _OPERATIONS:
        raise _invalid(f"Invalid Condition: unknown operation '{value[0]}'.")
    if len(value) != _ARGUMENTS:
        raise _invalid(f"Invalid {operation}: wrong number of arguments.")
    allowed = str | int if operation == "content-length-range" else str
    if any(not isinstance(each, allowed) or isinstance(each, bool) for each in value[1:]):
        raise _invalid("Invalid JSON.")
    return Condition(operation, value[1], value[2])


def _invalid(what: str) -> Refused:
    return Refused("InvalidPolicyDocument", f"Invalid Policy: {signing.printable(what)}")


def _against(what: str) -> Refused:
    return Refused("AccessDenied", f"Invalid according to Policy: {signing.printable(what)}")
