"""Documents of identity providers, over TLS from a server on this machine."""

import asyncio
import datetime as dt
import hashlib
import http.server
import ipaddress
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from strongroom.access import issuers
from strongroom.server import issuer_documents, tls


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_args):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        status, headers, body = self.server.answers.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return tls.ensure(tmp_path_factory.mktemp("tls"), None, dt.datetime.now(dt.UTC))


@pytest.fixture
def site(pair):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answers = {"/keys?a=b": (200, {}, b"{}")}
    server.asked = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    # A client that trusts nobody hangs up within the handshake.
    server.handle_error = lambda *_args: None
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def get(site, path="/keys?a=b", *, host="127.0.0.1", thumbprints=(), **options):
    fetch = issuer_documents.Documents(**{"within": True} | options)
    return asyncio.run(fetch(f"https://{host}:{site.server_address[1]}{path}", thumbprints))


def refused(said, site, *args, **options):
    with pytest.raises(issuers.IssuerSilent, match=said):
        get(site, *args, **options)


def thumbprint(pair):
    leaf = x509.load_pem_x509_certificate(pair.cert.read_bytes())
    der = leaf.public_bytes(serialization.Encoding.DER)
    return hashlib.sha1(der, usedforsecurity=False).hexdigest()


def test_a_document_is_read_from_whom_a_named_authority_vouches_for(site, pair):
    assert get(site, ca_bundle=pair.ca) == b"{}"
    assert get(site, host="localhost", ca_bundle=pair.ca) == b"{}"


def test_a_certificate_of_nobody_is_not_trusted_and_nothing_is_asked(site):
    refused("not to be trusted", site)

    assert site.asked == []


def test_a_registered_thumbprint_stands_for_an_authority(site, pair):
    assert get(site, thumbprints=("0" * 40, thumbprint(pair).upper())) == b"{}"
    refused("not to be trusted", site, thumbprints=("0" * 40,))

    assert site.asked == ["/keys?a=b"]


def test_private_addresses_are_for_operators_to_allow(site, pair):
    refused("where no issuer may be", site, ca_bundle=pair.ca, within=False)
    refused("where no issuer may be", site, host="localhost", ca_bundle=pair.ca, within=False)

    assert site.asked == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((302, {"Location": "https://example.org/"}, b""), "answers 302"),
        ((404, {}, b""), "answers 404"),
        ((200, {}, b"x" * (issuer_documents.MAX_BYTES + 1)), "more than"),
        ((200, {"X": "x" * 100_000}, b""), "cannot be read"),
        ((200, {"Content-Length": "10"}, b"x"), "cut short"),
    ],
    ids=["redirect", "missing", "long", "headers", "cut"],
)
def test_answers_that_are_none_are_the_issuers_trouble(site, pair, answer, said):
    site.answers["/"] = answer

    refused(said, site, "", ca_bundle=pair.ca)

    assert site.asked == ["/"]


def test_a_server_that_is_not_there_does_not_answer(site, pair):
    refused("does not answer", site, ca_bundle=pair.ca, host="none.invalid")
    site.server_close()
    refused("does not answer", site, ca_bundle=pair.ca)


@pytest.mark.parametrize(
    ("address", "public", "within"),
    [
        ("93.184.215.14", True, True),
        ("10.0.0.1", False, True),
        ("192.168.1.1", False, True),
        ("100.64.0.1", False, True),
        ("127.0.0.1", False, True),
        ("169.254.169.254", False, False),
        ("0.0.0.0", False, False),  # noqa: S104 - an address to refuse
        ("224.0.0.1", False, False),
        ("2606:4700::1111", True, True),
        ("fd12::1", False, True),
        ("::1", False, True),
        ("fe80::1", False, False),
        ("fd00:ec2::254", False, False),
        ("::", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("::ffff:10.0.0.1", False, True),
        ("2002:a9fe:a9fe::1", False, False),
    ],
)
def test_where_an_issuer_may_be(address, public, within):
    found = ipaddress.ip_address(address)

    assert issuer_documents.is_allowed(found, within=False) is public
    assert issuer_documents.is_allowed(found, within=True) is within
