"""The one request path, in fixed order.

    route → unfold → authenticate → find the bucket → authorise → bind → handle → reply

A dialect supplies the steps that are a matter of syntax; the order, and that
no step can be left out, is here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from strongroom import errors
from strongroom.access import identities
from strongroom.dialects import authority, operation
from strongroom.service import judgement
from strongroom.wire import message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from strongroom.service import buckets, transfer
    from strongroom.store import records


_TRIES = 3
"""A request whose object is replaced while it is judged is judged again this often."""

LARGE_DOCUMENT_BYTES = 64 * 1024
"""Documents beyond this are read on a thread."""


class Routed(NamedTuple):
    """What a request means, before anybody asked who sent it.

    Attributes:
        name: the model's operation.
        declared: its handler; None where this release does not serve it.
        bucket: bucket named in host or path; None if none is.
        key: object key, decoded; None if none is.
        query: decoded parameters in order.
        version_id: version that the request names; None if it names none.
    """

    name: str
    declared: operation.Declared | None
    bucket: str | None
    key: str | None
    query: list[tuple[str, str]]
    version_id: str | None = None


@dataclass(slots=True)
class Outcome:
    """An answer, with what the access log says about it.

    `place` and `principal` are there as soon as they are known: the bucket, and who asks.
    `needed_list` tells that an access list allowed it and nothing else, where a log is kept.
    `entries` tells what became of each key that a request names in its body.
    `gone` is set where the client hung up in the middle of its body: there is
    nobody to answer, and `response` means nothing.

    For the audit log: `cause` is why it was refused, `request` what a form stood for, and
    `kms_key` the key that a call of the KMS named.
    """

    response: message.Response
    operation: str = ""
    bucket: str = ""
    key: str = ""
    access_key: str = ""
    error: str = ""
    place: records.Bucket | None = None
    principal: identities.Principal | None = None
    needed_list: bool = False
    entries: Sequence[Mapping[str, Any]] = ()
    gone: errors.ClientGone | None = None
    cause: Exception | None = None
    request: message.Request | None = field(default=None, repr=False)
    kms_key: str = ""


class Authentication(Protocol):
    """What verifying a signature yields."""

    @property
    def principal(self) -> identities.Principal:
        """Who asks."""
        ...

    @property
    def access_key(self) -> str:
        """The access key that signed; empty for anonymous requests."""
        ...


class Dialect(Protocol):
    """The steps that differ from dialect to dialect.

    All but `refuse` may raise `Refused` or a domain error.
    """

    def route(self, request: message.Request) -> Routed:
        """Find out what the request means."""
        ...

    async def unfold(
        self, request: message.Request, routed: Routed
    ) -> tuple[message.Request, Routed]:
        """Make of a form the request that it stands for; others are returned as they are.

        It comes before authentication because a form is signed in its fields. Of its body
        no more than those are read.
        """
        ...

    async def authenticate(self, request: message.Request) -> Authentication:
        """Find out who sent it; anonymous requests have a principal too."""
        ...

    def condition_keys(
        self, request: message.Request, routed: Routed, proof: Authentication
    ) -> Mapping[str, tuple[str, ...]]:
        """Return what policies can ask about the request; made only where one is judged."""
        ...

    async def document(
        self, request: message.Request, routed: Routed, proof: Authentication
    ) -> bytes:
        """Read a document body whole, within a limit, and check its digests."""
        ...

    def incoming(
        self, request: message.Request, routed: Routed, proof: Authentication
    ) -> transfer.Incoming:
        """Describe a streamed body; nothing is read yet."""
        ...

    def bind(
        self, request: message.Request, routed: Routed, document: bytes | None
    ) -> dict[str, Any]:
        """Turn headers, query and document into the operation's params."""
        ...

    def expected_owners(self, params: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        """Return whose the request takes buckets to be: (bucket, id of the account)."""
        ...

    def reply(
        self, request: message.Request, routed: Routed, result: operation.Result
    ) -> message.Response:
        """Write an answer."""
        ...

    def refuse(
        self, request: message.Request, routed: Routed | None, error: Exception
    ) -> tuple[message.Response, str]:
        """Write a refusal; return it with its error code. Never raises."""
        ...


async def _close_streams(result: operation.Result) -> None:
    """Let go of what a result was about to stream."""
    for value in result.values():
        if hasattr(value, "aclose"):
            await value.aclose()


class Pipeline:
    """Carries each request of a dialect through all steps."""

    def __init__(
        self,
        dialect: Dialect,
        buckets: buckets.Buckets,
        services: Any,
        *,
        look: authority.Look,
        clock_ms: Callable[[], int],
        report: Callable[[message.Request, Exception], None],
    ) -> None:
        """Make the path.

        Args:
            dialect: the steps that differ.
            buckets: finds the bucket that a request names.
            services: handed to the handlers.
            look: reads what is known of an object without its key.
            clock_ms: the time.
            report: is told of failures that are not the client's.
        """
        self._dialect = dialect
        self._buckets = buckets
        self._services = services
        self._look = look
        self._clock_ms = clock_ms
        self._report = report

    async def handle(self, request: message.Request) -> Outcome:
        """Answer a request; whatever goes wrong becomes an answer too."""
        outcome = Outcome(message.Response(500, []))
        routed: Routed | None = None
        try:
            routed = self._dialect.route(request)
            outcome.operation = routed.name
            outcome.bucket, outcome.key = routed.bucket or "", routed.key or ""
            request, routed = await self._dialect.unfold(request, routed)
            outcome.key, outcome.request = routed.key or "", request
            proof = await self._dialect.authenticate(request)
            outcome.access_key, outcome.principal = proof.access_key, proof.principal
            outcome.response = await self._answer(request, routed, proof, outcome)
        except errors.ClientGone as error:
            outcome.gone = error
        except (operation.Refused, errors.StrongroomError) as error:
            if isinstance(error, errors.StoreTrouble | errors.NotAuthentic):
                self._report(request, error)
            outcome.cause = error
            outcome.response, outcome.error = self._dialect.refuse(request, routed, error)
        except Exception as error:  # noqa: BLE001 - the last resort: a bug must become an answer
            self._report(request, error)
            outcome.cause = error
            outcome.response, outcome.error = self._dialect.refuse(request, routed, error)
        return outcome

    async def _answer(
        self, request: message.Request, routed: Routed, proof: Authentication, outcome: Outcome
    ) -> message.Response:
        declared = routed.declared
        if declared is None:
            raise operation.Refused("NotImplemented")
        for tries_left in reversed(range(_TRIES)):
            try:
                return await self._judged(request, routed, declared, proof, outcome)
            except errors.MarksChanged:
                # Another object took the place of the one that the request was judged by. A
                # body that was read is gone: then the client has to try again.
                if not tries_left or declared.body is not operation.Body.NONE:
                    raise
            finally:
                judgement.forget()
        raise AssertionError("the last try returns or raises")

    async def _judged(
        self,
        request: message.Request,
        routed: Routed,
        declared: operation.Declared,
        proof: Authentication,
        outcome: Outcome,
    ) -> message.Response:
        bucket: records.Bucket | None = None
        if routed.bucket is not None and declared.needs_bucket:
            bucket = outcome.place = await self._buckets.find(routed.bucket)
        judge = authority.Authority(
            proof.principal,
            bucket,
            name=routed.bucket,
            keys=lambda: self._dialect.condition_keys(request, routed, proof),
            find=self._buckets.find,
            look=self._look,
        )
        params = await self._permitted(request, routed, declared, proof, judge)
        outcome.needed_list = judge.needed_list
        incoming: transfer.Incoming | None = None
        if declared.body is operation.Body.STREAM:
            incoming = self._dialect.incoming(request, routed, proof)
        call = operation.Call(
            request=request,
            params=params,
            principal=proof.principal,
            bucket=bucket,
            judge=judge,
            incoming=incoming,
            services=self._services,
            now_ms=self._clock_ms(),
        )
        result = await _handled(declared, call, judge)
        outcome.entries = result.pop(operation.ENTRIES, ())
        try:
            return self._dialect.reply(request, routed, result)
        except BaseException:
            await _close_streams(result)
            raise

    async def _permitted(
        self,
        request: message.Request,
        routed: Routed,
        declared: operation.Declared,
        proof: Authentication,
        judge: authority.Authority,
    ) -> dict[str, Any]:
        """Judge the request, and bind it. What is not in params is judged before it is read."""
        needs = declared.action
        if isinstance(needs, operation.Needs):
            judge.check_interest()
        else:
            await judge.require(operation.Need(needs, routed.key, version_id=routed.version_id))
        document: bytes | None = None
        if declared.body is operation.Body.DOCUMENT:
            document = await self._dialect.document(request, routed, proof)
        if document is not None and len(document) > LARGE_DOCUMENT_BYTES:
            # Ten thousand parts take longer to read than others should wait.
            params = await asyncio.to_thread(self._dialect.bind, request, routed, document)
        else:
            params = self._dialect.bind(request, routed, document)
        if isinstance(needs, operation.Needs):
            for need in needs.find(params):
                await judge.require(need)
        for name, expected in self._dialect.expected_owners(params):
            owner = (await self._buckets.find(name)).owner
            if expected not in (owner, identities.account_of(owner)):
                raise errors.AccessDenied
        return params


async def _handled(
    declared: operation.Declared, call: operation.Call, judge: authority.Authority
) -> operation.Result:
    try:
        return await declared.handler(call)
    except (errors.ObjectNotFound, errors.VersionNotFound) as error:
        if await judge.may_list(error.bucket, error.key):
            raise
        # Else answers would list the bucket to whoever may not list it, key by key.
        raise errors.AccessDenied from error
