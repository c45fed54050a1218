"""Error codes: code → status and message, and domain error → code.

Source: AWS KMS API Reference, the errors of each operation and "Common Errors". JSON
services answer 400 for nearly everything that is the client's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.dialects.operation import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

FAULTS: Final[dict[str, tuple[int, str]]] = {
    "AccessDeniedException": (400, "The caller is not authorized to do this."),
    "AlreadyExistsException": (400, "The alias already exists."),
    "DependencyTimeoutException": (
        503,
        "The system timed out while trying to fulfill the request. You can retry the request.",
    ),
    "DisabledException": (400, "The key is disabled."),
    "DryRunOperationException": (
        412,
        "The request would have succeeded, but the DryRun option is set.",
    ),
    "IncompleteSignatureException": (
        400,
        "The request signature does not conform to AWS standards.",
    ),
    "ExpiredTokenException": (400, "The security token included in the request is expired"),
    "IncorrectKeyException": (
        400,
        "The key ID in the request does not identify a CMK that can perform this operation.",
    ),
    "InvalidAliasNameException": (400, "The alias name is not valid."),
    "InvalidCiphertextException": (400, ""),
    "InvalidGrantIdException": (400, "The grant id is not valid."),
    "InvalidGrantTokenException": (400, "The grant token is not valid."),
    "InvalidKeyUsageException": (400, "The key is not for this."),
    "InvalidMarkerException": (400, "The marker is not one that was given out."),
    "InvalidSignatureException": (
        400,
        (
            "The request signature we calculated does not match the signature you provided. Check"
            " your AWS Secret Access Key and signing method."
        ),
    ),
    "KMSInternalException": (500, "The request cannot be processed. Please try again."),
    "KMSInvalidMacException": (400, ""),
    "KMSInvalidSignatureException": (400, ""),
    "KMSInvalidStateException": (400, "The state of the key does not allow this."),
    "LimitExceededException": (400, "There are too many of these."),
    "MalformedPolicyDocumentException": (400, "The policy cannot be read."),
    "MissingAuthenticationTokenException": (400, "Missing Authentication Token"),
    "NotFoundException": (400, "It does not exist."),
    "RequestEntityTooLargeException": (413, "The request is too large."),
    "SerializationException": (400, "The request is no JSON of the right form."),
    "TagException": (400, "One of the tags is not valid."),
    "UnknownOperationException": (400, ""),
    "UnrecognizedClientException": (
        400,
        "The security token included in the request is invalid.",
    ),
    "UnsupportedOperationException": (400, "This is not supported."),
    "ValidationException": (400, "The request is not valid."),
}
"""Every code that this dialect answers with. `RequestEntityTooLargeException` is ours."""

_INPUT: Final = {
    "InvalidAliasName": "InvalidAliasNameException",
    "Tag": "TagException",
    "UnsupportedOperation": "UnsupportedOperationException",
    "": "ValidationException",
}


def _said(code: str) -> Callable[[Any], Refused]:
    """Return what passes the domain's own words on."""
    return lambda error: Refused(code, str(error) or None)


def _not_verified(error: Any) -> Refused:
    return Refused(
        "KMSInvalidMacException" if error.kind == "mac" else "KMSInvalidSignatureException"
    )


def _invalid_grant(error: Any) -> Refused:
    code = "InvalidGrantTokenException" if error.kind == "token" else "InvalidGrantIdException"
    return Refused(code, str(error))


DOMAIN: Final[dict[type[errors.StrongroomError], Callable[[Any], Refused]]] = {
    errors.AccessDenied: lambda _: Refused("AccessDeniedException"),
    errors.TokenInvalid: lambda _: Refused("UnrecognizedClientException"),
    errors.TokenExpired: lambda _: Refused("ExpiredTokenException"),
    errors.KmsKeyNotFound: _said("NotFoundException"),
    errors.KmsKeyDisabled: _said("DisabledException"),
    errors.KmsKeyPendingDeletion: _said("KMSInvalidStateException"),
    errors.KmsInvalidState: _said("KMSInvalidStateException"),
    errors.KmsAccessDenied: _said("AccessDeniedException"),
    # What is wrong with the master is for the operator's log.
    errors.KmsUnavailable: lambda _: Refused("DependencyTimeoutException"),
    errors.KmsInvalidCiphertext: _said("InvalidCiphertextException"),
    errors.KmsIncorrectKey: _said("IncorrectKeyException"),
    errors.KmsWrongUsage: _said("InvalidKeyUsageException"),
    errors.KmsNotVerified: _not_verified,
    errors.KmsAlreadyExists: _said("AlreadyExistsException"),
    errors.KmsLimitExceeded: _said("LimitExceededException"),
    errors.KmsInvalidGrant: _invalid_grant,
    errors.KmsMalformedPolicy: _said("MalformedPolicyDocumentException"),
    errors.KmsInvalidInput: lambda e: Refused(_INPUT[e.kind], str(e)),
    errors.MalformedDocument: lambda _: Refused("SerializationException"),
    errors.BodyTooLong: lambda _: Refused("RequestEntityTooLargeException"),
}
"""A row for every error that the KMS's own path raises; any other is an internal one."""


def refusal(error: Exception) -> Refused:
    """Return how AWS KMS says `error`; anything unlisted is an internal error."""
    if isinstance(error, Refused):
        if error.code == "NotServed":
            return Refused(
                "UnsupportedOperationException", "This operation is not served by this store."
            )
        return error
    for kind in type(error).__mro__:
        if kind in DOMAIN:
            return DOMAIN[kind](error)
    return Refused("KMSInternalException")
