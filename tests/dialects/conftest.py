"""boto3 talks to the pipeline without a socket: requests are answered in process.

`Store.ask` sends what boto3 would not: it signs with botocore's SigV4, and leaves
every other header to the test.
"""

import asyncio
import base64
import contextlib
import dataclasses
import datetime as dt
import functools
import hashlib
import itertools
import threading
from datetime import UTC, datetime
from urllib.parse import urlsplit

import boto3
import pytest
from botocore import auth, exceptions
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.crt import auth as crt_auth

from strongroom.access import identities
from strongroom.crypto.secret import SecretKey
from strongroom.keyring import key_access, kms
from strongroom.server import build
from strongroom.store import catalog, memory, memory_blobs
from strongroom.store import kms as kms_rows
from strongroom.wire import message, xml_body

ACCESS_KEY, SECRET_KEY = "rootaccess", "root-secret-for-tests"
HOST = "127.0.0.1:9"
SSE = "x-amz-server-side-encryption"
LOCK_NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@functools.cache
def _session():
    """Reading the models is most of what making a client costs."""
    return boto3.session.Session()


@dataclasses.dataclass(frozen=True)
class Fault:
    """An error document; `fields` are the children that not every error has."""

    status: int
    code: str
    message: str
    fields: dict[str, str]


GONE = 0
"""Status of a request whose client hung up: nobody was answered."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back; of a repeated header the last."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self):
        return xml_body.parse(self.body, max_bytes=10**7, max_depth=20, max_nodes=10**6)

    @property
    def fault(self):
        root = self.document
        assert root.tag == "Error"
        found = {child.tag: child.text for child in root.children}
        assert found.pop("RequestId") == self.headers["x-amz-request-id"]
        assert found.pop("HostId") == self.headers["x-amz-id-2"]
        return Fault(self.status, found.pop("Code"), found.pop("Message"), found)

    def text(self, *path):
        """Return the text of the element at this path of tags, the first of its name."""
        node = self.document
        for tag in path:
            node = next(child for child in node.children if child.tag == tag)
        return node.text


class Signer(auth.S3SigV4Auth):
    """Signs with a given `x-amz-content-sha256`, or the body's own digest."""

    def __init__(self, access_key, secret_key, payload):
        super().__init__(Credentials(access_key, secret_key), "s3", "us-east-1")
        self._payload = payload

    def payload(self, request):
        return self._payload or hashlib.sha256(request.data).hexdigest()


class CustomerKey:
    """A key with the three headers that bring it, each of which a test may leave out or bend."""

    def __init__(self, raw):
        self.raw = raw
        self.encoded = base64.b64encode(raw).decode()
        self.md5 = base64.b64encode(hashlib.md5(raw, usedforsecurity=False).digest()).decode()

    def headers(self, **bent):
        """Return the headers; `algorithm`, `key`, `md5` replace a value, None leaves it out."""
        values = {"algorithm": "AES256", "key": self.encoded, "md5": self.md5} | bent
        return {
            f"{SSE}-customer-{'key-MD5' if name == 'md5' else name}": value
            for name, value in values.items()
            if value is not None
        }

    @property
    def options(self):
        """What boto3 takes."""
        return {
            "SSECustomerAlgorithm": "AES256",
            "SSECustomerKey": self.raw,
        }


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


class Catalog(memory.MemoryCatalog):
    """A catalog that a test can look into, and whose commits can be made to fail."""

    failure = None

    async def put_version(self, draft, guard=catalog.no_guard):
        if self.failure is not None:
            raise self.failure
        await super().put_version(draft, guard)

    async def put_part(self, upload, part, blob):
        if self.failure is not None:
            raise self.failure
        await super().put_part(upload, part, blob)

    @property
    def inline_ids(self):
        return set(self._inline)

    @property
    def keys(self):
        return {
            (name, key)
            for name, home in self._buckets.items()
            for key, _ in home.versions.scan(b"")
        }

    def places(self, bucket, key):
        return [ref.place for ref in self._buckets[bucket].versions.newest(key).body.blobs]


class Blobs(memory_blobs.MemoryBlobs):
    """Blobs that a test can look at, and change behind the store's back."""

    @property
    def stored(self):
        return self._blobs


class Store:
    """A store in memory, with ways to talk to it."""

    def __init__(self, loop, **settings):
        self._loop = loop
        self._ids = itertools.count(1)
        self.reported = []
        self.answers = []
        self.blobs = Blobs()
        self.catalog = Catalog()
        self.core = loop.run(
            build.assemble(
                self.catalog,
                self.blobs,
                master_key=SecretKey(bytes(range(32))),
                root_access_key=ACCESS_KEY,
                root_secret_key=SecretKey(SECRET_KEY.encode()),
                **{"region": "us-east-1", "domains": ("localhost",)} | settings,
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
            if outcome.gone is not None:
                return GONE, [], b""
            response = outcome.response
            if isinstance(response.body, bytes):
                return response.status, response.headers, response.body
            async with contextlib.aclosing(response.body) as stream:
                return response.status, response.headers, b"".join([p async for p in stream])

        reply = self._loop.run(answer())
        self.answers.append(reply)
        return reply

    def ask(
        self,
        method,
        target,
        headers=None,
        body=b"",
        *,
        secure=True,
        who=(ACCESS_KEY, SECRET_KEY),
        payload=None,
        host=HOST,
        pieces=None,
        unsigned=None,
    ):
        """Send a request with exactly these headers, and the signature; return an `Answer`.

        Args:
            who: access key and secret key; None for an anonymous request.
            payload: `x-amz-content-sha256`; the digest of `body` if None.
            unsigned: headers that are added after signing; a value of None takes
                a signed header away again.
        """
        sent = {"host": host, **(headers or {})}
        # Not signed, so that it can be wrong.
        length = sent.pop("content-length", str(len(body)))
        request = AWSRequest(method=method, url=f"https://{host}{target}", data=body)
        for name, value in sent.items():
            request.headers[name] = value
        if who is not None:
            Signer(*who, payload).add_auth(request)
        final = {name.lower(): value for name, value in request.headers.items()}
        final["content-length"] = length
        final |= {name.lower(): value for name, value in (unsigned or {}).items()}
        status, reply, content = self.send(
            method,
            target,
            [(name, value) for name, value in final.items() if value is not None],
            body,
            secure=secure,
            pieces=pieces,
        )
        named = {k.decode("latin-1"): v.decode("latin-1") for k, v in reply}
        return Answer(status, named, content)

    @property
    def remains(self):
        """What the store holds of bodies: places of blobs, ids of inline ones, listed keys."""
        return set(self.blobs.stored), self.catalog.inline_ids, self.catalog.keys

    def add_user(self, name, access_key, secret_key):
        self.run(
            self.core.people.add(name, access_key, SecretKey(secret_key.encode()), now_ms=1_000)
        )
        return access_key, secret_key

    def add_kms_key(self, number=1, alias=None, creator=identities.ROOT_ID, **changes):
        """Make a key in the KMS that its creator and root may use; return its ARN."""
        key_id = f"00000000-0000-4000-8000-{number:012}"
        key = kms_rows.Key(
            key_id=key_id,
            spec="SYMMETRIC_DEFAULT",
            usage="ENCRYPT_DECRYPT",
            created_ms=1_000,
            creator=creator,
            policy=key_access.default_policy(kms.DEFAULT_ACCOUNT, creator),
            **changes,
        )
        named = kms_rows.Alias(alias, key_id, 1_000, 1_000) if alias else None
        assert self.run(self.core.kms.add_key(key, named))
        return self.core.kms.arn(key)

    def change_kms_key(self, arn, **changes):
        """Change a key's row: disable it, plan its deletion."""
        key_id = arn.rpartition("/")[2]
        self.run(
            self.core.kms.store.change_key(key_id, lambda key: dataclasses.replace(key, **changes))
        )

    def client(
        self,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        *,
        scheme="https",
        host=HOST,
        region="us-east-1",
        token=None,
        **config,
    ):
        client = _session().client(
            "s3",
            endpoint_url=f"{scheme}://{host}",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            aws_session_token=token,
            region_name=region,
            config=Config(
                **{
                    "s3": {"addressing_style": "path"},
                    "retries": {"max_attempts": 1, "mode": "standard"},
                }
                | config
            ),
        )
        client.meta.events.register("before-send.s3", self.answer)
        # boto3 sends customer keys over https only, and says so itself; the server must too.
        if scheme == "http":
            client.meta.events.unregister("before-parameter-build.s3")
        return client

    def query_client(self, service, access_key, secret_key, token=None):
        """Return a client of IAM or STS whose requests are answered in process."""
        client = _session().client(
            service,
            endpoint_url=f"https://{HOST}",
            region_name="us-east-1",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            aws_session_token=token,
            config=Config(retries={"max_attempts": 1, "mode": "standard"}),
        )
        client.meta.events.register(f"before-send.{service}", self.answer_query)
        return client

    def answer_query(self, request, **_kwargs):
        parts = urlsplit(request.url)
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body

        async def pieces():
            yield body

        headers = [
            (k.lower().encode(), v if isinstance(v, bytes) else str(v).encode())
            for k, v in request.headers.items()
        ]
        if b"host" not in dict(headers):
            headers.append((b"host", parts.netloc.encode()))
        sent = message.Request(
            method=request.method,
            raw_path=parts.path.encode(),
            raw_query=parts.query.encode(),
            headers=headers,
            body=pieces(),
            secure=True,
            request_id="0" * 16,
        )
        response = self.run(self.core.query.handle(sent)).response
        named = {k.decode(): v.decode() for k, v in response.headers}
        return AWSResponse(request.url, response.status, named, Raw(response.body))

    def answer(self, request, **_kwargs):
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


class Clock:
    """What a test takes for the time; it begins on 2023-11-13, at noon UTC."""

    noon_ms = 1_699_876_800_000

    def __init__(self):
        self.now_ms = self.noon_ms

    def __call__(self):
        return self.now_ms

    def pass_days(self, days):
        self.now_ms += int(days * 24 * 3600 * 1000)


@pytest.fixture
def clock(monkeypatch):
    """What server and client take for the time; signatures are not older than the server likes."""
    turned = Clock()

    def now(*, remove_tzinfo=True):
        moment = dt.datetime.fromtimestamp(turned.now_ms / 1000, dt.UTC)
        return moment.replace(tzinfo=None) if remove_tzinfo else moment

    # Which of them signs depends on whether awscrt is there.
    monkeypatch.setattr(auth, "get_current_datetime", now)
    monkeypatch.setattr(crt_auth, "get_current_datetime", now)
    return turned


@pytest.fixture(scope="session")
def loop():
    running = Loop()
    yield running
    running.close()


@pytest.fixture
def make_store(loop):
    made = []

    def make(**settings):
        made.append(Store(loop, **settings))
        return made[-1]

    yield make
    for each in made:
        loop.run(each.core.close())


@pytest.fixture
def store(make_store):
    return make_store()


@pytest.fixture
def bucket(store):
    assert store.ask("PUT", "/bucket").status == 200
    return store


@pytest.fixture(scope="session")
def key():
    return CustomerKey(b"32bytesOfTotallyRandomCharacters")


@pytest.fixture(scope="session")
def other_key():
    return CustomerKey(bytes(range(32)))


@pytest.fixture
def keys(key, other_key):
    """Who may hold a key: the server, or a customer with the first or the second key."""
    return {None: None, 1: key, 2: other_key}


@pytest.fixture(scope="session")
def customer_key():
    return CustomerKey


@pytest.fixture
def s3(store):
    client = store.client()
    client.create_bucket(Bucket="bucket")
    return client


class TurnedClock:
    """A clock that stands, until a test puts it forward."""

    def __init__(self):
        self.now = LOCK_NOW

    def __call__(self):
        return round(self.now.timestamp() * 1000)


class LockedShelf:
    """A bucket with object lock, and short words for what is done in it."""

    def __init__(self, store, clock, client=None):
        self.store, self.clock = store, clock
        self.client = store.client() if client is None else client

    def seen_by(self, client):
        return LockedShelf(self.store, self.clock, client)

    def call(self, method, **options):
        return getattr(self.client, method)(Bucket="shelf", **options)

    def refused(self, method, **options):
        """Return (status, code, message) of a refusal."""
        with pytest.raises(exceptions.ClientError) as caught:
            self.call(method, **options)
        answer = caught.value.response
        error = answer["Error"]
        return answer["ResponseMetadata"]["HTTPStatusCode"], error["Code"], error["Message"]

    def put(self, key="key", **options):
        return self.call("put_object", Key=key, Body=b"body", **options)["VersionId"]

    def retain(self, mode, until, key="key", **options):
        wanted = {"Mode": mode, "RetainUntilDate": until} if mode else {}
        self.call("put_object_retention", Key=key, Retention=wanted, **options)

    def hold(self, status, key="key"):
        self.call("put_object_legal_hold", Key=key, LegalHold={"Status": status})

    def rule(self, mode="GOVERNANCE", **period):
        default = {"Mode": mode, **period}
        document = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": default}}
        self.call("put_object_lock_configuration", ObjectLockConfiguration=document)

    def lock(self, key="key", **options):
        """Return what a HEAD shows: mode, date and legal hold."""
        shown = self.call("head_object", Key=key, **options)
        names = ("Mode", "RetainUntilDate", "LegalHoldStatus")
        return tuple(shown.get(f"ObjectLock{name}") for name in names)

    def ids(self):
        return [row["VersionId"] for row in self.call("list_object_versions").get("Versions", ())]


@pytest.fixture
def locked_shelf(make_store, monkeypatch):
    """A bucket with object lock, in a store whose clock stands."""
    clock = TurnedClock()
    store = make_store(clock_ms=clock)
    # Requests are signed by the store's clock, or those of another day would be refused.
    for module in ("botocore.auth", "botocore.crt.auth"):
        monkeypatch.setattr(f"{module}.get_current_datetime", lambda **_: clock.now)
    made = LockedShelf(store, clock)
    made.client.create_bucket(Bucket="shelf", ObjectLockEnabledForBucket=True)
    return made
