"""The catalog adapter over SQLite. Port: `strongroom.store.catalog.Catalog`.

Where each call runs:

* Writes: on the writer's thread, several to a commit (`writer`).
* Reads of one thing: right here, on the event loop's thread, with a connection
  of their own. Such a SELECT takes about 10 µs from memory, while a hop to a
  thread and back takes 62 µs and starves the loop no less. The price: a page
  that is neither in SQLite's cache nor in the system's stalls the loop for one
  read of the disk.
* Listings and other reads of many rows: on a reader thread, inside one
  transaction (`readers`).

Each read begins a transaction of its own and so sees all that was acknowledged
before it, by this process or another. Above SQLite only buckets are kept, and
only until anything at all was written (`known`).
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from typing import TYPE_CHECKING

from strongroom.store import catalog, guarding, mirrors, records
from strongroom.store.sqlite import (
    connection,
    directory,
    expiring,
    known,
    outbox,
    reads,
    schema,
    watching,
    writes,
)
from strongroom.store.sqlite.calls import Calls
from strongroom.store.sqlite.checkpoints import Checkpoints
from strongroom.store.sqlite.keeping import SqliteKeeping
from strongroom.store.sqlite.kms import SqliteKms
from strongroom.store.sqlite.readers import Readers
from strongroom.store.sqlite.replication import SqliteReplication
from strongroom.store.sqlite.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


def open_catalog(
    path: Path, *, lock_path: Path | None = None, clock_ms: Callable[[], int] = _clock_ms
) -> SqliteCatalog:
    """Open a migrated catalog (`schema.migrate`). Blocking; the caller closes.

    Args:
        path: the database file.
        lock_path: a file on which all processes that share the catalog queue
            before they write; needed with several workers, made if missing.
        clock_ms: the time, for what the guard keeps.

    Raises:
        StoreFailed: the file is missing, damaged, or has another schema.
    """
    try:
        reader = connection.connect(path, read_only=True)
        try:
            schema.require_newest(reader)
            checkpoints = Checkpoints(path)
            writer = Writer(
                lambda: connection.connect(path),
                lock_path=lock_path,
                committed=checkpoints.nudge,
            )
        except BaseException:
            reader.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise connection.trouble(error) from error
    return SqliteCatalog(reader, Readers(path), writer, checkpoints, clock_ms)


class SqliteCatalog(Calls):
    """See the module. Made by `open_catalog`."""

    def __init__(
        self,
        reader: sqlite3.Connection,
        readers: Readers,
        writer: Writer,
        checkpoints: Checkpoints,
        clock_ms: Callable[[], int],
    ) -> None:
        super().__init__(reader, readers, writer)
        self._checkpoints = checkpoints
        self._buckets = known.Buckets()
        self._kms = SqliteKms(reader, readers, writer)
        self._replication = SqliteReplication(
            reader, readers, writer, clock_ms=clock_ms, tell=self._tell
        )
        self._directory = directory.SqliteDirectory(reader, readers, writer)
        self._expiry = expiring.SqliteExpiry(reader, readers, writer)
        self._keeping = SqliteKeeping(reader, readers, writer, clock_ms)
        self._clock_ms = clock_ms
        self.alarm: Callable[[guarding.Alarm], None] = catalog.no_alarm

    @property
    def directory(self) -> directory.SqliteDirectory:
        """See the port."""
        return self._directory

    @property
    def expiry(self) -> expiring.SqliteExpiry:
        """See the port."""
        return self._expiry

    @property
    def kms(self) -> SqliteKms:
        """See the port."""
        return self._kms

    @property
    def keeping(self) -> SqliteKeeping:
        """See the port."""
        return self._keeping

    @property
    def replication(self) -> SqliteReplication:
        """See the port."""
        return self._replication

    async def close(self) -> None:
        """See the port."""
        await asyncio.to_thread(self._close)

    async def checkpoint(self, *, truncate: bool = False) -> bool:
        """Copy the log into the database; True if all of it was copied.

        Without `truncate` it runs beside writers and readers and copies what
        they let it. With it, writers wait, and the log's file is cut to nothing:
        so old envelopes leave the log too, which matters after a rotation of
        keys. Long logs are copied without being asked.

        Raises:
            StoreFull, StoreFailed: the log stays as it is.
        """
        if truncate:
            busy, _, _ = await self._writer.between(
                lambda conn: conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            )
            return not busy
        return await self._checkpoints.passive()

    # Facts about the store itself

    async def fact(self, name: str) -> bytes | None:
        """See the port."""
        return self._here(reads.fact, name)

    async def establish(self, name: str, value: bytes) -> bytes:
        """See the port."""
        return await self._write(writes.establish, name, value)

    async def usage(self) -> records.Usage:
        """See the port."""
        return await self._read(reads.usage)

    # Store keys, users, credentials

    async def store_keys(self) -> Sequence[records.StoreKey]:
        """See the port."""
        return await self._read(reads.store_keys)

    async def add_store_key(self, key: records.StoreKey) -> bool:
        """See the port."""
        return await self._write(writes.add_store_key, key)

    async def add_user(self, user: records.User, credential: records.Credential) -> None:
        """See the port."""
        await self._write(directory.add_user, user, credential)

    async def users(self) -> Sequence[records.User]:
        """See the port."""
        return await self._read(reads.users)

    async def user(self, user_id: str) -> records.User:
        """See the port."""
        return self._here(reads.user, user_id)

    async def remove_user(self, name: str) -> None:
        """See the port."""
        await self._write(directory.remove_user, name)

    async def credential(self, access_key: str) -> tuple[records.Credential, records.User] | None:
        """See the port."""
        return self._here(directory.credential, access_key)

    async def credentials(self, user_id: str, member: str = "") -> Sequence[records.Credential]:
        """See the port."""
        return await self._read(directory.credentials, user_id, member)

    async def add_credential(self, credential: records.Credential) -> bool:
        """See the port."""
        return await self._write(directory.add_credential, credential)

    async def set_credential_active(self, access_key: str, *, active: bool) -> bool:
        """See the port."""
        return await self._write(directory.set_credential_active, access_key, active=active)

    async def remove_credential(self, access_key: str) -> bool:
        """See the port."""
        return await self._write(directory.remove_credential, access_key)

    # Buckets

    async def create_bucket(self, bucket: records.Bucket) -> None:
        """See the port."""
        await self._write(writes.create_bucket, bucket)

    async def bucket(self, name: str) -> records.Bucket:
        """See the port."""
        return self._here(self._buckets.find, name)

    async def buckets(
        self, *, owner: str | None = None, prefix: str = "", after: str = "", limit: int
    ) -> Sequence[records.Bucket]:
        """See the port."""
        return await self._read(reads.buckets, owner=owner, prefix=prefix, after=after, limit=limit)

    async def change_settings(
        self, name: str, changes: Mapping[str, str | None], *, bucket_made_ms: int | None = None
    ) -> None:
        """See the port."""
        await self._write(writes.change_settings, name, changes, bucket_made_ms)

    async def delete_bucket(self, name: str) -> None:
        """See the port."""
        await self._write(writes.delete_bucket, name)

    # Versions

    async def current(self, bucket: str, key: str, *, with_data: bool = False) -> records.Stored:
        """See the port."""
        return self._here(reads.current, bucket, key, with_data=with_data)

    async def version(self, bucket: str, key: str, version_id: str) -> records.Stored:
        """See the port."""
        return self._here(reads.version, bucket, key, version_id)

    async def put_version(
        self, draft: records.Draft, guard: catalog.Guard = catalog.no_guard
    ) -> None:
        """See the port."""
        watch = watching.Watch(self._clock_ms())
        await self._write(writes.put_version, draft, guard, watch)
        self._tell(watch)

    async def replace_version(self, draft: records.Draft, replaced: records.Stored) -> None:
        """See the port."""
        await self._write(writes.replace_version, draft, replaced)

    async def set_marks(
        self,
        version: records.Version,
        marks: bytes,
        *,
        before: bytes | None = None,
        replicate_at_ms: int | None = None,
    ) -> None:
        """See the port."""
        await self._write(writes.set_marks, version, marks, before, replicate_at_ms)

    async def delete_object(
        self, marker: records.Version, guard: catalog.Guard = catalog.no_guard
    ) -> tuple[records.Version | None, records.Version | None]:
        """See the port."""
        watch = watching.Watch(self._clock_ms())
        done = await self._write(writes.delete_object, marker, guard, watch)
        self._tell(watch)
        return done

    async def delete_version(
        self,
        bucket: str,
        key: str,
        guard: catalog.DeletionGuard = catalog.no_deletion_guard,
        *,
        version_id: str = records.NULL_VERSION,
    ) -> records.Version | None:
        """See the port."""
        watch = watching.Watch(self._clock_ms())
        gone = await self._write(writes.delete_version, bucket, key, guard, version_id, watch)
        self._tell(watch)
        return gone

    async def list_objects(
        self, bucket: str, *, prefix: str = "", delimiter: str = "", after: str = "", limit: int
    ) -> records.ObjectPage:
        """See the port."""
        return await self._read(
            reads.list_objects,
            bucket,
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
        return await self._read(
            reads.list_versions,
            bucket,
            prefix=prefix,
            delimiter=delimiter,
            after=after,
            limit=limit,
        )

    async def blob_refs(self, version: records.Version) -> Sequence[records.BlobRef]:
        """See the port. Most bodies are one blob; those of many are read on a thread."""
        few = reads.FEW_BLOBS + 1
        found = self._here(reads.blob_refs, version, limit=few)
        if len(found) < few:
            return found
        return await self._read(reads.blob_refs, version, limit=-1)

    async def inline(self, blob_id: bytes) -> bytes:
        """See the port."""
        return self._here(reads.inline, blob_id)

    # Multipart uploads

    async def create_upload(self, upload: records.Upload) -> None:
        """See the port."""
        await self._write(writes.create_upload, upload)

    async def upload(self, bucket: str, key: str, upload_id: str) -> records.Upload:
        """See the port."""
        return self._here(reads.upload, bucket, key, upload_id)

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
        return await self._read(
            reads.list_uploads,
            bucket,
            prefix=prefix,
            delimiter=delimiter,
            after=after,
            limit=limit,
        )

    async def put_part(
        self, upload: records.Upload, part: records.Part, blob: records.NewBlob
    ) -> None:
        """See the port."""
        await self._write(writes.put_part, upload, part, blob)

    async def parts(
        self, upload_id: str, *, after: int = 0, limit: int | None = None
    ) -> Sequence[records.Part]:
        """See the port."""
        return await self._read(reads.parts, upload_id, after=after, limit=limit)

    async def complete_upload(
        self,
        upload: records.Upload,
        draft: records.Draft,
        parts: Collection[records.Part],
        guard: catalog.Guard = catalog.no_guard,
    ) -> None:
        """See the port."""
        watch = watching.Watch(self._clock_ms())
        await self._write(writes.complete_upload, upload, draft, parts, guard, watch)
        self._tell(watch)

    async def completion(self, bucket: str, key: str, upload_id: str) -> records.Completion | None:
        """See the port."""
        return self._here(reads.completion, bucket, key, upload_id)

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """See the port."""
        await self._write(writes.abort_upload, bucket, key, upload_id)

    # Care of blobs

    async def doomed(self, *, limit: int) -> Sequence[records.BlobRef]:
        """See the port."""
        return await self._read(reads.doomed, limit=limit)

    async def forget(self, blob_ids: Collection[bytes]) -> None:
        """See the port."""
        await self._write(writes.forget, blob_ids)

    async def known(self, blob_ids: Collection[bytes]) -> set[bytes]:
        """See the port."""
        return await self._read(reads.known, blob_ids)

    # Mirrors. Port: `strongroom.store.mirrors.Outbox`

    async def notices(self, *, limit: int) -> Sequence[mirrors.Notice]:
        """See the port."""
        return self._here(outbox.notices, limit=limit)

    async def mirror(self, notice: mirrors.Notice) -> mirrors.Mirror | None:
        """See the port."""
        return await self._read(outbox.mirror, notice)

    async def settle(self, numbers: Collection[int]) -> None:
        """See the port."""
        await self._write(outbox.settle, numbers)

    async def copy_registry(self, target: Path, unless: bytes) -> bytes:
        """See the port."""
        return await self._read(outbox.copy_registry, target, unless)

    def _close(self) -> None:
        self._writer.close()
        self._readers.close()
        self._checkpoints.close()
        # The last connection to close makes a checkpoint and removes the log.
        self._reader.close()

    def _tell(self, watch: watching.Watch) -> None:
        for alarm in watch.alarms:
            self.alarm(alarm)
