"""Policy documents, read strictly: what is not understood whole is refused, never half obeyed.

Source: IAM user guide, "Grammar of the IAM JSON policy language"; messages as S3's
and IAM's `MalformedPolicy` and `MalformedPolicyDocument` bring them.
"""

from __future__ import annotations

import enum
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.access import conditions, vocabulary, wildcards

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_KEY_POLICY_BYTES: Final = 32 * 1024
"""Source: AWS KMS API, PutKeyPolicy."""
MAX_BUCKET_POLICY_BYTES: Final = 20 * 1024
"""Source: S3 user guide, "Policies and permissions in Amazon S3"."""
MAX_IDENTITY_POLICY_CHARACTERS: Final = 6144
"""Of a managed policy, the largest of IAM's. Source: IAM user guide, "IAM and AWS STS quotas"."""

_VERSIONS: Final = ("2012-10-17", "2008-10-17")
_WITH_VARIABLES: Final = "2012-10-17"
_FIELDS: Final = frozenset({"Version", "Id", "Statement"})
_STATEMENT_FIELDS: Final = frozenset(
    {
        "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource",
        "NotResource", "Condition",
    }
)  # fmt: skip
_ACTION: Final = re.compile(r"[A-Za-z0-9-]+:[A-Za-z0-9*?]+")
_SID: Final = re.compile(r"[A-Za-z0-9]*")
_ARN: Final = re.compile(r"arn:[a-z-]+:[a-z0-9*?-]*:[^:]*:[^:]*:.+", re.DOTALL)
_PRINCIPAL_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:(iam|sts)::(?P<account>[^:*?]*)"
    r":(root|(user|role|assumed-role|federated-user)/[^*?]+)"
)
_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_CANONICAL_ID: Final = re.compile(r"[0-9a-f]{64}")
_SERVICE: Final = re.compile(r"[a-z0-9.-]+\.amazonaws\.com")
_S3_ARN: Final = re.compile(r"arn:aws[a-z-]*:s3:::(?P<path>.+)", re.DOTALL)


class Kind(enum.Enum):
    """What a document is attached to; that decides which fields a statement has."""

    BUCKET = "bucket"
    KEY = "key"
    """A KMS key: statements as a bucket's, about the KMS's actions."""
    IDENTITY = "identity"
    TRUST = "trust"
    """Who may assume a role: principals, and no resource."""


_OF_RESOURCES: Final = {Kind.BUCKET: MAX_BUCKET_POLICY_BYTES, Kind.KEY: MAX_KEY_POLICY_BYTES}
"""Kinds that are attached to a thing, and how many bytes each may have."""
_VENDORS: Final = {Kind.BUCKET: "s3", Kind.KEY: "kms", Kind.TRUST: "sts"}


@dataclass(frozen=True, slots=True)
class Principals:
    """Who a statement speaks of.

    Attributes:
        everybody: `*`, also those who did not sign.
        named: account ids, canonical ids and ARNs.
        services: names of services.
        federated: names of identity providers.
    """

    everybody: bool
    named: frozenset[str]
    services: frozenset[str]
    federated: frozenset[str]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement; the `not_` flags say that a list is of exceptions.

    Attributes:
        principals: None in documents of identities.
        actions: patterns in lower case.
        resources: None in trust documents.
    """

    sid: str
    allows: bool
    principals: Principals | None
    not_principals: bool
    actions: tuple[wildcards.Pattern, ...]
    not_actions: bool
    resources: tuple[wildcards.Pattern, ...] | None
    not_resources: bool
    conditions: tuple[conditions.Condition, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A policy that was understood whole.

    Attributes:
        keys: every condition key that a statement asks for.
    """

    statements: tuple[Statement, ...]
    keys: frozenset[str]

    def asks_for(self, beginning: str) -> bool:
        """Whether a condition, or a variable in it, needs a key that begins so."""
        return any(key.startswith(beginning) for key in self.keys)


@dataclass(frozen=True, slots=True)
class _Number:
    """A JSON number, as it was written."""

    text: str


def parse(text: str, kind: Kind) -> Document:
    """Read a policy document.

    Raises:
        MalformedPolicy: it is not one, whole and unambiguous.
    """
    _check_size(text, kind)
    document = _json(text)
    if not isinstance(document, dict):
        raise errors.MalformedPolicy("Policies must be valid JSON and the first byte must be '{'")
    _known(document, _FIELDS)
    version = document.get("Version", _VERSIONS[-1])
    if version not in _VERSIONS:
        raise errors.MalformedPolicy("The policy must contain a valid version string")
    if not isinstance(document.get("Id", ""), str):
        raise errors.MalformedPolicy("The policy has an invalid Id")
    if "Statement" not in document:
        raise errors.MalformedPolicy("Missing required field Statement")
    listed = document["Statement"]
    found = listed if isinstance(listed, list) else [listed]
    if not found:
        raise errors.MalformedPolicy("Could not parse the policy: Statement is empty!")
    variables = version == _WITH_VARIABLES
    statements = tuple(_statement(each, kind, variables=variables) for each in found)
    sids = [statement.sid for statement in statements if statement.sid]
    if kind not in _OF_RESOURCES and len(set(sids)) < len(sids):
        raise errors.MalformedPolicy("Statement IDs (SID) in a single policy must be unique.")
    return Document(statements, frozenset(_keys(statements)))


def parse_for_bucket(text: str, bucket: str) -> Document:
    """Read a policy that is about to become a bucket's.

    Raises:
        MalformedPolicy: it is none, or speaks of what is not in this bucket.
    """
    document = parse(text, Kind.BUCKET)
    for statement in document.statements:
        if statement.allows and statement.not_principals:
            raise errors.MalformedPolicy("Allow with NotPrincipal is not allowed.")
        assert statement.resources is not None, "a bucket's statements have resources"
        paths = [_path(resource) for resource in statement.resources]
        if not all(_touches(path, bucket) for path in paths):
            raise errors.MalformedPolicy("Policy has invalid resource")
        if not statement.not_actions and not statement.not_resources:
            for action in statement.actions:
                _check_applies(action, paths)
    return document


def _path(resource: wildcards.Pattern) -> str:
    match = _S3_ARN.fullmatch(resource.text)
    if match is None:
        if resource.text == "*":
            return "*"
        raise errors.MalformedPolicy("Policy has invalid resource")
    return match["path"]


def _touches(path: str, bucket: str) -> bool:
    """Whether a resource can be this bucket or something in it."""
    name = path.partition("/")[0]
    return "${" in name or wildcards.parse(name, variables=False).matches(bucket, {})


def _check_applies(action: wildcards.Pattern, paths: Sequence[str]) -> None:
    """Refuse an action on a kind of thing that it is never done to: it would be a slip.

    Raises:
        MalformedPolicy: no action fits, or none that any resource is for.
    """
    fitting = [name for name in vocabulary.IN_POLICIES if action.matches(name.lower(), {})]
    if not fitting:
        raise errors.MalformedPolicy("Policy has invalid action")
    objects = any("/" in path or path.endswith("*") for path in paths)
    buckets = any("/" not in path for path in paths)
    if not any(objects if name in vocabulary.ON_OBJECTS else buckets for name in fitting):
        raise errors.MalformedPolicy("Action does not apply to any resource(s) in statement")


def _check_size(text: str, kind: Kind) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise errors.MalformedPolicy("This policy contains invalid Json") from None
    most = _OF_RESOURCES.get(kind, 4 * MAX_IDENTITY_POLICY_CHARACTERS)
    if size > most or (kind not in _OF_RESOURCES and len(text) > MAX_IDENTITY_POLICY_CHARACTERS):
        raise errors.MalformedPolicy("Policy exceeds the maximum allowed document size.")


def _json(text: str) -> Any:
    """Parse JSON in which nothing can be read in two ways.

    Raises:
        MalformedPolicy: it is no JSON, names a field twice, or holds half a character.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a field stands there twice")
        return found

    def no_constant(_name: str) -> Any:
        raise ValueError("not a number of JSON's")

    try:
        document = json.loads(
            text,
            object_pairs_hook=once,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=no_constant,
        )
        # `\ud800` parses, and is no character.
        json.dumps(document, default=lambda _: None, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise errors.MalformedPolicy("This policy contains invalid Json") from error
    return document


def _known(fields: Mapping[str, Any], allowed: frozenset[str]) -> None:
    for name in fields:
        if name not in allowed:
            raise errors.MalformedPolicy(f"Unknown field {name[:100]}")


def _statement(fields: Any, kind: Kind, *, variables: bool) -> Statement:
    if not isinstance(fields, dict):
        raise errors.MalformedPolicy("Could not parse the policy: Statement is not an object")
    _known(fields, _STATEMENT_FIELDS)
    sid = fields.get("Sid", "")
    if not isinstance(sid, str) or (kind not in _OF_RESOURCES and not _SID.fullmatch(sid)):
        raise errors.MalformedPolicy("Statement IDs (SID) must be alpha-numeric.")
    effect = fields.get("Effect")
    if effect is None:
        raise errors.MalformedPolicy("Missing required field Effect")
    if effect not in ("Allow", "Deny"):
        raise errors.MalformedPolicy(f"Invalid effect: {str(effect)[:100]}")
    principals, not_principals = None, False
    if kind is Kind.IDENTITY:
        if "Principal" in fields or "NotPrincipal" in fields:
            raise errors.MalformedPolicy("Policy document should not specify a principal.")
    else:
        name, not_principals = _either(fields, "Principal")
        principals = _principals(fields[name])
    name, not_actions = _either(fields, "Action")
    found = tuple(_action(text, kind) for text in _texts(fields[name], "Policy has invalid action"))
    resources, not_resources = None, False
    if kind is Kind.TRUST:
        if "Resource" in fields or "NotResource" in fields:
            raise errors.MalformedPolicy("Has prohibited field Resource")
    else:
        name, not_resources = _either(fields, "Resource")
        texts = _texts(fields[name], "Policy has invalid resource")
        if not all(text == "*" or _ARN.fullmatch(text) for text in texts):
            raise errors.MalformedPolicy("Policy has invalid resource")
        resources = tuple(wildcards.parse(text, variables=variables) for text in texts)
    return Statement(
        sid,
        effect == "Allow",
        principals,
        not_principals,
        found,
        not_actions,
        resources,
        not_resources,
        _conditions(fields.get("Condition", {}), variables=variables),
    )


def _either(fields: Mapping[str, Any], name: str) -> tuple[str, bool]:
    """Return which of a field and its `Not` is there.

    Raises:
        MalformedPolicy: neither, or both.
    """
    there = name in fields, f"Not{name}" in fields
    if there == (True, True):
        raise errors.MalformedPolicy(f"Statement must not contain both {name} and Not{name}")
    if there == (False, False):
        raise errors.MalformedPolicy(f"Missing required field {name}")
    return (f"Not{name}", True) if there[1] else (name, False)


def _texts(value: Any, message: str) -> list[str]:
    found = value if isinstance(value, list) else [value]
    if not found or not all(isinstance(text, str) and text for text in found):
        raise errors.MalformedPolicy(message)
    return found


def _action(text: str, kind: Kind) -> wildcards.Pattern:
    if text != "*":
        if _ACTION.fullmatch(text) is None:
            raise errors.MalformedPolicy("Policy has invalid action")
        vendor = text.partition(":")[0].lower()
        if vendor != _VENDORS.get(kind, vendor):
            raise errors.MalformedPolicy("Policy has invalid action")
    return wildcards.parse(text.lower(), variables=False)


def _principals(value: Any) -> Principals:
    invalid = errors.MalformedPolicy("Invalid principal in policy")
    if value == "*":
        return Principals(
            everybody=True, named=frozenset(), services=frozenset(), federated=frozenset()
        )
    if not isinstance(value, dict) or not value:
        raise invalid
    everybody = False
    named: set[str] = set()
    services: set[str] = set()
    federated: set[str] = set()
    for family, listed in value.items():
        for text in _texts(listed, str(invalid)):
            if family == "AWS" and text == "*":
                everybody = True
            elif (family == "AWS" and _is_named(text)) or (
                family == "CanonicalUser" and _CANONICAL_ID.fullmatch(text)
            ):
                named.add(text)
            elif family == "Service" and _SERVICE.fullmatch(text):
                services.add(text)
            elif family == "Federated" and not {"*", "?"} & set(text):
                federated.add(text)
            else:
                raise invalid
    return Principals(everybody, frozenset(named), frozenset(services), frozenset(federated))


def _is_named(text: str) -> bool:
    return any(form.fullmatch(text) for form in (_ACCOUNT, _CANONICAL_ID, _PRINCIPAL_ARN))


def _conditions(value: Any, *, variables: bool) -> tuple[conditions.Condition, ...]:
    if not isinstance(value, dict):
        raise errors.MalformedPolicy("Policy has an invalid condition")
    found: list[conditions.Condition] = []
    for operator, tests in value.items():
        if not isinstance(tests, dict) or not tests:
            raise errors.MalformedPolicy("Policy has an invalid condition")
        for key, listed in tests.items():
            texts = tuple(
                _scalar(each) for each in (listed if isinstance(listed, list) else [listed])
            )
            if not texts:
                raise errors.MalformedPolicy("Policy has an invalid condition")
            try:
                found.append(conditions.parse(operator, key, texts, variables=variables))
            except conditions.Unreadable as error:
                raise errors.MalformedPolicy(str(error)) from error
    return tuple(found)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, _Number):
        return value.text
    if isinstance(value, str):
        return value
    raise errors.MalformedPolicy("Policy has an invalid condition")


def _keys(statements: Sequence[Statement]) -> set[str]:
    found = {condition.key for statement in statements for condition in statement.conditions}
    for statement in statements:
        for condition in statement.conditions:
            for value in condition.values:
                found |= value.variables
        for resource in statement.resources or ():
            found |= resource.variables
    return found
