"""Both ports in memory: for tests, and for `serve --ephemeral`. Gone when the process is.

The catalog changes its dicts only after every check has passed, under one lock
and without awaiting, so each call is atomic as the port demands.
"""

from __future__ import annotations

import dataclasses
import threading
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store import blobs, catalog, paging, records
from strongroom.store.memory_kms import MemoryKms

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

_Position = tuple[bytes, int, str]
"""Where an upload stands in a listing: key, initiation time, upload id."""


@dataclass(slots=True)
class _Body:
    """A body record with its blobs in order, and how many versions share it."""

    record: bytes
    refs: int
    blobs: tuple[records.BlobRef, ...]


@dataclass(slots=True)
class _Entry:
    """A version as it is kept."""

    version: records.Version
    envelope: bytes
    body: _Body
    marks: bytes


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
    """A bucket with sorted lists beside its dicts.

    Inserting moves half a list: about a millisecond at a million keys, and
    nothing to depend on.
    """

    record: records.Bucket
    entries: dict[bytes, _Entry] = field(default_factory=dict)
    keys: list[bytes] = field(default_factory=list)
    uploads: list[_Position] = field(default_factory=list)
    completions: dict[str, records.Completion] = field(default_factory=dict)


class MemoryCatalog:
    """The catalog as dicts. Port: `strongroom.store.catalog.Catalog`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: dict[str, bytes] = {}
        self._store_keys: dict[int, records.StoreKey] = {}
        self._users: dict[str, records.User] = {}
        self._credentials: dict[str, records.Credential] = {}
        self._buckets: dict[str, _Bucket] = {}
        self._uploads: dict[str, _OpenUpload] = {}
        self._inline: dict[bytes, bytes] = {}
        self._doomed: dict[bytes, records.BlobRef] = {}
        self._referred: set[bytes] = set()
        self._kms = MemoryKms()

    @property
    def kms(self) -> MemoryKms:
        """See the port."""
        return self._kms

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
                objects=sum(len(bucket.keys) for bucket in self._buckets.values()),
                uploads=len(self._uploads),
                doomed_blobs=len(self._doomed),
            )

    # Store keys, users, credentials

    async def store_keys(self) -> Sequence[records.StoreKey]:
        """See the port."""
        with self._lock:
            return [self._store_keys[number] for number in sorted(self._store_keys)]

    async def add_store_key(self, key: records.StoreKey) -> bool:
        """See the port."""
        with self._lock:
            return self._store_keys.setdefault(key.number, key) is key

    async def add_user(self, user: records.User, credential: records.Credential) -> None:
        """See the port."""
        with self._lock:
            names = {other.name for other in self._users.values()}
            if (
                user.name in names
                or user.user_id in self._users
                or credential.access_key in self._credentials
            ):
                raise errors.UserExists(user.name)
            self._users[user.user_id] = user
            self._credentials[credential.access_key] = credential

    async def users(self) -> Sequence[records.User]:
        """See the port."""
        with self._lock:
            return sorted(self._users.values(), key=lambda user: user.name)

    async def user(self, user_id: str) -> records.User:
        """See the port."""
        found = self._users.get(user_id)
        if found is None:
            raise errors.UserNotFound(user_id)
        return found

    async def remove_user(self, name: str) -> None:
        """See the port."""
        with self._lock:
            for user in self._users.values():
                if user.name == name:
                    break
            else:
                raise errors.UserNotFound(name)
            del self._users[user.user_id]
            for credential in list(self._credentials.values()):
                if credential.user_id == user.user_id:
                    del self._credentials[credential.access_key]

    async def credential(self, access_key: str) -> tuple[records.Credential, records.User] | None:
        """See the port."""
        with self._lock:
            found = self._credentials.get(access_key)
            return None if found is None else (found, self._users[found.user_id])

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
            if bucket.keys:
                raise errors.BucketNotEmpty(name)
            for _, _, upload_id in list(bucket.uploads):
                self._drop_upload(bucket, self._uploads[upload_id], keep=())
            del self._buckets[name]

    # Versions

    async def current(self, bucket: str, key: str) -> records.Stored:
        """See the port."""
        entry = self._bucket(bucket).entries.get(key.encode())
        if entry is None:
            raise errors.ObjectNotFound(bucket, key)
        return records.Stored(entry.version, entry.envelope, entry.body.record, entry.marks)

    async def put_version(
        self, draft: records.Draft, guard: catalog.Guard = catalog.no_guard
    ) -> None:
        """See the port."""
        with self._lock:
            bucket = self._bucket(draft.version.bucket, draft.bucket_made_ms)
            guard(self._current(bucket, draft.version.key))
            if draft.shares is not None:
                body = self._share_body(draft.shares)
            else:
                body = _Body(draft.body, 1, self._hold(*draft.blobs))
            self._replace(bucket, draft, body)

    async def set_marks(self, bucket: str, key: str, generation: bytes, marks: bytes) -> None:
        """See the port."""
        with self._lock:
            entry = self._bucket(bucket).entries.get(key.encode())
            if entry is None or entry.version.generation != generation:
                raise errors.ObjectNotFound(bucket, key)
            entry.marks = marks

    async def delete_version(
        self, bucket: str, key: str, guard: catalog.Guard = catalog.no_guard
    ) -> records.Version | None:
        """See the port."""
        with self._lock:
            home = self._bucket(bucket)
            current = self._current(home, key)
            guard(current)
            if current is not None:
                raw = key.encode()
                self._release(home.entries.pop(raw).body)
                del home.keys[bisect_left(home.keys, raw)]
            return current

    async def list_objects(
        self, bucket: str, *, prefix: str = "", delimiter: str = "", after: str = "", limit: int
    ) -> records.ObjectPage:
        """See the port."""
        with self._lock:
            home = self._bucket(bucket)

            def scan(start: bytes) -> Iterator[tuple[bytes, records.Version]]:
                for index in range(bisect_left(home.keys, start), len(home.keys)):
                    key = home.keys[index]
                    yield key, home.entries[key].version

            return paging.object_page(
                scan,
                lambda version: version,
                prefix=prefix,
                delimiter=delimiter,
                after=after,
                limit=limit,
            )

    async def blob_refs(
        self, bucket: str, key: str, generation: bytes
    ) -> Sequence[records.BlobRef]:
        """See the port."""
        home = self._buckets.get(bucket)
        entry = None if home is None else home.entries.get(key.encode())
        if entry is None or entry.version.generation != generation:
            raise errors.ObjectNotFound(bucket, key)
        return entry.body.blobs

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
            bucket = self._bucket(upload.bucket, draft.bucket_made_ms)
            opened = self._open_upload(upload.bucket, upload.key, upload.upload_id)
            refs = []
            for part in parts:
                there = opened.parts.get(part.number)
                if there is None or there[0].blob_id != part.blob_id:
                    raise errors.InvalidPart(part.number, part.etag)
                refs.append(there[1])
            guard(self._current(bucket, upload.key))
            self._drop_upload(bucket, opened, keep={ref.blob_id for ref in refs})
            self._replace(bucket, draft, _Body(draft.body, 1, tuple(refs)))
            self._remember(bucket, upload, draft.version)

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
                if blob_id in self._referred or blob_id in self._doomed
            }

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

    @staticmethod
    def _current(bucket: _Bucket, key: str) -> records.Version | None:
        entry = bucket.entries.get(key.encode())
        return None if entry is None else entry.version

    def _replace(self, bucket: _Bucket, draft: records.Draft, body: _Body) -> None:
        key = draft.version.key.encode()
        before = bucket.entries.get(key)
        bucket.entries[key] = _Entry(draft.version, draft.envelope, body, draft.marks)
        if before is None:
            insort(bucket.keys, key)
        else:
            self._release(before.body)

    def _share_body(self, version: records.Version) -> _Body:
        bucket = self._buckets.get(version.bucket)
        entry = bucket.entries.get(version.key.encode()) if bucket is not None else None
        if entry is None or entry.version.generation != version.generation:
            raise errors.SourceGone(version.bucket, version.key)
        entry.body.refs += 1
        return entry.body

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

    def _release(self, body: _Body) -> None:
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


class _MemoryWriter:
    """A blob being gathered. Port: `strongroom.store.blobs.BlobWriter`."""

    __slots__ = ("_blob_id", "_home", "_rooms")

    def __init__(self, blob_id: bytes, home: dict[str, bytes]) -> None:
        self._blob_id = blob_id
        self._home = home
        self._rooms: list[bytearray] = []

    @property
    def blob_id(self) -> bytes:
        return self._blob_id

    def room(self, size: int) -> memoryview:
        if not 0 < size <= blobs.ROOM_BYTES:
            raise ValueError(f"room for {size} bytes")
        if self._rooms and len(self._rooms[-1]) != blobs.ROOM_BYTES:
            raise ValueError("only the last room of a blob may be shorter")
        self._rooms.append(bytearray(size))
        return memoryview(self._rooms[-1])

    def finish(self) -> str:
        place = _memory_place(self._blob_id)
        self._home[place] = b"".join(self._rooms)
        self._rooms.clear()
        return place

    def discard(self) -> None:
        self._rooms.clear()
        self._home.pop(_memory_place(self._blob_id), None)


class _MemoryReader:
    """An open blob. Port: `strongroom.store.blobs.BlobReader`."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_into(self, start: int, target: memoryview) -> None:
        end = start + len(target)
        if start < 0 or end > len(self._data):
            raise errors.NotAuthentic("a blob ends too early")
        target[:] = memoryview(self._data)[start:end]

    def close(self) -> None:
        """Do nothing: the bytes go when the last reader does."""


class MemoryBlobs:
    """Blobs as a dict. Port: `strongroom.store.blobs.Blobs`.

    Each dict operation is atomic by itself, so writers and readers on other
    threads need no lock.
    """

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._identity: bytes | None = None

    def create(self, blob_id: bytes, expected_bytes: int) -> blobs.BlobWriter:
        """See the port; `expected_bytes` is of no use here."""
        del expected_bytes
        if _memory_place(blob_id) in self._blobs:
            raise errors.StoreFailed("the blob id is taken")
        return _MemoryWriter(blob_id, self._blobs)

    async def settle(self, place: str) -> None:
        """Do nothing: there is no name to make durable."""

    def open(self, place: str) -> blobs.BlobReader:
        """See the port."""
        data = self._blobs.get(place)
        if data is None:
            raise errors.BlobMissing(place)
        return _MemoryReader(data)

    def remove(self, place: str) -> None:
        """See the port."""
        self._blobs.pop(place, None)

    def strays(self) -> Iterator[tuple[bytes, str]]:
        """Yield nothing: no other process ever wrote here."""
        return iter(())

    def set_aside(self, place: str) -> None:
        """Remove the blob: with the process gone there is no catalog that could turn up."""
        self._blobs.pop(place, None)

    def purge(self, before_s: float) -> int:
        """Return 0: nothing is kept aside."""
        del before_s
        return 0

    def identity(self) -> bytes | None:
        """See the port."""
        return self._identity

    def adopt(self, identity: bytes) -> None:
        """See the port."""
        if not identity:
            raise ValueError("an identity of no bytes")
        if self._identity not in (None, identity):
            raise errors.StoreFailed("the blobs have another identity already")
        self._identity = identity

    def is_empty(self) -> bool:
        """See the port; unfinished blobs do not count, nobody else can see them."""
        return not self._blobs

    def close(self) -> None:
        """Do nothing: the memory goes with the object."""


def _memory_place(blob_id: bytes) -> str:
    return "memory/" + blob_id.hex()
