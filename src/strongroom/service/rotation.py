"""Rotation: versions that stand get another key, and stay what they are.

Id, ETag, time, place and everything sealed in the head are kept; a listing shows no
difference but the mode. Where both keys are on one side of the border between customer
and store, an envelope is written anew and the data stays (`copying`); across it, to and
from two layers, and where that is asked for (`deep`), the data is sealed anew, part by
part, under a new data key.

Nothing is replaced before its replacement was opened with the new key and compared. What
was rotated already is recognized, so that a rotation which was killed goes on when it is
run again. A version whose key is not among the old ones is left alone.

Source: docs/formats/sealed-object.md, "Sharing"; docs/guide/keys.md, "Changing keys".
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.crypto import body as bodies
from strongroom.crypto import digests, geometry
from strongroom.crypto import envelope as envelopes
from strongroom.keyring import kms_sources, sources
from strongroom.service import locks
from strongroom.service import transfer as transfers
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from strongroom.keyring import kms
    from strongroom.service import encryption, objects
    from strongroom.store import catalog

PAGE_VERSIONS = 1000
LANES = 16
"""Versions under way at once: their commits share syncs of the log."""

_TRIES = 3
"""A version that changed while it was being rotated is looked at again this often."""
_COMPARED = "CRC64NVME"


class Outcome(enum.StrEnum):
    """What became of a version."""

    REWRAPPED = "rewrapped"
    RESEALED = "resealed"
    ALREADY = "already"
    OTHER_KEY = "other_key"
    OTHER_MODE = "other_mode"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Plan:
    """From which keys to which.

    Attributes:
        old_customers: customer keys that are to be replaced.
        old_modes: modes of the store's own keys that are to be replaced.
        customer: the new customer key; None for a key of the store's.
        wish: the new key of the KMS; None without `customer` is SSE-S3.
        arn: the ARN of that key, by which its envelopes are known; empty without `wish`.
        caller: who may use the KMS keys, old and new.
        deep: seal the data anew even where an envelope would do.
    """

    old_customers: tuple[sources.CustomerKey, ...]
    old_modes: frozenset[str]
    customer: sources.CustomerKey | None
    wish: kms_sources.Wish | None
    arn: str
    caller: kms.Caller
    deep: bool = False

    @property
    def mode(self) -> str:
        """The mode that versions will have."""
        if self.customer is not None:
            return sources.CUSTOMER_MODE
        if self.wish is None:
            return sources.SERVER_MODE
        return sources.DUAL_MODE if self.wish.dual else sources.KMS_MODE


@dataclass(frozen=True, slots=True)
class Selection:
    """Which versions: all of one `key`, or those whose keys begin with `prefix`."""

    bucket: str
    prefix: str = ""
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one version; `failure` instead of an `outcome` if it cannot be rotated."""

    version: records.Version
    outcome: Outcome | None
    failure: errors.StrongroomError | None = None


class Rotation:
    """Gives versions another key."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        transfer: transfers.Transfer,
        encryption: encryption.Encryption,
        objects: objects.Objects,
        *,
        random_bytes: Callable[[int], bytes],
        clock_ms: Callable[[], int],
    ) -> None:
        self._catalog = catalog
        self._clock_ms = clock_ms
        self._transfer = transfer
        self._encryption = encryption
        self._objects = objects
        self._random_bytes = random_bytes

    async def count(self, selection: Selection) -> int:
        """Return how many versions are selected, delete markers aside.

        Raises:
            BucketNotFound: there is no such bucket.
        """
        total = 0
        async for page in self._pages(selection):
            total += len(page)
        return total

    async def run(self, selection: Selection, plan: Plan) -> AsyncIterator[Result]:
        """Rotate what is selected, and yield what became of each version.

        Raises:
            BucketNotFound: there is no such bucket.
            StoreFull, StoreFailed, KmsUnavailable: nothing more can be done now; what was
                rotated stays so.
        """
        lanes = asyncio.Semaphore(LANES)

        async def one(version: records.Version) -> Result:
            async with lanes:
                try:
                    return Result(version, await self.rotate(version, plan))
                except (errors.StoreFull, errors.StoreFailed, errors.KmsUnavailable):
                    raise
                except errors.StrongroomError as error:
                    return Result(version, None, error)

        async for page in self._pages(selection):
            tasks = [asyncio.create_task(one(version)) for version in page]
            try:
                for task in tasks:
                    yield await task
            finally:
                for task in tasks:
                    task.cancel()
                # What is being committed is waited for, so that no blob is removed under it.
                await asyncio.gather(*tasks, return_exceptions=True)

    async def rotate(self, version: records.Version, plan: Plan) -> Outcome:
        """Give one version the key of the plan, if its own is to be replaced.

        Raises:
            NotAuthentic, BlobMissing: it is damaged, and stays as it is.
            ObjectLocked: it is under a legal hold, or in retention in compliance mode: who
                is to keep it must be able to go on reading it.
            KmsError: a KMS key refuses.
            StoreFull, StoreFailed: it could not be kept, and stays as it is.
        """
        for tries_left in reversed(range(_TRIES)):
            try:
                stored = await self._catalog.version(
                    version.bucket, version.key, version.version_id
                )
            except errors.NotFound:
                return Outcome.GONE
            opened = await self._open(stored, plan)
            if isinstance(opened, Outcome):
                return opened
            if locks.is_sealed(locks.of(self._encryption.open_marks(stored)), self._clock_ms()):
                raise errors.ObjectLocked("a legal hold, or retention in compliance mode")
            try:
                if self._may_share(opened, plan):
                    await self._rewrap(opened, plan)
                    return Outcome.REWRAPPED
                await self._reseal(opened, plan)
            except (errors.ObjectNotFound, errors.BlobMissing):
                # Deleted, overwritten or tagged since it was looked up; look again.
                if not tries_left:
                    raise
            else:
                return Outcome.RESEALED
        raise AssertionError("the last try returns or raises")

    async def _pages(self, selection: Selection) -> AsyncIterator[list[records.Version]]:
        after = ("", "")
        prefix = selection.prefix if selection.key is None else selection.key
        while True:
            page = await self._catalog.list_versions(
                selection.bucket, prefix=prefix, after=after, limit=PAGE_VERSIONS
            )
            yield [
                version
                for version in page.versions
                if not version.is_marker and selection.key in (None, version.key)
            ]
            # Behind the versions of a key come longer keys that begin with it.
            passed = page.versions and selection.key not in (None, page.versions[-1].key)
            if page.next_after is None or passed:
                return
            after = page.next_after

    async def _open(self, stored: records.Stored, plan: Plan) -> encryption.Unlocked | Outcome:
        """Open a version with an old key; or say why it is none of this rotation's."""
        mode = stored.version.mode
        if mode != sources.CUSTOMER_MODE:
            key_fields = envelopes.Envelope.parse(stored.envelope).key_fields
            arn = kms_sources.protection(mode, key_fields).key_arn
            is_new = plan.customer is None and (mode, arn) == (plan.mode, plan.arn)
            if not is_new and mode not in plan.old_modes:
                return Outcome.OTHER_MODE
            # Opened in any case: what only says that it has the new key was not rotated.
            opened = await self._encryption.unlock(stored, None, plan.caller)
            return Outcome.ALREADY if is_new else opened
        if plan.customer is not None:
            with contextlib.suppress(errors.WrongKey):
                await self._encryption.unlock(stored, plan.customer)
                return Outcome.ALREADY
        for customer in plan.old_customers:
            with contextlib.suppress(errors.WrongKey):
                return await self._encryption.unlock(stored, customer)
        return Outcome.OTHER_KEY if plan.old_customers else Outcome.OTHER_MODE

    @staticmethod
    def _may_share(opened: encryption.Unlocked, plan: Plan) -> bool:
        held_by_customer = opened.stored.version.mode == sources.CUSTOMER_MODE
        one_layer = opened.outer_key is None and plan.mode != sources.DUAL_MODE
        return held_by_customer == (plan.customer is not None) and one_layer and not plan.deep

    async def _rewrap(self, opened: encryption.Unlocked, plan: Plan) -> None:
        """Write an envelope around the same data key and the same body."""
        version = opened.stored.version
        locked = await self._encryption.lock(
            version.bucket, version.key, plan.customer, plan.wish, data_key=opened.data_key
        )
        draft = self._draft(opened, locked, opened.stored.body)
        await self._check(draft, opened, locked, plan)
        await self._catalog.replace_version(draft, opened.stored)

    async def _reseal(self, opened: encryption.Unlocked, plan: Plan) -> None:
        """Seal the data anew, part by part as it lies, and write an envelope around that."""
        version = opened.stored.version
        locked = await self._encryption.lock(version.bucket, version.key, plan.customer, plan.wish)
        before = bodies.parse(opened.stored.body)
        checksums = before.open_checksums(opened.data_key.body_key())
        read = digests.start(_COMPARED)
        async with contextlib.AsyncExitStack() as stack:
            received = []
            start = 0
            for part, known in zip(before.parts, checksums, strict=True):
                end = start + part.plain_bytes
                incoming = transfers.Incoming(
                    chunks=self._pieces(opened, start, end, read),
                    length=part.plain_bytes,
                    # What was stored is checked once more on its way to its new key.
                    announced=known,
                )
                taken = await stack.enter_async_context(
                    self._transfer.receive(
                        incoming,
                        locked.data_key,
                        part.number,
                        checksums=(),
                        md5=False,
                        outer_key=locked.outer_key,
                    )
                )
                received.append(taken)
                start = end
            body = bodies.encode(
                bodies.BodyRecord(
                    geometry.SEGMENT_BYTES,
                    locked.layers,
                    tuple(one.part for one in received),
                ),
                locked.data_key.body_key(),
                self._random_bytes,
            )
            blobs = tuple(one.blob for one in received)
            draft = self._draft(opened, locked, body, blobs=blobs)
            await self._check(draft, opened, locked, plan)
            if await self._digest(draft, locked) != read.digest():
                raise errors.NotAuthentic("what was sealed anew does not open to what was read")
            first, *others = received
            try:
                await first.commit(self._catalog.replace_version(draft, opened.stored))
            finally:
                for one in others:
                    one.kept = first.kept

    async def _pieces(
        self, opened: encryption.Unlocked, start: int, end: int, running: digests.Digest
    ) -> AsyncIterator[bytes | bytearray]:
        reading = self._objects.read(opened, start, end)
        async with contextlib.aclosing(reading):
            async for piece in reading:
                running.update(piece)
                yield piece

    def _draft(
        self,
        opened: encryption.Unlocked,
        locked: encryption.Locked,
        body: bytes,
        *,
        blobs: tuple[records.NewBlob, ...] = (),
    ) -> records.Draft:
        version = opened.stored.version
        envelope = envelopes.Envelope.seal(
            binding=locked.binding,
            key_fields=locked.key_fields,
            wrapped=locked.wrapped,
            etag=version.etag,
            size=version.size,
            modified_ms=version.modified_ms,
            version_id=version.version_id,
            body_digest=hashlib.sha256(body).digest(),
            head=opened.head,
            head_key=locked.head_key,
            random_bytes=self._random_bytes,
        )
        return records.Draft(
            dataclasses.replace(
                version,
                mode=locked.binding.mode,
                generation=locked.binding.generation,
                fingerprint=locked.fingerprint,
            ),
            envelope.encode(),
            body,
            self._encryption.seal_marks(
                locked.binding, locked.noted(self._encryption.open_marks(opened.stored))
            ),
            blobs,
        )

    async def _check(
        self,
        draft: records.Draft,
        opened: encryption.Unlocked,
        locked: encryption.Locked,
        plan: Plan,
    ) -> None:
        """Open a draft as a reader will, and compare what governs it with what it replaces.

        Raises:
            NotAuthentic: it is not what it should be, or opens with an old key as well.
        """
        stored = records.Stored(draft.version, draft.envelope, draft.body, draft.marks)
        again = await self._encryption.unlock(stored, plan.customer, plan.caller)
        if (
            again.head != opened.head
            or again.data_key != locked.data_key
            or again.outer_key != locked.outer_key
            or self._encryption.open_marks(stored)
            != locked.noted(self._encryption.open_marks(opened.stored))
        ):
            raise errors.NotAuthentic("an envelope does not open to what was put into it")
        if plan.customer is not None:
            for customer in plan.old_customers:
                try:
                    await self._encryption.unlock(stored, customer)
                except errors.WrongKey:
                    continue
                raise errors.NotAuthentic("the new envelope opens with an old key as well")

    async def _digest(self, draft: records.Draft, locked: encryption.Locked) -> bytes:
        """Open new blobs, which nothing refers to yet, and digest what they hold."""
        running = digests.start(_COMPARED)
        body = bodies.parse(draft.body)
        keys = (
            (locked.data_key,) if locked.outer_key is None else (locked.data_key, locked.outer_key)
        )
        sending = self._transfer.send(
            {
                blob.blob_id: records.BlobRef(blob.blob_id, blob.size, blob.place)
                for blob in draft.blobs
            },
            {blob.blob_id: blob.data for blob in draft.blobs if not blob.place},
            body,
            keys,
            0,
            body.total_bytes,
        )
        async with contextlib.aclosing(sending):
            async for piece in sending:
                running.update(piece)
        return running.digest()
