"""Whole requests, through the pipeline and against a store.

The input is a request's head and body, without signature: the target signs it, with
the head's own `x-amz-content-sha256` if it has one. The store holds a few objects, one
of them under a customer's key (`KEY`), and an open upload, and is the same for
every input. An input may say `{upload}` for the upload's id and `{md5}` for the MD5 of its
own body. Every answer must be one that S3's table has; `InternalError` is none.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import functools
import hashlib
import hmac
import itertools
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fuzz import heads
from strongroom.crypto.secret import SecretKey
from strongroom.dialects.s3 import canonical
from strongroom.server import build
from strongroom.store import memory_blobs
from strongroom.store.sqlite import catalog, schema

if TYPE_CHECKING:
    from typing import NoReturn

    from strongroom.dialects import pipeline
    from strongroom.wire import message

ACCESS_KEY, SECRET_KEY = "rootaccess", "root-secret-for-fuzzing"
REGION = "us-east-1"
NOW_MS = 1_767_323_045_000
_TIME = "20260102T030404Z"
_SCOPE = f"20260102/{REGION}/s3/aws4_request"
_SSE = "x-amz-server-side-encryption-customer"
KEY = bytes(range(32))
_WITH_KEY = {
    f"{_SSE}-algorithm": "AES256",
    f"{_SSE}-key": base64.b64encode(KEY).decode(),
    f"{_SSE}-key-md5": base64.b64encode(hashlib.md5(KEY, usedforsecurity=False).digest()).decode(),
}
_SHA256 = b"x-amz-content-sha256"
_UNSENDABLE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_COMPLETE = (
    b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
    b"<ETag>%s</ETag></Part></CompleteMultipartUpload>"
) % hashlib.md5(b"a part", usedforsecurity=False).hexdigest().encode()
_SET_UP: tuple[tuple[str, str, dict[str, str], bytes], ...] = (
    ("PUT", "/bucket", {}, b""),
    ("PUT", "/bucket/plain", {"x-amz-meta-colour": "blue", "x-amz-tagging": "a=b"}, b"0123456789"),
    ("PUT", "/bucket/sealed", _WITH_KEY, b"a secret of the customer"),
    ("PUT", "/bucket/folder/empty", {"x-amz-checksum-crc32": "AAAAAA=="}, b""),
    ("POST", "/bucket/joined?uploads", {}, b""),
    ("PUT", "/bucket/joined?partNumber=1&uploadId={upload}", {}, b"a part"),
    ("POST", "/bucket/joined?uploadId={upload}", {}, _COMPLETE),
    ("POST", "/bucket/parts?uploads", {}, b""),
    ("PUT", "/bucket/parts?partNumber=1&uploadId={upload}", {}, b"a part"),
)


class _Bench:
    """An event loop, and a store that is made anew once a request has changed it.

    The catalog is SQLite's, since that is where numbers have an end. What `_SET_UP`
    stores is small enough to lie in the catalog, so a copy of its file is a whole store.
    """

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="strongroom-fuzz-")
        self._pristine = Path(self._home.name, "pristine.sqlite")
        self._path = Path(self._home.name, "store", "catalog.sqlite")
        self._numbers = itertools.count()
        self._upload = ""
        self._core: build.Core | None = None
        self._runner = asyncio.Runner()
        schema.migrate(self._pristine)
        self._runner.run(self._fill())

    def run(self, data: bytes) -> str:
        """Send the request; return how it was answered."""
        return self._runner.run(self._send(data))

    def close(self) -> None:
        """End the store's threads and the loop, and remove the store."""
        self._runner.run(self._drop())
        self._runner.close()
        self._home.cleanup()

    async def _send(self, data: bytes) -> str:
        if self._core is None:
            self._path.parent.mkdir()
            shutil.copyfile(self._pristine, self._path)
            self._core = await self._open(self._path)
        request, body = heads.read(data.replace(b"{upload}", self._upload.encode()))
        md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest())
        request.headers = [(n, v.replace(b"{md5}", md5)) for n, v in request.headers]
        outcome, _ = await _answer(self._core, request, body)
        # A refusal leaves nothing behind (tests/dialects), so the store is good for the next.
        if request.method not in ("GET", "HEAD") and not outcome.error:
            await self._drop()
        return outcome.error or f"{outcome.operation} {outcome.response.status}"

    async def _fill(self) -> None:
        core = await self._open(self._pristine)
        for method, target, named, body in _SET_UP:
            path, _, query = target.format(upload=self._upload).partition("?")
            headers = [(name.encode(), value.encode()) for name, value in named.items()]
            made = heads.make(method.encode(), path.encode(), query.encode(), headers, body)
            outcome, answered = await _answer(core, made, body)
            assert not outcome.error, f"{method} {target} answers {outcome.error}"
            found = re.search(rb"<UploadId>(.+)</UploadId>", answered)
            self._upload = found[1].decode() if found else self._upload
        await core.close()

    async def _open(self, path: Path) -> build.Core:
        return await build.assemble(
            catalog.open_catalog(path),
            memory_blobs.MemoryBlobs(),
            master_key=SecretKey(bytes(32)),
            root_access_key=ACCESS_KEY,
            root_secret_key=SecretKey(SECRET_KEY.encode()),
            region=REGION,
            domains=("localhost",),
            report=_fail,
            random_bytes=lambda n: hashlib.shake_256(b"%d" % next(self._numbers)).digest(n),
            clock_ms=lambda: NOW_MS,
        )

    async def _drop(self) -> None:
        core, self._core = self._core, None
        if core is not None:
            await core.close()
        shutil.rmtree(self._path.parent, ignore_errors=True)


@functools.cache
def _bench() -> _Bench:
    return _Bench()


def run(data: bytes) -> str:
    """Send one request to a store that holds what `_SET_UP` put there."""
    return _bench().run(data)


def close() -> None:
    """Let go of the store, if there is one; the next `run` makes another."""
    if _bench.cache_info().currsize:
        _bench().close()
        _bench.cache_clear()


async def _answer(
    core: build.Core, request: message.Request, body: bytes
) -> tuple[pipeline.Outcome, bytes]:
    """Return an answer that holds what HTTP and S3 ask of answers, and its whole body."""
    outcome = await core.s3.handle(_signed(request, body))
    response = outcome.response
    assert outcome.error != "InternalError", "every refusal has its own code"
    assert 200 <= response.status < 600, "a status of HTTP"  # noqa: PLR2004
    for name, value in response.headers:
        assert heads.TOKEN.fullmatch(name), f"{name!r} is no name of a header"
        assert not _UNSENDABLE.search(value), f"{value!r} is no value of a header"
    if isinstance(response.body, bytes):
        content = response.body
    else:
        content = b"".join([bytes(piece) async for piece in response.body])
    announced = dict(response.headers).get(b"content-length")
    if announced is not None and request.method != "HEAD":
        assert int(announced) == len(content), "as long as announced"
    return outcome, content


def _fail(_request: message.Request, error: Exception) -> NoReturn:
    raise AssertionError("a failure of the server's own") from error


def _signed(request: message.Request, body: bytes) -> message.Request:
    """Add what is missing of host, length, date and signature; sign all that must be."""
    headers = list(request.headers)
    names = {name for name, _ in headers}
    for name, value in (
        (b"host", b"localhost:9000"),
        (b"content-length", b"%d" % len(body)),
        (b"x-amz-date", _TIME.encode()),
        (_SHA256, hashlib.sha256(body).hexdigest().encode()),
    ):
        if name not in names:
            headers.append((name, value))
    whole = dataclasses.replace(request, headers=headers)
    if b"authorization" in names or b"X-Amz-" in request.raw_query:
        return whole
    named = {n.decode() for n, _ in headers if n == b"host" or n.startswith(b"x-amz-")}
    signed = tuple(sorted(named))
    payload = next(value for name, value in headers if name == _SHA256)
    form = canonical.request(whole, signed, payload.decode("latin-1"))
    to_sign = f"AWS4-HMAC-SHA256\n{_TIME}\n{_SCOPE}\n{hashlib.sha256(form).hexdigest()}"
    key = f"AWS4{SECRET_KEY}".encode()
    for part in _SCOPE.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{_SCOPE},"
        f"SignedHeaders={';'.join(signed)},Signature={signature}"
    )
    headers = [*headers, (b"authorization", authorization.encode())]
    # Anew, since a request remembers the headers that it was asked for.
    return dataclasses.replace(request, headers=headers, _index=None)
