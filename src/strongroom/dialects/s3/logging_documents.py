"""Where a bucket's access log goes: the document.

Sources: S3 API reference, PutBucketLogging; S3 user guide, "Enabling Amazon S3 server
access logging"; texts of errors as S3's clients' trackers quote them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.access import decision, grants, log_delivery
from strongroom.access.actions import Action
from strongroom.dialects.operation import Body, Call, Refused, Result, operation
from strongroom.dialects.s3 import acls, services
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Mapping

_DATES: Final = frozenset({"EventTime", "DeliveryTime"})
_PERMISSIONS: Final = frozenset({"FULL_CONTROL", "READ", "WRITE"})
"""What a target grant may say."""


@operation("PutBucketLogging", action=Action.PUT_BUCKET_LOGGING, body=Body.DOCUMENT)
async def put_bucket_logging(call: Call) -> Result:
    if "BucketLoggingStatus" not in call.params:
        raise Refused("MissingRequestBodyError")
    enabled = call.params["BucketLoggingStatus"].get("LoggingEnabled")
    text: str | None = None
    if enabled is not None:
        _check_format(enabled.get("TargetObjectKeyFormat"))
        acl = await _check_target(call, enabled)
        kept = {"LoggingEnabled": enabled, **({"acl": acl} if acl else {})}
        text = json.dumps(kept, separators=(",", ":"))
    await services.of(call).buckets.change_settings(call.place, {records.LOGGING: text})
    return {}


@operation("GetBucketLogging", action=Action.GET_BUCKET_LOGGING)
async def get_bucket_logging(call: Call) -> Result:
    text = call.place.settings.get(records.LOGGING)
    return {} if text is None else {"LoggingEnabled": json.loads(text)["LoggingEnabled"]}


def _check_format(chosen: Mapping[str, Any] | None) -> None:
    if chosen is None:
        return
    if len(chosen) != 1:
        raise Refused("MalformedXML")
    partitioned = chosen.get("PartitionedPrefix")
    if partitioned is not None and partitioned.get("PartitionDateSource") not in _DATES:
        raise Refused("MalformedXML")


async def _check_target(call: Call, enabled: Mapping[str, Any]) -> str:
    """Check that records may go where they shall; return the list of their objects, encoded.

    Raises:
        Refused: there is no such bucket, it is somebody else's, or its owner has not said yes.
    """
    name, prefix = enabled["TargetBucket"], enabled["TargetPrefix"]
    try:
        target = await services.of(call).buckets.find(name)
    except errors.BucketNotFound:
        raise _bad_target(name, "The target bucket for logging does not exist") from None
    if target.owner != call.place.owner:
        raise _bad_target(
            name, "The owner for the bucket to be logged and the target bucket must be the same."
        )
    if not log_delivery.is_permitted(call.place, target, prefix):
        raise _bad_target(
            name,
            "You must give the log-delivery group WRITE and READ_ACP permissions to the target"
            f" bucket, or permit {log_delivery.SERVICE} s3:PutObject in its policy",
        )
    rows = enabled.get("TargetGrants", ())
    if not rows:
        return ""
    if not decision.rules_of(target).has_lists:
        raise Refused("AccessControlListNotSupported")
    if any(row.get("Permission") not in _PERMISSIONS for row in rows):
        raise Refused("MalformedXML")
    granted = await acls.of_rows(services.of(call), rows)
    return grants.AccessList(
        target.owner, tuple(dict.fromkeys((*grants.private(target.owner).grants, *granted)))
    ).encode()


def _bad_target(name: str, text: str) -> Refused:
    return Refused("InvalidTargetBucketForLogging", text, TargetBucket=name)
