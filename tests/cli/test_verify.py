"""`strongroom verify` against private servers, whole and tampered with."""

import base64
import json
import os

import pytest

from strongroom.testing import Strongroom

KEY = bytes(range(32))
OWN = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
OTHER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY[::-1]}
BUCKET = "verified"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("verified") / "data"
    master_key = base64.b64encode(os.urandom(32)).decode()
    with Strongroom(data_dir, env={"STRONGROOM_MASTER_KEY": master_key}) as running:
        client = running.boto3_client()
        client.create_bucket(Bucket=BUCKET)
        for size in (0, 100, 70_000):
            client.put_object(Bucket=BUCKET, Key=f"own/{size}", Body=os.urandom(size), **OWN)
        client.put_object(Bucket=BUCKET, Key="open/1", Body=b"o" * 30_000)
        client.put_object(Bucket=BUCKET, Key="other/1", Body=b"o" * 30_000, **OTHER)
        yield running, data_dir


@pytest.fixture
def verify(run, server, tmp_path):
    running, _ = server
    (tmp_path / "key").write_bytes(KEY)
    environ = {
        "AWS_ENDPOINT_URL": running.endpoint_url,
        "AWS_CA_BUNDLE": running.ca_bundle,
        "AWS_ACCESS_KEY_ID": running.access_key,
        "AWS_SECRET_ACCESS_KEY": running.secret_key,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }

    def invoke(place, *args):
        told = run("verify", place, "--json", *args, env=environ)
        assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
        *failed, total = [json.loads(line) for line in told.stdout.splitlines()]
        assert told.exit_code == (1 if failed else 0)
        return failed, total

    return invoke


def test_objects_under_the_key_and_without_one_are_read_whole(verify):
    failed, total = verify(f"s3://{BUCKET}/o", "--sse-c-key", "key")

    assert [one["key"] for one in failed] == ["other/1"]
    assert total == {"objects": 4, "bytes": 100_100, "failed": 1}


def test_a_prefix_is_verified_alone(verify):
    assert verify(f"s3://{BUCKET}/own/", "--sse-c-key", "key") == (
        [],
        {"objects": 3, "bytes": 70_100, "failed": 0},
    )


def test_without_the_key_it_is_asked_for(verify):
    failed, _ = verify(f"s3://{BUCKET}/own/100")

    assert "give it with --sse-c-key" in failed[0]["error"]


def test_all_versions_are_verified_if_that_is_wanted(verify, server):
    client = server[0].boto3_client()
    client.create_bucket(Bucket="versioned")
    client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    for number in range(3):
        client.put_object(Bucket="versioned", Key="v", Body=b"%d" % number * 20_000, **OWN)
    client.delete_object(Bucket="versioned", Key="v")

    key = ("--sse-c-key", "key")
    assert verify("s3://versioned", *key)[1]["objects"] == 0
    assert verify("s3://versioned", "--versions", *key)[1]["objects"] == 3


def test_a_flipped_bit_anywhere_is_found_and_named(verify, server):
    running, data_dir = server
    client = running.boto3_client()
    client.put_object(Bucket=BUCKET, Key="bent/1", Body=os.urandom(300_000), **OWN)
    client.put_object(Bucket=BUCKET, Key="bent/2", Body=os.urandom(40_000), **OWN)
    (largest,) = [
        path for path in (data_dir / "blobs").glob("*/*/*") if path.stat().st_size > 250_000
    ]
    data = bytearray(largest.read_bytes())
    data[-20_000] ^= 1
    largest.write_bytes(data)

    failed, total = verify(f"s3://{BUCKET}/bent/", "--sse-c-key", "key")

    assert [one["key"] for one in failed] == ["bent/1"]
    assert total["objects"] == 1
