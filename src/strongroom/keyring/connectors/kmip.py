"""A master in a KMIP server: an AES-256 key that is fetched, used and dropped.

KMIP servers hand keys out to whom they trust, and few encrypt for their clients with
associated data. So the key is fetched for each wrap and unwrap, and used here: a
wrapped key is a box of ours (`envelope.seal_box`), bound to its purpose. The key is not
kept; how long the opened material is, `masters.Materials` decides.

The server is known by its CA and we by our certificate. PyKMIP does not compare the
server's name with its certificate, so the CA should be one for this purpose.

Source: OASIS KMIP Specification 1.4, "Get", "Get Attributes", "State".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from strongroom import errors
from strongroom.crypto import derive, envelope, secret
from strongroom.keyring import masters
from strongroom.keyring.connectors import attempts

if TYPE_CHECKING:
    from collections.abc import Callable

KEY_BYTES = 32


class KmipMaster:
    """One symmetric key of a KMIP server. Port: `masters.MasterKeys`."""

    def __init__(
        self,
        host: str,
        port: int,
        key_id: str,
        *,
        cert: str,
        key: str,
        ca_bundle: str,
        random_bytes: Callable[[int], bytes],
        runs: attempts.Attempts | None = None,
    ) -> None:
        """Set up; nothing is asked yet.

        Args:
            host: the server.
            port: usually 5696.
            key_id: the key's unique identifier there.
            cert: PEM file of our certificate.
            key: PEM file of its key.
            ca_bundle: PEM file of the server's CA.
            random_bytes: source of wrapping keys, salts and nonces.
            runs: how long and how often it is asked.

        Raises:
            ImportError: the extra `kmip` is not installed.
        """
        from kmip.core import enums  # noqa: PLC0415 - an extra
        from kmip.core import exceptions as protocol  # noqa: PLC0415 - likewise
        from kmip.pie import client, exceptions  # noqa: PLC0415 - likewise
        from kmip.services import kmip_protocol  # noqa: PLC0415 - likewise

        self.name = f"kmip:{key_id}"
        self._key_id = key_id
        self._random_bytes = random_bytes
        self._runs = runs or attempts.Attempts(self.name)
        self._enums = enums
        # A server that goes away in the middle of an answer makes PyKMIP raise any of these.
        self._failures = (
            exceptions.ClientConnectionFailure,
            kmip_protocol.RequestLengthMismatch,
            protocol.InvalidKmipEncoding,
            protocol.InvalidPrimitiveLength,
            protocol.KmipError,
            protocol.ReadValueError,
            protocol.StreamNotEmptyError,
            EOFError,
            OSError,
            ValueError,
            struct.error,
        )
        self._refused = exceptions.KmipOperationFailure
        self._connect: Callable[[], Any] = lambda: client.ProxyKmipClient(
            hostname=host,
            port=port,
            cert=cert,
            key=key,
            ca=ca_bundle,
            config_file="/dev/null",
        )

    async def generate(self, purpose: bytes) -> tuple[secret.SecretKey, bytes]:
        """See the port."""
        key = secret.SecretKey(self._random_bytes(masters.WRAPPING_KEY_BYTES))
        return key, await self.wrap(key, purpose)

    async def wrap(self, key: secret.SecretKey, purpose: bytes) -> bytes:
        """See the port."""
        return envelope.seal_box(
            await self._runs.run(self._fetch),
            derive.Label.KMS_KEY,
            purpose,
            plaintext=key.reveal(),
            random_bytes=self._random_bytes,
        )

    async def unwrap(self, wrapped: bytes, purpose: bytes) -> secret.SecretKey:
        """See the port."""
        above = await self._runs.run(self._fetch)
        return secret.SecretKey(
            envelope.open_box(above, derive.Label.KMS_KEY, purpose, sealed=wrapped)
        )

    async def close(self) -> None:
        """See the port."""
        self._runs.close()

    def _fetch(self) -> secret.SecretKey:
        """Fetch the key, if it is in use: its state is asked before and with it."""
        try:
            with self._connect() as client:
                _, found = client.get_attributes(self._key_id, ["State"])
                state = found[0].attribute_value.value if found else None
                if state is not self._enums.State.ACTIVE:
                    raise self._inactive(state)
                key = client.get(self._key_id)
                raw = getattr(key, "value", None)
        except self._refused as error:
            raise self._translated(error) from error
        except self._failures as error:
            raise errors.KmsUnavailable(f"{self.name}: {type(error).__name__}") from error
        if not isinstance(raw, bytes) or len(raw) != KEY_BYTES:
            raise errors.KmsWrongUsage(f"{self.name} is no key of {KEY_BYTES * 8} bits.")
        return secret.SecretKey(raw)

    def _inactive(self, state: Any) -> errors.KmsError:
        if state in (self._enums.State.DESTROYED, self._enums.State.DESTROYED_COMPROMISED):
            return errors.KmsKeyNotFound(f"{self.name} was destroyed.")
        return errors.KmsKeyDisabled(f"{self.name} is not active.")

    def _translated(self, error: Any) -> errors.KmsError:
        reasons = self._enums.ResultReason
        if error.reason is reasons.ITEM_NOT_FOUND:
            return errors.KmsKeyNotFound(f"{self.name} is not there.")
        if error.reason in (reasons.PERMISSION_DENIED, reasons.AUTHENTICATION_NOT_SUCCESSFUL):
            return errors.KmsAccessDenied(f"{self.name} does not let us.")
        return errors.KmsUnavailable(f"{self.name}: {error.reason.name}")
