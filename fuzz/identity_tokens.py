"""Identity tokens of OpenID Connect, key sets and URLs of issuers.

    token

is a token, as a stranger sends it. It must not pass, whatever it says: whoever wrote the input has
none of the issuer's keys, and what the corpus has was signed for another audience, or long ago.
Signed by the issuer as it stands, it may pass only if its claims say what they must.

    set
    JSON

is a key set, as an issuer sends it: what it brings verifies with public keys only, of one algorithm
family. `url` and a URL on the next line is the name of an issuer.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from strongroom.access import web_identity

NOW_S: Final = 1_800_000_000
NAME: Final = "issuer.example/realm"
ARN: Final = f"arn:aws:iam::111111111111:oidc-provider/{NAME}"
PROVIDER: Final = web_identity.Provider(ARN, NAME, ("strongroom",), ())
_KEY: Final = ec.derive_private_key(
    int.from_bytes(hashlib.sha256(b"issuer of the fuzz target").digest()) >> 1, ec.SECP256R1()
)
_PUBLIC: Final = jwt.algorithms.ECAlgorithm.to_jwk(_KEY.public_key(), as_dict=True)
KEYS: Final = web_identity.keys_of({"keys": [{**_PUBLIC, "kid": "first"}]})
_LEEWAY_S: Final = web_identity.LEEWAY_MS // 1000


def run(data: bytes) -> str:
    """Read what the first line says; return how it ended."""
    line, _, rest = data.partition(b"\n")
    if line.strip() == b"set":
        return _set(rest)
    text = (rest if line.strip() in (b"url", b"token") else data).decode("utf-8", "replace")
    return _url(text.strip()) if line.strip() == b"url" else _token(text.strip())


def _token(text: str) -> str:
    ending = _verified(text)
    assert ending != "verified", "nobody but the issuer signs"
    signed = _signed(text)
    if signed is None:
        return ending
    again = _verified(signed)
    if again == "verified":
        _check(jwt.decode(signed, options={"verify_signature": False}))
    return f"{ending}; signed: {again}"


def _verified(text: str) -> str:
    try:
        read = web_identity.read(text)
        found = web_identity.candidates(read, KEYS)
        claims = web_identity.verify(read, PROVIDER, found, NOW_S * 1000)
    except web_identity.BadToken as error:
        return str(error)[:60]
    assert claims.audience in PROVIDER.clients, "it is for one of the clients"
    assert all(name.lower().startswith("issuer.example/") for name in claims.keys), "of its issuer"
    return "verified"


def _signed(text: str) -> str | None:
    """Return the token's payload signed by the issuer; None if there is none to sign."""
    try:
        raw = text.split(".")[1]
        payload = base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4))
        return jwt.api_jws.encode(payload, _KEY, "ES256", {"kid": "first"})
    except (IndexError, ValueError, binascii.Error):
        return None


def _check(payload: dict[str, Any]) -> None:
    """Check again, by rules that are written here a second time."""
    assert payload["iss"] == f"https://{NAME}", "the issuer's"
    assert payload["exp"] > NOW_S - _LEEWAY_S, "not over"
    assert payload["iat"] <= NOW_S + _LEEWAY_S, "begun"
    assert payload.get("nbf", 0) <= NOW_S + _LEEWAY_S, "valid by now"
    assert "strongroom" in json.dumps(payload.get("azp", payload.get("aud"))), "for us"
    assert isinstance(payload["sub"], str), "somebody's"


def _set(rest: bytes) -> str:
    try:
        document = json.loads(rest)
    except (ValueError, RecursionError):
        return "no JSON"
    try:
        found = web_identity.keys_of(document)
    except ValueError as error:
        return str(error)
    for key in found:
        assert not hasattr(key.public, "private_numbers"), "public keys only"
        assert key.fits, "a key is for something"
        assert len({name[:2] for name in key.fits}) == 1, "of one family"
        assert key.fits <= web_identity.ALGORITHMS.keys(), "and of the list"
    return f"{len(found)} keys"


def _url(text: str) -> str:
    try:
        name = web_identity.name_of(text)
    except ValueError:
        return "no name"
    assert f"https://{name}" == text, "a name is the URL without its scheme"
    assert not set(name) & set("@#?\\ \t\r\n"), "and has one host"
    return "a name"
