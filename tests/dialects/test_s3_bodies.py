"""Bodies and their digests, as a user of S3 expects them; and what is left of bad ones."""

import base64
import hashlib
import zlib

import pytest
from awscrt import checksums as crt

from strongroom import errors

BODY = b"123456789"
LARGE = bytes(range(256)) * 400  # 102,400 bytes: a file of two segments
EMPTY = (set(), set(), set())


def b64(raw):
    return base64.b64encode(raw).decode()


def crc(value, length):
    return b64(value.to_bytes(length, "big"))


def checksum(name, body):
    return {
        "CRC32": lambda: crc(zlib.crc32(body), 4),
        "CRC32C": lambda: crc(crt.crc32c(body), 4),
        "CRC64NVME": lambda: crc(crt.crc64nvme(body), 8),
        "SHA1": lambda: b64(hashlib.sha1(body, usedforsecurity=False).digest()),
        "SHA256": lambda: b64(hashlib.sha256(body).digest()),
    }[name]()


ALGORITHMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]
# Check values of the catalogue of parametrised CRC algorithms, for "123456789".
CHECK_VALUES = {"CRC32": "y/Q5Jg==", "CRC32C": "4waSgw==", "CRC64NVME": "rosUhgp5mIg="}


def framed(body, name, value, *, size=40_000):
    """Return an aws-chunked body with a checksum behind it, and its headers."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    coded = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    header = f"x-amz-checksum-{name.lower()}"
    coded += f"0\r\n{header}:{value}\r\n\r\n".encode()
    return coded, {
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(len(body)),
        "x-amz-trailer": header,
    }


UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


# Checksums


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("sealed", [False, True], ids=["sse-s3", "sse-c"])
@pytest.mark.parametrize("body", [b"", BODY, LARGE], ids=["empty", "small", "large"])
def test_a_checksum_in_a_header_is_checked_kept_and_shown(bucket, key, name, sealed, body):
    headers = key.headers() if sealed else {}
    wire_name, value = f"x-amz-checksum-{name.lower()}", checksum(name, body)

    put = bucket.ask("PUT", "/bucket/k", headers | {wire_name: value}, body)
    shown = bucket.ask("GET", "/bucket/k", headers | {"x-amz-checksum-mode": "ENABLED"})
    hidden = bucket.ask("GET", "/bucket/k", headers)

    assert (put.status, put.headers[wire_name]) == (200, value)
    assert (shown.headers[wire_name], shown.headers["x-amz-checksum-type"]) == (
        value,
        "FULL_OBJECT",
    )
    assert shown.body == body
    assert not [header for header in hidden.headers if "checksum" in header]


@pytest.mark.parametrize(("name", "value"), CHECK_VALUES.items())
def test_checksums_have_the_published_check_values(bucket, name, value):
    answer = bucket.ask("PUT", "/bucket/k", {f"x-amz-checksum-{name.lower()}": value}, BODY)

    assert answer.status == 200


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("body", [BODY, LARGE], ids=["small", "large"])
def test_a_checksum_of_another_body_is_refused(bucket, name, body):
    wrong = checksum(name, body[::-1])

    answer = bucket.ask("PUT", "/bucket/k", {f"x-amz-checksum-{name.lower()}": wrong}, body)

    assert (answer.status, answer.fault.code) == (400, "BadDigest")
    assert name in answer.fault.message
    assert bucket.remains == EMPTY


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("body", [b"", BODY, LARGE], ids=["empty", "small", "large"])
def test_a_checksum_in_a_trailer_is_checked_kept_and_shown(bucket, name, body):
    value = checksum(name, body)
    coded, headers = framed(body, name, value)

    put = bucket.ask("PUT", "/bucket/k", headers, coded, payload=UNSIGNED_TRAILER)
    got = bucket.ask("GET", "/bucket/k", {"x-amz-checksum-mode": "ENABLED"})

    assert (put.status, put.headers[f"x-amz-checksum-{name.lower()}"]) == (200, value)
    assert got.headers[f"x-amz-checksum-{name.lower()}"] == value
    assert got.body == body
    assert "content-encoding" not in got.headers


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_trailing_checksum_of_another_body_is_refused(bucket, name):
    coded, headers = framed(LARGE, name, checksum(name, BODY))

    answer = bucket.ask("PUT", "/bucket/k", headers, coded, payload=UNSIGNED_TRAILER)

    assert (answer.status, answer.fault.code) == (400, "BadDigest")
    assert bucket.remains == EMPTY


@pytest.mark.parametrize(
    "bend",
    [
        pytest.param(lambda coded: coded[:-30], id="trailer-cut"),
        pytest.param(lambda coded: coded[:70_000], id="data-cut"),
        pytest.param(lambda coded: coded.replace(b"x-amz-checksum-crc32", b"x-amz-other"), id="x"),
        pytest.param(lambda coded: b"zz" + coded, id="no-size"),
        pytest.param(lambda coded: coded.replace(b"crc32:", b"crc32:!"), id="no-base64"),
        pytest.param(lambda coded: b"1\r\nx\r\n" + coded, id="too-long"),
    ],
)
def test_a_broken_frame_leaves_nothing(bucket, bend):
    coded, headers = framed(LARGE, "CRC32", checksum("CRC32", LARGE))

    answer = bucket.ask("PUT", "/bucket/k", headers, bend(coded), payload=UNSIGNED_TRAILER)

    assert answer.status == 400
    assert bucket.remains == EMPTY


def test_the_client_that_names_no_checksum_gets_crc64nvme(bucket):
    put = bucket.ask("PUT", "/bucket/k", {}, BODY)
    head = bucket.ask("HEAD", "/bucket/k", {"x-amz-checksum-mode": "ENABLED"})

    assert put.headers["x-amz-checksum-crc64nvme"] == CHECK_VALUES["CRC64NVME"]
    assert head.headers["x-amz-checksum-crc64nvme"] == CHECK_VALUES["CRC64NVME"]


def test_a_range_shows_no_checksum_of_the_whole(bucket):
    bucket.ask("PUT", "/bucket/k", {}, BODY)

    headers = {"x-amz-checksum-mode": "ENABLED", "range": "bytes=0-1"}

    assert not [h for h in bucket.ask("GET", "/bucket/k", headers).headers if "checksum" in h]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-checksum-crc32": "no base64"}, "InvalidRequest"),
        ({"x-amz-checksum-crc32": "AAAA"}, "InvalidRequest"),
        ({"x-amz-checksum-crc99": "AAAAAA=="}, "InvalidRequest"),
        (
            {"x-amz-checksum-crc32": "y/Q5Jg==", "x-amz-checksum-crc32c": "4waSgw=="},
            "InvalidRequest",
        ),
        ({"x-amz-sdk-checksum-algorithm": "CRC32"}, "InvalidRequest"),
        (
            {"x-amz-sdk-checksum-algorithm": "SHA1", "x-amz-checksum-crc32": "y/Q5Jg=="},
            "InvalidRequest",
        ),
        ({"content-md5": "no digest"}, "InvalidDigest"),
        ({"content-md5": b64(b"short")}, "InvalidDigest"),
        ({"content-md5": b64(bytes(16))}, "BadDigest"),
    ],
)
def test_digests_that_are_none_are_refused(bucket, headers, code):
    answer = bucket.ask("PUT", "/bucket/k", headers, BODY)

    assert (answer.status, answer.fault.code) == (400, code)
    assert bucket.remains == EMPTY


@pytest.mark.parametrize("sealed", [False, True], ids=["sse-s3", "sse-c"])
def test_a_content_md5_that_fits_is_taken(bucket, key, sealed):
    headers = key.headers() if sealed else {}
    digest = hashlib.md5(LARGE, usedforsecurity=False)

    answer = bucket.ask("PUT", "/bucket/k", headers | {"content-md5": b64(digest.digest())}, LARGE)

    assert answer.status == 200
    assert (answer.headers["etag"] == f'"{digest.hexdigest()}"') is not sealed


@pytest.mark.parametrize("body", [b"", BODY, LARGE], ids=["empty", "small", "large"])
def test_a_body_that_is_not_the_signed_one_is_refused(bucket, body):
    other = hashlib.sha256(b"another").hexdigest()

    answer = bucket.ask("PUT", "/bucket/k", {}, body, payload=other)

    fault = answer.fault
    assert (fault.status, fault.code) == (400, "XAmzContentSHA256Mismatch")
    assert fault.fields == {
        "ClientComputedContentSHA256": other,
        "S3ComputedContentSHA256": hashlib.sha256(body).hexdigest(),
    }
    assert bucket.remains == EMPTY


def test_an_unsigned_payload_is_taken(bucket):
    assert bucket.ask("PUT", "/bucket/k", {}, BODY, payload="UNSIGNED-PAYLOAD").status == 200
    assert bucket.ask("GET", "/bucket/k").body == BODY


@pytest.mark.parametrize("name", [None, *ALGORITHMS])
def test_boto3_puts_and_gets_with_its_own_checksums(s3, name):
    options = {"ChecksumAlgorithm": name} if name else {}

    put = s3.put_object(Bucket="bucket", Key="k", Body=LARGE, **options)
    got = s3.get_object(Bucket="bucket", Key="k", ChecksumMode="ENABLED")

    name = name or "CRC32"
    assert put[f"Checksum{name}"] == got[f"Checksum{name}"] == checksum(name, LARGE)
    assert got["Body"].read() == LARGE


def test_boto3_sends_a_file_with_a_trailer(s3, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(LARGE)

    with path.open("rb") as body:
        s3.put_object(Bucket="bucket", Key="k", Body=body)

    assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == LARGE


# Lengths


@pytest.mark.parametrize("length", [None, "", "many", "-1", "1" * 5000, "5, 5"])
def test_a_put_without_a_length_is_refused(bucket, length):
    answer = bucket.ask("PUT", "/bucket/k", {}, BODY, unsigned={"content-length": length})

    expected = (411, "MissingContentLength") if length is None else (400, "InvalidArgument")
    assert (answer.status, answer.fault.code) == expected
    assert bucket.remains == EMPTY


@pytest.mark.parametrize("length", [None, "many", "1" * 5000])
def test_a_framed_put_without_its_length_is_refused(bucket, length):
    coded, headers = framed(BODY, "CRC32", CHECK_VALUES["CRC32"])
    headers["x-amz-decoded-content-length"] = length
    headers = {name: value for name, value in headers.items() if value is not None}

    answer = bucket.ask("PUT", "/bucket/k", headers, coded, payload=UNSIGNED_TRAILER)

    expected = (411, "MissingContentLength") if length is None else (400, "InvalidArgument")
    assert (answer.status, answer.fault.code) == expected


def test_a_body_beyond_5_gib_is_refused_before_it_is_read(bucket):
    def never():
        yield pytest.fail("the body was read")

    limit = 5 * 1024**3
    answer = bucket.ask(
        "PUT",
        "/bucket/k",
        {"content-length": str(limit + 1)},
        payload="UNSIGNED-PAYLOAD",
        pieces=never(),
    )

    fault = answer.fault
    assert (fault.status, fault.code) == (400, "EntityTooLarge")
    assert fault.fields == {"ProposedSize": str(limit + 1), "MaxSizeAllowed": str(limit)}


@pytest.mark.parametrize(
    ("length", "code"), [(len(LARGE) + 1, "IncompleteBody"), (len(LARGE) - 1, "InvalidRequest")]
)
def test_a_body_of_another_length_than_announced_leaves_nothing(bucket, length, code):
    answer = bucket.ask(
        "PUT", "/bucket/k", {"content-length": str(length)}, LARGE, payload="UNSIGNED-PAYLOAD"
    )

    assert (answer.status, answer.fault.code) == (400, code)
    assert bucket.remains == EMPTY


def test_a_client_that_hangs_up_leaves_the_old_object(bucket):
    def hang_up():
        yield LARGE[:60_000]
        raise errors.ClientGone

    bucket.ask("PUT", "/bucket/k", {}, BODY)
    before = bucket.remains

    answer = bucket.ask("PUT", "/bucket/k", {}, LARGE, pieces=hang_up())

    assert answer.status == 0
    assert bucket.remains == before
    assert bucket.ask("GET", "/bucket/k").body == BODY
    assert bucket.reported == []


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (errors.StoreFailed("disk"), 500, "InternalError"),
        (errors.StoreFull("disk"), 507, "StoreFull"),
        (RuntimeError("a mistake"), 500, "InternalError"),
        (errors.PreconditionFailed("If-Match"), 412, "PreconditionFailed"),
        (errors.BucketNotFound("bucket"), 404, "NoSuchBucket"),
    ],
)
def test_a_put_that_fails_at_its_commit_leaves_the_old_object(bucket, failure, status, code):
    bucket.ask("PUT", "/bucket/k", {}, BODY)
    bucket.catalog.failure = failure

    answer = bucket.ask("PUT", "/bucket/k", {}, LARGE)

    bucket.catalog.failure = None
    assert (answer.status, answer.fault.code) == (status, code)
    assert bucket.ask("GET", "/bucket/k").body == BODY
    # What is no client's mistake is reported, and says nothing in the answer.
    assert bucket.reported == ([failure] if status >= 500 else [])
    assert "disk" not in answer.body.decode()
    assert "mistake" not in answer.body.decode()


def test_overwriting_leaves_one_object(bucket):
    for body in (LARGE, BODY, LARGE[::-1]):
        bucket.ask("PUT", "/bucket/k", {}, body)
        bucket.run(bucket.core.collector.collect())

    blobs, inline, keys = bucket.remains

    assert (len(blobs), len(inline), keys) == (1, 0, {("bucket", b"k")})
    assert bucket.ask("GET", "/bucket/k").body == LARGE[::-1]


# Damage. S000.9


@pytest.mark.parametrize("at", [0, 1, 45, 70_000, -1])
def test_a_changed_byte_is_never_served(bucket, key, at):
    bucket.ask("PUT", "/bucket/k", key.headers(), LARGE)
    (place,) = bucket.catalog.places("bucket", "k")
    changed = bytearray(bucket.blobs.stored[place])
    changed[at] ^= 1
    bucket.blobs.stored[place] = bytes(changed)

    answer = bucket.ask("GET", "/bucket/k", key.headers())

    assert (answer.status, answer.fault.code) == (500, "InternalError")
    assert [type(error) for error in bucket.reported] == [errors.NotAuthentic]


def test_blobs_that_changed_places_are_never_served(bucket, key):
    for name in ("a", "b"):
        bucket.ask("PUT", f"/bucket/{name}", key.headers(), LARGE)
    (one,), (two,) = (bucket.catalog.places("bucket", name) for name in ("a", "b"))
    stored = bucket.blobs.stored
    stored[one], stored[two] = stored[two], stored[one]

    for name in ("a", "b"):
        assert bucket.ask("GET", f"/bucket/{name}", key.headers()).status == 500
