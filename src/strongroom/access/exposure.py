"""Is a bucket policy public? What "block public access" goes by.

Source: S3 user guide, "Blocking public access to your Amazon S3 storage", section
"The meaning of 'public'".
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from strongroom.access import conditions, documents

_NARROWING: Final = frozenset(
    {
        "aws:sourcearn", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceowner",
        "aws:sourceaccount", "aws:userid", "aws:username", "aws:principalarn",
        "aws:principalaccount", "aws:principalorgid", "aws:principalorgpaths",
        "s3:x-amz-server-side-encryption-aws-kms-key-id", "s3:dataaccesspointarn",
        "s3:dataaccesspointaccount",
    }
)  # fmt: skip
_SOURCE: Final = "aws:sourceip"
_WIDEST: Final = {4: 8, 6: 32}
"""Shortest prefix, in bits, of a network that is not everybody."""
_EQUAL: Final = frozenset(
    {"StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike"}
)


def is_public(document: documents.Document) -> bool:
    """Whether a statement allows something to people whom it does not name."""
    return any(
        statement.allows and _is_open(statement) and not any(map(_narrows, statement.conditions))
        for statement in document.statements
    )


def _is_open(statement: documents.Statement) -> bool:
    principals = statement.principals
    return statement.not_principals or principals is None or principals.everybody


def _narrows(condition: conditions.Condition) -> bool:
    """Whether a condition admits only askers whom it names by fixed values."""
    if condition.if_exists or condition.quantifier == "ForAllValues":
        # Who sends no such key passes.
        return False
    if condition.key == _SOURCE:
        return condition.operator == "IpAddress" and all(
            value.is_fixed and _is_narrow(value.text) for value in condition.values
        )
    return (
        condition.key in _NARROWING
        and condition.operator in _EQUAL
        and all(value.is_fixed for value in condition.values)
    )


def _is_narrow(text: str) -> bool:
    network = ipaddress.ip_network(text, strict=False)
    return network.prefixlen >= _WIDEST[network.version]
