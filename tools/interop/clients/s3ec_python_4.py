"""AWS's S3 Encryption Client for Python: V3 and V2 under a KMS key, with and without a context."""
# /// script
# dependencies = ["amazon-s3-encryption-client-python==4.0.0"]
# ///

import boto3
import plaintexts
import rig
from s3_encryption import S3EncryptionClient, S3EncryptionClientConfig
from s3_encryption.materials.kms_keyring import KmsKeyring
from s3_encryption.materials.materials import AlgorithmSuite, CommitmentPolicy


def plain_client(server, service):
    return boto3.client(
        service,
        endpoint_url=server[service],
        region_name="us-east-1",
        aws_access_key_id=server["access_key"],
        aws_secret_access_key=server["secret_key"],
        verify=server["ca"],
    )


def client(run, kind):
    keyring = KmsKeyring(plain_client(run.server, "kms"), run.keys["kms"]["key_id"])
    if kind == "s3-v3":
        config = S3EncryptionClientConfig(keyring=keyring)
    else:
        config = S3EncryptionClientConfig(
            keyring=keyring,
            encryption_algorithm=AlgorithmSuite.ALG_AES_256_GCM_IV12_TAG16_NO_KDF,
            commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT,
        )
    return S3EncryptionClient(plain_client(run.server, "s3"), config)


def contexts():
    return (("", {}), ("-context", {"EncryptionContext": {"purpose": "archive", "n": "1"}}))


def write(run):
    bucket = run.server["bucket"]
    for kind in ("s3-v3", "s3-v2"):
        for label, context in contexts():
            for size in (0, 1, 16, 100_000):
                case = f"s3ec-{kind}{label}-{size}"
                with run.step(f"writes {case}"):
                    body = plaintexts.make(case, size)
                    client(run, kind).put_object(Bucket=bucket, Key=case, Body=body, **context)
                    run.put(
                        case,
                        None,
                        b"",
                        size=size,
                        keys=["kms"],
                        context=context.get("EncryptionContext"),
                    )


def read(run):
    for name, (about, _) in run.objects().items():
        if about["format"] not in ("s3-v2", "s3-v3"):
            continue
        if about["keys"][0] != "kms":
            run.say(f"reads {name}", "cannot", "its only keyring is that of KMS")
            continue
        extra = {"EncryptionContext": about["context"]} if about["context"] else {}
        with run.step(f"reads {name}"):
            answer = client(run, about["format"]).get_object(
                Bucket=run.server["bucket"], Key=name, **extra
            )
            run.expect(name, about["size"], answer["Body"].read())


def main():
    run = rig.Rig("4.0.0")
    {"write": write, "read": read}[run.phase](run)


main()
