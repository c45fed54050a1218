"""Conditions of policy statements: the operators, and when each holds.

Source: IAM user guide, "IAM JSON policy elements: Condition operators" and
"Creating a condition with multiple keys or values".
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from strongroom.access import wildcards

if TYPE_CHECKING:
    from collections.abc import Callable

_ALL: Final = "ForAllValues"
_ANY: Final = "ForAnyValue"
_IF_EXISTS: Final = "IfExists"
_NULL: Final = "Null"
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,64}(\.[0-9]{1,64})?")
_DATE: Final = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}(-[0-9]{2})?)"
    r"(?P<time>T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(?P<zone>Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_EPOCH: Final = re.compile(r"[0-9]{1,11}(\.[0-9]{1,9})?")
_ARN_PARTS: Final = 6


class Unreadable(ValueError):
    """A condition that no request could be judged by; the text says why, in AWS's words."""


def _number(text: str) -> Decimal | None:
    if _NUMBER.fullmatch(text) is None:
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _moment(text: str) -> Decimal | None:
    """Return seconds since the epoch of an ISO 8601 date, or of such a number."""
    if _EPOCH.fullmatch(text) is not None:
        return Decimal(text)
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    date = match["date"] if match[2] else match["date"] + "-01"
    try:
        moment = datetime.fromisoformat(date + (match["time"] or ""))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return Decimal(str(moment.timestamp()))


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _truth(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def _ordered(
    read: Callable[[str], Decimal | None], holds: Callable[[Decimal, Decimal], bool]
) -> Callable[[str, str], bool]:
    def test(asked: str, wanted: str) -> bool:
        left, right = read(asked), read(wanted)
        return left is not None and right is not None and holds(left, right)

    return test


def _in_network(asked: str, wanted: str) -> bool:
    network = _network(wanted)
    try:
        address = ipaddress.ip_address(asked)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        # A listener on `::` sees IPv4 clients like this; it is the same client.
        address = address.ipv4_mapped
    return network is not None and address.version == network.version and address in network


def _same_truth(asked: str, wanted: str) -> bool:
    return _truth(asked) is not None and _truth(asked) == _truth(wanted)


_COMPARISONS: Final[dict[str, Callable[[Decimal, Decimal], bool]]] = {
    "Equals": lambda asked, wanted: asked == wanted,
    "LessThan": lambda asked, wanted: asked < wanted,
    "LessThanEquals": lambda asked, wanted: asked <= wanted,
    "GreaterThan": lambda asked, wanted: asked > wanted,
    "GreaterThanEquals": lambda asked, wanted: asked >= wanted,
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """An operator without its `Not`.

    Attributes:
        test: whether a value of the request fits one of the policy's, variables filled in.
        reads: returns None for what cannot stand in a policy as a value.
        patterned: the policy's values are patterns; `test` is then not used.
    """

    test: Callable[[str, str], bool]
    reads: Callable[[str], object] = lambda text: text
    patterned: str = ""


def _arn(text: str) -> str | None:
    """Return a text that can be an ARN, or a pattern of ARNs."""
    return text if text == "*" or text.count(":") >= _ARN_PARTS - 1 else None


_KINDS: Final[dict[str, _Kind]] = {
    "StringEquals": _Kind(lambda asked, wanted: asked == wanted),
    "StringEqualsIgnoreCase": _Kind(lambda asked, wanted: asked.casefold() == wanted.casefold()),
    "StringLike": _Kind(lambda asked, wanted: asked == wanted, patterned="text"),
    "Bool": _Kind(_same_truth, _truth),
    "BinaryEquals": _Kind(lambda asked, wanted: asked == wanted),
    "IpAddress": _Kind(_in_network, _network),
    "ArnEquals": _Kind(lambda asked, wanted: asked == wanted, _arn, patterned="arn"),
    "ArnLike": _Kind(lambda asked, wanted: asked == wanted, _arn, patterned="arn"),
} | {
    f"{family}{name}": _Kind(_ordered(read, holds), read)
    for family, read in (("Numeric", _number), ("Date", _moment))
    for name, holds in _COMPARISONS.items()
}

_NEGATED: Final = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "NotIpAddress": "IpAddress",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator, one key, and the values that the policy gives.

    Attributes:
        key: the condition key, as `wildcards.key_name` writes it.
        operator: without set prefix and `IfExists`.
        quantifier: "ForAllValues", "ForAnyValue" or empty.
        if_exists: holds where the request has no such key.
        values: the policy's values.
    """

    key: str
    operator: str
    quantifier: str
    if_exists: bool
    values: tuple[wildcards.Pattern, ...]

    def holds(self, context: wildcards.Context) -> bool:
        """Whether a request meets the condition."""
        asked = context.get(self.key, ())
        if self.operator == _NULL:
            return any(_truth(value.text) == (not asked) for value in self.values)
        negated = self.operator in _NEGATED
        if not asked:
            # Nothing differs from everything; no value at all is a subset of every set.
            return self.if_exists or self.quantifier == _ALL or (negated and not self.quantifier)
        kind = _KINDS[_NEGATED.get(self.operator, self.operator)]
        results = [
            any(_fits(kind, value, wanted, context) for wanted in self.values) != negated
            for value in asked
        ]
        if self.quantifier == _ALL or (negated and not self.quantifier):
            return all(results)
        return any(results)


def _fits(kind: _Kind, asked: str, wanted: wildcards.Pattern, context: wildcards.Context) -> bool:
    if kind.patterned == "text":
        return wanted.matches(asked, context)
    if kind.patterned == "arn":
        return _arn_like(asked, wanted, context)
    value = wanted.value(context)
    return value is not None and kind.test(asked, value)


def _arn_like(asked: str, wanted: wildcards.Pattern, context: wildcards.Context) -> bool:
    """Compare ARNs part by part: a star does not reach across one of the first five colons."""
    if wanted.text == "*":
        return asked.startswith("arn:")
    parts = wanted.text.split(":", _ARN_PARTS - 1)
    variables = any("${" in part for part in parts)
    if variables:
        # Colons within `${aws:username}` separate nothing.
        return wanted.matches(asked, context)
    asked_parts = asked.split(":", _ARN_PARTS - 1)
    return len(asked_parts) == len(parts) and all(
        wildcards.parse(pattern, variables=False).matches(part, context)
        for part, pattern in zip(asked_parts, parts, strict=True)
    )


def parse(operator: str, key: str, values: tuple[str, ...], *, variables: bool) -> Condition:
    """Read one condition.

    Args:
        operator: as the policy writes it, set prefix and `IfExists` included.
        key: the condition key.
        values: at least one.
        variables: whether the policy's language has variables.

    Raises:
        Unreadable: no such operator, no such key, or a value that it cannot compare with.
    """
    quantifier, colon, rest = operator.partition(":")
    if not colon:
        quantifier, rest = "", operator
    elif quantifier not in (_ALL, _ANY):
        raise Unreadable(f"Invalid Condition type : {operator}")
    base = rest.removesuffix(_IF_EXISTS)
    if_exists = base != rest
    if base not in _KINDS and base not in _NEGATED and (base != _NULL or if_exists or quantifier):
        raise Unreadable(f"Invalid Condition type : {operator}")
    prefix, colon, name = key.partition(":")
    if not (colon and prefix and name) or any(character.isspace() for character in prefix):
        raise Unreadable("Policy has an invalid condition key")
    kind = _KINDS.get(_NEGATED.get(base, base))
    wild = kind is not None and kind.patterned != ""
    for value in values:
        reads = _truth if kind is None else kind.reads
        if not (variables and "${" in value) and reads(value) is None:
            raise Unreadable(f"Invalid value for condition {operator} : {value[:100]}")
    return Condition(
        wildcards.key_name(key),
        base,
        quantifier,
        if_exists,
        tuple(wildcards.parse(value, variables=variables, wild=wild) for value in values),
    )
