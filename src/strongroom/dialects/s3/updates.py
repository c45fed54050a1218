"""UpdateObjectEncryption: another KMS key for an object, in place.

As in S3 it leads to SSE-KMS only, and only from SSE-S3 and SSE-KMS.
"""

from __future__ import annotations

import re
from typing import Final

from strongroom import errors
from strongroom.access.actions import Action
from strongroom.dialects.operation import Body, Call, Refused, Result, operation
from strongroom.dialects.s3 import facets, modes, services
from strongroom.keyring import kms_sources

_ARN: Final = re.compile(r"arn:aws[-a-z0-9]*:kms:[-a-z0-9]*:[0-9]{12}:key/.+")
"""Source: S3 API reference, SSEKMSEncryption, KMSKeyArn."""

# Source of these: S3 API reference, UpdateObjectEncryption, "Errors".
_NO_TYPE: Final = (
    "Requests that modify an object encryption configuration require a valid new encryption type."
    " Valid values are SSEKMS. Modify the request to specify SSE-KMS for the updated encryption"
    " type, and then try again."
)
_BAD_KEY: Final = (
    "Requests that modify an object's encryption type to SSE-KMS require a valid AWS KMS key Amazon"
    " Resource Name (ARN). Confirm that you have a correctly formatted KMS key ARN in your request,"
    " and then try again."
)
_LOCKED: Final = (
    "The encryption type for the specified object can't be updated because that object is protected"
    " by S3 Object Lock. If the object has a governance-mode retention period or a legal hold, you"
    " must first remove the Object Lock status on the object before you issue your"
    " UpdateObjectEncryption request. You can't use the UpdateObjectEncryption operation with"
    " objects that have an Object Lock compliance mode retention period applied to them."
)


@operation("UpdateObjectEncryption", action=Action.UPDATE_OBJECT_ENCRYPTION, body=Body.DOCUMENT)
async def update_object_encryption(call: Call) -> Result:
    params = call.params
    wanted = params.get("ObjectEncryption", {}).get("SSEKMS")
    if wanted is None:
        raise Refused("InvalidRequest", _NO_TYPE)
    arn = wanted["KMSKeyArn"]
    if _ARN.fullmatch(arn) is None:
        raise Refused("InvalidRequest", _BAD_KEY)
    caller = modes.caller(call)
    try:
        await services.of(call).rewrapping.rewrap(
            call.place.name,
            params["Key"],
            version_id=facets.version_id(params),
            caller=caller,
            wish=kms_sources.Wish(
                key=arn,
                caller=caller,
                context={},
                bucket_key=wanted.get("BucketKeyEnabled", False),
            ),
            bucket_made_ms=call.place.created_ms,
        )
    except errors.ObjectLocked as error:
        raise Refused("AccessDenied", _LOCKED) from error
    return {}
