"""Buckets: create, delete, list."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from strongroom.store import catalog

# Source: S3 user guide, "General purpose bucket naming rules".
# Beyond them, labels between dots begin and end with a letter or digit: they are host names.
_NAME = re.compile(
    r"(?=.{3,63}$)(?!xn--|sthree-|amzn-s3-demo-)[a-z0-9]([a-z0-9-]*[a-z0-9])?"
    r"(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
)
_BAD_ENDINGS = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def is_valid_name(name: str) -> bool:
    """Whether S3's rules allow the name: 3 to 63 characters, no address, no reserved affix."""
    if not _NAME.fullmatch(name) or name.endswith(_BAD_ENDINGS):
        return False
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return True
    return False


class Buckets:
    """What can be done with buckets."""

    def __init__(self, catalog: catalog.Catalog, *, clock_ms: Callable[[], int]) -> None:
        self._catalog = catalog
        self._clock_ms = clock_ms

    async def find(self, name: str) -> records.Bucket:
        """Return a bucket.

        Raises:
            BucketNotFound: there is none.
        """
        return await self._catalog.bucket(name)

    async def create(
        self, name: str, *, owner: str, region: str, settings: dict[str, str]
    ) -> records.Bucket:
        """Create a bucket; `settings` are documents by name.

        Raises:
            BucketExists: the name is taken.
            InvalidBucketName: the name is not allowed.
        """
        if not is_valid_name(name):
            raise errors.InvalidBucketName(name)
        bucket = records.Bucket(name, owner, self._clock_ms(), region, settings)
        await self._catalog.create_bucket(bucket)
        return bucket

    async def change_settings(
        self, bucket: records.Bucket, changes: Mapping[str, str | None]
    ) -> None:
        """Set documents of a bucket by name; None removes one. The others stay.

        Raises:
            BucketNotFound: it is gone, or another of its name stands there by now.
        """
        await self._catalog.change_settings(bucket.name, changes, bucket_made_ms=bucket.created_ms)

    async def delete(self, name: str) -> None:
        """Delete an empty bucket; its open uploads are aborted.

        Raises:
            BucketNotFound, BucketNotEmpty: see there.
        """
        await self._catalog.delete_bucket(name)

    async def owned_by(
        self, owner: str, *, prefix: str, after: str, limit: int
    ) -> Sequence[records.Bucket]:
        """Return up to `limit` of an owner's buckets with names greater than `after`."""
        return await self._catalog.buckets(owner=owner, prefix=prefix, after=after, limit=limit)
