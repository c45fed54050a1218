# /// script
# requires-python = ">=3.11"
# dependencies = ["alibabacloud-oss-v2"]
# ///
"""alibabacloud-oss-v2: what its EncryptionClient writes ours opens, and the other way round.

Against a stand-in: no OSS dialect is served yet.
"""

import base64

import alibabacloud_oss_v2 as oss
import doubles
import rig
from alibabacloud_oss_v2 import crypto
from alibabacloud_oss_v2.encryption_client import EncryptionClient
from Crypto.PublicKey import RSA

job = rig.Rig()
job.client("alibabacloud-oss-v2", oss.__version__ if hasattr(oss, "__version__") else "")
store = doubles.Oss()
pair = RSA.generate(2048)
PRIVATE, PUBLIC = pair.export_key().decode(), pair.publickey().export_key().decode()
DESCRIPTION = {"n": "1"}
SIZES = [0, 1, 15, 16, 17, 5000, 300_001]
PART = 102_400


def text(data: bytes) -> str:
    """Return base64."""
    return base64.b64encode(data).decode()


def client() -> EncryptionClient:
    """Return their client."""
    config = oss.config.load_default()
    config.credentials_provider = oss.credentials.StaticCredentialsProvider("id", "secret")
    config.region = "cn-hangzhou"
    config.endpoint = store.url
    config.use_path_style = True
    cipher = crypto.MasterRsaCipher(mat_desc=DESCRIPTION, public_key=PUBLIC, private_key=PRIVATE)
    return EncryptionClient(oss.Client(config), cipher)


def opened(key: str) -> bytes:
    """Let ours open what lies there."""
    headers, body = store.objects[f"/attic/{key}"]
    told = job.ours(
        do="open", headers=headers, body=text(body), pem=PRIVATE, description=DESCRIPTION
    )
    return base64.b64decode(told["plain"])


with job.step("it puts, ours opens"):
    for size in SIZES:
        plain = bytes(range(256)) * (size // 256) + bytes(size % 256)
        client().put_object(oss.PutObjectRequest(bucket="attic", key=f"a{size}", body=plain))
        assert opened(f"a{size}") == plain, size
with job.step("ours seals, it gets"):
    for size in SIZES:
        plain = bytes(range(256)) * (size // 256) + bytes(size % 256)
        told = job.ours(
            do="seal", format="oss-v2", pem=PRIVATE, plain=text(plain), description=DESCRIPTION
        )
        headers = {f"x-oss-meta-{name}": value for name, value in told["envelope"].items()}
        store.objects[f"/attic/b{size}"] = (headers, base64.b64decode(told["body"]))
        answer = client().get_object(oss.GetObjectRequest(bucket="attic", key=f"b{size}"))
        assert b"".join(answer.body.iter_bytes()) == plain, size
with job.step("it uploads parts, ours opens"):
    plain = bytes(range(251)) * 1000
    there = client()
    begun = there.initiate_multipart_upload(
        oss.InitiateMultipartUploadRequest(
            bucket="attic", key="c", cse_part_size=PART, cse_data_size=len(plain)
        )
    )
    parts = []
    for number, at in enumerate(range(0, len(plain), PART), 1):
        done = there.upload_part(
            oss.UploadPartRequest(
                bucket="attic",
                key="c",
                upload_id=begun.upload_id,
                part_number=number,
                cse_multipart_context=begun.cse_multipart_context,
                body=plain[at : at + PART],
            )
        )
        parts.append(oss.UploadPart(part_number=number, etag=done.etag))
    there.complete_multipart_upload(
        oss.CompleteMultipartUploadRequest(
            bucket="attic",
            key="c",
            upload_id=begun.upload_id,
            complete_multipart_upload=oss.CompleteMultipartUpload(parts=parts),
        )
    )
    assert opened("c") == plain
