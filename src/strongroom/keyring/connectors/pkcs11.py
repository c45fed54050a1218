"""A master in a hardware security module: an AES-256 key behind PKCS #11.

The key never leaves the module. Wrapping keys are drawn from the module's random numbers
and wrapped with AES-GCM in it: `nonce (12) ‖ ciphertext ‖ tag (16)`, the purpose as AAD.

Source: OASIS PKCS #11 Specification 3.1, "AES-GCM".
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, TypeVar

from strongroom import errors
from strongroom.crypto import secret
from strongroom.keyring import masters
from strongroom.keyring.connectors import attempts

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_NONCE_BYTES: Final = 12
_TAG_BITS: Final = 128


class Pkcs11Master:
    """One AES key of one token. Port: `masters.MasterKeys`."""

    def __init__(
        self,
        library: str,
        token: str,
        pin: secret.SecretKey,
        key: str,
        *,
        runs: attempts.Attempts | None = None,
    ) -> None:
        """Set up; the token is not opened yet.

        Args:
            library: path of the module's shared library.
            token: label of the token.
            pin: the user's PIN.
            key: label of the AES key.
            runs: how long and how often it is asked; on one thread, as sessions are.

        Raises:
            ImportError: the extra `pkcs11` is not installed.
        """
        import pkcs11  # noqa: PLC0415 - an extra
        import pkcs11.exceptions  # noqa: PLC0415 - likewise

        self.name = f"pkcs11:{token}/{key}"
        self._library = library
        self._token = token
        self._pin = pin
        self._label = key
        self._module = pkcs11
        self._runs = runs or attempts.Attempts(self.name, threads=1)

    async def generate(self, purpose: bytes) -> tuple[secret.SecretKey, bytes]:
        """See the port."""

        def call(session: Any, key: Any) -> tuple[secret.SecretKey, bytes]:
            drawn = secret.SecretKey(session.generate_random(masters.WRAPPING_KEY_BYTES * 8))
            return drawn, self._wrap(session, key, drawn, purpose)

        return await self._ask(call)

    async def wrap(self, key: secret.SecretKey, purpose: bytes) -> bytes:
        """See the port."""
        return await self._ask(lambda session, found: self._wrap(session, found, key, purpose))

    async def unwrap(self, wrapped: bytes, purpose: bytes) -> secret.SecretKey:
        """See the port."""
        if len(wrapped) != _NONCE_BYTES + masters.WRAPPING_KEY_BYTES + _TAG_BITS // 8:
            raise errors.NotAuthentic("a wrapped key has another length")

        def call(_session: Any, key: Any) -> secret.SecretKey:
            try:
                plain = key.decrypt(
                    wrapped[_NONCE_BYTES:],
                    mechanism=self._module.Mechanism.AES_GCM,
                    mechanism_param=self._gcm(wrapped[:_NONCE_BYTES], purpose),
                )
            except (
                self._module.exceptions.EncryptedDataInvalid,
                self._module.exceptions.EncryptedDataLenRange,
                # What SoftHSM says of a tag that is wrong.
                self._module.exceptions.GeneralError,
            ):
                raise errors.NotAuthentic("the master did not wrap this") from None
            return secret.SecretKey(plain)

        return await self._ask(call)

    async def close(self) -> None:
        """See the port."""
        self._runs.close()

    def _wrap(self, session: Any, key: Any, plain: secret.SecretKey, purpose: bytes) -> bytes:
        nonce: bytes = session.generate_random(_NONCE_BYTES * 8)
        sealed: bytes = key.encrypt(
            plain.reveal(),
            mechanism=self._module.Mechanism.AES_GCM,
            mechanism_param=self._gcm(nonce, purpose),
        )
        return nonce + sealed

    def _gcm(self, nonce: bytes, purpose: bytes) -> Any:
        return self._module.GCMParams(nonce=nonce, aad=purpose, tag_bits=_TAG_BITS)

    async def _ask(self, call: Callable[[Any, Any], T]) -> T:
        """Call with a session and the key, and say what goes wrong in the port's words."""
        wrong = self._module.exceptions

        def once() -> T:
            with self._open() as session:
                key = session.get_key(
                    label=self._label, object_class=self._module.ObjectClass.SECRET_KEY
                )
                return call(session, key)

        def work() -> T:
            try:
                try:
                    return once()
                except wrong.NoSuchKey:
                    # SoftHSM says so, too, of a token that was pulled out since it was opened.
                    self._begin_anew()
                    return once()
            except wrong.NoSuchKey as error:
                raise errors.KmsKeyNotFound(f"{self.name} is not there.") from error
            except (wrong.PinIncorrect, wrong.PinLocked, wrong.PinExpired) as error:
                raise errors.KmsAccessDenied(f"{self.name}: the PIN does not open it.") from error
            except wrong.PKCS11Error as error:
                self._begin_anew()
                raise errors.KmsUnavailable(f"{self.name}: {type(error).__name__}") from error

        return await self._runs.run(work)

    def _begin_anew(self) -> None:
        """Let the library look at its tokens again: some remember for good that one was gone.

        It is a state of the whole process, too, and nobody else has a session now.
        """
        with contextlib.suppress(self._module.exceptions.PKCS11Error, RuntimeError):
            self._module.lib(self._library).reinitialize()

    def _open(self) -> Any:
        """Open a session. One for each call: so a module that was restarted serves again.

        Being logged in is a state of the whole process, which is one more reason why
        calls run on one thread.
        """
        try:
            library = self._module.lib(self._library)
        except RuntimeError as error:
            raise errors.KmsUnavailable(f"{self.name}: the library does not load.") from error
        token = library.get_token(token_label=self._token)
        return token.open(user_pin=self._pin.reveal().decode())
