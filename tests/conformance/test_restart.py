"""What was acknowledged outlives the server, however it ends; what was not leaves nothing."""

import base64
import os
import signal
import subprocess
import sys

import pytest

from strongroom import testing

MIB = 1024 * 1024
SIZES = (0, 1, 10_000, 20_000, 65_480, 3_000_000)


@pytest.fixture
def start_cli(tmp_path):
    """Start the command line on a data directory, expecting it to end by itself."""

    def started(data_dir, **env):
        environ = {n: v for n, v in os.environ.items() if not n.startswith("STRONGROOM_")}
        return subprocess.run(  # noqa: S603 - our own command line
            [
                *(sys.executable, "-m", "strongroom.cli", "serve"),
                *("--data-dir", str(data_dir), "--listen", "127.0.0.1:0"),
            ],
            env=environ | env,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return started


@pytest.fixture
def attic(make_server, master_key):
    """Serve on disk, with a bucket `attic`."""
    running = make_server(env={"STRONGROOM_MASTER_KEY": master_key})
    client = running.boto3_client()
    client.create_bucket(Bucket="attic")
    client.close()
    return running


def fill(running, key, content):
    """Store objects of all sizes, one in parts; return name → content."""
    client = running.boto3_client()
    stored = {f"{size}": content(size, size) for size in SIZES}
    for name, plain in stored.items():
        client.put_object(Bucket="attic", Key=name, Body=plain, **key.options)
    begun = client.create_multipart_upload(Bucket="attic", Key="parts", **key.options)
    place = {"Bucket": "attic", "Key": "parts", "UploadId": begun["UploadId"]}
    pieces = [content(5 * MIB, 1), content(1000, 2)]
    parts = [
        {
            "PartNumber": number,
            "ETag": client.upload_part(**place, PartNumber=number, Body=piece, **key.options)[
                "ETag"
            ],
        }
        for number, piece in enumerate(pieces, 1)
    ]
    client.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
    client.close()
    return stored | {"parts": b"".join(pieces)}


def read_all(running, key):
    client = running.boto3_client()
    listed = client.list_objects_v2(Bucket="attic").get("Contents", [])
    found = {
        entry["Key"]: client.get_object(Bucket="attic", Key=entry["Key"], **key.options)[
            "Body"
        ].read()
        for entry in listed
    }
    client.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_acknowledged_objects_outlive_the_server(attic, key, content, number):
    stored = fill(attic, key, content)

    attic.process.send_signal(number)
    status = attic.process.wait(60)
    attic.kill()
    attic.start()

    assert status == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    assert read_all(attic, key) == stored


@pytest.mark.slow
def test_objects_of_the_servers_key_outlive_it_too(attic):
    client = attic.boto3_client()
    client.put_object(Bucket="attic", Key="open", Body=b"public", Metadata={"kind": "note"})

    attic.kill()
    attic.start()

    got = attic.boto3_client().get_object(Bucket="attic", Key="open")
    assert (got["Body"].read(), got["Metadata"]) == (b"public", {"kind": "note"})


@pytest.mark.slow
def test_an_upload_goes_on_after_a_kill(attic, key, content):
    client = attic.boto3_client()
    begun = client.create_multipart_upload(Bucket="attic", Key="parts", **key.options)
    place = {"Bucket": "attic", "Key": "parts", "UploadId": begun["UploadId"]}
    pieces = [content(5 * MIB, 1), content(1000, 2)]
    first = client.upload_part(**place, PartNumber=1, Body=pieces[0], **key.options)

    attic.kill()
    attic.start()

    client = attic.boto3_client()
    second = client.upload_part(**place, PartNumber=2, Body=pieces[1], **key.options)
    parts = [{"PartNumber": n, "ETag": p["ETag"]} for n, p in ((1, first), (2, second))]
    client.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
    assert read_all(attic, key) == {"parts": b"".join(pieces)}


@pytest.mark.slow
@pytest.mark.parametrize("replaces", [False, True])
def test_a_put_that_a_kill_interrupts_leaves_nothing(
    attic, connect, key, content, replaces, read_catalog, blob_files
):
    client = attic.boto3_client()
    before = {"film": content(100_000)} if replaces else {}
    for name, plain in before.items():
        client.put_object(Bucket="attic", Key=name, Body=plain, **key.options)
    wire = connect(attic)
    headers = key.headers() | {"Content-Length": str(8 * MIB)}
    headers = wire.signed("PUT", "/attic/film", headers, payload="UNSIGNED-PAYLOAD")

    wire.send_head("PUT", "/attic/film", headers)
    for seed in range(4):
        wire.send(content(MIB, seed))
    while len(blob_files(attic.data_dir)) <= len(before):
        # The server is about to begin the blob; other requests go on meanwhile.
        client.head_bucket(Bucket="attic")
    attic.kill()
    strays = blob_files(attic.data_dir)
    attic.start()

    assert len(strays) == len(before) + 1, "there is something to sweep"
    assert read_all(attic, key) == before
    assert len(read_catalog(attic.data_dir, "SELECT 1 FROM versions")) == len(before)
    assert len(blob_files(attic.data_dir)) == len(before)


@pytest.mark.slow
def test_a_second_server_on_the_same_directory_is_refused(attic, start_cli):
    refused = start_cli(attic.data_dir)

    assert refused.returncode == 1
    assert refused.stdout == ""
    assert f"process {attic.process.pid}" in refused.stderr
    assert str(attic.data_dir) in refused.stderr
    assert attic.boto3_client().list_buckets()["Buckets"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"STRONGROOM_MASTER_KEY": base64.b64encode(bytes(32)).decode()}, 1),
        ({}, 1),
        ({"STRONGROOM_MASTER_KEY": base64.b64encode(bytes(31)).decode()}, 2),
        ({"STRONGROOM_MASTER_KEY": "no base64"}, 2),
    ],
    ids=["another", "missing", "short", "malformed"],
)
def test_a_wrong_master_key_refuses_to_start(attic, start_cli, given, status):
    attic.kill()

    refused = start_cli(attic.data_dir, **given)

    assert (refused.returncode, refused.stdout) == (status, "")
    assert "master" in refused.stderr.lower()
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_a_master_key_from_a_file_is_kept_over_restarts(tmp_path, run_server):
    serve = ["env", "-u", "STRONGROOM_MASTER_KEY", sys.executable, "-m", "strongroom.cli", "serve"]
    file = tmp_path / "data" / "master.key"

    with run_server(tmp_path / "data", command=serve) as first:
        client = first.boto3_client()
        client.create_bucket(Bucket="attic")
        client.put_object(Bucket="attic", Key="open", Body=b"public")
    made = file.read_bytes()
    with run_server(tmp_path / "data", command=serve) as second:
        got = second.boto3_client().get_object(Bucket="attic", Key="open")["Body"].read()

    assert got == b"public"
    assert file.read_bytes() == made
    assert len(base64.b64decode(made)) == 32
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_the_same_directory_serves_other_root_credentials(
    attic, run_server, master_key, key, content
):
    stored = fill(attic, key, content)
    attic.stop()

    with run_server(attic.data_dir, env={"STRONGROOM_MASTER_KEY": master_key}) as other:
        assert other.access_key != attic.access_key
        assert read_all(other, key) == stored


def blob_files(data_dir):
    """Return all blob files of a data directory."""
    return sorted(path for path in (data_dir / "blobs").glob("*/*/*") if path.is_file())


@pytest.mark.parametrize("state", ["missing", "another"])
def test_a_catalog_that_is_not_the_blobs_own_is_refused_and_costs_nothing(
    attic, start_cli, key, content, master_key, tmp_path, state
):
    stored = fill(attic, key, content)
    attic.stop()
    data_dir = attic.data_dir
    blobs = blob_files(data_dir)
    aside = data_dir.parent / "aside"
    aside.mkdir()
    for path in data_dir.glob("catalog.sqlite*"):
        path.rename(aside / path.name)
    if state == "another":
        elsewhere = tmp_path / "elsewhere"
        with testing.Strongroom(elsewhere, env={"STRONGROOM_MASTER_KEY": master_key}):
            pass
        for path in elsewhere.glob("catalog.sqlite*"):
            path.rename(data_dir / path.name)

    for _ in range(2):
        refused = start_cli(data_dir, STRONGROOM_MASTER_KEY=master_key)
        assert refused.returncode == 1
        assert "catalog" in refused.stderr

    assert blob_files(data_dir) == blobs
    for path in data_dir.glob("catalog.sqlite*"):
        path.unlink()
    for path in aside.iterdir():
        path.rename(data_dir / path.name)
    attic.restart()
    client = attic.boto3_client()
    for name, plain in stored.items():
        assert client.get_object(Bucket="attic", Key=name, **key.options)["Body"].read() == plain
    client.close()
