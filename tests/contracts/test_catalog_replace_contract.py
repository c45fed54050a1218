"""`replace_version`, judged for every adapter: another envelope, or body, where a version stands."""

import asyncio
import dataclasses

import pytest

from strongroom import errors
from strongroom.store import records


def again(make, version, *blobs, **changes):
    """Return a draft for the place of a version, as a new envelope makes it."""
    draft = make.draft(version.key, *blobs)
    new = dataclasses.replace(
        version, mode="SSE-KMS", generation=draft.version.generation, **changes
    )
    return dataclasses.replace(draft, version=new)


def kept(draft):
    """What was looked up before a draft was put in its place."""
    return records.Stored(draft.version, draft.envelope, draft.body, draft.marks)


def bare(version):
    return records.Stored(version, b"", b"", b"")


@pytest.fixture
def shelf(catalog, make):
    asyncio.run(catalog.create_bucket(make.bucket()))
    return catalog


def test_the_version_keeps_its_body_and_gets_the_drafts_envelope(shelf, make):
    async def story():
        blobs = make.file(), make.inline()
        old = make.draft("key", *blobs)
        await shelf.put_version(old)
        draft = dataclasses.replace(again(make, old.version), body=old.body)

        await shelf.replace_version(draft, kept(old))

        found = await shelf.current("shelf", "key")
        assert found == records.Stored(draft.version, draft.envelope, old.body, draft.marks)
        assert list(await shelf.blob_refs(draft.version)) == list(map(make.ref, blobs))
        assert await shelf.inline(blobs[1].blob_id) == blobs[1].data
        assert await shelf.doomed(limit=9) == []
        page = await shelf.list_objects("shelf", limit=9)
        assert page.versions == (draft.version,)
        assert (await shelf.usage()).objects == 1

    asyncio.run(story())


def test_with_blobs_of_its_own_the_old_ones_go(shelf, make):
    async def story():
        file, inline = make.file(), make.inline()
        old = make.draft("key", file, inline)
        await shelf.put_version(old)
        fresh = make.file(), make.inline(b"anew")
        draft = again(make, old.version, *fresh)

        await shelf.replace_version(draft, kept(old))

        found = await shelf.current("shelf", "key")
        assert (found.version, found.body) == (draft.version, draft.body)
        assert list(await shelf.blob_refs(draft.version)) == list(map(make.ref, fresh))
        assert list(await shelf.doomed(limit=9)) == [make.ref(file)]
        with pytest.raises(errors.BlobMissing):
            await shelf.inline(inline.blob_id)

    asyncio.run(story())


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
def test_a_body_that_copies_share_stays_for_them(shelf, make, own):
    async def story():
        file = make.file()
        old = make.draft("key", file)
        await shelf.put_version(old)
        copied = dataclasses.replace(make.draft("copy"), body=old.body, shares=old.version)
        await shelf.put_version(copied)
        draft = again(make, old.version, *([make.file()] if own else []))

        await shelf.replace_version(draft, kept(old))

        assert list(await shelf.blob_refs(copied.version)) == [make.ref(file)]
        assert await shelf.doomed(limit=9) == []
        await shelf.delete_version("shelf", "copy")
        assert list(await shelf.doomed(limit=9)) == ([make.ref(file)] if own else [])

    asyncio.run(story())


def test_a_version_behind_others_stays_where_it_is(shelf, make):
    async def story():
        await shelf.change_settings("shelf", {"versioning": "Enabled"})
        ids = ("one", "two", "three")
        drafts = [make.draft("key", make.file(), version_id=name) for name in ids]
        for each in drafts:
            await shelf.put_version(each)
        middle = again(make, drafts[1].version)

        await shelf.replace_version(middle, kept(drafts[1]))

        page = await shelf.list_versions("shelf", limit=9)
        assert page.versions == (drafts[2].version, middle.version, drafts[0].version)
        assert page.latest == (True, False, False)
        assert (await shelf.version("shelf", "key", "two")).version == middle.version
        assert (await shelf.current("shelf", "key")).version == drafts[2].version
        assert (await shelf.usage()).objects == 1

    asyncio.run(story())


def test_what_changed_meanwhile_is_not_replaced(shelf, make):
    async def story():
        old = make.draft("key", make.file())
        await shelf.put_version(old)
        draft = again(make, old.version)
        await shelf.replace_version(draft, kept(old))
        await shelf.set_marks(draft.version, b"tagged meanwhile")
        before = await shelf.current("shelf", "key")

        with pytest.raises(errors.ObjectNotFound):
            await shelf.replace_version(again(make, draft.version), kept(draft))
        with pytest.raises(errors.ObjectNotFound):
            await shelf.replace_version(again(make, old.version), kept(old))
        stranger = make.version("nothing")
        with pytest.raises(errors.ObjectNotFound):
            await shelf.replace_version(again(make, stranger), bare(stranger))
        elsewhere = make.version("key", "nowhere")
        with pytest.raises(errors.BucketNotFound):
            await shelf.replace_version(again(make, elsewhere), bare(elsewhere))
        late = dataclasses.replace(again(make, draft.version), bucket_made_ms=2)
        with pytest.raises(errors.BucketNotFound):
            await shelf.replace_version(late, kept(draft))
        assert await shelf.current("shelf", "key") == before

    asyncio.run(story())


def test_a_blob_that_is_taken_calls_it_off(shelf, make):
    async def story():
        file = make.file()
        old = make.draft("key", file)
        await shelf.put_version(old)
        other = make.draft("other", make.file())
        await shelf.put_version(other)

        with pytest.raises(errors.StoreFailed):
            await shelf.replace_version(again(make, old.version, *other.blobs), kept(old))

        assert (await shelf.current("shelf", "key")).version == old.version
        assert list(await shelf.blob_refs(old.version)) == [make.ref(file)]
        assert await shelf.doomed(limit=9) == []

    asyncio.run(story())
