"""Handlers that use keys."""

from __future__ import annotations

from strongroom.crypto import secret
from strongroom.dialects.kms.aws import shown
from strongroom.dialects.kms.services import Call, Result, handles
from strongroom.dialects.operation import Refused
from strongroom.keyring import key_blobs, key_specs, kms

_DATA_KEY_BYTES = {"AES_128": 16, "AES_256": 32}


@handles("Encrypt")
async def encrypt(call: Call) -> Result:
    params = call.params
    algorithm = params.get("EncryptionAlgorithm", key_specs.SYMMETRIC)
    made = await call.services.pairs.encrypt(
        params["KeyId"],
        secret.SecretKey(params["Plaintext"]),
        params.get("EncryptionContext", {}),
        call.caller,
        algorithm=algorithm,
    )
    shown.dry(call)
    return {
        "CiphertextBlob": made.ciphertext,
        "KeyId": made.key_arn,
        "EncryptionAlgorithm": algorithm,
    }


@handles("Decrypt")
async def decrypt(call: Call) -> Result:
    shown.refuse_recipient(call)
    params = call.params
    algorithm = params.get("EncryptionAlgorithm", key_specs.SYMMETRIC)
    found = await call.services.pairs.decrypt(
        _ciphertext(call),
        params.get("EncryptionContext", {}),
        call.caller,
        reference=params.get("KeyId"),
        algorithm=algorithm,
    )
    shown.dry(call)
    return {
        "Plaintext": found.plaintext.reveal(),
        "KeyId": found.key_arn,
        "EncryptionAlgorithm": algorithm,
        "KeyMaterialId": _material_id(found.ciphertext, algorithm),
    }


@handles("ReEncrypt")
async def re_encrypt(call: Call) -> Result:
    params = call.params
    source = params.get("SourceEncryptionAlgorithm", key_specs.SYMMETRIC)
    target = params.get("DestinationEncryptionAlgorithm", key_specs.SYMMETRIC)
    found = await call.services.pairs.decrypt(
        _ciphertext(call),
        params.get("SourceEncryptionContext", {}),
        call.caller,
        reference=params.get("SourceKeyId"),
        algorithm=source,
        action="ReEncryptFrom",
    )
    made = await call.services.pairs.encrypt(
        params["DestinationKeyId"],
        found.plaintext,
        params.get("DestinationEncryptionContext", {}),
        call.caller,
        algorithm=target,
        action="ReEncryptTo",
    )
    shown.dry(call)
    return {
        "CiphertextBlob": made.ciphertext,
        "SourceKeyId": found.key_arn,
        "KeyId": made.key_arn,
        "SourceEncryptionAlgorithm": source,
        "DestinationEncryptionAlgorithm": target,
        "SourceKeyMaterialId": _material_id(found.ciphertext, source),
        "DestinationKeyMaterialId": _material_id(made.ciphertext, target),
    }


@handles("GenerateDataKey")
async def generate_data_key(call: Call) -> Result:
    shown.refuse_recipient(call)
    made = await _data_key(call, "GenerateDataKey")
    return {
        "CiphertextBlob": made.ciphertext,
        "Plaintext": made.plaintext.reveal(),
        "KeyId": made.key_arn,
        "KeyMaterialId": _material_id(made.ciphertext, key_specs.SYMMETRIC),
    }


@handles("GenerateDataKeyWithoutPlaintext")
async def generate_data_key_without_plaintext(call: Call) -> Result:
    made = await _data_key(call, "GenerateDataKeyWithoutPlaintext")
    return {
        "CiphertextBlob": made.ciphertext,
        "KeyId": made.key_arn,
        "KeyMaterialId": _material_id(made.ciphertext, key_specs.SYMMETRIC),
    }


@handles("GenerateDataKeyPair")
async def generate_data_key_pair(call: Call) -> Result:
    shown.refuse_recipient(call)
    return await _pair(call, "GenerateDataKeyPair", with_plaintext=True)


@handles("GenerateDataKeyPairWithoutPlaintext")
async def generate_data_key_pair_without_plaintext(call: Call) -> Result:
    return await _pair(call, "GenerateDataKeyPairWithoutPlaintext", with_plaintext=False)


@handles("GenerateRandom")
async def generate_random(call: Call) -> Result:
    shown.refuse_recipient(call)
    if "CustomKeyStoreId" in call.params:
        raise Refused("UnsupportedOperationException", "There are no custom key stores here.")
    if "NumberOfBytes" not in call.params:
        raise Refused("ValidationException", "NumberOfBytes is required.")
    return {"Plaintext": call.services.pairs.random(call.params["NumberOfBytes"]).reveal()}


@handles("Sign")
async def sign(call: Call) -> Result:
    params = call.params
    arn, made = await call.services.pairs.sign(
        params["KeyId"],
        params["Message"],
        call.caller,
        algorithm=params["SigningAlgorithm"],
        digested=_is_digest(call),
    )
    shown.dry(call)
    return {"KeyId": arn, "Signature": made, "SigningAlgorithm": params["SigningAlgorithm"]}


@handles("Verify")
async def verify(call: Call) -> Result:
    params = call.params
    arn = await call.services.pairs.verify(
        params["KeyId"],
        params["Message"],
        params["Signature"],
        call.caller,
        algorithm=params["SigningAlgorithm"],
        digested=_is_digest(call),
    )
    shown.dry(call)
    return {"KeyId": arn, "SignatureValid": True, "SigningAlgorithm": params["SigningAlgorithm"]}


@handles("GetPublicKey")
async def get_public_key(call: Call) -> Result:
    found = await call.services.pairs.public(call.params["KeyId"], call.caller)
    key = found.key
    return {
        "KeyId": found.key_arn,
        "PublicKey": found.der,
        "CustomerMasterKeySpec": key.spec,
        "KeySpec": key.spec,
        "KeyUsage": key.usage,
        shown.ALGORITHMS[key.usage]: list(key_specs.find(key.spec).algorithms(key.usage)),
    }


@handles("GenerateMac")
async def generate_mac(call: Call) -> Result:
    params = call.params
    arn, made = await call.services.pairs.mac(
        params["KeyId"], params["Message"], call.caller, algorithm=params["MacAlgorithm"]
    )
    shown.dry(call)
    return {"Mac": made, "MacAlgorithm": params["MacAlgorithm"], "KeyId": arn}


@handles("VerifyMac")
async def verify_mac(call: Call) -> Result:
    params = call.params
    arn = await call.services.pairs.verify_mac(
        params["KeyId"],
        params["Message"],
        params["Mac"],
        call.caller,
        algorithm=params["MacAlgorithm"],
    )
    shown.dry(call)
    return {"KeyId": arn, "MacValid": True, "MacAlgorithm": params["MacAlgorithm"]}


async def _data_key(call: Call, action: str) -> kms.DataKey:
    params = call.params
    if ("KeySpec" in params) == ("NumberOfBytes" in params):
        raise Refused(
            "ValidationException",
            "Please specify either number of bytes or key spec.",
        )
    size = params.get("NumberOfBytes") or _DATA_KEY_BYTES[params["KeySpec"]]
    made = await call.services.kms.generate_data_key(
        params["KeyId"], params.get("EncryptionContext", {}), call.caller, size=size, action=action
    )
    shown.dry(call)
    return made


async def _pair(call: Call, action: str, *, with_plaintext: bool) -> Result:
    params = call.params
    made = await call.services.pairs.pair(
        params["KeyId"],
        params.get("EncryptionContext", {}),
        call.caller,
        spec=params["KeyPairSpec"],
        action=action,
    )
    shown.dry(call)
    reply: Result = {
        "PrivateKeyCiphertextBlob": made.private.ciphertext,
        "PublicKey": made.public_der,
        "KeyId": made.private.key_arn,
        "KeyPairSpec": params["KeyPairSpec"],
        "KeyMaterialId": _material_id(made.private.ciphertext, key_specs.SYMMETRIC),
    }
    if with_plaintext:
        reply["PrivateKeyPlaintext"] = made.private.plaintext.reveal()
    return reply


def _ciphertext(call: Call) -> bytes:
    found: bytes | None = call.params.get("CiphertextBlob")
    if found is None:
        raise Refused("ValidationException", "CiphertextBlob is required.")
    return found


def _is_digest(call: Call) -> bool:
    kind = call.params.get("MessageType", "RAW")
    if kind not in ("RAW", "DIGEST"):
        raise Refused("ValidationException", f"MessageType {kind} is not for these algorithms.")
    return bool(kind == "DIGEST")


def _material_id(ciphertext: bytes, algorithm: str) -> str | None:
    """Return the id of the material that a ciphertext is under; RSA ciphertexts name none."""
    if algorithm != key_specs.SYMMETRIC:
        return None
    header = key_blobs.read(ciphertext)
    return kms.material_id(header.key_id, header.version)
