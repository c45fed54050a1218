"""A master in HashiCorp Vault or OpenBao: a key of their Transit engine.

The wrapping key is sent there and comes back as `vault:vN:…`; Vault's rotation of its
key changes N and nothing here. The purpose goes along as associated data.

The token needs `update` on `MOUNT/encrypt/KEY` and `MOUNT/decrypt/KEY`, and `read` on
`MOUNT/keys/KEY`. It should not have `create`: with it, Vault makes a key that is missing.

Source: Vault HTTP API, "Transit secrets engine".
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final, TypeVar

from strongroom import errors
from strongroom.crypto import secret
from strongroom.keyring import masters
from strongroom.keyring.connectors import attempts

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_NOT_WRAPPED_HERE: Final = (
    "invalid ciphertext",
    "missing ciphertext",
    "message authentication failed",
)
"""Observed: OpenBao 2.7.2."""


class VaultMaster:
    """One Transit key. Port: `masters.MasterKeys`."""

    def __init__(
        self,
        url: str,
        token: secret.SecretKey,
        key: str,
        *,
        random_bytes: Callable[[int], bytes],
        mount: str = "transit",
        namespace: str | None = None,
        ca_bundle: str | None = None,
        runs: attempts.Attempts | None = None,
    ) -> None:
        """Set up; nothing is asked yet.

        Args:
            url: `https://HOST:PORT`.
            token: Vault's token.
            key: name of the Transit key.
            random_bytes: source of wrapping keys.
            mount: where the Transit engine is mounted.
            namespace: of Vault Enterprise or OpenBao.
            ca_bundle: PEM file of the CA; None trusts the system's.
            runs: how long and how often it is asked.

        Raises:
            ImportError: the extra `vault` is not installed.
        """
        import hvac  # noqa: PLC0415 - an extra
        import hvac.exceptions  # noqa: PLC0415 - likewise
        import requests  # noqa: PLC0415 - hvac brings it

        self.name = f"vault:{mount}/{key}"
        self._key = key
        self._mount = mount
        self._random_bytes = random_bytes
        self._runs = runs or attempts.Attempts(self.name)
        self._answers = hvac.exceptions
        self._transport = requests.exceptions.RequestException
        self._client = hvac.Client(
            url=url,
            token=token.reveal().decode(),
            namespace=namespace,
            verify=ca_bundle or True,
            timeout=attempts.CLIENT_TIMEOUT_S,
        )

    async def generate(self, purpose: bytes) -> tuple[secret.SecretKey, bytes]:
        """See the port."""
        key = secret.SecretKey(self._random_bytes(masters.WRAPPING_KEY_BYTES))
        return key, await self.wrap(key, purpose)

    async def wrap(self, key: secret.SecretKey, purpose: bytes) -> bytes:
        """See the port."""

        def call() -> bytes:
            transit = self._client.secrets.transit
            # Encrypting under a key that is missing would make it, for a token that may.
            transit.read_key(self._key, mount_point=self._mount)
            answer = transit.encrypt_data(
                self._key,
                plaintext=_text(key.reveal()),
                associated_data=_text(purpose),
                mount_point=self._mount,
            )
            return str(answer["data"]["ciphertext"]).encode()

        return await self._runs.run(lambda: self._ask(call))

    async def unwrap(self, wrapped: bytes, purpose: bytes) -> secret.SecretKey:
        """See the port."""

        def call() -> secret.SecretKey:
            answer = self._client.secrets.transit.decrypt_data(
                self._key,
                ciphertext=wrapped.decode("ascii", "replace"),
                associated_data=_text(purpose),
                mount_point=self._mount,
            )
            return secret.SecretKey(base64.b64decode(answer["data"]["plaintext"]))

        found = await self._runs.run(lambda: self._ask(call))
        if len(found) != masters.WRAPPING_KEY_BYTES:
            raise errors.NotAuthentic("the master unwrapped something of another length")
        return found

    async def close(self) -> None:
        """See the port."""
        self._runs.close()
        self._client.adapter.close()

    def _ask(self, call: Callable[[], T]) -> T:
        """Call, and say what Vault answers in the port's words."""
        answers = self._answers
        try:
            return call()
        except (answers.Forbidden, answers.Unauthorized) as error:
            raise errors.KmsAccessDenied(f"{self.name} does not let us: {_said(error)}") from error
        except answers.InvalidPath as error:
            raise errors.KmsKeyNotFound(f"{self.name} is not there.") from error
        except answers.InvalidRequest as error:
            raise self._refused(_said(error)) from error
        except (answers.VaultError, self._transport) as error:
            raise errors.KmsUnavailable(f"{self.name}: {type(error).__name__}") from error
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise errors.KmsUnavailable(f"{self.name} answered something else.") from error

    def _refused(self, text: str) -> errors.StrongroomError:
        """Tell the reasons apart that Vault gives status 400."""
        if "key not found" in text or "could not find key" in text:
            return errors.KmsKeyNotFound(f"{self.name} is not there.")
        if "soft-deleted" in text or "soft deleted" in text:
            return errors.KmsKeyPendingDeletion(f"{self.name} is deleted, and can be restored.")
        if "disallowed by policy" in text:
            return errors.KmsInvalidState(f"{self.name}: {text}")
        if any(words in text for words in _NOT_WRAPPED_HERE):
            return errors.NotAuthentic("the master says that this is not what it wrapped")
        # A server that comes up or goes down has many words. None of them is about our key.
        return errors.KmsUnavailable(f"{self.name}: {text}")


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _said(error: Exception) -> str:
    """Return Vault's own words; they name paths and permissions, and no values."""
    return "; ".join(getattr(error, "errors", None) or []) or type(error).__name__
