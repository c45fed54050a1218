"""The document in which one strongroom tells another of a version; see `service.replicas`.

JSON, with bytes in base64. It holds data keys of what the server keeps the keys of, so it
travels under TLS only, as customers' keys do.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final

from strongroom import errors
from strongroom.crypto import envelope as envelopes
from strongroom.service import locks, replicas
from strongroom.store import records

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FORMAT: Final = 1
"""Raised when an older release could not read the document, or would read it wrongly."""

INCLUDED_BYTES: Final = 256 * 1024
"""Blobs that travel in the manifest: as many as these bytes hold. A request each costs more."""

REPLICA_KEY: Final = "kms_key"
"""Names the KMS key of the replica, at the target."""

_ROW: Final = (*("key", "version_id", "size", "etag", "modified_ms", "mode", "checksum_type"),)


def encode(manifest: replicas.Manifest, replica_key: str) -> bytes:
    """Return the document."""
    version = manifest.version
    return json.dumps(
        {
            "format": FORMAT,
            **{name: getattr(version, name) for name in _ROW},
            "checksum_algorithms": version.checksum_algorithms,
            "body": _text(manifest.body),
            "tags": dict(manifest.tags),
            "lock": [manifest.lock.mode, manifest.lock.until_ms, manifest.lock.hold],
            "envelope": _text(manifest.envelope),
            "keys": [_text(key.reveal()) for key in manifest.keys],
            "head": _text(manifest.head),
            "blobs": {blob_id.hex(): _text(data) for blob_id, data in manifest.blobs.items()},
            REPLICA_KEY: replica_key,
        }
    ).encode()


def parse(text: str, bucket: str, key: str) -> tuple[replicas.Manifest, str]:
    """Read a document that came for a key of a bucket; return it and the replica's KMS key.

    Raises:
        BodyMalformed: it is none, or is about another key.
    """
    try:
        found = json.loads(text)
        if found["format"] != FORMAT:
            raise errors.BodyMalformed("a replica's manifest is of a format of another release")
        manifest = _manifest(found, bucket)
        replica_key = found[REPLICA_KEY]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise errors.BodyMalformed("a replica's manifest cannot be read") from error
    if manifest.version.key != key or not isinstance(replica_key, str):
        raise errors.BodyMalformed("a replica's manifest is about another key")
    return manifest, replica_key


def print_missing(blob_ids: Iterable[bytes]) -> str:
    """Return the answer to a manifest: which blobs have to come first."""
    return json.dumps({"missing": [blob_id.hex() for blob_id in blob_ids]})


def parse_missing(text: bytes) -> Sequence[bytes]:
    """Read that answer.

    Raises:
        ValueError: it is none.
    """
    found = json.loads(text)
    if not isinstance(found, dict) or not isinstance(found.get("missing"), list):
        raise ValueError("not an answer of a strongroom")  # noqa: TRY004 - of a wrong value
    return [bytes.fromhex(blob_id) for blob_id in found["missing"]]


def parse_blob_id(text: str) -> bytes:
    """Read the id of a blob.

    Raises:
        BodyMalformed: it is none.
    """
    try:
        blob_id = bytes.fromhex(text)
    except ValueError:
        blob_id = b""
    if len(blob_id) != records.BLOB_ID_BYTES:
        raise errors.BodyMalformed("a replica's blob has no id")
    return blob_id


def _manifest(found: dict[str, Any], bucket: str) -> replicas.Manifest:
    algorithms = found["checksum_algorithms"]
    texts = (*(found[name] for name in ("key", "version_id", "etag", "mode", "checksum_type")),)
    if not all(isinstance(each, str) for each in (*texts, *algorithms, *found["tags"].values())):
        raise TypeError("a text was expected")
    if any(type(found[name]) is not int or found[name] < 0 for name in ("size", "modified_ms")):
        raise TypeError("a number was expected")
    return replicas.Manifest(
        records.Version(
            bucket=bucket,
            owner="",
            generation=b"",
            checksum_algorithms=tuple(algorithms),
            **{name: found[name] for name in _ROW},
        ),
        _raw(found["body"]),
        found["tags"],
        lock=_lock(*found["lock"]),
        envelope=_raw(found["envelope"]),
        keys=[envelopes.DataKey(_raw(key)) for key in found["keys"]],
        head=_raw(found["head"]),
        blobs={parse_blob_id(name): _raw(data) for name, data in found["blobs"].items()},
    )


def _lock(mode: object, until_ms: object, hold: object) -> locks.Lock:
    if (
        mode not in {"", *locks.MODES}
        or hold not in {"", locks.ON, locks.OFF}
        or type(until_ms) is not int
        or until_ms < 0
    ):
        raise ValueError("not a lock")
    return locks.Lock(str(mode), until_ms, str(hold))


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _raw(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
