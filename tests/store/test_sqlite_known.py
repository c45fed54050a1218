"""What the SQLite adapter keeps in memory never outlives what is on disk."""

import asyncio

import pytest

from strongroom import errors
from strongroom.store import records
from strongroom.store.sqlite import catalog, schema


def bucket(name, **settings):
    return records.Bucket(name, "0a" * 32, 1, "eu-central-1", settings)


@pytest.fixture
def two(tmp_path):
    """Two processes' adapters of one catalog."""
    path = tmp_path / "catalog.sqlite"
    schema.migrate(path)
    opened = [catalog.open_catalog(path, lock_path=tmp_path / "lock") for _ in range(2)]
    yield opened
    for one in opened:
        asyncio.run(one.close())


def test_a_bucket_that_another_process_changed_is_read_anew(two):
    async def story():
        here, there = two
        await here.create_bucket(bucket("attic"))
        assert (await here.bucket("attic")).settings == {}
        assert (await there.bucket("attic")).settings == {}

        await there.change_settings("attic", {"policy": "{}"})

        assert (await here.bucket("attic")).settings == {"policy": "{}"}
        assert (await there.bucket("attic")).settings == {"policy": "{}"}

        await here.delete_bucket("attic")

        with pytest.raises(errors.BucketNotFound):
            await there.bucket("attic")
        with pytest.raises(errors.BucketNotFound):
            await here.bucket("attic")

    asyncio.run(story())


def test_a_bucket_that_was_not_there_is_found_once_it_is(two):
    async def story():
        here, there = two
        with pytest.raises(errors.BucketNotFound):
            await here.bucket("attic")

        await there.create_bucket(bucket("attic"))

        assert (await here.bucket("attic")).name == "attic"

    asyncio.run(story())


def test_who_changes_the_settings_of_a_bucket_in_hand_changes_nobody_elses(two):
    async def story():
        here, there = two
        await here.create_bucket(bucket("attic", policy="{}"))
        await here.create_bucket(bucket("shed", policy="{}"))

        (await here.bucket("attic")).settings["policy"] = "changed"

        assert (await here.bucket("shed")).settings == {"policy": "{}"}
        assert (await there.bucket("attic")).settings == {"policy": "{}"}

    asyncio.run(story())
