"""Handlers of STS: who am I, and temporary credentials.

Source: AWS Security Token Service API reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from strongroom.access import documents, policy, sessions
from strongroom.dialects.iam import role_sessions
from strongroom.dialects.iam.actions import Ask, Result, action
from strongroom.dialects.operation import Refused

if TYPE_CHECKING:
    from strongroom.access import accounts

_TOKEN_S: Final = 900, 129_600
"""Shortest and longest life of a session token, in seconds."""
_OWNER_S: Final = 3600
"""The longest for the owner of an account."""


@action("GetCallerIdentity", service="sts", everybody=True)
async def get_caller_identity(ask: Ask) -> Result:
    principal = ask.principal
    account = principal.account_id
    user_id = account if principal.member is None else principal.member.unique_id
    return {"UserId": user_id, "Account": account, "Arn": principal.arn}


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
    life_s = role_sessions.seconds(ask, default, shortest, longest)
    if principal.member is None:
        life_s = min(life_s, _OWNER_S)
    member = "" if principal.member is None else principal.member.unique_id
    session = sessions.Session(
        principal.user_id,
        member,
        "",
        "",
        ask.now_ms + life_s * 1000,
        role_sessions.new_secret(),
        ask.now_ms,
    )
    return {"Credentials": role_sessions.credentials(ask, session)}


@action(
    "AssumeRole",
    service="sts",
    everybody=True,
    lacks=("PolicyArns", "Tags", "TransitiveTagKeys", "SourceIdentity", "ProvidedContexts"),
)
async def assume_role(ask: Ask) -> Result:
    """Begin a session of a role. The role's trust policy decides, with the asker's own."""
    wanted = role_sessions.read(ask)
    owner = await role_sessions.owner_of(ask, wanted.arn)
    role = None if owner is None else await role_sessions.role_of(ask, owner, wanted.arn)
    if role is None or not _may_assume(ask, role):
        # The same whether there is such a role or not.
        raise Refused(
            "AccessDenied",
            f"User: {ask.principal.arn} is not authorized to perform: sts:AssumeRole on"
            f" resource: {wanted.arn}",
        )
    # A role that assumes another has an hour. Source: IAM user guide, "Role chaining".
    longest_s = _OWNER_S if ask.principal.is_temporary else role.session_s
    return role_sessions.begin(ask, role, wanted, longest_s)


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
