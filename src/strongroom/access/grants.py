"""Access control lists: who was granted what on a bucket or an object, one by one.

They count only where a bucket has them enabled. What they can say is less than what
policies can, and older.

Source: S3 user guide, "Access control list (ACL) overview".
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from strongroom.access import actions

if TYPE_CHECKING:
    from strongroom.access import identities

MAX_GRANTS: Final = 100
"""Grants on one list. Source: as above."""

ALL_USERS: Final = "AllUsers"
AUTHENTICATED_USERS: Final = "AuthenticatedUsers"
LOG_DELIVERY: Final = "LogDelivery"
GROUPS: Final = frozenset({ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY})
"""Grantees that are no users. A canonical id has 64 hex digits and is never taken for one."""
_PUBLIC: Final = frozenset({ALL_USERS, AUTHENTICATED_USERS})


class Permission(enum.StrEnum):
    """What a grant permits."""

    READ = "READ"
    WRITE = "WRITE"
    READ_ACP = "READ_ACP"
    WRITE_ACP = "WRITE_ACP"
    FULL_CONTROL = "FULL_CONTROL"


ON_BUCKET: Final = {
    actions.Action.LIST_BUCKET: Permission.READ,
    actions.Action.LIST_BUCKET_VERSIONS: Permission.READ,
    actions.Action.LIST_BUCKET_MULTIPART_UPLOADS: Permission.READ,
    actions.Action.PUT_OBJECT: Permission.WRITE,
    actions.Action.DELETE_OBJECT: Permission.WRITE,
    actions.Action.GET_BUCKET_ACL: Permission.READ_ACP,
    actions.Action.PUT_BUCKET_ACL: Permission.WRITE_ACP,
}
"""Which permission on the bucket stands for an action."""

ON_OBJECT: Final = {
    actions.Action.GET_OBJECT: Permission.READ,
    actions.Action.GET_OBJECT_VERSION: Permission.READ,
    actions.Action.GET_OBJECT_ACL: Permission.READ_ACP,
    actions.Action.GET_OBJECT_VERSION_ACL: Permission.READ_ACP,
    actions.Action.PUT_OBJECT_ACL: Permission.WRITE_ACP,
    actions.Action.PUT_OBJECT_VERSION_ACL: Permission.WRITE_ACP,
}
"""Which permission on the object stands for an action."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A grantee, by canonical id or group, and what it may do."""

    grantee: str
    permission: Permission


@dataclass(frozen=True, slots=True)
class AccessList:
    """The owner and the grants, in order."""

    owner: str
    grants: tuple[Grant, ...]

    @property
    def is_public(self) -> bool:
        """Whether a group of people who are not named is granted something."""
        return any(grant.grantee in _PUBLIC for grant in self.grants)

    def without_public(self) -> AccessList:
        """Return the list without grants to such groups."""
        return AccessList(
            self.owner, tuple(grant for grant in self.grants if grant.grantee not in _PUBLIC)
        )

    def allows(self, principal: identities.Principal, permission: Permission) -> bool:
        """Whether the principal is granted a permission, alone or with others."""
        names = {ALL_USERS}
        if not principal.is_anonymous:
            names |= {AUTHENTICATED_USERS, principal.user_id}
        return any(
            grant.grantee in names and grant.permission in (permission, Permission.FULL_CONTROL)
            for grant in self.grants
        )

    def encode(self) -> str:
        """Return the stored form."""
        grants = [[grant.grantee, grant.permission.value] for grant in self.grants]
        return json.dumps({"owner": self.owner, "grants": grants}, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `encode` printed."""
        fields = json.loads(text)
        return cls(
            fields["owner"],
            tuple(Grant(grantee, Permission(name)) for grantee, name in fields["grants"]),
        )


def private(owner: str) -> AccessList:
    """Return the list that is nobody's but the owner's."""
    return AccessList(owner, (Grant(owner, Permission.FULL_CONTROL),))


def canned(name: str, owner: str, bucket_owner: str) -> AccessList | None:
    """Return the list that a canned one stands for; None if there is none of that name."""
    further = {
        "private": (),
        "public-read": ((ALL_USERS, Permission.READ),),
        "public-read-write": ((ALL_USERS, Permission.READ), (ALL_USERS, Permission.WRITE)),
        "authenticated-read": ((AUTHENTICATED_USERS, Permission.READ),),
        "bucket-owner-read": ((bucket_owner, Permission.READ),),
        "bucket-owner-full-control": ((bucket_owner, Permission.FULL_CONTROL),),
        "log-delivery-write": (
            (LOG_DELIVERY, Permission.WRITE),
            (LOG_DELIVERY, Permission.READ_ACP),
        ),
        # Source: as above; the grant to that service of AWS's means nothing here.
        "aws-exec-read": (),
    }
    if name not in further:
        return None
    grants = tuple(Grant(*each) for each in further[name] if each[0] != owner)
    return AccessList(owner, (*private(owner).grants, *grants))
