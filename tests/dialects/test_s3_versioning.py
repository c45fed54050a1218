"""Versions, delete markers and the null version, as a client of S3 meets them."""

import base64
import hashlib
import re

import pytest
from botocore import exceptions

from strongroom import errors

ID = re.compile(r"[A-Za-z0-9._]{32}")
ABSENT_ID = "0" * 32
KEYS = {number: bytes([number]) * 32 for number in (1, 2)}
MIB5 = 5 * 1024**2
MFA = {"x-amz-mfa": "device 123456"}


def own(number, prefix=""):
    """Return the parameters of a customer's key; of none for the store's."""
    if number is None:
        return {}
    return {f"{prefix}SSECustomerAlgorithm": "AES256", f"{prefix}SSECustomerKey": KEYS[number]}


def digest(body):
    found = hashlib.md5(body, usedforsecurity=False).digest()
    return {"content-md5": base64.b64encode(found).decode()}


class Shelf:
    """A bucket of a client, with short words for what is done to it."""

    def __init__(self, store):
        self.store = store
        self.client = store.client()
        self.client.create_bucket(Bucket="shelf")

    def call(self, method, key="key", **options):
        return getattr(self.client, method)(Bucket="shelf", Key=key, **options)

    def refused(self, method, key="key", **options):
        """Return (status, code, headers) of a refusal."""
        with pytest.raises(exceptions.ClientError) as caught:
            self.call(method, key, **options)
        meta = caught.value.response["ResponseMetadata"]
        return (
            meta["HTTPStatusCode"],
            caught.value.response["Error"]["Code"],
            meta["HTTPHeaders"],
        )

    def switch(self, status):
        self.client.put_bucket_versioning(
            Bucket="shelf", VersioningConfiguration={"Status": status}
        )

    def put(self, body=b"", key="key", holder=None):
        return self.call("put_object", key, Body=body, **own(holder)).get("VersionId")

    def get(self, version_id=None, key="key", holder=None):
        named = {} if version_id is None else {"VersionId": version_id}
        return self.call("get_object", key, **named, **own(holder))["Body"].read()

    def delete(self, version_id=None, key="key"):
        named = {} if version_id is None else {"VersionId": version_id}
        return self.call("delete_object", key, **named)

    def listed(self, **options):
        return self.client.list_object_versions(Bucket="shelf", **options)

    def stack(self, key="key"):
        """Return the ids of a key's versions, and those of its markers, the newest first."""
        answer = self.listed(Prefix=key)
        return tuple(
            [row["VersionId"] for row in answer.get(name, []) if row["Key"] == key]
            for name in ("Versions", "DeleteMarkers")
        )


@pytest.fixture
def shelf(store):
    return Shelf(store)


@pytest.fixture
def versioned(shelf):
    shelf.switch("Enabled")
    return shelf


# The bucket's state


def test_a_bucket_has_no_status_until_it_is_switched_and_then_one_of_two(shelf):
    assert "Status" not in shelf.client.get_bucket_versioning(Bucket="shelf")
    for status in ("Enabled", "Suspended", "Enabled"):
        shelf.switch(status)
        assert shelf.client.get_bucket_versioning(Bucket="shelf")["Status"] == status


@pytest.mark.parametrize(
    ("inner", "status", "code"),
    [
        ("", 400, "IllegalVersioningConfigurationException"),
        ("<Status>Off</Status>", 400, "MalformedXML"),
        ("<Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>", 501, "NotImplemented"),
        ("<Status>Enabled</Status><MfaDelete>Disabled</MfaDelete>", 200, None),
    ],
)
def test_only_a_state_that_can_be_is_set(bucket, inner, status, code):
    document = f"<VersioningConfiguration>{inner}</VersioningConfiguration>".encode()

    answer = bucket.ask("PUT", "/bucket?versioning", digest(document), document)

    assert answer.status == status
    if code:
        assert answer.fault.code == code
        assert b"Enabled" not in bucket.ask("GET", "/bucket?versioning").body


def test_mfa_delete_is_declined_by_name(bucket):
    document = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"

    put = bucket.ask("PUT", "/bucket?versioning", digest(document) | MFA, document)
    gone = bucket.ask("DELETE", "/bucket/k", MFA)

    assert (put.status, put.fault.code, put.fault.fields["Header"]) == (
        501,
        "NotImplemented",
        "x-amz-mfa",
    )
    assert "MfaDelete" in put.fault.message
    assert (gone.status, gone.fault.code) == (501, "NotImplemented")


def test_no_version_id_is_shown_where_there_are_none(bucket):
    answers = [
        bucket.ask("PUT", "/bucket/k", body=b"body"),
        bucket.ask("GET", "/bucket/k"),
        bucket.ask("GET", "/bucket/k?versionId=null"),
        bucket.ask("GET", "/bucket/k?tagging"),
        bucket.ask("DELETE", "/bucket/k"),
        bucket.ask("DELETE", "/bucket/k?versionId=null"),
    ]

    assert [answer.status for answer in answers] == [200, 200, 200, 200, 204, 204]
    assert not [answer for answer in answers if "x-amz-version-id" in answer.headers]


# Versions


def test_each_put_is_a_version_with_an_id_key_and_body_of_its_own(versioned):
    holders = [None, 1, 2, None]
    ids = [versioned.put(b"body %d" % n, holder=holder) for n, holder in enumerate(holders)]

    assert all(ID.fullmatch(each) for each in ids)
    assert len(set(ids)) == len(ids)
    assert versioned.get() == b"body 3"
    for number, (version_id, holder) in enumerate(zip(ids, holders, strict=True)):
        assert versioned.get(version_id, holder=holder) == b"body %d" % number
        head = versioned.call("head_object", VersionId=version_id, **own(holder))
        assert (head["VersionId"], head["ContentLength"]) == (version_id, 6)
    assert versioned.refused("get_object", VersionId=ids[1], **own(2))[:2] == (403, "AccessDenied")
    assert versioned.refused("get_object", VersionId=ids[1])[:2] == (400, "InvalidRequest")


def test_a_range_and_conditions_are_those_of_the_version_that_is_named(versioned):
    first = versioned.call("put_object", Body=b"first body")
    versioned.put(b"second")

    answer = versioned.call(
        "get_object", VersionId=first["VersionId"], Range="bytes=6-9", IfMatch=first["ETag"]
    )

    assert answer["Body"].read() == b"body"
    assert answer["ContentRange"] == "bytes 6-9/10"
    assert versioned.refused("get_object", IfMatch=first["ETag"])[:2] == (412, "PreconditionFailed")


@pytest.mark.parametrize("method", ["get_object", "get_object_tagging", "get_object_acl"])
def test_a_version_that_is_not_there_is_no_version(versioned, method):
    versioned.put()

    assert versioned.refused(method, VersionId=ABSENT_ID)[:2] == (404, "NoSuchVersion")
    assert versioned.refused(method, VersionId="null")[:2] == (404, "NoSuchVersion")
    assert versioned.refused(method, VersionId="strange")[:2] == (400, "InvalidArgument")


def test_what_was_there_before_is_the_null_version(shelf):
    shelf.put(b"before")
    shelf.switch("Enabled")
    new = shelf.put(b"after")

    assert shelf.get() == b"after"
    assert shelf.get("null") == b"before"
    assert shelf.call("head_object", VersionId="null")["VersionId"] == "null"
    assert shelf.stack() == ([new, "null"], [])
    shelf.delete(new)
    assert shelf.get() == b"before"


# Delete markers


def test_a_deleted_object_is_marked_and_its_versions_stay(versioned):
    version_id = versioned.put(b"body")

    marker = versioned.delete()

    assert marker["DeleteMarker"]
    assert ID.fullmatch(marker["VersionId"])
    status, code, headers = versioned.refused("get_object")
    assert (status, code) == (404, "NoSuchKey")
    assert headers["x-amz-delete-marker"] == "true"
    assert headers["x-amz-version-id"] == marker["VersionId"]
    assert "Contents" not in versioned.client.list_objects_v2(Bucket="shelf")
    assert versioned.get(version_id) == b"body"
    assert versioned.stack() == ([version_id], [marker["VersionId"]])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_marker_cannot_be_read_and_says_when_it_was_put(versioned, method):
    marker = versioned.delete()["VersionId"]

    answer = versioned.store.ask(method, f"/shelf/key?versionId={marker}")

    assert answer.status == 405
    assert answer.headers["x-amz-delete-marker"] == "true"
    assert answer.headers["x-amz-version-id"] == marker
    assert answer.headers["allow"] == "DELETE"
    assert answer.headers["last-modified"].endswith("GMT")
    if method == "GET":
        assert (answer.fault.code, answer.fault.fields["ResourceType"]) == (
            "MethodNotAllowed",
            "DeleteMarker",
        )


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("get_object_tagging", {}),
        ("put_object_tagging", {"Tagging": {"TagSet": []}}),
        ("delete_object_tagging", {}),
        ("get_object_acl", {}),
        ("get_object_attributes", {"ObjectAttributes": ["ETag"]}),
    ],
)
def test_nothing_is_asked_of_a_marker(versioned, method, options):
    versioned.put()
    marker = versioned.delete()["VersionId"]

    assert versioned.refused(method, VersionId=marker, **options)[:2] == (405, "MethodNotAllowed")
    status, code, headers = versioned.refused(method, **options)
    assert (status, code, headers["x-amz-delete-marker"]) == (404, "NoSuchKey", "true")


def test_a_marker_that_is_deleted_brings_the_object_back(versioned):
    version_id = versioned.put(b"body")
    marker = versioned.delete()["VersionId"]

    answer = versioned.delete(marker)

    assert (answer["DeleteMarker"], answer["VersionId"]) == (True, marker)
    assert versioned.get() == b"body"
    assert versioned.stack() == ([version_id], [])


def test_a_version_is_deleted_for_good_and_twice_without_harm(versioned):
    first, second = versioned.put(b"first"), versioned.put(b"second")

    answer = versioned.delete(second)
    again = versioned.delete(second)

    assert (answer["VersionId"], "DeleteMarker" in answer) == (second, False)
    assert (again["VersionId"], "DeleteMarker" in again) == (second, False)
    assert versioned.get() == b"first"
    assert versioned.stack() == ([first], [])


def test_suspended_the_null_version_is_overwritten_and_marked_and_the_others_stay(versioned):
    kept = versioned.put(b"kept")
    versioned.switch("Suspended")
    assert versioned.put(b"null") is None
    assert versioned.put(b"null again") is None
    assert versioned.call("head_object")["VersionId"] == "null"

    assert versioned.stack() == (["null", kept], [])
    marker = versioned.delete()
    assert (marker["DeleteMarker"], marker["VersionId"]) == (True, "null")
    assert versioned.stack() == ([kept], ["null"])
    versioned.delete("null")
    assert versioned.get() == b"kept"


def test_many_are_deleted_at_once_with_and_without_ids(versioned):
    one, two = versioned.put(key="a"), versioned.put(key="b")
    mark = versioned.delete(key="c")["VersionId"]

    answer = versioned.client.delete_objects(
        Bucket="shelf",
        Delete={
            "Objects": [
                {"Key": "a"},
                {"Key": "b", "VersionId": two},
                {"Key": "c", "VersionId": mark},
                {"Key": "d", "VersionId": ABSENT_ID},
                {"Key": "e", "VersionId": "strange"},
            ]
        },
    )

    rows = {row["Key"]: row for row in answer["Deleted"]}
    made = rows["a"].pop("DeleteMarkerVersionId")
    assert rows == {
        "a": {"Key": "a", "DeleteMarker": True},
        "b": {"Key": "b", "VersionId": two},
        "c": {"Key": "c", "VersionId": mark, "DeleteMarker": True, "DeleteMarkerVersionId": mark},
        "d": {"Key": "d", "VersionId": ABSENT_ID},
    }
    assert [(row["Key"], row["Code"]) for row in answer["Errors"]] == [("e", "NoSuchVersion")]
    assert versioned.stack("a") == ([one], [made])


def test_a_bucket_with_nothing_but_a_marker_is_not_empty(versioned):
    marker = versioned.delete()["VersionId"]

    answer = versioned.store.ask("DELETE", "/shelf")

    assert (answer.status, answer.fault.code) == (409, "BucketNotEmpty")
    versioned.delete(marker)
    assert versioned.store.ask("DELETE", "/shelf").status == 204


# Conditions


def test_a_write_is_judged_by_what_is_current_and_a_marker_is_nothing(versioned):
    old = versioned.call("put_object", Body=b"old")["ETag"]
    new = versioned.call("put_object", Body=b"new")["ETag"]

    assert versioned.refused("put_object", IfNoneMatch="*")[:2] == (412, "PreconditionFailed")
    assert versioned.refused("put_object", IfMatch=old)[:2] == (412, "PreconditionFailed")
    versioned.call("put_object", IfMatch=new)
    versioned.delete()
    assert versioned.refused("put_object", IfMatch=new)[:2] == (404, "NoSuchKey")
    versioned.call("put_object", IfNoneMatch="*")


def test_a_deletion_is_judged_by_what_it_would_delete(versioned):
    old = versioned.call("put_object", Body=b"old")
    new = versioned.call("put_object", Body=b"new")

    assert versioned.refused("delete_object", IfMatch=old["ETag"])[:2] == (
        412,
        "PreconditionFailed",
    )
    assert versioned.refused("delete_object", VersionId=old["VersionId"], IfMatch=new["ETag"])[
        :2
    ] == (412, "PreconditionFailed")
    versioned.call("delete_object", VersionId=old["VersionId"], IfMatch=old["ETag"])
    assert versioned.call("delete_object", IfMatch=new["ETag"])["DeleteMarker"]
    assert versioned.refused("delete_object", IfMatch=new["ETag"])[:2] == (
        412,
        "PreconditionFailed",
    )
    assert "DeleteMarker" not in versioned.call("delete_object", "nothing", IfMatch=new["ETag"])
    assert versioned.stack("nothing") == ([], [])


# Tags and attributes


def test_each_version_has_its_own_tags(versioned):
    first, second = versioned.put(), versioned.put()

    answer = versioned.call(
        "put_object_tagging",
        VersionId=first,
        Tagging={"TagSet": [{"Key": "a", "Value": "1"}]},
    )

    assert answer["VersionId"] == first
    found = versioned.call("get_object_tagging", VersionId=first)
    assert (found["VersionId"], len(found["TagSet"])) == (first, 1)
    assert versioned.call("get_object_tagging")["TagSet"] == []
    assert versioned.call("get_object_tagging")["VersionId"] == second
    assert versioned.call("delete_object_tagging", VersionId=first)["VersionId"] == first
    assert versioned.call("get_object_tagging", VersionId=first)["TagSet"] == []


def test_attributes_are_those_of_the_version(versioned):
    first = versioned.put(b"four")
    versioned.put(b"longer")

    answer = versioned.call(
        "get_object_attributes", VersionId=first, ObjectAttributes=["ObjectSize"]
    )

    assert (answer["VersionId"], answer["ObjectSize"]) == (first, 4)


# Copies and uploads


@pytest.mark.parametrize("holder", [None, 1, 2])
@pytest.mark.parametrize("size", [4, 70_000])
def test_an_old_version_is_brought_back_by_a_copy_under_any_key(versioned, holder, size):
    body = b"old!" * (size // 4)
    old = versioned.put(body, holder=1)
    versioned.put(b"new")

    answer = versioned.call(
        "copy_object",
        CopySource={"Bucket": "shelf", "Key": "key", "VersionId": old},
        **own(1, "CopySource"),
        **own(holder),
    )

    assert answer["CopySourceVersionId"] == old
    assert answer["VersionId"] not in (old, None)
    assert versioned.get(holder=holder) == body
    assert len(versioned.stack()[0]) == 3
    versioned.delete(old)
    assert versioned.get(answer["VersionId"], holder=holder) == body


def test_a_marker_is_no_source_and_neither_is_what_it_hides(versioned):
    versioned.put()
    marker = versioned.delete()["VersionId"]
    source = {"Bucket": "shelf", "Key": "key"}

    assert versioned.refused("copy_object", "other", CopySource=source)[:2] == (404, "NoSuchKey")
    source["VersionId"] = marker
    assert versioned.refused("copy_object", "other", CopySource=source)[:2] == (
        400,
        "InvalidRequest",
    )
    source["VersionId"] = ABSENT_ID
    assert versioned.refused("copy_object", "other", CopySource=source)[:2] == (
        404,
        "NoSuchVersion",
    )


@pytest.mark.parametrize("holder", [None, 1])
def test_an_upload_becomes_a_version_made_of_parts_of_old_versions(versioned, holder):
    old = versioned.put(b"x" * MIB5)
    versioned.put(b"new")
    upload = versioned.call("create_multipart_upload", **own(holder))["UploadId"]
    source = {"Bucket": "shelf", "Key": "key", "VersionId": old}
    first = versioned.call(
        "upload_part_copy", UploadId=upload, PartNumber=1, CopySource=source, **own(holder)
    )
    last = versioned.call("upload_part", UploadId=upload, PartNumber=2, Body=b"y", **own(holder))
    parts = [
        {"PartNumber": 1, "ETag": first["CopyPartResult"]["ETag"]},
        {"PartNumber": 2, "ETag": last["ETag"]},
    ]

    done = versioned.call(
        "complete_multipart_upload", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    versioned.put(b"newer")
    again = versioned.call(
        "complete_multipart_upload", UploadId=upload, MultipartUpload={"Parts": parts}
    )

    assert first["CopySourceVersionId"] == old
    assert done["VersionId"] == again["VersionId"]
    assert versioned.get(done["VersionId"], holder=holder) == b"x" * MIB5 + b"y"


# Listings


def test_versions_are_listed_by_key_the_newest_first(versioned):
    ids = {key: [versioned.put(b"12345", key) for _ in range(2)] for key in ("a", "b/c", "é")}
    marker = versioned.delete(key="a")["VersionId"]

    answer = versioned.listed()

    rows = [(row["Key"], row["VersionId"], row["IsLatest"]) for row in answer["Versions"]]
    assert rows == [
        (key, version_id, key != "a" and version_id == ids[key][1])
        for key in ids
        for version_id in reversed(ids[key])
    ]
    (row,) = answer["DeleteMarkers"]
    assert (row["Key"], row["VersionId"], row["IsLatest"]) == ("a", marker, True)
    assert row["Owner"]["ID"] == answer["Versions"][0]["Owner"]["ID"]
    assert (answer["Versions"][0]["Size"], answer["IsTruncated"]) == (5, False)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("delimiter", ["", "/"])
def test_all_pages_together_are_the_whole_listing(versioned, size, delimiter):
    for _ in range(3):
        for key in ("a", "b/1", "b/2", "c", "d +%"):
            versioned.put(key=key)
    versioned.delete(key="a")
    whole = versioned.listed(Delimiter=delimiter)

    found = {"Versions": [], "DeleteMarkers": [], "CommonPrefixes": []}
    pages = versioned.client.get_paginator("list_object_versions").paginate(
        Bucket="shelf", Delimiter=delimiter, PaginationConfig={"PageSize": size}
    )
    for page in pages:
        assert sum(len(page.get(name, [])) for name in found) <= size
        for name in found:
            found[name] += page.get(name, [])

    assert found == {name: whole.get(name, []) for name in found}
    assert len(found["CommonPrefixes"]) == (1 if delimiter else 0)


def test_an_id_marker_needs_a_key_marker(versioned):
    answer = versioned.store.ask("GET", f"/shelf?versions&version-id-marker={ABSENT_ID}")

    assert (answer.status, answer.fault.code) == (400, "InvalidArgument")


def test_keys_are_encoded_if_asked_for_and_markers_with_them(versioned):
    for _ in range(2):
        versioned.put(key="a b+é")

    body = versioned.store.ask("GET", "/shelf?versions&encoding-type=url&max-keys=1").body

    assert body.count(b"a%20b%2B%C3%A9") == 2
    assert b"<NextKeyMarker>a%20b%2B%C3%A9</NextKeyMarker>" in body


# Who switches it meanwhile


def meddle(catalog, method, deeds):
    """Do the next of `deeds` before each call of a method of the catalog."""
    original = getattr(catalog, method)
    left = list(deeds)

    async def meddled(*args):
        if left:
            await catalog.change_settings("shelf", {"versioning": left.pop(0)})
        return await original(*args)

    setattr(catalog, method, meddled)


@pytest.mark.parametrize(
    ("before", "after"), [(None, "Enabled"), ("Enabled", "Suspended"), ("Suspended", "Enabled")]
)
@pytest.mark.parametrize("size", [4, 70_000])
@pytest.mark.parametrize("way", ["put", "copy", "upload"])
def test_a_write_gets_the_id_that_the_bucket_wants_when_it_is_committed(
    shelf, before, after, size, way
):
    body = b"body" * (size // 4)
    shelf.put(body, "source")
    if before:
        shelf.switch(before)
    if way == "upload":
        upload = shelf.call("create_multipart_upload")["UploadId"]
        part = shelf.call("upload_part", UploadId=upload, PartNumber=1, Body=body)["ETag"]
    method = "complete_upload" if way == "upload" else "put_version"
    meddle(shelf.store.catalog, method, [after])

    if way == "put":
        shelf.put(body)
    elif way == "copy":
        shelf.call("copy_object", CopySource={"Bucket": "shelf", "Key": "source"})
    else:
        named = {"Parts": [{"PartNumber": 1, "ETag": part}]}
        shelf.call("complete_multipart_upload", UploadId=upload, MultipartUpload=named)

    ids, _ = shelf.stack()
    assert len(ids) == 1
    assert (ids == ["null"]) == (after != "Enabled")
    assert shelf.get() == shelf.get(ids[0]) == body
    assert shelf.store.reported == []


def test_a_write_that_is_switched_under_again_and_again_is_told_to_come_back(shelf):
    meddle(shelf.store.catalog, "put_version", ["Enabled", "Suspended", "Enabled"])

    answer = shelf.store.ask("PUT", "/shelf/key", body=b"x" * 70_000)

    assert (answer.status, answer.fault.code) == (503, "SlowDown")

    assert shelf.stack() == ([], [])
    assert shelf.store.remains == (set(), set(), set())


def test_a_deleted_version_takes_its_bytes_along_and_no_others(versioned):
    first = versioned.put(b"x" * 70_000)
    versioned.put(b"y" * 70_000)
    versioned.delete()

    versioned.delete(first)
    versioned.store.run(versioned.store.core.collector.collect())

    places, inline, _ = versioned.store.remains
    assert (len(places), inline) == (1, set())
    with pytest.raises(errors.VersionNotFound):
        versioned.store.run(versioned.store.catalog.version("shelf", "key", first))
