"""Identity tokens: which are good, and what a good one proves."""

import base64
import hashlib
import hmac
import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from strongroom.access import documents, policy, web_identity

NOW_S = 1_800_000_000
NAME = "issuer.example/realm"
ARN = f"arn:aws:iam::111111111111:oidc-provider/{NAME}"
PROVIDER = web_identity.Provider(ARN, NAME, ("strongroom", "other"), ())
RSA = rsa.generate_private_key(65537, 2048)


def judged(issuer, token, *, provider=PROVIDER, now_s=NOW_S, key_set=None):
    read = web_identity.read(token)
    keys = web_identity.keys_of(issuer.key_set if key_set is None else key_set)
    fitting = web_identity.candidates(read, keys)
    return web_identity.verify(read, provider, fitting, now_s * 1000)


def test_a_good_token_proves_subject_and_audience(issuer):
    claims = judged(issuer, issuer.token(NOW_S, amr=["pwd", "otp"], email="ann@example.org"))

    assert (claims.subject, claims.audience) == ("ann", "strongroom")
    assert claims.keys == {
        "issuer.example/realm:sub": ("ann",),
        "issuer.example/realm:aud": ("strongroom",),
        "issuer.example/realm:amr": ("pwd", "otp"),
        "issuer.example/realm:email": ("ann@example.org",),
    }


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS256", RSA),
        ("RS384", RSA),
        ("RS512", RSA),
        ("ES384", ec.generate_private_key(ec.SECP384R1())),
        ("ES512", ec.generate_private_key(ec.SECP521R1())),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_every_algorithm_of_the_list_is_taken(issuer, algorithm, key):
    issuer.rotate("second", key)

    assert judged(issuer, issuer.token(NOW_S, algorithm=algorithm)).subject == "ann"


def test_an_authorised_party_is_the_audience_and_the_audience_stays_to_be_asked_for(issuer):
    claims = judged(issuer, issuer.token(NOW_S, azp="other", aud=["a", "b"]))

    assert claims.audience == "other"
    assert claims.keys[f"{NAME}:aud"] == ("other",)
    assert claims.keys[f"{NAME}:oaud"] == ("a", "b")


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"aud": "stranger"}, "Incorrect token audience"),
        ({"aud": None}, "Incorrect token audience"),
        ({"azp": "stranger"}, "Incorrect token audience"),
        ({"azp": 7}, "Incorrect token audience"),
        ({"aud": ["strongroom", 7]}, "Incorrect token audience"),
        ({"sub": None}, "names no subject"),
        ({"sub": ""}, "names no subject"),
        ({"exp": None}, "no valid exp"),
        ({"exp": "tomorrow"}, "no valid exp"),
        ({"exp": True}, "no valid exp"),
        ({"exp": float("inf")}, "no valid exp"),
        ({"exp": float("nan")}, "no valid exp"),
        ({"exp": 2**64}, "no valid exp"),
        ({"iat": None}, "no valid iat"),
        ({"iat": NOW_S + 61}, "not valid yet"),
        ({"nbf": NOW_S + 61}, "not valid yet"),
        ({"nbf": -1}, "no valid nbf"),
        ({"https://aws.amazon.com/tags": {}}, "session tags"),
    ],
    ids=str,
)
def test_a_token_with_other_claims_proves_nothing(issuer, claims, said):
    token = issuer.token(NOW_S, **claims)

    with pytest.raises(web_identity.BadToken, match=said):
        judged(issuer, token)


def test_clocks_may_differ_by_a_minute(issuer):
    early = issuer.token(NOW_S + 59, nbf=NOW_S + 59)
    late = issuer.token(NOW_S - 300, exp=NOW_S - 59)

    assert judged(issuer, early).subject == judged(issuer, late).subject == "ann"
    with pytest.raises(web_identity.TokenOutOfDate, match="Token expired: current date/time"):
        judged(issuer, late, now_s=NOW_S + 1)


def test_a_token_of_another_issuer_proves_nothing(issuer):
    token = issuer.token(NOW_S, iss="https://issuer.example/realm/")

    with pytest.raises(web_identity.BadToken, match="of another issuer"):
        judged(issuer, token)


def test_a_signature_of_another_key_proves_nothing(issuer):
    token = issuer.token(NOW_S, key=ec.generate_private_key(ec.SECP256R1()))

    with pytest.raises(web_identity.BadToken, match="signature cannot be verified"):
        judged(issuer, token)


def test_a_token_of_a_key_that_is_not_there_has_no_candidates(issuer):
    read = web_identity.read(issuer.token(NOW_S, headers={"kid": "none"}))

    assert web_identity.candidates(read, web_identity.keys_of(issuer.key_set)) == []


def test_a_token_that_names_no_key_is_taken_where_only_one_fits(issuer):
    token = issuer.token(NOW_S, headers={"kid": None})
    read = web_identity.read(token)
    issuer.keys["second"] = ec.generate_private_key(ec.SECP256R1())

    assert judged(issuer, token, key_set={"keys": issuer.key_set["keys"][:1]}).subject == "ann"
    assert web_identity.candidates(read, web_identity.keys_of(issuer.key_set)) == []


def encoded(*parts):
    texts = [json.dumps(part).encode() if isinstance(part, dict) else part for part in parts]
    return ".".join(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in texts)


def payload_of(issuer):
    return jwt.decode(issuer.token(NOW_S), options={"verify_signature": False})


@pytest.mark.parametrize("name", ["none", "None", "HS256", "PS256", "EdDSA", "ES256K", "", None])
def test_no_other_algorithm_is_taken(issuer, name):
    token = encoded({"alg": name, "kid": "first"}, payload_of(issuer), b"")

    with pytest.raises(web_identity.BadToken):
        web_identity.read(token)


def test_the_public_key_is_no_shared_secret(issuer):
    payload = payload_of(issuer)
    issuer.rotate("first", RSA)
    pem = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = encoded({"alg": "HS256", "kid": "first"}, payload)
    tag = hmac.new(pem, signed.encode(), hashlib.sha256).digest()

    with pytest.raises(web_identity.BadToken, match="not supported"):
        judged(issuer, f"{signed}.{encoded(tag)}")


def test_an_extension_that_must_be_understood_is_refused(issuer):
    token = issuer.token(NOW_S, headers={"crit": ["exp"], "exp": 1})

    with pytest.raises(web_identity.BadToken):
        web_identity.read(token)


@pytest.mark.parametrize(
    "token",
    ["", "a", "a.b", "a.b.c", "..", "é.é.é", "x" * 20_001, "e30.e30.", "e30.W10.", "bnVsbA.e30."],
    ids=lambda text: text[:9],
)
def test_what_is_no_token_is_refused_in_the_words_of_sts(token):
    with pytest.raises(web_identity.BadToken, match=r"is not (a valid JWT|supported)"):
        web_identity.read(token)


def test_keys_that_cannot_or_must_not_verify_are_passed_over(issuer):
    good = issuer.key_set["keys"][0]
    small = jwt.algorithms.RSAAlgorithm.to_jwk(
        rsa.generate_private_key(65537, 1024).public_key(),  # noqa: S505 - too small on purpose
        as_dict=True,
    )
    private = jwt.algorithms.ECAlgorithm.to_jwk(issuer.keys["first"], as_dict=True)
    others = [
        small,
        private,
        {"kty": "oct", "k": "c2VjcmV0", "kid": "first"},
        good | {"use": "enc"},
        good | {"alg": "RS256"},
        good | {"kid": 7},
        good | {"x": "AAAA"},
        {"kty": "EC"},
        "key",
    ]

    found = web_identity.keys_of({"keys": [*others, good]})

    assert [key.key_id for key in found] == ["first"]
    assert found[0].fits == {"ES256"}


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}, {"keys": {}}], ids=str)
def test_what_is_no_key_set_is_an_error(document):
    with pytest.raises(ValueError, match="no key set"):
        web_identity.keys_of(document)


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example",
        "https://issuer.example/",
        "https://issuer.example:8443/realms/a-b_c",
        "https://127.0.0.1:9",
        "https://[::1]:9/x",
        "https://token.actions.githubusercontent.com",
    ],
)
def test_an_issuer_has_a_name(url):
    assert web_identity.name_of(url) == url.removeprefix("https://")


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example",
        "https://",
        "https:///path",
        "https://user@issuer.example",
        "https://issuer.example@other.example",
        "https://issuer.example?x=y",
        "https://issuer.example#x",
        "https://issuer.example/a/../b",
        "https://issuer.example/.",
        "https://issuer.example:0/",
        "https://issuer.example:65536/",
        "https://issuer.example:x/",
        "https://issuer.example\\other.example",
        "https://issuer.example/ x",
        "https://issuer.example/\n",
        "https://изд.example",
        "https://" + "x" * 250,
    ],
)
def test_what_is_no_issuers_url_is_refused(url):
    with pytest.raises(ValueError, match=r"provider's URL"):
        web_identity.name_of(url)


def trust(principal, *, effect="Allow", condition=None, name="Principal"):
    statement = {
        "Effect": effect,
        name: principal,
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": condition or {},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def trusted(*texts, sub="ann"):
    whole = {"Version": "2012-10-17", "Statement": [each["Statement"][0] for each in texts]}
    parsed = documents.parse(json.dumps(whole), documents.Kind.TRUST)
    asked = policy.Asked(
        policy.Asker(frozenset({ARN})),
        "sts:AssumeRoleWithWebIdentity",
        "arn:aws:iam::111111111111:role/r",
        {f"{NAME}:sub": (sub,)},
    )
    return web_identity.trusts(parsed, PROVIDER, asked)


def test_a_role_trusts_the_provider_that_it_names_under_its_conditions():
    ann = {"StringEquals": {f"{NAME}:sub": "ann"}}

    assert trusted(trust({"Federated": ARN}))
    assert trusted(trust({"Federated": ARN}, condition=ann))
    assert not trusted(trust({"Federated": ARN}, condition=ann), sub="bob")
    assert not trusted(trust({"Federated": f"{ARN}/other"}))


def test_a_role_that_trusts_everybody_who_signs_trusts_no_token():
    assert not trusted(trust("*"))
    assert not trusted(trust({"AWS": "*"}))
    assert not trusted(trust({"AWS": "111111111111"}, name="NotPrincipal"))


def test_a_deny_counts_whomever_it_names():
    allow = trust({"Federated": ARN})

    assert not trusted(allow, trust("*", effect="Deny"))
    assert not trusted(allow, trust({"Federated": ARN}, effect="Deny"))
    assert trusted(allow, trust({"Federated": f"{ARN}x"}, effect="Deny"))
