"""S3's steps of the request path: everything between bytes and params."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from strongroom import errors
from strongroom.access import identities
from strongroom.crypto import digests
from strongroom.dialects import operation, pipeline
from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import (
    bodies,
    contexts,
    facets,
    faults,
    form_signature,
    forms,
    heads,
    post_policy,
    routes,
    signature,
    signature_v2,
    signing,
)
from strongroom.service import transfer
from strongroom.wire import binding, chunked, message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from strongroom.crypto import secret
    from strongroom.wire import form, model

MAX_DOCUMENT_BYTES = binding.MAX_DOCUMENT_BYTES

_SSE_HEADER: Final = b"x-amz-server-side-encryption"
_OF_THE_OBJECT: Final = frozenset({"CompleteMultipartUpload"})
_READS: Final = frozenset({"GetObject", "HeadObject"})


class Proof(NamedTuple):
    """A verified signature, or the lack of one.

    Attributes:
        verified: what is known of the body; None where the signature says nothing of it.
        signed: how it was signed; None for nobody's.
        sizes: how large the file of a form may be.
    """

    principal: identities.Principal
    access_key: str
    verified: signature.Verified | None
    signed: signing.Signed | None = None
    sizes: post_policy.Sizes | None = None


class S3:
    """Amazon S3's dialect."""

    def __init__(
        self,
        source: model.Model,
        bindings: Mapping[str, binding.Binding],
        handlers: Mapping[str, operation.Declared],
        people: identities.Identities,
        *,
        region: str,
        domains: Sequence[str],
        clock_ms: Callable[[], int],
        version_2: bool = True,
        fingerprint: Callable[[secret.SecretKey], bytes],
    ) -> None:
        self._bindings = bindings
        self.fingerprint = fingerprint
        self._handlers = handlers
        self._routes = routes.Routes(source)
        self._people = people
        self._region = region
        self._domains = tuple(domains)
        self._clock_ms = clock_ms
        self._version_2 = version_2
        self._signing_keys = signing.SigningKeys()

    def names_bucket_by_host(self, request: message.Request) -> bool:
        """Whether the host names a bucket, so that the whole path is a key."""
        return routes.bucket_of_host(request.header(b"host") or b"", self._domains) is not None

    def is_signed(self, request: message.Request) -> bool:
        """Whether a request tries to prove who sent it."""
        return request.header(b"authorization") is not None or b"Signature=" in request.raw_query

    def route(self, request: message.Request) -> pipeline.Routed:
        """Find bucket, key and operation; refuse a customer's key that came in the clear.

        Raises:
            Refused: the request has no meaning, or carries a key without TLS.
        """
        if not request.secure:
            bodies.refuse_customer_keys(request.headers)
        heads.check(request)
        address = routes.address(request, self._domains)
        query = routes.parse_query(request.raw_query)
        name = self._routes.find(request, address, query)
        version_id: str | None = None
        if query:
            version_id = next((value for key, value in query if key == "versionId" and value), None)
        return pipeline.Routed(
            name,
            self._handlers.get(name),
            address.bucket,
            address.key,
            query,
            version_id,
        )

    async def unfold(
        self, request: message.Request, routed: pipeline.Routed
    ) -> tuple[message.Request, pipeline.Routed]:
        """Make of a form the request that it stands for.

        Raises:
            Refused, MalformedDocument: it is no form, or one that cannot be an upload.
        """
        if routed.name != forms.OPERATION:
            return request, routed
        return await forms.unfold(request, routed, self._bindings["PutObjectTagging"])

    async def authenticate(self, request: message.Request) -> Proof:
        """Verify the signature.

        Raises:
            Refused: it does not verify, or is not for this form.
        """
        if request.upload is not None:
            return await self._authenticate_form(request.upload.form)
        if self._version_2:
            older = signature_v2.claim(request)
            if older is not None:
                return await self._authenticate_version_2(older, request)
        claim = signature.claim(request)
        if claim is None:
            return Proof(identities.ANONYMOUS, "", None)
        return await self._verify(claim, request, self._region)

    async def _verify(
        self, claim: signature.Claim, request: message.Request, region: str, service: str = "s3"
    ) -> Proof:
        identity = await self._identity(claim.access_key, claim.session_token)
        verified = signature.verify(
            claim,
            request,
            identity.secret_key,
            now=self._now(),
            region=region,
            keys=self._signing_keys,
            service=service,
        )
        return Proof(identity.principal, claim.access_key, verified, claim.signed)

    async def _authenticate_version_2(
        self, claim: signature_v2.Claim, request: message.Request
    ) -> Proof:
        identity = await self._identity(claim.access_key, claim.session_token)
        signed = signature_v2.verify(
            claim, request, identity.secret_key, now=self._now(), domains=self._domains
        )
        return Proof(identity.principal, claim.access_key, None, signed)

    async def _identity(self, access_key: str, token: str | None = None) -> identities.Identity:
        """Find whom an access key belongs to.

        Raises:
            Refused: to nobody.
            TokenInvalid, TokenExpired: temporary credentials prove nothing.
        """
        identity = await self._people.find(access_key, token, now_ms=self._clock_ms())
        if identity is None:
            raise Refused("InvalidAccessKeyId", AWSAccessKeyId=access_key)
        return identity

    async def _authenticate_form(self, sent: form.Form) -> Proof:
        claim = form_signature.claim(sent, version_2=self._version_2)
        if claim is None:
            return Proof(identities.ANONYMOUS, "", None)
        token = sent.text("x-amz-security-token")
        identity = await self._identity(claim.access_key, token)
        form_signature.verify(
            claim, identity.secret_key, region=self._region, keys=self._signing_keys
        )
        sizes = post_policy.judge(
            post_policy.parse(claim.policy), forms.values(sent), sent.names, self._now()
        )
        return Proof(identity.principal, claim.access_key, None, claim.signed, sizes)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock_ms() / 1000, UTC)

    async def authenticate_service(
        self, request: message.Request, body: bytes, service: str
    ) -> Proof:
        """Verify the signature of a request to another service on the same listener.

        Such services are the same in every region.

        Raises:
            Refused, TokenInvalid, TokenExpired: it does not verify.
        """
        claim = signature.claim(request, body=body)
        if claim is None:
            return Proof(identities.ANONYMOUS, "", None)
        proof = await self._verify(claim, request, claim.region, service)
        said = None if proof.verified is None else proof.verified.body_sha256
        if said is None or not hmac.compare_digest(said, hashlib.sha256(body).digest()):
            raise Refused("SignatureDoesNotMatch")
        return proof

    def condition_keys(
        self,
        request: message.Request,
        routed: pipeline.Routed,
        proof: pipeline.Authentication,
    ) -> contexts.Keys:
        """Return what policies can ask about the request."""
        assert isinstance(proof, Proof), "the pipeline hands back what `authenticate` made"
        return contexts.condition_keys(
            request, routed, proof.principal, proof.signed, self._clock_ms(), self.fingerprint
        )

    def bind(
        self, request: message.Request, routed: pipeline.Routed, document: bytes | None
    ) -> dict[str, Any]:
        """Read params.

        Raises:
            Refused, MalformedDocument: something does not parse.
        """
        if routed.name in _READS:
            mode = request.header(_SSE_HEADER)
            if mode is not None:
                raise Refused(
                    "InvalidArgument",
                    "x-amz-server-side-encryption header is not supported for this operation.",
                    ArgumentName=_SSE_HEADER.decode(),
                    ArgumentValue=mode.decode("latin-1"),
                )
        return self._bindings[routed.name].parse(
            request.headers, routed.query, bucket=routed.bucket, key=routed.key, body=document
        )

    async def document(
        self,
        request: message.Request,
        routed: pipeline.Routed,
        proof: pipeline.Authentication,
    ) -> bytes:
        """Read a document body whole and check its digests.

        Raises:
            Refused, BadBody: it is too long, or not the one that was announced.
        """
        incoming = self.incoming(request, routed, proof, needs_length=False)
        if incoming.length > MAX_DOCUMENT_BYTES:
            raise Refused("MaxMessageLengthExceeded", MaxMessageLengthBytes=str(MAX_DOCUMENT_BYTES))
        pieces: list[bytes] = []
        size = 0
        async for chunk in incoming.chunks:
            for piece in (chunk,) if incoming.decoder is None else incoming.decoder.feed(chunk):
                size += len(piece)
                if size > MAX_DOCUMENT_BYTES:
                    raise Refused(
                        "MaxMessageLengthExceeded", MaxMessageLengthBytes=str(MAX_DOCUMENT_BYTES)
                    )
                pieces.append(bytes(piece))
        body = b"".join(pieces)
        announced = dict(incoming.announced)
        if incoming.decoder is not None:
            announced.update(incoming.decoder.finish())
        _check_document(body, incoming, announced)
        # A list may come as a header, and then nothing comes that could be checked.
        needs_digest = body and self._bindings[routed.name].operation.checksum_required
        if needs_digest and not (announced or incoming.md5):
            raise Refused("InvalidRequest", "Missing required header for this request: Content-MD5")
        return body

    def incoming(
        self,
        request: message.Request,
        routed: pipeline.Routed,
        proof: pipeline.Authentication,
        *,
        needs_length: bool = True,
    ) -> transfer.Incoming:
        """Describe the body: how long, how framed, with which digests.

        Raises:
            Refused: the headers do not say enough, or contradict each other.
        """
        assert isinstance(proof, Proof), "the pipeline hands back what `authenticate` made"
        if request.upload is not None:
            return forms.incoming(request, request.upload, proof.sizes)
        kind, digest = _payload_kind(request, proof)
        names = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in request.headers
            if name.startswith((b"x-amz-checksum-", b"x-amz-trailer", b"x-amz-sdk-checksum"))
        }
        # Complete's checksum headers speak of the object, not of the document.
        announced = {} if routed.name in _OF_THE_OBJECT else facets.announced_checksums(names)
        trailer = names.get("x-amz-trailer")
        decoder: transfer.Decoder | None = None
        algorithm = next(iter(announced), None)
        if kind in _STREAMING:
            length = bodies.content_length(request, b"x-amz-decoded-content-length")
            if length is None:
                raise Refused("MissingContentLength")
            trailing = facets.checksum_name(trailer.strip().lower()) if trailer else None
            if trailing is not None:
                if algorithm is not None:
                    raise Refused(
                        "InvalidRequest",
                        "Expecting a single x-amz-checksum- header. Multiple checksum Types are not"
                        " allowed.",
                    )
                algorithm = facets.known_algorithm(trailing)
            decoder = _Framed(
                chunked.Decoder(
                    decoded_length=length,
                    verifier=proof.verified.chunk_verifier() if kind in _SIGNED_CHUNKS else None,  # type: ignore[union-attr] # signed chunks come of a verified signature
                    trailers=_trailer_names(trailer) if kind in _TRAILING else None,
                ),
                algorithm if trailing is not None else None,
            )
        else:
            length = _whole_length(request, needed=needs_length)
        named = names.get("x-amz-sdk-checksum-algorithm")
        if named is not None and algorithm is None:
            if request.method == "PUT" and needs_length:
                raise Refused(
                    "InvalidRequest",
                    "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-*"
                    " or x-amz-trailer headers were found.",
                )
        elif named is not None and facets.known_algorithm(named) != algorithm:
            raise Refused(
                "InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid."
            )
        return transfer.Incoming(
            chunks=request.body,
            length=length,
            decoder=decoder,
            checksum=algorithm,
            announced=announced,
            md5=bodies.content_md5(request),
            sha256=digest,
        )

    def expected_owners(self, params: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        """Return whose the request takes its bucket, and that of a copy's source, to be.

        Source: S3 user guide, "Verifying bucket ownership with bucket owner condition".
        """
        found: list[tuple[str, str]] = []
        if "ExpectedBucketOwner" in params and "Bucket" in params:
            found.append((params["Bucket"], params["ExpectedBucketOwner"]))
        if "ExpectedSourceBucketOwner" in params and "CopySource" in params:
            found.append((facets.copy_source(params)[0], params["ExpectedSourceBucketOwner"]))
        return found

    def reply(
        self, request: message.Request, routed: pipeline.Routed, result: operation.Result
    ) -> message.Response:
        """Write an answer."""
        table = self._bindings[routed.name]
        reply = table.reply(result)
        headers = _own_headers(request) + reply.headers
        stream: AsyncIterator[bytes] | bytes | None = (
            result.get(table.output_stream) if table.output_stream else None
        )
        if stream is not None:
            return message.Response(reply.status, headers, stream)
        body = reply.body or b""
        if request.method != "HEAD" and reply.status != HTTPStatus.NO_CONTENT:
            headers.append((b"content-length", b"%d" % len(body)))
        return message.Response(reply.status, headers, body)

    def own_headers(self, request: message.Request) -> message.Headers:
        """Return the headers that every answer has."""
        return _own_headers(request)

    def refuse(
        self, request: message.Request, routed: pipeline.Routed | None, error: Exception
    ) -> tuple[message.Response, str]:
        """Write a refusal."""
        refusal = faults.refusal(error)
        status, text = faults.FAULTS[refusal.code]
        headers = _own_headers(request)
        headers += faults.extra_headers(error)
        if request.method == "HEAD" or status == HTTPStatus.NOT_MODIFIED:
            return message.Response(status, headers, b""), refusal.code
        fields = dict(refusal.fields)
        if routed is not None and routed.bucket and refusal.code in faults.NAMES_RESOURCE:
            fields["Resource"] = request.raw_path.decode("latin-1")
        body = binding.error_document(
            refusal.code, refusal.message or text, fields, request.request_id, _host_id(request)
        )
        headers.append((b"content-type", b"application/xml"))
        headers.append((b"content-length", b"%d" % len(body)))
        return message.Response(status, headers, body), refusal.code


class _Framed:
    """An aws-chunked body; its trailer's checksum comes out as a digest."""

    def __init__(self, decoder: chunked.Decoder, algorithm: str | None) -> None:
        self._decoder = decoder
        self._algorithm = algorithm

    def feed(self, data: bytes | bytearray) -> Sequence[bytes | memoryview]:
        return self._decoder.feed(bytes(data))

    def finish(self) -> Mapping[str, bytes]:
        trailers = self._decoder.finish()
        if self._algorithm is None:
            return {}
        name = f"x-amz-checksum-{self._algorithm.lower()}"
        value = trailers.get(name.encode())
        if value is None:
            raise errors.BodyMalformed("the announced trailer did not come")
        return {
            self._algorithm: facets.checksum_value(
                self._algorithm, value.decode("latin-1"), f"{name} trailing header"
            )
        }


_SHA256 = re.compile(rb"[0-9a-f]{64}")
_Kind = signature.Payload
_STREAMING = frozenset({_Kind.STREAMING, _Kind.STREAMING_TRAILER, _Kind.UNSIGNED_TRAILER})
_SIGNED_CHUNKS = frozenset({_Kind.STREAMING, _Kind.STREAMING_TRAILER})
_TRAILING = frozenset({_Kind.STREAMING_TRAILER, _Kind.UNSIGNED_TRAILER})


def _payload_kind(request: message.Request, proof: Proof) -> tuple[signature.Payload, bytes | None]:
    """Return how the body is framed, and its SHA-256 if the signature covers that."""
    if proof.verified is None:
        # Signed by version 2 or by nobody.
        said = signature_v2.said_of_body(request, in_url=bool(proof.access_key))
        if said == _Kind.UNSIGNED_TRAILER.value.encode():
            return _Kind.UNSIGNED_TRAILER, None
        if said.startswith(b"STREAMING-"):
            # Signed chunks, and nobody whose signature it could be.
            raise Refused("AccessDenied")
        if _SHA256.fullmatch(said):
            return _Kind.HASH, bytes.fromhex(said.decode())
        return _Kind.UNSIGNED, None
    return proof.verified.payload, proof.verified.body_sha256


def _trailer_names(trailer: str | None) -> frozenset[bytes]:
    return frozenset(
        name.strip().lower().encode("latin-1")
        for name in (trailer or "").split(",")
        if name.strip()
    )


def _whole_length(request: message.Request, *, needed: bool) -> int:
    """Return the length of a body without framing; 0 if none is told and none is needed."""
    if request.header(b"x-amz-decoded-content-length") is not None:
        # Else the framing would be stored, and nobody could tell.
        raise Refused(
            "InvalidRequest",
            "x-amz-decoded-content-length goes with a streaming x-amz-content-sha256.",
        )
    length = bodies.content_length(request)
    if length is None and needed:
        raise Refused("MissingContentLength")
    return length or 0


def _check_document(
    body: bytes, incoming: transfer.Incoming, announced: Mapping[str, bytes]
) -> None:
    """Check the digests of a document body."""
    if incoming.length and len(body) != incoming.length:
        raise errors.BodyTooShort if len(body) < incoming.length else errors.BodyTooLong
    if incoming.sha256 is not None:
        computed = hashlib.sha256(body).digest()
        if not hmac.compare_digest(computed, incoming.sha256):
            raise errors.DigestMismatch("X-SHA256", incoming.sha256, computed)
    if incoming.md5 is not None:
        computed = hashlib.md5(body, usedforsecurity=False).digest()
        if not hmac.compare_digest(computed, incoming.md5):
            raise errors.DigestMismatch("MD5", incoming.md5, computed)
    if announced:
        running = digests.Running(announced.keys())
        running.update(body)
        for algorithm, digest in running.digests().items():
            if not hmac.compare_digest(digest, announced[algorithm]):
                raise errors.DigestMismatch(algorithm, announced[algorithm], digest)


_HOST: Final = base64.b64encode(secrets.token_bytes(36)).decode()
"""The beginning of all second ids of this process: 48 characters."""


def _host_id(request: message.Request) -> str:
    """Return a second id, of the length that clients expect to see; it says nothing more."""
    return _HOST + request.request_id


def _own_headers(request: message.Request) -> message.Headers:
    request_id = request.request_id
    return [
        (b"x-amz-request-id", request_id.encode()),
        (b"x-amz-id-2", (_HOST + request_id).encode()),
    ]
