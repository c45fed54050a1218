"""If-Match and friends, decided on records.

Source: RFC 9110, section 13.2.2 (precedence), and the S3 API reference
(GetObject: with If-Match true and If-Unmodified-Since false the object is
returned; with If-None-Match false and If-Modified-Since true, 304).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom import errors

if TYPE_CHECKING:
    from strongroom.store import catalog, records

_SECOND_MS = 1000
_OF_SOURCE = "x-amz-copy-source-"
"""Before the name of a condition on a copy's source. Source: observed in S3's answers."""


class NotModified(errors.StrongroomError):
    """The client's copy is good; carries what a 304 shows."""

    def __init__(self, version: records.Version) -> None:
        super().__init__(version.etag)
        self.version = version


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions of a request; ETags as sent, times in milliseconds.

    `if_size` and `if_modified_at_ms` are for deletions: the object must have this
    size, or have been written in this second.
    """

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since_ms: int | None = None
    if_unmodified_since_ms: int | None = None
    if_size: int | None = None
    if_modified_at_ms: int | None = None

    def check_read(self, version: records.Version) -> None:
        """Return if the version may be sent.

        Raises:
            PreconditionFailed: If-Match or If-Unmodified-Since does not hold.
            NotModified: If-None-Match or If-Modified-Since says so.
        """
        # Header dates have whole seconds, so the version's time is cut to them.
        second = version.modified_ms // _SECOND_MS * _SECOND_MS
        if self.if_match is not None:
            if not _names(self.if_match, version.etag):
                raise errors.PreconditionFailed("If-Match")
        elif self.if_unmodified_since_ms is not None and second > self.if_unmodified_since_ms:
            raise errors.PreconditionFailed("If-Unmodified-Since")
        if self.if_none_match is not None:
            if _names(self.if_none_match, version.etag):
                raise NotModified(version)
        elif self.if_modified_since_ms is not None and second <= self.if_modified_since_ms:
            raise NotModified(version)

    def check_copy(self, version: records.Version) -> None:
        """Return if the version may be copied; all failures are alike.

        Source: S3 API reference, CopyObject, the x-amz-copy-source-if headers.

        Raises:
            PreconditionFailed: a condition does not hold.
        """
        try:
            self.check_read(version)
        except NotModified as error:
            name = "If-None-Match" if self.if_none_match is not None else "If-Modified-Since"
            raise errors.PreconditionFailed(_OF_SOURCE + name) from error
        except errors.PreconditionFailed as error:
            raise errors.PreconditionFailed(_OF_SOURCE + error.condition) from error

    def guard(self, bucket: str, key: str) -> catalog.Guard:
        """Return the check for a write; it runs inside the write's transaction.

        The check raises:
            PreconditionFailed: If-Match or If-None-Match does not hold.
            ObjectNotFound: If-Match on a key that does not exist.
        """

        def check(newest: records.Version | None) -> None:
            # Behind a delete marker there is no object, whatever versions there are.
            current = None if newest is None or newest.is_marker else newest
            if (
                self.if_none_match is not None
                and current is not None
                and _names(self.if_none_match, current.etag)
            ):
                raise errors.PreconditionFailed("If-None-Match")
            if self.if_match is not None:
                if current is None:
                    raise errors.ObjectNotFound(bucket, key)
                if not _names(self.if_match, current.etag):
                    raise errors.PreconditionFailed("If-Match")

        return check

    @property
    def is_of_deletion(self) -> bool:
        """Whether there is any condition that a deletion looks at."""
        return (self.if_match, self.if_size, self.if_modified_at_ms) != (None, None, None)

    def check_delete(self, current: records.Version | None) -> None:
        """Return if this version may be deleted; what is gone already, may.

        A delete marker has no ETag and no bytes (observed: Ceph's s3-tests).

        Runs inside the deletion's transaction.

        Raises:
            PreconditionFailed: a condition does not hold.
        """
        if current is None:
            return
        if self.if_match is not None and not _names(self.if_match, current.etag):
            raise errors.PreconditionFailed("If-Match")
        if self.if_size is not None and self.if_size != current.size:
            raise errors.PreconditionFailed("x-amz-if-match-size")
        second = current.modified_ms // _SECOND_MS
        if self.if_modified_at_ms is not None and self.if_modified_at_ms // _SECOND_MS != second:
            raise errors.PreconditionFailed("x-amz-if-match-last-modified-time")


NONE = Conditions()


def _names(sent: str, etag: str) -> bool:
    """Whether an If-Match value names this ETag: `*`, or one of a list, quoted or not."""
    if sent.strip() == "*":
        return True
    return any(
        candidate.strip().removeprefix("W/").strip('"') == etag for candidate in sent.split(",")
    )
