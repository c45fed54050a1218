"""Browser forms: boto3 makes the policies, the bodies are written by hand."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest

HOST = "127.0.0.1:9"
ACCESS_KEY, SECRET_KEY = "rootaccess", "root-secret-for-tests"
BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
ETAG = hashlib.md5(b"content", usedforsecurity=False).hexdigest()


def part(name, value, *, filename=None):
    value = value if isinstance(value, bytes) else value.encode()
    named = f'; filename="{filename}"' if filename is not None else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def body_of(fields, content=b"content", *, filename="photo.jpg", after=()):
    """Return the body of a form: pairs, then the file, then what a page may have after it."""
    pieces = [part(name, value) for name, value in fields]
    if content is not None:
        pieces.append(part("file", content, filename=filename))
    pieces += [part(name, value) for name, value in after]
    return b"".join([*pieces, f"--{BOUNDARY}--\r\n".encode()])


def post(store, fields, content=b"content", *, bucket="bucket", headers=None, secure=True, **form):
    pairs = fields.items() if isinstance(fields, dict) else fields
    body = body_of(pairs, content, **form)
    sent = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"} | (headers or {})
    return store.ask("POST", f"/{bucket}", sent, body, who=None, secure=secure)


def signed(store, fields=(), conditions=(), *, key="photos/a.jpg", **options):
    """Return the fields of a form that boto3 signed, the given ones among them."""
    # By default boto3 signs forms as version 2 has it.
    made = store.client(signature_version="s3v4").generate_presigned_post(
        "bucket", key, Fields=dict(fields), Conditions=list(conditions), **options
    )
    return made["fields"]


def signed_2(document, *, key="photos/a.jpg", secret=SECRET_KEY, **fields):
    """Return the fields of a form that is signed as version 2 has it, over any document."""
    text = document if isinstance(document, str) else json.dumps(document)
    policy = base64.b64encode(text.encode())
    signature = base64.b64encode(hmac.digest(secret.encode(), policy, "sha1"))
    return {
        "key": key,
        "AWSAccessKeyId": ACCESS_KEY,
        "policy": policy,
        "signature": signature,
        **fields,
    }


def document(*conditions, expires=timedelta(hours=1), **members):
    moment = datetime.now(UTC) + expires
    return {
        "expiration": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "conditions": [{"bucket": "bucket"}, ["starts-with", "$key", ""], *conditions],
        **members,
    }


def test_a_form_stores_its_file(bucket):
    answer = post(bucket, signed(bucket))

    assert answer.status == 204
    assert answer.headers["location"] == f"https://{HOST}/bucket/photos%2Fa.jpg"
    assert answer.headers["etag"] == f'"{ETAG}"'
    got = bucket.ask("GET", "/bucket/photos/a.jpg")
    assert got.body == b"content"
    assert got.headers["content-type"] == "binary/octet-stream"
    assert answer.headers["x-amz-server-side-encryption"] == "AES256"


def test_fields_say_what_headers_say(bucket):
    fields = {
        "Content-Type": "text/plain",
        "Cache-Control": "no-store",
        "Content-Disposition": "inline",
        "Expires": "Wed, 21 Oct 2026 07:28:00 GMT",
        "x-amz-meta-Kind": "film",
        "x-amz-storage-class": "STANDARD",
        "x-amz-website-redirect-location": "/elsewhere",
        "acl": "bucket-owner-full-control",
        "tagging": "<Tagging><TagSet><Tag><Key>a b</Key><Value>+ü</Value></Tag></TagSet></Tagging>",
    }
    answer = post(bucket, signed(bucket, fields, [{name: text} for name, text in fields.items()]))

    assert answer.status == 204, answer.body
    got = bucket.ask("GET", "/bucket/photos/a.jpg")
    assert got.headers["content-type"] == "text/plain"
    assert got.headers["cache-control"] == "no-store"
    assert got.headers["content-disposition"] == "inline"
    assert got.headers["expires"] == "Wed, 21 Oct 2026 07:28:00 GMT"
    assert got.headers["x-amz-meta-kind"] == "film"
    assert got.headers["x-amz-website-redirect-location"] == "/elsewhere"
    tags = bucket.client().get_object_tagging(Bucket="bucket", Key="photos/a.jpg")["TagSet"]
    assert tags == [{"Key": "a b", "Value": "+ü"}]


def test_headers_of_the_request_that_brings_the_form_say_nothing_of_the_object(bucket):
    headers = {"x-amz-meta-kind": "film", "cache-control": "no-store", "x-amz-acl": "public-read"}

    assert post(bucket, signed(bucket), headers=headers).status == 204
    got = bucket.ask("GET", "/bucket/photos/a.jpg")
    assert "x-amz-meta-kind" not in got.headers
    assert "cache-control" not in got.headers


@pytest.mark.parametrize(
    ("filename", "stored"),
    [("photo.jpg", "photo.jpg"), (r"C:\pictures\a b.jpg", "a b.jpg"), ("up/ü.jpg", "ü.jpg")],
)
def test_the_file_s_own_name_can_be_part_of_the_key(bucket, filename, stored):
    fields = signed(
        bucket,
        {"x-amz-meta-was": "${filename}!"},
        [["starts-with", "$x-amz-meta-was", ""]],
        key="photos/${filename}",
    )

    assert post(bucket, fields, filename=filename).status == 204
    listed = bucket.client().list_objects_v2(Bucket="bucket")["Contents"]
    assert [entry["Key"] for entry in listed] == [f"photos/{stored}"]
    head = bucket.client().head_object(Bucket="bucket", Key=f"photos/{stored}")
    assert head["Metadata"]["was"].encode("latin-1").decode() == f"{stored}!"


def test_a_file_without_a_name_leaves_the_key_as_it_is(bucket):
    fields = signed(bucket, key="photos/${filename}")

    assert post(bucket, fields, filename=None).status == 204
    assert bucket.ask("GET", "/bucket/photos/%24%7Bfilename%7D").body == b"content"


def test_parameters_of_the_url_say_nothing_either(bucket):
    """A policy covers the form's fields: a parameter of the URL must not get around it."""
    body = body_of(signed(bucket).items())
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    target = "/bucket?x-amz-meta-kind=film&x-amz-acl=public-read&x-amz-tagging=a%3Db"

    assert bucket.ask("POST", target, headers, body, who=None).status == 204
    got = bucket.ask("GET", "/bucket/photos/a.jpg")
    assert "x-amz-meta-kind" not in got.headers
    assert "x-amz-tagging-count" not in got.headers


# What is answered.


def test_201_has_a_document(bucket):
    fields = signed(
        bucket, {"success_action_status": "201"}, [{"success_action_status": "201"}], key="ü/a&b"
    )
    answer = post(bucket, fields)

    assert answer.status == 201
    assert answer.headers["content-type"] == "application/xml"
    assert b"xmlns" not in answer.body
    assert answer.document.tag == "PostResponse"
    assert answer.text("Bucket") == "bucket"
    assert answer.text("Key") == "ü/a&b"
    assert answer.text("ETag") == answer.headers["etag"]
    assert answer.text("Location") == f"https://{HOST}/bucket/%C3%BC%2Fa%26b"
    assert answer.headers["location"] == answer.text("Location")


@pytest.mark.parametrize(("asked", "status"), [("200", 200), ("204", 204), ("404", 204)])
def test_other_statuses_have_none(bucket, asked, status):
    fields = signed(bucket, {"success_action_status": asked}, [{"success_action_status": asked}])
    answer = post(bucket, fields)

    assert (answer.status, answer.body) == (status, b"")


@pytest.mark.parametrize("field", ["success_action_redirect", "redirect"])
@pytest.mark.parametrize(
    ("page", "location"),
    [
        ("http://example.com/done", "http://example.com/done?{}"),
        ("https://example.com/d?a=b c#top", "https://example.com/d?a=b%20c&{}#top"),
    ],
)
def test_a_form_can_send_the_browser_elsewhere(bucket, field, page, location):
    answer = post(bucket, signed(bucket, {field: page}, [{field: page}]))

    added = f"bucket=bucket&key=photos%2Fa.jpg&etag=%22{ETAG}%22"
    assert (answer.status, answer.body) == (303, b"")
    assert answer.headers["location"] == location.format(added)


@pytest.mark.parametrize("page", ["/done", "javascript:alert(1)", "https://", "http://[::1", ""])
def test_it_cannot_send_it_to_what_is_no_page(bucket, page):
    fields = signed(
        bucket, {"success_action_redirect": page}, [["starts-with", "$success_action_redirect", ""]]
    )

    assert post(bucket, fields).status == 204


def test_a_form_can_be_sent_to_the_bucket_s_own_host(bucket):
    headers = {"host": "bucket.localhost:9"}
    sent = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"} | headers
    body = body_of(signed(bucket).items())
    answer = bucket.ask("POST", "/", sent, body, who=None, host="bucket.localhost:9")

    assert answer.status == 204
    assert answer.headers["location"] == "https://bucket.localhost:9/photos%2Fa.jpg"


# Encryption.


def test_a_form_can_bring_a_customer_key(bucket, key):
    """S002.35."""
    fields = key.headers()
    conditions = [{name.lower(): text} for name, text in fields.items()]
    answer = post(bucket, signed(bucket, fields, conditions))

    assert answer.status == 204, answer.body
    assert answer.headers["x-amz-server-side-encryption-customer-algorithm"] == "AES256"
    assert answer.headers["etag"] != f'"{ETAG}"'
    assert bucket.ask("GET", "/bucket/photos/a.jpg").status == 400
    assert bucket.ask("GET", "/bucket/photos/a.jpg", key.headers()).body == b"content"


def test_a_customer_key_in_a_form_comes_over_tls_only(bucket, key):
    """S002.10."""
    fields = key.headers()
    conditions = [{name.lower(): text} for name, text in fields.items()]
    answer = post(bucket, signed(bucket, fields, conditions), secure=False)

    assert answer.fault.code == "InvalidRequest"
    assert "secure connection" in answer.fault.message
    assert bucket.remains[2] == set()


def test_a_customer_key_in_a_form_must_be_right(bucket, key, other_key):
    fields = key.headers(md5=other_key.md5)
    conditions = [{name.lower(): text} for name, text in fields.items()]

    assert post(bucket, signed(bucket, fields, conditions)).fault.code == "InvalidArgument"
    assert bucket.remains[2] == set()


def test_no_refusal_shows_a_customer_key(bucket, key, other_key):
    fields = key.headers()
    conditions = [{name.lower(): text} for name, text in fields.items()]
    good = signed(bucket, fields, conditions)
    of_other = signed(bucket, {}, [{n.lower(): t} for n, t in other_key.headers().items()])
    for bad in (
        good | {"x-amz-signature": "0" * 64},
        {**of_other, **fields},
        good | {"x-amz-meta-extra": "x"},
        {name: text for name, text in good.items() if name != "key"},
    ):
        answer = post(bucket, bad)
        assert answer.status in (400, 403)
        for secret in (key.encoded, key.md5, other_key.encoded, other_key.md5):
            assert secret.encode() not in answer.body
            assert base64.b64encode(secret.encode())[4:-8] not in answer.body


def test_a_form_can_ask_for_a_mode(bucket):
    name = "x-amz-server-side-encryption"

    assert post(bucket, signed(bucket, {name: "AES256"}, [{name: "AES256"}])).status == 204
    bad = post(bucket, signed(bucket, {name: "ROT13"}, [{name: "ROT13"}]))
    assert bad.fault.code == "InvalidArgument"


def test_a_checksum_in_a_form_is_checked_and_kept(bucket):
    name = "x-amz-checksum-sha256"
    good = base64.b64encode(hashlib.sha256(b"content").digest()).decode()
    answer = post(bucket, signed(bucket, {name: good}, [{name: good}]))
    assert answer.status == 204
    assert answer.headers[name] == good

    bad = base64.b64encode(bytes(32)).decode()
    for value, code in ((bad, "BadDigest"), ("sailorjerry", "InvalidRequest")):
        fields = signed(bucket, {name: value}, [{name: value}], key="no")
        assert post(bucket, fields).fault.code == code
    md5 = {"Content-MD5": base64.b64encode(bytes(16)).decode()}
    fields = signed(bucket, md5, [md5], key="no")
    assert post(bucket, fields).fault.code == "BadDigest"
    assert bucket.remains[2] == {("bucket", b"photos/a.jpg")}


def test_a_checksum_algorithm_in_a_form_is_computed(bucket):
    name = "x-amz-checksum-algorithm"
    answer = post(bucket, signed(bucket, {name: "SHA1"}, [{name: "SHA1"}]))

    assert answer.status == 204
    assert answer.headers["x-amz-checksum-sha1"]


# Signatures.


def test_both_versions_of_the_signature_are_verified(bucket):
    assert post(bucket, signed_2(document())).status == 204
    made = bucket.client(signature_version="s3").generate_presigned_post("bucket", "by-boto3")
    assert "AWSAccessKeyId" in made["fields"]
    assert post(bucket, made["fields"]).status == 204


def test_names_of_fields_have_no_case(bucket):
    fields = {name.upper(): text for name, text in signed(bucket).items()}

    assert post(bucket, fields).status == 204


def test_a_wrong_signature_is_refused_with_what_was_signed(bucket):
    for good, name in ((signed(bucket), "x-amz-signature"), (signed_2(document()), "signature")):
        answer = post(bucket, good | {name: "wrong"})

        assert (answer.status, answer.fault.code) == (403, "SignatureDoesNotMatch")
        policy = good["policy"] if isinstance(good["policy"], str) else good["policy"].decode()
        assert answer.fault.fields == {
            "AWSAccessKeyId": ACCESS_KEY,
            "StringToSign": policy,
            "SignatureProvided": "wrong",
            "StringToSignBytes": policy.encode().hex(" "),
        }


def test_a_changed_policy_is_not_the_signed_one(bucket):
    fields = signed(bucket)

    answer = post(bucket, fields | {"policy": fields["policy"][:-2]})

    assert answer.fault.code == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("dropped", "named"),
    [
        (["x-amz-signature"], "X-Amz-Signature"),
        (["x-amz-algorithm", "x-amz-credential"], "X-Amz-Algorithm"),
        (["x-amz-date"], "X-Amz-Date"),
        (["policy"], "Policy"),
    ],
)
def test_a_signature_in_part_is_refused(bucket, dropped, named):
    fields = {name: text for name, text in signed(bucket).items() if name not in dropped}

    answer = post(bucket, fields)

    assert (answer.status, answer.fault.code) == (400, "InvalidArgument")
    assert f"field named '{named}'.  If" in answer.fault.message
    assert answer.fault.fields == {"ArgumentName": named, "ArgumentValue": ""}


@pytest.mark.parametrize("dropped", ["AWSAccessKeyId", "signature"])
def test_so_is_one_of_version_2(bucket, dropped):
    fields = signed_2(document())
    del fields[dropped]

    answer = post(bucket, fields)

    assert answer.fault.code == "InvalidArgument"
    assert answer.fault.fields["ArgumentName"].lower() == dropped.lower()


def test_two_signatures_are_one_too_many(bucket):
    assert post(bucket, signed_2(document()) | signed(bucket)).fault.code == "InvalidArgument"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("x-amz-algorithm", "AWS4-HMAC-SHA1", "only supports"),
        ("x-amz-credential", "rootaccess/x", "mal-formed"),
        ("x-amz-credential", "rootaccess/20200101/us-east-1/s3/aws4_request", "credential date"),
        ("x-amz-date", "2026-01-01", "ISO8601"),
    ],
)
def test_a_scope_that_cannot_be_is_refused(bucket, field, value, says):
    answer = post(bucket, signed(bucket) | {field: value})

    assert (answer.status, answer.fault.code) == (400, "InvalidArgument")
    assert says in answer.fault.message


def test_a_form_for_another_region_or_service_is_refused(bucket):
    made = bucket.client(region="eu-west-1", signature_version="s3v4").generate_presigned_post(
        "bucket", "k"
    )["fields"]
    answer = post(bucket, made)
    assert answer.fault.message == "the region 'eu-west-1' is wrong; expecting 'us-east-1'"
    assert answer.fault.fields["Region"] == "us-east-1"

    credential = made["x-amz-credential"].replace("eu-west-1/s3", "us-east-1/sts")
    answer = post(bucket, made | {"x-amz-credential": credential})
    assert "incorrect service" in answer.fault.message


def test_an_unknown_access_key_is_refused(bucket):
    answer = post(bucket, signed_2(document()) | {"AWSAccessKeyId": "nobody"})

    assert (answer.status, answer.fault.code) == (403, "InvalidAccessKeyId")


def test_nobody_may_upload_by_a_form_that_nobody_signed(bucket):
    for fields in ({"key": "a"}, {"key": "a", "policy": signed(bucket)["policy"]}):
        answer = post(bucket, fields)

        assert (answer.status, answer.fault.code) == (403, "AccessDenied")


def test_anybody_may_upload_by_a_form_where_a_list_says_so(store):
    client = store.client()
    client.create_bucket(Bucket="bucket", ObjectOwnership="ObjectWriter")
    client.delete_public_access_block(Bucket="bucket")
    client.put_bucket_acl(Bucket="bucket", ACL="public-read-write")

    fields = {"key": "a", "acl": "public-read", "success_action_status": "201"}
    answer = post(store, fields)

    assert answer.status == 201, answer.body
    assert store.ask("GET", "/bucket/a", who=None).body == b"content"
    # Nobody owns it, so a stranger cannot change who may see it.
    changed = store.ask("PUT", "/bucket/a?acl", {"x-amz-acl": "private"}, who=None)
    assert changed.status == 403


def test_a_form_of_somebody_else_is_refused(bucket):
    stranger = bucket.add_user("alice", "aliceaccess", "alice-secret-for-tests")
    made = bucket.client(*stranger).generate_presigned_post("bucket", "k")["fields"]

    assert post(bucket, made).fault.code == "AccessDenied"


# Policies.


def test_every_field_must_be_covered(bucket):
    for extra in ({"acl": "bucket-owner-full-control"}, {"x-amz-meta-A": "b"}, {"submit": "Send"}):
        answer = post(bucket, signed(bucket) | extra)

        (name,) = extra
        assert (answer.status, answer.fault.code) == (403, "AccessDenied")
        assert answer.fault.message == f"Invalid according to Policy: Extra input fields: {name}"
    assert post(bucket, signed(bucket) | {"x-ignore-me": "x"}).status == 204
    assert post(bucket, signed(bucket), after=[("submit", "Send")]).status == 204


def test_the_bucket_is_a_field_that_must_be_covered(bucket):
    bare = {**document(), "conditions": [["starts-with", "$key", ""]]}

    answer = post(bucket, signed_2(bare))

    assert answer.fault.message == "Invalid according to Policy: Extra input fields: bucket"


def test_a_form_for_another_bucket_is_refused_whatever_it_says(bucket):
    bucket.ask("PUT", "/elsewhere")

    answer = post(bucket, signed(bucket) | {"bucket": "bucket"}, bucket="elsewhere")

    assert answer.fault.message == (
        'Invalid according to Policy: Policy Condition failed: ["eq", "$bucket", "bucket"]'
    )


def test_an_expired_policy_is_refused(bucket):
    answer = post(bucket, signed_2(document(expires=timedelta(seconds=-1))))

    assert (answer.status, answer.fault.code) == (403, "AccessDenied")
    assert answer.fault.message == "Invalid according to Policy: Policy expired."


def test_a_policy_that_cannot_be_read_is_refused(bucket):
    answer = post(bucket, signed_2("no policy"))

    assert (answer.status, answer.fault.code) == (400, "InvalidPolicyDocument")
    assert answer.fault.message == "Invalid Policy: Invalid JSON."


@pytest.mark.parametrize(
    ("size", "code", "fields"),
    [
        (4, "EntityTooSmall", {"ProposedSize": "4", "MinSizeAllowed": "5"}),
        (5, None, {}),
        (10, None, {}),
        (11, "EntityTooLarge", {"ProposedSize": "11", "MaxSizeAllowed": "10"}),
    ],
)
@pytest.mark.parametrize("after", [[], [("submit", "Send")]])
def test_a_policy_can_limit_the_size(bucket, size, code, fields, after):
    fields_sent = signed(bucket, conditions=[["content-length-range", 5, 10]])
    answer = post(bucket, fields_sent, b"x" * size, after=after)

    if code is None:
        assert answer.status == 204
    else:
        assert (answer.status, answer.fault.code, answer.fault.fields) == (400, code, fields)
        assert bucket.remains[2] == set()


def test_a_file_that_must_be_too_large_is_refused_before_it_is_read(bucket):
    fields = signed(bucket, conditions=[["content-length-range", 0, 1000]])
    head = body_of(fields.items(), None).removesuffix(f"--{BOUNDARY}--\r\n".encode())
    head += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"\r\n\r\n'.encode()
    read = []

    def pieces():
        for piece in (head, *[b"x" * 65536] * 10):
            read.append(len(piece))
            yield piece

    headers = {
        "content-type": f"multipart/form-data; boundary={BOUNDARY}",
        "content-length": str(len(head) + 655360),
    }
    answer = bucket.ask("POST", "/bucket", headers, who=None, pieces=pieces())

    assert answer.fault.code == "EntityTooLarge"
    assert read == [len(head)]


# The form itself.


def test_post_is_for_forms(bucket):
    answer = bucket.ask("POST", "/bucket", {"content-type": "text/plain"}, b"x")

    assert (answer.status, answer.fault.code) == (412, "PreconditionFailed")
    condition = "Bucket POST must be of the enclosure-type multipart/form-data"
    assert answer.fault.fields["Condition"] == condition


def test_a_form_without_length_or_boundary_is_refused(bucket):
    headers = {"content-type": "multipart/form-data", "content-length": None}
    body = body_of(signed(bucket).items())
    assert bucket.ask("POST", "/bucket", headers, body).fault.code == "MalformedPOSTRequest"

    headers["content-type"] += f"; boundary={BOUNDARY}"
    answer = bucket.ask(
        "POST", "/bucket", headers, body, who=None, unsigned={"content-length": None}
    )
    assert (answer.status, answer.fault.code) == (411, "MissingContentLength")


def test_a_form_needs_a_key(bucket):
    fields = signed(bucket)
    del fields["key"]
    answer = post(bucket, fields)
    assert (answer.status, answer.fault.code) == (400, "InvalidArgument")
    assert answer.fault.fields == {"ArgumentName": "key", "ArgumentValue": ""}

    after = post(bucket, fields, after=[("key", "photos/a.jpg")])
    assert after.fault.fields["ArgumentName"] == "key"

    assert post(bucket, signed(bucket, key="k" * 1025)).fault.code == "KeyTooLongError"
    assert post(bucket, signed(bucket) | {"key": b"\xff"}).fault.code == "InvalidArgument"
    assert post(bucket, signed(bucket) | {"key": ""}).fault.code == "InvalidArgument"


@pytest.mark.parametrize("count", [0, 2])
def test_a_form_has_one_file(bucket, count):
    content, after = (None, []) if count == 0 else (b"x", [("file", "y")])
    answer = post(bucket, signed(bucket), content, after=after)

    assert (answer.status, answer.fault.code) == (400, "InvalidArgument")
    assert answer.fault.message == "POST requires exactly one file upload per request."
    assert answer.fault.fields == {"ArgumentName": "file", "ArgumentValue": str(count)}
    assert bucket.remains == (set(), set(), set())


def test_a_field_may_come_once(bucket):
    fields = [*signed(bucket).items(), ("KEY", "other")]

    assert post(bucket, fields).fault.fields == {"ArgumentName": "KEY"}


def test_fields_that_are_too_long_are_refused(bucket):
    answer = post(bucket, signed(bucket) | {"x-ignore-me": "x" * 20_480})

    assert (answer.status, answer.fault.code) == (400, "MaxPostPreDataLengthExceeded")
    assert answer.fault.fields == {"MaxPostPreDataLengthBytes": "20480"}


def test_a_form_that_ends_too_early_is_refused_and_leaves_nothing(bucket):
    body = body_of(signed(bucket).items(), b"x" * 100_000)
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    for size in (10, 300, len(body) - 50_000, len(body) - 4):
        answer = bucket.ask("POST", "/bucket", headers, body[:size], who=None)

        assert (answer.status, answer.fault.code) in (
            (400, "MalformedPOSTRequest"),
            (400, "InvalidArgument"),
        )
    assert bucket.remains == (set(), set(), set())


def test_a_field_cannot_smuggle_a_header(bucket):
    for fields in ({"x-amz-meta-a": "b\r\nx-evil: c"}, {"x-amz-meta-ü": "b"}):
        conditions = [["starts-with", f"${name}", ""] for name in fields]
        answer = post(bucket, signed(bucket, fields, conditions))

        assert answer.fault.code == "InvalidArgument"


def test_bad_tags_are_refused(bucket):
    for text in ("not-xml", "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>"):
        answer = post(bucket, signed(bucket, {"tagging": text}, [{"tagging": text}]))

        assert (answer.status, answer.fault.code) == (400, "MalformedXML")


def test_a_form_for_no_bucket_is_refused(bucket):
    answer = post(bucket, signed(bucket), bucket="nothere")

    # Its policy is for another bucket, and so says S3 before it looks for this one.
    assert answer.status == 403


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 1_000_003])
@pytest.mark.parametrize("piece", [7919, 10**9])
def test_a_file_of_any_size_arrives_whole_in_pieces_of_any_size(bucket, size, piece):
    content = bytes(index * 31 % 251 for index in range(1009)) * (size // 1009 + 1)
    content = content[:size]
    body = body_of(signed(bucket).items(), content, after=[("submit", "Send")])
    headers = {
        "content-type": f"multipart/form-data; boundary={BOUNDARY}",
        "content-length": str(len(body)),
    }
    pieces = [body[at : at + piece] for at in range(0, len(body), piece)]
    answer = bucket.ask("POST", "/bucket", headers, body, who=None, pieces=pieces)

    assert answer.status == 204
    got = bucket.ask("GET", "/bucket/photos/a.jpg")
    assert got.headers["content-length"] == str(size)
    assert got.body == content
