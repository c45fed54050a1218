import base64
import functools
import hashlib
import json
import pathlib
import types

import pytest

from strongroom import errors
from strongroom.client import AesKey, AlibabaKms, AwsKms, KmsKey, RsaKey

VECTORS = pathlib.Path(__file__).parents[1] / "vectors/cse"


class TableOfAws:
    """KMS of AWS that knows what a vector recorded."""

    def __init__(self, records):
        self._records = records

    def decrypt(self, *, CiphertextBlob, EncryptionContext, KeyId=None):  # noqa: N803 - boto3's names
        for record in self._records:
            same = base64.b64decode(record["ciphertext"]) == CiphertextBlob
            if same and record["context"] == EncryptionContext and KeyId == record["key_id"]:
                return {"Plaintext": base64.b64decode(record["plaintext"])}
        raise errors.WrongKey("not in the table")

    def generate_data_key(self, **_kwargs):
        raise AssertionError("reading makes no keys")

    encrypt = generate_data_key


def table_of_alibaba(records):
    def call(action, params):
        assert action == "Decrypt"
        for record in records:
            asked = (params["CiphertextBlob"], params.get("EncryptionContext", ""))
            if (record["ciphertext"], record["context"]) == asked:
                return {"Plaintext": record["plaintext"]}
        raise errors.WrongKey("not in the table")

    return call


def key_of(entry, kms):
    description = entry.get("mat_desc")
    if entry["type"] == "rsa":
        return RsaKey(
            entry["private_key_pem"],
            entry.get("public_key_pem"),
            passphrase=entry.get("passphrase"),
            description=description,
        )
    if entry["type"] == "aes":
        return AesKey(base64.b64decode(entry["key_b64"]), description)
    if entry["type"] == "aws-kms":
        service = AwsKms(TableOfAws(kms["records"]))
        return KmsKey(service, entry["key_id"], description=description)
    service = AlibabaKms(table_of_alibaba(kms["records"]))
    context = entry["encryption_context"]
    return KmsKey(service, entry["key_id"], context=context, description=description)


def generated(seed, size):
    blocks = -(-size // 32)
    whole = b"".join(
        hashlib.sha256(seed.encode() + index.to_bytes(8, "big")).digest() for index in range(blocks)
    )
    return whole[:size]


@functools.cache
def load(path):
    found = json.loads(path.read_text("utf-8"))
    table = found["stored"]
    context = next(
        (key["encryption_context"] for key in found["master_keys"] if key["type"] == "aws-kms"),
        None,
    )
    return types.SimpleNamespace(
        name=found["vector"],
        format=found["format"],
        headers=table["headers"],
        body=base64.b64decode(table["body_b64"]),
        instruction=table.get("instruction_file"),
        keys=[key_of(entry, found["kms"]) for entry in found["master_keys"]],
        context=context or None,
        size=found["plaintext"]["size"],
        sha256=found["plaintext"]["sha256"],
        reads=found["reads"],
        expect_error=found.get("expect_error"),
        data_key=base64.b64decode(found["secrets"]["data_key"]) if found.get("secrets") else b"",
    )


PATHS = sorted(VECTORS.glob("*.json"))


@pytest.fixture(scope="session")
def rsa_pem():
    """A pair that vectors use: making one takes a second."""
    found = json.loads((VECTORS / "oss2-v2-rsa-pkcs1-100.json").read_text("utf-8"))
    return found["master_keys"][0]["private_key_pem"]


def pytest_generate_tests(metafunc):
    """Give every vector, or those that must open or fail, to whoever asks for one."""
    for name, wanted in (("vector", None), ("good_vector", False), ("bad_vector", True)):
        if name in metafunc.fixturenames:
            vectors = [load(path) for path in PATHS]
            chosen = [
                vector
                for vector in vectors
                if wanted is None or bool(vector.expect_error) == wanted
            ]
            metafunc.parametrize(name, chosen, ids=[vector.name for vector in chosen])
