"""HKDF-SHA-256, judged by RFC 5869 and by `cryptography`; the table of labels."""

import pathlib
import re

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.crypto import derive, encoding, secret

FORMATS = pathlib.Path(__file__).parents[2] / "docs" / "formats"
DOCUMENTS = [FORMATS / "sealed-object.md", FORMATS / "sealed-client.md"]

# RFC 5869, appendix A.1 to A.3: secret, salt, info, PRK, output.
RFC_5869 = [
    (
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)).hex(),
        bytes(range(0x60, 0xB0)).hex(),
        bytes(range(0xB0, 0x100)).hex(),
        "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
        (
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c6"
            "5e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
        ),
    ),
    (
        "0b" * 22,
        "",
        "",
        "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]

KEY = secret.SecretKey(bytes(range(32)))


def labels():
    return {name: value for name, value in vars(derive.Label).items() if name.isupper()}


@pytest.mark.parametrize(("key", "salt", "info", "prk", "output"), RFC_5869)
def test_both_steps_agree_with_the_rfc(key, salt, info, prk, output):
    extracted = derive.extract(bytes.fromhex(salt), secret.SecretKey(bytes.fromhex(key)))
    expanded = derive.expand_info(extracted, bytes.fromhex(info), len(output) // 2)

    assert extracted.reveal().hex() == prk
    assert expanded.reveal().hex() == output


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=20))
def test_extract_and_expand_agree_with_another_implementation(salt, key, info):
    expected = HKDF(hashes.SHA256(), 32, salt, info).derive(key)

    extracted = derive.extract(salt, secret.SecretKey(key))

    assert derive.expand_info(extracted, info).reveal() == expected


@pytest.mark.parametrize("length", [1, 31, 32, 33, 64, 65, 255 * 32])
def test_any_length_that_hkdf_has_can_be_had(length):
    info = encoding.encode(derive.Label.HEAD, "a", 1)

    expected = HKDFExpand(hashes.SHA256(), length, info).derive(KEY.reveal())

    assert derive.expand(KEY, derive.Label.HEAD, "a", 1, length=length).reveal() == expected


@pytest.mark.parametrize("length", [-1, 0, 255 * 32 + 1])
def test_lengths_that_hkdf_has_not_are_refused(length):
    with pytest.raises(ValueError, match="HKDF"):
        derive.expand(KEY, derive.Label.HEAD, length=length)


def test_a_label_without_fields_has_the_same_info_as_any_other():
    info = encoding.encode(derive.Label.CHECK)

    assert derive.expand(KEY, derive.Label.CHECK) == derive.expand_info(KEY, info)


def test_a_key_and_the_same_key_with_a_zero_byte_are_two():
    salt = bytes(32)

    assert derive.extract(salt, KEY) != derive.extract(salt, secret.SecretKey(KEY.reveal() + b"\0"))


def test_no_two_labels_are_alike():
    values = list(labels().values())

    assert len(set(values)) == len(values)


def test_labels_are_named_like_what_they_say():
    for name, value in labels().items():
        assert value == b"strongroom/1/" + name.lower().replace("_", "-").encode()


def test_the_documents_list_the_same_labels():
    text = "".join(document.read_text("utf-8") for document in DOCUMENTS)
    listed = re.findall(r"^\| `(strongroom/1/[a-z-]+)` \|", text, re.MULTILINE)

    assert sorted(listed) == sorted(value.decode() for value in labels().values())
