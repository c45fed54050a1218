"""Listings as a user of S3 expects them."""

import pytest

KEYS = ["a", "a b", "b/1", "b/2", "b/c/3", "c", "d/1", "é", "美"]


@pytest.fixture
def filled(s3):
    for name in KEYS:
        s3.put_object(Bucket="bucket", Key=name, Body=name.encode())
    return s3


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2", "list_object_versions"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_pages_in_a_row_are_the_whole(filled, operation, size):
    member = "Versions" if operation == "list_object_versions" else "Contents"

    pages = filled.get_paginator(operation).paginate(
        Bucket="bucket", PaginationConfig={"PageSize": size}
    )

    found = [[row["Key"] for row in page.get(member, [])] for page in pages]
    assert [key for page in found for key in page] == KEYS
    assert all(len(page) <= size for page in found)


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2", "list_object_versions"])
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_keys_roll_up_at_a_delimiter(filled, operation, size):
    member = "Versions" if operation == "list_object_versions" else "Contents"
    keys, prefixes = [], []

    for page in filled.get_paginator(operation).paginate(
        Bucket="bucket", Delimiter="/", PaginationConfig={"PageSize": size}
    ):
        keys += [row["Key"] for row in page.get(member, [])]
        prefixes += [row["Prefix"] for row in page.get("CommonPrefixes", [])]

    assert keys == ["a", "a b", "c", "é", "美"]
    assert prefixes == ["b/", "d/"]


@pytest.mark.parametrize(
    ("options", "keys", "prefixes"),
    [
        ({"Prefix": "b/"}, ["b/1", "b/2", "b/c/3"], []),
        ({"Prefix": "b/", "Delimiter": "/"}, ["b/1", "b/2"], ["b/c/"]),
        ({"Prefix": "nothing"}, [], []),
        ({"Delimiter": " "}, ["a", "b/1", "b/2", "b/c/3", "c", "d/1", "é", "美"], ["a "]),
        ({"Prefix": "é"}, ["é"], []),
        ({"MaxKeys": 0}, [], []),
    ],
)
def test_prefixes_and_delimiters_choose(filled, options, keys, prefixes):
    for list_them in (filled.list_objects, filled.list_objects_v2):
        page = list_them(Bucket="bucket", **options)

        assert [row["Key"] for row in page.get("Contents", [])] == keys
        assert [row["Prefix"] for row in page.get("CommonPrefixes", [])] == prefixes
        assert page["IsTruncated"] is False


def test_a_listing_goes_on_behind_a_marker(filled):
    first = filled.list_objects(Bucket="bucket", Marker="b/2")
    second = filled.list_objects_v2(Bucket="bucket", StartAfter="b/2")

    for page in (first, second):
        assert [row["Key"] for row in page["Contents"]] == KEYS[KEYS.index("b/c/3") :]
    assert first["Marker"] == second["StartAfter"] == "b/2"


def test_a_token_goes_before_start_after(filled):
    first = filled.list_objects_v2(Bucket="bucket", MaxKeys=2)

    second = filled.list_objects_v2(
        Bucket="bucket", StartAfter="é", ContinuationToken=first["NextContinuationToken"]
    )

    assert second["Contents"][0]["Key"] == "b/1"
    assert second["ContinuationToken"] == first["NextContinuationToken"]


def test_an_entry_says_what_s3_says(filled):
    row = filled.list_objects_v2(Bucket="bucket", Prefix="c", FetchOwner=True)["Contents"][0]
    plain = filled.list_objects_v2(Bucket="bucket", Prefix="c")["Contents"][0]
    head = filled.head_object(Bucket="bucket", Key="c")

    assert row["ETag"] == head["ETag"]
    assert row["Size"] == 1
    assert row["StorageClass"] == "STANDARD"
    assert row["ChecksumAlgorithm"] == ["CRC32"]
    assert row["Owner"]["DisplayName"] == "root"
    assert "Owner" not in plain
    assert abs(row["LastModified"] - head["LastModified"]).total_seconds() < 1


def test_versions_of_a_bucket_without_versioning_are_named_null(filled):
    rows = filled.list_object_versions(Bucket="bucket")["Versions"]

    assert {(row["VersionId"], row["IsLatest"]) for row in rows} == {("null", True)}


def test_counts_are_of_keys_and_prefixes(filled):
    page = filled.list_objects_v2(Bucket="bucket", Delimiter="/", MaxKeys=3)

    assert page["KeyCount"] == len(page["Contents"]) + len(page["CommonPrefixes"]) == 3
    assert page["MaxKeys"] == 3
    assert page["IsTruncated"] is True


def test_keys_are_encoded_on_request(store, s3):
    s3.put_object(Bucket="bucket", Key="a b+c/é<&>*~", Body=b"")

    encoded = store.ask("GET", "/bucket?encoding-type=url&delimiter=%2F&prefix=a%20b")
    whole = store.ask("GET", "/bucket?list-type=2&encoding-type=url&prefix=a%20b")
    plain = store.ask("GET", "/bucket")

    assert encoded.text("CommonPrefixes", "Prefix") == "a%20b%2Bc/"
    assert whole.text("Prefix") == "a%20b"
    assert encoded.text("EncodingType") == "url"
    assert whole.text("Contents", "Key") == "a%20b%2Bc/%C3%A9%3C%26%3E*~"
    assert plain.text("Contents", "Key") == "a b+c/é<&>*~"


@pytest.mark.parametrize(
    "query",
    [
        "max-keys=-1",
        "max-keys=x",
        "max-keys=2147483648",
        "max-keys=" + "9" * 5000,
        "encoding-type=base64",
        "list-type=2&continuation-token=nonsense",
        "list-type=2&continuation-token=AAAA",
        "list-type=2&continuation-token=%C3%A9",
        "versions&version-id-marker=x",
        "uploads&max-uploads=-1",
        "uploads&encoding-type=other",
    ],
)
def test_a_page_that_cannot_be_is_refused(bucket, query):
    answer = bucket.ask("GET", f"/bucket?{query}")

    assert (answer.status, answer.fault.code) == (400, "InvalidArgument")


def test_more_than_1000_keys_are_never_on_a_page(bucket):
    assert bucket.ask("GET", "/bucket?max-keys=5000").text("MaxKeys") == "1000"


def test_an_empty_bucket_lists_what_clients_read_without_asking(bucket):
    one, two = bucket.ask("GET", "/bucket"), bucket.ask("GET", "/bucket?list-type=2")

    assert one.headers["content-type"] == "application/xml"
    assert [one.text(tag) for tag in ("Name", "Prefix", "Marker", "MaxKeys", "IsTruncated")] == [
        "bucket", "", "", "1000", "false",
    ]  # fmt: skip
    assert [two.text(tag) for tag in ("Name", "Prefix", "KeyCount", "IsTruncated")] == [
        "bucket", "", "0", "false",
    ]  # fmt: skip
