"""Signatures of browser forms: over the policy document, in fields of the form.

Both versions sign the policy as it is sent, in base64; nothing else of the form is
signed, which is why its policy must name every field. For version 2 see
docs/decisions/0014-signature-version-2.md.

Sources: S3 API reference, "Authenticating requests in browser-based uploads using
POST (AWS Signature Version 4)"; S3 user guide, "Browser-based uploads using POST (AWS
signature version 2)"; texts and order of refusals as S3 was seen to answer.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import canonical, signing

if TYPE_CHECKING:
    from strongroom.crypto.secret import SecretKey
    from strongroom.wire import form

_VERSION_4: Final = {
    "x-amz-algorithm": "X-Amz-Algorithm",
    "x-amz-credential": "X-Amz-Credential",
    "x-amz-date": "X-Amz-Date",
    "x-amz-signature": "X-Amz-Signature",
}
_VERSION_2: Final = {"awsaccesskeyid": "AWSAccessKeyId", "signature": "Signature"}
FIELDS: Final = frozenset({*_VERSION_4, *_VERSION_2, "policy", "x-amz-security-token"})
"""What is about the signature and says nothing of the object."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a form says about its signature; nothing of it is proven yet.

    Attributes:
        access_key: whose secret is to be looked up.
        policy: the document in base64, as sent.
        signature: as sent.
        version: 4 or 2; the scope (date, region, service) is empty with 2.
        session_token: of temporary credentials.
        shows_policy: whether a refusal may quote it.
        signed: how it is signed.
    """

    access_key: str
    policy: str
    signature: str = field(repr=False)
    version: int
    signed: signing.Signed
    date: str = ""
    region: str = ""
    service: str = ""
    credential: str = ""
    session_token: str | None = field(default=None, repr=False)
    shows_policy: bool = True


def claim(sent: form.Form, *, version_2: bool) -> Claim | None:
    """Read what a form says about its signature; None if it says nothing.

    Args:
        sent: the form.
        version_2: whether Signature Version 2 is accepted.

    Raises:
        Refused: signed twice, in part, or in a way that is not supported.
    """
    with_4, with_2 = (
        any(name in sent.fields for name in names) for names in (_VERSION_4, _VERSION_2)
    )
    if not with_4 and not with_2:
        return None
    if with_4 and with_2:
        raise Refused("InvalidArgument", "Only one auth mechanism allowed.")
    names = _VERSION_4 if with_4 else _VERSION_2
    values = {name: _required(sent, name, shown) for name, shown in names.items()}
    policy = _required(sent, "policy", "Policy")
    # A condition may hold a customer's key, and S3 answers a wrong signature with the policy.
    shows = not any(name.startswith(canonical.REDACTED) for name in sent.fields)
    token = sent.text("x-amz-security-token")
    if with_2:
        if not version_2:
            raise Refused("InvalidRequest", signing.NO_MECHANISM)
        return Claim(
            access_key=values["awsaccesskeyid"],
            policy=policy,
            signature=values["signature"],
            version=2,
            signed=signing.Signed(signing.VERSION_2, signing.FORM),
            session_token=token,
            shows_policy=shows,
        )
    if values["x-amz-algorithm"] != signing.ALGORITHM:
        raise _bad_field(
            "x-amz-algorithm",
            values["x-amz-algorithm"],
            f'X-Amz-Algorithm only supports "{signing.ALGORITHM}"',
        )
    credential = values["x-amz-credential"]
    scope = signing.read_credential(credential)
    if scope is None:
        raise _bad_field(
            "x-amz-credential",
            credential,
            f'the Credential is mal-formed; expecting "{signing.CREDENTIAL_FORM}".',
        )
    moment = signing.read_amz_date(values["x-amz-date"])
    if moment is None:
        # Spelled as S3 spells it.
        raise _bad_field(
            "x-amz-date",
            values["x-amz-date"],
            "X-Amz-Date must be formated via ISO8601 Long format",
        )
    access_key, date, region, service = scope
    if date != values["x-amz-date"][:8]:
        raise _bad_field(
            "x-amz-credential",
            credential,
            f'Invalid credential date "{date}". This date is not the same as X-Amz-Date: '
            f'"{values["x-amz-date"][:8]}".',
        )
    return Claim(
        access_key=access_key,
        policy=policy,
        signature=values["x-amz-signature"],
        version=4,
        date=date,
        region=region,
        service=service,
        credential=credential,
        session_token=token,
        shows_policy=shows,
        signed=signing.Signed(signing.ALGORITHM, signing.FORM, moment),
    )


def verify(
    claim: Claim, secret: SecretKey | str, *, region: str, keys: signing.SigningKeys
) -> None:
    """Return if a claim holds.

    Args:
        claim: what `claim` read.
        secret: the secret that belongs to its access key.
        region: the region that this server answers for.
        keys: remembers derived keys.

    Raises:
        Refused: it was made for another place, or is not the policy's signature.
    """
    raw_policy = claim.policy.encode("utf-8", "surrogateescape")
    if claim.version == 2:  # noqa: PLR2004 - the version's own name
        digest = hmac.digest(signing.raw(secret), raw_policy, "sha1")
        computed = base64.b64encode(digest)
    else:
        if claim.service != "s3":
            raise _bad_field(
                "x-amz-credential",
                claim.credential,
                f'incorrect service "{claim.service}". This endpoint belongs to "s3".',
            )
        if claim.region != region:
            refusal = _bad_field(
                "x-amz-credential",
                claim.credential,
                f"the region '{claim.region}' is wrong; expecting '{region}'",
            )
            refusal.fields["Region"] = region
            raise refusal
        key = keys.derive(claim, signing.raw(secret))
        computed = key.digest(raw_policy).hex().encode()
    if not hmac.compare_digest(computed, claim.signature.encode("utf-8", "surrogateescape")):
        raise signing.mismatch(
            claim.access_key,
            signing.printable(claim.policy) if claim.shows_policy else "(redacted)",
            signing.printable(claim.signature),
        )


def _required(sent: form.Form, name: str, shown: str) -> str:
    value = sent.text(name)
    if not value:
        raise missing(shown)
    return value


def missing(shown: str) -> Refused:
    """Return the refusal of a form that lacks a field."""
    return Refused(
        "InvalidArgument",
        f"Bucket POST must contain a field named '{shown}'.  If it is specified, please check the"
        " order of the fields.",
        ArgumentName=shown,
        ArgumentValue="",
    )


def _bad_field(name: str, value: str, text: str) -> Refused:
    return Refused(
        "InvalidArgument",
        signing.printable(text),
        ArgumentName=_VERSION_4[name],
        ArgumentValue=signing.printable(value),
    )
