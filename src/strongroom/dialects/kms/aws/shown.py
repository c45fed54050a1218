"""Keys, grants and pages as AWS's answers show them."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from strongroom.dialects.operation import Refused
from strongroom.keyring import key_specs, kms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from strongroom.dialects.kms.services import Call, Result
    from strongroom.store import kms as rows

T = TypeVar("T")

DEFAULT_LIMIT = 100
"""Source: AWS KMS API, ListKeys; ListAliases, ListGrants and ListResourceTags default to 50."""


def moment(ms: int) -> datetime:
    """Return a time of ours as a date."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def metadata(call: Call, info: kms.KeyInfo) -> Result:
    """Return a key as `KeyMetadata`."""
    key = info.key
    spec = key_specs.find(key.spec)
    algorithms = list(spec.algorithms(key.usage))
    found: Result = {
        "AWSAccountId": call.services.kms.account,
        "KeyId": key.key_id,
        "Arn": info.arn,
        "CreationDate": moment(key.created_ms),
        "Enabled": info.state == "Enabled",
        "Description": key.description,
        "KeyUsage": key.usage,
        "KeyState": info.state,
        "Origin": "AWS_KMS",
        "KeyManager": "AWS" if key.manager else "CUSTOMER",
        "CustomerMasterKeySpec": key.spec,
        "KeySpec": key.spec,
        "MultiRegion": False,
    }
    if key.deletion_ms:
        found["DeletionDate"] = moment(key.deletion_ms)
    found[ALGORITHMS[key.usage]] = algorithms
    if key.spec == key_specs.SYMMETRIC:
        found["CurrentKeyMaterialId"] = kms.material_id(key.key_id, key.version)
    return found


ALGORITHMS = {
    key_specs.ENCRYPT_DECRYPT: "EncryptionAlgorithms",
    key_specs.SIGN_VERIFY: "SigningAlgorithms",
    key_specs.GENERATE_VERIFY_MAC: "MacAlgorithms",
}
"""Under which member a key's algorithms stand, by its usage."""


def grant(call: Call, found: rows.Grant) -> Result:
    """Return a grant as `GrantListEntry`."""
    constraints: dict[str, Any] = {}
    if found.context_equals is not None:
        constraints["EncryptionContextEquals"] = found.context_equals
    if found.context_subset is not None:
        constraints["EncryptionContextSubset"] = found.context_subset
    return {
        "KeyId": call.services.kms.arn_of(f"key/{found.key_id}"),
        "GrantId": found.grant_id,
        "Name": found.name or None,
        "CreationDate": moment(found.created_ms),
        "GranteePrincipal": found.grantee,
        "RetiringPrincipal": found.retiring or None,
        "IssuingAccount": found.issuer,
        "Operations": list(found.operations),
        "Constraints": constraints or None,
    }


def after(call: Call) -> str:
    """Return what the marker of a request says the page comes after.

    Raises:
        Refused: it is no marker of ours.
    """
    marker = call.params.get("Marker")
    if marker is None:
        return ""
    try:
        return base64.urlsafe_b64decode(marker).decode()
    except (binascii.Error, ValueError):
        raise Refused("InvalidMarkerException") from None


def page(rows: Sequence[T], limit: int, name: Callable[[T], str]) -> tuple[Sequence[T], Result]:
    """Cut a page out of `limit` + 1 rows; return it, and the members that say if there is more."""
    if len(rows) <= limit:
        return rows, {"Truncated": False}
    shown = rows[:limit]
    marker = base64.urlsafe_b64encode(name(shown[-1]).encode()).decode()
    return shown, {"Truncated": True, "NextMarker": marker}


def dry(call: Call) -> None:
    """End a request that only asks whether it would succeed, where it has.

    Raises:
        Refused: it is one.
    """
    if call.params.get("DryRun"):
        raise Refused("DryRunOperationException")


def refuse_recipient(call: Call) -> None:
    """Refuse what asks for an answer that only an AWS enclave can read.

    Raises:
        Refused: it does.
    """
    if "Recipient" in call.params:
        raise Refused("UnsupportedOperationException", "Recipient is not supported here.")
