"""Client-side encryption: speed beside Amazon's client, and transfers that are killed.

    python -m benchmarks.clientside speed --size 256 --peer .venv-conformance/cse_amazon/bin/python
    python -m benchmarks.clientside kills --size 1024 --times 5

Every transfer is a process of its own, so time, CPU and memory are its own. `speed` runs the
contenders in turns. The peer's environment is made by `make conformance ARGS=cse_amazon`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MIB = 1024 * 1024
BUCKET = "bench"
KEY_ID = "arn:aws:kms:us-east-1:111122223333:key/0f0f0f0f-1111-2222-3333-444444444444"
CONTENDERS = ("amazon s3-v3", "ours s3-v3", "ours sealed")


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("speed", "kills", "child"))
    parser.add_argument("--size", type=int, default=256, help="MiB")
    parser.add_argument("--times", type=int, default=5, help="kills, or rounds")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--peer", type=Path, help="Python of an environment with Amazon's client")
    options = parser.parse_args()
    if options.what == "child":
        return _child(json.load(sys.stdin))
    sys.path.insert(0, str(ROOT / "tools/conformance"))
    import doubles  # noqa: PLC0415 - from the folder that was just named

    from strongroom import testing  # noqa: PLC0415 - a child of the peer's has none

    kms = doubles.Kms()
    with (
        tempfile.TemporaryDirectory(prefix="strongroom-clientside-") as directory,
        testing.Strongroom(durable=True) as server,
    ):
        server.boto3_client().create_bucket(Bucket=BUCKET)
        asked = {
            "s3": _s3(server),
            "kms": {**_s3(server), "endpoint_url": kms.url, "verify": True},
            "threads": options.threads,
            "room": directory,
        }
        source = Path(directory, "source")
        _make(source, options.size * MIB)
        run = _speed if options.what == "speed" else _kills
        return run(asked, source, options)


def _speed(asked: dict[str, Any], source: Path, options: argparse.Namespace) -> int:
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    contenders = CONTENDERS if options.peer else CONTENDERS[1:]
    for round_number in range(options.times):
        for who in contenders[round_number % 2 :] + contenders[: round_number % 2]:
            for do in ("put", "get"):
                target = str(source) if do == "put" else str(source.with_name("target"))
                told = _run({**asked, "who": who, "do": do, "path": target}, options)
                found.setdefault((who, do), []).append(told)
            if _digest(source) != _digest(source.with_name("target")):
                sys.stderr.write(f"{who} gave other bytes back\n")
                return 1
    gib = options.size / 1024
    for (who, do), runs in found.items():
        middle = sorted(runs, key=lambda one: one["seconds"])[len(runs) // 2]
        sys.stdout.write(
            f"{who:14} {do}  {options.size / middle['seconds']:7.1f} MiB/s"
            f"  {middle['cpu'] / gib:6.2f} CPU s/GiB  {middle['rss_mib']:6.0f} MiB peak\n"
        )
    return 0


def _kills(asked: dict[str, Any], source: Path, options: argparse.Namespace) -> int:
    wrong = 0
    for who in CONTENDERS[1:]:
        for do in ("put", "get"):
            path = source if do == "put" else source.with_name("target")
            ask = {**asked, "who": who, "do": do, "path": str(path), "checkpoint": True}
            killed, least = 0, 1.0
            while killed < options.times:
                child = _start(ask, options)
                try:
                    child.communicate(json.dumps(ask), timeout=least)
                    break
                except subprocess.TimeoutExpired:
                    child.send_signal(signal.SIGKILL)
                    child.communicate()
                    killed += 1
                    least += 0.7
            last = _run(ask, options)
            wrong += last["rss_mib"] >= 200  # noqa: PLR2004 - what was promised
            sys.stdout.write(f"{who:14} {do}  {killed} kills, {last['rss_mib']:.0f} MiB peak\n")
        same = _digest(source) == _digest(source.with_name("target"))
        wrong += not same
        sys.stdout.write(f"{who:14} {'the same bytes' if same else 'OTHER BYTES'}\n")
        source.with_name("target").unlink()
    return 1 if wrong else 0


def _run(asked: dict[str, Any], options: argparse.Namespace) -> dict[str, float]:
    child = _start(asked, options)
    said, _ = child.communicate(json.dumps(asked))
    if child.returncode:
        raise RuntimeError(f"{asked['who']} {asked['do']} failed")
    told: dict[str, float] = json.loads(said)
    return told


def _start(asked: dict[str, Any], options: argparse.Namespace) -> subprocess.Popen[str]:
    python = str(options.peer) if asked["who"].startswith("amazon") else sys.executable
    return subprocess.Popen(  # noqa: S603 - this file
        [python, "-m", "benchmarks.clientside", "child"],
        cwd=ROOT,
        env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _child(asked: dict[str, Any]) -> int:
    """Do one transfer and say what it took."""
    transfer = _amazon(asked) if asked["who"].startswith("amazon") else _ours(asked)
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    transfer()
    after = resource.getrusage(resource.RUSAGE_SELF)
    told = {
        "seconds": time.monotonic() - began,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "rss_mib": after.ru_maxrss / 1024,
    }
    json.dump(told, sys.stdout)
    return 0


def _ours(asked: dict[str, Any]) -> Any:
    import boto3  # noqa: PLC0415 - not to be counted with the parent's

    from strongroom.client import KmsKey, s3  # noqa: PLC0415 - likewise

    kind = asked["who"].removeprefix("ours ")
    checkpoints = str(Path(asked["room"], "checkpoints")) if asked.get("checkpoint") else None
    client = s3.EncryptedClient(
        _boto3(asked),
        KmsKey(boto3.client("kms", **asked["kms"]), KEY_ID),
        format=kind,
        threads=asked["threads"],
        checkpoint_dir=checkpoints,
    )
    name = kind
    if asked["do"] == "put":
        return lambda: client.upload_file(asked["path"], BUCKET, name)
    return lambda: client.download_file(BUCKET, name, asked["path"])


def _amazon(asked: dict[str, Any]) -> Any:
    import boto3  # noqa: PLC0415 - the peer's own
    import s3_encryption  # noqa: PLC0415 - in the peer's environment only
    from s3_encryption.materials import kms_keyring  # noqa: PLC0415 - likewise

    keyring = kms_keyring.KmsKeyring(boto3.client("kms", **asked["kms"]), KEY_ID)
    config = s3_encryption.S3EncryptionClientConfig(keyring=keyring)
    client = s3_encryption.S3EncryptionClient(_boto3(asked), config)
    if asked["do"] == "put":
        return lambda: client.upload_file(asked["path"], BUCKET, "amazon")

    def get() -> None:
        body = client.get_object(Bucket=BUCKET, Key="amazon")["Body"]
        with Path(asked["path"]).open("wb") as file:
            while chunk := body.read(8 * MIB):
                file.write(chunk)

    return get


def _boto3(asked: dict[str, Any]) -> Any:
    import boto3  # noqa: PLC0415 - as above
    from botocore.config import Config  # noqa: PLC0415 - as above

    return boto3.client("s3", **asked["s3"], config=Config(s3={"addressing_style": "path"}))


def _s3(server: Any) -> dict[str, Any]:
    return {
        "endpoint_url": server.endpoint_url,
        "verify": server.ca_bundle,
        "region_name": "us-east-1",
        "aws_access_key_id": server.access_key,
        "aws_secret_access_key": server.secret_key,
    }


def _make(path: Path, size: int) -> None:
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for number in range(size // MIB):
            file.write(number.to_bytes(8, "big") + block[8:])


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
