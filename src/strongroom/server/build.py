"""The composition root: settings in, a running store out.

Every constructor of the store is called here and nowhere else. Read it as the
architecture in one page.
"""

from __future__ import annotations

import secrets
import time
from concurrent import futures
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom.access import identities
from strongroom.dialects import pipeline
from strongroom.dialects.s3 import dialect as s3_dialect
from strongroom.dialects.s3 import protocol, services
from strongroom.keyring import master, sources
from strongroom.service import (
    buckets,
    encryption,
    housekeeping,
    listing,
    multipart,
    objects,
    transfer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from strongroom.crypto import secret
    from strongroom.store import blobs, catalog
    from strongroom.wire import message

WORK_THREADS = 8
"""Threads that hash, seal, read and write. They wait for the disk half of their time."""


def clock_ms() -> int:
    """Return the time: milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Core:
    """The store, put together: its S3 side, its people, and what needs doing now and then."""

    catalog: catalog.Catalog
    blobs: blobs.Blobs
    people: identities.Identities
    dialect: s3_dialect.S3
    s3: pipeline.Pipeline
    collector: housekeeping.Collector
    threads: futures.ThreadPoolExecutor

    async def close(self) -> None:
        """Finish what is under way, then let go of everything."""
        self.threads.shutdown(wait=True)
        await self.catalog.close()
        self.blobs.close()


async def assemble(
    catalog: catalog.Catalog,
    blobs: blobs.Blobs,
    *,
    master_key: secret.SecretKey,
    root_access_key: str,
    root_secret_key: secret.SecretKey,
    region: str,
    domains: Sequence[str],
    report: Callable[[message.Request, Exception], None],
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    clock_ms: Callable[[], int] = clock_ms,
) -> Core:
    """Put a store together on two adapters.

    Args:
        catalog: where metadata lies; closed with the core.
        blobs: where bytes lie; likewise.
        master_key: root of what the server can open.
        root_access_key: root's access key.
        root_secret_key: root's secret key.
        region: the region that this store says it is in.
        domains: host names under which `BUCKET.NAME` names a bucket.
        report: is told of failures that are not the client's.
        random_bytes: source of keys, salts and ids.
        clock_ms: the time.

    Raises:
        MasterKeyTrouble: the catalog was made under another master key.
    """
    keeper = master.Master(master_key)
    store_keys = await sources.open_store_keys(
        catalog, keeper, random_bytes=random_bytes, now_ms=clock_ms()
    )
    people = identities.Identities(
        catalog,
        keeper,
        root_access_key=root_access_key,
        root_secret_key=root_secret_key,
        random_bytes=random_bytes,
    )
    threads = futures.ThreadPoolExecutor(WORK_THREADS, thread_name_prefix="strongroom-work")
    pins = transfer.Pins()
    collector = housekeeping.Collector(catalog, blobs, pins, threads=threads)
    guard = encryption.Encryption(store_keys, random_bytes=random_bytes)
    carrier = transfer.Transfer(
        catalog, blobs, threads=threads, random_bytes=random_bytes, pins=pins
    )
    all_buckets = buckets.Buckets(catalog, clock_ms=clock_ms)
    dialect = s3_dialect.S3(
        protocol.MODEL,
        protocol.BINDINGS,
        protocol.HANDLERS,
        people,
        region=region,
        domains=domains,
        clock_ms=clock_ms,
    )
    s3_services = services.Services(
        buckets=all_buckets,
        objects=objects.Objects(
            catalog,
            carrier,
            guard,
            pins,
            random_bytes=random_bytes,
            clock_ms=clock_ms,
            displaced=collector.wake,
        ),
        multipart=multipart.Multipart(
            catalog,
            carrier,
            guard,
            random_bytes=random_bytes,
            clock_ms=clock_ms,
            displaced=collector.wake,
        ),
        listing=listing.Listing(catalog),
        people=people,
        region=region,
    )
    s3 = pipeline.Pipeline(dialect, all_buckets, s3_services, clock_ms=clock_ms, report=report)
    return Core(catalog, blobs, people, dialect, s3, collector, threads)
