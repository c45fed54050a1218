"""How S3 refuses SSE-C requests, row by row; and uploads in parts under a key.

The rows are those of the facts that were gathered about AWS. The letter says who says
so: A was recorded from AWS, B is in its documentation or in bug reports, C is what the
Ceph test suite asserts, ? is our own choice. Where nobody saw two faults at once,
nothing here says which is told first.
"""

import pytest

SSE = "x-amz-server-side-encryption"
NAMED = {"ArgumentName": SSE}
KEYS_MUST = "Requests specifying Server Side Encryption with Customer provided keys must "
CONFLICT = (
    "Server Side Encryption with Customer provided key is incompatible with the encryption method"
    " specified"
)
BAD_ALGORITHM = "The Encryption request you specified is not valid. Supported value: AES256."
NO_ALGORITHM = KEYS_MUST + "provide a valid encryption algorithm."
NO_KEY = KEYS_MUST + "provide an appropriate secret key."
NO_MD5 = KEYS_MUST + "provide the client calculated MD5 of the secret key."
BAD_KEY = "The secret key was invalid for the specified algorithm."
BAD_MD5 = "The calculated MD5 hash of the key did not match the hash that was provided."
INSECURE = KEYS_MUST.replace("must ", "must be made over a secure connection.")
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


def fault(answer):
    found = answer.fault
    return found.status, found.code, found.message, found.fields


def open_upload(store, headers=None, key="big"):
    answer = store.ask("POST", f"/bucket/{key}?uploads", headers)
    assert answer.status == 200
    return answer.text("UploadId")


# Writes: each row stands for PutObject, and for CreateMultipartUpload and UploadPart, which take
# the same headers through the same reader.

WRITES = [
    pytest.param(
        {"algorithm": "KMS"},
        {SSE: "AES256"},
        (400, "InvalidArgument", CONFLICT, NAMED | {"ArgumentValue": "AES256"}),
        id="A-conflict-with-sse-told-before-wrong-algorithm",
    ),
    pytest.param(
        {},
        {SSE: "AES256"},
        (400, "InvalidArgument", CONFLICT, NAMED | {"ArgumentValue": "AES256"}),
        id="A-conflict-with-sse",
    ),
    pytest.param(
        {"algorithm": "KMS"},
        {},
        (400, "InvalidEncryptionAlgorithmError", BAD_ALGORITHM, NAMED | {"ArgumentValue": "KMS"}),
        id="A-unknown-algorithm",  # S000.3 S001.9 S002.26
    ),
    pytest.param(
        {"algorithm": None},
        {},
        (400, "InvalidArgument", NO_ALGORITHM, NAMED),
        id="A-no-algorithm",  # S000.2
    ),
    pytest.param(
        {"key": None},
        {},
        (400, "InvalidArgument", NO_KEY, NAMED),
        id="A-no-key",  # S000.2
    ),
    pytest.param(
        {"key": None, "md5": None},
        {},
        (400, "InvalidArgument", NO_KEY, NAMED),
        id="C-algorithm-alone",
    ),
    pytest.param(
        {"md5": None},
        {},
        (400, "InvalidArgument", NO_MD5, NAMED),
        id="C-no-md5",  # S000.2
    ),
    pytest.param(
        {"md5": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {},
        (400, "InvalidArgument", BAD_MD5, NAMED),
        id="A-md5-of-something-else",  # S002.28
    ),
    pytest.param(
        {"md5": "no base64, no digest"},
        {},
        (400, "InvalidArgument", BAD_MD5, NAMED),
        id="?-md5-is-no-digest",
    ),
    pytest.param(
        {"key": "!!! not base64 !!!"},
        {},
        (400, "InvalidArgument", BAD_KEY, NAMED),
        id="?-key-is-no-base64",
    ),
]


@pytest.mark.parametrize(("bent", "more", "expected"), WRITES)
def test_put_object_refuses_a_bad_triple(bucket, key, bent, more, expected):
    before = bucket.remains

    answer = bucket.ask("PUT", "/bucket/k", key.headers(**bent) | more, b"body")

    assert fault(answer) == expected
    assert bucket.remains == before


@pytest.mark.parametrize(("bent", "more", "expected"), WRITES)
def test_create_multipart_upload_refuses_a_bad_triple(bucket, key, bent, more, expected):
    answer = bucket.ask("POST", "/bucket/k?uploads", key.headers(**bent) | more)

    assert fault(answer) == expected
    assert b"<Upload>" not in bucket.ask("GET", "/bucket?uploads").body


@pytest.mark.parametrize(("bent", "more", "expected"), [row for row in WRITES if not row.values[1]])
def test_upload_part_refuses_a_bad_triple(bucket, key, bent, more, expected):
    # "A part's MD5 does not match its key" has C as its source.
    upload_id = open_upload(bucket, key.headers(), "k")
    before = bucket.remains

    answer = bucket.ask(
        "PUT",
        f"/bucket/k?partNumber=1&uploadId={upload_id}",
        key.headers(**bent) | more,
        b"body",
    )

    assert fault(answer) == expected
    assert bucket.remains == before


LENGTHS = [
    pytest.param(44, id="A-44-bytes-as-boto3-sends-a-key-that-was-encoded-already"),
    pytest.param(10, id="A-10-bytes"),
    pytest.param(31, id="?-31-bytes"),
    pytest.param(33, id="?-33-bytes"),
    pytest.param(0, id="?-no-bytes"),
]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(
    ("method", "target"),
    [("PUT", "/bucket/k"), ("POST", "/bucket/k?uploads")],
    ids=["PutObject", "CreateMultipartUpload"],
)
def test_a_key_of_wrong_length_cannot_seal(bucket, customer_key, method, target, length):
    # S000.4 S001.10 S001.11 S001.16 S002.27
    wrong = customer_key(bytes(range(100, 100 + length)))

    answer = bucket.ask(method, target, wrong.headers())

    assert fault(answer) == (400, "InvalidArgument", BAD_KEY, NAMED)


def test_boto3_with_an_encoded_key_and_no_md5_sends_a_key_of_44_bytes(s3, key):
    # S001.16 S001.17
    options = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key.encoded}

    with pytest.raises(s3.exceptions.ClientError, match="secret key was invalid") as caught:
        s3.put_object(Bucket="bucket", Key="k", Body=b"body", **options)

    assert caught.value.response["Error"]["ArgumentName"] == SSE


def test_the_md5_is_that_of_the_raw_key_and_not_of_its_base64(bucket, key, customer_key):
    # S000.5 S001.12
    of_the_text = customer_key(key.encoded.encode()).md5

    answer = bucket.ask("PUT", "/bucket/k", key.headers(md5=of_the_text), b"body")

    assert fault(answer) == (400, "InvalidArgument", BAD_MD5, NAMED)


# Reads

BODIES = [pytest.param(b"", id="0-bytes"), b"body", pytest.param(b"x" * 100_000, id="100000-bytes")]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("extra", [{}, {"range": "bytes=0-1"}], ids=["whole", "range"])
def test_get_without_a_key_is_refused(bucket, key, body, extra):
    # A. S002.16 S002.24 S003.15 S003.16
    bucket.ask("PUT", "/bucket/k", key.headers(), body)

    answer = bucket.ask("GET", "/bucket/k", extra)

    assert fault(answer) == (400, "InvalidRequest", NEEDS_KEY, {})


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("extra", [{}, {"range": "bytes=0-1"}], ids=["whole", "range"])
def test_get_with_another_key_is_refused(bucket, key, other_key, body, extra):
    # A. S002.5 S003.16
    bucket.ask("PUT", "/bucket/k", key.headers(), body)

    answer = bucket.ask("GET", "/bucket/k", other_key.headers() | extra)

    assert fault(answer) == (403, "AccessDenied", WRONG_KEY, {})


@pytest.mark.parametrize("body", BODIES)
def test_get_with_a_key_of_44_bytes_is_told_as_a_wrong_key(bucket, key, customer_key, body):
    # A. S001.11
    bucket.ask("PUT", "/bucket/k", key.headers(), body)
    wrong = customer_key(key.encoded.encode())

    answer = bucket.ask("GET", "/bucket/k", wrong.headers())

    assert fault(answer) == (403, "AccessDenied", WRONG_KEY, {})


@pytest.mark.parametrize("padding", [b"\0", b"\0" * 32])
def test_the_right_key_with_zeros_behind_it_is_a_wrong_key(bucket, key, customer_key, padding):
    # HMAC pads a key with zeros; used as its key, both would pass.
    bucket.ask("PUT", "/bucket/k", key.headers(), b"body")
    wrong = customer_key(key.raw + padding)

    answer = bucket.ask("GET", "/bucket/k", wrong.headers())

    assert fault(answer) == (403, "AccessDenied", WRONG_KEY, {})


READS = [
    pytest.param(
        {"algorithm": "KMS"},
        (400, "InvalidEncryptionAlgorithmError", BAD_ALGORITHM, NAMED | {"ArgumentValue": "KMS"}),
        id="A-unknown-algorithm",
    ),
    pytest.param(
        {"md5": "AAAAAAAAAAAAAAAAAAAAAA=="},
        (400, "InvalidArgument", BAD_MD5, NAMED),
        id="?-md5-of-something-else",
    ),
    pytest.param({"algorithm": None}, (400, "InvalidArgument", NO_ALGORITHM, NAMED), id="?-no-alg"),
    pytest.param({"key": None}, (400, "InvalidArgument", NO_KEY, NAMED), id="?-no-key"),
    pytest.param({"md5": None}, (400, "InvalidArgument", NO_MD5, NAMED), id="?-no-md5"),
    pytest.param({"key": "%%%"}, (400, "InvalidArgument", BAD_KEY, NAMED), id="?-no-base64"),
]


@pytest.mark.parametrize(("bent", "expected"), READS)
def test_get_with_a_bad_triple_is_refused(bucket, key, bent, expected):
    bucket.ask("PUT", "/bucket/k", key.headers(), b"body")

    answer = bucket.ask("GET", "/bucket/k", key.headers(**bent))

    assert fault(answer) == expected


@pytest.mark.parametrize("body", BODIES)
def test_get_with_a_key_for_an_object_without_one_is_refused(bucket, key, body):
    # B
    bucket.ask("PUT", "/bucket/k", {}, body)

    answer = bucket.ask("GET", "/bucket/k", key.headers())

    assert fault(answer) == (400, "InvalidRequest", NOT_APPLICABLE, {})


def test_a_read_that_names_an_encryption_is_refused(bucket):
    # C, B: 400; the code is our choice.
    bucket.ask("PUT", "/bucket/k", {}, b"body")

    for mode in ("aws:kms", "AES256"):
        get, head = (bucket.ask(method, "/bucket/k", {SSE: mode}) for method in ("GET", "HEAD"))

        assert (get.status, get.fault.code) == (400, "InvalidArgument")
        assert (head.status, head.body) == (400, b"")


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    ("bent", "status"),
    [
        pytest.param(None, 400, id="C,B-no-headers"),  # S003.25
        pytest.param({"algorithm": "KMS"}, 400, id="A-unknown-algorithm"),
        pytest.param({"md5": "AAAAAAAAAAAAAAAAAAAAAA=="}, 400, id="?-md5-of-something-else"),
        pytest.param({"key": None}, 400, id="?-no-key"),
    ],
)
def test_head_tells_a_fault_by_status_alone(bucket, key, body, bent, status):
    # S000.19
    bucket.ask("PUT", "/bucket/k", key.headers() | {"x-amz-meta-note": "sealed"}, body)

    answer = bucket.ask("HEAD", "/bucket/k", {} if bent is None else key.headers(**bent))

    assert (answer.status, answer.body) == (status, b"")
    assert not {"etag", "x-amz-meta-note", "content-type"} & answer.headers.keys()


@pytest.mark.parametrize("body", BODIES)
def test_head_with_a_wrong_key_is_403(bucket, key, other_key, customer_key, body):
    # A, for a key of 44 bytes
    bucket.ask("PUT", "/bucket/k", key.headers() | {"x-amz-meta-note": "sealed"}, body)

    for wrong in (other_key, customer_key(key.encoded.encode())):
        answer = bucket.ask("HEAD", "/bucket/k", wrong.headers())

        assert (answer.status, answer.body) == (403, b"")
        assert not {"etag", "x-amz-meta-note"} & answer.headers.keys()


def test_a_wrong_key_is_told_before_conditions_and_ranges(bucket, key, other_key):
    # Whoever lacks the key shall not find out what the conditions would say.
    etag = bucket.ask("PUT", "/bucket/k", key.headers(), b"body").headers["etag"]

    for extra in ({"if-none-match": etag}, {"if-match": '"other"'}, {"range": "bytes=9-"}):
        answer = bucket.ask("GET", "/bucket/k", other_key.headers() | extra)

        assert fault(answer) == (403, "AccessDenied", WRONG_KEY, {})


# Plain HTTP


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("PUT", "/bucket/k"),
        ("GET", "/bucket/k"),
        ("POST", "/bucket/k?uploads"),
        ("PUT", "/bucket/k?partNumber=1&uploadId=u"),
        ("POST", "/bucket/k?uploadId=u"),
        ("GET", "/bucket/k?uploadId=u"),
    ],
)
@pytest.mark.parametrize(
    "forged",
    [{}, {"x-forwarded-proto": "https", "forwarded": "proto=https", "x-forwarded-ssl": "on"}],
    ids=["plain", "forged"],
)
@pytest.mark.parametrize(
    "bent",
    [{}, {"key": None}, {"algorithm": None, "key": None}, {"md5": None, "algorithm": "KMS"}],
    ids=["whole", "no-key", "md5-alone", "bad-algorithm"],
)
def test_plain_http_refuses_every_sse_c_request(bucket, key, method, target, forged, bent):
    # B. S000.6 S002.10
    answer = bucket.ask(method, target, key.headers(**bent) | forged, secure=False)

    assert fault(answer) == (400, "InvalidRequest", INSECURE, {})


def test_plain_http_refuses_a_key_even_if_nobody_signed_the_request(bucket, key):
    answer = bucket.ask("GET", "/bucket/k", key.headers(), secure=False, who=None)

    assert fault(answer) == (400, "InvalidRequest", INSECURE, {})


def test_plain_http_head_with_a_key_is_400(bucket, key):
    bucket.ask("PUT", "/bucket/k", key.headers(), b"body")

    answer = bucket.ask("HEAD", "/bucket/k", key.headers(), secure=False)

    assert (answer.status, answer.body) == (400, b"")


def test_plain_http_refuses_a_copy_sources_key(bucket, key):
    # S002.38
    source = {
        name.replace("x-amz-", "x-amz-copy-source-"): value for name, value in key.headers().items()
    }

    answer = bucket.ask(
        "PUT", "/bucket/k", source | {"x-amz-copy-source": "/bucket/a"}, secure=False
    )

    assert fault(answer) == (400, "InvalidRequest", INSECURE, {})


def test_boto3_over_plain_http_is_refused_by_the_server_too(bucket, key):
    plain = bucket.client(scheme="http")

    with pytest.raises(plain.exceptions.ClientError, match="secure connection"):
        plain.put_object(
            Bucket="bucket",
            Key="k",
            Body=b"body",
            SSECustomerAlgorithm="AES256",
            SSECustomerKey=key.encoded,
            SSECustomerKeyMD5=key.md5,
        )


def test_plain_http_serves_what_carries_no_key(bucket):
    bucket.ask("PUT", "/bucket/k", {}, b"body", secure=False)

    assert bucket.ask("GET", "/bucket/k", secure=False).body == b"body"


# Multipart


def test_a_part_with_a_key_for_an_upload_without_is_refused(bucket, key):
    # A. S001.7
    upload_id = open_upload(bucket)

    answer = bucket.ask(
        "PUT", f"/bucket/big?partNumber=1&uploadId={upload_id}", key.headers(), b"part"
    )

    assert fault(answer) == (400, "InvalidRequest", PART_NEEDS_KEY, {})


@pytest.mark.parametrize("body", [b"", b"part"])
def test_a_part_without_a_key_for_an_upload_with_one_is_refused(bucket, key, body):
    # A. S001.6 S001.8
    upload_id = open_upload(bucket, key.headers())

    answer = bucket.ask("PUT", f"/bucket/big?partNumber=1&uploadId={upload_id}", {}, body)

    assert fault(answer) == (400, "InvalidRequest", PART_NEEDS_KEY, {})


@pytest.mark.parametrize("body", [b"", b"part"])
def test_a_part_with_another_key_is_refused(bucket, key, other_key, body):
    # A. S001.8 S002.34
    upload_id = open_upload(bucket, key.headers())
    before = bucket.remains

    answer = bucket.ask(
        "PUT", f"/bucket/big?partNumber=1&uploadId={upload_id}", other_key.headers(), body
    )

    assert fault(answer) == (400, "InvalidRequest", PART_OTHER_KEY, {})
    assert bucket.remains == before


def test_an_upload_under_a_key_answers_as_s3_does(bucket, key, other_key):
    # A; that Complete takes the triple is C. S002.34 S002.46 S001.6
    created = bucket.ask("POST", "/bucket/big?uploads", key.headers())
    upload_id = created.text("UploadId")
    body = bytes(range(256)) * 20_480
    place = f"/bucket/big?partNumber={{}}&uploadId={upload_id}"
    parts = [bucket.ask("PUT", place.format(n), key.headers(), body) for n in (1, 2)]
    last = bucket.ask("PUT", place.format(3), key.headers(), b"end")
    listed = bucket.ask("GET", f"/bucket/big?uploadId={upload_id}")
    etags = [answer.headers["etag"] for answer in (*parts, last)]
    named = "".join(
        f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>"
        for n, etag in enumerate(etags, 1)
    )
    document = f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>".encode()
    done = bucket.ask("POST", f"/bucket/big?uploadId={upload_id}", {}, document)
    got = bucket.ask("GET", "/bucket/big", key.headers())
    border = len(body)

    for answer in (created, *parts, last, got):
        assert answer.status == 200
        assert answer.headers[f"{SSE}-customer-algorithm"] == "AES256"
        assert answer.headers[f"{SSE}-customer-key-md5"] == key.md5
        assert SSE not in answer.headers
    assert etags[0] != etags[1]
    assert all(len(etag) == 34 for etag in etags)
    assert listed.status == 200
    assert listed.body.count(b"<Size>5242880</Size>") == 2
    assert b"<Size>3</Size>" in listed.body
    assert b"ustomer" not in listed.body
    assert not [name for name in (*listed.headers, *done.headers) if "encryption" in name]
    assert done.status == 200
    assert b"ustomer" not in done.body
    assert done.text("ETag").endswith('-3"')
    assert len(done.text("ETag")) == len('"-3"') + 32
    assert got.body == body + body + b"end"
    assert got.headers["etag"] == done.text("ETag")
    assert got.headers["content-length"] == str(2 * border + 3)
    # C: ranges over the borders of parts
    for first, last_byte in ((border - 2, border + 1), (border - 1, 2 * border), (0, 0)):
        part = bucket.ask(
            "GET", "/bucket/big", key.headers() | {"range": f"bytes={first}-{last_byte}"}
        )
        assert part.body == got.body[first : last_byte + 1]
    for wrong, status in (({}, 400), (other_key.headers(), 403)):
        assert bucket.ask("GET", "/bucket/big", wrong).status == status
        assert bucket.ask("HEAD", "/bucket/big", wrong).status == status


def test_complete_takes_the_triple_when_it_is_sent(bucket, key):
    # C says that it is accepted.
    upload_id = open_upload(bucket, key.headers())
    part = bucket.ask(
        "PUT", f"/bucket/big?partNumber=1&uploadId={upload_id}", key.headers(), b"part"
    )
    document = (
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
        f"<ETag>{part.headers['etag']}</ETag></Part></CompleteMultipartUpload>"
    ).encode()

    done = bucket.ask("POST", f"/bucket/big?uploadId={upload_id}", key.headers(), document)

    assert done.status == 200
    assert not [name for name in done.headers if "encryption" in name]


def test_complete_refuses_another_triple_when_it_is_sent(bucket, key, other_key):
    # C.
    uploads = (key.headers(), other_key.headers()), ({}, key.headers())
    for begun, sent in uploads:
        upload_id = open_upload(bucket, begun)
        target = f"/bucket/big?uploadId={upload_id}"
        part = bucket.ask("PUT", f"{target}&partNumber=1", begun, b"part")
        document = (
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
            f"<ETag>{part.headers['etag']}</ETag></Part></CompleteMultipartUpload>"
        ).encode()

        refused = bucket.ask("POST", target, sent, document)

        assert (refused.status, refused.fault.code) == (400, "InvalidRequest")
        assert bucket.ask("HEAD", "/bucket/big", begun).status == 404
        assert bucket.ask("POST", target, begun, document).status == 200
        bucket.ask("DELETE", "/bucket/big")


def test_an_upload_under_a_key_is_aborted_without_it(bucket, key):
    upload_id = open_upload(bucket, key.headers())
    bucket.ask("PUT", f"/bucket/big?partNumber=1&uploadId={upload_id}", key.headers(), b"part")

    aborted = bucket.ask("DELETE", f"/bucket/big?uploadId={upload_id}")

    assert aborted.status == 204
    assert bucket.remains == (set(), set(), set())


def test_an_upload_of_nothing_under_a_key_opens_with_it_alone(bucket, key, other_key):
    upload_id = open_upload(bucket, key.headers())
    part = bucket.ask("PUT", f"/bucket/big?partNumber=1&uploadId={upload_id}", key.headers(), b"")
    document = (
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
        f"<ETag>{part.headers['etag']}</ETag></Part></CompleteMultipartUpload>"
    ).encode()
    assert bucket.ask("POST", f"/bucket/big?uploadId={upload_id}", {}, document).status == 200

    assert bucket.ask("GET", "/bucket/big", key.headers()).body == b""
    assert bucket.ask("GET", "/bucket/big", other_key.headers()).status == 403
    assert bucket.ask("GET", "/bucket/big").status == 400


def test_an_upload_without_a_key_says_what_encrypts_it(bucket):
    # A: CreateMultipartUpload without encryption
    answer = bucket.ask("POST", "/bucket/big?uploads")

    assert answer.headers[SSE] == "AES256"
