"""The bucket's encryption document, what it makes of writes, and what it blocks."""

import base64
import hashlib
import json

import boto3
import pytest

AES = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
BODY = b"body"
SSE = "x-amz-server-side-encryption"
COPY = "x-amz-copy-source-server-side-encryption"


def kms_rule(key, algorithm="aws:kms", **more):
    default = {"SSEAlgorithm": algorithm} | ({} if key is None else {"KMSMasterKeyID": key})
    return {"ApplyServerSideEncryptionByDefault": default} | more


def blocked(*types):
    return {"BlockedEncryptionTypes": {"EncryptionType": list(types)}}


def put(s3, *rules):
    s3.put_bucket_encryption(
        Bucket="bucket", ServerSideEncryptionConfiguration={"Rules": list(rules)}
    )


def shown(s3):
    found = s3.get_bucket_encryption(Bucket="bucket")["ServerSideEncryptionConfiguration"]
    (rule,) = found["Rules"]
    return rule


def refused(call, *arguments, **named):
    with pytest.raises(boto3.exceptions.botocore.exceptions.ClientError) as caught:
        call(*arguments, **named)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]


def test_a_fresh_bucket_shows_the_stores_own_keys(s3):
    """S003.18: nothing special is needed, and the default is SSE-S3."""
    assert shown(s3) == AES


@pytest.mark.parametrize(
    "rule",
    [
        AES,
        kms_rule(None, BucketKeyEnabled=False),
        kms_rule("alias/films", BucketKeyEnabled=True),
        kms_rule("00000000-0000-4000-8000-000000000001", "aws:kms:dsse", BucketKeyEnabled=False),
        AES | blocked("SSE-C"),
        AES | blocked("NONE"),
    ],
)
def test_what_was_put_is_shown(s3, rule):
    put(s3, rule)

    assert shown(s3) == rule


def test_deleting_it_goes_back_to_the_stores_own_keys_as_often_as_one_likes(s3):
    put(s3, kms_rule("alias/films", BucketKeyEnabled=True))

    for _ in range(2):
        done = s3.delete_bucket_encryption(Bucket="bucket")
        assert done["ResponseMetadata"]["HTTPStatusCode"] == 204

    assert shown(s3) == AES


def test_the_default_and_the_block_each_stay_until_they_are_named(s3):
    default = kms_rule("alias/films", BucketKeyEnabled=True)
    put(s3, default | blocked("SSE-C"))
    put(s3, AES)
    assert shown(s3) == AES | blocked("SSE-C"), "a put that is silent about the block"
    put(s3, default)
    put(s3, blocked("NONE"))
    assert shown(s3) == default | blocked("NONE"), "one that is silent about the default"
    put(s3, blocked("SSE-C"))
    s3.delete_bucket_encryption(Bucket="bucket")
    assert shown(s3) == AES | blocked("SSE-C"), "and a deletion of the default"


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [AES, AES],
        [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "ROT13"}}],
        [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:fsx"}}],
        [blocked("SSE-S3")],
        [blocked("SSE-C", "NONE")],
        [blocked()],
    ],
)
def test_a_document_that_cannot_be_followed_is_malformed(s3, rules):
    status, error = refused(put, s3, *rules)

    assert (status, error["Code"]) == (400, "MalformedXML")
    assert shown(s3) == AES


def test_a_rule_without_an_algorithm_is_malformed(bucket):
    document = (
        b"<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault/></Rule>"
        b"</ServerSideEncryptionConfiguration>"
    )

    md5 = base64.b64encode(hashlib.md5(document, usedforsecurity=False).digest()).decode()

    answer = bucket.ask("PUT", "/bucket?encryption", {"Content-MD5": md5}, document)

    assert (answer.status, answer.fault.code) == (400, "MalformedXML")


def test_a_kms_key_does_not_go_with_the_stores_keys(s3):
    status, error = refused(put, s3, kms_rule("alias/films", "AES256"))

    assert (status, error["Code"]) == (400, "InvalidArgument")
    assert error["ArgumentName"] == "ApplyServerSideEncryptionByDefault"
    assert error["Message"] == (
        "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or"
        " aws:kms:dsse"
    )


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_bucket_that_is_not_there_has_none(store, method):
    answer = store.ask(method, "/nowhere?encryption")

    assert (answer.status, answer.fault.code) == (404, "NoSuchBucket")
    assert answer.fault.fields == {"BucketName": "nowhere"}


# What the default does


@pytest.mark.parametrize(
    ("algorithm", "bucket_key"), [("aws:kms", False), ("aws:kms", True), ("aws:kms:dsse", False)]
)
def test_writes_that_name_no_encryption_get_the_buckets(store, s3, algorithm, bucket_key):
    arn = store.add_kms_key(alias="alias/films")
    put(s3, kms_rule("alias/films", algorithm, BucketKeyEnabled=bucket_key))

    answers = [s3.put_object(Bucket="bucket", Key="k", Body=BODY)]
    answers += [s3.get_object(Bucket="bucket", Key="k"), s3.head_object(Bucket="bucket", Key="k")]
    answers += [s3.copy_object(Bucket="bucket", Key="c", CopySource="bucket/k")]
    begun = s3.create_multipart_upload(Bucket="bucket", Key="m")
    place = {"Bucket": "bucket", "Key": "m", "UploadId": begun["UploadId"]}
    part = s3.upload_part(**place, PartNumber=1, Body=BODY)
    copied = s3.upload_part_copy(**place, PartNumber=2, CopySource="bucket/k")
    parts = [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}]
    done = s3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})

    for answer in (*answers, begun, part, copied, done, s3.head_object(Bucket="bucket", Key="m")):
        assert answer["ServerSideEncryption"] == algorithm
        assert answer["SSEKMSKeyId"] == arn
        assert answer.get("BucketKeyEnabled") == (True if bucket_key else None)


def test_a_request_that_names_an_encryption_gets_that(store, s3, key):
    """S003.2, S003.19: the bucket's default is for requests that name none."""
    store.add_kms_key(alias="alias/films")
    for algorithm in ("aws:kms", "aws:kms:dsse"):
        put(s3, kms_rule("alias/films", algorithm))

        plain = s3.put_object(Bucket="bucket", Key="p", Body=BODY, ServerSideEncryption="AES256")
        sealed = s3.put_object(Bucket="bucket", Key="c", Body=BODY, **key.options)
        copied = s3.copy_object(Bucket="bucket", Key="d", CopySource="bucket/p", **key.options)
        begun = s3.create_multipart_upload(Bucket="bucket", Key="m", **key.options)

        assert plain["ServerSideEncryption"] == "AES256"
        for answer in (sealed, copied, begun):
            assert answer["SSECustomerAlgorithm"] == "AES256"
            assert "ServerSideEncryption" not in answer
        got = s3.get_object(Bucket="bucket", Key="c", **key.options)
        assert got["Body"].read() == BODY


def test_what_was_written_before_stays_as_it_is(store, s3):
    store.add_kms_key(alias="alias/films")
    s3.put_object(Bucket="bucket", Key="k", Body=BODY)

    put(s3, kms_rule("alias/films"))

    assert s3.get_object(Bucket="bucket", Key="k")["ServerSideEncryption"] == "AES256"


def test_the_key_is_looked_for_when_something_is_written(s3):
    put(s3, kms_rule("aws/s3"))

    status, error = refused(s3.put_object, Bucket="bucket", Key="k", Body=BODY)

    assert (status, error["Code"]) == (400, "KMS.NotFoundException")
    assert error["Message"] == "Invalid keyId 'aws/s3'"


def test_a_default_without_a_key_is_the_stores_own_kms_key(store, s3):
    put(s3, kms_rule(None))

    answer = s3.put_object(Bucket="bucket", Key="k", Body=BODY)

    own = store.run(store.core.kms.resolve("alias/aws/s3"))
    assert answer["SSEKMSKeyId"] == store.core.kms.arn(own)


@pytest.mark.parametrize(("header", "expected"), [(None, True), (True, True), (False, None)])
def test_a_request_may_say_otherwise_about_the_bucket_key(store, s3, header, expected):
    store.add_kms_key(alias="alias/films")
    put(s3, kms_rule("alias/films", BucketKeyEnabled=True))
    options = {} if header is None else {"BucketKeyEnabled": header}

    for named in ({}, {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/films"}):
        answer = s3.put_object(Bucket="bucket", Key="k", Body=BODY, **named, **options)
        assert answer.get("BucketKeyEnabled") == expected


# What is blocked


def test_five_ways_to_write_under_a_customer_key_are_blocked_and_reading_is_not(bucket, key):
    client = bucket.client()
    begun = bucket.ask("POST", "/bucket/m?uploads", key.headers()).text("UploadId")
    bucket.ask("PUT", "/bucket/k", key.headers(), BODY)
    put(client, blocked("SSE-C"))
    part = f"/bucket/m?uploadId={begun}&partNumber=1"
    from_k = {"x-amz-copy-source": "bucket/k"} | {
        name.replace(SSE, COPY): value for name, value in key.headers().items()
    }

    for method, target, headers, action in (
        ("PUT", "/bucket/n", {}, "n"),
        ("PUT", "/bucket/n", from_k, "n"),
        ("POST", "/bucket/n?uploads", {}, "n"),
        ("PUT", part, {}, "m"),
        ("PUT", part, from_k, "m"),
    ):
        answer = bucket.ask(method, target, headers | key.headers(), BODY)
        assert (answer.status, answer.fault.code) == (403, "AccessDenied")
        assert answer.fault.message == (
            "User: arn:aws:iam::000000000000:user/root is not authorized to perform: s3:PutObject on"
            f' resource: "arn:aws:s3:::bucket/{action}" because this bucket has blocked upload'
            " requests that specify Server Side Encryption with Customer provided keys (SSE-C)."
            " Please specify a different server-side encryption type"
        )
    assert bucket.ask("GET", "/bucket/k", key.headers()).body == BODY
    assert bucket.ask("PUT", "/bucket/n", from_k).status == 200, "the source may be read"

    put(client, blocked("NONE"))
    assert bucket.ask("PUT", "/bucket/n", key.headers(), BODY).status == 200


def test_a_bucket_may_be_made_with_customer_keys_blocked(make_store, key):
    # The contract of the command line, `--sse-c-default`.
    store = make_store(block_sse_c=True)
    client = store.client()
    client.create_bucket(Bucket="bucket")

    assert shown(client) == AES | blocked("SSE-C")
    assert store.ask("PUT", "/bucket/k", key.headers(), BODY).status == 403


def test_the_document_is_kept_as_json(store, s3):
    put(s3, kms_rule("alias/films", BucketKeyEnabled=True) | blocked("SSE-C"))

    kept = store.run(store.catalog.bucket("bucket")).settings["encryption"]

    assert json.loads(kept)["Rules"][0]["BucketKeyEnabled"] is True
