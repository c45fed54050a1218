"""Users and their credentials."""

import asyncio
import itertools

import pytest

from strongroom import errors
from strongroom.access import accounts, identities
from strongroom.crypto.secret import SecretKey
from strongroom.keyring import master
from strongroom.store import memory


class Counting(memory.MemoryCatalog):
    """A catalog that counts look-ups of credentials."""

    looked_up = 0

    async def credential(self, access_key):
        self.looked_up += 1
        return await super().credential(access_key)


class Keeper(master.Master):
    """A master key that counts the secrets it opens."""

    __slots__ = ("opened",)

    def __init__(self, key):
        super().__init__(key)
        self.opened = 0

    def open_credential(self, access_key, user_id, sealed):
        self.opened += 1
        return super().open_credential(access_key, user_id, sealed)


@pytest.fixture
def catalog():
    return Counting()


@pytest.fixture
def keeper():
    return Keeper(SecretKey(bytes(range(32))))


@pytest.fixture
def people(catalog, keeper):
    counter = itertools.count(1)
    return identities.Identities(
        catalog,
        keeper,
        accounts.Accounts(catalog, random_bytes=bytes, clock_ms=lambda: 7),
        root_access_key="rootaccess",
        root_secret_key=SecretKey(b"root's secret"),
        random_bytes=lambda size: next(counter).to_bytes(size, "big"),
    )


def add(people, name="alice", access_key="alicekey", secret=b"her secret"):
    return asyncio.run(people.add(name, access_key, SecretKey(secret), now_ms=7))


def find(people, access_key):
    return asyncio.run(people.find(access_key))


def test_root_is_known_without_a_row(people, catalog):
    found = find(people, "rootaccess")

    assert found.principal is identities.ROOT
    assert found.principal.is_root
    assert found.secret_key == SecretKey(b"root's secret")
    assert catalog.looked_up == 0


def test_a_user_is_found_with_the_secret(people):
    user = add(people)

    found = find(people, "alicekey")

    assert found.principal == identities.Principal(user.user_id, "alice")
    assert not found.principal.is_root
    assert found.secret_key == SecretKey(b"her secret")
    assert len(user.user_id) == 64


@pytest.mark.parametrize("access_key", ["", "nobody", "ALICEKEY", "alicekey ", "rootaccess1", "é"])
def test_nobody_else_is_found(people, access_key):
    add(people)

    assert find(people, access_key) is None


def test_a_secret_is_opened_once(people, keeper):
    add(people)

    for _ in range(3):
        find(people, "alicekey")

    assert keeper.opened == 1


def test_a_removed_user_is_unknown_at_once_whatever_is_remembered(people, catalog):
    add(people)
    find(people, "alicekey")

    asyncio.run(catalog.remove_user("alice"))

    assert find(people, "alicekey") is None


def test_an_access_key_that_comes_back_has_its_new_secret(people, catalog):
    add(people)
    find(people, "alicekey")
    asyncio.run(catalog.remove_user("alice"))
    add(people, name="bob", secret=b"his secret")

    assert find(people, "alicekey").secret_key == SecretKey(b"his secret")
    assert find(people, "alicekey").principal.name == "bob"


def test_a_credential_row_of_another_access_key_is_not_authentic(people, catalog):
    add(people)
    mallory = asyncio.run(catalog.credential("alicekey"))

    class Swapped(memory.MemoryCatalog):
        async def credential(self, _access_key):
            return mallory

    catalog = Swapped()
    swapped = identities.Identities(
        catalog,
        Keeper(SecretKey(bytes(range(32)))),
        accounts.Accounts(catalog, random_bytes=bytes, clock_ms=lambda: 7),
        root_access_key="rootaccess",
        root_secret_key=SecretKey(b"root's secret"),
        random_bytes=bytes,
    )
    with pytest.raises(errors.NotAuthentic):
        find(swapped, "another")


@pytest.mark.parametrize(
    ("name", "access_key"),
    [("alice", "another"), ("another", "alicekey"), ("root", "another"), ("another", "rootaccess")],
)
def test_names_and_access_keys_are_taken_once(people, name, access_key):
    add(people)

    with pytest.raises(errors.UserExists):
        add(people, name, access_key)


@pytest.mark.parametrize(
    ("name", "access_key", "secret"),
    [
        ("", "goodkey", b"good secret"),
        ("n" * 65, "goodkey", b"good secret"),
        ("a\nb", "goodkey", b"good secret"),
        ("good", "ab", b"good secret"),
        ("good", "a" * 129, b"good secret"),
        ("good", "a/b/c", b"good secret"),
        ("good", "a b c", b"good secret"),
        ("good", "goodkey", b"short"),
        ("good", "goodkey", b"s" * 129),
    ],
)
def test_what_has_not_the_form_is_refused(people, name, access_key, secret):
    with pytest.raises(ValueError, match="has") as caught:
        add(people, name, access_key, secret)

    assert secret.decode() not in str(caught.value)
    assert find(people, access_key) is None


def test_names_are_shown_as_long_as_there_is_somebody(people, catalog):
    user = add(people)

    async def names():
        shown = [await people.name_of(each) for each in (identities.ROOT_ID, user.user_id, "x")]
        await catalog.remove_user("alice")
        return [*shown, await people.name_of(user.user_id)]

    assert asyncio.run(names()) == ["root", "alice", "x", user.user_id]


def test_identities_do_not_show_secrets(people):
    add(people)

    assert "secret'" not in repr(find(people, "alicekey"))
    assert "her" not in repr(find(people, "alicekey"))
