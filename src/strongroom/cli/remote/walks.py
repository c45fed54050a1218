"""What lies below a directory, and below a prefix."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongroom.cli.remote import places, troubles

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of a listing. A `folder` is a common prefix; a `marker` a delete marker."""

    key: str
    size: int = 0
    etag: str = ""
    modified: dt.datetime | None = None
    version_id: str | None = None
    is_latest: bool = True
    folder: bool = False
    marker: bool = False


def files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (name with `/` between its parts, path) of every file below `folder`, in order.

    Links are followed, and a directory that leads back to one above it is passed over.

    Raises:
        OSError: a directory cannot be read.
    """

    def walk(
        path: Path, prefix: str, above: frozenset[tuple[int, int]]
    ) -> Iterator[tuple[str, Path]]:
        about = path.stat()
        here = (about.st_dev, about.st_ino)
        if here in above:
            return
        for entry in sorted(os.scandir(path), key=lambda entry: os.fsencode(entry.name)):
            if entry.is_dir():
                yield from walk(Path(entry.path), f"{prefix}{entry.name}/", above | {here})
            else:
                yield prefix + entry.name, Path(entry.path)

    yield from walk(folder, "", frozenset())


def objects(client: Any, place: places.Remote, *, prefix: str, flat: bool) -> Iterator[Listed]:
    """Yield what is listed under `prefix` of the bucket, in order within a page.

    Args:
        client: whom to ask.
        place: names the bucket, and what errors are about.
        prefix: with what keys begin.
        flat: all keys; else what lies deeper is one folder.

    Raises:
        Failed: it cannot be listed.
    """
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=place.bucket, Prefix=prefix, **({} if flat else {"Delimiter": "/"})
    )
    with troubles.told(place):
        for page in pages:
            for one in page.get("CommonPrefixes", ()):
                yield Listed(one["Prefix"], folder=True)
            for one in page.get("Contents", ()):
                yield Listed(one["Key"], one["Size"], one["ETag"].strip('"'), one["LastModified"])


def versions(
    client: Any, place: places.Remote, *, prefix: str, flat: bool = True
) -> Iterator[Listed]:
    """Yield every version and delete marker under `prefix`, like `objects`.

    Raises:
        Failed: they cannot be listed.
    """
    pages = client.get_paginator("list_object_versions").paginate(
        Bucket=place.bucket, Prefix=prefix, **({} if flat else {"Delimiter": "/"})
    )
    with troubles.told(place):
        for page in pages:
            for one in page.get("CommonPrefixes", ()):
                yield Listed(one["Prefix"], folder=True)
            for one in page.get("Versions", ()):
                yield Listed(
                    one["Key"],
                    one["Size"],
                    one["ETag"].strip('"'),
                    one["LastModified"],
                    one["VersionId"],
                    one["IsLatest"],
                )
            for one in page.get("DeleteMarkers", ()):
                yield Listed(
                    one["Key"],
                    modified=one["LastModified"],
                    version_id=one["VersionId"],
                    is_latest=one["IsLatest"],
                    marker=True,
                )
