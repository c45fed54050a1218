"""S3's wire model compiled, its handlers collected, and what it declines."""

from __future__ import annotations

from importlib import resources
from typing import Final

from strongroom.dialects import operation
from strongroom.dialects.s3 import (
    acls,
    bucket_encryption,
    buckets,
    copying,
    corrections,
    lifecycle,
    listing,
    locks,
    logging_documents,
    multipart,
    objects,
    policies,
    posting,
    replication,
    settings,
    tagging,
    updates,
    versioning,
)
from strongroom.wire import binding, model

MODEL: Final = corrections.complete(
    model.load(resources.files("strongroom.dialects.s3").joinpath("model.json").read_bytes())
)
BINDINGS: Final = binding.compile_operations(MODEL, corrections.CORRECTIONS)
HANDLERS: Final = operation.collect(
    acls,
    bucket_encryption,
    buckets,
    copying,
    lifecycle,
    listing,
    locks,
    logging_documents,
    multipart,
    objects,
    policies,
    posting,
    replication,
    settings,
    tagging,
    updates,
    versioning,
)

_LATER = "not in this release"
_DIRECTORY = "directory buckets are AWS's own kind of storage"
_TABLES = "S3 Metadata tables are a service of AWS beside S3"
_ELSEWHERE = "needs other services of AWS"

DECLINED: Final = {
    "CreateBucketMetadataConfiguration": _TABLES,
    "CreateBucketMetadataTableConfiguration": _TABLES,
    "CreateSession": _DIRECTORY,
    "DeleteBucketMetadataConfiguration": _TABLES,
    "DeleteBucketMetadataTableConfiguration": _TABLES,
    "GetBucketMetadataConfiguration": _TABLES,
    "GetBucketMetadataTableConfiguration": _TABLES,
    "GetObjectTorrent": "S3 itself has ended it",
    "ListDirectoryBuckets": _DIRECTORY,
    "RenameObject": _DIRECTORY,
    "RestoreObject": "no object is ever archived here",
    "SelectObjectContent": "AWS closed it to new customers",
    "UpdateBucketMetadataInventoryTableConfiguration": _TABLES,
    "UpdateBucketMetadataJournalTableConfiguration": _TABLES,
    "WriteGetObjectResponse": _ELSEWHERE,
}
"""Operations that are not planned, and why."""


def standing(name: str) -> str:
    """Return "served", or why an operation of the model is not."""
    if name in HANDLERS:
        return "served"
    return DECLINED.get(name, _LATER)
