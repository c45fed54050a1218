"""What an envelope tells anybody who looks, without any key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from strongroom import errors
from strongroom.client import descriptions, headers, sealed
from strongroom.client.formats import amazon, strongroom

if TYPE_CHECKING:
    from collections.abc import Mapping

_VOUCHES = {
    headers.OSS_V1: "nothing",
    headers.OSS_V2: "nothing",
    headers.S3_V1: "nothing",
    headers.S3_V2: "the whole object",
    headers.S3_V3: "the whole object, and one key only",
    headers.SEALED: "every range, and one key only",
}


def describe(bare: Mapping[str, str], instruction: str | None, stored_size: int) -> dict[str, Any]:
    """Return what can be said of an object; nothing of it is verified.

    Args:
        bare: user metadata without prefix.
        instruction: the instruction file, if there is one.
        stored_size: of the object.

    Returns:
        `format` (None if there is no envelope), `authenticates`, `cipher`, `wrap`, `keys`
        (kind, description and id of each), `context` or `bound_to`, `stored_size`,
        `plain_size` (None if unknown), `instruction_file`.

    Raises:
        MalformedEnvelope: the metadata contradict themselves or are not whole.
    """
    whole = headers.with_instruction(bare, instruction)
    if not headers.is_sealed(whole):
        return {"format": None, "stored_size": stored_size}
    kind = headers.format_of(whole)
    cipher, wrap = _algorithms(kind, whole)
    told: dict[str, Any] = {
        "format": kind,
        "authenticates": "nothing" if "CBC" in cipher else _VOUCHES[kind],
        "cipher": cipher,
        "wrap": wrap,
        **_keys(kind, wrap, whole),
        "stored_size": stored_size,
        "plain_size": None,
        "instruction_file": instruction is not None,
    }
    try:
        told["plain_size"] = sealed.plain_size(whole, stored_size)
    except errors.NotAuthentic as trouble:
        told["damaged"] = str(trouble)
    return told


def _algorithms(kind: str, whole: Mapping[str, str]) -> tuple[str, str]:
    if kind == headers.OSS_V1:
        # Its label says GCM; see `formats.oss`.
        return "AES/CTR/NoPadding", whole.get("oss-wrap-alg", "")
    if kind == headers.OSS_V2:
        prefix = headers.OSS_V2_PREFIX
        return whole.get(prefix + "cek-alg", ""), whole.get(prefix + "wrap-alg", "")
    if kind == headers.S3_V1:
        return "AES/CBC/PKCS5Padding", "AES/ECB or RSA"
    if kind == headers.S3_V2:
        return whole.get("x-amz-cek-alg", ""), whole.get("x-amz-wrap-alg", "")
    if kind == headers.S3_V3:
        code = whole.get("x-amz-w", "")
        return "AES/GCM/HKDF-SHA512/commitment", amazon.V3_WRAPS.get(code, code)
    return "AES/GCM/HKDF streaming", "per key"


def _keys(kind: str, wrap: str, whole: Mapping[str, str]) -> dict[str, Any]:
    if kind == headers.SEALED:
        bound = sorted(strongroom.bound_names(whole))
        return {"keys": strongroom.recipients_of(whole), "bound_to": bound}
    text = {
        headers.OSS_V1: whole.get("oss-matdesc") or whole.get("oss-crypto-matdesc"),
        headers.OSS_V2: whole.get(headers.OSS_V2_PREFIX + "matdesc"),
        headers.S3_V3: whole.get("x-amz-t") or whole.get("x-amz-m"),
    }.get(kind, whole.get("x-amz-matdesc"))
    found = descriptions.parse(text)
    if wrap in {amazon.WRAP_KMS, amazon.WRAP_OLD_KMS} and kind in {headers.S3_V2, headers.S3_V3}:
        return {"keys": [{"kind": "aws-kms"}], "context": found}
    return {"keys": [{"description": found}]}
