"""The steps of Alibaba's KMS: route, authenticate, bind, reply, refuse. See `dialects.kms.path`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final

from strongroom.dialects.kms import services
from strongroom.dialects.kms.alibaba import faults, handlers, signature
from strongroom.dialects.operation import Refused
from strongroom.wire import message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from strongroom.access import identities

VERSION: Final = "2016-01-20"
_OK: Final = 200


class Alibaba:
    """Alibaba Cloud's words for the KMS."""

    handlers: Mapping[str, services.Handler] = services.collect(handlers)

    def __init__(self, people: identities.Identities, *, clock_ms: Callable[[], int]) -> None:
        self._people = people
        self._clock_ms = clock_ms
        self._nonces = signature.Nonces()

    def is_meant(self, request: message.Request, body: bytes) -> bool:
        """Tell whether a request names an action."""
        try:
            return "Action" in signature.parameters(request, body)
        except Refused:
            # Parameters that contradict each other are this dialect's to refuse.
            return True

    def name(self, request: message.Request, body: bytes) -> str:
        """See the protocol."""
        params = signature.parameters(request, body)
        name = signature.text(params, "Action")
        if request.method not in ("GET", "POST") or request.raw_path not in (b"", b"/"):
            raise Refused("InvalidAction.NotFound")
        if signature.text(params, "Version") != VERSION:
            raise Refused("InvalidVersion")
        if name not in self.handlers:
            raise Refused("InvalidAction.NotFound")
        return name

    async def authenticate(
        self, request: message.Request, body: bytes
    ) -> tuple[identities.Principal, str]:
        """See the protocol."""
        params = signature.parameters(request, body)
        signature.check_form(params)
        access_key = signature.text(params, "AccessKeyId")
        identity = None
        if access_key.isascii():
            identity = await self._people.find(access_key)
        if identity is None:
            raise Refused("InvalidAccessKeyId.NotFound")
        now = datetime.fromtimestamp(self._clock_ms() / 1000, UTC)
        signature.verify(request.method, params, identity.secret_key, now=now)
        self._nonces.spend(access_key, params["SignatureNonce"], now)
        return identity.principal, access_key

    def now_ms(self) -> int:
        """See the protocol."""
        return self._clock_ms()

    def bind(self, _name: str, request: message.Request, body: bytes) -> dict[str, Any]:
        """See the protocol; every handler reads its own parameters, as bytes."""
        return dict(signature.parameters(request, body))

    def reply(
        self, name: str, request: message.Request, result: services.Result
    ) -> message.Response:
        """See the protocol."""
        return _document(
            request, _OK, f"{name}Response", {**result, "RequestId": _request_id(request)}
        )

    def refuse(self, request: message.Request, error: Exception) -> tuple[message.Response, str]:
        """See the protocol."""
        refusal = faults.refusal(error)
        status, text = faults.FAULTS[refusal.code]
        document = {
            "RequestId": _request_id(request),
            "HostId": (request.header(b"host") or b"").decode("latin-1"),
            "Code": refusal.code,
            "Message": refusal.message or text,
        }
        return _document(request, status, "Error", document), refusal.code


def _document(
    request: message.Request, status: int, root: str, document: services.Result
) -> message.Response:
    """Write an answer: as XML where the query asks for it, else as JSON.

    Alibaba's own default is XML. Every SDK names its format, in the query.
    """
    wants_json = b"format=xml" not in request.raw_query.lower()
    if wants_json:
        body, kind = json.dumps(document).encode(), b"application/json;charset=utf-8"
    else:
        text = f"<?xml version='1.0' encoding='UTF-8'?><{root}>{_xml(document)}</{root}>"
        body, kind = text.encode("utf-8", "replace"), b"text/xml;charset=utf-8"
    headers = [
        (b"x-acs-request-id", _request_id(request).encode()),
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    return message.Response(status, headers, body)


def _xml(document: services.Result) -> str:
    pieces = []
    for name, value in document.items():
        for one in value if isinstance(value, list) else [value]:
            inner = _xml(one) if isinstance(one, dict) else escape(str(one), quote=False)
            pieces.append(f"<{name}>{inner}</{name}>")
    return "".join(pieces)


def _request_id(request: message.Request) -> str:
    return request.request_id
