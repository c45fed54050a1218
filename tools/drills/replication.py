"""Replication under fire: two servers, objects of all modes, the link cut and the source killed.

    python tools/drills/replication.py --objects 1000

Afterwards every version is at the target with its id, its ETag and its parts, and opened by
its own key; a foreign key opens none; and no form of any customer key is in a file or the
log of the target, which has never seen one but in the requests of this drill, made to a
second process on a copy of its data. Prints one line of JSON; exits 1 with a traceback
where anything is not so.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import os
import random  # noqa: TID251 - a drill that can be repeated
import secrets
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import ClientError

from strongroom.testing import Strongroom

KIB = 1024
MIB = 1024 * KIB
SIZES = (0, 1, 100, 5_000, 16 * KIB, 16 * KIB + 1, 70_000, 300 * KIB, 2 * MIB)
MODES = ("SSE-C", "SSE-S3", "SSE-KMS", "DSSE-KMS")
WAIT_S = 900.0
SECRET_VARIABLE = "STRONGROOM_REMOTE_SECRET_KEY"  # noqa: S105 - the name of a variable
ONCE = Config(retries={"max_attempts": 1, "mode": "standard"}, max_pool_connections=16)


class Link:
    """A wire between two servers that can be cut; what goes over it is not looked at."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._upstream: tuple[str, int] | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def join(self, url: str) -> None:
        """Lead to the server at this address."""
        place = urlsplit(url)
        assert place.hostname is not None
        assert place.port is not None
        self._upstream = (place.hostname, place.port)

    def cut(self) -> None:
        """Break every connection, and refuse new ones until `join`."""
        self._upstream = None
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End."""
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError), near:
            if self._upstream is None:
                return
            with socket.create_connection(self._upstream) as far:
                with self._lock:
                    self._open |= {near, far}
                try:
                    _pump(near, far)
                finally:
                    with self._lock:
                        self._open -= {near, far}


def _pump(one: socket.socket, two: socket.socket) -> None:
    with selectors.DefaultSelector() as ready:
        ready.register(one, selectors.EVENT_READ, two)
        ready.register(two, selectors.EVENT_READ, one)
        while True:
            for key, _ in ready.select():
                assert isinstance(key.fileobj, socket.socket)
                data = key.fileobj.recv(65536)
                if not data:
                    return
                key.data.sendall(data)


@dataclass(frozen=True)
class Kept:
    """A version that the source has acknowledged."""

    key: str
    version_id: str
    etag: str
    mode: str
    customer: bytes
    sha256: bytes
    parts: int
    tags: str

    @property
    def headers(self) -> dict[str, Any]:
        """The customer's key, for boto3."""
        if not self.customer:
            return {}
        return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": self.customer}


def run_admin(server: Strongroom, master_key: str, *args: str, **env: str) -> dict[str, Any]:
    """Run `strongroom admin …` on a server's data directory; return what it prints."""
    command = [sys.executable, "-m", "strongroom.cli", "admin", *args]
    done = subprocess.run(  # noqa: S603 - our own command line
        [*command, "--json", "--data-dir", str(server.data_dir)],
        env=os.environ | {"STRONGROOM_MASTER_KEY": master_key} | env,
        check=True,
        capture_output=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def make_rule(arn: str) -> dict[str, Any]:
    """Return a document that replicates everything."""
    rule = {
        "ID": "all",
        "Priority": 1,
        "Filter": {"Prefix": ""},
        "Status": "Enabled",
        "DeleteMarkerReplication": {"Status": "Enabled"},
        "SourceSelectionCriteria": {"SseKmsEncryptedObjects": {"Status": "Enabled"}},
        "Destination": {
            "Bucket": arn,
            "EncryptionConfiguration": {"ReplicaKmsKeyID": "alias/aws/s3"},
        },
    }
    return {"Role": "arn:aws:iam::000000000000:role/replication", "Rules": [rule]}


def put(client: Any, number: int, shapes: random.Random) -> Kept:
    """Write one version: mode and size by its number, every 40th in three parts."""
    mode = MODES[number % len(MODES)]
    key = f"{mode}/{number % 97}/{number}"
    customer = secrets.token_bytes(32) if mode == "SSE-C" else b""
    how: dict[str, Any] = {}
    if customer:
        how = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": customer}
    elif mode != "SSE-S3":
        named = {"SSE-KMS": "aws:kms", "DSSE-KMS": "aws:kms:dsse"}[mode]
        how = {"ServerSideEncryption": named}
    place = {"Bucket": "source", "Key": key}
    tags = f"number={number}"
    if number % 40 < len(MODES):
        pieces = [shapes.randbytes(5 * MIB), shapes.randbytes(5 * MIB + 1), shapes.randbytes(9)]
        begun = client.create_multipart_upload(**place, **how, Tagging=tags)["UploadId"]
        sent = []
        for index, piece in enumerate(pieces, 1):
            done = client.upload_part(
                **place,
                UploadId=begun,
                PartNumber=index,
                Body=piece,
                **(how if customer else {}),
            )
            sent.append({"PartNumber": index, "ETag": done["ETag"]})
        answer = client.complete_multipart_upload(
            **place, UploadId=begun, MultipartUpload={"Parts": sent}
        )
    else:
        pieces = [shapes.randbytes(SIZES[number % len(SIZES)])]
        answer = client.put_object(**place, Body=pieces[0], Tagging=tags, **how)
    digest = hashlib.sha256(b"".join(pieces)).digest()
    parts = len(pieces) if len(pieces) > 1 else 0
    return Kept(key, answer["VersionId"], answer["ETag"], mode, customer, digest, parts, tags)


def needles(customer: bytes) -> list[bytes]:
    """Return the forms in which a key might have been left somewhere."""
    md5 = hashlib.md5(customer, usedforsecurity=False).digest()
    return [
        form
        for raw in (customer, md5)
        for form in (raw, raw.hex().encode(), base64.b64encode(raw).rstrip(b"="))
    ]


def search(places: list[Path], customers: list[bytes]) -> list[str]:
    """Return the files in which any form of any key stands."""
    wanted = [form for customer in customers for form in needles(customer)]
    found = []
    for path in places:
        data = path.read_bytes()
        found += [str(path) for form in wanted if form in data]
    return found


def check(client: Any, one: Kept) -> None:
    """Check one replica: identity, content, parts, tags, and that a foreign key opens nothing."""
    place = {"Bucket": "target", "Key": one.key, "VersionId": one.version_id}
    answer = client.get_object(**place, **one.headers)
    running = hashlib.sha256()
    for piece in answer["Body"].iter_chunks(MIB):
        running.update(piece)
    assert running.digest() == one.sha256, one
    assert (answer["ETag"], answer["ReplicationStatus"]) == (one.etag, "REPLICA"), one
    if one.parts:
        head = client.head_object(**place, PartNumber=2, **one.headers)
        assert (head["PartsCount"], head["ContentLength"]) == (one.parts, 5 * MIB + 1), one
    (tag,) = client.get_object_tagging(**place)["TagSet"]
    assert f"{tag['Key']}={tag['Value']}" == one.tags, one
    if one.customer:
        foreign = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": secrets.token_bytes(32)}
        for wrong, status in ((foreign, 403), ({}, 400)):
            assert _refusal(client, place | wrong) == status, one


def _refusal(client: Any, request: dict[str, Any]) -> int:
    """Return the status with which a HEAD is refused; 200 if it is not."""
    try:
        client.head_object(**request)
    except ClientError as refused:
        return int(refused.response["ResponseMetadata"]["HTTPStatusCode"])
    return 200


def run(objects: int, *, seed: int = 0) -> dict[str, Any]:
    """Drill; return figures.

    Raises:
        AssertionError: a replica is missing or wrong, or a key was left at the target.
    """
    shapes = random.Random(seed)  # noqa: S311 - sizes and contents, not secrets
    keys = [base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(2)]
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        source, target = (
            stack.enter_context(Strongroom(durable=True, env={"STRONGROOM_MASTER_KEY": key}))
            for key in keys
        )
        link = Link()
        stack.callback(link.close)
        link.join(target.endpoint_url)
        run_admin(
            *(source, keys[0], "remote", "add", "far", f"https://127.0.0.1:{link.port}"),
            *("--access-key", target.access_key, "--ca", target.ca_bundle),
            **{SECRET_VARIABLE: target.secret_key},
        )
        client = source.boto3_client(config=ONCE)
        for server, bucket in ((source, "source"), (target, "target")):
            made = server.boto3_client()
            made.create_bucket(Bucket=bucket)
            made.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        document = make_rule("arn:aws:s3:far::target")
        client.put_bucket_replication(Bucket="source", ReplicationConfiguration=document)
        kept, kills = _write(source, link, target, objects, shapes)
        waited = _drain(source, keys[0])
        client = source.boto3_client()
        for one in kept:
            head = client.head_object(
                Bucket="source", Key=one.key, VersionId=one.version_id, **one.headers
            )
            assert head["ReplicationStatus"] == "COMPLETED", one
        customers = [one.customer for one in kept if one.customer]
        copy = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "data"
        target.process.kill()  # type: ignore[union-attr] # it runs
        target.process.wait()  # type: ignore[union-attr] # likewise
        files = [path for path in target.data_dir.rglob("*") if path.is_file()]
        left = search([*files, target.log_path], customers)
        assert left == [], left
        shutil.copytree(target.data_dir, copy)
        # As the target's twin, on its data: reading brings keys there, so it reads elsewhere.
        twin = stack.enter_context(Strongroom(copy, env={"STRONGROOM_MASTER_KEY": keys[1]}))
        reader = twin.boto3_client(config=Config(max_pool_connections=8))
        with futures.ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda one: check(reader, one), kept))
        return {
            "objects": len(kept),
            "by_mode": {mode: sum(one.mode == mode for one in kept) for mode in MODES},
            "multipart": sum(one.parts > 0 for one in kept),
            "kills": kills,
            "drained_after_s": round(waited, 1),
            "seconds": round(time.monotonic() - started, 1),
            "files_searched": len(files),
            "customer_keys_found": 0,
        }


def _write(
    source: Strongroom, link: Link, target: Strongroom, objects: int, shapes: random.Random
) -> tuple[list[Kept], int]:
    """Write all versions; the link is cut for a while, and the source killed twice meanwhile."""
    kept: list[Kept] = []
    kills = 0
    client = source.boto3_client(config=ONCE)
    for number in range(objects):
        if number == objects // 4:
            link.cut()
        elif number in (objects // 2, objects * 4 // 5):
            # While versions wait, and while they are being sent.
            source.kill()
            source.start()
            client = source.boto3_client(config=ONCE)
            kills += 1
        elif number == objects * 3 // 4:
            link.join(target.endpoint_url)
        kept.append(put(client, number, shapes))
    return kept, kills


def _drain(source: Strongroom, master_key: str) -> float:
    """Wait until nothing waits; return for how long, in seconds."""
    started = time.monotonic()
    while True:
        found = run_admin(source, master_key, "replicate", "--status")
        if not found["waiting"]:
            return time.monotonic() - started
        assert time.monotonic() - started < WAIT_S, found
        time.sleep(1)


def main() -> None:
    """Drill, and print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--objects", type=int, default=1000)
    chosen = arguments.parse_args()
    print(json.dumps(run(chosen.objects)))


if __name__ == "__main__":
    main()
