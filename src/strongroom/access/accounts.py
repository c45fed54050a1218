"""Who is in an account: users, groups, roles, policies and identity providers, in IAM's words.

Everything belongs to the account of one top-level user, who may do all of this; what an
account's own users may do of it, their policies say (`dialects.iam` asks).

Source: IAM API reference; limits: IAM user guide, "IAM and AWS STS quotas".
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.access import documents, identities, managed
from strongroom.store import directory as stored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from strongroom.store import catalog

USER: Final = "user"
GROUP: Final = "group"
ROLE: Final = "role"
POLICY: Final = "policy"
PROVIDER: Final = "oidc-provider"

MAX_KEYS: Final = 2
MAX_ATTACHED: Final = 10
MAX_GROUPS: Final = 10
MAX_INLINE: Final = {USER: 2048, GROUP: 5120, ROLE: 10_240}
"""Characters of all inline policies together, blanks not counted."""
MAX_TAGS: Final = 50

_PREFIXES: Final = {USER: "AIDA", GROUP: "AGPA", ROLE: "AROA", POLICY: "ANPA", PROVIDER: "SROP"}
_NAMES: Final = {
    USER: re.compile(r"[\w+=,.@-]{1,64}", re.ASCII),
    GROUP: re.compile(r"[\w+=,.@-]{1,128}", re.ASCII),
    ROLE: re.compile(r"[\w+=,.@-]{1,64}", re.ASCII),
    POLICY: re.compile(r"[\w+=,.@-]{1,128}", re.ASCII),
    # `web_identity.name_of` makes it, and knows more of what it may be.
    PROVIDER: re.compile(r"[\w.:\[\]~%/-]{1,255}", re.ASCII),
}
_PATH: Final = re.compile(r"/|/[\x21-\x7e]{1,510}/")
_TRIES: Final = 5
"""A change that loses against another looks again this often."""


@dataclass(slots=True)
class Entity:
    """A user, group, role, policy or identity provider, opened.

    Attributes:
        path: begins and ends with `/`.
        inline: name → policy document, as it was sent.
        attached: ARNs of managed policies.
        groups: ids of a user's groups.
        text: a policy's document; a role's trust policy.
        session_s: how long sessions of a role may last, in seconds.
        clients: audiences of an identity provider.
        thumbprints: of its certificates.
    """

    row: stored.Entity
    path: str = "/"
    inline: dict[str, str] = field(default_factory=dict)
    attached: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    text: str = ""
    description: str = ""
    session_s: int = 3600
    clients: list[str] = field(default_factory=list)
    thumbprints: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its name, as it was written."""
        return self.row.name

    @property
    def arn(self) -> str:
        """Its ARN."""
        account = identities.account_of(self.row.account)
        return f"arn:aws:iam::{account}:{self.row.kind}{self.path}{self.name}"

    def encode(self) -> str:
        """Return the document that the catalog keeps."""
        fields = {
            each.name: getattr(self, each.name)
            for each in dataclasses.fields(self)
            if each.name != "row"
        }
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def parse(cls, row: stored.Entity) -> Entity:
        """Open a row."""
        return cls(row=row, **json.loads(row.document))


class Accounts:
    """Finds and keeps what accounts consist of."""

    def __init__(
        self,
        catalog: catalog.Catalog,
        *,
        random_bytes: Callable[[int], bytes],
        clock_ms: Callable[[], int],
    ) -> None:
        self._catalog = catalog
        self._rows = catalog.directory
        self._random_bytes = random_bytes
        self._clock_ms = clock_ms

    async def by_id(self, entity_id: str) -> Entity | None:
        """Return an entity, or None if it is gone."""
        row = await self._rows.entity(entity_id)
        return None if row is None else Entity.parse(row)

    async def find(self, account: str, kind: str, name: str) -> Entity:
        """Return an entity by name.

        Raises:
            NoSuchEntity: there is none.
        """
        row = await self._rows.named(account, kind, name)
        if row is None:
            raise errors.NoSuchEntity(kind, name)
        return Entity.parse(row)

    async def all(self, account: str, kind: str, *, prefix: str = "/") -> list[Entity]:
        """Return the entities of a kind whose path begins with `prefix`, by name."""
        found = [Entity.parse(row) for row in await self._rows.entities(account, kind)]
        return [each for each in found if each.path.startswith(prefix)]

    async def add(
        self, account: str, kind: str, name: str, *, path: str = "/", **fields: Any
    ) -> Entity:
        """Add an entity.

        Raises:
            EntityExists: the name is taken.
            InvalidEntity: name or path has not the right form.
        """
        _check_name(kind, name)
        check_path(path)
        entity_id = _PREFIXES[kind] + base64.b32encode(self._random_bytes(12)).decode()[:17]
        row = stored.Entity(entity_id, account, kind, name, "", self._clock_ms())
        made = Entity(row, path, **fields)
        made.row = dataclasses.replace(row, document=made.encode())
        if not await self._rows.add(made.row):
            raise errors.EntityExists(kind, name)
        return made

    async def change(
        self, account: str, kind: str, name: str, change: Callable[[Entity], None]
    ) -> Entity:
        """Change an entity; `change` may be called again, on a newer state of it.

        Raises:
            NoSuchEntity: there is none.
            EntityBusy: others kept changing it.
            and what `change` raises.
        """
        for _ in range(_TRIES):
            found = await self.find(account, kind, name)
            version = found.row.version
            change(found)
            found.row = dataclasses.replace(found.row, document=found.encode(), version=version + 1)
            if await self._rows.change(found.row):
                return found
        raise errors.EntityBusy(kind, name)

    async def rename(
        self, account: str, kind: str, name: str, *, new_name: str | None, path: str | None
    ) -> Entity:
        """Give an entity another name or path.

        Raises:
            NoSuchEntity, EntityBusy, InvalidEntity: see there.
            EntityExists: the name is taken.
        """
        if new_name is not None:
            _check_name(kind, new_name)
            other = await self._rows.named(account, kind, new_name)
            found = await self.find(account, kind, name)
            if other is not None and other.entity_id != found.row.entity_id:
                raise errors.EntityExists(kind, new_name)
        if path is not None:
            check_path(path)

        def move(each: Entity) -> None:
            if path is not None:
                each.path = path
            if new_name is not None:
                each.row = dataclasses.replace(each.row, name=new_name)

        return await self.change(account, kind, name, move)

    async def remove(self, account: str, kind: str, name: str) -> None:
        """Remove an entity that nothing hangs on.

        Raises:
            NoSuchEntity: there is none.
            EntityInUse: it has keys, policies or members.
        """
        found = await self.find(account, kind, name)
        if found.inline or (kind != POLICY and found.attached):
            raise errors.EntityInUse("Cannot delete entity, must detach all policies first.")
        if found.groups:
            raise errors.EntityInUse("Cannot delete entity, must remove user from all groups.")
        if kind == USER and await self._catalog.credentials(account, found.row.entity_id):
            raise errors.EntityInUse("Cannot delete entity, must delete access keys first.")
        if kind == GROUP and await self.members(found):
            raise errors.EntityInUse("Cannot delete entity, must remove users from group first.")
        if kind == POLICY and await self.users_of(found.arn, account):
            raise errors.EntityInUse("Cannot delete a policy attached to entities.")
        await self._rows.remove(found.row.entity_id)

    async def members(self, group: Entity) -> list[Entity]:
        """Return a group's users, by name."""
        users = await self.all(group.row.account, USER)
        return [each for each in users if group.row.entity_id in each.groups]

    async def users_of(self, arn: str, account: str) -> list[Entity]:
        """Return the account's users, groups and roles that a policy is attached to."""
        return [
            each
            for kind in (USER, GROUP, ROLE)
            for each in await self.all(account, kind)
            if arn in each.attached
        ]

    async def managed_policy(self, account: str, arn: str) -> Entity | str:
        """Return the account's policy of this ARN, or the text of one that every account has.

        Raises:
            NoSuchEntity: there is none.
        """
        if arn in managed.POLICIES:
            return managed.POLICIES[arn]
        name = arn.rpartition("/")[2]
        found = await self.find(account, POLICY, name)
        if found.arn != arn:
            raise errors.NoSuchEntity(POLICY, arn)
        return found

    async def policies_of(self, member: Entity) -> tuple[documents.Document, ...]:
        """Return all that says what a user or role may do: its own policies, and its groups'.

        A policy that cannot be read denies everything: it may have been a Deny.
        """
        holders = [member]
        for group_id in member.groups:
            group = await self.by_id(group_id)
            if group is not None:
                holders.append(group)
        texts: list[str] = []
        for holder in holders:
            texts += holder.inline.values()
            for arn in holder.attached:
                found = await self.managed_policy(member.row.account, arn)
                texts.append(found if isinstance(found, str) else found.text)
        return tuple(identities.identity_policy(text) for text in texts)


def _check_name(kind: str, name: str) -> None:
    if not _NAMES[kind].fullmatch(name):
        raise errors.InvalidEntity(
            f"The specified value for {kind}Name is invalid. It must contain only alphanumeric"
            " characters and/or the following: +=,.@_-"
        )


def check_path(path: str) -> None:
    """Check a path.

    Raises:
        InvalidEntity: it does not begin and end with a slash.
    """
    if not _PATH.fullmatch(path):
        raise errors.InvalidEntity(
            "The specified value for path is invalid. It must begin and end with / and contain"
            " only alphanumeric characters and/or / characters."
        )


def check_inline(kind: str, inline: Mapping[str, str]) -> None:
    """Check that inline policies do not pass the limit together.

    Raises:
        LimitPassed: they do.
    """
    size = sum(len("".join(text.split())) for text in inline.values())
    if size > MAX_INLINE[kind]:
        raise errors.LimitPassed(
            f"Maximum policy size of {MAX_INLINE[kind]} bytes exceeded for {kind}"
        )


def names(entities: Sequence[Entity]) -> list[str]:
    """Return the names of entities."""
    return [each.name for each in entities]
