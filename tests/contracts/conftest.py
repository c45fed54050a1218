"""Adapters under test, and records to fill them with."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import shutil

import pytest

from strongroom.store import disk, memory, memory_blobs, records
from strongroom.store.sqlite import catalog as sqlite_catalog
from strongroom.store.sqlite import schema

OWNER = "0a" * 32


class Maker:
    """Makes records that are valid and all different."""

    def __init__(self):
        self._numbers = itertools.count(1)

    def blob_id(self):
        return next(self._numbers).to_bytes(records.BLOB_ID_BYTES, "big")

    def bucket(self, name="shelf", **changes):
        plain = records.Bucket(name, OWNER, 1, "eu-central-1", {})
        return dataclasses.replace(plain, **changes)

    def inline(self, data=b"sealed bytes"):
        return records.NewBlob(self.blob_id(), len(data), "", data)

    def file(self, size=70_000):
        blob_id = self.blob_id()
        return records.NewBlob(blob_id, size, f"00000000/00000000/{blob_id.hex()}")

    def version(self, key="key", bucket="shelf", **changes):
        number = next(self._numbers)
        plain = records.Version(
            bucket=bucket,
            key=key,
            version_id=records.NULL_VERSION,
            size=number,
            etag=f"{number:032x}",
            modified_ms=1_700_000_000_000 + number,
            owner=OWNER,
            mode="SSE-C",
            generation=number.to_bytes(records.GENERATION_BYTES, "big"),
        )
        return dataclasses.replace(plain, **changes)

    def draft(self, key="key", *blobs, bucket="shelf", **changes):
        version = self.version(key, bucket, **changes)
        mark = version.generation.hex().encode()
        return records.Draft(version, b"envelope " + mark, b"body " + mark, b"marks", blobs)

    def upload(self, key="key", bucket="shelf", **changes):
        number = next(self._numbers)
        plain = records.Upload(
            bucket=bucket,
            key=key,
            upload_id=f"upload-{number}",
            owner=OWNER,
            mode="SSE-C",
            initiated_ms=number,
            checksum_algorithm="CRC32",
            checksum_type="COMPOSITE",
            sealed=b"escrow %d" % number,
        )
        return dataclasses.replace(plain, **changes)

    def part(self, number, blob):
        return records.Part(
            number=number,
            blob_id=blob.blob_id,
            size=blob.size - 56 if blob.size > 56 else 0,
            etag=blob.blob_id.hex(),
            modified_ms=number,
            digest=b"digest",
            sealed_checksums=b"sealed",
        )

    def ref(self, blob):
        return records.BlobRef(blob.blob_id, blob.size, blob.place)


@pytest.fixture
def make():
    return Maker()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """A catalog file with the newest schema and nothing in it, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "catalog.db"
    schema.migrate(path)
    return path


@pytest.fixture(params=["memory", "sqlite"])
def open_empty(request, tmp_path):
    """A function that opens a catalog with nothing in it; all are closed in the end."""
    opened = []
    numbers = itertools.count()

    def open_one():
        if request.param == "memory":
            one = memory.MemoryCatalog()
        else:
            path = tmp_path / f"catalog-{next(numbers)}.db"
            shutil.copy(request.getfixturevalue("migrated"), path)
            one = sqlite_catalog.open_catalog(path, lock_path=tmp_path / "write.lock")
        opened.append(one)
        return one

    yield open_one
    for one in opened:
        asyncio.run(one.close())


@pytest.fixture
def catalog(open_empty):
    return open_empty()


@pytest.fixture
def tell(catalog, make, request):
    """Run a story of the module's `Shelf`, which begins with its `ENABLED` or with these settings."""
    module = request.module

    def run(story, settings=module.ENABLED):
        async def whole():
            await catalog.create_bucket(make.bucket(settings=dict(settings)))
            await story(module.Shelf(catalog, make))

        asyncio.run(whole())

    return run


@pytest.fixture(params=["memory", "disk"])
def blobs(request, tmp_path):
    adapter = memory_blobs.MemoryBlobs() if request.param == "memory" else disk.DiskBlobs(tmp_path)
    yield adapter
    adapter.close()
