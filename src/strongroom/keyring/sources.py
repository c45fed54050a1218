"""Where the secret comes from that an object's data key is wrapped under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from strongroom import errors
from strongroom.crypto import derive, layers, mac, marks, secret
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from strongroom.keyring import master
    from strongroom.store import catalog, inventory

CUSTOMER_MODE: Final = "SSE-C"
SERVER_MODE: Final = "SSE-S3"
KMS_MODE: Final = "SSE-KMS"
DUAL_MODE: Final = "DSSE-KMS"
KMS_MODES: Final = frozenset({KMS_MODE, DUAL_MODE})
CUSTOMER_KEY_BYTES = 32
STORE_KEY_BYTES = 32

_NO_SALT = bytes(32)
"""Store keys are uniform already; HKDF's extract step needs no salt (RFC 5869, 3.1)."""

MASTER_CHECK = "master-key-check"


def layers_of(mode: str) -> int:
    """Return how many streams lie around what is sealed in this mode."""
    return layers.DUAL if mode == DUAL_MODE else layers.SINGLE


class KeySource(Protocol):
    """A secret with what an envelope says, in the clear, about where it comes from."""

    @property
    def mode(self) -> str:
        """Who holds the key: `CUSTOMER_MODE`, `SERVER_MODE` or one of `KMS_MODES`."""
        ...

    @property
    def key_fields(self) -> tuple[bytes, ...]:
        """What finds the secret again; empty if only the customer can."""
        ...

    @property
    def secret(self) -> secret.SecretKey:
        """The secret itself."""
        ...


@dataclass(frozen=True, slots=True)
class Protection:
    """How a version is protected, as far as answers tell it.

    Attributes:
        mode: who holds the key.
        key_arn: of the KMS key; empty in modes without one.
        bucket_key: whether a bucket key stands between the KMS and the object.
    """

    mode: str
    key_arn: str = ""
    bucket_key: bool = False


PLAIN_PROTECTIONS: Final = {
    CUSTOMER_MODE: Protection(CUSTOMER_MODE),
    SERVER_MODE: Protection(SERVER_MODE),
}
"""Those of the modes without a KMS, made once: every answer needs one."""


@dataclass(frozen=True, slots=True)
class CustomerKey:
    """A key that came with the request and goes with it.

    Any length is carried: a key of wrong length opens nothing, and on reads
    must be told as a wrong key (observed: S3, GetObject with a 44-byte key).
    """

    secret: secret.SecretKey
    mode: str = CUSTOMER_MODE
    key_fields: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerKey:
    """A numbered store key."""

    number: int
    secret: secret.SecretKey
    mode: str = SERVER_MODE

    @property
    def key_fields(self) -> tuple[bytes, ...]:
        """The key's number, in decimal."""
        return (b"%d" % self.number,)


class StoreKeys:
    """The store keys, opened once at start."""

    def __init__(self, keys: dict[int, ServerKey]) -> None:
        self._keys = keys
        self._current = keys[max(keys)]
        self._row_keys = {
            number: mac.MacKey(
                derive.expand(derive.extract(_NO_SALT, key.secret), derive.Label.ROW).reveal()
            )
            for number, key in keys.items()
        }

    @property
    def current(self) -> ServerKey:
        """The key that new objects get."""
        return self._current

    def row_key(self, number: int) -> mac.MacKey:
        """Return the key that vouches for rows, of store key `number`.

        Raises:
            NotAuthentic: there is no such store key.
        """
        try:
            return self._row_keys[number]
        except KeyError as error:
            raise errors.NotAuthentic("a row names an unknown store key") from error

    def read_marks(self, version: records.Version, stored: bytes) -> marks.Marks:
        """Read marks as they are stored with a version; on any thread.

        Raises:
            NotAuthentic: they are not what was written there.
        """
        number, _, encoded = stored.partition(b":")
        if not number.isdigit():
            raise errors.NotAuthentic("the marks of a version name no store key")
        row_key = self.row_key(int(number))
        return marks.Marks.parse(encoded, row_key, version.bucket, version.key, version.generation)

    def named(self, key_fields: tuple[bytes, ...]) -> ServerKey:
        """Return the key that an envelope names.

        Raises:
            NotAuthentic: it names none of this store's keys.
        """
        try:
            (number,) = key_fields
            return self._keys[int(number)]
        except (KeyError, ValueError) as error:
            raise errors.NotAuthentic("the envelope names an unknown store key") from error


async def open_store_keys(
    catalog: catalog.Catalog,
    master: master.Master,
    *,
    random_bytes: Callable[[int], bytes],
    now_ms: int,
) -> StoreKeys:
    """Check that the master key is this store's, and open the store keys; make the first.

    Raises:
        MasterKeyTrouble: the catalog was made under another master key.
    """
    check_master(await catalog.establish(MASTER_CHECK, master.check_value()), master)
    if not await catalog.store_keys():
        first = secret.SecretKey(random_bytes(STORE_KEY_BYTES))
        wrapped = master.wrap_store_key(1, first, random_bytes)
        await catalog.add_store_key(records.StoreKey(1, wrapped, now_ms))
    return _unwrapped(await catalog.store_keys(), master)


def read_store_keys(inventory: inventory.Inventory, master: master.Master) -> StoreKeys | None:
    """Open the store keys and change nothing; None if the store has none yet.

    Raises:
        MasterKeyTrouble: the catalog was made under another master key.
        NotAuthentic: a store key was damaged.
    """
    check = inventory.fact(MASTER_CHECK)
    if check is None:
        return None
    check_master(check, master)
    keys = inventory.store_keys()
    return _unwrapped(keys, master) if keys else None


def check_master(standing: bytes, master: master.Master) -> None:
    """Check that the master key is the one by which a store's check value was made.

    Raises:
        MasterKeyTrouble: it is not.
    """
    if standing != master.check_value():
        raise errors.MasterKeyTrouble(
            "The master key is not the one that this data directory was made with. Start with the"
            " right master.key or STRONGROOM_MASTER_KEY; the data is unharmed."
        )


def _unwrapped(keys: Sequence[records.StoreKey], master: master.Master) -> StoreKeys:
    return StoreKeys(
        {
            key.number: ServerKey(key.number, master.unwrap_store_key(key.number, key.wrapped))
            for key in keys
        }
    )
