"""Handlers of a bucket's versioning."""

from __future__ import annotations

from typing import Final

from strongroom.access.actions import Action
from strongroom.dialects.operation import Body, Call, Refused, Result, operation
from strongroom.dialects.s3 import services
from strongroom.store import records

_STATES: Final = frozenset({records.ENABLED, records.SUSPENDED})


@operation("GetBucketVersioning", action=Action.GET_BUCKET_VERSIONING)
async def get_bucket_versioning(call: Call) -> Result:
    # A bucket that never had versions has no status, not even "Suspended".
    return {"Status": call.place.versioning} if call.place.versioning else {}


@operation("PutBucketVersioning", action=Action.PUT_BUCKET_VERSIONING, body=Body.DOCUMENT)
async def put_bucket_versioning(call: Call) -> Result:
    wanted = call.params.get("VersioningConfiguration", {})
    if "MFA" in call.params or wanted.get("MFADelete", "Disabled") != "Disabled":
        raise Refused(
            "NotImplemented",
            "MfaDelete is not offered here: no user has a device that could confirm a deletion.",
            Header="x-amz-mfa",
        )
    status = wanted.get("Status")
    if status is None:
        raise Refused(
            "IllegalVersioningConfigurationException", "The Versioning element must be specified"
        )
    if status not in _STATES:
        raise Refused("MalformedXML")
    if status != records.ENABLED and records.REPLICATION in call.place.settings:
        # Source: S3 user guide, "Additional replication considerations".
        raise Refused(
            "InvalidBucketState",
            "A replication configuration is present on this bucket, so the versioning state cannot"
            " be changed. To change the versioning state, first delete the replication"
            " configuration.",
        )
    await services.of(call).buckets.change_settings(call.place, {records.VERSIONING: status})
    return {}
