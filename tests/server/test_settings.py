"""Where settings come from, and what is said of those that cannot be used."""

import base64
import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto import secret
from strongroom.server import settings

KEY = base64.b64encode(bytes(range(32))).decode()


def load(options=None, **environ):
    return settings.load(options or {}, {f"STRONGROOM_{k}": v for k, v in environ.items()})


def test_everything_has_the_default_of_the_contract():
    chosen = load()

    assert chosen.data_dir == Path("strongroom-data")
    assert not chosen.data_dir_given
    assert str(chosen.listen) == "127.0.0.1:9000"
    assert chosen.http_listen is None
    assert chosen.metrics_listen is None
    assert chosen.trusted_proxies == ()
    assert (chosen.workers, chosen.ephemeral) == (1, False)
    assert (chosen.domain, chosen.region) == (None, "us-east-1")
    assert (chosen.sse_c_default, chosen.fingerprints) == ("allow", True)
    assert chosen.root_access_key is chosen.root_secret_key is chosen.master_key is None


def test_options_win_over_environment_and_environment_over_the_file(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text('region = "file"\nlisten = ":1"\nworkers = 3\n')

    chosen = load({"region": "option", "config": str(file)}, REGION="env", LISTEN="h:2")

    assert (chosen.region, str(chosen.listen), chosen.workers) == ("option", "h:2", 3)


def test_options_that_were_not_given_do_not_count():
    chosen = load({"region": None, "trusted_proxy": (), "ephemeral": False}, EPHEMERAL="on")

    assert chosen.region == "us-east-1"
    assert chosen.ephemeral


def test_the_file_takes_the_names_of_options_with_dashes_or_underscores(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(
        'data-dir = "/d"\nsse_c_default = "block"\ntrusted-proxy = ["10.0.0.0/8", "::1"]\n'
        f'fingerprints = false\nmaster-key = "{KEY}"\n'
    )

    chosen = load(CONFIG=str(file))

    assert chosen.data_dir == Path("/d")
    assert chosen.data_dir_given
    assert chosen.sse_c_default == "block"
    assert chosen.fingerprints is False
    assert chosen.trusted_proxies == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("::1/128"),
    )
    assert chosen.master_key == secret.SecretKey(bytes(range(32)))


def test_a_name_that_is_no_setting_is_refused(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text('lisen = ":1"\n')

    with pytest.raises(settings.SettingsError, match="lisen"):
        load({"config": str(file)})


def test_a_file_that_does_not_parse_is_refused_without_quoting_it(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text('master-key = "hush hush\n')

    with pytest.raises(settings.SettingsError, match="not valid TOML") as caught:
        load({"config": str(file)})

    assert "hush" not in str(caught.value)


def test_a_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(settings.SettingsError, match="cannot be read"):
        load({"config": str(tmp_path / "none.toml")})


@pytest.mark.parametrize("value", ["", "off", "  "])
def test_a_variable_set_to_nothing_or_off_is_not_set(value):
    assert load(HTTP_LISTEN=value, TLS_CERT=value, OSS_LISTEN=value) == load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OSS_LISTEN", ":1"),
        ("DATABASE_URL", "postgresql://h/d"),
        ("BLOB_URL", "s3://b/p"),
    ],
)
def test_what_this_release_does_not_serve_is_refused_and_never_ignored(name, value):
    with pytest.raises(settings.SettingsError, match="does not serve"):
        load(**{name: value})
    with pytest.raises(settings.SettingsError, match=f"--{name.lower().replace('_', '-')}"):
        load({name.lower(): value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LISTEN", "9000"),
        ("LISTEN", "h:"),
        ("LISTEN", "h:x"),
        ("LISTEN", "h:65536"),
        ("LISTEN", "h:-1"),
        ("LISTEN", "::1:9000"),
        ("LISTEN", "[h]:1"),
        ("LISTEN", "h:٣"),
        ("LISTEN", ""),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,nonsense"),
        ("WORKERS", "0"),
        ("WORKERS", "two"),
        ("WORKERS", "1000"),
        ("EPHEMERAL", "perhaps"),
        ("DOMAIN", "not a domain"),
        ("DOMAIN", "-a.example"),
        ("REGION", "US EAST"),
        ("SSE_C_DEFAULT", "deny"),
        ("FINGERPRINTS", "some"),
        ("ROOT_ACCESS_KEY", "a b"),
        ("TLS_CERT", "/only/one"),
    ],
)
def test_values_that_cannot_be_used_are_named_in_a_sentence(name, value):
    with pytest.raises(settings.SettingsError) as caught:
        load(**{name: value})

    said = str(caught.value)
    assert f"STRONGROOM_{name}" in said or "--tls-key" in said
    assert said.endswith(".")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9000", "127.0.0.1", 9000),
        ("[::1]:9000", "::1", 9000),
        ("localhost:0", "localhost", 0),
        (":65535", "0.0.0.0", 65535),  # noqa: S104 - what it means
    ],
)
def test_addresses(text, host, port):
    assert settings.parse_address(text) == settings.Address(host, port)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_an_address_reads_back_as_it_was_written(ip, port):
    address = settings.Address(str(ip), port)

    assert settings.parse_address(str(address)) == address


def test_ephemeral_with_several_workers_is_refused():
    with pytest.raises(settings.SettingsError, match="more than one worker"):
        load(EPHEMERAL="1", WORKERS="2")


def test_root_credentials_come_in_pairs():
    with pytest.raises(settings.SettingsError, match="both or neither"):
        load(ROOT_ACCESS_KEY="root-user")


@pytest.mark.parametrize("name", ["MASTER_KEY", "ROOT_SECRET_KEY", "ROOT_ACCESS_KEY"])
def test_a_secret_set_to_nothing_is_an_error_and_no_wish_for_a_new_one(name):
    with pytest.raises(settings.SettingsError, match=name):
        load(**{name: ""})


@pytest.mark.parametrize(
    "value", ["not base64 at all", base64.b64encode(b"short-hush").decode(), KEY[:-4]]
)
def test_a_bad_master_key_is_refused_without_being_quoted(value):
    with pytest.raises(settings.SettingsError) as caught:
        load(MASTER_KEY=value)

    assert value not in str(caught.value)


def test_settings_print_no_secret():
    chosen = load(MASTER_KEY=KEY, ROOT_ACCESS_KEY="root-user", ROOT_SECRET_KEY="hush-hush-hush")

    for text in (repr(chosen), str(chosen), f"{chosen}"):
        assert KEY not in text
        assert "hush" not in text
        assert str(bytes(range(32))) not in text


def test_settings_survive_the_pipe_to_a_worker():
    chosen = load(
        {"tls_cert": "/c", "tls_key": "/k"},
        MASTER_KEY=KEY,
        ROOT_ACCESS_KEY="root-user",
        ROOT_SECRET_KEY="hush-hush-hush",
        HTTP_LISTEN="[::1]:0",
        TRUSTED_PROXIES="10.0.0.0/8 ::/0",
        DOMAIN="S3.Example.",
        FINGERPRINTS="off",
    )

    assert settings.undump(settings.dump(chosen)) == chosen
    assert chosen.domain == "s3.example"
