"""UpdateObjectEncryption: another KMS key for an object, in place."""

import base64
import hashlib

import pytest

from strongroom import errors
from strongroom.crypto.secret import SecretKey
from strongroom.keyring import kms, sources

SSE = "x-amz-server-side-encryption"
KEY_ID, BUCKET_KEY = f"{SSE}-aws-kms-key-id", f"{SSE}-bucket-key-enabled"
LARGE = bytes(range(256)) * 400
PART = bytes(range(256)) * 20_480
ALICE = ("aliceaccess", "alice-secret")
ALIAS = "arn:aws:kms:us-east-1:000000000000:alias/films"
ONLY = (
    "The UpdateObjectEncryption operation doesn't support source objects with the encryption type"
    " DSSE-KMS or SSE-C. Only source objects encrypted with SSE-S3 or SSE-KMS are supported."
)


@pytest.fixture
def arns(bucket):
    return [bucket.add_kms_key(number) for number in (1, 2)]


def document(arn, more=""):
    inner = f"<KMSKeyArn>{arn}</KMSKeyArn>{more}" if arn else more
    return f"<ObjectEncryption><SSE-KMS>{inner}</SSE-KMS></ObjectEncryption>".encode()


def update(store, key, body, query="", **how):
    md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    target = f"/bucket/{key}?encryption{query}"
    return store.ask("PUT", target, {"Content-MD5": md5}, body, **how)


def shown(answer):
    """Return what an answer shows of the object, but for its encryption and the request."""
    return {
        name: value
        for name, value in answer.headers.items()
        if not name.startswith((SSE, "x-amz-request-id", "x-amz-id-2", "date"))
    }


def stored(store, key):
    return store.run(store.catalog.current("bucket", key))


@pytest.mark.parametrize("before", [{SSE: "AES256"}, {SSE: "aws:kms", KEY_ID: "{}"}])
@pytest.mark.parametrize("body", [b"", b"small", LARGE], ids=["empty", "small", "large"])
def test_an_object_gets_another_key_and_stays_what_it_is(bucket, arns, before, body):
    headers = {name: value.format(arns[0]) for name, value in before.items()}
    headers |= {"x-amz-meta-film": "Metropolis", "x-amz-tagging": "a=b", "Content-Type": "a/b"}
    bucket.ask("PUT", "/bucket/k", headers, body)
    old = bucket.ask("HEAD", "/bucket/k", {"x-amz-checksum-mode": "ENABLED"})
    blobs = dict(bucket.blobs.stored)

    done = update(bucket, "k", document(arns[1]))

    assert (done.status, done.body) == (200, b"")
    new = bucket.ask("HEAD", "/bucket/k", {"x-amz-checksum-mode": "ENABLED"})
    assert shown(new) == shown(old)
    assert new.headers["x-amz-tagging-count"] == "1"
    assert (new.headers[SSE], new.headers[KEY_ID]) == ("aws:kms", arns[1])
    assert BUCKET_KEY not in new.headers
    assert bucket.ask("GET", "/bucket/k").body == body
    assert dict(bucket.blobs.stored) == blobs, "the data is not touched"
    bucket.change_kms_key(arns[0], enabled=False)
    assert bucket.ask("GET", "/bucket/k").body == body
    bucket.change_kms_key(arns[1], enabled=False)
    assert bucket.ask("GET", "/bucket/k").status == 400


def test_an_upload_in_parts_stays_one(bucket, arns):
    begun = bucket.ask("POST", "/bucket/k?uploads").text("UploadId")
    place = f"/bucket/k?uploadId={begun}"
    listed = ""
    for number, piece in ((1, PART), (2, LARGE)):
        etag = bucket.ask("PUT", f"{place}&partNumber={number}", {}, piece).headers["etag"]
        listed += f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
    completed = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    assert bucket.ask("POST", place, {}, completed).status == 200
    old = bucket.ask("HEAD", "/bucket/k?partNumber=2")

    assert update(bucket, "k", document(arns[0])).status == 200

    assert shown(bucket.ask("HEAD", "/bucket/k?partNumber=2")) == shown(old)
    assert bucket.ask("GET", "/bucket/k?partNumber=2").body == LARGE


def test_a_bucket_key_may_be_asked_for(bucket, arns):
    bucket.ask("PUT", "/bucket/k", {}, LARGE)
    more = "<BucketKeyEnabled>true</BucketKeyEnabled>"

    update(bucket, "k", document(arns[0], more))

    got = bucket.ask("GET", "/bucket/k")
    assert (got.body, got.headers[BUCKET_KEY]) == (LARGE, "true")


def test_each_version_has_a_key_of_its_own(bucket, arns):
    client = bucket.client()
    client.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    ids = [client.put_object(Bucket="bucket", Key="k", Body=body)["VersionId"] for body in "ab"]

    assert update(bucket, "k", document(arns[0]), f"&versionId={ids[0]}").status == 200

    old, new = (client.get_object(Bucket="bucket", Key="k", VersionId=each) for each in ids)
    assert (old["SSEKMSKeyId"], old["Body"].read()) == (arns[0], b"a")
    assert (new["ServerSideEncryption"], new["Body"].read()) == ("AES256", b"b")
    listed = client.list_object_versions(Bucket="bucket")["Versions"]
    assert [(row["VersionId"], row["IsLatest"]) for row in listed] == [
        (ids[1], True),
        (ids[0], False),
    ]
    gone = update(bucket, "k", document(arns[0]), f"&versionId={ids[0][::-1]}")
    assert (gone.status, gone.fault.code) == (404, "NoSuchVersion")


def test_each_version_keeps_its_own_mode_and_key(bucket, arns, key, other_key):
    """S002.14: a key opens only its own version."""
    client = bucket.client()
    client.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    put = [
        ({}, key),
        ({}, other_key),
        ({SSE: "AES256"}, None),
        ({SSE: "aws:kms", KEY_ID: arns[0]}, None),
        ({SSE: "aws:kms:dsse", KEY_ID: arns[1]}, None),
    ]
    ids = []
    for number, (headers, held) in enumerate(put):
        sent = headers | (held.headers() if held else {})
        answer = bucket.ask("PUT", "/bucket/k", sent, b"body %d" % number)
        ids.append(answer.headers["x-amz-version-id"])

    for number, (headers, held) in enumerate(put):
        target = f"/bucket/k?versionId={ids[number]}"
        got = bucket.ask("GET", target, held.headers() if held else {})
        assert (got.status, got.body) == (200, b"body %d" % number)
        assert headers.items() <= got.headers.items()
        wrong = other_key if held is key else key
        status = 400 if held is None else 403
        assert bucket.ask("GET", target, wrong.headers()).status == status


def test_boto3_does_it(bucket, arns):
    client = bucket.client()
    client.put_object(Bucket="bucket", Key="k", Body=LARGE)

    client.update_object_encryption(
        Bucket="bucket", Key="k", ObjectEncryption={"SSEKMS": {"KMSKeyArn": arns[0]}}
    )

    got = client.get_object(Bucket="bucket", Key="k")
    assert (got["SSEKMSKeyId"], got["Body"].read()) == (arns[0], LARGE)


def test_a_copy_that_shares_the_data_is_left_alone(bucket, arns):
    bucket.ask("PUT", "/bucket/k", {}, LARGE)
    bucket.ask("PUT", "/bucket/copy", {"x-amz-copy-source": "bucket/k"})
    before = stored(bucket, "copy")

    update(bucket, "k", document(arns[0]))

    assert stored(bucket, "copy") == before
    bucket.ask("DELETE", "/bucket/copy")
    bucket.run(bucket.core.collector.collect())
    assert bucket.ask("GET", "/bucket/k").body == LARGE


@pytest.mark.parametrize("mode", ["SSE-C", "DSSE-KMS"])
def test_other_modes_are_not_changed(bucket, arns, key, mode):
    headers = key.headers() if mode == "SSE-C" else {SSE: "aws:kms:dsse"}
    bucket.ask("PUT", "/bucket/k", headers, LARGE)
    before = stored(bucket, "k")

    answer = update(bucket, "k", document(arns[0]))

    assert (answer.status, answer.fault.code) == (400, "InvalidRequest")
    assert answer.fault.message == ONLY
    assert stored(bucket, "k") == before


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b"<ObjectEncryption/>", "InvalidRequest", "require a valid new encryption type"),
        (b"<ObjectEncryption><SSE-S3/></ObjectEncryption>", "MalformedXML", ""),
        (document(""), "MalformedXML", ""),
        (document(" "), "InvalidRequest", "require a valid AWS KMS key"),
        (document("alias/films"), "InvalidRequest", "require a valid AWS KMS key"),
        (document(ALIAS), "InvalidRequest", "require a valid AWS KMS key"),
    ],
)
def test_what_does_not_name_a_key_is_refused(bucket, body, code, says):
    bucket.ask("PUT", "/bucket/k", {}, LARGE)

    answer = update(bucket, "k", body)

    assert (answer.status, answer.fault.code) == (400, code)
    assert says in answer.fault.message
    assert bucket.ask("HEAD", "/bucket/k").headers[SSE] == "AES256"


def test_both_keys_must_be_the_callers_to_use(bucket, arns):
    bucket.add_user("alice", *ALICE)
    (alice,) = (user.user_id for user in bucket.run(bucket.catalog.users()))
    own = bucket.add_kms_key(3, creator=alice)
    bucket.ask("PUT", "/alices", who=ALICE)
    target = "/alices/k?encryption"
    bucket.ask("PUT", "/alices/k", {SSE: "aws:kms", KEY_ID: arns[0]}, LARGE)

    for arn in (own, arns[0]):
        body = document(arn)
        md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        answer = bucket.ask("PUT", target, {"Content-MD5": md5}, body, who=ALICE)
        assert (answer.status, answer.fault.code) == (403, "AccessDenied")
    assert bucket.ask("HEAD", "/alices/k").headers[KEY_ID] == arns[0]


def test_what_is_not_there_is_404(bucket, arns):
    answer = update(bucket, "nothing", document(arns[0]))

    assert (answer.status, answer.fault.code) == (404, "NoSuchKey")


def test_a_key_that_is_not_there_changes_nothing(bucket):
    bucket.ask("PUT", "/bucket/k", {}, LARGE)
    nowhere = "arn:aws:kms:us-east-1:000000000000:key/134f2428-cec1-4b25-a1ae-9048164dba47"

    answer = update(bucket, "k", document(nowhere))

    assert (answer.status, answer.fault.code) == (400, "KMS.NotFoundException")
    assert bucket.ask("GET", "/bucket/k").body == LARGE


def test_an_update_that_loses_a_race_looks_again(bucket, arns):
    bucket.ask("PUT", "/bucket/k", {}, b"old")
    original = bucket.catalog.replace_version

    async def overtaken(_draft, _replaced):
        bucket.catalog.replace_version = original
        raise errors.ObjectNotFound("bucket", "k")

    bucket.catalog.replace_version = overtaken

    assert update(bucket, "k", document(arns[0])).status == 200
    assert bucket.ask("HEAD", "/bucket/k").headers[KEY_ID] == arns[0]


# What the service does beyond S3's operation.


def test_a_customer_key_gives_way_to_another_and_a_kms_key_to_the_stores(bucket, key, other_key):
    rewrapping = bucket.core.s3._services.rewrapping  # noqa: SLF001 - no operation reaches it
    old, new = (sources.CustomerKey(SecretKey(each.raw)) for each in (key, other_key))
    bucket.ask("PUT", "/bucket/c", key.headers(), LARGE)
    bucket.ask("PUT", "/bucket/k", {SSE: "aws:kms"}, LARGE)
    etags = [stored(bucket, name).version.etag for name in "ck"]

    bucket.run(rewrapping.rewrap("bucket", "c", customer=old, new_customer=new))
    with pytest.raises(errors.NotRewrappable):
        bucket.run(rewrapping.rewrap("bucket", "c", customer=new))
    with pytest.raises(errors.WrongKey):
        bucket.run(rewrapping.rewrap("bucket", "c", customer=old, new_customer=new))

    root = kms.Caller(user_id="r" * 64, is_root=True)
    bucket.run(rewrapping.rewrap("bucket", "k", caller=root))

    assert bucket.ask("HEAD", "/bucket/k").headers[SSE] == "AES256"
    assert bucket.ask("GET", "/bucket/c", other_key.headers()).body == LARGE
    assert bucket.ask("GET", "/bucket/c", key.headers()).status == 403
    assert [stored(bucket, name).version.etag for name in "ck"] == etags
