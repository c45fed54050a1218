"""How bodies arrive: with a length, in chunks, announced and waited for, or not at all."""

import base64
import hashlib
import itertools
import zlib

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

BODY = b"".join(b"line %d\n" % number for number in range(20_000))
CHUNK = 65_536
EMPTY = hashlib.sha256(b"").hexdigest()
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
CRC32 = base64.b64encode(zlib.crc32(BODY).to_bytes(4)).decode()


@pytest.fixture
def stored(s3, bucket, key):
    """Read an object with the key; None if there is none."""

    def read(name):
        if not s3.list_objects_v2(Bucket=bucket, Prefix=name)["KeyCount"]:
            return None
        return s3.get_object(Bucket=bucket, Key=name, **key.options)["Body"].read()

    return read


def frame(body, *, trailer=b"", sign=None):
    """Encode a body as aws-chunked; `sign` gives each chunk's signature."""
    pieces = [body[at : at + CHUNK] for at in range(0, len(body), CHUNK)]
    framed = bytearray()
    for piece in [*pieces, b""]:
        extension = b"" if sign is None else b";chunk-signature=" + sign(piece).encode()
        framed += b"%x%s\r\n" % (len(piece), extension)
        framed += piece + b"\r\n" if piece else trailer
    return bytes(framed + b"\r\n")


class ChunkSigner:
    """Signs chunks after botocore's signature of the head, which it does not do itself.

    Source: S3 API reference, "Signature Calculations for the Authorization Header:
    Transferring Payload in Multiple Chunks".
    """

    def __init__(self, server, headers):
        self._auth = S3SigV4Auth(
            Credentials(server.access_key, server.secret_key), "s3", "us-east-1"
        )
        self._time = headers["X-Amz-Date"]
        self._request = AWSRequest("PUT", "https://any")
        self._request.context["timestamp"] = self._time
        self._scope = headers["Authorization"].split("Credential=")[1].split(",")[0]
        self._last = headers["Authorization"].split("Signature=")[1]

    def _sign(self, *lines):
        scope = self._scope.partition("/")[2]
        text = "\n".join([lines[0], self._time, scope, self._last, *lines[1:]])
        self._last = self._auth.signature(text, self._request)
        return self._last

    def chunk(self, piece):
        return self._sign("AWS4-HMAC-SHA256-PAYLOAD", EMPTY, hashlib.sha256(piece).hexdigest())

    def trailer(self, lines):
        return self._sign("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(lines).hexdigest())


@pytest.fixture
def put_signed_chunks(connect, server, bucket, key):
    """Put `BODY` in signed chunks; `bend` changes what goes over the wire."""

    def put(*, trailing=False, bend=bytes):
        payload = SIGNED + "-TRAILER" if trailing else SIGNED
        headers = key.headers() | {
            "Content-Encoding": "aws-chunked",
            "X-Amz-Decoded-Content-Length": str(len(BODY)),
        }
        if trailing:
            headers["X-Amz-Trailer"] = "x-amz-checksum-crc32"
        wire = connect()
        # The length of what is sent does not depend on the signatures, but is signed with them.
        blank = _framed(ChunkSigner(server, wire.signed("PUT", "/", {})), trailing=trailing)
        headers["Content-Length"] = str(len(blank))
        headers = wire.signed("PUT", f"/{bucket}/film", headers, payload=payload)
        wire.send_head("PUT", f"/{bucket}/film", headers)
        wire.send(bend(_framed(ChunkSigner(server, headers), trailing=trailing)))
        return wire.answer()

    return put


def _framed(signer, *, trailing):
    if not trailing:
        return frame(BODY, sign=signer.chunk)
    line = b"x-amz-checksum-crc32:" + CRC32.encode()
    framed = frame(BODY, sign=signer.chunk).removesuffix(b"\r\n")
    signature = signer.trailer(line + b"\n").encode()
    return framed + line + b"\r\nx-amz-trailer-signature:" + signature + b"\r\n\r\n"


@pytest.mark.parametrize("trailing", [False, True])
def test_signed_chunks_are_stored(put_signed_chunks, stored, trailing):
    answer = put_signed_chunks(trailing=trailing)

    assert answer.status == 200
    assert stored("film") == BODY


@pytest.mark.parametrize("trailing", [False, True])
def test_a_changed_chunk_is_refused_and_leaves_nothing(put_signed_chunks, stored, trailing):
    answer = put_signed_chunks(
        trailing=trailing, bend=lambda framed: framed.replace(b"line 9999\n", b"line 9990\n")
    )

    assert answer.fault[:2] == (403, "SignatureDoesNotMatch")
    assert stored("film") is None


def test_a_changed_trailer_is_refused_and_leaves_nothing(put_signed_chunks, stored):
    other = base64.b64encode(bytes(4))

    answer = put_signed_chunks(
        trailing=True, bend=lambda framed: framed.replace(CRC32.encode(), other)
    )

    assert answer.status in (400, 403)
    assert stored("film") is None


def put_unsigned_trailer(wire, bucket, key, crc32=CRC32):
    framed = frame(BODY, trailer=b"x-amz-checksum-crc32:" + crc32.encode() + b"\r\n")
    headers = key.headers() | {
        "Content-Encoding": "aws-chunked",
        "X-Amz-Decoded-Content-Length": str(len(BODY)),
        "X-Amz-Trailer": "x-amz-checksum-crc32",
    }
    return wire.ask("PUT", f"/{bucket}/film", headers, framed, payload=UNSIGNED)


def test_an_unsigned_trailer_is_stored(connect, bucket, key, stored):
    assert put_unsigned_trailer(connect(), bucket, key).status == 200

    assert stored("film") == BODY


def test_a_wrong_unsigned_trailer_is_refused_and_leaves_nothing(connect, bucket, key, stored):
    wrong = base64.b64encode(bytes(4)).decode()

    answer = put_unsigned_trailer(connect(), bucket, key, wrong)

    assert answer.fault[:2] == (400, "BadDigest")
    assert stored("film") is None


@pytest.mark.parametrize("algorithm", [None, "CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_boto3s_checksums_are_verified_and_shown(server, bucket, key, scheme, algorithm):
    """By default boto3 sends a CRC32: over TLS in a trailer, else in a header."""
    url = server.endpoint_url if scheme == "https" else server.http_url
    options = key.options if scheme == "https" else {}
    client = server.boto3_client(endpoint_url=url)
    seen = {}
    client.meta.events.register(
        "before-send.s3.PutObject", lambda request, **_: seen.update(request.headers.items())
    )

    asked = {} if algorithm is None else {"ChecksumAlgorithm": algorithm}
    put = client.put_object(Bucket=bucket, Key="film", Body=BODY, **asked, **options)
    got = client.get_object(Bucket=bucket, Key="film", ChecksumMode="ENABLED", **options)

    member = "Checksum" + (algorithm or "CRC32")
    assert ("X-Amz-Trailer" in seen) == (scheme == "https")
    assert put[member] == got[member]
    assert got["ChecksumType"] == "FULL_OBJECT"
    assert got["Body"].read() == BODY
    client.close()


def test_boto3_without_checksums_gets_one_that_the_server_adds(server, bucket, key):
    quiet = Config(
        request_checksum_calculation="when_required", response_checksum_validation="when_required"
    )
    client = server.boto3_client(config=quiet)

    client.put_object(Bucket=bucket, Key="film", Body=BODY, **key.options)
    head = client.head_object(Bucket=bucket, Key="film", ChecksumMode="ENABLED", **key.options)

    assert head["ChecksumCRC64NVME"]
    client.close()


@pytest.mark.parametrize("framing", [{}, {"Transfer-Encoding": "chunked"}])
def test_a_body_without_a_length_gets_411(connect, bucket, key, framing, stored):
    wire = connect()
    headers = wire.signed(
        "PUT", f"/{bucket}/film", key.headers() | framing, payload="UNSIGNED-PAYLOAD"
    )

    wire.send_head("PUT", f"/{bucket}/film", headers)
    if framing:
        wire.send(b"7\r\nprivate\r\n0\r\n\r\n")
    answer = wire.answer()

    assert answer.fault[:2] == (411, "MissingContentLength")
    assert stored("film") is None


def test_a_client_that_waits_is_told_to_go_on(connect, bucket, key, stored):
    wire = connect()
    headers = key.headers() | {"Content-Length": str(len(BODY)), "Expect": "100-continue"}
    headers = wire.signed("PUT", f"/{bucket}/film", headers, BODY)

    wire.send_head("PUT", f"/{bucket}/film", headers)
    interim = wire.answer()
    wire.send(BODY)
    final = wire.answer()

    assert (interim.status, final.status) == (100, 200)
    assert stored("film") == BODY


def _no_such_bucket(wire, bucket, headers):
    return f"/{bucket}-gone/film", wire.signed("PUT", f"/{bucket}-gone/film", headers, BODY)


def _bad_signature(wire, bucket, headers):
    signed = wire.signed("PUT", f"/{bucket}/film", headers, BODY)
    return f"/{bucket}/film", signed | {"X-Amz-Meta-Late": "unsigned"}


def _wrong_md5(wire, bucket, headers):
    headers = headers | {
        "x-amz-server-side-encryption-customer-key-MD5": base64.b64encode(bytes(16)).decode()
    }
    return f"/{bucket}/film", wire.signed("PUT", f"/{bucket}/film", headers, BODY)


def _too_large(wire, bucket, headers):
    headers = headers | {"Content-Length": str(6 * 1024**4)}
    return f"/{bucket}/film", wire.signed("PUT", f"/{bucket}/film", headers, BODY)


@pytest.mark.parametrize(
    ("bend", "status"),
    [(_no_such_bucket, 404), (_bad_signature, 403), (_wrong_md5, 400), (_too_large, 400)],
)
def test_a_client_that_waits_is_refused_before_it_sends(connect, bucket, key, bend, status):
    wire = connect()
    headers = key.headers() | {"Content-Length": str(len(BODY)), "Expect": "100-continue"}
    target, headers = bend(wire, bucket, headers)

    wire.send_head("PUT", target, headers)
    answer = wire.answer()

    assert answer.status == status, answer.body
    assert wire.rest() == b"", "a body that never came must not be taken for the next request"


def test_a_body_that_breaks_off_leaves_nothing(
    connect, server, s3, bucket, key, stored, blob_files
):
    before = set(blob_files(server.data_dir))
    wire = connect()
    headers = key.headers() | {"Content-Length": str(10 * len(BODY))}
    wire.send_head("PUT", f"/{bucket}/film", wire.signed("PUT", f"/{bucket}/film", headers, BODY))
    wire.send(BODY)

    wire.close()
    while not any(event.get("outcome") == "gone" for event in _puts(server, bucket)):
        # The server needs a moment to notice, and pytest-timeout ends a wait in vain.
        s3.head_bucket(Bucket=bucket)

    assert stored("film") is None
    assert set(blob_files(server.data_dir)) <= before


def _puts(server, bucket):
    return [
        event
        for event in server.log_events()
        if event.get("bucket") == bucket and event.get("operation") == "PutObject"
    ]


@pytest.mark.parametrize(
    ("announced", "code"),
    [("Content-MD5", "BadDigest"), ("x-amz-content-sha256", "XAmzContentSHA256Mismatch")],
)
def test_a_body_that_is_not_the_announced_one_is_refused(
    connect, bucket, key, stored, announced, code
):
    if announced == "Content-MD5":
        headers = {announced: base64.b64encode(bytes(16)).decode()}
        answer = connect().ask("PUT", f"/{bucket}/film", key.headers() | headers, BODY)
    else:
        wrong = hashlib.sha256(b"another").hexdigest()
        answer = connect().ask("PUT", f"/{bucket}/film", key.headers(), BODY, payload=wrong)

    assert answer.fault[:2] == (400, code)
    assert stored("film") is None


def test_requests_follow_each_other_on_one_connection(connect, bucket, key):
    wire = connect()

    for number in itertools.islice(itertools.count(), 5):
        body = b"%d" % number * 1000
        assert wire.ask("PUT", f"/{bucket}/film", key.headers(), body).status == 200
        assert wire.ask("GET", f"/{bucket}/film", key.headers()).body == body
        assert wire.ask("HEAD", f"/{bucket}/film", key.headers()).status == 200
        assert wire.ask("GET", f"/{bucket}/gone", key.headers()).status == 404
