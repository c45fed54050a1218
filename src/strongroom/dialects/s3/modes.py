"""Which encryption a write gets, and what answers say of it.

In this order: what the request names, a customer's key above all; else what the bucket's
encryption document names; else the store's own keys. Source: S3 user guide, "Setting default
server-side encryption behavior for Amazon S3 buckets".
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.dialects import authority
from strongroom.dialects.operation import Refused, Result
from strongroom.dialects.s3 import facets, services
from strongroom.keyring import kms, kms_sources, sources
from strongroom.store import guarding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.dialects.operation import Call

DOCUMENT: Final = "encryption"
"""The bucket setting: a JSON document with the one rule of a ServerSideEncryptionConfiguration."""

AES: Final = facets.ALGORITHM
KMS: Final = "aws:kms"
DUAL: Final = "aws:kms:dsse"
ALGORITHMS: Final = frozenset({AES, KMS, DUAL})
SHOWN: Final = {sources.SERVER_MODE: AES, sources.KMS_MODE: KMS, sources.DUAL_MODE: DUAL}
"""How answers name the modes that the server holds the keys of, or the KMS does."""

BLOCKABLE: Final = "SSE-C"
UNBLOCKED: Final = "NONE"

_SSE: Final = "x-amz-server-side-encryption"
_CONTEXT: Final = f"{_SSE}-context"
_KEY_ID: Final = f"{_SSE}-aws-kms-key-id"
_NEEDS_KMS: Final = (
    "Server Side Encryption with AWS KMS managed key requires HTTP header"
    " x-amz-server-side-encryption : aws:kms"
)
_RESERVED: Final = "aws:"
"""What S3 itself puts into an encryption context begins so."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a bucket's encryption document says.

    Attributes:
        algorithm: of writes that name none.
        key: id, ARN or alias of the KMS key; None for the store's default one.
        bucket_key: whether writes under KMS keys use a bucket key unless they say otherwise.
        blocks_customer_keys: whether writes with customers' keys are refused.
    """

    algorithm: str = AES
    key: str | None = None
    bucket_key: bool = False
    blocks_customer_keys: bool = False


NONE: Final = Defaults()


def defaults(settings: Mapping[str, str]) -> Defaults:
    """Return what a bucket's settings say about encryption."""
    text = settings.get(DOCUMENT)
    return NONE if text is None else _read(text)


@functools.lru_cache(1024)
def _read(text: str) -> Defaults:
    (rule,) = json.loads(text)["Rules"]
    default = rule["ApplyServerSideEncryptionByDefault"]
    blocked = rule.get("BlockedEncryptionTypes", {}).get("EncryptionType", [])
    return Defaults(
        default["SSEAlgorithm"],
        default.get("KMSMasterKeyID"),
        rule["BucketKeyEnabled"],
        BLOCKABLE in blocked,
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """The encryption of a write: a customer's key, or a KMS key, or with neither the store's."""

    customer: sources.CustomerKey | None = None
    wish: kms_sources.Wish | None = None


def choose(call: Call) -> Choice:
    """Return the encryption that the object of a write gets.

    Raises:
        Refused: what the request names does not go together, is unknown, or is blocked here.
    """
    params = call.params
    customer = part_key(call)
    asked = params.get("ServerSideEncryption")
    if asked is not None and asked not in ALGORITHMS:
        raise facets.bad_argument(_SSE, asked, "The encryption method specified is not supported")
    key, context = params.get("SSEKMSKeyId"), params.get("SSEKMSEncryptionContext")
    standing = defaults(call.place.settings)
    algorithm = asked
    if algorithm is None:
        algorithm = AES if customer is not None else standing.algorithm
    if key is not None and asked not in (KMS, DUAL):
        raise facets.bad_argument(_KEY_ID, key, _NEEDS_KMS)
    if context is not None and algorithm == AES:
        raise facets.bad_argument(_CONTEXT, context, _NEEDS_KMS)
    if customer is not None:
        return Choice(customer)
    if algorithm == AES:
        return Choice()
    if asked is None:
        key = standing.key
    return Choice(
        wish=kms_sources.Wish(
            key=key or kms_sources.DEFAULT_KEY,
            caller=caller(call),
            context=_context(context),
            bucket_key=params.get("BucketKeyEnabled", standing.bucket_key),
            dual=algorithm == DUAL,
        )
    )


def part_key(call: Call) -> sources.CustomerKey | None:
    """Take a write's customer key out of its params; None if it brings none.

    Raises:
        Refused: the triple is not whole, or the bucket blocks customers' keys, or this one.
    """
    customer = facets.customer_key(call.params, writing=True)
    if customer is None:
        return None
    allowed = guarding.allowed_keys(call.place.settings)
    if allowed is not None:
        fingerprint = services.of(call).fingerprint(customer.secret)
        if fingerprint not in allowed:
            raise errors.KeyNotAllowed(call.place.name, fingerprint)
    if defaults(call.place.settings).blocks_customer_keys:
        # Source: S3 user guide, "Troubleshoot access denied (403 Forbidden) errors".
        key = call.params["Key"]
        raise Refused(
            "AccessDenied",
            f"User: arn:aws:iam::{kms.DEFAULT_ACCOUNT}:user/{call.principal.name} is not authorized to perform:"
            f' s3:PutObject on resource: "arn:aws:s3:::{call.place.name}/{key}" because this bucket'
            " has blocked upload requests that specify Server Side Encryption with Customer"
            " provided keys (SSE-C). Please specify a different server-side encryption type",
        )
    return customer


def caller(call: Call) -> kms.Caller:
    """Return a principal as the KMS knows it."""
    return authority.key_caller(call.principal, call.request, call.now_ms, direct=False)


def reply(protection: sources.Protection, params: Mapping[str, Any]) -> Result:
    """Say how an object is encrypted; for SSE-C by echoing what the request brought."""
    mode = protection.mode
    if mode == sources.CUSTOMER_MODE:
        return {
            "SSECustomerAlgorithm": AES,
            "SSECustomerKeyMD5": params.get("SSECustomerKeyMD5"),
        }
    said: Result = {"ServerSideEncryption": SHOWN[mode]}
    if mode != sources.SERVER_MODE:
        said["SSEKMSKeyId"] = protection.key_arn
        if protection.bucket_key:
            said["BucketKeyEnabled"] = True
        if "SSEKMSEncryptionContext" in params:
            said["SSEKMSEncryptionContext"] = params["SSEKMSEncryptionContext"]
    return said


def _context(text: str | None) -> dict[str, str]:
    """Read an encryption context: base64 of a JSON object of strings.

    Raises:
        Refused: it is another thing.
    """
    if text is None:
        return {}
    try:
        found = json.loads(base64.b64decode(text, validate=True).decode())
    except (binascii.Error, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        # Observed: S3, 2024-06 (HADOOP-19197); the code is the one of other bad headers.
        raise facets.bad_argument(
            _CONTEXT,
            text,
            f"The header '{_CONTEXT}' shall be Base64-encoded UTF-8 string holding JSON which"
            " represents a string-string map",
        )
    if any(name.startswith(_RESERVED) for name in found):
        raise facets.bad_argument(
            _CONTEXT, text, f"Names that begin with '{_RESERVED}' are reserved."
        )
    return found
