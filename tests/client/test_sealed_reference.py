"""A second reader of `sealed` objects, written from docs/formats/sealed-client.md alone.

It shares no line with ours: HKDF, OAEP and GCM are `cryptography`'s, the data is Tink's.
"""

import base64
import hashlib
import hmac
import io
import json
import secrets

import pytest
import tink
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from tink import secret_key_access, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

from strongroom.client import AesKey, RsaKey, seal


def encode(label, *fields):
    pieces = [label.encode()]
    for field in fields:
        if isinstance(field, int):
            pieces.append(field.to_bytes(8, "big"))
        else:
            pieces.append(field if isinstance(field, bytes) else field.encode())
    return b"".join(len(piece).to_bytes(4, "big") + piece for piece in pieces)


def expand(key, label):
    return HKDFExpand(hashes.SHA256(), 32, encode("strongroom/1/client-" + label)).derive(key)


def tink_primitive(stream_key, segment):
    params = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
        ciphertext_segment_size=segment, derived_key_size=32, hkdf_hash_type=common_pb2.SHA256
    )
    key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(key_value=stream_key, params=params)
    data = tink_pb2.KeyData(
        type_url="type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
        value=key.SerializeToString(),
        key_material_type=tink_pb2.KeyData.SYMMETRIC,
    )
    raw, enabled = tink_pb2.RAW, tink_pb2.ENABLED
    entry = tink_pb2.Keyset.Key(key_id=1, status=enabled, output_prefix_type=raw, key_data=data)
    keyset = tink_pb2.Keyset(primary_key_id=1, key=[entry]).SerializeToString()
    handle = tink.proto_keyset_format.parse(keyset, secret_key_access.TOKEN)
    return handle.primitive(streaming_aead.StreamingAead)


def read(metadata, body, aes_key=None, rsa_key=None, context=()):
    found = {name.removeprefix("x-amz-meta-strongroom-"): text for name, text in metadata.items()}
    object_id, segment, part = base64.b64decode(found["id"]), found["segment"], int(found["part"])
    for recipient in json.loads(found["keys"]):
        wrapped = base64.b64decode(recipient["wrapped"])
        if recipient["kind"] == "aes" and aes_key:
            aad = encode("strongroom/1/client-wrap", object_id)
            data_key = AESGCM(aes_key).decrypt(wrapped[:12], wrapped[12:], aad)
        elif recipient["kind"] == "rsa" and rsa_key:
            oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
            data_key = rsa_key.decrypt(wrapped, oaep)
    flat = [text for pair in sorted(dict(context).items()) for text in pair]
    label = "strongroom/1/client-envelope"
    covered = encode(label, object_id, int(segment), part, found["keys"], *flat)
    mac = hmac.digest(expand(data_key, "mac"), covered, "sha256")
    assert hmac.compare_digest(mac, base64.b64decode(found["mac"]))
    opener = tink_primitive(expand(data_key, "stream"), int(segment))
    count = max(1, -(-len(body) // part))
    plain = b""
    for number in range(1, count + 1):
        aad = encode("strongroom/1/client-part", object_id, number, int(number == count))
        piece = io.BytesIO(body[(number - 1) * part : number * part])
        with opener.new_decrypting_stream(piece, aad) as stream:
            plain += stream.read()
    return plain


@pytest.fixture(scope="module", autouse=True)
def _registered():
    streaming_aead.register()


def sealed_by_us(keys, plain, **options):
    sealing = seal(keys, part_bytes=131072, **options)
    parts = [
        plain[start : start + sealing.part_plain]
        for start in range(0, len(plain) or 1, sealing.part_plain)
    ]
    body = b"".join(
        sealing.seal_part(number, part, last=number == len(parts))
        for number, part in enumerate(parts, 1)
    )
    return {"x-amz-meta-" + name: text for name, text in sealing.envelope.items()}, body


@pytest.mark.parametrize("size", [0, 1, 131_000, 131_001, 300_000])
def test_the_reference_reader_opens_what_we_seal(size):
    key, plain = secrets.token_bytes(32), secrets.token_bytes(size)

    metadata, body = sealed_by_us(AesKey(key), plain)

    assert read(metadata, body, aes_key=key) == plain


def test_the_reference_reader_opens_by_any_recipient_and_with_a_context(rsa_pem):
    key, plain = secrets.token_bytes(32), b"many keys" * 1000
    private = serialization.load_pem_private_key(rsa_pem.encode(), None)
    context = {"key": "a/b", "bucket": "attic"}

    metadata, body = sealed_by_us([AesKey(key), RsaKey(rsa_pem)], plain, context=context)

    assert read(metadata, body, aes_key=key, context=context) == plain
    assert read(metadata, body, rsa_key=private, context=context) == plain
    assert hashlib.sha256(body).digest() != hashlib.sha256(plain).digest()
