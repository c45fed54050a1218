# /// script
# requires-python = ">=3.11"
# dependencies = ["amazon-s3-encryption-client-python"]
# ///
"""Amazon S3 Encryption Client: what it writes ours opens, and the other way round."""

import importlib.metadata
import json
from pathlib import Path

import boto3
import rig
from botocore.config import Config
from s3_encryption import S3EncryptionClient, S3EncryptionClientConfig
from s3_encryption.materials.kms_keyring import KmsKeyring
from s3_encryption.materials.materials import AlgorithmSuite, CommitmentPolicy

job = rig.Rig()
job.client("S3 Encryption Client", importlib.metadata.version("amazon-s3-encryption-client-python"))
MIB = 1024 * 1024
SIZES = [0, 1, 15, 16, 17, 5000, 20 * MIB + 3]
WHO = {
    "region_name": job.region,
    "aws_access_key_id": job.access_key,
    "aws_secret_access_key": job.secret_key,
}
AT_KMS = {**WHO, "endpoint_url": job.kms, "verify": job.ca}
AT_S3 = {**WHO, "endpoint_url": job.endpoint, "verify": job.ca}
KEY_ID = boto3.client("kms", **AT_KMS).create_key()["KeyMetadata"]["Arn"]
CONFIG = Config(s3={"addressing_style": "path"})
KINDS = {
    "V3": (
        AlgorithmSuite.ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
        CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT,
        {"format": "s3-v3"},
    ),
    "V2": (
        AlgorithmSuite.ALG_AES_256_GCM_IV12_TAG16_NO_KDF,
        CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT,
        {"format": "s3-v2", "commitment_policy": "FORBID_ENCRYPT_ALLOW_DECRYPT"},
    ),
}


def theirs(kind: str) -> S3EncryptionClient:
    """Return their client."""
    suite, policy, _ = KINDS[kind]
    keyring = KmsKeyring(boto3.client("kms", **AT_KMS), KEY_ID)
    config = S3EncryptionClientConfig(
        keyring=keyring, encryption_algorithm=suite, commitment_policy=policy
    )
    return S3EncryptionClient(boto3.client("s3", **AT_S3, config=CONFIG), config)


def ours(do: str, kind: str, key: str, path: Path, context: dict[str, str]) -> None:
    """Let ours do it."""
    job.ours(
        do=do,
        s3=AT_S3,
        kms=AT_KMS,
        key_id=KEY_ID,
        bucket="attic",
        key=key,
        path=str(path),
        context=context,
        options=KINDS[kind][2],
    )


boto3.client("s3", **AT_S3, config=CONFIG).create_bucket(Bucket="attic")
for kind in KINDS:
    for context in ({}, {"team": "x", "purpose": "a b"}):
        told = f"{kind}, context {json.dumps(context)}"
        room = job.room()
        with job.step(f"they write, we read: {told}"):
            for size in SIZES:
                plain = (room / "in").open("wb")
                with plain:
                    plain.write(bytes(range(256)) * (size // 256) + bytes(size % 256))
                extra = {"EncryptionContext": context} if context else {}
                theirs(kind).upload_file(str(room / "in"), "attic", f"a {size}", **extra)
                ours("get", kind, f"a {size}", room / "out", context)
                assert (room / "in").read_bytes() == (room / "out").read_bytes(), size
        with job.step(f"we write, they read: {told}"):
            for size in SIZES:
                (room / "in").write_bytes(bytes(range(256)) * (size // 256) + bytes(size % 256))
                ours("put", kind, f"b {size}", room / "in", context)
                extra = {"EncryptionContext": context} if context else {}
                answer = theirs(kind).get_object(Bucket="attic", Key=f"b {size}", **extra)
                assert answer["Body"].read() == (room / "in").read_bytes(), size
with job.step("a context that is missing is refused by ours"):
    theirs("V3").put_object(Bucket="attic", Key="c", Body=b"x", EncryptionContext={"a": "b"})
    said = ""
    try:
        ours("get", "V3", "c", job.room() / "out", {})
    except RuntimeError as error:
        said = str(error)
    assert "WrongKey" in said, said
