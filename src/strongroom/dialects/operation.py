"""How an operation is declared, and how a handler refuses.

A handler is a coroutine under `@operation`, which has no default for `action`:
an operation without authorisation does not import.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from types import ModuleType

    from strongroom.access import actions, identities
    from strongroom.service import transfer
    from strongroom.store import records
    from strongroom.wire import message

ENTRIES: Final = "@entries"
"""In a result, what became of each thing that the request names; for an access log alone."""

Result = dict[str, Any]
"""Members of the operation's output shape; `binding.STATUS` overrides the status.

A streamed body is an `AsyncIterator[bytes]` under its member's name.
"""


class Refused(Exception):
    """A refusal in the dialect's own words.

    Attributes:
        code: the dialect's error code; its table gives the status.
        message: text for people; None takes the table's.
        fields: further children of the error document, name → text.
    """

    def __init__(self, code: str, message: str | None = None, **fields: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.fields = fields


class Body(enum.Enum):
    """What an operation does with the request's body."""

    NONE = "none"
    """Carries nothing that matters; not read."""
    DOCUMENT = "document"
    """Read whole (within a limit) before the handler runs, and bound to params."""
    STREAM = "stream"
    """Handed to the handler as `Call.incoming`."""


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that a request wants to do, and to what.

    Attributes:
        action: for an object without a version; with one, it is judged as that of a version.
        key: object key; None for the bucket itself.
        bucket: None for the bucket of the request.
        version_id: None where the request names none.
        keys: condition keys that the request's headers do not tell.
        makes: it concerns an object that the request makes, not one that is there;
            where access lists count, that object will be its maker's.
        begun_by: canonical id of who began the upload that it concerns, who may see and
            abort it; empty where that does not matter.
    """

    action: actions.Action
    key: str | None = None
    bucket: str | None = None
    version_id: str | None = None
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    makes: bool = False
    begun_by: str = ""


class Judge(Protocol):
    """Tells what the request's principal may do."""

    async def may(self, need: Need) -> bool:
        """Tell whether it may do this.

        Raises:
            BucketNotFound: the need names a bucket that is not there.
        """
        ...

    async def require(self, need: Need) -> None:
        """Return if it may do this.

        Raises:
            AccessDenied: it may not.
            BucketNotFound: as above.
        """
        ...


@dataclass(slots=True)
class Call:
    """One authenticated, authorised and bound request.

    Attributes:
        params: members of the operation's input shape, as sent.
        principal: who asks.
        bucket: the bucket named in the request; None where none is, or where
            the operation makes it.
        judge: for what only the handler can know to ask: each entry of a list.
        incoming: the body, for operations that declared `Body.STREAM`.
        services: the store's services (the dialect knows their type).
    """

    # Headers and params hold customers' keys: a call that is shown somewhere must not show them.
    request: message.Request = field(repr=False)
    params: dict[str, Any] = field(repr=False)
    principal: identities.Principal
    bucket: records.Bucket | None
    judge: Judge
    incoming: transfer.Incoming | None
    services: Any
    now_ms: int

    @property
    def place(self) -> records.Bucket:
        """The bucket, in operations that the pipeline never calls without one."""
        assert self.bucket is not None, "the operation is routed with a bucket"
        return self.bucket


Handler = Callable[[Call], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Needs:
    """Says what an operation needs whose request must be read first.

    Attributes:
        actions: all that can be needed, for the documentation.
        find: finds in the params what this request needs.
    """

    actions: tuple[actions.Action, ...]
    find: Callable[[Mapping[str, Any]], Sequence[Need]]


@dataclass(frozen=True, slots=True)
class Declared:
    """A handler with what the pipeline must know of it.

    Attributes:
        action: what must be permitted on what the request's path names, or what finds
            all that must be in the params; judged then after binding.
        needs_bucket: False where the bucket need not exist before the call.
    """

    name: str
    action: actions.Action | Needs
    body: Body
    needs_bucket: bool
    handler: Handler


def operation(
    name: str,
    *,
    action: actions.Action | Needs,
    body: Body = Body.NONE,
    needs_bucket: bool = True,
) -> Callable[[Handler], Declared]:
    """Declare the decorated coroutine as the handler of the model's operation `name`."""

    def declare(handler: Handler) -> Declared:
        return Declared(name, action, body, needs_bucket, handler)

    return declare


class Named(Protocol):
    """Whatever is declared under the name of an operation."""

    @property
    def name(self) -> str:
        """The operation's."""
        ...


N = TypeVar("N", bound=Named)


@overload
def collect(*modules: ModuleType) -> dict[str, Declared]: ...


@overload
def collect(*modules: ModuleType, kind: type[N]) -> dict[str, N]: ...


def collect(*modules: ModuleType, kind: type[Any] = Declared) -> dict[str, Any]:
    """Gather what modules declare, singly or in tuples, by operation name.

    Args:
        modules: where it stands.
        kind: of declaration; dialects that are not judged by this one's pipeline have their own.

    Raises:
        ValueError: two handlers claim one operation.
    """
    found: dict[str, Any] = {}
    for module in modules:
        for value in vars(module).values():
            for declared in value if isinstance(value, tuple) else (value,):
                if isinstance(declared, kind):
                    if declared.name in found:
                        raise ValueError(f"two handlers claim {declared.name}")
                    found[declared.name] = declared
    return found
