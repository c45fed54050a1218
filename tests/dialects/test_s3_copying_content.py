"""What a copy says of itself, which checksum it has, and when it is made at all."""

import base64
import hashlib
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

SSE = "x-amz-server-side-encryption"
SOURCE_SSE = "x-amz-copy-source-server-side-encryption"
WRONG_KEY = (
    "Requests specifying Server Side Encryption with Customer provided keys must provide the"
    " correct secret key."
)
SMALL, LARGE = b"123456789", b"".join(n.to_bytes(4) for n in range(50_000))


def triple(held):
    return {} if held is None else held.headers()


def source_triple(held):
    return {name.replace(SSE, SOURCE_SSE): value for name, value in triple(held).items()}


def copy(store, headers=None, *, target="/bucket/b"):
    return store.ask("PUT", target, {"x-amz-copy-source": "bucket/a"} | (headers or {}))


def fault(answer):
    found = answer.fault
    return found.status, found.code, found.message, found.fields


def md5(body):
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def b64(raw):
    return base64.b64encode(raw).decode()


def crc32(body):
    return b64(zlib.crc32(body).to_bytes(4))


def sha256(body):
    return b64(hashlib.sha256(body).digest())


def everything(store):
    """Return all that the store holds, to compare with later."""
    versions = {
        (name, key): store.run(store.catalog.current(name, key.decode()))
        for name, key in store.catalog.keys
    }
    return store.remains, versions


# Directives

ABOUT = {
    "content-type": "text/plain",
    "cache-control": "no-store",
    "content-disposition": "inline",
    "content-encoding": "gzip",
    "content-language": "la",
    "expires": "Wed, 02 Jan 2030 03:04:05 GMT",
    "x-amz-meta-old": "kept",
}
SIDES = pytest.mark.parametrize(
    ("source", "target"),
    [(None, None), (1, 2), (None, 1), (1, None)],
    ids=["shared-by-the-server", "shared-by-customers", "sealed-for-a-customer", "for-the-server"],
)


@SIDES
def test_a_copy_says_what_its_source_says(bucket, keys, source, target):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]) | ABOUT, SMALL)

    copy(
        bucket,
        source_triple(keys[source]) | triple(keys[target])
        | {"content-type": "image/png", "x-amz-meta-new": "ignored"},
    )  # fmt: skip

    shown = bucket.ask("HEAD", "/bucket/b", triple(keys[target])).headers
    assert ABOUT.items() <= shown.items()
    assert "x-amz-meta-new" not in shown


@SIDES
def test_a_copy_says_something_else_on_request(bucket, keys, source, target):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]) | ABOUT, SMALL)
    new = {"cache-control": "no-cache", "x-amz-meta-new": "come"}

    copy(
        bucket,
        source_triple(keys[source]) | triple(keys[target])
        | {"x-amz-metadata-directive": "REPLACE"} | new,
    )  # fmt: skip

    shown = bucket.ask("HEAD", "/bucket/b", triple(keys[target])).headers
    assert new.items() <= shown.items()
    assert shown["content-type"] == "binary/octet-stream"
    assert not (ABOUT.keys() - {"content-type", "cache-control"}) & shown.keys()


@pytest.mark.parametrize("directive", ["COPY", "REPLACE"])
@pytest.mark.parametrize("redirect", [{}, {"x-amz-website-redirect-location": "/there"}])
def test_a_redirect_is_never_copied(bucket, directive, redirect):
    bucket.ask("PUT", "/bucket/a", {"x-amz-website-redirect-location": "/here"}, SMALL)

    copy(bucket, {"x-amz-metadata-directive": directive} | redirect)

    shown = bucket.ask("HEAD", "/bucket/b").headers
    assert shown.get("x-amz-website-redirect-location") == ("/there" if redirect else None)


@SIDES
@pytest.mark.parametrize(
    ("headers", "tags"),
    [
        ({}, {"old": "1"}),
        ({"x-amz-tagging": "ignored=1"}, {"old": "1"}),
        ({"x-amz-tagging-directive": "COPY", "x-amz-tagging": "ignored=1"}, {"old": "1"}),
        (
            {"x-amz-tagging-directive": "REPLACE", "x-amz-tagging": "new=2&more="},
            {"new": "2", "more": ""},
        ),
        ({"x-amz-tagging-directive": "REPLACE"}, {}),
    ],
    ids=["default", "default-with-tags", "copy", "replace", "replace-by-none"],
)
def test_tags_are_copied_or_replaced(bucket, keys, source, target, headers, tags):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]) | {"x-amz-tagging": "old=1"}, SMALL)

    copy(bucket, source_triple(keys[source]) | triple(keys[target]) | headers)

    listed = bucket.ask("GET", "/bucket/b?tagging").document.children[0].children
    head = bucket.ask("HEAD", "/bucket/b", triple(keys[target])).headers
    assert {tag.children[0].text: tag.children[1].text for tag in listed} == tags
    assert head.get("x-amz-tagging-count") == (str(len(tags)) if tags else None)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-metadata-directive": "MOVE"}, "InvalidArgument"),
        ({"x-amz-tagging-directive": "MOVE"}, "InvalidArgument"),
        ({"x-amz-checksum-algorithm": "MD6"}, "InvalidRequest"),
        ({"x-amz-storage-class": "GLACIER"}, "InvalidStorageClass"),
        ({"x-amz-acl": "public-read"}, "AccessControlListNotSupported"),
        ({SSE: "aws:kms:fast"}, "InvalidArgument"),
        ({SSE: "ROT13"}, "InvalidArgument"),
        ({"x-amz-object-lock-mode": "COMPLIANCE"}, "InvalidArgument"),
        (
            {"x-amz-metadata-directive": "REPLACE", "x-amz-meta-a": "b" * 2048},
            "MetadataTooLarge",
        ),
        ({"x-amz-tagging-directive": "REPLACE", "x-amz-tagging": "a=1&a=2"}, "InvalidArgument"),
    ],
)
def test_what_a_copy_cannot_become_is_refused(bucket, headers, code):
    bucket.ask("PUT", "/bucket/a", {}, LARGE)
    before = everything(bucket)

    assert copy(bucket, headers).fault.code == code
    assert everything(bucket) == before


def test_a_bucket_that_blocks_customer_keys_takes_no_copies_under_one(make_store, key):
    store = make_store(block_sse_c=True)
    store.ask("PUT", "/bucket")
    store.ask("PUT", "/bucket/a", {}, SMALL)

    assert copy(store, key.headers()).fault.code == "AccessDenied"
    assert copy(store).status == 200


# Checksums


@SIDES
@pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["0-bytes", "inline", "200000-bytes"])
@pytest.mark.parametrize(
    ("sent", "asked", "shown"),
    [
        ("crc32", None, "crc32"),
        ("sha256", None, "sha256"),
        ("crc32", "SHA256", "sha256"),
        ("sha256", "CRC32", "crc32"),
        ("crc32", "crc32", "crc32"),
        (None, "SHA256", "sha256"),
    ],
)
def test_a_copy_keeps_its_checksum_or_gets_the_one_asked_for(
    bucket, keys, source, target, body, sent, asked, shown
):
    computed = {"crc32": crc32(body), "sha256": sha256(body)}
    announced = {f"x-amz-checksum-{sent}": computed[sent]} if sent else {}
    bucket.ask("PUT", "/bucket/a", triple(keys[source]) | announced, body)

    copied = copy(
        bucket,
        source_triple(keys[source]) | triple(keys[target])
        | ({"x-amz-checksum-algorithm": asked} if asked else {}),
    )  # fmt: skip
    head = bucket.ask(
        "HEAD", "/bucket/b", triple(keys[target]) | {"x-amz-checksum-mode": "ENABLED"}
    )

    named = {n: v for n, v in head.headers.items() if n.startswith("x-amz-checksum-")}
    assert copied.text(f"Checksum{shown.upper()}") == computed[shown]
    assert copied.text("ChecksumType") == "FULL_OBJECT"
    assert named == {
        f"x-amz-checksum-{shown}": computed[shown],
        "x-amz-checksum-type": "FULL_OBJECT",
    }


@SIDES
def test_a_copy_of_an_object_without_a_named_checksum_has_crc64nvme(bucket, keys, source, target):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]), SMALL)

    copied = copy(bucket, source_triple(keys[source]) | triple(keys[target]))

    assert copied.text("ChecksumCRC64NVME") == "rosUhgp5mIg="  # the published check value


# Conditions

YESTERDAY, TOMORROW = (
    format_datetime(datetime.now(UTC) + timedelta(days=days), usegmt=True) for days in (-1, 1)
)
OTHER = '"00000000000000000000000000000000"'
IF = "x-amz-copy-source-if-"


@SIDES
@pytest.mark.parametrize(
    ("headers", "condition"),
    [
        ({IF + "match": "ETAG"}, None),
        ({IF + "match": OTHER}, "x-amz-copy-source-If-Match"),
        ({IF + "none-match": OTHER}, None),
        ({IF + "none-match": "ETAG"}, "x-amz-copy-source-If-None-Match"),
        ({IF + "unmodified-since": TOMORROW}, None),
        ({IF + "unmodified-since": YESTERDAY}, "x-amz-copy-source-If-Unmodified-Since"),
        ({IF + "modified-since": YESTERDAY}, None),
        ({IF + "modified-since": "MODIFIED"}, "x-amz-copy-source-If-Modified-Since"),
        # Recorded: a time that is yet to come is no condition.
        ({IF + "modified-since": TOMORROW}, None),
        # S3 API reference, CopyObject: these two pairs are decided by the ETag.
        ({IF + "match": "ETAG", IF + "unmodified-since": YESTERDAY}, None),
        (
            {IF + "none-match": "ETAG", IF + "modified-since": YESTERDAY},
            "x-amz-copy-source-If-None-Match",
        ),
        # Recorded.
        (
            {IF + "none-match": "ETAG", IF + "unmodified-since": YESTERDAY},
            "x-amz-copy-source-If-Unmodified-Since",
        ),
    ],
)
def test_a_copy_obeys_the_conditions_on_its_source(
    bucket, keys, source, target, headers, condition
):
    etag = bucket.ask("PUT", "/bucket/a", triple(keys[source]), LARGE).headers["etag"]
    modified = bucket.ask("HEAD", "/bucket/a", triple(keys[source])).headers["last-modified"]
    values = {"ETAG": etag, "MODIFIED": modified}
    before = everything(bucket)

    answer = copy(
        bucket,
        source_triple(keys[source]) | triple(keys[target])
        | {name: values.get(value, value) for name, value in headers.items()},
    )  # fmt: skip

    if condition is None:
        assert answer.status == 200
    else:
        found = answer.fault
        assert (found.status, found.code) == (412, "PreconditionFailed")
        assert found.fields["Condition"] == condition
        assert everything(bucket) == before


def test_a_wrong_key_is_told_before_conditions(bucket, key, other_key):
    # Whoever lacks the key shall not find out what the conditions would say.
    bucket.ask("PUT", "/bucket/a", key.headers(), SMALL)

    answer = copy(bucket, source_triple(other_key) | {IF + "match": OTHER})

    assert fault(answer) == (403, "AccessDenied", WRONG_KEY, {})


@SIDES
@pytest.mark.parametrize(
    ("headers", "on_none", "on_some"),
    [
        ({"if-none-match": "*"}, 200, 412),
        ({"if-match": md5(b"before")}, 404, 200),
        ({"if-match": OTHER}, 404, 412),
    ],
)
def test_a_copy_obeys_the_conditions_on_its_target(
    bucket, keys, source, target, headers, on_none, on_some
):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]), LARGE)
    bucket.ask("PUT", "/bucket/b", {}, b"before")
    headers = source_triple(keys[source]) | triple(keys[target]) | headers
    before = everything(bucket)

    for place, status in (("/bucket/new", on_none), ("/bucket/b", on_some)):
        assert copy(bucket, headers, target=place).status == status
        if status != 200:
            assert everything(bucket) == before
        else:
            assert bucket.ask("GET", place, triple(keys[target])).body == LARGE
            before = everything(bucket)
