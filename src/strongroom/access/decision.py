"""Who may do what, all rules taken together. Pure: what it needs to know is handed in.

The rule of this release: whoever owns a bucket may do everything in it, root
may do everything everywhere, anybody known may make buckets and list their
own, and nobody unknown may do anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom import errors
from strongroom.access import actions

if TYPE_CHECKING:
    from strongroom.access import identities


def require(
    principal: identities.Principal, action: actions.Action, bucket_owner: str | None
) -> None:
    """Return if `principal` may do `action` on a bucket of `bucket_owner`.

    Args:
        principal: who asks; `identities.ANONYMOUS` for unsigned requests.
        action: what is asked.
        bucket_owner: canonical user id of the bucket's owner; None if the
            action concerns no existing bucket.

    Raises:
        AccessDenied: not allowed.
    """
    if principal.is_root:
        return
    if principal.is_anonymous:
        raise errors.AccessDenied
    if bucket_owner is None:
        if action in actions.NEEDS_NO_BUCKET:
            return
        raise errors.AccessDenied
    if principal.user_id != bucket_owner:
        raise errors.AccessDenied
