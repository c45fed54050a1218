"""Key bytes do not get out by accident."""

import copy
import pickle
import traceback

import pytest

from strongroom.crypto import envelope, secret

RAW = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def key():
    return secret.SecretKey(RAW)


def test_a_key_comes_out_only_by_reveal(key):
    assert key.reveal() == RAW


@pytest.mark.parametrize("show", [repr, str, format, lambda k: f"{k:>40}", lambda k: f"{k!r}"])
def test_no_way_of_printing_shows_the_key(key, show):
    assert show(key) == "SecretKey(…)"


def test_a_derived_kind_of_key_prints_its_own_name():
    assert repr(envelope.HeadKey(RAW)) == "HeadKey(…)"


def test_a_key_has_the_length_of_its_bytes():
    assert len(secret.SecretKey(b"")) == 0
    assert len(secret.SecretKey(RAW)) == 32


@pytest.mark.parametrize("raw", [32, "text", bytearray(32), memoryview(b"x"), None])
def test_only_bytes_make_a_key(raw):
    with pytest.raises(TypeError, match="must be bytes"):
        secret.SecretKey(raw)


def test_keys_are_equal_if_their_bytes_are(key):
    assert key == secret.SecretKey(bytes(RAW))
    assert key != secret.SecretKey(RAW[:-1])
    assert key != secret.SecretKey(RAW + b"\0")


def test_a_key_equals_nothing_but_a_key(key):
    assert key != RAW
    assert key != "SecretKey(…)"


def test_a_key_cannot_be_hashed(key):
    with pytest.raises(TypeError, match="unhashable"):
        hash(key)


@pytest.mark.parametrize(
    "take",
    [
        copy.copy,
        copy.deepcopy,
        lambda k: copy.deepcopy([k]),
        lambda k: k.__getstate__(),
        lambda k: k.__reduce_ex__(2),
        *(
            lambda k, protocol=protocol: pickle.dumps(k, protocol)
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
    ],
)
@pytest.mark.parametrize("kind", [secret.SecretKey, envelope.DataKey])
def test_a_key_refuses_pickle_and_copy(kind, take):
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        take(kind(RAW))


def test_a_key_has_no_dict(key):
    with pytest.raises(TypeError):
        vars(key)
    with pytest.raises(AttributeError):
        key.note = 1


def test_a_traceback_with_locals_shows_no_key(key):
    def fail(k):
        raise ValueError(k)

    try:
        fail(key)
    except ValueError as error:
        shown = "".join(
            traceback.TracebackException.from_exception(error, capture_locals=True).format()
        )
    lines = [line for line in shown.splitlines() if "RAW" not in line]
    assert "SecretKey(…)" in shown
    assert not any(RAW.decode() in line for line in lines)
