"""Multipart uploads as a user of S3 expects them."""

import base64
import hashlib
import zlib

import pytest

from strongroom import errors

MIN = 5 * 1024 * 1024
PART = bytes(range(256)) * (MIN // 256)
EMPTY = (set(), set(), set())


def b64(raw):
    return base64.b64encode(raw).decode()


def crc32(body):
    return b64(zlib.crc32(body).to_bytes(4, "big"))


class Upload:
    """An open upload of `/bucket/big`."""

    def __init__(self, store, headers=None):
        self.store = store
        self.created = store.ask("POST", "/bucket/big?uploads", headers)
        assert self.created.status == 200
        self.upload_id = self.created.text("UploadId")
        self.target = f"/bucket/big?uploadId={self.upload_id}"

    def part(self, number, body, headers=None):
        target = f"/bucket/big?partNumber={number}&uploadId={self.upload_id}"
        return self.store.ask("PUT", target, headers, body)

    def document(self, *parts):
        """Return a Complete's document; a part is (number, ETag, further elements)."""
        inside = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{''.join(more)}</Part>"
            for number, etag, *more in parts
        )
        return f"<CompleteMultipartUpload>{inside}</CompleteMultipartUpload>".encode()

    def complete(self, *parts, headers=None):
        return self.store.ask("POST", self.target, headers, self.document(*parts))

    def listed(self, query=""):
        return self.store.ask("GET", self.target + query)

    def abort(self):
        return self.store.ask("DELETE", self.target)


@pytest.fixture
def upload(bucket):
    return Upload(bucket)


def test_parts_become_one_object_in_order_of_their_numbers(bucket, upload):
    last = upload.part(7, b"last").headers["etag"]
    first = upload.part(2, PART).headers["etag"]

    done = upload.complete((2, first), (7, last))
    got = bucket.ask("GET", "/bucket/big")

    digests = bytes.fromhex(first.strip('"') + last.strip('"'))
    expected = hashlib.md5(digests, usedforsecurity=False).hexdigest()
    assert done.status == 200
    assert done.text("ETag") == got.headers["etag"] == f'"{expected}-2"'
    assert done.text("Bucket") == "bucket"
    assert done.text("Key") == "big"
    assert done.text("Location") == f"https://127.0.0.1:9{upload.target.partition('?')[0]}"
    assert done.headers["x-amz-server-side-encryption"] == "AES256"
    assert got.body == PART + b"last"


def test_a_finished_upload_is_gone_and_its_answer_repeats(upload):
    etag = upload.part(1, b"only").headers["etag"]
    first = upload.complete((1, etag))

    again = upload.complete((1, etag))

    assert (again.status, again.text("ETag")) == (200, first.text("ETag"))
    assert upload.listed().fault.code == "NoSuchUpload"
    assert upload.part(1, b"x").fault.code == "NoSuchUpload"
    assert upload.abort().fault.code == "NoSuchUpload"


@pytest.mark.parametrize("what", ["overwritten", "deleted"])
def test_the_answer_of_an_object_that_is_gone_is_not_repeated(bucket, upload, what):
    etag = upload.part(1, b"only").headers["etag"]
    upload.complete((1, etag))
    if what == "deleted":
        bucket.ask("DELETE", "/bucket/big")
    else:
        bucket.ask("PUT", "/bucket/big", {}, b"new")

    assert upload.complete((1, etag)).fault.code == "NoSuchUpload"


def test_a_part_uploaded_again_takes_the_place_of_the_first(bucket, upload):
    upload.part(1, b"first" * 10_000)
    etag = upload.part(1, b"second").headers["etag"]

    assert upload.complete((1, etag)).status == 200
    bucket.run(bucket.core.collector.collect())

    assert bucket.ask("GET", "/bucket/big").body == b"second"
    assert bucket.blobs.stored == {}


def test_parts_that_are_not_named_are_dropped(bucket, upload):
    upload.part(1, b"unwanted" * 10_000)
    etag = upload.part(2, b"wanted").headers["etag"]

    upload.complete((2, etag))
    bucket.run(bucket.core.collector.collect())

    assert bucket.ask("GET", "/bucket/big").body == b"wanted"
    assert bucket.blobs.stored == {}


def test_an_abort_leaves_nothing(bucket, upload):
    upload.part(1, PART)
    upload.part(2, b"small")

    answer = upload.abort()
    bucket.run(bucket.core.collector.collect())

    assert (answer.status, answer.body) == (204, b"")
    assert bucket.remains == EMPTY
    assert upload.abort().fault.code == "NoSuchUpload"


def test_deleting_the_bucket_drops_its_uploads(bucket, upload):
    upload.part(1, PART)

    assert bucket.ask("DELETE", "/bucket").status == 204
    bucket.run(bucket.core.collector.collect())

    assert bucket.remains == EMPTY


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        (lambda one, two: [(2, two), (1, one)], "InvalidPartOrder"),
        (lambda one, _: [(1, one), (1, one)], "InvalidPartOrder"),
        (lambda one, _: [(1, one), (3, one)], "InvalidPart"),
        (lambda _, two: [(1, two)], "InvalidPart"),
        (lambda one, two: [(1, one), (2, two)], "EntityTooSmall"),
        (lambda *_: [], "MalformedXML"),
        (lambda one, _: [(0, one)], "InvalidPart"),
        (lambda one, _: [("x", one)], "MalformedXML"),
        (lambda one, _: [(1, one, "<Unknown/>")], "MalformedXML"),
    ],
    ids=["order", "twice", "no-such", "other-etag", "small", "none", "zero", "number", "element"],
)
def test_a_complete_that_cannot_be_is_refused_and_changes_nothing(bucket, upload, parts, code):
    one = upload.part(1, b"small").headers["etag"]
    two = upload.part(2, b"other").headers["etag"]

    answer = upload.complete(*parts(one, two))

    assert (answer.status, answer.fault.code) == (400, code)
    assert upload.listed().body.count(b"<Part>") == 2
    assert bucket.catalog.keys == set()


def test_a_small_part_is_told_with_its_size(upload):
    one = upload.part(1, b"small").headers["etag"]
    two = upload.part(2, b"other").headers["etag"]

    fields = upload.complete((1, one), (2, two)).fault.fields

    assert fields["ProposedSize"] == "5"
    assert fields["MinSizeAllowed"] == str(MIN)
    assert fields["PartNumber"] == "1"


@pytest.mark.parametrize("document", [b"", b"no xml", b"<Other/>", b"<CompleteMultipartUpload/>"])
def test_a_complete_needs_a_document(upload, document):
    answer = upload.store.ask("POST", upload.target, {}, document)

    assert answer.status == 400
    assert answer.fault.code in {"MalformedXML", "InvalidRequest"}


@pytest.mark.parametrize("number", ["0", "-1", "10001", "x", "", "1.5", "9" * 5000])
def test_part_numbers_go_from_1_to_10000(upload, number):
    answer = upload.part(number, b"x")

    assert (answer.status, answer.fault.code) == (400, "InvalidArgument")
    assert upload.listed().body.count(b"<Part>") == 0


def test_the_highest_part_number_is_taken(upload):
    assert upload.part(10_000, b"x").status == 200


def test_an_upload_belongs_to_its_key(bucket, upload):
    target = f"/bucket/other?partNumber=1&uploadId={upload.upload_id}"

    assert bucket.ask("PUT", target, {}, b"x").fault.code == "NoSuchUpload"


@pytest.mark.parametrize(
    ("headers", "options", "code"),
    [
        ({"content-md5": b64(bytes(16))}, {}, "BadDigest"),
        ({"x-amz-checksum-crc32": "AAAAAA=="}, {}, "BadDigest"),
        ({}, {"payload": "0" * 64}, "XAmzContentSHA256Mismatch"),
        ({}, {"unsigned": {"content-length": None}}, "MissingContentLength"),
    ],
)
@pytest.mark.parametrize("body", [b"small", PART[:100_000]], ids=["small", "large"])
def test_a_bad_part_leaves_the_old_one(bucket, upload, headers, options, code, body):
    upload.part(1, b"good")
    before = bucket.remains
    target = f"/bucket/big?partNumber=1&uploadId={upload.upload_id}"

    answer = bucket.ask("PUT", target, headers, body, **options)

    assert answer.fault.code == code
    assert bucket.remains == before
    assert b"<Size>4</Size>" in upload.listed().body


@pytest.mark.parametrize("failure", [errors.StoreFull("disk"), errors.UploadNotFound("u")])
def test_a_part_that_fails_at_its_commit_leaves_nothing(bucket, upload, failure):
    bucket.catalog.failure = failure

    answer = upload.part(1, PART)

    assert answer.status >= 400
    assert bucket.remains == EMPTY


def test_the_object_has_the_headers_that_the_upload_began_with(bucket):
    upload = Upload(bucket, {"content-type": "text/plain", "x-amz-meta-a": "b"})
    etag = upload.part(1, b"x", {"content-type": "image/png", "x-amz-meta-c": "d"}).headers["etag"]
    upload.complete((1, etag))

    head = bucket.ask("HEAD", "/bucket/big")

    assert head.headers["content-type"] == "text/plain"
    assert head.headers["x-amz-meta-a"] == "b"
    assert "x-amz-meta-c" not in head.headers


# Conditions


@pytest.mark.parametrize(
    ("headers", "exists", "status"),
    [
        ({"if-none-match": "*"}, False, 200),
        ({"if-none-match": "*"}, True, 412),
        ({"if-match": '"other"'}, True, 412),
        ({"if-match": "*"}, True, 200),
        ({"if-match": "*"}, False, 404),
    ],
)
def test_a_complete_obeys_its_conditions(bucket, upload, headers, exists, status):
    if exists:
        bucket.ask("PUT", "/bucket/big", {}, b"old")
    etag = upload.part(1, b"new").headers["etag"]

    answer = upload.complete((1, etag), headers=headers)

    assert answer.status == status
    if status != 200:
        # Nothing is lost: the upload may be completed without the condition.
        assert upload.complete((1, etag)).status == 200


# Checksums


def test_a_composite_checksum_is_made_of_the_parts(bucket):
    upload = Upload(bucket, {"x-amz-checksum-algorithm": "SHA256"})
    digests = [hashlib.sha256(body).digest() for body in (PART, b"last")]
    parts = []
    for number, body in enumerate((PART, b"last"), 1):
        digest = b64(digests[number - 1])
        answer = upload.part(number, body, {"x-amz-checksum-sha256": digest})
        assert answer.headers["x-amz-checksum-sha256"] == digest
        more = f"<ChecksumSHA256>{digest}</ChecksumSHA256>"
        parts.append((number, answer.headers["etag"], more))

    done = upload.complete(*parts)
    head = bucket.ask("HEAD", "/bucket/big", {"x-amz-checksum-mode": "ENABLED"})

    expected = b64(hashlib.sha256(b"".join(digests)).digest()) + "-2"
    assert upload.created.headers["x-amz-checksum-algorithm"] == "SHA256"
    assert upload.created.headers["x-amz-checksum-type"] == "COMPOSITE"
    assert done.text("ChecksumSHA256") == head.headers["x-amz-checksum-sha256"] == expected
    assert done.text("ChecksumType") == head.headers["x-amz-checksum-type"] == "COMPOSITE"


@pytest.mark.parametrize("sealed", [False, True], ids=["sse-s3", "sse-c"])
def test_a_full_object_checksum_is_that_of_the_whole(bucket, key, sealed):
    own = key.headers() if sealed else {}
    upload = Upload(
        bucket,
        own | {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"},
    )
    parts = []
    for number, body in enumerate((PART, b"last"), 1):
        answer = upload.part(number, body, own | {"x-amz-checksum-crc32": crc32(body)})
        parts.append((number, answer.headers["etag"]))
    whole = crc32(PART + b"last")

    wrong = upload.complete(*parts, headers={"x-amz-checksum-crc32": crc32(b"other")})
    done = upload.complete(
        *parts, headers={"x-amz-checksum-crc32": whole, "x-amz-checksum-type": "FULL_OBJECT"}
    )
    head = bucket.ask("HEAD", "/bucket/big", own | {"x-amz-checksum-mode": "ENABLED"})

    assert (wrong.status, wrong.fault.code) == (400, "BadDigest")
    assert done.status == 200
    assert done.text("ChecksumCRC32") == head.headers["x-amz-checksum-crc32"] == whole
    assert head.headers["x-amz-checksum-type"] == "FULL_OBJECT"


def test_a_composite_checksum_may_be_announced(bucket):
    upload = Upload(bucket, {"x-amz-checksum-algorithm": "SHA1"})
    digest = hashlib.sha1(b"only", usedforsecurity=False).digest()
    etag = upload.part(1, b"only").headers["etag"]
    part = (1, etag, f"<ChecksumSHA1>{b64(digest)}</ChecksumSHA1>")
    whole = b64(hashlib.sha1(digest, usedforsecurity=False).digest())

    wrong = upload.complete(part, headers={"x-amz-checksum-sha1": b64(digest) + "-1"})
    done = upload.complete(part, headers={"x-amz-checksum-sha1": whole + "-1"})

    assert wrong.fault.code == "BadDigest"
    assert done.status == 200


def test_the_size_may_be_announced(upload):
    etag = upload.part(1, b"four").headers["etag"]

    assert upload.complete((1, etag), headers={"x-amz-mp-object-size": "5"}).status == 400
    assert upload.complete((1, etag), headers={"x-amz-mp-object-size": "4"}).status == 200


def test_a_composite_upload_wants_the_checksum_of_every_part(bucket):
    upload = Upload(bucket, {"x-amz-checksum-algorithm": "SHA256"})
    etag = upload.part(1, b"x").headers["etag"]

    fault = upload.complete((1, etag)).fault

    assert fault.code == "InvalidRequest"
    assert "missing for part 1" in fault.message


def test_a_part_named_with_another_checksum_is_refused(bucket):
    upload = Upload(bucket, {"x-amz-checksum-algorithm": "CRC32"})
    etag = upload.part(1, b"x").headers["etag"]
    part = (1, etag, f"<ChecksumCRC32>{crc32(b'y')}</ChecksumCRC32>")

    assert upload.complete(part).fault.code == "InvalidPart"


def test_a_part_with_a_checksum_of_another_kind_is_refused(bucket):
    upload = Upload(bucket, {"x-amz-checksum-algorithm": "SHA256"})

    answer = upload.part(1, b"x", {"x-amz-checksum-crc32": crc32(b"x")})

    assert (answer.status, answer.fault.code) == (400, "InvalidRequest")


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-algorithm": "CRC99"},
        {"x-amz-checksum-type": "COMPOSITE"},
        {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-type": "FULL_OBJECT"},
        {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "COMPOSITE"},
        {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "OTHER"},
    ],
)
def test_checksums_that_cannot_be_are_refused_at_once(bucket, headers):
    answer = bucket.ask("POST", "/bucket/big?uploads", headers)

    assert (answer.status, answer.fault.code) == (400, "InvalidRequest")


# Reading by part


@pytest.fixture(params=[False, True], ids=["sse-s3", "sse-c"])
def own(request, key):
    """The headers that go with each request of one test."""
    return key.headers() if request.param else {}


@pytest.fixture
def in_parts(bucket, own):
    upload = Upload(bucket, own)
    parts = [(n, upload.part(n, body, own).headers["etag"]) for n, body in ((2, PART), (5, b"end"))]
    assert upload.complete(*parts).status == 200
    return bucket


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("number", "body", "first"), [(1, PART, 0), (2, b"end", MIN)])
def test_a_part_can_be_read_by_its_place(in_parts, own, method, number, body, first):
    # C: PartsCount, the part's length, the object's ETag
    whole = in_parts.ask("HEAD", "/bucket/big", own)

    answer = in_parts.ask(method, f"/bucket/big?partNumber={number}", own)

    assert answer.status == 206
    assert answer.body == (body if method == "GET" else b"")
    assert answer.headers["content-length"] == str(len(body))
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(body) - 1}/{MIN + 3}"
    assert answer.headers["x-amz-mp-parts-count"] == "2"
    assert answer.headers["etag"] == whole.headers["etag"]


def test_a_part_that_is_not_there_is_416(in_parts, own):
    # A
    answer = in_parts.ask("GET", "/bucket/big?partNumber=3", own)

    fault = answer.fault
    assert (fault.status, fault.code) == (416, "InvalidPartNumber")
    assert fault.message == "The requested partnumber is not satisfiable"
    assert fault.fields == {"ActualPartCount": "2", "PartNumberRequested": "3"}


def test_a_part_opens_with_the_objects_key_alone(in_parts, own, other_key):
    expected = 403 if own else 400

    assert in_parts.ask("GET", "/bucket/big?partNumber=1", other_key.headers()).status == expected


def test_an_object_in_one_piece_is_one_part(bucket):
    bucket.ask("PUT", "/bucket/k", {}, b"whole")

    assert bucket.ask("GET", "/bucket/k?partNumber=1").body == b"whole"
    assert bucket.ask("GET", "/bucket/k?partNumber=2").status == 416


def test_a_part_and_a_range_are_not_asked_for_at_once(in_parts, own):
    answer = in_parts.ask("GET", "/bucket/big?partNumber=1", own | {"range": "bytes=0-1"})

    assert (answer.status, answer.fault.code) == (400, "InvalidRequest")


# Listings


def test_parts_are_listed_in_pages(upload):
    for number in (1, 3, 5):
        upload.part(number, b"x" * number)

    first = upload.listed("&max-parts=2")
    second = upload.listed("&max-parts=2&part-number-marker=3")

    assert first.text("IsTruncated") == "true"
    assert first.text("NextPartNumberMarker") == "3"
    assert first.body.count(b"<Part>") == 2
    assert second.text("IsTruncated") == "false"
    assert second.text("Part", "PartNumber") == "5"
    assert second.text("Part", "Size") == "5"
    assert second.text("PartNumberMarker") == "3"


def test_listed_parts_show_the_uploads_checksums(bucket):
    upload = Upload(bucket, {"x-amz-checksum-algorithm": "CRC32"})
    upload.part(1, b"x")

    listed = upload.listed()

    assert listed.text("Part", "ChecksumCRC32") == crc32(b"x")
    assert listed.text("ChecksumAlgorithm") == "CRC32"


@pytest.mark.parametrize("query", ["&max-parts=-1", "&max-parts=x", "&part-number-marker=-1"])
def test_a_page_of_parts_that_cannot_be_is_refused(upload, query):
    assert upload.listed(query).fault.code == "InvalidArgument"


def test_open_uploads_are_listed_in_pages(s3):
    keys = ["a", "b/1", "b/2", "c", "c"]
    ids = [s3.create_multipart_upload(Bucket="bucket", Key=key)["UploadId"] for key in keys]

    found = []
    for page in s3.get_paginator("list_multipart_uploads").paginate(
        Bucket="bucket", PaginationConfig={"PageSize": 2}
    ):
        found += [(each["Key"], each["UploadId"]) for each in page["Uploads"]]
    rolled = s3.list_multipart_uploads(Bucket="bucket", Delimiter="/")
    some = s3.list_multipart_uploads(Bucket="bucket", Prefix="b/")

    assert [key for key, _ in found] == keys
    assert sorted(found) == sorted(zip(keys, ids, strict=True))
    assert [each["Key"] for each in rolled["Uploads"]] == ["a", "c", "c"]
    assert rolled["CommonPrefixes"] == [{"Prefix": "b/"}]
    assert len(some["Uploads"]) == 2


def test_boto3_sends_a_large_file_in_parts(s3, tmp_path, key):
    body = PART * 2 + b"end"
    (tmp_path / "file").write_bytes(body)
    for options in ({}, key.options):
        s3.upload_file(str(tmp_path / "file"), "bucket", "k", ExtraArgs=options)
        s3.download_file("bucket", "k", str(tmp_path / "back"), ExtraArgs=options)

        head = s3.head_object(Bucket="bucket", Key="k", **options)
        assert head["ETag"].endswith('-2"')
        assert (tmp_path / "back").read_bytes() == body
