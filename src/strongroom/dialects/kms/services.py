"""What the handlers of the KMS are given to work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from strongroom.dialects import authority, operation

if TYPE_CHECKING:
    from types import ModuleType

    from strongroom.access import identities
    from strongroom.keyring import kms, kms_keys, kms_pairs
    from strongroom.wire import message


@dataclass(frozen=True, slots=True)
class Services:
    """The key management service in its three parts."""

    kms: kms.Kms
    keys: kms_keys.Keys
    pairs: kms_pairs.Pairs


@dataclass(slots=True)
class Call:
    """One authenticated and bound request. What it may do is judged key by key, in `keyring`."""

    # Params hold plaintexts: a call that is shown somewhere must not show them.
    params: dict[str, Any] = field(repr=False)
    caller: kms.Caller
    services: Services


Result = dict[str, Any]
Handler = Callable[[Call], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Declared:
    """A handler and the operation that it is for."""

    name: str
    handler: Handler


def handles(name: str) -> Callable[[Handler], Declared]:
    """Declare the decorated coroutine as the handler of an operation."""

    def declare(handler: Handler) -> Declared:
        return Declared(name, handler)

    return declare


def collect(*modules: ModuleType) -> Mapping[str, Handler]:
    """Gather the handlers that modules declare, by operation name; see `operation.collect`."""
    found = operation.collect(*modules, kind=Declared)
    return {name: declared.handler for name, declared in found.items()}


def caller(principal: identities.Principal, request: message.Request, now_ms: int) -> kms.Caller:
    """Return who sent a request as the KMS knows callers."""
    return authority.key_caller(principal, request, now_ms, direct=True)
