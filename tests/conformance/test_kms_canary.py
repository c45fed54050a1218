"""Marked plaintexts and the master key go through the KMS; afterwards no file and no log has them."""

import base64
import secrets

import pytest
from botocore import exceptions

MARK = b"\xfb\xef\xbe\xff"
"""Begins the secrets, so that their base64 has + and / and their forms differ."""


@pytest.fixture
def secret_bytes():
    return MARK + secrets.token_bytes(40)


def forms(raw):
    encoded = base64.b64encode(raw).decode().rstrip("=")
    return {
        "raw": raw,
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "base64": encoded.encode(),
        "base64url": base64.urlsafe_b64encode(raw).rstrip(b"="),
        "json": encoded.replace("/", "\\/").encode(),
        "first half": raw[: len(raw) // 2],
    }


def test_no_plaintext_of_the_kms_and_no_master_key_is_written_anywhere(
    server, master_key, secret_bytes
):
    kms = server.boto3_client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    sealed = kms.encrypt(KeyId=key, Plaintext=secret_bytes, EncryptionContext={"place": "attic"})[
        "CiphertextBlob"
    ]
    made = kms.generate_data_key(KeyId=key, KeySpec="AES_256")["Plaintext"]
    pair = kms.generate_data_key_pair(KeyId=key, KeyPairSpec="ECC_NIST_P256")
    opened = kms.decrypt(CiphertextBlob=sealed, EncryptionContext={"place": "attic"})
    mac = kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]
    kms.generate_mac(KeyId=mac["KeyId"], Message=secret_bytes, MacAlgorithm="HMAC_SHA_256")
    for call, options in (
        (kms.encrypt, {"KeyId": "fake", "Plaintext": secret_bytes}),
        (kms.decrypt, {"CiphertextBlob": secret_bytes}),
        (kms.encrypt, {"KeyId": mac["KeyId"], "Plaintext": secret_bytes}),
    ):
        with pytest.raises(exceptions.ClientError):
            call(**options)
    assert opened["Plaintext"] == secret_bytes

    places = {str(path): path.read_bytes() for path in server.data_dir.rglob("*") if path.is_file()}
    places["log"] = server.log_text().encode()
    wanted = {
        "plaintext": secret_bytes,
        "data key": made,
        "private key": pair["PrivateKeyPlaintext"],
        "master key": base64.b64decode(master_key),
    }

    assert len(places) > 3
    found = [
        (place, name, form)
        for place, data in places.items()
        for name, raw in wanted.items()
        for form, needle in forms(raw).items()
        if needle in data
    ]
    assert found == []
