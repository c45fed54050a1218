"""Port: metadata in transactions.

Every writing method is one transaction: it happened whole, and durably, when
the call returns, or it did not happen and the call raises. Conditions are
decided inside the transaction, by the `guard` that the caller hands in.
Readers never wait for writers. Adapters: `sqlite` and `memory`; one contract
suite (`tests/contracts/`) judges them all.

Blobs are counted here. A body has one or more versions that refer to it, and
its blobs go with it: when the last reference goes, the same transaction moves
its blobs to *doomed* (inline ones are deleted at once). Whoever collects calls
`doomed`, removes the bytes, then `forget`s them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from strongroom.store import directory, expiry, guarding, keeping, kms, records, replication

COMPLETION_KEPT_MS = 7 * 24 * 60 * 60 * 1000
"""How long a completion is kept at least; older ones go when another upload completes."""

Guard = Callable[[records.Version | None], None]
"""Gets the newest version of the key, be it a delete marker, or None; raises to call the write off.

Runs inside the write transaction, on another thread: no I/O, no awaiting.
"""


def no_guard(_current: records.Version | None) -> None:
    """Let every write through."""


def no_alarm(_alarm: guarding.Alarm) -> None:
    """Tell nobody."""


DeletionGuard = Callable[[records.Version | None, bytes], None]
"""As `Guard`, for the version that is to go, and with its marks.

Those are empty where it has none, being a delete marker, and in a bucket without object
lock, where nothing could forbid the deletion.
"""


def no_deletion_guard(_version: records.Version | None, _marks: bytes) -> None:
    """Let every deletion through, also of what is locked."""


class Catalog(Protocol):
    """The truth about buckets, objects, uploads, users and keys.

    All methods may raise `StoreFailed` or `StoreFull`, and then changed nothing. What a bucket's
    settings say against foreign keys (`guarding`) is obeyed by all that write versions.

    Attributes:
        alarm: called in the task of a write that the guard saw something in, once it is
            durable; set by the composition root.
    """

    alarm: Callable[[guarding.Alarm], None]

    @property
    def directory(self) -> directory.DirectoryStore:
        """Who is in an account."""
        ...

    @property
    def expiry(self) -> expiry.Expiry:
        """What removes what is due by its bucket's rules."""
        ...

    @property
    def keeping(self) -> keeping.Keeping:
        """What the guard keeps."""
        ...

    @property
    def kms(self) -> kms.KmsStore:
        """What the key management service remembers; closed with the catalog."""
        ...

    @property
    def replication(self) -> replication.ReplicationStore:
        """What replication remembers; closed with the catalog."""
        ...

    async def close(self) -> None:
        """Finish what waits, then let go of the database. May be called twice."""
        ...

    # Facts about the store itself

    async def fact(self, name: str) -> bytes | None:
        """Return a fact that was set, or None."""
        ...

    async def establish(self, name: str, value: bytes) -> bytes:
        """Set a fact unless it is set; return the one that stands."""
        ...

    async def usage(self) -> records.Usage:
        """Count what is stored, roughly; cheap enough for a scrape every few seconds."""
        ...

    # Store keys, users, credentials

    async def store_keys(self) -> Sequence[records.StoreKey]:
        """Return all store keys, by number."""
        ...

    async def add_store_key(self, key: records.StoreKey) -> bool:
        """Add a key; False, and nothing changed, if its number is taken."""
        ...

    async def add_user(self, user: records.User, credential: records.Credential) -> None:
        """Add a user with a first credential.

        Raises:
            UserExists: the name, id or access key is taken.
        """
        ...

    async def users(self) -> Sequence[records.User]:
        """Return all users, by name."""
        ...

    async def user(self, user_id: str) -> records.User:
        """Return a user by canonical id.

        Raises:
            UserNotFound: there is none.
        """
        ...

    async def remove_user(self, name: str) -> None:
        """Remove a user, the account's entities, and all their credentials.

        What the user owns stays, and keeps its owner's id.

        Raises:
            UserNotFound: there is none.
        """
        ...

    async def credential(self, access_key: str) -> tuple[records.Credential, records.User] | None:
        """Return a credential and the user whose account it is; None if unknown.

        On the path of every request. An account without a row (root's) gives a user
        without a name.
        """
        ...

    async def credentials(self, user_id: str, member: str = "") -> Sequence[records.Credential]:
        """Return the credentials of an account's owner, or of one of its users, by time."""
        ...

    async def add_credential(self, credential: records.Credential) -> bool:
        """Add a credential; False, and nothing changed, if the access key is taken."""
        ...

    async def set_credential_active(self, access_key: str, *, active: bool) -> bool:
        """Make a credential active or inactive; False if there is none."""
        ...

    async def remove_credential(self, access_key: str) -> bool:
        """Remove a credential; False if there is none."""
        ...

    # Buckets

    async def create_bucket(self, bucket: records.Bucket) -> None:
        """Create a bucket.

        Raises:
            BucketExists: the name is taken, by whomever.
        """
        ...

    async def bucket(self, name: str) -> records.Bucket:
        """Return a bucket. On the path of every request.

        Raises:
            BucketNotFound: there is none.
        """
        ...

    async def buckets(
        self, *, owner: str | None = None, prefix: str = "", after: str = "", limit: int
    ) -> Sequence[records.Bucket]:
        """Return up to `limit` buckets with names greater than `after`, by name.

        Of all owners if `owner` is None.
        """
        ...

    async def change_settings(
        self, name: str, changes: Mapping[str, str | None], *, bucket_made_ms: int | None = None
    ) -> None:
        """Set documents of a bucket by name; None removes one. The others stay.

        Args:
            name: the bucket.
            changes: what is to change.
            bucket_made_ms: as in `records.Draft`.

        Raises:
            BucketNotFound: there is no such bucket (any more).
            BucketLocked: see `records.changed_settings`.
        """
        ...

    async def delete_bucket(self, name: str) -> None:
        """Delete an empty bucket.

        Open uploads do not keep a bucket (S3 deletes such buckets): they are
        aborted with it, their blobs doomed.

        Raises:
            BucketNotFound: there is none.
            BucketNotEmpty: it holds a version or a delete marker, or one that the guard keeps.
        """
        ...

    # Versions

    async def current(self, bucket: str, key: str, *, with_data: bool = False) -> records.Stored:
        """Return the newest version of a key. On the path of every GET and HEAD.

        `with_data` spares a GET of a small object further questions. An adapter that would have
        to ask again by itself may leave the data out.

        Raises:
            BucketNotFound: there is no such bucket.
            ObjectNotFound: there is no such key in it, or a delete marker is its
                newest version.
        """
        ...

    async def version(self, bucket: str, key: str, version_id: str) -> records.Stored:
        """Return a version of a key by its id. The cost does not depend on how many there are.

        Raises:
            BucketNotFound: there is no such bucket.
            VersionNotFound: the key has no such version.
            IsDeleteMarker: that version is a delete marker.
        """
        ...

    async def put_version(self, draft: records.Draft, guard: Guard = no_guard) -> None:
        """Make `draft` the current version of its key.

        If its id is the null version's, it takes the place of the null version, be
        that the newest or not; else it is put before all others. The transaction
        sees to it that the bucket's versioning wants just that.

        With `draft.shares` the body of that version gets one reference more; it
        may be the very version that is replaced.

        Raises:
            BucketNotFound: there is no such bucket (any more), or it is not the one
                that `draft.bucket_made_ms` tells of.
            SourceGone: the version of `draft.shares` is gone.
            VersioningChanged: the draft has the null version's id and the bucket's
                versioning is enabled, or the reverse.
            PreconditionFailed: or whatever else `guard` raises.
        """
        ...

    async def replace_version(self, draft: records.Draft, replaced: records.Stored) -> None:
        """Put `draft` where a version stands: its key, id and place among the others stay.

        For another key around the same content. The draft keeps the body of the
        version that it replaces, or has one of its own if it brings blobs.

        Raises:
            BucketNotFound: there is no such bucket (any more), or it is not the one
                that `draft.bucket_made_ms` tells of.
            ObjectNotFound: that version, with that generation and those marks, is gone:
                the draft's marks are made of what was there.
        """
        ...

    async def set_marks(
        self,
        version: records.Version,
        marks: bytes,
        *,
        before: bytes | None = None,
        replicate_at_ms: int | None = None,
    ) -> None:
        """Replace the marks of a version; nothing else of it changes.

        Args:
            version: whose.
            marks: all of them.
            before: those that were read, and that `marks` were made of; None replaces any.
            replicate_at_ms: also queue the version for replication, at this time.

        Raises:
            BucketNotFound: there is no such bucket.
            ObjectNotFound: that version, with that generation, is gone.
            MarksChanged: it has other marks than `before`.
        """
        ...

    async def delete_object(
        self, marker: records.Version, guard: Guard = no_guard
    ) -> tuple[records.Version | None, records.Version | None]:
        """Delete the object of `marker.key`, as the bucket's versioning has it.

        Without versioning its one version goes. If versioning is enabled, `marker`
        is put before all versions, there may be none. If it is suspended, a marker
        with the null version's id takes the place of the null version. `guard` is
        asked in all cases.

        Returns:
            the version that is gone, and the marker that was put; each may be None.

        Raises:
            BucketNotFound: there is no such bucket.
            PreconditionFailed: or whatever else `guard` raises.
        """
        ...

    async def delete_version(
        self,
        bucket: str,
        key: str,
        guard: DeletionGuard = no_deletion_guard,
        *,
        version_id: str = records.NULL_VERSION,
    ) -> records.Version | None:
        """Delete one version, or delete marker, of a key; None if there was none.

        What stood behind it becomes the newest. `guard` is asked in all cases, and
        sees the version that is to go, with its marks.

        Raises:
            BucketNotFound: there is no such bucket.
            PreconditionFailed: or whatever else `guard` raises.
        """
        ...

    async def list_objects(
        self, bucket: str, *, prefix: str = "", delimiter: str = "", after: str = "", limit: int
    ) -> records.ObjectPage:
        """Return a page of current versions, and common prefixes, in one binary order.

        Only keys and common prefixes greater than `after` are listed; when
        `after` ends in the delimiter and is itself such a common prefix, no key
        below it is. `limit` counts keys and prefixes together; with 0 the page
        is empty and the last. The cost depends on the page, not on where it
        starts or on how many keys hide behind a common prefix.

        Raises:
            BucketNotFound: there is no such bucket.
        """
        ...

    async def list_versions(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        after: tuple[str, str] = ("", ""),
        limit: int,
    ) -> records.VersionPage:
        """Return a page of versions and delete markers after (key, version id).

        By key, those of a key from the newest on; common prefixes, limit and cost
        are as in `list_objects`. With an empty version id in `after`, no version of
        that key is listed; with that of a version which is gone, all of that key
        are: rather twice than never.

        Raises:
            BucketNotFound: there is no such bucket.
        """
        ...

    async def blob_refs(self, version: records.Version) -> Sequence[records.BlobRef]:
        """Return where the blobs of a version's body lie, in body order.

        Raises:
            ObjectNotFound: that version, with that generation, is gone.
        """
        ...

    async def inline(self, blob_id: bytes) -> bytes:
        """Return the bytes of an inline blob.

        Raises:
            BlobMissing: there is none (any more).
        """
        ...

    # Multipart uploads

    async def create_upload(self, upload: records.Upload) -> None:
        """Open an upload.

        Raises:
            BucketNotFound: there is no such bucket (any more), or it is not the one
                that `upload.bucket_made_ms` tells of.
        """
        ...

    async def upload(self, bucket: str, key: str, upload_id: str) -> records.Upload:
        """Return an open upload.

        Raises:
            BucketNotFound: there is no such bucket.
            UploadNotFound: it is not open, or belongs to another key.
        """
        ...

    async def list_uploads(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        after: tuple[str, str] = ("", ""),
        limit: int,
    ) -> records.UploadPage:
        """Return a page of open uploads after (key, upload id), by key, then initiation time, id.

        With an empty upload id in `after`, no upload of that key is listed; with
        that of an upload which is not open any more, all of that key are: rather
        twice than never.

        Raises:
            BucketNotFound: there is no such bucket.
        """
        ...

    async def put_part(
        self, upload: records.Upload, part: records.Part, blob: records.NewBlob
    ) -> None:
        """Add a part to an open upload, in place of an earlier one of its number.

        Raises:
            UploadNotFound: completed or aborted meanwhile.
        """
        ...

    async def parts(
        self, upload_id: str, *, after: int = 0, limit: int | None = None
    ) -> Sequence[records.Part]:
        """Return the parts with numbers greater than `after`, by number; all without a limit."""
        ...

    async def complete_upload(
        self,
        upload: records.Upload,
        draft: records.Draft,
        parts: Collection[records.Part],
        guard: Guard = no_guard,
    ) -> None:
        """Turn `parts` into the body of `draft`, and close the upload.

        In one transaction: the upload is still open, each of `parts` is still
        the uploaded one (same blob id), `guard` consents; the version is written
        with the parts' blobs as its body (in the order given); blobs of other
        parts are doomed; upload, parts and escrow are deleted; a completion is kept.

        Raises:
            BucketNotFound, VersioningChanged: as `put_version`.
            UploadNotFound: completed or aborted meanwhile.
            InvalidPart: a part was uploaded anew meanwhile.
        """
        ...

    async def completion(self, bucket: str, key: str, upload_id: str) -> records.Completion | None:
        """Return what a completed upload became, or None."""
        ...

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """Close an upload and doom its blobs.

        Raises:
            BucketNotFound: there is no such bucket.
            UploadNotFound: it is not open.
        """
        ...

    # Care of blobs

    async def doomed(self, *, limit: int) -> Sequence[records.BlobRef]:
        """Return blobs in files that nothing refers to any more, oldest first."""
        ...

    async def forget(self, blob_ids: Collection[bytes]) -> None:
        """Strike doomed blobs off: their bytes are gone."""
        ...

    async def known(self, blob_ids: Collection[bytes]) -> set[bytes]:
        """Return those of `blob_ids` that the catalog refers to, doomed ones included."""
        ...
