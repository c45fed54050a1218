"""AWS KMS's wire model, its handlers collected, and what it declines."""

from __future__ import annotations

from importlib import resources
from typing import Final

from strongroom.dialects.kms import services
from strongroom.dialects.kms.aws import grants, keys, uses
from strongroom.wire import model

MODEL: Final = model.load(
    resources.files("strongroom.dialects.kms.aws").joinpath("model.json").read_bytes()
)
HANDLERS: Final = services.collect(grants, keys, uses)

_STORES: Final = "masters elsewhere are set up for the whole store"
_IMPORT: Final = "imported key material is not supported"
_REGIONS: Final = "there is one region"
_AGREEMENT: Final = "key agreement is not supported"

DECLINED: Final = {
    "ConnectCustomKeyStore": _STORES,
    "CreateCustomKeyStore": _STORES,
    "Decapsulate": _AGREEMENT,
    "DeleteCustomKeyStore": _STORES,
    "DeleteImportedKeyMaterial": _IMPORT,
    "DeriveSharedSecret": _AGREEMENT,
    "DescribeCustomKeyStores": _STORES,
    "DisconnectCustomKeyStore": _STORES,
    "Encapsulate": _AGREEMENT,
    "GetKeyLastUsage": "uses of keys are not recorded",
    "GetParametersForImport": _IMPORT,
    "ImportKeyMaterial": _IMPORT,
    "ReplicateKey": _REGIONS,
    "UpdateCustomKeyStore": _STORES,
    "UpdatePrimaryRegion": _REGIONS,
}
"""Operations that are not planned, and why."""


def standing(name: str) -> str:
    """Return "served", or why an operation of the model is not."""
    return "served" if name in HANDLERS else DECLINED[name]
