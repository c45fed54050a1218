"""The ransomware drill: a thief with valid credentials locks a bucket with a key of his own.

    python tools/drills/ransomware.py [--objects 1000] [--json]

Three buckets of a server of its own, each with the same objects under their owner's key. The thief
may do all that the owner may do in S3, and cannot get at the data directory.

* listed: the owner's key is on the bucket's list, and no other. The thief seals each object
  under his key, in every way that S3 has, and destroys the original wherever that worked.
* guarded: the guard is on, the bucket has no versions. The thief overwrites, deletes one by
  one and in bulk, and deletes what he wrote himself.
* versions: the guard is on, and so are versions. The thief deletes every version by its id.

Afterwards `strongroom admin restore` runs once for each guarded bucket, and the owner reads
everything. Exit status 0: nothing is lost.
"""

from __future__ import annotations

import argparse
import base64
import datetime as dt
import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
from concurrent import futures
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import ClientError

from strongroom.testing import Strongroom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LANES = 8
LARGE_EVERY = 10
"""One object of so many lies in a file; the others are small enough for the catalog."""
LARGE_BYTES = 100_000
BULK = 100


def customer(raw: bytes) -> dict[str, Any]:
    """Return what boto3 takes for a customer's key."""
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": raw}


OWNER = secrets.token_bytes(32)
THIEF = secrets.token_bytes(32)


class Drill:
    """One server, and both who use it."""

    def __init__(self, server: Strongroom, master_key: str, objects: int) -> None:
        self.server = server
        self.names = [f"records/{number:05}.bin" for number in range(objects)]
        self._master_key = master_key
        self.s3 = server.boto3_client(
            config=Config(max_pool_connections=LANES, retries={"max_attempts": 3})
        )

    def admin(self, *arguments: str) -> Any:
        """Run a command on the data directory; return what it prints as JSON."""
        done = subprocess.run(  # noqa: S603 - our own command line
            [
                *(sys.executable, "-m", "strongroom.cli", *arguments),
                *("--data-dir", str(self.server.data_dir), "--json"),
            ],
            env=os.environ | {"STRONGROOM_MASTER_KEY": self._master_key},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"strongroom {' '.join(arguments)}: {done.stderr}")
        return json.loads(done.stdout)

    @staticmethod
    def each(work: Callable[[Any], Any], what: Iterable[Any]) -> list[Any]:
        """Do it for each, some at a time."""
        with futures.ThreadPoolExecutor(LANES) as lanes:
            return list(lanes.map(work, what))

    def content(self, bucket: str, name: str) -> bytes:
        """Return what an object has to hold."""
        seed = hashlib.sha256(f"{bucket}/{name}".encode()).digest()
        is_large = not self.names.index(name) % LARGE_EVERY
        return seed * (LARGE_BYTES // len(seed)) if is_large else seed

    def fill(self, bucket: str) -> None:
        """Store the objects under their owner's key."""
        self.s3.create_bucket(Bucket=bucket)
        if bucket == "versions":
            self.s3.put_bucket_versioning(
                Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
            )
        self.each(
            lambda name: self.s3.put_object(
                Bucket=bucket, Key=name, Body=self.content(bucket, name), **customer(OWNER)
            ),
            self.names,
        )

    def lost(self, bucket: str) -> int:
        """Return how many objects their owner does not get back as they were."""

        def is_lost(name: str) -> bool:
            try:
                found = self.s3.get_object(Bucket=bucket, Key=name, **customer(OWNER))
                return bool(found["Body"].read() != self.content(bucket, name))
            except ClientError:
                return True

        return sum(self.each(is_lost, self.names))

    # The thief

    def lock(self, bucket: str, name: str) -> bool:
        """Seal one object under the thief's key, in every way that S3 has; whether one worked."""
        place = {"Bucket": bucket, "Key": name}
        taken = {
            "CopySource": f"{bucket}/{name}",
            "CopySourceSSECustomerAlgorithm": "AES256",
            "CopySourceSSECustomerKey": OWNER,
        }

        def in_parts() -> None:
            begun = self.s3.create_multipart_upload(**place, **customer(THIEF))
            part = self.s3.upload_part(
                **place, UploadId=begun["UploadId"], PartNumber=1, Body=b"pay", **customer(THIEF)
            )
            self.s3.complete_multipart_upload(
                **place,
                UploadId=begun["UploadId"],
                MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
            )

        ways: list[Callable[[], object]] = [
            lambda: self.s3.put_object(**place, Body=b"pay", **customer(THIEF)),
            # Even a thief who has the owner's key, from an application's memory, say.
            lambda: self.s3.copy_object(**place, **taken, **customer(THIEF)),
            in_parts,
        ]
        worked = False
        for way in ways:
            try:
                way()
                worked = True
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("AccessDenied", "404", "NoSuchKey"):
                    raise
        return worked

    def attack_listed(self) -> int:
        """Lock all objects, and destroy those where that worked; return how many."""

        def take(name: str) -> bool:
            locked = self.lock("listed", name)
            if locked:
                self.s3.delete_object(Bucket="listed", Key=name)
            return locked

        return sum(self.each(take, self.names))

    def attack_guarded(self) -> None:
        """Overwrite a half and delete most of it, one by one; delete the other half in bulk."""

        def take(name: str) -> None:
            place = {"Bucket": "guarded", "Key": name}
            self.s3.put_object(**place, Body=b"pay", **customer(THIEF))
            turn = self.names.index(name) // 2
            if turn % 2:
                self.s3.delete_object(**place)
            elif turn % 4:
                self.s3.delete_object(**place, VersionId="null")
                self.s3.put_object(**place, Body=b"pay more", **customer(THIEF))

        self.each(take, self.names[::2])
        rest = self.names[1::2]
        for start in range(0, len(rest), BULK):
            self.s3.delete_objects(
                Bucket="guarded",
                Delete={"Objects": [{"Key": name} for name in rest[start : start + BULK]]},
            )

    def attack_versions(self) -> None:
        """Overwrite all, hide all, stop the versions, and delete each version by its id."""
        self.each(
            lambda name: self.s3.put_object(
                Bucket="versions", Key=name, Body=b"pay", **customer(THIEF)
            ),
            self.names,
        )
        self.s3.put_bucket_versioning(
            Bucket="versions", VersioningConfiguration={"Status": "Suspended"}
        )
        self.each(lambda name: self.s3.delete_object(Bucket="versions", Key=name), self.names)
        for page in self.s3.get_paginator("list_object_versions").paginate(Bucket="versions"):
            found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            for start in range(0, len(found), BULK):
                named = [
                    {"Key": one["Key"], "VersionId": one["VersionId"]}
                    for one in found[start : start + BULK]
                ]
                self.s3.delete_objects(Bucket="versions", Delete={"Objects": named})


def run(objects: int) -> dict[str, Any]:
    """Hold the drill; return what came of it."""
    master_key = base64.b64encode(secrets.token_bytes(32)).decode()
    report: dict[str, Any] = {"objects": objects}
    with Strongroom(durable=True, env={"STRONGROOM_MASTER_KEY": master_key}) as server:
        drill = Drill(server, master_key, objects)
        for bucket in ("listed", "guarded", "versions"):
            drill.fill(bucket)
        asked = drill.s3.meta.events
        header = "x-strongroom-customer-key-fingerprint"
        asked.register(
            "before-sign.s3.HeadObject",
            lambda request, **_: request.headers.add_header(header, "1"),
        )
        told = drill.s3.head_object(Bucket="listed", Key=drill.names[0], **customer(OWNER))
        fingerprint = told["ResponseMetadata"]["HTTPHeaders"][header]
        drill.admin("admin", "bucket", "keys", "listed", "--allow", fingerprint)
        for bucket in ("guarded", "versions"):
            drill.admin("admin", "bucket", "guard", bucket, "--days", "30")
        # The clock that the server stamps versions with is this machine's, in milliseconds.
        moment = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        time.sleep(0.01)

        report["listed"] = {"locked": drill.attack_listed(), "lost": drill.lost("listed")}
        drill.attack_guarded()
        drill.attack_versions()
        for bucket in ("guarded", "versions"):
            damaged = drill.lost(bucket)
            began = time.monotonic()
            restored = drill.admin("admin", "restore", bucket, "--to", moment)
            report[bucket] = {
                "lost_before": damaged,
                "restored": restored["restored"],
                "set_aside": restored["set_aside"],
                "restore_s": round(time.monotonic() - began, 2),
                "lost": drill.lost(bucket),
            }
        report["alarms"] = sum(
            event["event"] == "guard.foreign_key" for event in server.log_events()
        )
        drill.s3.close()
    return report


def main() -> int:
    """Hold the drill as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--json", action="store_true", dest="as_json")
    chosen = parser.parse_args()
    report = run(chosen.objects)
    if chosen.as_json:
        print(json.dumps(report))
    else:
        for name, found in report.items():
            print(f"{name:9} {found}")
    return int(any(report[name]["lost"] for name in ("listed", "guarded", "versions")))


if __name__ == "__main__":
    sys.exit(main())
