"""How an action of the query API is declared, and what its handler is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from strongroom.dialects.operation import Refused

if TYPE_CHECKING:
    from strongroom.access import accounts, identities, issuers, wildcards

Result = dict[str, Any]


@dataclass(slots=True)
class Ask:
    """One authenticated and authorised request.

    Attributes:
        params: the form, without Action and Version.
        principal: who asks.
        people: users, credentials and sessions.
        now_ms: the time.
        keys: condition keys that every service knows, of this request.
        issuers: verifies identity tokens.
    """

    params: dict[str, str] = field(repr=False)
    principal: identities.Principal
    people: identities.Identities
    now_ms: int
    keys: wildcards.Context = field(repr=False)
    issuers: issuers.Issuers = field(repr=False)

    @property
    def account(self) -> str:
        """Canonical id of the account that is asked about: the asker's."""
        return self.principal.user_id

    @property
    def members(self) -> accounts.Accounts:
        """Who is in accounts."""
        return self.people.members

    def need(self, name: str) -> str:
        """Return a parameter.

        Raises:
            Refused: it is missing.
        """
        value = self.params.get(name)
        if not value:
            raise Refused(
                "ValidationError",
                f"1 validation error detected: Value at '{name[:1].lower()}{name[1:]}' failed to"
                " satisfy constraint: Member must not be null",
            )
        return value

    @property
    def path(self) -> str:
        """The path of what is made."""
        return self.params.get("Path", "/")

    @property
    def prefix(self) -> str:
        """Beginning of the paths that are asked for.

        Raises:
            Refused: it does not begin with a slash.
        """
        prefix = self.params.get("PathPrefix", "/")
        if not prefix.startswith("/"):
            raise Refused("ValidationError", "The specified value for pathPrefix is invalid.")
        return prefix

    def check_served(self, lacks: tuple[str, ...]) -> None:
        """Check that no parameter is asked for that would have to narrow rights and cannot.

        Raises:
            Refused: one is.
        """
        for name in self.params:
            if name.partition(".")[0] in lacks:
                raise Refused(
                    "ValidationError", f"This server does not support the parameter {name[:100]}."
                )


Handler = Callable[[Ask], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Declared:
    """A handler, and what must be permitted.

    Attributes:
        service: `iam` or `sts`.
        kind: of entity that the action is about; empty for none.
        member: the parameter that names it.
        open: everybody who is known may do it, whatever policies say.
        unsigned: it is proven by what its parameters bring, and a signature is not looked at.
        lacks: parameters that would narrow rights, and are not served: refused, never ignored.
    """

    name: str
    service: str
    kind: str
    member: str
    open: bool
    unsigned: bool
    lacks: tuple[str, ...]
    handler: Handler


def action(
    name: str,
    *,
    service: str = "iam",
    kind: str = "",
    member: str = "",
    everybody: bool = False,
    unsigned: bool = False,
    lacks: tuple[str, ...] = (),
) -> Callable[[Handler], Declared]:
    """Declare the decorated coroutine as the handler of an action."""

    def declare(handler: Handler) -> Declared:
        named = member or (f"{kind.capitalize()}Name" if kind else "")
        return Declared(name, service, kind, named, everybody, unsigned, lacks, handler)

    return declare
