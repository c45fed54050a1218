"""Buckets' documents: one table, and the handlers that are made from it.

A document is kept under its name in `records.Bucket.settings`, as the JSON of its
params, so that what was set is what is shown. What a bucket can have in S3 and
cannot have here answers as a bucket without it does: that is the truth, and
programs that read all of a bucket's settings go on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from strongroom.access import decision
from strongroom.access.actions import Action
from strongroom.dialects.operation import Body, Call, Declared, Refused, Result
from strongroom.dialects.s3 import bucket_encryption, cors, locks, modes, policies, services, tags
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Absent = str | dict[str, Any]
"""What a bucket without the document answers: an error code, or a result."""


@dataclass(frozen=True, slots=True)
class Document:
    """A row of the table: one document that buckets can have.

    Attributes:
        name: of the setting, and of the document in the catalog.
        operations: names of the model's operations that get, put and delete it;
            an empty name where S3, or this release, has none.
        member: the member of the put's params that is the document.
        reply: the member of the get's result that is the document; empty where its
            own members are the result.
        reads: what getting it is called in policies.
        writes: likewise putting and deleting it.
        absent: what a bucket without it answers.
        check: gets the document and the bucket; returns it as it is to be kept, or
            refuses it.
    """

    name: str
    operations: tuple[str, str, str]
    member: str
    reply: str
    reads: Action
    writes: Action
    absent: Absent
    check: Callable[[dict[str, Any], records.Bucket], Mapping[str, Any]]

    def of(self, bucket: records.Bucket) -> dict[str, Any] | None:
        """Return a bucket's document; None if it has none."""
        text = bucket.settings.get(self.name)
        if text is None:
            return None
        found: dict[str, Any] = json.loads(text)
        return found

    def declared(self) -> list[Declared]:
        """Make the handlers."""
        getting, putting, deleting = self.operations
        made = [Declared(getting, self.reads, Body.NONE, True, self._get)]
        if putting:
            made.append(Declared(putting, self.writes, Body.DOCUMENT, True, self._put))
        if deleting:
            made.append(Declared(deleting, self.writes, Body.NONE, True, self._delete))
        return made

    async def _get(self, call: Call) -> Result:
        found = self.of(call.place)
        if found is None:
            return _without(self.absent)
        return {self.reply: found} if self.reply else found

    async def _put(self, call: Call) -> Result:
        if self.member not in call.params:
            raise Refused("MissingRequestBodyError")
        kept = self.check(call.params[self.member], call.place)
        await services.of(call).buckets.change_settings(
            call.place, {self.name: json.dumps(kept, separators=(",", ":"))}
        )
        return {}

    async def _delete(self, call: Call) -> Result:
        await services.of(call).buckets.change_settings(call.place, {self.name: None})
        return {}


def _without(absent: Absent) -> Result:
    if isinstance(absent, str):
        raise Refused(absent)
    return dict(absent)


def _never(name: str, action: Action, absent: Absent) -> Declared:
    """Declare the reader of a document that no bucket has here."""

    async def get(_call: Call) -> Result:
        return _without(absent)

    return Declared(name, action, Body.NONE, True, get)


def _tag_set(document: dict[str, Any], _bucket: records.Bucket) -> Mapping[str, Any]:
    found = tags.of_document(document, limit=tags.MAX_BUCKET_TAGS, what="Bucket")
    return {"TagSet": [{"Key": name, "Value": value} for name, value in found.items()]}


def _owner_pays(document: dict[str, Any], _bucket: records.Bucket) -> Mapping[str, Any]:
    if document.get("Payer") != "BucketOwner":
        raise Refused(
            "NotImplemented", "Nobody is billed here, so the bucket's owner pays: BucketOwner."
        )
    return document


DOCUMENTS: Final = (
    Document(
        modes.DOCUMENT,
        ("GetBucketEncryption", "PutBucketEncryption", ""),
        member="ServerSideEncryptionConfiguration",
        reply="ServerSideEncryptionConfiguration",
        reads=Action.GET_ENCRYPTION_CONFIGURATION,
        writes=Action.PUT_ENCRYPTION_CONFIGURATION,
        absent=bucket_encryption.UNSET,
        check=bucket_encryption.check,
    ),
    Document(
        cors.SETTING,
        ("GetBucketCors", "PutBucketCors", "DeleteBucketCors"),
        member="CORSConfiguration",
        reply="",
        reads=Action.GET_BUCKET_CORS,
        writes=Action.PUT_BUCKET_CORS,
        absent="NoSuchCORSConfiguration",
        check=cors.check,
    ),
    Document(
        "tagging",
        ("GetBucketTagging", "PutBucketTagging", "DeleteBucketTagging"),
        member="Tagging",
        reply="",
        reads=Action.GET_BUCKET_TAGGING,
        writes=Action.PUT_BUCKET_TAGGING,
        absent="NoSuchTagSet",
        check=_tag_set,
    ),
    Document(
        records.OBJECT_LOCK,
        ("GetObjectLockConfiguration", "PutObjectLockConfiguration", ""),
        member="ObjectLockConfiguration",
        reply="ObjectLockConfiguration",
        reads=Action.GET_BUCKET_OBJECT_LOCK_CONFIGURATION,
        writes=Action.PUT_BUCKET_OBJECT_LOCK_CONFIGURATION,
        absent="ObjectLockConfigurationNotFoundError",
        check=locks.check,
    ),
    Document(
        "request-payment",
        ("GetBucketRequestPayment", "PutBucketRequestPayment", ""),
        member="RequestPaymentConfiguration",
        reply="",
        reads=Action.GET_BUCKET_REQUEST_PAYMENT,
        writes=Action.PUT_BUCKET_REQUEST_PAYMENT,
        absent={"Payer": "BucketOwner"},
        check=_owner_pays,
    ),
    Document(
        decision.PUBLIC_ACCESS,
        ("GetPublicAccessBlock", "PutPublicAccessBlock", "DeletePublicAccessBlock"),
        member="PublicAccessBlockConfiguration",
        reply="PublicAccessBlockConfiguration",
        reads=Action.GET_BUCKET_PUBLIC_ACCESS_BLOCK,
        writes=Action.PUT_BUCKET_PUBLIC_ACCESS_BLOCK,
        absent="NoSuchPublicAccessBlockConfiguration",
        check=policies.public_access,
    ),
    Document(
        decision.OWNERSHIP,
        (
            "GetBucketOwnershipControls",
            "PutBucketOwnershipControls",
            "DeleteBucketOwnershipControls",
        ),
        member="OwnershipControls",
        reply="OwnershipControls",
        reads=Action.GET_BUCKET_OWNERSHIP_CONTROLS,
        writes=Action.PUT_BUCKET_OWNERSHIP_CONTROLS,
        absent="OwnershipControlsNotFoundError",
        check=policies.ownership,
    ),
)

NEVER_HAD: Final[Mapping[str, tuple[Action, Absent]]] = {
    "GetBucketAbac": (Action.GET_BUCKET_ABAC, {"AbacStatus": {"Status": "Disabled"}}),
    "GetBucketAccelerateConfiguration": (Action.GET_ACCELERATE_CONFIGURATION, {}),
    "GetBucketAnalyticsConfiguration": (Action.GET_ANALYTICS_CONFIGURATION, "NoSuchConfiguration"),
    "GetBucketIntelligentTieringConfiguration": (
        Action.GET_INTELLIGENT_TIERING_CONFIGURATION,
        "NoSuchConfiguration",
    ),
    "GetBucketInventoryConfiguration": (Action.GET_INVENTORY_CONFIGURATION, "NoSuchConfiguration"),
    "GetBucketMetricsConfiguration": (Action.GET_METRICS_CONFIGURATION, "NoSuchConfiguration"),
    "GetBucketNotificationConfiguration": (Action.GET_BUCKET_NOTIFICATION, {}),
    "GetBucketWebsite": (Action.GET_BUCKET_WEBSITE, "NoSuchWebsiteConfiguration"),
    "ListBucketAnalyticsConfigurations": (
        Action.GET_ANALYTICS_CONFIGURATION,
        {"IsTruncated": False},
    ),
    "ListBucketIntelligentTieringConfigurations": (
        Action.GET_INTELLIGENT_TIERING_CONFIGURATION,
        {"IsTruncated": False},
    ),
    "ListBucketInventoryConfigurations": (
        Action.GET_INVENTORY_CONFIGURATION,
        {"IsTruncated": False},
    ),
    "ListBucketMetricsConfigurations": (Action.GET_METRICS_CONFIGURATION, {"IsTruncated": False}),
}
"""Readers of what no bucket has here: action, and the answer of a bucket without it.
Source: the "Errors" of each operation in the S3 API reference."""

DECLARED: Final = (
    *(declared for document in DOCUMENTS for declared in document.declared()),
    *(_never(name, action, absent) for name, (action, absent) in NEVER_HAD.items()),
)
