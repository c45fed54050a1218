"""Multipart uploads: create, part, list, complete, abort.

Only UploadPart carries a customer's key. What Complete and ListParts need is
in the upload's escrow (docs/formats/sealed-object.md).
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import hmac
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from strongroom import errors
from strongroom.crypto import body as bodies
from strongroom.crypto import digests, geometry, marks
from strongroom.crypto import envelope as envelopes
from strongroom.keyring import kms_sources, sources
from strongroom.service import conditions, encryption, locks, objects, versions
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from strongroom.keyring import kms
    from strongroom.service import facets, transfer
    from strongroom.store import catalog

# Source of the three limits: S3 user guide, "Amazon S3 multipart upload limits".
MAX_PARTS = 10_000
MIN_PART_BYTES = 5 * 1024**2
MAX_PART_BYTES = 5 * 1024**3

_UPLOAD_ID_BYTES = 48
_TAG: Final = "tag:"
_ACL: Final = "acl:"
_INITIATOR: Final = "initiator:"
_FINGERPRINT: Final = "fingerprint:"
_NOTE: Final = "note:"
"""Before the name of a tag or note, or alone, among the content headers of an upload's sealed draft.
No header has it."""

_FULL_OBJECT_ONLY: Final = frozenset({"CRC64NVME"})
_COMPOSITE_ONLY: Final = frozenset({"SHA1", "SHA256"})


@dataclass(frozen=True, slots=True)
class NamedPart:
    """A part as a Complete request names it; checksums algorithm → digest."""

    number: int
    etag: str
    checksums: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListedPart:
    """A part with the checksums to show."""

    part: records.Part
    checksums: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What a part that was just stored is told: the part, and how its upload is encrypted."""

    part: records.Part
    checksums: Mapping[str, bytes]
    protection: sources.Protection


@dataclass(frozen=True, slots=True)
class Completed:
    """What an upload became.

    `checksums` is empty when a repeated Complete is answered that has not the key.
    """

    etag: str
    version_id: str
    protection: sources.Protection
    checksums: Mapping[str, bytes]
    checksum_type: str


def checksum_type_of(algorithm: str, wanted: str | None) -> str:
    """Return the checksum type of an upload: as wanted, or the algorithm's default.

    Source: S3 user guide, "Checking object integrity", the table of types.

    Raises:
        ChecksumTypeMismatch: the algorithm has no checksum of that type.
    """
    if algorithm in _FULL_OBJECT_ONLY:
        default, other_allowed = objects.FULL_OBJECT, False
    else:
        default, other_allowed = objects.COMPOSITE, algorithm not in _COMPOSITE_ONLY
    if wanted is None or wanted == default:
        return default
    if not other_allowed:
        raise errors.ChecksumTypeMismatch(default, wanted)
    return wanted


class Multipart:
    """What can be done with multipart uploads."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        transfer: transfer.Transfer,
        encryption: encryption.Encryption,
        *,
        random_bytes: Callable[[int], bytes],
        clock_ms: Callable[[], int],
        displaced: Callable[[], None],
    ) -> None:
        self._catalog = catalog
        self._transfer = transfer
        self._encryption = encryption
        self._random_bytes = random_bytes
        self._clock_ms = clock_ms
        self._displaced = displaced

    async def create(
        self,
        bucket: str,
        key: str,
        *,
        owner: str,
        initiator: str = "",
        customer: sources.CustomerKey | None,
        content: facets.Content,
        tags: dict[str, str],
        acl: str = "",
        lock: locks.Lock = locks.NO_LOCK,
        checksum: str | None,
        checksum_type: str | None,
        wish: kms_sources.Wish | None = None,
        bucket_made_ms: int | None = None,
    ) -> records.Upload:
        """Open an upload. `checksum` None: parts may bring any checksum or none.

        `wish` and `bucket_made_ms` are as for `Objects.put`. `initiator` is who opens it,
        if that is another than will own the object.

        Raises:
            BucketNotFound: there is no such bucket.
            KmsError: the KMS refuses, or cannot be asked.
            ChecksumTypeMismatch: algorithm and type do not go together.
        """
        kind = checksum_type_of(checksum or objects.DEFAULT_CHECKSUM, checksum_type)
        notes = locks.noted(marks.Marks(), lock).notes
        upload_id = base64.urlsafe_b64encode(self._random_bytes(_UPLOAD_ID_BYTES)).decode()
        locked = await self._encryption.lock(bucket, key, customer, wish)
        draft = envelopes.UploadDraft.seal(
            upload_id=upload_id,
            binding=locked.binding,
            key_fields=locked.key_fields,
            wrapped=locked.wrapped,
            escrow=self._encryption.seal_escrow(upload_id, locked),
            head=envelopes.Head(
                content={
                    **content.headers,
                    **{_TAG + name: tags[name] for name in tags},
                    **({_ACL: acl} if acl else {}),
                    **({_INITIATOR: initiator} if initiator not in ("", owner) else {}),
                    **({_FINGERPRINT: locked.fingerprint.hex()} if locked.fingerprint else {}),
                    **({_NOTE + name: notes[name] for name in notes}),
                },
                metadata=content.metadata,
            ),
            head_key=locked.head_key,
            random_bytes=self._random_bytes,
        )
        upload = records.Upload(
            bucket=bucket,
            key=key,
            upload_id=upload_id,
            owner=owner,
            mode=locked.binding.mode,
            initiated_ms=self._clock_ms(),
            checksum_algorithm=checksum or "",
            checksum_type=kind,
            sealed=draft.encode(),
            bucket_made_ms=bucket_made_ms,
            fingerprint=locked.fingerprint,
        )
        await self._catalog.create_upload(upload)
        return upload

    def protection(self, upload: records.Upload) -> sources.Protection:
        """Return how an upload is encrypted, as far as answers tell it."""
        return self._encryption.protection_of(upload)

    async def put_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        incoming: transfer.Incoming,
        *,
        customer: sources.CustomerKey | None,
        caller: kms.Caller = kms_sources.NOBODY,
    ) -> Uploaded:
        """Store one part, in place of an earlier one of its number.

        Raises:
            UploadNotFound: the upload is not open (any more).
            PartKeyMissing, PartKeyMismatch, KmsError: see `Encryption.unlock_upload`.
            ChecksumTypeMismatch: the part's checksum is not the upload's.
            BadBody, StoreFull, StoreFailed: as for an object.
        """
        if incoming.length > MAX_PART_BYTES:
            raise errors.ObjectTooLarge(incoming.length, MAX_PART_BYTES)
        upload = await self._catalog.upload(bucket, key, upload_id)
        keys = await self._encryption.unlock_upload(upload, customer, caller)
        algorithm = upload.checksum_algorithm
        if algorithm and incoming.checksum and incoming.checksum != algorithm:
            raise errors.ChecksumTypeMismatch(algorithm, incoming.checksum)
        plain_etag = upload.mode == sources.SERVER_MODE
        async with self._transfer.receive(
            incoming,
            keys.data_key,
            number,
            checksums=(algorithm or objects.DEFAULT_CHECKSUM,),
            md5=plain_etag,
            outer_key=keys.outer_key,
        ) as received:
            row = received.part
            part = records.Part(
                number=number,
                blob_id=row.blob_id,
                size=row.plain_bytes,
                etag=objects.etag_of(received, self._random_bytes),
                modified_ms=self._clock_ms(),
                digest=row.digest,
                sealed_checksums=bodies.seal_part_checksums(
                    keys.data_key.body_key(),
                    upload_id,
                    row.number,
                    row.blob_id,
                    row.plain_bytes,
                    row.digest,
                    row.checksums,
                    self._random_bytes,
                ),
            )
            await received.commit(self._catalog.put_part(upload, part, received.blob))
        self._displaced()
        shown = incoming.checksum or algorithm or objects.DEFAULT_CHECKSUM
        return Uploaded(part, {shown: row.checksums[shown]}, keys.protection)

    async def parts(
        self, bucket: str, key: str, upload_id: str, *, after: int, limit: int
    ) -> tuple[records.Upload, Sequence[ListedPart]]:
        """Return an upload and up to `limit` of its parts with numbers greater than `after`.

        Raises:
            UploadNotFound: the upload is not open.
        """
        upload = await self._catalog.upload(bucket, key, upload_id)
        body_key = self._encryption.open_escrow(upload).body_key
        rows = await self._catalog.parts(upload_id, after=after, limit=limit)
        return upload, [ListedPart(part, _part_checksums(upload, body_key, part)) for part in rows]

    async def complete(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        named: Sequence[NamedPart],
        *,
        customer: sources.CustomerKey | None,
        caller: kms.Caller = kms_sources.NOBODY,
        announced: Mapping[str, bytes],
        announced_type: str | None = None,
        announced_size: int | None = None,
        terms: locks.Terms = locks.NO_TERMS,
        when: conditions.Conditions = conditions.NONE,
    ) -> Completed:
        """Make an object of the named parts.

        A repeated Complete of a completed upload is answered as the first was.
        The first Complete needs no customer key; one that comes all the same must be
        the upload's, and a repeated one is told the checksums for it. Under a KMS key the
        caller must be allowed to use it (source: S3 user guide, "Multipart upload API and
        permissions"). `terms` are those of the bucket; the upload has a lock of its own.

        Raises:
            UploadNotFound: the upload is not open and was not completed.
            PartKeyMissing, PartKeyMismatch: the customer key is not the upload's.
            KmsError: the KMS refuses this caller, or cannot be asked.
            InvalidPart, InvalidPartOrder, PartTooSmall: see there.
            ChecksumTypeMismatch: a checksum of another type is announced.
            DigestMismatch: the whole object's checksum is not the announced one.
            PreconditionFailed, ObjectNotFound: a condition does not hold.
        """
        try:
            upload = await self._catalog.upload(bucket, key, upload_id)
        except errors.UploadNotFound:
            return await self._answer_again(bucket, key, upload_id, named, customer, caller)
        if announced_type is not None and announced_type != upload.checksum_type:
            raise errors.ChecksumTypeMismatch(upload.checksum_type, announced_type)
        if customer is not None or upload.mode in sources.KMS_MODES:
            await self._encryption.unlock_upload(upload, customer, caller)
        opened = self._encryption.open_escrow(upload)
        uploaded = {part.number: part for part in await self._catalog.parts(upload_id)}
        chosen = self._choose(named, uploaded)
        # Ten thousand small boxes take longer to open than others should wait.
        rows = await self._transfer.on_thread(_rows, upload, opened.body_key, chosen)
        _check_part_checksums(upload, named, rows)
        size = sum(part.size for part in chosen)
        if announced_size is not None and announced_size != size:
            raise errors.UploadSizeMismatch(announced_size, size)
        checksums = _whole_checksum(upload, rows)
        for algorithm, digest in announced.items():
            computed = checksums.get(algorithm, b"")
            if not hmac.compare_digest(digest, computed):
                raise errors.DigestMismatch(algorithm, digest, computed)
        now_ms = self._clock_ms()
        content, found = _without_marks(opened.head.content)
        own = dataclasses.replace(terms, lock=locks.of(found))
        found = locks.noted(found, own.at(now_ms))
        seal = functools.partial(
            objects.seal_version,
            opened.draft.binding,
            opened.draft.key_fields,
            opened.draft.wrapped,
            opened.head_key,
            body=bodies.encode(
                bodies.BodyRecord(geometry.SEGMENT_BYTES, opened.layers, rows),
                opened.body_key,
                self._random_bytes,
            ),
            head=dataclasses.replace(
                opened.head,
                content=content,
                checksums=checksums,
                checksum_type=upload.checksum_type,
                visible_parts=tuple(part.size for part in chosen),
            ),
            etag=digests.etag_of_parts([part.etag for part in chosen]),
            size=size,
            modified_ms=now_ms,
            owner=upload.owner,
            encoded_marks=self._encryption.seal_marks(opened.draft.binding, found),
            fingerprint=bytes.fromhex(found.notes.get(encryption.FINGERPRINT_NOTE, "")),
            random_bytes=self._random_bytes,
        )
        guard = when.guard(bucket, key)
        try:
            final = await versions.commit(
                self._catalog,
                bucket,
                seal,
                lambda draft: self._catalog.complete_upload(upload, draft, chosen, guard),
                guard=self._encryption,
                random_bytes=self._random_bytes,
            )
        except errors.UploadNotFound:
            # Two Completes ran at once and the other was first.
            return await self._answer_again(bucket, key, upload_id, named, customer, caller)
        self._displaced()
        version = final.version
        protection = self._encryption.protection_of(upload)
        return Completed(
            version.etag, version.version_id, protection, checksums, upload.checksum_type
        )

    async def initiator(self, bucket: str, key: str, upload_id: str) -> str:
        """Return the canonical id of who opened an upload.

        Raises:
            UploadNotFound: the upload is not open.
        """
        return self.initiator_of(await self._catalog.upload(bucket, key, upload_id))

    def initiator_of(self, upload: records.Upload) -> str:
        """Return the canonical id of who opened an upload."""
        content = self._encryption.open_escrow(upload).head.content
        return content.get(_INITIATOR, upload.owner)

    async def abort(self, bucket: str, key: str, upload_id: str) -> None:
        """Close an upload and drop its parts.

        Raises:
            UploadNotFound: it is not open.
        """
        await self._catalog.abort_upload(bucket, key, upload_id)
        self._displaced()

    async def _answer_again(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        named: Sequence[NamedPart],
        customer: sources.CustomerKey | None,
        caller: kms.Caller,
    ) -> Completed:
        done = await self._catalog.completion(bucket, key, upload_id)
        if done is None or not _make(named, done.etag):
            raise errors.UploadNotFound(upload_id)
        # Overwritten or deleted since: there is no object that the answer could describe.
        try:
            stored = await self._catalog.version(bucket, key, done.version_id)
        except (errors.VersionNotFound, errors.IsDeleteMarker) as error:
            raise errors.UploadNotFound(upload_id) from error
        version = stored.version
        # Not the generation: another key may have been put around it since.
        stands = (version.version_id, version.etag, version.modified_ms)
        if stands != (done.version_id, done.etag, done.completed_ms):
            raise errors.UploadNotFound(upload_id)
        if stored.version.mode == sources.CUSTOMER_MODE and customer is None:
            protection = sources.PLAIN_PROTECTIONS[sources.CUSTOMER_MODE]
            return Completed(done.etag, done.version_id, protection, {}, "")
        opened = await self._encryption.unlock(stored, customer, caller)
        head = opened.head
        return Completed(
            done.etag, done.version_id, opened.protection, head.checksums, head.checksum_type
        )

    @staticmethod
    def _choose(
        named: Sequence[NamedPart], uploaded: Mapping[int, records.Part]
    ) -> list[records.Part]:
        """Return the uploaded parts that a Complete names, in order."""
        if any(one.number >= two.number for one, two in itertools.pairwise(named)):
            raise errors.InvalidPartOrder
        chosen: list[records.Part] = []
        for wanted in named:
            part = uploaded.get(wanted.number)
            if part is None or part.etag != wanted.etag:
                raise errors.InvalidPart(wanted.number, wanted.etag)
            chosen.append(part)
        for part in chosen[:-1]:
            if part.size < MIN_PART_BYTES:
                raise errors.PartTooSmall(part.number, part.size, MIN_PART_BYTES, part.etag)
        return chosen


def _rows(
    upload: records.Upload, body_key: envelopes.BodyKey, parts: Sequence[records.Part]
) -> list[bodies.BodyPart]:
    """Return uploaded parts as rows of a body record."""
    return [
        bodies.BodyPart(
            part.number,
            part.blob_id,
            part.size,
            part.digest,
            _part_checksums(upload, body_key, part),
        )
        for part in parts
    ]


def _make(named: Sequence[NamedPart], etag: str) -> bool:
    """Whether these parts are the ones that an upload with this ETag was completed with."""
    try:
        return digests.etag_of_parts([part.etag for part in named]) == etag
    except ValueError:
        return False


def _without_marks(content: Mapping[str, str]) -> tuple[dict[str, str], marks.Marks]:
    """Part what a draft's head holds into content headers and what will be marks."""
    apart = (_TAG, _ACL, _INITIATOR, _FINGERPRINT, _NOTE)
    headers = {name: value for name, value in content.items() if not name.startswith(apart)}
    tags, notes = (
        {name.removeprefix(kind): value for name, value in content.items() if name.startswith(kind)}
        for kind in (_TAG, _NOTE)
    )
    if content.get(_FINGERPRINT):
        notes[encryption.FINGERPRINT_NOTE] = content[_FINGERPRINT]
    return headers, marks.Marks(tags, content.get(_ACL, ""), notes)


def _part_checksums(
    upload: records.Upload, body_key: envelopes.BodyKey, part: records.Part
) -> dict[str, bytes]:
    return bodies.open_part_checksums(
        body_key,
        upload.upload_id,
        part.number,
        part.blob_id,
        part.size,
        part.digest,
        part.sealed_checksums,
    )


def _check_part_checksums(
    upload: records.Upload, named: Sequence[NamedPart], rows: Sequence[bodies.BodyPart]
) -> None:
    """Check the checksums that a Complete gives for its parts; a composite upload wants them all."""
    algorithm = upload.checksum_algorithm
    for wanted, row in zip(named, rows, strict=True):
        for name, digest in wanted.checksums.items():
            if row.checksums.get(name) != digest:
                raise errors.InvalidPart(row.number, wanted.etag)
        if (
            algorithm
            and upload.checksum_type == objects.COMPOSITE
            and algorithm not in wanted.checksums
        ):
            raise errors.PartChecksumMissing(algorithm, row.number)


def _whole_checksum(upload: records.Upload, rows: Sequence[bodies.BodyPart]) -> dict[str, bytes]:
    algorithm = upload.checksum_algorithm or objects.DEFAULT_CHECKSUM
    per_part = [(row.checksums[algorithm], row.plain_bytes) for row in rows]
    if upload.checksum_type == objects.COMPOSITE:
        return {algorithm: digests.composite(algorithm, [digest for digest, _ in per_part])}
    return {algorithm: digests.combine(algorithm, per_part)}
