"""Wrapping keys, and envelopes as they are read and written."""

import dataclasses
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom import errors
from strongroom.crypto import envelope, gcm, secret

KEY = secret.SecretKey(bytes(range(32)))
DATA_KEY = envelope.DataKey(bytes(range(32, 64)))
BINDING = envelope.Binding("SSE-C", "bucket", "some/key", bytes(range(16)))

TEXTS = st.text(st.characters(), max_size=6)
NUMBERS = st.integers(0, 2**64 - 1)
HEADS = st.builds(
    envelope.Head,
    checksums=st.dictionaries(TEXTS, st.binary(max_size=8), max_size=3),
    checksum_type=TEXTS,
    content=st.dictionaries(TEXTS, TEXTS, max_size=3),
    metadata=st.dictionaries(TEXTS, TEXTS, max_size=3),
    visible_parts=st.lists(st.integers(0, 3) | NUMBERS, max_size=6).map(tuple),
)


def counting():
    """Random bytes that differ from call to call, and are the same in every run."""
    calls = iter(range(1_000_000))
    return lambda size: hashlib.shake_256(next(calls).to_bytes(8, "big")).digest(size)


def seal(head=None, **changes):
    random_bytes = counting()
    wrapped, head_key = envelope.wrap(KEY, DATA_KEY, BINDING, random_bytes)
    made = envelope.Envelope.seal(
        **{
            "binding": BINDING,
            "key_fields": (),
            "wrapped": wrapped,
            "etag": "d41d8cd98f00b204e9800998ecf8427e",
            "size": 5,
            "modified_ms": 1_700_000_000_000,
            "version_id": "null",
            "body_digest": hashlib.sha256(b"body").digest(),
            "head": head or envelope.Head(),
            "head_key": head_key,
            "random_bytes": random_bytes,
            **changes,
        }
    )
    return made, head_key


# Keys


def test_a_fresh_data_key_is_32_random_bytes():
    asked = []

    key = envelope.DataKey.fresh(lambda size: asked.append(size) or bytes(size))

    assert (asked, key) == ([32], envelope.DataKey(bytes(32)))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_data_key_has_32_bytes(size):
    with pytest.raises(ValueError, match="32 bytes"):
        envelope.DataKey(bytes(size))


def test_what_hangs_from_a_data_key_is_all_different():
    derived = [
        DATA_KEY.reveal(),
        DATA_KEY.stream_key().reveal(),
        DATA_KEY.body_key().reveal(),
        DATA_KEY.commitment(),
    ]

    assert len(set(derived)) == 4
    assert isinstance(DATA_KEY.body_key(), envelope.BodyKey)


# Wrap and unwrap


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=80), TEXTS, TEXTS, st.binary(min_size=16, max_size=16))
def test_unwrapping_gives_both_keys_back(raw, bucket, name, generation):
    key = secret.SecretKey(raw)
    binding = envelope.Binding("SSE-S3", bucket, name, generation)

    wrapped, head_key = envelope.wrap(key, DATA_KEY, binding, counting())

    assert envelope.unwrap(key, wrapped, binding) == (DATA_KEY, head_key)
    envelope.verify(key, wrapped)


def test_a_wrapped_key_prints_to_156_bytes_and_back():
    wrapped, _ = envelope.wrap(KEY, DATA_KEY, BINDING, counting())

    assert len(wrapped.encode()) == envelope.WRAPPED_KEY_BYTES == 156
    assert envelope.WrappedKey.parse(wrapped.encode()) == wrapped


@pytest.mark.parametrize("size", [0, 155, 157])
def test_a_wrapped_key_of_another_length_is_refused(size):
    with pytest.raises(errors.NotAuthentic):
        envelope.WrappedKey.parse(bytes(size))


def test_wrapping_again_shares_nothing_with_the_first_time_but_the_commitment():
    random_bytes = counting()

    one, one_head = envelope.wrap(KEY, DATA_KEY, BINDING, random_bytes)
    other, other_head = envelope.wrap(KEY, DATA_KEY, BINDING, random_bytes)

    assert one_head != other_head
    assert one.commitment == other.commitment
    for name in ("salt", "check", "nonce", "ciphertext"):
        assert getattr(one, name) != getattr(other, name)


def test_the_key_check_does_not_depend_on_the_binding():
    one, _ = envelope.wrap(KEY, DATA_KEY, BINDING, counting())
    other, _ = envelope.wrap(
        KEY, DATA_KEY, dataclasses.replace(BINDING, bucket="elsewhere"), counting()
    )

    assert (one.salt, one.check) == (other.salt, other.check)
    assert one.ciphertext != other.ciphertext


# Heads


@settings(max_examples=40, deadline=None)
@given(HEADS)
def test_a_head_comes_back_with_its_order(head):
    back = envelope.Head.parse(head.encode())

    assert back == head
    for name in ("checksums", "content", "metadata"):
        assert list(getattr(back, name)) == list(getattr(head, name))


def test_ten_thousand_equal_visible_parts_take_24_bytes():
    few = envelope.Head(visible_parts=(5, 3)).encode()
    many = envelope.Head(visible_parts=(8 << 20,) * 9_999 + (1,)).encode()

    assert len(many) == len(few)
    assert envelope.Head.parse(many).visible_parts == (8 << 20,) * 9_999 + (1,)


def test_more_visible_parts_than_an_upload_has_are_refused():
    with pytest.raises(ValueError, match="10000 visible parts"):
        envelope.Head(visible_parts=(1,) * 10_001).encode()


def runs(*pairs):
    return b"".join(count.to_bytes(4, "big") + size.to_bytes(8, "big") for count, size in pairs)


@pytest.mark.parametrize(
    "raw",
    [
        runs((1, 5))[:-1],
        b"\0",
        runs((0, 5)),
        runs((1, 5), (1, 5)),
        runs((2, 5), (0, 4), (2, 5)),
        runs((10_001, 5)),
        runs((9_999, 5), (2, 4)),
        runs((2**32 - 1, 5)),
    ],
)
def test_runs_of_visible_parts_that_nobody_writes_are_refused(raw):
    printed = envelope.Head(visible_parts=(7,)).encode()
    changed = printed.replace(
        len(runs((1, 7))).to_bytes(4, "big") + runs((1, 7)), len(raw).to_bytes(4, "big") + raw
    )

    assert changed != printed
    with pytest.raises(errors.NotAuthentic):
        envelope.Head.parse(changed)


@settings(max_examples=40, deadline=None)
@given(HEADS, st.data())
def test_whatever_parses_as_a_head_prints_back_the_same(head, data):
    printed = bytearray(head.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        printed[data.draw(st.integers(0, len(printed) - 1))] = data.draw(st.integers(0, 255))
    try:
        parsed = envelope.Head.parse(bytes(printed))
    except errors.NotAuthentic:
        return
    assert parsed.encode() == printed


def test_every_truncated_head_is_refused():
    printed = envelope.Head(
        {"CRC32": b"1234"}, "FULL_OBJECT", {"Content-Type": "a"}, {"b": "c"}, (1,)
    ).encode()

    kept = []
    for length in range(len(printed)):
        try:
            envelope.Head.parse(printed[:length])
        except errors.NotAuthentic:
            continue
        kept.append(length)
    # Metadata has no count of its own, so it may end sooner; the tag around it may not.
    assert kept == [len(printed) - 10]


# Envelopes


@settings(max_examples=25, deadline=None)
@given(HEADS)
def test_the_head_opens_with_its_key(head):
    made, head_key = seal(head)

    assert envelope.Envelope.parse(made.encode()).open_head(head_key) == head


@settings(max_examples=25, deadline=None)
@given(
    bucket=TEXTS,
    name=TEXTS,
    mode=TEXTS,
    key_fields=st.lists(st.binary(max_size=4), max_size=3).map(tuple),
    etag=TEXTS,
    size=NUMBERS,
    modified_ms=NUMBERS,
    version_id=TEXTS,
)
def test_whatever_an_envelope_holds_comes_back(bucket, name, mode, **fields):
    made, head_key = seal(binding=envelope.Binding(mode, bucket, name, bytes(16)), **fields)

    back = envelope.Envelope.parse(made.encode())

    assert back == made
    assert back.encode() == made.encode()
    assert back.binding == envelope.Binding(mode, bucket, name, bytes(16))
    assert back.open_head(head_key) == envelope.Head()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_whatever_parses_as_an_envelope_prints_back_the_same(data):
    printed = bytearray(seal()[0].encode())
    for _ in range(data.draw(st.integers(1, 3))):
        printed[data.draw(st.integers(0, len(printed) - 1))] = data.draw(st.integers(0, 255))
    try:
        parsed = envelope.Envelope.parse(bytes(printed))
    except errors.NotAuthentic:
        return
    assert parsed.encode() == printed


def test_an_envelope_takes_about_half_a_kilobyte():
    head = envelope.Head(
        {"CRC64NVME": bytes(8)}, "FULL_OBJECT", {"Content-Type": "text/plain"}, {"a": "b"}
    )

    assert len(seal(head)[0].encode()) < 640


def test_an_envelope_knows_its_body():
    made, _ = seal()

    made.check_body(b"body")
    for other in (b"", b"body2", b"bod"):
        with pytest.raises(errors.NotAuthentic, match="body record"):
            made.check_body(other)


@pytest.mark.parametrize("name", ["generation", "body_digest"])
@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw + b"\0"])
def test_an_envelope_with_a_field_of_another_length_does_not_parse(name, change):
    made, _ = seal()
    changed = dataclasses.replace(made, **{name: change(getattr(made, name))})

    with pytest.raises(errors.NotAuthentic):
        envelope.Envelope.parse(changed.encode())


def test_a_secret_does_not_show_in_the_repr_of_anything():
    made, head_key = seal(envelope.Head(metadata={"name": "plain to see"}))

    shown = repr((made, head_key, KEY, DATA_KEY))

    assert "plain to see" not in shown
    for raw in (KEY.reveal(), DATA_KEY.reveal(), head_key.reveal()):
        assert repr(raw)[2:-1] not in shown
        assert raw.hex() not in shown


# Boxes


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_box_opens_with_what_it_was_sealed_with(raw, plain):
    key = secret.SecretKey(raw)

    box = envelope.seal_box(key, b"label", "a", 1, plaintext=plain, random_bytes=counting())

    assert len(box) == 32 + 12 + len(plain) + 16
    assert envelope.open_box(key, b"label", "a", 1, sealed=box) == plain


def test_two_boxes_with_one_content_share_nothing():
    random_bytes = counting()
    one, other = (
        envelope.seal_box(KEY, b"l", plaintext=bytes(64), random_bytes=random_bytes)
        for _ in range(2)
    )

    assert not {one[at : at + 8] for at in range(100)} & {other[at : at + 8] for at in range(100)}


@pytest.mark.parametrize(
    ("label", "fields"),
    [
        (b"other", ("a", 1)),
        (b"label", ("a", 2)),
        (b"label", ("a",)),
        (b"label", ("", 1)),
        (b"label", ()),
    ],
)
def test_a_box_does_not_open_under_another_label_or_field(label, fields):
    box = envelope.seal_box(KEY, b"label", "a", 1, plaintext=b"x", random_bytes=counting())

    with pytest.raises(errors.NotAuthentic):
        envelope.open_box(KEY, label, *fields, sealed=box)


@pytest.mark.parametrize("raw", [bytes(32), bytes(range(32)) + b"\0", bytes(range(31)), b""])
def test_a_box_does_not_open_under_another_key(raw):
    box = envelope.seal_box(KEY, b"label", plaintext=b"x", random_bytes=counting())

    with pytest.raises(errors.NotAuthentic):
        envelope.open_box(secret.SecretKey(raw), b"label", sealed=box)


def test_every_change_of_a_box_is_refused():
    box = envelope.seal_box(KEY, b"label", plaintext=b"xyz", random_bytes=counting())
    changed = [
        *(box[:at] + bytes([box[at] ^ 4]) + box[at + 1 :] for at in range(len(box))),
        *(box[:length] for length in range(len(box))),
        box + b"\0",
    ]

    for each in changed:
        with pytest.raises(errors.NotAuthentic):
            envelope.open_box(KEY, b"label", sealed=each)


def test_a_sealed_message_is_28_bytes_longer():
    sealed = gcm.seal(KEY, b"aad", b"plain", counting())

    assert len(sealed) == 5 + gcm.OVERHEAD_BYTES == 33
    assert gcm.unseal(KEY, b"aad", sealed) == b"plain"
