"""What we write, whatever the order and the cuts, opens again; S004.4, S004.5, S004.12, S004.36."""

import base64
import itertools
import json
import secrets
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom import errors
from strongroom.client import AesKey, AlibabaKms, AwsKms, KmsKey, RsaKey, open_sealed, seal, writing
from strongroom.client import sealed as sealing_room
from strongroom.client.formats import oss, strongroom
from strongroom.client.keys import KeyRing

KEY = AesKey(bytes(range(32)))
WRITTEN = ["sealed", "s3-v3", "s3-v2", "oss-v2", "oss-v1"]
SMALL_PART = {"sealed": 65_536}


class StubKms:
    """Both dialects over a table, and the contexts that it saw."""

    def __init__(self):
        self.table = {}

    def _blob(self, plain, context):
        blob = secrets.token_bytes(40)
        self.table[blob] = (plain, context)
        return blob

    def generate_data_key(self, *, KeyId, KeySpec, EncryptionContext):  # noqa: N803 - boto3's
        assert (KeyId, KeySpec) == ("the-key", "AES_256")
        plain = secrets.token_bytes(32)
        return {"Plaintext": plain, "CiphertextBlob": self._blob(plain, EncryptionContext)}

    def encrypt(self, *, KeyId, Plaintext, EncryptionContext):  # noqa: N803
        assert KeyId == "the-key"
        return {"CiphertextBlob": self._blob(Plaintext, EncryptionContext)}

    def decrypt(self, *, CiphertextBlob, EncryptionContext, KeyId):  # noqa: N803
        assert KeyId == "the-key"
        plain, context = self.table[CiphertextBlob]
        if context != EncryptionContext:
            error = RuntimeError("no")
            error.response = {"Error": {"Code": "InvalidCiphertextException"}}
            raise error
        return {"Plaintext": plain}

    def call(self, action, params):
        context = params.get("EncryptionContext", "")
        if action == "Decrypt":
            blob = base64.b64decode(params["CiphertextBlob"])
            if blob not in self.table or self.table[blob][1] != context:
                error = RuntimeError("no")
                error.error_code = "InvalidCiphertext"
                raise error
            return {"Plaintext": self.table[blob][0]}
        plain = params.get("Plaintext") or base64.b64encode(secrets.token_bytes(32)).decode()
        blob = base64.b64encode(self._blob(plain, context)).decode()
        return {"Plaintext": plain, "CiphertextBlob": blob}


def key_for(kind, rsa_pem):
    return RsaKey(rsa_pem) if kind.startswith("oss") else KEY


def whole(sealing, plain, order=None):
    size = sealing.part_plain
    cuts = [plain[at : at + size] for at in range(0, len(plain) or 1, size)]
    numbers = list(range(1, len(cuts) + 1))
    done = {
        number: bytes(sealing.seal_part(number, cuts[number - 1], last=number == len(cuts)))
        for number in (order(numbers) if order else numbers)
    }
    return b"".join(done[number] for number in numbers)


def opened_or_refused(metadata, body):
    try:
        return open_sealed(metadata, body, KEY)
    except errors.StrongroomError:
        return None


def released_of(opener, body):
    """What a stream gives before it finds the damage that there must be."""
    released = b""
    try:
        for at in range(0, len(body), 10_000):
            released += opener.feed(bytes(body[at : at + 10_000]))
        opener.finish()
    except errors.NotAuthentic:
        return released
    raise AssertionError("the damage was not found")


def headers(sealing, prefix="x-amz-meta-"):
    return {prefix + name: value for name, value in sealing.envelope.items()}


@pytest.fixture(params=WRITTEN)
def kind(request):
    return request.param


@settings(max_examples=40, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("kind", ["sealed", "s3-v3", "oss-v2"])
def test_every_range_of_what_we_write_is_the_slice(kind, data, rsa_pem):
    plain = secrets.token_bytes(data.draw(st.integers(0, 200_000)))
    key = key_for(kind, rsa_pem)
    sealing = seal(key, kind, part_bytes=SMALL_PART.get(kind, 48 * 1024))
    body = whole(sealing, plain)
    start = data.draw(st.integers(0, len(plain)))
    end = data.draw(st.integers(start, len(plain)))

    assert len(body) == sealing.stored_size(len(plain))
    assert open_sealed(headers(sealing), body, key) == plain
    assert sealing_room.plain_size(sealing.envelope, len(body)) == len(plain)
    got = open_sealed(headers(sealing), lambda a, b: body[a:b], key, (start, end))
    assert got == plain[start:end]


@pytest.mark.parametrize("size", [0, 1, 65_480, 65_481, 131_000])
def test_sizes_at_the_borders(kind, size, rsa_pem):
    plain = secrets.token_bytes(size)
    sealing = seal(key_for(kind, rsa_pem), kind, part_bytes=SMALL_PART.get(kind, 65_536))

    body = whole(sealing, plain)

    assert open_sealed(headers(sealing), body, key_for(kind, rsa_pem)) == plain
    assert open_sealed(headers(sealing), lambda a, b: body[a:b], key_for(kind, rsa_pem)) == plain


@pytest.mark.parametrize("kind", ["sealed", "oss-v2"])
def test_parts_may_be_sealed_in_any_order(kind, rsa_pem):
    plain = secrets.token_bytes(300_000)
    sealing = seal(key_for(kind, rsa_pem), kind, part_bytes=65_536)

    body = whole(sealing, plain, order=lambda numbers: numbers[::-1])

    assert open_sealed(headers(sealing), body, key_for(kind, rsa_pem)) == plain


@pytest.mark.parametrize("kind", ["s3-v2", "s3-v3"])
def test_a_gcm_message_is_sealed_in_order_only(kind):
    sealing = seal(KEY, kind, part_bytes=16)
    sealing.seal_part(1, bytes(16), last=False)

    for number in (1, 3):
        with pytest.raises(RuntimeError, match="order"):
            sealing.seal_part(number, bytes(16), last=False)


def test_a_stream_of_unknown_length_is_the_same_as_parts(kind, rsa_pem):
    plain = secrets.token_bytes(200_000)
    stream = writing.Whole(seal(key_for(kind, rsa_pem), kind, part_bytes=65_536))

    body = b"".join(stream.feed(plain[at : at + 777]) for at in range(0, len(plain), 777))
    body += stream.finish()

    sealing = stream._sealing  # noqa: SLF001 - the stream hides it from nobody else
    assert open_sealed(headers(sealing), body, key_for(kind, rsa_pem)) == plain


@pytest.mark.parametrize("kind", ["oss-v2", "oss-v1"])
def test_a_keystream_is_never_used_for_other_bytes(kind, rsa_pem):
    sealing = seal(RsaKey(rsa_pem), kind, part_bytes=16)
    first = sealing.seal_part(1, b"a" * 16, last=False)

    assert sealing.seal_part(1, b"a" * 16, last=False) == first
    with pytest.raises(errors.SourceChanged):
        sealing.seal_part(1, b"b" * 16, last=False)


def test_a_sealed_part_is_another_ciphertext_every_time():
    sealing = seal(KEY, "sealed", part_bytes=65_536)

    first, second = (bytes(sealing.seal_part(1, b"same", last=True)) for _ in range(2))

    assert first != second
    assert open_sealed(headers(sealing), first, KEY) == b"same"
    assert open_sealed(headers(sealing), second, KEY) == b"same"


def test_a_layout_that_readers_could_not_place_is_refused(kind, rsa_pem):
    sealing = seal(key_for(kind, rsa_pem), kind, part_bytes=65_536)

    for number, size, last in [(1, 5, False), (2, 0, True), (0, 5, True), (1, 70_000, True)]:
        sealing = seal(key_for(kind, rsa_pem), kind, part_bytes=65_536)
        with pytest.raises((ValueError, RuntimeError)):
            sealing.seal_part(number, bytes(size), last=last)


def test_parts_that_do_not_add_up_to_the_announced_size_are_refused(rsa_pem):
    sealing = seal(RsaKey(rsa_pem), "oss-v2", part_bytes=32, data_size=40, multipart=True)

    assert sealing.envelope["client-side-encryption-data-size"] == "40"
    assert sealing.envelope["client-side-encryption-part-size"] == "32"
    with pytest.raises(ValueError, match="add up"):
        sealing.seal_part(2, bytes(9), last=True)
    with pytest.raises(ValueError, match="add up"):
        sealing.seal_part(2, bytes(32), last=False)
    with pytest.raises(ValueError, match="16"):
        seal(RsaKey(rsa_pem), "oss-v2", part_bytes=33)


def test_an_iv_of_ours_never_carries_out_of_64_bits(rsa_pem):
    locked = [oss.lock_v2(RsaKey(rsa_pem), None, secrets.token_bytes) for _ in range(20)]

    assert {(one.first_counter >> 32) & 0xFFFFFFFF for one in locked} == {0}
    assert len({one.first_counter for one in locked}) == 20


def test_counters_go_beyond_five_gigabytes(rsa_pem):
    """S004.11: a range of an object far beyond 2**32 bytes has the keystream of its place."""
    sealing = seal(RsaKey(rsa_pem), "oss-v2", part_bytes=1024**3)
    opened = sealing_room.unlock(
        sealing.envelope, KeyRing(RsaKey(rsa_pem)), None, sealing_room.rules.Rules()
    )
    at = 6 * 1024**3 + 5
    stream = types.SimpleNamespace(read=lambda start, end: bytes(end - start))

    far = opened.read(stream, at, at + 64, unverified=False)
    near = opened.read(stream, at + 16, at + 48, unverified=False)

    assert far[16:48] == near
    assert far[:16] != far[16:32]


@pytest.mark.parametrize("kind", ["sealed", "s3-v3", "s3-v2"])
def test_a_kms_of_amazon_wraps(kind):
    stub = StubKms()
    key = KmsKey(AwsKms(stub), "the-key", context={"team": "x"})
    sealing = seal(key, kind)
    body = whole(sealing, b"under a KMS")

    assert open_sealed(headers(sealing), body, KmsKey(stub, "the-key", context={"team": "x"})) == (
        b"under a KMS"
    )
    with pytest.raises(errors.WrongKey):
        open_sealed(headers(sealing), body, KmsKey(stub, "the-key", context={"team": "y"}))


@pytest.mark.parametrize("kind", ["sealed", "oss-v1", "oss-v2"])
def test_a_kms_of_alibaba_wraps(kind):
    """S004.8, S004.26: the key's id goes to the KMS, its bytes never come."""
    stub = StubKms()
    context = oss.passphrase_context('a"b')
    key = KmsKey(AlibabaKms(stub.call), "the-key", context=context)
    sealing = seal(key, kind)
    body = whole(sealing, b"under a KMS")

    assert open_sealed(headers(sealing, "x-oss-meta-"), body, key) == b"under a KMS"
    with pytest.raises(errors.WrongKey):
        open_sealed(headers(sealing), body, KmsKey(AlibabaKms(stub.call), "the-key"))


def test_a_kms_that_cannot_answer_is_not_a_wrong_key():
    class Down:
        def generate_data_key(self, **_kwargs):
            error = RuntimeError("no")
            error.response = {"Error": {"Code": "ThrottlingException"}}
            raise error

        encrypt = decrypt = generate_data_key

    with pytest.raises(errors.KmsCallFailed) as caught:
        seal(KmsKey(Down(), "the-key"), "s3-v3")

    assert caught.value.code == "ThrottlingException"


def test_any_of_several_recipients_opens_and_others_do_not(rsa_pem):
    described = AesKey(bytes(32), {"role": "backup"})
    sealing = seal([KEY, RsaKey(rsa_pem), described], "sealed")
    body = whole(sealing, b"for many")

    for key in (KEY, RsaKey(rsa_pem), described):
        assert open_sealed(headers(sealing), body, key) == b"for many"
    for key in (AesKey(bytes(31) + b"\1"), AesKey(bytes(32))):
        with pytest.raises(errors.WrongKey):
            open_sealed(headers(sealing), body, key)


def test_a_context_is_part_of_the_key():
    sealing = seal(KEY, "sealed", context={"place": "attic"})
    body = whole(sealing, b"bound")

    assert open_sealed(headers(sealing), body, KEY, context={"place": "attic"}) == b"bound"
    with pytest.raises(errors.NotAuthentic):
        open_sealed(headers(sealing), body, KEY, context={"place": "cellar"})
    for wrong in (None, {}, {"place": "attic", "more": "x"}, "place"):
        with pytest.raises(errors.WrongKey):
            open_sealed(headers(sealing), body, KEY, context=wrong)


@pytest.mark.parametrize("kind", ["sealed", "s3-v3", "s3-v2", "oss-v2"])
def test_master_keys_are_changed_by_writing_metadata_only(kind, rsa_pem):
    old = key_for(kind, rsa_pem)
    new = RsaKey(rsa_pem, description={"n": "2"}) if kind == "oss-v2" else AesKey(bytes(32))
    sealing = seal(old, kind)
    body = whole(sealing, b"stays where it is")

    envelope = sealing_room.rekeyed(
        sealing.envelope,
        KeyRing(old),
        [new],
        context=None,
        new_context=None,
        random_bytes=secrets.token_bytes,
    )

    renewed = {"x-amz-meta-" + name: value for name, value in envelope.items()}
    assert open_sealed(renewed, body, new) == b"stays where it is"
    with pytest.raises(errors.WrongKey):
        open_sealed(renewed, body, AesKey(bytes(31) + b"\2"))


@pytest.mark.parametrize("kind", ["sealed", "s3-v3", "s3-v2"])
def test_an_instruction_file_holds_what_the_object_does_not(kind):
    sealing = seal(KEY, kind, instruction=True)
    body = whole(sealing, b"beside")

    assert open_sealed(headers(sealing), body, KEY, instruction=sealing.instruction) == b"beside"
    with pytest.raises((errors.NotSealed, errors.MalformedEnvelope)):
        open_sealed(headers(sealing), body, KEY)
    with pytest.raises(errors.MalformedEnvelope):
        open_sealed(headers(seal(KEY, kind)), body, KEY, instruction=sealing.instruction)


@pytest.mark.parametrize("kind", ["sealed", "s3-v3", "s3-v2"])
def test_every_changed_bit_of_an_envelope_or_body_is_found(kind):
    sealing = seal(KEY, kind)
    body = whole(sealing, b"x" * 40)
    good = headers(sealing)

    for name, value in good.items():
        for at in range(0, len(value), 3):
            bad = {**good, name: value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :]}
            # A base64 text's spare bits and a description's blanks change nothing.
            assert opened_or_refused(bad, body) in {b"x" * 40, None}
    for at in range(len(body)):
        bad_body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        with pytest.raises(errors.NotAuthentic):
            open_sealed(good, bad_body, KEY)
    for end in range(len(body)):
        with pytest.raises(errors.NotAuthentic):
            open_sealed(good, body[:end], KEY)


def test_parts_cannot_be_moved_dropped_or_exchanged_between_objects():
    plain = secrets.token_bytes(3 * 65_480)
    one, other = (seal(KEY, "sealed", part_bytes=65_536) for _ in range(2))
    body, foreign = whole(one, plain), whole(other, plain)
    cuts = [body[at : at + 65_536] for at in range(0, len(body), 65_536)]

    for order in itertools.chain(itertools.permutations(cuts), itertools.combinations(cuts, 2)):
        if b"".join(order) != body:
            with pytest.raises(errors.NotAuthentic):
                open_sealed(headers(one), b"".join(order), KEY)
    with pytest.raises(errors.NotAuthentic):
        open_sealed(headers(one), foreign[:65_536] + body[65_536:], KEY)
    with pytest.raises(errors.NotAuthentic):
        open_sealed(headers(one), foreign, KEY)


def test_a_stream_of_a_sealed_object_releases_only_what_is_verified():
    sealing = seal(KEY, "sealed", part_bytes=4 * 65_536)
    plain = secrets.token_bytes(900_000)
    body = bytearray(whole(sealing, plain))
    body[600_000] ^= 1
    opened = strongroom.unlock(sealing.envelope, KeyRing(KEY), None).content()

    for size in (len(body), None):
        released = released_of(opened.opener(size), body)
        assert plain.startswith(released)
        assert released


CONFUSED = {
    "two formats of Amazon": lambda e: {**e, "x-amz-key-v2": "AAAA"},
    "a name of V3 beside V2": lambda e: {**e, "x-amz-c": "115"},
    "both vendors": lambda e: {**e, "client-side-encryption-key": "AAAA"},
    "half an envelope": lambda e: {n: v for n, v in e.items() if n[-3:] not in {"key", "d", "mac"}},
}


@pytest.mark.parametrize("confuse", CONFUSED.values(), ids=CONFUSED)
@pytest.mark.parametrize("kind", ["sealed", "s3-v3"])
def test_confusing_envelopes_are_refused(kind, confuse):
    sealing = seal(KEY, kind)
    body = whole(sealing, b"x")
    if kind == "s3-v3" and confuse is CONFUSED["a name of V3 beside V2"]:
        confuse = CONFUSED["both vendors"]
    envelope = confuse(sealing.envelope)

    if envelope == sealing.envelope:
        envelope.pop("strongroom-mac", None)
        envelope.pop("x-amz-d", None)
    with pytest.raises(errors.MalformedEnvelope):
        open_sealed({"x-amz-meta-" + n: v for n, v in envelope.items()}, body, KEY)


def test_one_thing_said_twice_is_refused():
    sealing = seal(KEY, "s3-v3")
    body = whole(sealing, b"x")

    same = {**headers(sealing), **headers(sealing, "x-oss-meta-")}
    other = {**same, "x-oss-meta-x-amz-c": "116"}

    assert open_sealed(same, body, KEY) == b"x"
    with pytest.raises(errors.MalformedEnvelope):
        open_sealed(other, body, KEY)


def test_an_upload_is_continued_from_its_envelope_and_digests():
    plain = secrets.token_bytes(100)
    for kind in ("s3-v3", "sealed"):
        sealing = seal(KEY, kind, part_bytes=SMALL_PART.get(kind, 64))
        again = sealing_room.resume(
            json.loads(json.dumps(sealing.envelope)), None, KEY, sealing.part_plain
        )
        if kind == "s3-v3":
            assert sealing.seal_part(1, plain[:64], last=False) == again.seal_part(
                1, plain[:64], last=False
            )
        else:
            body = bytes(again.seal_part(1, plain, last=True))
            assert open_sealed(headers(sealing), body, KEY) == plain


def test_a_continued_message_refuses_other_bytes_than_were_sealed_before():
    sealing = seal(KEY, "s3-v3", part_bytes=64)
    digest = writing.digest(sealing.seal_part(1, bytes(64), last=False))
    again = sealing_room.resume(sealing.envelope, None, KEY, 64, sealed_before={1: digest})

    with pytest.raises(errors.SourceChanged):
        again.seal_part(1, b"\1" * 64, last=False)


def test_keys_hide_and_weak_ones_wrap_nothing(rsa_pem):
    for key in (KEY, RsaKey(rsa_pem), KmsKey(StubKms(), "the-key")):
        assert "BEGIN" not in repr(key)
        assert bytes(range(32)).hex() not in repr(key)
    with pytest.raises(ValueError, match="16, 24 or 32"):
        AesKey(bytes(31))
    with pytest.raises(TypeError):
        open_sealed({}, b"", "a key")
    with pytest.raises(errors.NotSealed):
        open_sealed({"content-type": "text/plain"}, b"plain", KEY)
