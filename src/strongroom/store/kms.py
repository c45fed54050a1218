"""Port: what the key management service remembers, in transactions.

Part of the catalog (`Catalog.kms`), with its promises: each writing method is one
transaction, whole and durable when the call returns, and readers never wait for
writers. Every method may raise `StoreFailed` or `StoreFull`, and then changed
nothing. Key material comes here wrapped and stays so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Key:
    """A key, without its material.

    Attributes:
        key_id: a UUID in lower case.
        spec: what kind of material, such as `SYMMETRIC_DEFAULT` or `RSA_2048`.
        usage: what it is for, such as `ENCRYPT_DECRYPT`.
        creator: canonical id of the user who made it; empty for the store's own.
        manager: the service that the store made it for (`s3`); empty where a user did.
        version: number of the material that is used for what is new, from 1.
        policy: the key policy, as it was sent.
        deletion_ms: when it is to be deleted; 0 unless that is planned.
        deletion_days: the waiting period that was asked for; 0 unless planned.
        rotation_days: days between automatic rotations; 0 if there are none.
        rotated_ms: since when `rotation_days` count.
    """

    key_id: str
    spec: str
    usage: str
    created_ms: int
    creator: str
    policy: str
    manager: str = ""
    description: str = ""
    version: int = 1
    enabled: bool = True
    deletion_ms: int = 0
    deletion_days: int = 0
    rotation_days: int = 0
    rotated_ms: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Material:
    """One generation of a key's material, wrapped. Old ones stay: they still open.

    `cause`: `CREATED`, `AUTOMATIC` or `ON_DEMAND`.
    """

    key_id: str
    version: int
    wrapped: bytes
    created_ms: int
    cause: str


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name of a key; `name` begins with `alias/`."""

    name: str
    key_id: str
    created_ms: int
    changed_ms: int


@dataclass(frozen=True, slots=True)
class Grant:
    """A permission for one user on one key, beside the key's policy.

    Attributes:
        grant_id: 64 hex digits.
        grantee: the principal, as it was named.
        retiring: who else may retire it; empty if nobody.
        operations: what is permitted, in KMS's words.
        context_equals: the encryption context must be this; None if any will do.
        context_subset: the encryption context must hold these pairs; None likewise.
        issuer: ARN of who made it.
    """

    grant_id: str
    key_id: str
    name: str
    grantee: str
    retiring: str
    operations: tuple[str, ...]
    context_equals: Mapping[str, str] | None
    context_subset: Mapping[str, str] | None
    created_ms: int
    issuer: str


Change = Callable[[Key], Key]
"""Gets the key as it stands and returns it as it is to be; raises to call the change off.

Runs inside the write transaction, on another thread: no I/O, no awaiting.
"""


class KmsStore(Protocol):
    """Keys, materials, aliases and grants."""

    # Keys

    async def key(self, key_id: str) -> Key:
        """Return a key. On the path of every object under a KMS key.

        Raises:
            KmsKeyNotFound: there is none.
        """
        ...

    async def keys(self, *, after: str = "", limit: int) -> Sequence[Key]:
        """Return up to `limit` keys with ids greater than `after`, by id."""
        ...

    async def add_key(self, key: Key, material: Material, alias: Alias | None = None) -> bool:
        """Add a key with its first material, and an alias for it.

        Returns:
            False, and nothing changed, if the key's id or the alias is taken.
        """
        ...

    async def change_key(self, key_id: str, change: Change) -> Key:
        """Change a key and return what it is now; `key_id` and `version` must stay.

        Raises:
            KmsKeyNotFound: there is none. Whatever `change` raises.
        """
        ...

    async def remove_key(self, key_id: str, guard: Callable[[Key], None]) -> None:
        """Remove a key with its materials, aliases and grants; a key that is not there is no error.

        `guard` is called inside the transaction, and raises to call it off.
        """
        ...

    async def doomed_keys(self, now_ms: int) -> Sequence[Key]:
        """Return the keys whose waiting period is over."""
        ...

    async def rotating_keys(self) -> Sequence[Key]:
        """Return the keys that rotate by themselves."""
        ...

    # Materials

    async def material(self, key_id: str, version: int) -> Material | None:
        """Return one generation of a key's material; None if there is none of this number."""
        ...

    async def materials(self, key_id: str) -> Sequence[Material]:
        """Return all generations of a key's material, by number; empty for an unknown key."""
        ...

    async def rotate(self, material: Material, change: Change) -> Key | None:
        """Add a generation, make it the key's current one, and change the key otherwise.

        Returns:
            The key as it is now; None, and nothing changed, if `material.version` is
            not one more than the key's: somebody else rotated it first.

        Raises:
            KmsKeyNotFound: there is no such key. Whatever `change` raises.
        """
        ...

    # Aliases

    async def alias(self, name: str) -> Alias | None:
        """Return an alias; None if there is none of this name."""
        ...

    async def aliases(
        self, *, key_id: str | None = None, after: str = "", limit: int
    ) -> Sequence[Alias]:
        """Return up to `limit` aliases with names greater than `after`, by name.

        Of all keys if `key_id` is None.
        """
        ...

    async def add_alias(self, alias: Alias) -> bool:
        """Add an alias; False, and nothing changed, if its name is taken.

        Raises:
            KmsKeyNotFound: there is no such key.
        """
        ...

    async def move_alias(self, name: str, key_id: str, now_ms: int) -> bool:
        """Let an alias stand for another key; False if there is no such alias.

        Raises:
            KmsKeyNotFound: there is no such key.
        """
        ...

    async def remove_alias(self, name: str) -> bool:
        """Remove an alias; False if there is none."""
        ...

    # Grants

    async def add_grant(self, grant: Grant) -> None:
        """Add a grant.

        Raises:
            KmsKeyNotFound: there is no such key.
        """
        ...

    async def grant(self, grant_id: str) -> Grant | None:
        """Return a grant; None if there is none of this id."""
        ...

    async def grants(
        self,
        *,
        key_id: str | None = None,
        grantee: str | None = None,
        retiring: str | None = None,
        after: str = "",
        limit: int,
    ) -> Sequence[Grant]:
        """Return up to `limit` grants with ids greater than `after`, by id; None lets all pass."""
        ...

    async def remove_grant(self, grant_id: str) -> bool:
        """Remove a grant; False if there is none."""
        ...
