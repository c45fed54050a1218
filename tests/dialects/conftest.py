"""boto3 talks to the pipeline without a socket: requests are answered in process."""

import asyncio
import contextlib
import itertools
import threading
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from strongroom.crypto.secret import SecretKey
from strongroom.server import build
from strongroom.store import memory
from strongroom.wire import message

ACCESS_KEY, SECRET_KEY = "rootaccess", "root-secret-for-tests"


class Loop:
    """An event loop on a thread of its own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Raw:
    """What botocore expects of an HTTP library's response."""

    def __init__(self, body):
        self._body = body
        self._at = 0

    def stream(self, *_args, **_kwargs):
        yield self._body

    def read(self, amount=None, **_kwargs):
        end = len(self._body) if amount is None else self._at + amount
        piece = self._body[self._at : end]
        self._at += len(piece)
        return piece

    def readinto(self, target):
        piece = self.read(len(target))
        target[: len(piece)] = piece
        return len(piece)


class Store:
    """A store in memory, with ways to talk to it."""

    def __init__(self, loop):
        self._loop = loop
        self._ids = itertools.count(1)
        self.reported = []
        self.blobs = memory.MemoryBlobs()
        self.catalog = memory.MemoryCatalog()
        self.core = loop.run(
            build.assemble(
                self.catalog,
                self.blobs,
                master_key=SecretKey(bytes(range(32))),
                root_access_key=ACCESS_KEY,
                root_secret_key=SecretKey(SECRET_KEY.encode()),
                region="us-east-1",
                domains=("localhost",),
                report=lambda _request, error: self.reported.append(error),
            )
        )

    def run(self, coroutine):
        return self._loop.run(coroutine)

    def send(self, method, target, headers, body=b"", *, secure=True, pieces=None):
        """Send a request as it is; return (status, headers, body)."""
        path, _, query = target.partition("?")

        async def chunks():
            for piece in (body,) if pieces is None else pieces:
                if piece:
                    yield piece

        request = message.Request(
            method=method,
            raw_path=path.encode("latin-1"),
            raw_query=query.encode("latin-1"),
            headers=[
                (k.lower().encode(), v if isinstance(v, bytes) else v.encode()) for k, v in headers
            ],
            body=chunks(),
            secure=secure,
            request_id=f"{next(self._ids):016X}",
        )

        async def answer():
            outcome = await self.core.s3.handle(request)
            response = outcome.response
            if isinstance(response.body, bytes):
                return response.status, response.headers, response.body
            async with contextlib.aclosing(response.body) as pieces:
                return response.status, response.headers, b"".join([p async for p in pieces])

        return self._loop.run(answer())

    def client(self, access_key=ACCESS_KEY, secret_key=SECRET_KEY, *, scheme="https", **config):
        session = boto3.session.Session()
        client = session.client(
            "s3",
            endpoint_url=f"{scheme}://127.0.0.1:9",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name="us-east-1",
            config=Config(
                s3={"addressing_style": "path"},
                retries={"max_attempts": 1, "mode": "standard"},
                **config,
            ),
        )
        client.meta.events.register("before-send.s3", self._answer)
        # boto3 sends customer keys over https only, and says so itself; the server must too.
        if scheme == "http":
            client.meta.events.unregister("before-parameter-build.s3")
        return client

    def _answer(self, request, **_kwargs):
        parts = urlsplit(request.url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        body = request.body or b""
        if hasattr(body, "read"):
            body = body.read()
        headers = [(k, v) for k, v in request.headers.items()]
        if "host" not in {k.lower() for k, _ in headers}:
            headers.append(("host", parts.netloc))
        if "content-length" not in {k.lower() for k, _ in headers} and body:
            headers.append(("content-length", str(len(body))))
        status, reply, content = self.send(
            request.method, target, headers, bytes(body), secure=parts.scheme == "https"
        )
        named = {k.decode("latin-1"): v.decode("latin-1") for k, v in reply}
        return AWSResponse(request.url, status, named, Raw(content))


@pytest.fixture(scope="session")
def loop():
    running = Loop()
    yield running
    running.close()


@pytest.fixture
def store(loop):
    made = Store(loop)
    yield made
    loop.run(made.core.close())


@pytest.fixture
def s3(store):
    client = store.client()
    client.create_bucket(Bucket="bucket")
    return client
