"""Copies between all modes, whole and in ranges: bytes, headers, ETags, and what is shared.

S002.36, S002.37, S002.38, S002.45; S003.3.
"""

import base64
import hashlib
import zlib

import pytest

from strongroom.crypto import body as bodies
from strongroom.store import records

SSE = "x-amz-server-side-encryption"
COPY = "x-amz-copy-source-server-side-encryption"
KEY_ID = f"{SSE}-aws-kms-key-id"
SMALL, LARGE = b"123456789", b"".join(n.to_bytes(4) for n in range(50_000))
PART = bytes(range(256)) * 20_480
MODES = ["SSE-S3", "SSE-KMS", "DSSE-KMS", "SSE-C"]
SERVER_HELD = {"SSE-S3", "SSE-KMS"}
BODY = pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["empty", "inline", "large"])
SOURCE = pytest.mark.parametrize("source", MODES)
TARGET = pytest.mark.parametrize("target", MODES)


def md5(body):
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


@pytest.fixture
def arns(bucket):
    """Two KMS keys: a source's and a target's."""
    return [bucket.add_kms_key(number) for number in (1, 2)]


@pytest.fixture
def writing(arns, key, other_key):
    """The headers that write an object in a mode, of a source and of a target."""

    def headers(mode, side):
        return {
            "SSE-S3": {SSE: "AES256"},
            "SSE-KMS": {SSE: "aws:kms", KEY_ID: arns[side]},
            "DSSE-KMS": {SSE: "aws:kms:dsse", KEY_ID: arns[side]},
            "SSE-C": (key, other_key)[side].headers(),
        }[mode]

    return headers


def reading(headers):
    return {name: value for name, value in headers.items() if "customer" in name}


def from_source(headers, place="bucket/a"):
    triple = {name.replace(SSE, COPY): value for name, value in reading(headers).items()}
    return {"x-amz-copy-source": place} | triple


def check_shown(answer, headers):
    """Check that an answer shows the encryption that these headers asked for, and no other."""
    shown = {name: value for name, value in answer.headers.items() if name.startswith(SSE)}
    expected = {name.lower(): value for name, value in headers.items()}
    expected.pop(f"{SSE}-customer-key", None)
    assert shown == expected


def stored(store, key):
    return store.run(store.catalog.current("bucket", key))


def blob_ids(store, key):
    found = stored(store, key)
    return [part.blob_id for part in bodies.parse(found.body).parts]


@SOURCE
@TARGET
@BODY
def test_a_whole_copy(bucket, writing, source, target, body):
    old, new = writing(source, 0), writing(target, 1)
    put = bucket.ask("PUT", "/bucket/a", old | {"x-amz-meta-film": "Metropolis"}, body)
    check_shown(put, old)

    copied = bucket.ask("PUT", "/bucket/b", from_source(old) | new)

    assert copied.status == 200
    check_shown(copied, new)
    got = bucket.ask("GET", "/bucket/b", reading(new))
    assert got.body == body
    assert got.headers["x-amz-meta-film"] == "Metropolis"
    check_shown(got, new)
    assert copied.text("ETag") == got.headers["etag"]
    assert (got.headers["etag"] == md5(body)) == (target == "SSE-S3")
    assert got.headers["etag"] != put.headers["etag"] or {source, target} == {"SSE-S3"}
    shares = {source, target} <= SERVER_HELD or {source, target} == {"SSE-C"}
    assert (blob_ids(bucket, "a") == blob_ids(bucket, "b")) == shares
    assert bodies.parse(stored(bucket, "b").body).layers == (2 if target == "DSSE-KMS" else 1)
    # The source is as it was.
    assert bucket.ask("GET", "/bucket/a", reading(old)).body == body


@SOURCE
@TARGET
def test_a_copy_onto_itself_changes_the_encryption(bucket, writing, source, target):
    old, new = writing(source, 0), writing(target, 1)
    bucket.ask("PUT", "/bucket/a", old, LARGE)

    copied = bucket.ask("PUT", "/bucket/a", from_source(old) | new)

    assert copied.status == 200
    got = bucket.ask("GET", "/bucket/a", reading(new))
    assert got.body == LARGE
    check_shown(got, new)
    bucket.run(bucket.core.collector.collect())
    assert bucket.ask("GET", "/bucket/a", reading(new)).body == LARGE
    assert len(bucket.blobs.stored) == 1


@SOURCE
@TARGET
def test_copies_of_ranges_into_parts(bucket, writing, source, target):
    old, new = writing(source, 0), writing(target, 1)
    bucket.ask("PUT", "/bucket/a", old, PART + LARGE)
    begun = bucket.ask("POST", "/bucket/b?uploads", new)
    check_shown(begun, new)
    place = f"/bucket/b?uploadId={begun.text('UploadId')}"
    listed, expected = "", b""
    for number, (first, last) in enumerate(
        [(1, len(PART)), (65_479, 65_480), (len(PART) - 1, len(PART) + len(LARGE) - 1)], 1
    ):
        if number == 2:
            # In the middle a part that was uploaded, and large enough.
            answer = bucket.ask("PUT", f"{place}&partNumber=2", reading(new), PART)
            etag, piece = answer.headers["etag"], PART
        else:
            ranged = {"x-amz-copy-source-range": f"bytes={first}-{last}"}
            answer = bucket.ask(
                "PUT", f"{place}&partNumber={number}", from_source(old) | ranged | reading(new)
            )
            etag, piece = answer.text("ETag"), (PART + LARGE)[first : last + 1]
        assert answer.status == 200
        check_shown(answer, new)
        assert (etag == md5(piece)) == (target == "SSE-S3")
        expected += piece
        listed += f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
    document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()

    done = bucket.ask("POST", place, {}, document)

    assert done.status == 200
    got = bucket.ask("GET", "/bucket/b", reading(new))
    assert got.body == expected
    check_shown(got, new)
    third = bucket.ask("GET", "/bucket/b?partNumber=3", reading(new))
    assert third.body == expected[2 * len(PART) :]
    middle = {"Range": f"bytes={len(PART) - 3}-{len(PART) + 3}"} | reading(new)
    assert bucket.ask("GET", "/bucket/b", middle).body == expected[len(PART) - 3 : len(PART) + 4]


@SOURCE
@TARGET
def test_the_copy_of_an_upload_in_parts(bucket, writing, source, target):
    old, new = writing(source, 0), writing(target, 1)
    crc32 = {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"}
    begun = bucket.ask("POST", "/bucket/a?uploads", old | crc32).text("UploadId")
    place = f"/bucket/a?uploadId={begun}"
    listed = ""
    for number, piece in ((1, PART), (2, SMALL)):
        etag = bucket.ask("PUT", f"{place}&partNumber={number}", reading(old), piece).headers
        listed += f"<Part><PartNumber>{number}</PartNumber><ETag>{etag['etag']}</ETag></Part>"
    document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    assert bucket.ask("POST", place, reading(old), document).status == 200

    copied = bucket.ask("PUT", "/bucket/b", from_source(old) | new)

    assert copied.status == 200
    head = bucket.ask("HEAD", "/bucket/b", reading(new) | {"x-amz-checksum-mode": "ENABLED"})
    expected = base64.b64encode(zlib.crc32(PART + SMALL).to_bytes(4)).decode()
    assert head.headers["x-amz-checksum-crc32"] == expected
    assert "-" not in head.headers["etag"]
    assert (head.headers["etag"] == md5(PART + SMALL)) == (target == "SSE-S3")
    assert bucket.ask("GET", "/bucket/b", reading(new)).body == PART + SMALL


@SOURCE
@TARGET
def test_a_source_that_cannot_be_opened_leaves_nothing_behind(
    bucket, arns, writing, source, target
):
    old, new = writing(source, 0), writing(target, 1)
    bucket.ask("PUT", "/bucket/a", old, LARGE)
    wrong, expected = {"x-amz-copy-source": "bucket/a"}, (400, "InvalidRequest")
    if source in ("SSE-KMS", "DSSE-KMS"):
        bucket.change_kms_key(arns[0], enabled=False)
        expected = (400, "KMS.DisabledException")
    elif source == "SSE-S3":
        wrong |= from_source(writing("SSE-C", 1))
    before = bucket.remains

    refused = bucket.ask("PUT", "/bucket/b", wrong | new)

    assert (refused.status, refused.fault.code) == expected
    assert bucket.remains == before


@SOURCE
def test_every_mode_is_one_of_the_catalogs(bucket, writing, source):
    bucket.ask("PUT", "/bucket/a", writing(source, 0), SMALL)

    version = stored(bucket, "a").version

    assert version.mode == source
    assert version.version_id == records.NULL_VERSION


def test_a_copy_gets_the_default_of_its_own_bucket(bucket, arns, key):
    """S002.45: what a copy is encrypted with does not depend on its source."""
    document = (
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>"
        f"<KMSMasterKeyID>{arns[1]}</KMSMasterKeyID><SSEAlgorithm>aws:kms</SSEAlgorithm>"
        "</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
    ).encode()
    digest = base64.b64encode(hashlib.md5(document, usedforsecurity=False).digest()).decode()
    bucket.ask("PUT", "/target")
    assert bucket.ask("PUT", "/target?encryption", {"Content-MD5": digest}, document).status == 200
    bucket.ask("PUT", "/bucket/a", key.headers(), LARGE)

    there = bucket.ask("PUT", "/target/b", from_source(key.headers()))
    here = bucket.ask("PUT", "/bucket/b", from_source(key.headers()))

    assert there.headers[KEY_ID] == arns[1]
    assert here.headers[SSE] == "AES256"
    assert bucket.ask("GET", "/target/b").body == LARGE
