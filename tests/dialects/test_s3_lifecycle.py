"""A bucket's lifecycle: what may be set, what is shown, and what goes by it."""

import dataclasses
import datetime as dt

import pytest
from botocore import exceptions

from strongroom import errors
from strongroom.service import expiring
from strongroom.service import lifecycle as rules_of_life
from strongroom.store import records

DAY_MS = rules_of_life.DAY_MS


@pytest.fixture
def aged(make_store, clock):
    """A store whose clock the test turns, with a client that does not look at clocks."""
    store = make_store(clock_ms=clock)
    store.clock = clock
    store.walk = lambda: store.run(store.core.expirer.run())
    return store


@pytest.fixture
def s3(store):
    client = store.client()
    client.create_bucket(Bucket="bucket")
    return client


def rule(**parts):
    return {"ID": "one", "Status": "Enabled", "Filter": {"Prefix": ""}, **parts}


def put(s3, *rules, **more):
    return s3.put_bucket_lifecycle_configuration(
        Bucket="bucket", LifecycleConfiguration={"Rules": list(rules)}, **more
    )


def refusal(s3, *rules):
    with pytest.raises(exceptions.ClientError) as caught:
        put(s3, *rules)
    answer = caught.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
    return answer["Error"]["Code"], answer["Error"]["Message"]


EVERYTHING = [
    {
        "ID": "by days",
        "Status": "Enabled",
        "Filter": {
            "And": {
                "Prefix": "logs/",
                "Tags": [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": ""}],
                "ObjectSizeGreaterThan": 0,
                "ObjectSizeLessThan": 10,
            }
        },
        "Expiration": {"Days": 3},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 4, "NewerNoncurrentVersions": 100},
    },
    {
        "ID": "by date",
        "Status": "Disabled",
        "Prefix": "old",
        "Expiration": {"Date": dt.datetime(2030, 1, 1, tzinfo=dt.UTC)},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    },
    {
        "ID": "markers",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "Expiration": {"ExpiredObjectDeleteMarker": True},
    },
    {
        "ID": "by tag",
        "Status": "Enabled",
        "Filter": {"Tag": {"Key": "a", "Value": "b"}},
        "Expiration": {"Days": 1},
    },
    {
        "ID": "by size",
        "Status": "Enabled",
        "Filter": {"ObjectSizeLessThan": 1},
        "Expiration": {"Days": 1, "ExpiredObjectDeleteMarker": False},
    },
]


def test_what_was_set_is_shown_replaced_and_removed(s3):
    assert put(s3, *EVERYTHING)["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"

    shown = s3.get_bucket_lifecycle_configuration(Bucket="bucket")
    assert shown["Rules"] == EVERYTHING
    assert shown["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    put(s3, EVERYTHING[3], TransitionDefaultMinimumObjectSize="varies_by_storage_class")
    shown = s3.get_bucket_lifecycle_configuration(Bucket="bucket")
    assert shown["Rules"] == EVERYTHING[3:4]
    assert shown["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    s3.delete_bucket_lifecycle(Bucket="bucket")
    s3.delete_bucket_lifecycle(Bucket="bucket")
    with pytest.raises(exceptions.ClientError, match="NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket="bucket")


def test_a_rule_without_a_name_gets_one_that_stays(s3):
    nameless = [
        {"Status": "Enabled", "Prefix": prefix, "Expiration": {"Days": 1}} for prefix in "aab"
    ]

    put(s3, *nameless)
    first = s3.get_bucket_lifecycle_configuration(Bucket="bucket")["Rules"]
    put(s3, *nameless)
    again = s3.get_bucket_lifecycle_configuration(Bucket="bucket")["Rules"]

    assert len({each["ID"] for each in first}) == 3
    assert again == first


MIDNIGHT = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
TAG = {"Key": "a", "Value": "b"}
MALFORMED = [
    rule(),
    rule(Status="enabled", Expiration={"Days": 1}),
    rule(Prefix="", Expiration={"Days": 1}),
    {"ID": "one", "Status": "Enabled", "Expiration": {"Days": 1}},
    rule(Filter={"Prefix": "", "Tag": TAG}, Expiration={"Days": 1}),
    rule(Filter={"Prefix": "", "ObjectSizeLessThan": 5}, Expiration={"Days": 1}),
    rule(Filter={"And": {"Prefix": "a"}}, Expiration={"Days": 1}),
    rule(Filter={"And": {"Tags": [TAG]}}, Expiration={"Days": 1}),
    rule(Expiration={}),
    rule(Expiration={"Days": 1, "Date": MIDNIGHT}),
    rule(Expiration={"Days": 1, "ExpiredObjectDeleteMarker": True}),
    rule(Filter={"ObjectSizeLessThan": 5}, Expiration={"ExpiredObjectDeleteMarker": True}),
    rule(NoncurrentVersionExpiration={"NewerNoncurrentVersions": 5}),
    rule(AbortIncompleteMultipartUpload={}),
    rule(Transitions=[{"Days": 1, "StorageClass": "CELLAR"}]),
]


@pytest.mark.parametrize("bad", MALFORMED[1:], ids=str)
def test_what_does_not_validate_is_refused(s3, bad):
    assert refusal(s3, bad)[0] == "MalformedXML"


NOT_ALLOWED = [
    (rule(), "InvalidRequest", "At least one action"),
    (rule(ID="a" * 256, Expiration={"Days": 1}), "InvalidArgument", "limit of 255"),
    (rule(Expiration={"Days": 0}), "InvalidArgument", "'Days' for Expiration action must be"),
    (rule(Expiration={"Days": -1}), "InvalidArgument", "must be a positive integer"),
    (
        rule(Expiration={"Date": MIDNIGHT + dt.timedelta(seconds=1)}),
        "InvalidArgument",
        "'Date' must be at midnight GMT",
    ),
    (
        rule(NoncurrentVersionExpiration={"NoncurrentDays": 0}),
        "InvalidArgument",
        "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer",
    ),
    (
        rule(NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 101}),
        "InvalidArgument",
        "not greater than 100",
    ),
    (
        rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 0}),
        "InvalidArgument",
        "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action",
    ),
    (
        rule(Filter={"Tag": TAG}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}),
        "InvalidRequest",
        "AbortIncompleteMultipartUpload cannot be specified with Tags.",
    ),
    (
        rule(Filter={"Tag": TAG}, Expiration={"ExpiredObjectDeleteMarker": True}),
        "InvalidRequest",
        "ExpiredObjectDeleteMarker cannot be specified with Tags.",
    ),
    (
        rule(Filter={"And": {"Tags": [TAG, TAG]}}, Expiration={"Days": 1}),
        "InvalidRequest",
        "Duplicate Tag Keys",
    ),
    (rule(Filter={"Prefix": "a" * 1025}, Expiration={"Days": 1}), "InvalidRequest", "1024"),
    (rule(Filter={"ObjectSizeLessThan": 0}, Expiration={"Days": 1}), "InvalidRequest", "positive"),
    (
        rule(Filter={"ObjectSizeGreaterThan": -1}, Expiration={"Days": 1}),
        "InvalidRequest",
        "negative",
    ),
    (
        rule(
            Filter={"And": {"ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 5}},
            Expiration={"Days": 1},
        ),
        "InvalidRequest",
        "greater than 'ObjectSizeGreaterThan'",
    ),
    (
        rule(Transitions=[{"Days": 30, "StorageClass": "GLACIER"}], Expiration={"Days": 60}),
        "InvalidStorageClass",
        "no other storage class here than STANDARD",
    ),
    (
        rule(NoncurrentVersionTransitions=[{"NoncurrentDays": 1, "StorageClass": "STANDARD_IA"}]),
        "InvalidStorageClass",
        "STANDARD_IA",
    ),
]


@pytest.mark.parametrize(("bad", "code", "words"), NOT_ALLOWED, ids=str)
def test_what_is_not_allowed_is_refused_in_words(s3, bad, code, words):
    found, text = refusal(s3, bad)

    assert found == code
    assert words in text


def test_rules_of_one_name_too_many_and_none_at_all_are_refused(s3):
    good = rule(Expiration={"Days": 1})

    assert refusal(s3, good, good)[0] == "InvalidArgument"
    assert refusal(s3)[0] == "MalformedXML"
    assert refusal(s3, *(rule(ID=str(n), Expiration={"Days": 1}) for n in range(1001))) == (
        "InvalidRequest",
        "The number of lifecycle rules must not exceed the allowed limit of 1000 rules",
    )
    with pytest.raises(exceptions.ClientError, match="InvalidArgument"):
        put(s3, good, TransitionDefaultMinimumObjectSize="none")


# What answers tell


def test_answers_tell_when_an_object_expires_and_by_which_rule(aged, key):
    s3 = aged.client()
    s3.create_bucket(Bucket="bucket")
    put(
        s3,
        rule(ID="späte Regel", Filter={"Prefix": "logs/"}, Expiration={"Days": 3}),
        rule(ID="later", Expiration={"Days": 9}),
        rule(ID="tagged", Filter={"Tag": TAG}, Expiration={"Days": 1}),
        rule(ID="off", Status="Disabled", Expiration={"Days": 1}),
    )
    third = 'expiry-date="Fri, 17 Nov 2023 00:00:00 GMT", rule-id="sp%C3%A4te%20Regel"'

    made = s3.put_object(Bucket="bucket", Key="logs/a", Body=b"a", **key.options)

    assert made["Expiration"] == third
    for answer in (
        s3.head_object(Bucket="bucket", Key="logs/a", **key.options),
        s3.get_object(Bucket="bucket", Key="logs/a", **key.options),
        s3.copy_object(
            Bucket="bucket",
            Key="logs/b",
            CopySource="bucket/logs/a",
            CopySourceSSECustomerAlgorithm="AES256",
            CopySourceSSECustomerKey=key.raw,
        ),
    ):
        assert answer["Expiration"] == third
    tagged = s3.put_object(Bucket="bucket", Key="logs/c", Body=b"c", Tagging="a=b&x=y")
    assert tagged["Expiration"].endswith('rule-id="tagged"')
    assert "Wed, 15 Nov 2023" in s3.head_object(Bucket="bucket", Key="logs/c")["Expiration"]
    upload = s3.create_multipart_upload(Bucket="bucket", Key="m", Tagging="a=b")["UploadId"]
    part = s3.upload_part(Bucket="bucket", Key="m", UploadId=upload, PartNumber=1, Body=b"m")
    done = s3.complete_multipart_upload(
        Bucket="bucket",
        Key="m",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    assert done["Expiration"].endswith('rule-id="tagged"')


def test_what_no_rule_is_about_and_what_is_asked_by_version_has_no_such_header(aged):
    s3 = aged.client()
    s3.create_bucket(Bucket="bucket")
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    put(s3, rule(Filter={"Prefix": "logs/"}, Expiration={"Days": 3}))

    assert "Expiration" not in s3.put_object(Bucket="bucket", Key="other", Body=b"")
    made = s3.put_object(Bucket="bucket", Key="logs/a", Body=b"")

    assert "Expiration" in made
    named = s3.head_object(Bucket="bucket", Key="logs/a", VersionId=made["VersionId"])
    assert "Expiration" not in named


def test_an_upload_tells_when_it_is_aborted(aged):
    s3 = aged.client()
    s3.create_bucket(Bucket="bucket")
    put(s3, rule(Filter={"Prefix": "m"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}))

    upload = s3.create_multipart_upload(Bucket="bucket", Key="m")
    other = s3.create_multipart_upload(Bucket="bucket", Key="other")

    assert upload["AbortDate"] == dt.datetime(2023, 11, 16, tzinfo=dt.UTC)
    assert upload["AbortRuleId"] == "one"
    listed = s3.list_parts(Bucket="bucket", Key="m", UploadId=upload["UploadId"])
    assert (listed["AbortDate"], listed["AbortRuleId"]) == (upload["AbortDate"], "one")
    assert "AbortDate" not in other


# What goes


def keys(s3):
    return [each["Key"] for each in s3.list_objects_v2(Bucket="bucket").get("Contents", [])]


def stacks(s3):
    """Return key → its versions from the newest on: an ETag, or None for a delete marker."""
    found = s3.list_object_versions(Bucket="bucket")
    rows = [
        (each["Key"], each["LastModified"], each.get("ETag"))
        for each in (*found.get("Versions", ()), *found.get("DeleteMarkers", ()))
    ]
    rows.sort(key=lambda row: row[1], reverse=True)
    return {key: [etag for at, _, etag in rows if at == key] for key, _, _ in rows}


@pytest.fixture
def shelf(aged):
    s3 = aged.client()
    s3.create_bucket(Bucket="bucket")
    return s3


@pytest.fixture
def vault(shelf):
    shelf.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    return shelf


def test_an_object_expires_at_the_midnight_that_its_answers_tell(aged, shelf, clock, key):
    put(shelf, rule(Filter={"Prefix": "logs/"}, Expiration={"Days": 3}))
    for name in ("logs/a", "logs/b", "other"):
        shelf.put_object(Bucket="bucket", Key=name, Body=b"sealed", **key.options)
    clock.now_ms = clock.noon_ms + DAY_MS // 2 + 3 * DAY_MS - 1

    assert aged.walk() == 0
    clock.pass_days(1 / 24)
    assert aged.walk() == 2

    assert keys(shelf) == ["other"]


def test_days_count_from_when_an_object_was_written_last(aged, shelf, clock):
    put(shelf, rule(Expiration={"Days": 2}))
    shelf.put_object(Bucket="bucket", Key="a", Body=b"")
    shelf.put_object(Bucket="bucket", Key="b", Body=b"")
    clock.pass_days(2)
    shelf.put_object(Bucket="bucket", Key="b", Body=b"again")
    clock.pass_days(1)

    assert aged.walk() == 1

    assert keys(shelf) == ["b"]


def test_a_date_that_has_passed_takes_all_that_the_rule_is_about(aged, shelf, clock):
    put(
        shelf,
        rule(Filter={"Prefix": "a"}, Expiration={"Date": dt.datetime(2023, 11, 13, tzinfo=dt.UTC)}),
        rule(
            ID="two",
            Filter={"Prefix": "b"},
            Expiration={"Date": dt.datetime(2023, 11, 14, tzinfo=dt.UTC)},
        ),
    )
    shelf.put_object(Bucket="bucket", Key="a", Body=b"")
    shelf.put_object(Bucket="bucket", Key="b", Body=b"")

    assert aged.walk() == 1
    assert keys(shelf) == ["b"]
    clock.pass_days(1)
    assert aged.walk() == 1


def test_rules_that_are_disabled_or_taken_away_remove_nothing(aged, shelf, clock):
    shelf.put_object(Bucket="bucket", Key="a", Body=b"")
    put(shelf, rule(Status="Disabled", Expiration={"Days": 1}))
    clock.pass_days(5)
    assert aged.walk() == 0
    put(shelf, rule(Expiration={"Days": 1}))
    shelf.delete_bucket_lifecycle(Bucket="bucket")
    clock.pass_days(5)

    assert aged.walk() == 0

    assert keys(shelf) == ["a"]


def test_tags_and_sizes_choose(aged, shelf, clock):
    put(
        shelf,
        rule(Filter={"Tag": TAG}, Expiration={"Days": 1}),
        rule(
            ID="two",
            Filter={"And": {"Tags": [TAG, {"Key": "c", "Value": "d"}], "Prefix": "z"}},
            Expiration={"Days": 1},
        ),
        rule(
            ID="three",
            Filter={"And": {"ObjectSizeGreaterThan": 10, "ObjectSizeLessThan": 20}},
            Expiration={"Days": 1},
        ),
    )
    for name, size, tags in (
        ("tagged", 1, "a=b"),
        ("tagged otherwise", 1, "a=c"),
        ("bare", 1, ""),
        ("ten", 10, ""),
        ("eleven", 11, ""),
        ("nineteen", 19, ""),
        ("twenty", 20, ""),
    ):
        shelf.put_object(Bucket="bucket", Key=name, Body=b"x" * size, Tagging=tags)
    clock.pass_days(2)

    assert aged.walk() == 3

    assert keys(shelf) == ["bare", "tagged otherwise", "ten", "twenty"]


def test_an_object_in_a_bucket_with_versions_ends_up_behind_a_marker_of_the_owner(
    aged, vault, clock
):
    put(vault, rule(Expiration={"Days": 1}))
    vault.put_object(Bucket="bucket", Key="a", Body=b"a")
    clock.pass_days(2)
    assert aged.walk() == 1

    found = vault.list_object_versions(Bucket="bucket")

    assert len(found["Versions"]) == 1
    assert found["DeleteMarkers"][0]["IsLatest"]
    assert found["DeleteMarkers"][0]["Owner"] == vault.list_buckets()["Owner"]


def test_a_superseded_version_goes_so_many_days_after_its_successor_came(aged, vault, clock):
    put(vault, rule(NoncurrentVersionExpiration={"NoncurrentDays": 2}))
    first = vault.put_object(Bucket="bucket", Key="a", Body=b"1")
    clock.pass_days(10)
    second = vault.put_object(Bucket="bucket", Key="a", Body=b"2")
    clock.pass_days(1)
    assert aged.walk() == 0
    assert stacks(vault) == {"a": [second["ETag"], first["ETag"]]}
    clock.pass_days(2)

    assert aged.walk() == 1

    assert stacks(vault) == {"a": [second["ETag"]]}


def test_the_newest_superseded_versions_stay_as_many_as_the_rule_says(aged, vault, clock):
    put(
        vault,
        rule(NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}),
    )
    etags = []
    for n in range(6):
        clock.now_ms += 1000
        etags.append(vault.put_object(Bucket="bucket", Key="a", Body=b"%d" % n)["ETag"])
    clock.pass_days(3)

    assert aged.walk() == 3

    assert stacks(vault) == {"a": etags[:2:-1]}


def test_superseded_versions_of_many_pages_all_go(aged, vault, clock, monkeypatch):
    monkeypatch.setattr(expiring, "PAGE", 3)
    put(vault, rule(NoncurrentVersionExpiration={"NoncurrentDays": 1}))
    last = {}
    for name in ("a", "b"):
        for n in range(8):
            clock.now_ms += 1000
            last[name] = vault.put_object(Bucket="bucket", Key=name, Body=b"%d" % n)["ETag"]
    clock.pass_days(3)

    assert aged.walk() == 14

    assert stacks(vault) == {name: [etag] for name, etag in last.items()}


@pytest.mark.parametrize(
    ("expiration", "goes_at_once"),
    [({"ExpiredObjectDeleteMarker": True}, True), ({"Days": 5}, False)],
)
def test_a_marker_goes_when_nothing_is_behind_it_any_more(
    aged, vault, clock, expiration, goes_at_once
):
    put(vault, rule(Expiration=expiration, NoncurrentVersionExpiration={"NoncurrentDays": 1}))
    vault.put_object(Bucket="bucket", Key="a", Body=b"")
    vault.delete_object(Bucket="bucket", Key="a")
    assert aged.walk() == 0
    clock.pass_days(2)
    assert aged.walk() == 1
    assert stacks(vault) == {"a": [None]}
    clock.pass_days(1)

    assert aged.walk() == goes_at_once
    clock.pass_days(4)
    assert aged.walk() == (not goes_at_once)

    assert stacks(vault) == {}


def test_a_tagged_version_goes_by_its_own_tags(aged, vault, clock):
    put(vault, rule(Filter={"Tag": TAG}, NoncurrentVersionExpiration={"NoncurrentDays": 1}))
    for tags in ("a=b", "", "a=b"):
        clock.now_ms += 1000
        vault.put_object(Bucket="bucket", Key="a", Body=tags.encode(), Tagging=tags)
    clock.pass_days(3)

    assert aged.walk() == 1

    assert len(stacks(vault)["a"]) == 2


def test_an_upload_that_nobody_completes_is_aborted(aged, shelf, clock):
    put(
        shelf,
        rule(Filter={"Prefix": "m"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}),
    )
    for name in ("m1", "other"):
        shelf.create_multipart_upload(Bucket="bucket", Key=name)
    clock.pass_days(2)
    shelf.create_multipart_upload(Bucket="bucket", Key="m2")
    clock.pass_days(1)

    assert aged.walk() == 1

    left = shelf.list_multipart_uploads(Bucket="bucket")["Uploads"]
    assert [each["Key"] for each in left] == ["m2", "other"]


def test_overlapping_prefixes_remove_each_object_once(aged, shelf, clock):
    put(
        shelf,
        *(
            rule(ID=prefix, Filter={"Prefix": prefix}, Expiration={"Days": days})
            for prefix, days in (("a/b", 1), ("a/", 2), ("a/b/c", 9), ("b", 1))
        ),
    )
    for name in ("a", "a/a", "a/b", "a/b/c", "b", "c"):
        shelf.put_object(Bucket="bucket", Key=name, Body=b"")
    clock.pass_days(2)

    assert aged.walk() == 3

    assert keys(shelf) == ["a", "a/a", "c"]


def test_an_object_whose_marks_were_tampered_with_stays_and_is_told(aged, shelf, clock):
    put(shelf, rule(Filter={"Tag": TAG}, Expiration={"Days": 1}))
    for name in ("a", "b"):
        shelf.put_object(Bucket="bucket", Key=name, Body=b"", Tagging="a=b")
    stored = aged.run(aged.catalog.current("bucket", "a"))
    other = aged.run(aged.catalog.current("bucket", "b"))
    aged.run(aged.catalog.set_marks(stored.version, other.marks))
    clock.pass_days(2)

    with pytest.raises(errors.StoreFailed, match="1 versions"):
        aged.walk()

    assert keys(shelf) == ["a"]


def test_an_object_that_is_written_anew_while_it_expires_stays(aged, shelf, clock, monkeypatch):
    put(shelf, rule(Expiration={"Days": 1}))
    shelf.put_object(Bucket="bucket", Key="a", Body=b"old")
    clock.pass_days(2)
    expire = aged.catalog.expiry.expire

    async def overtaken(due, marker):
        stored = await aged.catalog.current("bucket", "a")
        anew = dataclasses.replace(stored.version, generation=b"n" * 16)
        await aged.catalog.put_version(
            records.Draft(anew, stored.envelope, stored.body, stored.marks, shares=stored.version)
        )
        return await expire(due, marker)

    monkeypatch.setattr(aged.catalog.expiry, "expire", overtaken)

    assert aged.walk() == 0

    assert keys(shelf) == ["a"]


# The walk


def test_a_walk_begins_once_in_an_interval(aged, shelf, clock):
    put(shelf, rule(Expiration={"Date": dt.datetime(2023, 11, 1, tzinfo=dt.UTC)}))
    assert aged.walk() == 0
    shelf.put_object(Bucket="bucket", Key="a", Body=b"")
    clock.now_ms += 59 * 60 * 1000

    assert aged.walk() == 0
    clock.now_ms += 60 * 1000
    assert aged.walk() == 1


def test_a_walk_goes_on_where_it_was_broken_off(aged, shelf, clock):
    put(shelf, rule(Filter={"Prefix": "m"}, Expiration={"Days": 1}))
    for name in ("a", "m1", "m2", "m3"):
        shelf.put_object(Bucket="bucket", Key=name, Body=b"")
    shelf.create_bucket(Bucket="later")
    shelf.put_bucket_lifecycle_configuration(
        Bucket="later", LifecycleConfiguration={"Rules": [rule(Expiration={"Days": 1})]}
    )
    shelf.put_object(Bucket="later", Key="a", Body=b"")
    clock.pass_days(2)
    place = expiring.Place(clock(), "bucket", "m2")
    aged.run(aged.catalog.expiry.note_progress(place.encode()))

    assert aged.walk() == 2

    assert keys(shelf) == ["a", "m1", "m2"]
    assert expiring.Place.parse(aged.run(aged.catalog.expiry.progress())).done
    clock.pass_days(1)
    assert aged.walk() == 2


def test_a_walk_goes_on_although_its_bucket_is_gone(aged, shelf, clock):
    shelf.create_bucket(Bucket="later")
    shelf.put_bucket_lifecycle_configuration(
        Bucket="later", LifecycleConfiguration={"Rules": [rule(Expiration={"Days": 1})]}
    )
    shelf.put_object(Bucket="later", Key="a", Body=b"")
    clock.pass_days(2)
    aged.run(aged.catalog.expiry.note_progress(expiring.Place(clock(), "gone", "m2").encode()))

    assert aged.walk() == 1


def test_a_bucket_that_cannot_be_read_keeps_no_other_from_being_looked_after(
    aged, shelf, clock, monkeypatch
):
    for name in ("bucket", "later"):
        if name != "bucket":
            shelf.create_bucket(Bucket=name)
        shelf.put_bucket_lifecycle_configuration(
            Bucket=name, LifecycleConfiguration={"Rules": [rule(Expiration={"Days": 1})]}
        )
        shelf.put_object(Bucket=name, Key="a", Body=b"")
    clock.pass_days(2)
    listing = aged.catalog.list_versions

    async def broken(bucket, **how):
        if bucket == "bucket":
            raise errors.StoreFailed("a page of the catalog is damaged")
        return await listing(bucket, **how)

    monkeypatch.setattr(aged.catalog, "list_versions", broken)

    with pytest.raises(errors.StoreFailed, match="damaged"):
        aged.walk()

    assert "Contents" not in shelf.list_objects_v2(Bucket="later")
    assert keys(shelf) == ["a"]


def test_a_process_whose_turn_it_is_not_walks_nowhere(make_store, clock):
    store = make_store(clock_ms=clock, may_collect=lambda: False)
    s3 = store.client()
    s3.create_bucket(Bucket="bucket")
    put(s3, rule(Expiration={"Date": dt.datetime(2023, 11, 1, tzinfo=dt.UTC)}))
    s3.put_object(Bucket="bucket", Key="a", Body=b"")

    assert store.run(store.core.expirer.run()) == 0

    assert keys(s3) == ["a"]


def test_short_days_end_at_no_midnight(make_store, clock):
    store = make_store(clock_ms=clock, calendar=rules_of_life.Calendar(10_000))
    s3 = store.client()
    s3.create_bucket(Bucket="bucket")
    put(s3, rule(Expiration={"Days": 2}))
    s3.put_object(Bucket="bucket", Key="a", Body=b"")
    clock.now_ms += 19_999

    assert store.run(store.core.expirer.run()) == 0
    clock.now_ms += 1000
    assert store.run(store.core.expirer.run()) == 1
