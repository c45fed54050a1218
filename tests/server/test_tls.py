"""Certificates: what is made, kept, renewed and refused."""

import datetime as dt
import ssl
import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from strongroom.server import app, tls

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "tls"


def names(pair):
    cert = x509.load_pem_x509_certificate(pair.cert.read_bytes())
    found = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


def shaken_hands(pair, hostname):
    """Let Python's client meet a server with the pair, in memory, all checks on."""
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(pair.cert, pair.key)
    trusting = ssl.create_default_context(cafile=pair.ca)
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=hostname)
    server = served.wrap_bio(to_server, to_client, server_side=True)
    done = set()
    for _ in range(10):
        for side in (client, server):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
        if len(done) == 2:
            return
    raise AssertionError("no handshake")


def test_the_certificate_names_what_the_contract_says(folder):
    assert names(tls.ensure(folder, None, NOW)) == {
        "localhost",
        "*.localhost",
        "127.0.0.1",
        "::1",
    }


@pytest.mark.parametrize("hostname", ["localhost", "127.0.0.1", "::1"])
def test_a_strict_client_that_trusts_the_ca_accepts_the_server(folder, hostname):
    shaken_hands(tls.ensure(folder, None, dt.datetime.now(dt.UTC)), hostname)


@pytest.mark.parametrize("hostname", ["s3.example", "attic.s3.example"])
def test_a_domain_and_the_names_under_it_are_in_the_certificate(folder, hostname):
    shaken_hands(tls.ensure(folder, "s3.example", dt.datetime.now(dt.UTC)), hostname)


def test_another_name_is_not_accepted(folder):
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken_hands(tls.ensure(folder, None, dt.datetime.now(dt.UTC)), "s3.example")


def test_keys_are_for_the_owner_only_and_certificates_for_all(folder):
    tls.ensure(folder, None, NOW)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}

    assert modes == {"ca.crt": 0o644, "ca.key": 0o600, "server.crt": 0o644, "server.key": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_lifetimes(folder):
    pair = tls.ensure(folder, None, NOW)

    cert = x509.load_pem_x509_certificate(pair.cert.read_bytes())
    ca = x509.load_pem_x509_certificate(pair.ca.read_bytes())
    assert cert.not_valid_after_utc - cert.not_valid_before_utc <= dt.timedelta(days=397)
    assert ca.not_valid_after_utc - NOW == dt.timedelta(days=3650)


def test_a_good_pair_is_kept(folder):
    before = tls.ensure(folder, None, NOW).cert.read_bytes()

    later = NOW + dt.timedelta(days=397 - 31)

    assert tls.ensure(folder, None, later).cert.read_bytes() == before


def test_a_pair_that_runs_out_is_renewed_under_the_same_ca(folder):
    pair = tls.ensure(folder, None, NOW)
    before, ca = pair.cert.read_bytes(), pair.ca.read_bytes()

    tls.ensure(folder, None, NOW + dt.timedelta(days=397 - 29))

    assert pair.cert.read_bytes() != before
    assert pair.ca.read_bytes() == ca


def test_a_pair_that_lacks_a_name_is_renewed_and_one_with_more_names_is_not(folder):
    pair = tls.ensure(folder, None, NOW)

    tls.ensure(folder, "s3.example", NOW)
    wider = pair.cert.read_bytes()
    tls.ensure(folder, None, NOW)

    assert {"s3.example", "*.s3.example", "localhost"} <= names(pair)
    assert pair.cert.read_bytes() == wider


@pytest.mark.parametrize("name", ["server.crt", "server.key"])
@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_server_pair_is_made_anew(folder, name, damage):
    pair = tls.ensure(folder, None, dt.datetime.now(dt.UTC))
    (folder / name).unlink() if damage is None else (folder / name).write_bytes(damage)

    tls.ensure(folder, None, dt.datetime.now(dt.UTC))

    shaken_hands(pair, "localhost")


def test_a_key_of_another_pair_is_noticed(folder, tmp_path):
    pair = tls.ensure(folder, None, dt.datetime.now(dt.UTC))
    other = tls.ensure(tmp_path / "other", None, dt.datetime.now(dt.UTC))
    pair.key.write_bytes(other.key.read_bytes())

    tls.ensure(folder, None, dt.datetime.now(dt.UTC))

    shaken_hands(pair, "localhost")


@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
def test_a_damaged_ca_is_never_replaced_silently(folder, name):
    tls.ensure(folder, None, NOW)
    (folder / name).write_bytes(b"nonsense")

    with pytest.raises(app.StartRefused, match="local CA"):
        tls.ensure(folder, None, NOW)


def test_a_crash_between_the_ca_files_is_healed(folder):
    pair = tls.ensure(folder, None, dt.datetime.now(dt.UTC))
    pair.ca.unlink()

    tls.ensure(folder, None, dt.datetime.now(dt.UTC))

    shaken_hands(pair, "localhost")


def test_a_given_pair_is_taken(folder):
    pair = tls.ensure(folder, None, NOW)

    assert tls.given(pair.cert, pair.key) == tls.Pair(pair.cert, pair.key)


def pem(key, password=None):
    hidden = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: b"nonsense", "not a PEM private key"),
        (lambda: pem(ec.generate_private_key(ec.SECP256R1())), "not the key of"),
        (lambda: pem(ec.generate_private_key(ec.SECP256R1()), b"hush"), "encrypted"),
        (lambda: pem(ec.generate_private_key(ec.SECP521R1())), "not served"),
        (lambda: pem(rsa.generate_private_key(65537, 1024)), "not served"),  # noqa: S505 - too short on purpose
    ],
)
def test_a_given_key_that_cannot_be_used_is_refused_with_the_reason(folder, tmp_path, make, said):
    pair = tls.ensure(folder, None, NOW)
    key = tmp_path / "key.pem"
    key.write_bytes(make())

    with pytest.raises(app.StartRefused, match=said) as caught:
        tls.given(pair.cert, key)

    assert "--tls-key" in str(caught.value)


def test_a_given_certificate_that_cannot_be_used_is_refused(folder, tmp_path):
    pair = tls.ensure(folder, None, NOW)

    with pytest.raises(app.StartRefused, match="cannot be read"):
        tls.given(tmp_path / "none.pem", pair.key)
    with pytest.raises(app.StartRefused, match="not a PEM certificate"):
        tls.given(pair.key, pair.key)
