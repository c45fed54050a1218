"""The composition root: settings in, a running store out.

Every constructor of the store is called here and nowhere else. Read it as the
architecture in one page.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import time
from concurrent import futures
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.access import (
    accounts,
    decision,
    identities,
    issuers,
    log_delivery,
)
from strongroom.console import pages
from strongroom.crypto import secret
from strongroom.dialects.iam import service as iam
from strongroom.dialects.s3 import cors, protocol, services
from strongroom.dialects.s3 import dialect as s3_dialect
from strongroom.keyring import kms, kms_sources, master, masters, sources
from strongroom.server import (
    access_log,
    administration,
    alarms,
    app,
    application,
    audit,
    background,
    files,
    guards,
    home,
    issuer_documents,
    key_masters,
    key_service,
    replicating,
)
from strongroom.server import settings as configuration
from strongroom.service import (
    access_logs,
    buckets,
    copying,
    encryption,
    expiring,
    housekeeping,
    lifecycle,
    listing,
    marking,
    mirroring,
    multipart,
    objects,
    rewrapping,
    transfer,
)
from strongroom.store import disk, memory, memory_blobs, mirrors
from strongroom.store.sqlite import catalog as sqlite_catalog
from strongroom.store.sqlite import schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractContextManager

    from strongroom.dialects.kms import listener
    from strongroom.keyring import kms_keys
    from strongroom.server import observe
    from strongroom.store import blobs, catalog
    from strongroom.store import replication as queue
    from strongroom.wire import message

WORK_THREADS = 8
"""Threads that hash, seal, read and write. They wait for the disk half of their time."""

CATALOG_NAME = "catalog.sqlite"
CATALOG_LOCK_NAME = "catalog.lock"
BLOBS_NAME = "blobs"

SHARED_GRACE_MS = 15 * 60 * 1000
"""With several workers, how long a read that another one began may still need a doomed blob."""

HOUSEKEEPING_NAME = "housekeeping.lock"
COLLECTION_NAME = "collection.lock"
"""Held by whoever copies the store, so that nothing is removed meanwhile."""

PURGE_INTERVAL_S = 3600.0
LET_GO_INTERVAL_S = 600.0
"""How much longer than it must the guard of a bucket keeps what it keeps."""
TEND_KEYS_INTERVAL_S = 600.0
"""How late a KMS key is rotated or deleted at most; both are due on a day, not a minute."""
LIFECYCLE_INTERVAL_S = 3600.0
"""How often buckets are walked over for what their rules remove. Rules are due at midnight."""
LIFECYCLE_BEAT_S = 60.0
"""How soon a walk goes on that ended with its process, or begins that is due."""
ACCESS_LOG_BEATS = 10
"""How often it is looked in a record's waiting time whether that is over."""
MIRROR_INTERVAL_S = 5.0
"""How far mirrors may lag behind the catalog."""

COLLECT_INTERVAL_S = 60.0
"""Doomed blobs are collected when a transaction dooms some; and at this interval, for those
that were being read at the time."""


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
    s3: cors.Sharing
    query: iam.Query
    collector: housekeeping.Collector
    expirer: expiring.Expirer
    access_logs: access_logs.AccessLogs
    threads: futures.ThreadPoolExecutor
    kms: kms.Kms
    kms_keys: kms_keys.Keys
    kms_listener: listener.Listener
    replicated: replicating.Parts

    async def close(self) -> None:
        """Finish what is under way, then let go of everything."""
        self.replicated.remotes.close()
        self.threads.shutdown(wait=True)
        await self.kms.materials.close()
        await self.catalog.close()
        self.blobs.close()


def prepare(settings: configuration.Settings) -> None:
    """Bring the data directory to this release's schema. Blocking; before any worker starts.

    Raises:
        StoreFailed: the catalog is damaged, a newer release wrote it, or it is gone and the
            blobs of a store lie there.
        StoreFull: no space.
    """
    if not settings.ephemeral:
        lying = settings.data_dir / BLOBS_NAME
        if not (settings.data_dir / CATALOG_NAME).exists() and (
            (lying / disk.IDENTITY).exists() or any(path.is_file() for path in lying.glob("*/*/*"))
        ):
            # An empty catalog here would be taken for the right one, and all blobs for strays.
            raise errors.StoreFailed(
                f"{CATALOG_NAME} is gone and there are blobs of a store. Put it back, or build a"
                " new one with `strongroom recover`; nothing was changed."
            )
        schema.migrate(settings.data_dir / CATALOG_NAME)


async def build(
    settings: configuration.Settings, reporter: observe.Reporter
) -> application.Application:
    """Make the application that `settings` describe; its keys are set by now.

    Raises:
        MasterKeyTrouble: the catalog was made under another master key.
        StoreFailed, StoreFull, StoreLocked: catalog or blobs cannot be opened.
    """
    opened, lying = _open_adapters(settings)
    turn = files.Turn(settings.data_dir / HOUSEKEEPING_NAME)
    has_turn = turn.take if settings.workers > 1 else lambda: True
    assert settings.master_key is not None, "the process resolves the master key first"
    assert settings.root_access_key is not None, "the process resolves root's credentials first"
    assert settings.root_secret_key is not None, "the process resolves root's credentials first"
    try:
        await _check_halves(opened, lying)
        core = await assemble(
            opened,
            lying,
            master_key=settings.master_key,
            kms_master=key_masters.make(
                settings.kms_master, settings.kms_master_secret, secrets.token_bytes
            )
            if settings.kms_master is not None
            else None,
            kms_cache_ms=settings.kms_cache_s * 1000,
            fetch=issuer_documents.Documents(
                ca_bundle=settings.oidc_ca, within=settings.oidc_private_networks
            ),
            root_access_key=settings.root_access_key,
            root_secret_key=settings.root_secret_key,
            region=settings.region,
            domains=("localhost", *((settings.domain,) if settings.domain else ())),
            block_sse_c=settings.sse_c_default == "block",
            fingerprints=settings.fingerprints,
            signature_v2=settings.signature_v2 == "allow",
            new_buckets=services.NewBuckets(
                ownership=decision.Ownership.WRITER
                if settings.acl_default == "allow"
                else decision.Ownership.ENFORCED,
                blocks_public=settings.public_access_default == "block",
                keep_ms=settings.guard_default * guards.DAY_MS,
            ),
            collect_grace_ms=SHARED_GRACE_MS if settings.workers > 1 else 0,
            may_collect=has_turn,
            calendar=lifecycle.Calendar(settings.lifecycle_day_s * 1000),
            access_log_ms=settings.access_log_s * 1000,
            permit=(lambda: contextlib.nullcontext(True))
            if settings.ephemeral
            else files.Gate(settings.data_dir / COLLECTION_NAME).passing,
            report=lambda request, error: reporter.failed(request.request_id, error),
            declined=lambda task, error: replicating.tell(reporter, task, error),
        )
    except BaseException:
        await opened.close()
        lying.close()
        raise
    reporter.metrics.usage = opened.usage
    try:
        log = audit.make(settings, reporter, core.dialect.fingerprint)
    except OSError as error:
        await core.close()
        raise app.StartRefused(
            f"The audit log {settings.audit_log} cannot be opened ({error.strerror});"
            " choose a file that this user may write, or none."
        ) from error
    opened.alarm = alarms.Alarms(reporter, log)
    collector = core.collector
    collect = background.Job("collect", COLLECT_INTERVAL_S, collector.collect)
    purge = background.Job("purge", PURGE_INTERVAL_S, collector.purge)
    tend = background.Job("tend-keys", TEND_KEYS_INTERVAL_S, core.kms_keys.tend)
    # Where days are short, an hour would be too late.
    share = settings.lifecycle_day_s / configuration.DAY_S
    expire = background.Job("lifecycle", max(1.0, LIFECYCLE_BEAT_S * share), core.expirer.run)
    let_go = background.Job("let-go", LET_GO_INTERVAL_S, collector.let_go)
    # In every process: each delivers what it has gathered.
    deliver = background.Job(
        "access-logs", settings.access_log_s / ACCESS_LOG_BEATS, core.access_logs.deliver
    )
    jobs = [collect, purge, tend, expire, let_go, deliver]
    if log is not None:
        jobs.append(background.Job("audit-sync", audit.SYNC_INTERVAL_S, log.sync))
    jobs += core.replicated.jobs()
    reporter.metrics.backlog = opened.replication.backlog
    if isinstance(opened, sqlite_catalog.SqliteCatalog):
        keeping = mirroring.Mirroring(
            opened,
            mirrors.Mirrors(settings.data_dir / mirrors.NAME),
            threads=core.threads,
            may_mirror=has_turn,
        )
        jobs.append(background.Job("mirror", MIRROR_INTERVAL_S, keeping.run))
    return application.Application(
        core,
        background.Background(jobs, reporter),
        reporter,
        collect=collect,
        sweep=background.Job("sweep", 0, collector.sweep),
        deliver=background.Job(
            "access-logs", 0, functools.partial(core.access_logs.deliver, everything=True)
        ),
        recorder=access_log.Recorder(opened, core.access_logs, reporter, clock_ms=clock_ms),
        console=pages.Pages(settings.region),
        log=log,
    )


async def _check_halves(opened: catalog.Catalog, lying: blobs.Blobs) -> None:
    """Refuse a catalog that is not the one of these blobs, before anything takes them for strays.

    Raises:
        StoreFailed: they do not belong together; the text says what to do.
    """
    identity = await opened.establish("store-id", secrets.token_bytes(16))
    standing = lying.identity()
    if standing is None:
        usage = await opened.usage()
        if not (usage.objects or usage.uploads or lying.is_empty()):
            raise errors.StoreFailed(f"{CATALOG_NAME} is empty and there are blobs. {_PUT_BACK}")
        lying.adopt(identity)
    elif standing != identity:
        raise errors.StoreFailed(f"{CATALOG_NAME} is not the one of these blobs. {_PUT_BACK}")


_PUT_BACK = "Put the right catalog back; nothing was changed."


def _open_adapters(
    settings: configuration.Settings,
) -> tuple[catalog.Catalog, blobs.Blobs]:
    if settings.ephemeral:
        return memory.MemoryCatalog(), memory_blobs.MemoryBlobs()
    shared = settings.workers > 1
    opened = sqlite_catalog.open_catalog(
        settings.data_dir / CATALOG_NAME,
        lock_path=settings.data_dir / CATALOG_LOCK_NAME if shared else None,
    )
    return opened, disk.DiskBlobs(settings.data_dir / BLOBS_NAME)


@contextlib.asynccontextmanager
async def open_admin(
    settings: configuration.Settings,
) -> AsyncIterator[administration.Administration]:
    """Open a data directory for administration, beside a running server or without one.

    Raises:
        MasterKeyTrouble: the catalog was made under another master key.
        StoreLocked, StartRefused: the store is being recovered, or half recovered.
        StoreFailed: there is no catalog, or it is damaged.
    """
    assert settings.master_key is not None, "the command resolves the master key first"
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(home.in_use(settings.data_dir))
        opened = sqlite_catalog.open_catalog(
            settings.data_dir / CATALOG_NAME, lock_path=settings.data_dir / CATALOG_LOCK_NAME
        )
        stack.push_async_callback(opened.close)
        keeper = master.Master(settings.master_key)
        keys = await sources.open_store_keys(
            opened, keeper, random_bytes=secrets.token_bytes, now_ms=clock_ms()
        )
        people = identities.Identities(
            opened,
            keeper,
            accounts.Accounts(opened, random_bytes=secrets.token_bytes, clock_ms=clock_ms),
            root_access_key=settings.root_access_key or "",
            root_secret_key=settings.root_secret_key or secret.SecretKey(b""),
            random_bytes=secrets.token_bytes,
        )
        yield administration.Administration(people, opened, keeper, keys, clock_ms)


async def assemble(
    catalog: catalog.Catalog,
    blobs: blobs.Blobs,
    *,
    master_key: secret.SecretKey,
    kms_master: masters.MasterKeys | None = None,
    kms_cache_ms: int = masters.CACHE_MS,
    root_access_key: str,
    root_secret_key: secret.SecretKey,
    region: str,
    domains: Sequence[str],
    block_sse_c: bool = False,
    fingerprints: bool = True,
    signature_v2: bool = True,
    new_buckets: services.NewBuckets = services.NewBuckets(),  # noqa: B008 - frozen
    collect_grace_ms: int = 0,
    may_collect: Callable[[], bool] = lambda: True,
    calendar: lifecycle.Calendar = lifecycle.REAL,
    access_log_ms: int = 300_000,
    permit: Callable[[], AbstractContextManager[bool]] = lambda: contextlib.nullcontext(True),
    fetch: issuers.Fetch | None = None,
    report: Callable[[message.Request, Exception], None],
    declined: Callable[[queue.Task, Exception], None] = lambda _task, _error: None,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    clock_ms: Callable[[], int] = clock_ms,
) -> Core:
    """Put a store together on two adapters.

    Args:
        catalog: where metadata lies; closed with the core.
        blobs: where bytes lie; likewise.
        master_key: root of what the server can open.
        kms_master: what new keys of the KMS are under; None for `master_key`.
        kms_cache_ms: how long an opened key of the KMS is used before its master is asked.
        root_access_key: root's access key.
        root_secret_key: root's secret key.
        region: the region that this store says it is in.
        domains: host names under which `BUCKET.NAME` names a bucket.
        block_sse_c: whether new buckets refuse customer keys.
        fingerprints: whether those of customer keys are kept with what they guard.
        signature_v2: whether forms and presigned URLs may be signed as version 2 has it.
        new_buckets: how open they are.
        collect_grace_ms: how long doomed blobs are kept for other processes' readers.
        may_collect: whether it is this process that collects and expires, asked each time.
        calendar: how long days are to the rules of buckets.
        access_log_ms: how long records of access logs wait for others.
        permit: see `housekeeping.Collector`.
        fetch: gets documents of identity providers; None for those at public addresses.
        report: is told of failures that are not the client's.
        declined: is told of what cannot be replicated.
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
        accounts.Accounts(catalog, random_bytes=random_bytes, clock_ms=clock_ms),
        root_access_key=root_access_key,
        root_secret_key=root_secret_key,
        random_bytes=random_bytes,
    )
    built_in = masters.BuiltIn(keeper, random_bytes)
    above = kms_master or built_in
    keys = kms.Kms(
        catalog.kms,
        masters.Materials(
            {one.name: one for one in (built_in, above)},
            above.name,
            random_bytes=random_bytes,
            clock_ms=clock_ms,
            cache_ms=kms_cache_ms,
        ),
        region=region,
        random_bytes=random_bytes,
        clock_ms=clock_ms,
        judge=key_service.judge,
        check_policy=key_service.check_policy,
        names_of=key_service.names_of,
    )
    threads = futures.ThreadPoolExecutor(WORK_THREADS, thread_name_prefix="strongroom-work")
    pins = transfer.Pins()
    collector = housekeeping.Collector(
        catalog,
        blobs,
        pins,
        threads=threads,
        grace_ms=collect_grace_ms,
        clock_ms=clock_ms,
        may_collect=may_collect,
        permit=permit,
    )
    guard = encryption.Encryption(
        store_keys,
        kms_sources.KmsKeys(keys, clock_ms=clock_ms),
        random_bytes=random_bytes,
        fingerprint=keeper.fingerprint if fingerprints else None,
    )
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
        version_2=signature_v2,
        fingerprint=keeper.fingerprint,
    )
    single = objects.Objects(
        catalog,
        carrier,
        guard,
        pins,
        random_bytes=random_bytes,
        clock_ms=clock_ms,
        displaced=collector.wake,
    )
    many = multipart.Multipart(
        catalog,
        carrier,
        guard,
        random_bytes=random_bytes,
        clock_ms=clock_ms,
        displaced=collector.wake,
    )
    replicated = replicating.assemble(
        catalog,
        blobs,
        carrier,
        guard,
        pins,
        keeper,
        people,
        random_bytes=random_bytes,
        clock_ms=clock_ms,
        displaced=collector.wake,
        may_replicate=may_collect,
        report=declined,
    )
    s3_services = services.Services(
        buckets=all_buckets,
        objects=single,
        multipart=many,
        copying=copying.Copying(
            catalog,
            carrier,
            guard,
            single,
            many,
            random_bytes=random_bytes,
            clock_ms=clock_ms,
            displaced=collector.wake,
        ),
        listing=listing.Listing(catalog),
        rewrapping=rewrapping.Rewrapping(
            catalog, guard, random_bytes=random_bytes, clock_ms=clock_ms
        ),
        locking=marking.Locking(catalog, guard, clock_ms=clock_ms),
        replicas=replicated.receiver,
        replication=replicated.settings,
        people=people,
        region=region,
        block_sse_c=block_sse_c,
        new_buckets=new_buckets,
        fingerprint=keeper.fingerprint,
    )
    s3 = cors.Sharing(
        dialect,
        all_buckets,
        s3_services,
        look=single.marked,
        domains=domains,
        clock_ms=clock_ms,
        report=report,
    )
    tended, listener = key_service.listen(
        keys, people, region=region, clock_ms=clock_ms, report=report
    )
    expirer = expiring.Expirer(
        catalog,
        guard,
        threads=threads,
        random_bytes=random_bytes,
        clock_ms=clock_ms,
        displaced=collector.wake,
        interval_ms=int(LIFECYCLE_INTERVAL_S * 1000 * calendar.day_ms / lifecycle.DAY_MS),
        calendar=calendar,
        may_walk=may_collect,
    )
    query = iam.Query(
        people,
        dialect.authenticate_service,
        issuers.Issuers(fetch or issuer_documents.Documents(), clock_ms=clock_ms),
        clock_ms=clock_ms,
        report=report,
    )
    return Core(
        catalog,
        blobs,
        people,
        dialect,
        s3,
        query,
        collector,
        expirer,
        access_logs.AccessLogs(
            catalog,
            single,
            is_permitted=log_delivery.is_permitted,
            account_of=identities.account_of,
            random_bytes=random_bytes,
            clock_ms=clock_ms,
            interval_ms=access_log_ms,
        ),
        threads,
        keys,
        tended,
        listener,
        replicated,
    )
