"""Objects under KMS keys: who may write and read them, and what the KMS is asked, and how often."""

import asyncio
import gc
import itertools

import pytest
import tink

from strongroom import errors
from strongroom.crypto import body as bodies
from strongroom.crypto import envelope as envelopes
from strongroom.crypto import segments
from strongroom.keyring import kms, kms_sources, sources
from strongroom.service import conditions, copying, facets

ALICE, BOB = (kms.Caller(user_id=letter * 64, is_root=False) for letter in "ab")
SMALL, LARGE = b"small", bytes(range(256)) * 800  # 204,800 bytes
PART = bytes(range(256)) * 20_480
BODIES = [b"", SMALL, LARGE]
DUAL = pytest.mark.parametrize("dual", [False, True], ids=["SSE-KMS", "DSSE-KMS"])
OBJECT_ARN, BUCKET_ARN = "arn:aws:s3:::bucket/key", "arn:aws:s3:::bucket"


def wish(caller=ALICE, **changes):
    return kms_sources.Wish(**{"key": "alias/films", "caller": caller, "context": {}} | changes)


def called(bench):
    return [name for name, _, _ in bench.kms.calls]


@DUAL
@pytest.mark.parametrize("body", BODIES, ids=["empty", "small", "large"])
def test_an_object_under_a_kms_key_is_read_by_whoever_may_use_the_key(bench, dual, body):
    """S003.8, S003.11, S003.13."""

    async def main():
        found = await bench.put("key", body, wish=wish(dual=dual))
        assert await bench.get("key", caller=BOB) == body
        for refused in (
            bench.get("key"),
            bench.objects.head("bucket", "key", customer=None),
            bench.objects.parts("bucket", "key", None),
        ):
            with pytest.raises(errors.KmsAccessDenied):
                await refused
        return found

    found = asyncio.run(main())

    assert found.protection == sources.Protection(
        "DSSE-KMS" if dual else "SSE-KMS", bench.kms.ARN, bucket_key=False
    )
    layers = 2 if dual else 1
    assert called(bench)[: 2 * layers] == ["generate"] * layers + ["decrypt"] * layers


def test_a_customer_key_does_not_apply_to_it(bench, customer):
    async def main():
        await bench.put("key", SMALL, wish=wish())
        with pytest.raises(errors.KeyNotApplicable):
            await bench.get("key", customer, caller=ALICE)

    asyncio.run(main())

    assert called(bench) == ["generate"], "the KMS is not asked for a request that is wrong anyway"


@DUAL
def test_the_context_is_the_objects_arn_and_what_the_writer_adds(bench, dual):
    async def main():
        await bench.put("key", SMALL, wish=wish(dual=dual, context={"film": "Metropolis"}))
        await bench.get("key", caller=ALICE)

    asyncio.run(main())

    contexts = [context for _, context, _ in bench.kms.calls]
    assert contexts == [{"film": "Metropolis", "aws:s3:arn": OBJECT_ARN}] * len(contexts)


@DUAL
def test_what_the_kms_refuses_is_not_stored(bench, dual):
    async def main():
        for failure in (errors.KmsKeyDisabled("x is disabled."), errors.KmsUnavailable("")):
            bench.kms.failure = failure
            with pytest.raises(type(failure)):
                await bench.put("key", LARGE, wish=wish(dual=dual))
            with pytest.raises(type(failure)):
                await bench.multipart.create(
                    "bucket",
                    "key",
                    owner="",
                    customer=None,
                    content=facets.Content(),
                    tags={},
                    checksum=None,
                    checksum_type=None,
                    wish=wish(dual=dual),
                )
        return await bench.gone("key")

    assert asyncio.run(main())
    assert not bench.blobs.places
    assert not bench.catalog.open_uploads


def test_what_the_kms_refuses_is_not_read(bench):
    async def main():
        await bench.put("key", LARGE, wish=wish())
        bench.kms.failure = errors.KmsUnavailable("")
        with pytest.raises(errors.KmsUnavailable):
            await bench.get("key", caller=ALICE)
        bench.kms.failure = None
        return await bench.get("key", caller=ALICE)

    assert asyncio.run(main()) == LARGE
    assert len(bench.pins) == 0


# Bucket keys


def test_a_bucket_key_serves_a_caller_for_a_minute(bench):
    async def main():
        for name in "abc":
            await bench.put(name, SMALL, wish=wish(bucket_key=True))
            assert await bench.get(name, caller=ALICE) == SMALL
        bench.now_ms += kms_sources.CACHE_MS - 1
        await bench.put("d", SMALL, wish=wish(bucket_key=True))
        return await bench.objects.head("bucket", "a", customer=None, caller=ALICE)

    found = asyncio.run(main())

    assert found.protection.bucket_key
    assert bench.kms.calls == [("generate", {"aws:s3:arn": BUCKET_ARN}, ALICE.user_id)]


def test_a_bucket_key_is_asked_for_anew_when_its_time_is_over(bench):
    async def main():
        await bench.put("a", SMALL, wish=wish(bucket_key=True))
        for step in (kms_sources.CACHE_MS, -2 * kms_sources.CACHE_MS):
            bench.now_ms += step
            await bench.put("b", SMALL, wish=wish(bucket_key=True))
        await bench.get("a", caller=ALICE)
        await bench.get("a", caller=ALICE)

    asyncio.run(main())

    assert called(bench) == ["generate", "generate", "generate", "decrypt"]


@pytest.mark.parametrize(
    "other",
    [
        wish(BOB, bucket_key=True),
        wish(bucket_key=True, key="alias/other"),
        wish(bucket_key=True, context={"a": "b"}),
        wish(bucket_key=False),
    ],
    ids=["caller", "key", "context", "none"],
)
def test_a_bucket_key_is_for_one_caller_one_key_and_one_context(bench, other):
    async def main():
        await bench.put("a", SMALL, wish=wish(bucket_key=True))
        await bench.put("b", SMALL, wish=other)

    asyncio.run(main())

    assert called(bench) == ["generate", "generate"]


def test_another_caller_does_not_read_what_is_cached(bench):
    async def main():
        await bench.put("a", SMALL, wish=wish(bucket_key=True))
        await bench.get("a", caller=ALICE)
        with pytest.raises(errors.KmsAccessDenied):
            await bench.get("a")
        await bench.get("a", caller=BOB)

    asyncio.run(main())

    assert [user for _, _, user in bench.kms.calls] == [ALICE.user_id, "", BOB.user_id]


def test_only_so_many_bucket_keys_are_kept(bench, monkeypatch):
    monkeypatch.setattr(kms_sources, "CACHED", 2)

    async def main():
        for name in ("a", "b", "a", "c", "b", "a"):
            await bench.put(name, SMALL, wish=wish(bucket_key=True, key=name))

    asyncio.run(main())

    assert called(bench) == ["generate"] * 4, "the oldest was forgotten"


def test_no_bucket_key_outlasts_its_time_in_memory(bench):
    def held(ciphertexts):
        gc.collect()
        everything = (each for each in gc.get_objects() if isinstance(each, kms.DataKey))
        return {each.ciphertext for each in everything} & ciphertexts

    async def main():
        for name in "ab":
            await bench.put(name, SMALL, wish=wish(bucket_key=True, key=name))
        made = bench.kms.forget()
        assert held(made) == made
        bench.now_ms += kms_sources.CACHE_MS
        await bench.put("c", SMALL, wish=wish(bucket_key=True, key="c"))
        return held(made)

    assert asyncio.run(main()) == set()


def test_two_layers_have_no_bucket_key(bench):
    async def main():
        for name in "ab":
            found = await bench.put(name, SMALL, wish=wish(bucket_key=True, dual=True))
            assert not found.protection.bucket_key

    asyncio.run(main())

    assert called(bench) == ["generate"] * 4


def test_objects_under_one_bucket_key_have_nothing_in_common(bench):
    async def main():
        for name in "ab":
            await bench.put(name, LARGE, wish=wish(bucket_key=True))
        return [await bench.catalog.current("bucket", name) for name in "ab"]

    one, two = (envelopes.Envelope.parse(s.envelope) for s in asyncio.run(main()))

    assert one.key_fields == two.key_fields
    assert one.wrapped.salt != two.wrapped.salt
    assert one.wrapped.check != two.wrapped.check
    assert one.wrapped.commitment != two.wrapped.commitment


# Two layers


def test_tink_opens_each_layer_on_its_own(bench, tink_opens):
    """S003.8: two layers, under two data keys of two calls to the KMS."""

    async def main():
        await bench.put("key", LARGE, wish=wish(dual=True))
        stored = await bench.catalog.current("bucket", "key")
        return stored, await bench.encryption.unlock(stored, None, ALICE)

    stored, opened = asyncio.run(main())

    (part,) = bodies.parse(stored.body).parts
    (sealed,) = bench.blobs.stored.values()
    inner, outer = opened.keys
    assert inner != outer
    middle = tink_opens(outer.stream_key(), segments.stream_aad(part.blob_id, 1, 2), bytes(sealed))
    assert middle != LARGE
    assert tink_opens(inner.stream_key(), segments.stream_aad(part.blob_id, 1, 1), middle) == LARGE
    for key, layer in ((inner, 2), (outer, 1), (inner, 1)):
        with pytest.raises(tink.TinkError):
            tink_opens(key.stream_key(), segments.stream_aad(part.blob_id, 1, layer), bytes(sealed))
    ciphertexts = set(_fields(stored)[1:5:3])
    assert len(ciphertexts) == 2


def _fields(stored):
    return envelopes.Envelope.parse(stored.envelope).key_fields


EDGES = [0, 1, 65423, 65424, 65479, 65480, 65481, 130_999, 131_000, 204_799]


@pytest.mark.parametrize("body", [LARGE, bytes(range(256)) * 4_000], ids=["200K", "1M"])
def test_every_range_of_two_layers_is_the_slice(bench, body):
    async def main():
        await bench.put("key", body, wish=wish(dual=True))
        for first, last in itertools.combinations([*EDGES, len(body) - 1], 2):
            extent = facets.ByteRange(first, last, "")
            assert await bench.get("key", caller=ALICE, extent=extent) == body[first : last + 1]

    asyncio.run(main())

    assert bench.blobs.opened == bench.blobs.closed


@pytest.mark.parametrize("at", [0, 45, 100, 70_000, -1])
def test_a_change_in_two_layers_is_found(bench, at):
    async def main():
        await bench.put("key", LARGE, wish=wish(dual=True))
        (place,) = bench.blobs.places
        changed = bytearray(bench.blobs.stored[place])
        changed[at] ^= 1
        bench.blobs.stored[place] = bytes(changed)
        with pytest.raises(errors.NotAuthentic):
            await bench.get("key", caller=ALICE)

    asyncio.run(main())


# What somebody with the catalog changes


@DUAL
def test_no_key_field_may_be_changed(bench, dual):
    async def main():
        await bench.put("key", SMALL, wish=wish(dual=dual))
        await bench.put("other", SMALL, wish=wish(dual=dual))
        entry = bench.catalog.entry("bucket", "key")
        right, others = entry.envelope, _fields(await bench.catalog.current("bucket", "other"))
        fields = list(envelopes.Envelope.parse(right).key_fields)
        for at, field in enumerate(fields):
            for bent in (field + b"x", others[at], b""):
                if bent == field:
                    continue
                envelope = envelopes.Envelope.parse(right)
                envelope.key_fields = (*fields[:at], bent, *fields[at + 1 :])
                entry.envelope = envelope.encode()
                with pytest.raises(errors.NotAuthentic):
                    await bench.get("key", caller=ALICE)
        envelope = envelopes.Envelope.parse(right)
        envelope.key_fields = tuple(fields[:-1])
        entry.envelope = envelope.encode()
        with pytest.raises(errors.NotAuthentic):
            await bench.get("key", caller=ALICE)
        entry.envelope = right
        assert await bench.get("key", caller=ALICE) == SMALL

    asyncio.run(main())


def test_two_layers_do_not_pass_for_one(bench):
    async def main():
        await bench.put("key", SMALL, wish=wish(dual=True))
        opened = await bench.objects.unlock("bucket", "key", None, ALICE)
        body = bodies.parse(opened.stored.body)
        with pytest.raises(errors.NotAuthentic):
            await anext(bench.transfer.send({}, {}, body, opened.keys[:1], 0, 5))

    asyncio.run(main())


# Uploads in parts


@DUAL
def test_an_upload_needs_the_key_for_each_part_and_in_the_end(bench, dual):
    async def main():
        upload = await bench.create(wish=wish(dual=dual))
        assert bench.multipart.protection(upload).key_arn == bench.kms.ARN
        with pytest.raises(errors.KmsAccessDenied):
            await bench.part(upload, 1, SMALL)
        one = await bench.part(upload, 1, PART, caller=ALICE)
        two = await bench.part(upload, 2, LARGE, caller=BOB)
        with pytest.raises(errors.KmsAccessDenied):
            await bench.complete(upload, one, two)
        done = await bench.complete(upload, one, two, caller=BOB)
        again = await bench.complete(upload, one, two, caller=BOB)
        assert (again.etag, again.checksums) == (done.etag, done.checksums)
        assert done.protection.key_arn == one.protection.key_arn == bench.kms.ARN
        assert await bench.get("key", caller=ALICE) == PART + LARGE
        second = facets.PartNumber(2)
        assert await bench.get("key", caller=ALICE, extent=second) == LARGE

    asyncio.run(main())


def test_a_customer_key_does_not_fit_an_upload_under_a_kms_key(bench, customer):
    async def main():
        upload = await bench.create(wish=wish())
        with pytest.raises(errors.PartKeyMissing):
            await bench.part(upload, 1, SMALL, customer, caller=ALICE)

    asyncio.run(main())


# Copies


@pytest.fixture
def copies(bench):
    options = {
        "random_bytes": bench.random_bytes,
        "clock_ms": bench.clock_ms,
        "displaced": lambda: None,
    }
    return copying.Copying(
        bench.catalog,
        bench.transfer,
        bench.encryption,
        bench.objects,
        bench.multipart,
        **options,
    )


def test_a_copy_needs_the_sources_key_and_the_targets(bench, copies):
    def target(made=None):
        return copying.Target(
            "bucket", "copy", "owner", None, content=None, tags=None, checksum=None, wish=made
        )

    async def main():
        await bench.put("key", LARGE, wish=wish())
        nobodys = copying.Source("bucket", "key", None, conditions.NONE)
        alices = copying.Source("bucket", "key", None, conditions.NONE, ALICE)
        for source, made in (
            (nobodys, None),
            (nobodys, wish()),
            (alices, wish(kms_sources.NOBODY)),
        ):
            with pytest.raises(errors.KmsAccessDenied):
                await copies.copy(source, target(made))
        assert await bench.gone("copy")
        await copies.copy(alices, target(wish(context={"a": "b"})))
        assert await bench.get("copy", caller=BOB) == LARGE

    asyncio.run(main())

    assert bench.kms.calls[-1][1] == {"a": "b", "aws:s3:arn": "arn:aws:s3:::bucket/copy"}
    assert len(bench.blobs.places) == 1, "the copy shares its source's data"
