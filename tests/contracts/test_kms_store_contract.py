"""What the port of the KMS's memory promises, asked of every adapter."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid

import pytest

from strongroom import errors
from strongroom.store import kms

KEY = kms.Key(
    key_id=str(uuid.UUID(int=1)),
    spec="SYMMETRIC_DEFAULT",
    usage="ENCRYPT_DECRYPT",
    created_ms=5,
    creator="aa" * 32,
    policy="{}",
    description="é",
    tags={"team": "ops", "": "ü"},
)
MATERIAL = kms.Material(KEY.key_id, 1, b"wrapped", 5, "CREATED")


def other(number, **changes):
    key = dataclasses.replace(KEY, key_id=str(uuid.UUID(int=number)), **changes)
    return key, dataclasses.replace(MATERIAL, key_id=key.key_id)


def grant(number, key=KEY, **changes):
    plain = kms.Grant(
        grant_id=f"{number:064x}",
        key_id=key.key_id,
        name="",
        grantee="bob",
        retiring="",
        operations=("Decrypt", "Encrypt"),
        context_equals=None,
        context_subset={"a": "b"},
        created_ms=number,
        issuer="root",
    )
    return dataclasses.replace(plain, **changes)


@pytest.fixture
def store(catalog):
    return catalog.kms


def test_a_key_is_found_as_it_was_added(store):
    async def story():
        assert await store.add_key(KEY, MATERIAL)

        assert await store.key(KEY.key_id) == KEY
        assert await store.material(KEY.key_id, 1) == MATERIAL
        assert list(await store.materials(KEY.key_id)) == [MATERIAL]

    asyncio.run(story())


def test_what_is_not_there_is_not_found(store):
    async def story():
        for call in (
            store.key("none"),
            store.change_key("none", lambda key: key),
            store.rotate(dataclasses.replace(MATERIAL, version=2), lambda key: key),
            store.add_alias(kms.Alias("alias/a", "none", 1, 1)),
            store.move_alias("alias/a", "none", 1),
            store.add_grant(grant(1)),
        ):
            with pytest.raises(errors.KmsKeyNotFound):
                await call
        assert await store.material("none", 1) is None
        assert list(await store.materials("none")) == []
        assert await store.alias("alias/a") is None
        assert await store.grant("none") is None
        assert not await store.remove_alias("alias/a")
        assert not await store.remove_grant("none")
        await store.remove_key("none", pytest.fail)

    asyncio.run(story())


def test_a_taken_id_or_alias_adds_nothing(store):
    async def story():
        alias = kms.Alias("alias/a", KEY.key_id, 1, 1)
        second, material = other(2)
        assert await store.add_key(KEY, MATERIAL, alias)

        assert not await store.add_key(KEY, MATERIAL)
        assert not await store.add_key(
            second, material, dataclasses.replace(alias, key_id=second.key_id)
        )

        assert list(await store.keys(limit=10)) == [KEY]
        assert await store.material(second.key_id, 1) is None
        assert await store.alias("alias/a") == alias

    asyncio.run(story())


def test_keys_come_by_id_in_pages(store):
    async def story():
        made = [other(number) for number in (3, 1, 2)]
        for key, material in made:
            await store.add_key(key, material)
        names = sorted(key.key_id for key, _ in made)

        first = await store.keys(limit=2)
        rest = await store.keys(after=first[-1].key_id, limit=2)

        assert [key.key_id for key in (*first, *rest)] == names

    asyncio.run(story())


def test_a_change_is_made_whole_or_called_off(store):
    def refuse(_key):
        raise errors.KmsInvalidState("no")

    async def story():
        await store.add_key(KEY, MATERIAL)
        changed = dataclasses.replace(
            KEY, enabled=False, deletion_ms=9, deletion_days=7, rotation_days=90, tags={"x": ""}
        )

        assert await store.change_key(KEY.key_id, lambda _: changed) == changed
        with pytest.raises(errors.KmsInvalidState):
            await store.change_key(KEY.key_id, refuse)

        assert await store.key(KEY.key_id) == changed

    asyncio.run(story())


def test_rotation_keeps_the_old_material_and_happens_once_per_number(store):
    async def story():
        await store.add_key(KEY, MATERIAL)
        second = kms.Material(KEY.key_id, 2, b"second", 9, "ON_DEMAND")

        rotated = await store.rotate(second, lambda key: dataclasses.replace(key, rotated_ms=9))
        again = await store.rotate(
            dataclasses.replace(second, wrapped=b"late"),
            lambda key: dataclasses.replace(key, tags={}),
        )

        assert rotated == dataclasses.replace(KEY, version=2, rotated_ms=9)
        assert again is None
        assert await store.key(KEY.key_id) == rotated
        assert list(await store.materials(KEY.key_id)) == [MATERIAL, second]

    asyncio.run(story())


def test_keys_that_are_due_are_named(store):
    async def story():
        soon, late, turning = (
            other(1, deletion_ms=10),
            other(2, deletion_ms=11),
            other(3, rotation_days=90),
        )
        for key, material in (soon, late, turning):
            await store.add_key(key, material)

        assert list(await store.doomed_keys(9)) == []
        assert list(await store.doomed_keys(10)) == [soon[0]]
        assert list(await store.rotating_keys()) == [turning[0]]

    asyncio.run(story())


def test_a_removed_key_takes_everything_with_it_unless_the_guard_refuses(store):
    def refuse(_key):
        raise errors.KmsInvalidState("not yet")

    async def story():
        second, material = other(2)
        await store.add_key(KEY, MATERIAL, kms.Alias("alias/a", KEY.key_id, 1, 1))
        await store.add_key(second, material, kms.Alias("alias/b", second.key_id, 1, 1))
        await store.add_grant(grant(1))
        with pytest.raises(errors.KmsInvalidState):
            await store.remove_key(KEY.key_id, refuse)
        assert await store.key(KEY.key_id) == KEY

        await store.remove_key(KEY.key_id, lambda _: None)

        assert list(await store.keys(limit=9)) == [second]
        assert await store.material(KEY.key_id, 1) is None
        assert [alias.name for alias in await store.aliases(limit=9)] == ["alias/b"]
        assert await store.grant(grant(1).grant_id) is None

    asyncio.run(story())


def test_aliases_are_added_moved_listed_and_removed(store):
    async def story():
        second, material = other(2)
        await store.add_key(KEY, MATERIAL)
        await store.add_key(second, material)
        for name in ("alias/c", "alias/a", "alias/b"):
            assert await store.add_alias(kms.Alias(name, KEY.key_id, 1, 1))
        assert not await store.add_alias(kms.Alias("alias/a", second.key_id, 2, 2))

        assert await store.move_alias("alias/b", second.key_id, 7)
        assert not await store.move_alias("alias/none", second.key_id, 7)

        assert await store.alias("alias/b") == kms.Alias("alias/b", second.key_id, 1, 7)
        assert [alias.name for alias in await store.aliases(key_id=KEY.key_id, limit=9)] == [
            "alias/a",
            "alias/c",
        ]
        assert [alias.name for alias in await store.aliases(after="alias/a", limit=1)] == [
            "alias/b"
        ]
        assert await store.remove_alias("alias/b")
        assert await store.alias("alias/b") is None

    asyncio.run(story())


def test_grants_are_found_by_whom_they_concern(store):
    async def story():
        second, material = other(2)
        await store.add_key(KEY, MATERIAL)
        await store.add_key(second, material)
        one = grant(1, name="n", context_equals={"x": "y"}, context_subset=None)
        two = grant(2, grantee="eve", retiring="bob")
        three = grant(3, key=second)
        for each in (three, one, two):
            await store.add_grant(each)

        assert await store.grant(one.grant_id) == one
        assert list(await store.grants(limit=9)) == [one, two, three]
        assert list(await store.grants(key_id=KEY.key_id, grantee="bob", limit=9)) == [one]
        assert list(await store.grants(retiring="bob", limit=9)) == [two]
        assert list(await store.grants(after=one.grant_id, limit=1)) == [two]
        assert await store.remove_grant(two.grant_id)
        assert await store.grant(two.grant_id) is None

    asyncio.run(story())
