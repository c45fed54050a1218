"""Port: the key above all keys of the KMS, wherever it is kept; and the materials under it.

What a master guards are *wrapping keys* of 32 bytes, one for each generation of a KMS
key's material. A master elsewhere thus sees 32 random bytes and a purpose, never a
material, a data key or an object, and every operation of the KMS works with every
master. Adapters: `BuiltIn` here, the others in `connectors`; one contract suite
(`tests/contracts/test_masters_contract.py`) judges them all.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from strongroom import errors
from strongroom.crypto import derive, encoding, envelope, secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from strongroom.keyring import master
    from strongroom.store import kms

WRAPPING_KEY_BYTES = 32

BUILT_IN = "built-in"

CACHE_MS = 5 * 60 * 1000
"""How long an opened material is used before its master is asked again: also how long the
store goes on after a master was disabled or lost. The same as AWS's bucket keys at most."""
CACHE_USES = 1 << 16
"""How often an opened material is used before its master is asked again."""
CACHE_SIZE = 1024
"""How many opened materials are kept."""


class MasterKeys(Protocol):
    """One key, somewhere, that wraps.

    Every method may raise, and then nothing happened:

    * `KmsUnavailable`: it cannot be reached, or did not answer in time. Adapters try
      again a few times where that can help, within a bound that they document.
    * `KmsAccessDenied`: it does not let us.
    * `KmsKeyDisabled`, `KmsKeyPendingDeletion`, `KmsKeyNotFound`: the key up there is
      in that state.

    None answers with anything but the master's own: there is no fallback.
    """

    @property
    def name(self) -> str:
        """What tells this master from others, for ever: it stands beside what is wrapped."""
        ...

    async def generate(self, purpose: bytes) -> tuple[secret.SecretKey, bytes]:
        """Return a new wrapping key (`WRAPPING_KEY_BYTES`), and the same wrapped."""
        ...

    async def wrap(self, key: secret.SecretKey, purpose: bytes) -> bytes:
        """Wrap a wrapping key, bound to `purpose` (up to 256 bytes, in the clear)."""
        ...

    async def unwrap(self, wrapped: bytes, purpose: bytes) -> secret.SecretKey:
        """Return what `wrap` or `generate` wrapped for the same purpose.

        Raises:
            NotAuthentic: it was changed, is another master's, or for another purpose.
        """
        ...

    async def close(self) -> None:
        """Let go of connections. May be called twice."""
        ...


class BuiltIn:
    """The store's own master key."""

    name = BUILT_IN

    def __init__(self, master: master.Master, random_bytes: Callable[[int], bytes]) -> None:
        self._master = master
        self._random_bytes = random_bytes

    async def generate(self, purpose: bytes) -> tuple[secret.SecretKey, bytes]:
        """See the port."""
        key = secret.SecretKey(self._random_bytes(WRAPPING_KEY_BYTES))
        return key, await self.wrap(key, purpose)

    async def wrap(self, key: secret.SecretKey, purpose: bytes) -> bytes:
        """See the port."""
        return self._master.wrap_kms_key(purpose, key, self._random_bytes)

    async def unwrap(self, wrapped: bytes, purpose: bytes) -> secret.SecretKey:
        """See the port."""
        return self._master.unwrap_kms_key(purpose, wrapped)

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


@dataclass(slots=True)
class _Opened:
    material: secret.SecretKey
    until_ms: int
    uses: int


class Materials:
    """Seals and opens key material, under whichever master it was sealed."""

    def __init__(
        self,
        masters: Mapping[str, MasterKeys],
        current: str,
        *,
        random_bytes: Callable[[int], bytes],
        clock_ms: Callable[[], int],
        cache_ms: int = CACHE_MS,
        cache_uses: int = CACHE_USES,
        cache_size: int = CACHE_SIZE,
    ) -> None:
        """Set up.

        Args:
            masters: by name; all that ever sealed a material which is still needed.
            current: name of the one that seals what is new.
            random_bytes: source of salts and nonces.
            clock_ms: the time.
            cache_ms: how long an opened material may be used.
            cache_uses: how often.
            cache_size: how many are kept.
        """
        self._masters = masters
        self._current = masters[current]
        self._random_bytes = random_bytes
        self._clock_ms = clock_ms
        self._cache_ms = cache_ms
        self._cache_uses = cache_uses
        self._cache_size = cache_size
        self._opened: OrderedDict[tuple[str, int, bytes], _Opened] = OrderedDict()

    async def seal(self, key_id: str, version: int, spec: str, material: secret.SecretKey) -> bytes:
        """Seal a material for the catalog.

        Raises:
            KmsError: the master refuses.
        """
        purpose = _purpose(key_id, version)
        wrapping, wrapped = await self._current.generate(purpose)
        box = envelope.seal_box(
            wrapping,
            derive.Label.KMS_MATERIAL,
            key_id,
            version,
            spec,
            plaintext=material.reveal(),
            random_bytes=self._random_bytes,
        )
        return encoding.encode(derive.Label.KMS_MATERIAL, self._current.name, wrapped, box)

    async def open(self, key: kms.Key, stored: kms.Material) -> secret.SecretKey:
        """Open a material, or find it open still.

        Raises:
            KmsError: the master refuses.
            NotAuthentic: it is not what was sealed for this key.
        """
        place = (stored.key_id, stored.version, stored.wrapped)
        now_ms = self._clock_ms()
        found = self._opened.get(place)
        if found is not None and now_ms < found.until_ms and found.uses > 0:
            found.uses -= 1
            return found.material
        self._opened.pop(place, None)
        material = await self._open(key, stored)
        if self._cache_ms and self._cache_uses:
            while len(self._opened) >= self._cache_size:
                self._opened.popitem(last=False)
            self._opened[place] = _Opened(material, now_ms + self._cache_ms, self._cache_uses - 1)
        return material

    def forget(self) -> None:
        """Let go of everything opened, so that masters are asked again."""
        self._opened.clear()

    async def close(self) -> None:
        """Let go of all masters."""
        self.forget()
        for one in self._masters.values():
            await one.close()

    async def _open(self, key: kms.Key, stored: kms.Material) -> secret.SecretKey:
        name, wrapped, box = encoding.decode(derive.Label.KMS_MATERIAL, stored.wrapped, 3)
        above = self._masters.get(encoding.text(name))
        if above is None:
            raise errors.KmsUnavailable(
                f"The key is under the master {encoding.text(name)!r}, which is not set up here."
            )
        wrapping = await above.unwrap(wrapped, _purpose(stored.key_id, stored.version))
        return secret.SecretKey(
            envelope.open_box(
                wrapping,
                derive.Label.KMS_MATERIAL,
                stored.key_id,
                stored.version,
                key.spec,
                sealed=box,
            )
        )


def opens(keeper: master.Master, key_id: str, version: int, spec: str, sealed: bytes) -> bool:
    """Whether a sealed material is what it was; of one under a master elsewhere, whether it is one."""
    try:
        name, wrapped, box = encoding.decode(derive.Label.KMS_MATERIAL, sealed, 3)
        if encoding.text(name) == BUILT_IN:
            wrapping = keeper.unwrap_kms_key(_purpose(key_id, version), wrapped)
            envelope.open_box(
                wrapping, derive.Label.KMS_MATERIAL, key_id, version, spec, sealed=box
            )
    except errors.NotAuthentic:
        return False
    return True


def _purpose(key_id: str, version: int) -> bytes:
    """Return what a wrapping key is for, in ASCII: masters elsewhere show it in their logs."""
    return f"strongroom kms {key_id} {version}".encode()
