"""A small S3 client that says exactly what it heard: an answer, or that there was none."""

import base64
import contextlib
import dataclasses
import hashlib
import http.client
import re
import ssl
from urllib.parse import quote, urlencode, urlsplit
from xml.sax.saxutils import escape

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

PATIENCE_S = 60
SSE_C = "x-amz-server-side-encryption-customer-"
SOURCE_SSE_C = "x-amz-copy-source-server-side-encryption-customer-"
META = "x-amz-meta-"
_OK = range(200, 300)


class NoAnswerError(Exception):
    """The connection ended before a whole answer had come.

    Attributes:
        partial: (status, headers, body so far) if an answer had begun.
    """

    def __init__(self, reason, partial=None):
        super().__init__(reason)
        self.partial = partial


class _Signer(S3SigV4Auth):
    """Signs everything but the body, which TLS protects."""

    def payload(self, request):
        del request
        return "UNSIGNED-PAYLOAD"


@dataclasses.dataclass(frozen=True)
class Answer:
    """A whole answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def ok(self):
        return self.status in _OK

    @property
    def code(self):
        return self.field("Code")

    @property
    def etag(self):
        return self.headers.get("etag") or (self.field("ETag") or "").replace("&quot;", '"')

    def field(self, name):
        found = self.fields(name)
        return found[0] if found else None

    def fields(self, name):
        return re.findall(
            rf"<{name}>(.*?)</{name}>", self.body.decode("utf-8", "replace"), re.DOTALL
        )


def customer_headers(key, prefix=SSE_C):
    """Return the three headers that bring a customer key, or none for None."""
    if key is None:
        return {}
    digest = hashlib.md5(key, usedforsecurity=False).digest()
    return {
        f"{prefix}algorithm": "AES256",
        f"{prefix}key": base64.b64encode(key).decode(),
        f"{prefix}key-MD5": base64.b64encode(digest).decode(),
    }


def tagging_document(tags):
    rows = "".join(
        f"<Tag><Key>{escape(name)}</Key><Value>{escape(value)}</Value></Tag>"
        for name, value in tags
    )
    return f"<Tagging><TagSet>{rows}</TagSet></Tagging>".encode()


class Client:
    """One connection, used again while the server lets it; for one thread.

    Args:
        server: the running `Strongroom`.
        bucket: where all keys are.
        url: of a listener, in place of the HTTPS one; over plain HTTP, a proxy that
            spoke HTTPS is claimed.
    """

    def __init__(self, server, bucket, url=None):
        parts = urlsplit(url or server.endpoint_url)
        self._bucket = bucket
        self._credentials = Credentials(server.access_key, server.secret_key)
        self._host = parts.netloc
        self._always = {}
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=server.ca_bundle)
            self._connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=PATIENCE_S, context=context
            )
        else:
            self._always = {"x-forwarded-proto": "https"}
            self._connection = http.client.HTTPConnection(
                parts.hostname, parts.port, timeout=PATIENCE_S
            )

    def close(self):
        self._connection.close()

    def ask(self, method, key=None, query=(), headers=None, body=b""):
        """Send a signed request and return the whole answer.

        Args:
            method: the method.
            key: of an object; None asks the bucket.
            query: pairs, in order.
            headers: further ones.
            body: bytes-like.

        Raises:
            NoAnswerError: the connection ended first.
        """
        target, sent = self._sign(method, key, query, headers)
        if body or method in ("PUT", "POST"):
            sent["Content-Length"] = str(len(body))
        try:
            try:
                self._connection.request(method, target, body or None, sent)
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                # A refusal may come, and the connection be closed, before all was sent.
                if self._connection.sock is None:
                    raise
                return self._early_answer(method)
            return self._answer(self._connection.getresponse())
        except NoAnswerError:
            self._connection.close()
            raise
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise NoAnswerError(f"{type(error).__name__}: {error}") from error

    def head_of(self, method, key, headers, length=0):
        """Return the signed head of a request, as it goes over the wire."""
        target, sent = self._sign(method, key, (), headers)
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}"]
        lines += [f"{name}: {value}" for name, value in sent.items()]
        return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()

    def _sign(self, method, key, query, headers):
        path = f"/{self._bucket}" + ("" if key is None else f"/{quote(key)}")
        target = path + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        request = AWSRequest(
            method, f"https://{self._host}{target}", headers={**self._always, **(headers or {})}
        )
        _Signer(self._credentials, "s3", "us-east-1").add_auth(request)
        return target, dict(request.headers.items())

    def _early_answer(self, method):
        with contextlib.closing(self._connection.sock) as sock:
            response = http.client.HTTPResponse(sock, method=method)
            response.begin()
            answer = self._answer(response)
        self._connection.close()
        return answer

    @staticmethod
    def _answer(response):
        headers = {name.lower(): value for name, value in response.getheaders()}
        try:
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            got = error.partial if isinstance(error, http.client.IncompleteRead) else b""
            raise NoAnswerError(
                f"cut: {type(error).__name__}", (response.status, headers, got)
            ) from error
        return Answer(response.status, headers, body)

    # What the loads ask for

    def create_bucket(self):
        answer = self.ask("PUT")
        assert answer.ok or answer.code == "BucketAlreadyOwnedByYou", answer

    def put(self, key, body, *, customer=None, meta=None, tags=(), headers=None):
        return self.ask(
            "PUT", key, headers=_told(customer, meta, tags) | (headers or {}), body=body
        )

    def get(self, key, *, customer=None, headers=None, query=()):
        return self.ask("GET", key, query, customer_headers(customer) | (headers or {}))

    def head(self, key, *, customer=None):
        return self.ask("HEAD", key, headers=customer_headers(customer))

    def delete(self, key):
        return self.ask("DELETE", key)

    def delete_many(self, keys):
        rows = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
        body = f"<Delete><Quiet>true</Quiet>{rows}</Delete>".encode()
        return self.ask("POST", query=[("delete", "")], headers=_md5_header(body), body=body)

    def copy(self, source, target, *, source_customer=None, customer=None, meta=None, tags=None):
        """Copy; `meta` and `tags` replace the source's unless None."""
        headers = customer_headers(source_customer, SOURCE_SSE_C) | customer_headers(customer)
        headers["x-amz-copy-source"] = quote(f"{self._bucket}/{source}")
        if meta is not None:
            headers |= {"x-amz-metadata-directive": "REPLACE", f"{META}state": meta}
        if tags is not None:
            headers |= {"x-amz-tagging-directive": "REPLACE", "x-amz-tagging": urlencode(tags)}
        return self.ask("PUT", target, headers=headers)

    def set_tags(self, key, tags):
        body = tagging_document(tags)
        return self.ask("PUT", key, [("tagging", "")], _md5_header(body), body)

    def drop_tags(self, key):
        return self.ask("DELETE", key, [("tagging", "")])

    def tags(self, key):
        """Return the answer and, if it is one, the tags as sorted pairs."""
        answer = self.ask("GET", key, [("tagging", "")])
        return answer, tuple(sorted(zip(answer.fields("Key"), answer.fields("Value"), strict=True)))

    def create_upload(self, key, *, customer=None, meta=None, tags=()):
        return self.ask("POST", key, [("uploads", "")], _told(customer, meta, tags))

    def put_part(self, key, upload_id, number, body, *, customer=None):
        query = [("partNumber", str(number)), ("uploadId", upload_id)]
        return self.ask("PUT", key, query, customer_headers(customer), body)

    def copy_part(self, key, upload_id, number, source, *, source_customer=None, customer=None):
        headers = customer_headers(source_customer, SOURCE_SSE_C) | customer_headers(customer)
        headers["x-amz-copy-source"] = quote(f"{self._bucket}/{source}")
        query = [("partNumber", str(number)), ("uploadId", upload_id)]
        return self.ask("PUT", key, query, headers)

    def list_parts(self, key, upload_id):
        """Return the answer and number → ETag."""
        answer = self.ask("GET", key, [("uploadId", upload_id)])
        numbers = map(int, answer.fields("PartNumber"))
        etags = [etag.replace("&quot;", '"') for etag in answer.fields("ETag")]
        return answer, dict(zip(numbers, etags, strict=True)) if answer.ok else {}

    def complete_upload(self, key, upload_id, etags):
        rows = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            for number, etag in sorted(etags.items())
        )
        body = f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()
        return self.ask("POST", key, [("uploadId", upload_id)], body=body)

    def abort_upload(self, key, upload_id):
        return self.ask("DELETE", key, [("uploadId", upload_id)])

    def list_uploads(self):
        """Return (key, upload id) of all open uploads; at most a thousand."""
        answer = self.ask("GET", query=[("uploads", "")])
        assert answer.ok, answer
        assert answer.field("IsTruncated") == "false", "a thousand uploads are not expected"
        found = re.findall(r"<Upload>(.*?)</Upload>", answer.body.decode(), re.DOTALL)
        return [
            (re.search("<Key>(.*?)</Key>", one)[1], re.search("<UploadId>(.*?)</", one)[1])
            for one in found
        ]

    def listing(self):
        """Return key → (size, ETag) of all objects."""
        found = {}
        query = [("list-type", "2")]
        while True:
            answer = self.ask("GET", query=query)
            assert answer.ok, answer
            for one in answer.fields("Contents"):
                etag = re.search("<ETag>(.*?)</ETag>", one)[1].replace("&quot;", '"')
                key = re.search("<Key>(.*?)</Key>", one)[1]
                found[key] = (int(re.search("<Size>(.*?)</Size>", one)[1]), etag)
            if answer.field("IsTruncated") == "false":
                return found
            query = [
                ("list-type", "2"),
                ("continuation-token", answer.field("NextContinuationToken")),
            ]


def _md5_header(body):
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    return {"Content-MD5": base64.b64encode(digest).decode()}


def _told(customer, meta, tags):
    headers = customer_headers(customer)
    if meta is not None:
        headers[f"{META}state"] = meta
    if tags:
        headers["x-amz-tagging"] = urlencode(tags)
    return headers
