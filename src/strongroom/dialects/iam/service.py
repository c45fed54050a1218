"""The request path of the query API: read, which action, authenticate, authorise, handle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from strongroom import errors
from strongroom.access import accounts, decision, global_keys, identities, web_identity
from strongroom.dialects import operation, pipeline
from strongroom.dialects.iam import (
    actions,
    federation,
    people,
    policies,
    providers,
    query,
    sts,
)
from strongroom.dialects.operation import Refused
from strongroom.wire import message

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.access import issuers

HANDLERS: Final = operation.collect(
    people, policies, providers, sts, federation, kind=actions.Declared
)


class Verify(Protocol):
    """Tells who signed a request of a service."""

    async def __call__(
        self, request: message.Request, body: bytes, service: str
    ) -> pipeline.Authentication:
        """Return whose signature it is.

        Raises:
            Refused, TokenInvalid, TokenExpired: it proves nothing.
        """
        ...


class Query:
    """Answers the query API of IAM and STS."""

    def __init__(
        self,
        known: identities.Identities,
        verify: Verify,
        vouching: issuers.Issuers,
        *,
        clock_ms: Callable[[], int],
        report: Callable[[message.Request, Exception], None],
    ) -> None:
        self._people = known
        self._verify = verify
        self._issuers = vouching
        self._clock_ms = clock_ms
        self._report = report

    async def handle(self, request: message.Request) -> pipeline.Outcome:
        """Answer a request; whatever goes wrong becomes an answer too."""
        outcome = pipeline.Outcome(message.Response(500, []), operation="Query")
        service = "iam"
        try:
            body = await _read(request)
            params = query.parse(body)
            name = params.pop("Action", "")
            params.pop("Version", None)
            declared = HANDLERS.get(name)
            service = "iam" if declared is None else declared.service
            principal = identities.ANONYMOUS
            if declared is None or not declared.unsigned:
                proof = await self._verify(request, body, service)
                principal, outcome.access_key = proof.principal, proof.access_key
            now_ms = self._clock_ms()
            agent = request.header(b"user-agent")
            keys = global_keys.of_request(
                principal,
                now_ms,
                secure=request.secure,
                peer=request.peer,
                user_agent=None if agent is None else agent.decode("latin-1"),
            )
            ask = actions.Ask(params, principal, self._people, now_ms, keys, self._issuers)
            found = await _authorised(name, declared, ask)
            ask.check_served(found.lacks)
            outcome.operation = name
            result = await found.handler(ask)
            outcome.response = query.reply(request, service, name, result)
        except errors.ClientGone as error:
            outcome.gone = error
        except (Refused, errors.StrongroomError) as error:
            if isinstance(error, errors.StoreTrouble | errors.NotAuthentic):
                self._report(request, error)
            outcome.response, outcome.error = query.refuse(request, service, error)
        except Exception as error:  # noqa: BLE001 - the last resort: a bug must become an answer
            self._report(request, error)
            outcome.response, outcome.error = query.refuse(request, service, error)
        return outcome


async def _read(request: message.Request) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in request.body:
        size += len(piece)
        if size > query.MAX_BODY_BYTES:
            raise Refused("ValidationError", "The request is too large.")
        pieces.append(bytes(piece))
    return b"".join(pieces)


async def _authorised(
    name: str, declared: actions.Declared | None, ask: actions.Ask
) -> actions.Declared:
    """Return the action, if there is one and the asker may do it.

    An account's owner may do everything in it, others what their policies allow.

    Raises:
        Refused: there is none, or it may not.
    """
    principal = ask.principal
    if declared is not None and declared.unsigned:
        return declared
    if principal.is_anonymous:
        raise Refused("MissingAuthenticationToken", "Missing Authentication Token")
    if declared is None:
        raise Refused("InvalidAction", f"Could not find operation {name[:100]}")
    if principal.member is None or declared.open:
        return declared
    action = f"{declared.service}:{declared.name}"
    found = await _found(declared, ask)
    context = dict(ask.keys) | _own_keys(declared, ask, found)
    for resource in _resources(declared, ask, found):
        if not decision.may_without_bucket(principal, action, resource, lambda: context):
            raise Refused(
                "AccessDenied",
                f"User: {principal.arn} is not authorized to perform: {action} on resource:"
                f" {resource}",
            )
    return declared


def _name(declared: actions.Declared, ask: actions.Ask) -> str:
    """Return the name of what an action is about, as its handler sees it; empty for none.

    An empty parameter is none, and means the user who asks, as a missing one does.
    """
    member = ask.principal.member
    if declared.member == "-" or not declared.kind:
        return ""
    own = "" if member is None or member.role_arn else member.name
    return ask.params.get(declared.member) or own


async def _found(declared: actions.Declared, ask: actions.Ask) -> accounts.Entity | None:
    """Return the entity that an action is about, if it is there."""
    name = _name(declared, ask)
    try:
        if declared.member == "PolicyArn":
            policy = await ask.members.managed_policy(ask.account, ask.params.get("PolicyArn", ""))
            return None if isinstance(policy, str) else policy
        if declared.member == providers.ARN:
            return await providers.named(ask)
        if declared.kind == accounts.PROVIDER:
            return None
        return await ask.members.find(ask.account, declared.kind, name) if name else None
    except errors.NoSuchEntity:
        return None


def _own_keys(
    declared: actions.Declared, ask: actions.Ask, found: accounts.Entity | None
) -> global_keys.Keys:
    """Return the condition keys that IAM adds. Source: "Condition keys for AWS IAM"."""
    keys: global_keys.Keys = {}
    if declared.name.startswith(("Attach", "Detach")):
        keys["iam:policyarn"] = (ask.params.get("PolicyArn", ""),)
    brought = query.tags(ask.params)
    names = (*brought, *query.listed(ask.params, "TagKeys"))
    if names:
        keys["aws:tagkeys"] = names
    for name, value in brought.items():
        keys[f"aws:requesttag/{name}"] = (value,)
    if found is not None and not declared.name.startswith("Create"):
        for name, value in found.tags.items():
            keys[f"aws:resourcetag/{name}"] = keys[f"iam:resourcetag/{name}"] = (value,)
    return keys


def _resources(
    declared: actions.Declared, ask: actions.Ask, found: accounts.Entity | None
) -> list[str]:
    """Return the ARNs of what an action is about: for a new name, the old and the new one."""
    beginning = f"arn:aws:iam::{ask.principal.account_id}:{declared.kind}"
    if not declared.kind:
        return ["*"]
    if declared.member in ("PolicyArn", providers.ARN):
        return [ask.params.get(declared.member) or "*"]
    if declared.kind == accounts.PROVIDER:
        return [f"{beginning}/{ask.params.get('Url', '*').removeprefix(web_identity.HTTPS)}"]
    name = _name(declared, ask)
    if not name:
        return [f"{beginning}{ask.params.get('PathPrefix', '/')}"]
    old = f"{beginning}{ask.path}{name}" if found is None else found.arn
    if declared.name not in ("UpdateUser", "UpdateGroup") or found is None:
        return [old]
    # Source: UpdateUser, UpdateGroup: permissions are needed on the source and on the target.
    path = ask.params.get("NewPath", found.path)
    return [old, f"{beginning}{path}{ask.params.get(f'New{declared.member}', found.name)}"]
