"""What S3 does on the wire and its vendored model does not say.

Source, unless a line names another: the "Response Syntax" and the examples of each
operation in the Amazon S3 API Reference.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from strongroom.dialects.s3 import listed
from strongroom.wire import binding, model

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

# Root elements of replies whose output is the document itself. Where a payload
# member is the document, its own name is the root. Not confirmed, and harmless since
# clients read past the root: CreateSession and the two about annotations.
ROOTS = {
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "CreateSession": "CreateSessionResult",
    "DeleteObjects": "DeleteResult",
    "GetBucketAccelerateConfiguration": "AccelerateConfiguration",
    "GetBucketAcl": "AccessControlPolicy",
    "GetBucketCors": "CORSConfiguration",
    "GetBucketLifecycle": "LifecycleConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketLocation": "LocationConstraint",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketNotification": "NotificationConfiguration",
    "GetBucketNotificationConfiguration": "NotificationConfiguration",
    "GetBucketRequestPayment": "RequestPaymentConfiguration",
    "GetBucketTagging": "Tagging",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetBucketWebsite": "WebsiteConfiguration",
    "GetObjectAcl": "AccessControlPolicy",
    "GetObjectAttributes": "GetObjectAttributesResponse",
    "GetObjectTagging": "Tagging",
    "ListBucketAnalyticsConfigurations": "ListBucketAnalyticsConfigurationResult",
    "ListBucketIntelligentTieringConfigurations": "ListBucketIntelligentTieringConfigurationsOutput",
    "ListBucketInventoryConfigurations": "ListInventoryConfigurationsResult",
    "ListBucketMetricsConfigurations": "ListMetricsConfigurationsResult",
    "ListBuckets": "ListAllMyBucketsResult",
    "ListDirectoryBuckets": "ListAllMyDirectoryBucketsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "ListObjectAnnotations": "ListObjectAnnotationsResult",
    "ListObjectVersions": "ListVersionsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListParts": "ListPartsResult",
    "PutObjectAnnotation": "PutObjectAnnotationResult",
}

# Elements that stand in a reply even if there is nothing to say; clients written
# by hand read them without asking. The choice is ours where the examples differ
# among themselves. What follows from the request (Name, MaxKeys,
# the markers it sent) the handler gives.
ALWAYS: Mapping[str, Mapping[str, Any]] = {
    "ListBuckets": {"Buckets": ()},
    "ListMultipartUploads": {
        "KeyMarker": "",
        "UploadIdMarker": "",
        "NextKeyMarker": "",
        "NextUploadIdMarker": "",
        "MaxUploads": 1000,
        "IsTruncated": False,
    },
    "ListObjectVersions": {
        "Prefix": "",
        "KeyMarker": "",
        "VersionIdMarker": "",
        "MaxKeys": 1000,
        "IsTruncated": False,
    },
    "ListObjects": {"Prefix": "", "Marker": "", "MaxKeys": 1000, "IsTruncated": False},
    "ListObjectsV2": {"Prefix": "", "KeyCount": 0, "MaxKeys": 1000, "IsTruncated": False},
    "ListParts": {
        "PartNumberMarker": 0,
        "NextPartNumberMarker": 0,
        "MaxParts": 1000,
        "IsTruncated": False,
    },
    "GetBucketTagging": {"TagSet": ()},
    "GetObjectTagging": {"TagSet": ()},
}

# The model has the 204 of deletions. Setting a policy answers so, too.
# Source: PutBucketPolicy, sample response; the text beside it says 200.
SUCCESS = {"PutBucketPolicy": 204}

# `<LocationConstraint xmlns="…">eu-west-1</LocationConstraint>`: the output's one
# member is the root's text; us-east-1 is the empty text.
# Source: GetBucketLocation, Response Syntax and LocationConstraint.
TEXT_REPLIES = {"GetBucketLocation": "LocationConstraint"}

PAYLOAD_TYPES = {"GetBucketPolicy": "application/json", "PutReplica": "application/json"}

# The shape's name, which earlier versions of the model used as the root.
OTHER_ROOTS = {
    "PutObjectLegalHold": frozenset({"ObjectLockLegalHold"}),
    "PutObjectRetention": frozenset({"ObjectLockRetention"}),
}

# "A recipient MUST ignore the If-Modified-Since header field if the received
# field value is not a valid HTTP-date": RFC 9110, 13.1.3, and so 13.1.4.
IGNORED_IF_MALFORMED = frozenset({"IfModifiedSince", "IfUnmodifiedSince"})

# A presigned URL may carry an x-amz-* header as a parameter (SDKs "hoist" them),
# but a customer's key in a URL is a key in every log on the way.
QUERY_HEADERS = "x-amz-"
NEVER_IN_QUERY = frozenset(
    {
        "x-amz-server-side-encryption-customer-key",
        "x-amz-copy-source-server-side-encryption-customer-key",
    }
)

POST_OBJECT = "PostObject"
_POST_RESPONSE = "PostResponse"


def with_post_object(source: model.Model) -> model.Model:
    """Return a model that also has POST Object, which no SDK calls and botocore leaves out.

    Its input is PutObject's, because a form's fields say what PutObject's headers say.
    Source: S3 API reference, "POST Object".
    """
    put = source.operations["PutObject"]
    assert put.input is not None, "PutObject has params"
    assert put.output is not None, "PutObject answers"
    text = source.shapes[put.output].members["ETag"].shape
    document = model.Shape(
        _POST_RESPONSE,
        "structure",
        {name: model.Member(name, text) for name in ("Location", "Bucket", "Key", "ETag")},
    )
    answer = model.Shape(
        "PostObjectOutput",
        "structure",
        {
            **source.shapes[put.output].members,
            "Location": model.Member("Location", text, wire_name="Location", location="header"),
            _POST_RESPONSE: model.Member(_POST_RESPONSE, document.name),
        },
        payload=_POST_RESPONSE,
    )
    operation = dataclasses.replace(
        put,
        name=POST_OBJECT,
        method="POST",
        path="/{Bucket}",
        success=204,
        output=answer.name,
        checksum_required=False,
        errors=(),
    )
    return model.Model(
        source.source,
        {**source.operations, POST_OBJECT: operation},
        {**source.shapes, document.name: document, answer.name: answer},
    )


_DIGEST_NOT_ASKED = (
    "PutBucketAcl",
    "PutBucketLogging",
    "PutBucketPolicy",
    "PutBucketRequestPayment",
    "PutObjectAcl",
)
"""Documents that the model wants a digest of and S3 takes without one.

Source: s3cmd 2.4, `S3/S3.py`, which sends a Content-MD5 with all documents but these.
"""


def without_needless_digests(source: model.Model) -> model.Model:
    """Return a model that asks for digests of documents where S3 does."""
    relaxed = {
        name: dataclasses.replace(source.operations[name], checksum_required=False)
        for name in _DIGEST_NOT_ASKED
    }
    return model.Model(source.source, {**source.operations, **relaxed}, source.shapes)


FINGERPRINT = "CustomerKeyFingerprint"
FINGERPRINT_HEADER = "x-strongroom-customer-key-fingerprint"
"""A HEAD that sends this header, whatever its value, is answered with it."""


def with_fingerprint(source: model.Model) -> model.Model:
    """Return a model whose HeadObject can answer with the fingerprint of the object's key.

    Ours; clients that do not ask never see it.
    """
    head = source.operations["HeadObject"].output
    assert head is not None, "HeadObject answers"
    shape = source.shapes[head]
    text = shape.members["ETag"].shape
    member = model.Member(FINGERPRINT, text, wire_name=FINGERPRINT_HEADER, location="header")
    wider = dataclasses.replace(shape, members={**shape.members, FINGERPRINT: member})
    return model.Model(source.source, source.operations, {**source.shapes, head: wider})


def with_replicas(source: model.Model) -> model.Model:
    """Return a model that also has what one strongroom asks of another for replication.

    Nobody else asks it, and S3 has nothing like it: there, both ends belong to one service.
    """
    text, number, stream = "ReplicaText", "ReplicaNumber", "ReplicaStream"
    at = source.shapes[_input(source, "PutObject")].members
    place = {name: at[name] for name in ("Bucket", "Key")}
    shapes = {
        text: model.Shape(text, "string", {}),
        number: model.Shape(number, "long", {}),
        stream: model.Shape(stream, "blob", {}),
    }
    operations = {}
    inputs: Mapping[str, Mapping[str, model.Member]] = {
        PUT_REPLICA: {
            "Manifest": model.Member("Manifest", text),
        },
        PUT_REPLICA_BLOB: {
            "BlobId": model.Member("BlobId", text, BLOB_PARAMETER, "querystring"),
            "Body": model.Member("Body", stream, streaming=True),
        },
        PUT_REPLICA_MARKER: {
            "VersionId": model.Member("VersionId", text, "version-id", "querystring"),
            "ModifiedMs": model.Member("ModifiedMs", number, "modified-ms", "querystring"),
        },
    }
    for name, members in inputs.items():
        payload = next((member for member in ("Manifest", "Body") if member in members), None)
        shape = model.Shape(
            f"{name}Input", "structure", {**place, **members}, tuple(place), payload=payload
        )
        missing = {"Missing": model.Member("Missing", text)} if name == PUT_REPLICA else {}
        output = model.Shape(
            f"{name}Output", "structure", missing, payload=next(iter(missing), None)
        )
        shapes |= {shape.name: shape, output.name: output}
        operations[name] = dataclasses.replace(
            source.operations["PutObject"],
            name=name,
            static_query=((_REPLICA_QUERIES[name], ""),),
            required_query=(),
            input=shape.name,
            output=output.name,
            payload=payload,
            streaming_input=payload == "Body",
            checksum_required=False,
            errors=(),
        )
    return model.Model(
        source.source, {**source.operations, **operations}, {**source.shapes, **shapes}
    )


PUT_REPLICA = "PutReplica"
PUT_REPLICA_BLOB = "PutReplicaBlob"
PUT_REPLICA_MARKER = "PutReplicaMarker"
BLOB_PARAMETER = "blob-id"
_REPLICA_QUERIES = {
    PUT_REPLICA: "x-strongroom-replica",
    PUT_REPLICA_BLOB: "x-strongroom-replica-blob",
    PUT_REPLICA_MARKER: "x-strongroom-replica-marker",
}


def _input(source: model.Model, name: str) -> str:
    shape = source.operations[name].input
    assert shape is not None, "writes have params"
    return shape


def complete(source: model.Model) -> model.Model:
    """Return the vendored model with all that it lacks; `CORRECTIONS` are for this one."""
    for correct in (without_needless_digests, with_post_object, with_fingerprint, with_replicas):
        source = correct(source)
    return source


CORRECTIONS = binding.Corrections(
    namespace=NAMESPACE,
    without_namespace=frozenset({POST_OBJECT}),
    roots=ROOTS,
    other_roots=OTHER_ROOTS,
    success=SUCCESS,
    always=ALWAYS,
    text_replies=TEXT_REPLIES,
    payload_types=PAYLOAD_TYPES,
    ignored_if_malformed=IGNORED_IF_MALFORMED,
    query_headers=QUERY_HEADERS,
    never_in_query=NEVER_IN_QUERY,
    special_writers={"Object": listed.object_writer},
)
