"""The master key: what it opens, and what it refuses."""

import base64
import itertools

import pytest

from strongroom import errors
from strongroom.crypto.secret import SecretKey
from strongroom.keyring import master

RAW = bytes(range(32))


@pytest.fixture
def random_bytes():
    counter = itertools.count(1)
    return lambda size: next(counter).to_bytes(size, "big")


@pytest.fixture
def keeper():
    return master.Master(SecretKey(RAW))


@pytest.fixture
def other():
    return master.Master(SecretKey(RAW[::-1]))


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_a_master_key_has_32_bytes(size):
    with pytest.raises(errors.MasterKeyTrouble, match=f"{size} bytes"):
        master.Master(SecretKey(bytes(size)))


def test_the_check_value_tells_keys_apart_and_not_more(keeper, other):
    assert keeper.check_value() == master.Master(SecretKey(RAW)).check_value()
    assert keeper.check_value() != other.check_value()
    assert len(keeper.check_value()) == 32
    assert keeper.check_value() != RAW


def test_a_store_key_comes_back(keeper, random_bytes):
    wrapped = keeper.wrap_store_key(7, SecretKey(b"k" * 32), random_bytes)

    assert keeper.unwrap_store_key(7, wrapped) == SecretKey(b"k" * 32)
    assert b"k" * 8 not in wrapped


def test_a_wrapped_store_key_opens_under_its_number_and_master_alone(keeper, other, random_bytes):
    wrapped = keeper.wrap_store_key(7, SecretKey(b"k" * 32), random_bytes)

    with pytest.raises(errors.NotAuthentic):
        keeper.unwrap_store_key(8, wrapped)
    with pytest.raises(errors.NotAuthentic):
        other.unwrap_store_key(7, wrapped)


def test_a_credential_comes_back(keeper, random_bytes):
    sealed = keeper.seal_credential("alice", "a" * 64, SecretKey(b"her secret"), random_bytes)

    assert keeper.open_credential("alice", "a" * 64, sealed) == SecretKey(b"her secret")
    assert b"secret" not in sealed


def test_a_sealed_credential_opens_for_its_access_key_alone(keeper, other, random_bytes):
    sealed = keeper.seal_credential("alice", "a" * 64, SecretKey(b"her secret"), random_bytes)

    with pytest.raises(errors.NotAuthentic):
        keeper.open_credential("alic", "a" * 64, sealed)
    with pytest.raises(errors.NotAuthentic):
        other.open_credential("alice", "a" * 64, sealed)
    with pytest.raises(errors.NotAuthentic):
        keeper.open_credential("alice", "b" * 64, sealed)


def test_one_kind_of_box_does_not_open_as_the_other(keeper, random_bytes):
    wrapped = keeper.wrap_store_key(1, SecretKey(b"k" * 32), random_bytes)

    with pytest.raises(errors.NotAuthentic):
        keeper.open_credential("1", "a" * 64, wrapped)


@pytest.mark.parametrize("at", [0, 11, 12, 40, -1])
def test_a_changed_byte_is_found_out(keeper, random_bytes, at):
    wrapped = bytearray(keeper.wrap_store_key(1, SecretKey(b"k" * 32), random_bytes))
    wrapped[at] ^= 1

    with pytest.raises(errors.NotAuthentic):
        keeper.unwrap_store_key(1, bytes(wrapped))


def test_wrapping_twice_gives_two_boxes(keeper, random_bytes):
    boxes = {keeper.wrap_store_key(1, SecretKey(b"k" * 32), random_bytes) for _ in range(3)}

    assert len(boxes) == 3


def test_a_master_key_is_read_from_base64():
    text = base64.b64encode(RAW).decode()

    assert master.parse(text) == SecretKey(RAW)
    assert master.parse(f"  {text}\n") == SecretKey(RAW)


@pytest.mark.parametrize(
    "text",
    ["", "no base64!", base64.b64encode(RAW[:31]).decode(), base64.b64encode(RAW + b"x").decode()],
    ids=["empty", "no-base64", "short", "long"],
)
def test_a_bad_master_key_is_refused_and_not_shown(text):
    with pytest.raises(errors.MasterKeyTrouble) as caught:
        master.parse(text)

    assert not text or text not in str(caught.value)


def test_a_master_does_not_show_its_key(keeper):
    assert "\\x01" not in repr(keeper)
    assert RAW.hex() not in repr(keeper)
