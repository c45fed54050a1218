"""Where wrapping keys come from: the customer, or the store's numbered keys."""

import asyncio
import dataclasses
import itertools

import pytest

from strongroom import errors
from strongroom.crypto.secret import SecretKey
from strongroom.keyring import master, sources
from strongroom.store import memory, records


@pytest.fixture
def random_bytes():
    counter = itertools.count(1)
    return lambda size: next(counter).to_bytes(size, "big")


@pytest.fixture
def open_keys(random_bytes):
    def open_them(catalog, raw=bytes(32)):
        keeper = master.Master(SecretKey(raw))
        return asyncio.run(
            sources.open_store_keys(catalog, keeper, random_bytes=random_bytes, now_ms=5)
        )

    return open_them


def test_a_new_store_gets_one_key_and_keeps_it(open_keys):
    catalog = memory.MemoryCatalog()

    first, again = open_keys(catalog), open_keys(catalog)

    assert first.current.number == again.current.number == 1
    assert first.current.secret == again.current.secret
    assert len(first.current.secret) == 32
    assert first.current.mode == "SSE-S3"
    (row,) = asyncio.run(catalog.store_keys())
    assert first.current.secret.reveal() not in row.wrapped


def test_two_stores_have_different_keys(open_keys):
    one, two = (open_keys(memory.MemoryCatalog()) for _ in range(2))

    assert one.current.secret != two.current.secret


def test_another_master_key_is_refused_and_changes_nothing(open_keys):
    catalog = memory.MemoryCatalog()
    before = open_keys(catalog)

    with pytest.raises(errors.MasterKeyTrouble, match="unharmed"):
        open_keys(catalog, bytes(31) + b"\1")

    assert open_keys(catalog).current.secret == before.current.secret


def test_a_store_key_that_was_changed_is_found_out(open_keys):
    catalog = memory.MemoryCatalog()
    open_keys(catalog)

    class Changed(memory.MemoryCatalog):
        async def store_keys(self):
            (row,) = await catalog.store_keys()
            return [dataclasses.replace(row, wrapped=row.wrapped[:-1] + b"?")]

        async def establish(self, name, value):
            return await catalog.establish(name, value)

    with pytest.raises(errors.NotAuthentic):
        open_keys(Changed())


def test_two_that_start_at_once_agree_on_the_first_key(open_keys):
    catalog = memory.MemoryCatalog()

    class Late(memory.MemoryCatalog):
        """Sees no key at first: the other one adds its key in between."""

        looked = False

        async def store_keys(self):
            if not self.looked:
                self.looked = True
                return []
            return await catalog.store_keys()

        async def establish(self, name, value):
            return await catalog.establish(name, value)

        async def add_store_key(self, key):
            return await catalog.add_store_key(key)

    first = open_keys(catalog)
    second = open_keys(Late())

    assert first.current.secret == second.current.secret


def test_the_newest_key_is_current_and_old_ones_still_open(open_keys, random_bytes):
    catalog = memory.MemoryCatalog()
    first = open_keys(catalog).current
    keeper = master.Master(SecretKey(bytes(32)))
    wrapped = keeper.wrap_store_key(2, SecretKey(b"2" * 32), random_bytes)
    asyncio.run(catalog.add_store_key(records.StoreKey(2, wrapped, 6)))

    keys = open_keys(catalog)

    assert keys.current.number == 2
    assert keys.named(first.key_fields).secret == first.secret
    assert keys.named(keys.current.key_fields) is keys.current


@pytest.mark.parametrize(
    "fields", [(), (b"3",), (b"x",), (b"",), (b"1", b"1"), (b"9" * 5000,)], ids=repr
)
def test_fields_that_name_no_key_are_not_authentic(open_keys, fields):
    keys = open_keys(memory.MemoryCatalog())

    with pytest.raises(errors.NotAuthentic):
        keys.named(fields)


def test_a_customer_key_says_nothing_of_itself():
    key = sources.CustomerKey(SecretKey(b"32bytesOfTotallyRandomCharacters"))

    assert key.mode == "SSE-C"
    assert key.key_fields == ()
    assert "32bytes" not in repr(key)
