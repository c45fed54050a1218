"""Tags of objects: set without a customer's key, vouched for by the server."""

import asyncio
import base64
import hashlib
from urllib.parse import quote

import pytest

from strongroom import errors

SSE = "x-amz-server-side-encryption"
LARGE = b"".join(n.to_bytes(4) for n in range(50_000))
MALFORMED = (
    400,
    "MalformedXML",
    "The XML you provided was not well-formed or did not validate against our published schema",
    {},
)
BAD_HEADER = (
    "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters"
    " without tag name duplicates."
)
EITHER = pytest.mark.parametrize("sealed", [False, True], ids=["by-the-server", "by-a-customer"])


def fault(answer):
    found = answer.fault
    return found.status, found.code, found.message, found.fields


def document(*pairs):
    rows = "".join(f"<Tag><Key>{name}</Key><Value>{text}</Value></Tag>" for name, text in pairs)
    return f"<Tagging><TagSet>{rows}</TagSet></Tagging>".encode()


def put(store, body, *, target="/bucket/k?tagging", **how):
    digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    return store.ask("PUT", target, {"content-md5": digest}, body, **how)


def tags(store, key="k"):
    answer = store.ask("GET", f"/bucket/{key}?tagging")
    assert (answer.status, answer.document.tag) == (200, "Tagging")
    (listed,) = answer.document.children
    return {tag.children[0].text: tag.children[1].text for tag in listed.children}


def stored(store, key="k"):
    return store.run(store.catalog.current("bucket", key))


@EITHER
def test_tags_are_set_replaced_and_deleted_without_a_key(bucket, key, sealed):
    triple = key.headers() if sealed else {}
    bucket.ask("PUT", "/bucket/k", triple, LARGE)
    before, envelope = bucket.ask("HEAD", "/bucket/k", triple), stored(bucket).envelope
    assert tags(bucket) == {}

    first = put(bucket, document(("a", "1"), ("b", "")))
    assert (first.status, tags(bucket)) == (200, {"a": "1", "b": ""})
    second = put(bucket, document(("c", "schön 美")))
    assert (second.status, tags(bucket)) == (200, {"c": "schön 美"})
    counted = bucket.ask("HEAD", "/bucket/k", triple)
    third = bucket.ask("DELETE", "/bucket/k?tagging")
    assert (third.status, tags(bucket)) == (204, {})
    after = bucket.ask("GET", "/bucket/k", triple)

    assert counted.headers["x-amz-tagging-count"] == "1"
    assert "x-amz-tagging-count" not in after.headers
    assert after.body == LARGE
    assert stored(bucket).envelope == envelope
    for name in ("etag", "last-modified"):
        assert before.headers[name] == counted.headers[name] == after.headers[name]


def test_an_empty_set_takes_all_tags_away(bucket):
    bucket.ask("PUT", "/bucket/k", {"x-amz-tagging": "a=1"}, b"")

    assert put(bucket, document()).status == 200
    assert tags(bucket) == {}


def test_tags_are_listed_by_name(bucket):
    bucket.ask("PUT", "/bucket/k", {"x-amz-tagging": "c=3&a=1&b=2"}, b"")

    assert list(tags(bucket)) == ["a", "b", "c"]


@EITHER
def test_boto3_tags(s3, key, sealed):
    options = key.options if sealed else {}
    place = {"Bucket": "bucket", "Key": "k"}
    s3.put_object(**place, Body=LARGE, Tagging="a=1&b=two%20words", **options)
    first = s3.get_object_tagging(**place)["TagSet"]

    s3.put_object_tagging(**place, Tagging={"TagSet": [{"Key": "c", "Value": "3"}]})

    assert first == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "two words"}]
    assert s3.get_object_tagging(**place)["TagSet"] == [{"Key": "c", "Value": "3"}]
    assert s3.get_object(**place, **options)["TagCount"] == 1
    assert s3.head_object(**place, **options)["TagCount"] == 1


# Where tags come from


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("a=1", {"a": "1"}),
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a", {"a": ""}),
        ("a=", {"a": ""}),
        ("b&a", {"a": "", "b": ""}),
        ("key1&&&key2", {"key1": "", "key2": ""}),
        ("", {}),
        ("a=b=c", {"a": "b=c"}),
        ("a=two+words%20here", {"a": "two words here"}),
        ("%61%3D=%2B%2f", {"a=": "+/"}),
        (quote("schön") + "=" + quote("美"), {"schön": "美"}),
        ("Key=1&key=2", {"Key": "1", "key": "2"}),
    ],
)
def test_a_put_brings_tags_in_a_header(bucket, header, expected):
    assert bucket.ask("PUT", "/bucket/k", {"x-amz-tagging": header}, b"").status == 200

    assert tags(bucket) == expected


@pytest.mark.parametrize(
    "header",
    ["a=1&a=2", "a=1&%61=2", "a=1,b=2", "=1", "a=%FF", "%C3=1", "a=1&b=;", "a=%00", "a=%0A"],
)
def test_a_header_that_is_no_set_of_tags_is_refused(bucket, header):
    expected = (
        400,
        "InvalidArgument",
        BAD_HEADER,
        {"ArgumentName": "x-amz-tagging", "ArgumentValue": header},
    )

    for method, target in (("PUT", "/bucket/k"), ("POST", "/bucket/k?uploads")):
        assert fault(bucket.ask(method, target, {"x-amz-tagging": header})) == expected

    assert bucket.remains == (set(), set(), set())


@EITHER
def test_an_object_in_parts_has_the_tags_that_its_upload_began_with(bucket, key, sealed):
    triple = key.headers() if sealed else {}
    opened = bucket.ask("POST", "/bucket/k?uploads", triple | {"x-amz-tagging": "a=1&b=2"})
    target = f"/bucket/k?uploadId={opened.text('UploadId')}"
    etag = bucket.ask("PUT", f"{target}&partNumber=1", triple, LARGE).headers["etag"]
    bucket.ask(
        "POST",
        target,
        {},
        f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
        "</CompleteMultipartUpload>".encode(),
    )

    head = bucket.ask("HEAD", "/bucket/k", triple)

    assert tags(bucket) == {"a": "1", "b": "2"}
    assert head.headers["x-amz-tagging-count"] == "2"
    assert not [name for name in head.headers if name.startswith("tag:")]


def test_a_new_object_has_nothing_of_the_old_ones_tags(bucket):
    bucket.ask("PUT", "/bucket/k", {"x-amz-tagging": "a=1"}, b"")

    bucket.ask("PUT", "/bucket/k", {}, b"")
    overwritten = tags(bucket)
    put(bucket, document(("b", "2")))
    bucket.ask("DELETE", "/bucket/k")
    bucket.ask("PUT", "/bucket/k", {}, b"")

    assert (overwritten, tags(bucket)) == ({}, {})


# What a tag may be

LONGEST = [("k" * 128, "v" * 256), ("é" * 128, "美" * 256)]


@pytest.mark.parametrize("pair", [*LONGEST, ("a_.:/=+-@ 9", "a_.:/=+-@ 9"), ("AWS:x", "1")])
def test_tags_at_their_limits_are_taken(bucket, pair):
    bucket.ask("PUT", "/bucket/k", {}, b"")

    assert put(bucket, document(pair)).status == 200
    assert tags(bucket) == dict([pair])


BAD_KEY, BAD_VALUE = ("The TagKey you have provided is invalid", "The TagValue you have provided is invalid")  # fmt: skip


@pytest.mark.parametrize(
    ("pair", "text", "fields"),
    [
        (("k" * 129, "v"), BAD_KEY, {"TagKey": "k" * 129}),
        (("", "v"), BAD_KEY, {"TagKey": ""}),
        (("Key1,Key2", "v"), BAD_KEY, {"TagKey": "Key1,Key2"}),
        (("a\tb", "v"), BAD_KEY, {"TagKey": "a\tb"}),
        (("k", "v" * 257), BAD_VALUE, {"TagKey": "k", "TagValue": "v" * 257}),
        (("k", "Val1,Val2"), BAD_VALUE, {"TagKey": "k", "TagValue": "Val1,Val2"}),
        (("aws:x", "v"), "Your TagKey cannot be prefixed with aws:", {"TagKey": "aws:x"}),
    ],
    ids=["long-key", "no-key", "key", "tab", "long-value", "value", "aws"],
)
def test_tags_that_may_not_be_are_refused(bucket, pair, text, fields):
    bucket.ask("PUT", "/bucket/k", {"x-amz-tagging": "a=1"}, b"")

    answer = put(bucket, document(("good", "1"), pair))

    assert fault(answer) == (400, "InvalidTag", text, fields)
    assert tags(bucket) == {"a": "1"}


def test_no_key_may_be_there_twice(bucket):
    bucket.ask("PUT", "/bucket/k", {}, b"")

    answer = put(bucket, document(("a", "1"), ("b", "2"), ("a", "1")))

    text = "Cannot provide multiple Tags with the same key"
    assert fault(answer) == (400, "InvalidTag", text, {"TagKey": "a"})


def test_an_object_has_10_tags_at_most(bucket):
    bucket.ask("PUT", "/bucket/k", {}, b"")
    ten = [(f"k{n}", "v") for n in range(10)]
    header = "&".join(f"{name}={text}" for name, text in [*ten, ("more", "")])

    assert put(bucket, document(*ten)).status == 200
    more = put(bucket, document(*ten, ("more", "")))
    by_header = bucket.ask("PUT", "/bucket/other", {"x-amz-tagging": header}, b"")

    expected = (400, "InvalidTag", "Object tags cannot be greater than 10", {})
    assert fault(more) == fault(by_header) == expected
    assert tags(bucket) == dict(ten)


@pytest.mark.parametrize(
    "body",
    [
        b"<Tagging><TagSet><Tag><Value>v</Value></Tag></TagSet></Tagging>",
        b"<Tagging><TagSet><Tag><Key>k</Key></Tag></TagSet></Tagging>",
        b"<Tagging><TagSet><Tag/></TagSet></Tagging>",
        b"<Tagging/>",
        b"<Other><TagSet/></Other>",
        b"<Tagging>",
        b"tags",
    ],
)
def test_a_document_that_is_no_set_of_tags_is_refused(bucket, body):
    bucket.ask("PUT", "/bucket/k", {"x-amz-tagging": "a=1"}, b"")

    assert fault(put(bucket, body)) == MALFORMED
    assert tags(bucket) == {"a": "1"}


def test_no_document_takes_no_tags_away(bucket):
    bucket.ask("PUT", "/bucket/k", {"x-amz-tagging": "a=1"}, b"")

    answer = put(bucket, b"")

    assert (answer.status, answer.fault.code) == (400, "MissingRequestBodyError")
    assert tags(bucket) == {"a": "1"}


def test_a_document_needs_a_digest_and_the_right_one(bucket):
    bucket.ask("PUT", "/bucket/k", {"x-amz-tagging": "a=1"}, b"")
    wrong = {"content-md5": base64.b64encode(bytes(16)).decode()}

    none = bucket.ask("PUT", "/bucket/k?tagging", {}, document())
    other = bucket.ask("PUT", "/bucket/k?tagging", wrong, document())

    assert (none.fault.code, other.fault.code) == ("InvalidRequest", "BadDigest")
    assert tags(bucket) == {"a": "1"}


# Who, and of what


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_tags_of_what_is_not_there_are_404(bucket, method):
    def ask(target):
        if method == "PUT":
            return put(bucket, document(), target=target)
        return bucket.ask(method, target)

    no_key, no_bucket = ask("/bucket/k?tagging").fault, ask("/nobucket/k?tagging").fault

    assert (no_key.status, no_key.code, no_key.fields) == (404, "NoSuchKey", {"Key": "k"})
    assert (no_bucket.status, no_bucket.code) == (404, "NoSuchBucket")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_tags_are_of_the_one_version(bucket, method):
    bucket.ask("PUT", "/bucket/k", {}, b"")

    def ask(version):
        target = f"/bucket/k?tagging&versionId={version}"
        if method == "PUT":
            return put(bucket, document(("a", "1")), target=target)
        return bucket.ask(method, target)

    assert ask("null").status in (200, 204)
    assert ask("abc").fault.fields == {"ArgumentName": "versionId", "ArgumentValue": "abc"}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_tags_are_nobody_elses(bucket, method):
    alice = bucket.add_user("alice", "alicekey", "alice-secret")
    bucket.ask("PUT", "/bucket/k", {"x-amz-tagging": "a=1"}, b"")

    answer = (
        put(bucket, document(), who=alice)
        if method == "PUT"
        else bucket.ask(method, "/bucket/k?tagging", who=alice)
    )

    assert (answer.status, answer.fault.code) == (403, "AccessDenied")
    assert tags(bucket) == {"a": "1"}


# Who else writes to the catalog


def tamper(store, changed, key="k"):
    version = stored(store, key).version
    store.run(store.catalog.set_marks(version, changed))


@EITHER
@pytest.mark.parametrize("at", [0, 2, 9, 20, -40, -1])
def test_changed_tags_are_never_told(bucket, key, sealed, at):
    triple = key.headers() if sealed else {}
    bucket.ask("PUT", "/bucket/k", triple | {"x-amz-tagging": "public=no"}, LARGE)
    changed = bytearray(stored(bucket).marks)
    changed[at] ^= 1
    tamper(bucket, bytes(changed))

    answers = [
        bucket.ask("GET", "/bucket/k?tagging"),
        bucket.ask("DELETE", "/bucket/k?tagging"),
        put(bucket, document()),
        bucket.ask("GET", "/bucket/k", triple),
        bucket.ask(
            "PUT", "/bucket/b", {"x-amz-copy-source": "bucket/k"} | triple
            | {name.replace("x-amz-", "x-amz-copy-source-"): text for name, text in triple.items()},
        ),
    ]  # fmt: skip

    assert {(answer.status, answer.fault.code) for answer in answers} == {(500, "InternalError")}
    assert {type(error) for error in bucket.reported} == {errors.NotAuthentic}
    assert stored(bucket).marks == changed
    assert bucket.remains[2] == {("bucket", b"k")}


@pytest.mark.parametrize("changed", [b"", b"1:", b"no number", b":", b"99:x"])
def test_tags_that_are_none_are_never_told(bucket, changed):
    bucket.ask("PUT", "/bucket/k", {"x-amz-tagging": "a=1"}, b"")
    tamper(bucket, changed)

    assert bucket.ask("GET", "/bucket/k?tagging").fault.code == "InternalError"
    assert [type(error) for error in bucket.reported] == [errors.NotAuthentic]


def test_tags_of_another_object_are_never_told(bucket):
    for name in ("k", "other"):
        bucket.ask("PUT", f"/bucket/{name}", {"x-amz-tagging": f"a={name}"}, b"")
    tamper(bucket, stored(bucket, "other").marks)

    assert bucket.ask("GET", "/bucket/k?tagging").fault.code == "InternalError"
    assert tags(bucket, "other") == {"a": "other"}


def test_tags_of_an_earlier_object_are_never_told(bucket):
    bucket.ask("PUT", "/bucket/k", {"x-amz-tagging": "a=old"}, b"")
    old = stored(bucket).marks
    bucket.ask("PUT", "/bucket/k", {}, b"")
    tamper(bucket, old)

    assert bucket.ask("GET", "/bucket/k?tagging").fault.code == "InternalError"


def test_an_object_whose_tags_were_changed_is_deleted_and_overwritten(bucket):
    for name in ("k", "other"):
        bucket.ask("PUT", f"/bucket/{name}", {"x-amz-tagging": "a=1"}, b"")
        tamper(bucket, b"", name)

    assert bucket.ask("PUT", "/bucket/k", {}, b"new").status == 200
    assert bucket.ask("DELETE", "/bucket/other").status == 204
    assert bucket.ask("GET", "/bucket/k").body == b"new"


@pytest.mark.parametrize("deed", ["overwrite", "delete"])
def test_tags_go_to_the_object_that_is_there(bucket, deed):
    bucket.ask("PUT", "/bucket/k", {"x-amz-tagging": "a=old"}, b"old")
    original = bucket.catalog.set_marks

    async def later(*args, **how):
        bucket.catalog.set_marks = original
        method = "PUT" if deed == "overwrite" else "DELETE"
        await asyncio.to_thread(bucket.ask, method, "/bucket/k", {}, b"")
        await original(*args, **how)

    bucket.catalog.set_marks = later

    answer = put(bucket, document(("a", "new")))

    if deed == "overwrite":
        assert (answer.status, tags(bucket)) == (200, {"a": "new"})
    else:
        assert (answer.status, answer.fault.code) == (404, "NoSuchKey")


def test_tags_that_are_set_while_others_are_take_their_place_and_never_half(bucket):
    bucket.ask("PUT", "/bucket/k", {"x-amz-tagging": "a=old"}, b"old")
    original, seen = bucket.catalog.set_marks, []

    async def later(*args, **how):
        bucket.catalog.set_marks = original
        other = document(("b", "meanwhile"))
        await asyncio.to_thread(put, bucket, other)
        try:
            await original(*args, **how)
        except errors.MarksChanged as error:
            seen.append(type(error))
            raise

    bucket.catalog.set_marks = later

    assert put(bucket, document(("a", "new"))).status == 200

    assert seen == [errors.MarksChanged], "it was told, and looked again"
    assert tags(bucket) == {"a": "new"}
