"""Which pages of other origins may use a bucket: preflights, and headers on answers.

A browser asks with OPTIONS before it sends what a form could not send, and shows a
page an answer only if the answer names the page's origin. Neither is permission: who
may do what is decided as for any request, and a preflight is not signed.

Sources: S3 user guide, "Using cross-origin resource sharing (CORS)" and "Elements of a
CORS configuration"; the Fetch standard, "CORS protocol"; texts of errors as S3 was seen
to answer.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.dialects import pipeline
from strongroom.dialects.operation import Refused
from strongroom.dialects.s3 import routes
from strongroom.wire import message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from strongroom.dialects import authority
    from strongroom.dialects.s3 import dialect, services
    from strongroom.service import buckets
    from strongroom.store import records

SETTING: Final = "cors"
PREFLIGHT: Final = "Preflight"
"""What an OPTIONS request is called in log and metrics."""
MAX_RULES: Final = 100
MAX_ID: Final = 255
METHODS: Final = frozenset({"GET", "PUT", "HEAD", "POST", "DELETE"})

_HEADER_NAME: Final = re.compile(r"[!#$%&'+.^_`|~0-9A-Za-z-]+")
_VARY: Final = (
    b"vary",
    b"Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
)
_NOT_ALLOWED: Final = (
    # Spelled as S3 spells it.
    "CORSResponse: This CORS request is not allowed. This is usually because the evalution of"
    " Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are"
    " not whitelisted by the resource's CORS spec."
)


def check(document: dict[str, Any], _bucket: records.Bucket) -> Mapping[str, Any]:
    """Return a document as it is to be kept.

    Raises:
        Refused: a rule is not allowed.
    """
    rules = document.get("CORSRules", [])
    if not 1 <= len(rules) <= MAX_RULES:
        raise Refused("MalformedXML")
    for rule in rules:
        _check_rule(rule)
    return document


def _check_rule(rule: Mapping[str, Any]) -> None:
    origins, methods = rule.get("AllowedOrigins", []), rule.get("AllowedMethods", [])
    if (
        not origins
        or "" in origins
        or not methods
        or len(rule.get("ID", "")) > MAX_ID
        or rule.get("MaxAgeSeconds", 0) < 0
    ):
        raise Refused("MalformedXML")
    for method in methods:
        if method not in METHODS:
            raise Refused(
                "InvalidRequest",
                "Found unsupported HTTP method in CORS config. Unsupported method is " + method,
            )
    _check_stars("AllowedOrigin", origins)
    _check_stars("AllowedHeader", rule.get("AllowedHeaders", []))
    for value in rule.get("ExposeHeaders", []):
        if "*" in value:
            raise Refused(
                "InvalidRequest",
                f'ExposeHeader "{value}" contains wildcard. We currently do not support wildcard'
                " for ExposeHeader.",
            )
        if _HEADER_NAME.fullmatch(value) is None:
            raise Refused("InvalidRequest", f'ExposeHeader "{value}" contains invalid character.')


def _check_stars(name: str, patterns: Sequence[str]) -> None:
    for pattern in patterns:
        if pattern.count("*") > 1:
            raise Refused(
                "InvalidRequest", f'{name} "{pattern}" can not have more than one wildcard.'
            )


@dataclass(frozen=True, slots=True)
class Asked:
    """What a page wants.

    Attributes:
        origin: where it comes from.
        method: what it wants to send.
        headers: names of the headers that it wants to send, in lower case.
    """

    origin: str
    method: str
    headers: tuple[str, ...] = ()


def rules_of(bucket: records.Bucket) -> Sequence[Mapping[str, Any]] | None:
    """Return a bucket's rules; None if it has none."""
    text = bucket.settings.get(SETTING)
    if text is None:
        return None
    found: list[dict[str, Any]] = json.loads(text)["CORSRules"]
    return found


def allowed(rules: Sequence[Mapping[str, Any]], asked: Asked) -> message.Headers | None:
    """Return the headers of an answer to a page; None if no rule allows what it asks.

    The first rule that fits decides.
    """
    for rule in rules:
        origin = next((each for each in rule["AllowedOrigins"] if _fits(each, asked.origin)), None)
        if origin is None or asked.method not in rule["AllowedMethods"]:
            continue
        known = [each.lower() for each in rule.get("AllowedHeaders", ())]
        if not all(any(_fits(each, name) for each in known) for name in asked.headers):
            continue
        return _headers(rule, asked, anyone=origin == "*")
    return None


def _headers(rule: Mapping[str, Any], asked: Asked, *, anyone: bool) -> message.Headers:
    shown = [
        ("access-control-allow-origin", "*" if anyone else asked.origin),
        ("access-control-allow-methods", ", ".join(rule["AllowedMethods"])),
    ]
    if asked.headers:
        shown.append(("access-control-allow-headers", ", ".join(asked.headers)))
    if rule.get("ExposeHeaders"):
        shown.append(("access-control-expose-headers", ", ".join(rule["ExposeHeaders"])))
    if "MaxAgeSeconds" in rule:
        shown.append(("access-control-max-age", str(rule["MaxAgeSeconds"])))
    if not anyone:
        shown.append(("access-control-allow-credentials", "true"))
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in shown]


def _fits(pattern: str, text: str) -> bool:
    """Whether a text is what a pattern with at most one `*` stands for."""
    before, star, after = pattern.partition("*")
    if not star:
        return pattern == text
    return (
        len(text) >= len(before) + len(after) and text.startswith(before) and text.endswith(after)
    )


class Sharing(pipeline.Pipeline):
    """A pipeline whose answers pages of other origins may see, as far as its buckets say."""

    def __init__(
        self,
        dialect: dialect.S3,
        buckets: buckets.Buckets,
        services: services.Services,
        *,
        look: authority.Look,
        domains: Sequence[str],
        clock_ms: Callable[[], int],
        report: Callable[[message.Request, Exception], None],
    ) -> None:
        super().__init__(dialect, buckets, services, look=look, clock_ms=clock_ms, report=report)
        self._s3 = dialect
        self._places = buckets
        self._domains = domains

    async def handle(self, request: message.Request) -> pipeline.Outcome:
        """Answer a request; whatever goes wrong becomes an answer too."""
        if request.method == "OPTIONS":
            return await self._preflight(request)
        outcome = await super().handle(request)
        origin = request.header(b"origin")
        if origin is not None and outcome.bucket and outcome.gone is None:
            asked = Asked(
                origin.decode("latin-1"),
                # A client that says what it asks for is answered about that, as at S3.
                _text(request, b"access-control-request-method") or request.method,
            )
            try:
                rules = rules_of(await self._places.find(outcome.bucket))
            except errors.StrongroomError:
                # The request was answered; whatever kept its bucket was told there.
                return outcome
            if rules is not None:
                outcome.response.headers += [*(allowed(rules, asked) or ()), _VARY]
        return outcome

    async def _preflight(self, request: message.Request) -> pipeline.Outcome:
        outcome = pipeline.Outcome(message.Response(200, []), operation=PREFLIGHT)
        try:
            where = routes.address(request, self._domains)
            outcome.bucket, outcome.key = where.bucket or "", where.key or ""
            headers = await self._allowed(request, where)
        except (Refused, errors.StrongroomError) as error:
            outcome.response, outcome.error = self._s3.refuse(request, None, error)
            return outcome
        outcome.response.headers = [
            *self._s3.own_headers(request),
            *headers,
            _VARY,
            (b"content-length", b"0"),
        ]
        return outcome

    async def _allowed(self, request: message.Request, where: routes.Address) -> message.Headers:
        origin = _text(request, b"origin")
        if not origin:
            raise Refused("BadRequest", "Insufficient information. Origin request header needed.")
        method = _text(request, b"access-control-request-method")
        if method not in METHODS:
            raise Refused(
                "BadRequest", f"Invalid Access-Control-Request-Method: {method or 'null'}"
            )
        about = {"Method": method, "ResourceType": "BUCKET" if where.key is None else "OBJECT"}
        rules = None
        if where.bucket is not None:
            try:
                rules = rules_of(await self._places.find(where.bucket))
            except errors.BucketNotFound:
                raise Refused(
                    "AccessForbidden", "CORSResponse: Bucket not found", **about
                ) from None
        if rules is None:
            raise Refused(
                "AccessForbidden", "CORSResponse: CORS is not enabled for this bucket.", **about
            )
        wanted = _text(request, b"access-control-request-headers") or ""
        names = tuple(name.strip().lower() for name in wanted.split(",") if name.strip())
        found = allowed(rules, Asked(origin, method, names))
        if found is None:
            raise Refused("AccessForbidden", _NOT_ALLOWED, **about)
        return found


def _text(request: message.Request, name: bytes) -> str | None:
    value = request.header(name)
    return None if value is None else value.decode("latin-1").strip()
