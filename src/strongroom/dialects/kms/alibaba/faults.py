"""Error codes: code → status and message, and domain error → code.

Source: Alibaba Cloud KMS, "Error codes" of API version 2016-01-20, as far as known; oss2
passes every code through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.dialects.operation import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

FAULTS: Final[dict[str, tuple[int, str]]] = {
    "Forbidden.AliasAlreadyExists": (400, "The alias already exists."),
    "Forbidden.KeyNotFound": (404, "The specified Key is not found."),
    "Forbidden.NoPermission": (403, "This operation is forbidden by permission system."),
    "InternalFailure": (500, "Internal Failure"),
    "InvalidAccessKeyId.NotFound": (404, "Specified access key is not found."),
    "InvalidAction.NotFound": (
        404,
        "Specified api is not found, please check your url and method.",
    ),
    "InvalidCiphertext": (400, "The specified ciphertext is invalid."),
    "InvalidParameter": (400, "The specified parameter is not valid."),
    "InvalidSecurityToken.NotFound": (400, "Specified security token is not found."),
    "InvalidTimeStamp.Expired": (400, "Specified time stamp or date value is expired."),
    "InvalidTimeStamp.Format": (400, "Specified time stamp or date value is not well formatted."),
    "InvalidVersion": (400, "Specified parameter Version is not valid."),
    "MissingParameter": (400, "A required parameter is missing."),
    "Rejected.Disabled": (409, "The request was rejected because the key is disabled."),
    "Rejected.PendingDeletion": (
        409,
        "The request was rejected because the key is waiting for its deletion.",
    ),
    "Rejected.StateModifyFailed": (
        409,
        "The request was rejected because the state of the key does not allow it.",
    ),
    "RequestEntityTooLarge": (413, "The request is too large."),
    "ServiceUnavailable": (503, "The service cannot answer now. Please try again."),
    "SignatureDoesNotMatch": (
        400,
        "Specified signature is not matched with our calculation. server string to sign is:",
    ),
    "SignatureNonceUsed": (400, "Specified signature nonce was used already."),
    "UnsupportedOperation": (400, "The operation is not supported."),
}
"""Every code that this dialect answers with."""


def _said(code: str) -> Callable[[Any], Refused]:
    """Return what passes the domain's own words on."""
    return lambda error: Refused(code, str(error) or None)


DOMAIN: Final[dict[type[errors.StrongroomError], Callable[[Any], Refused]]] = {
    errors.AccessDenied: lambda _: Refused("Forbidden.NoPermission"),
    errors.KmsKeyNotFound: lambda _: Refused("Forbidden.KeyNotFound"),
    errors.KmsKeyDisabled: lambda _: Refused("Rejected.Disabled"),
    errors.KmsKeyPendingDeletion: lambda _: Refused("Rejected.PendingDeletion"),
    errors.KmsInvalidState: lambda _: Refused("Rejected.StateModifyFailed"),
    errors.KmsAccessDenied: lambda _: Refused("Forbidden.NoPermission"),
    errors.KmsUnavailable: lambda _: Refused("ServiceUnavailable"),
    errors.KmsInvalidCiphertext: lambda _: Refused("InvalidCiphertext"),
    errors.KmsIncorrectKey: lambda _: Refused("InvalidCiphertext"),
    errors.KmsWrongUsage: lambda _: Refused("UnsupportedOperation"),
    errors.KmsAlreadyExists: lambda _: Refused("Forbidden.AliasAlreadyExists"),
    errors.KmsLimitExceeded: _said("InvalidParameter"),
    errors.KmsInvalidInput: _said("InvalidParameter"),
    errors.BodyTooLong: lambda _: Refused("RequestEntityTooLarge"),
}
"""A row for every error that the served operations raise; any other is an internal one."""


def refusal(error: Exception) -> Refused:
    """Return how Alibaba's KMS says `error`; anything unlisted is an internal error."""
    if isinstance(error, Refused):
        return Refused("UnsupportedOperation") if error.code == "NotServed" else error
    for kind in type(error).__mro__:
        if kind in DOMAIN:
            return DOMAIN[kind](error)
    return Refused("InternalFailure")
