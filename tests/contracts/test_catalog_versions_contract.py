"""What the catalog port promises of versions and delete markers, asked of every adapter."""

from __future__ import annotations

import dataclasses

import pytest

from strongroom import errors
from strongroom.store import records

ENABLED = {"versioning": records.ENABLED}
SUSPENDED = {"versioning": records.SUSPENDED}


LOCKED = {**ENABLED, "object-lock": "{}"}


def refuse(_newest):
    raise errors.PreconditionFailed("If-Match")


def refuse_deletion(_found, _marks):
    raise errors.PreconditionFailed("If-Match")


class Shelf:
    """A bucket, and short words for what is done to it."""

    def __init__(self, catalog, make):
        self.catalog = catalog
        self.make = make
        self.count = 0

    async def switch(self, settings):
        await self.catalog.change_settings("shelf", settings)

    async def put(self, key="key", *blobs, guard=None, **changes):
        bucket = await self.catalog.bucket("shelf")
        if bucket.versioning == records.ENABLED:
            changes.setdefault("version_id", self.new_id())
        draft = self.make.draft(key, *blobs, **changes)
        await self.catalog.put_version(draft, *([guard] if guard else []))
        return draft

    def new_id(self):
        self.count += 1
        return f"id-{self.count}"

    def marker(self, key="key"):
        return records.delete_marker(
            "shelf", key, self.new_id(), owner="0b" * 32, modified_ms=1_800_000_000_000
        )

    async def delete(self, key="key", version_id=None):
        if version_id is None:
            return await self.catalog.delete_object(self.marker(key))
        return await self.catalog.delete_version("shelf", key, version_id=version_id)

    async def listed(self, **how):
        """Return (key, id, whether newest) of all versions."""
        page = await self.catalog.list_versions("shelf", **{"limit": 1000, **how})
        return [
            (version.key, version.version_id, newest)
            for version, newest in zip(page.versions, page.latest, strict=True)
        ]

    async def ids(self):
        return [version_id for _, version_id, _ in await self.listed()]

    async def shown(self):
        page = await self.catalog.list_objects("shelf", limit=1000)
        return [(version.key, version.version_id) for version in page.versions]

    async def objects(self):
        return (await self.catalog.usage()).objects


def test_each_put_adds_a_version_and_the_newest_is_current(tell):
    async def story(shelf):
        first, second = await shelf.put(), await shelf.put()

        assert await shelf.listed() == [
            ("key", second.version.version_id, True),
            ("key", first.version.version_id, False),
        ]
        assert (await shelf.catalog.current("shelf", "key")).version == second.version
        assert await shelf.shown() == [("key", second.version.version_id)]
        assert await shelf.objects() == 1
        assert await shelf.catalog.doomed(limit=10) == []

    tell(story)


def test_every_version_is_found_by_its_id_with_all_that_belongs_to_it(tell):
    async def story(shelf):
        blobs = [shelf.make.file(), shelf.make.inline(), shelf.make.file()]
        drafts = [await shelf.put("key", blob) for blob in blobs]

        for draft, blob in zip(drafts, blobs, strict=True):
            found = await shelf.catalog.version("shelf", "key", draft.version.version_id)
            assert found == records.Stored(draft.version, draft.envelope, draft.body, draft.marks)
            refs = await shelf.catalog.blob_refs(draft.version)
            assert list(refs) == [shelf.make.ref(blob)]

    tell(story)


@pytest.mark.parametrize("settings", [{}, ENABLED, SUSPENDED], ids=["never", "on", "off"])
def test_a_version_that_is_not_there_is_told_from_a_bucket_that_is_not(tell, settings):
    async def story(shelf):
        await shelf.put("other")

        with pytest.raises(errors.VersionNotFound):
            await shelf.catalog.version("shelf", "key", "null")
        with pytest.raises(errors.VersionNotFound):
            await shelf.catalog.version("shelf", "other", "no such id")
        with pytest.raises(errors.BucketNotFound):
            await shelf.catalog.version("nowhere", "key", "null")
        with pytest.raises(errors.BucketNotFound):
            await shelf.catalog.list_versions("nowhere", limit=1)
        with pytest.raises(errors.BucketNotFound):
            await shelf.catalog.delete_object(dataclasses.replace(shelf.marker(), bucket="nowhere"))

    tell(story, settings)


def test_what_was_there_before_versioning_stays_as_the_null_version(tell):
    async def story(shelf):
        old = await shelf.put()
        await shelf.switch(ENABLED)
        new = await shelf.put()

        assert await shelf.ids() == [new.version.version_id, "null"]
        assert (await shelf.catalog.version("shelf", "key", "null")).version == old.version

    tell(story, {})


def test_a_deleted_object_is_hidden_behind_a_marker(tell):
    async def story(shelf):
        draft = await shelf.put()

        gone, marker = await shelf.delete()

        assert gone is None
        assert marker.is_marker
        assert await shelf.listed() == [
            ("key", marker.version_id, True),
            ("key", draft.version.version_id, False),
        ]
        assert await shelf.shown() == []
        assert await shelf.objects() == 0
        with pytest.raises(errors.ObjectNotFound) as caught:
            await shelf.catalog.current("shelf", "key")
        assert caught.value.marker_id == marker.version_id
        with pytest.raises(errors.IsDeleteMarker) as marked:
            await shelf.catalog.version("shelf", "key", marker.version_id)
        assert marked.value.modified_ms == marker.modified_ms
        found = await shelf.catalog.version("shelf", "key", draft.version.version_id)
        assert found.version == draft.version
        page = await shelf.catalog.list_versions("shelf", limit=10)
        assert page.versions == (marker, draft.version)

    tell(story)


def test_a_key_that_never_was_gets_a_marker_too_and_markers_pile_up(tell):
    async def story(shelf):
        _, first = await shelf.delete()
        _, second = await shelf.delete()

        assert await shelf.listed() == [
            ("key", second.version_id, True),
            ("key", first.version_id, False),
        ]
        assert await shelf.objects() == 0

    tell(story)


def test_without_versioning_a_delete_leaves_no_marker(tell):
    async def story(shelf):
        draft = await shelf.put("key", shelf.make.file())

        assert await shelf.delete() == (draft.version, None)
        assert await shelf.delete() == (None, None)

        assert await shelf.listed() == []
        assert len(await shelf.catalog.doomed(limit=10)) == 1
        with pytest.raises(errors.ObjectNotFound) as caught:
            await shelf.catalog.current("shelf", "key")
        assert caught.value.marker_id is None

    tell(story, {})


def test_a_marker_that_is_deleted_brings_the_object_back(tell):
    async def story(shelf):
        draft = await shelf.put()
        _, marker = await shelf.delete()

        assert await shelf.delete(version_id=marker.version_id) == marker

        assert await shelf.listed() == [("key", draft.version.version_id, True)]
        assert (await shelf.catalog.current("shelf", "key")).version == draft.version
        assert await shelf.shown() == [("key", draft.version.version_id)]
        assert await shelf.objects() == 1

    tell(story)


def test_the_version_before_a_deleted_one_becomes_current_even_a_marker(tell):
    async def story(shelf):
        first = await shelf.put()
        _, marker = await shelf.delete()
        third = await shelf.put()

        await shelf.delete(version_id=third.version.version_id)

        assert await shelf.shown() == []
        with pytest.raises(errors.ObjectNotFound) as caught:
            await shelf.catalog.current("shelf", "key")
        assert caught.value.marker_id == marker.version_id
        await shelf.delete(version_id=marker.version_id)
        assert (await shelf.catalog.current("shelf", "key")).version == first.version
        assert await shelf.objects() == 1

    tell(story)


def test_a_deleted_version_dooms_its_blobs_and_leaves_the_others(tell):
    async def story(shelf):
        blobs = [shelf.make.file() for _ in range(3)]
        drafts = [await shelf.put("key", blob) for blob in blobs]

        gone = await shelf.delete(version_id=drafts[1].version.version_id)

        assert gone == drafts[1].version
        assert list(await shelf.catalog.doomed(limit=10)) == [shelf.make.ref(blobs[1])]
        assert await shelf.ids() == [drafts[n].version.version_id for n in (2, 0)]
        with pytest.raises(errors.ObjectNotFound):
            await shelf.catalog.blob_refs(drafts[1].version)
        assert await shelf.delete(version_id=drafts[1].version.version_id) is None

    tell(story)


def test_suspended_a_put_takes_the_place_of_the_null_version_wherever_that_is(tell):
    async def story(shelf):
        blob = shelf.make.file()
        null = await shelf.put("key", blob)
        await shelf.switch(ENABLED)
        kept = await shelf.put()
        await shelf.switch(SUSPENDED)

        again = await shelf.put()
        last = await shelf.put()

        assert await shelf.listed() == [
            ("key", "null", True),
            ("key", kept.version.version_id, False),
        ]
        assert (await shelf.catalog.version("shelf", "key", "null")).version == last.version
        assert list(await shelf.catalog.doomed(limit=10)) == [shelf.make.ref(blob)]
        with pytest.raises(errors.ObjectNotFound):
            await shelf.catalog.blob_refs(null.version)
        with pytest.raises(errors.ObjectNotFound):
            await shelf.catalog.set_marks(again.version, b"late")
        assert await shelf.objects() == 1

    tell(story, {})


def test_suspended_a_delete_puts_a_null_marker_in_place_of_the_null_version(tell):
    async def story(shelf):
        kept = await shelf.put()
        await shelf.switch(SUSPENDED)
        null = await shelf.put("key", shelf.make.file())

        gone, marker = await shelf.delete()

        assert gone == null.version
        assert (marker.version_id, marker.is_marker) == ("null", True)
        assert len(await shelf.catalog.doomed(limit=10)) == 1
        assert await shelf.ids() == ["null", kept.version.version_id]
        gone, again = await shelf.delete()
        assert gone == marker
        assert await shelf.ids() == ["null", kept.version.version_id]
        back = await shelf.put()
        assert (await shelf.catalog.current("shelf", "key")).version == back.version
        assert again.version_id == "null"
        assert await shelf.ids() == ["null", kept.version.version_id]

    tell(story)


@pytest.mark.parametrize(
    ("settings", "version_id"), [({}, "an-id"), (SUSPENDED, "an-id"), (ENABLED, "null")]
)
def test_a_version_id_that_does_not_go_with_the_bucket_is_refused_whole(tell, settings, version_id):
    async def story(shelf):
        before = shelf.make.draft(version_id="null" if settings != ENABLED else "before")
        await shelf.catalog.put_version(before)
        blob = shelf.make.inline()
        upload, part_blob = shelf.make.upload(), shelf.make.file()
        part = shelf.make.part(1, part_blob)
        await shelf.catalog.create_upload(upload)
        await shelf.catalog.put_part(upload, part, part_blob)

        with pytest.raises(errors.VersioningChanged):
            await shelf.catalog.put_version(
                shelf.make.draft("key", blob, version_id=version_id), refuse
            )
        with pytest.raises(errors.VersioningChanged):
            await shelf.catalog.complete_upload(
                upload, shelf.make.draft(version_id=version_id), [part]
            )

        assert await shelf.ids() == [before.version.version_id]
        assert await shelf.catalog.known([blob.blob_id]) == set()
        assert list(await shelf.catalog.parts(upload.upload_id)) == [part]

    tell(story, settings)


def test_a_completed_upload_is_a_version_like_any_other(tell):
    async def story(shelf):
        first = await shelf.put()
        upload, blob = shelf.make.upload(), shelf.make.file()
        part = shelf.make.part(1, blob)
        await shelf.catalog.create_upload(upload)
        await shelf.catalog.put_part(upload, part, blob)
        draft = shelf.make.draft(version_id=shelf.new_id())

        await shelf.catalog.complete_upload(upload, draft, [part])

        assert await shelf.ids() == [draft.version.version_id, first.version.version_id]
        done = await shelf.catalog.completion("shelf", "key", upload.upload_id)
        assert done.version_id == draft.version.version_id

    tell(story)


def test_marks_are_set_on_the_version_that_is_meant(tell):
    async def story(shelf):
        first, second = await shelf.put(), await shelf.put()

        await shelf.catalog.set_marks(first.version, b"of the first")

        one = await shelf.catalog.version("shelf", "key", first.version.version_id)
        two = await shelf.catalog.current("shelf", "key")
        assert (one.marks, two.marks) == (b"of the first", second.marks)

    tell(story)


def test_a_version_behind_others_shares_its_body_with_a_copy_on_top(tell):
    async def story(shelf):
        blob = shelf.make.file()
        old = await shelf.put("key", blob)
        await shelf.put()
        copy = shelf.make.draft(version_id=shelf.new_id())
        copy = dataclasses.replace(copy, body=old.body, shares=old.version)

        await shelf.catalog.put_version(copy)
        await shelf.delete(version_id=old.version.version_id)

        refs = await shelf.catalog.blob_refs(copy.version)
        assert [ref.blob_id for ref in refs] == [blob.blob_id]
        assert await shelf.catalog.doomed(limit=10) == []
        with pytest.raises(errors.SourceGone):
            await shelf.catalog.put_version(
                dataclasses.replace(
                    copy, version=shelf.make.version(version_id="x"), shares=old.version
                )
            )

    tell(story)


def test_a_guard_sees_what_is_newest_and_for_one_version_that_version(tell):
    async def story(shelf):
        seen = []

        def look(found, _marks):
            seen.append(found)

        first = await shelf.put(guard=seen.append)
        second = await shelf.put(guard=seen.append)
        await shelf.catalog.delete_version(
            "shelf", "key", look, version_id=first.version.version_id
        )
        await shelf.catalog.delete_version("shelf", "key", look, version_id="other")
        _, marker = await shelf.catalog.delete_object(shelf.marker(), seen.append)
        await shelf.put(guard=seen.append)

        assert seen == [None, first.version, first.version, None, second.version, marker]

    tell(story)


@pytest.mark.parametrize(("settings", "shown"), [(ENABLED, b""), (LOCKED, b"marks")])
def test_a_guard_of_a_deletion_sees_the_marks_in_a_bucket_with_object_lock(tell, settings, shown):
    async def story(shelf):
        seen = []

        def look(_found, marks):
            seen.append(marks)

        draft = await shelf.put()
        _, marker = await shelf.delete()
        for version_id in (marker.version_id, draft.version.version_id, "other"):
            await shelf.catalog.delete_version("shelf", "key", look, version_id=version_id)

        assert seen == [b"", shown, b""]

    tell(story, settings)


def test_a_deletion_is_judged_by_the_marks_that_were_set_last(tell):
    async def story(shelf):
        seen = []
        draft = await shelf.put()
        await shelf.catalog.set_marks(draft.version, b"others", before=b"marks")

        await shelf.catalog.delete_version(
            "shelf",
            "key",
            lambda _, marks: seen.append(marks),
            version_id=draft.version.version_id,
        )

        assert seen == [b"others"]

    tell(story, LOCKED)


@pytest.mark.parametrize("changes", [SUSPENDED, {"versioning": None}, {"object-lock": None}])
def test_a_bucket_with_object_lock_keeps_it_and_its_versions(tell, changes):
    async def story(shelf):
        with pytest.raises(errors.BucketLocked):
            await shelf.catalog.change_settings("shelf", changes)
        await shelf.catalog.change_settings("shelf", {"object-lock": "[]", "tagging": "{}"})

        bucket = await shelf.catalog.bucket("shelf")
        assert bucket.settings == {**ENABLED, "object-lock": "[]", "tagging": "{}"}

    tell(story, LOCKED)


@pytest.mark.parametrize("settings", [{}, SUSPENDED])
def test_a_bucket_without_versions_gets_no_object_lock(tell, settings):
    async def story(shelf):
        with pytest.raises(errors.BucketLocked):
            await shelf.catalog.change_settings("shelf", {"object-lock": "{}"})

        assert (await shelf.catalog.bucket("shelf")).settings == settings

    tell(story, settings)


def test_a_guard_that_raises_keeps_versions_and_markers(tell):
    async def story(shelf):
        draft = await shelf.put("key", shelf.make.file())
        before = await shelf.listed()

        with pytest.raises(errors.PreconditionFailed):
            await shelf.put(guard=refuse)
        with pytest.raises(errors.PreconditionFailed):
            await shelf.catalog.delete_object(shelf.marker(), refuse)
        with pytest.raises(errors.PreconditionFailed):
            await shelf.catalog.delete_version(
                "shelf", "key", refuse_deletion, version_id=draft.version.version_id
            )

        assert await shelf.listed() == before
        assert await shelf.catalog.doomed(limit=10) == []

    tell(story)


def test_a_bucket_with_a_version_behind_a_marker_or_a_marker_alone_is_not_deleted(tell):
    async def story(shelf):
        draft = await shelf.put()
        _, marker = await shelf.delete()

        with pytest.raises(errors.BucketNotEmpty):
            await shelf.catalog.delete_bucket("shelf")
        await shelf.delete(version_id=draft.version.version_id)
        with pytest.raises(errors.BucketNotEmpty):
            await shelf.catalog.delete_bucket("shelf")
        await shelf.delete(version_id=marker.version_id)

        await shelf.catalog.delete_bucket("shelf")

    tell(story)


def test_versions_come_by_key_and_time_page_by_page_and_each_once(tell):
    async def story(shelf):
        for _ in range(3):
            for key in ("a", "b/1", "b/2", "c"):
                await shelf.put(key)
        await shelf.delete("a")
        everything = await shelf.listed()

        for limit in range(1, 15):
            found, after = [], ("", "")
            while after is not None:
                page = await shelf.catalog.list_versions("shelf", after=after, limit=limit)
                assert len(page.versions) <= limit
                found += [
                    (version.key, version.version_id, newest)
                    for version, newest in zip(page.versions, page.latest, strict=True)
                ]
                after = page.next_after
            assert found == everything
        assert [key for key, _, _ in everything] == ["a"] * 4 + ["b/1"] * 3 + ["b/2"] * 3 + [
            "c"
        ] * 3
        assert [newest for _, _, newest in everything].count(True) == 4

    tell(story)


def test_versions_roll_up_into_prefixes_that_are_counted_and_passed(tell):
    async def story(shelf):
        for key in ("a", "b/1", "b/1", "b/2", "c"):
            await shelf.put(key)

        page = await shelf.catalog.list_versions("shelf", delimiter="/", limit=2)
        assert [version.key for version in page.versions] == ["a"]
        assert (page.prefixes, page.next_after) == (("b/",), ("b/", ""))
        page = await shelf.catalog.list_versions(
            "shelf", delimiter="/", after=page.next_after, limit=2
        )
        assert [version.key for version in page.versions] == ["c"]
        assert (page.prefixes, page.next_after) == ((), None)
        within = await shelf.listed(prefix="b/", delimiter="/")
        assert [key for key, _, _ in within] == ["b/1", "b/1", "b/2"]

    tell(story)


def test_after_a_key_alone_none_of_it_is_listed_and_after_a_gone_version_all_of_it(tell):
    async def story(shelf):
        drafts = [await shelf.put("a") for _ in range(3)]
        await shelf.put("b")
        middle = drafts[1].version.version_id

        assert [key for key, _, _ in await shelf.listed(after=("a", ""))] == ["b"]
        behind = await shelf.listed(after=("a", middle))
        assert behind[0] == ("a", drafts[0].version.version_id, False)
        await shelf.delete("a", version_id=middle)
        assert len(await shelf.listed(after=("a", middle))) == 3

    tell(story)


def test_data_comes_with_the_current_version_only_where_it_is_the_whole_body(tell):
    async def story(shelf):
        inline, file = shelf.make.inline(b"all of it"), shelf.make.file()
        await shelf.put("small", inline)
        await shelf.put("large", file)
        await shelf.put("mixed", shelf.make.inline(b"a part"), shelf.make.inline(b"another"))

        # An adapter may leave data out; what it must not do is to give half of a body.
        small = await shelf.catalog.current("shelf", "small", with_data=True)
        assert small.data in (None, b"all of it")
        assert small == await shelf.catalog.current("shelf", "small")
        assert (await shelf.catalog.current("shelf", "small")).data is None
        assert (await shelf.catalog.current("shelf", "large", with_data=True)).data is None
        assert (await shelf.catalog.current("shelf", "mixed", with_data=True)).data is None

    tell(story)
