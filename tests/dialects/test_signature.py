"""What a signature is refused for. The signer is botocore's."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from strongroom.crypto import mac
from strongroom.crypto.secret import SecretKey
from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import signature, signing
from strongroom.wire import message

SECRET = "a+secret/of/forty+characters/0123456789ab"
HOST = "localhost:9000"
KEY_HEADER = "x-amz-server-side-encryption-customer-key"
CUSTOMER_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


def as_received(signed):
    parts = urlsplit(signed.url)
    headers = [(k.lower().encode("latin-1"), str(v).encode()) for k, v in signed.headers.items()]
    return message.Request(
        method=signed.method,
        raw_path=parts.path.encode(),
        raw_query=parts.query.encode(),
        headers=[(b"host", HOST.encode()), *headers],
        body=None,
        secure=True,
    )


def sign(method="GET", path="/bucket/key", headers=(), region="us-east-1", service="s3"):
    signed = AWSRequest(method, f"https://{HOST}{path}", headers=dict(headers))
    S3SigV4Auth(Credentials("AKID", SECRET), service, region).add_auth(signed)
    return as_received(signed)


def presign(path="/bucket/key", headers=(), expires=3600, region="us-east-1", token=None):
    signed = AWSRequest("GET", f"https://{HOST}{path}", headers=dict(headers))
    credentials = Credentials("AKID", SECRET, token)
    S3SigV4QueryAuth(credentials, "s3", region, expires).add_auth(signed)
    return as_received(signed)


def verify(request, *, secret=SECRET, after=timedelta(0), keys=None, **options):
    claim = signature.claim(request)
    return signature.verify(
        claim,
        request,
        secret,
        now=claim.signed_at + after,
        region="us-east-1",
        keys=keys or signing.SigningKeys(),
        **options,
    )


def refusal_of(request, **options):
    with pytest.raises(Refused) as refusal:
        verify(request, **options)
    return refusal.value


def with_headers(request, headers):
    return message.Request(
        request.method, request.raw_path, request.raw_query, headers, None, secure=True
    )


def replace(request, name, value):
    return with_headers(request, [(n, value if n == name else v) for n, v in request.headers])


def drop(request, name):
    return with_headers(request, [(n, v) for n, v in request.headers if n != name])


# Claims.


def test_a_request_without_a_signature_makes_no_claim():
    request = drop(sign(path="/bucket?list-type=2&X-Amz-Security-Token=t"), b"authorization")

    assert signature.claim(request) is None


def test_a_claim_says_who_where_and_when():
    claim = signature.claim(sign(headers={"X-Amz-Security-Token": "token"}))

    assert (claim.access_key, claim.region, claim.service) == ("AKID", "us-east-1", "s3")
    assert claim.timestamp[:8] == claim.date
    assert claim.expires_s is None
    assert claim.session_token == "token"
    assert claim.signed_at.tzinfo is UTC


def test_a_presigned_claim_has_a_lifetime_and_a_token():
    claim = signature.claim(presign(expires=77, token="t+/="))

    assert claim.expires_s == 77
    assert claim.session_token == "t+/="
    assert claim.payload is signature.Payload.UNSIGNED


def test_a_claim_and_what_holds_it_show_no_signature_and_no_key():
    request = sign(headers={"X-Amz-Security-Token": "token"})
    claim = signature.claim(request)
    keys = signing.SigningKeys()
    verified = verify(request, keys=keys)

    shown = f"{claim!r} {verified!r} {keys!r}"

    assert claim.signature not in shown
    assert "token=" not in shown
    assert repr(keys.derive(claim, SECRET.encode()))[2:-1] not in shown


@pytest.mark.parametrize(
    "header", [b"AWS AKID:c2lnbmF0dXJl", b"AWS4-ECDSA-P256-SHA256 Credential=x"]
)
def test_other_mechanisms_are_not_supported(header):
    refusal = refusal_of(replace(sign(), b"authorization", header))

    assert refusal.code == "InvalidRequest"
    assert "Please use AWS4-HMAC-SHA256" in refusal.message


def test_version_2_in_the_query_is_not_supported():
    request = drop(sign(path="/b/k?AWSAccessKeyId=A&Expires=1&Signature=x%3D"), b"authorization")

    assert refusal_of(request).code == "InvalidRequest"


def test_a_password_is_not_a_signature_and_is_not_echoed():
    refusal = refusal_of(replace(sign(), b"authorization", b"Basic dXNlcjpwYXNzd29yZA=="))

    assert refusal.code == "InvalidArgument"
    assert "dXNlcjpwYXNzd29yZA" not in f"{refusal.message}{refusal.fields}"


def test_header_and_query_together_are_refused():
    request = presign()
    request.headers.append((b"authorization", b"AWS4-HMAC-SHA256 Credential=x"))

    refusal = refusal_of(request)

    assert refusal.code == "InvalidArgument"
    assert refusal.message.startswith("Only one auth mechanism allowed")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (b"AWS4-HMAC-SHA256", "component"),
        (b"AWS4-HMAC-SHA256 Credential=a/20130524/us-east-1/s3/aws4_request", "three components"),
        (b"AWS4-HMAC-SHA256 Credential=a,Credential=b", "component"),
        (b"AWS4-HMAC-SHA256 Credential=a/s3/aws4_request,SignedHeaders=host,Signature=0", "<YOUR-"),
        (
            b"AWS4-HMAC-SHA256 Credential=a/1/r/s3/aws5,SignedHeaders=host,Signature=0",
            "<YOUR-AKID>",
        ),
        (b"AWS4-HMAC-SHA256 Credential=/1/r/s3/aws4_request,SignedHeaders=h,Signature=0", "<YOUR-"),
        (
            b"AWS4-HMAC-SHA256 Credential=a/20130524/r/s3/aws4_request,SignedHeaders=h,Signature=0",
            "Invalid credential date",
        ),
    ],
)
def test_a_malformed_authorization_header_says_what_is_wrong(header, says):
    refusal = refusal_of(replace(sign(), b"authorization", header))

    assert refusal.code == "AuthorizationHeaderMalformed"
    assert refusal.message.startswith("The authorization header is malformed; ")
    assert says in refusal.message


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA1", "X-Amz-Algorithm only supports"),
        ("X-Amz-Credential", "AKID/s3", "<YOUR-AKID>"),
        ("X-Amz-Credential", "AKID/20130524/us-east-1/s3/aws4_request", "Invalid credential date"),
        ("X-Amz-Date", "2013-05-24", "ISO8601 Long Format"),
        ("X-Amz-Date", "20139999T000000Z", "ISO8601 Long Format"),
        ("X-Amz-Expires", "soon", "should be a number"),
        ("X-Amz-Expires", "1_0", "should be a number"),
        ("X-Amz-Expires", "-1", "must be non-negative"),
        ("X-Amz-Expires", "0", "at least 1 second"),
        ("X-Amz-Expires", "604801", "less than a week"),
        ("X-Amz-Expires", "", "requires the X-Amz-Algorithm"),
        ("X-Amz-Signature", "", "requires the X-Amz-Algorithm"),
    ],
)
def test_a_malformed_presigned_query_says_what_is_wrong(name, value, says):
    request = presign()
    pairs = [pair.split("=", 1) for pair in request.raw_query.decode().split("&")]
    request.raw_query = "&".join(f"{n}={value if n == name else v}" for n, v in pairs).encode()

    refusal = refusal_of(request)

    assert refusal.code == "AuthorizationQueryParametersError"
    assert says in refusal.message


def test_a_signature_parameter_given_twice_is_refused():
    request = presign()
    request.raw_query += b"&X-Amz-Expires=604800"

    assert refusal_of(request).code == "AuthorizationQueryParametersError"


def test_a_missing_body_digest_is_refused():
    refusal = refusal_of(drop(sign(), b"x-amz-content-sha256"))

    assert refusal.code == "InvalidRequest"
    assert refusal.message == "Missing required header for this request: x-amz-content-sha256"


@pytest.mark.parametrize("value", [b"", b"abc", b"unsigned-payload", b"g" * 64, b"STREAMING"])
def test_a_body_digest_that_is_none_is_refused(value):
    refusal = refusal_of(replace(sign(), b"x-amz-content-sha256", value))

    assert refusal.code == "InvalidArgument"
    assert refusal.fields["ArgumentName"] == "x-amz-content-sha256"


@pytest.mark.parametrize("value", [b"", b"yesterday", b"20131324T000000Z", b"2013-05-24T99:00:00Z"])
def test_a_request_without_a_readable_date_is_refused(value):
    refusal = refusal_of(replace(sign(), b"x-amz-date", value))

    assert refusal.code == "AccessDenied"
    assert refusal.message == "AWS authentication requires a valid Date or x-amz-date header"


def test_the_date_header_serves_where_x_amz_date_is_missing():
    request = sign(headers={"Date": "to be replaced by the signer"})

    assert request.header(b"x-amz-date") is None
    assert verify(request).claim.access_key == "AKID"


# Verification.


def test_the_secret_may_be_a_secret_key():
    assert verify(sign(), secret=SecretKey(SECRET.encode())).claim.access_key == "AKID"


def test_a_signed_body_digest_comes_out():
    verified = verify(sign())

    assert verified.payload is signature.Payload.HASH
    assert verified.body_sha256 == hashlib.sha256(b"").digest()


def test_a_presigned_request_may_sign_a_body_digest():
    digest = hashlib.sha256(b"body").hexdigest()

    verified = verify(presign(headers={"X-Amz-Content-SHA256": digest}))

    assert verified.body_sha256 == bytes.fromhex(digest)


def test_a_presigned_url_may_say_in_its_query_that_the_body_is_unsigned():
    # The SDK for JavaScript does.
    verified = verify(presign(path="/bucket/key?X-Amz-Content-Sha256=UNSIGNED-PAYLOAD"))

    assert verified.payload is signature.Payload.UNSIGNED


def test_a_presigned_url_may_not_be_given_a_digest_afterwards():
    request = presign()
    request.raw_query += b"&X-Amz-Content-Sha256=" + hashlib.sha256(b"").hexdigest().encode()

    assert refusal_of(request).code == "SignatureDoesNotMatch"


def test_runs_of_blanks_in_a_header_count_as_one():
    request = sign(headers={"x-amz-meta-a": "one two"})

    assert verify(replace(request, b"x-amz-meta-a", b" one \t two  "))


def test_repeated_headers_are_trimmed_each_and_joined():
    request = drop(sign(headers={"x-amz-meta-a": "1,2"}), b"x-amz-meta-a")
    request.headers += [(b"x-amz-meta-a", b"1 "), (b"x-amz-meta-a", b" 2")]

    assert verify(request)


def test_empty_pairs_in_a_query_do_not_count():
    request = sign(path="/bucket?a=1&b=2")
    request.raw_query = b"&b=2&&a=1&"

    assert verify(request)


def test_the_whole_body_serves_where_a_service_sends_no_digest():
    request = drop(sign(service="sts"), b"x-amz-content-sha256")
    names = b"host;x-amz-content-sha256;x-amz-date"
    header = request.header(b"authorization").replace(names, b"host;x-amz-date")
    replace(request, b"authorization", header)

    claim = signature.claim(request, body=b"Action=GetCallerIdentity")

    assert claim.payload_hash == hashlib.sha256(b"Action=GetCallerIdentity").hexdigest()


@pytest.mark.parametrize(
    ("field", "value"),
    [("method", "PUT"), ("raw_path", b"/bucket/other"), ("raw_query", b"versionId=1")],
)
def test_a_changed_request_is_refused(field, value):
    request = sign()
    setattr(request, field, value)

    assert refusal_of(request).code == "SignatureDoesNotMatch"


def test_a_changed_signed_header_is_refused():
    request = replace(sign(headers={"Range": "bytes=0-1"}), b"range", b"bytes=0-2")

    assert refusal_of(request).code == "SignatureDoesNotMatch"


def test_a_signature_outside_ascii_is_refused_as_any_other():
    request = sign()
    header = request.header(b"authorization")
    start = header.index(b"Signature=") + len(b"Signature=")

    refusal = refusal_of(replace(request, b"authorization", header[:start] + b"\xe9" * 64))

    assert refusal.code == "SignatureDoesNotMatch"


def test_a_mismatch_shows_what_was_signed():
    request = sign()
    request.method = "PUT"

    fields = refusal_of(request).fields

    assert fields["AWSAccessKeyId"] == "AKID"
    assert fields["CanonicalRequest"].startswith("PUT\n/bucket/key\n\nhost:localhost:9000\n")
    assert bytes.fromhex(fields["CanonicalRequestBytes"]).decode() == fields["CanonicalRequest"]
    assert bytes.fromhex(fields["StringToSignBytes"]).decode() == fields["StringToSign"]
    assert fields["SignatureProvided"] == signature.claim(request).signature


@pytest.mark.parametrize("prefix", ["", "x-amz-copy-source-"])
@pytest.mark.parametrize("where", ["header", "presigned header", "query"])
def test_a_mismatch_shows_no_customer_key(prefix, where):
    name = KEY_HEADER.replace("x-amz-", prefix or "x-amz-")
    secrets = {name: CUSTOMER_KEY, f"{name}-MD5": "bWQ1b2ZrZXk=", "X-Amz-Security-Token": "tkn"}
    if where == "header":
        request = sign(headers=secrets)
    elif where == "presigned header":
        request = presign(headers=secrets)
    else:
        query = "&".join(f"{n}={v.replace('=', '%3D')}" for n, v in secrets.items())
        request = sign(path=f"/bucket/key?{query}")
    request.method = "DELETE"

    fields = refusal_of(request).fields

    shown = fields["CanonicalRequest"] + bytes.fromhex(fields["CanonicalRequestBytes"]).decode()
    assert name in shown.lower()
    for secret in (CUSTOMER_KEY, CUSTOMER_KEY[:-1], "bWQ1b2ZrZXk", "tkn"):
        assert secret not in shown
        assert secret not in "".join(fields.values())


def test_a_wrong_region_is_refused_and_names_the_right_one():
    refusal = refusal_of(sign(region="eu-west-1"))

    assert refusal.code == "AuthorizationHeaderMalformed"
    assert refusal.message == (
        "The authorization header is malformed; the region 'eu-west-1' is wrong; "
        "expecting 'us-east-1'"
    )
    assert refusal.fields["Region"] == "us-east-1"


def test_a_wrong_region_in_a_presigned_url_is_refused():
    refusal = refusal_of(presign(region="eu-west-1"))

    assert refusal.code == "AuthorizationQueryParametersError"
    assert refusal.message.endswith("the region 'eu-west-1' is wrong; expecting 'us-east-1'")


def test_a_wrong_service_is_refused():
    refusal = refusal_of(sign(service="sts"))

    assert refusal.code == "AuthorizationHeaderMalformed"
    assert 'incorrect service "sts". This endpoint belongs to "s3".' in refusal.message


def test_another_service_can_be_asked_for():
    assert verify(sign(service="sts"), service="sts").claim.service == "sts"


@pytest.mark.parametrize("minutes", [15, -15])
def test_a_clock_may_be_a_quarter_of_an_hour_off(minutes):
    assert verify(sign(), after=timedelta(minutes=minutes))


@pytest.mark.parametrize("seconds", [901, -901])
def test_a_clock_further_off_is_refused(seconds):
    refusal = refusal_of(sign(), after=timedelta(seconds=seconds))

    assert refusal.code == "RequestTimeTooSkewed"
    assert refusal.fields.keys() == {"RequestTime", "ServerTime", "MaxAllowedSkewMilliseconds"}
    assert refusal.fields["MaxAllowedSkewMilliseconds"] == "900000"


def test_a_presigned_request_lives_to_its_last_second():
    assert verify(presign(expires=60), after=timedelta(seconds=59))


def test_an_expired_presigned_request_is_refused():
    refusal = refusal_of(presign(expires=60), after=timedelta(seconds=60))

    assert (refusal.code, refusal.message) == ("AccessDenied", "Request has expired")
    assert refusal.fields.keys() == {"X-Amz-Expires", "Expires", "ServerTime"}


def test_a_presigned_request_from_the_future_is_refused():
    refusal = refusal_of(presign(), after=timedelta(minutes=-16))

    assert (refusal.code, refusal.message) == ("AccessDenied", "Request is not yet valid")


@pytest.mark.parametrize("make", [sign, presign])
def test_an_amz_header_that_is_not_signed_is_refused(make):
    request = make()
    request.headers.append((b"x-amz-acl", b"public-read"))

    refusal = refusal_of(request)

    assert refusal.code == "AccessDenied"
    assert refusal.fields == {"HeadersNotSigned": "x-amz-acl"}


def test_a_host_that_is_not_signed_is_refused():
    request = sign()
    header = request.header(b"authorization").replace(b"SignedHeaders=host;", b"SignedHeaders=")

    refusal = refusal_of(replace(request, b"authorization", header))

    assert refusal.fields == {"HeadersNotSigned": "host"}


# Keys and chunks.


def test_a_changed_secret_is_noticed_although_its_key_is_remembered():
    keys = signing.SigningKeys()
    request = sign()
    verify(request, keys=keys)

    assert refusal_of(request, keys=keys, secret="another").code == "SignatureDoesNotMatch"
    assert verify(request, keys=keys)


def test_only_so_many_keys_are_remembered_and_the_oldest_goes_first():
    keys = signing.SigningKeys(size=2)
    claims = {region: signature.claim(sign(region=region)) for region in "abc"}
    first = {region: keys.derive(claims[region], b"s") for region in "aba"}

    keys.derive(claims["c"], b"s")

    assert keys.derive(claims["a"], b"s") is first["a"]
    assert keys.derive(claims["b"], b"s") is not first["b"]
    assert keys.derive(claims["b"], b"s").digest(b"m") == first["b"].digest(b"m")


def test_chunks_of_an_unsigned_body_have_no_verifier():
    with pytest.raises(ValueError, match="not signed"):
        verify(sign()).chunk_verifier()


def test_a_chunk_signed_for_another_place_in_the_body_is_refused():
    # Two equal chunks have different signatures, since each covers the one before.
    request = sign()
    claim = signature.claim(request)
    first = signature.ChunkVerifier(claim, mac.Keyed(b"k" * 32))
    first.update(b"data")
    with pytest.raises(Refused) as refusal:
        first.end_chunk(b"0" * 64)
    right = _computed(refusal.value, b"k" * 32)
    again = signature.ChunkVerifier(claim, mac.Keyed(b"k" * 32))
    again.update(b"data")
    again.end_chunk(right)
    again.update(b"data")

    with pytest.raises(Refused):
        again.end_chunk(right)


def _computed(refusal, key):

    return hmac.digest(key, refusal.fields["StringToSign"].encode(), "sha256").hex().encode()


def test_times_are_compared_in_any_zone():
    request = sign()
    claim = signature.claim(request)
    now = claim.signed_at.astimezone(tz=datetime.now().astimezone().tzinfo)

    assert signature.verify(
        claim, request, SECRET, now=now, region="us-east-1", keys=signing.SigningKeys()
    )
