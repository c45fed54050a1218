"""SSE-KMS and DSSE-KMS by request: headers, answers, errors, permissions. S003.3, S003.7."""

import base64
import hashlib
import json

import pytest

SSE = "x-amz-server-side-encryption"
KEY_ID, CONTEXT, BUCKET_KEY = (
    f"{SSE}-{name}" for name in ("aws-kms-key-id", "context", "bucket-key-enabled")
)
BODY = bytes(range(256)) * 400
KMS, DUAL = "aws:kms", "aws:kms:dsse"
BOTH = pytest.mark.parametrize("algorithm", [KMS, DUAL])
ALICE = ("aliceaccess", "alice-secret")
NOWHERE = "arn:aws:kms:us-east-1:000000000000:key/134f2428-cec1-4b25-a1ae-9048164dba47"
INCOMPATIBLE = (
    "Server Side Encryption with Customer provided key is incompatible with the encryption method"
    " specified"
)


def context(pairs):
    return base64.b64encode(json.dumps(pairs).encode()).decode()


def kms_headers(key=None, algorithm=KMS, **more):
    return {SSE: algorithm} | ({} if key is None else {KEY_ID: key}) | more


def fault(answer):
    found = answer.fault
    return found.status, found.code, found.message


@pytest.fixture
def arn(bucket):
    return bucket.add_kms_key(alias="alias/films")


@BOTH
@pytest.mark.parametrize(
    "form", ["{arn}", "00000000-0000-4000-8000-000000000001", "alias/films", "{alias}"]
)
def test_a_key_may_be_named_in_every_form_and_is_shown_by_its_arn(bucket, arn, algorithm, form):
    alias = arn.replace("key/00000000-0000-4000-8000-000000000001", "alias/films")
    named = form.format(arn=arn, alias=alias)

    put = bucket.ask("PUT", "/bucket/k", kms_headers(named, algorithm), BODY)
    got = bucket.ask("GET", "/bucket/k")
    head = bucket.ask("HEAD", "/bucket/k")

    assert got.body == BODY
    for answer in (put, got, head):
        assert answer.status == 200
        assert answer.headers[SSE] == algorithm
        assert answer.headers[KEY_ID] == arn
        assert BUCKET_KEY not in answer.headers
        assert f"{SSE}-customer-algorithm" not in answer.headers


@BOTH
def test_the_etag_is_not_the_md5_and_stays(bucket, arn, algorithm):
    headers = kms_headers(arn, algorithm)

    etags = {bucket.ask("PUT", f"/bucket/{n}", headers, BODY).headers["etag"] for n in (1, 2)}

    md5 = f'"{hashlib.md5(BODY, usedforsecurity=False).hexdigest()}"'
    assert len(etags | {md5}) == 3
    assert {bucket.ask("HEAD", f"/bucket/{n}").headers["etag"] for n in (1, 2)} == etags


@BOTH
def test_without_a_key_the_stores_own_is_used_by_anybody(bucket, algorithm):
    bucket.add_user("alice", *ALICE)
    bucket.ask("PUT", "/alices", who=ALICE)

    put = bucket.ask("PUT", "/alices/k", kms_headers(algorithm=algorithm), BODY, who=ALICE)

    own = bucket.run(bucket.core.kms.resolve("alias/aws/s3"))
    assert put.headers[KEY_ID] == bucket.core.kms.arn(own)
    assert bucket.ask("GET", "/alices/k", who=ALICE).body == BODY


@BOTH
def test_checksums_and_attributes_are_those_of_the_plaintext(bucket, arn, algorithm):
    sha256 = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    headers = kms_headers(arn, algorithm) | {"x-amz-checksum-sha256": sha256}
    wrong = kms_headers(arn, algorithm) | {"Content-MD5": base64.b64encode(bytes(16)).decode()}

    assert bucket.ask("PUT", "/bucket/k", headers, BODY).status == 200

    head = bucket.ask("HEAD", "/bucket/k", {"x-amz-checksum-mode": "ENABLED"})
    assert head.headers["x-amz-checksum-sha256"] == sha256
    assert head.headers["content-length"] == str(len(BODY))
    told = bucket.ask(
        "GET", "/bucket/k?attributes", {"x-amz-object-attributes": "ObjectSize,Checksum"}
    )
    assert told.text("ObjectSize") == str(len(BODY))
    assert fault(bucket.ask("PUT", "/bucket/k", wrong, BODY))[:2] == (400, "BadDigest")


@BOTH
@pytest.mark.parametrize(("first", "last"), [(0, 0), (65400, 65600), (102_399, 102_399)])
def test_ranges_are_slices(bucket, arn, algorithm, first, last):
    bucket.ask("PUT", "/bucket/k", kms_headers(arn, algorithm), BODY)

    answer = bucket.ask("GET", "/bucket/k", {"Range": f"bytes={first}-{last}"})

    assert (answer.status, answer.body) == (206, BODY[first : last + 1])


# Context and bucket keys


@BOTH
def test_the_context_is_taken_and_said_again_to_the_writer_only(bucket, arn, algorithm):
    sent = context({"film": "Метрополис", "year": "1927"})
    headers = kms_headers(arn, algorithm) | {CONTEXT: sent}

    put = bucket.ask("PUT", "/bucket/k", headers, BODY)
    got = bucket.ask("GET", "/bucket/k")

    assert put.headers[CONTEXT] == sent
    assert (got.body, CONTEXT in got.headers) == (BODY, False)


@pytest.mark.parametrize(
    "text",
    [
        "!",
        base64.b64encode(b"{").decode(),
        base64.b64encode(b"[" * 2_000).decode(),
        base64.b64encode(b"\xff").decode(),
        context([]),
        context({"a": 1}),
        context("a"),
        context({"aws:s3:arn": "arn:aws:s3:::other/k"}),
    ],
)
def test_a_context_that_is_no_map_of_strings_is_refused(bucket, arn, text):
    headers = kms_headers(arn) | {CONTEXT: text}

    answer = bucket.ask("PUT", "/bucket/k", headers, BODY)

    assert (answer.status, answer.fault.code) == (400, "InvalidArgument")
    assert answer.fault.fields == {"ArgumentName": CONTEXT, "ArgumentValue": text}


def test_a_bucket_key_is_shown_where_there_is_one(bucket, arn):
    on, off = (kms_headers(arn) | {BUCKET_KEY: value} for value in ("true", "false"))

    for headers, shown in ((on, "true"), (off, None)):
        put = bucket.ask("PUT", "/bucket/k", headers, BODY)
        got = bucket.ask("GET", "/bucket/k")
        assert put.headers.get(BUCKET_KEY) == got.headers.get(BUCKET_KEY) == shown
        assert got.body == BODY


# Errors. Source: sse-c-errors, section 4: S3's own answers, recorded 2026-02-21.


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("fake-key-id", "Invalid keyId 'fake-key-id'"),
        (
            "134f2428-cec1-4b25-a1ae-9048164dba47",
            f"Key '{NOWHERE}' does not exist",
        ),
        (
            NOWHERE,
            f"Key '{NOWHERE}' does not exist",
        ),
        (
            "arn:aws:kms:us-west-2:000000000000:key/00000000-0000-4000-8000-000000000001",
            "Invalid arn us-west-2",
        ),
    ],
)
@BOTH
def test_a_key_that_is_not_there_is_told(bucket, algorithm, named, expected):
    headers = kms_headers(named, algorithm)
    bucket.ask("PUT", "/bucket/s", {}, BODY)
    before = bucket.remains

    for answer in (
        bucket.ask("PUT", "/bucket/k", headers, BODY),
        bucket.ask("POST", "/bucket/k?uploads", headers),
        bucket.ask("PUT", "/bucket/k", headers | {"x-amz-copy-source": "bucket/s"}),
    ):
        assert fault(answer) == (400, "KMS.NotFoundException", expected)
        assert answer.fault.fields == {}
    assert bucket.remains == before


@BOTH
def test_a_disabled_key_neither_writes_nor_reads(bucket, arn, algorithm):
    bucket.ask("PUT", "/bucket/k", kms_headers(arn, algorithm), BODY)
    bucket.change_kms_key(arn, enabled=False)

    for answer in (
        bucket.ask("PUT", "/bucket/n", kms_headers(arn, algorithm), BODY),
        bucket.ask("GET", "/bucket/k"),
    ):
        assert fault(answer) == (400, "KMS.DisabledException", f"{arn} is disabled.")
    assert bucket.ask("HEAD", "/bucket/k").status == 400

    bucket.change_kms_key(arn, enabled=True)
    assert bucket.ask("GET", "/bucket/k").body == BODY


@BOTH
def test_a_key_that_waits_for_its_deletion_does_not_read(bucket, arn, algorithm):
    bucket.ask("PUT", "/bucket/k", kms_headers(arn, algorithm), BODY)
    bucket.change_kms_key(arn, deletion_ms=10**15)

    answer = bucket.ask("GET", "/bucket/k")

    assert fault(answer) == (
        400,
        "KMS.KMSInvalidStateException",
        f"{arn} is pending deletion.",
    )


@BOTH
def test_who_may_not_use_the_key_neither_writes_nor_reads(bucket, algorithm):
    """S003.11, S003.13: permission for the object is not permission for the key."""
    bucket.add_user("alice", *ALICE)
    roots = bucket.add_kms_key()
    bucket.ask("PUT", "/alices", who=ALICE)
    headers = kms_headers(roots, algorithm)
    bucket.ask("PUT", "/alices/k", headers, BODY)
    opened = bucket.ask("POST", "/alices/m?uploads", headers).text("UploadId")
    part = f"/alices/m?uploadId={opened}&partNumber=1"
    before = bucket.remains

    for method, target, sent in (
        ("GET", "/alices/k", {}),
        ("GET", "/alices/k?attributes", {"x-amz-object-attributes": "ObjectSize"}),
        ("PUT", "/alices/n", headers),
        ("POST", "/alices/n?uploads", headers),
        ("PUT", "/alices/n", {"x-amz-copy-source": "alices/k"}),
        ("PUT", part, {}),
    ):
        answer = bucket.ask(method, target, sent, BODY if method == "PUT" else b"", who=ALICE)
        assert (answer.status, answer.fault.code) == (403, "AccessDenied"), target
    assert bucket.ask("HEAD", "/alices/k", who=ALICE).status == 403
    assert bucket.remains == before
    assert bucket.ask("GET", "/alices/k").body == BODY, "root may"


@BOTH
def test_deleting_and_listing_and_tagging_need_no_key(bucket, arn, algorithm):
    bucket.ask("PUT", "/bucket/k", kms_headers(arn, algorithm), BODY)
    bucket.change_kms_key(arn, enabled=False)
    tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    md5 = base64.b64encode(hashlib.md5(tags, usedforsecurity=False).digest()).decode()

    assert bucket.ask("GET", "/bucket?list-type=2").text("Contents", "Size") == str(len(BODY))
    assert bucket.ask("PUT", "/bucket/k?tagging", {"Content-MD5": md5}, tags).status == 200
    assert bucket.ask("DELETE", "/bucket/k").status == 204


@pytest.mark.parametrize(
    ("headers", "name", "message"),
    [
        ({SSE: "aes:kms"}, SSE, "The encryption method specified is not supported"),
        ({SSE: ""}, SSE, "The encryption method specified is not supported"),
        ({SSE: "AES256", KEY_ID: "alias/films"}, KEY_ID, None),
        ({KEY_ID: "alias/films"}, KEY_ID, None),
        ({CONTEXT: context({})}, CONTEXT, None),
        ({SSE: "AES256", CONTEXT: context({})}, CONTEXT, None),
    ],
)
def test_what_does_not_go_together_is_refused(bucket, headers, name, message):
    bucket.ask("PUT", "/bucket/s", {}, BODY)
    source = {"x-amz-copy-source": "bucket/s"}

    for answer in (
        bucket.ask("PUT", "/bucket/k", headers, BODY),
        bucket.ask("POST", "/bucket/k?uploads", headers),
        bucket.ask("PUT", "/bucket/k", headers | source),
    ):
        assert fault(answer) == (
            400,
            "InvalidArgument",
            message
            or "Server Side Encryption with AWS KMS managed key requires HTTP header"
            " x-amz-server-side-encryption : aws:kms",
        )
        assert answer.fault.fields == {"ArgumentName": name, "ArgumentValue": headers[name]}


@pytest.mark.parametrize("asked", ["AES256", KMS, DUAL])
def test_a_customer_key_does_not_go_with_another_encryption(bucket, arn, key, asked):
    answer = bucket.ask("PUT", "/bucket/k", key.headers() | {SSE: asked}, BODY)

    assert fault(answer) == (
        400,
        "InvalidArgument",
        INCOMPATIBLE,
    )
    beside = bucket.ask("PUT", "/bucket/k", key.headers() | {KEY_ID: arn}, BODY)
    assert (beside.status, beside.fault.code) == (400, "InvalidArgument")


@pytest.mark.parametrize("written", ["AES256", KMS, DUAL])
@pytest.mark.parametrize("asked", ["AES256", KMS])
def test_a_read_does_not_name_an_encryption(bucket, written, asked):
    bucket.ask("PUT", "/bucket/k", {SSE: written}, BODY)

    got = bucket.ask("GET", "/bucket/k", {SSE: asked})

    assert fault(got) == (
        400,
        "InvalidArgument",
        f"{SSE} header is not supported for this operation.",
    )
    assert bucket.ask("HEAD", "/bucket/k", {SSE: asked}).status == 400


@BOTH
def test_a_customer_key_does_not_open_what_is_under_a_kms_key(bucket, arn, algorithm, key):
    bucket.ask("PUT", "/bucket/k", kms_headers(arn, algorithm), BODY)

    answer = bucket.ask("GET", "/bucket/k", key.headers())

    assert fault(answer) == (
        400,
        "InvalidRequest",
        "The encryption parameters are not applicable to this object.",
    )


# Uploads in parts


@BOTH
def test_an_upload_says_its_encryption_at_every_step(bucket, arn, algorithm):
    part = bytes(5 * 1024 * 1024)
    begun = bucket.ask("POST", "/bucket/m?uploads", kms_headers("alias/films", algorithm))
    target = f"/bucket/m?uploadId={begun.text('UploadId')}"
    one = bucket.ask("PUT", f"{target}&partNumber=1", {}, part)
    # Some clients repeat the encryption with each part; what Create was told holds.
    again = kms_headers("another", algorithm)
    two = bucket.ask("PUT", f"{target}&partNumber=2", again, BODY)
    listed = "".join(
        f"<Part><PartNumber>{n}</PartNumber><ETag>{a.headers['etag']}</ETag></Part>"
        for n, a in ((1, one), (2, two))
    )
    document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    done = bucket.ask("POST", target, {}, document)
    got = bucket.ask("GET", "/bucket/m")
    tail = bucket.ask("GET", "/bucket/m?partNumber=2")

    for answer in (begun, one, two, done, got, tail):
        assert answer.headers[SSE] == algorithm
        assert answer.headers[KEY_ID] == arn
    assert got.body == part + BODY
    assert tail.body == BODY
    joined = b"".join(bytes.fromhex(a.headers["etag"].strip('"')) for a in (one, two))
    etag = hashlib.md5(joined, usedforsecurity=False).hexdigest()
    assert got.headers["etag"] == f'"{etag}-2"'


def test_an_upload_with_the_stores_keys_takes_no_customer_key(bucket, arn, key):
    begun = bucket.ask("POST", "/bucket/m?uploads", kms_headers(arn)).text("UploadId")

    part = bucket.ask("PUT", f"/bucket/m?uploadId={begun}&partNumber=1", key.headers(), BODY)

    assert (part.status, part.fault.code) == (400, "InvalidRequest")
