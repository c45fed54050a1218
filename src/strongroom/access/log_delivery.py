"""May the log of one bucket be written into another? Pure.

It is written in nobody's name but the service's, so the target's owner has to have said yes:
in the bucket's policy, or in its access list where lists count.

Source: S3 user guide, "Enabling Amazon S3 server access logging", "Permissions for log
delivery".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from strongroom.access import decision, grants, identities, policy
from strongroom.access.actions import Action

if TYPE_CHECKING:
    from strongroom.store import records

SERVICE: Final = "logging.s3.amazonaws.com"


def is_permitted(source: records.Bucket, target: records.Bucket, prefix: str) -> bool:
    """Whether records of `source` may be written below a prefix of `target`.

    A policy is asked about the prefix, so that one that ends in `PREFIX*` and one that
    names the prefix alone both permit.
    """
    rules = decision.rules_of(target)
    if rules.is_broken or source.owner != target.owner:
        return False
    if rules.policy is not None:
        asked = policy.Asked(
            policy.Asker(service=SERVICE),
            Action.PUT_OBJECT,
            decision.arn_of(target.name, prefix),
            {
                "aws:sourcearn": (decision.arn_of(source.name, None),),
                "aws:sourceaccount": (identities.account_of(source.owner), source.owner),
                "aws:securetransport": ("true",),
            },
        )
        verdict = policy.judge([rules.policy], asked)
        if verdict is not policy.Verdict.SILENT:
            return verdict is policy.Verdict.ALLOWED
    return rules.has_lists and any(
        grant.grantee == grants.LOG_DELIVERY
        and grant.permission in (grants.Permission.WRITE, grants.Permission.FULL_CONTROL)
        for grant in rules.acl.grants
    )
