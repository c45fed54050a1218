"""Who may do what with a KMS key: its policy, its grants, and whom it was made for.

The order: nobody unknown may anything; root may everything; an explicit Deny of the
policy stands; then the policy or a grant must permit it. A key that the store made for
a service serves whoever may use that service, through it and not otherwise.

Policies are judged by a function that is handed in (`Judge`); the one here knows
statements without conditions.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from strongroom import errors

if TYPE_CHECKING:
    from strongroom.store import kms

MAX_POLICY_BYTES: Final = 32 * 1024
"""Source: AWS KMS API, PutKeyPolicy."""

SERVICE_ACTIONS: Final = frozenset(
    {
        "Decrypt",
        "DescribeKey",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "ReEncryptFrom",
        "ReEncryptTo",
    }
)
"""What a service may do for its users with a key that was made for it."""

READ_ACTIONS: Final = frozenset(
    {"DescribeKey", "GetKeyPolicy", "GetKeyRotationStatus", "ListKeyRotations", "ListResourceTags"}
)
"""What everybody may do with a key that was made for a service, without that service."""

GRANTABLE: Final = frozenset(
    {
        "Decrypt",
        "DescribeKey",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateMac",
        "GetPublicKey",
        "ReEncryptFrom",
        "ReEncryptTo",
        "RetireGrant",
        "Sign",
        "Verify",
        "VerifyMac",
    }
)
"""Source: AWS KMS API, GrantOperation, without DeriveSharedSecret; CreateGrant,
see `kms_keys.Keys.create_grant`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to a policy.

    Attributes:
        action: with its prefix: `kms:Decrypt`.
        principals: everything that names the caller, and not others of the account, in a policy.
        key_arn: the key that the policy belongs to.
        context: the encryption context; empty where there is none.
        via: the service that asks in the caller's name; empty if none does.
        account_names: what names the caller's account. A policy that allows those leaves it to
            the account who in it may; that the caller's own policies do was asked before.
    """

    action: str
    principals: frozenset[str]
    key_arn: str
    context: Mapping[str, str]
    via: str
    account_names: frozenset[str] = frozenset()


Judge = Callable[[str, Asked], bool | None]
"""Gets a policy that `check` let pass: True if it allows, False if it denies, None if it does
not say."""


def default_policy(account: str, creator: str) -> str:
    """Return the policy that a key has until somebody puts another: root and who made it."""
    root: dict[str, Any] = {"AWS": f"arn:aws:iam::{account}:root"}
    statements = [_full("Enable IAM User Permissions", root)]
    if creator:
        statements.append(_full("Enable who made the key", {"CanonicalUser": creator}))
    return json.dumps({"Version": "2012-10-17", "Id": "key-default-1", "Statement": statements})


def _full(sid: str, principal: dict[str, Any]) -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": principal,
        "Action": "kms:*",
        "Resource": "*",
    }


def service_policy(account: str, service: str) -> str:
    """Return the policy of a key that the store made for a service."""
    statement = {
        "Sid": f"Allow access through {service} for all who may use it",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": [f"kms:{name}" for name in sorted(SERVICE_ACTIONS)],
        "Resource": "*",
        "Condition": {"StringEquals": {"kms:ViaService": service, "kms:CallerAccount": account}},
    }
    return json.dumps({"Version": "2012-10-17", "Id": f"auto-{service}", "Statement": [statement]})


def check(policy: str) -> None:
    """Check that a text is a key policy.

    Raises:
        KmsMalformedPolicy: it is not.
    """
    if len(policy.encode("utf-8", "surrogatepass")) > MAX_POLICY_BYTES:
        raise errors.KmsLimitExceeded("The key policy is too large.")
    try:
        document = json.loads(policy)
    except (ValueError, RecursionError):
        raise errors.KmsMalformedPolicy("The policy is not valid JSON.") from None
    if not isinstance(document, dict) or not (statements := _statements(document)):
        raise errors.KmsMalformedPolicy("The policy has no statement.")
    if document.keys() - {"Version", "Id", "Statement"}:
        raise errors.KmsMalformedPolicy("The policy has an unknown element.")
    for statement in statements:
        _check_statement(statement)


def _check_statement(statement: Any) -> None:
    if not isinstance(statement, dict):
        raise errors.KmsMalformedPolicy("A statement is not an object.")
    for one, other in (("Principal", "NotPrincipal"), ("Action", "NotAction")):
        if (one in statement) == (other in statement):
            raise errors.KmsMalformedPolicy(f"A statement needs either {one} or {other}.")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise errors.KmsMalformedPolicy("The effect of a statement is Allow or Deny.")
    if "Resource" not in statement and "NotResource" not in statement:
        raise errors.KmsMalformedPolicy("A statement needs a Resource.")
    if not isinstance(statement.get("Condition", {}), dict):
        raise errors.KmsMalformedPolicy("A condition is not an object.")
    _check_texts(statement)


def _check_texts(statement: Mapping[str, Any]) -> None:
    for name in ("Action", "NotAction", "Resource", "NotResource"):
        if not all(isinstance(item, str) for item in _listed(statement.get(name, []))):
            raise errors.KmsMalformedPolicy(f"{name} is not a text or a list of texts.")
    for name in ("Principal", "NotPrincipal"):
        principal = statement.get(name, "*")
        if principal != "*" and not (
            isinstance(principal, dict)
            and principal.keys() <= {"AWS", "CanonicalUser", "Service", "Federated"}
            and all(isinstance(i, str) for value in principal.values() for i in _listed(value))
        ):
            raise errors.KmsMalformedPolicy(f"{name} cannot be read.")


def judge(policy: str, asked: Asked) -> bool | None:
    """Judge a policy; see `Judge`. A condition lets nothing be allowed and everything denied."""
    allowed = False
    for statement in _statements(json.loads(policy)):
        if not _applies(statement, asked):
            continue
        if statement["Effect"] == "Deny":
            return False
        allowed = allowed or not statement.get("Condition")
    return True if allowed else None


def _applies(statement: Mapping[str, Any], asked: Asked) -> bool:
    return (
        _named(statement, asked)
        and _either(statement, "Action", asked.action, fold=True)
        and _either(statement, "Resource", asked.key_arn, fold=False)
    )


def _named(statement: Mapping[str, Any], asked: Asked) -> bool:
    if "NotPrincipal" in statement:
        return not _is_among(statement["NotPrincipal"], asked.principals)
    return _is_among(statement["Principal"], asked.principals | asked.account_names)


def _is_among(principal: Any, known: frozenset[str]) -> bool:
    if principal == "*":
        return True
    names = [name for value in principal.values() for name in _listed(value)]
    return "*" in names or not known.isdisjoint(names)


def _either(statement: Mapping[str, Any], name: str, value: str, *, fold: bool) -> bool:
    def matches(patterns: Any) -> bool:
        return any(_like(value, pattern, fold=fold) for pattern in _listed(patterns))

    if f"Not{name}" in statement:
        return not matches(statement[f"Not{name}"])
    return matches(statement[name])


def _like(value: str, pattern: str, *, fold: bool) -> bool:
    if fold:
        value, pattern = value.lower(), pattern.lower()
    # Policies know `*` and `?` only; fnmatch knows brackets too.
    return fnmatch.fnmatchcase(value, pattern.replace("[", "[[]"))


def _statements(document: Mapping[str, Any]) -> list[Any]:
    return _listed(document.get("Statement", []))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def grant_covers(
    grant: kms.Grant, operation: str, principals: Iterable[str], context: Mapping[str, str]
) -> bool:
    """Tell whether a grant permits an operation to somebody with these names."""
    if grant.grantee not in principals or operation not in grant.operations:
        return False
    if grant.context_equals is not None and dict(grant.context_equals) != dict(context):
        return False
    return grant.context_subset is None or grant.context_subset.items() <= context.items()
