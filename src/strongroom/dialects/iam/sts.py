"""Handlers of STS: who am I, and temporary credentials.

Source: AWS Security Token Service API reference.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Final

from strongroom import errors
from strongroom.access import accounts, documents, identities, policy, sessions
from strongroom.dialects.iam import query
from strongroom.dialects.iam.actions import Ask, Result, action
from strongroom.dialects.operation import Refused

if TYPE_CHECKING:
    from strongroom.crypto import secret

_ROLE: Final = re.compile(
    r"arn:aws:iam::(?P<account>[0-9]{12}):role(?P<path>/(?:.*/)?)(?P<name>[^/]+)"
)
_SESSION_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_TOKEN_S: Final = 900, 129_600
"""Shortest and longest life of a session token, in seconds."""
_OWNER_S: Final = 3600
"""The longest for the owner of an account, and what a role's session has if it asks for none."""
MAX_SESSION_POLICY: Final = 2048


@action("GetCallerIdentity", service="sts", everybody=True)
async def get_caller_identity(ask: Ask) -> Result:
    principal = ask.principal
    account = principal.account_id
    user_id = account if principal.member is None else principal.member.unique_id
    return {"UserId": user_id, "Account": account, "Arn": principal.arn}


def _seconds(ask: Ask, default: int, shortest: int, longest: int) -> int:
    text = ask.params.get("DurationSeconds", str(default))
    if not re.fullmatch(r"[0-9]{1,6}", text) or not shortest <= int(text) <= longest:
        raise Refused(
            "ValidationError",
            f"The requested DurationSeconds must be between {shortest} and {longest}.",
        )
    return int(text)


def _credentials(ask: Ask, session: sessions.Session) -> Result:
    access_key, token = ask.people.begin_session(session)
    return {
        "AccessKeyId": access_key,
        "SecretAccessKey": session.secret_key.reveal().decode(),
        "SessionToken": token,
        "Expiration": query.moment(session.expires_ms),
    }


def _new_secret() -> secret.SecretKey:
    return identities.new_secret_key(secrets.token_bytes)


@action("GetSessionToken", service="sts", everybody=True)
async def get_session_token(ask: Ask) -> Result:
    principal = ask.principal
    if principal.is_temporary:
        raise Refused("AccessDenied", "Cannot call GetSessionToken with session credentials")
    shortest, longest = _TOKEN_S
    default = 43_200
    if principal.member is None:
        # An owner may ask for more, and gets an hour. Source: GetSessionToken, DurationSeconds.
        default = _OWNER_S
    life_s = _seconds(ask, default, shortest, longest)
    if principal.member is None:
        life_s = min(life_s, _OWNER_S)
    member = "" if principal.member is None else principal.member.unique_id
    session = sessions.Session(
        principal.user_id, member, "", "", ask.now_ms + life_s * 1000, _new_secret()
    )
    return {"Credentials": _credentials(ask, session)}


@action(
    "AssumeRole",
    service="sts",
    everybody=True,
    lacks=("PolicyArns", "Tags", "TransitiveTagKeys", "SourceIdentity", "ProvidedContexts"),
)
async def assume_role(ask: Ask) -> Result:
    """Begin a session of a role. The role's trust policy decides, with the asker's own."""
    arn, name = ask.need("RoleArn"), ask.need("RoleSessionName")
    if not _SESSION_NAME.fullmatch(name):
        raise Refused("ValidationError", "The specified value for roleSessionName is invalid.")
    limits = ask.params.get("Policy", "")
    if limits:
        if len(limits) > MAX_SESSION_POLICY:
            raise errors.MalformedPolicy("Policy exceeds the maximum allowed document size.")
        documents.parse(limits, documents.Kind.IDENTITY)
    role = await _role(ask, arn)
    if role is None or not _may_assume(ask, role):
        # The same whether there is such a role or not.
        raise Refused(
            "AccessDenied",
            f"User: {ask.principal.arn} is not authorized to perform: sts:AssumeRole on"
            f" resource: {arn}",
        )
    longest = _OWNER_S if ask.principal.is_temporary else role.session_s
    life_s = _seconds(ask, min(_OWNER_S, longest), _TOKEN_S[0], longest)
    session = sessions.Session(
        role.row.account,
        role.row.entity_id,
        name,
        limits,
        ask.now_ms + life_s * 1000,
        _new_secret(),
    )
    account = identities.account_of(role.row.account)
    return {
        "Credentials": _credentials(ask, session),
        "AssumedRoleUser": {
            "AssumedRoleId": f"{role.row.entity_id}:{name}",
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role.name}/{name}",
        },
        "PackedPolicySize": None if not limits else len(limits) * 100 // MAX_SESSION_POLICY,
    }


async def _role(ask: Ask, arn: str) -> accounts.Entity | None:
    match = _ROLE.fullmatch(arn)
    if match is None:
        raise Refused("ValidationError", f"{arn} is invalid")
    owner = await ask.people.owner_of_account(match["account"])
    if owner is None:
        return None
    try:
        found = await ask.members.find(owner, accounts.ROLE, match["name"])
    except errors.NoSuchEntity:
        return None
    return found if found.arn == arn else None


def _may_assume(ask: Ask, role: accounts.Entity) -> bool:
    principal = ask.principal
    context = {**ask.keys, "sts:rolesessionname": (ask.params["RoleSessionName"],)}
    if "ExternalId" in ask.params:
        context["sts:externalid"] = (ask.params["ExternalId"],)
    asked = policy.Asked(principal.asker, "sts:AssumeRole", role.arn, context)
    trusted = policy.judge([documents.parse(role.text, documents.Kind.TRUST)], asked)
    if trusted in (policy.Verdict.DENIED, policy.Verdict.SILENT):
        return False
    member = principal.member
    if member is None:
        return True
    own = policy.judge(member.policies, asked)
    if member.session is not None and own is policy.Verdict.ALLOWED:
        own = policy.judge([member.session], asked)
    if own is policy.Verdict.DENIED:
        return False
    named_here = trusted is policy.Verdict.ALLOWED and principal.user_id == role.row.account
    return own is policy.Verdict.ALLOWED or (named_here and member.session is None)
