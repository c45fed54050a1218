"""Another key around what is there: the envelope of a version is written anew, its data is not.

Version id, ETag, time and owner stay, and so does everything that an answer tells but the
encryption. Only where the same data key may be wrapped both ways, which are the ways that
copies share data.

Source: docs/formats/sealed-object.md, "Sharing"; S3 API reference, UpdateObjectEncryption.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.crypto import envelope as envelopes
from strongroom.keyring import kms_sources, sources
from strongroom.service import locks, versions
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.keyring import kms
    from strongroom.service import encryption
    from strongroom.store import catalog

_TRIES = 3
"""A version whose envelope changes meanwhile is looked up this often."""


class Rewrapping:
    """Changes what guards a version."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        encryption: encryption.Encryption,
        *,
        random_bytes: Callable[[int], bytes],
        clock_ms: Callable[[], int],
    ) -> None:
        self._catalog = catalog
        self._clock_ms = clock_ms
        self._encryption = encryption
        self._random_bytes = random_bytes

    async def rewrap(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        customer: sources.CustomerKey | None = None,
        caller: kms.Caller = kms_sources.NOBODY,
        new_customer: sources.CustomerKey | None = None,
        wish: kms_sources.Wish | None = None,
        bucket_made_ms: int | None = None,
    ) -> records.Version:
        """Wrap the data key of a version under another key, in place.

        Args:
            bucket: where it is.
            key: likewise.
            version_id: which version; None for the current one.
            customer: the customer's key that it is under now, if it is under one.
            caller: who asks the KMS for the key that it is under now.
            new_customer: the customer's key that it is to be under.
            wish: the KMS key that it is to be under; None, without a new customer's key,
                for the store's.
            bucket_made_ms: as for `Objects.put`.

        Raises:
            ObjectNotFound, VersionNotFound, IsDeleteMarker: there is no such version.
            NotRewrappable: it would have to be sealed anew: between a customer's key and the
                others, or where two layers are, or are to be.
            ObjectLocked: it is under a legal hold, or in retention of whatever mode.
            KeyRequired, WrongKey, KmsError, NotAuthentic: see `Encryption.unlock`.
        """
        for tries_left in reversed(range(_TRIES)):
            stored = await versions.look_up(self._catalog, bucket, key, version_id)
            _check(stored.version.mode, new_customer, wish)
            # A change of the lock meanwhile makes `replace_version` fail.
            if locks.is_locked(locks.of(self._encryption.open_marks(stored)), self._clock_ms()):
                raise errors.ObjectLocked
            opened = await self._encryption.unlock(stored, customer, caller)
            locked = await self._encryption.lock(
                bucket, key, new_customer, wish, data_key=opened.data_key
            )
            draft = self._draft(opened, locked, bucket_made_ms)
            try:
                await self._catalog.replace_version(draft, stored)
            except errors.ObjectNotFound:
                # Overwritten, deleted, tagged or wrapped anew since it was looked up; look again.
                if not tries_left:
                    raise
            else:
                return draft.version
        raise AssertionError("the last try returns or raises")

    def _draft(
        self,
        opened: encryption.Unlocked,
        locked: encryption.Locked,
        bucket_made_ms: int | None,
    ) -> records.Draft:
        stored = opened.stored
        before = stored.version
        binding = locked.binding
        envelope = envelopes.Envelope.seal(
            binding=binding,
            key_fields=locked.key_fields,
            wrapped=locked.wrapped,
            etag=before.etag,
            size=before.size,
            modified_ms=before.modified_ms,
            version_id=before.version_id,
            body_digest=hashlib.sha256(stored.body).digest(),
            head=opened.head,
            head_key=locked.head_key,
            random_bytes=self._random_bytes,
        )
        marks = self._encryption.seal_marks(
            binding, locked.noted(self._encryption.open_marks(stored))
        )
        version = dataclasses.replace(
            before,
            mode=binding.mode,
            generation=binding.generation,
            fingerprint=locked.fingerprint,
        )
        return records.Draft(
            version, envelope.encode(), stored.body, marks, bucket_made_ms=bucket_made_ms
        )


def _check(
    mode: str, new_customer: sources.CustomerKey | None, wish: kms_sources.Wish | None
) -> None:
    if new_customer is not None:
        fits = mode == sources.CUSTOMER_MODE
    else:
        dual = wish is not None and wish.dual
        fits = not dual and mode in (sources.SERVER_MODE, sources.KMS_MODE)
    if not fits:
        raise errors.NotRewrappable(mode)
