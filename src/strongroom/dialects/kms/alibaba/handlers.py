"""Handlers. Plaintexts are text here, which comes back exactly as it was sent.

Source: Alibaba Cloud KMS, API version 2016-01-20.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.crypto import secret
from strongroom.dialects.kms.alibaba import signature
from strongroom.dialects.kms.services import Call, Result, handles
from strongroom.dialects.operation import Refused
from strongroom.keyring import key_blobs, key_specs, kms, kms_keys
from strongroom.keyring.key_blobs import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

_DATA_KEY_BYTES = {"AES_128": 16, "AES_256": 32, "": kms.DATA_KEY_BYTES}
_MAX_PAGE = 101
_USAGES = {"": None, "ENCRYPT/DECRYPT": key_specs.ENCRYPT_DECRYPT}
_STATES = {"PendingDeletion": "PendingDeletion", "Enabled": "Enabled", "Disabled": "Disabled"}


@handles("GenerateDataKey")
async def generate_data_key(call: Call) -> Result:
    made = await _data_key(call, "GenerateDataKey")
    return {**_named(made), "Plaintext": made.plaintext.reveal().decode(), **_blob(made)}


@handles("GenerateDataKeyWithoutPlaintext")
async def generate_data_key_without_plaintext(call: Call) -> Result:
    made = await _data_key(call, "GenerateDataKeyWithoutPlaintext")
    return {**_named(made), **_blob(made)}


@handles("Encrypt")
async def encrypt(call: Call) -> Result:
    _refuse_dry_run(call)
    kind, context = _context(call, "EncryptionContext")
    made = await call.services.kms.encrypt(
        _required(call, "KeyId"),
        secret.SecretKey(call.params.get("Plaintext", b"")),
        context,
        call.caller,
        kind=kind,
    )
    return {**_named(made), **_blob(made)}


@handles("Decrypt")
async def decrypt(call: Call) -> Result:
    _refuse_dry_run(call)
    kind, context = _context(call, "EncryptionContext")
    found = await call.services.kms.decrypt(_ciphertext(call), context, call.caller, kind=kind)
    return {**_named(found), "Plaintext": _text(found.plaintext.reveal())}


@handles("ReEncrypt")
async def re_encrypt(call: Call) -> Result:
    _refuse_dry_run(call)
    kind, context = _context(call, "SourceEncryptionContext")
    found = await call.services.kms.decrypt(
        _ciphertext(call), context, call.caller, kind=kind, action="ReEncryptFrom"
    )
    kind, context = _context(call, "DestinationEncryptionContext")
    made = await call.services.kms.encrypt(
        _required(call, "DestinationKeyId"),
        found.plaintext,
        context,
        call.caller,
        kind=kind,
        action="ReEncryptTo",
    )
    return {**_named(made), **_blob(made)}


@handles("CreateKey")
async def create_key(call: Call) -> Result:
    usage = _parameter(call, "KeyUsage")
    if usage not in _USAGES or _parameter(call, "KeySpec") not in ("", "Aliyun_AES_256"):
        raise Refused("InvalidParameter", "Keys made here are Aliyun_AES_256, ENCRYPT/DECRYPT.")
    info = await call.services.keys.create(
        call.caller, usage=_USAGES[usage], description=_parameter(call, "Description")
    )
    return {"KeyMetadata": _metadata(info)}


@handles("DescribeKey")
async def describe_key(call: Call) -> Result:
    info = await call.services.kms.describe(_required(call, "KeyId"), call.caller)
    return {"KeyMetadata": _metadata(info)}


@handles("ListKeys")
async def list_keys(call: Call) -> Result:
    number, size = _number(call, "PageNumber", 1), _number(call, "PageSize", 10)
    if number < 1 or not 1 <= size < _MAX_PAGE:
        raise Refused("InvalidParameter", "PageNumber is 1 at least, PageSize 1 to 100.")
    # Alibaba counts all keys, so all are looked at; a KMS has hundreds and not millions.
    found: list[kms.KeyInfo] = []
    while page := await call.services.keys.list(
        call.caller, after=found[-1].key.key_id if found else "", limit=1000
    ):
        found += page
    shown = found[(number - 1) * size : number * size]
    return {
        "Keys": {"Key": [{"KeyId": info.key.key_id, "KeyArn": info.arn} for info in shown]},
        "PageNumber": number,
        "PageSize": size,
        "TotalCount": len(found),
    }


@handles("EnableKey")
async def enable_key(call: Call) -> Result:
    await call.services.keys.set_enabled(_required(call, "KeyId"), call.caller, enabled=True)
    return {}


@handles("DisableKey")
async def disable_key(call: Call) -> Result:
    await call.services.keys.set_enabled(_required(call, "KeyId"), call.caller, enabled=False)
    return {}


@handles("ScheduleKeyDeletion")
async def schedule_key_deletion(call: Call) -> Result:
    days = _number(call, "PendingWindowInDays", kms_keys.DEFAULT_DELETION_DAYS)
    await call.services.keys.schedule_deletion(_required(call, "KeyId"), call.caller, days)
    return {}


@handles("CancelKeyDeletion")
async def cancel_key_deletion(call: Call) -> Result:
    await call.services.keys.cancel_deletion(_required(call, "KeyId"), call.caller)
    return {}


@handles("CreateAlias")
async def create_alias(call: Call) -> Result:
    await call.services.keys.create_alias(
        _required(call, "AliasName"), _required(call, "KeyId"), call.caller
    )
    return {}


@handles("DeleteAlias")
async def delete_alias(call: Call) -> Result:
    await call.services.keys.delete_alias(_required(call, "AliasName"), call.caller)
    return {}


async def _data_key(call: Call, action: str) -> kms.DataKey:
    """Make a data key whose plaintext is the base64 of random bytes, as text."""
    _refuse_dry_run(call)
    spec = _parameter(call, "KeySpec")
    if spec not in _DATA_KEY_BYTES:
        raise Refused("InvalidParameter", "KeySpec is AES_256 or AES_128.")
    # Clients send both; the number is the more exact.
    size = _number(call, "NumberOfBytes", _DATA_KEY_BYTES[spec])
    if not 1 <= size <= kms.MAX_DATA_KEY_BYTES:
        raise Refused("InvalidParameter", f"NumberOfBytes is 1 to {kms.MAX_DATA_KEY_BYTES}.")
    raw = call.services.pairs.random(size)
    kind, context = _context(call, "EncryptionContext")
    return await call.services.kms.encrypt(
        _required(call, "KeyId"),
        secret.SecretKey(base64.b64encode(raw.reveal())),
        context,
        call.caller,
        kind=kind,
        action=action,
    )


def _named(made: kms.DataKey) -> Result:
    header = key_blobs.read(made.ciphertext)
    version = kms.material_id(header.key_id, header.version)
    return {"KeyId": header.key_id, "KeyVersionId": str(uuid.UUID(hex=version[:32]))}


def _blob(made: kms.DataKey) -> Result:
    return {"CiphertextBlob": base64.b64encode(made.ciphertext).decode()}


def _metadata(info: kms.KeyInfo) -> Result:
    key = info.key
    material = kms.material_id(key.key_id, key.version)
    return {
        "KeyId": key.key_id,
        "Arn": info.arn,
        "CreationDate": _moment(key.created_ms),
        "Description": key.description,
        "KeyState": _STATES[info.state],
        "KeyUsage": "ENCRYPT/DECRYPT" if key.usage == key_specs.ENCRYPT_DECRYPT else key.usage,
        "KeySpec": "Aliyun_AES_256" if key.spec == key_specs.SYMMETRIC else key.spec,
        "DeleteDate": _moment(key.deletion_ms) if key.deletion_ms else "",
        "Origin": "Aliyun_KMS",
        "ProtectionLevel": "SOFTWARE",
        "PrimaryKeyVersion": str(uuid.UUID(hex=material[:32])),
    }


def _moment(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _parameter(call: Call, name: str) -> str:
    return signature.text(call.params, name)


def _required(call: Call, name: str) -> str:
    found = _parameter(call, name)
    if not found:
        raise Refused("MissingParameter", f"The parameter {name} is missing.")
    return found


def _number(call: Call, name: str, default: int) -> int:
    text = _parameter(call, name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 9:  # noqa: PLR2004 - nine digits fit
        raise Refused("InvalidParameter", f"{name} is not a number.")
    return int(text)


def _refuse_dry_run(call: Call) -> None:
    if _parameter(call, "DryRun").lower() == "true":
        raise Refused("UnsupportedOperation", "DryRun is not supported here.")


def _ciphertext(call: Call) -> bytes:
    try:
        return base64.b64decode(call.params.get("CiphertextBlob", b""), validate=True)
    except binascii.Error:
        raise errors.KmsInvalidCiphertext("") from None


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _context(call: Call, name: str) -> tuple[Kind, Mapping[str, str]]:
    """Read an encryption context; absent, empty and `{}` are the same.

    oss2 takes a text from its user and pastes it in, so it may be no JSON at all: then the
    text itself is the context. JSON that is no object of texts counts in its canonical form.
    """
    text = _parameter(call, name)
    if not text:
        return Kind.TEXT, {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return Kind.TEXT_UNDER_TEXT, {"": text}
    if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()):
        return Kind.TEXT, found
    return Kind.TEXT_UNDER_TEXT, {"": json.dumps(found, sort_keys=True, separators=(",", ":"))}
