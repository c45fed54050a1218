"""GetObjectAttributes, and objects read by the number of a part."""

import base64
import hashlib

import pytest

from strongroom import errors

SSE = "x-amz-server-side-encryption"
NAMED = {"ArgumentName": SSE}
KEYS_MUST = "Requests specifying Server Side Encryption with Customer provided keys must "
BAD_ALGORITHM = "The Encryption request you specified is not valid. Supported value: AES256."
NEEDS_KEY = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be"
    " provided to retrieve the object."
)
WRONG_KEY = KEYS_MUST + "provide the correct secret key."
NOT_APPLICABLE = "The encryption parameters are not applicable to this object."
ALL = "ETag,Checksum,ObjectParts,StorageClass,ObjectSize"
ASKS_ALL = {"x-amz-object-attributes": ALL}
CHECKSUMS = {"x-amz-checksum-mode": "ENABLED"}
LARGE = b"".join(n.to_bytes(4) for n in range(50_000))
PART = b"".join(n.to_bytes(4) for n in range(5 * 1024 * 256))
PARTS = [PART, PART[::-1], LARGE]
BODIES = [
    pytest.param(b"", id="0-bytes"),
    pytest.param(b"123456789", id="inline"),
    pytest.param(LARGE, id="200000-bytes"),
]
EITHER = pytest.mark.parametrize("sealed", [False, True], ids=["by-the-server", "by-a-customer"])


def fault(answer):
    found = answer.fault
    return found.status, found.code, found.message, found.fields


def sha256(body):
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def attributes(store, key="k", headers=None, query=""):
    return store.ask("GET", f"/bucket/{key}?attributes{query}", ASKS_ALL | (headers or {}))


def tree(node):
    """Return a document as dicts and texts; repeated children as a list."""
    if not node.children:
        return node.text
    found = {}
    for child in node.children:
        found.setdefault(child.tag, []).append(tree(child))
    return {tag: rows[0] if len(rows) == 1 else rows for tag, rows in found.items()}


def upload(store, parts, held=None, headers=None):
    """Upload `/bucket/big` in parts; return Complete's answer."""
    triple = {} if held is None else held.headers()
    opened = store.ask("POST", "/bucket/big?uploads", triple | (headers or {}))
    target = f"/bucket/big?uploadId={opened.text('UploadId')}"
    named = ""
    for number, part in enumerate(parts, 1):
        sent = store.ask("PUT", f"{target}&partNumber={number}", triple, part)
        digest = sent.headers.get("x-amz-checksum-sha256")
        checksum = f"<ChecksumSHA256>{digest}</ChecksumSHA256>" if digest else ""
        etag = sent.headers["etag"]
        named += f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{checksum}</Part>"
    document = f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>".encode()
    done = store.ask("POST", target, {}, document)
    assert done.status == 200
    return done


# Attributes


@EITHER
@pytest.mark.parametrize("body", BODIES)
def test_attributes_are_told_as_asked(bucket, key, sealed, body):
    triple = key.headers() if sealed else {}
    put = bucket.ask("PUT", "/bucket/k", triple | {"x-amz-checksum-sha256": sha256(body)}, body)

    answer = attributes(bucket, headers=triple)
    head = bucket.ask("HEAD", "/bucket/k", triple)

    assert (answer.status, answer.document.tag) == (200, "GetObjectAttributesResponse")
    assert tree(answer.document) == {
        "ETag": put.headers["etag"].strip('"'),
        "Checksum": {"ChecksumSHA256": sha256(body), "ChecksumType": "FULL_OBJECT"},
        "StorageClass": "STANDARD",
        "ObjectSize": str(len(body)),
    }
    assert answer.headers["last-modified"] == head.headers["last-modified"]


@pytest.mark.parametrize(
    ("asked", "tags"),
    [
        ("ETag", {"ETag"}),
        ("ObjectSize", {"ObjectSize"}),
        ("StorageClass", {"StorageClass"}),
        ("Checksum", {"Checksum"}),
        ("ObjectParts", set()),
        ("ETag, ObjectSize", {"ETag", "ObjectSize"}),
        ("ObjectSize,ETag,ObjectSize", {"ETag", "ObjectSize"}),
    ],
)
def test_attributes_that_were_not_asked_for_are_not_told(bucket, asked, tags):
    bucket.ask("PUT", "/bucket/k", {}, LARGE)

    answer = attributes(bucket, headers={"x-amz-object-attributes": asked})

    assert {child.tag for child in answer.document.children} == tags


@pytest.mark.parametrize("asked", ["Size", "ETag,Owner", "etag", "", ","])
def test_attributes_that_there_are_not_are_refused(bucket, asked):
    bucket.ask("PUT", "/bucket/k", {}, LARGE)

    answer = attributes(bucket, headers={"x-amz-object-attributes": asked})

    assert (answer.status, answer.fault.code) == (400, "InvalidArgument")


def test_attributes_must_be_named(bucket):
    bucket.ask("PUT", "/bucket/k", {}, LARGE)

    answer = bucket.ask("GET", "/bucket/k?attributes")

    assert (answer.status, answer.fault.code) == (400, "InvalidRequest")


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    ("bent", "expected"),
    [
        pytest.param(None, (400, "InvalidRequest", NEEDS_KEY, {}), id="C-no-triple"),
        pytest.param(
            {"algorithm": "KMS"},
            (
                400,
                "InvalidEncryptionAlgorithmError",
                BAD_ALGORITHM,
                NAMED | {"ArgumentValue": "KMS"},
            ),
            id="A-unknown-algorithm",
        ),
    ],
)
def test_attributes_need_the_triple(bucket, key, body, bent, expected):
    bucket.ask("PUT", "/bucket/k", key.headers(), body)

    answer = attributes(bucket, headers={} if bent is None else key.headers(**bent))

    assert fault(answer) == expected


@pytest.mark.parametrize("body", BODIES)
def test_attributes_need_the_right_key(bucket, key, other_key, body):
    bucket.ask("PUT", "/bucket/k", key.headers(), body)
    bucket.ask("PUT", "/bucket/open", {}, body)

    wrong = attributes(bucket, headers=other_key.headers())
    needless = attributes(bucket, "open", key.headers())

    assert fault(wrong) == (403, "AccessDenied", WRONG_KEY, {})
    assert fault(needless) == (400, "InvalidRequest", NOT_APPLICABLE, {})


def test_attributes_of_what_is_not_there_are_404(bucket):
    assert attributes(bucket).fault.code == "NoSuchKey"
    assert bucket.ask("GET", "/nobucket/k?attributes", ASKS_ALL).fault.code == "NoSuchBucket"


def test_attributes_are_of_the_one_version(bucket):
    bucket.ask("PUT", "/bucket/k", {}, LARGE)

    assert attributes(bucket, query="&versionId=null").status == 200
    assert attributes(bucket, query="&versionId=abc").fault.fields["ArgumentName"] == "versionId"


@EITHER
def test_boto3_reads_attributes(s3, key, sealed):
    # boto3 encodes keys for other operations, and leaves this one's as they are.
    options = {
        "SSECustomerAlgorithm": "AES256",
        "SSECustomerKey": key.encoded,
        "SSECustomerKeyMD5": key.md5,
    }
    options = options if sealed else {}
    s3.put_object(Bucket="bucket", Key="k", Body=LARGE, ChecksumAlgorithm="SHA256", **options)

    found = s3.get_object_attributes(
        Bucket="bucket", Key="k", ObjectAttributes=ALL.split(","), **options
    )

    assert found["ObjectSize"] == len(LARGE)
    assert found["Checksum"] == {"ChecksumSHA256": sha256(LARGE), "ChecksumType": "FULL_OBJECT"}
    assert "ObjectParts" not in found


# Attributes of parts


@EITHER
def test_attributes_show_parts_with_size_and_checksum(bucket, key, sealed):
    held = key if sealed else None
    done = upload(bucket, PARTS, held, {"x-amz-checksum-algorithm": "SHA256"})

    found = tree(attributes(bucket, "big", key.headers() if sealed else {}).document)

    assert found["ETag"] == done.text("ETag").strip('"')
    assert found["ObjectSize"] == str(sum(map(len, PARTS)))
    # With the number of parts behind it, as the Ceph suite wants it; S3 leaves that away.
    assert found["Checksum"]["ChecksumSHA256"] == done.text("ChecksumSHA256")
    assert found["Checksum"]["ChecksumType"] == "COMPOSITE"
    assert found["ObjectParts"] == {
        "PartsCount": "3",
        "PartNumberMarker": "0",
        "NextPartNumberMarker": "3",
        "MaxParts": "1000",
        "IsTruncated": "false",
        "Part": [
            {"PartNumber": str(n), "Size": str(len(part)), "ChecksumSHA256": sha256(part)}
            for n, part in enumerate(PARTS, 1)
        ],
    }


@pytest.mark.parametrize("size", [1, 2])
def test_parts_are_told_in_pages(bucket, key, size):
    upload(bucket, PARTS, key)
    shown, marker, more = [], 0, True

    while more:
        headers = {"x-amz-max-parts": str(size), "x-amz-part-number-marker": str(marker)}
        page = tree(attributes(bucket, "big", key.headers() | headers).document)["ObjectParts"]
        rows = page["Part"] if isinstance(page["Part"], list) else [page["Part"]]
        assert page["PartsCount"] == "3"
        assert page["PartNumberMarker"] == str(marker)
        assert page["MaxParts"] == str(size)
        assert 1 <= len(rows) <= size
        shown += [int(row["Size"]) for row in rows]
        marker, more = int(page["NextPartNumberMarker"]), page["IsTruncated"] == "true"

    assert shown == [len(part) for part in PARTS]


@pytest.mark.parametrize(("marker", "size"), [("1", "5"), ("99", "5"), ("0", "0")])
def test_a_page_of_parts_may_be_empty(bucket, marker, size):
    upload(bucket, [b"only"])
    headers = {"x-amz-max-parts": size, "x-amz-part-number-marker": marker}

    page = tree(attributes(bucket, "big", headers).document)["ObjectParts"]

    assert "Part" not in page
    assert page["IsTruncated"] == ("true" if size == "0" else "false")


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-max-parts": "-1"},
        {"x-amz-max-parts": "9" * 40},
        {"x-amz-max-parts": "many"},
        {"x-amz-part-number-marker": "-1"},
        {"x-amz-part-number-marker": "last"},
    ],
)
def test_a_page_of_parts_that_cannot_be_is_refused(bucket, headers):
    upload(bucket, [b"only"])

    answer = attributes(bucket, "big", headers)

    assert (answer.status, answer.fault.code) == (400, "InvalidArgument")


# Parts by number


@EITHER
def test_a_part_is_read_by_its_number(bucket, key, sealed):
    triple = key.headers() if sealed else {}
    done = upload(bucket, PARTS, key if sealed else None, {"x-amz-checksum-algorithm": "SHA256"})
    start = 0

    for number, expected in enumerate(PARTS, 1):
        target = f"/bucket/big?partNumber={number}"
        got, head = (bucket.ask(method, target, triple | CHECKSUMS) for method in ("GET", "HEAD"))
        end = start + len(expected)
        shown = {
            "content-length": str(len(expected)),
            "content-range": f"bytes {start}-{end - 1}/{sum(map(len, PARTS))}",
            "x-amz-mp-parts-count": "3",
            "x-amz-checksum-sha256": sha256(expected),
            "x-amz-checksum-type": "COMPOSITE",
            "etag": done.text("ETag"),
        }
        assert (got.status, head.status) == (206, 206)
        assert (got.body, head.body) == (expected, b"")
        assert shown.items() <= got.headers.items()
        assert shown.items() <= head.headers.items()
        start = end


@pytest.mark.parametrize("algorithm", ["CRC64NVME", "CRC32"])
def test_a_part_shows_its_own_checksum_where_the_whole_has_a_full_one(bucket, key, algorithm):
    named = {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": "FULL_OBJECT"}
    upload(bucket, [PART, LARGE], key, named)
    header = f"x-amz-checksum-{algorithm.lower()}"

    sums = [
        bucket.ask("HEAD", f"/bucket/big{query}", key.headers() | CHECKSUMS).headers[header]
        for query in ("", "?partNumber=1", "?partNumber=2")
    ]

    assert len(set(sums)) == 3
    assert not [text for text in sums if "-" in text]


def test_checksums_are_shown_on_request_alone(bucket):
    upload(bucket, [PART, b"end"], None, {"x-amz-checksum-algorithm": "SHA256"})

    for query in ("", "?partNumber=1"):
        headers = bucket.ask("HEAD", f"/bucket/big{query}").headers
        assert not [name for name in headers if name.startswith("x-amz-checksum")]


def test_the_whole_shows_no_count_of_parts(bucket):
    upload(bucket, [PART, b"end"])

    assert "x-amz-mp-parts-count" not in bucket.ask("HEAD", "/bucket/big").headers


@EITHER
def test_an_object_in_one_piece_has_one_part(bucket, key, sealed):
    triple = key.headers() if sealed else {}
    bucket.ask("PUT", "/bucket/k", triple, LARGE)

    got = bucket.ask("GET", "/bucket/k?partNumber=1", triple | CHECKSUMS)

    assert (got.status, got.body) == (206, LARGE)
    assert got.headers["content-range"] == "bytes 0-199999/200000"
    assert "x-amz-mp-parts-count" not in got.headers
    assert "x-amz-checksum-crc64nvme" in got.headers


def test_the_part_of_an_empty_object_is_empty(bucket):
    bucket.ask("PUT", "/bucket/k", {}, b"")

    got = bucket.ask("GET", "/bucket/k?partNumber=1")

    assert (got.status, got.body, got.headers["content-length"]) == (200, b"", "0")


@EITHER
@pytest.mark.parametrize(("count", "number"), [(0, 2), (0, 10_000), (1, 2), (2, 3)])
def test_a_part_that_is_not_there_is_416(bucket, key, sealed, count, number):
    triple = key.headers() if sealed else {}
    if count:
        upload(bucket, [PART, b"end"][-count:], key if sealed else None)
    else:
        bucket.ask("PUT", "/bucket/big", triple, LARGE)

    got, head = (
        bucket.ask(method, f"/bucket/big?partNumber={number}", triple) for method in ("GET", "HEAD")
    )

    assert fault(got) == (
        416,
        "InvalidPartNumber",
        "The requested partnumber is not satisfiable",
        {"ActualPartCount": str(count or 1), "PartNumberRequested": str(number)},
    )
    assert (head.status, head.body) == (416, b"")


@pytest.mark.parametrize("number", ["0", "-1", "10001", "one", ""])
def test_a_part_number_that_cannot_be_is_refused(bucket, number):
    bucket.ask("PUT", "/bucket/k", {}, LARGE)

    found = bucket.ask("GET", f"/bucket/k?partNumber={number}").fault

    assert (found.status, found.code) == (400, "InvalidArgument")
    assert found.fields == {"ArgumentName": "partNumber", "ArgumentValue": number}


def test_a_part_and_a_range_cannot_both_be_asked_for(bucket):
    upload(bucket, [PART, b"end"])

    answer = bucket.ask("GET", "/bucket/big?partNumber=1", {"range": "bytes=0-1"})

    text = "Cannot specify both Range header and partNumber query parameter"
    assert fault(answer) == (400, "InvalidRequest", text, {})


def test_a_part_is_for_the_right_key_alone(bucket, key, other_key):
    upload(bucket, [PART, b"end"], key)

    for number in (1, 2, 3):
        for triple, expected in (
            ({}, (400, "InvalidRequest", NEEDS_KEY, {})),
            (other_key.headers(), (403, "AccessDenied", WRONG_KEY, {})),
        ):
            assert fault(bucket.ask("GET", f"/bucket/big?partNumber={number}", triple)) == expected


def test_a_part_obeys_conditions_on_the_whole(bucket):
    etag = upload(bucket, [PART, b"end"]).text("ETag")

    def status(condition):
        return bucket.ask("GET", "/bucket/big?partNumber=2", condition).status

    assert status({"if-none-match": etag}) == 304
    assert status({"if-match": '"other"'}) == 412
    assert status({"if-match": etag}) == 206


def test_damage_in_another_part_is_not_met(bucket, key):
    upload(bucket, [PART, LARGE], key)
    version = bucket.run(bucket.catalog.current("bucket", "big")).version
    first, _ = bucket.run(bucket.catalog.blob_refs(version))
    sealed = bucket.blobs.stored[first.place]
    bucket.blobs.stored[first.place] = b"\0" + sealed[1:]

    damaged = bucket.ask("GET", "/bucket/big?partNumber=1", key.headers())
    whole = bucket.ask("GET", "/bucket/big?partNumber=2", key.headers())

    assert (damaged.status, damaged.fault.code) == (500, "InternalError")
    assert [type(error) for error in bucket.reported] == [errors.NotAuthentic]
    assert (whole.status, whole.body) == (206, LARGE)


def test_boto3_reads_parts(s3, key):
    opened = {"Bucket": "bucket", "Key": "big"}
    opened["UploadId"] = s3.create_multipart_upload(**opened, **key.options)["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**opened, PartNumber=number, Body=part, **key.options)["ETag"],
        }
        for number, part in enumerate(PARTS, 1)
    ]
    s3.complete_multipart_upload(**opened, MultipartUpload={"Parts": parts})

    got = s3.get_object(Bucket="bucket", Key="big", PartNumber=2, ChecksumMode="ENABLED", **key.options)  # fmt: skip

    assert got["Body"].read() == PARTS[1]
    assert got["PartsCount"] == 3


# What a read may ask for besides


@EITHER
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_read_may_ask_for_other_headers_than_are_kept(bucket, key, sealed, method):
    triple = key.headers() if sealed else {}
    kept = {"content-type": "text/plain", "cache-control": "max-age=9"}
    bucket.ask("PUT", "/bucket/k", triple | kept, b"123456789")

    asked = bucket.ask(method, "/bucket/k?response-content-type=image%2Fpng", triple)
    after = bucket.ask(method, "/bucket/k", triple)

    assert asked.headers["content-type"] == "image/png"
    assert asked.headers["cache-control"] == "max-age=9"
    assert after.headers["content-type"] == "text/plain"
