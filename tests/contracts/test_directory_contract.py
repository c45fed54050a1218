"""What the port of accounts and access keys promises, asked of every adapter."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from strongroom import errors
from strongroom.store import directory, records

ALICE = records.User("a" * 64, "alice", 1)
FIRST = records.Credential("FIRST", ALICE.user_id, b"sealed", 1)
BOB = directory.Entity("AIDA1", ALICE.user_id, "user", "Bob", '{"path":"/"}', 5)
BOBS = records.Credential("BOBS", ALICE.user_id, b"sealed too", 6, BOB.entity_id)


def run(story):
    asyncio.run(story)


def test_an_entity_is_found_by_id_and_by_name_in_any_case(catalog):
    async def story():
        store = catalog.directory
        assert await store.add(BOB)

        assert await store.entity("AIDA1") == BOB
        assert await store.named(ALICE.user_id, "user", "bOB") == BOB
        assert await store.named(ALICE.user_id, "group", "Bob") is None
        assert await store.named("b" * 64, "user", "Bob") is None
        assert await store.entity("AIDA2") is None

    run(story())


@pytest.mark.parametrize(
    ("changes", "added"),
    [
        ({"entity_id": "AIDA2", "name": "BOB"}, False),
        ({"name": "carol"}, False),
        ({"entity_id": "AIDA2", "name": "carol"}, True),
        ({"entity_id": "AGPA2", "kind": "group"}, True),
        ({"entity_id": "AIDA2", "account": "b" * 64}, True),
    ],
)
def test_names_are_unique_in_an_account_and_ids_everywhere(catalog, changes, added):
    async def story():
        store = catalog.directory
        await store.add(BOB)

        assert await store.add(dataclasses.replace(BOB, **changes)) is added
        assert await store.entity("AIDA1") == BOB

    run(story())


def test_entities_are_listed_by_name(catalog):
    async def story():
        store = catalog.directory
        for number, name in enumerate(["b", "C", "a"]):
            await store.add(dataclasses.replace(BOB, entity_id=str(number), name=name))

        found = await store.entities(ALICE.user_id, "user")

        assert [each.name for each in found] == ["a", "b", "C"]
        assert not await store.entities(ALICE.user_id, "role")

    run(story())


def test_a_change_follows_the_state_that_it_was_made_from(catalog):
    async def story():
        store = catalog.directory
        await store.add(BOB)
        second = dataclasses.replace(BOB, name="Robert", document="{}", version=2)

        assert await store.change(second)
        assert await store.entity("AIDA1") == second
        assert not await store.change(second)
        assert not await store.change(dataclasses.replace(second, version=9))
        assert not await store.change(dataclasses.replace(second, entity_id="AIDA9", version=3))
        assert await store.named(ALICE.user_id, "user", "bob") is None

    run(story())


def test_a_name_that_is_taken_is_not_given_by_a_change(catalog):
    async def story():
        store = catalog.directory
        carol = dataclasses.replace(BOB, entity_id="AIDA2", name="carol")
        await store.add(BOB)
        await store.add(carol)

        assert not await store.change(dataclasses.replace(carol, name="BOB", version=2))
        assert await store.entity("AIDA2") == carol
        assert await store.change(dataclasses.replace(carol, name="CAROL", version=2))

    run(story())


def test_access_keys_go_with_whose_they_are(catalog):
    async def story():
        await catalog.directory.add(BOB)
        assert await catalog.add_credential(BOBS)
        assert not await catalog.add_credential(BOBS)

        assert await catalog.directory.remove("AIDA1")
        assert not await catalog.directory.remove("AIDA1")
        assert await catalog.credential("BOBS") is None

    run(story())


def test_access_keys_are_listed_made_inactive_and_removed(catalog):
    async def story():
        await catalog.add_user(ALICE, FIRST)
        second = dataclasses.replace(FIRST, access_key="SECOND", created_ms=9)
        await catalog.add_credential(second)
        await catalog.add_credential(BOBS)

        assert list(await catalog.credentials(ALICE.user_id)) == [FIRST, second]
        assert list(await catalog.credentials(ALICE.user_id, "AIDA1")) == [BOBS]
        assert await catalog.set_credential_active("SECOND", active=False)
        found = await catalog.credential("SECOND")
        assert found == (dataclasses.replace(second, is_active=False), ALICE)
        assert await catalog.remove_credential("SECOND")
        assert await catalog.credential("SECOND") is None
        assert not await catalog.remove_credential("SECOND")
        assert not await catalog.set_credential_active("SECOND", active=True)

    run(story())


def test_an_account_without_a_row_has_no_name(catalog):
    async def story():
        await catalog.add_credential(BOBS)

        assert await catalog.credential("BOBS") == (BOBS, records.User(ALICE.user_id, "", 0))

    run(story())


def test_a_user_goes_with_everybody_in_the_account(catalog):
    async def story():
        await catalog.add_user(ALICE, FIRST)
        await catalog.directory.add(BOB)
        await catalog.add_credential(BOBS)

        await catalog.remove_user("alice")

        assert await catalog.directory.entity("AIDA1") is None
        assert await catalog.credential("FIRST") is None
        assert await catalog.credential("BOBS") is None

    run(story())


def test_an_access_key_is_nobodys_twice(catalog):
    async def story():
        await catalog.add_credential(BOBS)
        taken = dataclasses.replace(FIRST, access_key="BOBS")

        with pytest.raises(errors.UserExists):
            await catalog.add_user(ALICE, taken)

        assert not await catalog.users()

    run(story())
