"""What the catalog port promises of versions that are due, asked of every adapter."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from strongroom.store import expiry, records

RULES = "the rules"
PLAIN = {records.LIFECYCLE: RULES}
ENABLED = {**PLAIN, records.VERSIONING: records.ENABLED}
SUSPENDED = {records.VERSIONING: records.SUSPENDED}


class Shelf:
    """A bucket with rules, whose versions are written at 1, 2, 3 …"""

    def __init__(self, catalog, make):
        self.catalog = catalog
        self.make = make
        self.now = 0

    async def put(self, key="key", **changes):
        self.now += 1
        versioned = (await self.catalog.bucket("shelf")).versioning == records.ENABLED
        version_id = f"id-{self.now}" if versioned else records.NULL_VERSION
        changes = {"version_id": version_id, "modified_ms": self.now, **changes}
        draft = self.make.draft(key, self.make.inline(), **changes)
        await self.catalog.put_version(draft)
        return draft.version

    def marker(self, key="key"):
        self.now += 1
        return records.delete_marker(
            "shelf", key, f"id-{self.now}", owner="0b" * 32, modified_ms=self.now
        )

    async def hide(self, key="key"):
        _, marker = await self.catalog.delete_object(self.marker(key))
        return marker

    async def expire(self, version, rules=RULES, **rest):
        due = expiry.Due(version, rules, **rest)
        return await self.catalog.expiry.expire(due, self.marker(version.key))

    async def ids(self):
        page = await self.catalog.list_versions("shelf", limit=100)
        return [version.version_id for version in page.versions]


def test_an_object_without_versions_expires_for_good(tell):
    async def story(shelf):
        version = await shelf.put()

        assert await shelf.expire(version)

        assert await shelf.ids() == []
        assert (await shelf.catalog.usage()).objects == 0

    tell(story, PLAIN)


def test_an_object_with_versions_expires_behind_a_delete_marker(tell):
    async def story(shelf):
        version = await shelf.put()

        assert await shelf.expire(version)

        assert await shelf.ids() == ["id-2", "id-1"]
        assert (await shelf.catalog.usage()).objects == 0

    tell(story)


def test_the_null_version_gives_way_to_a_marker_where_versioning_is_suspended(tell):
    async def story(shelf):
        version = await shelf.put()
        await shelf.catalog.change_settings("shelf", SUSPENDED)

        assert await shelf.expire(version)

        assert await shelf.ids() == [records.NULL_VERSION]
        page = await shelf.catalog.list_versions("shelf", limit=2)
        assert page.versions[0].is_marker

    tell(story, PLAIN)


def test_an_object_that_was_written_anew_stays(tell):
    async def story(shelf):
        version = await shelf.put()
        # Same time, same size: what differs is who it is.
        again = await shelf.put(modified_ms=version.modified_ms, size=version.size)

        assert not await shelf.expire(version)

        assert (await shelf.catalog.current("shelf", "key")).version == again

    tell(story, PLAIN)


def test_an_object_that_was_superseded_does_not_expire_as_the_newest(tell):
    async def story(shelf):
        version = await shelf.put()
        await shelf.put()

        assert not await shelf.expire(version)

        assert await shelf.ids() == ["id-2", "id-1"]

    tell(story)


def test_what_is_gone_does_not_expire_twice(tell):
    async def story(shelf):
        version = await shelf.put()
        assert await shelf.expire(version)

        assert not await shelf.expire(version)
        assert not await shelf.expire(dataclasses.replace(version, bucket="nowhere"))

    tell(story, PLAIN)


@pytest.mark.parametrize("rules", [None, "other rules"])
def test_nothing_goes_by_rules_that_do_not_stand_any_more(tell, rules):
    async def story(shelf):
        version = await shelf.put()
        await shelf.catalog.change_settings("shelf", {records.LIFECYCLE: rules})

        assert not await shelf.expire(version)

        assert len(await shelf.ids()) == 1

    tell(story, PLAIN)


def test_tags_that_were_changed_keep_a_version(tell):
    async def story(shelf):
        version = await shelf.put()
        await shelf.catalog.set_marks(version, b"other marks")

        assert not await shelf.expire(version, marks=b"marks")
        assert await shelf.expire(version, marks=b"other marks")

    tell(story, PLAIN)


def test_a_superseded_version_goes_for_good(tell):
    async def story(shelf):
        old = await shelf.put()
        await shelf.put()

        assert await shelf.expire(old, superseded_by_ms=2)

        assert await shelf.ids() == ["id-2"]

    tell(story)


def test_with_object_lock_a_version_goes_only_if_its_marks_were_read_and_stand(tell):
    async def story(shelf):
        old = await shelf.put()
        await shelf.put()

        assert not await shelf.expire(old, superseded_by_ms=2)
        assert not await shelf.expire(old, superseded_by_ms=2, marks=b"other marks")
        assert await shelf.ids() == ["id-2", "id-1"]
        assert await shelf.expire(old, superseded_by_ms=2, marks=b"marks")
        assert await shelf.ids() == ["id-2"]

    tell(story, {**ENABLED, records.OBJECT_LOCK: "{}"})


def test_with_object_lock_the_newest_version_is_hidden_whatever_its_marks_are(tell):
    async def story(shelf):
        version = await shelf.put()

        assert await shelf.expire(version)

        assert await shelf.ids() == ["id-2", "id-1"]

    tell(story, {**ENABLED, records.OBJECT_LOCK: "{}"})


def test_a_version_that_was_superseded_too_lately_stays(tell):
    async def story(shelf):
        old = await shelf.put()
        await shelf.put()

        assert not await shelf.expire(old, superseded_by_ms=1)

        assert await shelf.ids() == ["id-2", "id-1"]

    tell(story)


def test_a_version_that_was_brought_back_from_behind_a_marker_stays(tell):
    async def story(shelf):
        old = await shelf.put()
        marker = await shelf.hide()
        await shelf.catalog.delete_version("shelf", "key", version_id=marker.version_id)

        assert not await shelf.expire(old, superseded_by_ms=100)

        assert (await shelf.catalog.current("shelf", "key")).version == old

    tell(story)


def test_the_version_next_newer_counts_and_no_other(tell):
    async def story(shelf):
        old, middle, _ = await shelf.put(), await shelf.put(), await shelf.put()
        await shelf.catalog.delete_version("shelf", "key", version_id=middle.version_id)

        assert not await shelf.expire(old, superseded_by_ms=2)
        assert await shelf.expire(old, superseded_by_ms=3)

    tell(story)


def test_versions_that_are_to_be_kept_are_counted_between_it_and_the_newest(tell):
    async def story(shelf):
        old = await shelf.put()
        await shelf.hide()
        middle = await shelf.put()
        await shelf.put()

        assert not await shelf.expire(old, superseded_by_ms=100, behind=2)
        assert await shelf.expire(old, superseded_by_ms=100, behind=1)
        assert not await shelf.expire(middle, superseded_by_ms=100, behind=1)

    tell(story)


def test_a_delete_marker_goes_when_it_is_alone(tell):
    async def story(shelf):
        version = await shelf.put()
        marker = await shelf.hide()

        assert not await shelf.expire(marker)
        await shelf.catalog.delete_version("shelf", "key", version_id=version.version_id)
        assert await shelf.expire(marker)

        assert await shelf.ids() == []

    tell(story)


def test_a_delete_marker_under_a_new_object_stays(tell):
    async def story(shelf):
        marker = await shelf.hide()
        await shelf.put()

        assert not await shelf.expire(marker)

        assert await shelf.ids() == ["id-2", "id-1"]

    tell(story)


def test_a_superseded_delete_marker_goes(tell):
    async def story(shelf):
        marker = await shelf.hide()
        await shelf.put()

        assert await shelf.expire(marker, superseded_by_ms=2)

        assert await shelf.ids() == ["id-2"]

    tell(story)


def test_blobs_go_with_what_expires(tell):
    async def story(shelf):
        blob = shelf.make.file()
        draft = shelf.make.draft("key", blob)
        await shelf.catalog.put_version(draft)

        assert await shelf.expire(draft.version)

        assert [ref.blob_id for ref in await shelf.catalog.doomed(limit=9)] == [blob.blob_id]

    tell(story, PLAIN)


def test_progress_is_what_was_noted_last(catalog):
    async def story():
        assert await catalog.expiry.progress() is None
        await catalog.expiry.note_progress(b"first")
        await catalog.expiry.note_progress(b"second")

        assert await catalog.expiry.progress() == b"second"

    asyncio.run(story())
