"""The request path of the query API: read, which action, authenticate, authorise, handle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from strongroom import errors
from strongroom.access import decision
from strongroom.dialects import pipeline
from strongroom.dialects.iam import actions, people, policies, query, sts
from strongroom.dialects.operation import Refused
from strongroom.wire import message

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.access import identities

HANDLERS: Final = actions.collect(people, policies, sts)


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
        *,
        clock_ms: Callable[[], int],
        report: Callable[[message.Request, Exception], None],
    ) -> None:
        self._people = known
        self._verify = verify
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
            proof = await self._verify(request, body, service)
            outcome.access_key = proof.access_key
            ask = actions.Ask(params, proof.principal, self._people, self._clock_ms())
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
    if principal.is_anonymous:
        raise Refused("MissingAuthenticationToken", "Missing Authentication Token")
    if declared is None:
        raise Refused("InvalidAction", f"Could not find operation {name[:100]}")
    if principal.member is None or declared.open:
        return declared
    resource = await _resource(declared, ask)
    action = f"{declared.service}:{declared.name}"
    context = {
        "aws:username": (principal.member.name,),
        "aws:userid": (principal.member.unique_id,),
        "aws:principalarn": (principal.member.role_arn or principal.arn,),
        "aws:principalaccount": (principal.account_id,),
    }
    if not decision.may_without_bucket(principal, action, resource, lambda: context):
        raise Refused(
            "AccessDenied",
            f"User: {principal.arn} is not authorized to perform: {action} on resource: {resource}",
        )
    return declared


async def _resource(declared: actions.Declared, ask: actions.Ask) -> str:
    """Return the ARN of what an action is about."""
    beginning = f"arn:aws:iam::{ask.principal.account_id}:"
    if not declared.kind:
        return "*"
    if declared.member == "PolicyArn":
        return ask.params.get("PolicyArn", "*")
    name = ask.params.get(declared.member)
    if name is None:
        member = ask.principal.member
        if declared.member == "-" or member is None or member.role_arn:
            return f"{beginning}{declared.kind}{ask.params.get('PathPrefix', '/')}"
        name = member.name
    try:
        return (await ask.members.find(ask.account, declared.kind, name)).arn
    except errors.NoSuchEntity:
        return f"{beginning}{declared.kind}{ask.path}{name}"
