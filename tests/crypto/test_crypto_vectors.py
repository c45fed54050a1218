"""The golden vectors: made from the document and by Tink, never by the code under test."""

import base64
import hashlib
import json
import pathlib

import pytest

from strongroom import errors
from strongroom.crypto import body, derive, encoding, envelope, layers, secret, segments

VECTORS = pathlib.Path(__file__).parents[1] / "vectors" / "crypto"
EXPECTED = {"NotAuthentic": errors.NotAuthentic, "WrongKey": errors.WrongKey}


def load(name):
    return json.loads((VECTORS / f"{name}.json").read_text("ascii"))


def raw(text):
    return bytes.fromhex(text)


class Replay:
    """Hands out the random bytes that a vector was made with, in their order."""

    def __init__(self, drawn):
        self.drawn = raw(drawn)
        self.used = 0

    def __call__(self, size):
        self.used += size
        assert self.used <= len(self.drawn), "more random bytes than the document draws"
        return self.drawn[self.used - size : self.used]


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.json")), ids=lambda path: path.stem)
def test_every_vector_says_where_it_comes_from(path):
    vector = json.loads(path.read_text("ascii"))

    assert vector["source"].startswith("docs/formats/sealed-object.md")
    assert "make_vectors.py" in vector["how_made"] or "Tink" in vector["how_made"]


@pytest.mark.parametrize("case", load("encoding-1")["cases"], ids=lambda case: case["label"])
def test_encodings(case):
    label = f"strongroom/1/{case['label']}".encode()
    fields = [raw(f["hex"]) if isinstance(f, dict) else f for f in case["fields"]]

    assert encoding.encode(label, *fields).hex() == case["encoded"]


def dual_keys(vector):
    """Unwrap both data keys of a body in two layers."""
    place = (vector["bucket"], vector["key"], raw(vector["generation"]))
    binding = envelope.Binding("DSSE-KMS", *place)
    return [
        envelope.unwrap(
            secret.SecretKey(raw(text)), envelope.WrappedKey.parse(raw(wrapped)), binding
        )[0]
        for text, wrapped in zip(vector["secrets"], vector["wrapped"], strict=True)
    ]


def test_both_keys_of_two_layers_unwrap_and_the_second_is_the_last_key_field():
    vector = load("dual-1")

    keys = dual_keys(vector)

    assert [key.reveal().hex() for key in keys] == vector["data_keys"]
    assert vector["key_fields"][-1] == vector["wrapped"][1]
    fields = encoding.decode(derive.Label.KMS_CONTEXT, raw(vector["key_fields"][2]))
    assert encoding.pairs(fields) == {
        "aws:s3:arn": b"arn:aws:s3:::vault/film",
        "naïve": "é".encode(),
    }


@pytest.mark.parametrize(
    "case",
    load("dual-1")["cases"],
    ids=lambda case: f"{case['segment_bytes']}-{case['plain_bytes']}",
)
def test_what_tink_sealed_twice_opens(case):
    keys = dual_keys(load("dual-1"))
    blob_id, sealed = raw(case["blob_id"]), base64.b64decode(case["sealed_base64"])

    plain = layers.open_all(keys, blob_id, case["part_number"], sealed, case["segment_bytes"])

    assert hashlib.sha256(plain).hexdigest() == case["plain_sha256"]
    size = layers.sealed_size(case["plain_bytes"], layers.DUAL, case["segment_bytes"])
    assert len(sealed) == size
    for wrong in (keys[:1], keys[1:], keys[::-1]):
        with pytest.raises(errors.NotAuthentic):
            layers.open_all(wrong, blob_id, case["part_number"], sealed, case["segment_bytes"])


@pytest.mark.parametrize("name", ["object-sse-c-1", "object-sse-s3-1", "object-sse-kms-1"])
class TestObjects:
    def test_what_is_stored_opens(self, name):
        vector = load(name)
        found = envelope.Envelope.parse(raw(vector["envelope"]))
        key = secret.SecretKey(raw(vector["secret"]))

        data_key, head_key = envelope.unwrap(key, found.wrapped, found.binding)
        head = found.open_head(head_key)
        found.check_body(raw(vector["body"]))
        record = body.parse(raw(vector["body"]))

        assert data_key.reveal().hex() == vector["data_key"]
        assert data_key.stream_key().reveal().hex() == vector["stream_key"]
        assert data_key.body_key().reveal().hex() == vector["body_key"]
        assert head_key.reveal().hex() == vector["head_key"]
        assert head == expected_head(vector["head"])
        for name_, value in (("etag", found.etag), ("size", found.size)):
            assert vector[name_] == value
        assert (found.mode, found.origin_bucket, found.origin_key, found.generation) == (
            vector["mode"],
            vector["bucket"],
            vector["key"],
            raw(vector["generation"]),
        )
        assert found.key_fields == tuple(map(raw, vector["key_fields"]))
        assert (found.modified_ms, found.version_id) == (
            vector["modified_ms"],
            vector["version_id"],
        )
        parts = vector["parts"]
        assert record.parts == tuple(
            (p["number"], raw(p["blob_id"]), p["plain_bytes"], raw(p["digest"])) for p in parts
        )
        assert record.open_checksums(data_key.body_key()) == [
            {name_: raw(value) for name_, value in p["checksums"].items()} for p in parts
        ]

    def test_writing_with_the_same_random_bytes_gives_the_same_bytes(self, name):
        vector = load(name)
        replay = Replay(vector["random"])
        data_key = envelope.DataKey.fresh(replay)
        binding = envelope.Binding(
            vector["mode"], vector["bucket"], vector["key"], replay(envelope.GENERATION_BYTES)
        )

        wrapped, head_key = envelope.wrap(
            secret.SecretKey(raw(vector["secret"])), data_key, binding, replay
        )
        parts = [
            body.BodyPart(
                p["number"],
                raw(p["blob_id"]),
                p["plain_bytes"],
                raw(p["digest"]),
                {name_: raw(value) for name_, value in p["checksums"].items()},
            )
            for p in vector["parts"]
        ]
        record = body.encode(body.BodyRecord(65536, 1, parts), data_key.body_key(), replay)
        made = envelope.Envelope.seal(
            binding=binding,
            key_fields=tuple(map(raw, vector["key_fields"])),
            wrapped=wrapped,
            etag=vector["etag"],
            size=vector["size"],
            modified_ms=vector["modified_ms"],
            version_id=vector["version_id"],
            body_digest=hashlib.sha256(record).digest(),
            head=expected_head(vector["head"]),
            head_key=head_key,
            random_bytes=replay,
        )

        assert wrapped.encode().hex() == vector["wrapped"]
        assert record.hex() == vector["body"]
        assert made.encode().hex() == vector["envelope"]
        assert replay.used == len(replay.drawn)

    def test_another_key_is_the_wrong_key(self, name):
        vector = load(name)
        found = envelope.Envelope.parse(raw(vector["envelope"]))

        with pytest.raises(errors.WrongKey):
            envelope.unwrap(secret.SecretKey(bytes(32)), found.wrapped, found.binding)


def expected_head(shown):
    return envelope.Head(
        checksums={name: raw(value) for name, value in shown["checksums"].items()},
        checksum_type=shown["checksum_type"],
        content=shown["content"],
        metadata=shown["metadata"],
        visible_parts=tuple(shown["visible_parts"]),
    )


class TestUpload:
    def test_what_is_stored_opens_through_the_escrow(self):
        vector = load("upload-1")
        draft = envelope.UploadDraft.parse(raw(vector["draft"]))
        store_key = secret.SecretKey(raw(vector["store_key"]))

        body_key, head_key = envelope.open_escrow(store_key, vector["upload_id"], draft.escrow)
        head = draft.open_head(head_key, vector["upload_id"])

        part = vector["part"]
        checksums = body.open_part_checksums(
            body_key,
            vector["upload_id"],
            part["number"],
            raw(part["blob_id"]),
            part["plain_bytes"],
            raw(part["digest"]),
            raw(part["sealed"]),
        )
        assert draft.escrow == raw(vector["escrow"])
        assert head == envelope.Head(content=vector["content"], metadata=vector["metadata"])
        assert {name: value.hex() for name, value in checksums.items()} == part["checksums"]

    def test_writing_with_the_same_random_bytes_gives_the_same_bytes(self):
        vector = load("upload-1")
        replay = Replay(vector["random"])
        upload_id, part = vector["upload_id"], vector["part"]
        data_key = envelope.DataKey.fresh(replay)
        binding = envelope.Binding("SSE-C", vector["bucket"], vector["key"], replay(16))

        wrapped, head_key = envelope.wrap(
            secret.SecretKey(raw(vector["secret"])), data_key, binding, replay
        )
        escrow = envelope.seal_escrow(
            secret.SecretKey(raw(vector["store_key"])),
            upload_id,
            data_key.body_key(),
            head_key,
            replay,
        )
        draft = envelope.UploadDraft.seal(
            upload_id=upload_id,
            binding=binding,
            key_fields=(),
            wrapped=wrapped,
            escrow=escrow,
            head=envelope.Head(content=vector["content"], metadata=vector["metadata"]),
            head_key=head_key,
            random_bytes=replay,
        )
        sealed = body.seal_part_checksums(
            data_key.body_key(),
            upload_id,
            part["number"],
            raw(part["blob_id"]),
            part["plain_bytes"],
            raw(part["digest"]),
            {name: raw(value) for name, value in part["checksums"].items()},
            replay,
        )

        assert escrow.hex() == vector["escrow"]
        assert draft.encode().hex() == vector["draft"]
        assert sealed.hex() == part["sealed"]
        assert replay.used == len(replay.drawn)


class TestStreams:
    VECTOR = load("stream-1")
    KEY = envelope.DataKey(raw(VECTOR["data_key"])).stream_key()

    def aad(self, case):
        return segments.stream_aad(raw(case["blob_id"]), case["part_number"], case["layer"])

    def test_the_stream_key_hangs_from_the_data_key(self):
        assert self.KEY.reveal().hex() == self.VECTOR["stream_key"]

    @pytest.mark.parametrize("case", VECTOR["cases"], ids=lambda case: str(case["plain_bytes"]))
    def test_tinks_streams_open_and_seal_to_the_same_again(self, case):
        sealed = base64.b64decode(case["sealed_base64"])
        segment_bytes = case["segment_bytes"]

        plain = segments.open_all(self.KEY, self.aad(case), sealed, segment_bytes)
        again = segments.seal_all(
            self.KEY,
            self.aad(case),
            plain,
            salt=sealed[1:33],
            nonce_prefix=sealed[33:40],
            segment_bytes=segment_bytes,
        )

        assert hashlib.sha256(plain).hexdigest() == case["plain_sha256"]
        assert again == sealed

    @pytest.mark.parametrize("negative", VECTOR["negative"], ids=lambda each: each["what"])
    def test_what_was_done_to_a_stream_is_refused(self, negative):
        case = self.VECTOR["cases"][negative["of_case"]]
        sealed = base64.b64decode(negative["sealed_base64"])

        with pytest.raises(EXPECTED[negative["expect"]]):
            segments.open_all(self.KEY, self.aad(case), sealed, case["segment_bytes"])
