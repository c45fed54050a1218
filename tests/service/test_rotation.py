"""Rotation: other keys for versions that stand, in all modes, and after every interruption."""

import asyncio
import dataclasses
import itertools

import pytest

from strongroom import errors
from strongroom.crypto.secret import SecretKey
from strongroom.keyring import kms, kms_sources, sources
from strongroom.service import facets, locks, rotation
from strongroom.store import records

ALICE = kms.Caller(user_id="a" * 64, is_root=False)
OLD, NEW, THIRD = (sources.CustomerKey(SecretKey(letter * 32)) for letter in (b"o", b"n", b"t"))
SMALL, LARGE = b"small", bytes(range(256)) * 800
WISH = kms_sources.Wish(key="alias/films", caller=ALICE, context={})
DUAL = dataclasses.replace(WISH, dual=True)

CONTENT = facets.Content({"Content-Type": "text/plain", "Cache-Control": "no-store"}, {"a": "b"})
TAGS = {"colour": "red", "": "é"}

MODES = {
    "SSE-C": {"customer": OLD},
    "SSE-S3": {},
    "SSE-KMS": {"wish": WISH},
    "DSSE-KMS": {"wish": DUAL},
}
TARGETS = {
    "SSE-C": {"customer": NEW},
    "SSE-S3": {},
    "SSE-KMS": {"wish": WISH},
    "DSSE-KMS": {"wish": DUAL},
}
BORDERS = list(itertools.product(MODES, TARGETS))
ALL = rotation.Selection("bucket")
NOW_MS = 1_700_000_000_500
Outcome = rotation.Outcome


def plan(bench, customer=None, wish=None, old=(OLD,), modes=MODES, **options):
    return rotation.Plan(
        old_customers=tuple(old),
        old_modes=frozenset(modes) - {"SSE-C"},
        customer=customer,
        wish=wish,
        arn="" if wish is None else bench.kms.ARN,
        caller=ALICE,
        **options,
    )


@pytest.fixture
def rotating(bench):
    return rotation.Rotation(
        bench.catalog,
        bench.transfer,
        bench.encryption,
        bench.objects,
        random_bytes=bench.random_bytes,
        clock_ms=lambda: NOW_MS,
    )


async def outcomes(rotating, wanted, selection=ALL):
    return {
        result.version.key: result.failure or result.outcome
        async for result in rotating.run(selection, wanted)
    }


def stays(before, after):
    """Whether a listing shows the same but for the mode."""
    return after == dataclasses.replace(before, mode=after.mode, generation=after.generation)


async def put_multipart(bench, customer=None, wish=None, again=None):
    upload = await bench.create("key", customer, wish=wish)
    bodies = [bytes([number]) * size for number, size in ((1, 5 * 2**20), (4, 70_000))]
    parts = [
        await bench.part(upload, number, body, customer, caller=ALICE)
        for number, body in zip((1, 4), bodies, strict=True)
    ]
    await bench.complete(upload, *parts)
    if again is not None:
        again.append(lambda: bench.complete(upload, *parts))
    return b"".join(bodies)


@pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize(("source", "target"), BORDERS, ids=map(" to ".join, BORDERS))
def test_every_mode_becomes_every_other_and_the_object_stays_what_it_is(
    bench, rotating, source, target, body
):
    key = TARGETS[target].get("customer")

    async def main():
        await bench.put("key", body, content=CONTENT, tags=TAGS, **MODES[source])
        before = await bench.catalog.current("bucket", "key")
        old_key = MODES[source].get("customer")
        head = (await bench.objects.head("bucket", "key", customer=old_key, caller=ALICE)).head

        told = await outcomes(rotating, plan(bench, **TARGETS[target]))

        after = await bench.catalog.current("bucket", "key")
        found = await bench.objects.head("bucket", "key", customer=key, caller=ALICE)
        assert await bench.get("key", key, caller=ALICE) == body
        assert (found.head, found.protection.mode) == (head, target)
        assert (await bench.objects.tags("bucket", "key"))[1] == TAGS
        assert stays(before.version, after.version)
        return told, before, after

    told, before, after = asyncio.run(main())

    same = source == target != "SSE-C"
    crosses = (source == "SSE-C") != (target == "SSE-C") or "DSSE-KMS" in (source, target)
    if same:
        assert told == {"key": Outcome.ALREADY}
        assert after == before
    else:
        assert told == {"key": Outcome.RESEALED if crosses else Outcome.REWRAPPED}
        assert (after.body == before.body) == (not crosses)
        assert after.envelope != before.envelope


@pytest.mark.parametrize("deep", [False, True])
def test_what_is_locked_keeps_its_key_unless_its_lock_gives_way(bench, rotating, deep):
    kept = {
        "compliant": locks.Lock(locks.COMPLIANCE, NOW_MS + 1),
        "held": locks.Lock(hold=locks.ON),
        "both": locks.Lock(locks.GOVERNANCE, NOW_MS + 1, locks.ON),
    }
    changed = {
        "governed": locks.Lock(locks.GOVERNANCE, NOW_MS + 1),
        "over": locks.Lock(locks.COMPLIANCE, NOW_MS),
        "free": locks.Lock(hold=locks.OFF),
    }

    async def main():
        for key, lock in (kept | changed).items():
            await bench.put(key, SMALL, customer=OLD, terms=locks.Terms(lock))
        told = await outcomes(rotating, plan(bench, customer=NEW, deep=deep))
        for key in kept:
            assert isinstance(told.pop(key), errors.ObjectLocked)
            assert await bench.get(key, OLD) == SMALL
        for key, lock in changed.items():
            assert await bench.get(key, NEW) == SMALL
            stored = await bench.catalog.current("bucket", key)
            assert locks.of(bench.encryption.open_marks(stored)) == lock
        return told

    told = asyncio.run(main())

    outcome = Outcome.RESEALED if deep else Outcome.REWRAPPED
    assert told == dict.fromkeys(changed, outcome)


@pytest.mark.parametrize(("source", "target"), [("SSE-C", "SSE-C"), ("SSE-S3", "SSE-C")])
def test_the_old_key_opens_nothing_any_more(bench, rotating, source, target):
    async def main():
        await bench.put("key", LARGE, **MODES[source])
        await outcomes(rotating, plan(bench, **TARGETS[target]))
        for customer, refusal in ((OLD, errors.WrongKey), (None, errors.KeyRequired)):
            with pytest.raises(refusal):
                await bench.get("key", customer)

    asyncio.run(main())


def test_a_new_envelope_moves_no_data(bench, rotating):
    async def main():
        await bench.put("key", LARGE, OLD)
        blobs, opened = dict(bench.blobs.stored), bench.blobs.opened

        await outcomes(rotating, plan(bench, NEW))

        assert bench.blobs.stored == blobs
        assert bench.blobs.opened == opened
        assert await bench.catalog.doomed(limit=10) == []

    asyncio.run(main())


def test_deep_seals_the_data_anew_under_a_new_data_key(bench, rotating):
    async def main():
        await bench.put("key", LARGE, OLD)
        before = await bench.catalog.current("bucket", "key")
        old_place = bench.blobs.places
        opened = await bench.encryption.unlock(before, OLD)

        told = await outcomes(rotating, plan(bench, NEW, deep=True))

        after = await bench.catalog.current("bucket", "key")
        reopened = await bench.encryption.unlock(after, NEW)
        assert told == {"key": Outcome.RESEALED}
        assert reopened.data_key != opened.data_key
        assert {ref.place for ref in await bench.catalog.doomed(limit=10)} == old_place
        assert await bench.get("key", NEW) == LARGE

    asyncio.run(main())


@pytest.mark.parametrize(("source", "target"), [("SSE-C", "SSE-S3"), ("SSE-S3", "DSSE-KMS")])
def test_parts_stay_parts_when_the_data_is_sealed_anew(bench, rotating, source, target):
    async def main():
        body = await put_multipart(bench, **MODES[source])
        old_key, key = MODES[source].get("customer"), TARGETS[target].get("customer")
        before = await bench.objects.parts("bucket", "key", old_key, caller=ALICE)

        told = await outcomes(rotating, plan(bench, **TARGETS[target]))

        after = await bench.objects.parts("bucket", "key", key, caller=ALICE)
        second = await bench.get("key", key, caller=ALICE, extent=facets.PartNumber(2))
        assert told == {"key": Outcome.RESEALED}
        assert await bench.get("key", key, caller=ALICE) == body
        assert second == body[-70_000:]
        assert (after[0].head, after[1]) == (before[0].head, before[1])
        assert after[0].version.etag.endswith("-2")

    asyncio.run(main())


def test_what_was_rotated_is_recognized_and_left_alone(bench, rotating):
    async def main():
        await bench.put("key", SMALL, OLD)
        await outcomes(rotating, plan(bench, NEW))
        before = await bench.catalog.current("bucket", "key")

        for deep in (False, True):
            assert await outcomes(rotating, plan(bench, NEW, deep=deep)) == {"key": Outcome.ALREADY}
        assert await bench.catalog.current("bucket", "key") == before

    asyncio.run(main())


def test_what_has_another_key_or_mode_is_left_alone(bench, rotating):
    async def main():
        await bench.put("third", SMALL, THIRD)
        await bench.put("plain", SMALL)
        await bench.put("kms", SMALL, wish=WISH)
        before = {key: await bench.catalog.current("bucket", key) for key in ("third", "plain")}

        told = await outcomes(rotating, plan(bench, NEW, modes=["SSE-KMS"]))

        assert told == {
            "third": Outcome.OTHER_KEY,
            "plain": Outcome.OTHER_MODE,
            "kms": Outcome.RESEALED,
        }
        for key, stored in before.items():
            assert await bench.catalog.current("bucket", key) == stored

    asyncio.run(main())


def test_several_old_keys_become_one(bench, rotating):
    async def main():
        await bench.put("first", SMALL, OLD)
        await bench.put("third", SMALL, THIRD)

        told = await outcomes(rotating, plan(bench, NEW, old=(OLD, THIRD)))

        assert set(told.values()) == {Outcome.REWRAPPED}
        assert await bench.get("third", NEW) == SMALL

    asyncio.run(main())


@pytest.mark.parametrize(
    ("selection", "selected"),
    [
        (rotation.Selection("bucket"), {"a", "a/1", "a/2", "ab"}),
        (rotation.Selection("bucket", prefix="a/"), {"a/1", "a/2"}),
        (rotation.Selection("bucket", key="a"), {"a"}),
        (rotation.Selection("bucket", key="none"), set()),
    ],
)
def test_a_key_a_prefix_or_a_bucket_is_selected(bench, rotating, monkeypatch, selection, selected):
    monkeypatch.setattr(rotation, "PAGE_VERSIONS", 1)

    async def main():
        for key in ("a", "a/1", "a/2", "ab"):
            await bench.put(key, SMALL, OLD)
        return await rotating.count(selection), await outcomes(
            rotating, plan(bench, NEW), selection
        )

    count, told = asyncio.run(main())

    assert (count, set(told)) == (len(selected), selected)


def test_tags_that_are_set_meanwhile_are_not_lost(bench, rotating):
    async def main():
        await bench.put("key", SMALL, OLD, tags={"a": "1"})
        lock, done = bench.encryption.lock, []

        async def overtaken(*args, **kwargs):
            if not done:
                done.append(True)
                await bench.objects.set_tags("bucket", "key", {"a": "2"})
            return await lock(*args, **kwargs)

        bench.encryption.lock = overtaken
        told = await outcomes(rotating, plan(bench, NEW))

        assert told == {"key": Outcome.REWRAPPED}
        assert (await bench.objects.tags("bucket", "key"))[1] == {"a": "2"}

    asyncio.run(main())


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("how", ["deleted", "overwritten"])
def test_a_version_that_goes_meanwhile_is_no_failure_and_leaves_nothing(bench, rotating, how, deep):
    async def main():
        await bench.put("key", LARGE, OLD)
        rewrite = bench.catalog.replace_version

        async def overtaken(*args):
            bench.catalog.replace_version = rewrite
            if how == "deleted":
                await bench.objects.delete("bucket", "key", owner="0" * 64)
            else:
                await bench.put("key", SMALL, NEW)
            await rewrite(*args)

        bench.catalog.replace_version = overtaken
        told = await outcomes(rotating, plan(bench, NEW, deep=deep))

        assert told == {"key": Outcome.GONE if how == "deleted" else Outcome.ALREADY}
        doomed = {ref.place for ref in await bench.catalog.doomed(limit=10)}
        assert bench.blobs.places == doomed

    asyncio.run(main())


def test_a_damaged_version_is_named_and_the_rest_is_rotated(bench, rotating):
    async def main():
        await bench.put("bad", SMALL, OLD)
        await bench.put("good", SMALL, OLD)
        entry = bench.catalog.entry("bucket", "bad")
        entry.envelope = entry.envelope[:-1] + bytes([entry.envelope[-1] ^ 1])

        told = await outcomes(rotating, plan(bench, NEW))

        assert isinstance(told["bad"], errors.NotAuthentic)
        assert told["good"] is Outcome.REWRAPPED

    asyncio.run(main())


def test_damaged_data_is_not_sealed_anew(bench, rotating):
    async def main():
        await bench.put("key", LARGE, OLD)
        before = await bench.catalog.current("bucket", "key")
        ((place, raw),) = bench.blobs.stored.items()
        bench.blobs.stored[place] = raw[:-1] + bytes([raw[-1] ^ 1])

        told = await outcomes(rotating, plan(bench, NEW, deep=True))

        assert isinstance(told["key"], errors.NotAuthentic)
        assert await bench.catalog.current("bucket", "key") == before
        assert bench.blobs.places == {place}

    asyncio.run(main())


def test_what_does_not_open_under_the_new_key_replaces_nothing(bench, rotating):
    async def main():
        await bench.put("key", LARGE, OLD)
        before = await bench.catalog.current("bucket", "key")
        seal_marks = bench.encryption.seal_marks
        bench.encryption.seal_marks = lambda binding, found: seal_marks(
            binding, dataclasses.replace(found, tags={"forged": "yes"})
        )

        told = await outcomes(rotating, plan(bench, NEW))

        assert isinstance(told["key"], errors.NotAuthentic)
        assert await bench.catalog.current("bucket", "key") == before

    asyncio.run(main())


@pytest.mark.parametrize("failure", [errors.StoreFull, errors.StoreFailed])
def test_a_store_that_cannot_keep_more_ends_the_rotation(bench, rotating, failure):
    async def main():
        for number in range(5):
            await bench.put(f"key-{number}", LARGE, OLD)
        bench.blobs.fail_room = failure()
        with pytest.raises(failure):
            await outcomes(rotating, plan(bench, NEW, deep=True))
        bench.blobs.fail_room = None

        told = await outcomes(rotating, plan(bench, NEW, deep=True))

        assert set(told.values()) == {Outcome.RESEALED}

    asyncio.run(main())


def test_a_kms_that_refuses_names_the_version(bench, rotating):
    async def main():
        await bench.put("key", SMALL, wish=WISH)
        nobody = dataclasses.replace(plan(bench, NEW), caller=kms_sources.NOBODY)

        told = await outcomes(rotating, nobody)

        assert isinstance(told["key"], errors.KmsAccessDenied)

    asyncio.run(main())


def test_a_bucket_that_is_not_there_is_told(bench, rotating):
    with pytest.raises(errors.BucketNotFound):
        asyncio.run(outcomes(rotating, plan(bench, NEW), rotation.Selection("nowhere")))


def test_every_version_of_a_key_is_rotated_each_with_its_own_key(bench, rotating):
    async def main():
        settings = {records.VERSIONING: records.ENABLED}
        await bench.catalog.change_settings("bucket", settings)
        put = [
            await bench.put("key", body, key)
            for body, key in ((b"one", OLD), (b"two", THIRD), (b"three", OLD))
        ]
        await bench.objects.delete("bucket", "key", owner="0" * 64)
        before = (await bench.catalog.list_versions("bucket", limit=10)).versions
        first, second, third = [found.version.version_id for found in put]

        told = [result async for result in rotating.run(ALL, plan(bench, NEW))]

        after = (await bench.catalog.list_versions("bucket", limit=10)).versions
        assert {result.version.version_id: result.outcome for result in told} == {
            first: Outcome.REWRAPPED,
            second: Outcome.OTHER_KEY,
            third: Outcome.REWRAPPED,
        }
        assert all(itertools.starmap(stays, zip(before, after, strict=True)))
        for version_id, key, body in (
            (first, NEW, b"one"),
            (second, THIRD, b"two"),
            (third, NEW, b"three"),
        ):
            assert await bench.get("key", key, version_id=version_id) == body

    asyncio.run(main())


def test_a_completion_that_is_asked_for_again_has_its_answer_after_a_rotation(bench, rotating):
    async def main():
        again = []
        await put_multipart(bench, OLD, again=again)
        etag = (await bench.catalog.current("bucket", "key")).version.etag

        await outcomes(rotating, plan(bench, NEW))

        assert (await again[0]()).etag == etag
        await bench.put("key", SMALL, NEW)
        with pytest.raises(errors.UploadNotFound):
            await again[0]()

    asyncio.run(main())
