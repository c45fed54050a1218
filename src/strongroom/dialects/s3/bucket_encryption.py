"""A bucket's encryption document: what is kept of one that is put, and its deletion.

Two things stand in it, and neither goes because a request is silent about it: the default
of writes that name no encryption, and the types that writes may not use. Observed (S3,
2026-04, terraform-provider-aws issue 47320): a put without BlockedEncryptionTypes leaves
the block as it was. Source of the rest: S3 API reference, PutBucketEncryption.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from strongroom.access.actions import Action
from strongroom.dialects.operation import Call, Refused, Result, operation
from strongroom.dialects.s3 import modes, services

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.store import records

_DEFAULT: Final = "ApplyServerSideEncryptionByDefault"
_BLOCKED: Final = "BlockedEncryptionTypes"
_BUCKET_KEY: Final = "BucketKeyEnabled"


def _document(rule: dict[str, Any]) -> dict[str, Any]:
    """Return a document of one rule, with what every bucket's has."""
    begun: dict[str, Any] = {_DEFAULT: {"SSEAlgorithm": modes.AES}, _BUCKET_KEY: False}
    return {"Rules": [begun | rule]}


UNSET: Final = {"ServerSideEncryptionConfiguration": _document({})}
"""What a bucket shows that nobody set a document for (observed: S3, 2026-02)."""


def blocking() -> str:
    """Return the document of a bucket that refuses customers' keys from its beginning."""
    return json.dumps(_document({_BLOCKED: {"EncryptionType": [modes.BLOCKABLE]}}))


def check(document: dict[str, Any], bucket: records.Bucket) -> Mapping[str, Any]:
    """Return the document that a bucket has after a put.

    Raises:
        Refused: it has not exactly one rule, or the rule cannot be followed.
    """
    rules = document.get("Rules", [])
    if len(rules) != 1:
        raise Refused("MalformedXML")
    (rule,) = rules
    (kept,) = _standing(bucket)["Rules"]
    if _DEFAULT in rule:
        default = rule[_DEFAULT]
        algorithm = default.get("SSEAlgorithm")
        if algorithm not in modes.ALGORITHMS:
            raise Refused("MalformedXML")
        if algorithm == modes.AES and "KMSMasterKeyID" in default:
            raise Refused(
                "InvalidArgument",
                "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or"
                " aws:kms:dsse",
                ArgumentName=_DEFAULT,
            )
        kept = kept | {_DEFAULT: default, _BUCKET_KEY: False}
    if _BUCKET_KEY in rule:
        kept = kept | {_BUCKET_KEY: rule[_BUCKET_KEY]}
    if _BLOCKED in rule:
        types = rule[_BLOCKED].get("EncryptionType", [])
        if types not in ([modes.BLOCKABLE], [modes.UNBLOCKED]):
            raise Refused("MalformedXML")
        kept = kept | {_BLOCKED: {"EncryptionType": types}}
    return {"Rules": [kept]}


@operation("DeleteBucketEncryption", action=Action.PUT_ENCRYPTION_CONFIGURATION)
async def delete_bucket_encryption(call: Call) -> Result:
    """Go back to the store's own keys; a block stays, since nobody asked to lift it."""
    (rule,) = _standing(call.place)["Rules"]
    kept = {_BLOCKED: rule[_BLOCKED]} if _BLOCKED in rule else None
    text = json.dumps(_document(kept)) if kept is not None else None
    await services.of(call).buckets.change_settings(call.place, {modes.DOCUMENT: text})
    return {}


def _standing(bucket: records.Bucket) -> dict[str, Any]:
    text = bucket.settings.get(modes.DOCUMENT)
    found: dict[str, Any] = _document({}) if text is None else json.loads(text)
    return found
