"""Another customer key for a whole bucket, beside a running server, killed on the way.

    python tools/drills/rotation.py --objects 10000

Half of the objects lie in the catalog, half in files. `keys rotate` is killed twice and then
run to its end. Afterwards every object opens under the new key, none under the old one, and
each data file is the one that it was (inode and time). Prints one line of JSON; exits 1 if
anything is not so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent import futures
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError

from strongroom.testing import Strongroom

OLD, NEW = b"o" * 32, b"n" * 32
SMALL, LARGE = b"in the catalog", bytes(range(256)) * 80
"""On either side of the 16 KiB up to which content lies in the catalog."""
BUCKET = "diaries"
MASTER_KEY = "bWFzdGVyIGtleSBmb3IgYSBkcmlsbCwgMzIgYnl0ZXM="
THREADS = 16
DONE, REFUSED = 200, 403


def under(key: bytes) -> dict[str, Any]:
    """Return boto3's words for a customer key."""
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}


def content(number: int) -> bytes:
    """Return what an object holds: another text for each, of one of two sizes."""
    return b"%d " % number + (LARGE if number % 2 else SMALL)


def data_files(data_dir: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of every data file, by name; locks of processes are none."""
    return {
        str(path.relative_to(data_dir)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in (data_dir / "blobs").rglob("*")
        if path.is_file() and path.name != "lock"
    }


def run(objects: int) -> dict[str, Any]:
    """Hold the drill; return what was seen."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Strongroom(durable=True, env={"STRONGROOM_MASTER_KEY": MASTER_KEY}) as server,
    ):
        for name, key in (("old", OLD), ("new", NEW)):
            Path(folder, name).write_bytes(key)
        s3 = server.boto3_client(config=Config(max_pool_connections=THREADS))
        s3.create_bucket(Bucket=BUCKET)
        names = [f"{number:06d}" for number in range(objects)]

        def put(number: int) -> None:
            s3.put_object(Bucket=BUCKET, Key=names[number], Body=content(number), **under(OLD))

        def opens(number: int) -> bool:
            answer = s3.get_object(Bucket=BUCKET, Key=names[number], **under(NEW))
            return bool(answer["Body"].read() == content(number))

        def status(name: str, key: bytes) -> int:
            try:
                s3.head_object(Bucket=BUCKET, Key=name, **under(key))
            except ClientError as error:
                return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
            return DONE

        with futures.ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(put, range(objects)))
            before = data_files(server.data_dir)
            report: dict[str, Any] = {
                "objects": objects,
                "data_files": len(before),
                "killed_at": [],
            }
            command = [
                *(sys.executable, "-m", "strongroom.cli", "keys", "rotate", f"s3://{BUCKET}"),
                *("--old-key", f"{folder}/old", "--new-key", f"{folder}/new", "--json"),
                *("--data-dir", str(server.data_dir)),
            ]
            env = {**os.environ, "STRONGROOM_MASTER_KEY": MASTER_KEY}
            for part in (4, 2):
                rotating = subprocess.Popen(  # noqa: S603 - our own command
                    command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                # It goes by name: the one at this place is rotated when so many are.
                while status(names[objects // part], NEW) != DONE and rotating.poll() is None:
                    time.sleep(0.01)
                rotating.kill()
                if rotating.wait() == 0:
                    raise RuntimeError(
                        "the rotation was over before it was killed: take more objects"
                    )
                new = pool.map(lambda name: status(name, NEW) == DONE, names)
                report["killed_at"].append(sum(new))
            last = subprocess.run(  # noqa: S603 - likewise
                command, env=env, check=True, capture_output=True
            )
            report["rotated_by_the_last"] = json.loads(last.stdout)
            report["open_under_the_new"] = sum(pool.map(opens, range(objects)))
            report["refused_under_the_old"] = sum(
                pool.map(lambda name: status(name, OLD) == REFUSED, names)
            )
        report["files_untouched"] = data_files(server.data_dir) == before
        s3.close()
    return report


def main() -> int:
    """Hold the drill as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--objects", type=int, default=10_000)
    chosen = parser.parse_args()
    report = run(chosen.objects)
    print(json.dumps(report))
    whole = report["open_under_the_new"] == report["refused_under_the_old"] == chosen.objects
    return 0 if whole and report["files_untouched"] else 1


if __name__ == "__main__":
    sys.exit(main())
