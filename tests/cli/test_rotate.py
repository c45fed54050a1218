"""`strongroom keys rotate` beside a running server, and killed on the way."""

import json
import os
import sqlite3
import subprocess
import sys
import threading

import pytest
from botocore.exceptions import ClientError

from strongroom.testing import Strongroom

OLD, NEW = b"o" * 32, b"n" * 32
SMALL, LARGE = b"small", bytes(range(256)) * 100
OBJECTS = 120
MASTER_KEY = "bWFzdGVyIGtleSBmb3IgdGVzdHMsIDMyIGJ5dGVzISE="


def under(key):
    return {} if key is None else {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}


@pytest.fixture(scope="module")
def server():
    with Strongroom(durable=True, env={"STRONGROOM_MASTER_KEY": MASTER_KEY}) as running:
        yield running


@pytest.fixture
def bucket(server, request):
    name = f"rotate-{abs(hash(request.node.name)) % 10**10}"
    server.boto3_client().create_bucket(Bucket=name)
    return name


@pytest.fixture
def rotate(run, server, tmp_path):
    (tmp_path / "old").write_bytes(OLD)
    (tmp_path / "new").write_bytes(NEW)

    def invoke(*args, status=0, **env):
        told = run(
            "keys",
            "rotate",
            *args,
            "--data-dir",
            str(server.data_dir),
            env={"STRONGROOM_MASTER_KEY": MASTER_KEY} | env,
        )
        assert told.exit_code == status, (told.output, told.exception)
        return told

    return invoke


def refusal(client, bucket, key, with_key):
    with pytest.raises(ClientError) as raised:
        client.head_object(Bucket=bucket, Key=key, **under(with_key))
    return raised.value.response["ResponseMetadata"]["HTTPStatusCode"]


def blob_files(server):
    return {
        path: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in (server.data_dir / "blobs").rglob("*")
        if path.is_file() and path.stat().st_size > 20_000
    }


def test_every_object_of_a_bucket_gets_the_new_key_where_it_stands(server, bucket, rotate):
    s3 = server.boto3_client()
    for key, body in (("small", SMALL), ("large", LARGE)):
        s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"a": "b"}, **under(OLD))
    before = s3.list_objects_v2(Bucket=bucket)["Contents"]
    files = blob_files(server)

    report = json.loads(
        rotate(f"s3://{bucket}", "--old-key", "old", "--new-key", "new", "--json").stdout
    )

    assert (report["versions"], report["rewrapped"], report["failed"]) == (2, 2, [])
    assert s3.list_objects_v2(Bucket=bucket)["Contents"] == before
    assert blob_files(server) == files
    for key, body in (("small", SMALL), ("large", LARGE)):
        got = s3.get_object(Bucket=bucket, Key=key, **under(NEW))
        assert (got["Body"].read(), got["Metadata"]) == (body, {"a": "b"})
        assert refusal(s3, bucket, key, OLD) == 403


@pytest.mark.parametrize("mode", ["AES256", "aws:kms", "aws:kms:dsse"])
def test_objects_go_from_a_customer_key_to_the_stores_and_back(server, bucket, rotate, mode):
    s3 = server.boto3_client()
    s3.put_object(Bucket=bucket, Key="key", Body=LARGE, **under(OLD))

    there = rotate(f"s3://{bucket}/key", "--old-key", "old", "--new-sse", mode)
    head = s3.head_object(Bucket=bucket, Key="key")
    got = s3.get_object(Bucket=bucket, Key="key")["Body"].read()
    rotate(f"s3://{bucket}/key", "--old-sse", mode, "--new-key", "new")

    assert "1  have the new key; their data was sealed anew" in there.stdout
    assert (head["ServerSideEncryption"], got) == (mode, LARGE)
    assert s3.get_object(Bucket=bucket, Key="key", **under(NEW))["Body"].read() == LARGE
    assert refusal(s3, bucket, "key", None) == 400


def test_deep_moves_the_data_and_an_old_envelope_is_worth_nothing(server, bucket, rotate):
    s3 = server.boto3_client()
    s3.put_object(Bucket=bucket, Key="key", Body=LARGE, **under(OLD))
    before = blob_files(server)

    rotate(f"s3://{bucket}", "--deep", "--old-key", "old", "--new-key", "new")

    assert s3.get_object(Bucket=bucket, Key="key", **under(NEW))["Body"].read() == LARGE
    assert blob_files(server).keys() - before.keys()


def test_versions_behind_a_delete_marker_are_rotated_too(server, bucket, rotate):
    s3 = server.boto3_client()
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    ids = [
        s3.put_object(Bucket=bucket, Key="key", Body=body, **under(OLD))["VersionId"]
        for body in (SMALL, LARGE)
    ]
    s3.delete_object(Bucket=bucket, Key="key")
    before = s3.list_object_versions(Bucket=bucket)

    told = rotate(f"s3://{bucket}", "--old-key", "old", "--new-key", "new")

    after = s3.list_object_versions(Bucket=bucket)
    assert "2  have the new key" in told.stdout
    assert (after["Versions"], after["DeleteMarkers"]) == (
        before["Versions"],
        before["DeleteMarkers"],
    )
    for version_id, body in zip(ids, (SMALL, LARGE), strict=True):
        got = s3.get_object(Bucket=bucket, Key="key", VersionId=version_id, **under(NEW))
        assert got["Body"].read() == body


def test_a_key_and_what_lies_below_it_are_told_apart(server, bucket, rotate):
    s3 = server.boto3_client()
    for key in ("a", "a/1", "ab"):
        s3.put_object(Bucket=bucket, Key=key, Body=SMALL, **under(OLD))

    keys = ("--old-key", "old", "--new-key", "new")
    rotate(f"s3://{bucket}/a", *keys)
    assert [refusal(s3, bucket, "a", OLD)] == [403]
    s3.head_object(Bucket=bucket, Key="a/1", **under(OLD))
    rotate("-r", f"s3://{bucket}/a", *keys)

    assert refusal(s3, bucket, "a/1", OLD) == 403
    s3.head_object(Bucket=bucket, Key="ab", **under(OLD))


def test_a_damaged_object_is_named_and_the_status_is_1(server, bucket, rotate):
    s3 = server.boto3_client()
    s3.put_object(Bucket=bucket, Key="bad", Body=SMALL, **under(OLD))
    s3.put_object(Bucket=bucket, Key="good", Body=SMALL, **under(OLD))
    conn = sqlite3.connect(server.data_dir / "catalog.sqlite", timeout=30)
    with conn:
        conn.execute(
            "UPDATE envelopes SET envelope = zeroblob(50) WHERE envelope_id = (SELECT envelope_id"
            " FROM versions WHERE key = CAST('bad' AS BLOB) ORDER BY modified_ms DESC LIMIT 1)"
        )
    conn.close()

    told = rotate(f"s3://{bucket}", "--old-key", "old", "--new-key", "new", status=1)

    assert "bad (version null): NotAuthentic" in told.stderr
    assert s3.get_object(Bucket=bucket, Key="good", **under(NEW))["Body"].read() == SMALL


@pytest.mark.slow
def test_a_rotation_that_is_killed_twice_is_finished_by_the_third_run(server, bucket, tmp_path):
    s3 = server.boto3_client()
    for number in range(OBJECTS):
        body = LARGE if number % 2 else SMALL
        s3.put_object(Bucket=bucket, Key=f"k{number}", Body=body, **under(OLD))
    (tmp_path / "old").write_bytes(OLD)
    (tmp_path / "new").write_bytes(NEW)
    files = blob_files(server)
    command = [sys.executable, "-m", "strongroom.cli", "keys", "rotate", f"s3://{bucket}"]
    command += ["--old-key", "old", "--new-key", "new", "--json"]
    command += ["--data-dir", str(server.data_dir)]
    environ = os.environ | {
        "STRONGROOM_MASTER_KEY": MASTER_KEY,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    # Killed by itself, in the middle: whatever the machine is busy with.
    script = (
        "import os, signal, sys\n"
        "from strongroom import cli\n"
        "from strongroom.store.sqlite import catalog\n"
        "rewrite, left = catalog.SqliteCatalog.replace_version, iter(range(30))\n"
        "async def killed(self, *args):\n"
        "    if next(left, None) is None: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    await rewrite(self, *args)\n"
        "catalog.SqliteCatalog.replace_version = killed\n"
        "cli.main(sys.argv[1:])\n"
    )
    killed = [sys.executable, "-c", script, *command[3:]]

    statuses = [
        subprocess.run(  # noqa: S603 - our own command line
            killed, cwd=tmp_path, env=environ, check=False, timeout=60
        ).returncode
        for _ in range(2)
    ]
    ended = subprocess.run(  # noqa: S603 - likewise
        command, cwd=tmp_path, env=environ, check=True, capture_output=True, timeout=60
    )

    report = json.loads(ended.stdout)
    assert statuses == [-9, -9]
    assert report["rewrapped"] + report["already"] == report["versions"] == OBJECTS
    assert 30 <= report["already"] <= 60
    assert blob_files(server) == files
    for number in range(OBJECTS):
        s3.head_object(Bucket=bucket, Key=f"k{number}", **under(NEW))
        assert refusal(s3, bucket, f"k{number}", OLD) == 403


def test_objects_are_read_and_written_while_they_are_rotated(server, bucket, rotate):
    s3 = server.boto3_client()
    for number in range(40):
        s3.put_object(Bucket=bucket, Key=f"k{number}", Body=LARGE)
    wrong, done = [], threading.Event()

    def readers():
        client = server.boto3_client()
        while not done.is_set():
            for number in range(40):
                got = client.get_object(Bucket=bucket, Key=f"k{number}")["Body"].read()
                if got != LARGE:
                    wrong.append(number)
            client.put_object(Bucket=bucket, Key="k0", Body=LARGE)

    reader = threading.Thread(target=readers)
    reader.start()
    try:
        for old, new in (("AES256", "aws:kms"), ("aws:kms", "aws:kms:dsse")):
            rotate(f"s3://{bucket}", "--old-sse", old, "--old-sse", "AES256", "--new-sse", new)
    finally:
        done.set()
        reader.join()

    assert wrong == []
    assert s3.head_object(Bucket=bucket, Key="k39")["ServerSideEncryption"] == "aws:kms:dsse"


@pytest.mark.parametrize(
    "args",
    [
        ("--old-key", "old"),
        ("--new-key", "new"),
        ("--old-key", "old", "--new-key", "new", "--new-sse", "AES256"),
        ("--old-key", "old", "--new-key", "old"),
        ("--old-sse", "AES256", "--new-sse", "AES256"),
        ("--old-key", "old", "--new-key", "new", "--kms-key-id", "alias/x"),
    ],
)
def test_what_makes_no_sense_is_status_2(rotate, args):
    rotate("s3://bucket", *args, status=2)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("s3://no-such-bucket", "--old-key", "old", "--new-key", "new"), "no-such-bucket"),
        (("s3://b", "--old-key", "none", "--new-key", "new"), "none cannot be read"),
        (
            ("s3://b", "--old-key", "old", "--new-sse", "aws:kms", "--kms-key-id", "alias/none"),
            "alias/none",
        ),
    ],
)
def test_what_cannot_be_done_is_a_sentence(rotate, args, said):
    told = rotate(*args, status=1)

    assert said in told.stderr
    assert told.stderr.count("\n") == 1


def test_the_master_of_the_kms_is_the_one_that_the_server_has(rotate):
    keys = ("--old-key", "old", "--new-sse", "aws:kms")

    told = rotate("s3://b", *keys, status=1, STRONGROOM_KMS_MASTER="nonsense://here")

    assert "master" in told.stderr
