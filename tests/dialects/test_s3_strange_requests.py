"""Requests that mean another thing than they seem to, and races for a name."""

import asyncio
import io

import pytest
from botocore.exceptions import ClientError

from strongroom import errors
from strongroom.crypto.secret import SecretKey
from strongroom.service import facets, transfer

PART = bytes(5 * 1024 * 1024)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("PUT", "/bucket/key?partNumber=1"),
        ("PUT", "/bucket/key?uploadId=abc"),
        ("PUT", "/bucket/key?uploads"),
        ("DELETE", "/bucket/key?acl"),
        ("DELETE", "/bucket/key?uploads"),
        ("DELETE", "/bucket?acl"),
        ("GET", "/bucket/key?delete"),
    ],
)
def test_a_subresource_that_does_not_go_with_the_method_is_refused(store, s3, method, target):
    s3.put_object(Bucket="bucket", Key="key", Body=b"as it was")

    answer = store.ask(method, target, {}, b"")

    assert (answer.status, answer.fault.code) == (405, "MethodNotAllowed")
    assert s3.get_object(Bucket="bucket", Key="key")["Body"].read() == b"as it was"


def test_parameters_that_tell_nothing_apart_are_ignored(store, s3):
    s3.put_object(Bucket="bucket", Key="key", Body=b"body")

    answer = store.ask("GET", "/bucket/key?x-id=GetObject&colour=blue", {}, b"")

    assert (answer.status, answer.body) == (200, b"body")


def test_a_copy_source_in_the_query_copies(store, s3):
    s3.put_object(Bucket="bucket", Key="source", Body=b"copied")

    answer = store.ask("PUT", "/bucket/target?x-amz-copy-source=bucket%2Fsource", {}, b"")

    assert answer.status == 200
    assert s3.get_object(Bucket="bucket", Key="target")["Body"].read() == b"copied"


def test_framing_that_the_signature_does_not_announce_is_not_stored(store, s3):
    framed = b"3\r\nabc\r\n0\r\n\r\n"
    headers = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": "3"}

    answer = store.ask("PUT", "/bucket/key", headers, framed)

    assert (answer.status, answer.fault.code) == (400, "InvalidRequest")
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket="bucket", Key="key")


def test_a_write_goes_to_the_bucket_it_was_permitted_for_and_to_no_later_one(bucket):
    """Alice's slow PUT must not land in the bucket that Bob made of the name she gave up."""

    store = bucket

    async def story():
        await store.core.people.add("Bob", "bobkey", SecretKey(b"bobs-secret"), now_ms=1)

        async def pieces():
            yield b"al"
            # Meanwhile the bucket changes hands.
            await store.catalog.delete_bucket("bucket")
            await asyncio.sleep(0.002)
            await services.buckets.create("bucket", owner="b" * 64, region="us-east-1", settings={})
            yield b"ice"

        services = store.core.s3._services  # noqa: SLF001 - the one way in without a socket
        made_ms = (await store.catalog.bucket("bucket")).created_ms
        incoming = transfer.Incoming(chunks=pieces(), length=5)
        with pytest.raises(errors.BucketNotFound):
            await services.objects.put(
                "bucket",
                "key",
                incoming,
                owner="a" * 64,
                customer=None,
                content=facets.Content(),
                tags={},
                bucket_made_ms=made_ms,
            )
        with pytest.raises(errors.ObjectNotFound):
            await store.catalog.current("bucket", "key")

    store.run(story())


def test_a_read_survives_the_deletion_of_an_object_whose_last_part_is_small(store, s3):
    upload = s3.create_multipart_upload(Bucket="bucket", Key="key")["UploadId"]
    parts = []
    for number, body in enumerate((PART, b"tail"), 1):
        answer = s3.upload_part(
            Bucket="bucket", Key="key", UploadId=upload, PartNumber=number, Body=io.BytesIO(body)
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    s3.complete_multipart_upload(
        Bucket="bucket", Key="key", UploadId=upload, MultipartUpload={"Parts": parts}
    )

    async def story():
        services = store.core.s3._services  # noqa: SLF001 - the one way in without a socket
        opened = await services.objects.get("bucket", "key", customer=None)
        await services.objects.delete("bucket", "key", owner="o")
        await store.core.collector.collect()
        return b"".join([bytes(piece) async for piece in opened.pieces])

    assert store.run(story()) == PART + b"tail"


def complete(s3, upload, parts, **more):
    return s3.complete_multipart_upload(
        Bucket="bucket", Key="key", UploadId=upload, MultipartUpload={"Parts": parts}, **more
    )


def two_parts(s3):
    upload = s3.create_multipart_upload(Bucket="bucket", Key="key")["UploadId"]
    parts = []
    for number, body in enumerate((PART, b"tail"), 1):
        answer = s3.upload_part(
            Bucket="bucket", Key="key", UploadId=upload, PartNumber=number, Body=io.BytesIO(body)
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    return upload, parts


def test_only_the_same_complete_is_answered_again(s3):
    upload, parts = two_parts(s3)
    first = complete(s3, upload, parts)

    assert complete(s3, upload, parts)["ETag"] == first["ETag"]
    with pytest.raises(ClientError, match="NoSuchUpload"):
        complete(s3, upload, parts[:1])


def test_a_wrong_size_of_the_whole_upload_is_told_with_both_sizes(s3):
    upload, parts = two_parts(s3)

    with pytest.raises(ClientError, match=f"InvalidRequest.*7 .*{len(PART) + 4}"):
        complete(s3, upload, parts, MpuObjectSize=7)

    complete(s3, upload, parts, MpuObjectSize=len(PART) + 4)


@pytest.mark.parametrize("marker", [2**31, 2**63, 10**30, -1])
def test_a_part_number_marker_beyond_all_numbers_is_refused(store, s3, marker):
    upload, _ = two_parts(s3)

    target = f"/bucket/key?uploadId={upload}&part-number-marker={marker}"
    answer = store.ask("GET", target, {}, b"")

    assert (answer.status, answer.fault.code) == (400, "InvalidArgument")


def test_a_credential_opens_for_its_own_user_only(store):
    async def story():
        await store.core.people.add("Mallory", "mallory", SecretKey(b"mallorys-key"), now_ms=1)
        sealed = (await store.catalog.credential("mallory"))[0].sealed_secret
        keeper = store.core.people._master  # noqa: SLF001 - what a row in other hands meets
        with pytest.raises(errors.NotAuthentic):
            keeper.open_credential("mallory", "f" * 64, sealed)

    store.run(story())
