"""Seed S000: the `aws` command under a customer key, with a certificate that no CA signed.

The calls and their arguments are the seed's; endpoint, credentials and names are ours.
"""

import contextlib
import hashlib
import json
import socket
import sqlite3
import ssl
from urllib.parse import urlsplit

import pytest
from botocore import exceptions

from strongroom.server import settings

SEED_KEY = "MzJieXRlc2xvbmdzZWNyZXRrZXltdXN0cHJvdmlkZWQ="
SEED_KEY_MD5 = "7PpPLAK26ONlVUGOWlusfg=="
TRIPLE = (
    "--sse-customer-algorithm",
    "AES256",
    "--sse-customer-key",
    SEED_KEY,
    "--sse-customer-key-md5",
    SEED_KEY_MD5,
)
MISMATCH = "The calculated MD5 hash of the key did not match the hash that was provided."
INVALID_KEY = "The secret key was invalid for the specified algorithm."


@pytest.fixture
def seed_key(customer):
    key = customer(b"32byteslongsecretkeymustprovided")
    assert (key.encoded, key.md5) == (SEED_KEY, SEED_KEY_MD5)
    return key


@pytest.mark.slow
def test_the_seeds_commands_store_show_and_restore_a_file(aws, new_name, content):
    """S000.1, S000.10, S000.12, S000.13, S000.15, S000.17, S000.18, S000.19, S000.20."""
    bucket, file = new_name(), aws.home / "notes.txt"
    file.write_bytes(content(100_000))
    before = hashlib.sha256(file.read_bytes()).digest()
    assert aws.endpoint.startswith("https://localhost:")

    def insecurely(operation, *args):
        return aws(
            *("s3api", operation, "--no-verify-ssl", "--endpoint-url", aws.endpoint),
            *("--bucket", bucket, "--key", "private-notes"),
            *args,
            trusting=False,
        )

    aws(
        *("--no-verify-ssl", "--endpoint-url", aws.endpoint),
        *("s3api", "create-bucket", "--bucket", bucket),
        trusting=False,
    )
    put = json.loads(insecurely("put-object", *TRIPLE, "--body", file))
    head = json.loads(insecurely("head-object", *TRIPLE))
    file.unlink()
    got = json.loads(insecurely("get-object", *TRIPLE, file))

    assert hashlib.sha256(file.read_bytes()).digest() == before
    for answer in (put, head, got):
        assert answer["SSECustomerAlgorithm"] == "AES256"
        assert answer["SSECustomerKeyMD5"] == SEED_KEY_MD5
        assert "ServerSideEncryption" not in answer
    assert head["ContentLength"] == got["ContentLength"] == 100_000
    assert put["ETag"] == head["ETag"] == got["ETag"]


@pytest.mark.slow
def test_aws_refuses_a_certificate_whose_ca_it_was_not_told(aws):
    """S000.13."""
    refused = aws.run("--endpoint-url", aws.endpoint, "s3api", "list-buckets", trusting=False)
    trusted = aws.run("--endpoint-url", aws.endpoint, "s3api", "list-buckets")

    assert refused.returncode != 0
    assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr
    assert trusted.returncode == 0, trusted.stderr


def test_an_installed_certificate_is_the_one_that_clients_see(server, make_server):
    """S000.14."""
    tls = server.data_dir / "tls"
    other = make_server(
        args=["--tls-cert", str(tls / "server.crt"), "--tls-key", str(tls / "server.key")]
    )

    parts = urlsplit(other.endpoint_url)
    context = ssl.create_default_context(cafile=server.ca_bundle)
    with (
        socket.create_connection((parts.hostname, parts.port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        shown = wrapped.getpeercert(binary_form=True)

    installed = ssl.PEM_cert_to_DER_cert((tls / "server.crt").read_text())
    assert shown == installed


def test_the_default_address_is_port_9000_over_https():
    """S000.15."""
    chosen = settings.load({}, {})

    assert str(chosen.listen) == "127.0.0.1:9000"
    assert chosen.http_listen is None


@pytest.mark.parametrize("missing", ["algorithm", "key", "md5"])
def test_a_request_that_lacks_one_of_the_three_headers_is_refused(
    connect, bucket, seed_key, missing
):
    """S000.2."""
    answer = connect().ask(
        "PUT", f"/{bucket}/notes", seed_key.headers(**{missing: None}), b"private"
    )

    assert answer.fault[:2] == (400, "InvalidArgument")
    assert connect().ask("HEAD", f"/{bucket}/notes").status == 404


@pytest.mark.parametrize("algorithm", ["AES192", "aes256", "AES-256", "aws:kms", "KMS"])
def test_the_only_algorithm_is_aes256(connect, bucket, seed_key, algorithm):
    """S000.3."""
    answer = connect().ask(
        "PUT", f"/{bucket}/notes", seed_key.headers(algorithm=algorithm), b"private"
    )

    assert answer.fault == (
        400,
        "InvalidEncryptionAlgorithmError",
        "The Encryption request you specified is not valid. Supported value: AES256.",
    )
    assert answer.field("ArgumentValue") == algorithm


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33, 44, 64])
def test_a_key_has_256_bits(connect, bucket, customer, size):
    """S000.4."""
    answer = connect().ask("PUT", f"/{bucket}/notes", customer(b"k" * size).headers(), b"private")

    assert answer.status == 400
    assert answer.field("Code") == "InvalidArgument"


def test_a_key_that_is_no_base64_is_refused(connect, bucket, seed_key):
    """S000.4."""
    answer = connect().ask(
        "PUT", f"/{bucket}/notes", seed_key.headers(key=seed_key.encoded[:-1] + "!"), b"private"
    )

    assert answer.fault == (400, "InvalidArgument", INVALID_KEY)


def test_the_md5_is_of_the_raw_key_and_not_of_its_base64(connect, bucket, seed_key, customer):
    """S000.5."""
    of_the_text = customer(seed_key.encoded.encode()).md5

    answer = connect().ask("PUT", f"/{bucket}/notes", seed_key.headers(md5=of_the_text), b"private")

    assert answer.fault == (400, "InvalidArgument", MISMATCH)


def test_a_key_sent_without_tls_is_refused(connect, server, bucket, seed_key):
    """S000.6."""
    answer = connect(url=server.http_url).ask(
        "PUT", f"/{bucket}/notes", seed_key.headers(), b"private"
    )

    assert answer.fault == (
        400,
        "InvalidRequest",
        (
            "Requests specifying Server Side Encryption with Customer provided keys must be made"
            " over a secure connection."
        ),
    )


def test_the_etag_is_not_the_md5_and_differs_each_time(s3, bucket, seed_key):
    """S000.8."""
    etags = [
        s3.put_object(Bucket=bucket, Key="notes", Body=b"private", **seed_key.options)["ETag"]
        for _ in range(2)
    ]

    assert f'"{hashlib.md5(b"private", usedforsecurity=False).hexdigest()}"' not in etags
    assert etags[0] != etags[1]


@pytest.mark.parametrize(
    ("key", "status"), [(None, 400), (b"another key of thirty-two bytes!", 403)]
)
def test_metadata_are_for_the_right_key_only(s3, connect, bucket, seed_key, customer, key, status):
    """S000.19."""
    s3.put_object(
        Bucket=bucket, Key="notes", Body=b"private", Metadata={"kind": "diary"}, **seed_key.options
    )

    headers = {} if key is None else customer(key).headers()
    answer = connect().ask("HEAD", f"/{bucket}/notes", headers)

    assert answer.status == status
    assert "x-amz-meta-kind" not in answer.headers
    assert "etag" not in answer.headers


@pytest.mark.parametrize("size", [100, 200_000])
def test_a_change_of_stored_bytes_is_never_served(
    server, s3, bucket, key, content, size, stored_parts
):
    """S000.9."""
    s3.put_object(Bucket=bucket, Key="notes", Body=content(size), **key.options)
    _flip(server, stored_parts(server.data_dir, bucket, "notes"), 80)

    with pytest.raises(exceptions.ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="notes", **key.options)

    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert caught.value.response["Error"]["Code"] == "InternalError"


def test_a_change_late_in_an_object_cuts_the_answer_before_it(
    server, s3, bucket, key, content, stored_parts
):
    """S000.9."""
    plain = content(10_000_000)
    s3.put_object(Bucket=bucket, Key="notes", Body=plain, **key.options)
    _flip(server, stored_parts(server.data_dir, bucket, "notes"), 9_000_000)
    body = s3.get_object(Bucket=bucket, Key="notes", **key.options)["Body"]

    got = bytearray()

    with pytest.raises(
        (exceptions.ResponseStreamingError, exceptions.IncompleteReadError, OSError)
    ):
        _read_into(got, body)

    assert len(got) < 9_000_000
    assert plain.startswith(got)


def _read_into(target, body):
    while piece := body.read(65_536):
        target += piece


def _flip(server, parts, at):
    """Flip a bit of a stored body: of its file, or of its row if it lies in the catalog."""
    (part,) = parts
    changed = bytearray(part.sealed)
    changed[at] ^= 1
    if part.file is not None:
        part.file.chmod(0o600)
        with part.file.open("r+b") as opened:
            opened.write(changed)
        return
    catalog = sqlite3.connect(server.data_dir / "catalog.sqlite")
    with contextlib.closing(catalog), catalog:
        catalog.execute(
            "UPDATE inline_blobs SET data = ? WHERE blob_id = ?", (bytes(changed), part.blob_id)
        )
