"""The examples that Amazon publishes, as vectors in tests/vectors/sigv4."""

import json
import pathlib
from datetime import datetime

import pytest

from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import signature, signing
from strongroom.wire import chunked, message

VECTORS = pathlib.Path(__file__).parent.parent / "vectors/sigv4"
ALL = sorted(path.stem for path in VECTORS.glob("*.json"))
CHUNKED = [name for name in ALL if name.startswith("chunked")]


def load(name):
    vector = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    asked = vector["request"]
    request = message.Request(
        method=asked["method"],
        raw_path=asked["path"].encode(),
        raw_query=asked["query"].encode(),
        headers=[(header.encode(), value.encode()) for header, value in asked["headers"]],
        body=None,
        secure=True,
    )
    return vector, request


def verify(vector, request):
    claim = signature.claim(request)
    return signature.verify(
        claim,
        request,
        vector["secret_key"],
        now=datetime.fromisoformat(vector["now"]),
        region=vector["region"],
        keys=signing.SigningKeys(),
    )


def body_of(chunks, *, end=b"\r\n"):
    pieces = []
    for length, proof in zip(chunks["lengths"], chunks["signatures"], strict=True):
        pieces.append(b"%x;chunk-signature=%s\r\n" % (length, proof.encode()))
        if length:
            pieces.append(chunks["byte"].encode() * length + b"\r\n")
    for name, value in chunks.get("trailers", ()):
        pieces.append(f"{name}:{value}\r\n".encode())
    if "trailer_signature" in chunks:
        pieces.append(f"x-amz-trailer-signature:{chunks['trailer_signature']}\r\n".encode())
    return b"".join([*pieces, end])


def decoder_for(verified, chunks):
    trailers = [name.encode() for name, _ in chunks["trailers"]] if "trailers" in chunks else None
    return chunked.Decoder(
        decoded_length=sum(chunks["lengths"]), verifier=verified.chunk_verifier(), trailers=trailers
    )


def decode(decoder, body):
    return b"".join(decoder.feed(body)), decoder.finish()


def test_there_are_vectors_for_every_way_of_signing():
    assert len(ALL) == 7
    assert len(CHUNKED) == 2


@pytest.mark.parametrize("name", ALL)
def test_the_published_signature_is_accepted(name):
    vector, request = load(name)

    verified = verify(vector, request)

    assert verified.claim.access_key == vector["access_key"]
    assert verified.payload.value == vector["payload"]


@pytest.mark.parametrize("name", ALL)
def test_another_secret_is_refused(name):
    vector, request = load(name)
    vector["secret_key"] = vector["secret_key"][:-1] + "Z"

    with pytest.raises(Refused) as refusal:
        verify(vector, request)

    assert refusal.value.code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("name", CHUNKED)
def test_the_published_chunks_are_accepted(name):
    vector, request = load(name)
    chunks = vector["chunks"]
    decoder = decoder_for(verify(vector, request), chunks)

    decoded, trailers = decode(decoder, body_of(chunks))

    assert decoded == chunks["byte"].encode() * sum(chunks["lengths"])
    assert trailers == {n.encode(): v.encode() for n, v in chunks.get("trailers", ())}


def test_the_published_chunks_have_the_published_length():
    vector, request = load("chunked")

    assert request.header(b"content-length") == str(len(body_of(vector["chunks"]))).encode()


@pytest.mark.parametrize("name", CHUNKED)
@pytest.mark.parametrize("position", [100, 65_700, -100])
def test_a_changed_byte_in_the_chunks_is_refused(name, position):
    vector, request = load(name)
    chunks = vector["chunks"]
    body = bytearray(body_of(chunks))
    # Data stays data and hexadecimal digits stay digits: only the signature can tell.
    body[position] = ord("b") if body[position] != ord("b") else ord("c")
    decoder = decoder_for(verify(vector, request), chunks)

    with pytest.raises(Refused) as refusal:
        decode(decoder, bytes(body))

    assert refusal.value.code == "SignatureDoesNotMatch"


def test_a_changed_trailer_is_refused():
    vector, request = load("chunked-trailer")
    chunks = vector["chunks"]
    body = body_of(chunks).replace(b"sOO8/Q==", b"sOO8/A==")
    decoder = decoder_for(verify(vector, request), chunks)

    with pytest.raises(Refused) as refusal:
        decoder.feed(body)

    assert refusal.value.code == "SignatureDoesNotMatch"
