"""Other stores, as replication reaches them: HTTPS, signed, bodies chunk by chunk.

A manifest is signed whole. A blob goes in signed chunks (STREAMING-AWS4-HMAC-SHA256-PAYLOAD),
so that whoever sits between the two stores and breaks TLS still cannot change a byte
unseen: each chunk is under a MAC of the secret that the pair shares.

Sending blocks, and has threads of its own; bodies are read a chunk at a time.

Source: Amazon S3 API Reference, "Signature Calculations for the Authorization Header:
Transferring Payload in Multiple Chunks".
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import hmac
import http.client
import re
import socket
import ssl
import threading
from concurrent import futures
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, urlsplit

from strongroom.access import identities
from strongroom.dialects.s3 import replica_manifest
from strongroom.service import replicator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from strongroom.crypto import secret
    from strongroom.keyring import master
    from strongroom.service import replicas
    from strongroom.store import blobs, catalog, records, replication

TIMEOUT_S: Final = 30.0
"""For one read or write of a socket."""
CHUNK_BYTES: Final = 1024 * 1024
MAX_ANSWER_BYTES: Final = 1024 * 1024

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_STREAMING: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_EMPTY: Final = hashlib.sha256(b"").hexdigest()
_UNRESERVED: Final = "-_.~"
_TRY_LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9]{1,80})</Code>")
_MESSAGE: Final = re.compile(rb"<Message>([^<]{1,400})</Message>")

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class _Pair:
    """A store with the secret that opens it."""

    remote: replication.Remote
    secret_key: secret.SecretKey
    context: ssl.SSLContext


class Remotes:
    """See `replicator.Remotes`."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        lying: blobs.BlobSource,
        keeper: master.Master,
        *,
        clock_ms: Callable[[], int],
    ) -> None:
        self._catalog = catalog
        self._blobs = lying
        self._keeper = keeper
        self._clock_ms = clock_ms
        self._pairs: dict[str, _Pair] = {}
        self._threads = futures.ThreadPoolExecutor(
            replicator.LANES, thread_name_prefix="strongroom-remote"
        )
        self._lines = threading.local()
        self._all_lines: list[http.client.HTTPSConnection] = []
        self._closing = threading.Event()

    def close(self) -> None:
        """Cut what is being sent, and let the threads end. May be called twice."""
        self._closing.set()
        for line in self._all_lines:
            if line.sock is not None:
                # The thread that uses it wakes up with an error, and sees that we are closing.
                with contextlib.suppress(OSError):
                    line.sock.shutdown(socket.SHUT_RDWR)
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def refresh(self) -> None:
        """See the protocol."""
        known = self._pairs
        self._pairs = {}
        for remote in await self._catalog.replication.remotes():
            before = known.get(remote.name)
            if before is not None and before.remote == remote:
                self._pairs[remote.name] = before
                continue
            context = ssl.create_default_context(cadata=remote.ca or None)
            opened = self._keeper.open_remote(
                remote.name, remote.url, remote.access_key, remote.sealed_secret
            )
            self._pairs[remote.name] = _Pair(remote, opened, context)

    def may_use(self, remote: str, owner: str) -> bool:
        """See the protocol."""
        pair = self._pairs.get(remote)
        return pair is not None and (owner == identities.ROOT_ID or owner in pair.remote.users)

    async def put(self, remote: str, bucket: str, parcel: replicator.Parcel) -> None:
        """See the protocol."""
        manifest = parcel.manifest
        included: dict[bytes, bytes] = {}
        room = replica_manifest.INCLUDED_BYTES
        for ref in parcel.refs:
            if not ref.place:
                included[ref.blob_id] = await self._catalog.inline(ref.blob_id)
            elif ref.size <= room:
                included[ref.blob_id] = await self._on_thread(self._read_whole, ref)
            room -= len(included.get(ref.blob_id, b""))
        full = dataclasses.replace(manifest, blobs=included)
        await self._on_thread(self._put, remote, bucket, full, parcel.refs, parcel.replica_key)

    async def put_marker(
        self, remote: str, bucket: str, key: str, version_id: str, modified_ms: int
    ) -> None:
        """See the protocol."""
        query = {
            "modified-ms": str(modified_ms),
            "version-id": version_id,
            "x-strongroom-replica-marker": "",
        }
        await self._on_thread(self._ask, remote, bucket, key, query, b"")

    async def _on_thread(self, work: Callable[..., T], *arguments: object) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        except RuntimeError as error:
            raise replicator.Unreachable("this server is about to stop") from error

    # On threads

    def _put(
        self,
        remote: str,
        bucket: str,
        manifest: replicas.Manifest,
        refs: Sequence[records.BlobRef],
        replica_key: str,
    ) -> None:
        key = manifest.version.key
        by_id = {ref.blob_id: ref for ref in refs}
        query = {"x-strongroom-replica": ""}
        missing: Sequence[bytes] = ()
        for _ in range(2):
            document = replica_manifest.encode(manifest, replica_key)
            answer = self._ask(remote, bucket, key, query, document)
            try:
                missing = replica_manifest.parse_missing(answer)
            except ValueError as error:
                raise replicator.Declined("what answers there is no strongroom") from error
            if not missing:
                return
            for blob_id in missing:
                if blob_id not in by_id or not by_id[blob_id].place:
                    raise replicator.Declined("the target asks for a blob that is none of these")
                self._send_blob(remote, bucket, key, by_id[blob_id])
        raise replicator.Unreachable(f"{len(missing)} blobs did not stay at the target")

    def _ask(
        self, remote: str, bucket: str, key: str, query: Mapping[str, str], body: bytes
    ) -> bytes:
        signer = _Signer(self._pair(remote), self._clock_ms())
        path = _path(bucket, key)
        headers = signer.headers(
            path, query, {"x-amz-content-sha256": hashlib.sha256(body).hexdigest()}
        )
        headers["content-length"] = str(len(body))
        return self._exchange(remote, path, query, headers, lambda: iter((body,)))

    def _send_blob(self, remote: str, bucket: str, key: str, ref: records.BlobRef) -> None:
        signer = _Signer(self._pair(remote), self._clock_ms())
        path = _path(bucket, key)
        query = {"blob-id": ref.blob_id.hex(), "x-strongroom-replica-blob": ""}
        headers = signer.headers(
            path,
            query,
            {
                "x-amz-content-sha256": _STREAMING,
                "x-amz-decoded-content-length": str(ref.size),
            },
        )
        headers["content-encoding"] = "aws-chunked"
        headers["content-length"] = str(_framed_size(ref.size))
        self._exchange(remote, path, query, headers, lambda: signer.frame(self._chunks(ref)))

    def _exchange(
        self,
        remote: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: Callable[[], Iterator[bytes]],
    ) -> bytes:
        """Send a request; return the body of an answer that says yes.

        Raises:
            Unreachable, Declined: there is none.
        """
        line, used = self._line(remote)
        try:
            try:
                answer = self._try(line, path, query, headers, body)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # A connection that lay idle was closed at the other end; that tells nothing.
                line.close()
                if not used:
                    raise
                answer = self._try(line, path, query, headers, body)
        except (OSError, http.client.HTTPException) as error:
            line.close()
            said = str(error) or type(error).__name__
            raise replicator.Unreachable(f"{remote}: {said}") from error
        except BaseException:
            # The body broke off in the middle: nothing can follow on this connection.
            line.close()
            raise
        status, text = answer
        if status == HTTPStatus.OK:
            return text
        code, message = _CODE.search(text), _MESSAGE.search(text)
        said = " ".join(
            found[1].decode("utf-8", "replace") for found in (code, message) if found is not None
        )
        trouble = f"{remote} answers {status} {said}".rstrip()
        raise (replicator.Unreachable if status in _TRY_LATER else replicator.Declined)(trouble)

    def _try(
        self,
        line: http.client.HTTPSConnection,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: Callable[[], Iterator[bytes]],
    ) -> tuple[int, bytes]:
        line.putrequest("PUT", f"{path}?{_query(query)}", skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            line.putheader(name, value)
        line.endheaders()
        for piece in body():
            if self._closing.is_set():
                raise replicator.Unreachable("this server is about to stop")
            line.send(piece)
        answer = line.getresponse()
        text = answer.read(MAX_ANSWER_BYTES)
        if not answer.isclosed():
            line.close()
        return answer.status, text

    def _line(self, remote: str) -> tuple[http.client.HTTPSConnection, bool]:
        """Return this thread's connection to a store, and whether it was used before."""
        pair = self._pair(remote)
        lines: dict[str, tuple[_Pair, http.client.HTTPSConnection]]
        lines = self._lines.__dict__.setdefault("open", {})
        standing = lines.get(remote)
        if standing is not None and standing[0] is pair:
            return standing[1], standing[1].sock is not None
        if standing is not None:
            standing[1].close()
            self._all_lines.remove(standing[1])
        place = urlsplit(pair.remote.url)
        assert place.hostname is not None, "judged when the store was added"
        line = http.client.HTTPSConnection(
            place.hostname, place.port, timeout=TIMEOUT_S, context=pair.context
        )
        lines[remote] = (pair, line)
        self._all_lines.append(line)
        return line, False

    def _pair(self, remote: str) -> _Pair:
        try:
            return self._pairs[remote]
        except KeyError:
            raise replicator.Declined(f"there is no other store {remote}") from None

    def _read_whole(self, ref: records.BlobRef) -> bytes:
        return b"".join(self._chunks(ref))

    def _chunks(self, ref: records.BlobRef) -> Iterator[bytes]:
        """Yield a blob that lies in a file.

        Raises:
            BlobMissing, NotAuthentic, StoreFailed: it cannot be read.
        """
        reader = self._blobs.open(ref.place)
        try:
            for start in range(0, ref.size, CHUNK_BYTES):
                piece = bytearray(min(CHUNK_BYTES, ref.size - start))
                reader.read_into(start, memoryview(piece))
                yield bytes(piece)
        finally:
            reader.close()


def check_url(url: str) -> str:
    """Return the address of a store as it is kept.

    Raises:
        ValueError: it is none; the text says what is wrong.
    """
    try:
        place = urlsplit(url)
        port = place.port
    except ValueError:
        raise ValueError("The address must be https://HOST:PORT") from None
    if place.scheme != "https" or not place.hostname or place.path.strip("/") or place.query:
        raise ValueError("The address must be https://HOST:PORT")
    if place.username or place.password:
        raise ValueError("Keys go by --access-key and --secret-key, not in the address")
    host = f"[{place.hostname}]" if ":" in place.hostname else place.hostname
    return f"https://{host}" if port is None else f"https://{host}:{port}"


def check_ca(text: str) -> None:
    """Check a certificate, PEM.

    Raises:
        ValueError: it is none.
    """
    try:
        ssl.create_default_context(cadata=text)
    except ssl.SSLError:
        raise ValueError("The CA file holds no certificate in PEM") from None


class _Signer:
    """Signs one request, and the chunks of its body."""

    def __init__(self, pair: _Pair, now_ms: int) -> None:
        moment = datetime.fromtimestamp(now_ms / 1000, UTC)
        self._remote = pair.remote
        self._stamp = moment.strftime("%Y%m%dT%H%M%SZ")
        date = self._stamp[:8]
        self._scope = f"{date}/{pair.remote.region}/s3/aws4_request"
        key = b"AWS4" + pair.secret_key.reveal()
        for part in self._scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        self._key = key
        self._last = ""

    def headers(
        self, path: str, query: Mapping[str, str], more: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the headers of a PUT, signed; `more` has the digest of the body."""
        headers = {
            "host": urlsplit(self._remote.url).netloc,
            "x-amz-date": self._stamp,
            **more,
        }
        names = sorted(headers)
        canonical = "\n".join(
            (
                *("PUT", path, _query(query)),
                *(f"{name}:{headers[name]}" for name in names),
                *("", ";".join(names), more["x-amz-content-sha256"]),
            )
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        self._last = self._sign(f"{_ALGORITHM}\n{self._stamp}\n{self._scope}\n{digest}")
        headers["authorization"] = (
            f"{_ALGORITHM} Credential={self._remote.access_key}/{self._scope},"
            f"SignedHeaders={';'.join(names)},Signature={self._last}"
        )
        return headers

    def frame(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield chunks with their signatures, and the empty one that ends a body."""
        for chunk in chunks:
            yield self._head(chunk)
            yield chunk
            yield b"\r\n"
        yield self._head(b"") + b"\r\n"

    def _head(self, chunk: bytes) -> bytes:
        self._last = self._sign(
            f"{_ALGORITHM}-PAYLOAD\n{self._stamp}\n{self._scope}\n{self._last}\n{_EMPTY}\n"
            + hashlib.sha256(chunk).hexdigest()
        )
        return f"{len(chunk):x};chunk-signature={self._last}\r\n".encode()

    def _sign(self, text: str) -> str:
        return hmac.digest(self._key, text.encode(), "sha256").hex()


def _framed_size(size: int) -> int:
    """Return the length of a framed body."""
    around = len(";chunk-signature=\r\n\r\n") + 2 * hashlib.sha256().digest_size
    whole, rest = divmod(size, CHUNK_BYTES)
    total = whole * (len(f"{CHUNK_BYTES:x}") + around + CHUNK_BYTES)
    if rest:
        total += len(f"{rest:x}") + around + rest
    return total + len("0") + around


def _path(bucket: str, key: str) -> str:
    return f"/{quote(bucket, safe=_UNRESERVED)}/{quote(key, safe=_UNRESERVED + '/')}"


def _query(query: Mapping[str, str]) -> str:
    return "&".join(
        f"{quote(name, safe=_UNRESERVED)}={quote(value, safe=_UNRESERVED)}"
        for name, value in sorted(query.items())
    )
