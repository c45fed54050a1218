"""A second user, added while the server runs, owns what they create and is refused the rest."""

import pytest
from botocore import exceptions

DENIED = (403, "AccessDenied")


@pytest.fixture(scope="module")
def theirs(server, user):
    """A client of the second user."""
    access_key, secret_key = user.keys
    client = server.boto3_client(aws_access_key_id=access_key, aws_secret_access_key=secret_key)
    yield client
    client.close()


@pytest.fixture
def their_bucket(theirs, new_name):
    name = new_name()
    theirs.create_bucket(Bucket=name)
    return name


def refusal(call, **params):
    with pytest.raises(exceptions.ClientError) as caught:
        call(**params)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def test_a_user_stores_and_fetches_under_a_key(theirs, their_bucket, key):
    theirs.put_object(Bucket=their_bucket, Key="film", Body=b"private", **key.options)

    got = theirs.get_object(Bucket=their_bucket, Key="film", **key.options)

    assert got["Body"].read() == b"private"


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("head_bucket", {}),
        ("get_bucket_location", {}),
        ("list_objects", {}),
        ("list_objects_v2", {}),
        ("list_multipart_uploads", {}),
        ("delete_bucket", {}),
        ("get_object", {"Key": "film"}),
        ("get_object", {"Key": "gone"}),
        ("head_object", {"Key": "film"}),
        ("put_object", {"Key": "film", "Body": b"theirs"}),
        ("put_object", {"Key": "new", "Body": b"theirs"}),
        ("delete_object", {"Key": "film"}),
        ("delete_objects", {"Delete": {"Objects": [{"Key": "film"}]}}),
        ("create_multipart_upload", {"Key": "film"}),
        ("upload_part", {"Key": "film", "UploadId": "any", "PartNumber": 1, "Body": b"theirs"}),
        ("list_parts", {"Key": "film", "UploadId": "any"}),
        ("abort_multipart_upload", {"Key": "film", "UploadId": "any"}),
        (
            "complete_multipart_upload",
            {
                "Key": "film",
                "UploadId": "any",
                "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": "0"}]},
            },
        ),
    ],
)
def test_a_user_may_do_nothing_with_what_root_owns(s3, bucket, theirs, operation, params):
    s3.put_object(Bucket=bucket, Key="film", Body=b"roots")

    status, code = refusal(getattr(theirs, operation), Bucket=bucket, **params)

    assert status == 403
    assert code in ("403", "AccessDenied"), "a HEAD has no body to say it in"
    assert s3.get_object(Bucket=bucket, Key="film")["Body"].read() == b"roots"
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


def test_a_user_with_the_right_key_is_refused_another_owners_object(s3, bucket, theirs, key):
    s3.put_object(Bucket=bucket, Key="film", Body=b"private", **key.options)

    assert refusal(theirs.get_object, Bucket=bucket, Key="film", **key.options) == DENIED


def test_users_are_refused_each_others_buckets(server, add_user, theirs, their_bucket, new_name):
    third = add_user(f"user-{new_name()}")
    client = server.boto3_client(
        aws_access_key_id=third.keys[0], aws_secret_access_key=third.keys[1]
    )
    theirs.put_object(Bucket=their_bucket, Key="film", Body=b"theirs")

    assert refusal(client.get_object, Bucket=their_bucket, Key="film") == DENIED
    assert refusal(client.list_objects_v2, Bucket=their_bucket) == DENIED
    client.close()


def test_a_copy_needs_the_right_to_read_its_source(s3, bucket, theirs, their_bucket):
    s3.put_object(Bucket=bucket, Key="film", Body=b"roots")

    answer = refusal(
        theirs.copy_object,
        Bucket=their_bucket,
        Key="film",
        CopySource={"Bucket": bucket, "Key": "film"},
    )

    assert answer == DENIED


def test_a_taken_bucket_name_is_refused(bucket, theirs):
    assert refusal(theirs.create_bucket, Bucket=bucket) == (409, "BucketAlreadyExists")


def test_each_sees_their_own_buckets_under_their_own_name(s3, bucket, theirs, their_bucket, user):
    roots, mine = s3.list_buckets(), theirs.list_buckets()

    assert bucket not in {b["Name"] for b in mine["Buckets"]}
    assert their_bucket in {b["Name"] for b in mine["Buckets"]}
    assert bucket in {b["Name"] for b in roots["Buckets"]}
    assert mine["Owner"] == {"ID": user.user_id, "DisplayName": user.name}
    assert roots["Owner"]["ID"] != user.user_id


def test_listings_name_the_owner(theirs, their_bucket, user):
    theirs.put_object(Bucket=their_bucket, Key="film", Body=b"theirs")
    owner = {"ID": user.user_id, "DisplayName": user.name}

    (first,) = theirs.list_objects(Bucket=their_bucket)["Contents"]
    (asked,) = theirs.list_objects_v2(Bucket=their_bucket, FetchOwner=True)["Contents"]
    (unasked,) = theirs.list_objects_v2(Bucket=their_bucket)["Contents"]

    assert first["Owner"] == asked["Owner"] == owner
    assert "Owner" not in unasked


def test_keys_may_be_chosen(connect, add_user, new_name):
    access_key = "CHOSEN" + new_name().upper().replace("-", "")
    added = add_user(
        f"user-{new_name()}", "--access-key", access_key, "--secret-key", "a-chosen-secret-key"
    )

    assert added.keys == (access_key, "a-chosen-secret-key")
    assert connect().ask("GET", "/", keys=added.keys).status == 200


def test_a_wrong_secret_and_an_unknown_access_key_are_refused(connect, user):
    wrong = connect().ask("GET", "/", keys=(user.keys[0], "not-the-secret"))
    unknown = connect().ask("GET", "/", keys=("NOBODY", "not-the-secret"))

    assert wrong.fault[:2] == (403, "SignatureDoesNotMatch")
    assert unknown.fault[:2] == (403, "InvalidAccessKeyId")
