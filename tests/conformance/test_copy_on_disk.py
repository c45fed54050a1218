"""On a disk: a copy leaves the data's file alone where it may share it, and makes one where not."""

import pytest
from botocore import exceptions

SIZE = 300_000
PART = 5 * 1024 * 1024


@pytest.fixture
def keys(customer):
    return {None: None, 1: customer(), 2: customer()}


def options(held):
    return {} if held is None else held.options


def of_source(held):
    if held is None:
        return {}
    return {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": held.raw}


@pytest.fixture
def copy(s3, bucket):
    """Copy from one key's object to another's, or onto itself."""

    def copied(source, target, key="copy"):
        return s3.copy_object(
            Bucket=bucket,
            Key=key,
            CopySource={"Bucket": bucket, "Key": "film"},
            **of_source(source),
            **options(target),
        )

    return copied


@pytest.fixture
def files(server, bucket, stored_parts):
    """Tell of an object's files what `ls -i` and `stat` do, and their bytes."""

    def found(key):
        parts = stored_parts(server.data_dir, bucket, key)
        return [
            (part.file, (told := part.file.stat()).st_ino, told.st_mtime_ns, part.sealed)
            for part in parts
        ]

    return found


@pytest.fixture
def every_file(server, blob_files):
    return lambda: set(blob_files(server.data_dir))


@pytest.mark.parametrize(("source", "target"), [(None, None), (1, 1), (1, 2)])
def test_a_copy_on_the_same_side_shares_the_file(
    s3, bucket, keys, content, copy, files, every_file, source, target
):
    s3.put_object(Bucket=bucket, Key="film", Body=content(SIZE), **options(keys[source]))
    before, all_before = files("film"), every_file()

    copy(keys[source], keys[target])

    assert files("film") == files("copy") == before
    assert every_file() <= all_before
    got = s3.get_object(Bucket=bucket, Key="copy", **options(keys[target]))
    assert got["Body"].read() == content(SIZE)


def test_a_new_key_leaves_the_file_untouched(
    server, s3, bucket, keys, content, copy, files, every_file, read_catalog
):
    s3.put_object(Bucket=bucket, Key="film", Body=content(SIZE), **options(keys[1]))
    before, all_before = files("film"), every_file()
    (old,) = _envelopes(read_catalog, server, bucket)

    copy(keys[1], keys[2], key="film")

    (new,) = _envelopes(read_catalog, server, bucket)
    assert files("film") == before
    assert every_file() <= all_before
    assert old != new
    got = s3.get_object(Bucket=bucket, Key="film", **options(keys[2]))
    assert got["Body"].read() == content(SIZE)
    with pytest.raises(exceptions.ClientError, match="correct secret key"):
        s3.get_object(Bucket=bucket, Key="film", **options(keys[1]))


def _envelopes(read_catalog, server, bucket):
    return read_catalog(
        server.data_dir,
        "SELECT envelopes.envelope FROM buckets JOIN versions USING (bucket_id)"
        " JOIN envelopes USING (envelope_id) WHERE buckets.name = ?",
        bucket,
    )


@pytest.mark.parametrize(("source", "target"), [(None, 1), (1, None)])
def test_a_copy_across_the_border_has_a_file_of_its_own(
    s3, bucket, keys, content, copy, files, every_file, source, target
):
    s3.put_object(Bucket=bucket, Key="film", Body=content(SIZE), **options(keys[source]))
    before, all_before = files("film"), every_file()

    copy(keys[source], keys[target])

    ((path, inode, _, sealed),) = files("copy")
    assert files("film") == before
    assert every_file() - all_before == {path}
    assert inode != before[0][1]
    assert sealed[40:1000] != before[0][3][40:1000]
    got = s3.get_object(Bucket=bucket, Key="copy", **options(keys[target]))
    assert got["Body"].read() == content(SIZE)


@pytest.mark.parametrize(("source", "target"), [(None, None), (1, 2)])
def test_an_object_in_parts_shares_all_its_files(
    s3, bucket, keys, content, copy, files, every_file, source, target
):
    pieces = [content(PART), content(SIZE, seed=1)]
    place = {"Bucket": bucket, "Key": "film"}
    opened = s3.create_multipart_upload(**place, **options(keys[source]))
    place["UploadId"] = opened["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**place, PartNumber=number, Body=piece, **options(keys[source]))[
                "ETag"
            ],
        }
        for number, piece in enumerate(pieces, 1)
    ]
    s3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
    before, all_before = files("film"), every_file()

    copy(keys[source], keys[target])

    assert len(before) == 2
    assert files("copy") == files("film") == before
    assert every_file() <= all_before
    got = s3.get_object(Bucket=bucket, Key="copy", **options(keys[target]))
    assert got["Body"].read() == b"".join(pieces)


def test_a_copied_part_has_a_file_of_its_own(s3, bucket, keys, content, files, every_file):
    s3.put_object(Bucket=bucket, Key="film", Body=content(SIZE), **options(keys[1]))
    before, all_before = files("film"), every_file()
    place = {"Bucket": bucket, "Key": "copy"}
    opened = s3.create_multipart_upload(**place, **options(keys[1]))
    place["UploadId"] = opened["UploadId"]

    part = s3.upload_part_copy(
        **place,
        PartNumber=1,
        CopySource={"Bucket": bucket, "Key": "film"},
        CopySourceRange="bytes=1000-299999",
        **of_source(keys[1]),
        **options(keys[1]),
    )["CopyPartResult"]
    named = [{"PartNumber": 1, "ETag": part["ETag"]}]
    s3.complete_multipart_upload(**place, MultipartUpload={"Parts": named})

    ((path, *_),) = files("copy")
    assert files("film") == before
    assert every_file() - all_before == {path}
    got = s3.get_object(Bucket=bucket, Key="copy", **options(keys[1]))
    assert got["Body"].read() == content(SIZE)[1000:]


def test_a_shared_file_outlives_its_first_object_and_a_restart(
    make_server, customer, content, stored_parts
):
    first, second = customer(), customer()
    server = make_server()
    s3 = server.boto3_client()
    s3.create_bucket(Bucket="attic")
    s3.put_object(Bucket="attic", Key="film", Body=content(SIZE), **first.options)
    (part,) = stored_parts(server.data_dir, "attic", "film")
    before = part.file.stat()
    s3.copy_object(
        Bucket="attic",
        Key="copy",
        CopySource="attic/film",
        **of_source(first),
        **second.options,
    )
    s3.delete_object(Bucket="attic", Key="film")
    s3.close()

    server.restart()

    s3 = server.boto3_client()
    after = part.file.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    got = s3.get_object(Bucket="attic", Key="copy", **second.options)
    assert got["Body"].read() == content(SIZE)
    s3.close()


def test_a_wrong_source_key_writes_no_file(s3, bucket, keys, content, copy, every_file):
    s3.put_object(Bucket=bucket, Key="film", Body=content(SIZE), **options(keys[1]))
    all_before = every_file()

    for target in (None, 1, 2):
        with pytest.raises(exceptions.ClientError, match="correct secret key"):
            copy(keys[2], keys[target])

    assert every_file() <= all_before
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
