"""CopyObject: whose key opens, whose key seals, and what a copy says of itself.

The letters of the rows of refusals are those of the facts about S3: A was recorded from
it, ? is our own choice.
"""

import hashlib
from datetime import datetime
from email.utils import parsedate_to_datetime

import pytest

SSE = "x-amz-server-side-encryption"
SOURCE_SSE = "x-amz-copy-source-server-side-encryption"
NAMED = {"ArgumentName": SSE}
KEYS_MUST = "Requests specifying Server Side Encryption with Customer provided keys must "
CONFLICT = (
    "Server Side Encryption with Customer provided key is incompatible with the encryption method"
    " specified"
)
BAD_ALGORITHM = "The Encryption request you specified is not valid. Supported value: AES256."
NO_ALGORITHM = KEYS_MUST + "provide a valid encryption algorithm."
NO_KEY = KEYS_MUST + "provide an appropriate secret key."
NO_MD5 = KEYS_MUST + "provide the client calculated MD5 of the secret key."
BAD_KEY = "The secret key was invalid for the specified algorithm."
BAD_MD5 = "The calculated MD5 hash of the key did not match the hash that was provided."
NEEDS_KEY = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be"
    " provided to retrieve the object."
)
WRONG_KEY = KEYS_MUST + "provide the correct secret key."
NOT_APPLICABLE = "The encryption parameters are not applicable to this object."
ILLEGAL = (
    "This copy request is illegal because it is trying to copy an object to itself without"
    " changing the object's metadata, storage class, website redirect location or encryption"
    " attributes."
)

SMALL, LARGE = b"123456789", b"".join(n.to_bytes(4) for n in range(50_000))
BODIES = [
    pytest.param(b"", id="0-bytes"),
    pytest.param(SMALL, id="inline"),
    pytest.param(LARGE, id="200000-bytes"),
]
HOLDERS = [None, 1, 2]
"""Who holds the key: the server, or a customer with the first or the second key."""


def triple(held, **bent):
    return {} if held is None else held.headers(**bent)


def source_triple(held, **bent):
    return {name.replace(SSE, SOURCE_SSE): value for name, value in triple(held, **bent).items()}


def copy(store, headers=None, *, source="bucket/a", target="/bucket/b"):
    return store.ask("PUT", target, {"x-amz-copy-source": source} | (headers or {}))


def fault(answer):
    found = answer.fault
    return found.status, found.code, found.message, found.fields


def encryption(answer):
    """Return what an answer says of encryption."""
    return {name: value for name, value in answer.headers.items() if "encryption" in name}


def md5(body):
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def everything(store):
    """Return all that the store holds, to compare with later."""
    versions = {
        (name, key): store.run(store.catalog.current(name, key.decode()))
        for name, key in store.catalog.keys
    }
    return store.remains, versions


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("source", HOLDERS)
@pytest.mark.parametrize("target", HOLDERS)
def test_a_copy_has_the_bytes_and_is_under_the_targets_key(bucket, keys, source, target, body):
    put = bucket.ask("PUT", "/bucket/a", triple(keys[source]), body)

    copied = copy(bucket, source_triple(keys[source]) | triple(keys[target]))
    got, head = (
        bucket.ask(method, "/bucket/b", triple(keys[target])) for method in ("GET", "HEAD")
    )

    shown = {SSE: "AES256"}
    if target is not None:
        shown = {
            f"{SSE}-customer-algorithm": "AES256",
            f"{SSE}-customer-key-md5": keys[target].md5,
        }
    etag = copied.text("ETag")
    assert (copied.status, got.status, head.status) == (200, 200, 200)
    assert copied.document.tag == "CopyObjectResult"
    assert got.body == bucket.ask("GET", "/bucket/a", triple(keys[source])).body == body
    assert encryption(copied) == encryption(got) == encryption(head) == shown
    assert got.headers["content-length"] == head.headers["content-length"] == str(len(body))
    assert got.headers["etag"] == head.headers["etag"] == etag
    modified = datetime.fromisoformat(copied.text("LastModified")).replace(microsecond=0)
    assert parsedate_to_datetime(got.headers["last-modified"]) == modified
    if target is None:
        assert etag == md5(body)
    else:
        assert len(etag) == 34
        assert etag not in (md5(body), put.headers["etag"])
    for holder in HOLDERS:
        if holder != target:
            refused = bucket.ask("GET", "/bucket/b", triple(keys[holder]))
            assert refused.status == (400 if None in (holder, target) else 403)


def test_boto3_copies_from_key_to_key(s3, key, other_key):
    s3.put_object(Bucket="bucket", Key="a", Body=LARGE, **key.options)

    s3.copy_object(
        Bucket="bucket",
        Key="b",
        CopySource={"Bucket": "bucket", "Key": "a"},
        CopySourceSSECustomerAlgorithm="AES256",
        CopySourceSSECustomerKey=key.raw,
        **other_key.options,
    )

    assert s3.get_object(Bucket="bucket", Key="b", **other_key.options)["Body"].read() == LARGE


def test_a_copy_goes_into_another_bucket_and_over_what_is_there(bucket):
    bucket.ask("PUT", "/other")
    bucket.ask("PUT", "/bucket/a", {}, LARGE)
    bucket.ask("PUT", "/other/a", {}, b"before")

    assert copy(bucket, target="/other/a").status == 200
    assert bucket.ask("GET", "/other/a").body == LARGE


# Refusals

REFUSALS = [
    pytest.param(
        None, {}, {}, (400, "InvalidRequest", NEEDS_KEY, {}), id="A-no-triple-for-the-source"
    ),
    pytest.param(
        {"algorithm": "KMS"},
        {},
        {},
        (400, "InvalidEncryptionAlgorithmError", BAD_ALGORITHM, NAMED | {"ArgumentValue": "KMS"}),
        id="A-unknown-algorithm-for-the-source",
    ),
    pytest.param(
        {},
        {"algorithm": "KMS"},
        {},
        (400, "InvalidEncryptionAlgorithmError", BAD_ALGORITHM, NAMED | {"ArgumentValue": "KMS"}),
        id="A-unknown-algorithm-for-the-target",
    ),
    pytest.param(
        {},
        {},
        {SSE: "AES256"},
        (400, "InvalidArgument", CONFLICT, NAMED | {"ArgumentValue": "AES256"}),
        id="A-conflict-with-sse",
    ),
    pytest.param(
        {"algorithm": None}, {}, {}, (400, "InvalidArgument", NO_ALGORITHM, NAMED), id="?-no-cs-alg"
    ),
    pytest.param({"key": None}, {}, {}, (400, "InvalidArgument", NO_KEY, NAMED), id="?-no-cs-key"),
    pytest.param({"md5": None}, {}, {}, (400, "InvalidArgument", NO_MD5, NAMED), id="?-no-cs-md5"),
    pytest.param(
        {"md5": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {},
        {},
        (400, "InvalidArgument", BAD_MD5, NAMED),
        id="?-cs-md5-of-something-else",
    ),
    pytest.param(
        {}, {"algorithm": None}, {}, (400, "InvalidArgument", NO_ALGORITHM, NAMED), id="?-no-alg"
    ),
    pytest.param({}, {"key": None}, {}, (400, "InvalidArgument", NO_KEY, NAMED), id="?-no-key"),
    pytest.param({}, {"md5": None}, {}, (400, "InvalidArgument", NO_MD5, NAMED), id="?-no-md5"),
    pytest.param(
        {},
        {"md5": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {},
        (400, "InvalidArgument", BAD_MD5, NAMED),
        id="?-md5-of-something-else",
    ),
]


@pytest.mark.parametrize(("of_source", "of_target", "more", "expected"), REFUSALS)
def test_a_bad_triple_is_refused_and_nothing_is_written(
    bucket, key, other_key, of_source, of_target, more, expected
):
    # S002.39 S002.41
    bucket.ask("PUT", "/bucket/a", key.headers(), LARGE)
    bucket.ask("PUT", "/bucket/b", {}, b"before")
    before = everything(bucket)

    headers = {} if of_source is None else source_triple(key, **of_source)
    answer = copy(bucket, headers | other_key.headers(**of_target) | more)

    assert fault(answer) == expected
    assert everything(bucket) == before


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("target", HOLDERS)
@pytest.mark.parametrize("itself", [False, True], ids=["elsewhere", "onto-itself"])
def test_a_wrong_source_key_is_refused_and_nothing_is_written(
    bucket, keys, customer_key, body, target, itself
):
    # S002.40
    bucket.ask("PUT", "/bucket/a", keys[1].headers(), body)
    bucket.ask("PUT", "/bucket/b", {}, b"before")
    before = everything(bucket)

    # The second is sent by boto3 for a key that was encoded already.
    for wrong in (keys[2], customer_key(keys[1].encoded.encode()), customer_key(b"short")):
        answer = copy(
            bucket,
            source_triple(wrong) | triple(keys[target]),
            target="/bucket/a" if itself else "/bucket/b",
        )
        assert fault(answer) == (403, "AccessDenied", WRONG_KEY, {})

    assert everything(bucket) == before


@pytest.mark.parametrize("length", [0, 10, 31, 33, 44])
def test_a_target_key_of_another_length_is_refused(bucket, customer_key, length):
    bucket.ask("PUT", "/bucket/a", {}, LARGE)
    before = everything(bucket)

    answer = copy(bucket, customer_key(bytes(length)).headers())

    assert fault(answer) == (400, "InvalidArgument", BAD_KEY, NAMED)
    assert everything(bucket) == before


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("target", HOLDERS)
def test_a_key_for_a_source_without_one_is_refused(bucket, keys, body, target):
    bucket.ask("PUT", "/bucket/a", {}, body)
    before = everything(bucket)

    answer = copy(bucket, source_triple(keys[1]) | triple(keys[target]))

    assert fault(answer) == (400, "InvalidRequest", NOT_APPLICABLE, {})
    assert everything(bucket) == before


def test_the_targets_key_does_not_open_the_source(bucket, key):
    bucket.ask("PUT", "/bucket/a", key.headers(), SMALL)

    assert fault(copy(bucket, key.headers())) == (400, "InvalidRequest", NEEDS_KEY, {})


@pytest.mark.parametrize(
    ("source", "target", "code", "fields"),
    [
        ("bucket/nothing", "/bucket/b", "NoSuchKey", {"Key": "nothing"}),
        ("nobucket/a", "/bucket/b", "NoSuchBucket", {"BucketName": "nobucket"}),
        ("bucket/a", "/nobucket/b", "NoSuchBucket", {"BucketName": "nobucket"}),
    ],
)
def test_what_is_not_there_is_404(bucket, source, target, code, fields):
    bucket.ask("PUT", "/bucket/a", {}, SMALL)

    found = copy(bucket, source=source, target=target).fault

    assert (found.status, found.code, found.fields) == (404, code, fields)


def test_a_copy_needs_leave_to_read_its_source_and_to_write_its_target(bucket, key):
    alice = bucket.add_user("alice", "alicekey", "alice-secret")
    bucket.ask("PUT", "/alices", who=alice)
    bucket.ask("PUT", "/alices/mine", {}, SMALL, who=alice)
    bucket.ask("PUT", "/bucket/a", key.headers(), SMALL)
    before = everything(bucket)

    for source, target in (("bucket/a", "/alices/b"), ("alices/mine", "/bucket/b")):
        answer = bucket.ask(
            "PUT", target, {"x-amz-copy-source": source} | source_triple(key), who=alice
        )
        assert (answer.status, answer.fault.code) == (403, "AccessDenied")

    assert everything(bucket) == before


# What may be copied onto itself


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-amz-metadata-directive": "COPY"},
        {"x-amz-meta-new": "ignored without REPLACE"},
        {"x-amz-acl": "private"},
    ],
    ids=["plain", "directive", "metadata", "acl"],
)
@pytest.mark.parametrize(
    "source", ["bucket/a", "/bucket/a", "bucket%2F%61", "bucket/a?versionId=null"]
)
def test_an_object_is_not_copied_onto_itself_unchanged(bucket, headers, source):
    bucket.ask("PUT", "/bucket/a", {"x-amz-meta-old": "kept"}, SMALL)
    before = everything(bucket)

    answer = copy(bucket, headers, source=source, target="/bucket/a")

    assert fault(answer) == (400, "InvalidRequest", ILLEGAL, {})
    assert everything(bucket) == before


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({SSE: "AES256"}, {"x-amz-meta-old": "kept"}),
        ({"x-amz-storage-class": "STANDARD"}, {"x-amz-meta-old": "kept"}),
        (
            {"x-amz-website-redirect-location": "/elsewhere"},
            {"x-amz-meta-old": "kept", "x-amz-website-redirect-location": "/elsewhere"},
        ),
        (
            {"x-amz-metadata-directive": "REPLACE", "x-amz-meta-new": "come"},
            {"x-amz-meta-new": "come"},
        ),
        ({"x-amz-metadata-directive": "REPLACE"}, {}),
    ],
    ids=["encryption", "storage-class", "redirect", "metadata", "no-metadata"],
)
def test_an_object_is_copied_onto_itself_where_something_may_change(bucket, headers, shown):
    bucket.ask("PUT", "/bucket/a", {"x-amz-meta-old": "kept"}, LARGE)

    answer = copy(bucket, headers, target="/bucket/a")
    got = bucket.ask("GET", "/bucket/a")

    own = ("x-amz-meta-", "x-amz-website")
    assert answer.status == 200
    assert {name: text for name, text in got.headers.items() if name.startswith(own)} == shown
    assert (got.body, got.headers["etag"]) == (LARGE, md5(LARGE))


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    ("source", "target"), [(a, b) for a in HOLDERS for b in HOLDERS if (a, b) != (None, None)]
)
def test_an_object_takes_another_key_by_a_copy_onto_itself(bucket, keys, source, target, body):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]) | {"x-amz-meta-old": "kept"}, body)

    answer = copy(bucket, source_triple(keys[source]) | triple(keys[target]), target="/bucket/a")

    got = bucket.ask("GET", "/bucket/a", triple(keys[target]))
    assert answer.status == 200
    assert (got.body, got.headers["x-amz-meta-old"]) == (body, "kept")
    if source != target:
        assert bucket.ask("GET", "/bucket/a", triple(keys[source])).status in (400, 403)


# Where the source is

NAMES = [
    "a",
    "a b",
    "a+b",
    "a%2Fb",
    "a//b",
    "/a",
    "schön/美/🔑",
    "q?a=b&c#d",
    "a?versionId=x",
    "..",
]


@pytest.mark.parametrize("name", NAMES)
def test_sources_may_have_any_name(s3, name):
    s3.put_object(Bucket="bucket", Key=name, Body=name.encode())

    s3.copy_object(Bucket="bucket", Key="b", CopySource={"Bucket": "bucket", "Key": name})

    assert s3.get_object(Bucket="bucket", Key="b")["Body"].read() == name.encode()


@pytest.mark.parametrize(
    "source",
    [
        "bucket/dir/a%20b",
        "/bucket/dir/a%20b",
        "bucket%2Fdir%2Fa%20b",
        "%2Fbucket%2fdir%2Fa%20b",
        "bucket/dir/a b",
        "bucket/dir/a%20b?versionId=null",
        "bucket/dir/a%20b?versionId=",
    ],
)
def test_a_source_is_written_in_many_ways(bucket, source):
    bucket.ask("PUT", "/bucket/dir/a%20b", {}, SMALL)

    assert copy(bucket, source=source).status == 200
    assert bucket.ask("GET", "/bucket/b").body == SMALL


BAD_SOURCE = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("bucket", ("x-amz-copy-source", "x-amz-copy-source", "Invalid copy source object key")),
        ("/bucket", ("x-amz-copy-source", "x-amz-copy-source", "Invalid copy source object key")),
        ("/", ("x-amz-copy-source", "/", BAD_SOURCE)),
        ("bucket/", ("x-amz-copy-source", "bucket/", BAD_SOURCE)),
        ("//a", ("x-amz-copy-source", "//a", BAD_SOURCE)),
        ("bucket/%FF", ("x-amz-copy-source", "bucket/%FF", BAD_SOURCE)),
        ("bucket/a?versionId=abc", ("versionId", "abc", "Invalid version id specified")),
    ],
)
def test_a_source_that_names_no_object_is_refused(bucket, source, expected):
    name, value, text = expected
    bucket.ask("PUT", "/bucket/a", {}, SMALL)

    answer = copy(bucket, source=source)

    fields = {"ArgumentName": name, "ArgumentValue": value}
    assert fault(answer) == (400, "InvalidArgument", text, fields)
