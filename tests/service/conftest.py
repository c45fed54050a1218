"""The services on adapters in memory, each test on an event loop of its own."""

import asyncio
import itertools
from concurrent import futures

import pytest

from strongroom import errors
from strongroom.crypto.secret import SecretKey
from strongroom.keyring import kms, kms_sources, master, sources
from strongroom.service import (
    buckets,
    encryption,
    facets,
    housekeeping,
    multipart,
    objects,
    transfer,
)
from strongroom.store import catalog, memory, memory_blobs

OWNER = "0" * 64
NOW_MS = 1_700_000_000_500


class Catalog(memory.MemoryCatalog):
    """A catalog that a test may make fail, wait, or be overtaken.

    `before` and `after` are called around the writing methods, `meanwhile` behind
    each look-up of a current version. They may raise, and may be coroutines.
    """

    def __init__(self):
        super().__init__()
        self.before = self.after = self.meanwhile = None

    @property
    def inline_ids(self):
        return set(self._inline)

    @property
    def open_uploads(self):
        return self._uploads

    def entry(self, bucket, key):
        return self._buckets[bucket].versions.newest(key)

    @staticmethod
    async def _hook(hook):
        if hook is not None:
            result = hook()
            if asyncio.iscoroutine(result):
                await result

    async def put_version(self, draft, guard=catalog.no_guard):
        await self._hook(self.before)
        await super().put_version(draft, guard)
        await self._hook(self.after)

    async def put_part(self, upload, part, blob):
        await self._hook(self.before)
        await super().put_part(upload, part, blob)
        await self._hook(self.after)

    async def current(self, bucket, key, **options):
        found = await super().current(bucket, key, **options)
        await self._hook(self.meanwhile)
        return found


class Blobs(memory_blobs.MemoryBlobs):
    """Blobs that count what is done to them, and can fail."""

    def __init__(self):
        super().__init__()
        self.opened = 0
        self.closed = 0
        self.discarded = 0
        self.fail_room = self.fail_settle = self.fail_finish = self.fail_remove = None
        self.found_strays = []

    @property
    def places(self):
        return set(self._blobs)

    def create(self, blob_id, expected_bytes):
        writer = super().create(blob_id, expected_bytes)
        return _Writer(writer, self)

    async def settle(self, place):
        await super().settle(place)
        if self.fail_settle is not None:
            raise self.fail_settle

    def open(self, place):
        reader = super().open(place)
        self.opened += 1
        return _Reader(reader, self)

    def remove(self, place):
        if self.fail_remove is not None:
            raise self.fail_remove
        super().remove(place)

    def strays(self):
        return iter(self.found_strays)

    @property
    def stored(self):
        return self._blobs


class _Writer:
    def __init__(self, inner, home):
        self._inner, self._home = inner, home
        self.blob_id = inner.blob_id

    def room(self, size):
        if self._home.fail_room is not None:
            raise self._home.fail_room
        return self._inner.room(size)

    def finish(self):
        place = self._inner.finish()
        if self._home.fail_finish is not None:
            raise self._home.fail_finish
        return place

    def discard(self):
        self._home.discarded += 1
        self._inner.discard()


class _Reader:
    def __init__(self, inner, home):
        self._inner, self._home = inner, home

    def read_into(self, start, target):
        self._inner.read_into(start, target)

    def close(self):
        self._home.closed += 1
        self._inner.close()


class FakeKms:
    """A KMS with one key, which a test may forbid, or disable, and whose calls it can count."""

    ARN = "arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555"

    def __init__(self, random_bytes):
        self._random_bytes = random_bytes
        self._made = {}
        self.calls = []
        self.failure = None

    def forget(self):
        """Know none of the data keys any more; return their ciphertexts."""
        made, self._made = set(self._made), {}
        return made

    def _check(self, name, context, caller):
        self.calls.append((name, dict(context), caller.user_id))
        if self.failure is not None:
            raise self.failure
        if not caller.user_id:
            raise errors.KmsAccessDenied("nobody may use this key")

    async def generate_data_key(self, _key, context, caller):
        self._check("generate", context, caller)
        made = kms.DataKey(
            self.ARN, SecretKey(self._random_bytes(32)), b"wrapped" + self._random_bytes(16)
        )
        self._made[made.ciphertext] = made, dict(context)
        return made

    async def decrypt(self, ciphertext, context, caller):
        self._check("decrypt", context, caller)
        made, bound = self._made.get(ciphertext, (None, None))
        if made is None or bound != dict(context):
            raise errors.KmsInvalidCiphertext("this is not a ciphertext of ours")
        return made


class Bench:
    """Services with everything they stand on in reach."""

    def __init__(self):
        self.catalog, self.blobs = Catalog(), Blobs()
        self.threads = futures.ThreadPoolExecutor(2)
        self.pins = transfer.Pins()
        self.displaced = 0
        self._random = itertools.count(1)
        keeper = master.Master(SecretKey(bytes(range(32))))
        store_keys = asyncio.run(
            sources.open_store_keys(
                self.catalog, keeper, random_bytes=self.random_bytes, now_ms=NOW_MS
            )
        )
        self.kms = FakeKms(self.random_bytes)
        self.encryption = encryption.Encryption(
            store_keys,
            kms_sources.KmsKeys(self.kms, clock_ms=self.clock_ms),
            random_bytes=self.random_bytes,
        )
        self.transfer = transfer.Transfer(
            self.catalog,
            self.blobs,
            threads=self.threads,
            random_bytes=self.random_bytes,
            pins=self.pins,
        )
        self.collector = housekeeping.Collector(
            self.catalog,
            self.blobs,
            self.pins,
            threads=self.threads,
            clock_ms=self.clock_ms,
        )
        self.buckets = buckets.Buckets(self.catalog, clock_ms=self.clock_ms)
        options = {
            "random_bytes": self.random_bytes,
            "clock_ms": self.clock_ms,
            "displaced": self._count,
        }
        self.objects = objects.Objects(
            self.catalog, self.transfer, self.encryption, self.pins, **options
        )
        self.multipart = multipart.Multipart(
            self.catalog, self.transfer, self.encryption, **options
        )
        self.now_ms = NOW_MS
        asyncio.run(self._begin())

    async def _begin(self):
        await self.buckets.create("bucket", owner=OWNER, region="us-east-1", settings={})

    def _count(self):
        self.displaced += 1

    def clock_ms(self):
        return self.now_ms

    def random_bytes(self, size):
        """Bytes that differ from call to call, for every size from 8."""
        return next(self._random).to_bytes(8, "big").rjust(size, b"r")[-size:]

    @staticmethod
    def incoming(body, **facts):
        async def chunks():
            for start in range(0, len(body), 50_000):
                yield body[start : start + 50_000]

        return transfer.Incoming(chunks(), facts.pop("length", len(body)), **facts)

    async def put(self, key, body, customer=None, **options):
        incoming = body if isinstance(body, transfer.Incoming) else self.incoming(body)
        return await self.objects.put(
            "bucket",
            key,
            incoming,
            owner=OWNER,
            customer=customer,
            content=options.pop("content", facets.Content()),
            tags=options.pop("tags", {}),
            **options,
        )

    async def get(self, key, customer=None, **options):
        opened = await self.objects.get("bucket", key, customer=customer, **options)
        try:
            return b"".join([bytes(piece) async for piece in opened.pieces])
        finally:
            await opened.pieces.aclose()

    async def create(self, key="key", customer=None, checksum=None, checksum_type=None, wish=None):
        return await self.multipart.create(
            "bucket",
            key,
            owner=OWNER,
            customer=customer,
            content=facets.Content(),
            tags={},
            checksum=checksum,
            checksum_type=checksum_type,
            wish=wish,
        )

    async def part(self, upload, number, body, customer=None, caller=kms_sources.NOBODY, **facts):
        return await self.multipart.put_part(
            upload.bucket,
            upload.key,
            upload.upload_id,
            number,
            self.incoming(body, **facts),
            customer=customer,
            caller=caller,
        )

    async def complete(self, upload, *listed, **options):
        named = [multipart.NamedPart(each.part.number, each.part.etag) for each in listed]
        options = {"announced": {}, "customer": None} | options
        return await self.multipart.complete(
            upload.bucket, upload.key, upload.upload_id, named, **options
        )

    async def gone(self, key):
        try:
            await self.catalog.current("bucket", key)
        except errors.ObjectNotFound:
            return True
        return False


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.threads.shutdown()


@pytest.fixture(scope="session")
def customer():
    return sources.CustomerKey(SecretKey(b"32bytesOfTotallyRandomCharacters"))


@pytest.fixture(scope="session")
def other_customer():
    return sources.CustomerKey(SecretKey(bytes(range(32))))
