"""Certificates: a local CA and a server certificate, or a pair that the operator gives.

The CA lives ten years and is what clients trust; the server certificate is
renewed under it at a start when it runs out or lacks a name. Both satisfy
`X509_V_FLAG_X509_STRICT` of OpenSSL 3 (Python 3.13 sets it by default): key
usage, basic constraints and both key identifiers are present (RFC 5280, 4.2).

`*.localhost` is among the names, yet OpenSSL 3.0 does not accept `attic.localhost`
by it (observed: it wants two labels after the star). Clients on OpenSSL, boto3
among them, use path style, or virtual-host style under `--domain`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from strongroom.server import app, files

if TYPE_CHECKING:
    from pathlib import Path

CA_DAYS = 3650
SERVER_DAYS = 397
"""The most that browsers and Apple's TLS accept (CA/Browser Forum ballot SC31)."""
RENEW_DAYS = 30
_RSA_BITS = (2048, 8192)
_BACKDATE = dt.timedelta(hours=1)
"""Clocks of clients that run late accept a fresh certificate."""


@dataclass(frozen=True, slots=True)
class Pair:
    """PEM files of a certificate chain and its key; `ca` is what clients trust, if we made it."""

    cert: Path
    key: Path
    ca: Path | None = None


def given(cert: Path, key: Path) -> Pair:
    """Check the operator's own certificate and key.

    Raises:
        StartRefused: a file cannot be read, does not parse, or they do not match.
    """
    for path, option in ((cert, "--tls-cert"), (key, "--tls-key")):
        try:
            path.read_bytes()
        except OSError as error:
            raise app.StartRefused(
                f"{option}: {path} cannot be read ({error.strerror}); check the path and its mode."
            ) from None
    try:
        x509.load_pem_x509_certificates(cert.read_bytes())
    except ValueError:
        raise app.StartRefused(
            f"--tls-cert: {cert} is not a PEM certificate chain; convert it to PEM."
        ) from None
    try:
        loaded = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except TypeError:
        raise app.StartRefused(
            f"--tls-key: {key} is encrypted; give a key without a passphrase."
        ) from None
    except ValueError:
        raise app.StartRefused(
            f"--tls-key: {key} is not a PEM private key; convert it to PEM."
        ) from None
    if not _is_served(loaded):
        raise app.StartRefused(
            f"--tls-key: {key} is of a kind that is not served;"
            " use RSA with 2048 to 8192 bits, ECDSA on P-256 or P-384, or Ed25519."
        )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except ssl.SSLError:
        raise app.StartRefused(
            f"--tls-key: {key} is not the key of the first certificate in {cert};"
            " give the pair that belongs together."
        ) from None
    return Pair(cert, key)


def ensure(folder: Path, domain: str | None, now: dt.datetime) -> Pair:
    """Return the generated pair in `folder`; makes or renews what is missing or runs out.

    Args:
        folder: `DATA_DIR/tls`, made if it is missing.
        domain: a further name, with all names under it.
        now: aware UTC time.

    Raises:
        StartRefused: the CA's files are damaged, or only one of them is there.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    pair = made(folder)
    ca_cert, ca_key = _ensure_ca(folder, now)
    if not _serves(pair, ca_cert, domain, now):
        cert, key = _issue(ca_cert, ca_key, domain, now)
        # Key first: after a crash between the two they do not match, and are made anew.
        files.write(pair.key, _key_pem(key), 0o600)
        files.write(pair.cert, cert.public_bytes(serialization.Encoding.PEM), 0o644)
    return pair


def made(folder: Path) -> Pair:
    """Return where the generated pair lies, without looking."""
    return Pair(folder / "server.crt", folder / "server.key", folder / "ca.crt")


def _ensure_ca(
    folder: Path, now: dt.datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    cert_path, key_path = folder / "ca.crt", folder / "ca.key"
    if cert_path.exists() or key_path.exists():
        with contextlib.suppress(OSError, ValueError, TypeError):
            cert = x509.load_pem_x509_certificate(cert_path.read_bytes())
            key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
            runs = cert.not_valid_after_utc - now > dt.timedelta(days=RENEW_DAYS)
            if (
                isinstance(key, ec.EllipticCurvePrivateKey)
                and key.public_key() == cert.public_key()
            ):
                return (cert, key) if runs else _make_ca(cert_path, key_path, now)
        if cert_path.exists():
            # Clients may trust this CA already: not replaced behind their back.
            raise app.StartRefused(
                f"The local CA in {folder} is damaged or incomplete: restore ca.crt and ca.key,"
                " or remove both to have a new CA made (clients must then trust the new ca.crt)."
            )
    return _make_ca(cert_path, key_path, now)


def _make_ca(
    cert_path: Path, key_path: Path, now: dt.datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "strongroom"),
            # Two servers' CAs in one trust store must differ in name (RFC 5280, 4.1.2.4).
            x509.NameAttribute(NameOID.COMMON_NAME, f"strongroom local CA {serial:040x}"[:32]),
        ]
    )
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + dt.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    files.write(key_path, _key_pem(key), 0o600)
    files.write(cert_path, cert.public_bytes(serialization.Encoding.PEM), 0o644)
    return cert, key


def _issue(
    ca_cert: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    domain: str | None,
    now: dt.datetime,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    cert = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "strongroom")]))
        .issuer_name(ca_cert.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(
            min(now - _BACKDATE + dt.timedelta(days=SERVER_DAYS), ca_cert.not_valid_after_utc)
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(domain)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    return cert, key


def _serves(pair: Pair, ca_cert: x509.Certificate, domain: str | None, now: dt.datetime) -> bool:
    """Tell whether the pair on disk is whole, of this CA, long enough valid, for all names."""
    try:
        cert = x509.load_pem_x509_certificate(pair.cert.read_bytes())
        key = serialization.load_pem_private_key(pair.key.read_bytes(), password=None)
        cert.verify_directly_issued_by(ca_cert)
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # noqa: BLE001 - whatever is wrong with it, a new one is right
        return False
    left = cert.not_valid_after_utc - now
    return (
        key.public_key() == cert.public_key()
        and left > dt.timedelta(days=RENEW_DAYS)
        and set(_names(domain)) <= set(names)
    )


def _is_served(key: object) -> bool:
    """Tell whether rustls with ring signs with such a key; others make it panic."""
    match key:
        case rsa.RSAPrivateKey():
            return _RSA_BITS[0] <= key.key_size <= _RSA_BITS[1]
        case ec.EllipticCurvePrivateKey():
            return isinstance(key.curve, (ec.SECP256R1, ec.SECP384R1))
        case _:
            return isinstance(key, ed25519.Ed25519PrivateKey)


def _names(domain: str | None) -> list[x509.GeneralName]:
    names = ["localhost", "*.localhost"]
    if domain is not None:
        names += [domain, f"*.{domain}"]
    addresses = ("127.0.0.1", "::1")
    return [
        *(x509.DNSName(name) for name in names),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
    ]


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
