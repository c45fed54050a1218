"""A bucket's lifecycle: the document, and what answers tell of it.

Rules that would move objects to another storage class are refused: there is one class
here, and a rule that is kept and never obeyed would be a lie about where data is.

Sources: S3 API reference, PutBucketLifecycleConfiguration and the types that it links;
S3 user guide, "Lifecycle configuration elements". Texts of errors as S3 was seen to
answer, as far as its clients' trackers quote them.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from strongroom import errors
from strongroom.access.actions import Action
from strongroom.dialects.operation import Body, Call, Refused, Result, operation
from strongroom.dialects.s3 import facets, services, tags
from strongroom.service import lifecycle
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_RULES: Final = 1000
MAX_ID: Final = 255
MAX_PREFIX: Final = 1024
MAX_KEPT: Final = 100
"""The most that NewerNoncurrentVersions may say."""
MAX_DAYS: Final = 2**31 - 1

_STATES: Final = frozenset({"Enabled", "Disabled"})
_ACTIONS: Final = (
    "Expiration",
    "Transitions",
    "NoncurrentVersionExpiration",
    "NoncurrentVersionTransitions",
    "AbortIncompleteMultipartUpload",
)
_SIZES: Final = ("ObjectSizeGreaterThan", "ObjectSizeLessThan")
_CLASSES: Final = frozenset({
    "GLACIER", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "DEEP_ARCHIVE", "GLACIER_IR",
})  # fmt: skip
_MINIMUM: Final = "TransitionDefaultMinimumObjectSize"
_MINIMA: Final = ("all_storage_classes_128K", "varies_by_storage_class")


@operation(
    "PutBucketLifecycleConfiguration", action=Action.PUT_LIFECYCLE_CONFIGURATION, body=Body.DOCUMENT
)
async def put_bucket_lifecycle_configuration(call: Call) -> Result:
    params = call.params
    if "LifecycleConfiguration" not in params:
        raise Refused("MissingRequestBodyError")
    minimum = params.get(_MINIMUM, _MINIMA[0])
    if minimum not in _MINIMA:
        raise facets.bad_argument("x-amz-transition-default-minimum-object-size", minimum)
    kept = {"Rules": _checked(params["LifecycleConfiguration"]["Rules"]), _MINIMUM: minimum}
    await services.of(call).buckets.change_settings(
        call.place, {records.LIFECYCLE: json.dumps(kept, separators=(",", ":"))}
    )
    return {_MINIMUM: minimum}


@operation("GetBucketLifecycleConfiguration", action=Action.GET_LIFECYCLE_CONFIGURATION)
async def get_bucket_lifecycle_configuration(call: Call) -> Result:
    text = call.place.settings.get(records.LIFECYCLE)
    if text is None:
        raise Refused("NoSuchLifecycleConfiguration")
    found: Result = json.loads(text)
    for rule in found["Rules"]:
        expiration = rule.get("Expiration", {})
        if "Date" in expiration:
            expiration["Date"] = datetime.fromisoformat(expiration["Date"])
    return found


@operation("DeleteBucketLifecycle", action=Action.PUT_LIFECYCLE_CONFIGURATION)
async def delete_bucket_lifecycle(call: Call) -> Result:
    await services.of(call).buckets.change_settings(call.place, {records.LIFECYCLE: None})
    return {}


def _checked(rules: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rules as they are to be kept.

    Raises:
        Refused: one of them is not allowed.
    """
    if not rules:
        raise Refused("MalformedXML")
    if len(rules) > MAX_RULES:
        raise Refused(
            "InvalidRequest",
            f"The number of lifecycle rules must not exceed the allowed limit of {MAX_RULES} rules",
        )
    kept = [_rule(number, rule) for number, rule in enumerate(rules)]
    ids = [rule["ID"] for rule in kept]
    if len(ids) != len(set(ids)):
        raise Refused(
            "InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule"
        )
    return kept


def _rule(number: int, rule: dict[str, Any]) -> dict[str, Any]:
    if len(rule.get("ID", "")) > MAX_ID:
        raise Refused("InvalidArgument", f"ID length should not exceed allowed limit of {MAX_ID}")
    if rule["Status"] not in _STATES or ("Prefix" in rule) == ("Filter" in rule):
        raise Refused("MalformedXML")
    has_tags, has_sizes = _check_filter(rule)
    if not any(rule.get(name) is not None for name in _ACTIONS):
        raise Refused("InvalidRequest", "At least one action needs to be specified in a rule")
    kept = dict(rule)
    if "Expiration" in rule:
        kept["Expiration"] = _expiration(rule["Expiration"], tags=has_tags, sizes=has_sizes)
    if "NoncurrentVersionExpiration" in rule:
        _check_noncurrent(rule["NoncurrentVersionExpiration"])
    if "AbortIncompleteMultipartUpload" in rule:
        _check_abortion(rule["AbortIncompleteMultipartUpload"], tags=has_tags, sizes=has_sizes)
    _refuse_transitions(rule)
    if not rule.get("ID"):
        # The same rule in the same place gets the same name, however often it is put.
        text = json.dumps([number, kept], sort_keys=True)
        kept["ID"] = hashlib.sha256(text.encode()).hexdigest()[:48]
    return kept


def _check_filter(rule: Mapping[str, Any]) -> tuple[bool, bool]:
    """Check what a rule is about; return whether it asks for tags, and for sizes.

    Observed (terraform-provider-aws issues 38551 and 23882): several conditions that no And
    holds, and an And of one, do not validate.
    """
    if "Filter" not in rule:
        _check_prefix(rule["Prefix"])
        return False, False
    chosen: Mapping[str, Any] = rule["Filter"]
    if len(chosen) > 1:
        raise Refused("MalformedXML")
    if "And" in chosen:
        chosen = chosen["And"]
        if len(chosen.get("Tags", ())) + len(chosen.keys() - {"Tags"}) <= 1:
            raise Refused("MalformedXML")
    _check_prefix(chosen.get("Prefix", ""))
    pairs = [*chosen.get("Tags", ()), *([chosen["Tag"]] if "Tag" in chosen else ())]
    if len({pair["Key"] for pair in pairs}) != len(pairs):
        raise Refused("InvalidRequest", "Duplicate Tag Keys are not allowed.")
    if any(
        not 1 <= len(pair["Key"]) <= tags.MAX_TAG_KEY or len(pair["Value"]) > tags.MAX_TAG_VALUE
        for pair in pairs
    ):
        raise Refused("InvalidTag")
    _check_sizes(chosen)
    return bool(pairs), any(name in chosen for name in _SIZES)


def _check_prefix(prefix: str) -> None:
    if len(prefix.encode()) > MAX_PREFIX:
        raise Refused("InvalidRequest", f"The maximum size of a prefix is {MAX_PREFIX}.")


def _check_sizes(chosen: Mapping[str, Any]) -> None:
    above, below = (chosen.get(name) for name in _SIZES)
    if above is not None and above < 0:
        raise Refused("InvalidRequest", "'ObjectSizeGreaterThan' must not be negative")
    if below is not None and below < 1:
        raise Refused("InvalidRequest", "'ObjectSizeLessThan' must be a positive integer")
    if above is not None and below is not None and below <= above:
        raise Refused(
            "InvalidRequest",
            "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'",
        )


def _expiration(given: Mapping[str, Any], *, tags: bool, sizes: bool) -> dict[str, Any]:
    """Return an expiration as it is kept: its date as text."""
    lone_markers = given.get("ExpiredObjectDeleteMarker", False)
    by = [name for name in ("Days", "Date") if name in given]
    if len(by) + lone_markers > 1 or not given or (lone_markers and sizes):
        raise Refused("MalformedXML")
    if lone_markers and tags:
        raise Refused("InvalidRequest", "ExpiredObjectDeleteMarker cannot be specified with Tags.")
    if "Days" in given:
        _check_days(given["Days"], "'Days' for Expiration action")
    if "Date" in given:
        return {**given, "Date": _midnight(given["Date"]).isoformat()}
    return dict(given)


def _check_noncurrent(given: Mapping[str, Any]) -> None:
    if "NoncurrentDays" not in given:
        raise Refused("MalformedXML")
    _check_days(given["NoncurrentDays"], "'NoncurrentDays' for NoncurrentVersionExpiration action")
    kept = given.get("NewerNoncurrentVersions", 1)
    if not 1 <= kept <= MAX_KEPT:
        raise Refused(
            "InvalidArgument",
            "'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must be a positive"
            f" integer not greater than {MAX_KEPT}",
        )


def _check_abortion(given: Mapping[str, Any], *, tags: bool, sizes: bool) -> None:
    name = "AbortIncompleteMultipartUpload"
    if "DaysAfterInitiation" not in given:
        raise Refused("MalformedXML")
    if tags or sizes:
        # An open upload has no size yet, and its tags are sealed.
        what = "Tags" if tags else "Object Size"
        raise Refused("InvalidRequest", f"{name} cannot be specified with {what}.")
    _check_days(given["DaysAfterInitiation"], f"'DaysAfterInitiation' for {name} action")


def _check_days(days: int, what: str) -> None:
    if not 1 <= days <= MAX_DAYS:
        raise Refused("InvalidArgument", f"{what} must be a positive integer")


def _midnight(moment: datetime) -> datetime:
    if moment.astimezone(UTC).time() != time():
        raise Refused("InvalidArgument", "'Date' must be at midnight GMT")
    return moment


def _refuse_transitions(rule: Mapping[str, Any]) -> None:
    for transition in (
        *rule.get("Transitions", ()),
        *rule.get("NoncurrentVersionTransitions", ()),
    ):
        if "Date" in transition:
            _midnight(transition["Date"])
        wanted = transition.get("StorageClass")
        if wanted not in _CLASSES:
            raise Refused("MalformedXML")
        raise Refused(
            "InvalidStorageClass",
            f"There is no other storage class here than STANDARD, so nothing can go to {wanted}."
            " Remove the transitions; expirations do not need them.",
            StorageClassRequested=wanted,
        )


# What answers tell


def expiration_reply(
    call: Call, version: records.Version, object_tags: Mapping[str, str]
) -> Result:
    """Show when an object expires, and which rule says so; nothing for what never does.

    Nor for a version that the request names where there can be others: it may not be the
    newest, and only that one expires.
    """
    bucket = call.place
    if records.LIFECYCLE not in bucket.settings:
        return {}
    if "VersionId" in call.params and bucket.versioning:
        return {}
    found = lifecycle.expiration(lifecycle.rules_of(bucket.settings), version, object_tags)
    if found is None:
        return {}
    end_ms, rule_id = found
    end = facets.http_date(facets.moment(end_ms))
    return {"Expiration": f'expiry-date="{end}", rule-id="{quote(rule_id, safe="")}"'}


async def completed_reply(call: Call, version_id: str, etag: str) -> Result:
    """Show the same of what an upload became."""
    if records.LIFECYCLE not in call.place.settings:
        return {}
    try:
        version, found = await services.of(call).objects.tags(
            call.place.name, call.params["Key"], version_id
        )
    except (errors.VersionNotFound, errors.IsDeleteMarker):
        return {}
    return expiration_reply(call, version, found) if version.etag == etag else {}


def abortion_reply(call: Call, upload: records.Upload) -> Result:
    """Show when an upload is aborted that nobody completes, and which rule says so."""
    if records.LIFECYCLE not in call.place.settings:
        return {}
    found = lifecycle.abortion(
        lifecycle.rules_of(call.place.settings), upload.key, upload.initiated_ms
    )
    if found is None:
        return {}
    end_ms, rule_id = found
    return {"AbortDate": facets.moment(end_ms), "AbortRuleId": quote(rule_id, safe="")}
