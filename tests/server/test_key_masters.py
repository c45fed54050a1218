"""Which master of the KMS a setting names."""

import pytest

from strongroom import errors
from strongroom.crypto.secret import SecretKey
from strongroom.server import key_masters, settings

pytestmark = pytest.mark.filterwarnings("ignore")
"""Client packages warn of what they themselves use."""

SECRET = SecretKey(b"s3cret")


def make(url, given=SECRET):
    return key_masters.make(url, given, bytes)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("vault://vault:8200/transit/attic", "vault:transit/attic"),
        ("vault://vault:8200/a/b/attic?tls=off&namespace=n", "vault:a/b/attic"),
        ("aws:alias/attic?region=eu-central-1", "aws:alias/attic"),
        ("aws:arn:aws:kms:eu-west-1:1:key/x?region=eu-west-1", "aws:arn:aws:kms:eu-west-1:1:key/x"),
        ("pkcs11:token=tok;object=a%20key?module-path=/lib/x.so", "pkcs11:tok/a key"),
        ("kmip://kmip/42?cert=/c&key=/k&ca=/a", "kmip:42"),
    ],
)
def test_a_url_names_a_master_and_nothing_is_asked_yet(url, name):
    assert make(url).name == name


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://vault:8200/transit/attic",
        "vault://vault:8200/attic",
        "vault:///transit/attic",
        "vault://vault:nan/transit/attic",
        "vault://vault:8200/transit/attic?token=s3cret",
        "aws:",
        "aws://x/y",
        "pkcs11:token=tok?module-path=/lib/x.so",
        "pkcs11:token=tok;object=key",
        "kmip://kmip/42",
        "kmip://kmip?cert=/c&key=/k&ca=/a",
    ],
)
def test_a_url_that_names_none_is_refused_and_not_shown(url):
    with pytest.raises(errors.MasterKeyTrouble, match="--kms-master cannot be used") as caught:
        make(url)

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["vault://vault:8200/transit/attic", "pkcs11:token=t;object=o?module-path=/x.so"]
)
def test_a_secret_that_is_missing_is_asked_for(url):
    with pytest.raises(errors.MasterKeyTrouble, match="STRONGROOM_KMS_MASTER_SECRET"):
        make(url, None)


def test_the_settings_reach_the_workers_with_the_secret():
    given = settings.load(
        {"kms_master": "aws:x", "kms_cache_s": "0"}, {"STRONGROOM_KMS_MASTER_SECRET": "s3cret"}
    )

    again = settings.undump(settings.dump(given))

    assert again.kms_master == "aws:x"
    assert again.kms_cache_s == 0
    assert again.kms_master_secret == SECRET
    assert "s3cret" not in repr(again)


@pytest.mark.parametrize("value", ["-1", "x", "3601", True])
def test_a_cache_time_out_of_range_is_refused(value):
    with pytest.raises(settings.SettingsError):
        settings.load({"kms_cache_s": value}, {})
