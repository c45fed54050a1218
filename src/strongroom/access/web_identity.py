"""Identity tokens of OpenID Connect: whose they are, whether they are good, what they prove.

Pure: the token, the provider that an account registered, the issuer's keys and the time go
in, claims come out. `issuers` brings the keys.

Source: OpenID Connect Core 1.0, 2 and 3.1.3.7; RFC 7515, 7517, 7519, and RFC 8725 for what
must be refused; IAM user guide, "Available keys for AWS OIDC federation", for condition keys.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from strongroom.access import policy, wildcards

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from strongroom.access import documents

MAX_TOKEN_CHARACTERS: Final = 20_000
"""Source: AssumeRoleWithWebIdentity, WebIdentityToken."""
MAX_KEYS: Final = 100
"""Of one issuer. Source: IAM user guide, "Create an OpenID Connect (OIDC) identity provider"."""
MAX_URL_CHARACTERS: Final = 255
LEEWAY_MS: Final = 60_000
"""How far an issuer's clock may be off."""
MIN_RSA_BITS: Final = 2048
ALGORITHMS: Final = {
    "RS256": "RSA", "RS384": "RSA", "RS512": "RSA",
    "ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1",
}  # fmt: skip
"""What a token may be signed with, and the kind of key or curve. No `none`, and nothing with a
shared secret: whoever knows an issuer's public key could sign."""

HTTPS: Final = "https://"
_URL: Final = re.compile(
    r"https://(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~%@:+-]*)*)(?:\?[A-Za-z0-9._~%@:+=&/-]*)?"
)
_CONDITION_CLAIMS: Final = ("amr", "email", "sub")
_TAGS_CLAIM: Final = "https://aws.amazon.com/tags"


class BadToken(ValueError):
    """A token that proves nothing; the text says why, in STS's words where it has some."""


class TokenOutOfDate(BadToken):
    """A token that was good once."""


@dataclass(frozen=True, slots=True)
class Provider:
    """An issuer that an account trusts to say who somebody is.

    Attributes:
        name: the issuer's URL without `https://`: what ARN and condition keys are made of.
        clients: audiences that its tokens may be for.
        thumbprints: SHA-1 of certificates that its server may show instead of one from a
            known authority, 40 hex digits each.
    """

    arn: str
    name: str
    clients: tuple[str, ...]
    thumbprints: tuple[str, ...]

    @property
    def issuer(self) -> str:
        """The URL, as it stands in tokens."""
        return HTTPS + self.name


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token proves.

    Attributes:
        subject: who, in the issuer's words.
        audience: for whom it was issued: the authorised party if it names one.
        keys: the condition keys that it brings.
    """

    subject: str
    audience: str
    keys: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Unverified:
    """What a token says of itself: enough to find who could vouch for it, and no more.

    Attributes:
        key_id: of the key that it was signed with; empty if it does not say.
    """

    text: str
    issuer: str
    algorithm: str
    key_id: str


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key that signs tokens.

    Attributes:
        key_id: empty if it has none.
        fits: algorithms that it is for.
    """

    key_id: str
    fits: frozenset[str]
    public: Any


def name_of(url: str) -> str:
    """Return the name of an issuer.

    Raises:
        ValueError: it is no URL that an issuer can have; the text says why.
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise ValueError(f"A provider's URL has at most {MAX_URL_CHARACTERS} characters.")
    if not url.startswith(HTTPS):
        raise ValueError("A provider's URL must begin with https://.")
    if not is_plain_url(url) or "?" in url:
        raise ValueError("A provider's URL has a host, perhaps a port and a path, and no more.")
    return url.removeprefix(HTTPS)


def is_plain_url(url: str) -> bool:
    """Whether a text is a URL over HTTPS that no two readers take for two different hosts."""
    match = _URL.fullmatch(url)
    return (
        match is not None
        and int(match["port"] or 1) in range(1, 2**16)
        and not {".", ".."} & set((match["path"] or "").split("/"))
    )


def read(token: str) -> Unverified:
    """Read what a token says of itself.

    Raises:
        BadToken: it is none, or was signed in a way that proves nothing.
    """
    malformed = BadToken("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")  # fmt: skip
    if len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
        raise malformed
    try:
        whole = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        # PyJWT lets some errors of what it is made with through.
        raise malformed from None
    header, payload = whole["header"], whole["payload"]
    issuer, key_id = payload.get("iss"), header.get("kid", "")
    if not isinstance(issuer, str) or not isinstance(key_id, str):
        raise malformed
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise BadToken("The ID Token is signed with an algorithm that is not supported")
    if "crit" in header:
        raise BadToken("The ID Token has an extension that is not supported")
    return Unverified(token, issuer, algorithm, key_id)


def keys_of(document: Any) -> list[IssuerKey]:
    """Return the keys of a JSON Web Key Set that can verify tokens; others are passed over.

    Raises:
        ValueError: it is no key set.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no key set")  # noqa: TRY004 - what a stranger sent, not a wrong call
    found = []
    for fields in listed[:MAX_KEYS]:
        if not isinstance(fields, dict) or fields.get("use", "sig") != "sig":
            continue
        key_id, only = fields.get("kid", ""), fields.get("alg")
        if fields.get("kty") not in ("RSA", "EC") or not isinstance(key_id, str) or "d" in fields:
            continue
        try:
            public = jwt.PyJWK(_public_part(fields)).key
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        fits = frozenset(name for name in _algorithms(public) if only in (None, name))
        if fits:
            found.append(IssuerKey(key_id, fits, public))
    return found


def _public_part(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes the key, without what would have the library choose an algorithm."""
    return {name: fields[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in fields}


def _algorithms(public: Any) -> list[str]:
    if isinstance(public, rsa.RSAPublicKey):
        kind = "RSA" if public.key_size >= MIN_RSA_BITS else ""
    elif isinstance(public, ec.EllipticCurvePublicKey):
        kind = public.curve.name
    else:
        return []
    return [name for name, wanted in ALGORITHMS.items() if wanted == kind]


def candidates(token: Unverified, keys: Sequence[IssuerKey]) -> list[IssuerKey]:
    """Return the keys that can have signed a token: of its name, or the only one that fits."""
    fitting = [key for key in keys if token.algorithm in key.fits]
    if token.key_id:
        return [key for key in fitting if key.key_id == token.key_id]
    return fitting if len(fitting) == 1 else []


def verify(token: Unverified, provider: Provider, keys: Sequence[IssuerKey], now_ms: int) -> Claims:
    """Return what a token proves.

    Args:
        token: as `read` returned it.
        provider: of the token's issuer.
        keys: `candidates` of the issuer's.
        now_ms: the time.

    Raises:
        TokenOutOfDate: it has expired.
        BadToken: it was not signed by the issuer, not for one of the clients, or not yet.
    """
    payload: dict[str, Any] | None = None
    for key in keys:
        try:
            payload = jwt.decode(
                token.text,
                key.public,
                algorithms=[token.algorithm],
                # The time is an argument here, and the audience is judged as AWS does.
                options={
                    "verify_exp": False, "verify_nbf": False, "verify_iat": False,
                    "verify_aud": False, "verify_iss": False, "verify_sub": False,
                    "verify_jti": False,
                },
            )  # fmt: skip
            break
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            continue
    if payload is None:
        raise BadToken("The ID Token's signature cannot be verified")
    if payload.get("iss") != provider.issuer:
        raise BadToken("The ID Token is of another issuer")
    _check_times(payload, now_ms)
    subject = payload.get("sub")
    if not isinstance(subject, str) or not subject:
        raise BadToken("The ID Token names no subject")
    if _TAGS_CLAIM in payload:
        raise BadToken("The ID Token asks for session tags, which are not supported")
    audiences = _texts(payload.get("aud"))
    party = payload.get("azp")
    named = audiences if party is None else _texts(party)
    fitting = [name for name in named if name in provider.clients]
    if not fitting:
        raise BadToken("Incorrect token audience")
    claims = {"aud": named} | {
        name: _texts(payload[name]) for name in _CONDITION_CLAIMS if name in payload
    }
    if party is not None:
        claims["oaud"] = audiences
    prefix = f"{provider.name}:"
    return Claims(
        subject,
        fitting[0],
        {wildcards.key_name(prefix + name): values for name, values in claims.items() if values},
    )


def _check_times(payload: Mapping[str, Any], now_ms: int) -> None:
    moments = {}
    for name in ("exp", "iat", "nbf"):
        value = payload.get(name)
        if value is None and name == "nbf":
            continue
        # `True` is an int, NaN a float that is neither before nor after anything.
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**40:
            raise BadToken(f"The ID Token has no valid {name}")
        moments[name] = value * 1000
    if now_ms >= moments["exp"] + LEEWAY_MS:
        raise TokenOutOfDate(
            f"Token expired: current date/time {now_ms // 1000} must be before the expiration"
            f" date/time {int(moments['exp']) // 1000}"
        )
    if max(moments["iat"], moments.get("nbf", 0)) > now_ms + LEEWAY_MS:
        raise BadToken("The ID Token is not valid yet")


def _texts(value: Any) -> tuple[str, ...]:
    """Return a claim that is a text or a list of texts; nothing of any other."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    return ()


def trusts(trust: documents.Document, provider: Provider, asked: policy.Asked) -> bool:
    """Whether a role's trust policy lets a provider's subject assume the role.

    Only a statement that names the provider allows it: one for everybody speaks of those who
    sign their requests. A statement that denies may speak of anybody.
    """
    statements = tuple(
        statement
        for statement in trust.statements
        if not statement.allows or _names(statement, provider.arn)
    )
    kept = dataclasses.replace(trust, statements=statements)
    return policy.judge([kept], asked) is policy.Verdict.ALLOWED


def _names(statement: documents.Statement, arn: str) -> bool:
    principals = statement.principals
    return not statement.not_principals and principals is not None and arn in principals.federated
