"""`strongroom admin remote` and `admin replicate`; replicas under `scrub` and `recover`."""

import base64
import json
import os
import secrets
import subprocess
import sys

import pytest

from strongroom.testing import Strongroom

LARGE = bytes(range(256)) * 400
RULES = {
    "Role": "arn:aws:iam::000000000000:role/replication",
    "Rules": [
        {
            "ID": "all",
            "Priority": 1,
            "Filter": {"Prefix": ""},
            "Status": "Enabled",
            "DeleteMarkerReplication": {"Status": "Disabled"},
            "Destination": {"Bucket": "arn:aws:s3:::twin"},
        }
    ],
}
OWN = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"32bytesOfTotallyRandomCharacters"}


@pytest.fixture(scope="module")
def master_key():
    return base64.b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture
def run(tmp_path, master_key):
    """A function that runs a command on the data directory; returns (status, output, errors)."""

    def command(*args, **env):
        done = subprocess.run(  # noqa: S603 - our own command line
            [sys.executable, "-m", "strongroom.cli", *args, "--data-dir", str(tmp_path / "data")],
            env=os.environ | {"STRONGROOM_MASTER_KEY": master_key} | env,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return command


@pytest.fixture
def start(tmp_path, master_key):
    """A function that starts the server on the data directory."""

    def server():
        return Strongroom(tmp_path / "data", env={"STRONGROOM_MASTER_KEY": master_key})

    return server


@pytest.mark.slow
def test_other_stores_are_added_listed_and_removed(start, run):
    with start() as server:
        ca = server.ca_bundle
        secret = {"STRONGROOM_REMOTE_SECRET_KEY": "a-secret-key-of-far"}
        add = ("admin", "remote", "add", "far")
        key = ("--access-key", "KEYOFFAR", "--ca", ca)

        assert run(*add, "http://far:9000", *key, **secret)[0] == 2
        assert run(*add, "https://far:9000", "--access-key", "K", "--user", "no", **secret)[0] == 1
        status, told, _ = run(*add, "https://far:9000/", *key, "--json", **secret)
        assert (status, json.loads(told)) == (0, {"name": "far", "url": "https://far:9000"})
        assert "already" in run(*add, "https://other:9000", *key, **secret)[2]
        _, told, _ = run("admin", "remote", "list", "--json")
        (found,) = json.loads(told)
        assert (found["name"], found["access_key"], found["users"]) == ("far", "KEYOFFAR", [])
        for path in server.data_dir.glob("catalog.sqlite*"):
            assert b"a-secret-key-of-far" not in path.read_bytes()
        assert run("admin", "remote", "remove", "far")[0] == 0
        assert run("admin", "remote", "remove", "far")[0] == 1


@pytest.mark.slow
def test_replicas_survive_a_scrub_and_a_recovery(start, run):
    """S002.9: they open by the customer's key, from a catalog that was rebuilt too."""
    with start() as server:
        client = server.boto3_client()
        for bucket in ("origin", "twin"):
            client.create_bucket(Bucket=bucket)
            client.put_bucket_versioning(
                Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
            )
        client.put_object(Bucket="origin", Key="before", Body=b"before", **OWN)
        client.put_bucket_replication(Bucket="origin", ReplicationConfiguration=RULES)
        client.put_object(Bucket="origin", Key="large", Body=LARGE, **OWN)
        status, told, _ = run("admin", "replicate", "origin", "--wait", "--json")
        assert status == 0
        made = json.loads(told)
        assert (made["seen"], made["waiting"], made["failing"], made["oldest"]) == (2, 0, 0, None)
        assert run("scrub")[0] == 0
        assert run("admin", "replicate", "nowhere")[0] == 1
        assert run("admin", "replicate")[0] == 2

    assert run("recover")[0] == 0

    assert run("scrub")[0] == 0
    with start() as server:
        client = server.boto3_client()
        for key, body in (("before", b"before"), ("large", LARGE)):
            found = client.get_object(Bucket="twin", Key=key, **OWN)
            assert (found["Body"].read(), found["ReplicationStatus"]) == (body, "REPLICA")
            assert client.get_object(Bucket="origin", Key=key, **OWN)["Body"].read() == body
