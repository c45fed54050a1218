"""Gets documents of issuers over HTTPS. Port: `access.issuers.Fetch`.

An account's owner names the issuers, and the server goes there: so it goes to public addresses
only, unless the operator says that issuers may be within. The address that was checked
is the one that is connected to. Redirects are not followed, answers are short, and nothing of
them gets into an error.

Whether the server at the other end is the right one, its certificate says: of an
authority that this machine knows or the operator named, or one whose SHA-1 the account
registered with the issuer (a thumbprint).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Final
from urllib import parse

from strongroom.access import issuers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT_S: Final = 5.0
"""Of each step: to connect, and to wait for the next bytes."""
WHOLE_S: Final = 10.0
"""Of an exchange, whatever it is made of: an issuer that drips cannot keep a thread for long."""
MAX_BYTES: Final = 256 * 1024
_PORT: Final = 443
_METADATA_HOSTS: Final = ipaddress.ip_network("fd00:ec2::/32")
"""Where a cloud's machine asks for its credentials over IPv6."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Documents:
    """Fetches on the loop's own threads, where nothing else waits.

    Args:
        ca_bundle: authorities to trust besides those that the machine knows.
        within: whether issuers may be at private addresses and on this machine.
    """

    def __init__(self, *, ca_bundle: Path | None = None, within: bool = False) -> None:
        self._within = within
        self._ca_bundle = ca_bundle

    async def __call__(self, url: str, thumbprints: tuple[str, ...]) -> bytes:
        """See the port."""
        return await asyncio.to_thread(self._get, url, thumbprints)

    def _get(self, url: str, thumbprints: tuple[str, ...]) -> bytes:
        parts = parse.urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORT
        try:
            with self._connected(host, port, thumbprints) as secured:
                return _exchange(secured, parts.netloc, parts.path or "/", parts.query)
        except ssl.SSLCertVerificationError as error:
            raise issuers.IssuerSilent("its certificate is not to be trusted") from error
        except http.client.HTTPException as error:
            raise issuers.IssuerSilent("its answer cannot be read") from error
        except (OSError, UnicodeError) as error:
            raise issuers.IssuerSilent("it does not answer") from error

    def _connected(self, host: str, port: int, thumbprints: tuple[str, ...]) -> ssl.SSLSocket:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._ca_bundle is not None:
            context.load_verify_locations(self._ca_bundle)
        try:
            return self._secured(context, host, port)
        except ssl.SSLCertVerificationError:
            if not thumbprints:
                raise
        # Nothing is sent before the certificate has been compared.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        secured = self._secured(context, host, port)
        shown = secured.getpeercert(binary_form=True) or b""
        # A thumbprint is a SHA-1 by AWS's definition; to forge one takes a second preimage.
        digest = hashlib.sha1(shown, usedforsecurity=False).hexdigest()
        if not any(hmac.compare_digest(digest, wanted.lower()) for wanted in thumbprints):
            secured.close()
            raise ssl.SSLCertVerificationError("not one of the thumbprints")
        return secured

    def _secured(self, context: ssl.SSLContext, host: str, port: int) -> ssl.SSLSocket:
        raw = self._reached(host, port)
        try:
            return context.wrap_socket(raw, server_hostname=host)
        except BaseException:
            raw.close()
            raise

    def _reached(self, host: str, port: int) -> socket.socket:
        trouble: OSError = OSError("it has no address")
        for address in self._addresses(host, port):
            try:
                return socket.create_connection((str(address), port), timeout=TIMEOUT_S)
            except OSError as error:
                trouble = error
        raise trouble

    def _addresses(self, host: str, port: int) -> Iterator[Address]:
        """Yield where a host is, as far as it may be asked there.

        Raises:
            IssuerSilent: it is nowhere where it may.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [ipaddress.ip_address(each[4][0]) for each in found]
        allowed = [each for each in addresses if is_allowed(each, within=self._within)]
        if addresses and not allowed:
            raise issuers.IssuerSilent("it is at an address where no issuer may be")
        yield from allowed


def is_allowed(address: Address, *, within: bool) -> bool:
    """Whether issuers may be at an address.

    Args:
        address: a public one always may.
        within: whether any other may, but those of a link: there, clouds keep the credentials of
            their machines.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_allowed(inner, within=within)
        if address in _METADATA_HOSTS:
            return False
    if address.is_multicast or address.is_unspecified or address.is_link_local:
        return False
    return within or address.is_global


def _exchange(secured: ssl.SSLSocket, host: str, path: str, query: str) -> bytes:
    connection = http.client.HTTPConnection(host)
    connection.sock = secured
    target = f"{path}?{query}" if query else path
    headers = {"Host": host, "Accept": "application/json", "Connection": "close"}
    watch = threading.Timer(WHOLE_S, secured.shutdown, [socket.SHUT_RDWR])
    watch.daemon = True
    watch.start()
    try:
        connection.request("GET", target, headers=headers)
        # An answer that is not closed keeps the socket, whoever else closes that.
        with connection.getresponse() as answer:
            if answer.status != http.client.OK:
                raise issuers.IssuerSilent(f"it answers {answer.status}")
            body = answer.read(MAX_BYTES + 1)
            if answer.length and len(body) <= MAX_BYTES:
                raise issuers.IssuerSilent("its answer was cut short")
    finally:
        watch.cancel()
        connection.close()
    if len(body) > MAX_BYTES:
        raise issuers.IssuerSilent(f"its answer has more than {MAX_BYTES} bytes")
    return body
