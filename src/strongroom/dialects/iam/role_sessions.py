"""What all ways to assume a role have in common: the request, the role, the session that begins."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from strongroom import errors
from strongroom.access import accounts, documents, identities, sessions
from strongroom.dialects.iam import query
from strongroom.dialects.operation import Refused

if TYPE_CHECKING:
    from strongroom.crypto import secret
    from strongroom.dialects.iam.actions import Ask, Result

_ROLE: Final = re.compile(
    r"arn:aws:iam::(?P<account>[0-9]{12}):role(?P<path>/(?:.*/)?)(?P<name>[^/]+)"
)
_SESSION_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
SHORTEST_S: Final = 900
DEFAULT_S: Final = 3600
"""What a role's session has if it asks for none."""
MAX_SESSION_POLICY: Final = 2048


@dataclass(frozen=True, slots=True)
class Wanted:
    """A session that is asked for.

    Attributes:
        arn: of the role.
        name: of the session.
        limits: the policy that narrows it; empty for none.
    """

    arn: str
    name: str
    limits: str


def read(ask: Ask) -> Wanted:
    """Read what is asked for.

    Raises:
        Refused, MalformedPolicy: a parameter is missing or has not the right form.
    """
    arn, name = ask.need("RoleArn"), ask.need("RoleSessionName")
    if not _SESSION_NAME.fullmatch(name):
        raise Refused("ValidationError", "The specified value for roleSessionName is invalid.")
    limits = ask.params.get("Policy", "")
    if limits:
        if len(limits) > MAX_SESSION_POLICY:
            raise errors.MalformedPolicy("Policy exceeds the maximum allowed document size.")
        documents.parse(limits, documents.Kind.IDENTITY)
    return Wanted(arn, name, limits)


async def owner_of(ask: Ask, arn: str) -> str | None:
    """Return the canonical id of the account that an ARN of a role names, if there is one.

    Raises:
        Refused: it is no ARN of a role.
    """
    match = _ROLE.fullmatch(arn)
    if match is None:
        raise Refused("ValidationError", f"{arn} is invalid")
    return await ask.people.owner_of_account(match["account"])


async def role_of(ask: Ask, owner: str, arn: str) -> accounts.Entity | None:
    """Return an account's role by its ARN, if there is one."""
    try:
        found = await ask.members.find(owner, accounts.ROLE, arn.rpartition("/")[2])
    except errors.NoSuchEntity:
        return None
    return found if found.arn == arn else None


def begin(
    ask: Ask, role: accounts.Entity, wanted: Wanted, longest_s: int, *, provider: str = ""
) -> Result:
    """Begin a session and return what all answers say of it.

    Args:
        ask: the request.
        role: what is assumed; somebody has decided that it may be.
        wanted: as `read` returned it.
        longest_s: how long the session may last.
        provider: ARN of the identity provider that vouched for who asks.

    Raises:
        Refused: another duration is asked for.
    """
    life_s = seconds(ask, min(DEFAULT_S, longest_s), SHORTEST_S, longest_s)
    session = sessions.Session(
        role.row.account,
        role.row.entity_id,
        wanted.name,
        wanted.limits,
        ask.now_ms + life_s * 1000,
        new_secret(),
        ask.now_ms,
        provider,
    )
    account = identities.account_of(role.row.account)
    packed = len(wanted.limits) * 100 // MAX_SESSION_POLICY
    return {
        "Credentials": credentials(ask, session),
        "AssumedRoleUser": {
            "AssumedRoleId": f"{role.row.entity_id}:{wanted.name}",
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role.name}/{wanted.name}",
        },
        "PackedPolicySize": packed if wanted.limits else None,
    }


def seconds(ask: Ask, default: int, shortest: int, longest: int) -> int:
    """Return how long a session is to last.

    Raises:
        Refused: out of bounds.
    """
    text = ask.params.get("DurationSeconds", str(default))
    if not re.fullmatch(r"[0-9]{1,6}", text) or not shortest <= int(text) <= longest:
        raise Refused(
            "ValidationError",
            f"The requested DurationSeconds must be between {shortest} and {longest}.",
        )
    return int(text)


def credentials(ask: Ask, session: sessions.Session) -> Result:
    """Return a session's credentials as answers show them."""
    access_key, token = ask.people.begin_session(session)
    return {
        "AccessKeyId": access_key,
        "SecretAccessKey": session.secret_key.reveal().decode(),
        "SessionToken": token,
        "Expiration": query.moment(session.expires_ms),
    }


def new_secret() -> secret.SecretKey:
    """Make the secret key of a session."""
    return identities.new_secret_key(secrets.token_bytes)
