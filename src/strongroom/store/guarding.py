"""What a bucket's settings say against foreign keys, and which versions a write leaves behind.

Two settings, both set by administrators only: no operation of S3 touches them.

* `KEYS` lists the fingerprints of the customers' keys that writes may bring.
* `GUARD` says for how long a version is kept, unseen, that a write displaced which did not
  prove to come from whoever has its key.

Pure; decided here and obeyed by the adapters inside their transactions, so that nothing
which moves versions about, now or later, can forget it.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from strongroom import errors

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from strongroom.store import records

KEYS: Final = "customer-keys"
"""Bucket setting: a JSON list of fingerprints in hex. An empty one allows no customer's key."""
GUARD: Final = "guard"
"""Bucket setting: a JSON object with `keep_ms`, how long what was displaced is kept."""

CUSTOMER_MODE: Final = "SSE-C"
"""The mode of versions under customers' keys, as `keyring.sources` names it."""

OVERWRITTEN: Final = "overwritten"
DELETED: Final = "deleted"
SET_ASIDE: Final = "set-aside"
"""Why a version was kept; the last by a restore."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for a bucket's writes.

    Attributes:
        keep_ms: how long displaced versions are kept; 0 where the guard is off.
        allowed: fingerprints that writes may bring; None for all.
    """

    keep_ms: int = 0
    allowed: frozenset[bytes] | None = None


NONE: Final = Rules()


@dataclass(frozen=True, slots=True)
class Alarm:
    """What the guard has seen, once the transaction is durable.

    Attributes:
        version: what stood there.
        by: fingerprint of the key that the write brought; empty for a deletion, or if none.
        reason: `OVERWRITTEN` or `DELETED`.
        is_foreign: the write brought, or left, a customer's key that was not the version's.
        until_ms: until when the version is kept; 0 where it still stands behind the new one.
    """

    version: records.Version
    by: bytes
    reason: str
    is_foreign: bool
    until_ms: int


def rules_of(settings: Mapping[str, str]) -> Rules:
    """Read a bucket's settings."""
    guard = settings.get(GUARD)
    keep_ms = 0 if guard is None else int(json.loads(guard)["keep_ms"])
    allowed = allowed_keys(settings)
    return NONE if not keep_ms and allowed is None else Rules(keep_ms, allowed)


def allowed_keys(settings: Mapping[str, str]) -> frozenset[bytes] | None:
    """Return the fingerprints of the customers' keys that writes may bring; None for all."""
    text = settings.get(KEYS)
    return None if text is None else _fingerprints(text)


@functools.lru_cache(1024)
def _fingerprints(text: str) -> frozenset[bytes]:
    return frozenset(bytes.fromhex(one) for one in json.loads(text))


def keys_document(fingerprints: Collection[bytes]) -> str:
    """Write the setting `KEYS`."""
    return json.dumps(sorted(one.hex() for one in fingerprints))


def guard_document(keep_ms: int) -> str:
    """Write the setting `GUARD`."""
    return json.dumps({"keep_ms": keep_ms})


def check_key(rules: Rules, version: records.Version) -> None:
    """Refuse a version under a key that the bucket does not take.

    Of a version whose key left no fingerprint (`--fingerprints off`, a replica) nothing can
    be said here; requests that bring a key are judged before, by the key itself.

    Raises:
        KeyNotAllowed: its key is not on the list.
    """
    if (
        rules.allowed is not None
        and version.fingerprint
        and version.fingerprint not in rules.allowed
    ):
        raise errors.KeyNotAllowed(version.bucket, version.fingerprint)


def is_foreign(rules: Rules, stood: records.Version, put: records.Version) -> bool:
    """Whether a write over `stood` did not prove to come from whoever has its key.

    Where no customer's key is concerned nothing could be proven, and nothing is foreign. A
    key whose fingerprint was not kept proves nothing either.
    """
    if stood.is_marker or CUSTOMER_MODE not in (stood.mode, put.mode):
        return False
    if put.mode != CUSTOMER_MODE or not put.fingerprint:
        return True
    return put.fingerprint != stood.fingerprint and put.fingerprint not in (rules.allowed or ())


def is_kept(rules: Rules, gone: records.Version, put: records.Version | None) -> bool:
    """Whether a version that is displaced is kept; `put` is None, or a marker, for deletions.

    Deletions carry no key, so that none of them proves anything. Delete markers that are
    deleted are kept too: they are small, and part of the state at a moment.
    """
    if not rules.keep_ms:
        return False
    if put is None or put.is_marker:
        return True
    return gone.is_marker or is_foreign(rules, gone, put)
