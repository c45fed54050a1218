"""Client-side encryption: speed beside the vendors' clients, and transfers that are killed.

    python -m benchmarks.clientside speed --size 256 --amazon PYTHON --oss2 PYTHON
    python -m benchmarks.clientside kills --size 1024 --times 5

Every transfer is a process of its own, so time, CPU and memory are its own. `speed` runs the
contenders in turns, against a store of bytes that costs next to nothing (`bytestore.py`), or with
`--server strongroom` against ours over TLS, which only S3's clients can talk to. The peers'
environments are made by `make conformance ARGS="cse_amazon cse_oss2"`.

`kills` kills each transfer so many times, finishes it and compares what came back.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks import contenders
from strongroom import testing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
MIB = 1024 * 1024
MOST_RSS_MIB = 200
"""What a transfer of any size may take at its peak."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clientside")
    parser.add_argument("what", choices=("speed", "kills"))
    parser.add_argument("--size", type=int, default=256, help="MiB (256)")
    parser.add_argument("--times", type=int, default=5, help="kills, or rounds (5)")
    parser.add_argument("--threads", type=int, default=4, help="of each transfer (4)")
    parser.add_argument("--server", choices=("bytes", "strongroom"), default="bytes")
    parser.add_argument("--amazon", type=Path, help="Python with Amazon's client")
    parser.add_argument("--oss2", type=Path, help="Python with oss2")
    options = parser.parse_args(arguments)
    if options.what == "kills":
        options.server = "strongroom"
    with (
        tempfile.TemporaryDirectory(prefix="strongroom-clientside-") as directory,
        testing.Strongroom(durable=True, kms=True) as server,
        _endpoint(server, options.server) as at_s3,
    ):
        server.boto3_client().create_bucket(Bucket=contenders.BUCKET)
        key = server.boto3_client("kms").create_key()["KeyMetadata"]["Arn"]
        asked = {
            "s3": at_s3,
            "kms": {**_endpoint_of(server), "endpoint_url": server.kms_url},
            "key": key,
            "threads": options.threads,
            "room": directory,
            **_pair(),
        }
        source = Path(directory, "source")
        _make(source, options.size * MIB)
        run = _speed if options.what == "speed" else _kills
        return run(asked, source, options)


def _speed(asked: dict[str, Any], source: Path, options: argparse.Namespace) -> int:
    chosen = list(contenders.OURS)
    if options.server == "strongroom":
        chosen.remove("ours oss-v2")
    elif options.oss2:
        chosen.append(contenders.OSS2)
    if options.amazon:
        chosen.append(contenders.AMAZON)
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    target = source.with_name("target")
    for round_number in range(options.times):
        first = round_number % len(chosen)
        for who in chosen[first:] + chosen[:first]:
            for do in ("put", "get"):
                path = source if do == "put" else target
                told = _run({**asked, "who": who, "do": do, "path": str(path)}, options)
                found.setdefault((who, do), []).append(told)
            if _digest(source) != _digest(target):
                sys.stderr.write(f"{who} gave other bytes back\n")
                return 1
            target.unlink()
    gib = options.size / 1024
    for who, do in sorted(found):
        runs = found[who, do]
        rates = sorted(options.size / one["seconds"] for one in runs)
        cpu = sorted(one["cpu"] / gib for one in runs)[len(runs) // 2]
        peak = max(one["rss_mib"] for one in runs)
        sys.stdout.write(
            f"{who:14} {do}  {rates[len(rates) // 2]:7.1f} MiB/s ({rates[0]:.0f} to {rates[-1]:.0f})"
            f"  {cpu:6.2f} CPU s/GiB  {peak:6.0f} MiB peak\n"
        )
    return 0


def _kills(asked: dict[str, Any], source: Path, options: argparse.Namespace) -> int:
    wrong = 0
    target = source.with_name("target")
    for who in contenders.OURS[:2]:
        for do in ("put", "get"):
            path = source if do == "put" else target
            ask = {**asked, "who": who, "do": do, "path": str(path), "checkpoint": True}
            killed, peak = _killed(ask, options)
            wrong += peak >= MOST_RSS_MIB or killed < options.times
            sys.stdout.write(f"{who:14} {do}  {killed} kills, {peak:.0f} MiB peak\n")
            sys.stdout.flush()
        same = _digest(source) == _digest(target)
        wrong += not same
        sys.stdout.write(f"{who:14} {'the same bytes' if same else 'OTHER BYTES'}\n")
        target.unlink()
    return 1 if wrong else 0


def _killed(ask: dict[str, Any], options: argparse.Namespace) -> tuple[int, float]:
    """Kill a transfer again and again, each time further on, and let it end.

    Returns:
        How often it was killed, and the most memory that any of the processes had, in MiB.
    """
    killed, peak = 0, 0.0
    size = options.size * MIB
    for number in range(1, options.times + 1):
        child = _start(ask, options)
        order = json.dumps({**ask, "die_at": size * number // (options.times + 1)})
        said, _ = child.communicate(order)
        killed += child.returncode == -signal.SIGKILL
        # More than one of its threads may get to say so before it ends.
        peak = max([peak, *(json.loads(line)["rss_mib"] for line in said.splitlines())])
    return killed, max(peak, _run(ask, options)["rss_mib"])


def _run(asked: dict[str, Any], options: argparse.Namespace) -> dict[str, float]:
    child = _start(asked, options)
    said, _ = child.communicate(json.dumps(asked))
    if child.returncode:
        raise RuntimeError(f"{asked['who']} {asked['do']} failed")
    told: dict[str, float] = json.loads(said)
    return told


def _start(asked: dict[str, Any], options: argparse.Namespace) -> subprocess.Popen[str]:
    pythons = {contenders.AMAZON: options.amazon, contenders.OSS2: options.oss2}
    return subprocess.Popen(  # noqa: S603 - ourselves
        [str(pythons.get(asked["who"], sys.executable)), "-m", "benchmarks.contenders"],
        cwd=ROOT,
        # Where awscrt is installed, as here, botocore signs with it, a little of the body at a time
        # through Python. The peers' environments have none: all sign alike.
        env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true", "BOTO_DISABLE_CRT": "true"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def _endpoint(server: testing.Strongroom, kind: str) -> Iterator[dict[str, Any]]:
    """Give what a boto3 client of S3 is made with, for either server."""
    if kind == "strongroom":
        yield {**_endpoint_of(server), "endpoint_url": server.endpoint_url}
        return
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bytestore"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as store:
        assert store.stdout is not None, "it is a pipe"
        assert store.stdin is not None, "it is a pipe"
        try:
            url = store.stdout.readline().strip()
            yield {**_endpoint_of(server), "endpoint_url": url}
        finally:
            store.stdin.close()


def _endpoint_of(server: testing.Strongroom) -> dict[str, Any]:
    return {
        "verify": server.ca_bundle,
        "region_name": "us-east-1",
        "aws_access_key_id": server.access_key,
        "aws_secret_access_key": server.secret_key,
    }


def _pair() -> dict[str, str]:
    """Return a pair of RSA keys as PEM, in the form that every contender reads."""
    private = rsa.generate_private_key(65537, 2048)
    encoding, kind = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    pem = private.private_bytes(encoding, kind, serialization.NoEncryption())
    public = private.public_key().public_bytes(
        encoding, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return {"pem": pem.decode(), "public": public.decode()}


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
