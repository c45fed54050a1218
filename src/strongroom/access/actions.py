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
    UPDATE_OBJECT_ENCRYPTION = "s3:UpdateObjectEncryption"
    ABORT_MULTIPART_UPLOAD = "s3:AbortMultipartUpload"
    LIST_MULTIPART_UPLOAD_PARTS = "s3:ListMultipartUploadParts"
    PUT_BUCKET_TAGGING = "s3:PutBucketTagging"
    GET_BUCKET_TAGGING = "s3:GetBucketTagging"
    PUT_BUCKET_CORS = "s3:PutBucketCORS"
    GET_BUCKET_CORS = "s3:GetBucketCORS"
    PUT_BUCKET_REQUEST_PAYMENT = "s3:PutBucketRequestPayment"
    GET_BUCKET_REQUEST_PAYMENT = "s3:GetBucketRequestPayment"
    GET_BUCKET_ABAC = "s3:GetBucketAbac"
    GET_ACCELERATE_CONFIGURATION = "s3:GetAccelerateConfiguration"
    GET_ANALYTICS_CONFIGURATION = "s3:GetAnalyticsConfiguration"
    GET_ENCRYPTION_CONFIGURATION = "s3:GetEncryptionConfiguration"
    PUT_ENCRYPTION_CONFIGURATION = "s3:PutEncryptionConfiguration"
    GET_BUCKET_LOGGING = "s3:GetBucketLogging"
    PUT_BUCKET_LOGGING = "s3:PutBucketLogging"
    GET_BUCKET_NOTIFICATION = "s3:GetBucketNotification"
    GET_BUCKET_OBJECT_LOCK_CONFIGURATION = "s3:GetBucketObjectLockConfiguration"
    PUT_BUCKET_OBJECT_LOCK_CONFIGURATION = "s3:PutBucketObjectLockConfiguration"
    GET_OBJECT_RETENTION = "s3:GetObjectRetention"
    PUT_OBJECT_RETENTION = "s3:PutObjectRetention"
    GET_OBJECT_LEGAL_HOLD = "s3:GetObjectLegalHold"
    PUT_OBJECT_LEGAL_HOLD = "s3:PutObjectLegalHold"
    BYPASS_GOVERNANCE_RETENTION = "s3:BypassGovernanceRetention"
    GET_BUCKET_WEBSITE = "s3:GetBucketWebsite"
    GET_INTELLIGENT_TIERING_CONFIGURATION = "s3:GetIntelligentTieringConfiguration"
    GET_INVENTORY_CONFIGURATION = "s3:GetInventoryConfiguration"
    GET_LIFECYCLE_CONFIGURATION = "s3:GetLifecycleConfiguration"
    PUT_LIFECYCLE_CONFIGURATION = "s3:PutLifecycleConfiguration"
    GET_METRICS_CONFIGURATION = "s3:GetMetricsConfiguration"
    GET_REPLICATION_CONFIGURATION = "s3:GetReplicationConfiguration"
    PUT_REPLICATION_CONFIGURATION = "s3:PutReplicationConfiguration"
    REPLICATE_OBJECT = "s3:ReplicateObject"
    REPLICATE_DELETE = "s3:ReplicateDelete"
    REPLICATE_TAGS = "s3:ReplicateTags"
    GET_OBJECT_VERSION = "s3:GetObjectVersion"
    GET_OBJECT_VERSION_ACL = "s3:GetObjectVersionAcl"
    PUT_OBJECT_VERSION_ACL = "s3:PutObjectVersionAcl"
    GET_OBJECT_VERSION_TAGGING = "s3:GetObjectVersionTagging"
    PUT_OBJECT_VERSION_TAGGING = "s3:PutObjectVersionTagging"
    DELETE_OBJECT_VERSION_TAGGING = "s3:DeleteObjectVersionTagging"
    DELETE_OBJECT_VERSION = "s3:DeleteObjectVersion"
    GET_OBJECT_ATTRIBUTES = "s3:GetObjectAttributes"
    GET_OBJECT_VERSION_ATTRIBUTES = "s3:GetObjectVersionAttributes"
    GET_BUCKET_POLICY = "s3:GetBucketPolicy"
    PUT_BUCKET_POLICY = "s3:PutBucketPolicy"
    DELETE_BUCKET_POLICY = "s3:DeleteBucketPolicy"
    GET_BUCKET_POLICY_STATUS = "s3:GetBucketPolicyStatus"
    GET_BUCKET_PUBLIC_ACCESS_BLOCK = "s3:GetBucketPublicAccessBlock"
    PUT_BUCKET_PUBLIC_ACCESS_BLOCK = "s3:PutBucketPublicAccessBlock"
    GET_BUCKET_OWNERSHIP_CONTROLS = "s3:GetBucketOwnershipControls"
    PUT_BUCKET_OWNERSHIP_CONTROLS = "s3:PutBucketOwnershipControls"
    GET_BUCKET_VERSIONING = "s3:GetBucketVersioning"
    PUT_BUCKET_VERSIONING = "s3:PutBucketVersioning"


OF_A_VERSION = {
    Action.GET_OBJECT: Action.GET_OBJECT_VERSION,
    Action.GET_OBJECT_ACL: Action.GET_OBJECT_VERSION_ACL,
    Action.PUT_OBJECT_ACL: Action.PUT_OBJECT_VERSION_ACL,
    Action.GET_OBJECT_TAGGING: Action.GET_OBJECT_VERSION_TAGGING,
    Action.PUT_OBJECT_TAGGING: Action.PUT_OBJECT_VERSION_TAGGING,
    Action.DELETE_OBJECT_TAGGING: Action.DELETE_OBJECT_VERSION_TAGGING,
    Action.DELETE_OBJECT: Action.DELETE_OBJECT_VERSION,
    Action.GET_OBJECT_ATTRIBUTES: Action.GET_OBJECT_VERSION_ATTRIBUTES,
}
"""What an action is called when the request names a version."""

NEEDS_NO_BUCKET = frozenset({Action.CREATE_BUCKET, Action.LIST_ALL_MY_BUCKETS})
"""Every known principal may do these; the answer then depends on what the principal owns."""
