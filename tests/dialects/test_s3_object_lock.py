"""Object lock, as a client of S3 meets it."""

import base64
import hashlib
import itertools
from datetime import UTC, datetime, timedelta

import pytest

from strongroom import errors

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LATER = NOW + 10 * DAY
MODES = ["GOVERNANCE", "COMPLIANCE"]
LOCKED = "Access Denied because object protected by object lock."
UNLOCKABLE = "Bucket is missing Object Lock Configuration"
KEY = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": bytes(range(32))}


@pytest.fixture
def shelf(locked_shelf):
    return locked_shelf


@pytest.fixture
def plain(shelf):
    """A bucket without object lock, under the same name for the same words."""
    shelf.client.delete_bucket(Bucket="shelf")
    shelf.client.create_bucket(Bucket="shelf")
    return shelf


# The bucket's configuration


def test_a_bucket_that_is_made_with_object_lock_has_versions_and_no_rule(shelf):
    assert shelf.call("get_bucket_versioning")["Status"] == "Enabled"
    shown = shelf.call("get_object_lock_configuration")["ObjectLockConfiguration"]
    assert shown == {"ObjectLockEnabled": "Enabled"}
    shelf.put()
    assert shelf.lock() == (None, None, None)


def test_a_bucket_with_versions_gets_object_lock_later(plain):
    needed = "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration"
    document = {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}
    refusal = (409, "InvalidBucketState", needed)
    assert plain.refused("put_object_lock_configuration", **document) == refusal
    plain.call("put_bucket_versioning", VersioningConfiguration={"Status": "Suspended"})
    assert plain.refused("put_object_lock_configuration", **document) == refusal
    plain.call("put_object", Key="key", Body=b"before")
    plain.call("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})
    plain.call("put_object_lock_configuration", **document)

    # What was there before can be locked, too.
    plain.retain("COMPLIANCE", LATER, VersionId="null")
    assert plain.refused("delete_object", Key="key", VersionId="null")[2] == LOCKED


def test_a_rule_is_set_shown_replaced_and_taken_back(shelf):
    shelf.rule(Days=3)
    shelf.rule("COMPLIANCE", Years=2)
    shown = shelf.call("get_object_lock_configuration")["ObjectLockConfiguration"]
    assert shown["Rule"] == {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 2}}

    shelf.call(
        "put_object_lock_configuration", ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
    )
    shelf.put()
    assert shelf.lock() == (None, None, None)


POSITIVE = "Default retention period must be a positive integer value."
LARGE = "Default retention period too large."
XML = "The XML you provided was not well-formed or did not validate against our published schema"


@pytest.mark.parametrize(
    ("default", "code", "message"),
    [
        ({"Mode": "GOVERNANCE", "Days": 0}, "InvalidArgument", POSITIVE),
        ({"Mode": "GOVERNANCE", "Years": -1}, "InvalidArgument", POSITIVE),
        ({"Mode": "GOVERNANCE", "Days": 36_501}, "InvalidArgument", LARGE),
        ({"Mode": "GOVERNANCE", "Years": 101}, "InvalidArgument", LARGE),
        ({"Mode": "GOVERNANCE", "Days": 1, "Years": 1}, "MalformedXML", XML),
        ({"Mode": "GOVERNANCE"}, "MalformedXML", XML),
        ({"Mode": "governance", "Days": 1}, "MalformedXML", XML),
        ({"Days": 1}, "MalformedXML", XML),
    ],
)
def test_a_rule_that_is_none_is_refused(shelf, default, code, message):
    document = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": default}}

    told = shelf.refused("put_object_lock_configuration", ObjectLockConfiguration=document)

    assert told == (400, code, message)


@pytest.mark.parametrize(
    "document",
    [{}, {"ObjectLockEnabled": "Disabled"}, {"ObjectLockEnabled": "Enabled", "Rule": {}}],
)
def test_object_lock_is_not_switched_off(shelf, document):
    told = shelf.refused("put_object_lock_configuration", ObjectLockConfiguration=document)

    assert told[:2] == (400, "MalformedXML")


def test_a_bucket_with_object_lock_keeps_its_versions(shelf):
    told = shelf.refused("put_bucket_versioning", VersioningConfiguration={"Status": "Suspended"})

    assert told == (
        409,
        "InvalidBucketState",
        (
            "An Object Lock configuration is present on this bucket, so the versioning state"
            " cannot be changed."
        ),
    )
    shelf.call("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})


# Deletions


@pytest.mark.parametrize("mode", MODES)
def test_a_version_in_retention_stays_until_that_is_over(shelf, mode):
    version_id = shelf.put(ObjectLockMode=mode, ObjectLockRetainUntilDate=LATER)
    named = {"Key": "key", "VersionId": version_id}

    assert shelf.refused("delete_object", **named) == (403, "AccessDenied", LOCKED)
    shelf.clock.now = LATER - timedelta(milliseconds=1)
    assert shelf.refused("delete_object", **named) == (403, "AccessDenied", LOCKED)
    shelf.clock.now = LATER
    shelf.call("delete_object", **named)
    assert shelf.ids() == []


def test_a_bypass_lifts_governance_and_not_compliance(shelf):
    bypass = {"BypassGovernanceRetention": True}
    for mode in MODES:
        shelf.put(mode, ObjectLockMode=mode, ObjectLockRetainUntilDate=LATER)
    by_mode = {
        row["Key"]: row["VersionId"] for row in shelf.call("list_object_versions")["Versions"]
    }

    governed = {"Key": "GOVERNANCE", "VersionId": by_mode["GOVERNANCE"]}
    compliant = {"Key": "COMPLIANCE", "VersionId": by_mode["COMPLIANCE"]}
    shelf.call("delete_object", **governed, **bypass)
    assert shelf.refused("delete_object", **compliant, **bypass)[2] == LOCKED
    assert shelf.ids() == [by_mode["COMPLIANCE"]]


def test_a_legal_hold_stays_until_it_is_taken_away(shelf):
    version_id = shelf.put(ObjectLockLegalHoldStatus="ON")
    named = {"Key": "key", "VersionId": version_id}
    shelf.clock.now = NOW + 100_000 * DAY

    bypass = {"BypassGovernanceRetention": True}
    assert shelf.refused("delete_object", **named, **bypass) == (403, "AccessDenied", LOCKED)
    shelf.hold("OFF")
    shelf.call("delete_object", **named)
    assert shelf.ids() == []


def test_a_locked_object_is_hidden_and_overwritten_but_not_lost(shelf):
    first = shelf.put(ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=LATER)
    second = shelf.put()
    marker = shelf.call("delete_object", Key="key")["VersionId"]

    assert shelf.ids() == [second, first]
    shelf.call("delete_object", Key="key", VersionId=marker)
    shelf.call("delete_object", Key="key", VersionId=second)
    assert shelf.call("get_object", Key="key")["Body"].read() == b"body"
    assert shelf.refused("delete_bucket")[1] == "BucketNotEmpty"


@pytest.mark.parametrize("bypass", [False, True])
def test_a_list_of_deletions_leaves_out_what_is_locked(shelf, bypass):
    free = shelf.put("free")
    governed = shelf.put("governed", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=LATER)
    held = shelf.put("held", ObjectLockLegalHoldStatus="ON")
    named = zip(("free", "governed", "held"), (free, governed, held), strict=True)

    told = shelf.call(
        "delete_objects",
        Delete={"Objects": [{"Key": key, "VersionId": one} for key, one in named]},
        BypassGovernanceRetention=bypass,
    )

    kept = {"held": held} if bypass else {"governed": governed, "held": held}
    assert {row["Key"]: row["VersionId"] for row in told["Errors"]} == kept
    assert {(row["Code"], row["Message"]) for row in told["Errors"]} == {("AccessDenied", LOCKED)}
    assert len(told["Deleted"]) == 3 - len(kept)
    assert sorted(shelf.ids()) == sorted(kept.values())


def test_marks_that_were_changed_behind_the_servers_back_keep_the_version(shelf):
    version_id = shelf.put(ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=LATER)
    other = shelf.put("other")
    catalog = shelf.store.catalog
    stored = shelf.store.run(catalog.version("shelf", "key", version_id))
    unlocked = shelf.store.run(catalog.version("shelf", "other", other)).marks
    shelf.store.run(catalog.set_marks(stored.version, unlocked))

    told = shelf.refused("delete_object", Key="key", VersionId=version_id)

    assert told[:2] == (500, "InternalError")
    assert isinstance(shelf.store.reported[0], errors.NotAuthentic)
    assert version_id in shelf.ids()


def test_a_buckets_rules_hide_what_is_locked_and_remove_it_when_it_is_free(shelf):
    rule = {
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "Expiration": {"Days": 1},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    }
    shelf.call("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [rule]})
    shelf.put("free")
    locked = [
        shelf.put("governed", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=LATER),
        shelf.put("held", ObjectLockLegalHoldStatus="ON"),
    ]

    def walk():
        shelf.store.run(shelf.store.core.expirer.run())

    for _ in range(3):
        shelf.clock.now += 2 * DAY
        walk()
    assert sorted(shelf.ids()) == sorted(locked)
    assert "Contents" not in shelf.call("list_objects_v2")
    shelf.clock.now = LATER + DAY
    shelf.call(
        "put_object_legal_hold", Key="held", VersionId=locked[1], LegalHold={"Status": "OFF"}
    )
    walk()
    assert shelf.ids() == []


# Retention and legal hold of what is there


@pytest.mark.parametrize("customer", [{}, KEY], ids=["store's key", "customer's key"])
def test_locks_are_set_shown_and_need_no_customer_key(shelf, customer):
    moment = LATER.replace(microsecond=123_000)
    version_id = shelf.put(**customer)
    shelf.retain("GOVERNANCE", moment, VersionId=version_id)
    shelf.hold("ON")

    shown = shelf.call("get_object_retention", Key="key")["Retention"]
    assert shown == {"Mode": "GOVERNANCE", "RetainUntilDate": moment}
    assert shelf.call("get_object_legal_hold", Key="key")["LegalHold"] == {"Status": "ON"}
    assert shelf.lock(**customer) == ("GOVERNANCE", moment, "ON")
    got = shelf.call("get_object", Key="key", **customer)
    assert got["ObjectLockMode"] == "GOVERNANCE"
    # What was shown is no shorter than what was set.
    shelf.retain("GOVERNANCE", shown["RetainUntilDate"])
    shelf.hold("OFF")
    assert shelf.lock(**customer)[2] == "OFF"


def test_tags_and_lists_leave_a_lock_as_it_is(shelf):
    shelf.put(ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=LATER)
    shelf.call("put_object_tagging", Key="key", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    shelf.call("delete_object_tagging", Key="key")

    assert shelf.lock() == ("COMPLIANCE", LATER, None)


@pytest.mark.parametrize(
    ("before", "after"), list(itertools.product(MODES, [*MODES, None])), ids=str
)
def test_a_retention_is_made_shorter_or_changed_with_a_bypass_of_governance_alone(
    shelf, before, after
):
    shelf.put(ObjectLockMode=before, ObjectLockRetainUntilDate=LATER)
    wanted = {"Mode": after, "RetainUntilDate": LATER - DAY} if after else {}
    how = {"Key": "key", "Retention": wanted}

    assert shelf.refused("put_object_retention", **how) == (403, "AccessDenied", LOCKED)
    if before == "COMPLIANCE":
        told = shelf.refused("put_object_retention", **how, BypassGovernanceRetention=True)
        assert told == (403, "AccessDenied", LOCKED)
        assert shelf.lock() == (before, LATER, None)
    else:
        shelf.call("put_object_retention", **how, BypassGovernanceRetention=True)
        assert shelf.lock() == (after, LATER - DAY if after else None, None)


@pytest.mark.parametrize("mode", MODES)
def test_a_retention_is_made_longer_without_a_bypass(shelf, mode):
    shelf.put(ObjectLockMode=mode, ObjectLockRetainUntilDate=LATER)

    shelf.retain(mode, LATER + DAY)

    assert shelf.lock() == (mode, LATER + DAY, None)


PAST = "The retain until date must be in the future!"


@pytest.mark.parametrize(
    ("wanted", "code", "message"),
    [
        ({"Mode": "GOVERNANCE"}, "MalformedXML", XML),
        ({"RetainUntilDate": LATER}, "MalformedXML", XML),
        ({"Mode": "governance", "RetainUntilDate": LATER}, "MalformedXML", XML),
        ({"Mode": "GOVERNANCE", "RetainUntilDate": NOW}, "InvalidArgument", PAST),
    ],
)
def test_a_retention_that_is_none_is_refused(shelf, wanted, code, message):
    shelf.put()

    told = shelf.refused("put_object_retention", Key="key", Retention=wanted)

    assert told == (400, code, message)
    assert shelf.lock() == (None, None, None)


def test_a_legal_hold_is_on_or_off(shelf):
    shelf.put()

    told = shelf.refused("put_object_legal_hold", Key="key", LegalHold={"Status": "on"})

    assert told[:2] == (400, "MalformedXML")


@pytest.mark.parametrize("method", ["get_object_retention", "get_object_legal_hold"])
def test_what_was_never_locked_has_no_lock_to_show(shelf, method):
    shelf.put()

    assert shelf.refused(method, Key="key") == (
        404,
        "NoSuchObjectLockConfiguration",
        "The specified object does not have a ObjectLock configuration",
    )
    assert shelf.refused(method, Key="nothing")[:2] == (404, "NoSuchKey")
    marker = shelf.call("delete_object", Key="key")["VersionId"]
    told = shelf.refused(method, Key="key", VersionId=marker)
    assert told[:2] == (405, "MethodNotAllowed")


@pytest.mark.parametrize(
    ("method", "document"),
    [
        ("get_object_retention", {}),
        ("get_object_legal_hold", {}),
        ("put_object_legal_hold", {"LegalHold": {"Status": "ON"}}),
        ("put_object_retention", {"Retention": {"Mode": MODES[0], "RetainUntilDate": LATER}}),
    ],
)
def test_nothing_is_locked_in_a_bucket_without_object_lock(plain, method, document):
    plain.call("put_object", Key="key", Body=b"body")

    told = plain.refused(method, Key="key", **document)

    assert told == (400, "InvalidRequest", UNLOCKABLE)


def test_a_bypass_of_nothing_is_no_error(plain):
    plain.call("put_object", Key="key", Body=b"body")

    plain.call("delete_object", Key="key", BypassGovernanceRetention=True)

    assert "Contents" not in plain.call("list_objects_v2")


# Writes


@pytest.mark.parametrize("period", [{"Days": 2}, {"Years": 1}])
@pytest.mark.parametrize("way", ["put", "copy", "multipart"])
def test_what_asks_for_no_retention_gets_the_buckets_from_when_it_is_written(shelf, period, way):
    shelf.put("source", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=LATER + DAY)
    shelf.rule(**period)
    until = NOW + DAY * (2 if "Days" in period else 365)

    if way == "put":
        shelf.put()
    elif way == "copy":
        shelf.call("copy_object", Key="key", CopySource="shelf/source")
    else:
        until += upload(shelf, then=DAY)

    assert shelf.lock() == ("GOVERNANCE", until, None)


def upload(shelf, then=timedelta(0), **options):
    """Write an object in parts, completed some time after it was begun; return that time."""
    named = {"Key": "key"}
    named["UploadId"] = shelf.call("create_multipart_upload", Key="key", **options)["UploadId"]
    part = shelf.call("upload_part", **named, PartNumber=1, Body=b"part")
    shelf.clock.now += then
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    shelf.call("complete_multipart_upload", **named, MultipartUpload=parts)
    return then


@pytest.mark.parametrize("way", ["put", "copy", "multipart"])
def test_what_asks_for_a_lock_gets_that_one(shelf, way):
    shelf.rule("COMPLIANCE", Years=1)
    shelf.put("source")
    wanted = {
        "ObjectLockMode": "GOVERNANCE",
        "ObjectLockRetainUntilDate": LATER,
        "ObjectLockLegalHoldStatus": "ON",
    }

    if way == "put":
        shelf.put(**wanted)
    elif way == "copy":
        shelf.call("copy_object", Key="key", CopySource="shelf/source", **wanted)
    else:
        upload(shelf, **wanted)

    assert shelf.lock() == ("GOVERNANCE", LATER, "ON")


def test_a_legal_hold_does_not_keep_the_buckets_retention_away(shelf):
    shelf.rule(Days=1)

    shelf.put(ObjectLockLegalHoldStatus="ON")

    assert shelf.lock() == ("GOVERNANCE", NOW + DAY, "ON")


BOTH = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied"
MODE, UNTIL, HOLD = (
    f"x-amz-object-lock-{name}" for name in ("mode", "retain-until-date", "legal-hold")
)
DATE = "2026-12-02T12:00:00.000Z"


@pytest.mark.parametrize(
    ("headers", "message", "argument"),
    [
        ({MODE: "GOVERNANCE"}, BOTH, UNTIL),
        ({UNTIL: DATE}, BOTH, MODE),
        ({MODE: "worm", UNTIL: DATE}, "Unknown wormMode directive.", MODE),
        ({MODE: "GOVERNANCE", UNTIL: "2026-11-22T12:00:00Z"}, PAST, UNTIL),
        (
            {MODE: "GOVERNANCE", UNTIL: "soon"},
            "The retain until date must be provided in ISO 8601 format",
            UNTIL,
        ),
        ({HOLD: "on"}, "Legal Hold must be either of 'ON' or 'OFF'", HOLD),
    ],
)
@pytest.mark.parametrize("target", ["PUT /shelf/key", "POST /shelf/key?uploads"])
def test_a_write_that_asks_for_no_lock_that_there_is_writes_nothing(
    shelf, target, headers, message, argument
):
    fault = shelf.store.ask(*target.split(), headers, b"").fault

    assert (fault.status, fault.code, fault.message) == (400, "InvalidArgument", message)
    assert fault.fields["ArgumentName"] == argument
    assert shelf.ids() == []


def test_a_write_with_a_lock_is_refused_in_a_bucket_without(plain):
    fault = plain.store.ask("PUT", "/shelf/key", {HOLD: "OFF"}, b"").fault

    assert (fault.status, fault.code) == (400, "InvalidRequest")
    assert fault.message == "Bucket is missing ObjectLockConfiguration"


def digest(body):
    found = hashlib.md5(body, usedforsecurity=False).digest()
    return {"content-md5": base64.b64encode(found).decode()}


def test_what_is_to_be_locked_comes_with_a_digest(shelf):
    ask = shelf.store.ask
    fault = ask("PUT", "/shelf/key", {HOLD: "ON"}, b"body").fault
    assert (fault.status, fault.code) == (400, "InvalidRequest")
    assert fault.message == (
        "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with"
        " Object Lock parameters"
    )
    assert ask("PUT", "/shelf/key", {}, b"body").status == 200
    shelf.rule(Days=1)
    assert ask("PUT", "/shelf/key", {}, b"body").fault.message == fault.message
    checksum = {"x-amz-checksum-crc32": base64.b64encode(bytes(4)).decode()}
    assert ask("PUT", "/shelf/key", checksum, b"").status == 200
    assert ask("PUT", "/shelf/key", {HOLD: "ON", **digest(b"body")}, b"body").status == 200
