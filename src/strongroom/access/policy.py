"""May this be done? Documents and what is asked go in, a verdict comes out; pure.

An explicit deny wins over every allow; what nothing allows is not allowed.

Source: IAM user guide, "Policy evaluation logic".
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from strongroom.access import documents, wildcards


class Verdict(enum.Enum):
    """What documents say of a request."""

    SILENT = "silent"
    """Nothing: neither allowed nor denied."""
    ALLOWED = "allowed"
    DELEGATED = "delegated"
    """Allowed to the asker's whole account, which decides who in it may use that."""
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, by the names under which policies may speak of them.

    Attributes:
        names: ids and ARNs that mean this asker alone.
        account_names: those that mean the account; the same as `names` for its owner.
        service: name of the service that asks; empty if none does.
    """

    names: frozenset[str] = frozenset()
    account_names: frozenset[str] = frozenset()
    service: str = ""


NOBODY = Asker()
"""Who did not sign."""


@dataclass(slots=True)
class Asked:
    """One thing that somebody wants to do.

    Attributes:
        action: as policies name it.
        resource: ARN of what it is done to.
        context: condition keys → values.
        unknown: tells of a key that the context lacks whether the request may have it all the
            same; then allows that depend on it do not count, and denies do.
    """

    asker: Asker
    action: str
    resource: str
    context: wildcards.Context
    unknown: Callable[[str], bool] | None = None


def judge(policies: Iterable[documents.Document], asked: Asked) -> Verdict:
    """Say what documents say of a request."""
    found = Verdict.SILENT
    action = asked.action.lower()
    for document in policies:
        for statement in document.statements:
            whose = _speaks_of(statement, asked.asker)
            if whose is Verdict.SILENT or not _concerns(statement, action, asked):
                continue
            if not statement.allows:
                return Verdict.DENIED
            if found is not Verdict.ALLOWED:
                found = whose
    return found


def _concerns(statement: documents.Statement, action: str, asked: Asked) -> bool:
    context = asked.context
    if any(pattern.matches(action, {}) for pattern in statement.actions) == statement.not_actions:
        return False
    unsure = False
    if statement.resources is not None:
        unsure = asked.unknown is not None and _is_unknown(_of_patterns(statement.resources), asked)
        named = any(pattern.matches(asked.resource, context) for pattern in statement.resources)
        if named == statement.not_resources and not unsure:
            return False
    for condition in statement.conditions:
        if asked.unknown is not None and _is_unknown(
            {condition.key} | _of_patterns(condition.values), asked
        ):
            unsure = True
        elif not condition.holds(context):
            return False
    return not (unsure and statement.allows)


def _of_patterns(patterns: Iterable[wildcards.Pattern]) -> set[str]:
    return {name for pattern in patterns for name in pattern.variables}


def _is_unknown(keys: Iterable[str], asked: Asked) -> bool:
    """Whether a request may have one of these keys that nobody told of."""
    unknown = asked.unknown
    return unknown is not None and any(key not in asked.context and unknown(key) for key in keys)


def _speaks_of(statement: documents.Statement, asker: Asker) -> Verdict:
    """Say whether a statement is about the asker (ALLOWED), the account (DELEGATED), or neither.

    A deny with `NotPrincipal` spares whom it names: the asker, and the asker's account
    only for those in it that are named as well. (Source: IAM user guide, "AWS JSON
    policy elements: NotPrincipal", which tells to name both; naming the asker suffices here.)
    """
    principals = statement.principals
    if principals is None:
        return Verdict.ALLOWED
    direct = (
        principals.everybody
        or not principals.named.isdisjoint(asker.names)
        or asker.service in principals.services
        or not principals.federated.isdisjoint(asker.names)
    )
    if statement.not_principals:
        return Verdict.SILENT if direct else Verdict.ALLOWED
    if direct:
        return Verdict.ALLOWED
    if not principals.named.isdisjoint(asker.account_names):
        return Verdict.DELEGATED
    return Verdict.SILENT
