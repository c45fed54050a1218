"""Object lock: how requests ask for it, how answers show it, and its handlers.

Source: S3 API reference, PutObjectLockConfiguration, PutObjectRetention, PutObjectLegalHold
and PutObject; S3 user guide, "Object Lock considerations"; the messages as S3 was recorded
to answer (LocalStack's snapshots; versitygw's issues 1733 to 1776).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from strongroom.access.actions import Action
from strongroom.dialects.operation import Body, Call, Need, Needs, Refused, Result, operation
from strongroom.dialects.s3 import contexts, facets, services
from strongroom.service import locks
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ENABLED: Final = "Enabled"
UNRULED: Final = json.dumps({"ObjectLockEnabled": ENABLED}, separators=(",", ":"))
"""The document of a bucket that was created with object lock: versions get no retention unasked."""

_MODE: Final = "x-amz-object-lock-mode"
_UNTIL: Final = "x-amz-object-lock-retain-until-date"
_HOLD: Final = "x-amz-object-lock-legal-hold"

_DAY_MS: Final = 24 * 60 * 60 * 1000
_PERIODS: Final = {"Days": (1, 36_500), "Years": (365, 100)}
"""Days in one of them, and the most that a default retention has. Source: S3 user guide,
"Managing Object Lock": a retention is 100 years at most."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PAST: Final = "The retain until date must be in the future!"


def needs_to_write(params: Mapping[str, Any]) -> list[Need]:
    """Return what writing an object with locks needs besides.

    Source: S3 API reference, PutObject, "Permissions"; S3 user guide, "Required permissions
    for Amazon S3 API operations".
    """
    found = []
    if "ObjectLockMode" in params or "ObjectLockRetainUntilDate" in params:
        found.append(Need(Action.PUT_OBJECT_RETENTION, params["Key"], makes=True))
    if "ObjectLockLegalHoldStatus" in params:
        found.append(Need(Action.PUT_OBJECT_LEGAL_HOLD, params["Key"], makes=True))
    return found


def terms(call: Call) -> locks.Terms:
    """Return how an object is locked that a call writes: as it asks, or as its bucket has it.

    Raises:
        Refused: what it asks for is no lock, or its bucket has none.
    """
    params = call.params
    mode: str | None = params.get("ObjectLockMode")
    until: datetime | None = params.get("ObjectLockRetainUntilDate")
    hold: str | None = params.get("ObjectLockLegalHoldStatus")
    if mode is None and until is None and hold is None:
        return of_bucket(call.place)
    if (mode is None) != (until is None):
        raise Refused(
            "InvalidArgument",
            f"{_UNTIL} and {_MODE} must both be supplied",
            ArgumentName=_MODE if mode is None else _UNTIL,
        )
    until_ms = 0 if until is None else _milliseconds(until)
    if until is not None and until_ms <= call.now_ms:
        raise facets.bad_argument(_UNTIL, contexts.iso_date(until), _PAST)
    if hold not in (None, locks.ON, locks.OFF):
        raise facets.bad_argument(_HOLD, hold or "", "Legal Hold must be either of 'ON' or 'OFF'")
    if mode is not None and mode not in locks.MODES:
        raise facets.bad_argument(_MODE, mode, "Unknown wormMode directive.")
    if call.principal.is_anonymous:
        raise Refused(
            "InvalidArgument",
            "Put Object requests with Object Lock parameters require AWS Signature Version 4",
            ArgumentName="Authorization",
        )
    if not call.place.has_lock:
        raise Refused("InvalidRequest", "Bucket is missing ObjectLockConfiguration")
    default = of_bucket(call.place)
    asked = locks.Lock(mode or "", until_ms, hold or "")
    return locks.Terms(asked, default.mode, default.period_ms)


def check_digest(call: Call, wanted: locks.Terms) -> None:
    """Refuse a body that is to be locked and that nobody could tell to be the right one.

    A signature's digest of the payload does not count (observed: S3). Of a form's file nothing
    is asked.

    Raises:
        Refused: it comes with neither MD5 nor checksum.
    """
    incoming = call.incoming
    if wanted == locks.NO_TERMS or incoming is None or call.request.upload is not None:
        return
    if incoming.md5 is None and incoming.checksum is None:
        raise Refused(
            "InvalidRequest",
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with"
            " Object Lock parameters",
        )


def of_bucket(bucket: records.Bucket) -> locks.Terms:
    """Return how a bucket locks what asks for no retention."""
    text = bucket.settings.get(records.OBJECT_LOCK)
    if text is None or "DefaultRetention" not in text:
        return locks.NO_TERMS
    default = json.loads(text)["Rule"]["DefaultRetention"]
    days = sum(default.get(name, 0) * length for name, (length, _) in _PERIODS.items())
    return locks.Terms(mode=default["Mode"], period_ms=days * _DAY_MS)


async def bypass(call: Call, key: str, version_id: str | None) -> bool:
    """Tell whether a call wants to bypass governance, and may.

    Where its bucket has no object lock, there is nothing to bypass. S3 refuses to be asked
    there; here it is not worth an error, since programs ask without looking.
    """
    if not call.place.has_lock or not call.params.get("BypassGovernanceRetention"):
        return False
    return await call.judge.may(
        Need(Action.BYPASS_GOVERNANCE_RETENTION, key, version_id=version_id)
    )


async def reply(call: Call, lock: locks.Lock) -> Result:
    """Show what locks a version that is read, as far as its reader may know.

    Source: S3 API reference, HeadObject, the three headers.
    """
    if lock == locks.NO_LOCK:
        return {}
    key, version_id = call.params["Key"], call.params.get("VersionId")
    found: Result = {}
    if lock.mode and await call.judge.may(
        Need(Action.GET_OBJECT_RETENTION, key, version_id=version_id)
    ):
        found["ObjectLockMode"] = lock.mode
        found["ObjectLockRetainUntilDate"] = facets.moment(lock.until_ms)
    if lock.hold and await call.judge.may(
        Need(Action.GET_OBJECT_LEGAL_HOLD, key, version_id=version_id)
    ):
        found["ObjectLockLegalHoldStatus"] = lock.hold
    return found


def check(document: dict[str, Any], bucket: records.Bucket) -> Mapping[str, Any]:
    """Return a bucket's configuration as it is kept.

    Raises:
        Refused: it is none, or the bucket has no versions to lock.
    """
    if document.get("ObjectLockEnabled") != ENABLED:
        raise Refused("MalformedXML")
    if "Rule" in document:
        _check_default(document["Rule"].get("DefaultRetention", {}))
    if bucket.versioning != records.ENABLED:
        raise Refused(
            "InvalidBucketState",
            "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
        )
    return document


def _check_default(default: Mapping[str, Any]) -> None:
    named = [name for name in _PERIODS if name in default]
    if default.get("Mode") not in locks.MODES or len(named) != 1:
        raise Refused("MalformedXML")
    (name,) = named
    if default[name] <= 0:
        raise Refused(
            "InvalidArgument",
            "Default retention period must be a positive integer value.",
            ArgumentName=name,
        )
    if default[name] > _PERIODS[name][1]:
        raise Refused("InvalidArgument", "Default retention period too large.", ArgumentName=name)


def _judged_when_read(_params: Mapping[str, Any]) -> Sequence[Need]:
    """Need nothing before: what policies ask for stands in the document, and takes the time."""
    return ()


async def _permitted(call: Call, action: Action, keys: Mapping[str, tuple[str, ...]]) -> str | None:
    """Return the version that is meant, where the call may do this to it.

    Raises:
        AccessDenied: it may not.
        Refused: its bucket has no object lock, or there can be no such version.
    """
    params = call.params
    await call.judge.require(
        Need(action, params["Key"], version_id=params.get("VersionId"), keys=keys)
    )
    return _lockable(call)


def _lockable(call: Call) -> str | None:
    if not call.place.has_lock:
        raise Refused("InvalidRequest", "Bucket is missing Object Lock Configuration")
    return facets.version_id(call.params)


async def _lock(call: Call) -> locks.Lock:
    version_id = _lockable(call)
    return await services.of(call).locking.lock(call.place.name, call.params["Key"], version_id)


@operation(
    "PutObjectRetention",
    action=Needs(
        (Action.PUT_OBJECT_RETENTION, Action.BYPASS_GOVERNANCE_RETENTION), _judged_when_read
    ),
    body=Body.DOCUMENT,
)
async def put_object_retention(call: Call) -> Result:
    params = call.params
    wanted = params.get("Retention", {})
    mode, until = wanted.get("Mode"), wanted.get("RetainUntilDate")
    version_id = await _permitted(
        call, Action.PUT_OBJECT_RETENTION, contexts.retention_keys(mode, until, call.now_ms)
    )
    if "Retention" not in params:
        raise Refused("MissingRequestBodyError")
    if (mode is None) != (until is None) or mode not in (None, *locks.MODES):
        raise Refused("MalformedXML")
    until_ms = 0 if until is None else _milliseconds(until)
    if until is not None and until_ms <= call.now_ms:
        raise facets.bad_argument("RetainUntilDate", contexts.iso_date(until), _PAST)
    await services.of(call).locking.retain(
        call.place.name,
        params["Key"],
        version_id,
        mode=mode or "",
        until_ms=until_ms,
        bypass=await bypass(call, params["Key"], version_id),
    )
    return {}


@operation("GetObjectRetention", action=Action.GET_OBJECT_RETENTION)
async def get_object_retention(call: Call) -> Result:
    lock = await _lock(call)
    if not lock.mode:
        raise Refused("NoSuchObjectLockConfiguration")
    return {"Retention": {"Mode": lock.mode, "RetainUntilDate": facets.moment(lock.until_ms)}}


@operation(
    "PutObjectLegalHold",
    action=Needs((Action.PUT_OBJECT_LEGAL_HOLD,), _judged_when_read),
    body=Body.DOCUMENT,
)
async def put_object_legal_hold(call: Call) -> Result:
    params = call.params
    status = params.get("LegalHold", {}).get("Status")
    version_id = await _permitted(call, Action.PUT_OBJECT_LEGAL_HOLD, contexts.hold_keys(status))
    if "LegalHold" not in params:
        raise Refused("MissingRequestBodyError")
    if status not in (locks.ON, locks.OFF):
        raise Refused("MalformedXML")
    await services.of(call).locking.hold(call.place.name, params["Key"], version_id, status=status)
    return {}


@operation("GetObjectLegalHold", action=Action.GET_OBJECT_LEGAL_HOLD)
async def get_object_legal_hold(call: Call) -> Result:
    lock = await _lock(call)
    if not lock.hold:
        raise Refused("NoSuchObjectLockConfiguration")
    return {"LegalHold": {"Status": lock.hold}}


def _milliseconds(moment: datetime) -> int:
    """Return a time in milliseconds, rounded down; what was shown comes back as it was."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)
