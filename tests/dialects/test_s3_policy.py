"""Bucket policies over the wire: who may do what, and in which order a request is judged."""

import base64
import hashlib
import json

import pytest
from botocore.exceptions import ClientError

OPEN = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}  # fmt: skip
ROOT = "rootaccess", "root-secret-for-tests"
ALGORITHM = "s3:x-amz-server-side-encryption-customer-algorithm"


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def statement(**changes):
    return OPEN | changes


def only_sse_c(*, required):
    """Return P1 (customer keys required), or P2 (forbidden)."""
    return document(
        {
            "Sid": "OnlySseC",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::bucket/*",
            "Condition": {"Null": {ALGORITHM: "true" if required else "false"}},
        }
    )


@pytest.fixture
def alice(store):
    return store.add_user("alice", "alicekey", "alice-secret")


@pytest.fixture
def bob(store):
    return store.add_user("bob", "bobkey", "bob-secret-key")


@pytest.fixture
def shared(store, alice, bob):  # noqa: ARG001 - bob is somebody known
    """Alice's bucket, which may be made public; bob and strangers knock at it."""
    assert store.ask("PUT", "/bucket", who=alice).status == 200
    assert store.ask("DELETE", "/bucket?publicAccessBlock", who=alice).status == 204
    assert store.ask("PUT", "/bucket/key", body=b"body", who=alice).status == 200
    return store


def put_policy(store, who, text):
    md5 = hashlib.md5(text.encode(), usedforsecurity=False).digest()
    headers = {"content-md5": base64.b64encode(md5).decode()}
    return store.ask("PUT", "/bucket?policy", headers, text.encode(), who=who)


def set_policy(store, who, *statements):
    answer = put_policy(store, who, document(*statements))
    assert (answer.status, answer.body) == (204, b"")


def error(answer):
    return answer.status, answer.fault.code


def test_a_policy_is_shown_as_it_was_sent_and_can_be_deleted(s3):
    text = document(statement(Principal={"AWS": "123456789012"})) + "\n"

    s3.put_bucket_policy(Bucket="bucket", Policy=text)
    assert s3.get_bucket_policy(Bucket="bucket")["Policy"] == text

    s3.delete_bucket_policy(Bucket="bucket")
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket="bucket")
    s3.delete_bucket_policy(Bucket="bucket")


def test_a_malformed_policy_is_refused_and_the_old_one_stays(shared, alice):
    set_policy(shared, alice, OPEN)

    answer = put_policy(shared, alice, '{"Statement": [')

    assert answer.fault.code == "MalformedPolicy"
    assert answer.fault.message == "This policy contains invalid Json"
    assert shared.ask("GET", "/bucket/key", who=None).body == b"body"


def test_a_policy_lets_others_read_and_nothing_else(shared, alice, bob):
    assert error(shared.ask("GET", "/bucket/key", who=bob)) == (403, "AccessDenied")

    set_policy(shared, alice, OPEN)

    for who in (bob, None):
        assert shared.ask("GET", "/bucket/key", who=who).body == b"body"
        assert shared.ask("PUT", "/bucket/key", body=b"x", who=who).status == 403
        assert shared.ask("GET", "/bucket", who=who).status == 403
        assert shared.ask("DELETE", "/bucket/key", who=who).status == 403
        assert shared.ask("GET", "/bucket?policy", who=who).status == 403


def test_anonymous_writes_are_the_buckets_owners(shared, alice):
    set_policy(shared, alice, statement(Action="s3:PutObject"))

    assert shared.ask("PUT", "/bucket/new", body=b"x", who=None).status == 200

    assert shared.ask("GET", "/bucket/new", who=alice).body == b"x"


# Customer keys required, or forbidden


def test_a_policy_can_require_customer_keys(shared, alice, key):
    # S002.17: P1.
    put_policy(shared, alice, only_sse_c(required=True))

    assert error(shared.ask("PUT", "/bucket/a", body=b"x", who=alice)) == (403, "AccessDenied")
    assert shared.ask("PUT", "/bucket/a", key.headers(), b"x", who=alice).status == 200
    copied = {"x-amz-copy-source": "/bucket/key"}
    assert shared.ask("PUT", "/bucket/b", copied, who=alice).status == 403
    assert shared.ask("PUT", "/bucket/b", copied | key.headers(), who=alice).status == 200


def test_a_policy_can_forbid_customer_keys(shared, alice, key):
    # S002.18: P2.
    put_policy(shared, alice, only_sse_c(required=False))

    answer = shared.ask("PUT", "/bucket/a", key.headers(), b"x", who=alice)

    assert error(answer) == (403, "AccessDenied")
    assert shared.ask("PUT", "/bucket/a", body=b"x", who=alice).status == 200


def test_required_customer_keys_are_required_in_every_request_of_an_upload(shared, alice, key):
    # S002.19
    put_policy(shared, alice, only_sse_c(required=True))

    assert shared.ask("POST", "/bucket/film?uploads", who=alice).status == 403
    begun = shared.ask("POST", "/bucket/film?uploads", key.headers(), who=alice)
    place = f"/bucket/film?uploadId={begun.text('UploadId')}"
    part = f"{place}&partNumber=1"
    assert shared.ask("PUT", part, body=b"x", who=alice).status == 403
    etag = shared.ask("PUT", part, key.headers(), b"x", who=alice).headers["etag"]
    listed = (
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
        f"<ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    ).encode()
    assert error(shared.ask("POST", place, body=listed, who=alice)) == (403, "AccessDenied")
    assert shared.ask("POST", place, key.headers(), listed, who=alice).status == 200


def test_the_policy_is_judged_before_the_encryption_headers(shared, alice, key):
    put_policy(shared, alice, only_sse_c(required=False))

    answer = shared.ask("PUT", "/bucket/a", key.headers(md5="no"), b"x", who=alice)

    assert error(answer) == (403, "AccessDenied")


def test_root_obeys_the_policy_of_a_bucket_and_may_always_change_it(bucket, key):
    put_policy(bucket, ROOT, only_sse_c(required=True))
    deny = document(statement(Effect="Deny", Action="s3:*", Resource=["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"]))  # fmt: skip

    assert bucket.ask("PUT", "/bucket/a", body=b"x").status == 403
    assert bucket.ask("PUT", "/bucket/a", key.headers(), b"x").status == 200
    assert put_policy(bucket, ROOT, deny).status == 204
    assert bucket.ask("GET", "/bucket").status == 403
    assert bucket.ask("GET", "/bucket?policy").body == deny.encode()
    assert bucket.ask("DELETE", "/bucket?policy").status == 204
    assert bucket.ask("GET", "/bucket").status == 200


# Conditions


@pytest.mark.parametrize(
    ("condition", "headers", "query", "fits"),
    [
        ({"Bool": {"aws:SecureTransport": "true"}}, {}, "", True),
        ({"Bool": {"aws:SecureTransport": "false"}}, {}, "", False),
        ({"StringLike": {"aws:Referer": "https://a/*"}}, {"referer": "https://a/b"}, "", True),
        ({"StringLike": {"aws:Referer": "https://a/*"}}, {}, "", False),
        ({"StringEquals": {"aws:UserAgent": "me"}}, {"user-agent": "me"}, "", True),
        ({"StringEquals": {"s3:authType": "REST-HEADER"}}, {}, "", True),
        ({"StringEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}, {}, "", True),
        ({"NumericLessThan": {"s3:signatureAge": "600000"}}, {}, "", True),
        ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, {}, "", True),
        ({"NumericLessThan": {"aws:EpochTime": "1"}}, {}, "", False),
        ({"StringEquals": {"aws:username": "bob"}}, {}, "", True),
        ({"StringEquals": {"aws:username": "alice"}}, {}, "", False),
        ({"StringEquals": {"aws:PrincipalType": "Account"}}, {}, "", True),
        ({"StringEquals": {"s3:VersionId": "null"}}, {}, "?versionId=null", True),
        ({"Null": {"s3:VersionId": "true"}}, {}, "", True),
        ({"StringNotEquals": {"s3:if-match": "x"}}, {}, "", True),
    ],
)
def test_a_read_is_allowed_on_conditions(shared, alice, bob, condition, headers, query, fits):
    versioned = ["s3:GetObject", "s3:GetObjectVersion"]
    set_policy(shared, alice, statement(Condition=condition, Action=versioned))

    answer = shared.ask("GET", f"/bucket/key{query}", headers, who=bob)

    assert answer.status == (200 if fits else 403)


@pytest.mark.parametrize(
    ("condition", "query", "fits"),
    [
        ({"StringEquals": {"s3:prefix": "a/"}}, "?prefix=a%2F", True),
        ({"StringEquals": {"s3:prefix": "a/"}}, "?prefix=b%2F", False),
        ({"StringEquals": {"s3:prefix": "a/"}}, "", False),
        ({"StringEquals": {"s3:delimiter": "/"}}, "?delimiter=%2F", True),
        ({"NumericLessThanEquals": {"s3:max-keys": "10"}}, "?max-keys=10", True),
        ({"NumericLessThanEquals": {"s3:max-keys": "10"}}, "?max-keys=11", False),
    ],
)
def test_a_listing_is_allowed_on_conditions(shared, alice, bob, condition, query, fits):
    listing = {"Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bucket"}
    set_policy(shared, alice, statement(Condition=condition, **listing))

    assert shared.ask("GET", f"/bucket{query}", who=bob).status == (200 if fits else 403)


@pytest.mark.parametrize(
    ("condition", "headers", "fits"),
    [
        ({"StringEquals": {"s3:x-amz-storage-class": "STANDARD"}}, {"x-amz-storage-class": "STANDARD"}, True),
        ({"StringEquals": {"s3:RequestObjectTag/a": "b"}}, {"x-amz-tagging": "a=b"}, True),
        ({"StringEquals": {"s3:RequestObjectTag/a": "b"}}, {"x-amz-tagging": "a=c"}, False),
        ({"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["a", "c"]}}, {"x-amz-tagging": "a=b&c=d"}, True),
        ({"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["a"]}}, {"x-amz-tagging": "a=b&c=d"}, False),
        ({"StringEquals": {"s3:x-amz-server-side-encryption": "AES256"}}, {"x-amz-server-side-encryption": "AES256"}, True),
        ({"StringEquals": {"s3:x-amz-server-side-encryption": "AES256"}}, {}, False),
        ({"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}, {"x-amz-acl": "bucket-owner-full-control"}, True),
        ({"Null": {"s3:x-amz-content-sha256": "false"}}, {}, True),
    ],
)  # fmt: skip
def test_a_write_is_allowed_on_conditions(shared, alice, bob, condition, headers, fits):
    actions = ["s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectAcl"]
    set_policy(shared, alice, statement(Condition=condition, Action=actions))

    answer = shared.ask("PUT", "/bucket/new", headers, b"x", who=bob)

    assert answer.status == (200 if fits else 403)


def test_tags_of_an_object_decide(shared, alice, bob):
    tagged = {"x-amz-tagging": "class=open"}
    shared.ask("PUT", "/bucket/open", tagged, b"x", who=alice)
    condition = {"StringEquals": {"s3:ExistingObjectTag/class": "open"}}

    set_policy(shared, alice, statement(Condition=condition))

    assert shared.ask("GET", "/bucket/open", who=bob).status == 200
    assert shared.ask("GET", "/bucket/key", who=bob).status == 403


def test_tags_of_a_document_decide(shared, alice, bob):
    condition = {"StringEquals": {"s3:RequestObjectTag/class": "open"}}
    set_policy(shared, alice, statement(Condition=condition, Action="s3:PutObjectTagging"))
    tag = shared.client(*bob).put_object_tagging

    tag(Bucket="bucket", Key="key", Tagging={"TagSet": [{"Key": "class", "Value": "open"}]})
    with pytest.raises(ClientError, match="AccessDenied"):
        tag(Bucket="bucket", Key="key", Tagging={"TagSet": [{"Key": "class", "Value": "shut"}]})


def test_tagging_a_new_object_is_a_permission_of_its_own(shared, alice, bob):
    set_policy(shared, alice, statement(Action="s3:PutObject"))

    assert shared.ask("PUT", "/bucket/a", {"x-amz-tagging": "a=b"}, b"x", who=bob).status == 403
    assert shared.ask("PUT", "/bucket/a", body=b"x", who=bob).status == 200


def test_naming_a_version_is_a_permission_of_its_own(shared, alice, bob):
    set_policy(shared, alice, OPEN)

    assert shared.ask("GET", "/bucket/key?versionId=null", who=bob).status == 403
    assert shared.ask("GET", "/bucket/key", who=bob).status == 200


# Several things at once


def test_deleting_many_is_judged_one_by_one(shared, alice, bob):
    shared.ask("PUT", "/bucket/mine", body=b"x", who=alice)
    theirs = "arn:aws:s3:::bucket/key"
    set_policy(shared, alice, statement(Action="s3:DeleteObject", Resource=theirs))
    client = shared.client(*bob)

    answer = client.delete_objects(
        Bucket="bucket", Delete={"Objects": [{"Key": "key"}, {"Key": "mine"}]}
    )

    assert [entry["Key"] for entry in answer["Deleted"]] == ["key"]
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [
        ("mine", "AccessDenied")
    ]
    assert shared.ask("GET", "/bucket/mine", who=alice).status == 200


def test_whom_a_bucket_has_nothing_for_is_refused_before_the_document_is_read(shared, bob):
    answer = shared.ask("POST", "/bucket?delete", body=b"<no document", who=bob)

    assert error(answer) == (403, "AccessDenied")


def test_a_copy_reads_here_and_writes_there(shared, alice, bob):
    shared.ask("PUT", "/bobs", who=bob)
    copied = {"x-amz-copy-source": "/bucket/key"}
    assert shared.ask("PUT", "/bobs/key", copied, who=bob).status == 403

    set_policy(shared, alice, OPEN)

    assert shared.ask("PUT", "/bobs/key", copied, who=bob).status == 200
    assert shared.ask("PUT", "/bucket/copy", copied, who=bob).status == 403


# What is not there


def test_who_may_not_list_is_not_told_what_is_missing(shared, alice, bob):
    set_policy(shared, alice, OPEN)

    assert error(shared.ask("GET", "/bucket/nothing", who=bob)) == (403, "AccessDenied")
    assert error(shared.ask("GET", "/bucket/nothing", who=alice)) == (404, "NoSuchKey")


def test_who_may_list_is_told_what_is_missing(shared, alice, bob):
    listing = {"Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bucket"}
    condition = {"StringLike": {"s3:prefix": "open/*"}}
    set_policy(shared, alice, statement(Condition=condition, **listing))

    assert error(shared.ask("GET", "/bucket/open/a", who=bob)) == (404, "NoSuchKey")
    assert error(shared.ask("GET", "/bucket/shut/a", who=bob)) == (403, "AccessDenied")
    assert error(shared.ask("GET", "/bucket/key", who=bob)) == (403, "AccessDenied")


# Block public access


def test_new_buckets_cannot_be_made_public(s3):
    found = s3.get_public_access_block(Bucket="bucket")["PublicAccessBlockConfiguration"]
    assert set(found.values()) == {True}

    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_bucket_policy(Bucket="bucket", Policy=document(OPEN))

    named = document(statement(Principal={"AWS": "123456789012"}))
    s3.put_bucket_policy(Bucket="bucket", Policy=named)


def test_a_public_policy_can_be_restricted_afterwards(shared, alice, bob):
    set_policy(shared, alice, OPEN)
    client = shared.client(*alice)

    client.put_public_access_block(
        Bucket="bucket", PublicAccessBlockConfiguration={"RestrictPublicBuckets": True}
    )

    assert shared.ask("GET", "/bucket/key", who=bob).status == 403
    assert shared.ask("GET", "/bucket/key", who=alice).status == 200
    found = client.get_public_access_block(Bucket="bucket")["PublicAccessBlockConfiguration"]
    assert found == {
        "BlockPublicAcls": False,
        "IgnorePublicAcls": False,
        "BlockPublicPolicy": False,
        "RestrictPublicBuckets": True,
    }


def test_the_status_of_a_policy_tells_whether_it_is_public(shared, alice):
    client = shared.client(*alice)
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        client.get_bucket_policy_status(Bucket="bucket")

    for principal, public in (("*", True), ({"AWS": "123456789012"}, False)):
        set_policy(shared, alice, statement(Principal=principal))
        found = client.get_bucket_policy_status(Bucket="bucket")
        assert found["PolicyStatus"]["IsPublic"] is public


def test_a_bucket_without_a_block_says_so(shared, alice):
    answer = shared.ask("GET", "/bucket?publicAccessBlock", who=alice)

    assert error(answer) == (404, "NoSuchPublicAccessBlockConfiguration")


# Tags that a copy carries over


def test_a_copy_carries_tags_only_for_whoever_may_read_and_set_them(shared, alice, bob):
    copying = statement(Action=["s3:GetObject", "s3:PutObject"])
    reading, setting = (
        statement(Action=f"s3:{action}") for action in ("GetObjectTagging", "PutObjectTagging")
    )
    shared.ask("PUT", "/bucket/plain", body=b"x", who=alice)
    shared.ask("PUT", "/bucket/tagged", {"x-amz-tagging": "secret=42"}, b"x", who=alice)

    def copied(source, **headers):
        sent = {"x-amz-copy-source": f"/bucket/{source}", **headers}
        return shared.ask("PUT", "/bucket/copy", sent, who=bob).status

    for statements in ((copying,), (copying, reading), (copying, setting)):
        set_policy(shared, alice, *statements)
        assert copied("tagged") == 403
        assert copied("plain") == 200
        assert copied("tagged", **{"x-amz-tagging-directive": "REPLACE"}) == 200

    refusing = statement(
        Effect="Deny",
        Action="s3:PutObjectTagging",
        Condition={"StringEquals": {"s3:RequestObjectTag/secret": "42"}},
    )
    set_policy(shared, alice, copying, reading, setting, refusing)
    assert copied("tagged") == 403
    set_policy(shared, alice, copying, reading, setting)
    assert copied("tagged") == 200
    assert b"42" in shared.ask("GET", "/bucket/copy?tagging", who=alice).body


# Uploads in parts


def begin(store, who, key="film"):
    answer = store.ask("POST", f"/bucket/{key}?uploads", who=who)
    return f"/bucket/{key}?uploadId={answer.text('UploadId')}"


WRITE = {"Action": "s3:PutObject"}


def test_who_began_an_upload_sees_and_aborts_it_and_nobody_elses(shared, alice, bob):
    set_policy(shared, alice, statement(**WRITE))
    of_bob, of_alice, of_nobody = (begin(shared, who) for who in (bob, alice, None))
    canonical = shared.run(shared.core.people.find(bob[0])).principal.user_id

    listed = shared.ask("GET", of_bob, who=bob)
    assert (listed.status, listed.text("Initiator", "ID")) == (200, canonical)
    for upload in (of_alice, of_nobody, of_bob + "A"):
        for method in ("GET", "DELETE"):
            assert error(shared.ask(method, upload, who=bob)) == (403, "AccessDenied")
    assert error(shared.ask("DELETE", of_nobody, who=None)) == (403, "AccessDenied")

    assert shared.ask("DELETE", of_bob, who=bob).status == 204
    for upload in (of_alice, of_nobody):
        assert shared.ask("DELETE", upload, who=alice).status == 204


def test_a_policy_denies_it_to_who_began_an_upload(shared, alice, bob):
    denied = statement(Effect="Deny", Action="s3:AbortMultipartUpload")
    set_policy(shared, alice, statement(**WRITE), denied)
    upload = begin(shared, bob)

    assert error(shared.ask("DELETE", upload, who=bob)) == (403, "AccessDenied")
    assert shared.ask("GET", upload, who=bob).status == 200


def test_an_upload_that_is_not_there_is_told_to_who_may_abort_it(shared, alice, bob):
    set_policy(shared, alice, statement(**WRITE))

    assert error(shared.ask("DELETE", "/bucket/k?uploadId=x", who=bob)) == (403, "AccessDenied")
    assert error(shared.ask("DELETE", "/bucket/k?uploadId=x", who=alice)) == (404, "NoSuchUpload")
