"""Limits and hostile input, over a wire: what is refused, how, and that the server goes on.

The limits are those of docs/guide/limits.md.
"""

import base64
import re
import socket
import zlib

import pytest

from strongroom.dialects.s3 import heads, routes
from strongroom.wire import binding, form

BODY = b"hello"
CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"
CLOSED = True
OPEN = False


@pytest.fixture
def wire(connect, server):
    return connect(url=server.http_url)


@pytest.fixture
def alive(s3, bucket):
    """Check, at the end, that the server serves and nothing was stored."""
    yield
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def put(wire, bucket, more=(), body=BODY, *, drop=(), method="PUT", target=None, version="1.1"):
    """Send a signed PUT of one object, with unsigned lines added or signed ones left out."""
    target = target or f"/{bucket}/key"
    signed = wire.signed("PUT", target, {}, payload="UNSIGNED-PAYLOAD")
    lines = [f"{name}: {text}" for name, text in signed.items() if name.lower() not in drop]
    head = "\r\n".join([f"{method} {target} HTTP/{version}", *lines, *more, "", ""])
    wire.send(head.encode("latin-1") + body)


def told(raw):
    """Return status and code of the first answer in what came, and how many there are."""
    found = re.findall(rb"HTTP/1\.[01] (\d+)", raw)
    code = re.search(rb"<Code>(.*?)</Code>", raw)
    return int(found[0]), code and code[1].decode(), len(found)


# What is no HTTP, or HTTP with two meanings: the connection cannot be trusted any further.


@pytest.mark.parametrize(
    "more",
    [
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5, 6"],
        ["Content-Length: +5"],
        ["Content-Length: -5"],
        ["Content-Length: " + "9" * 30],
        ["Content-Length : 5"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked, gzip"],
        ["Content-Length: 5", "a b: c"],
        ["Content-Length: 5", "a: b\0c"],
        ["Content-Length: 5", "a: b", " folded"],
        ["Content-Length: 5", "no colon"],
    ],
    ids=repr,
)
@pytest.mark.usefixtures("alive")
def test_a_head_that_cannot_be_read_closes_the_connection(wire, bucket, more):
    put(wire, bucket, more, BODY + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")

    assert told(wire.rest()) == (400, None, 1)


@pytest.mark.parametrize(
    "raw",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0" * 100,
        b"GET /\r\n\r\n",
    ],
)
@pytest.mark.usefixtures("alive")
def test_what_is_no_request_closes_the_connection(wire, raw):
    wire.send(raw)

    answer = wire.rest()

    assert answer == b"" or told(answer) == (400, None, 1)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.usefixtures("alive")
def test_a_length_beside_chunks_is_no_way_to_smuggle_a_request(wire, bucket, order):
    more = ["Content-Length: 5", "Transfer-Encoding: chunked"][::order]

    put(wire, bucket, more, b"0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")

    assert told(wire.rest()) == (411, "MissingContentLength", 1)


@pytest.mark.parametrize("body", [b"zz\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"-1\r\n"])
@pytest.mark.usefixtures("alive")
def test_chunks_that_cannot_be_read_are_refused(wire, bucket, body):
    put(wire, bucket, ["Transfer-Encoding: chunked"], body)

    assert told(wire.rest())[0] in (400, 411)


# Too much.


@pytest.mark.parametrize(
    ("more", "status", "code", "closes"),
    [
        ([f"a: {'b' * heads.MAX_HEADER_BYTES}"], 400, "RequestHeaderSectionTooLarge", OPEN),
        ([f"a{number}: b" for number in range(101)], 431, None, CLOSED),
        # Twice hyper's buffer and more: of less, the rest may come with the read that fills it.
        ([f"a: {'b' * 1_000_000}"], 431, None, CLOSED),
    ],
    ids=["bytes", "number", "buffer"],
)
@pytest.mark.usefixtures("alive")
def test_a_head_has_limits(wire, bucket, more, status, code, closes):
    put(wire, bucket, ["Content-Length: 5", *more])

    if closes:
        assert told(wire.rest()) == (status, code, 1)
    else:
        assert wire.answer().fault[:2] == (status, code)
        assert wire.ask("GET", f"/{bucket}").status == 200


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("a=" + "b" * heads.MAX_TARGET_BYTES, 400, "InvalidURI"),
        ("a=" + "b" * 70_000, 414, None),
    ],
    ids=["ours", "hyper's"],
)
@pytest.mark.usefixtures("alive")
def test_a_target_has_a_limit(wire, bucket, query, status, code):
    put(wire, bucket, ["Content-Length: 0", "Connection: close"], target=f"/{bucket}/key?{query}")

    assert told(wire.rest()) == (status, code, 1)


@pytest.mark.usefixtures("alive")
def test_a_key_has_a_limit(connect, bucket):
    key = "%C3%BC" * (routes.MAX_KEY_BYTES // 2)

    assert connect().ask("GET", f"/{bucket}/{key}").fault[:2] == (404, "NoSuchKey")
    assert connect().ask("GET", f"/{bucket}/{key}k").fault[:2] == (400, "KeyTooLongError")


# Twice.


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "Authorization",
        "Date",
        "Content-MD5",
        "x-amz-date",
        "x-amz-content-sha256",
        "x-amz-acl",
        "x-amz-decoded-content-length",
        "x-amz-server-side-encryption-customer-key",
    ],
)
@pytest.mark.parametrize("same", [True, False])
@pytest.mark.usefixtures("alive")
def test_a_header_with_one_value_comes_once(connect, bucket, key, name, same):
    wire = connect()
    headers = key.headers() | {"x-amz-acl": "private", "Content-MD5": "x"}
    headers |= {"x-amz-decoded-content-length": "5"}
    headers = wire.signed("PUT", f"/{bucket}/key", headers, BODY)
    found = {given.lower(): text for given, text in headers.items()}
    text = found.setdefault(name.lower(), "x")
    lines = [f"{given}: {value}" for given, value in found.items()]
    lines += [f"{name}: {text if same else 'other'}", "Content-Length: 5"]
    wire.send("\r\n".join([f"PUT /{bucket}/key HTTP/1.1", *lines, "", ""]).encode() + BODY)

    answer = wire.answer()

    assert answer.fault[:2] == (400, "InvalidArgument")
    assert answer.field("ArgumentName") == name.lower()
    assert key.encoded.encode() not in answer.body


def test_a_header_that_is_a_list_may_come_in_lines(connect, s3, bucket):
    wire = connect()
    s3.put_object(Bucket=bucket, Key="key", Body=BODY)
    name = "x-amz-object-attributes"
    headers = wire.signed("GET", f"/{bucket}/key?attributes", {name: "ETag,ObjectSize"})
    lines = [f"{given}: {text}" for given, text in headers.items() if given.lower() != name]
    lines += [f"{name}: ETag", f"{name}: ObjectSize"]
    wire.send("\r\n".join([f"GET /{bucket}/key?attributes HTTP/1.1", *lines, "", ""]).encode())

    assert wire.answer().field("ObjectSize") == "5"


@pytest.mark.usefixtures("alive")
def test_a_request_names_its_host(wire, bucket):
    put(wire, bucket, ["Content-Length: 5"], drop=("host",))

    assert wire.answer().fault[:2] == (400, "InvalidRequest")


@pytest.mark.usefixtures("alive")
def test_a_parameter_that_comes_twice_is_refused(connect, bucket):
    target = f"/{bucket}?list-type=2&prefix=a&prefix=b"

    assert connect().ask("GET", target).fault[:2] == (400, "InvalidArgument")


# Documents.


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4)).decode()


def bomb():
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    return f'<!DOCTYPE a [<!ENTITY e0 "ha">{entities}]><Delete>&e9;</Delete>'.encode()


@pytest.mark.parametrize(
    "document",
    [
        bomb(),
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><Delete/>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "http://127.0.0.1/">]><Delete>&x;</Delete>',
        b"<?php echo ?><Delete/>",
        b"<a>" * (binding.MAX_DOCUMENT_DEPTH + 1) + b"</a>" * (binding.MAX_DOCUMENT_DEPTH + 1),
        b"<Delete>" + b"<a/>" * (binding.MAX_DOCUMENT_NODES + 1) + b"</Delete>",
        b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>",
        b"<Delete><Object><Key>\xff</Key></Object></Delete>",
        b"",
    ],
    ids=["bomb", "file", "url", "php", "deep", "wide", "1001", "bytes", "empty"],
)
@pytest.mark.usefixtures("alive")
def test_a_document_that_is_not_to_be_read_is_refused(connect, bucket, document):
    headers = {"x-amz-checksum-crc32": crc32(document)}

    answer = connect().ask("POST", f"/{bucket}?delete", headers, document)

    assert answer.status == 400
    assert answer.field("Code") in ("MalformedXML", "MissingRequestBodyError")


@pytest.mark.usefixtures("alive")
def test_a_document_has_a_limit_that_is_told_before_it_is_sent(connect, bucket):
    wire = connect()
    headers = {"Content-Length": str(binding.MAX_DOCUMENT_BYTES + 1), "Expect": "100-continue"}
    headers = wire.signed("POST", f"/{bucket}?delete", headers, payload="UNSIGNED-PAYLOAD")
    wire.send_head("POST", f"/{bucket}?delete", headers)

    assert wire.answer().fault[:2] == (400, "MaxMessageLengthExceeded")


@pytest.mark.usefixtures("alive")
def test_a_thousand_keys_are_deleted_at_once(connect, bucket):
    document = b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1000 + b"</Delete>"
    headers = {"x-amz-checksum-crc32": crc32(document)}

    assert connect().ask("POST", f"/{bucket}?delete", headers, document).status == 200


@pytest.mark.parametrize(("number", "code"), [(10_000, "InvalidPart"), (10_001, "MalformedXML")])
def test_an_upload_has_ten_thousand_parts(connect, s3, bucket, number, code):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="key")["UploadId"]
    parts = "".join(
        f"<Part><PartNumber>{n}</PartNumber><ETag>x</ETag></Part>" for n in range(1, number + 1)
    )
    document = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()

    answer = connect().ask("POST", f"/{bucket}/key?uploadId={upload}", {}, document)
    target = f"/{bucket}/key?uploadId={upload}&partNumber={number}"
    part = connect().ask("PUT", target, {}, BODY)

    assert answer.fault[:2] == (400, code)
    assert part.status == (200 if number == 10_000 else 400)
    s3.abort_multipart_upload(Bucket=bucket, Key="key", UploadId=upload)


# Forms.


def post(wire, bucket, body, length=None):
    wire.send_head(
        "POST",
        f"/{bucket}",
        {
            "Host": wire.host,
            "Content-Type": "multipart/form-data; boundary=b",
            "Content-Length": str(len(body) if length is None else length),
        },
    )
    wire.send(body)


@pytest.mark.usefixtures("alive")
def test_a_form_without_end_is_given_up_at_its_limit(wire, bucket):
    post(
        wire, bucket, b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n" + b"x" * 65536, 10**9
    )

    assert wire.answer().fault[:2] == (400, "MaxPostPreDataLengthExceeded")


@pytest.mark.usefixtures("alive")
def test_a_form_of_fields_is_not_held_in_memory(wire, bucket):
    part = b"--b\r\nContent-Disposition: form-data; name=a%d\r\n\r\nx\r\n"
    body = b"".join(part % n for n in range(form.MAX_FIELDS_BYTES // 40))

    post(wire, bucket, body + b"--b--")

    assert wire.answer().fault[:2] == (400, "MaxPostPreDataLengthExceeded")


# Half of it.


@pytest.mark.usefixtures("alive")
def test_a_client_that_ends_its_side_in_the_middle_is_gone(wire, bucket):
    put(wire, bucket, ["Content-Length: 50"])
    wire.sock.shutdown(socket.SHUT_WR)

    assert told(wire.rest()) == (408, None, 1)


@pytest.mark.usefixtures("alive")
def test_a_head_that_breaks_off_is_nobody_s_request(wire):
    wire.send(b"GET / HTTP/1.1\r\nHost: a")
    wire.sock.shutdown(socket.SHUT_WR)

    assert wire.rest() == b""
