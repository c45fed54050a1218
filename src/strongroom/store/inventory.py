"""Port: all that a catalog holds, walked over as it lies there, damaged or not.

For whoever checks, copies or rescues a store: nothing here takes a row for what it
should be. Reads are short, so that a walk of hours keeps no write-ahead log from
being reset; what is written meanwhile may or may not be met. Synchronous, for one
thread at a time. Adapter: `sqlite.inventory`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from strongroom.store import records


@dataclass(frozen=True, slots=True)
class Totals:
    """How much there is to walk over, roughly. `blob_bytes`: ciphertext, inline too."""

    versions: int
    blobs: int
    blob_bytes: int


@dataclass(frozen=True, slots=True)
class Place:
    """What a blob belongs to, in words that an operator knows.

    `key` is text; bytes that are no UTF-8 are escaped with backslashes.
    """

    bucket: str
    key: str
    version_id: str = ""
    upload_id: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One version, with all that hangs from it, as far as it is there.

    Attributes:
        place: where it is listed.
        version: its row; None if it has values that nobody ever writes.
        envelope: encoded; None if it is missing. Likewise `marks` and `record`.
        digest: SHA-256 of the envelope as it was written; empty where it was not noted.
        body_id: names the body; versions that share one have the same. -1 if it is missing.
        refs: how many versions are said to share the body.
        blobs: what the body is said to consist of, in order.
    """

    place: Place
    version: records.Version | None
    envelope: bytes | None
    digest: bytes
    marks: bytes | None
    body_id: int
    refs: int
    record: bytes | None
    blobs: tuple[records.BlobRef, ...]


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """One open upload, with its parts and where their blobs lie; `upload` as `Entry.version`."""

    place: Place
    upload: records.Upload | None
    parts: tuple[tuple[records.Part, records.BlobRef], ...]


class Inventory(Protocol):
    """See the module. All methods may raise `StoreFailed`: the catalog cannot be read there."""

    def totals(self) -> Totals:
        """Count versions and blobs."""
        ...

    def contradictions(self) -> Iterator[str]:
        """Yield a sentence for each way in which the tables contradict each other.

        Walks over all pages and most rows. A catalog of ours that was not damaged has none.
        """
        ...

    def entries(self) -> Iterator[Entry]:
        """Yield versions, without delete markers.

        By bucket; in a bucket first what a listing of objects shows, then the rest, each
        by key and from the newest on.
        """
        ...

    def uploads(self) -> Iterator[OpenUpload]:
        """Yield open uploads."""
        ...

    def inline(self, blob_id: bytes) -> bytes:
        """Return the bytes of an inline blob.

        Raises:
            BlobMissing: there is none.
        """
        ...

    def is_named(self, blob_id: bytes) -> bool:
        """Whether a version or an open upload still has this blob."""
        ...

    def fact(self, name: str) -> bytes | None:
        """Return a fact of the store; see `Catalog.fact`."""
        ...

    def store_keys(self) -> Sequence[records.StoreKey]:
        """Return all store keys, by number."""
        ...

    def close(self) -> None:
        """Let go of the catalog. May be called twice."""
        ...
