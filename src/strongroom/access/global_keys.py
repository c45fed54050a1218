"""Condition keys that every service knows: who asks, when, from where.

Source: IAM user guide, "AWS global condition context keys".
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from strongroom.access import identities

Keys = dict[str, tuple[str, ...]]

OF_ASKERS: Final = (
    "aws:principal",
    "aws:userid",
    "aws:username",
    "aws:tokenissuetime",
    "aws:multifactorauth",
    "aws:federatedprovider",
)
"""How the keys begin that `of_principal` knows completely: one that it leaves out is absent."""

OF_REQUESTS: Final = (
    *OF_ASKERS,
    "aws:currenttime",
    "aws:epochtime",
    "aws:securetransport",
    "aws:sourceip",
    "aws:useragent",
    "aws:viaawsservice",
)
"""How those begin that `of_request` knows completely."""


def of_request(
    principal: identities.Principal, now_ms: int, *, secure: bool, peer: str, user_agent: str | None
) -> Keys:
    """Return the keys of a request.

    Args:
        principal: who asks.
        now_ms: the time.
        secure: whether it came over TLS.
        peer: address of the client; empty if unknown.
        user_agent: what the client calls itself, if it says so.
    """
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    found: Keys = {
        "aws:currenttime": (now.isoformat(timespec="seconds"),),
        "aws:epochtime": (str(now_ms // 1000),),
        "aws:securetransport": ("true" if secure else "false",),
        "aws:principalisawsservice": ("false",),
        "aws:viaawsservice": ("false",),
    }
    if peer:
        found["aws:sourceip"] = (peer,)
    if user_agent is not None:
        found["aws:useragent"] = (user_agent,)
    return found | of_principal(principal)


def of_principal(principal: identities.Principal) -> Keys:
    """Return the keys of who asks."""
    if principal.is_anonymous:
        return {"aws:principaltype": ("Anonymous",)}
    account, member = principal.account_id, principal.member
    found: Keys = {
        "aws:principalarn": (principal.arn,),
        "aws:principalaccount": (account,),
        "aws:principaltype": ("Account",),
        "aws:userid": (account,),
    }
    if principal.is_temporary:
        # Nobody brings a second factor here; with keys for good the condition key is absent.
        found["aws:multifactorauthpresent"] = ("false",)
        if principal.issued_ms:
            issued = datetime.fromtimestamp(principal.issued_ms / 1000, UTC)
            found["aws:tokenissuetime"] = (issued.isoformat(timespec="seconds"),)
    if member is None:
        found["aws:username"] = (principal.name,)
        return found
    found["aws:userid"] = (member.unique_id,)
    if member.role_arn:
        found["aws:principaltype"] = ("AssumedRole",)
        found["aws:principalarn"] = (member.role_arn,)
        if member.provider:
            found["aws:federatedprovider"] = (member.provider,)
    else:
        found["aws:principaltype"] = ("User",)
        found["aws:username"] = (member.name,)
    for name, value in member.tags.items():
        found[f"aws:principaltag/{name}"] = (value,)
    return found
