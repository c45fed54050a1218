"""Materials under masters: sealed under the current one, opened under any, cached within limits."""

import asyncio
import itertools
import threading

import pytest

from strongroom import errors
from strongroom.crypto.secret import SecretKey
from strongroom.keyring import key_specs, masters
from strongroom.keyring.connectors import attempts
from strongroom.store import kms

KEY = kms.Key(
    key_id="00000000-0000-4000-8000-000000000001",
    spec=key_specs.SYMMETRIC,
    usage=key_specs.ENCRYPT_DECRYPT,
    created_ms=1,
    creator="",
    policy="",
)
MATERIAL = SecretKey(b"m" * 32)


class Fake:
    """A master that counts what it is asked, and can be away."""

    def __init__(self, name="fake"):
        self.name = name
        self.asked = 0
        self.away = False
        self.closed = False
        self._numbers = itertools.count(1)

    def _ask(self):
        self.asked += 1
        if self.away:
            raise errors.KmsUnavailable("away")

    async def generate(self, purpose):
        self._ask()
        key = SecretKey(next(self._numbers).to_bytes(32, "big"))
        return key, await self.wrap(key, purpose)

    async def wrap(self, key, purpose):
        return key.reveal() + purpose

    async def unwrap(self, wrapped, purpose):
        self._ask()
        if wrapped[32:] != purpose:
            raise errors.NotAuthentic("another purpose")
        return SecretKey(wrapped[:32])

    async def close(self):
        self.closed = True


class Bench:
    """Materials under fakes, and a clock."""

    def __init__(self, *fakes, current=None, **limits):
        self.now_ms = 0
        self.fakes = fakes
        self.materials = masters.Materials(
            {one.name: one for one in fakes},
            (current or fakes[0]).name,
            random_bytes=bytes,
            clock_ms=lambda: self.now_ms,
            **limits,
        )

    async def sealed(self, version=1):
        wrapped = await self.materials.seal(KEY.key_id, version, KEY.spec, MATERIAL)
        return kms.Material(KEY.key_id, version, wrapped, 1, "CREATED")


def test_an_opened_material_is_kept_for_its_time():
    async def story():
        fake = Fake()
        bench = Bench(fake, cache_ms=1000)
        stored = await bench.sealed()
        fake.asked = 0

        for bench.now_ms in (0, 999):
            assert await bench.materials.open(KEY, stored) == MATERIAL
        assert fake.asked == 1
        fake.away = True
        bench.now_ms = 1000
        with pytest.raises(errors.KmsUnavailable):
            await bench.materials.open(KEY, stored)
        fake.away = False
        assert await bench.materials.open(KEY, stored) == MATERIAL

    asyncio.run(story())


@pytest.mark.parametrize(
    ("limits", "asked"),
    [({"cache_uses": 3}, 2), ({"cache_ms": 0}, 6), ({"cache_uses": 0}, 6), ({}, 1)],
)
def test_an_opened_material_is_used_so_often_and_no_more(limits, asked):
    async def story():
        fake = Fake()
        bench = Bench(fake, **limits)
        stored = await bench.sealed()
        fake.asked = 0

        for _ in range(6):
            assert await bench.materials.open(KEY, stored) == MATERIAL

        assert fake.asked == asked

    asyncio.run(story())


def test_only_so_many_materials_are_kept_open():
    async def story():
        fake = Fake()
        bench = Bench(fake, cache_size=2)
        stored = [await bench.sealed(version) for version in (1, 2, 3)]
        for one in stored:
            await bench.materials.open(KEY, one)
        fake.asked = 0

        await bench.materials.open(KEY, stored[2])
        assert fake.asked == 0
        await bench.materials.open(KEY, stored[0])
        assert fake.asked == 1

    asyncio.run(story())


def test_a_material_opens_under_the_master_that_sealed_it_after_another_became_current():
    async def story():
        old, new = Fake("old"), Fake("new")
        stored = await Bench(old).sealed()
        both = Bench(old, new, current=new)

        assert await both.materials.open(KEY, stored) == MATERIAL
        assert new.asked == 0
        with pytest.raises(errors.KmsUnavailable, match="'old', which is not set up here"):
            await Bench(new).materials.open(KEY, stored)
        await both.materials.close()
        assert old.closed
        assert new.closed

    asyncio.run(story())


def quick(**changes):
    return attempts.Attempts("fake", **{"pauses_s": (0, 0), "timeout_s": 60, **changes})


def test_what_does_not_answer_is_asked_three_times_and_then_told():
    calls = []

    def call():
        calls.append(1)
        raise errors.KmsUnavailable("away")

    with pytest.raises(errors.KmsUnavailable, match="away"):
        asyncio.run(quick().run(call))

    assert len(calls) == 3


def test_what_comes_back_in_time_is_returned():
    answers = iter([errors.KmsUnavailable("away"), None])

    def call():
        if error := next(answers):
            raise error
        return "answer"

    assert asyncio.run(quick().run(call)) == "answer"


def test_what_is_answered_is_not_asked_again():
    calls = []

    def call():
        calls.append(1)
        raise errors.KmsAccessDenied("no")

    with pytest.raises(errors.KmsAccessDenied):
        asyncio.run(quick().run(call))

    assert len(calls) == 1


def test_what_hangs_is_unavailable():
    done = threading.Event()
    runs = quick(pauses_s=(), timeout_s=0.01)

    with pytest.raises(errors.KmsUnavailable, match="in time"):
        asyncio.run(runs.run(done.wait))
    done.set()
    runs.close()


def test_what_is_closed_is_unavailable():
    runs = quick()
    runs.close()

    with pytest.raises(errors.KmsUnavailable, match="closed"):
        asyncio.run(runs.run(list))
