"""Objects: put, get, head, delete."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from strongroom import errors
from strongroom.crypto import body as bodies
from strongroom.crypto import digests, geometry, marks
from strongroom.crypto import envelope as envelopes
from strongroom.keyring import kms_sources, sources
from strongroom.service import (
    conditions,
    facets,
    judgement,
    locks,
    marking,
    replication_rules,
    transfer,
    versions,
)
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from strongroom.keyring import kms
    from strongroom.service import encryption
    from strongroom.store import catalog

MAX_OBJECT_BYTES = 5 * 1024**3
"""The most that one PUT may carry. Source: S3 user guide, "Uploading objects"."""

DEFAULT_CHECKSUM: Final = "CRC64NVME"
"""Computed when the client names none. Source: S3 user guide, "Checking object integrity"."""

FULL_OBJECT: Final = "FULL_OBJECT"
COMPOSITE: Final = "COMPOSITE"

_TRIES = 3
"""A read that loses its version to a concurrent write looks again this often."""


@dataclass(frozen=True, slots=True)
class Found:
    """A version that the request may see.

    Attributes:
        version: its row.
        head: what its envelope seals: checksums, content headers, user metadata.
        tags: its tags.
        protection: how it is encrypted.
        lock: what keeps it from being deleted.
        part_checksums: those of the part that was asked for by its number.
        replication: how far it is replicated, in the words of `replication_rules`; empty
            where nobody replicates it.
    """

    version: records.Version
    head: envelopes.Head
    tags: Mapping[str, str]
    protection: sources.Protection
    lock: locks.Lock = locks.NO_LOCK
    part_checksums: Mapping[str, bytes] | None = None
    replication: str = ""


@dataclass(frozen=True, slots=True)
class Marked:
    """What is known of a version without its key.

    Attributes:
        generation: tells it from whatever takes its place.
        writer: canonical id of who wrote it.
        tags: key → value.
        acl: its access list, encoded; empty where it has none of its own.
    """

    generation: bytes
    writer: str
    tags: Mapping[str, str]
    acl: str


@dataclass(slots=True)
class Opened:
    """A version that is about to be sent: [start, end) of it, by `pieces`.

    The first piece is open already: a damaged beginning was an error, not a cut
    connection. A small object is there as a whole. Whoever gets this must exhaust or
    `aclose` pieces.
    """

    found: Found
    start: int
    end: int
    pieces: Pieces | bytes


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a deletion did: the version, or marker, that is gone, and the marker that was put."""

    gone: records.Version | None
    marker: records.Version | None


class Objects:
    """What can be done with one object."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        transfer: transfer.Transfer,
        encryption: encryption.Encryption,
        pins: transfer.Pins,
        *,
        random_bytes: Callable[[int], bytes],
        clock_ms: Callable[[], int],
        displaced: Callable[[], None],
    ) -> None:
        self._catalog = catalog
        self._transfer = transfer
        self._encryption = encryption
        self._pins = pins
        self._random_bytes = random_bytes
        self._clock_ms = clock_ms
        self._displaced = displaced
        self._marking = marking.Marking(catalog, encryption, clock_ms=clock_ms)

    async def put(
        self,
        bucket: str,
        key: str,
        incoming: transfer.Incoming,
        *,
        owner: str,
        customer: sources.CustomerKey | None,
        content: facets.Content,
        tags: dict[str, str],
        wish: kms_sources.Wish | None = None,
        acl: str = "",
        terms: locks.Terms = locks.NO_TERMS,
        when: conditions.Conditions = conditions.NONE,
        bucket_made_ms: int | None = None,
    ) -> Found:
        """Store a body as the current version of a key.

        Returns when it is durable. On any failure nothing of it is left. It is sealed
        under the customer's key, or one of the KMS's if `wish` says so, or the store's, and
        locked as `terms` say. `bucket_made_ms` is when the bucket was made that the caller may write to:
        another of its name, made meanwhile, is not that bucket.

        Raises:
            BucketNotFound: there is no such bucket (any more).
            BadBody: the body is not the one that was announced.
            KmsError: the KMS refuses, or cannot be asked.
            PreconditionFailed, ObjectNotFound: a condition does not hold.
            StoreFull, StoreFailed: it could not be kept.
        """
        if incoming.length > MAX_OBJECT_BYTES and not incoming.open_ended:
            raise errors.ObjectTooLarge(incoming.length, MAX_OBJECT_BYTES)
        locked = await self._encryption.lock(bucket, key, customer, wish)
        plain_etag = locked.binding.mode == sources.SERVER_MODE
        checksum = incoming.checksum or DEFAULT_CHECKSUM
        async with self._transfer.receive(
            incoming,
            locked.data_key,
            1,
            checksums=(checksum,),
            md5=plain_etag,
            outer_key=locked.outer_key,
        ) as received:
            size = received.part.plain_bytes
            if size > MAX_OBJECT_BYTES:
                raise errors.ObjectTooLarge(size, MAX_OBJECT_BYTES)
            etag = etag_of(received, self._random_bytes)
            head = envelopes.Head(
                # A copy also checks what its source had, and need not keep it.
                checksums={checksum: received.part.checksums[checksum]},
                checksum_type=FULL_OBJECT,
                content=content.headers,
                metadata=content.metadata,
            )
            now_ms = self._clock_ms()
            lock = terms.at(now_ms)
            seal = functools.partial(
                seal_version,
                locked.binding,
                locked.key_fields,
                locked.wrapped,
                locked.head_key,
                body=bodies.encode(
                    bodies.BodyRecord(geometry.SEGMENT_BYTES, locked.layers, (received.part,)),
                    locked.data_key.body_key(),
                    self._random_bytes,
                ),
                head=head,
                etag=etag,
                size=size,
                modified_ms=now_ms,
                owner=owner,
                encoded_marks=self._encryption.seal_marks(
                    locked.binding, locks.noted(locked.noted(marks.Marks(tags, acl)), lock)
                ),
                blobs=(received.blob,),
                bucket_made_ms=bucket_made_ms,
                fingerprint=locked.fingerprint,
                random_bytes=self._random_bytes,
            )
            guard = when.guard(bucket, key)
            draft = await versions.commit(
                self._catalog,
                bucket,
                seal,
                lambda draft: received.commit(self._catalog.put_version(draft, guard)),
                guard=self._encryption,
                random_bytes=self._random_bytes,
            )
        self._displaced()
        return Found(draft.version, head, tags, locked.protection, lock)

    async def head(
        self,
        bucket: str,
        key: str,
        version_id: str | None = None,
        *,
        customer: sources.CustomerKey | None,
        caller: kms.Caller = kms_sources.NOBODY,
        extent: facets.Extent | None = None,
        when: conditions.Conditions = conditions.NONE,
    ) -> Found:
        """Return what is known of a version, the current one if none is named, to whoever has its key.

        Raises:
            ObjectNotFound, VersionNotFound, IsDeleteMarker: see `versions.look_up`.
            KeyRequired, KeyNotApplicable, WrongKey, KmsError, NotAuthentic: see `Encryption.unlock`.
            PreconditionFailed, NotModified: a condition says so.
        """
        opened = await self.unlock(bucket, key, customer, caller, version_id)
        when.check_read(opened.stored.version)
        return self._found(opened, extent)

    async def unlock(
        self,
        bucket: str,
        key: str,
        customer: sources.CustomerKey | None,
        caller: kms.Caller = kms_sources.NOBODY,
        version_id: str | None = None,
        *,
        with_data: bool = False,
    ) -> encryption.Unlocked:
        """Look a version up, the current one if none is named, and open its envelope.

        Raises:
            ObjectNotFound, VersionNotFound, IsDeleteMarker: see `versions.look_up`.
            KeyRequired, KeyNotApplicable, WrongKey, KmsError, NotAuthentic: see `Encryption.unlock`.
        """
        stored = await versions.look_up(self._catalog, bucket, key, version_id, with_data=with_data)
        return await self._encryption.unlock(stored, customer, caller)

    async def get(
        self,
        bucket: str,
        key: str,
        version_id: str | None = None,
        *,
        customer: sources.CustomerKey | None,
        caller: kms.Caller = kms_sources.NOBODY,
        extent: facets.Extent | None = None,
        when: conditions.Conditions = conditions.NONE,
    ) -> Opened:
        """Open a version, the current one if none is named, or a range of it, for sending.

        Raises:
            ObjectNotFound, VersionNotFound, IsDeleteMarker: see `versions.look_up`.
            KeyRequired, KeyNotApplicable, WrongKey, KmsError, NotAuthentic: see `Encryption.unlock`;
                the last also if the first bytes to be sent are damaged.
            RangeNotSatisfiable, PartNotThere: the extent lies outside.
            PreconditionFailed, NotModified: a condition says so.
            BlobMissing, StoreFailed: the bytes cannot be read.
        """
        for tries_left in reversed(range(_TRIES)):
            opened = await self.unlock(bucket, key, customer, caller, version_id, with_data=True)
            version = opened.stored.version
            when.check_read(version)
            start, end = 0, version.size
            if extent is not None:
                start, end = extent.resolve(version.size, opened.head.visible_parts)
            found = self._found(opened, extent)
            if opened.stored.data is not None:
                return Opened(found, start, end, self._read_here(opened, start, end))
            pieces = self.read(opened, start, end)
            try:
                first = await anext(pieces, b"")
            except (errors.ObjectNotFound, errors.BlobMissing):
                # Overwritten or deleted since it was looked up; look again.
                if not tries_left:
                    raise
                continue
            return Opened(found, start, end, Pieces(first, pieces))
        raise AssertionError("the last try returns or raises")

    async def parts(
        self,
        bucket: str,
        key: str,
        customer: sources.CustomerKey | None,
        caller: kms.Caller = kms_sources.NOBODY,
        version_id: str | None = None,
    ) -> tuple[Found, list[Mapping[str, bytes]]]:
        """Return what `head` does, and the checksums of each part that can be asked for.

        Raises:
            what `unlock` raises.
        """
        opened = await self.unlock(bucket, key, customer, caller, version_id)
        found = self._found(opened, None)
        if not opened.head.visible_parts:
            return found, []
        body = bodies.parse(opened.stored.body)
        return found, list(body.open_checksums(opened.data_key.body_key()))

    def _read_here(self, opened: encryption.Unlocked, start: int, end: int) -> bytes:
        """Return bytes [start, end) of a version whose data came with its row.

        Raises:
            NotAuthentic: it is not what was written.
        """
        stored = opened.stored
        assert stored.data is not None, "asked for, and found"
        body = _body_of(opened)
        if len(body.parts) != 1:
            raise errors.NotAuthentic("the body record and the catalog differ about blobs")
        return transfer.open_inline(stored.data, body, 0, opened.keys, start, end)

    async def read(
        self, opened: encryption.Unlocked, start: int, end: int
    ) -> AsyncGenerator[bytes | bytearray]:
        """Yield bytes [start, end) of an opened version.

        Raises:
            ObjectNotFound, BlobMissing: the version is gone by now.
            NotAuthentic: what lies there is not what was written.
        """
        version = opened.stored.version
        body = _body_of(opened)
        blob_ids = [part.blob_id for part in body.parts]
        # Pinned first and looked up then: what the catalog still knows under the
        # pin cannot be collected before the pin is gone.
        self._pins.hold(blob_ids)
        try:
            refs = await self._catalog.blob_refs(version)
            # A pin keeps files, but an inline blob goes with its last version, so the
            # few there can be (last parts of uploads) are fetched before the first byte.
            inline = {
                ref.blob_id: await self._catalog.inline(ref.blob_id)
                for ref in refs
                if not ref.place
            }
            by_id = {ref.blob_id: ref for ref in refs}
            sending = self._transfer.send(by_id, inline, body, opened.keys, start, end)
            async with contextlib.aclosing(sending):
                async for piece in sending:
                    yield piece
        finally:
            self._pins.release(blob_ids)

    def _found(self, opened: encryption.Unlocked, extent: facets.Extent | None) -> Found:
        part_checksums: Mapping[str, bytes] | None = None
        if isinstance(extent, facets.PartNumber) and opened.head.visible_parts:
            extent.resolve(opened.stored.version.size, opened.head.visible_parts)
            rows = bodies.parse(opened.stored.body).open_checksums(opened.data_key.body_key())
            row = rows[extent.number - 1]
            part_checksums = {name: row[name] for name in opened.head.checksums if name in row}
        marked = self._encryption.open_marks(opened.stored)
        return Found(
            opened.stored.version,
            opened.head,
            marked.tags,
            opened.protection,
            locks.of(marked),
            part_checksums,
            replication_rules.status_of(marked) if marked.notes else "",
        )

    async def find(self, bucket: str, key: str, version_id: str | None = None) -> records.Version:
        """Return a version's row; no key is needed, and nothing sealed is told.

        Raises:
            ObjectNotFound, VersionNotFound, IsDeleteMarker: see `versions.look_up`.
        """
        return (await versions.look_up(self._catalog, bucket, key, version_id)).version

    async def tags(
        self, bucket: str, key: str, version_id: str | None = None
    ) -> tuple[records.Version, dict[str, str]]:
        """Return a version and its tags; no customer key is needed.

        Raises:
            ObjectNotFound, VersionNotFound, IsDeleteMarker: see `versions.look_up`.
            NotAuthentic: they are not what was written there.
        """
        stored = await versions.look_up(self._catalog, bucket, key, version_id)
        return stored.version, self._encryption.open_marks(stored).tags

    async def marked(self, bucket: str, key: str, version_id: str | None = None) -> Marked:
        """Return what is known of a version without its key.

        Raises:
            ObjectNotFound, VersionNotFound, IsDeleteMarker: see `versions.look_up`.
            NotAuthentic: its marks are not what was written there.
        """
        stored = await versions.look_up(self._catalog, bucket, key, version_id)
        found = self._encryption.open_marks(stored)
        return Marked(stored.version.generation, stored.version.owner, found.tags, found.acl)

    async def set_tags(
        self, bucket: str, key: str, tags: dict[str, str], version_id: str | None = None
    ) -> records.Version:
        """Replace a version's tags, and return its row; no customer key is needed.

        Raises:
            ObjectNotFound, VersionNotFound, IsDeleteMarker: see `versions.look_up`.
            NotAuthentic: its marks are not what was written there.
        """
        return await self._marking.change(
            bucket, key, version_id, lambda found: dataclasses.replace(found, tags=tags)
        )

    async def set_acl(
        self, bucket: str, key: str, acl: str, version_id: str | None = None
    ) -> records.Version:
        """Replace a version's access list, encoded; no customer key is needed.

        Raises:
            ObjectNotFound, VersionNotFound, IsDeleteMarker: see `versions.look_up`.
            NotAuthentic: its marks are not what was written there.
        """
        return await self._marking.change(
            bucket, key, version_id, lambda found: dataclasses.replace(found, acl=acl)
        )

    async def delete(
        self,
        bucket: str,
        key: str,
        version_id: str | None = None,
        *,
        owner: str,
        bypass: bool = False,
        when: conditions.Conditions = conditions.NONE,
    ) -> Deleted:
        """Delete a version for good, or the object if none is named.

        An object in a bucket with versions is hidden behind a delete marker, which
        belongs to `owner`. That there was nothing to delete is no failure; under a
        condition it is not marked either. With `bypass`, retention in governance mode does
        not keep it.

        Raises:
            BucketNotFound: there is no such bucket.
            ObjectLocked: the version is locked.
            NotAuthentic: its bucket has locks, and its marks are not what was written there.
            PreconditionFailed: a condition does not hold.
            MarksChanged: it is not the one by which the request was judged.
        """
        judged_by = judgement.noted(bucket, key, version_id)

        def check(newest: records.Version | None) -> None:
            seen = judgement.NOTHING if newest is None else newest.generation
            if judged_by not in (None, seen):
                raise errors.MarksChanged(key)
            when.check_delete(newest)

        def guard(newest: records.Version | None) -> None:
            check(newest)
            if newest is None and when.is_of_deletion:
                raise _NothingThere

        def guard_version(found: records.Version | None, stored: bytes) -> None:
            check(found)
            if found is not None and stored:
                lock = locks.of(self._encryption.read_marks(found, stored))
                locks.check_deletion(lock, self._clock_ms(), bypass=bypass)

        marker: records.Version | None = None
        if version_id is None:
            marker = records.delete_marker(
                bucket,
                key,
                versions.new_id(self._random_bytes),
                owner=owner,
                modified_ms=self._clock_ms(),
            )
            try:
                gone, marker = await self._catalog.delete_object(marker, guard)
            except _NothingThere:
                return Deleted(None, None)
        else:
            gone = await self._catalog.delete_version(
                bucket, key, guard_version, version_id=version_id
            )
        if gone is not None:
            self._displaced()
        return Deleted(gone, marker)


class _NothingThere(Exception):
    """Calls off the deletion of an object that never was."""


def _body_of(opened: encryption.Unlocked) -> bodies.SealedBody:
    """Read the body record of an opened version.

    Raises:
        NotAuthentic: it has another length than the version.
    """
    body = bodies.parse(opened.stored.body)
    if body.total_bytes != opened.stored.version.size:
        raise errors.NotAuthentic("the body record has another length than the envelope")
    return body


class Pieces:
    """The pieces of an opened version; the first is open already. To be exhausted or closed."""

    def __init__(self, first: bytes | bytearray, rest: AsyncGenerator[bytes | bytearray]) -> None:
        self._first = first
        self._rest = rest

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes | bytearray:
        if self._first:
            first, self._first = self._first, b""
            return first
        return await anext(self._rest)

    async def aclose(self) -> None:
        """Let go of blobs and pins; may be called at any time, and twice."""
        await self._rest.aclose()


def etag_of(received: transfer.Received, random_bytes: Callable[[int], bytes]) -> str:
    """Return the ETag of a body: its MD5 where that was asked for, else an opaque one."""
    if received.md5 is not None:
        return received.md5.hex()
    return digests.opaque_etag(random_bytes)


def seal_version(
    binding: envelopes.Binding,
    key_fields: tuple[bytes, ...],
    wrapped: envelopes.WrappedKey,
    head_key: envelopes.HeadKey,
    *,
    body: bytes,
    head: envelopes.Head,
    etag: str,
    size: int,
    modified_ms: int,
    owner: str,
    encoded_marks: bytes,
    blobs: tuple[records.NewBlob, ...] = (),
    shares: records.Version | None = None,
    bucket_made_ms: int | None = None,
    fingerprint: bytes = b"",
    version_id: str,
    random_bytes: Callable[[int], bytes],
) -> records.Draft:
    """Seal the envelope of a version and put together what the catalog commits."""
    envelope = envelopes.Envelope.seal(
        binding=binding,
        key_fields=key_fields,
        wrapped=wrapped,
        etag=etag,
        size=size,
        modified_ms=modified_ms,
        version_id=version_id,
        body_digest=hashlib.sha256(body).digest(),
        head=head,
        head_key=head_key,
        random_bytes=random_bytes,
    )
    version = records.Version(
        bucket=binding.bucket,
        key=binding.key,
        version_id=version_id,
        size=size,
        etag=etag,
        modified_ms=modified_ms,
        owner=owner,
        mode=binding.mode,
        generation=binding.generation,
        checksum_algorithms=tuple(sorted(head.checksums)),
        checksum_type=head.checksum_type if head.checksums else "",
        fingerprint=fingerprint,
    )
    return records.Draft(
        version, envelope.encode(), body, encoded_marks, blobs, shares, bucket_made_ms
    )
