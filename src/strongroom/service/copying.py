"""Copies: open with one key, seal with another; share the data where that is safe.

A data key is never wrapped both for a customer and for the server: else the
master key and a leftover envelope would open what only the customer should. So
a copy shares the source's body from customer key to customer key, and among what is
under store keys and KMS keys; across that border it seals the data anew, and always
where source or target has two layers.

Sharing costs constant time unless something new must be hashed: then the data
is read once and written never.

Source: docs/formats/sealed-object.md, "Sharing".
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.crypto import digests, marks
from strongroom.crypto import envelope as envelopes
from strongroom.keyring import kms_sources, sources
from strongroom.service import conditions, facets, locks, objects, transfer, versions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from strongroom.keyring import kms
    from strongroom.service import encryption, multipart
    from strongroom.store import catalog, records

MAX_COPY_BYTES = 5 * 1024**3
"""The most that one copy copies, of an object or into a part.

Source: S3 API reference, CopyObject and UploadPartCopy.
"""

_TRIES = 3
"""A copy that loses its source to a concurrent write looks again this often."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is copied, the key that opens it, and who asks the KMS to.

    `version_id` None means the current version.
    """

    bucket: str
    key: str
    customer: sources.CustomerKey | None
    when: conditions.Conditions
    caller: kms.Caller = kms_sources.NOBODY
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What a copy becomes.

    Attributes:
        bucket: where it goes.
        key: likewise; may be the source's.
        owner: canonical user id.
        customer: the target's customer key, or None.
        wish: which key of the KMS it is to be under; None, without a customer's key, for
            the store's.
        content: what it says about its content; None for what the source says.
        own_headers: content headers that no copy takes from its source, with their
            values here; None for none.
        tags: None for the source's.
        acl: its access list, encoded; never the source's.
        terms: how it is locked; never as the source is.
        checksum: algorithm of its checksum; None for the source's.
        when: conditions on what is there already.
        bucket_made_ms: as for `Objects.put`.
    """

    bucket: str
    key: str
    owner: str
    customer: sources.CustomerKey | None
    content: facets.Content | None
    tags: dict[str, str] | None
    checksum: str | None
    wish: kms_sources.Wish | None = None
    own_headers: Mapping[str, str | None] = field(default_factory=dict)
    acl: str = ""
    terms: locks.Terms = locks.NO_TERMS
    when: conditions.Conditions = conditions.NONE
    bucket_made_ms: int | None = None


class Copying:
    """Copies whole objects, and ranges of them into parts."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        transfer: transfer.Transfer,
        encryption: encryption.Encryption,
        objects: objects.Objects,
        multipart: multipart.Multipart,
        *,
        random_bytes: Callable[[int], bytes],
        clock_ms: Callable[[], int],
        displaced: Callable[[], None],
    ) -> None:
        self._catalog = catalog
        self._transfer = transfer
        self._encryption = encryption
        self._objects = objects
        self._multipart = multipart
        self._random_bytes = random_bytes
        self._clock_ms = clock_ms
        self._displaced = displaced

    async def copy(self, source: Source, target: Target) -> tuple[objects.Found, records.Version]:
        """Copy an object. The source's key is judged before anything is written.

        Returns:
            what it became, and the version that was copied.

        Raises:
            BucketNotFound: the source or the target has no bucket.
            ObjectNotFound, VersionNotFound, IsDeleteMarker: the source is not there.
            KeyRequired, KeyNotApplicable, WrongKey, KmsError, NotAuthentic: see `Encryption.unlock`.
            PreconditionFailed: a condition on source or target does not hold.
            SourceTooLarge: more than `MAX_COPY_BYTES`.
            SourceGone: the source was overwritten each time that it was looked up.
            BlobMissing, StoreFull, StoreFailed: its bytes cannot be read or kept.
        """
        for tries_left in reversed(range(_TRIES)):
            opened = await self._open(source)
            size = opened.stored.version.size
            if size > MAX_COPY_BYTES:
                raise errors.SourceTooLarge(size, MAX_COPY_BYTES)
            content, tags = target.content, target.tags
            if content is None:
                headers = {**opened.head.content, **target.own_headers}
                content = facets.Content(
                    {name: value for name, value in headers.items() if value is not None},
                    opened.head.metadata,
                )
            if tags is None:
                tags = self._encryption.open_marks(opened.stored).tags
            try:
                if _may_share(opened, target):
                    found = await self._share(opened, target, content, tags)
                    return found, opened.stored.version
                checksum = target.checksum or _kept_checksum(opened.head)
                found = await self._objects.put(
                    target.bucket,
                    target.key,
                    self._incoming(opened, 0, size, checksum),
                    owner=target.owner,
                    customer=target.customer,
                    wish=target.wish,
                    content=content,
                    tags=tags,
                    acl=target.acl,
                    terms=target.terms,
                    when=target.when,
                    bucket_made_ms=target.bucket_made_ms,
                )
            except (errors.SourceGone, errors.BlobMissing):
                if not tries_left:
                    raise
            else:
                return found, opened.stored.version
        raise AssertionError("the last try returns or raises")

    async def copy_part(
        self,
        source: Source,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        *,
        customer: sources.CustomerKey | None,
        byte_range: tuple[int, int] | None,
    ) -> tuple[multipart.Uploaded, records.Version]:
        """Copy an object, or the half-open `byte_range` of it, into a part.

        Always seals anew: the parts of one body have one data key, and ranges do
        not meet the borders of segments.

        Returns:
            the part, and the version that was copied.

        Raises:
            RangeNotSatisfiable: the range leaves the source.
            SourceTooLarge: more than `MAX_COPY_BYTES` of it.
            and what `copy` and `Multipart.put_part` raise.
        """
        for tries_left in reversed(range(_TRIES)):
            opened = await self._open(source)
            size = opened.stored.version.size
            start, end = byte_range or (0, size)
            if end > size:
                raise errors.RangeNotSatisfiable(size, f"bytes={start}-{end - 1}")
            if end - start > MAX_COPY_BYTES:
                raise errors.SourceTooLarge(end - start, MAX_COPY_BYTES)
            try:
                uploaded = await self._multipart.put_part(
                    bucket,
                    key,
                    upload_id,
                    number,
                    self._incoming(opened, start, end, None),
                    customer=customer,
                    caller=source.caller,
                )
            except (errors.SourceGone, errors.BlobMissing):
                if not tries_left:
                    raise
            else:
                return uploaded, opened.stored.version
        raise AssertionError("the last try returns or raises")

    async def _open(self, source: Source) -> encryption.Unlocked:
        opened = await self._objects.unlock(
            source.bucket, source.key, source.customer, source.caller, source.version_id
        )
        source.when.check_copy(opened.stored.version)
        return opened

    async def _share(
        self,
        opened: encryption.Unlocked,
        target: Target,
        content: facets.Content,
        tags: dict[str, str],
    ) -> objects.Found:
        """Write an envelope around the source's body."""
        version = opened.stored.version
        known = opened.head.checksums if opened.head.checksum_type == objects.FULL_OBJECT else {}
        wanted = target.checksum or _kept_checksum(opened.head) or objects.DEFAULT_CHECKSUM
        plain_etag = target.customer is None and target.wish is None
        has_md5 = version.mode == sources.SERVER_MODE and "-" not in version.etag
        needs_md5 = plain_etag and not has_md5
        needs_checksum = wanted not in known
        etag = version.etag
        if needs_md5 or needs_checksum:
            running = await self._hash(opened, wanted if needs_checksum else None, md5=needs_md5)
            known = {**known, **running.digests()}
            if needs_md5:
                etag = running.md5().hex()
        if not plain_etag:
            etag = digests.opaque_etag(self._random_bytes)
        locked = await self._encryption.lock(
            target.bucket, target.key, target.customer, target.wish, data_key=opened.data_key
        )
        head = envelopes.Head(
            checksums={wanted: known[wanted]},
            checksum_type=objects.FULL_OBJECT,
            content=content.headers,
            metadata=content.metadata,
        )
        now_ms = self._clock_ms()
        lock = target.terms.at(now_ms)
        seal = functools.partial(
            objects.seal_version,
            locked.binding,
            locked.key_fields,
            locked.wrapped,
            locked.head_key,
            body=opened.stored.body,
            head=head,
            etag=etag,
            size=version.size,
            modified_ms=now_ms,
            owner=target.owner,
            encoded_marks=self._encryption.seal_marks(
                locked.binding, locks.noted(locked.noted(marks.Marks(tags, target.acl)), lock)
            ),
            shares=version,
            bucket_made_ms=target.bucket_made_ms,
            fingerprint=locked.fingerprint,
            random_bytes=self._random_bytes,
        )
        guard = target.when.guard(target.bucket, target.key)
        draft = await versions.commit(
            self._catalog,
            target.bucket,
            seal,
            lambda draft: self._catalog.put_version(draft, guard),
            guard=self._encryption,
            random_bytes=self._random_bytes,
        )
        self._displaced()
        return objects.Found(draft.version, head, tags, locked.protection, lock)

    async def _hash(
        self, opened: encryption.Unlocked, checksum: str | None, *, md5: bool
    ) -> digests.Running:
        running = digests.Running({checksum} if checksum else set(), md5=md5)
        async for piece in self._pieces(opened, 0, opened.stored.version.size):
            await self._transfer.on_thread(running.update, piece)
        return running

    def _incoming(
        self, opened: encryption.Unlocked, start: int, end: int, checksum: str | None
    ) -> transfer.Incoming:
        """Return a range of an opened version as a body that arrives."""
        announced = {}
        whole = (start, end) == (0, opened.stored.version.size)
        if whole and opened.head.checksum_type == objects.FULL_OBJECT:
            # What was stored is checked once more on its way to its new key.
            announced = opened.head.checksums
        return transfer.Incoming(
            chunks=self._pieces(opened, start, end),
            length=end - start,
            checksum=checksum,
            announced=announced,
        )

    async def _pieces(
        self, opened: encryption.Unlocked, start: int, end: int
    ) -> AsyncIterator[bytes | bytearray]:
        version = opened.stored.version
        try:
            reading = self._objects.read(opened, start, end)
            async with contextlib.aclosing(reading):
                async for piece in reading:
                    yield piece
        except errors.ObjectNotFound as error:
            raise errors.SourceGone(version.bucket, version.key) from error


def _may_share(opened: encryption.Unlocked, target: Target) -> bool:
    mode = opened.stored.version.mode
    if target.customer is not None:
        return mode == sources.CUSTOMER_MODE
    dual = target.wish is not None and target.wish.dual
    return not dual and mode in (sources.SERVER_MODE, sources.KMS_MODE)


def _kept_checksum(head: envelopes.Head) -> str | None:
    """Return the algorithm that a copy of this version keeps."""
    return next(iter(head.checksums), None)
