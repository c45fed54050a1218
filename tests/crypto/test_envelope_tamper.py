"""W changes whatever lies on the disk; the whole procedure of reading refuses it.

`read` is the procedure of docs/formats/sealed-object.md, section 1, but for the
blobs, which have their own matrix.
"""

import dataclasses
import hashlib

import pytest

from strongroom import errors
from strongroom.crypto import body, derive, encoding, envelope, secret

KEY = secret.SecretKey(bytes(range(32)))
STORE_KEY = secret.SecretKey(bytes(range(64, 96)))
BINDING = envelope.Binding("SSE-C", "bucket", "some/key", bytes(range(16)))
REFUSED = (errors.NotAuthentic, errors.WrongKey)


def counting(seed=0):
    calls = iter(range(seed, seed + 1_000_000))
    return lambda size: hashlib.shake_256(next(calls).to_bytes(8, "big")).digest(size)


def make(*, seed=0, key=KEY, binding=BINDING, data_key=None, metadata="m", **changes):
    """Return an encoded envelope and its encoded body."""
    random_bytes = counting(seed)
    data_key = data_key or envelope.DataKey.fresh(random_bytes)
    parts = (
        body.BodyPart(1, bytes([seed % 256]) * 16, 100, bytes(8), {"CRC32": b"abcd"}),
        body.BodyPart(2, bytes(16), 7, bytes(8), {"CRC32": b"efgh"}),
    )
    record = body.encode(body.BodyRecord(65536, 1, parts), data_key.body_key(), random_bytes)
    wrapped, head_key = envelope.wrap(key, data_key, binding, random_bytes)
    fields = {
        "binding": binding,
        "key_fields": (b"1", b"two"),
        "wrapped": wrapped,
        "etag": "d41d8cd98f00b204e9800998ecf8427e",
        "size": 107,
        "modified_ms": 1_700_000_000_000,
        "version_id": "null",
        "body_digest": hashlib.sha256(record).digest(),
        "head": envelope.Head({"CRC32": b"1234"}, "FULL_OBJECT", {"c": "d"}, {"m": metadata}),
        **changes,
    }
    made = envelope.Envelope.seal(**fields, head_key=head_key, random_bytes=random_bytes)
    return made.encode(), record


def read(envelope_bytes, record_bytes, *, key=KEY, binding=BINDING):
    found = envelope.Envelope.parse(envelope_bytes)
    data_key, head_key = envelope.unwrap(key, found.wrapped, found.binding)
    head = found.open_head(head_key)
    if found.binding != binding:
        raise errors.NotAuthentic
    found.check_body(record_bytes)
    record = body.parse(record_bytes)
    return found, head, record.open_checksums(data_key.body_key())


def refused(envelope_bytes, record_bytes, **how):
    with pytest.raises(REFUSED):
        read(envelope_bytes, record_bytes, **how)


def flips(data, mask=0x01):
    for at in range(len(data)):
        yield data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def test_what_is_untouched_reads():
    found, head, checksums = read(*make())

    assert found.size == 107
    assert head.metadata == {"m": "m"}
    assert checksums == [{"CRC32": b"abcd"}, {"CRC32": b"efgh"}]


@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_every_changed_byte_of_an_envelope_is_refused(mask):
    made, record = make()
    for changed in flips(made, mask):
        refused(changed, record)


def test_every_truncated_or_extended_envelope_is_refused():
    made, record = make()
    for length in range(len(made)):
        refused(made[:length], record)
    for more in (b"\0", bytes(4), bytes(28), made):
        refused(made + more, record)


@pytest.mark.parametrize(
    "change",
    [
        {"generation": bytes(16)},
        {"origin_bucket": "bucket2"},
        {"origin_bucket": "bucketsome", "origin_key": "/key"},
        {"origin_key": "some/key2"},
        {"mode": "SSE-S3"},
        {"key_fields": ()},
        {"key_fields": (b"1two",)},
        {"key_fields": (b"1", b"two", b"")},
        {"etag": "d41d8cd98f00b204e9800998ecf8427f"},
        {"size": 108},
        {"modified_ms": 1_700_000_000_001},
        {"version_id": "other"},
        {"body_digest": bytes(32)},
        {"sealed_head": bytes(60)},
        {"sealed_head": b""},
    ],
    ids="+".join,
)
def test_every_changed_field_of_an_envelope_is_refused(change):
    made, record = make()
    changed = dataclasses.replace(envelope.Envelope.parse(made), **change)

    assert envelope.Envelope.parse(changed.encode()) == changed
    refused(changed.encode(), record)


def test_no_clear_field_is_left_out_of_that_list():
    clear = {field.name for field in dataclasses.fields(envelope.Envelope) if field.init}

    assert clear == {
        "generation",
        "origin_bucket",
        "origin_key",
        "mode",
        "key_fields",
        "wrapped",
        "etag",
        "size",
        "modified_ms",
        "version_id",
        "body_digest",
        "sealed_head",
    }


@pytest.mark.parametrize(
    "binding",
    [
        dataclasses.replace(BINDING, bucket="other"),
        dataclasses.replace(BINDING, key="other"),
        dataclasses.replace(BINDING, generation=bytes(16)),
        dataclasses.replace(BINDING, mode="SSE-S3"),
        dataclasses.replace(BINDING, bucket="bucketsome", key="/key"),
        dataclasses.replace(BINDING, mode="SSE-Cb", bucket="ucket"),
    ],
)
def test_a_wrapped_key_does_not_open_under_another_binding(binding):
    wrapped, _ = envelope.wrap(KEY, envelope.DataKey(bytes(32)), BINDING, counting())

    envelope.verify(KEY, wrapped)
    with pytest.raises(errors.NotAuthentic):
        envelope.unwrap(KEY, wrapped, binding)


@pytest.mark.parametrize(
    "raw",
    [
        bytes(32),
        bytes(range(32)) + b"\0",
        bytes(range(31)),
        bytes(range(1, 32)),
        b"",
        bytes(range(31)) + b"\x1e",
        hashlib.sha256(bytes(range(32))).digest(),
    ],
)
def test_every_other_key_is_the_wrong_key_before_anything_is_opened(raw):
    made, record = make()
    key = secret.SecretKey(raw)
    wrapped = envelope.Envelope.parse(made).wrapped

    with pytest.raises(errors.WrongKey):
        read(made, record, key=key)
    with pytest.raises(errors.WrongKey):
        envelope.verify(key, wrapped)
    with pytest.raises(errors.WrongKey):
        envelope.unwrap(key, wrapped, dataclasses.replace(BINDING, bucket="other"))


def test_a_short_key_and_the_same_with_zeros_are_two_keys():
    short = secret.SecretKey(b"K")
    made, record = make(key=short)

    assert read(made, record, key=short)
    with pytest.raises(errors.WrongKey):
        read(made, record, key=secret.SecretKey(b"K\0"))


def test_every_changed_byte_of_a_wrapped_key_is_refused_by_unwrap_alone():
    wrapped, _ = envelope.wrap(KEY, envelope.DataKey(bytes(32)), BINDING, counting())
    for at, changed in enumerate(flips(wrapped.encode())):
        expected = errors.WrongKey if at < 64 else errors.NotAuthentic
        with pytest.raises(expected):
            envelope.unwrap(KEY, envelope.WrappedKey.parse(changed), BINDING)


def test_a_data_key_that_was_not_committed_to_is_refused_though_it_unwraps():
    one, _ = envelope.wrap(KEY, envelope.DataKey(bytes(32)), BINDING, counting())
    other, _ = envelope.wrap(KEY, envelope.DataKey(bytes(range(32))), BINDING, counting())
    assert one.salt == other.salt

    mixed = dataclasses.replace(one, nonce=other.nonce, ciphertext=other.ciphertext)

    with pytest.raises(errors.NotAuthentic, match="committed"):
        envelope.unwrap(KEY, mixed, BINDING)


def test_envelopes_and_bodies_of_two_versions_cannot_be_exchanged():
    """Same key, same object, same size: another generation is another version."""
    other_binding = dataclasses.replace(BINDING, generation=bytes(range(1, 17)))
    one, one_record = make()
    other, other_record = make(seed=1000, binding=other_binding)
    assert read(other, other_record, binding=other_binding)

    refused(one, other_record)
    refused(other, one_record, binding=other_binding)
    refused(other, other_record)


@pytest.mark.parametrize("name", ["wrapped", "sealed_head", "body_digest", "generation"])
def test_no_field_of_another_version_fits(name):
    one, record = make()
    other, _ = make(seed=1000)
    taken = {name: getattr(envelope.Envelope.parse(other), name)}
    if taken == {"generation": BINDING.generation}:
        taken = {"generation": bytes(16)}

    mixed = dataclasses.replace(envelope.Envelope.parse(one), **taken)

    refused(mixed.encode(), record)


def test_who_holds_one_copy_cannot_forge_the_head_of_another():
    """Both copies have one data key; only the envelope's own salt and key give the head key."""
    data_key = envelope.DataKey(bytes(range(200, 232)))
    theirs = secret.SecretKey(bytes(32))
    ours, record = make(data_key=data_key)
    copy, copy_record = make(
        seed=2000,
        key=theirs,
        data_key=data_key,
        metadata="forged",
        binding=dataclasses.replace(BINDING, key="copy"),
    )
    assert read(copy, copy_record, key=theirs, binding=dataclasses.replace(BINDING, key="copy"))

    mine = envelope.Envelope.parse(ours)
    forged = envelope.Envelope.parse(copy)
    _, their_head_key = envelope.unwrap(theirs, forged.wrapped, forged.binding)
    mixed = envelope.Envelope.seal(
        binding=mine.binding,
        key_fields=mine.key_fields,
        wrapped=mine.wrapped,
        etag=mine.etag,
        size=mine.size,
        modified_ms=mine.modified_ms,
        version_id=mine.version_id,
        body_digest=mine.body_digest,
        head=envelope.Head(metadata={"m": "forged"}),
        head_key=their_head_key,
        random_bytes=counting(),
    )

    refused(mixed.encode(), record)


# Body records


@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_every_changed_byte_of_a_body_record_is_refused_even_without_its_digest(mask):
    data_key = envelope.DataKey(bytes(32))
    made, record = make(data_key=data_key)
    for changed in flips(record, mask):
        refused(made, changed)
        with pytest.raises(errors.NotAuthentic):
            body.parse(changed).open_checksums(data_key.body_key())


def test_every_truncated_or_extended_body_record_is_refused():
    data_key = envelope.DataKey(bytes(32))
    made, record = make(data_key=data_key)
    for changed in (*(record[:length] for length in range(len(record))), record + b"\0"):
        refused(made, changed)
        with pytest.raises(errors.NotAuthentic):
            body.parse(changed).open_checksums(data_key.body_key())


def test_the_checksums_of_another_body_do_not_open():
    _, one = make(data_key=envelope.DataKey(bytes(32)))
    with pytest.raises(errors.NotAuthentic):
        body.parse(one).open_checksums(envelope.DataKey(bytes(range(32))).body_key())


# Uploads


def upload(*, seed=0, upload_id="up-1", binding=BINDING, head=None):
    random_bytes = counting(seed)
    data_key = envelope.DataKey.fresh(random_bytes)
    wrapped, head_key = envelope.wrap(KEY, data_key, binding, random_bytes)
    escrow = envelope.seal_escrow(STORE_KEY, upload_id, data_key.body_key(), head_key, random_bytes)
    return envelope.UploadDraft.seal(
        upload_id=upload_id,
        binding=binding,
        key_fields=(b"7",),
        wrapped=wrapped,
        escrow=escrow,
        head=head or envelope.Head(content={"Content-Type": "a/b"}, metadata={"c": "d"}),
        head_key=head_key,
        random_bytes=random_bytes,
    )


def read_upload(data, *, upload_id="up-1", store_key=STORE_KEY):
    """What Complete does, which has no customer key."""
    draft = envelope.UploadDraft.parse(data)
    body_key, head_key = envelope.open_escrow(store_key, upload_id, draft.escrow)
    return draft, body_key, draft.open_head(head_key, upload_id)


def test_an_upload_can_be_completed_without_the_customers_key():
    made = upload()

    draft, body_key, head = read_upload(made.encode())

    data_key, head_key = envelope.unwrap(KEY, draft.wrapped, draft.binding)
    assert draft == made
    assert draft.encode() == made.encode()
    assert draft.binding == BINDING
    assert body_key == data_key.body_key()
    assert head == draft.open_head(head_key, "up-1")
    assert head == envelope.Head(content={"Content-Type": "a/b"}, metadata={"c": "d"})


def test_the_escrow_holds_no_key_that_opens_content():
    draft = upload()
    data_key, head_key = envelope.unwrap(KEY, draft.wrapped, draft.binding)

    held = envelope.open_escrow(STORE_KEY, "up-1", draft.escrow)

    assert held == (data_key.body_key(), head_key)
    assert [type(key) for key in held] == [envelope.BodyKey, envelope.HeadKey]
    assert data_key.stream_key() not in held
    assert data_key not in held


@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_every_changed_byte_of_a_draft_is_refused(mask):
    for changed in flips(upload().encode(), mask):
        with pytest.raises(errors.NotAuthentic):
            read_upload(changed)


def test_every_truncated_or_extended_draft_is_refused():
    made = upload().encode()
    for changed in (*(made[:length] for length in range(len(made))), made + b"\0"):
        with pytest.raises(errors.NotAuthentic):
            read_upload(changed)


@pytest.mark.parametrize(
    "change",
    [
        {"generation": bytes(16)},
        {"origin_bucket": "other"},
        {"origin_key": "other"},
        {"mode": "SSE-S3"},
        {"key_fields": ()},
        {"sealed_head": bytes(50)},
    ],
    ids="+".join,
)
def test_every_changed_field_of_a_draft_is_refused(change):
    changed = dataclasses.replace(upload(), **change)

    with pytest.raises(errors.NotAuthentic):
        read_upload(changed.encode())


def test_the_draft_and_escrow_of_another_upload_are_refused():
    one, other = upload(), upload(seed=500, upload_id="up-2")
    assert read_upload(other.encode(), upload_id="up-2")

    for changed in (
        other,
        dataclasses.replace(one, escrow=other.escrow),
        dataclasses.replace(one, wrapped=other.wrapped),
        dataclasses.replace(one, sealed_head=other.sealed_head),
    ):
        with pytest.raises(errors.NotAuthentic):
            read_upload(changed.encode())
    with pytest.raises(errors.NotAuthentic):
        read_upload(one.encode(), upload_id="up-2")


def test_the_head_of_a_draft_does_not_open_for_another_upload_even_with_its_key():
    draft = upload()
    _, head_key = envelope.unwrap(KEY, draft.wrapped, draft.binding)

    assert draft.open_head(head_key, "up-1")
    with pytest.raises(errors.NotAuthentic):
        draft.open_head(head_key, "up-2")


def test_the_head_of_a_draft_is_not_the_head_of_a_version():
    draft = upload()
    _, head_key = envelope.unwrap(KEY, draft.wrapped, draft.binding)
    made = envelope.Envelope(
        generation=draft.generation,
        origin_bucket=draft.origin_bucket,
        origin_key=draft.origin_key,
        mode=draft.mode,
        key_fields=draft.key_fields,
        wrapped=draft.wrapped,
        etag="",
        size=0,
        modified_ms=0,
        version_id="",
        body_digest=bytes(32),
        sealed_head=draft.sealed_head,
    )

    with pytest.raises(errors.NotAuthentic):
        made.open_head(head_key)


def test_an_escrow_under_another_store_key_is_refused():
    with pytest.raises(errors.NotAuthentic):
        read_upload(upload().encode(), store_key=secret.SecretKey(bytes(32)))


def test_an_escrow_of_another_length_is_refused_though_it_opens():
    box = envelope.seal_box(
        STORE_KEY, derive.Label.ESCROW, "up-1", plaintext=bytes(63), random_bytes=counting()
    )
    with pytest.raises(errors.NotAuthentic):
        envelope.open_escrow(STORE_KEY, "up-1", box)


def test_no_record_is_read_as_another_kind():
    made, record = make()
    readers = {
        made: envelope.Envelope.parse,
        record: body.parse,
        upload().encode(): envelope.UploadDraft.parse,
    }
    for data, own in readers.items():
        assert own(data)
        for other in readers.values():
            if other != own:
                with pytest.raises(errors.NotAuthentic, match="magic"):
                    other(data)


@pytest.mark.parametrize(
    ("magic", "outer", "clear", "read_one"),
    [
        (
            envelope.ENVELOPE_MAGIC,
            derive.Label.ENVELOPE,
            derive.Label.ENVELOPE_CLEAR,
            envelope.Envelope.parse,
        ),
        (
            envelope.UPLOAD_MAGIC,
            derive.Label.UPLOAD,
            derive.Label.UPLOAD_CLEAR,
            envelope.UploadDraft.parse,
        ),
        (body.BODY_MAGIC, derive.Label.BODY_RECORD, derive.Label.BODY_CLEAR, body.parse),
    ],
)
def test_a_record_whose_two_magics_differ_is_refused(magic, outer, clear, read_one):
    counts = {envelope.ENVELOPE_MAGIC: 11, envelope.UPLOAD_MAGIC: 7, body.BODY_MAGIC: 3}
    inner = encoding.encode(clear, b"SRMXXX\0\x01", *[b""] * counts[magic])

    with pytest.raises(errors.NotAuthentic, match=r"magic|contradicts"):
        read_one(magic + encoding.encode(outer, inner, b""))
