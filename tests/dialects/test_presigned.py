"""Presigned URLs as boto3 makes them, by either version, with customer keys and without.

S002.20, S002.21, S002.22, S002.23, S002.24: whoever uses a URL that was signed for SSE-C
brings the key; the algorithm, and nothing else of the triple, must be signed.
"""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import HmacV1Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from strongroom.dialects.s3 import protocol, signature_v2

HOST = "127.0.0.1:9"
VERSIONS = ("s3v4", "s3")
WEEK_S = 7 * 24 * 3600
SSE_C = "x-amz-server-side-encryption-customer"


def target_of(url):
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def presign(bucket, version):
    """Make the target of a presigned URL."""

    def make(operation, expires=600, method=None, **params):
        client = bucket.client(signature_version=version)
        return target_of(
            client.generate_presigned_url(
                operation, {"Bucket": "bucket", **params}, expires, method
            )
        )

    return make


def use(store, method, target, headers=None, body=b"", **options):
    return store.ask(method, target, headers, body, who=None, **options)


def test_a_url_stores_and_fetches_and_heads(bucket, presign):
    assert use(bucket, "PUT", presign("put_object", Key="a b/ü+~"), body=b"x").status == 200
    got = use(bucket, "GET", presign("get_object", Key="a b/ü+~"))
    assert (got.status, got.body) == (200, b"x")
    assert use(bucket, "HEAD", presign("head_object", Key="a b/ü+~")).status == 200
    assert use(bucket, "DELETE", presign("delete_object", Key="a b/ü+~")).status == 204


def test_a_url_is_for_one_method_and_one_key(bucket, presign):
    bucket.ask("PUT", "/bucket/key", body=b"x")
    target = presign("get_object", Key="key")

    for method, other in (("PUT", target), ("DELETE", target), ("GET", f"/bucket/k{target[8:]}")):
        answer = use(bucket, method, other)
        assert (answer.status, answer.fault.code) == (403, "SignatureDoesNotMatch")


def test_a_url_lists_a_bucket(bucket, version):
    bucket.ask("PUT", "/bucket/key", body=b"x")
    client = bucket.client(signature_version=version)
    url = client.generate_presigned_url("list_objects_v2", {"Bucket": "bucket"})

    answer = use(bucket, "GET", target_of(url))

    assert (answer.status, answer.text("KeyCount")) == (200, "1")


def test_overrides_of_headers_are_signed(bucket, presign):
    bucket.ask("PUT", "/bucket/key", body=b"x")
    target = presign("get_object", Key="key", ResponseContentType="text/x a")

    assert use(bucket, "GET", target).headers["content-type"] == "text/x a"
    assert use(bucket, "GET", target.replace("x%20a", "html")).status == 403
    bare = presign("get_object", Key="key")
    assert use(bucket, "GET", f"{bare}&response-content-type=text/html").status == 403


def test_a_url_for_a_part_uploads_that_part(bucket, presign):
    upload = bucket.client().create_multipart_upload(Bucket="bucket", Key="key")["UploadId"]
    target = presign("upload_part", Key="key", UploadId=upload, PartNumber=1)

    assert use(bucket, "PUT", target, body=b"part").status == 200
    assert use(bucket, "PUT", target.replace("partNumber=1", "partNumber=2")).status == 403


def test_what_a_url_says_about_the_object_counts(bucket, presign):
    target = presign(
        "put_object", Key="key", Metadata={"kind": "film"}, ACL="bucket-owner-full-control"
    )
    headers = {"x-amz-meta-kind": "film", "x-amz-acl": "bucket-owner-full-control"}

    assert use(bucket, "PUT", target, headers, b"x").status == 200
    assert bucket.client().head_object(Bucket="bucket", Key="key")["Metadata"] == {"kind": "film"}


def test_what_it_does_not_say_cannot_be_added(bucket, presign):
    target = presign("put_object", Key="key")

    for headers in ({"x-amz-acl": "private"}, {"x-amz-tagging": "a=b"}):
        assert use(bucket, "PUT", target, headers, b"x").status == 403
    added = use(bucket, "PUT", f"{target}&x-amz-acl=private", {}, b"x")
    assert (added.status, added.fault.code) == (403, "SignatureDoesNotMatch")


# Customer keys.


def test_only_the_algorithm_must_be_signed(bucket, presign, key):
    """S002.20, S002.21, S002.22."""
    target = presign("put_object", Key="key", SSECustomerAlgorithm="AES256")
    assert use(bucket, "PUT", target, key.headers(), b"private").status == 200

    get = presign("get_object", Key="key", SSECustomerAlgorithm="AES256")
    assert use(bucket, "GET", get, key.headers()).body == b"private"
    head = presign("head_object", Key="key", SSECustomerAlgorithm="AES256")
    assert use(bucket, "HEAD", head, key.headers()).status == 200


def test_a_multipart_upload_by_urls_takes_a_customer_key(bucket, presign, key):
    named = {"Key": "key", "SSECustomerAlgorithm": "AES256"}
    begun = use(bucket, "POST", presign("create_multipart_upload", **named), key.headers())
    upload = begun.text("UploadId")
    target = presign("upload_part", **named, UploadId=upload, PartNumber=1)
    etag = use(bucket, "PUT", target, key.headers(), b"part").headers["etag"]
    document = (
        f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
        "</CompleteMultipartUpload>"
    ).encode()
    done = use(
        bucket,
        "POST",
        presign("complete_multipart_upload", Key="key", UploadId=upload),
        {},
        document,
    )

    assert done.status == 200, done.body
    assert bucket.ask("GET", "/bucket/key", key.headers()).body == b"part"


def test_without_its_headers_a_url_of_a_sealed_object_opens_nothing(bucket, presign, key):
    """S002.23, S002.24."""
    bucket.ask("PUT", "/bucket/sealed", key.headers(), b"private")
    bucket.ask("PUT", "/bucket/open", body=b"public")
    assert use(bucket, "GET", presign("get_object", Key="open")).body == b"public"

    plain = use(bucket, "GET", presign("get_object", Key="sealed"))
    assert (plain.status, plain.fault.code) == (400, "InvalidRequest")
    signed = presign("get_object", Key="sealed", SSECustomerAlgorithm="AES256")
    assert use(bucket, "GET", signed).status in (400, 403)


def test_an_algorithm_that_is_not_signed_is_403(bucket, presign, key):
    """S002.21."""
    for method, operation in (("PUT", "put_object"), ("GET", "get_object")):
        answer = use(bucket, method, presign(operation, Key="key"), key.headers())

        assert answer.status == 403
        assert answer.fault.code in ("AccessDenied", "SignatureDoesNotMatch")
        assert key.encoded.encode() not in answer.body
        assert key.md5.encode() not in answer.body


def test_another_algorithm_than_the_signed_one_is_refused(bucket, presign, key):
    target = presign("put_object", Key="key", SSECustomerAlgorithm="AES256")

    assert use(bucket, "PUT", target, key.headers(algorithm="AES128")).status in (400, 403)
    assert bucket.remains[2] == set()


def test_a_customer_key_in_a_url_is_never_taken(bucket, presign, key):
    target = presign("put_object", Key="key", **key.options)

    if f"{SSE_C}-key=" in target:
        answer = use(bucket, "PUT", target, key.headers(), b"x")
        assert (answer.status, answer.fault.code) == (400, "InvalidArgument")
        assert key.encoded.encode() not in answer.body
    else:
        assert use(bucket, "PUT", target, key.headers(), b"x").status == 200


# Lifetimes.


def test_an_expired_url_opens_nothing(make_store):
    now_ms = [int(time.time() * 1000)]
    store = make_store(clock_ms=lambda: now_ms[0])
    store.ask("PUT", "/bucket")
    store.ask("PUT", "/bucket/key", body=b"x")
    for version in VERSIONS:
        client = store.client(signature_version=version)
        url = client.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "key"}, 60)
        assert use(store, "GET", target_of(url)).status == 200
        now_ms[0] += 600_000
        answer = use(store, "GET", target_of(url))
        now_ms[0] -= 600_000

        assert (answer.status, answer.fault.code) == (403, "AccessDenied")
        assert answer.fault.message == "Request has expired"
        assert {"Expires", "ServerTime"} <= answer.fault.fields.keys()


def test_a_url_may_live_for_a_week(presign, bucket, version):
    bucket.ask("PUT", "/bucket/key", body=b"x")
    assert use(bucket, "GET", presign("get_object", WEEK_S, Key="key")).status == 200

    answer = use(bucket, "GET", presign("get_object", WEEK_S + 60, Key="key"))

    assert answer.status == (400 if version == "s3v4" else 403)
    assert "less than a week" in answer.fault.message


@pytest.mark.parametrize("expires", [0, -7])
def test_a_url_must_live_at_all(presign, bucket, version, expires):
    bucket.ask("PUT", "/bucket/key", body=b"x")

    url = presign("get_object", Key="key")
    if version == "s3v4":
        url = url.replace("X-Amz-Expires=600", f"X-Amz-Expires={expires}")
    else:
        url = presign("get_object", expires, Key="key")
    answer = use(bucket, "GET", url)

    assert answer.status == (400 if version == "s3v4" else 403)


# Version 2 alone.


@pytest.fixture
def old(bucket):
    """Make the target of a URL of version 2."""

    def make(operation="get_object", **params):
        client = bucket.client(signature_version="s3")
        return target_of(
            client.generate_presigned_url(operation, {"Bucket": "bucket", "Key": "key", **params})
        )

    return make


def test_boto3_signs_urls_so_unless_told_otherwise(bucket):
    bucket.ask("PUT", "/bucket/key", body=b"x")
    url = bucket.client().generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "key"})

    assert "AWSAccessKeyId=" in url
    assert use(bucket, "GET", target_of(url)).body == b"x"


def test_the_bucket_of_the_host_is_signed(bucket):
    bucket.ask("PUT", "/bucket/key", body=b"x")
    url = bucket.client(
        signature_version="s3", s3={"addressing_style": "virtual"}, host="localhost:9"
    ).generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "key"})

    host = urlsplit(url).netloc
    assert host == "bucket.localhost:9"
    assert use(bucket, "GET", target_of(url), host=host).body == b"x"
    bucket.ask("PUT", "/other")
    assert use(bucket, "GET", target_of(url), host="other.localhost:9").status == 403


def test_a_signed_type_must_come_as_a_header(bucket, old):
    target = old("put_object", ContentType="text/x")

    assert use(bucket, "PUT", target, {"content-type": "text/x"}, b"x").status == 200
    assert use(bucket, "PUT", target, {"content-type": "text/html"}, b"x").status == 403
    assert bucket.ask("HEAD", "/bucket/key").headers["content-type"] == "text/x"


@pytest.mark.parametrize("dropped", ["AWSAccessKeyId", "Expires", "Signature"])
def test_a_url_that_is_signed_in_part_is_refused(bucket, old, dropped):
    path, _, query = old().partition("?")
    kept = "&".join(pair for pair in query.split("&") if not pair.startswith(dropped))

    answer = use(bucket, "GET", f"{path}?{kept}")

    assert (answer.status, answer.fault.code) == (403, "AccessDenied")
    assert "requires the Signature, Expires and AWSAccessKeyId" in answer.fault.message


def test_a_parameter_of_the_signature_may_come_once(bucket, old):
    assert use(bucket, "GET", f"{old()}&Expires=99999999999").status == 403


@pytest.mark.parametrize("expires", ["soon", "-1", "9" * 5000, "٣"])
def test_an_expiry_is_a_number(bucket, old, expires):
    path, _, query = old().partition("?")
    pairs = [pair for pair in query.split("&") if not pair.startswith("Expires")]

    answer = use(bucket, "GET", f"{path}?{'&'.join(pairs)}&Expires={quote(expires)}")

    assert (answer.status, answer.fault.code) == (403, "AccessDenied")


def test_two_signatures_are_one_too_many(bucket, old):
    bucket.ask("PUT", "/bucket/key", body=b"x")
    newer = bucket.client(signature_version="s3v4").generate_presigned_url(
        "get_object", {"Bucket": "bucket", "Key": "key"}
    )

    assert bucket.ask("GET", old()).fault.code == "InvalidArgument"
    both = f"{target_of(newer)}&{old().partition('?')[2]}"
    assert use(bucket, "GET", both).fault.code == "InvalidArgument"


def test_an_unknown_access_key_is_refused(bucket, old):
    answer = use(bucket, "GET", old().replace("rootaccess", "nobody"))

    assert (answer.status, answer.fault.code) == (403, "InvalidAccessKeyId")


def test_a_wrong_signature_is_told_with_what_is_signed_and_no_key(bucket, old, key):
    target = old("put_object", SSECustomerAlgorithm="AES256").replace("Signature=", "Signature=x")

    answer = use(bucket, "PUT", target, key.headers(), b"x")

    assert answer.fault.code == "SignatureDoesNotMatch"
    assert answer.fault.fields["StringToSign"].startswith("PUT\n")
    assert f"{SSE_C}-key:(redacted)" in answer.fault.fields["StringToSign"]
    assert key.encoded.encode() not in answer.body


def test_a_header_and_a_parameter_that_differ_are_refused(bucket, old):
    answer = use(bucket, "PUT", old("put_object", ACL="private"), {"x-amz-acl": "public-read"})

    assert (answer.status, answer.fault.code) == (403, "AccessDenied")


@pytest.mark.parametrize(
    ("more", "sent"),
    [
        (
            {"ServerSideEncryption": "aws:kms"},
            "x-amz-server-side-encryption%3Aaws=kms",
        ),
        (
            {"ACL": "private", "Tagging": "a=b"},
            "x-amz-acl%3Aprivate%0Ax-amz-tagging=a%3Db",
        ),
        (
            {"ACL": "private", "Tagging": "a=b"},
            "x-amz-acl=private%0Ax-amz-tagging%3Aa%3Db",
        ),
    ],
)
def test_signed_headers_cannot_be_hidden_in_a_parameter(bucket, old, more, sent):
    """Nothing is escaped where version 2 signs headers: the line of one can read as two."""
    query = old("put_object", **more).partition("?")[2]
    signature = [pair for pair in query.split("&") if not pair.startswith("x-amz-")]

    answer = use(bucket, "PUT", f"/bucket/key?{sent}&{'&'.join(signature)}", {}, b"x")

    assert (answer.status, answer.fault.code) == (403, "AccessDenied")
    assert bucket.ask("HEAD", "/bucket/key").status == 404


@pytest.mark.parametrize("hidden", ["versionId=V1", "versionId", "versionId&x"])
def test_signed_parameters_cannot_be_hidden_in_one_another(bucket, old, hidden):
    bucket.ask("PUT", "/bucket/key", body=b"x")

    answer = use(bucket, "GET", old(ResponseContentType=f"text/plain&{hidden}"))

    assert (answer.status, answer.fault.code) == (403, "AccessDenied")
    assert use(bucket, "GET", old(ResponseContentType="text/plain&versionIdea=1")).body == b"x"


# Version 2 in a header.


@pytest.fixture
def by_header(bucket):
    """Sign requests as version 2 does in a header; `bend` changes what is sent."""

    def ask(method, target, headers=(), body=b"", bend=dict, unsigned=()):
        request = AWSRequest(method, f"https://{HOST}{target}", headers=dict(headers), data=body)
        HmacV1Auth(Credentials("rootaccess", "root-secret-for-tests")).add_auth(request)
        sent = bend(dict(request.headers.items())) | dict(unsigned)
        return bucket.ask(method, target, sent, body, who=None)

    return ask


def test_a_header_of_version_2_is_verified(by_header, key):
    assert (
        by_header("PUT", "/bucket/a%20b", {"x-amz-meta-a": "b", **key.headers()}, b"x").status
        == 200
    )
    assert by_header("GET", "/bucket/a%20b", key.headers()).body == b"x"
    assert by_header("GET", "/bucket?acl").status == 200
    assert by_header("GET", "/bucket/").status == 200
    assert by_header("DELETE", "/bucket/a%20b").status == 204


def test_a_header_of_version_2_signs_everything(bucket, by_header, key):
    """Of a customer's key, too: only who uses somebody else's URL brings a key of their own."""
    for unsigned in ({"x-amz-acl": "private"}, {"content-type": "text/x"}, key.headers()):
        answer = by_header("PUT", "/bucket/key", {}, b"x", unsigned=unsigned)
        assert (answer.status, answer.fault.code) == (403, "SignatureDoesNotMatch")
    signed = {f"{SSE_C}-algorithm": "AES256"}
    assert by_header("PUT", "/bucket/key", signed, b"x", unsigned=key.headers()).status == 403
    assert bucket.remains[2] == set()


def test_its_date_may_stand_among_the_other_headers(bucket):
    date = format_datetime(datetime.now(UTC), usegmt=True)
    to_sign = f"GET\n\n\n\nx-amz-date:{date}\n/bucket".encode()
    digest = hmac.digest(b"root-secret-for-tests", to_sign, "sha1")
    authorization = f"AWS rootaccess:{base64.b64encode(digest).decode()}"

    for more in ({}, {"date": "yesterday"}):
        headers = {"authorization": authorization, "x-amz-date": date} | more
        assert use(bucket, "GET", "/bucket", headers).status == 200


@pytest.mark.parametrize(
    ("date", "code"),
    [
        ("yesterday", "AccessDenied"),
        (None, "AccessDenied"),
        ("Tue, 07 Jul 1950 21:53:04 GMT", "AccessDenied"),
        ("Tue, 07 Jul 2020 21:53:04 GMT", "RequestTimeTooSkewed"),
        ("Tue, 07 Jul 9999 21:53:04 GMT", "RequestTimeTooSkewed"),
    ],
)
def test_its_date_is_now(by_header, date, code):
    def bend(headers):
        return {n: v for n, v in headers.items() if n != "Date"} | ({"Date": date} if date else {})

    answer = by_header("GET", "/bucket", bend=bend)

    assert (answer.status, answer.fault.code) == (403, code)


@pytest.mark.parametrize("text", ["AWS HAHAHA", "AWS", "AWS :x", "AWS rootaccess:"])
def test_a_header_of_version_2_is_key_and_signature(by_header, text):
    answer = by_header("GET", "/bucket", bend=lambda headers: headers | {"Authorization": text})

    assert (answer.status, answer.fault.code) == (400, "InvalidArgument")
    assert "HAHAHA" not in answer.fault.message


def test_policies_are_told_how_a_request_was_signed(bucket):
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*Object",
                "Resource": "arn:aws:s3:::bucket/*",
                "Condition": {"StringEquals": {"s3:signatureversion": "AWS"}},
            }
        ],
    }
    alice = bucket.add_user("alice", "aliceaccess", "alice-secret-for-tests")
    owner = bucket.client(*alice)
    owner.create_bucket(Bucket="alices")
    policy = json.dumps(document).replace("bucket/*", "alices/*")
    owner.put_bucket_policy(Bucket="alices", Policy=policy)
    for version, status in (("s3", 403), ("s3v4", 404)):
        client = bucket.client(*alice, signature_version=version)
        url = client.generate_presigned_url("get_object", {"Bucket": "alices", "Key": "key"})
        assert use(bucket, "GET", target_of(url)).status == status
        form = client.generate_presigned_post("alices", "key")["fields"]
        parts = "".join(
            f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
            for name, text in (*form.items(), ("file", "x"))
        )
        headers = {"content-type": "multipart/form-data; boundary=b"}
        answer = use(bucket, "POST", "/alices", headers, f"{parts}--b--".encode())
        assert answer.status == (403 if version == "s3" else 204)
        owner.delete_object(Bucket="alices", Key="key")


@pytest.fixture
def session(bucket):
    """Temporary credentials of root."""
    made = bucket.query_client("sts", "rootaccess", "root-secret-for-tests").get_session_token()
    found = made["Credentials"]
    return found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]


def test_temporary_credentials_sign_urls_by_either_version(bucket, version, session):
    access_key, secret_key, token = session
    client = bucket.client(access_key, secret_key, token=token, signature_version=version)
    named = {"Bucket": "bucket", "Key": "key"}

    put = use(
        bucket, "PUT", target_of(client.generate_presigned_url("put_object", named)), {}, b"x"
    )
    target = target_of(client.generate_presigned_url("get_object", named))

    assert put.status == 200
    assert use(bucket, "GET", target).body == b"x"
    other = target.replace(quote(token, safe=""), quote(token[:-8] + "A" * 8, safe=""))
    assert use(bucket, "GET", other).fault.code == "InvalidToken"


def test_temporary_credentials_sign_headers_by_version_2(bucket, session):
    request = AWSRequest(method="GET", url=f"https://{HOST}/bucket", headers={})
    HmacV1Auth(Credentials(*session)).add_auth(request)

    assert use(bucket, "GET", "/bucket", dict(request.headers.items())).status == 200


def digest_in_url(secret_key, said):
    """Return the target of a PUT by version 2 that says in the URL what its body is."""
    expires = str(int(time.time()) + 600)
    to_sign = f"PUT\n\n\n{expires}\nx-amz-content-sha256:{said}\n/bucket/key"
    raw = hmac.digest(secret_key.encode(), to_sign.encode(), "sha1")
    signed = quote(base64.b64encode(raw).decode(), safe="")
    return (
        f"/bucket/key?AWSAccessKeyId=rootaccess&Signature={signed}&Expires={expires}"
        f"&x-amz-content-sha256={said}"
    )


@pytest.mark.parametrize(
    ("said", "body", "code"),
    [
        (hashlib.sha256(b"body").hexdigest(), b"body", None),
        (hashlib.sha256(b"body").hexdigest(), b"other", "XAmzContentSHA256Mismatch"),
        ("UNSIGNED-PAYLOAD", b"body", None),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"body", "AccessDenied"),
    ],
)
def test_what_a_url_of_version_2_says_of_the_body_is_checked(bucket, said, body, code):
    target = digest_in_url("root-secret-for-tests", said)

    answer = use(bucket, "PUT", target, {}, body)

    assert answer.status == 200 if code is None else answer.fault.code == code


def test_an_operator_can_block_version_2(make_store):
    store = make_store(signature_v2=False)
    store.ask("PUT", "/bucket")
    client = store.client(signature_version="s3")
    url = client.generate_presigned_url("list_objects", {"Bucket": "bucket"})

    answer = use(store, "GET", target_of(url))

    assert (answer.status, answer.fault.code) == (400, "InvalidRequest")


def test_every_parameter_that_tells_operations_apart_is_signed():
    # Younger than version 2, so SDKs leave them out; the listing is the same in both forms, and
    # what `id` names is named beside it.
    unsigned = {"list-type", "x-id", "id"}
    telling = {
        name
        for operation in map(protocol.MODEL.operations.__getitem__, protocol.HANDLERS)
        for name in (*(name for name, _ in operation.static_query), *operation.required_query)
    }

    assert {name.encode() for name in telling - unsigned} <= signature_v2.SIGNED_PARAMETERS
