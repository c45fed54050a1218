"""Argon2id recipes, judged by RFC 9106's parameters and by argon2's reference implementation."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto import passphrase, secret

SMALL = {"memory_kib": passphrase.MIN_MEMORY_KIB, "passes": 1, "lanes": 1}

# Of the reference implementation's command line (Debian's `argon2` 0~20190702):
#   printf %s 'correct horse battery staple' | argon2 strongroom-salt! -id -t 2 -k 19456 -p 1 -l 32
# and likewise with -t 1 -k 65536 -p 4 and the passphrase `Ünïcødé`.
REFERENCE = [
    (
        "correct horse battery staple",
        "$argon2id$v=19$m=19456,t=2,p=1$c3Ryb25ncm9vbS1zYWx0IQ",
        "70943a2090c42f652fd459610f6172ceb20ce858e0d1e89ecc961e178c5c5ccc",
    ),
    (
        "Ünïcødé",
        "$argon2id$v=19$m=65536,t=1,p=4$c3Ryb25ncm9vbS1zYWx0IQ",
        "62f598e55266510e7d69525f8e0cde8a7c2e2770626d41e9dbd59f9e93f5458f",
    ),
]


@pytest.mark.parametrize(("words", "recipe", "key"), REFERENCE)
def test_a_key_is_what_the_reference_implementation_makes(words, recipe, key):
    made = passphrase.Recipe.parse(recipe).derive(passphrase.encode(words))

    assert made.reveal().hex() == key


def test_the_same_passphrase_under_another_recipe_is_another_key():
    words = passphrase.encode("the same words")
    first = passphrase.Recipe(b"a" * 16, **SMALL)

    keys = [
        recipe.derive(words)
        for recipe in (
            first,
            passphrase.Recipe(b"b" * 16, **SMALL),
            passphrase.Recipe(b"a" * 16, **(SMALL | {"passes": 2})),
            passphrase.Recipe(b"a" * 16, **(SMALL | {"lanes": 2})),
        )
    ]

    assert all(len(key) == passphrase.KEY_BYTES for key in keys)
    assert keys[0] == first.derive(words)
    assert not any(one == other for i, one in enumerate(keys) for other in keys[:i])


@given(
    salt=st.binary(min_size=passphrase.MIN_SALT_BYTES, max_size=passphrase.MAX_SALT_BYTES),
    memory=st.integers(passphrase.MIN_MEMORY_KIB, passphrase.MAX_MEMORY_KIB),
    passes=st.integers(1, passphrase.MAX_PASSES),
    lanes=st.integers(1, passphrase.MAX_LANES),
)
def test_a_recipe_prints_and_reads_back_the_same(salt, memory, passes, lanes):
    recipe = passphrase.Recipe(salt, memory, passes, lanes)

    assert passphrase.Recipe.parse(f" {recipe}\n") == recipe


def test_a_fresh_recipe_has_a_random_salt_and_the_defaults():
    recipe = passphrase.Recipe.fresh(lambda count: b"r" * count)

    assert recipe == passphrase.Recipe(b"r" * 16, 256 * 1024, 3, 4)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "$argon2i$v=19$m=65536,t=3,p=4$c3Ryb25ncm9vbS1zYWx0IQ",
        "$argon2id$v=16$m=65536,t=3,p=4$c3Ryb25ncm9vbS1zYWx0IQ",
        "$argon2id$v=19$m=65536,t=3,p=4$c3Ryb25ncm9vbS1zYWx0IQ$aGFzaA",
        "$argon2id$v=19$m=065536,t=3,p=4$c3Ryb25ncm9vbS1zYWx0IQ",
        "$argon2id$v=19$m=8,t=3,p=4$c3Ryb25ncm9vbS1zYWx0IQ",
        "$argon2id$v=19$m=999999999,t=3,p=4$c3Ryb25ncm9vbS1zYWx0IQ",
        "$argon2id$v=19$m=65536,t=99999,p=4$c3Ryb25ncm9vbS1zYWx0IQ",
        "$argon2id$v=19$m=65536,t=3,p=400$c3Ryb25ncm9vbS1zYWx0IQ",
        "$argon2id$v=19$m=65536,t=3,p=4$c2hvcnQ",
        "$argon2id$v=19$m=65536,t=3,p=4$c3Ryb25ncm9vbS1zYWx0IR",
        "$argon2id$v=19$m=65536,t=3,p=4$c3Ryb25ncm9vbS1zYWx0I",
    ],
)
def test_what_is_no_recipe_or_asks_for_too_little_or_too_much_is_refused(text):
    with pytest.raises(ValueError, match="ecipe"):
        passphrase.Recipe.parse(text)


def test_two_ways_to_write_an_accent_are_one_passphrase():
    assert passphrase.encode("e\u0301") == passphrase.encode("\u00e9")
    assert passphrase.encode("\u00e9") == secret.SecretKey("é".encode())


@pytest.mark.parametrize("text", ["", "\udcff"])
def test_what_is_no_passphrase_is_refused_without_showing_it(text):
    with pytest.raises(ValueError, match="passphrase") as raised:
        passphrase.encode(text)

    assert raised.value.__cause__ is None


def test_the_salt_of_a_recipe_is_base64_without_padding():
    assert str(passphrase.Recipe(b"s" * 16)).endswith(base64.b64encode(b"s" * 16).decode()[:-2])
