"""Objects that are replaced between the judgement of a request and the look at the object."""

import asyncio
import json

import pytest
from botocore.exceptions import ClientError

from strongroom.access import decision
from strongroom.dialects.s3 import services

OPEN = services.NewBuckets(ownership=decision.Ownership.WRITER, blocks_public=False)
BOB, EVE = ("bobkey", "bob-secret-key"), ("evekey", "eve-secret-key")


@pytest.fixture
def store(make_store):
    """A store whose new buckets have lists enabled, and nothing blocked."""
    return make_store(new_buckets=OPEN)


@pytest.fixture
def bob(store):
    store.add_user("bob", *BOB)
    return store.client(*BOB)


@pytest.fixture
def eve(store):
    store.add_user("eve", *EVE)
    return store.client(*EVE)


@pytest.fixture
def meanwhile(store):
    """Let something happen right after the current version was looked at, so many times."""

    def arm(act, times=1):
        real, left = store.catalog.current, [times]

        async def current(bucket, key, **options):
            try:
                return await real(bucket, key, **options)
            finally:
                if left[0]:
                    left[0] -= 1
                    await asyncio.to_thread(act)

        store.catalog.current = current
        return left

    return arm


def put(s3, body, **options):
    s3.put_object(Bucket="bucket", Key="k", Body=body, **options)


READS = {
    "GetObject": ("GET", "/bucket/k", {}),
    "HeadObject": ("HEAD", "/bucket/k", {}),
    "GetObjectAttributes": ("GET", "/bucket/k?attributes", {"x-amz-object-attributes": "ETag"}),
    "GetObjectTagging": ("GET", "/bucket/k?tagging", {}),
    "GetObjectAcl": ("GET", "/bucket/k?acl", {}),
}


def allow_all_reads(s3):
    """What an access list cannot grant, a policy does that asks for a tag of the object."""
    reads = ("GetObject", "GetObjectAttributes", "GetObjectTagging", "GetObjectAcl")
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": [f"s3:{name}" for name in reads],
        "Resource": "arn:aws:s3:::bucket/*",
        "Condition": {"StringEquals": {"s3:ExistingObjectTag/open": "yes"}},
    }
    s3.put_bucket_policy(
        Bucket="bucket", Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )


@pytest.mark.parametrize("name", READS)
def test_what_replaces_an_open_object_is_judged_by_itself(store, s3, meanwhile, name):
    allow_all_reads(s3)
    put(s3, b"for all", Tagging="open=yes")
    method, target, headers = READS[name]
    assert store.ask(method, target, headers, who=None).status == 200
    left = meanwhile(lambda: put(s3, b"secret"))

    answer = store.ask(method, target, headers, who=None)

    assert left == [0]
    assert answer.status == 403
    assert b"secret" not in answer.body


def test_a_copy_of_it_is_judged_too(s3, bob, meanwhile):
    bob.create_bucket(Bucket="bobs")
    put(s3, b"for all", ACL="public-read")
    meanwhile(lambda: put(s3, b"secret"))

    with pytest.raises(ClientError, match="AccessDenied"):
        bob.copy_object(Bucket="bobs", Key="mine", CopySource="bucket/k")

    assert "Contents" not in bob.list_objects_v2(Bucket="bobs")


def test_what_replaces_it_and_is_open_too_is_served(store, s3, meanwhile):
    put(s3, b"one", ACL="public-read")
    meanwhile(lambda: put(s3, b"two", ACL="public-read"))

    answer = store.ask("GET", "/bucket/k", who=None)

    assert (answer.status, answer.body) == (200, b"two")


def test_what_is_replaced_again_and_again_is_to_be_asked_for_later(store, s3, meanwhile):
    put(s3, b"one", ACL="public-read")
    meanwhile(lambda: put(s3, b"more", ACL="public-read"), times=100)

    answer = store.ask("GET", "/bucket/k", who=None)

    assert (answer.status, answer.fault.code) == (503, "SlowDown")


def test_a_list_is_not_set_on_what_replaced_its_object(s3, bob, meanwhile):
    """The document was read, and is gone: boto3 is told to try again, and refused then."""
    bobs_id = bob.list_buckets()["Owner"]["ID"]
    put(s3, b"one", GrantFullControl=f"id={bobs_id}")
    meanwhile(lambda: put(s3, b"two"))
    grants = s3.get_bucket_acl(Bucket="bucket")
    mine = {
        "Owner": grants["Owner"],
        "Grants": [
            {"Grantee": {"ID": bobs_id, "Type": "CanonicalUser"}, "Permission": "FULL_CONTROL"}
        ],
    }

    with pytest.raises(ClientError, match=r"max retries.*Access Denied"):
        bob.put_object_acl(Bucket="bucket", Key="k", AccessControlPolicy=mine)

    (grant,) = s3.get_object_acl(Bucket="bucket", Key="k")["Grants"]
    assert grant["Grantee"]["ID"] == grants["Owner"]["ID"]


def test_what_appears_where_nothing_was_is_its_writers(bob, eve, meanwhile):
    bob.create_bucket(Bucket="bobs", ACL="public-read-write")
    meanwhile(lambda: eve.put_object(Bucket="bobs", Key="k", Body=b"eve's"))

    with pytest.raises(ClientError, match="AccessDenied"):
        bob.get_object(Bucket="bobs", Key="k")


def test_what_replaced_its_object_is_not_deleted(s3, bob, meanwhile):
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:DeleteObject",
        "Resource": "arn:aws:s3:::bucket/*",
        "Condition": {"StringEquals": {"s3:ExistingObjectTag/rubbish": "yes"}},
    }
    s3.put_bucket_policy(
        Bucket="bucket", Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    put(s3, b"one", Tagging="rubbish=yes")
    meanwhile(lambda: put(s3, b"to be kept"))

    with pytest.raises(ClientError, match="AccessDenied"):
        bob.delete_object(Bucket="bucket", Key="k")

    assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"to be kept"
