"""Our half of a client-side encryption test, in an environment that strongroom is installed in.

Clients of strangers pin other versions of `cryptography` than ours needs, so what ours has to
do for their scripts is asked for on standard input, as JSON, and answered on standard output.

    {"do": "seal", "format": …, "pem"/"aes"/"kms": …, "plain": BASE64, "parts": SIZE}
    {"do": "open", "headers": …, "body": BASE64, "pem"/"aes"/"kms": …, "context": …}
    {"do": "put"/"get", "s3": …, "bucket": …, "key": …, …}
"""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import Any

import boto3

from strongroom.client import AesKey, KmsKey, RsaKey, open_sealed, s3, seal


def main() -> None:
    """Do one thing."""
    asked = json.load(sys.stdin)
    json.dump(DOES[asked.pop("do")](asked), sys.stdout)


def _seal(asked: dict[str, Any]) -> dict[str, Any]:
    plain = base64.b64decode(asked["plain"])
    sealing = seal(
        _key(asked),
        asked["format"],
        part_bytes=asked.get("parts"),
        data_size=len(plain) if asked.get("parts") else None,
        multipart=bool(asked.get("parts")),
        oaep=asked.get("oaep", False),
    )
    size = sealing.part_plain
    pieces = [plain[at : at + size] for at in range(0, len(plain) or 1, size)]
    body = b"".join(
        sealing.seal_part(number, piece, last=number == len(pieces))
        for number, piece in enumerate(pieces, 1)
    )
    return {"envelope": sealing.envelope, "body": base64.b64encode(body).decode()}


def _open(asked: dict[str, Any]) -> dict[str, Any]:
    body = base64.b64decode(asked["body"])
    plain = open_sealed(asked["headers"], body, _key(asked), context=asked.get("context"))
    return {"plain": base64.b64encode(plain).decode()}


def _put(asked: dict[str, Any]) -> dict[str, Any]:
    client = _client(asked)
    extra = {"EncryptionContext": asked["context"]} if asked.get("context") else {}
    client.upload_file(asked["path"], asked["bucket"], asked["key"], ExtraArgs=extra)
    return {}


def _get(asked: dict[str, Any]) -> dict[str, Any]:
    client = _client(asked)
    extra = {"EncryptionContext": asked["context"]} if asked.get("context") else {}
    client.download_file(asked["bucket"], asked["key"], asked["path"], ExtraArgs=extra)
    return {}


def _client(asked: dict[str, Any]) -> s3.EncryptedClient:
    return s3.EncryptedClient(
        boto3.client("s3", **asked["s3"]), _key(asked), **asked.get("options", {})
    )


def _key(asked: dict[str, Any]) -> AesKey | KmsKey | RsaKey:
    description = asked.get("description")
    if "pem" in asked:
        return RsaKey(asked["pem"], description=description)
    if "kms" in asked:
        return KmsKey(boto3.client("kms", **asked["kms"]), asked["key_id"])
    return AesKey(base64.b64decode(asked["aes"]), description)


DOES = {"seal": _seal, "open": _open, "put": _put, "get": _get}

if __name__ == "__main__":
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    main()
