"""Listings of objects and uploads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strongroom.store import catalog, records


class Listing:
    """Pages of what a bucket holds."""

    def __init__(self, catalog: catalog.Catalog) -> None:
        self._catalog = catalog

    async def objects(
        self, bucket: str, *, prefix: str, delimiter: str, after: str, limit: int
    ) -> records.ObjectPage:
        """Return a page of current versions; see `Catalog.list_objects`."""
        return await self._catalog.list_objects(
            bucket, prefix=prefix, delimiter=delimiter, after=after, limit=limit
        )

    async def versions(
        self, bucket: str, *, prefix: str, delimiter: str, after: tuple[str, str], limit: int
    ) -> records.VersionPage:
        """Return a page of versions and delete markers; see `Catalog.list_versions`."""
        return await self._catalog.list_versions(
            bucket, prefix=prefix, delimiter=delimiter, after=after, limit=limit
        )

    async def uploads(
        self, bucket: str, *, prefix: str, delimiter: str, after: tuple[str, str], limit: int
    ) -> records.UploadPage:
        """Return a page of open uploads; see `Catalog.list_uploads`."""
        return await self._catalog.list_uploads(
            bucket, prefix=prefix, delimiter=delimiter, after=after, limit=limit
        )
