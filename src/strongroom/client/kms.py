"""Key management services, as far as an envelope needs them.

Two dialects, because they put different things into an envelope: AWS speaks of bytes and
of contexts as maps, Alibaba of text (base64 or not) and of contexts as text.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Protocol

from strongroom import errors
from strongroom.crypto import secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_REFUSALS = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
"""How AWS KMS says that a blob is not under this key or not with this context."""

_ALIBABA_REFUSALS = frozenset({"InvalidCiphertext", "Forbidden.InvalidCiphertext"})


class AwsClient(Protocol):
    """What is used of a boto3 client of KMS; anything of this shape will do."""

    def generate_data_key(self, **kwargs: Any) -> Mapping[str, Any]:
        """Answer `Plaintext` and `CiphertextBlob`, bytes."""
        ...

    def encrypt(self, **kwargs: Any) -> Mapping[str, Any]:
        """Answer `CiphertextBlob`, bytes."""
        ...

    def decrypt(self, **kwargs: Any) -> Mapping[str, Any]:
        """Answer `Plaintext`, bytes."""
        ...


class AwsKms:
    """AWS KMS, or what speaks like it, by a boto3 client."""

    def __init__(self, client: AwsClient) -> None:
        self._client = client

    def generate(self, key_id: str, context: Mapping[str, str]) -> tuple[secret.SecretKey, bytes]:
        """Return a new data key of 32 bytes, and the blob that holds it.

        Raises:
            KmsCallFailed: the service did not give one.
        """
        answer = _asked(
            self._client.generate_data_key,
            KeyId=key_id,
            KeySpec="AES_256",
            EncryptionContext=dict(context),
        )
        return secret.SecretKey(bytes(answer["Plaintext"])), bytes(answer["CiphertextBlob"])

    def encrypt(self, key_id: str, key: secret.SecretKey, context: Mapping[str, str]) -> bytes:
        """Return a blob that holds a data key.

        Raises:
            KmsCallFailed: the service did not make one.
        """
        answer = _asked(
            self._client.encrypt,
            KeyId=key_id,
            Plaintext=key.reveal(),
            EncryptionContext=dict(context),
        )
        return bytes(answer["CiphertextBlob"])

    def decrypt(self, key_id: str, blob: bytes, context: Mapping[str, str]) -> secret.SecretKey:
        """Return what a blob holds; with a `key_id`, only if it is under that key.

        Raises:
            WrongKey: the blob is not under this key, or not with this context.
            KmsCallFailed: the service did not answer.
        """
        named = {"KeyId": key_id} if key_id else {}
        answer = _asked(
            self._client.decrypt, CiphertextBlob=blob, EncryptionContext=dict(context), **named
        )
        return secret.SecretKey(bytes(answer["Plaintext"]))


class AlibabaKms:
    """Alibaba Cloud KMS, by a function that makes one RPC call.

    Args:
        call: takes the action (`Encrypt`, `Decrypt`, `GenerateDataKey`) and its
            parameters, and returns the answer's members. It raises `WrongKey` or
            `KmsCallFailed`, or an exception with an `error_code` or a `code`.
    """

    def __init__(self, call: Callable[[str, Mapping[str, str]], Mapping[str, Any]]) -> None:
        self._call = call

    def generate(self, key_id: str, context: str) -> tuple[str, str]:
        """Return `Plaintext` (base64 of 32 new bytes) and `CiphertextBlob`, both as text.

        Raises:
            KmsCallFailed: the service did not give one.
        """
        answer = self._ask(
            "GenerateDataKey",
            {"KeyId": key_id, "KeySpec": "AES_256", "NumberOfBytes": "32"},
            context,
        )
        return str(answer["Plaintext"]), str(answer["CiphertextBlob"])

    def encrypt(self, key_id: str, plaintext: str, context: str) -> str:
        """Return the `CiphertextBlob` that holds a text.

        Raises:
            KmsCallFailed: the service did not make one.
        """
        answer = self._ask("Encrypt", {"KeyId": key_id, "Plaintext": plaintext}, context)
        return str(answer["CiphertextBlob"])

    def decrypt(self, blob: str, context: str) -> str:
        """Return the text that a `CiphertextBlob` holds.

        Raises:
            WrongKey: the credentials' keys do not open it, or not with this context.
            KmsCallFailed: the service did not answer.
        """
        return str(self._ask("Decrypt", {"CiphertextBlob": blob}, context)["Plaintext"])

    def _ask(self, action: str, params: dict[str, str], context: str) -> Mapping[str, Any]:
        if context:
            params["EncryptionContext"] = context
        return _asked(self._call, action, params)


def data_key(plaintext: str) -> secret.SecretKey:
    """Return the bytes that an Alibaba `Plaintext` stands for.

    Raises:
        WrongKey: it is not base64, so it was not made for this.
    """
    try:
        return secret.SecretKey(base64.b64decode(plaintext, validate=True))
    except (binascii.Error, ValueError):
        raise errors.WrongKey("the KMS opened something that is no data key") from None


def _asked(call: Callable[..., Mapping[str, Any]], *args: Any, **kwargs: Any) -> Mapping[str, Any]:
    """Make one call and turn what an SDK raises into what the domain says."""
    try:
        return call(*args, **kwargs)
    except errors.StrongroomError:
        raise
    except Exception as error:
        # SDKs have no exception in common, and not importing them is the point. What is
        # no answer of a service has no code, and passes unchanged.
        code = _code(error)
        if code in _REFUSALS or code in _ALIBABA_REFUSALS:
            raise errors.WrongKey("the KMS does not open this with the key and context") from error
        if code:
            raise errors.KmsCallFailed(code) from error
        raise


def _code(error: Exception) -> str:
    """Return the service's word for an error: botocore's, Alibaba's old core's or new one's."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    getter = getattr(error, "get_error_code", None)
    if callable(getter):
        return str(getter())
    for name in ("error_code", "code"):
        code = getattr(error, name, None)
        if isinstance(code, str):
            return code
    return ""
