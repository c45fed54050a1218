"""The composition root of `keys rotate`: a data directory, beside a running server or without one.

As `build` is for the server: constructors are called here and nowhere else.
"""

from __future__ import annotations

import contextlib
import secrets
from concurrent import futures
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.keyring import kms, kms_sources, master, masters, sources
from strongroom.server import build, home, key_masters
from strongroom.service import encryption, objects, rotation, transfer
from strongroom.store import disk
from strongroom.store.sqlite import catalog as sqlite_catalog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from strongroom.server import settings as configuration

ROOT = kms.Caller(user_id="root", is_root=True)
"""Whoever has the data directory and the master key may use every key of the built-in KMS."""


@dataclass(frozen=True, slots=True)
class Rotating:
    """A rotation, and what goes with it."""

    rotation: rotation.Rotation
    kms: kms.Kms
    catalog: sqlite_catalog.SqliteCatalog

    async def key_arn(self, key: str) -> str:
        """Return the ARN of a key of the KMS: by id, ARN, alias or alias ARN.

        Raises:
            KmsError: there is none, or it cannot be used.
        """
        return (await self.kms.describe(key, ROOT)).arn

    async def forget(self) -> bool:
        """Cut the write-ahead log, where old envelopes lie; False if a reader is in the way.

        Raises:
            StoreFull, StoreFailed: the log stays as it is.
        """
        return await self.catalog.checkpoint(truncate=True)


@contextlib.asynccontextmanager
async def open_rotation(settings: configuration.Settings) -> AsyncIterator[Rotating]:
    """Open a data directory for a rotation.

    Raises:
        MasterKeyTrouble: the catalog was made under another master key, or the master of the
            KMS cannot be used.
        StoreLocked, StartRefused: the store is being recovered, or half recovered.
        StoreFailed: catalog or blobs cannot be opened, or do not belong together.
    """
    assert settings.master_key is not None, "the command resolves the master key first"
    random_bytes, clock_ms = secrets.token_bytes, build.clock_ms
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(home.in_use(settings.data_dir))
        opened = sqlite_catalog.open_catalog(
            settings.data_dir / build.CATALOG_NAME,
            lock_path=settings.data_dir / build.CATALOG_LOCK_NAME,
        )
        stack.push_async_callback(opened.close)
        keeper = master.Master(settings.master_key)
        store_keys = await sources.open_store_keys(
            opened, keeper, random_bytes=random_bytes, now_ms=clock_ms()
        )
        lying = disk.DiskBlobs(settings.data_dir / build.BLOBS_NAME)
        stack.callback(lying.close)
        identity = await opened.fact("store-id")
        if identity is None or lying.identity() != identity:
            raise errors.StoreFailed(
                "the catalog is not the one of these blobs; put the right one back"
            )
        built_in = masters.BuiltIn(keeper, random_bytes)
        above: masters.MasterKeys = built_in
        if settings.kms_master is not None:
            above = key_masters.make(settings.kms_master, settings.kms_master_secret, random_bytes)
        materials = masters.Materials(
            {one.name: one for one in (built_in, above)},
            above.name,
            random_bytes=random_bytes,
            clock_ms=clock_ms,
            cache_ms=settings.kms_cache_s * 1000,
        )
        stack.push_async_callback(materials.close)
        keys = kms.Kms(
            opened.kms,
            materials,
            region=settings.region,
            random_bytes=random_bytes,
            clock_ms=clock_ms,
        )
        guard = encryption.Encryption(
            store_keys,
            kms_sources.KmsKeys(keys, clock_ms=clock_ms),
            random_bytes=random_bytes,
            fingerprint=keeper.fingerprint if settings.fingerprints else None,
        )
        threads = futures.ThreadPoolExecutor(
            build.WORK_THREADS, thread_name_prefix="strongroom-work"
        )
        stack.callback(threads.shutdown)
        pins = transfer.Pins()
        carrier = transfer.Transfer(
            opened, lying, threads=threads, random_bytes=random_bytes, pins=pins
        )
        single = objects.Objects(
            opened,
            carrier,
            guard,
            pins,
            random_bytes=random_bytes,
            clock_ms=clock_ms,
            # Doomed blobs are for the server to collect: only it knows what is being read.
            displaced=lambda: None,
        )
        rotating = rotation.Rotation(
            opened, carrier, guard, single, random_bytes=random_bytes, clock_ms=clock_ms
        )
        yield Rotating(rotating, keys, opened)
