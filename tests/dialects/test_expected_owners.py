"""x-amz-expected-bucket-owner: a request goes to the bucket of that owner, or nowhere."""

import pytest

from strongroom.access import identities

OWNER = "x-amz-expected-bucket-owner"
SOURCE_OWNER = "x-amz-source-expected-bucket-owner"
RIGHT = pytest.mark.parametrize(
    "owner", [identities.ROOT_ID, identities.account_of(identities.ROOT_ID)], ids=["id", "account"]
)
CASES = pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/bucket", b""),
        ("HEAD", "/bucket", b""),
        ("GET", "/bucket?location", b""),
        ("GET", "/bucket?versioning", b""),
        ("PUT", "/bucket/k", b"new"),
        ("GET", "/bucket/k", b""),
        ("HEAD", "/bucket/k", b""),
        ("DELETE", "/bucket/k", b""),
        ("POST", "/bucket/k?uploads", b""),
    ],
)


@RIGHT
@CASES
def test_the_right_owner_changes_nothing(bucket, owner, method, target, body):
    bucket.ask("PUT", "/bucket/k", {}, b"old")

    assert bucket.ask(method, target, {OWNER: owner}, body).status in (200, 204)


@CASES
def test_another_owner_is_refused_and_nothing_happens(bucket, method, target, body):
    bucket.ask("PUT", "/bucket/k", {}, b"old")

    answer = bucket.ask(method, target, {OWNER: "111122223333"}, body)

    assert answer.status == 403
    assert bucket.ask("GET", "/bucket/k").body == b"old"


@RIGHT
def test_the_source_of_a_copy_has_an_owner_as_well(bucket, owner):
    bucket.ask("PUT", "/bucket/k", {}, b"old")
    source = {"x-amz-copy-source": "/bucket/k"}

    refused = bucket.ask("PUT", "/bucket/c", source | {SOURCE_OWNER: "111122223333", OWNER: owner})
    assert (refused.status, refused.fault.code) == (403, "AccessDenied")
    assert bucket.ask("GET", "/bucket/c").status == 404

    assert bucket.ask("PUT", "/bucket/c", source | {SOURCE_OWNER: owner}).status == 200
