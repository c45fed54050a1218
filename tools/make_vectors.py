"""Make golden vectors of the sealed-object format under tests/vectors/crypto.

    python tools/make_vectors.py tests/vectors/crypto

A second writer of docs/formats/sealed-object.md: it imports `cryptography` and Google
Tink, and nothing of strongroom. A vector is never edited, and never made again: files
that exist are left alone, and a new version of the format adds files.

All bytes that are random in real life are drawn, in the order of their use, from
SHAKE-256 of the vector's name; each vector lists them under `random`. Streams are
Tink's own, which draws salt and prefix itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import pathlib
import sys
from typing import Any

import tink
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tink import secret_key_access, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

FORMAT = "docs/formats/sealed-object.md"
BY_DOCUMENT = "written from the document by tools/make_vectors.py, without strongroom's code"
BY_TINK = "sealed by Google Tink (PyPI tink), streaming_aead with a RAW keyset"

KMS_ARN = b"arn:aws:kms:us-east-1:000000000000:key/00000000-0000-4000-8000-000000000001"

Field = bytes | str | int


class Drawer:
    """Bytes that look random and are not, kept so that a test can hand them out again."""

    def __init__(self, name: str) -> None:
        self._pool = hashlib.shake_256(name.encode()).digest(4096)
        self.drawn = b""

    def draw(self, size: int) -> bytes:
        """Return the next bytes."""
        start = len(self.drawn)
        self.drawn = self._pool[: start + size]
        return self.drawn[start:]


# Section 2


def as_bytes(field: Field) -> bytes:
    """Return a field as the bytes that the encoding takes."""
    if isinstance(field, int):
        return field.to_bytes(8, "big")
    return field.encode("utf-8", "surrogatepass") if isinstance(field, str) else field


def encode(name: str, *fields: Field) -> bytes:
    """Encode a label, given without its prefix, and fields."""
    label = f"strongroom/1/{name}".encode()
    return b"".join(len(f).to_bytes(4, "big") + f for f in (label, *map(as_bytes, fields)))


# Section 3


def extract(salt: bytes, secret: bytes) -> bytes:
    """HKDF-Extract: the secret is the message."""
    return hmac.new(salt, secret, hashlib.sha256).digest()


def expand(prk: bytes, info: bytes) -> bytes:
    """HKDF-Expand, one block."""
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()


def seal(key: bytes, aad: bytes, plain: bytes, draw: Drawer) -> bytes:
    """Return a sealed message."""
    nonce = draw.draw(12)
    return nonce + AESGCM(key).encrypt(nonce, plain, aad)


# Section 4


def wrap(secret: bytes, data_key: bytes, binding: list[Field], draw: Drawer) -> tuple[bytes, bytes]:
    """Return the wrapped key and the head key."""
    salt = draw.draw(32)
    nonce = draw.draw(12)
    prk = extract(salt, secret)
    wrapped = AESGCM(expand(prk, encode("wrap", *binding))).encrypt(nonce, data_key, b"")
    check = expand(prk, encode("check"))
    commitment = expand(data_key, encode("commit"))
    return salt + check + nonce + wrapped + commitment, expand(prk, encode("head", *binding))


# Section 5


class Keep(io.BytesIO):
    """A file whose content outlives `close`, which Tink calls."""

    def close(self) -> None:
        """Keep the content."""


def tink_stream(stream_key: bytes, aad: bytes, plain: bytes, segment_bytes: int) -> bytes:
    """Seal a plaintext with Tink."""
    streaming_aead.register()
    key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(
        version=0,
        key_value=stream_key,
        params=aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
            ciphertext_segment_size=segment_bytes,
            derived_key_size=32,
            hkdf_hash_type=common_pb2.SHA256,
        ),
    )
    keyset = tink_pb2.Keyset(
        primary_key_id=1,
        key=[
            tink_pb2.Keyset.Key(
                key_id=1,
                status=tink_pb2.ENABLED,
                output_prefix_type=tink_pb2.RAW,
                key_data=tink_pb2.KeyData(
                    type_url="type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
                    value=key.SerializeToString(),
                    key_material_type=tink_pb2.KeyData.SYMMETRIC,
                ),
            )
        ],
    )
    handle = tink.proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)
    primitive = handle.primitive(streaming_aead.StreamingAead)
    target = Keep()
    with primitive.new_encrypting_stream(target, aad) as stream:
        stream.write(plain)
    return target.getvalue()


# The vectors


def encoding_vector() -> dict[str, Any]:
    """Labels and fields of every kind."""
    cases: list[tuple[str, list[Field]]] = [
        ("check", []),
        ("wrap", ["SSE-C", "bucket", "a/key", bytes(16)]),
        ("wrap", ["SSE-C", "bucketa", "/key", bytes(16)]),
        ("blob", [bytes(range(16)), 1, 1]),
        ("blob", [bytes(range(16)), 10_000, 2]),
        ("envelope-clear", [2**64 - 1, 0, ""]),
        ("head-plain", ["Grüße", "\udcff", "\ud800", "𝄞"]),
    ]
    rows = []
    for name, fields in cases:
        shown = [{"hex": f.hex()} if isinstance(f, bytes) else f for f in fields]
        rows.append({"label": name, "fields": shown, "encoded": encode(name, *fields).hex()})
    return {"section": 2, "how_made": BY_DOCUMENT, "cases": rows}


def object_vector(name: str, mode: str, key_fields: list[bytes], secret: bytes) -> dict[str, Any]:
    """One version: data key, body record of two parts, envelope."""
    draw = Drawer(name)
    data_key = draw.draw(32)
    generation = draw.draw(16)
    binding: list[Field] = [mode, "vault", "papers/2026/naïve.txt", generation]
    wrapped, head_key = wrap(secret, data_key, binding, draw)
    body_key = expand(data_key, encode("body"))

    parts = [
        (1, bytes([1]) * 16, 5 * 2**20, bytes([17]) * 8, {"CRC64NVME": bytes(range(8))}),
        (
            7,
            bytes([7]) * 16,
            11,
            bytes([34]) * 8,
            {"CRC64NVME": bytes(range(8, 16)), "SHA256": bytes(range(32))},
        ),
    ]
    magic = b"SRMBOD\x00\x01"
    rows = b"".join(
        number.to_bytes(4, "big") + blob_id + size.to_bytes(8, "big") + digest
        for number, blob_id, size, digest, _ in parts
    )
    clear = encode("body-clear", magic, 65536, 1, rows)
    plain = encode(
        "body-plain",
        "CRC64NVME",
        bytes([8, 8]),
        bytes(range(16)),
        "SHA256",
        bytes([0, 32]),
        bytes(range(32)),
    )
    body = magic + encode("body-record", clear, seal(body_key, clear, plain, draw))

    size, modified_ms = 5 * 2**20 + 11, 1_790_000_000_123
    etag = "0123456789abcdef0123456789abcdef-2"
    magic = b"SRMENV\x00\x01"
    clear = encode(
        "envelope-clear",
        magic,
        generation,
        "vault",
        "papers/2026/naïve.txt",
        mode,
        encode("key-fields", *key_fields),
        wrapped,
        etag,
        size,
        modified_ms,
        "null",
        hashlib.sha256(body).digest(),
    )
    runs = b"".join(
        count.to_bytes(4, "big") + each.to_bytes(8, "big")
        for count, each in ((1, 5 * 2**20), (1, 11))
    )
    head = encode(
        "head-plain",
        "COMPOSITE",
        runs,
        1,
        2,
        "CRC32C",
        b"\xde\xad\xbe\xef",
        "Content-Type",
        "text/plain; charset=utf-8",
        "Content-Language",
        "de",
        "author",
        "Zoë",
        "raw",
        "\udcff",
    )
    envelope = magic + encode("envelope", clear, seal(head_key, clear, head, draw))
    return {
        "section": "3, 4, 6, 7",
        "how_made": BY_DOCUMENT,
        "random": draw.drawn.hex(),
        "secret": secret.hex(),
        "mode": mode,
        "bucket": "vault",
        "key": "papers/2026/naïve.txt",
        "key_fields": [each.hex() for each in key_fields],
        "data_key": data_key.hex(),
        "stream_key": expand(data_key, encode("stream")).hex(),
        "body_key": body_key.hex(),
        "head_key": head_key.hex(),
        "generation": generation.hex(),
        "wrapped": wrapped.hex(),
        "parts": [
            {
                "number": number,
                "blob_id": blob_id.hex(),
                "plain_bytes": plain_bytes,
                "digest": digest.hex(),
                "checksums": {k: v.hex() for k, v in checksums.items()},
            }
            for number, blob_id, plain_bytes, digest, checksums in parts
        ],
        "body": body.hex(),
        "etag": etag,
        "size": size,
        "modified_ms": modified_ms,
        "version_id": "null",
        "head": {
            "checksums": {"CRC32C": "deadbeef"},
            "checksum_type": "COMPOSITE",
            "content": {"Content-Type": "text/plain; charset=utf-8", "Content-Language": "de"},
            "metadata": {"author": "Zoë", "raw": "\udcff"},
            "visible_parts": [5 * 2**20, 11],
        },
        "envelope": envelope.hex(),
    }


def upload_vector(name: str) -> dict[str, Any]:
    """One open upload: escrow, draft, and the sealed checksums of a part."""
    draw = Drawer(name)
    secret, store_key, upload_id = bytes(range(32)), bytes(range(32, 64)), "upload-1"
    data_key = draw.draw(32)
    generation = draw.draw(16)
    wrapped, head_key = wrap(secret, data_key, ["SSE-C", "vault", "big", generation], draw)
    body_key = expand(data_key, encode("body"))
    salt = draw.draw(32)
    box_key = expand(extract(salt, store_key), encode("box"))
    escrow = salt + seal(box_key, encode("escrow", upload_id), body_key + head_key, draw)
    magic = b"SRMUPL\x00\x01"
    clear = encode(
        "upload-clear",
        magic,
        generation,
        "vault",
        "big",
        "SSE-C",
        encode("key-fields"),
        wrapped,
        escrow,
    )
    head = encode("head-plain", "", b"", 0, 1, "Content-Type", "image/png", "a", "b")
    aad = encode("upload-head", upload_id, clear)
    draft = magic + encode("upload", clear, seal(head_key, aad, head, draw))
    aad = encode("part-checksums", upload_id, 3, bytes([3]) * 16, 4096, bytes([9]) * 8)
    checksums = seal(body_key, aad, encode("part-plain", "CRC32", b"\x01\x02\x03\x04"), draw)
    return {
        "section": 8,
        "how_made": BY_DOCUMENT,
        "random": draw.drawn.hex(),
        "secret": secret.hex(),
        "store_key": store_key.hex(),
        "upload_id": upload_id,
        "bucket": "vault",
        "key": "big",
        "content": {"Content-Type": "image/png"},
        "metadata": {"a": "b"},
        "escrow": escrow.hex(),
        "draft": draft.hex(),
        "part": {
            "number": 3,
            "blob_id": (bytes([3]) * 16).hex(),
            "plain_bytes": 4096,
            "digest": (bytes([9]) * 8).hex(),
            "checksums": {"CRC32": "01020304"},
            "sealed": checksums.hex(),
        },
    }


def stream_vector(name: str) -> dict[str, Any]:
    """Streams by Tink, with every shape of the last segment; and what must be refused."""
    draw = Drawer(name)
    data_key = draw.draw(32)
    stream_key = expand(data_key, encode("stream"))
    cases = []
    for segment_bytes, plain_bytes in (
        *((128, n) for n in (0, 1, 71, 72, 73, 183, 184, 185, 296, 500)),
        *((65536, n) for n in (0, 1, 1000, 65480, 65481)),
    ):
        blob_id = draw.draw(16)
        plain = hashlib.shake_256(blob_id).digest(plain_bytes)
        aad = encode("blob", blob_id, 1, 1)
        sealed = tink_stream(stream_key, aad, plain, segment_bytes)
        cases.append(
            {
                "segment_bytes": segment_bytes,
                "blob_id": blob_id.hex(),
                "part_number": 1,
                "layer": 1,
                "plain_bytes": plain_bytes,
                "plain_sha256": hashlib.sha256(plain).hexdigest(),
                "sealed_base64": base64.b64encode(sealed).decode(),
            }
        )
    whole = base64.b64decode(str(cases[9]["sealed_base64"]))
    refused = {
        "cut at the border after the first segment": whole[:128],
        "cut at the border before the last segment": whole[:512],
        "cut in the header": whole[:39],
        "nothing": b"",
        "first segment missing": whole[:40] + whole[128:],
        "second segment missing": whole[:128] + whole[256:],
        "second and third exchanged": whole[:128] + whole[256:384] + whole[128:256] + whole[384:],
        "second twice": whole[:256] + whole[128:],
        "a byte more": whole + b"\x00",
        "another first byte": b"\x29" + whole[1:],
        "another salt": whole[:1] + bytes([whole[1] ^ 1]) + whole[2:],
        "another prefix": whole[:33] + bytes([whole[33] ^ 1]) + whole[34:],
        "last tag changed": whole[:-1] + bytes([whole[-1] ^ 0x80]),
    }
    return {
        "section": 5,
        "how_made": f"{BY_TINK}; plaintexts are SHAKE-256 of the blob id",
        "data_key": data_key.hex(),
        "stream_key": stream_key.hex(),
        "cases": cases,
        "negative": [
            {
                "what": what,
                "of_case": 9,
                "sealed_base64": base64.b64encode(sealed).decode(),
                "expect": "NotAuthentic",
            }
            for what, sealed in refused.items()
        ],
    }


def kms_fields(name: str, place: str, scope: bytes) -> list[bytes]:
    """Return the four key fields of SSE-KMS; the KMS's ciphertext is any bytes here."""
    context = encode("kms-context", "aws:s3:arn", place, "naïve", "é")
    return [KMS_ARN, hashlib.shake_256(name.encode()).digest(117), context, scope]


def dual_vector(name: str) -> dict[str, Any]:
    """Bodies in two layers: both data keys, wrapped, and blobs that Tink sealed twice."""
    draw = Drawer(name)
    secrets = [bytes(range(64, 96)), bytes(range(96, 128))]
    data_keys = [draw.draw(32), draw.draw(32)]
    generation = draw.draw(16)
    binding: list[Field] = ["DSSE-KMS", "vault", "film", generation]
    wrapped = [
        wrap(secret, data_key, binding, draw)[0]
        for secret, data_key in zip(secrets, data_keys, strict=True)
    ]
    place = "arn:aws:s3:::vault/film"
    second = hashlib.shake_256(b"second").digest(117)
    key_fields = [*kms_fields(name, place, b"object"), second, wrapped[1]]
    stream_keys = [expand(data_key, encode("stream")) for data_key in data_keys]
    cases = []
    for segment_bytes, plain_bytes in (
        *((128, n) for n in (0, 1, 16, 17, 71, 72, 73, 185, 500)),
        *((65536, n) for n in (0, 1, 65424, 65425, 65480, 65481)),
    ):
        blob_id = draw.draw(16)
        plain = hashlib.shake_256(blob_id).digest(plain_bytes)
        sealed = plain
        for layer, stream_key in enumerate(stream_keys, 1):
            aad = encode("blob", blob_id, 7, layer)
            sealed = tink_stream(stream_key, aad, sealed, segment_bytes)
        cases.append(
            {
                "segment_bytes": segment_bytes,
                "blob_id": blob_id.hex(),
                "part_number": 7,
                "plain_bytes": plain_bytes,
                "plain_sha256": hashlib.sha256(plain).hexdigest(),
                "sealed_base64": base64.b64encode(sealed).decode(),
            }
        )
    return {
        "section": "3, 4, 5, 7",
        "how_made": f"{BY_DOCUMENT}; each layer {BY_TINK}",
        "random": draw.drawn.hex(),
        "secrets": [secret.hex() for secret in secrets],
        "bucket": "vault",
        "key": "film",
        "generation": generation.hex(),
        "data_keys": [data_key.hex() for data_key in data_keys],
        "wrapped": [each.hex() for each in wrapped],
        "key_fields": [each.hex() for each in key_fields],
        "cases": cases,
    }


def main(target: pathlib.Path) -> None:
    """Make what is not there yet."""
    target.mkdir(parents=True, exist_ok=True)
    makers = {
        "encoding-1": encoding_vector,
        "object-sse-c-1": lambda: object_vector("object-sse-c-1", "SSE-C", [], bytes(range(32))),
        "object-sse-s3-1": lambda: object_vector(
            "object-sse-s3-1", "SSE-S3", [b"12"], bytes(range(100, 132))
        ),
        "object-sse-kms-1": lambda: object_vector(
            "object-sse-kms-1",
            "SSE-KMS",
            kms_fields("object-sse-kms-1", "arn:aws:s3:::vault", b"bucket"),
            bytes(range(200, 232)),
        ),
        "dual-1": lambda: dual_vector("dual-1"),
        "stream-1": lambda: stream_vector("stream-1"),
        "upload-1": lambda: upload_vector("upload-1"),
    }
    for name, make in makers.items():
        path = target / f"{name}.json"
        if path.exists():
            print(f"{path} is there; left alone")
            continue
        vector = {"source": f"{FORMAT}, version 1", **make()}
        path.write_text(json.dumps(vector, indent=1) + "\n", encoding="ascii")
        print(f"{path} made")


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its one argument
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
