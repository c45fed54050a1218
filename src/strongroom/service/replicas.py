"""Replicas: versions that come from another bucket, here or elsewhere, with their ids and times.

What is under a customer's key comes as it lies at the source: blobs, body record and
envelope, byte by byte. Nobody on the way can open it, and the customer's key opens it
here. What the server holds the key of comes with its data keys and its head, and gets an
envelope of this store; its blobs come as they are, too.

Source: docs/formats/sealed-object.md, section 11; docs/decisions on replication.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.crypto import body as bodies
from strongroom.crypto import digests, layers, marks, replica
from strongroom.crypto import envelope as envelopes
from strongroom.keyring import sources
from strongroom.service import encryption, locks, transfer
from strongroom.store import blobs as ports
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from strongroom.keyring import kms_sources
    from strongroom.store import catalog

AHEAD_MS = 15 * 60 * 1000
"""How far in the future a replica may say that it was written."""

_TRIES = 3


@dataclass(slots=True)
class Manifest:
    """All of a version but its larger blobs.

    Attributes:
        version: its row at the source.
        body: encoded body record.
        tags: key → value.
        acl: its access list, encoded; empty where it has none, or means nothing here.
        lock: what keeps it from being deleted; counts where the target has object lock.
        envelope: encoded, of a version under a customer's key; else empty.
        keys: of any other version, the data key of each layer, from the inside.
        head: likewise, the encoded head.
        blobs: those that came along, id → sealed bytes.
    """

    version: records.Version
    body: bytes
    tags: Mapping[str, str]
    acl: str = ""
    lock: locks.Lock = locks.NO_LOCK
    envelope: bytes = b""
    keys: Sequence[envelopes.DataKey] = field(default=(), repr=False)
    head: bytes = field(default=b"", repr=False)
    blobs: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)


class Replicas:
    """Takes replicas in."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        blobs: ports.Blobs,
        carrier: transfer.Transfer,
        guard: encryption.Encryption,
        *,
        random_bytes: Callable[[int], bytes],
        clock_ms: Callable[[], int],
        displaced: Callable[[], None],
    ) -> None:
        self._catalog = catalog
        self._store = catalog.replication
        self._blobs = blobs
        self._transfer = carrier
        self._encryption = guard
        self._random_bytes = random_bytes
        self._clock_ms = clock_ms
        self._displaced = displaced

    async def receive(
        self,
        bucket: records.Bucket,
        manifest: Manifest,
        *,
        owner: str,
        wish: kms_sources.Wish | None = None,
        shares: records.Version | None = None,
    ) -> Sequence[bytes]:
        """Put a version where it belongs among the others of its key.

        One that is there already gets the manifest's tags, and is otherwise left alone.

        Args:
            bucket: where to.
            manifest: the version.
            owner: canonical id of whom it will belong to.
            wish: which KMS key it is to be under, if it was under one.
            shares: the version itself, where it is of this store: then no blobs are needed.

        Returns:
            ids of blobs that have to be staged first; empty where it is done.

        Raises:
            BodyMalformed, NotAuthentic: the parts of the manifest do not belong together.
            VersioningChanged: the bucket's versioning is not enabled.
            KmsError: the KMS refuses, or cannot be asked.
            SourceGone: the version of `shares` is gone.
            StoreFull, StoreFailed: it could not be kept.
        """
        if bucket.versioning != records.ENABLED:
            raise errors.VersioningChanged(bucket.name)
        body = bodies.parse(manifest.body)
        if body.total_bytes != manifest.version.size:
            raise errors.BodyMalformed("a replica's body record is of another length")
        if manifest.version.modified_ms > self._clock_ms() + AHEAD_MS:
            raise errors.BodyMalformed("a replica comes from the future")
        inline: list[records.NewBlob] = []
        if shares is None:
            lacking = set(await self._store.missing(manifest.body))
            for part in body.parts:
                if part.blob_id not in lacking or part.blob_id not in manifest.blobs:
                    continue
                lacking.discard(part.blob_id)
                data = manifest.blobs[part.blob_id]
                _check_blob(part, body, data)
                if part.plain_bytes <= transfer.INLINE_BYTES:
                    inline.append(records.NewBlob(part.blob_id, len(data), "", data))
                else:
                    await self.stage(part.blob_id, _whole(data))
            if lacking:
                return [part.blob_id for part in body.parts if part.blob_id in lacking]
        draft = await self._draft(bucket, manifest, body, owner, wish)
        draft = dataclasses.replace(draft, blobs=tuple(inline), shares=shares)
        placed = await self._store.put_replica(draft)
        if placed.written:
            self._displaced()
        else:
            await self._retag(bucket, draft.version, manifest)
        return []

    async def receive_marker(
        self,
        bucket: records.Bucket,
        key: str,
        version_id: str,
        *,
        owner: str,
        modified_ms: int,
    ) -> None:
        """Put a delete marker where it belongs; nothing happens if it is there.

        Raises:
            VersioningChanged: the bucket's versioning is not enabled.
            BodyMalformed: it is of the future.
        """
        if modified_ms > self._clock_ms() + AHEAD_MS:
            raise errors.BodyMalformed("a replica comes from the future")
        marker = records.delete_marker(
            bucket.name, key, version_id, owner=owner, modified_ms=modified_ms
        )
        draft = records.Draft(marker, b"", b"", b"", bucket_made_ms=bucket.created_ms)
        await self._store.put_replica(draft)
        self._displaced()

    async def stage(self, blob_id: bytes, incoming: transfer.Incoming) -> None:
        """Keep a sealed blob for a replica that is to come. Durable on return.

        Raises:
            BadBody: it is not the body that was announced.
            StoreFull, StoreFailed: it could not be kept.
        """
        sink = _Sink(self._blobs, blob_id, incoming)
        received: transfer.Received | None = None
        try:
            batch: list[bytes | bytearray] = []
            gathered = 0
            async for chunk in incoming.chunks:
                batch.append(chunk)
                gathered += len(chunk)
                if gathered >= transfer.BATCH_BYTES:
                    await self._transfer.on_thread(sink.feed, batch)
                    batch, gathered = [], 0
            size, place, digest = await self._transfer.on_thread(sink.finish, batch)
            await self._blobs.settle(place)
            blob = records.NewBlob(blob_id, size, place)
            received = transfer.Received(blob, bodies.BodyPart(1, blob_id, 0, digest), None)
            await received.commit(self._store.stage(blob, digest, self._clock_ms()))
        finally:
            if received is None or not received.kept:
                await self._transfer.on_thread(sink.discard)

    async def expire_staged(self, before_ms: int) -> int:
        """Doom staged blobs that no replica came for; return how many."""
        gone = await self._store.expire_staged(before_ms)
        if gone:
            self._displaced()
        return gone

    async def _draft(
        self,
        bucket: records.Bucket,
        manifest: Manifest,
        body: bodies.SealedBody,
        owner: str,
        wish: kms_sources.Wish | None,
    ) -> records.Draft:
        if manifest.envelope:
            envelope = envelopes.Envelope.parse(manifest.envelope)
            if envelope.mode != sources.CUSTOMER_MODE:
                raise errors.BodyMalformed("only what customers hold the key of comes as it is")
        else:
            envelope = await self._sealed_here(bucket, manifest, body, wish)
        envelope.check_body(manifest.body)
        given = manifest.version
        if (envelope.origin_key, envelope.version_id) != (given.key, given.version_id):
            raise errors.BodyMalformed("a replica's envelope is that of another version")
        version = dataclasses.replace(
            given,
            bucket=bucket.name,
            size=envelope.size,
            etag=envelope.etag,
            modified_ms=envelope.modified_ms,
            owner=owner,
            mode=envelope.mode,
            generation=replica.generation_at(envelope, bucket.name),
        )
        if (version.size, version.modified_ms) != (given.size, given.modified_ms):
            raise errors.BodyMalformed("a replica's row and its envelope differ")
        noted = marks.Marks(dict(manifest.tags), manifest.acl).noted(
            **{
                replica.REPLICA_NOTE: bucket.name,
                # Of another store's the key was never here, and its fingerprint would be another.
                encryption.FINGERPRINT_NOTE: version.fingerprint.hex(),
            }
        )
        if bucket.has_lock:
            noted = locks.noted(noted, manifest.lock)
        binding = envelopes.Binding(version.mode, bucket.name, version.key, version.generation)
        return records.Draft(
            version,
            envelope.encode(),
            manifest.body,
            self._encryption.seal_marks(binding, noted),
            bucket_made_ms=bucket.created_ms,
        )

    async def _sealed_here(
        self,
        bucket: records.Bucket,
        manifest: Manifest,
        body: bodies.SealedBody,
        wish: kms_sources.Wish | None,
    ) -> envelopes.Envelope:
        """Make an envelope of this store, for a version that the server holds the key of."""
        version, keys = manifest.version, manifest.keys
        if len(keys) != body.layers or body.layers != sources.layers_of(version.mode):
            raise errors.BodyMalformed("a replica has other keys than layers")
        if (wish is not None) != (version.mode in sources.KMS_MODES):
            raise errors.BodyMalformed("a replica under a KMS key needs one here")
        # The data key vouches for the body record, and so for each blob's digest.
        body.open_checksums(keys[0].body_key())
        locked = await self._encryption.lock(
            bucket.name,
            version.key,
            None,
            wish,
            data_key=keys[0],
            outer_key=keys[1] if body.layers == layers.DUAL else None,
        )
        return envelopes.Envelope.seal(
            binding=locked.binding,
            key_fields=locked.key_fields,
            wrapped=locked.wrapped,
            etag=version.etag,
            size=version.size,
            modified_ms=version.modified_ms,
            version_id=version.version_id,
            body_digest=hashlib.sha256(manifest.body).digest(),
            head=envelopes.Head.parse(manifest.head),
            head_key=locked.head_key,
            random_bytes=self._random_bytes,
        )

    async def _retag(
        self, bucket: records.Bucket, version: records.Version, manifest: Manifest
    ) -> None:
        """Give a replica that is here the tags, list and lock that its origin has by now."""
        for tries_left in reversed(range(_TRIES)):
            with contextlib.suppress(errors.VersionNotFound, errors.IsDeleteMarker):
                stored = await self._catalog.version(
                    version.bucket, version.key, version.version_id
                )
                found = self._encryption.open_marks(stored)
                changed = dataclasses.replace(
                    found, tags=dict(manifest.tags), acl=manifest.acl or found.acl
                )
                if bucket.has_lock:
                    changed = self._relocked(changed, manifest.lock)
                is_replica = found.notes.get(replica.REPLICA_NOTE) == version.bucket
                if not is_replica or changed == found:
                    return
                there = stored.version
                binding = envelopes.Binding(there.mode, there.bucket, there.key, there.generation)
                sealed = self._encryption.seal_marks(binding, changed)
                try:
                    await self._catalog.set_marks(there, sealed, before=stored.marks)
                except (errors.ObjectNotFound, errors.MarksChanged):
                    if not tries_left:
                        raise
                    continue
            return

    def _relocked(self, found: marks.Marks, wanted: locks.Lock) -> marks.Marks:
        """Return marks with another lock; a retention that only a bypass lifts stays."""
        lock = locks.of(found)
        with contextlib.suppress(errors.ObjectLocked):
            lock = locks.retained(
                lock, wanted.mode, wanted.until_ms, self._clock_ms(), bypass=False
            )
        return locks.noted(found, locks.held(lock, wanted.hold))


class _Sink:
    """Writes a sealed blob as it comes; on one thread at a time."""

    def __init__(self, blobs: ports.Blobs, blob_id: bytes, incoming: transfer.Incoming) -> None:
        self._blobs = blobs
        self._blob_id = blob_id
        self._incoming = incoming
        self._crc = digests.ciphertext_crc()
        self._sha256 = hashlib.sha256() if incoming.sha256 is not None else None
        self._left = incoming.length
        self._gathered = bytearray()
        self._writer: ports.BlobWriter | None = None

    def feed(self, batch: Sequence[bytes | bytearray]) -> None:
        if self._writer is None:
            self._writer = self._blobs.create(self._blob_id, self._incoming.length)
        decoder = self._incoming.decoder
        for chunk in batch:
            for piece in (chunk,) if decoder is None else decoder.feed(chunk):
                self._left -= len(piece)
                if self._left < 0:
                    raise errors.BodyTooLong
                self._crc.update(piece)
                if self._sha256 is not None:
                    self._sha256.update(piece)
                self._gathered += piece
        whole = len(self._gathered) // ports.ROOM_BYTES * ports.ROOM_BYTES
        # What ends a blob may be shorter; so one room's worth is kept back until the end.
        if whole == len(self._gathered):
            whole -= ports.ROOM_BYTES
        for start in range(0, whole, ports.ROOM_BYTES):
            self._write(self._gathered[start : start + ports.ROOM_BYTES])
        if whole > 0:
            del self._gathered[:whole]

    def finish(self, batch: Sequence[bytes | bytearray]) -> tuple[int, str, bytes]:
        """Take in the rest; return (bytes, place, digest)."""
        self.feed(batch)
        if self._incoming.decoder is not None:
            self._incoming.decoder.finish()
        if self._left:
            raise errors.BodyTooShort
        if self._sha256 is not None and self._incoming.sha256 is not None:
            computed = self._sha256.digest()
            if not hmac.compare_digest(computed, self._incoming.sha256):
                raise errors.DigestMismatch("X-SHA256", self._incoming.sha256, computed)
        if self._gathered:
            self._write(self._gathered)
        assert self._writer is not None, "feed makes the writer"
        return self._incoming.length, self._writer.finish(), self._crc.digest()

    def discard(self) -> None:
        """Remove what was written."""
        if self._writer is not None:
            self._writer.discard()

    def _write(self, piece: bytes | bytearray) -> None:
        assert self._writer is not None, "feed makes the writer"
        self._writer.room(len(piece))[:] = piece


def _whole(data: bytes) -> transfer.Incoming:
    async def chunks() -> AsyncIterator[bytes | bytearray]:
        yield data

    return transfer.Incoming(chunks=chunks(), length=len(data))


def _check_blob(part: bodies.ClearPart, body: bodies.SealedBody, data: bytes) -> None:
    running = digests.ciphertext_crc()
    running.update(data)
    size = layers.sealed_size(part.plain_bytes, body.layers, body.segment_bytes)
    if len(data) != size or not hmac.compare_digest(running.digest(), part.digest):
        raise errors.BodyMalformed("a replica's blob is not the one that its body record names")
