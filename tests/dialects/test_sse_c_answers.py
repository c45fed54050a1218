"""How S3 answers good SSE-C requests. The letters of sources are those of `test_sse_c_errors`."""

import base64

import pytest

SSE = "x-amz-server-side-encryption"
BODIES = [pytest.param(b"", id="0-bytes"), b"body", pytest.param(b"x" * 100_000, id="100000-bytes")]


@pytest.mark.parametrize("body", BODIES)
def test_an_object_under_a_key_comes_back_and_says_so(bucket, key, body):
    # A. S000.1 S000.8 S000.18 S000.19 S000.20 S001.3 S002.3 S002.12 S002.25 S002.29
    # S002.31 S002.32 S002.33 S002.42 S002.43 S002.44
    put = bucket.ask("PUT", "/bucket/k", key.headers(), body)
    got = bucket.ask("GET", "/bucket/k", key.headers())
    head = bucket.ask("HEAD", "/bucket/k", key.headers())

    assert (put.status, got.status, head.status) == (200, 200, 200)
    assert (got.body, head.body) == (body, b"")
    for answer in (put, got, head):
        assert answer.headers[f"{SSE}-customer-algorithm"] == "AES256"
        assert answer.headers[f"{SSE}-customer-key-md5"] == key.md5
        assert SSE not in answer.headers
        assert answer.headers["etag"] == put.headers["etag"]
    for answer in (got, head):
        assert answer.headers["content-length"] == str(len(body))
        assert answer.headers["accept-ranges"] == "bytes"


def test_the_examples_of_the_seeds_are_usable_pairs(s3):
    # S000.18 S001.5 S001.13 S001.14 S001.15
    pairs = [
        ("MzJieXRlc2xvbmdzZWNyZXRrZXltdXN0cHJvdmlkZWQ=", "7PpPLAK26ONlVUGOWlusfg=="),
        (base64.b64encode(b"32bytesOfTotallyRandomCharacters").decode(), None),
    ]
    for encoded, md5 in pairs:
        options = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": base64.b64decode(encoded)}
        if md5 is not None:
            options |= {"SSECustomerKey": encoded, "SSECustomerKeyMD5": md5}

        s3.put_object(Bucket="bucket", Key="my-secret-diary", Body=b"dear diary", **options)
        got = s3.get_object(Bucket="bucket", Key="my-secret-diary", **options)

        assert got["Body"].read() == b"dear diary"


def test_the_etag_under_a_key_is_no_digest_of_the_content(bucket, key):
    # A. S000.8 S002.12
    etags = {
        bucket.ask("PUT", "/bucket/k", key.headers(), b"body").headers["etag"].strip('"')
        for _ in range(3)
    }

    assert len(etags) == 3
    assert all(len(etag) == 32 and set(etag) <= set("0123456789abcdef") for etag in etags)
    assert "841a2d689ad86bd1611447453c22c6fc" not in etags  # MD5 of b"body"


def test_without_a_key_the_store_encrypts_and_says_so(bucket):
    # S003.6 S003.18
    put = bucket.ask("PUT", "/bucket/k", {}, b"body")
    got = bucket.ask("GET", "/bucket/k")

    for answer in (put, got):
        assert answer.headers[SSE] == "AES256"
        assert not [name for name in answer.headers if "customer" in name]
    assert put.headers["etag"] == '"841a2d689ad86bd1611447453c22c6fc"'


def test_aes256_may_be_asked_for_by_name(bucket):
    put = bucket.ask("PUT", "/bucket/k", {SSE: "AES256"}, b"body")

    assert (put.status, put.headers[SSE]) == (200, "AES256")


def test_checksums_are_those_of_the_plaintext(bucket, key):
    # A: CRC32 of the client's, or CRC64NVME of ours
    mode = key.headers() | {"x-amz-checksum-mode": "ENABLED"}

    asked = key.headers() | {"x-amz-checksum-crc32": "y/Q5Jg=="}
    bucket.ask("PUT", "/bucket/one", asked, b"123456789")
    bucket.ask("PUT", "/bucket/two", key.headers(), b"123456789")
    one, two = (bucket.ask(m, f"/bucket/{k}", mode) for m, k in (("GET", "one"), ("HEAD", "two")))

    assert one.headers["x-amz-checksum-crc32"] == "y/Q5Jg=="
    assert (
        two.headers["x-amz-checksum-crc64nvme"] == "rosUhgp5mIg="
    )  # 0xae8b14860a799888, the check value
    assert one.headers["x-amz-checksum-type"] == two.headers["x-amz-checksum-type"] == "FULL_OBJECT"


def test_delete_needs_no_key(bucket, key):
    # A
    bucket.ask("PUT", "/bucket/k", key.headers(), b"body")

    assert bucket.ask("DELETE", "/bucket/k").status == 204
    assert bucket.ask("GET", "/bucket/k", key.headers()).status == 404


def test_listings_show_objects_under_a_key_without_one(bucket, key):
    # S003.22 S003.24
    bucket.ask("PUT", "/bucket/text01.txt", key.headers(), b"x" * 36)

    for target in ("/bucket", "/bucket?list-type=2", "/bucket?versions"):
        body = bucket.ask("GET", target).body
        assert b"<Key>text01.txt</Key>" in body
        assert b"<Size>36</Size>" in body


def test_keys_are_chosen_request_by_request(bucket, key, other_key):
    # S003.2 S003.19 S002.13
    bucket.ask("PUT", "/bucket/one", key.headers(), b"1")
    bucket.ask("PUT", "/bucket/two", other_key.headers(), b"2")
    bucket.ask("PUT", "/bucket/three", {}, b"3")

    assert bucket.ask("GET", "/bucket/one", key.headers()).body == b"1"
    assert bucket.ask("GET", "/bucket/two", other_key.headers()).body == b"2"
    assert bucket.ask("GET", "/bucket/three").body == b"3"


def test_overwriting_takes_the_new_key_and_no_other(bucket, key, other_key):
    bucket.ask("PUT", "/bucket/k", key.headers(), b"old")
    bucket.ask("PUT", "/bucket/k", other_key.headers(), b"new")

    assert bucket.ask("GET", "/bucket/k", other_key.headers()).body == b"new"
    assert bucket.ask("GET", "/bucket/k", key.headers()).status == 403


def test_boto3_programs_of_the_seeds_work(s3, tmp_path):
    # S003.20 S003.21 S003.27, with a file that boto3 sends in parts
    key = bytes.fromhex("1f" * 32)
    options = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}
    for size in (36, 9 * 1024 * 1024 + 5):
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes((b"%07d\n" * (size // 8 + 1) % tuple(range(size // 8 + 1)))[:size])

        with source.open("rb") as data:
            s3.upload_fileobj(data, "bucket", "text01.txt", ExtraArgs=options)
        with target.open("wb") as data:
            s3.download_fileobj("bucket", "text01.txt", data, ExtraArgs=options)

        assert target.read_bytes() == source.read_bytes()


def test_boto3_without_a_key_hears_400_bad_request_from_head(s3, tmp_path, key):
    # S003.23 S003.25
    s3.put_object(Bucket="bucket", Key="text01.txt", Body=b"x" * 36, **key.options)

    with pytest.raises(s3.exceptions.ClientError) as caught:
        s3.download_file("bucket", "text01.txt", str(tmp_path / "text01.txt"))

    error = caught.value
    assert error.operation_name == "HeadObject"
    assert error.response["Error"] == {"Code": "400", "Message": "Bad Request"}
