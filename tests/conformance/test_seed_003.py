"""Seed S003: two boto3 programs, and the `aws s3` commands between them.

The programs run as scripts of their own. Their calls and arguments are the seed's; endpoint, trust
and credentials come by the environment, names are ours.
"""

import json
import re
import sys

import pytest
from botocore import exceptions

UPLOAD = """
import os
import sys

import boto3

source, bucket, name = sys.argv[1:]
secret = os.urandom(32)
as_text = secret.hex()
print("Key in Binary: ", secret)
print("Key convert from Binary to HEX: ", secret.hex())
print("Key convert from HEX to Binary: ", bytes.fromhex(as_text))

client = boto3.client('s3')
with open(source, 'rb') as stream:
    client.upload_fileobj(
        stream,
        bucket,
        name,
        ExtraArgs={'SSECustomerAlgorithm': 'AES256', 'SSECustomerKey': secret},
    )
    print('upload complete')
"""
DOWNLOAD = """
import sys

import boto3

target, bucket, name, as_text = sys.argv[1:]
print("Key convert from HEX to Binary: ", bytes.fromhex(as_text))

client = boto3.client('s3')
with open(target, 'wb') as stream:
    client.download_fileobj(
        bucket,
        name,
        stream,
        ExtraArgs={'SSECustomerAlgorithm': 'AES256', 'SSECustomerKey': bytes.fromhex(as_text)},
    )
    print('download complete')
"""
TEXT = b"a note of thirty-six bytes in total\n"
NOT_FOR_YOU = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must"
    " be provided to retrieve the object."
)


@pytest.fixture
def program(aws):
    """Run a program, whose `boto3.client('s3')` finds the server by the environment."""

    def run(text, *args):
        done = aws.script(
            [sys.executable, "-c", text, *map(str, args)], env={"AWS_ENDPOINT_URL": aws.endpoint}
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def cli(aws):
    """Run `aws s3` with the endpoint in the environment, as the seed's commands have none."""

    def run(*args):
        return aws.run("s3", *args, env={"AWS_ENDPOINT_URL": aws.endpoint})

    return run


@pytest.fixture
def stored(s3, bucket, key):
    """Put a note of 36 bytes under the key; return where it is."""
    s3.put_object(Bucket=bucket, Key="note.txt", Body=TEXT, **key.options)
    return bucket


@pytest.mark.slow
@pytest.mark.parametrize("size", [36, 20_000_000])
def test_the_seeds_programs_upload_and_download(aws, s3, bucket, program, content, size):
    """S003.2, S003.9, S003.15, S003.18, S003.20, S003.21, S003.27."""
    source, target = aws.home / "note.txt", aws.home / "note-again.txt"
    source.write_bytes(content(size))

    uploaded = program(UPLOAD, source, bucket, "note.txt")
    in_hex = re.search(r"Binary to HEX:  ([0-9a-f]{64})\n", uploaded)[1]
    downloaded = program(DOWNLOAD, target, bucket, "note.txt", in_hex)

    secret = bytes.fromhex(in_hex)
    assert uploaded.splitlines() == [
        f"Key in Binary:  {secret}",
        f"Key convert from Binary to HEX:  {in_hex}",
        f"Key convert from HEX to Binary:  {secret}",
        "upload complete",
    ]
    assert downloaded.splitlines() == [
        f"Key convert from HEX to Binary:  {secret}",
        "download complete",
    ]
    assert target.read_bytes() == source.read_bytes()
    options = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": secret}
    etag = s3.head_object(Bucket=bucket, Key="note.txt", **options)["ETag"]
    assert ("-" in etag) == (size > 8 * 1024 * 1024), "above 8 MB boto3 uploads in parts"


@pytest.mark.slow
def test_ls_without_a_key_shows_date_size_and_name(cli, stored):
    """S003.22, S003.24."""
    done = cli("ls", f"s3://{stored}/note.txt")

    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +36 note\.txt\n", done.stdout)


@pytest.mark.slow
def test_cp_without_a_key_says_bad_request(aws, cli, stored):
    """S003.16, S003.25."""
    done = cli("cp", f"s3://{stored}/note.txt", ".")

    assert done.returncode == 1
    assert done.stderr.strip() == (
        "fatal error: An error occurred (400) when calling the HeadObject operation: Bad Request"
    )
    assert not (aws.home / "note.txt").exists()


@pytest.mark.slow
def test_cp_with_the_key_stores_and_fetches(aws, cli, s3, bucket, key):
    """S003.26."""
    (aws.home / "key").write_bytes(key.raw)
    (aws.home / "note.txt").write_bytes(TEXT)
    with_key = ("--sse-c", "AES256", "--sse-c-key", "fileb://key")

    up = cli("cp", "note.txt", f"s3://{bucket}/note.txt", *with_key)
    down = cli("cp", f"s3://{bucket}/note.txt", "again.txt", *with_key)

    assert (up.returncode, down.returncode) == (0, 0), up.stderr + down.stderr
    assert (aws.home / "again.txt").read_bytes() == TEXT
    head = s3.head_object(Bucket=bucket, Key="note.txt", **key.options)
    assert head["SSECustomerKeyMD5"] == key.md5


def test_a_download_without_a_key_says_what_is_missing(s3, stored):
    """S003.16, S003.23."""
    with pytest.raises(exceptions.ClientError) as caught:
        s3.get_object(Bucket=stored, Key="note.txt")

    error = caught.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert (error["Error"]["Code"], error["Error"]["Message"]) == ("InvalidRequest", NOT_FOR_YOU)


def test_a_download_with_another_key_is_refused(s3, stored, customer):
    """S003.16."""
    with pytest.raises(exceptions.ClientError) as caught:
        s3.get_object(Bucket=stored, Key="note.txt", **customer().options)

    error = caught.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert error["Error"]["Code"] == "AccessDenied"


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
def test_listings_show_an_object_without_its_key(s3, stored, operation):
    """S003.22."""
    (found,) = getattr(s3, operation)(Bucket=stored)["Contents"]

    assert (found["Key"], found["Size"]) == ("note.txt", len(TEXT))


def test_an_upload_may_ask_for_a_customer_key_whatever_the_buckets_default(s3, stored, key):
    """S003.2, S003.3, S003.6, S003.15, S003.19."""
    put = s3.put_object(Bucket=stored, Key="plain.txt", Body=TEXT)

    plain = s3.get_object(Bucket=stored, Key="plain.txt")
    sealed = s3.get_object(Bucket=stored, Key="note.txt", **key.options)

    assert put["ServerSideEncryption"] == plain["ServerSideEncryption"] == "AES256"
    assert plain["Body"].read() == sealed["Body"].read() == TEXT
    assert "ServerSideEncryption" not in sealed
    assert sealed["SSECustomerAlgorithm"] == "AES256"


def test_the_store_gets_plaintext_and_keeps_ciphertext(
    server, s3, bucket, key, content, stored_parts
):
    """S003.5, S003.9."""
    plain = content(1000)
    s3.put_object(Bucket=bucket, Key="customer", Body=plain, **key.options)
    s3.put_object(Bucket=bucket, Key="server", Body=plain)

    for name in ("customer", "server"):
        (part,) = stored_parts(server.data_dir, bucket, name)
        assert plain[:16] not in part.sealed
        assert len(part.sealed) == 40 + 1000 + 16


def test_the_log_has_the_request_and_not_its_key(server, s3, bucket, key):
    """S003.14."""
    s3.put_object(Bucket=bucket, Key="logged.txt", Body=TEXT, **key.options)
    with pytest.raises(exceptions.ClientError):
        s3.get_object(Bucket=bucket, Key="logged.txt")

    while {"PutObject", "GetObject"} - {event.get("operation") for event in _of(server, bucket)}:
        # An answer may be here before its line in the log; pytest-timeout ends a wait in vain.
        s3.head_bucket(Bucket=bucket)
    lines = _of(server, bucket)

    assert {event["status"] for event in lines} == {200, 400}
    text = json.dumps(lines) + server.log_text()
    for form in (key.encoded, key.raw.hex(), key.md5, repr(key.raw)[2:-1]):
        assert form not in text


def _of(server, bucket):
    return [event for event in server.log_events() if event.get("bucket") == bucket]
