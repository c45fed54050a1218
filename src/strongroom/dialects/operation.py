"""How an operation is declared, and how a handler refuses.

A handler is a coroutine under `@operation`, which has no default for `action`:
an operation without authorisation does not import.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    from strongroom.access import actions, identities
    from strongroom.service import transfer
    from strongroom.store import records
    from strongroom.wire import message

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


@dataclass(slots=True)
class Call:
    """One authenticated, authorised and bound request.

    Attributes:
        params: members of the operation's input shape, as sent.
        principal: who asks.
        bucket: the bucket named in the request; None where none is, or where
            the operation makes it.
        incoming: the body, for operations that declared `Body.STREAM`.
        services: the store's services (the dialect knows their type).
    """

    # Headers and params hold customers' keys: a call that is shown somewhere must not show them.
    request: message.Request = field(repr=False)
    params: dict[str, Any] = field(repr=False)
    principal: identities.Principal
    bucket: records.Bucket | None
    incoming: transfer.Incoming | None
    services: Any
    now_ms: int

    @property
    def place(self) -> records.Bucket:
        """The bucket, in operations that the pipeline never calls without one."""
        assert self.bucket is not None, "the operation is routed with a bucket"
        return self.bucket


Handler = Callable[[Call], Awaitable[Result]]
Also = Callable[[Mapping[str, Any]], tuple["actions.Action", str]]


@dataclass(frozen=True, slots=True)
class Declared:
    """A handler with what the pipeline must know of it.

    Attributes:
        needs_bucket: False where the bucket need not exist before the call.
        also: finds in the params what else must be permitted, and in which bucket.
    """

    name: str
    action: actions.Action
    body: Body
    needs_bucket: bool
    also: Also | None
    handler: Handler


def operation(
    name: str,
    *,
    action: actions.Action,
    body: Body = Body.NONE,
    needs_bucket: bool = True,
    also: Also | None = None,
) -> Callable[[Handler], Declared]:
    """Declare the decorated coroutine as the handler of the model's operation `name`."""

    def declare(handler: Handler) -> Declared:
        return Declared(name, action, body, needs_bucket, also, handler)

    return declare


def collect(*modules: ModuleType) -> Mapping[str, Declared]:
    """Gather the handlers that modules declare, singly or in tuples, by operation name.

    Raises:
        ValueError: two handlers claim one operation.
    """
    found: dict[str, Declared] = {}
    for module in modules:
        for value in vars(module).values():
            for declared in value if isinstance(value, tuple) else (value,):
                if isinstance(declared, Declared):
                    if declared.name in found:
                        raise ValueError(f"two handlers claim {declared.name}")
                    found[declared.name] = declared
    return found
