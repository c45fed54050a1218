"""The vocabulary of what can be permitted, shared by all dialects.

Source: the S3 section of AWS's Service Authorization Reference; the names are
those that bucket policies use.
"""

from __future__ import annotations

import enum


class Action(enum.StrEnum):
    """What a request wants to do; the value is its name in policies."""

    CREATE_BUCKET = "s3:CreateBucket"
    DELETE_BUCKET = "s3:DeleteBucket"
    LIST_ALL_MY_BUCKETS = "s3:ListAllMyBuckets"
    LIST_BUCKET = "s3:ListBucket"
    LIST_BUCKET_VERSIONS = "s3:ListBucketVersions"
    LIST_BUCKET_MULTIPART_UPLOADS = "s3:ListBucketMultipartUploads"
    GET_BUCKET_LOCATION = "s3:GetBucketLocation"
    PUT_OBJECT = "s3:PutObject"
    GET_OBJECT = "s3:GetObject"
    GET_BUCKET_ACL = "s3:GetBucketAcl"
    PUT_BUCKET_ACL = "s3:PutBucketAcl"
    GET_OBJECT_ACL = "s3:GetObjectAcl"
    PUT_OBJECT_ACL = "s3:PutObjectAcl"
    PUT_OBJECT_TAGGING = "s3:PutObjectTagging"
    GET_OBJECT_TAGGING = "s3:GetObjectTagging"
    DELETE_OBJECT_TAGGING = "s3:DeleteObjectTagging"
    DELETE_OBJECT = "s3:DeleteObject"
    ABORT_MULTIPART_UPLOAD = "s3:AbortMultipartUpload"
    LIST_MULTIPART_UPLOAD_PARTS = "s3:ListMultipartUploadParts"


NEEDS_NO_BUCKET = frozenset({Action.CREATE_BUCKET, Action.LIST_ALL_MY_BUCKETS})
"""Every known principal may do these; the answer then depends on what the principal owns."""
