"""Who may lock what, in S3's policies; and what a lock forbids to do with keys."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LATER = NOW + 10 * DAY
ALICE = ("aliceaccess", "alice-secret")
LOCKED = "Access Denied because object protected by object lock."
HOLD = "x-amz-object-lock-legal-hold"


@pytest.fixture
def shelf(locked_shelf):
    return locked_shelf


def allow(*actions, condition=None):
    return {
        "Effect": "Allow",
        "Principal": "*",
        "Action": [f"s3:{action}" for action in actions],
        "Resource": "arn:aws:s3:::shelf/*",
        **({"Condition": condition} if condition else {}),
    }


def policy(shelf, *statements):
    shelf.call("delete_public_access_block")
    document = {"Version": "2012-10-17", "Statement": statements}
    shelf.call("put_bucket_policy", Policy=json.dumps(document))


@pytest.fixture
def alice(shelf):
    shelf.store.add_user("Alice", *ALICE)
    return shelf.seen_by(shelf.store.client(*ALICE))


def test_a_bypass_needs_its_own_permission(shelf, alice):
    version_id = shelf.put(ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=LATER)
    named = {"Key": "key", "VersionId": version_id, "BypassGovernanceRetention": True}
    shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": NOW + DAY}
    policy(shelf, allow("DeleteObjectVersion", "PutObjectRetention"))

    assert alice.refused("delete_object", **named) == (403, "AccessDenied", LOCKED)
    told = alice.refused("put_object_retention", **named, Retention=shorter)
    assert told == (403, "AccessDenied", LOCKED)
    actions = ("DeleteObjectVersion", "PutObjectRetention", "BypassGovernanceRetention")
    policy(shelf, allow(*actions))
    alice.call("put_object_retention", **named, Retention=shorter)
    alice.call("delete_object", **named)
    assert shelf.ids() == []


def test_locks_are_shown_to_who_may_see_them(shelf, alice):
    shelf.put(
        ObjectLockMode="GOVERNANCE",
        ObjectLockRetainUntilDate=LATER,
        ObjectLockLegalHoldStatus="ON",
    )
    policy(shelf, allow("GetObject"))
    assert alice.lock() == (None, None, None)
    assert alice.refused("get_object_retention", Key="key")[:2] == (403, "AccessDenied")

    policy(shelf, allow("GetObject", "GetObjectRetention"))
    assert alice.lock() == ("GOVERNANCE", LATER, None)

    policy(shelf, allow("GetObject", "GetObjectLegalHold"))
    assert alice.lock() == (None, None, "ON")


def test_a_write_with_a_lock_needs_the_permission_to_lock(shelf, alice):
    retained = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": LATER}
    held = {"ObjectLockLegalHoldStatus": "ON"}
    policy(shelf, allow("PutObject"))
    for wanted in (retained, held):
        told = alice.refused("put_object", Key="key", Body=b"body", **wanted)
        assert told[:2] == (403, "AccessDenied")
    alice.put()

    policy(shelf, allow("PutObject", "PutObjectRetention", "PutObjectLegalHold"))
    alice.put(**retained, **held)


REMAINING = "s3:object-lock-remaining-retention-days"


@pytest.mark.parametrize(
    ("condition", "fitting", "other"),
    [
        (
            {"NumericLessThanEquals": {REMAINING: "10"}},
            ("COMPLIANCE", LATER),
            ("COMPLIANCE", LATER + timedelta(seconds=1)),
        ),
        (
            {"StringEquals": {"s3:object-lock-mode": "GOVERNANCE"}},
            ("GOVERNANCE", LATER),
            ("COMPLIANCE", LATER),
        ),
        (
            {"DateLessThan": {"s3:object-lock-retain-until-date": "2026-12-03T00:00:00Z"}},
            ("GOVERNANCE", LATER),
            ("GOVERNANCE", LATER + DAY),
        ),
    ],
)
def test_a_policy_asks_for_the_retention_of_headers_and_documents(
    shelf, alice, condition, fitting, other
):
    policy(
        shelf,
        allow("PutObject"),
        allow("PutObjectRetention", condition=condition),
    )
    for (mode, until), works in ((other, False), (fitting, True)):
        key = f"written {works}"
        shelf.put(f"locked {works}")
        named = {"Key": f"locked {works}", "Retention": {"Mode": mode, "RetainUntilDate": until}}
        headers = {"Key": key, "ObjectLockMode": mode, "ObjectLockRetainUntilDate": until}
        if works:
            alice.call("put_object_retention", **named)
            alice.call("put_object", **headers, Body=b"body")
        else:
            denied = (403, "AccessDenied", "Access Denied")
            assert alice.refused("put_object_retention", **named) == denied
            assert alice.refused("put_object", **headers, Body=b"body") == denied


def test_a_policy_asks_for_the_legal_hold_of_a_document(shelf, alice):
    condition = {"StringEquals": {"s3:object-lock-legal-hold": "ON"}}
    policy(shelf, allow("PutObjectLegalHold", condition=condition))
    shelf.put()

    alice.hold("ON")
    told = alice.refused("put_object_legal_hold", Key="key", LegalHold={"Status": "OFF"})
    assert told == (403, "AccessDenied", "Access Denied")


def test_nobody_in_particular_locks_nothing(shelf):
    policy(shelf, allow("PutObject", "PutObjectLegalHold"))
    md5 = hashlib.md5(b"body", usedforsecurity=False).digest()
    headers = {HOLD: "ON", "content-md5": base64.b64encode(md5).decode()}

    fault = shelf.store.ask("PUT", "/shelf/key", headers, b"body", who=None).fault

    assert (fault.status, fault.code) == (400, "InvalidArgument")
    assert fault.fields["ArgumentName"] == "Authorization"


# Keys


@pytest.mark.parametrize(
    "lock",
    [
        {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": LATER},
        {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": LATER},
        {"ObjectLockLegalHoldStatus": "ON"},
    ],
    ids=["governance", "compliance", "legal hold"],
)
def test_the_key_of_a_locked_object_is_not_changed(shelf, lock):
    arn = shelf.store.add_kms_key()
    shelf.put(**lock)
    wanted = {"SSEKMS": {"KMSKeyArn": arn}}

    told = shelf.refused("update_object_encryption", Key="key", ObjectEncryption=wanted)

    assert told[:2] == (403, "AccessDenied")
    assert "protected by S3 Object Lock" in told[2]
    assert shelf.call("head_object", Key="key")["ServerSideEncryption"] == "AES256"
