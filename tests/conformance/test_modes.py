"""The four modes over TLS, by boto3 and by the guide's `aws` commands.

S002.36, S003.3, S003.6, S003.11, S003.18, S003.19.
"""

import base64
import io
import json

import pytest
from botocore.config import Config

KMS, DUAL = "aws:kms", "aws:kms:dsse"
MIB = 1024 * 1024
OWN = "alias/aws/s3"


@pytest.fixture
def bucket(s3, new_name):
    name = new_name()
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def guide(aws):
    """Run an `aws` command of the guide; return what it printed, as JSON if it is."""

    def run(*args):
        printed = aws(*args, "--endpoint-url", aws.endpoint)
        return json.loads(printed) if printed.startswith("{") else printed

    return run


@pytest.mark.parametrize("size", [0, 1, 100_000, 20 * MIB + 1])
@pytest.mark.parametrize("asked", ["AES256", KMS, DUAL])
def test_boto3_uploads_and_downloads_in_every_mode(s3, bucket, content, asked, size):
    body = content(size)
    extra = {"ServerSideEncryption": asked}

    s3.upload_fileobj(io.BytesIO(body), bucket, "film", ExtraArgs=extra)

    got = io.BytesIO()
    s3.download_fileobj(bucket, "film", got)
    assert got.getvalue() == body
    head = s3.head_object(Bucket=bucket, Key="film")
    assert head["ServerSideEncryption"] == asked
    assert head.get("SSEKMSKeyId", "").startswith("arn:aws:kms:") == (asked != "AES256")
    if size > 70_000:
        part = s3.get_object(Bucket=bucket, Key="film", Range="bytes=65470-65490")
        assert part["Body"].read() == body[65470:65491]


def test_the_guides_commands_by_request(guide, aws, s3, bucket, content):
    body = content(MIB)
    (aws.home / "film.mov").write_bytes(body)
    context = base64.b64encode(b'{"film": "Metropolis"}').decode()
    place = ("--bucket", bucket, "--key", "2")

    guide("s3", "cp", "film.mov", f"s3://{bucket}/1", "--sse", KMS, "--sse-kms-key-id", OWN)
    put = guide(
        *("s3api", "put-object", *place, "--body", "film.mov", "--server-side-encryption", DUAL),
        *("--ssekms-key-id", OWN, "--ssekms-encryption-context", context),
    )
    head = guide("s3api", "head-object", "--bucket", bucket, "--key", "1")

    assert head["ServerSideEncryption"] == KMS
    assert put["ServerSideEncryption"] == DUAL
    assert put["SSEKMSKeyId"] == head["SSEKMSKeyId"]
    assert put["SSEKMSEncryptionContext"] == context
    for key in ("1", "2"):
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body
    guide("s3", "cp", f"s3://{bucket}/2", f"s3://{bucket}/2", "--sse", "AES256")
    assert guide("s3api", "head-object", *place)["ServerSideEncryption"] == "AES256"
    assert s3.get_object(Bucket=bucket, Key="2")["Body"].read() == body


def test_the_guides_commands_by_default(guide, aws, s3, bucket, customer):
    encryption = ("--server-side-encryption-configuration",)
    default = {"SSEAlgorithm": KMS, "KMSMasterKeyID": OWN}
    rule = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}
    blocked = {"BlockedEncryptionTypes": {"EncryptionType": ["SSE-C"]}}
    sealed = customer()

    def put(rules):
        document = json.dumps({"Rules": [rules]})
        guide("s3api", "put-bucket-encryption", "--bucket", bucket, *encryption, document)

    put(rule)
    stored = s3.put_object(Bucket=bucket, Key="k", Body=b"k")
    s3.put_object(Bucket=bucket, Key="c", Body=b"c", **sealed.options)
    put(blocked)
    shown = guide("s3api", "get-bucket-encryption", "--bucket", bucket)
    (aws.home / "k").write_bytes(b"k")
    (aws.home / "key").write_bytes(sealed.raw)
    target = f"s3://{bucket}/d"
    customers = ("--sse-c", "AES256", "--sse-c-key", "fileb://key")
    refused = aws.run("s3", "cp", "k", target, *customers, "--endpoint-url", aws.endpoint)

    assert (stored["ServerSideEncryption"], stored["BucketKeyEnabled"]) == (KMS, True)
    assert shown["ServerSideEncryptionConfiguration"]["Rules"] == [rule | blocked]
    assert refused.returncode == 1
    assert "AccessDenied" in refused.stderr
    assert "has blocked upload requests" in refused.stderr
    got = s3.get_object(Bucket=bucket, Key="c", **sealed.options)
    assert got["Body"].read() == b"c"


def test_a_presigned_url_opens_what_is_under_a_kms_key(s3, bucket, connect, server):
    s3.put_object(Bucket=bucket, Key="k", Body=b"k", ServerSideEncryption=KMS)
    signing = server.boto3_client(config=Config(signature_version="s3v4"))
    url = signing.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    signing.close()

    answer = connect(server).ask("GET", url.removeprefix(server.endpoint_url), {}, signed=False)

    assert (answer.status, answer.body) == (200, b"k")
    assert answer.headers["x-amz-server-side-encryption"] == KMS
