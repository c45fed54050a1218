# /// script
# requires-python = ">=3.11"
# dependencies = ["boto3[crt]"]
# ///
"""boto3: every checksum algorithm by trailer and by header; both transfer managers."""

import base64
import hashlib
import os
import urllib.error
from typing import Any

import boto3
import botocore
import rig
from boto3.s3.transfer import TransferConfig
from botocore import httpchecksum
from botocore.config import Config

job = rig.Rig()
job.client("boto3", boto3.__version__)
# The CRT transfer manager makes a client of its own, which knows nothing of the first
# one's endpoint and CA.
os.environ |= {"AWS_ENDPOINT_URL": job.endpoint, "SSL_CERT_FILE": job.ca}
SSE = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": job.key}
SOURCE = {f"CopySource{name}": value for name, value in SSE.items()}
MIB = 1024 * 1024
COMPUTED = httpchecksum._CHECKSUM_CLS  # noqa: SLF001 - nothing else tells which it computes


def connect(**config: Any) -> Any:
    """Return a client."""
    return boto3.session.Session().client(
        "s3",
        endpoint_url=job.endpoint,
        verify=job.ca,
        region_name=job.region,
        aws_access_key_id=job.access_key,
        aws_secret_access_key=job.secret_key,
        config=Config(**{"s3": {"addressing_style": "path"}} | config),
    )


s3 = connect()
s3.create_bucket(Bucket="attic")
shape = s3.meta.service_model.shape_for("ChecksumAlgorithm")
PARTS = [b"a" * 5 * MIB, b"b" * 5 * MIB, b"c" * 17]
WHOLE = b"".join(PARTS)


def digest(algorithm: str, data: bytes) -> str:
    """Return the checksum as botocore computes it."""
    if algorithm == "MD5":
        return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    return COMPUTED[algorithm.lower()]().handle(data)


def needs(algorithm: str) -> None:
    """Skip what botocore does not compute on its way."""
    if algorithm.lower() not in COMPUTED:
        raise rig.Skipped(f"botocore {botocore.__version__} does not compute {algorithm}")


for algorithm in shape.enum:
    member = f"Checksum{algorithm}"
    for title, options in (("", {}), (", customer key", SSE)):
        with job.step(f"{algorithm} by trailer{title}"):
            needs(algorithm)
            expected = digest(algorithm, WHOLE)
            put = s3.put_object(
                Bucket="attic", Key="trailer", Body=WHOLE, ChecksumAlgorithm=algorithm, **options
            )
            assert put[member] == expected, put
            got = s3.get_object(Bucket="attic", Key="trailer", ChecksumMode="ENABLED", **options)
            assert got["Body"].read() == WHOLE
            assert got[member] == expected
        with job.step(f"{algorithm} by header{title}"):
            expected = digest(algorithm, WHOLE)
            put = s3.put_object(
                Bucket="attic", Key="header", Body=WHOLE, **{member: expected}, **options
            )
            assert put[member] == expected, put
            wrong = {member: digest(algorithm, b"something else")}
            told = ""
            try:
                s3.put_object(Bucket="attic", Key="header", Body=WHOLE, **wrong, **options)
            except s3.exceptions.ClientError as error:
                told = error.response["Error"]["Code"]
            assert told == "BadDigest", f"a wrong checksum is answered with {told!r}"
    with job.step(f"{algorithm} of a multipart upload under a customer key"):
        needs(algorithm)
        at = {"Bucket": "attic", "Key": "parts"}
        begun = s3.create_multipart_upload(**at, ChecksumAlgorithm=algorithm, **SSE)
        at["UploadId"] = begun["UploadId"]
        done = [
            s3.upload_part(**at, PartNumber=n, Body=part, ChecksumAlgorithm=algorithm, **SSE)
            for n, part in enumerate(PARTS, 1)
        ]
        named = [
            {"PartNumber": n, "ETag": part["ETag"], member: part[member]}
            for n, part in enumerate(done, 1)
        ]
        completed = s3.complete_multipart_upload(**at, MultipartUpload={"Parts": named})
        got = s3.get_object(Bucket="attic", Key="parts", ChecksumMode="ENABLED", **SSE)
        assert got["Body"].read() == WHOLE
        assert got[member] == completed[member]
        if completed["ChecksumType"] == "FULL_OBJECT":
            assert completed[member] == digest(algorithm, WHOLE)

for title, client in (
    ("boto3's transfer manager", s3),
    ("checksums only when required", connect(request_checksum_calculation="when_required")),
    ("signed bodies", connect(s3={"payload_signing_enabled": True, "addressing_style": "path"})),
):
    with job.step(f"tree up and down under a customer key, {title}"):
        there = job.room()
        for name in rig.files(job.tree):
            client.upload_file(str(job.tree / name), "attic", f"tree/{name}", ExtraArgs=SSE)
        for name in rig.files(job.tree):
            (there / name).parent.mkdir(parents=True, exist_ok=True)
            client.download_file("attic", f"tree/{name}", str(there / name), ExtraArgs=SSE)
        job.assert_same(there, job.tree)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket="attic", Prefix="tree/")
        keys = [found["Key"] for page in pages for found in page["Contents"]]
        assert sorted(keys) == sorted(f"tree/{name}" for name in rig.files(job.tree))

with job.step("tree up and down under a customer key, CRT transfer manager"):
    # Copies of the options, since s3transfer writes into what it is given.
    crt = TransferConfig(preferred_transfer_client="crt")
    there = job.room()
    for name in rig.files(job.tree):
        s3.upload_file(str(job.tree / name), "attic", f"crt/{name}", dict(SSE), Config=crt)
    for name in rig.files(job.tree):
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        s3.download_file("attic", f"crt/{name}", str(there / name), dict(SSE), Config=crt)
    job.assert_same(there, job.tree)

with job.step("managed copy of a large object from key to key"):
    other = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": job.other_key}
    large = max(rig.files(job.tree), key=lambda name: (job.tree / name).stat().st_size)
    s3.copy({"Bucket": "attic", "Key": f"tree/{large}"}, "attic", "copy", ExtraArgs=SOURCE | other)
    target = job.room() / "copy"
    s3.download_file("attic", "copy", str(target), ExtraArgs=other)
    assert target.read_bytes() == (job.tree / large).read_bytes()

with job.step("presigned GET and PUT, with the customer key sent by who uses them"):
    headers = {
        "x-amz-server-side-encryption-customer-algorithm": "AES256",
        "x-amz-server-side-encryption-customer-key": job.key_base64,
        "x-amz-server-side-encryption-customer-key-MD5": job.key_md5,
    }
    at = {"Bucket": "attic", "Key": "a + b/ü?", "SSECustomerAlgorithm": "AES256"}
    v4 = connect(signature_version="s3v4")
    put = v4.generate_presigned_url("put_object", Params=at)
    job.fetch(put, method="PUT", data=b"presigned", headers=headers)
    get = v4.generate_presigned_url("get_object", Params=at)
    assert job.fetch(get, headers=headers) == b"presigned"
    try:
        job.fetch(get)
    except urllib.error.HTTPError as error:
        error.close()
    else:
        raise AssertionError("read without the key")

with job.step("range requests and seeks over the largest object"):
    got = s3.get_object(Bucket="attic", Key=f"tree/{large}", Range="bytes=-70000", **SSE)
    expected = (job.tree / large).read_bytes()[-70000:]
    assert hashlib.sha256(got["Body"].read()).digest() == hashlib.sha256(expected).digest()
    assert base64.b64decode(got["SSECustomerKeyMD5"]) == base64.b64decode(job.key_md5)
