"""What the port `MasterKeys` promises, asked of every master: ours, and those elsewhere."""

import asyncio
import contextlib
import secrets
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import masters_elsewhere as elsewhere

from strongroom import errors
from strongroom.crypto.secret import SecretKey
from strongroom.keyring import master, masters

pytestmark = pytest.mark.filterwarnings("ignore")
"""Client packages warn of what they themselves use."""

PURPOSE = b"strongroom kms 00000000-0000-4000-8000-000000000001 1"
PLACES = {
    "vault": elsewhere.OpenBao,
    "aws": elsewhere.OwnKms,
    "pkcs11": elsewhere.SoftHsm,
    "kmip": elsewhere.PyKmip,
}


class BuiltIn:
    """The store's own."""

    def master(self, raw=bytes(32)):
        return masters.BuiltIn(master.Master(SecretKey(raw)), secrets.token_bytes)

    def other(self):
        return self.master(b"o" * 32)

    def stop(self):
        pass


@pytest.fixture(scope="module", params=["built-in", *PLACES])
def place(request, tmp_path_factory):
    if request.param == "built-in":
        yield BuiltIn()
        return
    if request.param == "pkcs11" and elsewhere.softhsm() is None:
        pytest.skip("SoftHSM is not installed (Debian: softhsm2)")
    running = PLACES[request.param](tmp_path_factory.mktemp(request.param))
    yield running
    running.stop()


@contextlib.asynccontextmanager
async def closing(one):
    try:
        yield one
    finally:
        await one.close()


def able(place, name):
    if not hasattr(place, name):
        pytest.skip(f"{type(place).__name__} has no way to {name}")
    return getattr(place, name)


def test_a_generated_key_comes_back_for_its_purpose(place):
    async def story():
        async with closing(place.master()) as one:
            key, wrapped = await one.generate(PURPOSE)
            other, _ = await one.generate(PURPOSE)

            assert len(key) == masters.WRAPPING_KEY_BYTES
            assert key != other
            assert key.reveal() not in wrapped
            assert await one.unwrap(wrapped, PURPOSE) == key

    asyncio.run(story())


def test_a_wrapped_key_comes_back(place):
    async def story():
        key = SecretKey(secrets.token_bytes(32))
        async with closing(place.master()) as one:
            wrapped = await one.wrap(key, PURPOSE)
            assert await one.unwrap(wrapped, PURPOSE) == key

    asyncio.run(story())


def test_another_purpose_another_key_and_every_change_are_refused(place):
    async def story():
        async with closing(place.master()) as one, closing(place.other()) as other:
            _, wrapped = await one.generate(PURPOSE)
            with pytest.raises(errors.NotAuthentic):
                await one.unwrap(wrapped, PURPOSE + b"0")
            with pytest.raises(errors.NotAuthentic):
                await other.unwrap(wrapped, PURPOSE)
            for bent in (wrapped[:-3], wrapped[:-8] + bytes(8), b"", b"nonsense"):
                with pytest.raises(errors.NotAuthentic):
                    await one.unwrap(bent, PURPOSE)

    asyncio.run(story())


def test_masters_have_names_of_their_own(place):
    async def story():
        async with closing(place.master()) as one, closing(place.master()) as same:
            assert one.name == same.name
            if not isinstance(place, BuiltIn):
                async with closing(place.other()) as other:
                    assert other.name != one.name

    asyncio.run(story())


def test_what_was_wrapped_before_a_rotation_up_there_still_opens(place):
    rotate = able(place, "rotate")

    async def story():
        async with closing(place.master()) as one:
            key, wrapped = await one.generate(PURPOSE)
            rotate()
            assert await one.unwrap(wrapped, PURPOSE) == key

    asyncio.run(story())


def test_a_key_that_is_not_there_is_told_as_that(place):
    missing = able(place, "missing")

    async def story():
        async with closing(missing()) as one:
            with pytest.raises(errors.KmsKeyNotFound):
                await one.generate(PURPOSE)
            # A second time: the first must not have made it.
            with pytest.raises(errors.KmsKeyNotFound):
                await one.generate(PURPOSE)

    asyncio.run(story())


def test_wrong_credentials_are_told_as_that(place):
    denied = able(place, "denied")

    async def story():
        async with closing(denied()) as one:
            with pytest.raises(errors.KmsAccessDenied):
                await one.generate(PURPOSE)

    asyncio.run(story())


def test_a_disabled_key_is_told_as_that_and_serves_again(place):
    disable, enable = able(place, "disable"), able(place, "enable")

    async def story():
        async with closing(place.master()) as one:
            key, wrapped = await one.generate(PURPOSE)
            disable()
            with pytest.raises(errors.KmsKeyDisabled):
                await one.unwrap(wrapped, PURPOSE)
            enable()
            assert await one.unwrap(wrapped, PURPOSE) == key

    asyncio.run(story())


def test_many_at_once_get_each_their_own(place):
    async def story():
        async with closing(place.master()) as one:
            made = await asyncio.gather(*(one.generate(PURPOSE + b"%d" % n) for n in range(8)))
            opened = await asyncio.gather(
                *(one.unwrap(wrapped, PURPOSE + b"%d" % n) for n, (_, wrapped) in enumerate(made))
            )
            assert opened == [key for key, _ in made]

    asyncio.run(story())
