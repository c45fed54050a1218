"""Requests as bytes, signed before the clock starts.

What SigV4 needs for thousands of requests would make any client the bottleneck
(botocore: 0.3 to 5 ms each). A signature holds for 15 minutes, so it is made
beforehand, by botocore's own signer, and only bytes are sent while time is taken.
"""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib import parse

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.credentials import Credentials
from urllib3.util.request import body_to_chunks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

UNSIGNED = "UNSIGNED-PAYLOAD"
_HTTP_CHUNK_BYTES = 16 * 1024
"""What urllib3 reads at once from a body whose length it is not told; each piece is a chunk."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request, ready to be sent.

    Attributes:
        head: request line and headers, to the empty line.
        body: what follows.
        bodyless: the answer has no body, whatever its length says (HEAD).
    """

    head: bytes
    body: bytes = b""
    bodyless: bool = False


class Signer:
    """Signs for one endpoint and one pair of keys.

    Args:
        endpoint: `https://host:port`.
        access_key: access key.
        secret_key: secret key.
        region: region.
    """

    def __init__(self, endpoint: str, access_key: str, secret_key: str, region: str) -> None:
        self._endpoint = endpoint
        self._host = parse.urlsplit(endpoint).netloc
        self._auth = _UnsignedPayload(Credentials(access_key, secret_key), "s3", region)

    def message(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Message:
        """Sign a request whose body the signature does not cover.

        Args:
            method: HTTP method.
            path: `/bucket/key`, of characters that need no encoding.
            headers: all but host and length.
            query: parameters.
            body: the body.
        """
        target = path if not query else f"{path}?{parse.urlencode(sorted(query.items()))}"
        request = AWSRequest(method, self._endpoint + target, dict(headers))
        self._auth.add_auth(request)
        sent = {"Host": self._host, **dict(request.headers.items())}
        if body or method in ("PUT", "POST"):
            sent["Content-Length"] = str(len(body))
        return Message(_head(method, target, sent), body, bodyless=method == "HEAD")


class _UnsignedPayload(S3SigV4Auth):
    def payload(self, request: AWSRequest) -> str:
        del request
        return UNSIGNED


def as_boto3_sends_it(client: Any, operation: str, **params: Any) -> Message:
    """Return the bytes that a boto3 client puts on the wire, framing and all.

    The client itself makes and signs the request; it is taken away at the moment of
    sending. Its `Expect: 100-continue` is left out: a replay does not wait for it.
    """
    taken: list[Any] = []

    def take(request: Any, **_: Any) -> AWSResponse:
        taken.append(request)
        return AWSResponse(request.url, 200, {}, _Nothing())

    client.meta.events.register_first("before-send.s3", take)
    try:
        getattr(client, operation)(**params)
    finally:
        client.meta.events.unregister("before-send.s3", take)
    (request,) = taken
    url = parse.urlsplit(request.url)
    target = url.path + (f"?{url.query}" if url.query else "")
    sent = {"Host": url.netloc}
    for name, value in request.headers.items():
        if name.lower() not in ("expect", "host"):
            sent[name] = value.decode("latin-1") if isinstance(value, bytes) else value
    if "chunked" in sent.get("Transfer-Encoding", ""):
        pieces = body_to_chunks(request.body, request.method, _HTTP_CHUNK_BYTES).chunks
        body = b"".join((*_chunks(pieces), b"0\r\n\r\n"))
    else:
        body = request.body or b""
        body = body if isinstance(body, bytes) else body.read()
        sent["Content-Length"] = str(len(body))
    return Message(_head(request.method, target, sent), body, bodyless=request.method == "HEAD")


class _Nothing(io.BytesIO):
    """What botocore takes for the body of an answer."""

    def stream(self, **_: Any) -> Iterable[bytes]:
        return iter(())


def _chunks(pieces: Iterable[bytes]) -> Iterable[bytes]:
    for piece in pieces:
        if piece:
            yield b"%x\r\n%b\r\n" % (len(piece), piece)


def _head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def customer_key(key: bytes, *, source: bool = False) -> dict[str, str]:
    """Return the three headers of SSE-C, or those for the source of a copy."""
    prefix = "x-amz-copy-source-" if source else "x-amz-"
    prefix += "server-side-encryption-customer-"
    md5 = hashlib.md5(key, usedforsecurity=False).digest()
    return {
        f"{prefix}algorithm": "AES256",
        f"{prefix}key": base64.b64encode(key).decode(),
        f"{prefix}key-MD5": base64.b64encode(md5).decode(),
    }
