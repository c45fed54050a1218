"""A dummy server for the tests of the server room, and a client that speaks bytes."""

import contextlib
import json
import socket
import ssl
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from strongroom.testing import Strongroom

DUMMY = Path(__file__).with_name("dummy.py")
PATIENCE_S = 10


class Wire:
    """A connection to a server: sends bytes, reads responses."""

    def __init__(self, url, ca=None, context=None):
        parts = urlsplit(url)
        sock = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE_S)
        if parts.scheme == "https":
            context = context or ssl.create_default_context(cafile=ca)
            sock = context.wrap_socket(sock, server_hostname=parts.hostname)
        self.sock = sock
        self._file = sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.close()

    def close(self):
        self._file.close()
        self.sock.close()

    def send(self, raw):
        self.sock.sendall(raw)

    def ask(self, raw, *, head=False):
        """Send a request; return (status, headers, body)."""
        self.send(raw)
        return self.response(head=head)

    def head(self):
        line = self._file.readline()
        assert line.startswith(b"HTTP/1.1 "), line
        headers = []
        while (field := self._file.readline()) != b"\r\n":
            assert field, "the connection ended in the head"
            name, _, value = field.rstrip(b"\r\n").partition(b": ")
            headers.append((name.decode().lower(), value))
        return int(line.split()[1]), headers

    def response(self, *, head=False):
        status, headers = self.head()
        length = dict(headers).get("content-length")
        if head or status in (100, 204, 304):
            return status, headers, b""
        assert length is not None, headers
        return status, headers, self._file.read(int(length))

    def read(self, size):
        """Read that many bytes, or fewer if the connection ends before."""
        return self._file.read(size)

    def ends(self):
        """Tell whether the server closes without a further byte."""
        with contextlib.suppress(ConnectionResetError, ssl.SSLError):
            return self._file.read(1) == b""
        return True


def until(condition):
    """Wait for something that another process will have done."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


@pytest.fixture(scope="session", name="until")
def until_fixture():
    return until


@pytest.fixture(scope="session")
def dummy_command():
    return [sys.executable, str(DUMMY)]


@pytest.fixture(scope="session")
def dummy_server(dummy_command):
    with Strongroom(command=dummy_command, http=True, metrics=True) as server:
        yield server


@pytest.fixture
def make_server(dummy_command):
    """Make servers that are gone after the test."""
    with contextlib.ExitStack() as stack:

        def make(*args, **kwargs):
            server = Strongroom(*args, command=dummy_command, **kwargs)
            stack.enter_context(server)
            return server

        yield make


@pytest.fixture
def connect():
    """Open connections that are closed after the test."""
    with contextlib.ExitStack() as stack:

        def opened(server, *, url=None, context=None):
            url = url or server.endpoint_url
            return stack.enter_context(Wire(url, server.ca_bundle, context))

        yield opened


@pytest.fixture
def counts(dummy_server, connect):
    def read():
        _, _, body = connect(dummy_server).ask(b"GET /counts HTTP/1.1\r\nhost: a\r\n\r\n")
        return json.loads(body)

    return read
