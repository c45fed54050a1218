"""What the catalog port promises, asked of every adapter: buckets, objects, users, facts."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from strongroom import errors
from strongroom.store import records


def refuse(_current):
    raise errors.PreconditionFailed("If-Match")


def refuse_deletion(_found, _marks):
    raise errors.PreconditionFailed("If-Match")


def only_if_absent(current):
    if current is not None:
        raise errors.PreconditionFailed("If-None-Match")


async def state_of(catalog):
    """All that a caller can see of a bucket and its blobs."""
    page = await catalog.list_objects("shelf", limit=1000)
    stored = [await catalog.current("shelf", version.key) for version in page.versions]
    refs = [await catalog.blob_refs(version) for version in page.versions]
    uploads = await catalog.list_uploads("shelf", limit=1000)
    parts = [await catalog.parts(upload.upload_id) for upload in uploads.uploads]
    return page, stored, refs, uploads, parts, await catalog.doomed(limit=1000)


def test_a_fact_once_established_stands(catalog):
    async def story():
        assert await catalog.fact("check") is None
        assert await catalog.establish("check", b"first") == b"first"
        assert await catalog.establish("check", b"second") == b"first"
        assert await catalog.fact("check") == b"first"

    asyncio.run(story())


def test_store_keys_come_by_number_and_a_taken_number_stays_as_it_is(catalog):
    async def story():
        one = records.StoreKey(1, b"wrapped one", 5)
        two = records.StoreKey(2, b"wrapped two", 6)

        assert await catalog.add_store_key(two)
        assert await catalog.add_store_key(one)
        assert not await catalog.add_store_key(records.StoreKey(1, b"other", 7))

        assert list(await catalog.store_keys()) == [one, two]

    asyncio.run(story())


ALICE = records.User("aa" * 32, "alice", 1)
BOB = records.User("bb" * 32, "bob", 2)
ALICE_KEY = records.Credential("AKIAALICE", ALICE.user_id, b"sealed a", 3)
BOB_KEY = records.Credential("AKIABOB", BOB.user_id, b"sealed b", 4)


def test_a_user_is_found_by_id_and_by_access_key(catalog):
    async def story():
        await catalog.add_user(BOB, BOB_KEY)
        await catalog.add_user(ALICE, ALICE_KEY)

        assert list(await catalog.users()) == [ALICE, BOB]
        assert await catalog.user(ALICE.user_id) == ALICE
        assert await catalog.credential("AKIAALICE") == (ALICE_KEY, ALICE)
        assert await catalog.credential("AKIANOBODY") is None
        with pytest.raises(errors.UserNotFound):
            await catalog.user("cc" * 32)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("user", "credential"),
    [
        (records.User("cc" * 32, "alice", 1), records.Credential("NEW", "cc" * 32, b"", 1)),
        (records.User(ALICE.user_id, "carol", 1), records.Credential("NEW", ALICE.user_id, b"", 1)),
        (records.User("cc" * 32, "carol", 1), records.Credential("AKIAALICE", "cc" * 32, b"", 1)),
    ],
    ids=["name", "id", "access key"],
)
def test_a_user_who_takes_what_is_taken_is_refused_whole(catalog, user, credential):
    async def story():
        await catalog.add_user(ALICE, ALICE_KEY)

        with pytest.raises(errors.UserExists):
            await catalog.add_user(user, credential)

        assert list(await catalog.users()) == [ALICE]
        assert await catalog.credential("NEW") is None

    asyncio.run(story())


def test_a_removed_user_leaves_no_credential(catalog):
    async def story():
        await catalog.add_user(ALICE, ALICE_KEY)
        await catalog.add_user(BOB, BOB_KEY)

        await catalog.remove_user("alice")

        assert await catalog.credential("AKIAALICE") is None
        assert await catalog.credential("AKIABOB") == (BOB_KEY, BOB)
        with pytest.raises(errors.UserNotFound):
            await catalog.remove_user("alice")

    asyncio.run(story())


def test_a_bucket_comes_back_as_it_was_created(catalog, make):
    async def story():
        bucket = make.bucket(settings={"cors": "<é/>", "policy": '{"a": 1}'})
        await catalog.create_bucket(bucket)

        assert await catalog.bucket("shelf") == bucket
        with pytest.raises(errors.BucketNotFound):
            await catalog.bucket("other")

    asyncio.run(story())


def test_a_taken_bucket_name_tells_who_has_it(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket(owner="first"))

        with pytest.raises(errors.BucketExists) as caught:
            await catalog.create_bucket(make.bucket(owner="second"))

        assert caught.value.owner == "first"
        assert (await catalog.bucket("shelf")).owner == "first"

    asyncio.run(story())


def test_buckets_are_listed_by_name_owner_and_prefix(catalog, make):
    async def story():
        for name, owner in [("b", "x"), ("aa", "y"), ("ab", "x"), ("a", "x"), ("c", "y")]:
            await catalog.create_bucket(make.bucket(name, owner=owner))

        async def names(**how):
            return [bucket.name for bucket in await catalog.buckets(**how)]

        assert await names(limit=10) == ["a", "aa", "ab", "b", "c"]
        assert await names(limit=2) == ["a", "aa"]
        assert await names(limit=2, after="aa") == ["ab", "b"]
        assert await names(limit=10, owner="x") == ["a", "ab", "b"]
        assert await names(limit=1, owner="x", prefix="a", after="a") == ["ab"]
        assert await names(limit=0) == []

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["inline", "file"])
def test_a_version_comes_back_with_envelope_body_and_blobs(catalog, make, kind):
    async def story():
        await catalog.create_bucket(make.bucket())
        blob = getattr(make, kind)()
        draft = make.draft(
            "key", blob, checksum_algorithms=("CRC32", "SHA256"), checksum_type="COMPOSITE"
        )

        await catalog.put_version(draft)

        stored = await catalog.current("shelf", "key")
        assert stored == records.Stored(draft.version, draft.envelope, draft.body, draft.marks)
        refs = await catalog.blob_refs(draft.version)
        assert list(refs) == [make.ref(blob)]
        if kind == "inline":
            assert await catalog.inline(blob.blob_id) == blob.data

    asyncio.run(story())


def test_blobs_come_in_body_order_inline_and_filed_mixed(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        blobs = [make.file(), make.inline(), make.file()] + [make.file() for _ in range(100)]
        draft = make.draft("key", *blobs)

        await catalog.put_version(draft)

        refs = await catalog.blob_refs(draft.version)
        assert list(refs) == [make.ref(blob) for blob in blobs]

    asyncio.run(story())


def test_a_missing_key_and_a_missing_bucket_are_told_apart(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())

        with pytest.raises(errors.ObjectNotFound):
            await catalog.current("shelf", "key")
        with pytest.raises(errors.BucketNotFound):
            await catalog.current("nowhere", "key")
        with pytest.raises(errors.BucketNotFound):
            await catalog.put_version(make.draft("key", make.file(), bucket="nowhere"))
        with pytest.raises(errors.BucketNotFound):
            await catalog.delete_version("nowhere", "key")
        with pytest.raises(errors.BucketNotFound):
            await catalog.list_objects("nowhere", limit=1)
        with pytest.raises(errors.BucketNotFound):
            await catalog.list_uploads("nowhere", limit=1)
        with pytest.raises(errors.BlobMissing):
            await catalog.inline(make.blob_id())

    asyncio.run(story())


def test_a_replaced_version_dooms_its_files_and_loses_its_inline_bytes(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        filed, kept_inside = make.file(), make.inline()
        before = make.draft("key", filed, kept_inside)
        await catalog.put_version(before)

        after = make.draft("key", make.file())
        await catalog.put_version(after)

        assert (await catalog.current("shelf", "key")).version == after.version
        assert list(await catalog.doomed(limit=10)) == [make.ref(filed)]
        with pytest.raises(errors.BlobMissing):
            await catalog.inline(kept_inside.blob_id)
        with pytest.raises(errors.ObjectNotFound):
            await catalog.blob_refs(before.version)
        assert (await catalog.usage()).objects == 1

    asyncio.run(story())


def test_a_deleted_version_is_returned_and_its_blobs_are_doomed(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        filed = make.file()
        draft = make.draft("key", filed)
        await catalog.put_version(draft)

        assert await catalog.delete_version("shelf", "key") == draft.version

        with pytest.raises(errors.ObjectNotFound):
            await catalog.current("shelf", "key")
        assert list(await catalog.doomed(limit=10)) == [make.ref(filed)]
        assert await catalog.delete_version("shelf", "key") is None

    asyncio.run(story())


def test_doomed_blobs_come_oldest_first_until_they_are_forgotten(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        blobs = [make.file() for _ in range(3)]
        for number, blob in enumerate(blobs):
            await catalog.put_version(make.draft(f"key {number}", blob))
        for number in (2, 0, 1):
            await catalog.delete_version("shelf", f"key {number}")

        first, second, third = (make.ref(blobs[number]) for number in (2, 0, 1))
        assert list(await catalog.doomed(limit=2)) == [first, second]
        await catalog.forget([first.blob_id, make.blob_id()])
        assert list(await catalog.doomed(limit=9)) == [second, third]
        assert (await catalog.usage()).doomed_blobs == 2

    asyncio.run(story())


def test_blobs_are_known_while_referred_to_or_doomed(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        filed, inline, replaced, of_part = make.file(), make.inline(), make.file(), make.file()
        upload = make.upload()
        await catalog.put_version(make.draft("a", filed, inline))
        await catalog.put_version(make.draft("b", replaced))
        await catalog.put_version(make.draft("b"))
        await catalog.create_upload(upload)
        await catalog.put_part(upload, make.part(1, of_part), of_part)

        here = {blob.blob_id for blob in (filed, inline, replaced, of_part)}
        strange = {make.blob_id() for _ in range(1200)}
        assert await catalog.known(here | strange) == here
        await catalog.forget([replaced.blob_id])
        assert await catalog.known(here) == here - {replaced.blob_id}

    asyncio.run(story())


def test_a_guard_sees_the_current_version_or_none(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        draft = make.draft()
        seen = []

        await catalog.put_version(draft, seen.append)
        await catalog.put_version(make.draft(), seen.append)
        await catalog.delete_version("shelf", "other", lambda found, _: seen.append(found))

        assert seen == [None, draft.version, None]

    asyncio.run(story())


def test_a_guard_that_raises_leaves_everything_as_it_was(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        await catalog.put_version(make.draft("key", make.file(), make.inline()))
        upload, blob = make.upload(), make.file()
        await catalog.create_upload(upload)
        part = make.part(1, blob)
        await catalog.put_part(upload, part, blob)
        before = await state_of(catalog)
        new = make.inline()

        with pytest.raises(errors.PreconditionFailed):
            await catalog.put_version(make.draft("key", new), refuse)
        with pytest.raises(errors.PreconditionFailed):
            await catalog.put_version(make.draft("new key", make.file()), refuse)
        with pytest.raises(errors.PreconditionFailed):
            await catalog.delete_version("shelf", "key", refuse_deletion)
        with pytest.raises(errors.PreconditionFailed):
            await catalog.delete_version("shelf", "no key", refuse_deletion)
        with pytest.raises(errors.PreconditionFailed):
            await catalog.complete_upload(upload, make.draft(), [part], refuse)

        assert await state_of(catalog) == before
        assert await catalog.known([new.blob_id]) == set()
        assert await catalog.completion("shelf", "key", upload.upload_id) is None

    asyncio.run(story())


def test_of_racing_puts_that_want_an_absent_key_exactly_one_wins(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        drafts = [make.draft("key", make.file()) for _ in range(20)]

        outcomes = await asyncio.gather(
            *(catalog.put_version(draft, only_if_absent) for draft in drafts),
            return_exceptions=True,
        )

        (winner,) = (draft for draft, out in zip(drafts, outcomes, strict=True) if out is None)
        losers = [out for out in outcomes if out is not None]
        assert all(isinstance(out, errors.PreconditionFailed) for out in losers)
        assert (await catalog.current("shelf", "key")).version == winner.version
        assert list(await catalog.doomed(limit=10)) == []

    asyncio.run(story())


def test_writes_that_come_together_all_land_and_a_failing_one_harms_no_other(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        drafts = [make.draft(f"key {number:03}", make.inline()) for number in range(100)]

        outcomes = await asyncio.gather(
            *(
                catalog.put_version(draft, *([refuse] if number % 10 == 3 else []))
                for number, draft in enumerate(drafts)
            ),
            return_exceptions=True,
        )

        landed = [draft.version for number, draft in enumerate(drafts) if number % 10 != 3]
        assert [out is None for out in outcomes] == [number % 10 != 3 for number in range(100)]
        page = await catalog.list_objects("shelf", limit=1000)
        assert list(page.versions) == landed
        assert (await catalog.usage()).objects == 90

    asyncio.run(story())


def test_a_bucket_with_an_object_is_not_deleted(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        await catalog.put_version(make.draft())

        with pytest.raises(errors.BucketNotEmpty):
            await catalog.delete_bucket("shelf")

        await catalog.delete_version("shelf", "key")
        await catalog.delete_bucket("shelf")
        with pytest.raises(errors.BucketNotFound):
            await catalog.bucket("shelf")
        with pytest.raises(errors.BucketNotFound):
            await catalog.delete_bucket("shelf")

    asyncio.run(story())


def test_a_deleted_bucket_takes_its_open_uploads_along(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        upload, filed, inline = make.upload(), make.file(), make.inline()
        await catalog.create_upload(upload)
        await catalog.put_part(upload, make.part(1, filed), filed)
        await catalog.put_part(upload, make.part(2, inline), inline)

        await catalog.delete_bucket("shelf")
        await catalog.create_bucket(make.bucket())

        assert (await catalog.list_uploads("shelf", limit=10)).uploads == ()
        with pytest.raises(errors.UploadNotFound):
            await catalog.upload("shelf", "key", upload.upload_id)
        with pytest.raises(errors.UploadNotFound):
            await catalog.put_part(upload, make.part(3, filed), filed)
        assert list(await catalog.doomed(limit=10)) == [make.ref(filed)]
        with pytest.raises(errors.BlobMissing):
            await catalog.inline(inline.blob_id)
        assert await catalog.usage() == records.Usage(1, 0, 0, 1)

    asyncio.run(story())


def test_a_write_that_was_authorised_for_a_bucket_does_not_go_to_its_successor(catalog, make):
    async def story():
        before, after = make.bucket(created_ms=5), make.bucket(created_ms=6)
        await catalog.create_bucket(before)
        meant_for_before = dataclasses.replace(
            make.draft("key", make.file(), make.inline()), bucket_made_ms=before.created_ms
        )
        await catalog.delete_bucket("shelf")
        await catalog.create_bucket(after)
        untouched = await state_of(catalog)

        with pytest.raises(errors.BucketNotFound):
            await catalog.put_version(meant_for_before)

        assert await state_of(catalog) == untouched
        assert await catalog.known([blob.blob_id for blob in meant_for_before.blobs]) == set()
        await catalog.put_version(
            dataclasses.replace(meant_for_before, bucket_made_ms=after.created_ms)
        )
        current = await catalog.current("shelf", "key")
        assert current.version == meant_for_before.version

    asyncio.run(story())


def test_a_write_whose_bucket_is_another_one_is_refused_before_its_guard_is_asked(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket(created_ms=6))

        with pytest.raises(errors.BucketNotFound):
            await catalog.put_version(
                dataclasses.replace(make.draft(), bucket_made_ms=5), guard=refuse
            )

    asyncio.run(story())


@pytest.mark.parametrize("beyond", [2**63 - 1, 2**63, 2**100])
def test_limits_beyond_64_bits_are_as_good_as_none(catalog, make, beyond):
    async def story():
        await catalog.create_bucket(make.bucket())
        blob = make.file()
        await catalog.put_version(make.draft("gone", blob))
        await catalog.delete_version("shelf", "gone")
        draft = make.draft("key")
        await catalog.put_version(draft)

        assert [bucket.name for bucket in await catalog.buckets(limit=beyond)] == ["shelf"]
        assert (await catalog.list_objects("shelf", limit=beyond)).versions == (draft.version,)
        assert list(await catalog.doomed(limit=beyond)) == [make.ref(blob)]
        assert list(await catalog.doomed(limit=-beyond)) == []

    asyncio.run(story())


def test_a_blob_id_that_is_taken_is_refused_and_nothing_changes(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        taken = make.file()
        await catalog.put_version(make.draft("key", taken))
        fresh = make.inline()

        with pytest.raises(errors.StoreFailed):
            await catalog.put_version(make.draft("other", fresh, taken))

        assert await catalog.known([fresh.blob_id]) == set()
        assert [v.key for v in (await catalog.list_objects("shelf", limit=9)).versions] == ["key"]

    asyncio.run(story())


def test_marks_are_replaced_and_nothing_else(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        draft = make.draft("key", make.file())
        await catalog.put_version(draft)

        await catalog.set_marks(draft.version, b"other marks")

        stored = await catalog.current("shelf", "key")
        assert stored.marks == b"other marks"
        assert (stored.version, stored.envelope, stored.body) == (
            draft.version,
            draft.envelope,
            draft.body,
        )

    asyncio.run(story())


def test_marks_that_were_changed_since_they_were_read_are_not_replaced(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        draft = make.draft("key", make.file())
        await catalog.put_version(draft)

        await catalog.set_marks(draft.version, b"first", before=draft.marks)
        with pytest.raises(errors.MarksChanged):
            await catalog.set_marks(draft.version, b"second", before=draft.marks)
        assert (await catalog.current("shelf", "key")).marks == b"first"

        await catalog.set_marks(draft.version, b"second", before=b"first")
        assert (await catalog.current("shelf", "key")).marks == b"second"

    asyncio.run(story())


def test_marks_of_a_version_that_is_gone_are_not_set(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        old, new = make.draft("key"), make.draft("key")
        await catalog.put_version(old)
        await catalog.put_version(new)

        with pytest.raises(errors.ObjectNotFound):
            await catalog.set_marks(old.version, b"late")
        with pytest.raises(errors.BucketNotFound):
            await catalog.set_marks(dataclasses.replace(new.version, bucket="elsewhere"), b"late")

        assert (await catalog.current("shelf", "key")).marks == new.marks

    asyncio.run(story())


def sharing(draft, source):
    """Return `draft` as a copy that shares the body of `source`."""
    return dataclasses.replace(draft, body=source.body, shares=source.version)


def test_a_shared_body_stays_until_its_last_version_goes(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        blob = make.file()
        source = make.draft("source", blob)
        await catalog.put_version(source)
        copy = sharing(make.draft("copy"), source)
        await catalog.put_version(copy)
        ref = records.BlobRef(blob.blob_id, blob.size, blob.place)

        await catalog.delete_version("shelf", "source")

        assert await catalog.doomed(limit=10) == []
        assert (await catalog.current("shelf", "copy")).body == source.body
        assert list(await catalog.blob_refs(copy.version)) == [ref]

        await catalog.delete_version("shelf", "copy")

        assert list(await catalog.doomed(limit=10)) == [ref]

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["file", "inline"])
def test_a_version_may_be_replaced_by_one_that_shares_its_body(catalog, make, kind):
    async def story():
        await catalog.create_bucket(make.bucket())
        blob = make.file() if kind == "file" else make.inline()
        first = make.draft("key", blob)
        await catalog.put_version(first)
        second = sharing(make.draft("key"), first)

        await catalog.put_version(second)

        assert await catalog.doomed(limit=10) == []
        assert (await catalog.current("shelf", "key")).version == second.version
        refs = await catalog.blob_refs(second.version)
        assert [ref.blob_id for ref in refs] == [blob.blob_id]
        if kind == "inline":
            assert await catalog.inline(blob.blob_id) == blob.data

    asyncio.run(story())


def test_the_body_of_a_version_that_is_gone_is_not_shared(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        gone = make.draft("source", make.file())
        await catalog.put_version(gone)
        await catalog.put_version(make.draft("source", make.file()))

        with pytest.raises(errors.SourceGone):
            await catalog.put_version(sharing(make.draft("copy"), gone))

        with pytest.raises(errors.ObjectNotFound):
            await catalog.current("shelf", "copy")

    asyncio.run(story())


def test_a_catalog_is_closed_twice_without_harm(open_empty):
    catalog = open_empty()

    asyncio.run(catalog.close())
    asyncio.run(catalog.close())


def test_changed_settings_leave_the_others_as_they_were(catalog, make):
    async def story():
        bucket = make.bucket(settings={"cors": "<é/>", "policy": "old"})
        await catalog.create_bucket(bucket)

        await catalog.change_settings("shelf", {"policy": "new", "tagging": "{}"})
        assert (await catalog.bucket("shelf")).settings == {
            "cors": "<é/>",
            "policy": "new",
            "tagging": "{}",
        }

        await catalog.change_settings("shelf", {"cors": None, "never": None})
        assert (await catalog.bucket("shelf")).settings == {"policy": "new", "tagging": "{}"}
        (listed,) = await catalog.buckets(limit=10)
        assert listed.settings == {"policy": "new", "tagging": "{}"}

    asyncio.run(story())


def test_settings_of_a_bucket_that_is_gone_or_another_are_not_changed(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket(created_ms=5))

        for name, made_ms in (("other", None), ("shelf", 4)):
            with pytest.raises(errors.BucketNotFound):
                await catalog.change_settings(name, {"policy": "x"}, bucket_made_ms=made_ms)
        await catalog.change_settings("shelf", {"policy": "x"}, bucket_made_ms=5)

        assert (await catalog.bucket("shelf")).settings == {"policy": "x"}

    asyncio.run(story())
