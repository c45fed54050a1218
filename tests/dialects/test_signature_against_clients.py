"""Signatures of other people's signers are accepted: botocore's and the AWS CRT's."""

import string
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

from awscrt import auth as crt_auth
from awscrt import http as crt_http
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.dialects.s3 import signature, signing
from strongroom.wire import message

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
HOST = "store.example:9000"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
paths = st.lists(
    texts | st.sampled_from(["..", ".", "", "a b", "a+b", "~", "%2F"]), max_size=4
).map(lambda parts: "/bucket/" + quote("/".join(parts), safe="/~"))
names = st.text("abcXYZ-", min_size=1, max_size=8)
queries = st.lists(st.tuples(names, texts), max_size=4, unique_by=lambda pair: pair[0]).map(
    lambda pairs: "&".join(f"{n}={quote(v, safe='~')}" for n, v in sorted(pairs))
)
values = st.text(
    string.ascii_letters + string.digits + string.punctuation + " ", min_size=1, max_size=20
).filter(lambda text: text.strip() == text)
headers = st.dictionaries(
    st.sampled_from(["Range", "Content-Type", "x-amz-meta-one", "x-amz-meta-two", "x-amz-acl"]),
    values,
)
methods = st.sampled_from(["GET", "PUT", "HEAD", "POST", "DELETE"])


def received(method, url, pairs):
    parts = urlsplit(url)
    return message.Request(
        method, parts.path.encode(), parts.query.encode(), pairs, None, secure=True
    )


def lowered(pairs):
    return [(name.lower().encode(), value.encode()) for name, value in pairs]


def verify(request):
    claim = signature.claim(request)
    return signature.verify(
        claim,
        request,
        SECRET,
        now=claim.signed_at,
        region="us-east-1",
        keys=signing.SigningKeys(),
    )


@given(methods, paths, queries, headers)
@settings(max_examples=100, deadline=None)
def test_botocores_headers_are_accepted(method, path, query, extra):
    signed = AWSRequest(method, f"https://{HOST}{path}?{query}", headers=extra)
    S3SigV4Auth(Credentials("AKID", SECRET), "s3", "us-east-1").add_auth(signed)

    request = received(
        method, signed.url, [(b"host", HOST.encode()), *lowered(signed.headers.items())]
    )

    assert verify(request).payload is signature.Payload.HASH


@given(
    methods, paths, queries, headers, st.none() | st.text(string.ascii_letters + "+/=", min_size=1)
)
@settings(max_examples=100, deadline=None)
def test_botocores_presigned_urls_are_accepted(method, path, query, extra, token):
    signed = AWSRequest(method, f"https://{HOST}{path}?{query}", headers=extra)
    credentials = Credentials("AKID", SECRET, token)
    S3SigV4QueryAuth(credentials, "s3", "us-east-1", 600).add_auth(signed)

    request = received(
        method, signed.url, [(b"host", HOST.encode()), *lowered(signed.headers.items())]
    )

    assert verify(request).claim.session_token == token


@given(methods, paths, queries, headers, st.booleans())
@settings(max_examples=100, deadline=None)
def test_the_crts_signatures_are_accepted(method, path, query, extra, presigned):
    target = f"{path}?{query}" if query else path
    pairs = [("host", HOST), *extra.items()]
    body_header = crt_auth.AwsSignedBodyHeaderType
    kind = crt_auth.AwsSignatureType
    config = crt_auth.AwsSigningConfig(
        algorithm=crt_auth.AwsSigningAlgorithm.V4,
        signature_type=kind.HTTP_REQUEST_QUERY_PARAMS if presigned else kind.HTTP_REQUEST_HEADERS,
        credentials_provider=crt_auth.AwsCredentialsProvider.new_static("AKID", SECRET),
        region="us-east-1",
        service="s3",
        date=datetime.now(UTC) - timedelta(days=30),
        use_double_uri_encode=False,
        should_normalize_uri_path=False,
        signed_body_value="UNSIGNED-PAYLOAD",
        signed_body_header_type=body_header.NONE
        if presigned
        else body_header.X_AMZ_CONTENT_SHA_256,
        expiration_in_seconds=600 if presigned else None,
    )
    signed = crt_auth.aws_sign_request(
        crt_http.HttpRequest(method, target, crt_http.HttpHeaders(pairs)), config
    ).result(timeout=10)

    request = received(method, f"https://{HOST}{signed.path}", lowered(list(signed.headers)))

    assert verify(request).payload is signature.Payload.UNSIGNED


@given(paths.filter(lambda path: "%" in path), queries)
@settings(max_examples=50, deadline=None)
def test_other_encodings_of_the_same_address_have_the_same_signature(path, query):
    # Lower-case digits, a plus for a blank in a query, an encoded tilde, a bare comma.
    signed = AWSRequest("GET", f"https://{HOST}{path}?{query}")
    S3SigV4Auth(Credentials("AKID", SECRET), "s3", "us-east-1").add_auth(signed)
    request = received(
        "GET", signed.url, [(b"host", HOST.encode()), *lowered(signed.headers.items())]
    )

    request.raw_path = _other(request.raw_path)
    request.raw_query = _other(request.raw_query).replace(b"%20", b"+")

    assert verify(request)


def _other(raw):
    digits = {f"%{n:02X}".encode(): f"%{n:02x}".encode() for n in range(256)}
    for usual, unusual in digits.items():
        raw = raw.replace(usual, unusual)
    return raw.replace(b"~", b"%7e").replace(b"%2c", b",").replace(b"%40", b"@")
