"""The steps of AWS's KMS: route, authenticate, bind, reply, refuse. See `dialects.kms.path`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from strongroom.dialects.kms.aws import faults, protocol, signature
from strongroom.dialects.operation import Refused
from strongroom.wire import json_body, message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from strongroom.access import identities
    from strongroom.dialects.kms import services

PREFIX: Final = b"TrentService."
CONTENT_TYPE: Final = b"application/x-amz-json-1.1"


class Aws:
    """AWS's words for the KMS."""

    handlers: Mapping[str, services.Handler] = protocol.HANDLERS

    def __init__(
        self, people: identities.Identities, *, region: str, clock_ms: Callable[[], int]
    ) -> None:
        self._people = people
        self._region = region
        self._clock_ms = clock_ms

    def name(self, request: message.Request, _body: bytes) -> str:
        """See the protocol."""
        target = request.header(b"x-amz-target") or b""
        name = target.removeprefix(PREFIX).decode("latin-1")
        if (
            request.method != "POST"
            or not target.startswith(PREFIX)
            or name not in protocol.MODEL.operations
        ):
            raise Refused("UnknownOperationException")
        return name

    async def authenticate(
        self, request: message.Request, body: bytes
    ) -> tuple[identities.Principal, str]:
        """See the protocol."""
        claim = signature.claim(request)
        sent = request.header(b"x-amz-security-token")
        token = None if sent is None else sent.decode("latin-1")
        identity = await self._people.find(claim.access_key, token, now_ms=self._clock_ms())
        if identity is None:
            raise Refused("UnrecognizedClientException")
        signature.verify(
            claim,
            request,
            body,
            identity.secret_key,
            now=datetime.fromtimestamp(self._clock_ms() / 1000, UTC),
            region=self._region,
        )
        return identity.principal, claim.access_key

    def now_ms(self) -> int:
        """See the protocol."""
        return self._clock_ms()

    def bind(self, name: str, _request: message.Request, body: bytes) -> dict[str, Any]:
        """See the protocol."""
        shape = protocol.MODEL.operations[name].input
        if shape is None:
            return {}
        params = json_body.read(protocol.MODEL, shape, body)
        broken = list(json_body.violations(protocol.MODEL, shape, params))
        if broken:
            plural = "s" if len(broken) > 1 else ""
            raise Refused(
                "ValidationException",
                f"{len(broken)} validation error{plural} detected: {'; '.join(broken)}",
            )
        return params

    def reply(
        self, name: str, request: message.Request, result: services.Result
    ) -> message.Response:
        """See the protocol."""
        shape = protocol.MODEL.operations[name].output
        # An operation without an output answers an empty body, not an empty document.
        body = b"" if shape is None else json_body.write(protocol.MODEL, shape, result)
        return message.Response(200, _headers(request, body), body)

    def refuse(self, request: message.Request, error: Exception) -> tuple[message.Response, str]:
        """See the protocol."""
        refusal = faults.refusal(error)
        status, text = faults.FAULTS[refusal.code]
        told = refusal.message or text
        document = {"__type": refusal.code, **({"message": told} if told else {})}
        body = json.dumps(document).encode()
        headers = _headers(request, body)
        headers.append((b"x-amzn-errortype", refusal.code.encode()))
        return message.Response(status, headers, body), refusal.code


def _headers(request: message.Request, body: bytes) -> message.Headers:
    return [
        (b"x-amzn-requestid", request.request_id.encode()),
        (b"content-type", CONTENT_TYPE),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-cache, no-store, must-revalidate, private"),
    ]
