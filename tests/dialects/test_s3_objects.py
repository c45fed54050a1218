"""Objects as a user of S3 expects them: ranges, conditions, headers, keys, deletions."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import quote

import pytest

BODY = b"123456789"
LARGE = bytes(range(256)) * 400  # 102,400 bytes: a file of two segments
EMPTY = (set(), set(), set())


def b64(raw):
    return base64.b64encode(raw).decode()


# Ranges. The whole is 102,400 bytes.

SIZE = len(LARGE)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-", 0, SIZE - 1),
        ("bytes=10-19", 10, 19),
        ("bytes=65479-65480", 65_479, 65_480),
        ("bytes=100000-999999", 100_000, SIZE - 1),
        ("bytes=102399-", SIZE - 1, SIZE - 1),
        ("bytes=-1", SIZE - 1, SIZE - 1),
        ("bytes=-500", SIZE - 500, SIZE - 1),
        ("bytes=-999999", 0, SIZE - 1),
        ("bytes=0-" + "9" * 5000, 0, SIZE - 1),
        ("bytes=-" + "9" * 5000, 0, SIZE - 1),
    ],
)
@pytest.mark.parametrize("sealed", [False, True], ids=["sse-s3", "sse-c"])
def test_a_range_is_that_slice(bucket, key, sealed, asked, first, last):
    headers = key.headers() if sealed else {}
    bucket.ask("PUT", "/bucket/k", headers, LARGE)

    got, head = (bucket.ask(m, "/bucket/k", headers | {"range": asked}) for m in ("GET", "HEAD"))

    assert got.body == LARGE[first : last + 1]
    for answer in (got, head):
        assert answer.status == 206
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
        assert answer.headers["content-length"] == str(last - first + 1)


@pytest.mark.parametrize("asked", ["bytes=102400-", "bytes=200000-300000", "bytes=-0"])
def test_a_range_outside_is_416(bucket, asked):
    bucket.ask("PUT", "/bucket/k", {}, LARGE)

    got, head = (bucket.ask(m, "/bucket/k", {"range": asked}) for m in ("GET", "HEAD"))

    fault = got.fault
    assert (fault.status, fault.code) == (416, "InvalidRange")
    assert fault.message == "The requested range is not satisfiable"
    assert fault.fields == {"RangeRequested": asked, "ActualObjectSize": "102400"}
    assert (head.status, head.body) == (416, b"")


def test_a_range_far_outside_is_416(bucket):
    bucket.ask("PUT", "/bucket/k", {}, BODY)

    assert bucket.ask("GET", "/bucket/k", {"range": "bytes=" + "9" * 5000 + "-"}).status == 416


@pytest.mark.parametrize("asked", ["bytes=0-", "bytes=0-0", "bytes=-1"])
def test_no_range_of_nothing(bucket, asked):
    bucket.ask("PUT", "/bucket/k", {}, b"")

    assert bucket.ask("GET", "/bucket/k", {"range": asked}).fault.code == "InvalidRange"


@pytest.mark.parametrize(
    "asked", ["bytes=5-4", "bytes=-", "bytes=a-b", "items=0-1", "bytes=0-1,4-5", "0-1", ""]
)
def test_a_range_that_is_none_is_ignored(bucket, asked):
    bucket.ask("PUT", "/bucket/k", {}, BODY)

    answer = bucket.ask("GET", "/bucket/k", {"range": asked})

    assert (answer.status, answer.body) == (200, BODY)


# Conditions

YESTERDAY, TOMORROW = (
    format_datetime(datetime.now(UTC) + timedelta(days=days), usegmt=True) for days in (-1, 1)
)
ETAG = '"25f9e794323b453885f5181f1b624d0b"'  # MD5 of BODY


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-match": ETAG}, 200),
        ({"if-match": ETAG.strip('"')}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": f'"a", {ETAG}'}, 200),
        ({"if-match": '"other"'}, 412),
        ({"if-none-match": '"other"'}, 200),
        ({"if-none-match": ETAG}, 304),
        ({"if-none-match": f"W/{ETAG}"}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-modified-since": YESTERDAY}, 200),
        ({"if-modified-since": TOMORROW}, 304),
        ({"if-modified-since": "not a date"}, 200),
        ({"if-unmodified-since": YESTERDAY}, 412),
        ({"if-unmodified-since": TOMORROW}, 200),
        ({"if-unmodified-since": "not a date"}, 200),
        # S3 API reference, GetObject: these two pairs are decided by the ETag.
        ({"if-match": ETAG, "if-unmodified-since": YESTERDAY}, 200),
        ({"if-none-match": ETAG, "if-modified-since": YESTERDAY}, 304),
        ({"if-none-match": '"other"', "if-modified-since": TOMORROW}, 200),
        ({"if-match": '"other"', "if-none-match": ETAG}, 412),
    ],
)
def test_reads_obey_their_conditions(bucket, headers, status):
    bucket.ask("PUT", "/bucket/k", {}, BODY)

    got, head = (bucket.ask(method, "/bucket/k", headers) for method in ("GET", "HEAD"))

    assert (got.status, head.status) == (status, status)
    if status == 304:
        assert got.body == b""
        assert got.headers["etag"] == head.headers["etag"] == ETAG
    if status == 412:
        assert got.fault.code == "PreconditionFailed"


def test_a_time_counts_in_whole_seconds(bucket):
    bucket.ask("PUT", "/bucket/k", {}, BODY)
    shown = bucket.ask("HEAD", "/bucket/k").headers["last-modified"]

    assert bucket.ask("GET", "/bucket/k", {"if-modified-since": shown}).status == 304
    assert bucket.ask("GET", "/bucket/k", {"if-unmodified-since": shown}).status == 200


@pytest.mark.parametrize(
    ("headers", "on_none", "on_some"),
    [
        ({"if-none-match": "*"}, 200, 412),
        ({"if-match": ETAG}, 404, 200),
        ({"if-match": "*"}, 404, 200),
        ({"if-match": '"other"'}, 404, 412),
    ],
)
def test_writes_obey_their_conditions(bucket, headers, on_none, on_some):
    first = bucket.ask("PUT", "/bucket/new", headers, LARGE)
    bucket.ask("PUT", "/bucket/old", {}, BODY)
    second = bucket.ask("PUT", "/bucket/old", headers, LARGE)

    assert (first.status, second.status) == (on_none, on_some)
    for answer, code in ((first, "NoSuchKey"), (second, "PreconditionFailed")):
        if answer.status != 200:
            assert answer.fault.code == code
    kept = LARGE if on_some == 200 else BODY
    assert bucket.ask("GET", "/bucket/old").body == kept


@pytest.mark.parametrize(("condition", "status"), [(ETAG, 204), ('"other"', 412)])
def test_deletions_obey_their_conditions(bucket, condition, status):
    bucket.ask("PUT", "/bucket/k", {}, BODY)

    answer = bucket.ask("DELETE", "/bucket/k", {"if-match": condition})

    assert answer.status == status
    assert bucket.ask("HEAD", "/bucket/k").status == (404 if status == 204 else 200)


# Headers and metadata


def test_content_headers_come_back(s3):
    expires = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    sent = {
        "CacheControl": "no-cache",
        "ContentDisposition": 'attachment; filename="a b.txt"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de, zh",
        "ContentType": "text/plain; charset=utf-8",
        "WebsiteRedirectLocation": "/elsewhere",
    }
    s3.put_object(Bucket="bucket", Key="k", Body=BODY, Expires=expires, Metadata={"a": "b"}, **sent)

    for answer in (
        s3.get_object(Bucket="bucket", Key="k"),
        s3.head_object(Bucket="bucket", Key="k"),
    ):
        assert {name: answer[name] for name in sent} == sent
        assert answer["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT"
        assert answer["Metadata"] == {"a": "b"}


def test_an_object_without_a_type_is_a_stream_of_bytes(bucket):
    bucket.ask("PUT", "/bucket/k", {}, BODY)

    assert bucket.ask("GET", "/bucket/k").headers["content-type"] == "binary/octet-stream"


@pytest.mark.parametrize("sealed", [False, True], ids=["sse-s3", "sse-c"])
def test_metadata_leaves_as_the_bytes_that_came(bucket, key, sealed):
    headers = key.headers() if sealed else {}
    value = "schön, 美, \t and spaces"

    put = bucket.ask("PUT", "/bucket/k", headers | {"x-amz-meta-Note": value}, BODY)
    got = bucket.ask("HEAD", "/bucket/k", headers)

    assert put.status == 200
    assert got.headers["x-amz-meta-note"].encode("latin-1") == value.encode()


def test_sealed_metadata_is_not_in_the_catalog_in_the_clear(bucket, key):
    # rest, promise 1. S002.2
    headers = key.headers() | {"x-amz-meta-note": "a-most-secret-note", "content-type": "x/secret"}
    bucket.ask("PUT", "/bucket/k", headers, b"content of this object")

    stored = bucket.run(bucket.catalog.current("bucket", "k"))

    for raw in (stored.envelope, stored.body, repr(stored).encode()):
        assert b"secret" not in raw
        assert b"content" not in raw


def test_metadata_of_2048_bytes_is_taken_and_more_refused(bucket):
    fits = {"x-amz-meta-a": "a" * 2047}

    assert bucket.ask("PUT", "/bucket/k", fits, BODY).status == 200
    answer = bucket.ask("PUT", "/bucket/k", {"x-amz-meta-a": "a" * 2048}, BODY)
    assert (answer.status, answer.fault.code) == (400, "MetadataTooLarge")


@pytest.mark.parametrize("target", ["/bucket/k", "/bucket/k?uploads"])
@pytest.mark.parametrize(
    "query",
    [
        "x-amz-meta-a=b%0D%0ASet-Cookie%3A%20c%3Dd",
        "x-amz-meta-a%0D%0Ab=c",
        "x-amz-meta-a=%00",
        "x-amz-meta-a%20b=c",
        "x-amz-meta-%C3%A9=c",
    ],
)
def test_metadata_that_no_header_can_hold_is_refused_when_it_is_written(bucket, target, query):
    # In a presigned URL metadata may come as a parameter, and parameters may hold anything.
    method, joined = ("POST", "&") if "?" in target else ("PUT", "?")

    answer = bucket.ask(method, f"{target}{joined}{query}", {}, BODY)

    assert (answer.status, answer.fault.code) == (400, "InvalidArgument")
    assert bucket.remains == EMPTY


def test_a_read_may_ask_for_other_headers(bucket):
    bucket.ask("PUT", "/bucket/k", {"content-type": "text/plain"}, BODY)

    answer = bucket.ask(
        "GET",
        "/bucket/k?response-content-type=image%2Fpng&response-cache-control=no-store"
        "&response-content-disposition=inline&response-content-language=la"
        "&response-content-encoding=br&response-expires=Wed%2C%2002%20Jan%202030%2003%3A04%3A05%20GMT",
    )

    shown = {
        "content-type": "image/png",
        "cache-control": "no-store",
        "content-disposition": "inline",
        "content-language": "la",
        "content-encoding": "br",
        "expires": "Wed, 02 Jan 2030 03:04:05 GMT",
    }
    assert shown.items() <= answer.headers.items()


@pytest.mark.parametrize("value", ["a%0D%0Ab%3A%20c", "%E7%BE%8E"])
def test_a_read_may_not_ask_for_what_no_header_can_hold(bucket, value):
    bucket.ask("PUT", "/bucket/k", {}, LARGE)

    answer = bucket.ask("GET", f"/bucket/k?response-content-type={value}")

    assert (answer.status, answer.fault.code) == (400, "InvalidArgument")


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("x-amz-acl", "public-read", "AccessControlListNotSupported"),
        ("x-amz-grant-read", "id=x", "AccessControlListNotSupported"),
        ("x-amz-storage-class", "GLACIER", "InvalidStorageClass"),
        ("x-amz-server-side-encryption", "", "InvalidArgument"),
        ("x-amz-server-side-encryption", "ROT13", "InvalidArgument"),
    ],
)
def test_what_is_not_done_is_refused_and_not_left_undone(bucket, header, value, code):
    answer = bucket.ask("PUT", "/bucket/k", {header: value}, BODY)

    assert answer.fault.code == code
    assert bucket.remains == EMPTY


# Keys

KEYS = [
    "a b",
    "a+b",
    "a%2Fb%25",
    "a//b",
    "a/../b",
    "/leading",
    "trailing/",
    ".",
    "..",
    "schön/美/🔑",
    "q?a=b&c#d",
    "~!@$^*()_-={}[]|;:'\",.<>",
    "a\\b",
    "tab\tand\nnewline",
    "k" * 1024,
    "é" * 512,
]


@pytest.mark.parametrize("name", KEYS, ids=ascii)
def test_keys_may_hold_any_characters(s3, name):
    s3.put_object(Bucket="bucket", Key=name, Body=name.encode())

    assert s3.get_object(Bucket="bucket", Key=name)["Body"].read() == name.encode()
    assert [row["Key"] for row in s3.list_objects_v2(Bucket="bucket")["Contents"]] == [name]
    assert s3.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": name}]})["Deleted"] == [
        {"Key": name}
    ]
    assert "Contents" not in s3.list_objects(Bucket="bucket")


@pytest.mark.parametrize("name", ["\x01", "\x7f", "\uffff"], ids=ascii)
def test_keys_that_no_xml_can_hold_are_listed_encoded(s3, name):
    s3.put_object(Bucket="bucket", Key=name, Body=b"x")

    assert [row["Key"] for row in s3.list_objects_v2(Bucket="bucket")["Contents"]] == [name]
    s3.delete_object(Bucket="bucket", Key=name)
    assert "Contents" not in s3.list_objects(Bucket="bucket")


@pytest.mark.parametrize("name", ["k" * 1025, "é" * 513])
def test_keys_have_1024_bytes_at_most(bucket, name):
    answer = bucket.ask("PUT", f"/bucket/{quote(name)}", {}, BODY)

    fault = answer.fault
    assert (fault.status, fault.code) == (400, "KeyTooLongError")
    assert fault.fields == {"Size": str(len(name.encode())), "MaxSizeAllowed": "1024"}


def test_a_key_that_is_no_utf_8_is_refused(bucket):
    assert bucket.ask("PUT", "/bucket/%FF", {}, BODY).fault.code == "InvalidURI"


# Deleting


def test_deleting_what_is_not_there_is_no_fault(bucket):
    answer = bucket.ask("DELETE", "/bucket/nothing")

    assert (answer.status, answer.body) == (204, b"")


def test_a_deleted_object_is_gone_with_its_bytes(bucket):
    bucket.ask("PUT", "/bucket/k", {}, LARGE)
    bucket.ask("DELETE", "/bucket/k")
    bucket.run(bucket.core.collector.collect())

    assert bucket.ask("GET", "/bucket/k").fault.code == "NoSuchKey"
    assert bucket.remains == EMPTY


def delete_document(*keys, quiet=False):
    inside = "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)
    flag = "<Quiet>true</Quiet>" if quiet else ""
    return f"<Delete>{inside}{flag}</Delete>".encode()


def post_delete(store, document, **extra):
    digest = b64(hashlib.md5(document, usedforsecurity=False).digest())
    return store.ask("POST", "/bucket?delete", {"content-md5": digest} | extra, document)


def test_many_objects_are_deleted_at_once(bucket):
    for name in "abc":
        bucket.ask("PUT", f"/bucket/{name}", {}, BODY)

    answer = post_delete(bucket, delete_document("a", "b", "nothing"))

    assert answer.status == 200
    assert answer.body.count(b"<Deleted>") == 3
    assert bucket.catalog.keys == {("bucket", b"c")}


def test_a_quiet_deletion_tells_faults_alone(bucket):
    bucket.ask("PUT", "/bucket/a", {}, BODY)
    document = (
        b"<Delete><Quiet>true</Quiet><Object><Key>a</Key></Object>"
        b"<Object><Key>b</Key><VersionId>nonsense</VersionId></Object></Delete>"
    )

    answer = post_delete(bucket, document)

    assert b"<Deleted>" not in answer.body
    assert answer.text("Error", "Key") == "b"
    assert answer.text("Error", "Code") == "NoSuchVersion"


def test_an_entry_of_a_deletion_may_have_a_condition(bucket):
    bucket.ask("PUT", "/bucket/a", {}, BODY)
    document = b"<Delete><Object><Key>a</Key><ETag>other</ETag></Object></Delete>"

    answer = post_delete(bucket, document)

    assert answer.text("Error", "Code") == "PreconditionFailed"
    assert bucket.catalog.keys == {("bucket", b"a")}


@pytest.mark.parametrize(
    "document",
    [
        b"<Delete></Delete>",
        b"<Delete><Object><Key></Key></Object></Delete>",
        b"<Delete><Object/></Delete>",
        delete_document(*map(str, range(1001))),
        b"<Other/>",
        b"no xml",
        b"",
        b'<!DOCTYPE a [<!ENTITY b "c">]><Delete><Object><Key>&b;</Key></Object></Delete>',
    ],
    ids=["empty", "empty-key", "no-key", "1001", "other", "no-xml", "nothing", "entity"],
)
def test_a_bad_deletion_document_deletes_nothing(bucket, document):
    bucket.ask("PUT", "/bucket/0", {}, BODY)

    answer = post_delete(bucket, document)

    assert answer.status == 400
    assert answer.fault.code in {"MalformedXML", "MissingRequestBodyError"}
    assert bucket.catalog.keys == {("bucket", b"0")}


def test_a_deletion_needs_a_digest_and_the_right_one(bucket):
    bucket.ask("PUT", "/bucket/a", {}, BODY)
    document = delete_document("a")

    assert bucket.ask("POST", "/bucket?delete", {}, document).fault.code == "InvalidRequest"
    wrong = {"content-md5": b64(bytes(16))}
    assert bucket.ask("POST", "/bucket?delete", wrong, document).fault.code == "BadDigest"
    wrong = {"x-amz-checksum-crc32": "AAAAAA=="}
    assert bucket.ask("POST", "/bucket?delete", wrong, document).fault.code == "BadDigest"
    assert bucket.catalog.keys == {("bucket", b"a")}


# What is not there


@pytest.mark.parametrize(
    ("method", "target", "code", "fields"),
    [
        ("GET", "/bucket/nothing", "NoSuchKey", {"Key": "nothing"}),
        ("GET", "/nobucket/k", "NoSuchBucket", {"BucketName": "nobucket"}),
        ("PUT", "/nobucket/k", "NoSuchBucket", {"BucketName": "nobucket"}),
        ("DELETE", "/nobucket/k", "NoSuchBucket", {"BucketName": "nobucket"}),
        ("GET", "/nobucket", "NoSuchBucket", {"BucketName": "nobucket"}),
        ("POST", "/nobucket/k?uploads", "NoSuchBucket", {"BucketName": "nobucket"}),
        ("GET", "/bucket/k?uploadId=nothing", "NoSuchUpload", {"UploadId": "nothing"}),
        ("DELETE", "/bucket/k?uploadId=nothing", "NoSuchUpload", {"UploadId": "nothing"}),
        ("PUT", "/bucket/k?partNumber=1&uploadId=nothing", "NoSuchUpload", {"UploadId": "nothing"}),
    ],
)
def test_what_is_not_there_is_404(bucket, method, target, code, fields):
    fault = bucket.ask(method, target).fault

    assert (fault.status, fault.code, fault.fields) == (404, code, fields)


@pytest.mark.parametrize("target", ["/bucket/nothing", "/nobucket/k", "/nobucket"])
def test_head_of_what_is_not_there_is_404_without_a_body(bucket, target):
    answer = bucket.ask("HEAD", target)

    assert (answer.status, answer.body) == (404, b"")
    assert "x-amz-request-id" in answer.headers
