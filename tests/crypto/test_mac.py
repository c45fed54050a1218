"""HMAC-SHA-256 without the library's ceremony: the same bytes."""

import hmac
import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strongroom.crypto import derive, mac, secret


@given(st.binary(max_size=200), st.binary(max_size=300))
@example(bytes(64), b"")
@example(bytes(65), b"message")
@example(b"", b"")
def test_one_message_has_the_mac_that_the_standard_library_computes(key, message):
    assert mac.once(key, message) == hmac.digest(key, message, "sha256")


@given(st.binary(max_size=200), st.lists(st.binary(max_size=100), max_size=5))
@example(bytes(65), [b"a", b"b"])
def test_messages_under_one_key_do_not_change_each_others_macs(key, messages):
    keyed, long_lived = mac.Keyed(key), mac.MacKey(key)

    for message in messages:
        wanted = hmac.digest(key, message, "sha256")
        assert keyed.digest(message) == wanted
        assert long_lived.digest(message) == wanted


def test_what_a_key_was_made_into_does_not_show_and_cannot_be_pickled():
    key = mac.MacKey(b"k" * 32)

    assert repr(key) == "MacKey(…)"
    assert "kkkk" not in repr(mac.Keyed(b"k" * 32))
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(TypeError):
        pickle.dumps(mac.Keyed(b"k" * 32))


def test_an_expander_gives_what_expand_gives():
    prk = secret.SecretKey(bytes(range(32)))
    expander = derive.Expander(prk)

    assert expander.expand(derive.Label.CHECK) == derive.expand(prk, derive.Label.CHECK).reveal()
    assert (
        expander.expand(derive.Label.WRAP, "a", b"b", 3)
        == derive.expand(prk, derive.Label.WRAP, "a", b"b", 3).reveal()
    )
