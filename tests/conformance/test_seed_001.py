"""Seed S001: keys made by the shell, and what the `aws` command does to them.

The calls and their arguments are the seed's, with its mistakes E1 (`-endpoint-url`) and E2 (no
file to write to) put right; endpoint, credentials and names are ours.
"""

import base64
import hashlib
import hmac
import json

import pytest
from botocore import exceptions

INVALID_KEY = "The secret key was invalid for the specified algorithm."
PARTS_MUST = (
    "The multipart upload initiate requested encryption. Subsequent part requests must include"
    " the appropriate encryption parameters."
)
OTHER_PART_KEY = "The provided encryption parameters did not match the ones used originally."
TEXT_KEY = "ThirtyTwoCharactersThatAreOurOwn"
PART = b"part" * 2048

MAKE_A_KEY = """
set -eu
secret={secret}
key=$(echo -n $secret | base64)
keymd5=$(echo -n $secret | {openssl} | base64)
"""
PUT_AND_GET = """
aws s3api put-object --endpoint-url {url} --bucket {bucket} --key {name} --body {source} \
    --sse-customer-algorithm AES256 --sse-customer-key $key --sse-customer-key-md5 $keymd5
aws s3api get-object --endpoint-url {url} --bucket {bucket} --key {name} \
    --sse-customer-algorithm AES256 --sse-customer-key $key --sse-customer-key-md5 $keymd5 {target}
"""


@pytest.fixture
def text_key(customer):
    return customer(TEXT_KEY.encode())


@pytest.fixture
def upload(s3, bucket, key):
    """Begin a multipart upload under the key; return what names it."""
    begun = s3.create_multipart_upload(Bucket=bucket, Key="film", **key.options)
    return {"Bucket": bucket, "Key": "film", "UploadId": begun["UploadId"]}


def refusal(call, **params):
    with pytest.raises(exceptions.ClientError) as caught:
        call(**params)
    error = caught.value.response["Error"]
    status = caught.value.response["ResponseMetadata"]["HTTPStatusCode"]
    return status, error["Code"], error["Message"]


def test_the_shells_key_is_what_it_should_be(aws, openssl, text_key):
    """S001.5."""
    script = MAKE_A_KEY.format(secret=TEXT_KEY, openssl=openssl) + 'echo "$key $keymd5"'

    done = aws.script(["bash", "-c", script])

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [text_key.encoded, text_key.md5]


@pytest.mark.slow
def test_the_seeds_commands_store_and_fetch_a_file(aws, bucket, content, openssl, text_key):
    """S001.1, S001.5, S001.9, S001.13, S001.14, S001.15."""
    source, target = aws.home / "page.html", aws.home / "page-again.html"
    source.write_bytes(content(70_000))
    script = (MAKE_A_KEY + PUT_AND_GET).format(
        secret=TEXT_KEY,
        openssl=openssl,
        url=aws.endpoint,
        bucket=bucket,
        name="pages/page",
        source=source,
        target=target,
    )

    done = aws.script(["bash", "-c", script])

    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == source.read_bytes()
    put, got = map(json.loads, done.stdout.replace("}\n{", "}\0{").split("\0"))
    assert put["SSECustomerKeyMD5"] == got["SSECustomerKeyMD5"] == text_key.md5
    assert got["SSECustomerAlgorithm"] == "AES256"
    assert got["ContentLength"] == 70_000


@pytest.mark.slow
def test_without_the_md5_the_key_is_given_raw(aws, s3, bucket, text_key):
    """S001.16."""
    source = aws.home / "page.html"
    source.write_bytes(b"<p>private</p>")

    aws(
        *("s3api", "put-object", "--endpoint-url", aws.endpoint),
        *("--bucket", bucket, "--key", "page", "--body", source),
        *("--sse-customer-algorithm", "AES256", "--sse-customer-key", TEXT_KEY),
    )

    got = s3.get_object(Bucket=bucket, Key="page", **text_key.options)
    assert got["Body"].read() == b"<p>private</p>"


@pytest.mark.slow
def test_without_the_md5_a_key_in_base64_is_too_long(aws, s3, bucket, text_key):
    """S001.11, S001.16."""
    source = aws.home / "page.html"
    source.write_bytes(b"<p>private</p>")

    done = aws.run(
        *("s3api", "put-object", "--endpoint-url", aws.endpoint),
        *("--bucket", bucket, "--key", "page", "--body", source),
        *("--sse-customer-algorithm", "AES256", "--sse-customer-key", text_key.encoded),
    )

    assert done.returncode != 0
    assert "An error occurred (InvalidArgument) when calling the PutObject" in done.stderr
    assert INVALID_KEY in done.stderr
    assert refusal(s3.head_object, Bucket=bucket, Key="page")[0] == 404


def test_boto3_sends_key_and_md5_as_they_are_when_both_are_given(s3, bucket, text_key):
    """S001.15, S001.17."""
    given = {
        "SSECustomerAlgorithm": "AES256",
        "SSECustomerKey": text_key.encoded,
        "SSECustomerKeyMD5": text_key.md5,
    }

    s3.put_object(Bucket=bucket, Key="page", Body=b"private", **given)

    assert s3.get_object(Bucket=bucket, Key="page", **text_key.options)["Body"].read() == b"private"


def test_boto3_encodes_a_key_without_md5_so_an_encoded_one_is_too_long(s3, bucket, text_key):
    """S001.11, S001.17."""
    given = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": text_key.encoded}

    answer = refusal(s3.put_object, Bucket=bucket, Key="page", Body=b"private", **given)

    assert answer == (400, "InvalidArgument", INVALID_KEY)


def test_a_stored_object_is_refused_to_an_encoded_key_as_to_a_wrong_one(s3, bucket, text_key):
    """S001.11."""
    s3.put_object(Bucket=bucket, Key="page", Body=b"private", **text_key.options)
    given = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": text_key.encoded}

    status, code, _ = refusal(s3.get_object, Bucket=bucket, Key="page", **given)

    assert (status, code) == (403, "AccessDenied")


@pytest.mark.parametrize("size", [31, 33, 48, 64])
def test_a_key_of_another_size_is_refused(s3, bucket, customer, size):
    """S001.10, S001.11."""
    answer = refusal(
        s3.put_object, Bucket=bucket, Key="page", Body=b"private", **customer(b"k" * size).options
    )

    assert answer == (400, "InvalidArgument", INVALID_KEY)


def test_the_md5_is_taken_before_the_key_is_encoded(connect, bucket, key, customer):
    """S001.12."""
    late = customer(key.encoded.encode()).md5

    right = connect().ask("PUT", f"/{bucket}/page", key.headers(), b"private")
    wrong = connect().ask("PUT", f"/{bucket}/page", key.headers(md5=late), b"private")

    assert right.status == 200
    assert wrong.fault[:2] == (400, "InvalidArgument")


def test_what_is_stored_is_neither_the_content_nor_the_key(
    server, s3, bucket, key, content, stored_parts
):
    """S001.2, S001.3."""
    plain = content(50_000)
    s3.put_object(Bucket=bucket, Key="page", Body=plain, **key.options)

    (part,) = stored_parts(server.data_dir, bucket, "page")

    assert part.file is not None
    assert len(part.sealed) > len(plain)
    assert not any(plain[at : at + 16] in part.sealed for at in range(0, len(plain), 5_000))
    assert key.raw not in part.sealed
    assert s3.get_object(Bucket=bucket, Key="page", **key.options)["Body"].read() == plain


def test_what_tells_the_right_key_is_a_salted_hmac_with_sha256(
    server, s3, bucket, key, read_catalog
):
    """S001.4: computed here from docs/formats/sealed-object.md, sections 2 to 4, alone."""
    s3.put_object(Bucket=bucket, Key="page", Body=b"private", **key.options)
    ((stored,),) = read_catalog(
        server.data_dir,
        "SELECT envelope FROM envelopes JOIN versions USING (envelope_id)"
        " JOIN buckets USING (bucket_id) WHERE buckets.name = ?",
        bucket,
    )

    candidates = [
        stored[at : at + 32]
        for at in range(len(stored) - 64)
        if _check(stored[at : at + 32], key.raw) == stored[at + 32 : at + 64]
    ]

    assert len(candidates) == 1
    assert hmac.digest(key.raw, b"", "sha256") not in stored
    assert hashlib.sha256(key.raw).digest() not in stored


def _check(salt, secret):
    label = b"strongroom/1/check"
    pseudorandom = hmac.digest(salt, secret, "sha256")
    return hmac.digest(pseudorandom, len(label).to_bytes(4) + label + b"\x01", "sha256")


def test_parts_take_the_parameters_of_the_upload(s3, upload, key, content):
    """S001.6, S001.8."""
    pieces = [content(5 * 1024 * 1024), content(70_000, seed=1)]

    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**upload, PartNumber=number, Body=piece, **key.options)["ETag"],
        }
        for number, piece in enumerate(pieces, 1)
    ]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})

    place = {"Bucket": upload["Bucket"], "Key": upload["Key"]}
    assert s3.get_object(**place, **key.options)["Body"].read() == b"".join(pieces)


def test_a_copied_part_takes_the_parameters_of_the_upload_too(s3, bucket, upload, key, customer):
    """S001.6, S001.8."""
    s3.put_object(Bucket=bucket, Key="scene", Body=PART)
    part = {**upload, "PartNumber": 1, "CopySource": {"Bucket": bucket, "Key": "scene"}}

    without = refusal(s3.upload_part_copy, **part)
    other = refusal(s3.upload_part_copy, **part, **customer().options)
    right = s3.upload_part_copy(**part, **key.options)

    assert without == (400, "InvalidRequest", PARTS_MUST)
    assert other == (400, "InvalidRequest", OTHER_PART_KEY)
    assert right["SSECustomerKeyMD5"] == key.md5


def test_a_part_without_the_uploads_key_is_refused(s3, upload):
    """S001.8."""
    answer = refusal(s3.upload_part, **upload, PartNumber=1, Body=PART)

    assert answer == (400, "InvalidRequest", PARTS_MUST)


def test_a_part_with_another_key_is_refused(s3, upload, customer):
    """S001.8."""
    answer = refusal(s3.upload_part, **upload, PartNumber=1, Body=PART, **customer().options)

    assert answer == (400, "InvalidRequest", OTHER_PART_KEY)


def test_a_part_with_a_key_is_refused_where_the_upload_has_none(s3, bucket, key):
    """S001.7."""
    begun = s3.create_multipart_upload(Bucket=bucket, Key="film")
    place = {"Bucket": bucket, "Key": "film", "UploadId": begun["UploadId"]}

    answer = refusal(s3.upload_part, **place, PartNumber=1, Body=PART, **key.options)
    without = s3.upload_part(**place, PartNumber=1, Body=PART)

    assert answer == (400, "InvalidRequest", PARTS_MUST)
    assert without["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize(
    "name",
    [
        "x-amz-server-side-encryption-customer-algorithm",
        "X-AMZ-SERVER-SIDE-ENCRYPTION-CUSTOMER-ALGORITHM",
    ],
)
def test_header_names_are_read_in_any_case(connect, bucket, key, name):
    """S001.9, S001.10."""
    headers = {name: "AES256"} | {
        header.upper() if name.isupper() else header: value
        for header, value in key.headers(algorithm=None).items()
    }

    assert base64.b64decode(key.encoded) == key.raw
    assert connect().ask("PUT", f"/{bucket}/page", headers, b"private").status == 200
    assert connect().ask("GET", f"/{bucket}/page", key.headers()).body == b"private"
