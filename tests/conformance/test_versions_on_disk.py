"""Versions on a server with a disk: after a kill, under switches, and by the aws-cli."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading

import pytest

STATES = ("Enabled", "Suspended")


def switch(client, bucket, status):
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


def scrub(running):
    """Return the damages that the command finds."""
    told = subprocess.run(  # noqa: S603 - our own command line
        [
            *(sys.executable, "-m", "strongroom.cli", "scrub"),
            *("--data-dir", str(running.data_dir), "--json"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    found = json.loads(told.stdout)
    return found["versions"], found["damages"]


@pytest.mark.slow
def test_versions_markers_and_their_order_outlive_a_kill(make_server, master_key, customer):
    running = make_server(env={"STRONGROOM_MASTER_KEY": master_key})
    client = running.boto3_client()
    client.create_bucket(Bucket="attic")
    keys = [customer(), customer(), None]
    options = [{} if key is None else key.options for key in keys]
    client.put_object(Bucket="attic", Key="film", Body=b"null version")
    switch(client, "attic", "Enabled")
    ids = [
        client.put_object(Bucket="attic", Key="film", Body=b"%d" % n * 30_000, **how)["VersionId"]
        for n, how in enumerate(options)
    ]
    marker = client.delete_object(Bucket="attic", Key="film")["VersionId"]

    running.kill()
    running.start()

    client = running.boto3_client()
    listed = client.list_object_versions(Bucket="attic")
    assert [row["VersionId"] for row in listed["Versions"]] == [*reversed(ids), "null"]
    assert [row["VersionId"] for row in listed["DeleteMarkers"]] == [marker]
    for n, (version_id, how) in enumerate(zip(ids, options, strict=True)):
        got = client.get_object(Bucket="attic", Key="film", VersionId=version_id, **how)
        assert got["Body"].read() == b"%d" % n * 30_000
    client.delete_object(Bucket="attic", Key="film", VersionId=marker)
    assert client.get_object(Bucket="attic", Key="film")["Body"].read() == b"2" * 30_000
    assert scrub(running) == (4, [])


class Crowd:
    """Writes one object from several threads while another thread switches versioning."""

    def __init__(self, running):
        self.running = running
        self.written = {}
        """Version id to the bodies that were acknowledged under it; the null version has many."""
        self.troubles = []
        self._done = threading.Event()

    def write(self, number):
        client = self.running.boto3_client()
        for turn in range(25):
            body = b"%d/%d " % (number, turn) * (1 if turn % 2 else 5_000)
            try:
                answer = client.put_object(Bucket="attic", Key="film", Body=body)
            except client.exceptions.ClientError as error:
                # Switched under it three times in a row: nothing was written.
                if error.response["Error"]["Code"] != "SlowDown":
                    self.troubles.append(error)
            else:
                self.written.setdefault(answer.get("VersionId", "null"), []).append(body)
        client.close()

    def flip(self):
        client = self.running.boto3_client()
        for status in itertools.cycle(STATES):
            if self._done.is_set():
                break
            switch(client, "attic", status)
        client.close()

    def run(self):
        flipping = threading.Thread(target=self.flip)
        writers = [threading.Thread(target=self.write, args=(number,)) for number in range(3)]
        for thread in (flipping, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        self._done.set()
        flipping.join()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_no_write_is_lost_or_kept_twice_while_versioning_is_switched(
    make_server, master_key, workers
):
    running = make_server(
        env={"STRONGROOM_MASTER_KEY": master_key, "STRONGROOM_WORKERS": str(workers)}
    )
    client = running.boto3_client()
    client.create_bucket(Bucket="attic")
    switch(client, "attic", "Enabled")
    crowd = Crowd(running)

    crowd.run()

    assert crowd.troubles == []
    rows = client.list_object_versions(Bucket="attic")["Versions"]
    assert sorted(row["VersionId"] for row in rows) == sorted(crowd.written)
    assert [row["IsLatest"] for row in rows] == [True] + [False] * (len(rows) - 1)
    for row in rows:
        got = client.get_object(Bucket="attic", Key="film", VersionId=row["VersionId"])
        assert got["Body"].read() in crowd.written[row["VersionId"]]
    assert scrub(running) == (len(rows), [])


@pytest.mark.slow
def test_the_commands_of_the_guide_bring_an_old_version_back(aws, new_name, tmp_path):
    def call(*args):
        printed = aws("s3api", *args, "--endpoint-url", aws.endpoint)
        return json.loads(printed) if printed.strip() else {}

    name = new_name()
    for number in (1, 2):
        (tmp_path / f"{number}.key").write_bytes(bytes([number]) * 32)
        (tmp_path / f"{number}.mp4").write_bytes(b"film %d" % number)

    def key(number, prefix="sse"):
        return (
            *(f"--{prefix}-customer-algorithm", "AES256"),
            *(f"--{prefix}-customer-key", f"fileb://{tmp_path / f'{number}.key'}"),
        )

    aws("s3", "mb", f"s3://{name}", "--endpoint-url", aws.endpoint)
    call("put-bucket-versioning", "--bucket", name, "--versioning-configuration", "Status=Enabled")
    assert call("get-bucket-versioning", "--bucket", name) == {"Status": "Enabled"}
    place = ("--bucket", name, "--key", "intro.mp4")
    old, _ = (
        call("put-object", *place, "--body", str(tmp_path / f"{number}.mp4"), *key(number))[
            "VersionId"
        ]
        for number in (1, 2)
    )

    source = f"{name}/intro.mp4?versionId={old}"
    call(
        *("copy-object", *place, "--copy-source", source),
        *(*key(1, "copy-source-sse"), *key(2)),
    )

    call("get-object", *place, *key(2), str(tmp_path / "back.mp4"))
    assert (tmp_path / "back.mp4").read_bytes() == b"film 1"
    call("get-object", *place, "--version-id", old, *key(1), str(tmp_path / "old.mp4"))
    assert (tmp_path / "old.mp4").read_bytes() == b"film 1"
