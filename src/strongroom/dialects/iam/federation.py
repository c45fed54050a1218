"""Temporary credentials for whom an identity provider vouches: AssumeRoleWithWebIdentity.

The request is not signed; the token is the proof. Which issuers are believed, the account
of the role says; who of their subjects may assume the role, its trust policy.

Source: AWS Security Token Service API reference, AssumeRoleWithWebIdentity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.access import documents, issuers, policy, providers, web_identity
from strongroom.dialects.iam import role_sessions
from strongroom.dialects.iam.actions import Ask, Result, action
from strongroom.dialects.operation import Refused

if TYPE_CHECKING:
    from strongroom.access import accounts

_ACTION = "sts:AssumeRoleWithWebIdentity"


@action(
    "AssumeRoleWithWebIdentity",
    service="sts",
    unsigned=True,
    lacks=("PolicyArns", "ProviderId", "MinimumSessionTokenSize"),
)
async def assume_role_with_web_identity(ask: Ask) -> Result:
    text = ask.need("WebIdentityToken")
    wanted = role_sessions.read(ask)
    owner = await role_sessions.owner_of(ask, wanted.arn)
    provider: web_identity.Provider | None = None
    try:
        token = web_identity.read(text)
        if owner is not None:
            provider = await providers.of_issuer(ask.members, owner, token.issuer)
        if owner is None or provider is None:
            raise Refused(
                "InvalidIdentityToken",
                f"No OpenIDConnect provider found in your account for {token.issuer[:255]}",
            )
        claims = await ask.issuers.verify(token, provider)
    except web_identity.TokenOutOfDate as error:
        raise Refused("ExpiredTokenException", str(error)) from error
    except web_identity.BadToken as error:
        raise Refused("InvalidIdentityToken", str(error)) from error
    except issuers.IssuerSilent as error:
        raise Refused(
            "IDPCommunicationError",
            f"The identity provider {provider.issuer if provider else ''} cannot be reached:"
            f" {error}.",
        ) from error
    role = await role_sessions.role_of(ask, owner, wanted.arn)
    if role is None or not _trusts(ask, role, provider, claims, wanted):
        # The same whether there is such a role or not.
        raise Refused("AccessDenied", f"Not authorized to perform {_ACTION}")
    begun = role_sessions.begin(ask, role, wanted, role.session_s, provider=provider.arn)
    return {
        **begun,
        "SubjectFromWebIdentityToken": claims.subject,
        "Provider": provider.arn,
        "Audience": claims.audience,
    }


def _trusts(
    ask: Ask,
    role: accounts.Entity,
    provider: web_identity.Provider,
    claims: web_identity.Claims,
    wanted: role_sessions.Wanted,
) -> bool:
    about_asker = ("aws:principal", "aws:userid", "aws:username")
    context = {
        name: values for name, values in ask.keys.items() if not name.startswith(about_asker)
    }
    context |= claims.keys
    context["sts:rolesessionname"] = (wanted.name,)
    context["aws:federatedprovider"] = (provider.arn,)
    asker = policy.Asker(frozenset({provider.arn}))
    trust = documents.parse(role.text, documents.Kind.TRUST)
    return web_identity.trusts(trust, provider, policy.Asked(asker, _ACTION, role.arn, context))
