"""Which encryption does this request get, and may this key open that object.

`Encryption.unlock` is the one function through which every path goes that
opens an object, zero-byte ones included; it decides before a blob is touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.crypto import envelope as envelopes
from strongroom.crypto import marks
from strongroom.keyring import sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.store import records


@dataclass(frozen=True, slots=True)
class Unlocked:
    """A version that the right key has opened, before any of its bytes are read."""

    stored: records.Stored
    data_key: envelopes.DataKey
    head: envelopes.Head


@dataclass(frozen=True, slots=True)
class Locked:
    """A fresh data key, wrapped for an object that is about to be written."""

    binding: envelopes.Binding
    key_fields: tuple[bytes, ...]
    data_key: envelopes.DataKey
    wrapped: envelopes.WrappedKey
    head_key: envelopes.HeadKey


@dataclass(frozen=True, slots=True)
class Finishable:
    """What the escrow of an upload opens: enough to finish it, nothing of its content."""

    draft: envelopes.UploadDraft
    head: envelopes.Head
    body_key: envelopes.BodyKey
    head_key: envelopes.HeadKey


class Encryption:
    """Wraps and unwraps data keys under the customer's key or the store's."""

    def __init__(
        self, store_keys: sources.StoreKeys, *, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._store_keys = store_keys
        self._random_bytes = random_bytes

    def lock(
        self,
        bucket: str,
        key: str,
        customer: sources.CustomerKey | None,
        *,
        data_key: envelopes.DataKey | None = None,
    ) -> Locked:
        """Wrap a data key: under the customer's key if there is one, else the store's.

        Args:
            bucket: where the object will be.
            key: likewise.
            customer: the customer's key.
            data_key: that of a shared body; None makes a new one. Never one that is
                also wrapped on the other side of the border between customer and store.
        """
        source: sources.KeySource = customer or self._store_keys.current
        generation = self._random_bytes(envelopes.GENERATION_BYTES)
        binding = envelopes.Binding(source.mode, bucket, key, generation)
        data_key = data_key or envelopes.DataKey.fresh(self._random_bytes)
        wrapped, head_key = envelopes.wrap(source.secret, data_key, binding, self._random_bytes)
        return Locked(binding, source.key_fields, data_key, wrapped, head_key)

    def unlock(self, stored: records.Stored, customer: sources.CustomerKey | None) -> Unlocked:
        """Open the envelope of a stored version.

        Raises:
            KeyRequired: it is under a customer's key and none was brought.
            KeyNotApplicable: a customer key was brought and it is under the store's.
            WrongKey: the customer key is another one.
            NotAuthentic: envelope, body record or row is not what was written.
        """
        version = stored.version
        envelope = envelopes.Envelope.parse(stored.envelope)
        if envelope.mode != version.mode or envelope.generation != version.generation:
            raise errors.NotAuthentic("the version's row names another envelope")
        source = self._source(envelope.mode, envelope.key_fields, customer)
        data_key, head_key = envelopes.unwrap(source.secret, envelope.wrapped, envelope.binding)
        head = envelope.open_head(head_key)
        if (
            (envelope.origin_bucket, envelope.origin_key) != (version.bucket, version.key)
            or (envelope.etag, envelope.size) != (version.etag, version.size)
            or envelope.modified_ms != version.modified_ms
            or envelope.version_id != version.version_id
        ):
            raise errors.NotAuthentic("the version's row and its envelope differ")
        envelope.check_body(stored.body)
        return Unlocked(stored, data_key, head)

    def unlock_upload(
        self, upload: records.Upload, customer: sources.CustomerKey | None
    ) -> envelopes.DataKey:
        """Open the data key of an upload, for a part.

        Raises:
            PartKeyMissing: the upload has a customer key and the part none, or the reverse.
            PartKeyMismatch: the part's customer key is not the upload's.
            NotAuthentic: the upload's record is not what was written.
        """
        draft = envelopes.UploadDraft.parse(upload.sealed)
        if (customer is not None) != (draft.mode == sources.CUSTOMER_MODE):
            raise errors.PartKeyMissing
        source = self._source(draft.mode, draft.key_fields, customer)
        _check_place(draft, upload)
        try:
            data_key, head_key = envelopes.unwrap(source.secret, draft.wrapped, draft.binding)
        except errors.WrongKey as error:
            raise errors.PartKeyMismatch from error
        draft.open_head(head_key, upload.upload_id)
        return data_key

    def seal_escrow(self, upload_id: str, locked: Locked) -> bytes:
        """Seal "body" and "head" key of an upload under the store key, its number in front.

        Complete and ListParts carry no customer key; the escrow lets them write
        and read the manifest, and opens no content.
        """
        store_key = self._store_keys.current
        return b"%d:" % store_key.number + envelopes.seal_escrow(
            store_key.secret,
            upload_id,
            locked.data_key.body_key(),
            locked.head_key,
            self._random_bytes,
        )

    def open_escrow(self, upload: records.Upload) -> Finishable:
        """Open an upload's escrow.

        Raises:
            NotAuthentic: the upload's record is not what was written.
        """
        draft = envelopes.UploadDraft.parse(upload.sealed)
        number, _, sealed = draft.escrow.partition(b":")
        store_key = self._store_keys.named((number,))
        _check_place(draft, upload)
        body_key, head_key = envelopes.open_escrow(store_key.secret, upload.upload_id, sealed)
        return Finishable(draft, draft.open_head(head_key, upload.upload_id), body_key, head_key)

    def seal_marks(self, binding: envelopes.Binding, found: marks.Marks) -> bytes:
        """Encode the marks of a version, the number of the store key in front."""
        number = self._store_keys.current.number
        row_key = self._store_keys.row_key(number)
        return b"%d:" % number + found.encode(
            row_key, binding.bucket, binding.key, binding.generation
        )

    def open_marks(self, stored: records.Stored) -> marks.Marks:
        """Read the marks of a version; no customer key is needed.

        Raises:
            NotAuthentic: they are not what was written there.
        """
        version = stored.version
        number, _, encoded = stored.marks.partition(b":")
        if not number.isdigit():
            raise errors.NotAuthentic("the marks of a version name no store key")
        row_key = self._store_keys.row_key(int(number))
        return marks.Marks.parse(encoded, row_key, version.bucket, version.key, version.generation)

    def _source(
        self,
        mode: str,
        key_fields: tuple[bytes, ...],
        customer: sources.CustomerKey | None,
    ) -> sources.KeySource:
        if mode == sources.CUSTOMER_MODE:
            if customer is None:
                raise errors.KeyRequired
            return customer
        if mode != sources.SERVER_MODE:
            raise errors.NotAuthentic("the envelope names an unknown mode")
        if customer is not None:
            raise errors.KeyNotApplicable
        return self._store_keys.named(key_fields)


def _check_place(draft: envelopes.UploadDraft, upload: records.Upload) -> None:
    if (draft.origin_bucket, draft.origin_key, draft.mode) != (
        upload.bucket,
        upload.key,
        upload.mode,
    ):
        raise errors.NotAuthentic("the upload's row and its draft differ")
