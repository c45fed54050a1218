"""Customers' keys that a bucket does not take, by list and by policy, on every way to write.

S002.13: the client keeps track of which key belongs to which object; here a HEAD tells.
"""

import base64
import hashlib
import json

import pytest
from botocore.exceptions import ClientError

from strongroom.crypto.secret import SecretKey
from strongroom.keyring import master
from strongroom.store import guarding

FINGERPRINT = "x-strongroom-customer-key-fingerprint"
COPY = "x-amz-copy-source-server-side-encryption"
SENTENCE = "This bucket takes objects under certain customer keys only"


def fingerprint(key):
    """Return what a key is known by in the stores of these tests."""
    return master.Master(SecretKey(bytes(range(32)))).fingerprint(SecretKey(key.raw))


@pytest.fixture
def other(key):
    return type(key)(b"another32bytesOfRandomCharacters")


def allow(store, *keys):
    document = None if not keys else guarding.keys_document([fingerprint(each) for each in keys])
    store.run(store.catalog.change_settings("bucket", {guarding.KEYS: document}))


@pytest.fixture
def listed(bucket, key):
    """A bucket that takes one key only, and an object under it."""
    allow(bucket, key)
    assert bucket.ask("PUT", "/bucket/mine", key.headers(), b"mine").status == 200
    return bucket


def copy_source(key, source="/bucket/mine"):
    return {"x-amz-copy-source": source} | {
        name.replace("x-amz-server-side-encryption", COPY): value
        for name, value in key.headers().items()
    }


def test_a_key_off_the_list_is_refused_before_a_byte_is_read(listed, other):
    before = listed.remains

    class Unread:
        def __iter__(self):
            raise AssertionError("the body was read")

    refused = listed.ask("PUT", "/bucket/mine", other.headers(), b"locked", pieces=Unread())

    assert (refused.status, refused.fault.code) == (403, "AccessDenied")
    assert refused.fault.message.startswith(SENTENCE)
    assert fingerprint(other).hex() in refused.fault.message
    assert listed.remains == before


def test_no_way_to_write_takes_a_key_off_the_list(listed, key, other):
    begun = listed.ask("POST", "/bucket/film?uploads", key.headers())
    upload_id = begun.text("UploadId")
    part = f"/bucket/film?uploadId={upload_id}&partNumber=1"
    before = listed.remains

    answers = [
        listed.ask("PUT", "/bucket/new", other.headers(), b"x"),
        listed.ask("PUT", "/bucket/mine", other.headers() | copy_source(key)),
        listed.ask("POST", "/bucket/film?uploads", other.headers()),
        listed.ask("PUT", part, other.headers(), b"x"),
        listed.ask("PUT", part, other.headers() | copy_source(key)),
    ]

    assert [answer.status for answer in answers] == [403] * 5
    assert all(answer.fault.message.startswith(SENTENCE) for answer in answers)
    assert listed.remains == before


def test_a_form_does_not_take_a_key_off_the_list(listed, other):
    client = listed.client()
    fields = {name.lower(): value for name, value in other.headers().items()}
    made = client.generate_presigned_post(
        "bucket", "form", Fields=fields, Conditions=[{name: text} for name, text in fields.items()]
    )["fields"]
    parts = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in (*made.items(), ("file", "content"))
    )

    refused = listed.ask(
        "POST",
        "/bucket",
        {"Content-Type": "multipart/form-data; boundary=b"},
        f"{parts}--b--\r\n".encode(),
        who=None,
    )

    assert refused.status == 403
    assert refused.fault.message.startswith(SENTENCE)


def test_an_upload_whose_key_was_taken_off_the_list_is_not_completed(listed, key, other):
    client = listed.client()
    begun = client.create_multipart_upload(Bucket="bucket", Key="film", **key.options)
    place = {"Bucket": "bucket", "Key": "film", "UploadId": begun["UploadId"]}
    part = client.upload_part(**place, PartNumber=1, Body=b"part", **key.options)
    allow(listed, other)

    with pytest.raises(ClientError) as refused:
        client.complete_multipart_upload(
            **place, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        )

    assert refused.value.response["Error"]["Code"] == "AccessDenied"


def test_what_stands_under_a_key_that_was_taken_off_can_be_read_and_copied_away(listed, key, other):
    allow(listed, other)

    assert listed.ask("GET", "/bucket/mine", key.headers()).body == b"mine"
    assert listed.ask("PUT", "/bucket/copy", other.headers() | copy_source(key)).status == 200
    assert listed.ask("PUT", "/bucket/plain", copy_source(key)).status == 200


def test_a_list_without_keys_takes_none_and_no_list_takes_all(bucket, key):
    bucket.run(
        bucket.catalog.change_settings("bucket", {guarding.KEYS: guarding.keys_document([])})
    )
    assert bucket.ask("PUT", "/bucket/mine", key.headers(), b"mine").status == 403
    assert bucket.ask("PUT", "/bucket/mine", {}, b"mine").status == 200

    allow(bucket)

    assert bucket.ask("PUT", "/bucket/mine", key.headers(), b"mine").status == 200


@pytest.mark.parametrize("effect", ["Deny", "Allow"])
def test_a_bucket_policy_can_ask_for_the_fingerprint(bucket, key, other, effect):
    alice = bucket.add_user("alice", "alicekey", "alice-secret")
    user_id = bucket.run(bucket.catalog.users())[0].user_id
    block = bucket.ask("DELETE", "/bucket?publicAccessBlock")
    assert block.status == 204
    operator = "StringNotEquals" if effect == "Deny" else "StringEquals"
    statements = [
        {
            "Effect": effect,
            "Principal": {"CanonicalUser": user_id},
            "Action": ["s3:PutObject", "s3:GetObject"],
            "Resource": "arn:aws:s3:::bucket/*",
            "Condition": {
                operator: {"strongroom:customer-key-fingerprint": fingerprint(key).hex()}
            },
        }
    ]
    if effect == "Deny":
        allowed = {name: value for name, value in statements[0].items() if name != "Condition"}
        statements.append(allowed | {"Effect": "Allow"})
    text = json.dumps({"Version": "2012-10-17", "Statement": statements}).encode()
    md5 = base64.b64encode(hashlib.md5(text, usedforsecurity=False).digest()).decode()
    assert bucket.ask("PUT", "/bucket?policy", {"content-md5": md5}, text).status == 204

    answers = [
        bucket.ask("PUT", "/bucket/a", key.headers(), b"a", who=alice).status,
        bucket.ask("PUT", "/bucket/a", other.headers(), b"a", who=alice).status,
        bucket.ask("PUT", "/bucket/a", {}, b"a", who=alice).status,
        bucket.ask("PUT", "/bucket/a", key.headers(key="!"), b"a", who=alice).status,
        bucket.ask("GET", "/bucket/a", key.headers(), who=alice).status,
    ]

    assert answers == [200, 403, 403, 403, 200]


def test_a_head_that_asks_is_told_the_fingerprint_and_others_are_not(bucket, key, other):
    bucket.ask("PUT", "/bucket/mine", key.headers(), b"mine")
    bucket.ask("PUT", "/bucket/plain", {}, b"plain")

    asked = bucket.ask("HEAD", "/bucket/mine", key.headers() | {FINGERPRINT: "1"})
    quiet = bucket.ask("HEAD", "/bucket/mine", key.headers())
    wrong = bucket.ask("HEAD", "/bucket/mine", other.headers() | {FINGERPRINT: "1"})
    plain = bucket.ask("HEAD", "/bucket/plain", {FINGERPRINT: "1"})

    assert asked.headers[FINGERPRINT] == fingerprint(key).hex()
    assert (wrong.status, plain.status) == (403, 200)
    assert not any(FINGERPRINT in answer.headers for answer in (quiet, wrong, plain))


def test_fingerprints_are_kept_on_every_way_to_write(bucket, key, other):
    client = bucket.client()
    bucket.ask("PUT", "/bucket/put", key.headers(), b"put")
    bucket.ask("PUT", "/bucket/copy", other.headers() | copy_source(key, "/bucket/put"))
    bucket.ask("PUT", "/bucket/plain", copy_source(key, "/bucket/put"))
    begun = client.create_multipart_upload(Bucket="bucket", Key="parts", **key.options)
    place = {"Bucket": "bucket", "Key": "parts", "UploadId": begun["UploadId"]}
    part = client.upload_part(**place, PartNumber=1, Body=b"part", **key.options)
    client.complete_multipart_upload(
        **place, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    )

    kept = {
        version.key: version.fingerprint
        for version in bucket.run(bucket.catalog.list_objects("bucket", limit=10)).versions
    }

    mine, others = fingerprint(key), fingerprint(other)
    assert kept == {"put": mine, "copy": others, "plain": b"", "parts": mine}


def test_nothing_is_kept_where_that_is_off_and_lists_hold_all_the_same(make_store, key, other):
    store = make_store(fingerprints=False)
    store.ask("PUT", "/bucket")
    allow(store, key)

    assert store.ask("PUT", "/bucket/mine", key.headers(), b"mine").status == 200
    assert store.ask("PUT", "/bucket/mine", other.headers(), b"x").status == 403
    (version,) = store.run(store.catalog.list_objects("bucket", limit=10)).versions
    assert version.fingerprint == b""
