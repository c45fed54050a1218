"""The catalog in memory: for tests, and for `serve --ephemeral`. Gone when the process is.

It changes its dicts only after every check has passed, under one lock
and without awaiting, so each call is atomic as the port demands.
"""

from __future__ import annotations

import dataclasses
import time
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.crypto import body as bodies
from strongroom.store import (
    catalog,
    guarding,
    histories,
    memory_keeping,
    memory_replication,
    paging,
    records,
)
from strongroom.store.memory_expiry import MemoryExpiry
from strongroom.store.memory_kms import MemoryKms
from strongroom.store.memory_people import MemoryPeople
from strongroom.store.replication import Placed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


_Position = tuple[bytes, int, str]
"""Where an upload stands in a listing: key, initiation time, upload id."""


@dataclass(slots=True)
class _OpenUpload:
    """An open upload, and by number its parts with where their blobs lie."""

    upload: records.Upload
    parts: dict[int, tuple[records.Part, records.BlobRef]] = field(default_factory=dict)

    @property
    def position(self) -> _Position:
        return (self.upload.key.encode(), self.upload.initiated_ms, self.upload.upload_id)


@dataclass(slots=True)
class _Bucket:
    """A bucket with what it holds; uploads are sorted."""

    record: records.Bucket
    versions: histories.Histories = field(default_factory=histories.Histories)
    uploads: list[_Position] = field(default_factory=list)
    completions: dict[str, records.Completion] = field(default_factory=dict)
    kept: list[memory_keeping.Kept] = field(default_factory=list)

    @property
    def rules(self) -> guarding.Rules:
        return guarding.rules_of(self.record.settings)


class MemoryCatalog(MemoryPeople):
    """The catalog as dicts. Port: `strongroom.store.catalog.Catalog`."""

    def __init__(self, clock_ms: Callable[[], int] = _clock_ms) -> None:
        self.alarm: Callable[[guarding.Alarm], None] = catalog.no_alarm
        super().__init__()
        self._facts: dict[str, bytes] = {}
        self._buckets: dict[str, _Bucket] = {}
        self._uploads: dict[str, _OpenUpload] = {}
        self._inline: dict[bytes, bytes] = {}
        self._doomed: dict[bytes, records.BlobRef] = {}
        self._referred: set[bytes] = set()
        self._kms = MemoryKms()
        self._queue = memory_replication.Queue()
        self._expiry = MemoryExpiry(self, self._stack)
        self._keeping = memory_keeping.MemoryKeeping(
            self._lock,
            self._buckets,
            lambda: [opened.upload for opened in self._uploads.values()],
            self._release,
            clock_ms,
        )

    @property
    def keeping(self) -> memory_keeping.MemoryKeeping:
        """See the port."""
        return self._keeping

    @property
    def expiry(self) -> MemoryExpiry:
        """See the port."""
        return self._expiry

    @property
    def kms(self) -> MemoryKms:
        """See the port."""
        return self._kms

    @property
    def replication(self) -> memory_replication.MemoryReplication:
        """See the port."""
        return memory_replication.MemoryReplication(self, self._queue)

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    # Facts about the store itself

    async def fact(self, name: str) -> bytes | None:
        """See the port."""
        return self._facts.get(name)

    async def establish(self, name: str, value: bytes) -> bytes:
        """See the port."""
        with self._lock:
            return self._facts.setdefault(name, value)

    async def usage(self) -> records.Usage:
        """See the port."""
        with self._lock:
            return records.Usage(
                buckets=len(self._buckets),
                objects=sum(bucket.versions.objects for bucket in self._buckets.values()),
                uploads=len(self._uploads),
                doomed_blobs=len(self._doomed),
            )

    # Buckets

    async def create_bucket(self, bucket: records.Bucket) -> None:
        """See the port."""
        with self._lock:
            taken = self._buckets.get(bucket.name)
            if taken is not None:
                raise errors.BucketExists(bucket.name, taken.record.owner)
            self._buckets[bucket.name] = _Bucket(bucket)

    async def bucket(self, name: str) -> records.Bucket:
        """See the port."""
        return self._bucket(name).record

    async def buckets(
        self, *, owner: str | None = None, prefix: str = "", after: str = "", limit: int
    ) -> Sequence[records.Bucket]:
        """See the port."""
        with self._lock:
            names = sorted(
                name
                for name, bucket in self._buckets.items()
                if name > after and name.startswith(prefix) and owner in (None, bucket.record.owner)
            )
            return [self._buckets[name].record for name in names[: max(limit, 0)]]

    async def change_settings(
        self, name: str, changes: Mapping[str, str | None], *, bucket_made_ms: int | None = None
    ) -> None:
        """See the port."""
        with self._lock:
            home = self._bucket(name, bucket_made_ms)
            home.record = dataclasses.replace(
                home.record, settings=records.changed_settings(home.record.settings, changes)
            )

    async def delete_bucket(self, name: str) -> None:
        """See the port."""
        with self._lock:
            bucket = self._bucket(name)
            if not bucket.versions.is_empty or bucket.kept:
                raise errors.BucketNotEmpty(name)
            for _, _, upload_id in list(bucket.uploads):
                self._drop_upload(bucket, self._uploads[upload_id], keep=())
            del self._buckets[name]
            self._queue.forget(name)

    # Versions

    async def current(self, bucket: str, key: str, *, with_data: bool = False) -> records.Stored:
        """See the port; nothing is saved by data, so there is none."""
        del with_data
        with self._lock:
            entry = self._bucket(bucket).versions.newest(key)
            if entry is None:
                raise errors.ObjectNotFound(bucket, key)
            if entry.body is None:
                raise errors.ObjectNotFound(bucket, key, entry.version.version_id)
            return records.Stored(entry.version, entry.envelope, entry.body.record, entry.marks)

    async def version(self, bucket: str, key: str, version_id: str) -> records.Stored:
        """See the port."""
        with self._lock:
            entry = self._bucket(bucket).versions.find(key, version_id)
            if entry is None:
                raise errors.VersionNotFound(bucket, key, version_id)
            if entry.body is None:
                raise errors.IsDeleteMarker(bucket, key, version_id, entry.version.modified_ms)
            return records.Stored(entry.version, entry.envelope, entry.body.record, entry.marks)

    async def put_version(
        self, draft: records.Draft, guard: catalog.Guard = catalog.no_guard
    ) -> None:
        """See the port."""
        with self._lock:
            bucket = self._home(draft)
            guard(self._newest(bucket, draft.version.key))
            if draft.shares is not None:
                body = self._share_body(draft.shares)
            else:
                body = histories.Body(draft.body, 1, self._hold(*draft.blobs))
            alarms = self._put(bucket, draft, body)
        self._tell(alarms)

    async def replace_version(self, draft: records.Draft, replaced: records.Stored) -> None:
        """See the port."""
        version = replaced.version
        with self._lock:
            home = self._bucket(version.bucket, draft.bucket_made_ms)
            guarding.check_key(home.rules, draft.version)
            entry = self._entry(version)
            if entry.marks != replaced.marks:
                raise errors.ObjectNotFound(version.bucket, version.key)
            assert entry.body is not None, "a generation is that of an object"
            if draft.blobs:
                body = histories.Body(draft.body, 1, self._hold(*draft.blobs))
                self._release(entry.body)
                entry.body = body
            entry.version, entry.envelope = draft.version, draft.envelope
            entry.marks = draft.marks

    async def set_marks(
        self,
        version: records.Version,
        marks: bytes,
        *,
        before: bytes | None = None,
        replicate_at_ms: int | None = None,
    ) -> None:
        """See the port."""
        with self._lock:
            self._bucket(version.bucket)
            entry = self._entry(version)
            if before not in (None, entry.marks):
                raise errors.MarksChanged(version.key)
            entry.marks = marks
            if replicate_at_ms is not None:
                self._queue.add(version, replicate_at_ms)

    async def delete_object(
        self, marker: records.Version, guard: catalog.Guard = catalog.no_guard
    ) -> tuple[records.Version | None, records.Version | None]:
        """See the port."""
        with self._lock:
            home = self._bucket(marker.bucket)
            guard(self._newest(home, marker.key))
            if not home.record.versioning:
                put = None
                entry = home.versions.find(marker.key, records.NULL_VERSION)
                if entry is not None:
                    home.versions.remove(entry)
            else:
                put = marker
                if home.record.versioning != records.ENABLED:
                    put = dataclasses.replace(marker, version_id=records.NULL_VERSION)
                elif records.REPLICATION in home.record.settings:
                    self._queue.add(marker, marker.modified_ms)
                entry = home.versions.push(histories.Entry(put))
            gone, alarms = self._let_go(home, entry, put)
        self._tell(alarms)
        return gone, put

    async def delete_version(
        self,
        bucket: str,
        key: str,
        guard: catalog.DeletionGuard = catalog.no_deletion_guard,
        *,
        version_id: str = records.NULL_VERSION,
    ) -> records.Version | None:
        """See the port."""
        with self._lock:
            home = self._bucket(bucket)
            entry = home.versions.find(key, version_id)
            marks = entry.marks if entry is not None and home.record.has_lock else b""
            guard(None if entry is None else entry.version, marks)
            if entry is not None:
                home.versions.remove(entry)
            gone, alarms = self._let_go(home, entry, None)
        self._tell(alarms)
        return gone

    async def list_objects(
        self, bucket: str, *, prefix: str = "", delimiter: str = "", after: str = "", limit: int
    ) -> records.ObjectPage:
        """See the port."""
        with self._lock:
            return paging.object_page(
                self._bucket(bucket).versions.scan_objects,
                lambda version: version,
                prefix=prefix,
                delimiter=delimiter,
                after=after,
                limit=limit,
            )

    async def list_versions(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        after: tuple[str, str] = ("", ""),
        limit: int,
    ) -> records.VersionPage:
        """See the port."""
        with self._lock:
            scan = self._bucket(bucket).versions.scan
            return paging.version_page(
                scan,
                scan,
                lambda found: found,
                prefix=prefix,
                delimiter=delimiter,
                after=after,
                limit=limit,
            )

    async def blob_refs(self, version: records.Version) -> Sequence[records.BlobRef]:
        """See the port."""
        with self._lock:
            body = self._entry(version).body
            return () if body is None else body.blobs

    async def inline(self, blob_id: bytes) -> bytes:
        """See the port."""
        data = self._inline.get(blob_id)
        if data is None:
            raise errors.BlobMissing(blob_id.hex())
        return data

    # Multipart uploads

    async def create_upload(self, upload: records.Upload) -> None:
        """See the port."""
        with self._lock:
            bucket = self._bucket(upload.bucket, upload.bucket_made_ms)
            if upload.upload_id in self._uploads:
                raise errors.StoreFailed("the upload id is taken")
            opened = _OpenUpload(dataclasses.replace(upload, bucket_made_ms=None))
            self._uploads[upload.upload_id] = opened
            insort(bucket.uploads, opened.position)

    async def upload(self, bucket: str, key: str, upload_id: str) -> records.Upload:
        """See the port."""
        self._bucket(bucket)
        return self._open_upload(bucket, key, upload_id).upload

    async def list_uploads(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        after: tuple[str, str] = ("", ""),
        limit: int,
    ) -> records.UploadPage:
        """See the port."""
        with self._lock:
            positions = self._bucket(bucket).uploads

            def rows(start: int) -> Iterator[tuple[bytes, records.Upload]]:
                for index in range(start, len(positions)):
                    key, _, upload_id = positions[index]
                    yield key, self._uploads[upload_id].upload

            def scan(start: bytes) -> Iterable[tuple[bytes, records.Upload]]:
                return rows(bisect_left(positions, (start,)))

            def resume(key: bytes, upload_id: str) -> Iterable[tuple[bytes, records.Upload]]:
                opened = self._uploads.get(upload_id)
                if opened is None or (opened.upload.bucket, opened.position[0]) != (bucket, key):
                    return scan(key)
                return rows(bisect_right(positions, opened.position))

            return paging.upload_page(
                scan,
                resume,
                lambda upload: upload,
                prefix=prefix,
                delimiter=delimiter,
                after=after,
                limit=limit,
            )

    async def put_part(
        self, upload: records.Upload, part: records.Part, blob: records.NewBlob
    ) -> None:
        """See the port."""
        with self._lock:
            opened = self._open_upload(upload.bucket, upload.key, upload.upload_id)
            replaced = opened.parts.get(part.number)
            (ref,) = self._hold(blob)
            opened.parts[part.number] = (part, ref)
            if replaced is not None:
                self._drop_blob(replaced[1])

    async def parts(
        self, upload_id: str, *, after: int = 0, limit: int | None = None
    ) -> Sequence[records.Part]:
        """See the port."""
        with self._lock:
            opened = self._uploads.get(upload_id)
            if opened is None:
                return []
            numbers = sorted(number for number in opened.parts if number > after)
            return [
                opened.parts[number][0]
                for number in (numbers if limit is None else numbers[: max(limit, 0)])
            ]

    async def complete_upload(
        self,
        upload: records.Upload,
        draft: records.Draft,
        parts: Collection[records.Part],
        guard: catalog.Guard = catalog.no_guard,
    ) -> None:
        """See the port."""
        with self._lock:
            bucket = self._home(draft)
            opened = self._open_upload(upload.bucket, upload.key, upload.upload_id)
            refs = []
            for part in parts:
                there = opened.parts.get(part.number)
                if there is None or there[0].blob_id != part.blob_id:
                    raise errors.InvalidPart(part.number, part.etag)
                refs.append(there[1])
            guard(self._newest(bucket, upload.key))
            self._drop_upload(bucket, opened, keep={ref.blob_id for ref in refs})
            alarms = self._put(bucket, draft, histories.Body(draft.body, 1, tuple(refs)))
            self._remember(bucket, upload, draft.version)
        self._tell(alarms)

    async def completion(self, bucket: str, key: str, upload_id: str) -> records.Completion | None:
        """See the port."""
        home = self._buckets.get(bucket)
        found = None if home is None else home.completions.get(upload_id)
        return found if found is not None and found.key == key else None

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """See the port."""
        with self._lock:
            home = self._bucket(bucket)
            self._drop_upload(home, self._open_upload(bucket, key, upload_id), keep=())

    # Care of blobs

    async def doomed(self, *, limit: int) -> Sequence[records.BlobRef]:
        """See the port."""
        with self._lock:
            return list(self._doomed.values())[: max(limit, 0)]

    async def forget(self, blob_ids: Collection[bytes]) -> None:
        """See the port."""
        with self._lock:
            for blob_id in blob_ids:
                self._doomed.pop(blob_id, None)

    async def known(self, blob_ids: Collection[bytes]) -> set[bytes]:
        """See the port."""
        with self._lock:
            return {
                blob_id
                for blob_id in blob_ids
                if blob_id in self._referred
                or blob_id in self._doomed
                or blob_id in self._queue.staged
            }

    # For `memory_replication`, in whose calls they are whole transactions

    def check_free(self, body: bytes) -> Sequence[bytes]:
        """Return what `ReplicationStore.missing` does."""
        with self._lock:
            if self._standing(body) is not None:
                return []
            lacking = []
            for part in bodies.parse(body).parts:
                if part.blob_id in self._referred or part.blob_id in self._doomed:
                    raise errors.StoreFailed("a blob of that id is here, and is not that one")
                if part.blob_id not in self._queue.staged:
                    lacking.append(part.blob_id)
            return lacking

    def stage(self, blob: records.NewBlob, digest: bytes, now_ms: int) -> None:
        """See `ReplicationStore.stage`."""
        with self._lock:
            if blob.blob_id in {*self._referred, *self._doomed, *self._queue.staged}:
                raise errors.StoreFailed("a blob of that id is here already")
            self._queue.staged[blob.blob_id] = (blob, digest, now_ms)

    def expire_staged(self, before_ms: int) -> int:
        """See `ReplicationStore.expire_staged`."""
        with self._lock:
            old = [blob for blob, _, at_ms in self._queue.staged.values() if at_ms < before_ms]
            for blob in old:
                del self._queue.staged[blob.blob_id]
                self._doomed[blob.blob_id] = records.BlobRef(blob.blob_id, blob.size, blob.place)
            return len(old)

    def put_replica(self, draft: records.Draft) -> Placed:
        """See `ReplicationStore.put_replica`."""
        version = draft.version
        with self._lock:
            home = self._bucket(version.bucket, draft.bucket_made_ms)
            if home.record.versioning != records.ENABLED:
                raise errors.VersioningChanged(version.bucket)
            standing = home.versions.find(version.key, version.version_id)
            if standing is not None and (
                version.version_id != records.NULL_VERSION
                or home.record.has_lock
                or standing.version.modified_ms >= version.modified_ms
            ):
                return Placed(written=False, blobs_used=False)
            guarding.check_key(guarding.rules_of(home.record.settings), version)
            body, used = (None, False) if version.is_marker else self._replica_body(draft)
            alarms: list[guarding.Alarm] = []
            if standing is not None:
                home.versions.remove(standing)
                _, alarms = self._let_go(home, standing, version)
            home.versions.insert(histories.Entry(version, draft.envelope, body, draft.marks))
        self._tell(alarms)
        return Placed(written=True, blobs_used=used)

    def _replica_body(self, draft: records.Draft) -> tuple[histories.Body, bool]:
        if draft.shares is not None:
            return self._share_body(draft.shares), False
        standing = self._standing(draft.body)
        if standing is not None:
            standing.refs += 1
            return standing, False
        blobs = {blob.blob_id: blob for blob in draft.blobs}
        for part in bodies.parse(draft.body).parts:
            if part.blob_id not in blobs:
                staged = self._queue.staged.get(part.blob_id)
                if staged is None or staged[1] != part.digest:
                    raise errors.BlobMissing(part.blob_id.hex())
                blobs[part.blob_id] = staged[0]
        ordered = [blobs[part.blob_id] for part in bodies.parse(draft.body).parts]
        body = histories.Body(draft.body, 1, self._hold(*ordered))
        for blob in ordered:
            self._queue.staged.pop(blob.blob_id, None)
        return body, True

    def _standing(self, record: bytes) -> histories.Body | None:
        """Return the body with this record; slow, and only in memory."""
        for bucket in self._buckets.values():
            found = bucket.versions.body(record)
            if found is not None:
                return found
        return None

    def _bucket(self, name: str, made_ms: int | None = None) -> _Bucket:
        found = self._buckets.get(name)
        if found is None or made_ms not in (None, found.record.created_ms):
            raise errors.BucketNotFound(name)
        return found

    def _open_upload(self, bucket: str, key: str, upload_id: str) -> _OpenUpload:
        found = self._uploads.get(upload_id)
        if found is None or (found.upload.bucket, found.upload.key) != (bucket, key):
            raise errors.UploadNotFound(upload_id)
        return found

    def _home(self, draft: records.Draft) -> _Bucket:
        """Find a draft's bucket, and check that its versioning wants the draft's version id."""
        home = self._bucket(draft.version.bucket, draft.bucket_made_ms)
        is_null = draft.version.version_id == records.NULL_VERSION
        if is_null == (home.record.versioning == records.ENABLED):
            raise errors.VersioningChanged(draft.version.bucket)
        guarding.check_key(home.rules, draft.version)
        return home

    def _stack(self, version: records.Version) -> tuple[dict[str, str], Sequence[histories.Entry]]:
        home = self._bucket(version.bucket)
        return home.record.settings, home.versions.stack(version.key)

    @staticmethod
    def _newest(bucket: _Bucket, key: str) -> records.Version | None:
        entry = bucket.versions.newest(key)
        return None if entry is None else entry.version

    def _entry(self, version: records.Version) -> histories.Entry:
        """Return a version that must still be there, with its generation."""
        home = self._buckets.get(version.bucket)
        entry = None if home is None else home.versions.find(version.key, version.version_id)
        if entry is None or entry.version.generation != version.generation:
            raise errors.ObjectNotFound(version.bucket, version.key)
        return entry

    def _put(
        self, bucket: _Bucket, draft: records.Draft, body: histories.Body
    ) -> list[guarding.Alarm]:
        before = bucket.versions.newest(draft.version.key)
        if draft.replicates:
            self._queue.add(draft.version, draft.version.modified_ms)
        entry = histories.Entry(draft.version, draft.envelope, body, draft.marks)
        gone = bucket.versions.push(entry)
        _, alarms = self._let_go(bucket, gone, draft.version)
        stands = None if before is None or before is gone else before.version
        if bucket.rules.keep_ms and stands is not None:
            by = draft.version.fingerprint
            if guarding.is_foreign(bucket.rules, stands, draft.version):
                reason = guarding.OVERWRITTEN
                alarms.append(guarding.Alarm(stands, by, reason, is_foreign=True, until_ms=0))
        return alarms

    def _let_go(
        self, bucket: _Bucket, entry: histories.Entry | None, put: records.Version | None
    ) -> tuple[records.Version | None, list[guarding.Alarm]]:
        """Part with a version that `put`, or a deletion, has displaced; return it, and what is to be told."""
        if entry is None:
            return None, []
        alarm = self._keeping.part_with(bucket, entry, put)
        return entry.version, [] if alarm is None else [alarm]

    def _tell(self, alarms: Iterable[guarding.Alarm]) -> None:
        for alarm in alarms:
            self.alarm(alarm)

    def _share_body(self, version: records.Version) -> histories.Body:
        try:
            body = self._entry(version).body
        except errors.ObjectNotFound as error:
            raise errors.SourceGone(version.bucket, version.key) from error
        assert body is not None, "a delete marker is no source"
        body.refs += 1
        return body

    @staticmethod
    def _remember(bucket: _Bucket, upload: records.Upload, version: records.Version) -> None:
        oldest = version.modified_ms - catalog.COMPLETION_KEPT_MS
        for upload_id, completion in list(bucket.completions.items()):
            if completion.completed_ms < oldest:
                del bucket.completions[upload_id]
        bucket.completions[upload.upload_id] = records.Completion(
            upload_id=upload.upload_id,
            bucket=version.bucket,
            key=version.key,
            version_id=version.version_id,
            etag=version.etag,
            generation=version.generation,
            completed_ms=version.modified_ms,
        )

    def _hold(self, *new: records.NewBlob) -> tuple[records.BlobRef, ...]:
        ids = {blob.blob_id for blob in new}
        if len(ids) != len(new) or ids & self._referred or ids & self._doomed.keys():
            raise errors.StoreFailed("a blob id is taken")
        self._referred |= ids
        self._inline.update((blob.blob_id, blob.data) for blob in new if not blob.place)
        return tuple(records.BlobRef(blob.blob_id, blob.size, blob.place) for blob in new)

    def _release(self, body: histories.Body) -> None:
        body.refs -= 1
        if not body.refs:
            for ref in body.blobs:
                self._drop_blob(ref)

    def _drop_blob(self, ref: records.BlobRef) -> None:
        self._referred.remove(ref.blob_id)
        if ref.place:
            self._doomed[ref.blob_id] = ref
        else:
            del self._inline[ref.blob_id]

    def _drop_upload(
        self, bucket: _Bucket, opened: _OpenUpload, *, keep: Collection[bytes]
    ) -> None:
        for _, ref in opened.parts.values():
            if ref.blob_id not in keep:
                self._drop_blob(ref)
        del self._uploads[opened.upload.upload_id]
        del bucket.uploads[bisect_left(bucket.uploads, opened.position)]
