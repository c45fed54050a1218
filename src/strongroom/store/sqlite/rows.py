"""Rows of the tables, as records.

Column lists stand beside the function that reads them, and are used nowhere
without it. Keys are BLOBs, so that SQLite compares bytes.
"""

from __future__ import annotations

import functools
import json
from typing import Any

from strongroom.store import records

Row = tuple[Any, ...]
"""What sqlite3 returns; the column list beside each function says what is in it."""

_REMEMBERED = 256
"""Texts of settings that are kept parsed; most buckets have one of a few."""

BUCKET = "name, owner, created_ms, region, settings"
USER = "user_id, name, created_ms"
VERSION = (
    "v.key, v.version_id, v.size, v.etag, v.modified_ms, v.owner, v.mode, v.generation,"
    " v.checksum_algorithms, v.checksum_type, v.fingerprint"
)
UPLOAD = (
    "u.key, u.upload_id, u.owner, u.mode, u.initiated_ms, u.checksum_algorithm,"
    " u.checksum_type, u.sealed, u.fingerprint"
)
PART = "number, blob_id, size, etag, modified_ms, digest, sealed_checksums"


def to_bucket(row: Row) -> records.Bucket:
    """Read `BUCKET`."""
    name, owner, created_ms, region, settings = row
    return records.Bucket(name, owner, created_ms, region, dict(_settings(settings)))


@functools.lru_cache(_REMEMBERED)
def _settings(text: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(text)
    return found


def to_version(bucket: str, row: Row) -> records.Version:
    """Read `VERSION`."""
    key, version_id, size, etag, modified_ms, owner, mode, generation, *rest = row
    algorithms, kind, fingerprint = rest
    # In order and not by name: a page has a thousand rows, and names double the time.
    return records.Version(
        bucket,
        key.decode(),
        version_id,
        size,
        etag,
        modified_ms,
        owner,
        mode,
        generation,
        tuple(algorithms.split(",")) if algorithms else (),
        kind,
        fingerprint,
    )


def from_version(version: records.Version) -> Row:
    """Return the values of `VERSION`'s columns, in its order."""
    return (
        version.key.encode(),
        version.version_id,
        version.size,
        version.etag,
        version.modified_ms,
        version.owner,
        version.mode,
        version.generation,
        ",".join(version.checksum_algorithms),
        version.checksum_type,
        version.fingerprint,
    )


def to_upload(bucket: str, row: Row) -> records.Upload:
    """Read `UPLOAD`."""
    key, upload_id, owner, mode, initiated_ms, algorithm, kind, sealed, fingerprint = row
    return records.Upload(
        bucket=bucket,
        key=key.decode(),
        upload_id=upload_id,
        owner=owner,
        mode=mode,
        initiated_ms=initiated_ms,
        checksum_algorithm=algorithm,
        checksum_type=kind,
        sealed=sealed,
        fingerprint=fingerprint,
    )


def to_part(row: Row) -> records.Part:
    """Read `PART`."""
    return records.Part(*row)
