"""What the catalog port promises about multipart uploads, asked of every adapter."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from strongroom import errors
from strongroom.store import catalog as port
from strongroom.store import records


async def open_with_parts(catalog, make, *blobs):
    """A bucket with an open upload that has a part for each blob, numbered from 1."""
    await catalog.create_bucket(make.bucket())
    upload = make.upload()
    await catalog.create_upload(upload)
    parts = [make.part(number, blob) for number, blob in enumerate(blobs, 1)]
    for part, blob in zip(parts, blobs, strict=True):
        await catalog.put_part(upload, part, blob)
    return upload, parts


def test_an_upload_is_found_under_its_own_key_only(catalog, make):
    async def story():
        upload, _ = await open_with_parts(catalog, make)
        await catalog.create_bucket(make.bucket("other"))

        assert await catalog.upload("shelf", "key", upload.upload_id) == upload
        for bucket, key, upload_id in [
            ("shelf", "another key", upload.upload_id),
            ("other", "key", upload.upload_id),
            ("shelf", "key", "upload-0"),
        ]:
            with pytest.raises(errors.UploadNotFound):
                await catalog.upload(bucket, key, upload_id)
            with pytest.raises(errors.UploadNotFound):
                await catalog.abort_upload(bucket, key, upload_id)
        with pytest.raises(errors.BucketNotFound):
            await catalog.upload("nowhere", "key", upload.upload_id)
        with pytest.raises(errors.BucketNotFound):
            await catalog.create_upload(make.upload(bucket="nowhere"))

    asyncio.run(story())


def test_parts_come_by_number_in_pages(catalog, make):
    async def story():
        upload, _ = await open_with_parts(catalog, make)
        blobs = {number: make.file() for number in (9, 2, 10_000, 1)}
        for number, blob in blobs.items():
            await catalog.put_part(upload, make.part(number, blob), blob)

        async def numbers(**how):
            return [part.number for part in await catalog.parts(upload.upload_id, **how)]

        assert await numbers() == [1, 2, 9, 10_000]
        assert await numbers(after=1, limit=2) == [2, 9]
        assert await numbers(after=10_000) == []
        assert await numbers(limit=0) == []
        assert await catalog.parts(upload.upload_id, after=2, limit=1) == [make.part(9, blobs[9])]
        assert list(await catalog.parts("upload-0")) == []

    asyncio.run(story())


@pytest.mark.parametrize("beyond", [2**63 - 1, 2**63, 2**100])
def test_part_numbers_beyond_64_bits_are_just_beyond_the_last_part(catalog, make, beyond):
    async def story():
        upload, parts = await open_with_parts(catalog, make, make.file(), make.inline())

        assert list(await catalog.parts(upload.upload_id, after=beyond)) == []
        assert list(await catalog.parts(upload.upload_id, after=-beyond)) == parts
        assert list(await catalog.parts(upload.upload_id, limit=beyond)) == parts
        assert list(await catalog.parts(upload.upload_id, limit=-beyond)) == []
        assert (await catalog.list_uploads("shelf", limit=beyond)).uploads == (upload,)

    asyncio.run(story())


def test_an_upload_that_was_authorised_for_a_bucket_is_not_opened_in_its_successor(catalog, make):
    async def story():
        before, after = make.bucket(created_ms=5), make.bucket(created_ms=6)
        await catalog.create_bucket(before)
        upload = make.upload()
        await catalog.delete_bucket("shelf")
        await catalog.create_bucket(after)

        with pytest.raises(errors.BucketNotFound):
            await catalog.create_upload(dataclasses.replace(upload, bucket_made_ms=5))

        assert (await catalog.list_uploads("shelf", limit=10)).uploads == ()
        await catalog.create_upload(dataclasses.replace(upload, bucket_made_ms=6))
        assert await catalog.upload("shelf", "key", upload.upload_id) == upload

    asyncio.run(story())


def test_a_completion_that_was_authorised_for_another_bucket_changes_nothing(catalog, make):
    async def story():
        upload, parts = await open_with_parts(catalog, make, make.file())
        made_ms = (await catalog.bucket("shelf")).created_ms
        draft = make.draft()

        with pytest.raises(errors.BucketNotFound):
            await catalog.complete_upload(
                upload, dataclasses.replace(draft, bucket_made_ms=made_ms + 1), parts
            )

        assert list(await catalog.parts(upload.upload_id)) == parts
        await catalog.complete_upload(
            upload, dataclasses.replace(draft, bucket_made_ms=made_ms), parts
        )
        assert (await catalog.current("shelf", "key")).version == draft.version

    asyncio.run(story())


def test_a_part_uploaded_again_replaces_the_first_and_dooms_its_blob(catalog, make):
    async def story():
        first, second, inline = make.file(), make.file(), make.inline()
        upload, _ = await open_with_parts(catalog, make, first, inline)
        again = make.part(1, second)

        await catalog.put_part(upload, again, second)
        last = make.inline(b"other bytes")
        await catalog.put_part(upload, make.part(2, last), last)

        assert list(await catalog.parts(upload.upload_id)) == [again, make.part(2, last)]
        assert list(await catalog.doomed(limit=10)) == [make.ref(first)]
        with pytest.raises(errors.BlobMissing):
            await catalog.inline(inline.blob_id)

    asyncio.run(story())


def test_completing_takes_over_the_named_parts_and_dooms_the_others(catalog, make):
    async def story():
        blobs = [make.file(), make.inline(), make.file(), make.inline(b"unused")]
        upload, parts = await open_with_parts(catalog, make, *blobs)
        draft = make.draft(size=1234)

        await catalog.complete_upload(upload, draft, [parts[0], parts[1]])

        stored = await catalog.current("shelf", "key")
        assert stored == records.Stored(draft.version, draft.envelope, draft.body, draft.marks)
        refs = await catalog.blob_refs(draft.version)
        assert list(refs) == [make.ref(blobs[0]), make.ref(blobs[1])]
        assert await catalog.inline(blobs[1].blob_id) == blobs[1].data
        assert list(await catalog.doomed(limit=10)) == [make.ref(blobs[2])]
        with pytest.raises(errors.BlobMissing):
            await catalog.inline(blobs[3].blob_id)
        assert await catalog.usage() == records.Usage(1, 1, 0, 1)

    asyncio.run(story())


def test_a_completed_upload_is_gone_but_its_outcome_is_remembered(catalog, make):
    async def story():
        upload, parts = await open_with_parts(catalog, make, make.file())
        draft = make.draft()
        await catalog.complete_upload(upload, draft, parts)

        again = make.file()
        with pytest.raises(errors.UploadNotFound):
            await catalog.upload("shelf", "key", upload.upload_id)
        with pytest.raises(errors.UploadNotFound):
            await catalog.put_part(upload, make.part(2, again), again)
        with pytest.raises(errors.UploadNotFound):
            await catalog.complete_upload(upload, make.draft(), parts)
        with pytest.raises(errors.UploadNotFound):
            await catalog.abort_upload("shelf", "key", upload.upload_id)
        assert list(await catalog.parts(upload.upload_id)) == []
        assert await catalog.completion("shelf", "key", upload.upload_id) == records.Completion(
            upload_id=upload.upload_id,
            bucket="shelf",
            key="key",
            version_id=draft.version.version_id,
            etag=draft.version.etag,
            generation=draft.version.generation,
            completed_ms=draft.version.modified_ms,
        )
        assert await catalog.completion("shelf", "other", upload.upload_id) is None
        assert await catalog.completion("nowhere", "key", upload.upload_id) is None

    asyncio.run(story())


def test_completing_replaces_the_current_version(catalog, make):
    async def story():
        upload, parts = await open_with_parts(catalog, make, make.file())
        old = make.file()
        before = make.draft("key", old)
        await catalog.put_version(before)
        seen = []

        await catalog.complete_upload(upload, make.draft(), parts, seen.append)

        assert seen == [before.version]
        assert list(await catalog.doomed(limit=10)) == [make.ref(old)]
        await catalog.delete_version("shelf", "key")
        doomed = {ref.blob_id for ref in await catalog.doomed(limit=10)}
        assert doomed == {old.blob_id, parts[0].blob_id}

    asyncio.run(story())


def test_a_part_replaced_meanwhile_stops_the_completion_whole(catalog, make):
    async def story():
        upload, parts = await open_with_parts(catalog, make, make.file(), make.file())
        newer = make.file()
        replacement = make.part(2, newer)
        await catalog.put_part(upload, replacement, newer)
        doomed = await catalog.doomed(limit=10)

        with pytest.raises(errors.InvalidPart) as caught:
            await catalog.complete_upload(upload, make.draft(), parts)
        with pytest.raises(errors.InvalidPart):
            await catalog.complete_upload(upload, make.draft(), [make.part(7, make.file())])

        assert (caught.value.number, caught.value.etag) == (2, parts[1].etag)
        assert list(await catalog.parts(upload.upload_id)) == [parts[0], replacement]
        assert await catalog.doomed(limit=10) == doomed
        with pytest.raises(errors.ObjectNotFound):
            await catalog.current("shelf", "key")
        await catalog.complete_upload(upload, make.draft(), [parts[0], replacement])

    asyncio.run(story())


def test_of_racing_completions_exactly_one_wins(catalog, make):
    async def story():
        upload, parts = await open_with_parts(catalog, make, make.file())

        outcomes = await asyncio.gather(
            *(catalog.complete_upload(upload, make.draft(), parts) for _ in range(8)),
            return_exceptions=True,
        )

        assert sum(out is None for out in outcomes) == 1
        assert sum(isinstance(out, errors.UploadNotFound) for out in outcomes) == 7
        assert list(await catalog.doomed(limit=10)) == []

    asyncio.run(story())


def test_completions_are_forgotten_after_a_week_not_before(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        start = 1_700_000_000_000

        async def complete(modified_ms):
            upload, blob = make.upload(), make.file()
            await catalog.create_upload(upload)
            part = make.part(1, blob)
            await catalog.put_part(upload, part, blob)
            await catalog.complete_upload(upload, make.draft(modified_ms=modified_ms), [part])
            return upload.upload_id

        first = await complete(start)
        await complete(start + port.COMPLETION_KEPT_MS)
        assert await catalog.completion("shelf", "key", first) is not None
        await complete(start + port.COMPLETION_KEPT_MS + 1)
        assert await catalog.completion("shelf", "key", first) is None

    asyncio.run(story())


def test_an_aborted_upload_dooms_its_blobs(catalog, make):
    async def story():
        filed, inline = make.file(), make.inline()
        upload, _ = await open_with_parts(catalog, make, filed, inline)

        await catalog.abort_upload("shelf", "key", upload.upload_id)

        assert list(await catalog.doomed(limit=10)) == [make.ref(filed)]
        with pytest.raises(errors.BlobMissing):
            await catalog.inline(inline.blob_id)
        with pytest.raises(errors.UploadNotFound):
            await catalog.abort_upload("shelf", "key", upload.upload_id)
        with pytest.raises(errors.BucketNotFound):
            await catalog.abort_upload("nowhere", "key", upload.upload_id)
        assert (await catalog.usage()).uploads == 0

    asyncio.run(story())


def test_uploads_are_listed_by_key_then_time_then_id(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        expected = [
            make.upload("a", initiated_ms=5, upload_id="z"),
            make.upload("a", initiated_ms=6, upload_id="b"),
            make.upload("a", initiated_ms=6, upload_id="c"),
            make.upload("b", initiated_ms=1, upload_id="a"),
        ]
        for upload in reversed(expected):
            await catalog.create_upload(upload)

        assert list((await catalog.list_uploads("shelf", limit=9)).uploads) == expected

    asyncio.run(story())


def test_a_marker_whose_upload_is_gone_lists_its_key_again(catalog, make):
    async def story():
        await catalog.create_bucket(make.bucket())
        one, two, other = make.upload("a"), make.upload("a"), make.upload("b")
        for upload in (one, two, other):
            await catalog.create_upload(upload)
        page = await catalog.list_uploads("shelf", limit=1)
        assert page.next_after == ("a", one.upload_id)

        await catalog.abort_upload("shelf", "a", one.upload_id)

        page = await catalog.list_uploads("shelf", after=page.next_after, limit=9)
        assert list(page.uploads) == [two, other]

    asyncio.run(story())
