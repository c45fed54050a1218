"""Which encryption does this request get, and may this key open that object.

`Encryption.unlock` is the one function through which every path goes that
opens an object, zero-byte ones included; it decides before a blob is touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from strongroom import errors
from strongroom.crypto import envelope as envelopes
from strongroom.crypto import marks, replica
from strongroom.keyring import kms_sources, sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.crypto import secret
    from strongroom.keyring import kms
    from strongroom.store import records


FINGERPRINT_NOTE: Final = "fingerprint"
"""The note among a version's marks that vouches for the fingerprint in its row."""


@dataclass(frozen=True, slots=True)
class Unlocked:
    """A version that the right key has opened, before any of its bytes are read.

    `outer_key` is that of the second layer; None where there is one layer.
    """

    stored: records.Stored
    data_key: envelopes.DataKey
    head: envelopes.Head
    protection: sources.Protection
    outer_key: envelopes.DataKey | None = None

    @property
    def keys(self) -> tuple[envelopes.DataKey, ...]:
        """The data key of each layer, from the inside."""
        return (self.data_key,) if self.outer_key is None else (self.data_key, self.outer_key)


@dataclass(frozen=True, slots=True)
class Locked:
    """A fresh data key, wrapped for an object that is about to be written.

    `outer_key` is a second one, wrapped among the key fields, for a body that is to be
    sealed twice. `fingerprint` is what is kept of a customer's key.
    """

    binding: envelopes.Binding
    key_fields: tuple[bytes, ...]
    data_key: envelopes.DataKey
    wrapped: envelopes.WrappedKey
    head_key: envelopes.HeadKey
    outer_key: envelopes.DataKey | None = None
    fingerprint: bytes = b""

    @property
    def layers(self) -> int:
        """How many streams lie around the plaintext."""
        return sources.layers_of(self.binding.mode)

    def noted(self, found: marks.Marks) -> marks.Marks:
        """Return marks that say which customer's key it is; none, if that is not to be kept."""
        if not (self.fingerprint or FINGERPRINT_NOTE in found.notes):
            return found
        return found.noted(**{FINGERPRINT_NOTE: self.fingerprint.hex()})

    @property
    def protection(self) -> sources.Protection:
        """What answers tell of it."""
        return kms_sources.protection(self.binding.mode, self.key_fields)


@dataclass(frozen=True, slots=True)
class UploadKeys:
    """The data keys of an open upload, for a part of it; `outer_key` as in `Locked`."""

    data_key: envelopes.DataKey
    outer_key: envelopes.DataKey | None
    protection: sources.Protection


@dataclass(frozen=True, slots=True)
class Finishable:
    """What the escrow of an upload opens: enough to finish it, nothing of its content."""

    draft: envelopes.UploadDraft
    head: envelopes.Head
    body_key: envelopes.BodyKey
    head_key: envelopes.HeadKey

    @property
    def layers(self) -> int:
        """How many streams lie around each part."""
        return sources.layers_of(self.draft.mode)


class Encryption:
    """Wraps and unwraps data keys under the customer's key, the store's, or the KMS's.

    What needs the KMS waits for it; the other modes are done without a pause.
    """

    def __init__(
        self,
        store_keys: sources.StoreKeys,
        kms: kms_sources.KmsKeys,
        *,
        random_bytes: Callable[[int], bytes],
        fingerprint: Callable[[secret.SecretKey], bytes] | None = None,
    ) -> None:
        """Begin.

        Args:
            store_keys: the store's own.
            kms: the KMS's.
            random_bytes: source of keys, salts and ids.
            fingerprint: makes what is kept of a customer's key; None keeps nothing.
        """
        self._store_keys = store_keys
        self._kms = kms
        self._random_bytes = random_bytes
        self._fingerprint = fingerprint

    async def lock(
        self,
        bucket: str,
        key: str,
        customer: sources.CustomerKey | None,
        wish: kms_sources.Wish | None = None,
        *,
        data_key: envelopes.DataKey | None = None,
        outer_key: envelopes.DataKey | None = None,
    ) -> Locked:
        """Wrap a data key: under the customer's key, or one of the KMS's, or the store's.

        Args:
            bucket: where the object will be.
            key: likewise.
            customer: the customer's key.
            wish: which key of the KMS; not together with a customer's key.
            data_key: that of a shared body; None makes a new one. Never one that is
                also wrapped on the other side of the border between customer and store.
            outer_key: likewise of the second layer. Given with `data_key` or not at all,
                where there are two.

        Raises:
            KmsError: the KMS refuses, or cannot be asked.
        """
        assert customer is None or wish is None, "an object has one mode"
        source: sources.KeySource = customer or self._store_keys.current
        kms_key: kms_sources.KmsKey | None = None
        if wish is not None:
            source = kms_key = await self._kms.fresh(bucket, key, wish)
        generation = self._random_bytes(envelopes.GENERATION_BYTES)
        binding = envelopes.Binding(source.mode, bucket, key, generation)
        data_key = data_key or envelopes.DataKey.fresh(self._random_bytes)
        wrapped, head_key = envelopes.wrap(source.secret, data_key, binding, self._random_bytes)
        if kms_key is None or kms_key.outer is None:
            fingerprint = b""
            if customer is not None and self._fingerprint is not None:
                fingerprint = self._fingerprint(customer.secret)
            return Locked(
                binding, source.key_fields, data_key, wrapped, head_key, fingerprint=fingerprint
            )
        outer_key = outer_key or envelopes.DataKey.fresh(self._random_bytes)
        outer, _ = envelopes.wrap(kms_key.outer, outer_key, binding, self._random_bytes)
        key_fields = (*source.key_fields, outer.encode())
        return Locked(binding, key_fields, data_key, wrapped, head_key, outer_key)

    async def unlock(
        self,
        stored: records.Stored,
        customer: sources.CustomerKey | None,
        caller: kms.Caller = kms_sources.NOBODY,
    ) -> Unlocked:
        """Open the envelope of a stored version, for whoever brings its key or may use it.

        Raises:
            KeyRequired: it is under a customer's key and none was brought.
            KeyNotApplicable: a customer key was brought and it is under another.
            WrongKey: the customer key is another one.
            KmsError: the KMS refuses this caller, or cannot be asked.
            NotAuthentic: envelope, body record or row is not what was written.
        """
        version = stored.version
        envelope = envelopes.Envelope.parse(stored.envelope)
        generation = envelope.generation
        if envelope.origin_bucket != version.bucket:
            generation = self._check_replica(stored, envelope)
        if envelope.mode != version.mode or generation != version.generation:
            raise errors.NotAuthentic("the version's row names another envelope")
        source = await self._source(envelope.mode, envelope.key_fields, customer, caller)
        data_key, head_key = _unwrap(source, envelope.wrapped, envelope.binding)
        head = envelope.open_head(head_key)
        if (
            envelope.origin_key != version.key
            or (envelope.etag, envelope.size) != (version.etag, version.size)
            or envelope.modified_ms != version.modified_ms
            or envelope.version_id != version.version_id
        ):
            raise errors.NotAuthentic("the version's row and its envelope differ")
        envelope.check_body(stored.body)
        protection = kms_sources.protection(envelope.mode, envelope.key_fields)
        outer_key = _outer_key(source, envelope.key_fields, envelope.binding)
        return Unlocked(stored, data_key, head, protection, outer_key)

    async def unlock_upload(
        self,
        upload: records.Upload,
        customer: sources.CustomerKey | None,
        caller: kms.Caller = kms_sources.NOBODY,
    ) -> UploadKeys:
        """Open the data keys of an upload, for a part.

        Raises:
            PartKeyMissing: the upload has a customer key and the part none, or the reverse.
            PartKeyMismatch: the part's customer key is not the upload's.
            KmsError: the KMS refuses this caller, or cannot be asked.
            NotAuthentic: the upload's record is not what was written.
        """
        draft = envelopes.UploadDraft.parse(upload.sealed)
        if (customer is not None) != (draft.mode == sources.CUSTOMER_MODE):
            raise errors.PartKeyMissing
        source = await self._source(draft.mode, draft.key_fields, customer, caller)
        _check_place(draft, upload)
        try:
            data_key, head_key = _unwrap(source, draft.wrapped, draft.binding)
        except errors.WrongKey as error:
            raise errors.PartKeyMismatch from error
        draft.open_head(head_key, upload.upload_id)
        protection = kms_sources.protection(draft.mode, draft.key_fields)
        outer_key = _outer_key(source, draft.key_fields, draft.binding)
        return UploadKeys(data_key, outer_key, protection)

    @staticmethod
    def protection_of(upload: records.Upload) -> sources.Protection:
        """Return what answers tell of an upload's encryption.

        Raises:
            NotAuthentic: the upload's record is none that is ever written.
        """
        draft = envelopes.UploadDraft.parse(upload.sealed)
        return kms_sources.protection(draft.mode, draft.key_fields)

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
        return self.read_marks(stored.version, stored.marks)

    def read_marks(self, version: records.Version, stored: bytes) -> marks.Marks:
        """Read marks that are stored with a version; for guards, on any thread.

        Raises:
            NotAuthentic: they are not what was written there.
        """
        return self._store_keys.read_marks(version, stored)

    def _check_replica(self, stored: records.Stored, envelope: envelopes.Envelope) -> bytes:
        """Return the generation of a version whose envelope was made for another bucket.

        Raises:
            NotAuthentic: this server does not vouch for it that replication put it there.
        """
        bucket = stored.version.bucket
        if self.open_marks(stored).notes.get(replica.REPLICA_NOTE) != bucket:
            raise errors.NotAuthentic("the version's row and its envelope differ")
        return replica.generation_at(envelope, bucket)

    async def _source(
        self,
        mode: str,
        key_fields: tuple[bytes, ...],
        customer: sources.CustomerKey | None,
        caller: kms.Caller,
    ) -> sources.KeySource:
        if mode == sources.CUSTOMER_MODE:
            if customer is None:
                raise errors.KeyRequired
            return customer
        if mode != sources.SERVER_MODE and mode not in sources.KMS_MODES:
            raise errors.NotAuthentic("the envelope names an unknown mode")
        if customer is not None:
            raise errors.KeyNotApplicable
        if mode == sources.SERVER_MODE:
            return self._store_keys.named(key_fields)
        return await self._kms.open(mode, key_fields, caller)


def _unwrap(
    source: sources.KeySource, wrapped: envelopes.WrappedKey, binding: envelopes.Binding
) -> tuple[envelopes.DataKey, envelopes.HeadKey]:
    """Unwrap a data key; only a customer can have brought a wrong key."""
    try:
        return envelopes.unwrap(source.secret, wrapped, binding)
    except errors.WrongKey as error:
        if source.mode == sources.CUSTOMER_MODE:
            raise
        raise errors.NotAuthentic(
            "a wrapped key is not the one that its key fields name"
        ) from error


def _outer_key(
    source: sources.KeySource, key_fields: tuple[bytes, ...], binding: envelopes.Binding
) -> envelopes.DataKey | None:
    """Unwrap the data key of the second layer, if there is one; after the head was opened."""
    if not isinstance(source, kms_sources.KmsKey) or source.outer is None:
        return None
    try:
        return envelopes.unwrap(source.outer, envelopes.WrappedKey.parse(key_fields[-1]), binding)[
            0
        ]
    except errors.WrongKey as error:
        raise errors.NotAuthentic("an outer key is not the one that its key fields name") from error


def _check_place(draft: envelopes.UploadDraft, upload: records.Upload) -> None:
    if (draft.origin_bucket, draft.origin_key, draft.mode) != (
        upload.bucket,
        upload.key,
        upload.mode,
    ):
        raise errors.NotAuthentic("the upload's row and its draft differ")
