"""Error codes: code → status and message, and domain error → code.

Only the pipeline's dialect reads these tables. Source of codes, statuses and
messages: S3 API reference, "Error responses"; where AWS's answers to SSE-C
requests were recorded, the recorded words (us-east-1, boto3, 2026-02-21).
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.dialects.operation import Refused
from strongroom.service import conditions

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.wire import message

FAULTS: Final[dict[str, tuple[int, str]]] = {
    "AccessControlListNotSupported": (400, "The bucket does not allow ACLs"),
    "AccessDenied": (403, "Access Denied"),
    "AccessForbidden": (403, "Access Forbidden"),
    "AuthorizationHeaderMalformed": (400, "The authorization header is malformed."),
    "AuthorizationQueryParametersError": (
        400,
        "The query parameters of the signature are malformed.",
    ),
    "BadDigest": (400, "The Content-MD5 you specified did not match what we received."),
    "BadRequest": (400, "Bad Request"),
    "BucketAlreadyExists": (
        409,
        (
            "The requested bucket name is not available. The bucket namespace is shared by all users of"
            " the system. Please select a different name and try again."
        ),
    ),
    "BucketAlreadyOwnedByYou": (
        409,
        "Your previous request to create the named bucket succeeded and you already own it.",
    ),
    "BucketNotEmpty": (409, "The bucket you tried to delete is not empty"),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed size"),
    "EntityTooSmall": (400, "Your proposed upload is smaller than the minimum allowed size"),
    "ExpiredToken": (400, "The provided token has expired."),
    "IllegalVersioningConfigurationException": (
        400,
        "The versioning configuration specified in the request is invalid.",
    ),
    "IllegalLocationConstraintException": (
        400,
        (
            "The unspecified location constraint is incompatible for the region specific endpoint this"
            " request was sent to."
        ),
    ),
    "IncompleteBody": (
        400,
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    ),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": (
        403,
        "The AWS Access Key Id you provided does not exist in our records.",
    ),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidBucketAclWithBlockPublicAccessError": (
        400,
        "Bucket cannot have public ACLs set with BlockPublicAccess enabled",
    ),
    "InvalidBucketAclWithObjectOwnership": (
        400,
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
    ),
    "InvalidBucketState": (
        409,
        (
            "An Object Lock configuration is present on this bucket, so the versioning state cannot"
            " be changed."
        ),
    ),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "InvalidDigest": (400, "The Content-MD5 you specified was invalid."),
    "InvalidEncryptionAlgorithmError": (
        400,
        "The Encryption request you specified is not valid. Supported value: AES256.",
    ),
    "InvalidLocationConstraint": (400, "The specified location-constraint is not valid"),
    "InvalidPart": (
        400,
        (
            "One or more of the specified parts could not be found.  The part may not have been"
            " uploaded, or the specified entity tag may not match the part's entity tag."
        ),
    ),
    "InvalidPartNumber": (416, "The requested partnumber is not satisfiable"),
    "InvalidPartOrder": (
        400,
        "The list of parts was not in ascending order. Parts must be ordered by part number.",
    ),
    "InvalidPolicyDocument": (
        400,
        "The content of the form does not meet the conditions specified in the policy document.",
    ),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "InvalidRequest": (400, "Invalid Request"),
    "InvalidTag": (
        400,
        (
            "The tag provided was not a valid tag. This error can occur if the tag did not pass"
            " input validation."
        ),
    ),
    "InvalidStorageClass": (400, "The storage class you specified is not valid"),
    "InvalidTargetBucketForLogging": (
        400,
        (
            "The target bucket for logging does not exist, is not owned by you, or does not have"
            " the appropriate grants for the log-delivery group."
        ),
    ),
    "InvalidToken": (400, "The provided token is malformed or otherwise invalid."),
    "InvalidURI": (400, "Couldn't parse the specified URI."),
    "KMS.DisabledException": (400, "The key is disabled."),
    "KMS.IncorrectKeyException": (400, "The key is not the one that the object is under."),
    "KMS.InvalidCiphertextException": (400, "The wrapped data key cannot be opened."),
    "KMS.InvalidKeyUsageException": (400, "The key is not for encryption and decryption."),
    "KMS.KMSInvalidStateException": (400, "The state of the key does not allow this."),
    "KMS.NotFoundException": (400, "The key does not exist."),
    "KeyTooLongError": (400, "Your key is too long"),
    "MalformedACLError": (
        400,
        "The XML you provided was not well-formed or did not validate against our published schema",
    ),
    "MalformedPolicy": (400, "This policy contains invalid Json"),
    "MalformedPOSTRequest": (
        400,
        "The body of your POST request is not well-formed multipart/form-data.",
    ),
    "MalformedXML": (
        400,
        "The XML you provided was not well-formed or did not validate against our published schema",
    ),
    "MaxPostPreDataLengthExceeded": (
        400,
        # Spelled as S3 spells it.
        "Your POST request fields preceeding the upload file was too large.",
    ),
    "MaxMessageLengthExceeded": (400, "Your request was too big."),
    "MetadataTooLarge": (
        400,
        "Your metadata headers exceed the maximum allowed metadata size",
    ),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header."),
    "MissingRequestBodyError": (400, "Request Body is empty"),
    "MissingSecurityHeader": (400, "Your request was missing a required header"),
    "NoSuchConfiguration": (404, "The specified configuration does not exist."),
    "NoSuchLifecycleConfiguration": (404, "The lifecycle configuration does not exist"),
    "NoSuchTagSet": (404, "The TagSet does not exist"),
    "NoSuchWebsiteConfiguration": (
        404,
        "The specified bucket does not have a website configuration",
    ),
    "ObjectLockConfigurationNotFoundError": (
        404,
        "Object Lock configuration does not exist for this bucket",
    ),
    "ReplicationConfigurationNotFoundError": (
        404,
        "The replication configuration was not found",
    ),
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchBucketPolicy": (404, "The bucket policy does not exist"),
    "NoSuchCORSConfiguration": (404, "The CORS configuration does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchObjectLockConfiguration": (
        404,
        "The specified object does not have a ObjectLock configuration",
    ),
    "NoSuchPublicAccessBlockConfiguration": (
        404,
        "The public access block configuration was not found",
    ),
    "NoSuchUpload": (
        404,
        (
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have"
            " been aborted or completed."
        ),
    ),
    "NoSuchVersion": (404, "The specified version does not exist."),
    "NotImplemented": (501, "A header you provided implies functionality that is not implemented"),
    "NotModified": (304, "Not Modified"),
    "MalformedTrailerError": (
        400,
        (
            "The request contained trailing data that was not well-formed or did not conform to our"
            " published schema."
        ),
    ),
    "OwnershipControlsNotFoundError": (404, "The bucket ownership controls were not found"),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold"),
    "RequestHeaderSectionTooLarge": (
        400,
        "Your request header section exceeds the maximum allowed size.",
    ),
    "RequestTimeTooSkewed": (
        403,
        "The difference between the request time and the current time is too large.",
    ),
    "RequestTimeout": (
        400,
        (
            "Your socket connection to the server was not read from or written to within the timeout"
            " period."
        ),
    ),
    "ServiceUnavailable": (503, "Please reduce your request rate."),
    "SignatureDoesNotMatch": (
        403,
        (
            "The request signature we calculated does not match the signature you provided. Check your"
            " key and signing method."
        ),
    ),
    "SlowDown": (503, "Please reduce your request rate."),
    "StoreFull": (507, "The server has no space left to store this. Nothing was stored."),
    "UnexpectedContent": (400, "This request does not support content"),
    "UnresolvableGrantByEmailAddress": (
        400,
        "The e-mail address you provided does not match any account on record.",
    ),
    "XAmzContentSHA256Mismatch": (
        400,
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    ),
}
"""Every code that this dialect answers with. `StoreFull` is ours: S3 is never full."""

_KEYS_MUST = "Requests specifying Server Side Encryption with Customer provided keys must "


def _digest_mismatch(error: Any) -> Refused:
    if error.algorithm == "X-SHA256":
        return Refused(
            "XAmzContentSHA256Mismatch",
            ClientComputedContentSHA256=error.announced.hex(),
            S3ComputedContentSHA256=error.computed.hex(),
        )
    if error.algorithm == "MD5":
        return Refused(
            "BadDigest",
            ExpectedDigest=base64.b64encode(error.announced).decode(),
            CalculatedDigest=base64.b64encode(error.computed).decode(),
        )
    return Refused(
        "BadDigest",
        f"The {error.algorithm} you specified did not match the calculated checksum.",
    )


def _checksum_type(error: Any) -> Refused:
    return Refused(
        "InvalidRequest",
        f"Checksum Type mismatch occurred, expected checksum Type: {error.expected.lower()},"
        f" actual checksum Type: {error.got.lower()}",
    )


def _malformed_value(error: Any) -> Refused:
    if error.where == "body":
        return Refused("MalformedXML")
    if error.wire_name == "x-amz-object-lock-retain-until-date":
        return Refused(
            "InvalidArgument",
            "The retain until date must be provided in ISO 8601 format",
            ArgumentName=error.wire_name,
            ArgumentValue=error.value,
        )
    if "customer-key" in error.wire_name.lower():
        return Refused("InvalidArgument", ArgumentName=error.wire_name)
    return Refused("InvalidArgument", ArgumentName=error.wire_name, ArgumentValue=error.value)


def _missing_value(error: Any) -> Refused:
    if error.where == "body":
        return Refused("MissingRequestBodyError")
    return Refused(
        "InvalidArgument" if error.where == "query" else "InvalidRequest",
        f"Missing required parameter for this request: '{error.wire_name}'",
    )


def _internal(_error: Any) -> Refused:
    return Refused("InternalError")


DOMAIN: Final[dict[type[errors.StrongroomError], Callable[[Any], Refused]]] = {
    errors.BucketNotFound: lambda e: Refused("NoSuchBucket", BucketName=e.bucket),
    errors.ObjectNotFound: lambda e: Refused("NoSuchKey", Key=e.key),
    errors.VersionNotFound: lambda e: Refused("NoSuchVersion", Key=e.key, VersionId=e.version_id),
    errors.IsDeleteMarker: lambda _: Refused("MethodNotAllowed", ResourceType="DeleteMarker"),
    # Copies look again, so this is told only where others keep overwriting the source.
    errors.SourceGone: lambda _: Refused("SlowDown"),
    errors.UploadNotFound: lambda e: Refused("NoSuchUpload", UploadId=e.upload_id),
    errors.UserNotFound: _internal,
    errors.BucketExists: lambda e: Refused("BucketAlreadyExists", BucketName=e.bucket),
    errors.BucketNotEmpty: lambda e: Refused("BucketNotEmpty", BucketName=e.bucket),
    errors.UserExists: _internal,
    # Writes look again, so this is told only where others keep switching it.
    errors.VersioningChanged: lambda _: Refused("SlowDown"),
    errors.MarksChanged: lambda _: Refused("SlowDown"),
    errors.PreconditionFailed: lambda e: Refused("PreconditionFailed", Condition=e.condition),
    errors.NoSuchEntity: _internal,
    errors.EntityExists: _internal,
    errors.EntityBusy: lambda _: Refused("SlowDown"),
    errors.EntityInUse: _internal,
    errors.InvalidEntity: _internal,
    errors.LimitPassed: _internal,
    errors.TokenInvalid: lambda _: Refused("InvalidToken"),
    errors.TokenExpired: lambda _: Refused("ExpiredToken"),
    errors.BucketLocked: lambda _: Refused("InvalidBucketState"),
    errors.AccessDenied: lambda _: Refused("AccessDenied"),
    errors.ObjectLocked: lambda _: Refused(
        "AccessDenied", "Access Denied because object protected by object lock."
    ),
    errors.WrongKey: lambda _: Refused(
        "AccessDenied", _KEYS_MUST + "provide the correct secret key."
    ),
    errors.KeyRequired: lambda _: Refused(
        "InvalidRequest",
        "The object was stored using a form of Server Side Encryption. The correct parameters must"
        " be provided to retrieve the object.",
    ),
    errors.KeyNotApplicable: lambda _: Refused(
        "InvalidRequest", "The encryption parameters are not applicable to this object."
    ),
    errors.PartKeyMissing: lambda _: Refused(
        "InvalidRequest",
        "The multipart upload initiate requested encryption. Subsequent part requests must include"
        " the appropriate encryption parameters.",
    ),
    errors.PartKeyMismatch: lambda _: Refused(
        "InvalidRequest",
        "The provided encryption parameters did not match the ones used originally.",
    ),
    # Source: S3 API reference, UpdateObjectEncryption, "Errors".
    errors.NotRewrappable: lambda _: Refused(
        "InvalidRequest",
        "The UpdateObjectEncryption operation doesn't support source objects with the encryption"
        " type DSSE-KMS or SSE-C. Only source objects encrypted with SSE-S3 or SSE-KMS are"
        " supported.",
    ),
    # Ours. The fingerprint is no secret, and whoever forgot to have a key allowed needs it.
    errors.KeyNotAllowed: lambda e: Refused(
        "AccessDenied",
        "This bucket takes objects under certain customer keys only, and the provided one is not"
        f" among them. Its fingerprint is {e.fingerprint.hex()}.",
    ),
    errors.MasterKeyTrouble: _internal,
    errors.KmsKeyNotFound: lambda e: Refused("KMS.NotFoundException", str(e) or None),
    errors.KmsKeyDisabled: lambda e: Refused("KMS.DisabledException", str(e) or None),
    errors.KmsKeyPendingDeletion: lambda e: Refused("KMS.KMSInvalidStateException", str(e) or None),
    errors.KmsInvalidState: lambda e: Refused("KMS.KMSInvalidStateException", str(e) or None),
    errors.KmsAccessDenied: lambda e: Refused("AccessDenied", str(e) or None),
    errors.KmsUnavailable: lambda _: Refused(
        "ServiceUnavailable", "The key management service cannot be reached. Please try again."
    ),
    errors.KmsInvalidCiphertext: lambda e: Refused(
        "KMS.InvalidCiphertextException", str(e) or None
    ),
    errors.KmsIncorrectKey: lambda e: Refused("KMS.IncorrectKeyException", str(e) or None),
    errors.KmsWrongUsage: lambda e: Refused("KMS.InvalidKeyUsageException", str(e) or None),
    errors.KmsInvalidInput: lambda e: Refused("InvalidArgument", str(e) or None),
    # S3 asks for data keys and nothing else, so these do not come up.
    errors.KmsNotVerified: _internal,
    errors.KmsAlreadyExists: _internal,
    errors.KmsLimitExceeded: _internal,
    errors.KmsInvalidGrant: _internal,
    errors.KmsMalformedPolicy: _internal,
    errors.NotAuthentic: _internal,
    errors.BodyTooShort: lambda _: Refused("IncompleteBody"),
    errors.BodyTooLong: lambda _: Refused(
        "InvalidRequest", "The body has more bytes than were announced."
    ),
    errors.BodyMalformed: lambda _: Refused(
        "InvalidRequest", "The body is not encoded as the headers announce."
    ),
    errors.ClientGone: lambda _: Refused("RequestTimeout"),
    errors.DigestMismatch: _digest_mismatch,
    errors.ObjectTooLarge: lambda e: Refused(
        "EntityTooLarge", ProposedSize=str(e.size), MaxSizeAllowed=str(e.limit)
    ),
    errors.SourceTooLarge: lambda e: Refused(
        "InvalidRequest",
        "The specified copy source is larger than the maximum allowable size for a copy source:"
        f" {e.limit}",
    ),
    errors.InvalidPart: lambda e: Refused("InvalidPart", PartNumber=str(e.number), ETag=e.etag),
    errors.InvalidPartOrder: lambda _: Refused("InvalidPartOrder"),
    errors.PartTooSmall: lambda e: Refused(
        "EntityTooSmall",
        ProposedSize=str(e.size),
        MinSizeAllowed=str(e.minimum),
        PartNumber=str(e.number),
        ETag=e.etag,
    ),
    errors.PartChecksumMissing: lambda e: Refused(
        "InvalidRequest",
        f"The upload was created using a {e.algorithm.lower()} checksum. The complete request must"
        f" include the checksum for each part. It was missing for part {e.number} in the request.",
    ),
    errors.UploadSizeMismatch: lambda e: Refused(
        "InvalidRequest",
        (
            f"The provided 'x-amz-mp-object-size' header value {e.announced} does not match what"
            f" was computed: {e.size}"
        ),
    ),
    errors.ChecksumTypeMismatch: _checksum_type,
    errors.RangeNotSatisfiable: lambda e: Refused(
        "InvalidRange", RangeRequested=e.asked, ActualObjectSize=str(e.size)
    ),
    errors.PartNotThere: lambda e: Refused(
        "InvalidPartNumber", ActualPartCount=str(e.count), PartNumberRequested=str(e.number)
    ),
    errors.InvalidBucketName: lambda e: Refused("InvalidBucketName", BucketName=e.bucket),
    errors.MalformedDocument: lambda _: Refused("MalformedXML"),
    errors.MalformedPolicy: lambda e: Refused("MalformedPolicy", str(e)),
    errors.MalformedValue: _malformed_value,
    errors.MissingValue: _missing_value,
    conditions.NotModified: lambda _: Refused("NotModified"),
    errors.BlobMissing: _internal,
    errors.StoreFull: lambda _: Refused("StoreFull"),
    errors.StoreLocked: _internal,
    errors.StoreFailed: _internal,
}
"""One row for every domain error that is not merely a family of others (a test sees to it)."""


NAMES_RESOURCE: Final = frozenset({"MethodNotAllowed", "PreconditionFailed", "InternalError"})


def extra_headers(error: Exception) -> message.Headers:
    """Return the headers that a refusal carries besides its document.

    Those of a 304, and those that tell of a delete marker (source: S3 user guide,
    "Working with delete markers").
    """
    if isinstance(error, conditions.NotModified):
        version = error.version
        return [
            (b"etag", b'"%s"' % version.etag.encode()),
            (b"last-modified", _http_date(version.modified_ms)),
        ]
    if isinstance(error, errors.ObjectNotFound) and error.marker_id is not None:
        return _marker_headers(error.marker_id)
    if isinstance(error, errors.IsDeleteMarker):
        return [
            *_marker_headers(error.version_id),
            (b"last-modified", _http_date(error.modified_ms)),
            (b"allow", b"DELETE"),
        ]
    return []


def _marker_headers(version_id: str) -> message.Headers:
    return [(b"x-amz-delete-marker", b"true"), (b"x-amz-version-id", version_id.encode())]


def _http_date(milliseconds: int) -> bytes:
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return format_datetime(moment, usegmt=True).encode()


def refusal(error: Exception) -> Refused:
    """Return how S3 says `error`; anything unlisted is an internal error."""
    if isinstance(error, Refused):
        return error
    for kind in type(error).__mro__:
        if kind in DOMAIN:
            return DOMAIN[kind](error)
    return Refused("InternalError")
