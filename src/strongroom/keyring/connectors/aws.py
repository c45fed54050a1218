"""A master in AWS KMS, or in whatever speaks its protocol: another strongroom, say.

Wrapping keys are made there (GenerateDataKey); the purpose is the encryption context.
Credentials come from where boto3 finds them.

Source: AWS KMS API Reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.crypto import secret
from strongroom.keyring import masters
from strongroom.keyring.connectors import attempts

if TYPE_CHECKING:
    from collections.abc import Callable

_UNAVAILABLE: Final = frozenset(
    {
        "DependencyTimeoutException",
        "InternalFailure",
        "KMSInternalException",
        "KeyUnavailableException",
        "RequestTimeout",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
    }
)
_TOLD: Final[dict[str, type[errors.KmsError]]] = {
    "DisabledException": errors.KmsKeyDisabled,
    "InvalidKeyUsageException": errors.KmsWrongUsage,
    "KMSInvalidStateException": errors.KmsInvalidState,
    "NotFoundException": errors.KmsKeyNotFound,
}
_NOT_AUTHENTIC: Final = frozenset({"IncorrectKeyException", "InvalidCiphertextException"})


class AwsMaster:
    """One symmetric key of AWS KMS. Port: `masters.MasterKeys`."""

    def __init__(
        self,
        key: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        ca_bundle: str | None = None,
        credentials: tuple[str, secret.SecretKey] | None = None,
        runs: attempts.Attempts | None = None,
    ) -> None:
        """Set up; nothing is asked yet.

        Args:
            key: id, ARN or alias.
            region: None takes boto3's.
            endpoint_url: None takes AWS's.
            ca_bundle: PEM file of the CA; None trusts boto3's.
            credentials: access key and secret; None takes what boto3 finds.
            runs: how long and how often it is asked.

        Raises:
            ImportError: the extra `aws` is not installed.
        """
        import boto3  # noqa: PLC0415 - an extra
        from botocore import config, exceptions  # noqa: PLC0415 - likewise

        self.name = f"aws:{key}"
        self._key = key
        self._runs = runs or attempts.Attempts(self.name)
        self._refused = exceptions.ClientError
        self._credentials = (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
        )
        self._transport = exceptions.BotoCoreError
        access_key, secret_key = credentials or (None, None)
        self._client = boto3.session.Session().client(
            "kms",
            region_name=region,
            endpoint_url=endpoint_url,
            verify=ca_bundle,
            aws_access_key_id=access_key,
            aws_secret_access_key=None if secret_key is None else secret_key.reveal().decode(),
            config=config.Config(
                connect_timeout=attempts.CLIENT_TIMEOUT_S / 2,
                read_timeout=attempts.CLIENT_TIMEOUT_S / 2,
                # We try again ourselves, in the same way for every master.
                retries={"total_max_attempts": 1},
            ),
        )

    async def generate(self, purpose: bytes) -> tuple[secret.SecretKey, bytes]:
        """See the port."""
        answer = await self._ask(
            self._client.generate_data_key,
            KeySpec="AES_256",
            EncryptionContext=_context(purpose),
        )
        return secret.SecretKey(answer["Plaintext"]), answer["CiphertextBlob"]

    async def wrap(self, key: secret.SecretKey, purpose: bytes) -> bytes:
        """See the port."""
        answer = await self._ask(
            self._client.encrypt, Plaintext=key.reveal(), EncryptionContext=_context(purpose)
        )
        wrapped: bytes = answer["CiphertextBlob"]
        return wrapped

    async def unwrap(self, wrapped: bytes, purpose: bytes) -> secret.SecretKey:
        """See the port."""
        if not wrapped:
            raise errors.NotAuthentic("a wrapped key has another length")
        answer = await self._ask(
            self._client.decrypt, CiphertextBlob=wrapped, EncryptionContext=_context(purpose)
        )
        found = secret.SecretKey(answer["Plaintext"])
        if len(found) != masters.WRAPPING_KEY_BYTES:
            raise errors.NotAuthentic("the master unwrapped something of another length")
        return found

    async def close(self) -> None:
        """See the port."""
        self._runs.close()
        self._client.close()

    async def _ask(self, method: Callable[..., Any], **options: Any) -> Any:
        """Call, and say what AWS answers in the port's words."""

        def call() -> Any:
            try:
                return method(KeyId=self._key, **options)
            except self._refused as error:
                raise self._translated(error) from error
            except self._credentials as error:
                raise errors.KmsAccessDenied(f"{self.name}: there are no credentials.") from error
            except self._transport as error:
                raise errors.KmsUnavailable(f"{self.name}: {type(error).__name__}") from error

        return await self._runs.run(call)

    def _translated(self, error: Any) -> errors.StrongroomError:
        code = error.response["Error"]["Code"]
        text = f"{self.name}: {error.response['Error'].get('Message', code)}"
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code in _NOT_AUTHENTIC:
            return errors.NotAuthentic("the master says that this is not what it wrapped")
        if code in _UNAVAILABLE or status >= 500:  # noqa: PLR2004 - HTTP's server errors
            return errors.KmsUnavailable(f"{self.name}: {code}")
        if code == "KMSInvalidStateException" and "pending deletion" in text:
            return errors.KmsKeyPendingDeletion(text)
        # Else credentials that are not known, or permissions that are not given.
        return _TOLD.get(code, errors.KmsAccessDenied)(text)


def _context(purpose: bytes) -> dict[str, str]:
    return {"purpose": purpose.decode("latin-1")}
