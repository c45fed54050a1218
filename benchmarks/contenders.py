"""One transfer of one client that encrypts, in a process of its own.

What to do comes as JSON on standard input, what it took goes to standard output. The clients
of others run in environments of their own, so this is standard library until one is chosen.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1024 * 1024
BUCKET = "bench"
PART_BYTES = 8 * MIB
OURS = ("ours s3-v3", "ours sealed", "ours oss-v2")
AMAZON = "amazon s3-v3"
OSS2 = "oss2 oss-v2"


def main() -> int:
    """Do one transfer and say what it took."""
    asked = json.load(sys.stdin)
    makers = {AMAZON: _amazon, OSS2: _oss2}
    transfer = makers.get(asked["who"], _ours)(asked)
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    transfer()
    after = resource.getrusage(resource.RUSAGE_SELF)
    told = {
        "seconds": time.monotonic() - began,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "rss_mib": peak_mib(),
    }
    json.dump(told, sys.stdout)
    return 0


def peak_mib() -> float:
    """Return the most memory that this process had, in MiB.

    Not `ru_maxrss`: a child begins with its parent's, over `exec`.
    """
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("Linux tells VmHWM of every process")


def _ours(asked: dict[str, Any]) -> Callable[[], object]:
    import boto3  # noqa: PLC0415 - not every environment has it

    from strongroom.client import KmsKey, RsaKey, s3  # noqa: PLC0415 - likewise

    kind = asked["who"].removeprefix("ours ")
    checkpoints = str(Path(asked["room"], "checkpoints")) if asked.get("checkpoint") else None
    rsa = kind == "oss-v2"
    client = s3.EncryptedClient(
        _boto3(asked),
        RsaKey(asked["pem"]) if rsa else KmsKey(boto3.client("kms", **asked["kms"]), asked["key"]),
        format=kind,
        commitment_policy="FORBID_ENCRYPT_ALLOW_DECRYPT"
        if rsa
        else "REQUIRE_ENCRYPT_REQUIRE_DECRYPT",
        formats=[kind],
        part_bytes=PART_BYTES,
        threads=asked["threads"],
        checkpoint_dir=checkpoints,
    )
    tell = _killer(asked["die_at"]) if "die_at" in asked else None
    if asked["do"] == "put":
        return lambda: client.upload_file(asked["path"], BUCKET, kind, Callback=tell)
    return lambda: client.download_file(BUCKET, kind, asked["path"], Callback=tell)


def _killer(die_at: int) -> Callable[[int], None]:
    """Return a callback that ends this process when so many bytes are there.

    By the progress and not by the clock, so that every kill hits a transfer in its course.
    """
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if done >= die_at:
            sys.stdout.write(json.dumps({"rss_mib": peak_mib()}) + "\n")
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    return tell


def _amazon(asked: dict[str, Any]) -> Callable[[], object]:
    import boto3  # noqa: PLC0415 - the peer's own
    import s3_encryption  # noqa: PLC0415 - in the peer's environment only
    from s3_encryption.materials import kms_keyring  # noqa: PLC0415 - likewise

    keyring = kms_keyring.KmsKeyring(boto3.client("kms", **asked["kms"]), asked["key"])
    config = s3_encryption.S3EncryptionClientConfig(keyring=keyring)
    client = s3_encryption.S3EncryptionClient(_boto3(asked), config)
    if asked["do"] == "put":
        return lambda: client.upload_file(asked["path"], BUCKET, "amazon")

    def get() -> None:
        body = client.get_object(Bucket=BUCKET, Key="amazon")["Body"]
        with Path(asked["path"]).open("wb") as file:
            while chunk := body.read(PART_BYTES):
                file.write(chunk)

    return get


def _oss2(asked: dict[str, Any]) -> Callable[[], object]:
    import warnings  # noqa: PLC0415 - for the next

    warnings.simplefilter("ignore")
    import oss2  # noqa: PLC0415 - in the peer's environment only
    from oss2 import crypto  # noqa: PLC0415 - likewise

    halves = {"private_key": asked["pem"], "public_key": asked["public"]}
    bucket = oss2.CryptoBucket(
        oss2.Auth("id", "secret"),
        asked["s3"]["endpoint_url"],
        BUCKET,
        crypto_provider=crypto.RsaProvider(halves),
    )
    # Parts and threads are those of ours; below a threshold of one part it would not use them.
    how = {"part_size": PART_BYTES, "num_threads": asked["threads"]}
    if asked["do"] == "put":
        store = oss2.ResumableStore(root=asked["room"])
        return lambda: oss2.resumable_upload(
            bucket, "oss2", asked["path"], store=store, multipart_threshold=PART_BYTES, **how
        )
    downloads = oss2.ResumableDownloadStore(root=asked["room"])
    return lambda: oss2.resumable_download(
        bucket, "oss2", asked["path"], store=downloads, multiget_threshold=PART_BYTES, **how
    )


def _boto3(asked: dict[str, Any]) -> Any:
    import boto3  # noqa: PLC0415 - as above
    from botocore.config import Config  # noqa: PLC0415 - as above

    return boto3.client("s3", **asked["s3"], config=Config(s3={"addressing_style": "path"}))


if __name__ == "__main__":
    sys.exit(main())
