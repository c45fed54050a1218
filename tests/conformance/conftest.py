"""Strangers' clients, and a wire for what they would not send, against a server of our own."""

import base64
import contextlib
import dataclasses
import hashlib
import http.client
import itertools
import json
import os
import re
import secrets
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from strongroom.testing import Strongroom

PATIENCE_S = 60
SSE = "x-amz-server-side-encryption"
UNSIGNED = "UNSIGNED-PAYLOAD"
REGION = "us-east-1"


class Customer:
    """A customer's key, with the three headers that bring it.

    Attributes:
        raw: the bytes.
        encoded: base64 of them, as sent.
        md5: base64 of their MD5, as sent.
        options: what boto3 takes.
    """

    def __init__(self, raw):
        self.raw = raw
        self.encoded = base64.b64encode(raw).decode()
        self.md5 = base64.b64encode(hashlib.md5(raw, usedforsecurity=False).digest()).decode()
        self.options = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": raw}

    def headers(self, prefix=SSE, **bent):
        """Return the headers; `algorithm`, `key`, `md5` replace a value, None leaves it out."""
        values = {"algorithm": "AES256", "key": self.encoded, "md5": self.md5} | bent
        return {
            f"{prefix}-customer-{'key-MD5' if name == 'md5' else name}": value
            for name, value in values.items()
            if value is not None
        }


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back; of a repeated header the last, names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def fault(self):
        """(status, code, message) of an error document."""
        return self.status, self.field("Code"), self.field("Message")

    def field(self, name):
        found = re.search(rf"<{name}>(.*?)</{name}>", self.body.decode(), re.DOTALL)
        return found[1] if found else None


@dataclasses.dataclass(frozen=True)
class StoredPart:
    """One blob of an object: in a file, or as bytes in the catalog."""

    blob_id: bytes
    file: Path | None
    data: bytes | None

    @property
    def sealed(self):
        return self.data if self.file is None else self.file.read_bytes()


class Signer(S3SigV4Auth):
    """Signs any header it is given, with a given `x-amz-content-sha256` or the body's own."""

    def __init__(self, access_key, secret_key, payload):
        super().__init__(Credentials(access_key, secret_key), "s3", REGION)
        self._payload = payload

    def payload(self, request):
        return self._payload or hashlib.sha256(request.data or b"").hexdigest()


class Wire:
    """A connection that sends what it is told to: bytes, or requests signed by botocore.

    Args:
        url: of the listener.
        server: whose root signs, and whose CA is trusted.
        context: TLS settings in place of the usual ones.
        name: server name that TLS asks for, in place of the URL's.
        source: address of this machine to come from.
    """

    def __init__(self, url, server, *, context=None, name=None, source=None):
        parts = urlsplit(url)
        self.host = parts.netloc
        self._server = server
        sock = socket.create_connection(
            (parts.hostname, parts.port), PATIENCE_S, source and (source, 0)
        )
        if parts.scheme == "https":
            context = context or ssl.create_default_context(cafile=server.ca_bundle)
            try:
                sock = context.wrap_socket(sock, server_hostname=name or parts.hostname)
            except BaseException:
                sock.close()
                raise
        self.sock = sock
        self._file = sock.makefile("rb")

    def close(self):
        self._file.close()
        self.sock.close()

    def signed(self, method, target, headers=(), body=b"", *, payload=None, keys=None, host=None):
        """Return the headers of a signed request, `Host` included."""
        host = host or self.host
        access_key, secret_key = keys or (self._server.access_key, self._server.secret_key)
        request = AWSRequest(method, f"https://{host}{target}", headers=dict(headers), data=body)
        Signer(access_key, secret_key, payload).add_auth(request)
        return {"Host": host, **dict(request.headers.items())}

    def ask(self, method, target, headers=(), body=b"", *, signed=True, length=True, **signing):
        """Send a request and return the answer.

        Args:
            method: the method.
            target: path and query, encoded.
            headers: further ones.
            body: sent as it is.
            signed: whether root, or `keys`, signs.
            length: whether `Content-Length` is added.
            signing: as for `signed`.
        """
        headers = dict(headers)
        if length and (body or method in ("PUT", "POST")):
            headers["Content-Length"] = str(len(body))
        if signed:
            headers = self.signed(method, target, headers, body, **signing)
        else:
            headers = {"Host": signing.get("host") or self.host, **headers}
        self.send_head(method, target, headers)
        if body:
            self.send(body)
        return self.answer(method)

    def send_head(self, method, target, headers):
        lines = [f"{method} {target} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def send(self, raw):
        self.sock.sendall(raw)

    def answer(self, method="GET"):
        """Read one answer; an interim one (100) is an answer of its own."""
        status = int(self._file.readline().split()[1])
        if status == http.client.CONTINUE:
            assert self._file.readline() == b"\r\n"
            return Answer(status, {}, b"")
        headers = {k.lower(): v for k, v in http.client.parse_headers(self._file).items()}
        body = b""
        if method != "HEAD" and status not in (204, 304):
            body = self._file.read(int(headers["content-length"]))
        return Answer(status, headers, body)

    def rest(self):
        """Read all that comes until the server closes."""
        got = bytearray()
        with contextlib.suppress(ConnectionResetError, ssl.SSLEOFError):
            while piece := self._file.read1():
                got += piece
        return bytes(got)


class Aws:
    """The `aws` command of the environment that runs the tests, with nothing of its user's.

    Attributes:
        home: its home directory, where it also runs.
        env: what it sees; without `AWS_CA_BUNDLE` it trusts no certificate of ours.
    """

    def __init__(self, home, server, *, endpoint=None):
        self.home = home
        self.endpoint = endpoint or server.endpoint_url
        bin_dir = Path(sys.executable).parent
        self.env = {
            "PATH": os.pathsep.join([str(bin_dir), os.environ.get("PATH", os.defpath)]),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }
        self.trust = {"AWS_CA_BUNDLE": server.ca_bundle}

    def run(self, *args, trusting=True, env=None):
        """Run a command to its end.

        Args:
            args: words after `aws`.
            trusting: whether it knows the server's CA.
            env: further variables.
        """
        return self.script(["aws", *map(str, args)], trusting=trusting, env=env)

    def script(self, command, *, trusting=True, env=None):
        """Run another program in the same surroundings."""
        return subprocess.run(  # noqa: S603 - the test's own words
            command,
            env=self.env | (self.trust if trusting else {}) | (env or {}),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def __call__(self, *args, **kwargs):
        """Run a command that must succeed, and return what it printed."""
        done = self.run(*args, **kwargs)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def master_key():
    """Base64 of the store's master key, for commands that run beside the server."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture(scope="session")
def server(master_key):
    """Serve on disk, over TLS and beside it in the clear; shared, so nobody stops it."""
    env = {"STRONGROOM_MASTER_KEY": master_key}
    with Strongroom(durable=True, http=True, metrics=True, kms=True, env=env) as running:
        yield running


@dataclasses.dataclass(frozen=True)
class User:
    """Somebody besides root."""

    name: str
    user_id: str
    keys: tuple[str, str]


@pytest.fixture(scope="session")
def add_user(server, master_key):
    """Add users by the command line, while the server runs."""
    environ = {n: v for n, v in os.environ.items() if not n.startswith("STRONGROOM_")}
    command = [sys.executable, "-m", "strongroom.cli", "admin", "user", "add"]

    def added(name, *options):
        done = subprocess.run(  # noqa: S603 - our own command line
            [*command, name, "--data-dir", str(server.data_dir), "--json", *options],
            env=environ | {"STRONGROOM_MASTER_KEY": master_key},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        return User(told["name"], told["user_id"], (told["access_key"], told["secret_key"]))

    return added


@pytest.fixture(scope="session")
def user(add_user):
    return add_user("alice")


@pytest.fixture(scope="session")
def run_server():
    """Make a server in memory, for a `with` block."""
    return Strongroom


@pytest.fixture
def make_server(tmp_path):
    """Make servers on a data directory that outlives them; the test's own."""
    with contextlib.ExitStack() as stack:

        def make(**options):
            options.setdefault("data_dir", tmp_path / "data")
            return stack.enter_context(Strongroom(**options))

        yield make


@pytest.fixture
def connect(server):
    """Open connections that are closed after the test."""
    with contextlib.ExitStack() as stack:

        def opened(to=server, *, url=None, **options):
            wire = Wire(url or to.endpoint_url, to, **options)
            stack.callback(wire.close)
            return wire

        yield opened


@pytest.fixture
def aws(tmp_path, server):
    home = tmp_path / "home"
    home.mkdir()
    yield Aws(home, server, endpoint=server.endpoint_url.replace("127.0.0.1", "localhost"))
    # pytest keeps temporary directories of several runs, and some tests write a gigabyte.
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def s3(server):
    """Root's boto3 client of the shared server; making one takes longer than most tests."""
    client = server.boto3_client()
    yield client
    client.close()


_numbers = itertools.count(1)


@pytest.fixture
def new_name():
    """Make bucket names that nobody has."""
    return lambda: f"b{next(_numbers)}-{secrets.token_hex(4)}"


@pytest.fixture
def bucket(s3, new_name):
    name = new_name()
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def customer():
    """Make customer keys: of given bytes, or random."""
    return lambda raw=None: Customer(secrets.token_bytes(32) if raw is None else raw)


@pytest.fixture
def key(customer):
    return customer()


@pytest.fixture(scope="session")
def content():
    """Make bytes that neither repeat nor compress, quickly, the same for each seed and size."""

    def made(size, seed=0):
        cipher = Cipher(algorithms.AES256(seed.to_bytes(32)), modes.CTR(bytes(16)))
        return cipher.encryptor().update(bytes(size))

    return made


@pytest.fixture(scope="session")
def openssl():
    """Name what prints the raw MD5 of standard input: openssl, or the same in Python."""
    if shutil.which("openssl"):
        return "openssl dgst -md5 -binary"
    program = (
        "import hashlib, sys;"
        "sys.stdout.buffer.write(hashlib.md5(sys.stdin.buffer.read(), usedforsecurity=False).digest())"
    )
    return f'"{sys.executable}" -c "{program}"'


@pytest.fixture(scope="session")
def read_catalog():
    """Query the catalog of a server, running or not, without changing it."""

    def read(data_dir, statement, *values):
        path = Path(data_dir) / "catalog.sqlite"
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as opened:
            return opened.execute(statement, values).fetchall()

    return read


@pytest.fixture(scope="session")
def stored_parts(read_catalog):
    """Tell where an object's parts lie, in order: rows of `StoredPart`."""

    def found(data_dir, bucket, key):
        rows = read_catalog(
            data_dir,
            "SELECT blobs.blob_id, blobs.place, inline_blobs.data"
            " FROM buckets JOIN versions USING (bucket_id) JOIN envelopes USING (envelope_id)"
            " JOIN blobs USING (body_id) LEFT JOIN inline_blobs USING (blob_id)"
            " WHERE buckets.name = ? AND versions.key = ? ORDER BY blobs.ordinal",
            bucket,
            key.encode(),
        )
        blobs = Path(data_dir) / "blobs"
        return [
            StoredPart(blob_id, blobs / place if place else None, data)
            for blob_id, place, data in rows
        ]

    return found


@pytest.fixture(scope="session")
def blob_files():
    """List the blob files of a data directory; what was set aside is none of them."""

    def found(data_dir):
        return sorted(p for p in (Path(data_dir) / "blobs").glob("*/*/*") if p.is_file())

    return found


@pytest.fixture
def run_cli():
    """Run a command of ours on a server's data directory, and see it succeed."""

    def run(server, env, *arguments):
        done = subprocess.run(  # noqa: S603 - our own command line
            [
                *(sys.executable, "-m", "strongroom.cli", *arguments),
                *("--data-dir", str(server.data_dir)),
            ],
            env=os.environ | env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
