"""Buckets' documents: set, shown, removed; and what a bucket without them answers."""

import base64
import hashlib

import pytest

from strongroom.dialects.s3 import protocol

NOT_CONFIGURED = [
    ("abac", 200, ""),
    ("accelerate", 200, ""),
    ("acl", 200, ""),
    ("analytics&id=a", 404, "NoSuchConfiguration"),
    ("analytics", 200, ""),
    ("intelligent-tiering&id=a", 404, "NoSuchConfiguration"),
    ("intelligent-tiering", 200, ""),
    ("cors", 404, "NoSuchCORSConfiguration"),
    ("encryption", 200, ""),
    ("inventory&id=a", 404, "NoSuchConfiguration"),
    ("inventory", 200, ""),
    ("lifecycle", 404, "NoSuchLifecycleConfiguration"),
    ("location", 200, ""),
    ("logging", 200, ""),
    ("metrics&id=a", 404, "NoSuchConfiguration"),
    ("metrics", 200, ""),
    ("notification", 200, ""),
    ("object-lock", 404, "ObjectLockConfigurationNotFoundError"),
    ("ownershipControls", 200, ""),
    ("policy", 404, "NoSuchBucketPolicy"),
    ("policyStatus", 404, "NoSuchBucketPolicy"),
    ("publicAccessBlock", 200, ""),
    ("replication", 404, "ReplicationConfigurationNotFoundError"),
    ("requestPayment", 200, ""),
    ("tagging", 404, "NoSuchTagSet"),
    ("uploads", 200, ""),
    ("versioning", 200, ""),
    ("versions", 200, ""),
    ("website", 404, "NoSuchWebsiteConfiguration"),
]


@pytest.mark.parametrize(("resource", "status", "code"), NOT_CONFIGURED)
def test_a_fresh_bucket_answers_as_not_configured(bucket, resource, status, code):
    answer = bucket.ask("GET", f"/bucket?{resource}")

    assert answer.status == status
    assert (answer.fault.code if status == 404 else "") == code


def test_everything_that_a_bucket_can_be_asked_for_is_in_that_list():
    asked = {
        operation.static_query[0][0]
        for operation in map(protocol.MODEL.operations.get, protocol.HANDLERS)
        if (operation.method, operation.path) == ("GET", "/{Bucket}") and operation.static_query
    }

    assert asked - {"list-type"} == {row[0].partition("&")[0] for row in NOT_CONFIGURED}


SHOWN = {
    "get_bucket_abac": {"AbacStatus": {"Status": "Disabled"}},
    "get_bucket_accelerate_configuration": {},
    "get_bucket_encryption": {
        "ServerSideEncryptionConfiguration": {
            "Rules": [
                {
                    "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"},
                    "BucketKeyEnabled": False,
                }
            ]
        }
    },
    "get_bucket_location": {"LocationConstraint": None},
    "get_bucket_logging": {},
    "get_bucket_notification_configuration": {},
    "get_bucket_ownership_controls": {
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    },
    "get_bucket_request_payment": {"Payer": "BucketOwner"},
    "get_bucket_versioning": {},
    "get_public_access_block": {
        "PublicAccessBlockConfiguration": {
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        }
    },
}
"""What AWS shows of a bucket that nobody has said anything about."""


@pytest.mark.parametrize("method", SHOWN)
def test_a_fresh_bucket_shows_a_program_what_aws_would_show_it(bucket, method):
    shown = getattr(bucket.client(), method)(Bucket="bucket")

    del shown["ResponseMetadata"]
    assert shown == SHOWN[method]


@pytest.mark.parametrize("resource", ["tagging", "requestPayment", "lifecycle"])
def test_a_bucket_that_is_not_there_has_no_documents(store, resource):
    answer = store.ask("GET", f"/nowhere?{resource}")

    assert (answer.status, answer.fault.code) == (404, "NoSuchBucket")


def put(store, target, body, **how):
    digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    return store.ask("PUT", target, {"content-md5": digest}, body, **how)


def tagging(**tags):
    inner = "".join(f"<Tag><Key>{k}</Key><Value>{v}</Value></Tag>" for k, v in tags.items())
    return f"<Tagging><TagSet>{inner}</TagSet></Tagging>".encode()


def tags_of(answer):
    (tag_set,) = answer.document.children
    return {tag.children[0].text: tag.children[1].text for tag in tag_set.children}


def test_tags_of_a_bucket_are_set_shown_replaced_and_removed(bucket):
    assert put(bucket, "/bucket?tagging", tagging(a="1", b="2")).status == 200
    assert tags_of(bucket.ask("GET", "/bucket?tagging")) == {"a": "1", "b": "2"}

    assert put(bucket, "/bucket?tagging", tagging(c="é")).status == 200
    assert tags_of(bucket.ask("GET", "/bucket?tagging")) == {"c": "é"}

    assert bucket.ask("DELETE", "/bucket?tagging").status == 204
    assert bucket.ask("GET", "/bucket?tagging").fault.code == "NoSuchTagSet"


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"", "MissingRequestBodyError"),
        (b"<Tagging>", "MalformedXML"),
        (tagging(**{"aws:a": "1"}), "InvalidTag"),
        (tagging(**{f"t{number}": "" for number in range(51)}), "InvalidTag"),
    ],
)
def test_tags_that_a_bucket_cannot_have_leave_those_it_has(bucket, document, code):
    put(bucket, "/bucket?tagging", tagging(a="1"))

    answer = put(bucket, "/bucket?tagging", document)

    assert (answer.status, answer.fault.code) == (400, code)
    assert tags_of(bucket.ask("GET", "/bucket?tagging")) == {"a": "1"}


def test_a_bucket_may_have_fifty_tags(bucket):
    many = {f"t{number}": "" for number in range(50)}

    assert put(bucket, "/bucket?tagging", tagging(**many)).status == 200


@pytest.mark.parametrize(("payer", "status"), [("BucketOwner", 200), ("Requester", 501)])
def test_the_owner_of_a_bucket_pays(bucket, payer, status):
    body = (
        f"<RequestPaymentConfiguration><Payer>{payer}</Payer></RequestPaymentConfiguration>"
    ).encode()

    assert put(bucket, "/bucket?requestPayment", body).status == status
    shown = bucket.ask("GET", "/bucket?requestPayment")
    assert [child.text for child in shown.document.children] == ["BucketOwner"]


def test_only_the_owner_reads_and_writes_documents(bucket):
    bucket.add_user("bob", "bobskey", "bobs-secret")
    bob = ("bobskey", "bobs-secret")

    answers = (
        put(bucket, "/bucket?tagging", tagging(a="1"), who=bob),
        bucket.ask("GET", "/bucket?tagging", who=bob),
        bucket.ask("DELETE", "/bucket?tagging", who=bob),
    )

    for answer in answers:
        assert (answer.status, answer.fault.code) == (403, "AccessDenied")
