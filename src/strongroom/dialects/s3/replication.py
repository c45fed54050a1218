"""Replication: a bucket's document, and what one strongroom asks of another.

Source of rules and words: S3 API reference, PutBucketReplication; S3 user guide,
"Replication configuration file elements" and "Troubleshooting replication".
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.access import decision, identities, policy
from strongroom.access.actions import Action
from strongroom.dialects.operation import Body, Call, Need, Needs, Refused, Result, operation
from strongroom.dialects.s3 import corrections, facets, modes, replica_manifest, services
from strongroom.keyring import kms_sources, sources
from strongroom.service import replication_rules
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_RULES: Final = 1000
MAX_ID: Final = 255
MAX_BLOB_BYTES: Final = 6 * 1024**3
"""A part of 5 GiB, sealed twice, and room."""

_ROLE: Final = re.compile(r"arn:aws[-a-z]*:iam::[0-9]{12}:role/.+")
_STATES: Final = frozenset({"Enabled", "Disabled"})
_STORAGE_CLASS: Final = "STANDARD"
_GUIDE: Final = (
    "must be specified for this version of Cross Region Replication configuration schema. Please"
    " refer to S3 Developer Guide for more information."
)


@operation("GetBucketReplication", action=Action.GET_REPLICATION_CONFIGURATION)
async def get_bucket_replication(call: Call) -> Result:
    text = call.place.settings.get(records.REPLICATION)
    if text is None:
        raise Refused("ReplicationConfigurationNotFoundError")
    return {"ReplicationConfiguration": json.loads(text)}


@operation("PutBucketReplication", action=Action.PUT_REPLICATION_CONFIGURATION, body=Body.DOCUMENT)
async def put_bucket_replication(call: Call) -> Result:
    bucket = call.place
    if bucket.versioning != records.ENABLED:
        raise Refused(
            "InvalidRequest",
            "Versioning must be 'Enabled' on the bucket to apply a replication configuration",
        )
    document = call.params.get("ReplicationConfiguration", {})
    check(document)
    for rule in document["Rules"]:
        await _check_target(call, rule["Destination"]["Bucket"])
    store = services.of(call)
    await store.buckets.change_settings(bucket, {records.REPLICATION: json.dumps(document)})
    if any(
        rule.get("ExistingObjectReplication", {}).get("Status") == replication_rules.ENABLED
        for rule in document["Rules"]
    ):
        await store.replication.enqueue(bucket.name)
    return {}


@operation("DeleteBucketReplication", action=Action.PUT_REPLICATION_CONFIGURATION)
async def delete_bucket_replication(call: Call) -> Result:
    await services.of(call).buckets.change_settings(call.place, {records.REPLICATION: None})
    return {}


async def _check_target(call: Call, arn: str) -> None:
    target = replication_rules.target_of(arn)
    if target is None:
        raise Refused("InvalidArgument", "Invalid bucket ARN")
    if target.remote:
        if not await services.of(call).replication.knows(target.remote, call.place.owner):
            raise Refused(
                "InvalidRequest",
                f"There is no other store {target.remote} that this bucket may be replicated to.",
            )
        return
    if target.bucket == call.place.name:
        raise Refused("InvalidRequest", "Destination bucket cannot be the same as source bucket.")
    try:
        home = await services.of(call).buckets.find(target.bucket)
    except errors.BucketNotFound:
        raise Refused("InvalidRequest", "Destination bucket must exist.") from None
    if home.versioning != records.ENABLED:
        raise Refused("InvalidRequest", "Destination bucket must have versioning enabled.")


def check(document: Mapping[str, Any]) -> None:
    """Check what a document says by itself.

    Raises:
        Refused: that is none which could be followed.
    """
    rules = document.get("Rules", [])
    if not rules:
        raise Refused("MalformedXML")
    if len(rules) > MAX_RULES:
        raise Refused("InvalidRequest", f"The number of rules must not exceed {MAX_RULES}.")
    if _ROLE.fullmatch(document.get("Role", "")) is None:
        raise Refused("InvalidArgument", "Invalid Role specified in replication configuration")
    filtered = ["Filter" in rule for rule in rules]
    if any(filtered) and not all(filtered):
        raise Refused("MalformedXML")
    for rule in rules:
        _check_rule(rule)
    ids = Counter(rule["ID"] for rule in rules if rule.get("ID"))
    if any(times > 1 for times in ids.values()):
        raise Refused(
            "InvalidArgument", "Rule Id must be unique. Found same ID for more than one rule"
        )
    if all(filtered):
        _check_priorities(rules)
    else:
        _check_first_kind(rules)


def _check_rule(rule: Mapping[str, Any]) -> None:
    destination = rule.get("Destination", {})
    if rule.get("Status") not in _STATES or "Bucket" not in destination:
        raise Refused("MalformedXML")
    if len(rule.get("ID", "")) > MAX_ID:
        raise Refused("InvalidArgument", f"ID length should not exceed allowed limit of {MAX_ID}")
    if "Filter" in rule:
        _check_filter(rule)
    elif "Prefix" not in rule:
        raise Refused("MalformedXML")
    if destination.get("StorageClass", _STORAGE_CLASS) != _STORAGE_CLASS:
        raise Refused("InvalidStorageClass", StorageClassRequested=destination["StorageClass"])
    if "AccessControlTranslation" in destination and "Account" not in destination:
        raise Refused(
            "InvalidArgument", "AccessControlTranslation needs the Account of the destination."
        )
    if _status(destination.get("ReplicationTime")) == replication_rules.ENABLED:
        raise Refused("NotImplemented", "There is no promise of a time here: ReplicationTime.")
    _check_selection(rule)


def _check_selection(rule: Mapping[str, Any]) -> None:
    destination = rule["Destination"]
    chosen = rule.get("SourceSelectionCriteria", {})
    if _status(chosen.get("ReplicaModifications")) == replication_rules.ENABLED:
        raise Refused("NotImplemented", "Changes of replicas are not sent: ReplicaModifications.")
    takes_kms = _status(chosen.get("SseKmsEncryptedObjects")) == replication_rules.ENABLED
    names_key = bool(destination.get("EncryptionConfiguration", {}).get("ReplicaKmsKeyID"))
    if takes_kms and not names_key:
        raise Refused(
            "InvalidRequest",
            "EncryptionConfiguration must be specified if SseKmsEncryptedObjects tag is present.",
        )
    if names_key and "SseKmsEncryptedObjects" not in chosen:
        raise Refused(
            "InvalidRequest",
            "SseKmsEncryptedObjects must be specified if EncryptionConfiguration is present.",
        )


def _check_filter(rule: Mapping[str, Any]) -> None:
    if "Prefix" in rule or len(rule["Filter"]) > 1:
        raise Refused("MalformedXML")
    if "Priority" not in rule:
        raise Refused("InvalidRequest", f"Priority {_GUIDE}")
    if "DeleteMarkerReplication" not in rule:
        raise Refused("InvalidRequest", f"DeleteMarkerReplication {_GUIDE}")
    _, tags = replication_rules.filter_of(rule)
    if tags and _status(rule["DeleteMarkerReplication"]) == replication_rules.ENABLED:
        raise Refused(
            "InvalidRequest",
            "Delete marker replication is not supported if any Tag filter is specified. Please"
            " refer to S3 Developer Guide for more information.",
        )


def _check_priorities(rules: Sequence[Mapping[str, Any]]) -> None:
    times = Counter(rule["Priority"] for rule in rules)
    for priority, count in times.items():
        if count > 1:
            raise Refused(
                "InvalidRequest",
                f"Found duplicate priority {priority}. Priority must be unique across all rules.",
            )


def _check_first_kind(rules: Sequence[Mapping[str, Any]]) -> None:
    """Check rules without filters: one destination, and no prefix within another."""
    if len({rule["Destination"]["Bucket"] for rule in rules}) > 1:
        raise Refused("InvalidRequest", "All destination buckets must be the same.")
    prefixes = sorted(rule["Prefix"] for rule in rules)
    for one, two in itertools.pairwise(prefixes):
        if two.startswith(one):
            raise Refused("InvalidRequest", f"Found overlapping prefixes '{one}' and '{two}'")


def _status(element: Mapping[str, str] | None) -> str | None:
    return None if element is None else element.get("Status")


# What one strongroom asks of another


def _replicates(params: Mapping[str, Any]) -> Sequence[Need]:
    key = params["Key"]
    return (
        Need(Action.REPLICATE_OBJECT, key, makes=True),
        Need(Action.REPLICATE_TAGS, key, makes=True),
    )


_REPLICATES: Final = Needs((Action.REPLICATE_OBJECT, Action.REPLICATE_TAGS), _replicates)


@operation(corrections.PUT_REPLICA, action=_REPLICATES, body=Body.DOCUMENT)
async def put_replica(call: Call) -> Result:
    _check_way(call)
    manifest, replica_key = replica_manifest.parse(
        call.params.get("Manifest", ""), call.place.name, call.params["Key"]
    )
    if not facets.is_version_id(manifest.version.version_id):
        raise errors.BodyMalformed("a replica has no version id")
    wish: kms_sources.Wish | None = None
    if manifest.version.mode in sources.KMS_MODES:
        wish = kms_sources.Wish(
            key=replica_key or kms_sources.DEFAULT_KEY,
            caller=modes.caller(call),
            context={},
            dual=manifest.version.mode == sources.DUAL_MODE,
        )
    try:
        missing = await services.of(call).replicas.receive(
            call.place, manifest, owner=owner_at(call.place, call.principal.user_id), wish=wish
        )
    except errors.NotAuthentic as error:
        # Nothing of ours was damaged: what came is not what it says.
        raise errors.BodyMalformed(str(error)) from error
    return {"Missing": replica_manifest.print_missing(missing)}


@operation(corrections.PUT_REPLICA_BLOB, action=Action.REPLICATE_OBJECT, body=Body.STREAM)
async def put_replica_blob(call: Call) -> Result:
    _check_way(call)
    assert call.incoming is not None, "declared with a streamed body"
    if not 0 < call.incoming.length <= MAX_BLOB_BYTES:
        raise errors.ObjectTooLarge(call.incoming.length, MAX_BLOB_BYTES)
    blob_id = replica_manifest.parse_blob_id(call.params.get("BlobId", ""))
    await services.of(call).replicas.stage(blob_id, call.incoming)
    return {}


@operation(corrections.PUT_REPLICA_MARKER, action=Action.REPLICATE_DELETE)
async def put_replica_marker(call: Call) -> Result:
    _check_way(call)
    version_id = call.params.get("VersionId", "")
    modified_ms = call.params.get("ModifiedMs", -1)
    if not facets.is_version_id(version_id) or modified_ms < 0:
        raise errors.BodyMalformed("a replica's marker has neither id nor time")
    await services.of(call).replicas.receive_marker(
        call.place,
        call.params["Key"],
        version_id,
        owner=owner_at(call.place, call.principal.user_id),
        modified_ms=modified_ms,
    )
    return {}


def _check_way(call: Call) -> None:
    """Refuse what came in the clear, or to where no replica can lie."""
    if not call.request.secure:
        raise Refused("InvalidRequest", "Replicas are taken over a secure connection only.")
    if call.place.versioning != records.ENABLED:
        raise Refused("InvalidRequest", "Destination bucket must have versioning enabled.")


def owner_at(bucket: records.Bucket, writer: str) -> str:
    """Return whose an object is that this account writes into a bucket."""
    return decision.rules_of(bucket).owner_of(writer)


async def permits(
    people: identities.Identities,
    owner: str,
    target: records.Bucket,
    key: str,
    *,
    marker: bool,
) -> bool:
    """Tell whether the owner of a bucket may write replicas under a key into another one here."""
    principal = await principal_of(people, owner)
    rules = decision.rules_of(target)
    needed = (
        (Action.REPLICATE_DELETE,) if marker else (Action.REPLICATE_OBJECT, Action.REPLICATE_TAGS)
    )
    return all(
        decision.decide(principal, action, decision.arn_of(target.name, key), rules, context=dict)
        is policy.Verdict.ALLOWED
        for action in needed
    )


async def principal_of(people: identities.Identities, owner: str) -> identities.Principal:
    """Return the owner of an account, as somebody who asks."""
    if owner == identities.ROOT_ID:
        return identities.ROOT
    return identities.Principal(owner, await people.name_of(owner))
