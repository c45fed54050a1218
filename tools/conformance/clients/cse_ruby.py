# /// script
# requires-python = ">=3.11"
# dependencies = ["boto3", "cryptography"]
# ///
"""AWS's SDK for Ruby: what it writes in V1 and V2 ours opens, what ours writes in V2 it opens."""

import json
import secrets
import shutil
import subprocess
from pathlib import Path

import boto3
import rig
from botocore.config import Config
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

SIZES = [0, 1, 15, 16, 17, 5000, 300_001]
SCRIPT = Path(__file__).with_suffix(".rb")
RUBY = shutil.which("ruby")
VERSION = 'require "aws-sdk-kms"; require "aws-sdk-s3"; print Aws::S3::GEM_VERSION'

job = rig.Rig()
WHO = {
    "region_name": job.region,
    "aws_access_key_id": job.access_key,
    "aws_secret_access_key": job.secret_key,
    "verify": job.ca,
}
AT_S3 = {**WHO, "endpoint_url": job.endpoint}
AT_KMS = {**WHO, "endpoint_url": job.kms}


def version() -> str:
    """Return that of the SDK; nothing where it is not installed."""
    if RUBY is None:
        return ""
    asked = [RUBY, "-e", VERSION]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout if done.returncode == 0 else ""


def theirs(do: str, kind: str, key: str, path: Path, **how: object) -> None:
    """Let Ruby do it.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    asked = {
        "do": do,
        "kind": kind,
        "key": key,
        "path": str(path),
        "endpoint": job.endpoint,
        "kms": job.kms,
        "ca": job.ca,
        "access_key": job.access_key,
        "secret_key": job.secret_key,
        "context": {},
        **how,
    }
    assert RUBY is not None, "looked for before"
    done = subprocess.run(  # noqa: S603 - our own script
        [RUBY, str(SCRIPT)], input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"ruby: {done.stderr}")


def ours(do: str, key: str, path: Path, **how: object) -> None:
    """Let ours do it, as V2 where it writes."""
    options = {
        "format": "s3-v2",
        "commitment_policy": "FORBID_ENCRYPT_ALLOW_DECRYPT",
        # Ruby's V1 is CBC, and wraps keys in ways that are read only by whoever asks for it.
        "enable_legacy_unauthenticated_modes": True,
        "enable_legacy_wrapping_algorithms": True,
    }
    job.ours(do=do, s3=AT_S3, bucket="attic", key=key, path=str(path), options=options, **how)


def run() -> None:
    """Try each master key in both directions."""
    boto3.client("s3", **AT_S3, config=Config(s3={"addressing_style": "path"})).create_bucket(
        Bucket="attic"
    )
    pem = (
        rsa.generate_private_key(65537, 2048)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        .decode()
    )
    aes = rig.base64_of(secrets.token_bytes(32))
    arn = boto3.client("kms", **AT_KMS).create_key()["KeyMetadata"]["Arn"]
    masters: dict[str, tuple[dict[str, object], dict[str, object]]] = {
        "RSA": ({"pem": pem}, {"pem": pem}),
        "AES": ({"aes": aes}, {"aes": aes}),
        "KMS": ({"kms": arn}, {"kms": AT_KMS, "key_id": arn}),
    }
    for name, (for_ruby, for_us) in masters.items():
        for kind in ("v2",) if name == "KMS" else ("v2", "v1"):
            room = job.room()
            with job.step(f"they write, we read: {kind}, {name}"):
                for size in SIZES:
                    (room / "in").write_bytes(secrets.token_bytes(size))
                    theirs("put", kind, f"a {size}", room / "in", master=for_ruby)
                    ours("get", f"a {size}", room / "out", **for_us)
                    assert (room / "in").read_bytes() == (room / "out").read_bytes(), size
        with job.step(f"we write, they read: v2, {name}"):
            for size in SIZES:
                (room / "in").write_bytes(secrets.token_bytes(size))
                ours("put", f"b {size}", room / "in", **for_us)
                theirs("get", "v2", f"b {size}", room / "out", master=for_ruby)
                assert (room / "in").read_bytes() == (room / "out").read_bytes(), size


job.client("AWS SDK for Ruby", version() or "none")
if version():
    run()
else:
    with job.step("read and write"):
        raise rig.Skipped("there is no ruby with aws-sdk-s3 and aws-sdk-kms (ruby-aws-sdk-s3)")
