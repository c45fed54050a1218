"""`ReplicationStore`, judged for every adapter: the queue at the source, replicas at the target."""

import asyncio
import dataclasses

import pytest

from strongroom import errors
from strongroom.crypto import body as bodies
from strongroom.crypto import geometry
from strongroom.crypto.envelope import BodyKey
from strongroom.store import records, replication

CRC = b"12345678"
ENABLED = {"versioning": "Enabled"}


@pytest.fixture
def shelf(catalog, make):
    async def open_two():
        for name in ("shelf", "twin"):
            await catalog.create_bucket(make.bucket(name))
            await catalog.change_settings(name, ENABLED)
        return catalog

    return asyncio.run(open_two())


@pytest.fixture
def store(shelf):
    return shelf.replication


def queued(draft):
    return dataclasses.replace(draft, replicates=True)


def record(*blobs):
    """Return an encoded body record of these blobs."""
    parts = [bodies.BodyPart(number, blob.blob_id, 10, CRC) for number, blob in enumerate(blobs, 1)]
    body = bodies.BodyRecord(geometry.SEGMENT_BYTES, 1, parts)
    return bodies.encode(body, BodyKey(bytes(32)), bytes)


def replica(make, *blobs, at_ms=None, bucket="twin", version_id="one", given=None, **changes):
    draft = make.draft("key", *(blobs if given is None else given), bucket=bucket)
    at_ms = draft.version.modified_ms if at_ms is None else at_ms
    version = dataclasses.replace(draft.version, version_id=version_id, modified_ms=at_ms)
    return dataclasses.replace(draft, version=version, body=record(*blobs), **changes)


async def ids(catalog, bucket="twin"):
    page = await catalog.list_versions(bucket, limit=99)
    return [version.version_id for version in page.versions]


# The queue


def test_a_version_is_queued_by_the_transaction_that_writes_it(shelf, store, make):
    async def story():
        draft = queued(make.draft("key", make.inline(), version_id="one"))
        await shelf.put_version(draft)
        await shelf.put_version(make.draft("other", make.inline(), version_id="two"))

        with pytest.raises(errors.VersioningChanged):
            await shelf.put_version(queued(make.draft("null", make.inline())))

        at_ms = draft.version.modified_ms
        (task,) = await store.due(at_ms, limit=9)
        assert (task.bucket, task.key, task.version_id) == ("shelf", "key", "one")
        assert (task.made_ms, task.attempts, task.done) == (at_ms, 0, ())
        assert await store.due(at_ms - 1, limit=9) == []
        assert await store.backlog("twin") == replication.Backlog()
        assert await store.backlog() == replication.Backlog(1, 0, at_ms)

    asyncio.run(story())


def test_a_delete_marker_is_queued_where_the_bucket_replicates(shelf, store):
    async def story():
        marker = records.delete_marker("shelf", "key", "gone", owner="o", modified_ms=5)
        await shelf.delete_object(marker)
        assert await store.due(9, limit=9) == []
        await shelf.change_settings("shelf", {"replication": "{}"})

        await shelf.delete_object(dataclasses.replace(marker, version_id="again"))

        (task,) = await store.due(9, limit=9)
        assert (task.key, task.version_id) == ("key", "again")

    asyncio.run(story())


def test_a_task_is_settled_as_it_was_read(shelf, store, make):
    async def story():
        draft = queued(make.draft("key", make.inline(), version_id="one"))
        await shelf.put_version(draft)
        (task,) = await store.due(2**50, limit=9)
        await shelf.set_marks(draft.version, b"tagged", replicate_at_ms=7)

        assert not await store.settle(task)
        await store.postpone([task], 2**40)

        (again,) = await store.due(7, limit=9)
        assert again.revision != task.revision
        assert await store.settle(again)
        assert not await store.settle(again)
        assert await store.backlog() == replication.Backlog()

    asyncio.run(story())


def test_a_postponed_task_keeps_what_was_done_and_what_went_wrong(shelf, store, make):
    async def story():
        await shelf.put_version(queued(make.draft("key", make.inline(), version_id="one")))
        (task,) = await store.due(2**50, limit=9)
        waiting = dataclasses.replace(task, attempts=3, done=("a", "b"), trouble="t" * 9999)

        await store.postpone([waiting], 2**50)

        assert await store.due(2**50 - 1, limit=9) == []
        (found,) = await store.due(2**50, limit=9)
        assert (found.attempts, found.done) == (3, ("a", "b"))
        assert found.trouble == "t" * replication.MAX_TROUBLE_CHARACTERS
        assert (await store.backlog()).failing == 1

    asyncio.run(story())


def test_what_is_there_already_is_queued_once_and_what_waits_becomes_due(shelf, store, make):
    async def story():
        await shelf.put_version(queued(make.draft("key", make.inline(), version_id="one")))
        (task,) = await store.due(2**50, limit=9)
        await store.postpone([dataclasses.replace(task, attempts=1)], 2**50)

        added = await store.enqueue("shelf", [("key", "one"), ("key", "two")], 9)

        assert added == 1
        assert {each.version_id for each in await store.due(9, limit=9)} == {"one", "two"}
        assert len(await store.due(9, limit=1)) == 1
        with pytest.raises(errors.BucketNotFound):
            await store.enqueue("nowhere", [], 9)

    asyncio.run(story())


def test_the_queue_of_a_bucket_goes_with_it(shelf, store):
    async def story():
        await store.enqueue("shelf", [("key", "one")], 9)

        await shelf.delete_bucket("shelf")

        assert await store.due(9, limit=9) == []

    asyncio.run(story())


# Replicas


def test_replicas_stand_by_their_time_in_whatever_order_they_come(shelf, store, make):
    async def story():
        for name, at_ms in (("c", 30), ("a", 10), ("d", 40), ("b", 20)):
            blob = make.inline()
            placed = await store.put_replica(replica(make, blob, at_ms=at_ms, version_id=name))
            assert placed == replication.Placed(written=True, blobs_used=True)

        assert await ids(shelf) == ["d", "c", "b", "a"]
        assert (await shelf.current("twin", "key")).version.version_id == "d"
        assert (await shelf.usage()).objects == 1
        page = await shelf.list_objects("twin", limit=9)
        assert [version.version_id for version in page.versions] == ["d"]

    asyncio.run(story())


def test_a_marker_stands_by_its_time_too(shelf, store, make):
    async def story():
        await store.put_replica(replica(make, make.inline(), at_ms=30, version_id="late"))
        marker = records.delete_marker("twin", "key", "marker", owner="o", modified_ms=20)
        await store.put_replica(records.Draft(marker, b"", b"", b""))
        assert (await shelf.current("twin", "key")).version.version_id == "late"
        newest = dataclasses.replace(marker, version_id="newest", modified_ms=40)

        await store.put_replica(records.Draft(newest, b"", b"", b""))
        await store.put_replica(replica(make, make.inline(), at_ms=10, version_id="early"))

        assert await ids(shelf) == ["newest", "late", "marker", "early"]
        with pytest.raises(errors.ObjectNotFound):
            await shelf.current("twin", "key")
        assert (await shelf.usage()).objects == 0
        await shelf.delete_version("twin", "key", version_id="newest")
        assert (await shelf.current("twin", "key")).version.version_id == "late"

    asyncio.run(story())


def test_a_version_that_is_there_stays_as_it_is(shelf, store, make):
    async def story():
        blob = make.file()
        first = replica(make, blob)
        await store.put_replica(first)

        again = await store.put_replica(dataclasses.replace(first, marks=b"other"))

        assert again == replication.Placed(written=False, blobs_used=False)
        assert (await shelf.current("twin", "key")).marks == first.marks

    asyncio.run(story())


def test_of_two_null_versions_the_newer_stands(shelf, store, make):
    async def story():
        old, new = make.file(), make.file()
        await store.put_replica(replica(make, old, at_ms=10, version_id="null"))
        await store.put_replica(replica(make, new, at_ms=20, version_id="null"))
        late = make.inline()

        placed = await store.put_replica(replica(make, late, at_ms=15, version_id="null"))

        assert not placed.written
        assert await ids(shelf) == ["null"]
        assert list(await shelf.doomed(limit=9)) == [make.ref(old)]

    asyncio.run(story())


def test_a_bucket_without_versions_takes_no_replica(shelf, store, make):
    async def story():
        await shelf.change_settings("twin", {"versioning": "Suspended"})

        with pytest.raises(errors.VersioningChanged):
            await store.put_replica(replica(make, make.inline()))

    asyncio.run(story())


def test_a_replica_in_the_same_store_shares_the_body(shelf, store, make):
    async def story():
        blob = make.file()
        origin = replica(make, blob, bucket="shelf")
        await shelf.put_version(origin)
        twin = replica(make, blob, given=(), shares=origin.version)

        assert await store.put_replica(twin) == replication.Placed(written=True, blobs_used=False)

        assert list(await shelf.blob_refs(twin.version)) == [make.ref(blob)]
        await shelf.delete_version("shelf", "key", version_id="one")
        assert await shelf.doomed(limit=9) == []
        other = replica(make, blob, version_id="two", given=(), shares=origin.version)
        with pytest.raises(errors.SourceGone):
            await store.put_replica(other)

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["file", "inline"])
def test_two_replicas_of_one_body_share_it(shelf, store, make, kind):
    async def story():
        blob = getattr(make, kind)()
        first = replica(make, blob)
        assert list(await store.missing(first.body)) == [blob.blob_id]
        await store.put_replica(first)
        assert list(await store.missing(first.body)) == []
        second = replica(make, blob, version_id="two", given=())

        placed = await store.put_replica(second)

        assert placed == replication.Placed(written=True, blobs_used=False)
        assert list(await shelf.blob_refs(second.version)) == [make.ref(blob)]
        await shelf.delete_version("twin", "key", version_id="one")
        assert list(await shelf.blob_refs(second.version)) == [make.ref(blob)]

    asyncio.run(story())


def test_blobs_wait_staged_and_are_known_until_their_replica_comes(shelf, store, make):
    async def story():
        staged, inline = make.file(), make.inline()
        draft = replica(make, staged, inline, given=(inline,))
        with pytest.raises(errors.BlobMissing):
            await store.put_replica(draft)
        assert list(await store.missing(draft.body)) == [staged.blob_id, inline.blob_id]

        await store.stage(staged, CRC, 5)

        assert list(await store.missing(draft.body)) == [inline.blob_id]
        assert await shelf.known([staged.blob_id]) == {staged.blob_id}
        with pytest.raises(errors.StoreFailed):
            await store.stage(staged, CRC, 5)
        assert (await store.put_replica(draft)).blobs_used
        assert list(await shelf.blob_refs(draft.version)) == [make.ref(staged), make.ref(inline)]
        assert await store.expire_staged(99) == 0

    asyncio.run(story())


def test_a_staged_blob_of_another_digest_is_not_taken(shelf, store, make):
    async def story():
        staged = make.file()
        await store.stage(staged, b"87654321", 5)

        with pytest.raises(errors.BlobMissing):
            await store.put_replica(replica(make, staged, given=()))

        assert await ids(shelf) == []

    asyncio.run(story())


def test_what_no_replica_came_for_is_doomed_in_the_end(shelf, store, make):
    async def story():
        old, new = make.file(), make.file()
        await store.stage(old, CRC, 5)
        await store.stage(new, CRC, 6)

        assert await store.expire_staged(6) == 1

        assert list(await shelf.doomed(limit=9)) == [make.ref(old)]
        # It may come again, but not before the old file is gone.
        with pytest.raises(errors.StoreFailed):
            await store.missing(record(old))

    asyncio.run(story())


# Other stores


def test_other_stores_are_added_once_listed_and_removed(store):
    async def story():
        one = replication.Remote(
            "one", "https://one:9000", "us-east-1", "KEY", b"sealed", "pem", ("user",), 5
        )
        two = dataclasses.replace(one, name="two", users=(), ca="")
        assert await store.add_remote(two)
        assert await store.add_remote(one)

        assert not await store.add_remote(dataclasses.replace(one, url="https://other"))

        assert list(await store.remotes()) == [one, two]
        assert await store.remove_remote("one")
        assert not await store.remove_remote("one")
        assert list(await store.remotes()) == [two]

    asyncio.run(story())
