"""UploadPartCopy: objects and ranges of them become parts, always sealed anew."""

import base64
import hashlib
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from strongroom import errors

SSE = "x-amz-server-side-encryption"
SOURCE_SSE = "x-amz-copy-source-server-side-encryption"
RANGE = "x-amz-copy-source-range"
NAMED = {"ArgumentName": SSE}
KEYS_MUST = "Requests specifying Server Side Encryption with Customer provided keys must "
BAD_ALGORITHM = "The Encryption request you specified is not valid. Supported value: AES256."
NO_ALGORITHM = KEYS_MUST + "provide a valid encryption algorithm."
NO_KEY = KEYS_MUST + "provide an appropriate secret key."
NO_MD5 = KEYS_MUST + "provide the client calculated MD5 of the secret key."
BAD_KEY = "The secret key was invalid for the specified algorithm."
BAD_MD5 = "The calculated MD5 hash of the key did not match the hash that was provided."
NEEDS_KEY = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be"
    " provided to retrieve the object."
)
WRONG_KEY = KEYS_MUST + "provide the correct secret key."
NOT_APPLICABLE = "The encryption parameters are not applicable to this object."
PART_NEEDS_KEY = (
    "The multipart upload initiate requested encryption. Subsequent part requests must include the"
    " appropriate encryption parameters."
)
PART_OTHER_KEY = "The provided encryption parameters did not match the ones used originally."
BAD_RANGE = (
    "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last"
    " are the zero-based offsets of the first and last bytes to copy"
)
LARGE = b"".join(n.to_bytes(4) for n in range(50_000))
PART = b"".join(n.to_bytes(4) for n in range(5 * 1024 * 256))
HOLDERS = [None, 1, 2]
"""Who holds the key: the server, or a customer with the first or the second key."""


def triple(held, **bent):
    return {} if held is None else held.headers(**bent)


def source_triple(held, **bent):
    return {name.replace(SSE, SOURCE_SSE): value for name, value in triple(held, **bent).items()}


def fault(answer):
    found = answer.fault
    return found.status, found.code, found.message, found.fields


def md5(body):
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def crc32(body):
    return base64.b64encode(zlib.crc32(body).to_bytes(4)).decode()


class Upload:
    """An open upload of `/bucket/big`."""

    def __init__(self, store, held=None, headers=None):
        self.store = store
        opened = store.ask("POST", "/bucket/big?uploads", triple(held) | (headers or {}))
        assert opened.status == 200
        self.target = f"/bucket/big?uploadId={opened.text('UploadId')}"

    def copy(self, headers=None, *, number=1, source="bucket/a", **how):
        sent = {"x-amz-copy-source": source} | (headers or {})
        return self.store.ask("PUT", f"{self.target}&partNumber={number}", sent, **how)

    def put(self, body, headers=None, *, number=1):
        return self.store.ask("PUT", f"{self.target}&partNumber={number}", headers, body)

    def listed(self):
        """Return (number, ETag, size) of the parts."""
        root = self.store.ask("GET", self.target).document
        rows = [
            {node.tag: node.text for node in part.children}
            for part in root.children
            if part.tag == "Part"
        ]
        return [(int(row["PartNumber"]), row["ETag"], int(row["Size"])) for row in rows]

    def complete(self, *parts):
        named = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{''.join(more)}</Part>"
            for number, etag, *more in parts
        )
        document = f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>".encode()
        return self.store.ask("POST", self.target, {}, document)


# The borders of segments are at 65480, 131000 and 196520 bytes.
RANGES = [
    None,
    (0, 0),
    (0, 65_479),
    (65_479, 65_480),
    (65_480, 130_999),
    (5, 131_000),
    (1, 199_999),
    (196_519, 199_999),
    (0, 199_999),
]


@pytest.mark.parametrize("target", HOLDERS)
@pytest.mark.parametrize("source", HOLDERS)
@pytest.mark.parametrize("asked", RANGES)
def test_a_part_has_the_bytes_of_its_source(bucket, keys, source, target, asked):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]), LARGE)
    upload = Upload(bucket, keys[target])
    first, last = asked or (0, len(LARGE) - 1)
    expected = LARGE[first : last + 1]

    copied = upload.copy(
        source_triple(keys[source]) | triple(keys[target])
        | ({RANGE: f"bytes={first}-{last}"} if asked else {}),
    )  # fmt: skip
    etag = copied.text("ETag")
    listed = upload.listed()
    done = upload.complete((1, etag))

    shown = {SSE: "AES256"}
    if target is not None:
        shown = {
            f"{SSE}-customer-algorithm": "AES256",
            f"{SSE}-customer-key-md5": keys[target].md5,
        }
    assert (copied.status, copied.document.tag) == (200, "CopyPartResult")
    assert {n: v for n, v in copied.headers.items() if "encryption" in n} == shown
    assert datetime.fromisoformat(copied.text("LastModified")) <= datetime.now(UTC)
    assert listed == [(1, etag, len(expected))]
    assert (etag == md5(expected)) == (target is None)
    assert done.status == 200
    assert bucket.ask("GET", "/bucket/big", triple(keys[target])).body == expected
    assert bucket.ask("GET", "/bucket/a", triple(keys[source])).body == LARGE


@pytest.mark.parametrize("target", HOLDERS)
@pytest.mark.parametrize("source", HOLDERS)
@pytest.mark.parametrize("body", [b"", b"inline"])
def test_a_part_may_be_a_small_object(bucket, keys, source, target, body):
    bucket.ask("PUT", "/bucket/a", triple(keys[source]), body)
    upload = Upload(bucket, keys[target])

    copied = upload.copy(source_triple(keys[source]) | triple(keys[target]))
    upload.complete((1, copied.text("ETag")))

    assert bucket.ask("GET", "/bucket/big", triple(keys[target])).body == body


@pytest.mark.parametrize("target", HOLDERS)
def test_copied_and_sent_parts_make_one_object(bucket, keys, target):
    whole = PART + LARGE
    source = Upload(bucket, keys[1])
    etags = [source.put(p, triple(keys[1]), number=n).headers["etag"] for n, p in ((1, PART), (2, LARGE))]  # fmt: skip
    source.complete(*enumerate(etags, 1))
    bucket.ask("PUT", "/bucket/a", triple(keys[2]), b"end")
    border = len(PART)
    upload = Upload(bucket, keys[target])

    # Over the border of the source's parts; then sent; then another object.
    one = upload.copy(
        source_triple(keys[1]) | triple(keys[target]) | {RANGE: f"bytes=7-{border + 6}"},
        source="bucket/big",
        number=2,
    ).text("ETag")
    two = upload.put(PART, triple(keys[target]), number=3).headers["etag"]
    three = upload.copy(source_triple(keys[2]) | triple(keys[target]), number=9).text("ETag")
    done = upload.complete((2, one), (3, two), (9, three))

    got = bucket.ask("GET", "/bucket/big", triple(keys[target]))
    assert done.status == 200
    assert got.body == whole[7 : border + 7] + PART + b"end"
    assert got.headers["etag"].endswith('-3"')


def test_a_part_is_sealed_anew_even_where_a_copy_would_share(bucket, key):
    bucket.ask("PUT", "/bucket/a", key.headers(), LARGE)
    (place,) = bucket.blobs.stored
    sealed = bucket.blobs.stored[place]

    Upload(bucket, key).copy(source_triple(key) | key.headers())

    (other,) = set(bucket.blobs.stored) - {place}
    assert bucket.blobs.stored[place] == sealed
    assert bucket.blobs.stored[other][40:] != sealed[40:]


def test_the_source_may_go_before_the_upload_is_complete(bucket, key):
    bucket.ask("PUT", "/bucket/a", key.headers(), LARGE)
    upload = Upload(bucket)
    etag = upload.copy(source_triple(key)).text("ETag")
    bucket.ask("DELETE", "/bucket/a")
    bucket.run(bucket.core.collector.collect())

    upload.complete((1, etag))

    assert bucket.ask("GET", "/bucket/big").body == LARGE


# Checksums


@pytest.mark.parametrize(("kind", "suffix"), [("COMPOSITE", "-1"), ("FULL_OBJECT", "")])
def test_a_part_has_the_checksum_of_its_upload(bucket, key, kind, suffix):
    # The source's own, SHA-256, is another.
    bucket.ask("PUT", "/bucket/a", {"x-amz-checksum-sha256": _sha256(LARGE)}, LARGE)
    headers = {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": kind}
    upload = Upload(bucket, key, headers)

    copied = upload.copy(key.headers())
    shown = copied.text("ChecksumCRC32")
    done = upload.complete((1, copied.text("ETag"), f"<ChecksumCRC32>{shown}</ChecksumCRC32>"))

    whole = crc32(zlib.crc32(LARGE).to_bytes(4)) if kind == "COMPOSITE" else crc32(LARGE)
    assert shown == crc32(LARGE)
    assert "ChecksumSHA256" not in {node.tag for node in copied.document.children}
    assert done.text("ChecksumCRC32") == whole + suffix


def _sha256(body):
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


# Refusals

REFUSALS = [
    pytest.param(None, {}, (400, "InvalidRequest", NEEDS_KEY, {}), id="A-no-triple-for-the-source"),
    pytest.param(
        {"algorithm": "KMS"},
        {},
        (400, "InvalidEncryptionAlgorithmError", BAD_ALGORITHM, NAMED | {"ArgumentValue": "KMS"}),
        id="A-unknown-algorithm-for-the-source",
    ),
    pytest.param(
        {},
        {"algorithm": "KMS"},
        (400, "InvalidEncryptionAlgorithmError", BAD_ALGORITHM, NAMED | {"ArgumentValue": "KMS"}),
        id="A-unknown-algorithm-for-the-part",
    ),
    pytest.param(
        {"algorithm": None}, {}, (400, "InvalidArgument", NO_ALGORITHM, NAMED), id="?-no-cs-alg"
    ),
    pytest.param({"key": None}, {}, (400, "InvalidArgument", NO_KEY, NAMED), id="?-no-cs-key"),
    pytest.param({"md5": None}, {}, (400, "InvalidArgument", NO_MD5, NAMED), id="?-no-cs-md5"),
    pytest.param(
        {"md5": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {},
        (400, "InvalidArgument", BAD_MD5, NAMED),
        id="?-cs-md5-of-something-else",
    ),
    pytest.param(
        {}, {"algorithm": None}, (400, "InvalidArgument", NO_ALGORITHM, NAMED), id="?-no-alg"
    ),
    pytest.param({}, {"key": None}, (400, "InvalidArgument", NO_KEY, NAMED), id="?-no-key"),
    pytest.param({}, {"md5": None}, (400, "InvalidArgument", NO_MD5, NAMED), id="?-no-md5"),
    pytest.param(
        {},
        {"md5": "AAAAAAAAAAAAAAAAAAAAAA=="},
        (400, "InvalidArgument", BAD_MD5, NAMED),
        id="C-md5-of-something-else",
    ),
    pytest.param({}, None, (400, "InvalidRequest", PART_NEEDS_KEY, {}), id="C-no-triple"),
]


@pytest.mark.parametrize(("of_source", "of_part", "expected"), REFUSALS)
def test_a_bad_triple_is_refused_and_the_part_before_it_stays(
    bucket, key, other_key, of_source, of_part, expected
):
    bucket.ask("PUT", "/bucket/a", key.headers(), LARGE)
    upload = Upload(bucket, other_key)
    upload.put(b"before", other_key.headers())
    before = bucket.remains, upload.listed()

    answer = upload.copy(
        ({} if of_source is None else source_triple(key, **of_source))
        | ({} if of_part is None else other_key.headers(**of_part))
    )

    assert fault(answer) == expected
    assert (bucket.remains, upload.listed()) == before


@pytest.mark.parametrize("body", [b"", b"inline", LARGE], ids=["0-bytes", "inline", "200000-bytes"])
@pytest.mark.parametrize("target", HOLDERS)
@pytest.mark.parametrize("more", [{}, {RANGE: "bytes=0-0"}], ids=["whole", "range"])
def test_a_wrong_source_key_is_refused_and_nothing_is_written(
    bucket, keys, customer_key, body, target, more
):
    bucket.ask("PUT", "/bucket/a", keys[1].headers(), body)
    upload = Upload(bucket, keys[target])
    before = bucket.remains

    for wrong in (keys[2], customer_key(keys[1].encoded.encode())):
        answer = upload.copy(source_triple(wrong) | triple(keys[target]) | more)
        assert fault(answer) == (403, "AccessDenied", WRONG_KEY, {})

    assert bucket.remains == before
    assert upload.listed() == []


@pytest.mark.parametrize(
    ("of_upload", "of_part", "text"),
    [(None, 1, PART_NEEDS_KEY), (1, None, PART_NEEDS_KEY), (1, 2, PART_OTHER_KEY)],
)
def test_a_part_takes_the_key_of_its_upload(bucket, keys, of_upload, of_part, text):
    bucket.ask("PUT", "/bucket/a", keys[2].headers(), LARGE)
    upload = Upload(bucket, keys[of_upload])
    before = bucket.remains

    answer = upload.copy(source_triple(keys[2]) | triple(keys[of_part]))

    assert fault(answer) == (400, "InvalidRequest", text, {})
    assert bucket.remains == before


def test_a_key_for_a_source_without_one_is_refused(bucket, key):
    bucket.ask("PUT", "/bucket/a", {}, LARGE)

    answer = Upload(bucket, key).copy(source_triple(key) | key.headers())

    assert fault(answer) == (400, "InvalidRequest", NOT_APPLICABLE, {})


def test_a_key_of_another_length_is_refused(bucket, key, customer_key):
    bucket.ask("PUT", "/bucket/a", {}, LARGE)

    answer = Upload(bucket, key).copy(customer_key(bytes(10)).headers())

    assert fault(answer) == (400, "InvalidArgument", BAD_KEY, NAMED)


@pytest.mark.parametrize(
    "asked",
    [
        "0-8", "bytes=1-0", "bytes=-1-", "bytes=0--1", "bytes=0-1,3-4,7-9", "bytes=-", "bytes=-0",
        "bytes=1-", "bytes=-2", "bytes=-15", "bytes=a-b", "0", "",
    ],
)  # fmt: skip
def test_a_range_names_both_its_ends(bucket, asked):
    # All but the last three were recorded.
    bucket.ask("PUT", "/bucket/a", {}, b"0123456789")
    upload = Upload(bucket)

    answer = upload.copy({RANGE: asked})

    fields = {"ArgumentName": RANGE, "ArgumentValue": asked}
    assert fault(answer) == (400, "InvalidArgument", BAD_RANGE, fields)
    assert upload.listed() == []


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (b"0123456789", "bytes=0-10"),
        (b"0123456789", "bytes=10-10"),
        (b"0123456789", "bytes=100-200"),
        (b"0123456789", f"bytes=0-{'9' * 100}"),
        (b"", "bytes=0-0"),
        (LARGE, "bytes=0-200000"),
    ],
)
def test_a_range_lies_within_its_source(bucket, key, body, asked):
    # S3 was recorded with other codes; the Ceph suite wants this one.
    bucket.ask("PUT", "/bucket/a", key.headers(), body)
    upload = Upload(bucket)

    found = upload.copy(source_triple(key) | {RANGE: asked}).fault

    assert (found.status, found.code) == (416, "InvalidRange")
    assert found.fields["ActualObjectSize"] == str(len(body))
    assert upload.listed() == []


YESTERDAY, TOMORROW = (
    format_datetime(datetime.now(UTC) + timedelta(days=days), usegmt=True) for days in (-1, 1)
)
OTHER = '"00000000000000000000000000000000"'
IF = "x-amz-copy-source-if-"


@pytest.mark.parametrize(
    ("headers", "condition"),
    [
        ({IF + "match": "ETAG"}, None),
        ({IF + "match": OTHER}, "x-amz-copy-source-If-Match"),
        ({IF + "none-match": OTHER}, None),
        ({IF + "none-match": "ETAG"}, "x-amz-copy-source-If-None-Match"),
        ({IF + "unmodified-since": TOMORROW}, None),
        ({IF + "unmodified-since": YESTERDAY}, "x-amz-copy-source-If-Unmodified-Since"),
        ({IF + "modified-since": YESTERDAY}, None),
        ({IF + "modified-since": "MODIFIED"}, "x-amz-copy-source-If-Modified-Since"),
        ({IF + "modified-since": TOMORROW}, None),
        ({IF + "match": "ETAG", IF + "unmodified-since": YESTERDAY}, None),
    ],
)
def test_a_part_obeys_the_conditions_on_its_source(bucket, key, headers, condition):
    etag = bucket.ask("PUT", "/bucket/a", key.headers(), LARGE).headers["etag"]
    modified = bucket.ask("HEAD", "/bucket/a", key.headers()).headers["last-modified"]
    values = {"ETAG": etag, "MODIFIED": modified}
    upload = Upload(bucket)

    answer = upload.copy(
        source_triple(key) | {name: values.get(value, value) for name, value in headers.items()}
    )

    if condition is None:
        assert answer.status == 200
    else:
        found = answer.fault
        assert (found.status, found.code) == (412, "PreconditionFailed")
        assert found.fields["Condition"] == condition
        assert upload.listed() == []


@pytest.mark.parametrize("number", [-1, 0, 10_001])
def test_part_numbers_go_from_1_to_10000(bucket, number):
    bucket.ask("PUT", "/bucket/a", {}, b"x")
    upload = Upload(bucket)

    found = upload.copy(number=number).fault

    assert (found.code, found.fields["ArgumentName"]) == ("InvalidArgument", "partNumber")
    assert upload.copy(number=10_000).status == 200


@pytest.mark.parametrize(
    ("source", "code"), [("bucket/nothing", "NoSuchKey"), ("nobucket/a", "NoSuchBucket")]
)
def test_a_source_that_is_not_there_is_404(bucket, source, code):
    found = Upload(bucket).copy(source=source).fault

    assert (found.status, found.code) == (404, code)


def test_an_upload_that_is_not_there_is_404(bucket):
    bucket.ask("PUT", "/bucket/a", {}, LARGE)
    before = bucket.remains

    answer = bucket.ask(
        "PUT", "/bucket/b?partNumber=1&uploadId=none", {"x-amz-copy-source": "bucket/a"}
    )

    assert (answer.status, answer.fault.code) == (404, "NoSuchUpload")
    assert bucket.remains == before


def test_a_part_needs_leave_to_read_its_source(bucket, key):
    alice = bucket.add_user("alice", "alicekey", "alice-secret")
    bucket.ask("PUT", "/alices", who=alice)
    opened = bucket.ask("POST", "/alices/b?uploads", who=alice)
    bucket.ask("PUT", "/bucket/a", key.headers(), LARGE)
    before = bucket.remains

    answer = bucket.ask(
        "PUT",
        f"/alices/b?partNumber=1&uploadId={opened.text('UploadId')}",
        {"x-amz-copy-source": "bucket/a"} | source_triple(key),
        who=alice,
    )

    assert (answer.status, answer.fault.code) == (403, "AccessDenied")
    assert bucket.remains == before


# Trouble


@pytest.mark.parametrize("asked", [{}, {RANGE: "bytes=150000-160000"}], ids=["whole", "range"])
def test_a_damaged_source_makes_no_part(bucket, key, asked):
    bucket.ask("PUT", "/bucket/a", key.headers(), LARGE)
    ((place, sealed),) = bucket.blobs.stored.items()
    bucket.blobs.stored[place] = sealed[:150_000] + b"\0\0\0\0" + sealed[150_004:]
    upload = Upload(bucket)

    answer = upload.copy(source_triple(key) | asked)

    assert (answer.status, answer.fault.code) == (500, "InternalError")
    assert [type(error) for error in bucket.reported] == [errors.NotAuthentic]
    assert upload.listed() == []
    assert set(bucket.blobs.stored) == {place}


def test_damage_outside_the_range_is_not_met(bucket, key):
    bucket.ask("PUT", "/bucket/a", key.headers(), LARGE)
    ((place, sealed),) = bucket.blobs.stored.items()
    bucket.blobs.stored[place] = sealed[:150_000] + b"\0\0\0\0" + sealed[150_004:]

    answer = Upload(bucket).copy(source_triple(key) | {RANGE: "bytes=0-99999"})

    assert answer.status == 200


def test_a_part_that_fails_at_its_commit_leaves_the_old_one(bucket, key):
    bucket.ask("PUT", "/bucket/a", key.headers(), LARGE)
    upload = Upload(bucket)
    upload.put(b"before")
    before = bucket.remains, upload.listed()
    bucket.catalog.failure = errors.StoreFull("no space")

    answer = upload.copy(source_triple(key))

    assert (answer.status, answer.fault.code) == (507, "StoreFull")
    assert (bucket.remains, upload.listed()) == before


def test_a_copy_into_an_upload_that_is_aborted_meanwhile_leaves_nothing(bucket, key):
    bucket.ask("PUT", "/bucket/a", key.headers(), LARGE)
    upload = Upload(bucket)
    original = bucket.blobs.open

    def open_and_abort(place):
        assert bucket.ask("DELETE", upload.target).status == 204
        return original(place)

    bucket.blobs.open = open_and_abort

    answer = upload.copy(source_triple(key))

    assert (answer.status, answer.fault.code) == (404, "NoSuchUpload")
    assert len(bucket.blobs.stored) == 1
